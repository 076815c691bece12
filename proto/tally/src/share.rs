//! Shares: how much of what an operator enters about one slot counts.
//!
//! No policy has a part here: whoever reads a log, under whatever policy, looks at the same. The first in the log count,
//! so that what counts at one size of it counts at every larger one, and nobody pushes out what it said before. Each
//! node has a share of its own: who steals the key of one leaves the others theirs. `docs/spec/tally.md`, section
//! "Shares".

use std::collections::BTreeSet;

use quorate_proto::result::RESULT_ENVELOPE_BYTES_MAX;

/// Nodes of an operator whose results and commitments in a slot count, the first in the log. More cast no other vote.
pub const NODES_OF_AN_OPERATOR_MAX: usize = 8;

/// Nodes of an operator whose checks in a slot count, the first in the log: a second one in case that the first is
/// revoked.
pub const CHECKERS_OF_AN_OPERATOR_MAX: usize = 2;

/// Results of a node in one slot that count, the first in the log. A node rebuilds a file once, and again when it is asked to.
pub const RESULTS_OF_A_NODE_MAX: usize = 16;

/// What these may have together, in bytes of their envelopes: sixteen of the usual size, and any two.
pub const RESULT_BYTES_OF_A_NODE_MAX: usize = 2 * RESULT_ENVELOPE_BYTES_MAX;

/// Commitments of a node to one task that count, the first in the log while any result of its would count too: who
/// keeps its promise is seen to.
pub const COMMITMENTS_OF_A_NODE_MAX: usize = 8;

/// Checks of a node of results in one slot that count, the first in the log of those that confirm.
pub const CHECKS_OF_A_NODE_MAX: usize = 64;

/// What is entered about a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A result.
    Result,
    /// A commitment to its task.
    Commitment,
    /// A check that confirms a result in it.
    Check,
}

/// An entry of an operator's about a slot. `N` tells its nodes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entered<N> {
    /// What it is.
    pub kind: Kind,
    /// Who signed it.
    pub node: N,
    /// Length of its envelope.
    pub bytes: usize,
}

impl Kind {
    /// Results and commitments have nodes in common: whose commitment counts can reveal it.
    fn shares_nodes_with(self, other: Self) -> bool {
        (self == Self::Check) == (other == Self::Check)
    }

    const fn nodes_max(self) -> usize {
        match self {
            Self::Result | Self::Commitment => NODES_OF_AN_OPERATOR_MAX,
            Self::Check => CHECKERS_OF_AN_OPERATOR_MAX,
        }
    }

    const fn of_a_node_max(self) -> usize {
        match self {
            Self::Result => RESULTS_OF_A_NODE_MAX,
            Self::Commitment => COMMITMENTS_OF_A_NODE_MAX,
            Self::Check => CHECKS_OF_A_NODE_MAX,
        }
    }

    /// The others are short by their form.
    const fn bytes_of_a_node_max(self) -> usize {
        match self {
            Self::Result => RESULT_BYTES_OF_A_NODE_MAX,
            Self::Commitment | Self::Check => usize::MAX,
        }
    }
}

impl<N: Copy + Ord> Entered<N> {
    /// Whether it counts, after those of its operator about the slot that do. Complexity: O(n log n) in their number,
    /// which the shares bound.
    pub fn counts(self, before: impl IntoIterator<Item = Self> + Clone) -> bool {
        let largest = Self { kind: Kind::Result, bytes: RESULT_ENVELOPE_BYTES_MAX, ..self };
        self.has_room(before.clone()) && (self.kind != Kind::Commitment || largest.has_room(before))
    }

    fn has_room(self, before: impl IntoIterator<Item = Self>) -> bool {
        let (mut nodes, mut own, mut bytes) = (BTreeSet::new(), 0, self.bytes);
        for other in before.into_iter().filter(|other| self.kind.shares_nodes_with(other.kind)) {
            nodes.insert(other.node);
            if (other.kind, other.node) == (self.kind, self.node) {
                own += 1;
                bytes = bytes.saturating_add(other.bytes);
            }
        }
        let of_few = nodes.contains(&self.node) || nodes.len() < self.kind.nodes_max();
        of_few && own < self.kind.of_a_node_max() && bytes <= self.kind.bytes_of_a_node_max()
    }
}
