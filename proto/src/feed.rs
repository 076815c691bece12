//! Feeds: all that a node signs, as a gap-free hash chain.
//!
//! Every entry carries its node, its sequence number (from 0) and the digest of the envelope before
//! it. A chain can be extended in one way only: an entry that fits. Everything else is named:
//! a duplicate, a gap, a fork. Two different envelopes of one node with one sequence number are a
//! proof of equivocation that anybody can check.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::entry::VerifiedEntry;
use crate::verified::{FeedItem, RejectError};
use crate::{Digest, NodeId, OperatorId};

/// An entry's place in its feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FeedPosition {
    /// Whose feed.
    pub node: NodeId,
    /// 0 for the first entry.
    pub sequence: u64,
    /// SHA-256 of the envelope before; none for the first entry.
    pub previous: Option<Digest>,
}

/// The end of a feed as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeedHead {
    next: u64,
    last: Option<Digest>,
}

/// What an entry is to a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedStep {
    /// It fits: the head moves on.
    Append(FeedHead),
    /// It lies before the head. Compare its digest with the one that is held: equal means a
    /// repeat, another one means equivocation.
    Past,
    /// Entries before it are missing.
    Gap {
        /// The sequence number that would fit.
        expected: u64,
    },
    /// It follows another entry than the one that is held: the node has signed two histories.
    Fork,
}

/// Two envelopes of one node with one sequence number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EquivocationProof {
    node: NodeId,
    operator: OperatorId,
    sequence: u64,
    items: [FeedItem; 2],
}

/// Two items that prove nothing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EquivocationError {
    /// One of them does not count at all.
    #[error("an item does not verify")]
    Item(#[source] RejectError),
    /// They are of two nodes, of two sequence numbers, or the same.
    #[error("the items do not contradict each other")]
    NoContradiction,
}

impl FeedHead {
    /// The head behind `last`, which has the sequence number `next - 1`.
    pub fn behind(next: u64, last: Digest) -> Self {
        Self { next, last: Some(last) }
    }

    /// The sequence number that fits next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The digest of the last entry's envelope; none of a feed without an entry.
    pub fn last(&self) -> Option<Digest> {
        self.last
    }

    /// The place of the next entry of `node`'s feed.
    pub fn position(&self, node: NodeId) -> FeedPosition {
        FeedPosition { node, sequence: self.next, previous: self.last }
    }

    /// Decides what an entry at `position` with envelope digest `digest` is to this feed.
    pub fn step(&self, position: &FeedPosition, digest: Digest) -> FeedStep {
        if position.sequence < self.next {
            return FeedStep::Past;
        }
        if position.sequence > self.next {
            return FeedStep::Gap { expected: self.next };
        }
        if position.previous == self.last { FeedStep::Append(Self { next: self.next + 1, last: Some(digest) }) } else { FeedStep::Fork }
    }
}

impl EquivocationProof {
    /// Checks both items and that they contradict each other.
    pub fn verify(first: FeedItem, second: FeedItem, enrolled: &BTreeSet<OperatorId>) -> Result<Self, EquivocationError> {
        let a = VerifiedEntry::verify_item(&first, enrolled).map_err(EquivocationError::Item)?;
        let b = VerifiedEntry::verify_item(&second, enrolled).map_err(EquivocationError::Item)?;
        let (at, other) = (a.position(), b.position());
        if at.node != other.node || at.sequence != other.sequence || a.digest() == b.digest() {
            return Err(EquivocationError::NoContradiction);
        }
        Ok(Self { node: at.node, operator: a.operator(), sequence: at.sequence, items: [first, second] })
    }

    /// Who signed both.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Who answers for the node.
    pub fn operator(&self) -> OperatorId {
        self.operator
    }

    /// The sequence number that was used twice.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The two items.
    pub fn items(&self) -> &[FeedItem; 2] {
        &self.items
    }
}
