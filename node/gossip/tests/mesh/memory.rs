//! A feed store in memory, and the reference for what a store has to do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use quorate_gossip::store::reason;
use quorate_gossip::{Accepted, FeedStore};
use quorate_proto::entry::VerifiedEntry;
use quorate_proto::feed::{EquivocationProof, FeedHead, FeedStep};
use quorate_proto::verified::FeedItem;
use quorate_proto::wire::{FEED_ITEM_BYTES_MAX, Notice, Told};
use quorate_proto::{Digest, NodeId, OperatorId, Timestamp};

use crate::author::SIGNED_AT;

#[derive(Default)]
pub(crate) struct MemoryStore {
    enrolled: BTreeSet<OperatorId>,
    state: Mutex<State>,
    book: Mutex<Option<Vec<u8>>>,
}

#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct State {
    pub(crate) feeds: BTreeMap<NodeId, Feed>,
    pub(crate) blobs: BTreeMap<Digest, Vec<u8>>,
    pub(crate) wanted: BTreeSet<Digest>,
    pub(crate) proofs: BTreeMap<NodeId, EquivocationProof>,
}

#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Feed {
    pub(crate) head: FeedHead,
    pub(crate) items: Vec<(Digest, FeedItem)>,
}

impl MemoryStore {
    pub(crate) fn new(enrolled: BTreeSet<OperatorId>) -> Self {
        Self { enrolled, ..Self::default() }
    }

    pub(crate) fn state(&self) -> State {
        self.state.lock().unwrap().clone()
    }

    pub(crate) fn take_in(&self, item: &FeedItem) -> Accepted {
        self.judge(item).unwrap_or_else(Accepted::Rejected)
    }

    fn judge(&self, item: &FeedItem) -> Result<Accepted, &'static str> {
        if item.encode().len() > FEED_ITEM_BYTES_MAX {
            return Err("oversized");
        }
        let verified = VerifiedEntry::verify_item(item, &self.enrolled).map_err(|e| e.name())?;
        if verified.signed_at() > Timestamp::from_unix_seconds(SIGNED_AT + 300) {
            return Err(reason::FUTURE);
        }
        let mut state = self.state.lock().unwrap();
        let State { feeds, blobs, wanted, proofs } = &mut *state;
        let position = verified.position();
        let feed = feeds.entry(position.node).or_default();
        match feed.head.step(&position, verified.digest()) {
            FeedStep::Append(head) => {
                feed.head = head;
                feed.items.push((verified.digest(), item.clone()));
                wanted.extend(verified.evidence().into_iter().filter(|digest| !blobs.contains_key(digest)));
                Ok(Accepted::New)
            }
            FeedStep::Gap { expected } => Ok(Accepted::Gap { expected }),
            FeedStep::Fork => Err(reason::FORK),
            FeedStep::Past => {
                let (held, other) = &feed.items[usize::try_from(position.sequence).unwrap()];
                if *held == verified.digest() {
                    return Ok(Accepted::Duplicate);
                }
                if proofs.contains_key(&position.node) {
                    return Err(reason::FORK);
                }
                let proof = EquivocationProof::verify(other.clone(), item.clone(), &self.enrolled).unwrap();
                proofs.insert(position.node, proof);
                Ok(Accepted::Equivocation)
            }
        }
    }

    pub(crate) fn held(&self) -> Vec<(NodeId, FeedHead)> {
        self.state.lock().unwrap().feeds.iter().map(|(node, feed)| (*node, feed.head)).collect()
    }

    pub(crate) fn some_entries(&self, node: NodeId, from: u64, bytes_max: usize) -> Vec<FeedItem> {
        let state = self.state.lock().unwrap();
        let Some(feed) = state.feeds.get(&node) else { return Vec::new() };
        let mut left = bytes_max;
        let fits = |item: &&FeedItem| match left.checked_sub(item.encode().len()) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        };
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        feed.items.iter().skip(from).map(|(_, item)| item).take_while(fits).cloned().collect()
    }

    pub(crate) fn file(&self, digest: Digest) -> Option<Vec<u8>> {
        self.state.lock().unwrap().blobs.get(&digest).cloned()
    }

    pub(crate) fn put(&self, bytes: Vec<u8>) {
        let mut state = self.state.lock().unwrap();
        state.wanted.remove(&Digest::of(&bytes));
        state.blobs.insert(Digest::of(&bytes), bytes);
    }

    pub(crate) fn wants(&self) -> Vec<Digest> {
        self.state.lock().unwrap().wanted.iter().copied().collect()
    }
}

impl FeedStore for MemoryStore {
    async fn heads(&self) -> Vec<(NodeId, FeedHead)> {
        self.held()
    }

    async fn entries(&self, node: NodeId, from: u64, bytes_max: usize) -> Vec<FeedItem> {
        self.some_entries(node, from, bytes_max)
    }

    async fn blob(&self, digest: Digest) -> Option<Vec<u8>> {
        self.file(digest)
    }

    async fn accept(&self, items: Vec<FeedItem>) -> Vec<Accepted> {
        items.iter().map(|item| self.take_in(item)).collect()
    }

    async fn wanted_blobs(&self) -> Vec<Digest> {
        self.wants()
    }

    async fn put_blob(&self, bytes: Vec<u8>) {
        self.put(bytes);
    }

    async fn notices(&self) -> Vec<Told> {
        self.state().proofs.into_iter().map(|(node, proof)| Told::feed_equivocation(node, proof.items().clone())).collect()
    }

    async fn accept_notice(&self, notice: Notice) -> Accepted {
        let Notice::FeedEquivocation(items) = notice else { return Accepted::Rejected(reason::UNKNOWN_LOG) };
        let [first, second] = *items;
        let Ok(proof) = EquivocationProof::verify(first, second, &self.enrolled) else { return Accepted::Rejected(reason::BAD_NOTICE) };
        let mut state = self.state.lock().unwrap();
        if state.proofs.contains_key(&proof.node()) {
            return Accepted::Duplicate;
        }
        state.proofs.insert(proof.node(), proof);
        Accepted::New
    }

    async fn peer_book(&self) -> Option<Vec<u8>> {
        self.book.lock().unwrap().clone()
    }

    async fn keep_peer_book(&self, bytes: Vec<u8>) {
        *self.book.lock().unwrap() = Some(bytes);
    }
}
