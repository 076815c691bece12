//! What happened, counted by place and reason. Readable by whoever serves metrics.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

/// Where something was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Frames received over gossip.
    Gossip,
    /// Items and files received over feed sync.
    Sync,
    /// Requests of peers that we answer.
    Serve,
    /// Own items given to gossip.
    Publish,
    /// Connections and dialling.
    Connection,
}

impl Place {
    /// The label's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gossip => "gossip",
            Self::Sync => "sync",
            Self::Serve => "serve",
            Self::Publish => "publish",
            Self::Connection => "connection",
        }
    }
}

/// Counters by place and outcome. Clones share the same numbers.
#[derive(Clone, Debug, Default)]
pub struct Counters(Arc<Mutex<BTreeMap<(Place, &'static str), u64>>>);

impl Counters {
    /// Counts one.
    pub fn count(&self, place: Place, outcome: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((place, outcome)).or_default() += 1;
    }

    /// How often `outcome` happened at `place`.
    pub fn get(&self, place: Place, outcome: &str) -> u64 {
        self.snapshot().into_iter().filter(|((p, o), _)| *p == place && *o == outcome).map(|(_, n)| n).sum()
    }

    /// All numbers.
    pub fn snapshot(&self) -> BTreeMap<(Place, &'static str), u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The numbers in the Prometheus text format.
    pub fn prometheus(&self) -> String {
        let mut text = String::from("# HELP quorate_mesh_total What happened on the mesh.\n# TYPE quorate_mesh_total counter\n");
        for ((place, outcome), count) in self.snapshot() {
            let _ = writeln!(text, "quorate_mesh_total{{place=\"{}\",outcome=\"{outcome}\"}} {count}", place.name());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_their_numbers_and_print_as_prometheus_text() {
        let counters = Counters::default();
        counters.clone().count(Place::Gossip, "unknown-operator");
        counters.count(Place::Gossip, "unknown-operator");
        assert_eq!(counters.get(Place::Gossip, "unknown-operator"), 2);
        assert_eq!(counters.get(Place::Sync, "unknown-operator"), 0);
        assert!(counters.prometheus().contains("quorate_mesh_total{place=\"gossip\",outcome=\"unknown-operator\"} 2\n"));
    }
}
