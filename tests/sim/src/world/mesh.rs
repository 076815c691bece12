//! Gossip and feed sync. Gossip is modelled as flooding over the connections, with the real door, the real rate
//! limits and the real rule of what is passed on; feed sync is the real machine, with its answers made here as
//! `node/gossip/src/actor/serve.rs` makes them.

use std::rc::Rc;

use quorate_gossip::Accepted;
use quorate_gossip::store::{Passing, reason};
use quorate_gossip::sync::{AskId, Effect, Event, HEADS_EVERY};
use quorate_proto::feed::FeedHead;
use quorate_proto::verified::FeedItem;
use quorate_proto::wire::{SyncRequest, SyncResponse, heads_digest, notices_digest};
use quorate_proto::{Digest, NodeId, SecretKey};

use super::{Blame, Inner, Message, World};
use crate::cast::{Answers, Role};
use crate::frames::FrameId;
use crate::node::{Look, Power};
use crate::store::Store;
use crate::timing::{ENTRIES_BYTES_MAX, LOOK, REQUEST_TIMEOUT, WRITE};

impl World {
    pub(super) fn arrive(&mut self, from: usize, to: usize, lives: (u32, u32), message: Message) {
        let node = &self.nodes[to];
        if node.power == Power::Off || (self.nodes[from].life, node.life) != lives {
            return;
        }
        match message {
            Message::Cosign(round, request) => self.cosign(from, to, round, &request),
            Message::Cosigned(round, answer) => self.cosigned(from, round, &answer),
            _ if !node.links.contains(&from) => {}
            Message::Frame(frame) => self.hear(from, to, frame),
            Message::Notice(id, notice) => self.hear_notice(from, to, id, &notice),
            Message::Request(id, request) => self.serve(from, to, id, &request),
            Message::Response(id, response) => {
                let peer = self.nodes[from].peer;
                self.machine(to, Event::Answered { id, peer, response: Rc::unwrap_or_clone(response) });
            }
        }
    }

    /// A gossiped item: what was seen is ignored, what is too much is ignored, the rest goes to the store.
    fn hear(&mut self, from: usize, to: usize, frame: FrameId) {
        let (peer, now) = (self.nodes[from].peer, self.now);
        let node = &mut self.nodes[to];
        if !node.memory.seen.insert(frame) || !node.memory.frames.admit(peer, now) {
            return;
        }
        if node.is_honest() {
            *self.observed.looked_at.entry((to, from)).or_default() += 1;
        }
        let outcome = self.take_in(to, frame);
        match outcome.passing() {
            Passing::On if self.nodes[to].role.relays() && self.is_within_its_rate(to, frame) => {
                self.later(to, WRITE, Inner::Pass(frame, Some(from)));
            }
            Passing::Punished if self.nodes[to].is_honest() => {
                let Accepted::Rejected(reason) = outcome else { return };
                self.observed.blames.push(Blame { by: to, of: from, reason });
            }
            _ => {}
        }
        let Ok(node) = self.frames.admission(frame).as_ref().map(|verified| verified.position().node) else { return };
        match outcome {
            // Of an equivocation there is a proof now that everybody should hear of.
            Accepted::New | Accepted::Equivocation => self.look(to),
            Accepted::Gap { expected } => self.machine(to, Event::Gap { peer, node, expected }),
            Accepted::Rejected(reason::FORK) => self.machine(to, Event::Fork { peer, node }),
            _ => {}
        }
    }

    /// Whether what one operator signs may be passed on: not where it would crowd out the others.
    fn is_within_its_rate(&mut self, node: usize, frame: FrameId) -> bool {
        let Ok(entry) = self.frames.admission(frame) else { return false };
        self.nodes[node].memory.operators.admit(entry.operator(), self.now)
    }

    /// The store's judgement; what is seen of it from above is written down.
    pub(super) fn take_in(&mut self, to: usize, frame: FrameId) -> Accepted {
        let clock = self.nodes[to].clock(self.now);
        let outcome = self.nodes[to].store.take_in(frame, &mut self.frames, clock);
        match outcome {
            Accepted::New => {
                if let Some(said) = self.observed.said_by_frame.get(&frame) {
                    self.observed.said[*said].held_at[to].get_or_insert(self.now);
                }
                self.desk_arrival(to, frame);
                if !self.jobs.is_empty() {
                    self.saw(to, frame);
                }
            }
            Accepted::Equivocation => {
                if let Ok(verified) = self.frames.admission(frame) {
                    self.observed.proven.entry((to, verified.position().node)).or_insert(self.now);
                }
            }
            _ => {}
        }
        outcome
    }

    pub(super) fn pass_on(&mut self, node: usize, frame: FrameId, except: Option<usize>) {
        let bytes = self.frames.bytes(frame);
        let to: Vec<usize> = self.nodes[node].links.iter().copied().filter(|to| Some(*to) != except).collect();
        for to in to {
            self.send(node, to, bytes, &Message::Frame(frame));
        }
    }

    /// A look into the store, one at a time.
    pub(super) fn look(&mut self, node: usize) {
        if self.nodes[node].memory.look == Look::Idle {
            self.nodes[node].memory.look = Look::UnderWay;
            self.later(node, LOOK, Inner::Look);
        }
    }

    pub(super) fn looked(&mut self, node: usize) {
        self.nodes[node].memory.look = Look::Idle;
        let store = &mut self.nodes[node].store;
        let (held, wanted) = (store.heads(), store.wants(self.now));
        self.machine(node, Event::Held(held));
        self.machine(node, Event::Wanted(wanted));
        let (told, beginnings) = (self.told(node), self.wanted_beginnings(node));
        self.machine(node, Event::Known { notices: notices_digest(&told), beginnings });
        self.tell(node, told);
    }

    pub(super) fn alarm(&mut self, node: usize) {
        let memory = &mut self.nodes[node].memory;
        memory.alarm = None;
        match memory.wake_at {
            Some(at) if at <= self.now => self.machine(node, Event::Tick),
            Some(at) => self.set_alarm(node, at),
            None => {}
        }
    }

    fn set_alarm(&mut self, node: usize, at: std::time::Duration) {
        let memory = &mut self.nodes[node].memory;
        if memory.alarm.is_none_or(|alarm| alarm > at) {
            memory.alarm = Some(at);
            let after = at.saturating_sub(self.now);
            self.later(node, after, Inner::Alarm);
        }
    }

    /// Gives the machine an event and does what it says.
    pub(super) fn machine(&mut self, node: usize, event: Event) {
        self.nodes[node].memory.wake_at = None;
        for effect in self.nodes[node].memory.sync.handle(event, self.now) {
            self.carry_out(node, effect);
        }
    }

    fn carry_out(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Ask { id, peer, request } => self.ask(node, self.by_peer[&peer], id, request),
            Effect::Store { id, peer, items } => {
                let frames: Vec<FrameId> = items.iter().map(|item| self.frames.intern(item)).collect();
                let outcomes = frames.into_iter().map(|frame| self.take_in(node, frame)).collect();
                self.later(node, WRITE, Inner::Machine(Box::new(Event::Stored { id, peer, outcomes })));
            }
            Effect::Keep(bytes) => {
                self.nodes[node].store.put(bytes);
                self.look(node);
            }
            // Addresses are not simulated: everybody knows its lines.
            Effect::Meet { .. } => {}
            Effect::Hear { peer, notices } => self.hear_answer(node, self.by_peer[&peer], &notices),
            Effect::Link { peer, wanted, beginning } => self.link(node, self.by_peer[&peer], &wanted, beginning),
            Effect::Look => self.look(node),
            Effect::Misbehaved { peer, reason } => {
                if self.nodes[node].is_honest() {
                    self.observed.blames.push(Blame { by: node, of: self.by_peer[&peer], reason });
                }
            }
            Effect::WakeAt(at) => {
                assert!(at > self.now, "a machine that wakes at once never sleeps");
                self.nodes[node].memory.wake_at = Some(at);
                self.set_alarm(node, at);
            }
        }
    }

    fn ask(&mut self, node: usize, to: usize, id: AskId, request: SyncRequest) {
        *self.observed.asked.entry((node, to)).or_default() += 1;
        let peer = self.nodes[to].peer;
        self.later(node, REQUEST_TIMEOUT, Inner::Machine(Box::new(Event::Failed { id, peer })));
        let bytes = request.encode().len();
        self.send(node, to, bytes, &Message::Request(id, Rc::new(request)));
    }

    /// A question over the limit is dropped.
    fn serve(&mut self, from: usize, to: usize, id: AskId, request: &SyncRequest) {
        let peer = self.nodes[from].peer;
        if !self.nodes[to].memory.requests.admit(peer, self.now) {
            return;
        }
        let response = match self.nodes[to].role.answers() {
            Answers::Truly => self.answer(from, to, request),
            Answers::Falsely => self.lie(request),
            Answers::Empty => nothing(request),
            Answers::Never => return,
        };
        let bytes = response.encode().len();
        self.send(to, from, bytes, &Message::Response(id, Rc::new(response)));
    }

    /// Who has two histories shows each peer one of them, and nothing else.
    fn answer(&self, from: usize, to: usize, request: &SyncRequest) -> SyncResponse {
        let node = &self.nodes[to];
        let store = self.store_for(to, from);
        let only = (node.role == Role::Equivocator).then(|| node.id());
        match request {
            SyncRequest::Heads { known } => {
                let turn = self.now.as_secs() / HEADS_EVERY.as_secs();
                let heads: Vec<_> = store.heads().into_iter().filter(|(node, _)| only.is_none_or(|only| *node == only)).collect();
                if *known == Some(heads_digest(heads.iter().copied())) { SyncResponse::Same } else { SyncResponse::of_heads(heads, turn) }
            }
            SyncRequest::Entries { node, from } => SyncResponse::Entries(store.entries(*node, *from, ENTRIES_BYTES_MAX, &self.frames)),
            SyncRequest::Blob(digest) => SyncResponse::Blob(store.file(*digest)),
            SyncRequest::Peers => SyncResponse::Peers(Vec::new()),
            SyncRequest::Notices { .. } if only.is_some() => SyncResponse::Notices(Vec::new()),
            SyncRequest::Notices { known } => {
                let told = self.told(to);
                if *known == Some(notices_digest(&told)) { SyncResponse::Same } else { SyncResponse::of_notices(told) }
            }
            SyncRequest::Beginning(wanted) => SyncResponse::Beginning(self.beginning(to, wanted)),
        }
    }

    /// Which of its stores a node shows to a peer.
    pub(super) fn store_for(&self, node: usize, peer: usize) -> &Store {
        match &self.nodes[node].twin {
            Some(twin) if self.is_shown_the_second(peer) => twin,
            _ => &self.nodes[node].store,
        }
    }

    fn lie(&mut self, request: &SyncRequest) -> SyncResponse {
        let someone = self.random.index(self.nodes.len());
        let victim = self.nodes[someone].id();
        let held = self.nodes[someone].store.position(victim).sequence;
        let invented = |next| FeedHead::behind(next, Digest::of(b"invented"));
        let stranger = SecretKey::from_seed(&[250; 32]).node_id();
        match self.random.below(9) {
            0 => SyncResponse::Heads(vec![(victim, invented(u64::MAX)), (stranger, invented(1 << 40))]),
            1 => SyncResponse::Heads(Vec::new()),
            2 => SyncResponse::Entries(vec![FeedItem { certificate: b"{}".to_vec(), envelope: vec![0; 40] }]),
            3 => SyncResponse::Entries(self.any_entry(someone, victim).into_iter().map(damaged).collect()),
            4 => SyncResponse::Entries(self.any_entry(someone, victim)),
            5 => SyncResponse::Blob(Some(vec![1; 10])),
            6 => SyncResponse::Same,
            7 => SyncResponse::Heads(vec![(victim, invented(held.max(1)))]),
            _ => nothing(request),
        }
    }

    /// Something that was signed, and not what was asked for.
    fn any_entry(&self, node: usize, author: NodeId) -> Vec<FeedItem> {
        self.nodes[node].store.entries(author, 0, 8000, &self.frames)
    }
}

fn nothing(request: &SyncRequest) -> SyncResponse {
    match request {
        SyncRequest::Heads { .. } => SyncResponse::Heads(Vec::new()),
        SyncRequest::Entries { .. } => SyncResponse::Entries(Vec::new()),
        SyncRequest::Blob(_) => SyncResponse::Blob(None),
        SyncRequest::Peers => SyncResponse::Peers(Vec::new()),
        SyncRequest::Notices { .. } => SyncResponse::Notices(Vec::new()),
        SyncRequest::Beginning(_) => SyncResponse::Beginning(None),
    }
}

/// Not what was signed.
pub(super) fn damaged(mut item: FeedItem) -> FeedItem {
    let middle = item.envelope.len() / 2;
    item.envelope[middle] ^= 1;
    item
}
