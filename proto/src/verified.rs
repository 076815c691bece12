//! The one door for results: bytes become a [`VerifiedStatement`] or a named [`RejectError`].
//!
//! Order of the checks: size, form, certificate, signature, statement, agreement between them.
//! Nothing else builds a [`VerifiedStatement`], and the tally takes nothing else for a vote. Other entries of
//! feeds come through the same door as [`VerifiedEntry`](crate::entry::VerifiedEntry).

use std::collections::BTreeSet;
use std::time::Duration;

use crate::certificate::{CertificateError, VerifiedCertificate};
use crate::dsse::{DsseError, Envelope};
use crate::feed::FeedPosition;
use crate::result::{RESULT_ENVELOPE_BYTES_MAX, RebuildResult};
use crate::statement::{Statement, StatementError};
use crate::{ArtifactId, Digest, NodeId, OperatorId, Timestamp};

/// How far ahead of the receiver's clock a result may be signed and still be taken in.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_mins(10);

/// A feed entry with the certificate of its node, both as exact bytes and unverified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedItem {
    /// The certificate's envelope.
    pub certificate: Vec<u8>,
    /// The entry's envelope.
    pub envelope: Vec<u8>,
}

/// A result that a certified node of an enrolled operator signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedStatement {
    operator: OperatorId,
    statement: Statement<RebuildResult>,
    artifact: ArtifactId,
    digest: Digest,
}

/// Why an item does not count. Nothing has changed when one of these is returned.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RejectError {
    /// The certificate does not count.
    #[error("certificate does not count")]
    Certificate(#[source] CertificateError),
    /// The envelope is malformed, too large, or not signed by the certified node.
    #[error("envelope does not count")]
    Envelope(#[source] DsseError),
    /// The payload is no statement that stands in feeds.
    #[error("statement does not count")]
    Statement(#[source] StatementError),
    /// Signed outside of the certificate's validity.
    #[error("signed at {signed_at}, outside of the certificate's validity (until {not_after})")]
    ExpiredCertificate {
        /// When the statement says that it was signed.
        signed_at: Timestamp,
        /// The certificate's end.
        not_after: Timestamp,
    },
    /// The feed position names another node than the one that signed.
    #[error("feed position names node {0}, which did not sign this")]
    ForeignFeed(NodeId),
    /// The entry names another operator than the certificate.
    #[error("the entry is one of operator {0}, not of the one whose certificate came with it")]
    ForeignOperator(OperatorId),
    /// Sequence 0 has a predecessor, or a later one has none.
    #[error("sequence {0} and `previous` do not go together")]
    BrokenChain(u64),
}

impl RejectError {
    /// A short stable name, for counters and for the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Certificate(CertificateError::UnknownOperator(_)) => "unknown-operator",
            Self::Certificate(_) => "bad-certificate",
            Self::Envelope(error) => error.name(),
            Self::Statement(error) => error.name(),
            Self::ExpiredCertificate { .. } => "expired-certificate",
            Self::ForeignFeed(_) => "foreign-feed",
            Self::ForeignOperator(_) => "foreign-operator",
            Self::BrokenChain(_) => "broken-chain",
        }
    }
}

/// Size, form and signature.
pub(crate) fn open(envelope: &[u8], certificate: &VerifiedCertificate) -> Result<Envelope, RejectError> {
    let envelope = Envelope::parse(envelope, RESULT_ENVELOPE_BYTES_MAX).map_err(RejectError::Envelope)?;
    envelope.verify(&certificate.node()).map_err(RejectError::Envelope)?;
    Ok(envelope)
}

/// Whether what an entry says of itself agrees with the certificate that it came with.
pub(crate) fn agree(
    position: &FeedPosition,
    operator: OperatorId,
    signed_at: Timestamp,
    certificate: &VerifiedCertificate,
) -> Result<(), RejectError> {
    if position.node != certificate.node() {
        return Err(RejectError::ForeignFeed(position.node));
    }
    if operator != certificate.operator() {
        return Err(RejectError::ForeignOperator(operator));
    }
    if (position.sequence == 0) != position.previous.is_none() {
        return Err(RejectError::BrokenChain(position.sequence));
    }
    if !certificate.covers(signed_at) {
        return Err(RejectError::ExpiredCertificate { signed_at, not_after: certificate.not_after() });
    }
    Ok(())
}

impl VerifiedStatement {
    /// Verifies an item whose certificate was not seen before.
    pub fn verify_item(item: &FeedItem, enrolled: &BTreeSet<OperatorId>) -> Result<Self, RejectError> {
        let certificate = VerifiedCertificate::verify(&item.certificate, enrolled).map_err(RejectError::Certificate)?;
        Self::verify(&item.envelope, &certificate)
    }

    /// Verifies an envelope of a node whose certificate is known.
    pub fn verify(envelope: &[u8], certificate: &VerifiedCertificate) -> Result<Self, RejectError> {
        let envelope = open(envelope, certificate)?;
        let statement = Statement::parse(envelope.payload()).map_err(RejectError::Statement)?;
        Self::of(statement, envelope.digest(), certificate)
    }

    /// A statement that its node has signed.
    pub(crate) fn of(statement: Statement<RebuildResult>, digest: Digest, certificate: &VerifiedCertificate) -> Result<Self, RejectError> {
        let RebuildResult { feed, operator, finished_at, .. } = &statement.predicate;
        agree(feed, *operator, *finished_at, certificate)?;
        let artifact = statement.artifact();
        Ok(Self { operator: certificate.operator(), statement, artifact, digest })
    }

    /// Who votes.
    pub fn operator(&self) -> OperatorId {
        self.operator
    }

    /// Which of the operator's nodes.
    pub fn node(&self) -> NodeId {
        self.position().node
    }

    /// The place in the node's feed.
    pub fn position(&self) -> FeedPosition {
        self.statement.predicate.feed
    }

    /// What the result is about.
    pub fn artifact(&self) -> &ArtifactId {
        &self.artifact
    }

    /// The result.
    pub fn result(&self) -> &RebuildResult {
        &self.statement.predicate
    }

    /// Whether it was signed further in the future than clocks may differ: whoever takes it in at `now`
    /// refuses it. What was taken in once stays.
    pub fn is_ahead_of(&self, now: Timestamp) -> bool {
        self.result().finished_at > now.plus(CLOCK_SKEW_MAX)
    }

    /// SHA-256 of the envelope.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}
