//! Commitments, `urn:quorate:commitment/v1`: a node has a result for a task and cannot change it any more, and
//! nobody can read it yet.
//!
//! A commitment stands in the node's feed before the result. It hides the outcome behind a nonce, and binds
//! operator, node, task and outcome, so that nobody can cast another's commitment as its own. The result that
//! [reveals](Reveals) it carries the nonce, and names whose commitments its node saw before it saw any result of
//! the task: who is named by others had an answer before there was one to copy.
//!
//! In scope: what is committed to, how it is opened, what a node [promises](Promise). Out of scope: when a node
//! reveals ([`hold`](crate::hold)), what a vote is worth (the tally). Implements `docs/spec/commit-reveal.md`.

use std::time::Duration;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::feed::FeedPosition;
use crate::result::{Outcome, RebuildResult};
use crate::statement::{Predicate, Statement, Subject};
use crate::{ArtifactId, ArtifactSlot, Digest, FileName, NodeId, OperatorId, Purl, TaskId, Timestamp, text};

/// Most commitments of others that a result names, one an operator.
pub const SEEN_LISTED_MAX: usize = 64;

/// Longest time between a commitment and its promised revelation: a day.
pub const PROMISE_SECONDS_MAX: i64 = 24 * 60 * 60;

const OUTCOME_DOMAIN: &[u8] = b"quorate-outcome/v1\0";
const COMMITMENT_DOMAIN: &[u8] = b"quorate-commitment/v1\0";

/// 32 random bytes that hide what a commitment is to. A secret until the result is revealed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nonce([u8; 32]);

/// A text that is no nonce.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("malformed nonce: expected 64 lower-case hex digits")]
pub struct NonceError;

/// The predicate. The subject is the task: named `task`, by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Commitment {
    /// The release.
    #[serde(deserialize_with = "crate::purl::deserialize_canonical")]
    pub package: Purl,
    /// The published file's name.
    pub file: FileName,
    /// Who answers for the node.
    pub operator: OperatorId,
    /// What [`Secret::commitment`] gives.
    pub commitment: Digest,
    /// When the node signed. Certificates are checked against this time.
    pub signed_at: Timestamp,
    /// When the node is going to reveal the result.
    pub promise: Promise,
    /// Where this stands in the node's feed.
    pub feed: FeedPosition,
}

/// What a node binds itself to. A node is held to its own promise and to nobody else's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Promise {
    /// As soon as it has seen the commitments of so many other operators.
    pub enough: u32,
    /// Else not before this time, unless it sees a result of the task.
    pub hold_until: Timestamp,
    /// In any case before this time.
    pub reveal_by: Timestamp,
}

/// All that a commitment binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Who answers for the node.
    pub operator: OperatorId,
    /// Whose result.
    pub node: NodeId,
    /// Of which task.
    pub task: TaskId,
    /// What came out: [`outcome_digest`].
    pub outcome: Digest,
    /// What hides it.
    pub nonce: Nonce,
}

/// What a result says of the commitment that it opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reveals {
    /// The commitment's place in the same feed.
    pub sequence: u64,
    /// What hid the outcome.
    pub nonce: Nonce,
    /// Envelopes of other operators' commitments to this task that the node saw before any result of it: one an
    /// operator, sorted, at most [`SEEN_LISTED_MAX`].
    pub seen: Vec<Digest>,
    /// The envelope of the first result of the task that the node saw, if it saw one: from there on it added
    /// nothing to `seen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Digest>,
}

/// How a result and a commitment do not belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpeningError {
    /// The result reveals nothing.
    #[error("the result reveals no commitment")]
    RevealsNothing,
    /// It names another place, or is another node's.
    #[error("the result reveals another commitment")]
    OtherCommitment,
    /// The commitment is to another task.
    #[error("the commitment is to another task")]
    OtherTask,
    /// The commitment is to something else.
    #[error("the commitment was to another outcome")]
    OtherOutcome,
}

impl Nonce {
    /// From random bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What of an outcome is committed to: the published file's digest and all that makes the ballot, and no text that
/// could be cut. SHA-256 of the domain and, each followed by a line feed, the published digest, the class, the
/// rebuilt digest, the rebuilt normal digest and the level; `-` stands for what there is not.
pub fn outcome_digest(published: Digest, outcome: &Outcome) -> Digest {
    let rebuilt = outcome.rebuilt();
    let level = outcome.level().map(|level| level.name().to_owned());
    let parts = [
        Some(published.to_string()),
        Some(outcome.class().to_owned()),
        rebuilt.map(|file| file.digest.to_string()),
        rebuilt.and_then(|file| file.normal).map(|normal| normal.to_string()),
        level,
    ];
    let mut hash = Sha256::new();
    hash.update(OUTCOME_DOMAIN);
    for part in parts {
        hash.update(part.as_deref().unwrap_or("-").as_bytes());
        hash.update(b"\n");
    }
    Digest::from_bytes(hash.finalize().into())
}

impl Secret {
    /// SHA-256 of the domain, operator, node, task, outcome and nonce, 32 bytes each.
    pub fn commitment(&self) -> Digest {
        let mut hash = Sha256::new();
        hash.update(COMMITMENT_DOMAIN);
        hash.update(self.operator.as_bytes());
        hash.update(self.node.as_bytes());
        hash.update(self.task.as_bytes());
        hash.update(self.outcome.as_bytes());
        hash.update(self.nonce.as_bytes());
        Digest::from_bytes(hash.finalize().into())
    }
}

impl Promise {
    /// To reveal once `enough` others have committed, else after `hold`; within twice that in any case, so that what
    /// is revealed at the last moment has time to travel.
    pub fn new(enough: u32, hold: Duration, now: Timestamp) -> Self {
        let now = now.whole_seconds();
        Self { enough, hold_until: now.plus(hold).whole_seconds(), reveal_by: now.plus(hold * 2).whole_seconds() }
    }
}

impl Commitment {
    /// What the commitment is to.
    pub fn slot(&self) -> ArtifactSlot {
        ArtifactSlot { package: self.package.clone(), file: self.file.clone() }
    }

    /// The task.
    pub fn task(&self) -> TaskId {
        TaskId::of(&self.slot())
    }

    /// The statement.
    pub fn into_statement(self) -> Statement<Self> {
        Statement::new(vec![Subject::new("task", Digest::from_bytes(*self.task().as_bytes()))], self)
    }

    /// Whether `result`, about `artifact`, reveals this commitment.
    pub fn is_opened_by(&self, result: &RebuildResult, artifact: &ArtifactId) -> Result<(), OpeningError> {
        self.opens(&self.task(), result, artifact)
    }

    /// The same where the task is known already.
    pub(crate) fn opens(&self, task: &TaskId, result: &RebuildResult, artifact: &ArtifactId) -> Result<(), OpeningError> {
        let reveals = result.reveals.as_ref().ok_or(OpeningError::RevealsNothing)?;
        if (reveals.sequence, result.feed.node, result.operator) != (self.feed.sequence, self.feed.node, self.operator) {
            return Err(OpeningError::OtherCommitment);
        }
        if (&artifact.slot.package, &artifact.slot.file) != (&self.package, &self.file) {
            return Err(OpeningError::OtherTask);
        }
        let secret = Secret {
            operator: self.operator,
            node: self.feed.node,
            task: *task,
            outcome: outcome_digest(artifact.digest, &result.outcome),
            nonce: reveals.nonce,
        };
        if secret.commitment() == self.commitment { Ok(()) } else { Err(OpeningError::OtherOutcome) }
    }
}

impl Predicate for Commitment {
    const TYPE: &'static str = "urn:quorate:commitment/v1";

    fn check(&self, subject: &[Subject]) -> Result<(), String> {
        if self.package.version().is_none() {
            return Err(format!("package {} names no version", self.package));
        }
        if subject != [Subject::new("task", Digest::from_bytes(*self.task().as_bytes()))] {
            return Err("the subject is not the task".to_owned());
        }
        let Promise { enough, hold_until, reveal_by } = self.promise;
        if [self.signed_at, hold_until, reveal_by].into_iter().any(|time| !time.is_whole_seconds()) {
            return Err("a time with a fraction of a second".to_owned());
        }
        if self.signed_at > hold_until || hold_until > reveal_by {
            return Err("promises to reveal before it holds".to_owned());
        }
        let seconds = reveal_by.unix_seconds().saturating_sub(self.signed_at.unix_seconds());
        if seconds > PROMISE_SECONDS_MAX {
            return Err(format!("reveals after {seconds} seconds, limit {PROMISE_SECONDS_MAX}"));
        }
        if enough as usize > SEEN_LISTED_MAX {
            return Err(format!("waits for {enough} commitments, limit {SEEN_LISTED_MAX}"));
        }
        Ok(())
    }
}

impl Reveals {
    /// What can be told from the result alone. `at` is its place in the feed.
    pub(crate) fn check(&self, at: &FeedPosition) -> Result<(), String> {
        if self.sequence >= at.sequence {
            return Err("reveals a commitment that does not stand before it".to_owned());
        }
        if self.seen.len() > SEEN_LISTED_MAX {
            return Err(format!("names {} commitments, limit {SEEN_LISTED_MAX}", self.seen.len()));
        }
        if !self.seen.is_sorted_by(|one, next| one < next) {
            return Err("commitments are not sorted, or one stands twice".to_owned());
        }
        Ok(())
    }
}

/// Whoever sees it could open the commitment.
impl std::fmt::Debug for Nonce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nonce(…)")
    }
}

impl Serialize for Nonce {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Nonce {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::read(deserializer, |hex| {
            let bytes = HEXLOWER.decode(hex.as_bytes()).map_err(|_| NonceError)?;
            bytes.try_into().map(Self).map_err(|_| NonceError)
        })
    }
}
