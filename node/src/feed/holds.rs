//! What the node has committed to and not revealed, and what it has seen of every task.
//!
//! `holds/<task>.json` is durable before the commitment is signed: the nonce is there as long as anybody waits for
//! the result. The machine that decides is [`quorate_proto::hold`]; here are its files and what the feeds tell it
//! at a start. `docs/spec/commit-reveal.md`, `docs/spec/feed.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_proto::commitment::{Nonce, Promise, Reveals, Secret};
use quorate_proto::entry::{EntryStatement, VerifiedEntry};
use quorate_proto::hold::{Decision, Sighting, Sightings, Terms};
use quorate_proto::{ArtifactSlot, Digest, NodeId, OperatorId, TaskId, Timestamp};
use serde::{Deserialize, Serialize};

use super::FeedError;
use crate::durable;

/// What is to be done with a result that is ready to be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Commit to it first.
    Commit(Promised),
    /// Keep it back.
    Wait {
        /// When to look again; earlier if something is seen.
        until: Timestamp,
    },
    /// Sign it, revealing this.
    Sign(Option<Reveals>),
}

/// What a node is about to commit to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promised {
    /// What the commitment binds.
    pub secret: Secret,
    /// When it is going to be revealed.
    pub promise: Promise,
}

/// A result that is about to be signed.
#[derive(Clone, Copy, Debug)]
pub struct Due<'a> {
    /// What it is about, but for the digest.
    pub slot: &'a ArtifactSlot,
    /// What came out.
    pub outcome: Digest,
    /// How the node commits; not at all without.
    pub terms: Option<&'a Terms>,
}

/// All holds of a node.
#[derive(Debug)]
pub(super) struct Holds {
    dir: PathBuf,
    own: (OperatorId, NodeId),
    held: BTreeMap<TaskId, Held>,
    sightings: Sightings,
    /// Tasks that the node has committed to and cannot reveal, because the hold is lost. It does not commit again.
    lost: BTreeSet<TaskId>,
    /// Commitments that feeds hold at a start: they count where no feed holds a result.
    found: Vec<(TaskId, OperatorId, Digest)>,
}

#[derive(Debug)]
struct Held {
    record: Record,
    /// The commitment, once it stands in the own feed.
    placed: Option<(u64, Promise)>,
}

/// A file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    slot: ArtifactSlot,
    outcome: Digest,
    nonce: Nonce,
    sighting: Sighting,
}

impl Holds {
    /// Reads the folder. What the feeds hold is told with [`Self::load`].
    pub(super) fn open(data_dir: &Path, operator: OperatorId, node: NodeId) -> Result<Self, FeedError> {
        let dir = data_dir.join("holds");
        let failed = |source| FeedError::Io { path: dir.clone(), source };
        // Whoever reads a nonce finds out what is held back.
        durable::private_dir(&dir).and_then(|()| durable::sweep(&dir)).map_err(failed)?;
        let mut holds = Self {
            own: (operator, node),
            held: BTreeMap::new(),
            sightings: Sightings::new(operator),
            lost: BTreeSet::new(),
            found: Vec::new(),
            dir: dir.clone(),
        };
        for entry in fs::read_dir(&dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|ending| ending == "json") {
                holds.read(&path)?;
            }
        }
        Ok(holds)
    }

    /// A damaged file is put aside: its commitment stays unrevealed, for everybody to see.
    fn read(&mut self, path: &Path) -> Result<(), FeedError> {
        let failed = |source| FeedError::Io { path: path.to_owned(), source };
        let record = serde_json::from_slice::<Record>(&fs::read(path).map_err(failed)?).ok();
        let named = record.filter(|record| path == self.path(&TaskId::of(&record.slot)));
        let Some(record) = named else {
            tracing::error!(path = %path.display(), "not a hold: the commitment that it was of cannot be revealed; put aside");
            return fs::rename(path, path.with_extension("malformed")).map_err(failed);
        };
        let task = TaskId::of(&record.slot);
        self.sightings.restore(task, record.sighting.clone());
        self.held.insert(task, Held { record, placed: None });
        Ok(())
    }

    /// An entry that a feed holds at a start; those of one feed in their order.
    pub(super) fn load(&mut self, entry: &EntryStatement, digest: Digest) -> Result<(), FeedError> {
        match entry {
            EntryStatement::Result(statement) => {
                let task = TaskId::of(&statement.artifact().slot);
                self.sightings.saw_result(task, digest);
                self.lost.remove(&task);
                if statement.predicate.feed.node == self.own.1 && self.held.get(&task).is_some_and(|held| held.placed.is_some()) {
                    self.end(&task)?;
                }
            }
            EntryStatement::Commitment(statement) => {
                let (commitment, task) = (&statement.predicate, statement.predicate.task());
                self.found.push((task, commitment.operator, digest));
                if commitment.feed.node == self.own.1
                    && !self.place(&task, commitment.commitment, (commitment.feed.sequence, commitment.promise))
                {
                    self.lost.insert(task);
                }
            }
            EntryStatement::Check(_) => {}
        }
        Ok(())
    }

    /// Every feed was told.
    pub(super) fn loaded(&mut self) {
        let long_ago = Timestamp::from_unix_seconds(0);
        for (task, operator, digest) in std::mem::take(&mut self.found) {
            self.sightings.saw_commitment(task, operator, digest, long_ago);
        }
    }

    /// An entry became durable, the node's own or another's.
    pub(super) fn saw(&mut self, entry: &VerifiedEntry, now: Timestamp) -> Result<(), FeedError> {
        let task = match entry {
            VerifiedEntry::Result(result) => TaskId::of(&result.artifact().slot),
            VerifiedEntry::Commitment(entry) => entry.task(),
            VerifiedEntry::Check(_) => return Ok(()),
        };
        self.sightings.saw(entry, now);
        if entry.node() != self.own.1 {
            return self.save(&task);
        }
        match entry {
            VerifiedEntry::Result(_) => self.end(&task),
            VerifiedEntry::Commitment(entry) => {
                let commitment = entry.commitment();
                self.place(&task, commitment.commitment, (commitment.feed.sequence, commitment.promise));
                Ok(())
            }
            VerifiedEntry::Check(_) => Ok(()),
        }
    }

    /// What comes next for a result.
    pub(super) fn step(&mut self, due: &Due<'_>, now: Timestamp) -> Result<Step, FeedError> {
        let task = TaskId::of(due.slot);
        let Some(held) = self.held.get(&task) else {
            return match due.terms {
                Some(terms) if !self.lost.contains(&task) && self.sightings.hold(task) => self.begin(task, due, terms.promise(now)),
                _ => Ok(Step::Sign(None)),
            };
        };
        let same = held.record.outcome == due.outcome;
        match held.placed {
            None => match due.terms.filter(|_| self.sightings.may_commit(&task)) {
                Some(terms) if same => Ok(Step::Commit(Promised { secret: self.secret(&task, &held.record), promise: terms.promise(now) })),
                Some(terms) => self.begin(task, due, terms.promise(now)),
                None => self.give_up(&task),
            },
            Some((sequence, promise)) if same => {
                let settle = due.terms.map_or(Duration::ZERO, |terms| terms.settle);
                Ok(match self.sightings.decide(&task, &promise, settle, now) {
                    Decision::Wait { until } => Step::Wait { until },
                    Decision::Reveal(sighting) => Step::Sign(Some(sighting.reveals(sequence, held.record.nonce))),
                })
            }
            // Another job committed to something else for the same task: it has its time to reveal.
            Some((_, promise)) if now < promise.reveal_by => Ok(Step::Wait { until: promise.reveal_by }),
            Some(_) => self.give_up(&task),
        }
    }

    /// Whether there may be something to do about a task that was told to wait until a time.
    pub(super) fn is_due(&self, task: &TaskId, until: Timestamp, settle: Duration, now: Timestamp) -> bool {
        let placed = self.held.get(task).and_then(|held| held.placed);
        now >= until || placed.is_none_or(|(_, promise)| matches!(self.sightings.decide(task, &promise, settle, now), Decision::Reveal(_)))
    }

    fn begin(&mut self, task: TaskId, due: &Due<'_>, promise: Promise) -> Result<Step, FeedError> {
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|error| FeedError::Random(error.to_string()))?;
        let sighting = self.sightings.sighting(&task).cloned().unwrap_or_default();
        let record = Record { slot: due.slot.clone(), outcome: due.outcome, nonce: Nonce::from_bytes(nonce), sighting };
        self.write(&task, &record)?;
        let secret = self.secret(&task, &record);
        self.held.insert(task, Held { record, placed: None });
        Ok(Step::Commit(Promised { secret, promise }))
    }

    fn give_up(&mut self, task: &TaskId) -> Result<Step, FeedError> {
        self.end(task)?;
        Ok(Step::Sign(None))
    }

    fn secret(&self, task: &TaskId, record: &Record) -> Secret {
        let (operator, node) = self.own;
        Secret { operator, node, task: *task, outcome: record.outcome, nonce: record.nonce }
    }

    /// Whether the hold of a task is that of this commitment.
    fn place(&mut self, task: &TaskId, commitment: Digest, placed: (u64, Promise)) -> bool {
        let is_ours = self.held.get(task).is_some_and(|held| self.secret(task, &held.record).commitment() == commitment);
        if let Some(held) = self.held.get_mut(task).filter(|_| is_ours) {
            held.placed = Some(placed);
        }
        is_ours
    }

    /// What was seen of a task that is held back is durable before the node says it.
    fn save(&mut self, task: &TaskId) -> Result<(), FeedError> {
        let (Some(held), Some(sighting)) = (self.held.get_mut(task), self.sightings.sighting(task)) else { return Ok(()) };
        if held.record.sighting == *sighting {
            return Ok(());
        }
        held.record.sighting = sighting.clone();
        let record = held.record.clone();
        self.write(task, &record)
    }

    fn write(&self, task: &TaskId, record: &Record) -> Result<(), FeedError> {
        let bytes = serde_json::to_vec(record).expect("a hold holds nothing that JSON cannot say");
        durable::replace(&self.path(task), &bytes).map_err(|source| FeedError::Io { path: self.path(task), source })
    }

    fn end(&mut self, task: &TaskId) -> Result<(), FeedError> {
        self.sightings.release(task);
        if self.held.remove(task).is_none() {
            return Ok(());
        }
        let path = self.path(task);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(FeedError::Io { path, source }),
            _ => Ok(()),
        }
    }

    fn path(&self, task: &TaskId) -> PathBuf {
        self.dir.join(format!("{}.json", task.to_hex()))
    }
}
