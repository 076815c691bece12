//! What nodes sign. Statements are signed with real keys, stand in the node's feed, and are durable before anybody
//! hears of them.

use quorate_proto::commitment::Reveals;
use quorate_proto::feed::FeedPosition;
use quorate_proto::result::Outcome;
use quorate_proto::verified::FeedItem;
use quorate_proto::{ArtifactId, Digest, TaskId};

use super::mesh::damaged;
use super::{Files, Happening, Message, Said, World};
use crate::frames::FrameId;
use crate::node::Power;

/// What a node says, of an artifact by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The published bytes came out.
    Identical(u32),
    /// These other bytes came out.
    Other(u32, u8),
}

/// Junk frames of a spammer: so many at a time, so many times a second.
const SPAM_BURST: u32 = 20;
const SPAM_EVERY: std::time::Duration = std::time::Duration::from_millis(20);

impl Word {
    /// What it is about.
    pub fn artifact(self) -> ArtifactId {
        let (Self::Identical(number) | Self::Other(number, _)) = self;
        quorate_tests::artifact(&format!("sample-{number}"), "1.0", &number.to_be_bytes())
    }

    pub(super) fn outcome(self, artifact: &ArtifactId) -> Outcome {
        match self {
            Self::Identical(_) => quorate_tests::identical(artifact),
            Self::Other(_, content) => quorate_tests::different(&format!("content {content}"), "setup.py"),
        }
    }

    /// The task that it is a result of.
    pub fn task(self) -> TaskId {
        TaskId::of(&self.artifact().slot)
    }

    /// The same name, and something else.
    pub(super) fn otherwise(self) -> Self {
        match self {
            Self::Identical(number) => Self::Other(number, 1),
            Self::Other(number, _) => Self::Identical(number),
        }
    }
}

impl World {
    pub(super) fn say(&mut self, number: usize, word: Word) {
        if self.nodes[number].power == Power::Off {
            return;
        }
        let id = self.nodes[number].id();
        let frame = self.sign(number, word, self.nodes[number].store.position(id), None);
        match self.nodes[number].twin.as_ref().map(|twin| twin.position(id)) {
            Some(position) => self.say_otherwise(number, word, position, frame),
            None => self.publish(number, word, frame),
        }
    }

    /// An acknowledged result: from here on it must reach everybody.
    pub(super) fn acknowledge(&mut self, number: usize, word: Word, frame: FrameId) {
        if !self.nodes[number].is_honest() {
            return;
        }
        let mut held_at = vec![None; self.nodes.len()];
        held_at[number] = Some(self.now);
        self.observed.said_by_frame.insert(frame, self.observed.said.len());
        self.observed.said.push(Said { frame, by: number, artifact: word.artifact(), at: self.now, held_at });
    }

    /// Of two histories each peer is told one.
    fn say_otherwise(&mut self, number: usize, word: Word, position: FeedPosition, first: FrameId) {
        let second = self.sign(number, word.otherwise(), position, None);
        self.nodes[number].store.take_own(first, &self.frames);
        if let Some(twin) = &mut self.nodes[number].twin {
            twin.take_own(second, &self.frames);
        }
        for peer in self.nodes[number].links.clone() {
            let frame = if self.is_shown_the_second(peer) { second } else { first };
            self.send(number, peer, self.frames.bytes(frame), &Message::Frame(frame));
        }
    }

    /// One history gets longer than the other.
    pub(super) fn lead(&mut self, number: usize, word: Word) {
        let id = self.nodes[number].id();
        let frame = self.sign(number, word, self.nodes[number].store.position(id), None);
        self.nodes[number].store.take_own(frame, &self.frames);
        for peer in self.nodes[number].links.clone() {
            if !self.is_shown_the_second(peer) {
                self.send(number, peer, self.frames.bytes(frame), &Message::Frame(frame));
            }
        }
    }

    /// Signs as the node's clock says.
    pub(super) fn sign(&mut self, number: usize, word: Word, position: FeedPosition, reveals: Option<Reveals>) -> FrameId {
        let (artifact, now, witness) = (word.artifact(), self.now, self.witness(number, word.task()));
        let node = &mut self.nodes[number];
        let mut result = node.member.result(&artifact, word.outcome(&artifact), position);
        result.reveals = reveals;
        result.build_witness = witness;
        result.finished_at = node.clock(now).whole_seconds();
        result.started_at = result.finished_at;
        result.registry.observed_at = result.finished_at;
        if self.stage.files == Files::Named {
            let file = format!("provenance of {word:?} by {} at {}", node.id(), position.sequence).into_bytes();
            result.provenance = Some(Digest::of(&file));
            node.store.put(file);
        }
        let item = node.member.sign(&artifact, result);
        self.frames.intern(&item)
    }

    /// A burst of frames that look like something and are nothing, to every peer.
    pub(super) fn spam(&mut self, number: usize, left: u32) {
        let Some(genuine) = self.observed.said.first().map(|said| self.frames.item(said.frame).clone()) else {
            return self.at(self.now + SPAM_EVERY, Happening::Spam(number, left));
        };
        for _ in 0..SPAM_BURST {
            let junk = self.junk(genuine.clone());
            let frame = self.frames.intern(&junk);
            for peer in self.nodes[number].links.clone() {
                self.send(number, peer, self.frames.bytes(frame), &Message::Frame(frame));
            }
        }
        if left > SPAM_BURST {
            self.at(self.now + SPAM_EVERY, Happening::Spam(number, left - SPAM_BURST));
        }
    }

    /// Damaged, cut off, or with a byte of chance in the signature.
    fn junk(&mut self, mut item: FeedItem) -> FeedItem {
        match self.random.below(3) {
            0 => {
                let length = item.envelope.len();
                item.envelope.truncate(1 + self.random.index(length - 1));
                item
            }
            1 => {
                let at = item.envelope.len() - 10 - self.random.index(70);
                item.envelope[at] = b'A' + u8::try_from(self.random.below(26)).unwrap_or_default();
                item.certificate.truncate(100 + self.random.index(100));
                item
            }
            _ => {
                let at = self.random.index(item.envelope.len());
                item.envelope[at] = item.envelope[at].wrapping_add(1 + u8::try_from(self.random.below(200)).unwrap_or_default());
                damaged(item)
            }
        }
    }
}

impl World {
    /// A node has said something long ago, and every running node holds it.
    pub fn has_said(&mut self, number: usize, word: Word) {
        let id = self.nodes[number].id();
        let frame = self.sign(number, word, self.nodes[number].store.position(id), None);
        self.nodes[number].store.take_own(frame, &self.frames);
        self.acknowledge(number, word, frame);
        for other in 0..self.nodes.len() {
            if other != number && self.nodes[other].power == Power::On {
                self.take_in(other, frame);
            }
        }
    }
}
