//! The node's key and certificate. The certificate is read again whenever its file changes, so that an
//! operator renews it without stopping the node.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use quorate_proto::certificate::{CERTIFICATE_BYTES_MAX, CertificateError, NodeCertificate, VerifiedCertificate};
use quorate_proto::dsse::Envelope;
use quorate_proto::statement::Statement;
use quorate_proto::{NodeId, OperatorId, SecretKey, Timestamp};

use crate::key::{self, KeyFileError};

/// A key with the certificate that makes its signatures count.
#[derive(Debug)]
pub(super) struct Identity {
    key: SecretKey,
    path: PathBuf,
    read_at: Option<SystemTime>,
    certificate: VerifiedCertificate,
}

/// A certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The file cannot be read.
    #[error("certificate `{path}`")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not a certificate.
    #[error("certificate `{path}` is malformed")]
    Malformed {
        /// Which.
        path: PathBuf,
    },
    /// Not signed by the operator that it names.
    #[error("certificate `{path}`")]
    Refused {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: CertificateError,
    },
    /// Of another node.
    #[error("certificate `{path}` is of {got}, the key is of {expected}")]
    OtherNode {
        /// Which.
        path: PathBuf,
        /// The node that it certifies.
        got: NodeId,
        /// The node whose key is here.
        expected: NodeId,
    },
}

impl Identity {
    pub(super) fn load(key: &Path, certificate: &Path) -> Result<Self, IdentityError> {
        let key = key::load(key)?;
        let read_at = modified(certificate);
        let certificate_read = read(certificate, key.node_id())?;
        Ok(Self { key, path: certificate.to_owned(), read_at, certificate: certificate_read })
    }

    pub(super) fn key(&self) -> &SecretKey {
        &self.key
    }

    pub(super) fn node(&self) -> NodeId {
        self.key.node_id()
    }

    pub(super) fn operator(&self) -> OperatorId {
        self.certificate.operator()
    }

    /// The certificate, if it covers `now`. A changed file that cannot be used leaves the one before in
    /// force, and is tried again when it changes again.
    pub(super) fn certificate(&mut self, now: Timestamp) -> Option<&VerifiedCertificate> {
        let modified = modified(&self.path);
        if modified != self.read_at {
            self.read_at = modified;
            match read(&self.path, self.node()) {
                Ok(certificate) if certificate.operator() == self.certificate.operator() => self.certificate = certificate,
                Ok(certificate) => {
                    tracing::error!(operator = %certificate.operator(), "new certificate is of another operator; restart to change it");
                }
                Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "new certificate cannot be used"),
            }
        }
        Some(&self.certificate).filter(|certificate| certificate.covers(now))
    }
}

fn read(path: &Path, expected: NodeId) -> Result<VerifiedCertificate, IdentityError> {
    let bytes = fs::read(path).map_err(|source| IdentityError::Io { path: path.to_owned(), source })?;
    let malformed = || IdentityError::Malformed { path: path.to_owned() };
    let envelope = Envelope::parse(&bytes, CERTIFICATE_BYTES_MAX).map_err(|_| malformed())?;
    let statement = Statement::<NodeCertificate>::parse(envelope.payload()).map_err(|_| malformed())?;
    // Whoever the operator is, its signature has to be right; whether it counts is for others to say.
    let named = BTreeSet::from([statement.predicate.operator]);
    let certificate =
        VerifiedCertificate::verify(&bytes, &named).map_err(|source| IdentityError::Refused { path: path.to_owned(), source })?;
    let got = certificate.node();
    if got == expected { Ok(certificate) } else { Err(IdentityError::OtherNode { path: path.to_owned(), got, expected }) }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::time::Duration;

    fn certify(path: &Path, root: &SecretKey, node: NodeId, from: i64) {
        let (not_before, not_after) = (Timestamp::from_unix_seconds(from), Timestamp::from_unix_seconds(from + 100));
        let envelope = NodeCertificate { operator: root.operator_id(), node, not_before, not_after }.sign(root);
        fs::write(path, envelope.bytes()).unwrap();
    }

    #[test]
    fn a_renewed_certificate_counts_without_a_restart_and_an_unusable_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (key_path, path) = (dir.path().join("key"), dir.path().join("cert"));
        let (key, root) = (key::generate(&key_path).unwrap(), SecretKey::from_seed(&[1; 32]));
        certify(&path, &root, key.node_id(), 1000);
        let mut identity = Identity::load(&key_path, &path).unwrap();
        let at = Timestamp::from_unix_seconds;
        assert!(identity.certificate(at(1050)).is_some());
        assert!(identity.certificate(at(1150)).is_none(), "outside of its validity nothing is signed");
        certify(&path, &root, key.node_id(), 1100);
        touch(&path, 1);
        assert!(identity.certificate(at(1150)).is_some());
        fs::write(&path, b"{}").unwrap();
        touch(&path, 2);
        assert!(identity.certificate(at(1150)).is_some());
        certify(&path, &SecretKey::from_seed(&[9; 32]), key.node_id(), 1300);
        touch(&path, 3);
        assert!(identity.certificate(at(1350)).is_none());
    }

    #[test]
    fn a_certificate_of_another_node_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (key_path, path) = (dir.path().join("key"), dir.path().join("cert"));
        key::generate(&key_path).unwrap();
        certify(&path, &SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]).node_id(), 1000);
        assert!(matches!(Identity::load(&key_path, &path), Err(IdentityError::OtherNode { .. })));
    }

    /// Modification times have steps; a test must not depend on them.
    fn touch(path: &Path, seconds: u64) {
        let time = SystemTime::now() + Duration::from_secs(seconds);
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }
}
