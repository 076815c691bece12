//! Entries: whatever a node may put into its feed, through the one door.
//!
//! A feed holds results and what belongs to them; the chain is one. Whoever keeps or carries feeds takes a
//! [`VerifiedEntry`]; whoever counts votes takes the results out of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::certificate::VerifiedCertificate;
use crate::commitment::Commitment;
use crate::dsse::{DsseError, Envelope};
use crate::feed::FeedPosition;
use crate::result::{RESULT_ENVELOPE_BYTES_MAX, RebuildResult};
use crate::statement::{Predicate as _, Statement, StatementError};
use crate::verified::{CLOCK_SKEW_MAX, FeedItem, RejectError, VerifiedStatement, agree, open};
use crate::witness_check::WitnessCheck;
use crate::{Digest, NodeId, OperatorId, TaskId, Timestamp};

/// What an entry says, whoever signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryStatement {
    /// A result.
    Result(Box<Statement<RebuildResult>>),
    /// A commitment to one.
    Commitment(Box<Statement<Commitment>>),
    /// A check of another operator's build witness.
    Check(Box<Statement<WitnessCheck>>),
}

/// A feed entry that a certified node of an enrolled operator signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifiedEntry {
    /// A result.
    Result(Arc<VerifiedStatement>),
    /// A commitment to one.
    Commitment(Arc<VerifiedCommitment>),
    /// A check of another operator's build witness.
    Check(Arc<VerifiedCheck>),
}

/// A commitment that a certified node of an enrolled operator signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCommitment {
    operator: OperatorId,
    statement: Statement<Commitment>,
    task: TaskId,
    digest: Digest,
}

/// A check of a build witness that a certified node of an enrolled operator signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCheck {
    operator: OperatorId,
    statement: Statement<WitnessCheck>,
    digest: Digest,
}

impl EntryStatement {
    /// Reads a payload. Most are results: those are read once.
    pub fn parse(payload: &[u8]) -> Result<Self, StatementError> {
        match Statement::<RebuildResult>::parse(payload) {
            Err(StatementError::PredicateType { got, .. }) if got == Commitment::TYPE => {
                Statement::parse(payload).map(Box::new).map(Self::Commitment)
            }
            Err(StatementError::PredicateType { got, .. }) if got == WitnessCheck::TYPE => {
                Statement::parse(payload).map(Box::new).map(Self::Check)
            }
            parsed => parsed.map(Box::new).map(Self::Result),
        }
    }

    /// Who is said to answer for it.
    pub fn operator(&self) -> OperatorId {
        match self {
            Self::Result(statement) => statement.predicate.operator,
            Self::Commitment(statement) => statement.predicate.operator,
            Self::Check(statement) => statement.predicate.operator,
        }
    }

    /// The place in the feed.
    pub fn position(&self) -> FeedPosition {
        match self {
            Self::Result(statement) => statement.predicate.feed,
            Self::Commitment(statement) => statement.predicate.feed,
            Self::Check(statement) => statement.predicate.feed,
        }
    }

    /// Every content-addressed file that it names.
    pub fn evidence(&self) -> Vec<Digest> {
        match self {
            Self::Result(statement) => statement.predicate.evidence(),
            Self::Commitment(_) | Self::Check(_) => Vec::new(),
        }
    }
}

impl VerifiedEntry {
    /// Verifies an item whose certificate was not seen before.
    pub fn verify_item(item: &FeedItem, enrolled: &BTreeSet<OperatorId>) -> Result<Self, RejectError> {
        let certificate = VerifiedCertificate::verify(&item.certificate, enrolled).map_err(RejectError::Certificate)?;
        Self::verify(&item.envelope, &certificate)
    }

    /// Verifies an envelope of a node whose certificate is known.
    pub fn verify(envelope: &[u8], certificate: &VerifiedCertificate) -> Result<Self, RejectError> {
        Self::of(&open(envelope, certificate)?, certificate)
    }

    /// The same for an envelope that was parsed already, maybe under a wider limit.
    pub fn verify_envelope(envelope: &Envelope, certificate: &VerifiedCertificate) -> Result<Self, RejectError> {
        let (got, limit) = (envelope.bytes().len(), RESULT_ENVELOPE_BYTES_MAX);
        if got > limit {
            return Err(RejectError::Envelope(DsseError::TooLarge { got, limit }));
        }
        envelope.verify(&certificate.node()).map_err(RejectError::Envelope)?;
        Self::of(envelope, certificate)
    }

    /// An envelope that the certificate's node has signed.
    fn of(envelope: &Envelope, certificate: &VerifiedCertificate) -> Result<Self, RejectError> {
        let digest = envelope.digest();
        Ok(match EntryStatement::parse(envelope.payload()).map_err(RejectError::Statement)? {
            EntryStatement::Result(statement) => Self::Result(Arc::new(VerifiedStatement::of(*statement, digest, certificate)?)),
            EntryStatement::Commitment(statement) => Self::Commitment(Arc::new(VerifiedCommitment::of(*statement, digest, certificate)?)),
            EntryStatement::Check(statement) => Self::Check(Arc::new(VerifiedCheck::of(*statement, digest, certificate)?)),
        })
    }

    /// Who answers for the node.
    pub fn operator(&self) -> OperatorId {
        match self {
            Self::Result(entry) => entry.operator(),
            Self::Commitment(entry) => entry.operator(),
            Self::Check(entry) => entry.operator(),
        }
    }

    /// The place in the node's feed.
    pub fn position(&self) -> FeedPosition {
        match self {
            Self::Result(entry) => entry.position(),
            Self::Commitment(entry) => entry.position(),
            Self::Check(entry) => entry.position(),
        }
    }

    /// Who signed it.
    pub fn node(&self) -> NodeId {
        self.position().node
    }

    /// SHA-256 of the envelope.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Result(entry) => entry.digest(),
            Self::Commitment(entry) => entry.digest(),
            Self::Check(entry) => entry.digest(),
        }
    }

    /// When the node says that it signed it.
    pub fn signed_at(&self) -> Timestamp {
        match self {
            Self::Result(entry) => entry.result().finished_at,
            Self::Commitment(entry) => entry.commitment().signed_at,
            Self::Check(entry) => entry.check().signed_at,
        }
    }

    /// Whether it was signed further in the future than clocks may differ: whoever takes it in at `now`
    /// refuses it. What was taken in once stays.
    pub fn is_ahead_of(&self, now: Timestamp) -> bool {
        self.signed_at() > now.plus(CLOCK_SKEW_MAX)
    }

    /// Every content-addressed file that it names.
    pub fn evidence(&self) -> Vec<Digest> {
        match self {
            Self::Result(entry) => entry.result().evidence(),
            Self::Commitment(_) | Self::Check(_) => Vec::new(),
        }
    }

    /// The result, if it is one.
    pub fn result(&self) -> Option<&VerifiedStatement> {
        match self {
            Self::Result(entry) => Some(entry),
            Self::Commitment(_) | Self::Check(_) => None,
        }
    }

    /// The commitment, if it is one.
    pub fn commitment(&self) -> Option<&VerifiedCommitment> {
        match self {
            Self::Commitment(entry) => Some(entry),
            Self::Result(_) | Self::Check(_) => None,
        }
    }

    /// The check of a build witness, if it is one.
    pub fn check(&self) -> Option<&VerifiedCheck> {
        match self {
            Self::Check(entry) => Some(entry),
            Self::Result(_) | Self::Commitment(_) => None,
        }
    }
}

impl VerifiedCommitment {
    fn of(statement: Statement<Commitment>, digest: Digest, certificate: &VerifiedCertificate) -> Result<Self, RejectError> {
        let Commitment { feed, operator, signed_at, .. } = &statement.predicate;
        agree(feed, *operator, *signed_at, certificate)?;
        let task = statement.predicate.task();
        Ok(Self { operator: certificate.operator(), statement, task, digest })
    }

    /// Who answers for the node.
    pub fn operator(&self) -> OperatorId {
        self.operator
    }

    /// The place in the node's feed.
    pub fn position(&self) -> FeedPosition {
        self.statement.predicate.feed
    }

    /// Who committed.
    pub fn node(&self) -> NodeId {
        self.position().node
    }

    /// What it is to.
    pub fn task(&self) -> TaskId {
        self.task
    }

    /// The commitment.
    pub fn commitment(&self) -> &Commitment {
        &self.statement.predicate
    }

    /// SHA-256 of the envelope.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether this is the commitment that `result` reveals, and the result is what was committed to.
    pub fn is_opened_by(&self, result: &VerifiedStatement) -> bool {
        self.commitment().opens(&self.task, result.result(), result.artifact()).is_ok()
    }
}

impl VerifiedCheck {
    fn of(statement: Statement<WitnessCheck>, digest: Digest, certificate: &VerifiedCertificate) -> Result<Self, RejectError> {
        let WitnessCheck { feed, operator, signed_at, .. } = &statement.predicate;
        agree(feed, *operator, *signed_at, certificate)?;
        Ok(Self { operator: certificate.operator(), statement, digest })
    }

    /// Who answers for the node.
    pub fn operator(&self) -> OperatorId {
        self.operator
    }

    /// The place in the node's feed.
    pub fn position(&self) -> FeedPosition {
        self.statement.predicate.feed
    }

    /// The check.
    pub fn check(&self) -> &WitnessCheck {
        &self.statement.predicate
    }

    /// SHA-256 of the envelope.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}
