//! The files that the store wants, in the store's order: it knows what is urgent and what is a fair share.

use std::collections::{BTreeMap, BTreeSet};

use quorate_proto::Digest;

#[derive(Debug, Default)]
pub(super) struct Wanted {
    order: BTreeMap<usize, Digest>,
    digests: BTreeSet<Digest>,
}

impl Wanted {
    pub(super) fn new(wanted: Vec<Digest>) -> Self {
        let digests = wanted.iter().copied().collect();
        Self { order: wanted.into_iter().enumerate().collect(), digests }
    }

    pub(super) fn contains(&self, digest: Digest) -> bool {
        self.digests.contains(&digest)
    }

    pub(super) fn remove(&mut self, digest: Digest) {
        self.digests.remove(&digest);
        self.order.retain(|_, other| *other != digest);
    }

    pub(super) fn in_order(&self) -> impl Iterator<Item = Digest> {
        self.order.values().copied()
    }
}
