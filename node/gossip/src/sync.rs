//! Feed sync: decides what to ask whom, so that every peer comes to hold every feed.
//!
//! A pure machine: [`Sync::handle`] takes an event and the time since its start, and answers with
//! effects. It knows no sockets, files, clock or global randomness, and never sees inside an item.
//! One request a peer is under way at a time; what to ask next is derived from the state, not queued,
//! so there is nothing to grow. A peer that lies costs one request a round and is asked less and less.
//!
//! `docs/spec/mesh.md`, section "Feed sync".

mod held;
mod peer;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libp2p::PeerId;
use quorate_proto::feed::FeedHead;
use quorate_proto::verified::FeedItem;
use quorate_proto::wire::{Beginning, BeginningWanted, Notice, SyncRequest, SyncResponse};
use quorate_proto::{Digest, NodeId};

use crate::store::{Accepted, reason};
use held::Held;
use peer::{Open, Peer, Want};
use wanted::Wanted;

/// Pause between two questions for a peer's heads, less or more a fifth.
pub const HEADS_EVERY: Duration = Duration::from_secs(30);

/// First pause between two questions for a peer's heads where one of its connections has closed: the other end may
/// see it some seconds later, and go on as if nothing had happened. It doubles up to [`HEADS_EVERY`].
pub const HEADS_SOON: Duration = Duration::from_secs(4);

/// First pause between two questions for a peer's notices: two that have just met hear much. It doubles up to
/// [`HEADS_EVERY`].
pub const NOTICES_SOON: Duration = Duration::from_secs(1);

/// First pause between two questions for a peer's peers: who has just come knows few. It doubles up to
/// [`PEERS_EVERY`].
pub const PEERS_SOON: Duration = Duration::from_secs(2);

/// Longest pause between two questions for a peer's peers.
pub const PEERS_EVERY: Duration = Duration::from_mins(2);

/// First pause after an answer that brought nothing; it doubles up to [`HEADS_EVERY`].
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How long a peer's copy of a feed is left alone that does not count here, or that has two histories.
pub const REST: Duration = Duration::from_mins(10);

/// How many feeds of one peer's heads are remembered: of those where the peer is ahead. What is left over
/// comes with its next heads.
pub const CLAIMS_MAX: usize = 4096;

/// Names one question, so that a late answer to an older one is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AskId(u64);

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A peer that speaks the protocol is connected.
    Connected(PeerId),
    /// One of its connections is gone and another stands: what was gossiped over the one may be lost.
    Thinned(PeerId),
    /// Its last connection is gone.
    Disconnected(PeerId),
    /// What the store holds: the end of each feed.
    Held(Vec<(NodeId, FeedHead)>),
    /// The files that the store wants, the most urgent first.
    Wanted(Vec<Digest>),
    /// The digest of the notices that the store has, and the beginnings of trees that it asks for.
    Known {
        /// `quorate_proto::wire::notices_digest` of them.
        notices: Digest,
        /// The most urgent first.
        beginnings: Vec<BeginningWanted>,
    },
    /// A verified item came over gossip, and entries before it are missing.
    Gap {
        /// Who passed it on.
        peer: PeerId,
        /// Whose feed.
        node: NodeId,
        /// What is missing first.
        expected: u64,
    },
    /// A verified item came over gossip that follows another history than the one that is held.
    Fork {
        /// Who passed it on.
        peer: PeerId,
        /// Whose feed.
        node: NodeId,
    },
    /// The answer to a question.
    Answered {
        /// Which.
        id: AskId,
        /// Who answered.
        peer: PeerId,
        /// What.
        response: SyncResponse,
    },
    /// No answer, or one that could not be read.
    Failed {
        /// To which question.
        id: AskId,
        /// Whose.
        peer: PeerId,
    },
    /// The store has dealt with the items of [`Effect::Store`].
    Stored {
        /// The question that brought them.
        id: AskId,
        /// Who sent them.
        peer: PeerId,
        /// One outcome an item.
        outcomes: Vec<Accepted>,
    },
    /// The time of [`Effect::WakeAt`] has come.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send a question; answer with [`Event::Answered`] or [`Event::Failed`].
    Ask {
        /// Names it.
        id: AskId,
        /// To whom.
        peer: PeerId,
        /// What.
        request: SyncRequest,
    },
    /// Hand the items to the store; answer with [`Event::Stored`].
    Store {
        /// The question that brought them.
        id: AskId,
        /// Who sent them.
        peer: PeerId,
        /// The items.
        items: Vec<FeedItem>,
    },
    /// Keep a file whose digest was wanted and is right.
    Keep(Vec<u8>),
    /// Look at signed addresses that the peer told. None of them was checked.
    Meet {
        /// Who told them.
        peer: PeerId,
        /// The records.
        records: Vec<Vec<u8>>,
    },
    /// Hand notices to the store.
    Hear {
        /// Who told them.
        peer: PeerId,
        /// The notices.
        notices: Vec<Notice>,
    },
    /// Hand the answer to a wanted beginning to the store.
    Link {
        /// Who answered.
        peer: PeerId,
        /// What was asked.
        wanted: BeginningWanted,
        /// The answer.
        beginning: Beginning,
    },
    /// Look up what the store holds; answer with [`Event::Held`] and [`Event::Wanted`].
    Look,
    /// The peer broke the protocol in the named way.
    Misbehaved {
        /// Who.
        peer: PeerId,
        /// How.
        reason: &'static str,
    },
    /// Send [`Event::Tick`] at this time. Replaces the one before.
    WakeAt(Duration),
}

/// The machine.
#[derive(Debug)]
pub struct Sync {
    peers: BTreeMap<PeerId, Peer>,
    held: Held,
    wanted: Wanted,
    notices: Option<Digest>,
    beginnings: Vec<BeginningWanted>,
    next_id: u64,
    random: u64,
}

impl Sync {
    /// A machine that knows no peers and holds nothing. `seed` spreads its timers.
    pub fn new(seed: u64) -> Self {
        Self {
            peers: BTreeMap::new(),
            held: Held::default(),
            wanted: Wanted::default(),
            notices: None,
            beginnings: Vec::new(),
            next_id: 0,
            random: seed,
        }
    }

    /// Every feed that is held or told of, with how many entries are held, and how many some peer says that it holds.
    pub fn feeds(&self) -> impl Iterator<Item = (NodeId, u64, u64)> {
        let mut feeds: BTreeMap<NodeId, (u64, u64)> = self.held.feeds().map(|(node, next)| (node, (next, next))).collect();
        for (node, next) in self.peers.values().flat_map(Peer::ahead) {
            let feed = feeds.entry(node).or_default();
            feed.1 = feed.1.max(next);
        }
        feeds.into_iter().map(|(node, (held, told))| (node, held, told))
    }

    /// Takes an event at `now`, the time since the machine began.
    pub fn handle(&mut self, event: Event, now: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Connected(peer) => {
                self.peers.entry(peer).or_insert_with(|| Peer::new(now));
            }
            Event::Thinned(peer) => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.thinned(now);
                }
            }
            Event::Disconnected(peer) => {
                self.peers.remove(&peer);
            }
            Event::Held(heads) => self.on_held(heads, now),
            Event::Wanted(wanted) => self.wanted = Wanted::new(wanted),
            Event::Known { notices, beginnings } => (self.notices, self.beginnings) = (Some(notices), beginnings),
            Event::Gap { peer, node, expected } => self.on_gap(peer, node, expected, now),
            Event::Fork { peer, node } => self.on_fork(peer, node, now),
            Event::Answered { id, peer, response } => self.on_answer(id, peer, response, now, &mut effects),
            Event::Failed { id, peer } => self.on_failure(id, peer, now),
            Event::Stored { id, peer, outcomes } => self.on_stored(id, peer, &outcomes, now, &mut effects),
            Event::Tick => {}
        }
        self.plan(now, &mut effects);
        effects.extend(self.wake_at(now).map(Effect::WakeAt));
        effects
    }

    fn on_held(&mut self, heads: Vec<(NodeId, FeedHead)>, now: Duration) {
        self.held = Held::new(heads);
        for peer in self.peers.values_mut() {
            peer.compare(&self.held, now);
        }
    }

    fn on_gap(&mut self, peer: PeerId, node: NodeId, expected: u64, now: Duration) {
        self.held.set_next(node, expected);
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.gap(node, expected.saturating_add(1), now);
        }
    }

    /// The peer's entry before the fork differs from ours: asking for it brings the proof.
    fn on_fork(&mut self, peer: PeerId, node: NodeId, now: Duration) {
        let from = self.held.next(&node).saturating_sub(1);
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.probe(node, from, now);
        }
    }

    fn on_answer(&mut self, id: AskId, from: PeerId, response: SyncResponse, now: Duration, effects: &mut Vec<Effect>) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let Some(request) = peer.request(id) else { return };
        match (request, response) {
            (SyncRequest::Heads { .. }, SyncResponse::Heads(heads)) => {
                peer.settle();
                peer.claim(heads, &self.held, now);
                self.postpone_heads(from, now);
                effects.push(Effect::Look);
            }
            (SyncRequest::Heads { known: Some(_) }, SyncResponse::Same) => {
                peer.settle();
                peer.claim(Vec::new(), &self.held, now);
                self.postpone_heads(from, now);
                effects.push(Effect::Look);
            }
            // The peer stays busy until the store has answered.
            (SyncRequest::Entries { .. }, SyncResponse::Entries(items)) if !items.is_empty() => {
                effects.push(Effect::Store { id, peer: from, items });
            }
            (SyncRequest::Entries { node, .. }, SyncResponse::Entries(_)) => {
                peer.settle();
                // Where another history was asked for, the peer does not show it yet.
                peer.wake(&node);
                peer.stall(now);
            }
            (SyncRequest::Blob(digest), SyncResponse::Blob(Some(bytes))) if Digest::of(&bytes) == digest => {
                peer.settle();
                self.wanted.remove(digest);
                effects.push(Effect::Keep(bytes));
            }
            (SyncRequest::Blob(digest), SyncResponse::Blob(None)) => {
                peer.settle();
                peer.lacks(digest, now);
            }
            (SyncRequest::Blob(digest), SyncResponse::Blob(Some(_))) => {
                peer.lacks(digest, now);
                peer.lied(now);
                effects.push(Effect::Misbehaved { peer: from, reason: "wrong-blob" });
            }
            (request, response) => self.on_other_answer(from, request, response, now, effects),
        }
    }

    /// What is not about feeds and files.
    fn on_other_answer(&mut self, from: PeerId, request: SyncRequest, response: SyncResponse, now: Duration, effects: &mut Vec<Effect>) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        match (request, response) {
            (SyncRequest::Peers, SyncResponse::Peers(records)) => {
                peer.settle();
                effects.push(Effect::Meet { peer: from, records });
            }
            (SyncRequest::Notices { .. }, SyncResponse::Notices(notices)) => {
                peer.settle();
                effects.push(Effect::Hear { peer: from, notices });
            }
            (SyncRequest::Notices { known: Some(_) }, SyncResponse::Same) => peer.settle(),
            (SyncRequest::Beginning(wanted), SyncResponse::Beginning(Some(beginning))) => {
                peer.settle();
                // Whatever it comes to, this peer has said what it knows.
                peer.lacks(lacking_key(&wanted), now);
                effects.push(Effect::Link { peer: from, wanted, beginning });
            }
            (SyncRequest::Beginning(wanted), SyncResponse::Beginning(None)) => {
                peer.settle();
                peer.lacks(lacking_key(&wanted), now);
            }
            _ => {
                peer.lied(now);
                effects.push(Effect::Misbehaved { peer: from, reason: "wrong-answer" });
            }
        }
    }

    fn on_failure(&mut self, id: AskId, peer: PeerId, now: Duration) {
        if let Some(peer) = self.peers.get_mut(&peer).filter(|peer| peer.request(id).is_some()) {
            peer.fail(now);
        }
    }

    fn on_stored(&mut self, id: AskId, from: PeerId, outcomes: &[Accepted], now: Duration, effects: &mut Vec<Effect>) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let Some(SyncRequest::Entries { node, from: first }) = peer.request(id) else { return };
        peer.settle();
        let good = outcomes.iter().take_while(|outcome| matches!(outcome, Accepted::New | Accepted::Duplicate)).count();
        let held = self.held.next(&node).max(first + good as u64);
        self.held.set_next(node, held);
        // What the answer did is seen by looking: its items need not be those that were asked for.
        effects.push(Effect::Look);
        if outcomes.contains(&Accepted::New) {
            peer.progressed();
        }
        match outcomes.get(good) {
            None | Some(Accepted::New | Accepted::Duplicate) if outcomes.contains(&Accepted::New) => {}
            None | Some(Accepted::New | Accepted::Duplicate | Accepted::Unavailable) => peer.stall(now),
            Some(Accepted::Gap { expected }) => {
                self.held.set_next(node, *expected);
                peer.stall(now);
            }
            Some(Accepted::Rejected(reason::FORK)) if first == held && first > 0 && !peer.rests(&node, now) => {
                peer.probe(node, first - 1, now);
            }
            // Only this peer's copy is left alone: whose items these are is the peer's word.
            Some(Accepted::Equivocation | Accepted::Rejected(reason::FORK | reason::FUTURE | reason::OWN_FEED | "unknown-operator")) => {
                peer.rest(node, now);
            }
            Some(Accepted::Rejected(reason)) => {
                peer.rest(node, now);
                peer.lied(now);
                effects.push(Effect::Misbehaved { peer: from, reason });
            }
        }
    }

    fn postpone_heads(&mut self, peer: PeerId, now: Duration) {
        let pause = self.jittered(HEADS_EVERY);
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.told_heads(pause, now);
        }
    }

    /// Gives every idle peer its next question.
    fn plan(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let mut busy: BTreeSet<Want> = self.peers.values().filter_map(Peer::under_way).collect();
        let mut known = None;
        for (id, peer) in &mut self.peers {
            let skip = |want: &Want| busy.contains(want);
            let open = Open { held: &self.held, wanted: &self.wanted, notices: self.notices, beginnings: &self.beginnings };
            let Some(mut request) = peer.next_request(&open, &skip, now) else { continue };
            if let SyncRequest::Heads { known: own } = &mut request {
                *own = Some(*known.get_or_insert_with(|| self.held.digest()));
            }
            let ask = AskId(self.next_id);
            self.next_id += 1;
            peer.ask(ask, request.clone(), now);
            busy.extend(peer.under_way());
            effects.push(Effect::Ask { id: ask, peer: *id, request });
        }
    }

    fn wake_at(&self, now: Duration) -> Option<Duration> {
        let wanted: BTreeSet<Digest> = self.beginnings.iter().map(lacking_key).collect();
        let sought = |digest: &Digest| self.wanted.contains(*digest) || wanted.contains(digest);
        self.peers.values().filter_map(|peer| peer.wake_at(&sought, now)).min()
    }

    /// `span`, less or more a fifth.
    fn jittered(&mut self, span: Duration) -> Duration {
        // SplitMix64, D. Lea and others, 2014: enough to spread timers, and the same on every run.
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let thousandths = u32::try_from((z ^ (z >> 31)) % 400).unwrap_or(0);
        span * (800 + thousandths) / 1000
    }
}

/// What a beginning is called among the things that a peer does not have.
fn lacking_key(wanted: &BeginningWanted) -> Digest {
    Digest::of(&SyncRequest::Beginning(*wanted).encode())
}
