//! Faults of an archive, in the order in which they were met.

use quorate_proto::Digest;
use quorate_proto::comparison::{Anomaly, AnomalyKind, Side};
use sha2::{Digest as _, Sha256};

use crate::names;

/// Faults, up to a number; what comes after is counted and hashed, so that two long lists still
/// compare.
pub(crate) struct Findings {
    list: Vec<Finding>,
    list_max: usize,
    more: u64,
    more_hash: Sha256,
}

/// A fault, before it is known to which side it belongs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    kind: AnomalyKind,
    member: Option<String>,
    detail: String,
}

impl Findings {
    pub(super) fn new(list_max: usize) -> Self {
        Self { list: Vec::new(), list_max, more: 0, more_hash: Sha256::new() }
    }

    pub(crate) fn add(&mut self, kind: AnomalyKind, member: Option<&[u8]>, detail: impl Into<String>) {
        self.push(Finding { kind, member: member.map(names::display), detail: detail.into() });
    }

    /// Adds a fault of a member whose name is written for people already.
    pub(crate) fn add_shown(&mut self, kind: AnomalyKind, member: String, detail: String) {
        self.push(Finding { kind, member: Some(member), detail });
    }

    fn push(&mut self, finding: Finding) {
        if self.list.len() < self.list_max {
            self.list.push(finding);
        } else {
            self.more += 1;
            self.more_hash.update(format!("{finding:?}\n"));
        }
    }

    /// Takes the findings of a part of the archive, under `prefix`.
    pub(crate) fn absorb(&mut self, prefix: &[u8], part: Findings) {
        let rest = part.rest();
        for Finding { kind, member, detail } in part.list.into_iter().chain(rest) {
            let shown = names::display(prefix);
            let member = member.map_or_else(|| shown.trim_end_matches("!/").to_owned(), |member| format!("{shown}{member}"));
            self.push(Finding { kind, member: Some(names::clip(member)), detail });
        }
    }

    /// The anomalies of one side, in the order in which they were met.
    pub(crate) fn anomalies(&self, side: Side) -> Vec<Anomaly> {
        let listed = self.list.iter().cloned();
        listed.chain(self.rest()).map(|Finding { kind, member, detail }| Anomaly { side, kind, member, detail }).collect()
    }

    fn rest(&self) -> Option<Finding> {
        let digest = Digest::from_bytes(self.more_hash.clone().finalize().into());
        (self.more > 0).then(|| Finding {
            kind: AnomalyKind::AbsurdSize,
            member: None,
            detail: format!("{} more anomalies, {digest}", self.more),
        })
    }
}

/// Describes bytes that should not be there, so that two sides with other bytes are told apart.
pub(crate) fn describe(bytes: &[u8]) -> String {
    format!("{} bytes, {}", bytes.len(), Digest::of(bytes))
}
