//! Node certificates, `urn:quorate:node-certificate/v1`: an operator's root key vouches for a node.
//!
//! The root key stays offline; a certificate lives at most 30 days. Whether a statement falls into
//! its validity is decided by the statement's own `finishedAt`, so that the answer is the same for
//! everybody and for ever; whoever *takes in* a statement also refuses times in the future.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

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

/// Certificates that were found good, by their exact bytes: one that comes with many entries costs one signature.
///
/// Nothing that was refused is remembered, and who is enrolled is asked each time: the answer is always that of
/// [`VerifiedCertificate::verify`].
#[derive(Clone, Debug)]
pub struct KnownCertificates {
    /// How many are remembered, each within twice [`CERTIFICATE_BYTES_MAX`]. When there are so many, all are forgotten.
    count_max: usize,
    known: HashMap<Digest, Arc<VerifiedCertificate>>,
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

impl KnownCertificates {
    /// Remembers at most `count_max`.
    pub fn new(count_max: usize) -> Self {
        Self { count_max, known: HashMap::new() }
    }

    /// The door for certificates that come again and again.
    pub fn verify(&mut self, bytes: &[u8], enrolled: &BTreeSet<OperatorId>) -> Result<Arc<VerifiedCertificate>, CertificateError> {
        let name = Digest::of(bytes);
        if let Some(known) = self.known.get(&name) {
            let operator = known.operator();
            return if enrolled.contains(&operator) { Ok(Arc::clone(known)) } else { Err(CertificateError::UnknownOperator(operator)) };
        }
        let certificate = Arc::new(VerifiedCertificate::verify(bytes, enrolled)?);
        if self.known.len() >= self.count_max {
            self.known.clear();
        }
        self.known.insert(name, Arc::clone(&certificate));
        Ok(certificate)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn root() -> SecretKey {
        SecretKey::from_seed(&[1; 32])
    }

    fn certificate(node: u8, root: &SecretKey) -> Envelope {
        let (not_before, not_after) = (Timestamp::from_unix_seconds(0), Timestamp::from_unix_seconds(60));
        let node = SecretKey::from_seed(&[node; 32]).node_id();
        NodeCertificate { operator: root.operator_id(), node, not_before, not_after }.sign(root)
    }

    /// The certificate with a signature that somebody else made.
    fn forged(good: &Envelope) -> Vec<u8> {
        let statement = Statement::<NodeCertificate>::parse(good.payload()).unwrap();
        let stolen = Envelope::sign(statement.to_payload(), &SecretKey::from_seed(&[9; 32]));
        let key_id = root().operator_id().key_id();
        let other_id = SecretKey::from_seed(&[9; 32]).operator_id().key_id();
        String::from_utf8(stolen.bytes().to_vec()).unwrap().replace(&other_id, &key_id).into_bytes()
    }

    #[test]
    fn a_bad_certificate_is_refused_after_a_good_one_of_the_same_node_is_known() {
        let (good, enrolled) = (certificate(2, &root()), BTreeSet::from([root().operator_id()]));
        let mut known = KnownCertificates::new(8);
        for _ in 0..2 {
            assert_eq!(known.verify(good.bytes(), &enrolled).unwrap().bytes(), good.bytes());
            for bad in [forged(&good), [good.bytes(), b" "].concat(), b"{}".to_vec()] {
                let refused = VerifiedCertificate::verify(&bad, &enrolled).unwrap_err();
                assert_eq!(known.verify(&bad, &enrolled).unwrap_err(), refused);
            }
        }
        assert_eq!(known.known.len(), 1);
    }

    #[test]
    fn a_known_certificate_counts_for_nobody_who_has_not_enrolled_its_operator() {
        let (good, mine, theirs) = (certificate(2, &root()), BTreeSet::from([root().operator_id()]), BTreeSet::new());
        let mut known = KnownCertificates::new(8);
        let unknown = CertificateError::UnknownOperator(root().operator_id());
        assert_eq!(known.verify(good.bytes(), &theirs).unwrap_err(), unknown);
        assert!(known.verify(good.bytes(), &mine).is_ok());
        assert_eq!(known.verify(good.bytes(), &theirs).unwrap_err(), unknown);
        assert!(known.verify(good.bytes(), &mine).is_ok());
    }

    #[test]
    fn no_more_certificates_are_remembered_than_is_said() {
        let enrolled = BTreeSet::from([root().operator_id()]);
        let mut known = KnownCertificates::new(3);
        for node in 2..20 {
            known.verify(certificate(node, &root()).bytes(), &enrolled).unwrap();
            assert!(known.known.len() <= 3);
        }
    }
}
