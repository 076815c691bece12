//! Taking in items: each is verified and finds its place; what fits one feed is written at once.

use std::collections::BTreeMap;

use quorate_gossip::Accepted;
use quorate_gossip::store::reason;
use quorate_proto::entry::VerifiedEntry;
use quorate_proto::feed::{EquivocationProof, FeedPosition, FeedStep};
use quorate_proto::verified::FeedItem;
use quorate_proto::{Digest, NodeId, Timestamp};

use super::file::Batch;
use super::{Inner, State};

/// Items that are being taken in together.
struct Intake<'a> {
    inner: &'a Inner,
    state: &'a mut State,
    items: &'a [FeedItem],
    pending: BTreeMap<NodeId, Pending>,
}

/// Items of one feed that fit and wait for one write.
struct Pending {
    batch: Batch,
    /// Which of the handed-in items they are.
    indices: Vec<usize>,
    evidence: Vec<Digest>,
}

/// Verifies items and makes durable what fits; one outcome an item.
pub(super) fn take_in(inner: &Inner, items: &[FeedItem], now: Timestamp) -> Vec<Accepted> {
    // Signatures are checked before the lock is taken.
    let verified: Vec<_> = items.iter().map(|item| inner.door.verify(item, now)).collect();
    let mut state = inner.lock();
    let mut intake = Intake { inner, state: &mut state, items, pending: BTreeMap::new() };
    let place = |(index, verified): (usize, &Result<VerifiedEntry, &'static str>)| match verified {
        Ok(verified) => intake.place(index, verified),
        Err(name) => Accepted::Rejected(name),
    };
    let mut outcomes: Vec<Accepted> = verified.iter().enumerate().map(place).collect();
    intake.write(&mut outcomes);
    for (entry, outcome) in verified.iter().zip(&outcomes) {
        if let (Ok(entry), Accepted::New) = (entry, outcome) {
            look_at(&mut state, entry, now);
        }
    }
    outcomes
}

/// What was seen of tasks is known here from the moment that it is durable. Where that cannot be written down, it
/// is lost with a restart: then the node names fewer commitments than it saw, never more.
fn look_at(state: &mut State, entry: &VerifiedEntry, now: Timestamp) {
    state.claims.saw(entry);
    if let Err(error) = state.holds.saw(entry, now) {
        tracing::error!(error = &error as &dyn std::error::Error, "what was seen of a task that is held back is not durable");
    }
}

impl Intake<'_> {
    fn place(&mut self, index: usize, verified: &VerifiedEntry) -> Accepted {
        let (position, digest) = (verified.position(), verified.digest());
        if position.node == self.inner.own {
            return self.place_own(&position, digest);
        }
        let feed = self.state.feed(self.inner, position.node);
        let waiting =
            self.pending.entry(position.node).or_insert_with(|| Pending { batch: feed.batch(), indices: Vec::new(), evidence: Vec::new() });
        match waiting.batch.step(&position, digest) {
            FeedStep::Append(head) => {
                waiting.batch.push(&self.items[index], digest, head);
                waiting.indices.push(index);
                waiting.evidence.extend(verified.evidence());
                Accepted::New
            }
            FeedStep::Gap { expected } => Accepted::Gap { expected },
            FeedStep::Fork => Accepted::Rejected(reason::FORK),
            FeedStep::Past => {
                let held = feed.digest(position.sequence).or_else(|| waiting.batch.digest(position.sequence));
                if held == Some(digest) { Accepted::Duplicate } else { self.convict(&position, index) }
            }
        }
    }

    /// An own entry that we do not hold, signed with our key: a second copy of this node is at work, or
    /// the disk is older than what was published. Either way this key must sign nothing more.
    fn place_own(&self, position: &FeedPosition, digest: Digest) -> Accepted {
        let held = self.state.feeds.get(&position.node).and_then(|feed| feed.digest(position.sequence));
        if held == Some(digest) {
            return Accepted::Duplicate;
        }
        let reason = format!("a peer holds another entry {} of our own feed: {digest}", position.sequence);
        if let Err(error) = self.inner.own_files.halt(&reason) {
            tracing::error!(error = &error as &dyn std::error::Error, "the halt of our own feed is not durable");
        }
        self.inner.halted.send_replace(Some(reason));
        Accepted::Rejected(reason::OWN_FEED)
    }

    /// Item `index` contradicts the one that is held at `position`.
    fn convict(&mut self, position: &FeedPosition, index: usize) -> Accepted {
        let node = position.node;
        if self.state.proofs.has(&node) {
            return Accepted::Rejected(reason::FORK);
        }
        let Some(held) = self.held(position) else { return Accepted::Unavailable };
        let Ok(proof) = EquivocationProof::verify(held, self.items[index].clone(), self.inner.door.enrolled()) else {
            return Accepted::Rejected(reason::FORK);
        };
        tracing::warn!(%node, sequence = proof.sequence(), operator = %proof.operator(), "node has signed two histories; the proof is kept");
        match self.state.proofs.keep(proof) {
            Ok(()) => Accepted::Equivocation,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "proof of equivocation not written");
                Accepted::Unavailable
            }
        }
    }

    /// The item at `position` that came first: on disk, or still waiting to be written.
    fn held(&self, position: &FeedPosition) -> Option<FeedItem> {
        let feed = self.state.feeds.get(&position.node)?;
        match position.sequence.checked_sub(feed.head().next()) {
            None => feed.items(position.sequence, usize::MAX).ok()?.into_iter().next(),
            Some(n) => {
                let index = self.pending.get(&position.node)?.indices.get(usize::try_from(n).ok()?)?;
                Some(self.items[*index].clone())
            }
        }
    }

    fn write(self, outcomes: &mut [Accepted]) {
        for (node, Pending { batch, indices, evidence }) in self.pending {
            if batch.is_empty() {
                continue;
            }
            match self.state.feed(self.inner, node).append(batch) {
                Ok(()) => self.state.wanted.extend(node, evidence.into_iter().filter(|digest| !self.inner.blobs.has(*digest))),
                Err(error) => {
                    tracing::error!(%node, error = &error as &dyn std::error::Error, "feed not written");
                    for index in indices {
                        outcomes[index] = Accepted::Unavailable;
                    }
                }
            }
        }
    }
}
