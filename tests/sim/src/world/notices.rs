//! What everybody should know: proofs of two histories, and checkpoints of the log with the proofs against it.
//! What a checkpoint makes of a listener is decided by the real machine `quorate_tlog::views`; that what is new is
//! told once, and passed on where it is new, follows `node/gossip/src/actor/notices.rs`; what a node tells, `node/src/logs.rs`.

use std::rc::Rc;

use quorate_gossip::Accepted;
use quorate_gossip::store::{Passing, reason};
use quorate_proto::Digest;
use quorate_proto::wire::{Beginning, BeginningWanted, Notice, Told};
use quorate_tlog::merkle::ConsistencyProof;
use quorate_tlog::views::{Hearing, Question, ViewsError};
use quorate_tlog::{Hash, LogEquivocation, SignedNote, TreeHead, TreeView};

use super::{Blame, Message, World};
use crate::ledger::{Ledger, ORIGIN};
use crate::network::Half;

impl World {
    /// There are two trees with one key and a common beginning; two nodes of each half have a copy of theirs.
    pub fn begin_two_views(&mut self, halves: &[Half], common: u64) {
        let mut twins = [Ledger::default(), Ledger::default()];
        for ledger in &mut twins {
            ledger.append((0..common).map(|n| n.to_be_bytes().to_vec()).collect());
        }
        self.twins = Some(Box::new(twins));
        for (view, half) in [Half::Left, Half::Right].into_iter().enumerate() {
            let own: Vec<usize> = self.honest().filter(|node| halves[*node] == half).take(2).collect();
            for node in own {
                self.nodes[node].mirrors = Some(view);
            }
        }
    }

    /// All that a node knows.
    pub(super) fn told(&self, number: usize) -> Vec<Told> {
        let node = &self.nodes[number];
        let proofs = node.store.convicted().filter_map(|id| Some(Told::feed_equivocation(id, node.store.proof(id)?.items().clone())));
        let logs = node.views.logs().flat_map(|(origin, view)| {
            let proof = view.conviction().map(|proof| Told::log_equivocation(origin.as_str(), proof.to_string().into_bytes()));
            let checkpoints = view.told().into_iter().map(|note| Told::checkpoint(note.to_string().into_bytes()));
            checkpoints.chain(proof).collect::<Vec<_>>()
        });
        logs.chain(proofs).collect()
    }

    /// How trees begin that a node has heard of.
    pub(super) fn wanted_beginnings(&self, number: usize) -> Vec<BeginningWanted> {
        self.nodes[number].views.open().iter().rev().map(wanted).collect()
    }

    /// Gossips what was not told yet.
    pub(super) fn tell(&mut self, number: usize, told: Vec<Told>) {
        if !self.nodes[number].role.relays() {
            return;
        }
        for Told { about, notice } in told {
            if self.nodes[number].memory.told.insert(about) {
                let (id, notice) = (Digest::of(&notice.encode()), Rc::new(notice));
                self.nodes[number].memory.seen_notices.insert(id);
                self.spread(number, None, id, &notice);
            }
        }
    }

    fn spread(&mut self, number: usize, except: Option<usize>, id: Digest, notice: &Rc<Notice>) {
        let bytes = notice.encode().len();
        let to: Vec<usize> = self.nodes[number].links.iter().copied().filter(|to| Some(*to) != except).collect();
        for to in to {
            self.send(number, to, bytes, &Message::Notice(id, Rc::clone(notice)));
        }
    }

    /// A gossiped notice.
    pub(super) fn hear_notice(&mut self, from: usize, to: usize, id: Digest, notice: &Rc<Notice>) {
        let (peer, now) = (self.nodes[from].peer, self.now);
        let node = &mut self.nodes[to];
        if !node.memory.seen_notices.insert(id) || !node.memory.frames.admit(peer, now) {
            return;
        }
        let outcome = self.accept_notice(to, notice);
        match outcome.passing() {
            Passing::On if self.nodes[to].role.relays() => self.spread(to, Some(from), id, notice),
            _ => self.blame_for(to, from, outcome),
        }
    }

    /// Notices of a sync answer.
    pub(super) fn hear_answer(&mut self, to: usize, from: usize, notices: &[Notice]) {
        for notice in notices {
            let outcome = self.accept_notice(to, notice);
            self.blame_for(to, from, outcome);
        }
    }

    fn blame_for(&mut self, by: usize, of: usize, outcome: Accepted) {
        if let (Passing::Punished, Accepted::Rejected(reason)) = (outcome.passing(), outcome)
            && self.nodes[by].is_honest()
        {
            self.observed.blames.push(Blame { by, of, reason });
        }
    }

    fn accept_notice(&mut self, to: usize, notice: &Notice) -> Accepted {
        let outcome = match notice {
            Notice::FeedEquivocation(items) => {
                let [first, second] = [&items[0], &items[1]].map(|item| self.frames.intern(item));
                match self.frames.proof(first, second) {
                    None => Accepted::Rejected(reason::BAD_NOTICE),
                    Some(proof) => {
                        let guilty = proof.node();
                        let outcome = self.nodes[to].store.take_in_proof(proof);
                        if outcome == Accepted::New {
                            self.observed.proven.entry((to, guilty)).or_insert(self.now);
                        }
                        outcome
                    }
                }
            }
            Notice::Checkpoint(note) => match SignedNote::parse(note) {
                Ok(note) => accepted(&self.nodes[to].views.hear(note)),
                Err(_) => Accepted::Rejected(reason::BAD_NOTICE),
            },
            Notice::LogEquivocation(proof) => match LogEquivocation::parse(proof) {
                Ok(proof) => accepted(&self.nodes[to].views.convict(proof)),
                Err(_) => Accepted::Rejected(reason::BAD_NOTICE),
            },
        };
        self.heard(to);
        outcome
    }

    /// The answer to a question after a tree's beginning.
    pub(super) fn link(&mut self, to: usize, from: usize, wanted: &BeginningWanted, beginning: Beginning) {
        let question = Question {
            origin: ORIGIN.parse().expect("an origin"),
            old_size: wanted.old_size,
            size: wanted.size,
            root: Hash::from_bytes(wanted.root),
        };
        let path = beginning.path.into_iter().map(Hash::from_bytes).collect();
        let linked = self.nodes[to].views.link(&question, Hash::from_bytes(beginning.root), ConsistencyProof { path });
        self.blame_for(to, from, accepted(&linked));
        self.heard(to);
    }

    /// Who has a tree compares with it what it hears, as a coordinator does (`coordinator/src/mesh.rs`).
    fn compare_with_own_tree(&mut self, number: usize) {
        for question in self.nodes[number].views.open() {
            let Some(Beginning { root, path }) = self.beginning(number, &wanted(&question)) else { continue };
            let proof = ConsistencyProof { path: path.into_iter().map(Hash::from_bytes).collect() };
            let linked = self.nodes[number].views.link(&question, Hash::from_bytes(root), proof);
            debug_assert!(linked.is_ok(), "an own tree says nothing wrong");
        }
    }

    /// What was heard is looked at; who can convict the log by now is written down.
    fn heard(&mut self, number: usize) {
        self.compare_with_own_tree(number);
        let convicts = self.nodes[number].views.logs().any(|(_, view)| view.conviction().is_some());
        if convicts {
            self.observed.log_convicted.entry(number).or_insert(self.now);
        }
        self.look(number);
    }

    /// How a tree begins, by who has the tree.
    pub(super) fn beginning(&self, number: usize, wanted: &BeginningWanted) -> Option<Beginning> {
        let ledger = &self.twins.as_ref()?[self.nodes[number].mirrors?];
        let head = TreeHead { size: wanted.size, root: Hash::from_bytes(wanted.root) };
        let (old, proof) = TreeView::new(head, ledger.tiles()).ok()?.consistency(wanted.old_size).ok()?;
        Some(Beginning { root: *old.root.as_bytes(), path: proof.path.iter().map(|hash| *hash.as_bytes()).collect() })
    }

    /// One of the two trees grows, and those that mirror it hear of its checkpoint.
    pub(super) fn show(&mut self, view: usize, count: u64) {
        let Some(twins) = &mut self.twins else { return };
        let size = twins[view].size();
        let (_, note) = twins[view].append((0..count).map(|n| format!("{view} {}", size + n).into_bytes()).collect());
        for number in 0..self.nodes.len() {
            if self.nodes[number].mirrors == Some(view) {
                self.accept_notice(number, &Notice::Checkpoint(note.to_string().into_bytes()));
            }
        }
    }
}

fn wanted(question: &Question) -> BeginningWanted {
    BeginningWanted {
        log: Digest::of(question.origin.as_str().as_bytes()),
        old_size: question.old_size,
        size: question.size,
        root: *question.root.as_bytes(),
    }
}

fn accepted(hearing: &Result<Hearing, ViewsError>) -> Accepted {
    match hearing {
        Ok(Hearing::New | Hearing::Convicts(_)) => Accepted::New,
        Ok(Hearing::Known) => Accepted::Duplicate,
        Err(ViewsError::UnknownOrigin(_)) => Accepted::Rejected(reason::UNKNOWN_LOG),
        Err(_) => Accepted::Rejected(reason::BAD_NOTICE),
    }
}
