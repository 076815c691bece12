//! Node certificates, `urn:quorate:node-certificate/v1`: an operator's root key vouches for a node.
//!
//! The root key stays offline; a certificate lives at most 30 days. Whether a statement falls into
//! its validity is decided by the statement's own `finishedAt`, so that the answer is the same for
//! everybody and for ever; whoever *takes in* a statement also refuses times in the future.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::dsse::{DsseError, Envelope};
use crate::key::{PublicKey as _, SecretKey};
use crate::statement::{Predicate, Statement, StatementError, Subject};
use crate::{Digest, NodeId, OperatorId, Timestamp};

/// Longest validity, in seconds: 30 days.
pub const VALIDITY_SECONDS_MAX: i64 = 30 * 24 * 60 * 60;

/// Largest certificate envelope, in bytes.
pub const CERTIFICATE_BYTES_MAX: usize = 2048;

/// The predicate. The subject is the node: its text form and its key id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeCertificate {
    /// Who answers for the node, and signs this.
    pub operator: OperatorId,
    /// The node.
    pub node: NodeId,
    /// First second of validity.
    pub not_before: Timestamp,
    /// Last second of validity.
    pub not_after: Timestamp,
}

/// A certificate whose signature was checked and whose operator is enrolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCertificate {
    certificate: NodeCertificate,
    envelope: Envelope,
}

/// A certificate that does not count.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CertificateError {
    /// Not an envelope, or not signed by the operator that it names.
    #[error("certificate is not acceptable")]
    Envelope(#[source] DsseError),
    /// Not a certificate.
    #[error("certificate is not acceptable")]
    Statement(#[source] StatementError),
    /// An operator that is not enrolled here.
    #[error("operator {0} is not enrolled")]
    UnknownOperator(OperatorId),
}

impl Predicate for NodeCertificate {
    const TYPE: &'static str = "urn:quorate:node-certificate/v1";

    fn check(&self, subject: &[Subject]) -> Result<(), String> {
        let expected = Subject::new(self.node.to_string(), Digest::of(self.node.as_bytes()));
        if subject != [expected] {
            return Err("the subject is not the node".to_owned());
        }
        if !self.not_before.is_whole_seconds() || !self.not_after.is_whole_seconds() {
            return Err("a time with a fraction of a second".to_owned());
        }
        let seconds = self.not_after.unix_seconds().saturating_sub(self.not_before.unix_seconds());
        if (1..=VALIDITY_SECONDS_MAX).contains(&seconds) {
            Ok(())
        } else {
            Err(format!("validity of {seconds} seconds, limit {VALIDITY_SECONDS_MAX}"))
        }
    }
}

impl NodeCertificate {
    /// Signs this certificate with the operator's root key.
    pub fn sign(self, root: &SecretKey) -> Envelope {
        let subject = Subject::new(self.node.to_string(), Digest::of(self.node.as_bytes()));
        Envelope::sign(Statement::new(vec![subject], self).to_payload(), root)
    }
}

impl VerifiedCertificate {
    /// The door for certificates: size, form, operator, signature.
    pub fn verify(bytes: &[u8], enrolled: &BTreeSet<OperatorId>) -> Result<Self, CertificateError> {
        let envelope = Envelope::parse(bytes, CERTIFICATE_BYTES_MAX).map_err(CertificateError::Envelope)?;
        let statement = Statement::<NodeCertificate>::parse(envelope.payload()).map_err(CertificateError::Statement)?;
        let certificate = statement.predicate;
        if !enrolled.contains(&certificate.operator) {
            return Err(CertificateError::UnknownOperator(certificate.operator));
        }
        envelope.verify(&certificate.operator).map_err(CertificateError::Envelope)?;
        Ok(Self { certificate, envelope })
    }

    /// Who answers for the node.
    pub fn operator(&self) -> OperatorId {
        self.certificate.operator
    }

    /// The node.
    pub fn node(&self) -> NodeId {
        self.certificate.node
    }

    /// Whether `time` falls into the validity.
    pub fn covers(&self, time: Timestamp) -> bool {
        (self.certificate.not_before..=self.certificate.not_after).contains(&time)
    }

    /// Last second of validity.
    pub fn not_after(&self) -> Timestamp {
        self.certificate.not_after
    }

    /// The exact bytes.
    pub fn bytes(&self) -> &[u8] {
        self.envelope.bytes()
    }

    /// The DSSE key id of the node.
    pub fn node_key_id(&self) -> String {
        self.certificate.node.key_id()
    }
}
