//! A feed store as the nodes have it on disk: what is in it survives a restart.
//!
//! The place of an item is decided by the real [`FeedHead::step`], whose turn a lacking file's is by the real [`Wanted`];
//! the rest follows `node/src/feed/intake.rs`.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use quorate_gossip::Accepted;
use quorate_gossip::store::{WANTED_MAX, reason};
use quorate_gossip::wanted::Wanted;
use quorate_proto::feed::{EquivocationProof, FeedHead, FeedPosition, FeedStep};
use quorate_proto::verified::FeedItem;
use quorate_proto::{Digest, NodeId, Timestamp};

use crate::frames::{FrameId, Frames};

/// Feeds, files and proofs of one node.
#[derive(Clone, Debug)]
pub struct Store {
    own: Option<NodeId>,
    feeds: BTreeMap<NodeId, Feed>,
    proofs: BTreeMap<NodeId, Rc<EquivocationProof>>,
    wanted: Wanted,
    files: BTreeMap<Digest, Rc<Vec<u8>>>,
    halted: bool,
}

#[derive(Clone, Debug, Default)]
struct Feed {
    head: FeedHead,
    entries: Vec<(Digest, FrameId)>,
}

impl Store {
    /// An empty store; `own` is the node whose feed nobody else may write.
    pub fn new(own: Option<NodeId>) -> Self {
        let (feeds, proofs, files) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { own, feeds, proofs, wanted: Wanted::default(), files, halted: false }
    }

    /// Where the next own entry stands.
    pub fn position(&self, node: NodeId) -> FeedPosition {
        self.feeds.get(&node).map_or_else(FeedHead::default, |feed| feed.head).position(node)
    }

    /// Takes an item in, as of the receiver's clock.
    pub fn take_in(&mut self, id: FrameId, frames: &mut Frames, now: Timestamp) -> Accepted {
        let verified = match frames.admission(id) {
            Ok(verified) => Rc::clone(verified),
            Err(name) => return Accepted::Rejected(name),
        };
        if verified.is_ahead_of(now) {
            return Accepted::Rejected(reason::FUTURE);
        }
        let position = verified.position();
        if Some(position.node) == self.own {
            return self.place_own(&position, verified.digest());
        }
        match self.feeds.entry(position.node).or_default().head.step(&position, verified.digest()) {
            FeedStep::Append(head) => {
                self.append(&position, head, verified.digest(), id);
                let lacking = verified.evidence().into_iter().filter(|digest| !self.files.contains_key(digest));
                self.wanted.extend(position.node, lacking);
                Accepted::New
            }
            FeedStep::Gap { expected } => Accepted::Gap { expected },
            FeedStep::Fork => Accepted::Rejected(reason::FORK),
            FeedStep::Past => self.compare(&position, verified.digest(), id, frames),
        }
    }

    /// Appends what the node has signed itself. False: it does not fit.
    pub fn take_own(&mut self, id: FrameId, frames: &Frames) -> bool {
        let Ok(verified) = frames.admission(id) else { return false };
        let position = verified.position();
        let step = self.feeds.entry(position.node).or_default().head.step(&position, verified.digest());
        if let FeedStep::Append(head) = step {
            self.append(&position, head, verified.digest(), id);
        }
        matches!(step, FeedStep::Append(_))
    }

    fn append(&mut self, position: &FeedPosition, head: FeedHead, digest: Digest, id: FrameId) {
        let feed = self.feeds.entry(position.node).or_default();
        feed.head = head;
        feed.entries.push((digest, id));
    }

    fn place_own(&mut self, position: &FeedPosition, digest: Digest) -> Accepted {
        if self.entry(position).is_some_and(|(held, _)| held == digest) {
            return Accepted::Duplicate;
        }
        self.halted = true;
        Accepted::Rejected(reason::OWN_FEED)
    }

    fn compare(&mut self, position: &FeedPosition, digest: Digest, id: FrameId, frames: &mut Frames) -> Accepted {
        let Some((held, frame)) = self.entry(position) else { return Accepted::Unavailable };
        if held == digest {
            return Accepted::Duplicate;
        }
        if self.proofs.contains_key(&position.node) {
            return Accepted::Rejected(reason::FORK);
        }
        let Some(proof) = frames.proof(frame, id) else { return Accepted::Rejected(reason::FORK) };
        self.proofs.insert(position.node, proof);
        Accepted::Equivocation
    }

    fn entry(&self, position: &FeedPosition) -> Option<(Digest, FrameId)> {
        let feed = self.feeds.get(&position.node)?;
        feed.entries.get(usize::try_from(position.sequence).ok()?).copied()
    }

    /// The end of every feed that is held.
    pub fn heads(&self) -> Vec<(NodeId, FeedHead)> {
        self.feeds.iter().map(|(node, feed)| (*node, feed.head)).filter(|(_, head)| head.next() > 0).collect()
    }

    /// The entries of a feed.
    pub fn feed(&self, node: NodeId) -> impl Iterator<Item = FrameId> {
        self.feeds.get(&node).into_iter().flat_map(|feed| feed.entries.iter().map(|(_, id)| *id))
    }

    /// The nodes whose feeds are held.
    pub fn held(&self) -> impl Iterator<Item = NodeId> {
        self.feeds.keys().copied()
    }

    /// Whether an item is held in its place.
    pub fn holds(&self, id: FrameId, frames: &Frames) -> bool {
        let Ok(verified) = frames.admission(id) else { return false };
        self.entry(&verified.position()).is_some_and(|(_, held)| held == id)
    }

    /// Consecutive entries of at most so many encoded bytes.
    pub fn entries(&self, node: NodeId, from: u64, bytes_max: usize, frames: &Frames) -> Vec<FeedItem> {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let mut left = bytes_max;
        let fits = |id: &FrameId| match left.checked_sub(frames.bytes(*id)) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        };
        self.feed(node).skip(from).take_while(fits).map(|id| frames.item(id).clone()).collect()
    }

    /// A file.
    pub fn file(&self, digest: Digest) -> Option<Vec<u8>> {
        self.files.get(&digest).map(|bytes| bytes.to_vec())
    }

    /// Keeps a file.
    pub fn put(&mut self, bytes: Vec<u8>) {
        let digest = Digest::of(&bytes);
        self.wanted.remove(digest);
        self.files.insert(digest, Rc::new(bytes));
    }

    /// Files that are named and lacking, those whose turn it is.
    pub fn wants(&mut self, now: Duration) -> Vec<Digest> {
        self.wanted.some(WANTED_MAX, now)
    }

    /// The proof against a node.
    pub fn proof(&self, node: NodeId) -> Option<&Rc<EquivocationProof>> {
        self.proofs.get(&node)
    }

    /// Keeps a proof that came from elsewhere. It does not change the feed.
    pub fn take_in_proof(&mut self, proof: Rc<EquivocationProof>) -> Accepted {
        match self.proofs.insert(proof.node(), proof) {
            None => Accepted::New,
            Some(_) => Accepted::Duplicate,
        }
    }

    /// The nodes that are convicted.
    pub fn convicted(&self) -> impl Iterator<Item = NodeId> {
        self.proofs.keys().copied()
    }

    /// Whether another history of the own key was seen.
    pub fn is_halted(&self) -> bool {
        self.halted
    }
}
