//! What happened, counted by place and reason. Readable by whoever serves metrics.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// Checkpoints and proofs of two histories.
    Notice,
    /// Addresses of other peers.
    Peers,
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
            Self::Notice => "notice",
            Self::Peers => "peers",
        }
    }
}

/// Counters by place and outcome. Clones share the same numbers.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    counts: Arc<Mutex<BTreeMap<(Place, &'static str), u64>>>,
    traffic: Arc<Traffic>,
}

/// Bytes of feed sync: frames with their lengths, before encryption.
#[derive(Debug, Default)]
struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Counters {
    /// Adds a frame of feed sync that came in.
    pub(crate) fn received(&self, bytes: usize) {
        self.traffic.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Adds a frame of feed sync that went out.
    pub(crate) fn sent(&self, bytes: usize) {
        self.traffic.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes of feed sync so far: received and sent.
    pub fn sync_bytes(&self) -> (u64, u64) {
        (self.traffic.received.load(Ordering::Relaxed), self.traffic.sent.load(Ordering::Relaxed))
    }

    /// Counts one.
    pub fn count(&self, place: Place, outcome: &'static str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((place, outcome)).or_default() += 1;
    }

    /// How often `outcome` happened at `place`.
    pub fn get(&self, place: Place, outcome: &str) -> u64 {
        self.snapshot().into_iter().filter(|((p, o), _)| *p == place && *o == outcome).map(|(_, n)| n).sum()
    }

    /// All numbers.
    pub fn snapshot(&self) -> BTreeMap<(Place, &'static str), u64> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The numbers in the Prometheus text format.
    pub fn prometheus(&self) -> String {
        let mut text = String::from("# HELP quorate_mesh_total What happened on the mesh.\n# TYPE quorate_mesh_total counter\n");
        for ((place, outcome), count) in self.snapshot() {
            let _ = writeln!(text, "quorate_mesh_total{{place=\"{}\",outcome=\"{outcome}\"}} {count}", place.name());
        }
        text.push_str("# HELP quorate_mesh_sync_bytes_total Bytes of feed sync.\n# TYPE quorate_mesh_sync_bytes_total counter\n");
        let (received, sent) = self.sync_bytes();
        for (direction, bytes) in [("in", received), ("out", sent)] {
            let _ = writeln!(text, "quorate_mesh_sync_bytes_total{{direction=\"{direction}\"}} {bytes}");
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
