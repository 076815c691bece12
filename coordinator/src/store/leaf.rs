//! What the leaves of the log say. A leaf is the exact bytes of an envelope; a policy's leaf is
//! [`POLICY_MAGIC`] and the policy's exact bytes.
//!
//! `docs/spec/coordinator-storage.md`, section "Leaves".

use std::collections::BTreeSet;

use quorate_proto::certificate::{CERTIFICATE_BYTES_MAX, NodeCertificate, VerifiedCertificate};
use quorate_proto::commitment::Commitment;
use quorate_proto::declaration::{Declaration, DeclarationError};
use quorate_proto::drill::{Drill, DrillError};
use quorate_proto::dsse::{DsseError, Envelope};
use quorate_proto::entry::{EntryStatement, VerifiedEntry};
use quorate_proto::result::RebuildResult;
use quorate_proto::statement::{Predicate, Statement, StatementError, predicate_type};
use quorate_proto::verified::{RejectError, VerifiedStatement};
use quorate_proto::witness_check::WitnessCheck;
use quorate_proto::{Digest, NodeId};
use quorate_tally::{Verdict, VerdictSummary};
use quorate_tlog::bundle::ENTRY_BYTES_MAX;

/// What a policy's leaf begins with. No envelope does: envelopes begin with a brace.
pub const POLICY_MAGIC: &[u8] = b"quorate-policy/v1\n";

/// Largest policy that fits a leaf, in bytes.
pub const POLICY_LEAF_BYTES_MAX: usize = ENTRY_BYTES_MAX - POLICY_MAGIC.len();

/// A leaf by its meaning.
#[derive(Clone, Debug)]
pub(crate) enum Leaf {
    /// A node's result, not yet verified: its certificate stands earlier in the log.
    Result(NodeId),
    /// A node's commitment to one, not yet verified.
    Commitment(NodeId),
    /// A node's check of another operator's build witness, not yet verified.
    Check(NodeId),
    /// A node's certificate.
    Certificate(Box<VerifiedCertificate>),
    /// A verdict.
    Verdict(Box<Statement<VerdictSummary>>),
    /// A policy.
    Policy(Digest),
    /// A step of a drill, not yet verified.
    Drill,
    /// What somebody declares, not yet verified.
    Declaration,
}

/// A leaf that nobody should have logged. Fatal: the log is damaged or not ours.
#[derive(Debug, thiserror::Error)]
pub enum LeafError {
    /// Not an envelope.
    #[error("leaf is no envelope")]
    Envelope(#[source] DsseError),
    /// Not a statement.
    #[error("leaf is no statement")]
    Statement(#[source] StatementError),
    /// A certificate that does not hold.
    #[error("leaf is no certificate")]
    Certificate(#[source] quorate_proto::certificate::CertificateError),
    /// An entry of a feed that does not hold.
    #[error("leaf is no entry of a feed")]
    Entry(#[source] RejectError),
    /// A step of a drill that does not hold.
    #[error("leaf is no step of a drill")]
    Drill(#[source] DrillError),
    /// A declaration that does not hold.
    #[error("leaf is no declaration")]
    Declaration(#[source] DeclarationError),
    /// Of another kind.
    #[error("leaf has the predicate type `{0}`")]
    Kind(String),
    /// An entry whose node has no certificate before it, or that does not fit its feed.
    #[error("entry of {0} does not follow from the leaves before it")]
    OutOfPlace(NodeId),
}

impl Leaf {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, LeafError> {
        if let Some(policy) = bytes.strip_prefix(POLICY_MAGIC) {
            return Ok(Self::Policy(Digest::of(policy)));
        }
        let envelope = Envelope::parse(bytes, ENTRY_BYTES_MAX).map_err(LeafError::Envelope)?;
        let payload = envelope.payload();
        let kind = predicate_type(payload).map_err(LeafError::Statement)?;
        if kind == RebuildResult::TYPE {
            unverified_entry(bytes).map(|entry| Self::Result(entry.position().node))
        } else if kind == Commitment::TYPE {
            unverified_entry(bytes).map(|entry| Self::Commitment(entry.position().node))
        } else if kind == WitnessCheck::TYPE {
            unverified_entry(bytes).map(|entry| Self::Check(entry.position().node))
        } else if kind == NodeCertificate::TYPE {
            certificate(bytes).map(Box::new).map(Self::Certificate)
        } else if kind == VerdictSummary::TYPE {
            Statement::parse(payload).map(Box::new).map(Self::Verdict).map_err(LeafError::Statement)
        } else if kind == Drill::TYPE {
            Statement::<Drill>::parse(payload).map(|_| Self::Drill).map_err(LeafError::Statement)
        } else if Declaration::is_type(&kind) {
            Declaration::parse(payload).map(|_| Self::Declaration).map_err(LeafError::Statement)
        } else {
            Err(LeafError::Kind(kind.chars().take(100).collect()))
        }
    }
}

/// A certificate from the log. It counted when it was logged; whether its operator counts today is for
/// the tally to say.
pub(crate) fn certificate(bytes: &[u8]) -> Result<VerifiedCertificate, LeafError> {
    let envelope = Envelope::parse(bytes, CERTIFICATE_BYTES_MAX).map_err(LeafError::Envelope)?;
    let statement = Statement::<NodeCertificate>::parse(envelope.payload()).map_err(LeafError::Statement)?;
    let operator = BTreeSet::from([statement.predicate.operator]);
    VerifiedCertificate::verify(bytes, &operator).map_err(LeafError::Certificate)
}

/// What a feed's entry from the log says; its signature is not checked.
pub(crate) fn unverified_entry(bytes: &[u8]) -> Result<EntryStatement, LeafError> {
    let envelope = Envelope::parse(bytes, ENTRY_BYTES_MAX).map_err(LeafError::Envelope)?;
    EntryStatement::parse(envelope.payload()).map_err(LeafError::Statement)
}

/// A result from the log.
pub(crate) fn result(bytes: &[u8], certificate: &VerifiedCertificate) -> Result<VerifiedStatement, LeafError> {
    VerifiedStatement::verify(bytes, certificate).map_err(LeafError::Entry)
}

/// A feed's entry from the log.
pub(crate) fn entry(bytes: &[u8], certificate: &VerifiedCertificate) -> Result<VerifiedEntry, LeafError> {
    VerifiedEntry::verify(bytes, certificate).map_err(LeafError::Entry)
}

/// A verdict from the log.
pub(crate) fn verdict(bytes: &[u8]) -> Result<Statement<VerdictSummary>, LeafError> {
    let envelope = Envelope::parse(bytes, ENTRY_BYTES_MAX).map_err(LeafError::Envelope)?;
    Statement::parse(envelope.payload()).map_err(LeafError::Statement)
}

/// What tells two verdicts apart, but for times and log size.
pub(crate) fn content_of(verdict: &Verdict) -> Digest {
    let timeless = Verdict { as_of: None, ..verdict.clone() };
    Digest::of(&serde_json::to_vec(&timeless).expect("a verdict holds nothing that JSON cannot say"))
}
