//! What the store holds: as it was at the last look, and as far as is known since then.

use std::collections::BTreeMap;

use quorate_proto::feed::FeedHead;
use quorate_proto::wire::heads_digest;
use quorate_proto::{Digest, NodeId};

#[derive(Debug, Default)]
pub(super) struct Held {
    /// The end of each feed at the last look.
    heads: BTreeMap<NodeId, FeedHead>,
    /// The sequence number that comes next in each feed.
    next: BTreeMap<NodeId, u64>,
}

impl Held {
    pub(super) fn new(heads: Vec<(NodeId, FeedHead)>) -> Self {
        let next = heads.iter().map(|(node, head)| (*node, head.next())).collect();
        Self { heads: heads.into_iter().collect(), next }
    }

    pub(super) fn next(&self, node: &NodeId) -> u64 {
        self.next.get(node).copied().unwrap_or(0)
    }

    /// The store has said what comes next.
    pub(super) fn set_next(&mut self, node: NodeId, next: u64) {
        self.next.insert(node, next);
    }

    pub(super) fn feeds(&self) -> impl Iterator<Item = (NodeId, u64)> {
        self.next.iter().map(|(node, next)| (*node, *next))
    }

    pub(super) fn digest(&self) -> Digest {
        heads_digest(self.heads.iter().map(|(node, head)| (*node, *head)))
    }

    /// Whether a copy that ends so has something that ours did not have at the last look: more entries, or others.
    pub(super) fn lacks(&self, node: &NodeId, head: &FeedHead) -> bool {
        self.heads.get(node).map_or(0, FeedHead::next) < head.next() || self.contradicts(node, head)
    }

    /// Whether a copy that ends so is as long as ours and another history.
    pub(super) fn contradicts(&self, node: &NodeId, head: &FeedHead) -> bool {
        self.heads.get(node).is_some_and(|own| own.next() == head.next() && own != head)
    }
}
