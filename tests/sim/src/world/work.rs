//! Tasks on the mesh: building, committing, holding back, revealing. Whether a node commits and when it reveals is
//! decided by the real machine of `quorate_proto::hold`, told every entry in the order in which the node takes it
//! in.

use std::collections::btree_map::Entry;
use std::rc::Rc;
use std::time::Duration;

use quorate_proto::claims::Claims;
use quorate_proto::commitment::{Commitment, Reveals, Secret, outcome_digest};
use quorate_proto::dsse::Envelope;
use quorate_proto::entry::VerifiedEntry;
use quorate_proto::hold::{Decision, Sightings};
use quorate_proto::result::Outcome;
use quorate_proto::verified::{FeedItem, VerifiedStatement};
use quorate_proto::{TaskId, Timestamp};

use super::{Happening, Inner, Word, World};
use crate::frames::FrameId;
use crate::node::Power;
use crate::timing::WRITE;
use crate::work::{Hold, Job, Trade, nonce};

/// How long who builds nothing thinks before it speaks.
const THOUGHT: Duration = Duration::from_secs(3);

/// Builds take from here to there.
const BUILD_MIN: Duration = Duration::from_secs(5);
const BUILD_MAX: Duration = Duration::from_secs(90);

impl World {
    /// A release is published, and every node hears of it within its watch's interval.
    pub(super) fn announce(&mut self, job: Job) {
        self.begin_task(job);
        for node in 0..self.stage_nodes() {
            let heard = self.random.between(Duration::ZERO, Duration::from_secs(10));
            let built = match self.nodes[node].trade {
                Trade::Builder | Trade::Falsifier => self.random.between(BUILD_MIN, BUILD_MAX),
                Trade::Agreeable | Trade::Gambler => self.random.between(Duration::ZERO, THOUGHT),
                Trade::Parrot => continue,
            };
            self.at(self.now + heard + built, Happening::Built(node, job));
        }
    }

    /// A node has a result, or something that is to pass for one.
    pub(super) fn built(&mut self, number: usize, job: Job) {
        if self.nodes[number].power == Power::Off {
            return self.at(self.now + Duration::from_secs(10), Happening::Built(number, job));
        }
        let word = match self.nodes[number].trade {
            Trade::Agreeable | Trade::Gambler => Word::Identical(job.number),
            Trade::Builder | Trade::Falsifier | Trade::Parrot => job.truth,
        };
        if self.nodes[number].memory.sightings.may_commit(&word.task()) {
            self.commit(number, word);
        } else {
            self.say_of_task(number, word, None);
        }
    }

    fn commit(&mut self, number: usize, word: Word) {
        let Some(terms) = self.terms else { return self.say_of_task(number, word, None) };
        let (now, seed) = (self.clock(number), self.stage.seed);
        let (artifact, task) = (word.artifact(), word.task());
        let node = &mut self.nodes[number];
        let feed = node.store.position(node.id());
        let nonce = nonce(seed, number, &artifact);
        let bound = if node.trade == Trade::Falsifier { word.otherwise() } else { word };
        let outcome = outcome_digest(artifact.digest, &bound.outcome(&artifact));
        let (operator, id) = (node.member.operator(), node.id());
        let commitment = Commitment {
            package: artifact.slot.package,
            file: artifact.slot.file,
            operator,
            commitment: Secret { operator, node: id, task, outcome, nonce }.commitment(),
            signed_at: now.whole_seconds(),
            promise: terms.promise(now),
            feed,
        };
        node.memory.sightings.hold(task);
        let sighting = node.memory.sightings.sighting(&task).cloned().unwrap_or_default();
        node.holds.insert(task, Hold { word, nonce, promise: commitment.promise, sequence: feed.sequence, sighting });
        let envelope = Envelope::sign(commitment.into_statement().to_payload(), node.member.key()).bytes().to_vec();
        let frame = self.frames.intern(&FeedItem { certificate: node.member.certificate().to_vec(), envelope });
        self.publish(number, word, frame);
        self.consider(number, task);
    }

    /// Stands in the own feed, is durable, and travels.
    pub(super) fn publish(&mut self, number: usize, word: Word, frame: FrameId) {
        if !self.nodes[number].store.take_own(frame, &self.frames) {
            return;
        }
        self.acknowledge(number, word, frame);
        self.nodes[number].memory.seen.insert(frame);
        if !self.jobs.is_empty() {
            self.saw(number, frame);
        }
        self.look(number);
        self.later(number, WRITE, Inner::Pass(frame, None));
    }

    /// Every entry that a node takes in is told to its machines; what it holds back is looked at again.
    pub(super) fn saw(&mut self, number: usize, frame: FrameId) {
        let Ok(entry) = self.frames.admission(frame).clone() else { return };
        let now = self.clock(number);
        let node = &mut self.nodes[number];
        node.memory.sightings.saw(&entry, now);
        node.memory.claims.saw(&entry);
        let task = task_of(&entry);
        if let Some(hold) = node.holds.get_mut(&task) {
            hold.sighting = node.memory.sightings.sighting(&task).cloned().unwrap_or_default();
            self.consider(number, task);
        } else if let (Trade::Parrot, Some(first)) = (node.trade, entry.result()) {
            self.copy(number, first);
        }
        self.plan_checks(number);
    }

    pub(super) fn consider(&mut self, number: usize, task: TaskId) {
        let (Some(terms), now) = (self.terms, self.clock(number)) else { return };
        let node = &self.nodes[number];
        let Some(hold) = node.holds.get(&task) else { return };
        match node.memory.sightings.decide(&task, &hold.promise, terms.settle, now) {
            Decision::Wait { until } => {
                let seconds = u64::try_from(until.unix_seconds() - now.unix_seconds()).unwrap_or(0);
                self.later(number, Duration::from_secs(seconds.max(1)), Inner::Consider(task));
            }
            Decision::Reveal(sighting) => {
                let (word, reveals) = (hold.word, sighting.reveals(hold.sequence, hold.nonce));
                self.reveal(number, word, task, reveals);
            }
        }
    }

    /// A gambler whose guess was wrong keeps silent.
    fn reveal(&mut self, number: usize, word: Word, task: TaskId, reveals: Reveals) {
        let node = &mut self.nodes[number];
        let lost = node.trade == Trade::Gambler && self.jobs.get(&task).is_some_and(|job| job.truth != word);
        node.holds.remove(&task);
        if !lost {
            self.say_of_task(number, word, Some(reveals));
        }
        self.nodes[number].memory.sightings.release(&task);
    }

    /// The first result that a parrot sees is its own soon after.
    fn copy(&mut self, number: usize, first: &VerifiedStatement) {
        let task = TaskId::of(&first.artifact().slot);
        let Some(job) = self.jobs.get(&task) else { return };
        let Entry::Vacant(place) = self.nodes[number].copied.entry(task) else { return };
        place.insert(first.result().build_witness.clone());
        let agrees = matches!(first.result().outcome, Outcome::Identical { .. });
        let word = if agrees { Word::Identical(job.number) } else { job.truth };
        let after = self.random.between(Duration::from_millis(100), THOUGHT);
        self.later(number, after, Inner::Copied(word));
    }

    /// A parrot may commit first, to what it has read, and reveal at once as who has seen a result does.
    pub(super) fn copied(&mut self, number: usize, word: Word) {
        if self.random.chance(500) {
            self.commit(number, word);
        } else {
            self.say_of_task(number, word, None);
        }
    }

    fn say_of_task(&mut self, number: usize, word: Word, reveals: Option<Reveals>) {
        let id = self.nodes[number].id();
        let frame = self.sign(number, word, self.nodes[number].store.position(id), reveals);
        self.publish(number, word, frame);
    }

    /// After a restart: what was held back, then what the feeds hold, results first; for what is to be checked, the
    /// own feed first.
    pub(super) fn recall(&mut self, number: usize) {
        let now = self.clock(number);
        let node = &mut self.nodes[number];
        let mut sightings = Sightings::new(node.member.operator());
        for (task, hold) in &node.holds {
            sightings.restore(*task, hold.sighting.clone());
        }
        let others = node.store.held().filter(|id| *id != node.id());
        let feeds: Vec<_> = std::iter::once(node.id()).chain(others).flat_map(|id| node.store.feed(id)).collect();
        let entries: Vec<Rc<VerifiedEntry>> = feeds.iter().filter_map(|frame| self.frames.admission(*frame).clone().ok()).collect();
        let mut claims = Claims::new(node.id(), node.member.operator());
        for entry in &entries {
            claims.saw(entry);
        }
        let (results, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.result().is_some());
        for entry in results.into_iter().chain(others) {
            sightings.saw(&entry, now);
        }
        (node.memory.sightings, node.memory.claims) = (sightings, claims);
        for task in node.holds.keys().copied().collect::<Vec<_>>() {
            self.later(number, Duration::from_millis(1), Inner::Consider(task));
        }
        self.plan_checks(number);
    }

    pub(super) fn clock(&self, number: usize) -> Timestamp {
        self.nodes[number].clock(self.now)
    }
}

fn task_of(entry: &VerifiedEntry) -> TaskId {
    match entry {
        VerifiedEntry::Result(result) => TaskId::of(&result.artifact().slot),
        VerifiedEntry::Commitment(commitment) => commitment.commitment().task(),
        VerifiedEntry::Check(check) => check.check().task(),
    }
}
