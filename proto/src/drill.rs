//! Drills, `urn:quorate:drill/v1`: the operator of a log publishes a file that is known to be wrong on a registry of
//! its own, and sees who agrees with it.
//!
//! Before anybody can vote, the log holds the [announcement](Announcement): a hash that binds the artifact and hides
//! it. Once votes are in, the [opening](Opening) shows which artifact it was. Who signed agreement with its digest
//! has not built it.
//!
//! In scope: what is bound and hidden, what the two statements may say, and that the log's key signed them. Out of
//! scope: where they stand in the log, and what that means for votes (the tally). Implements `docs/spec/drill.md`.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::commitment::Nonce;
use crate::dsse::{DsseError, Envelope};
use crate::key::{PublicKey, SecretKey};
use crate::statement::{Predicate, Statement, StatementError, Subject, check_line};
use crate::{ArtifactId, ArtifactSlot, Digest, FileName, Purl};

/// Largest envelope of a drill, in bytes.
pub const DRILL_ENVELOPE_BYTES_MAX: usize = 12 * 1024;

/// Longest reason, in characters.
pub const REASON_CHARS_MAX: usize = 500;

/// Longest name of a log, in bytes.
const LOG_BYTES_MAX: usize = 1_024;

/// What is hashed first.
const DOMAIN: &[u8] = b"quorate-drill/v1\0";

/// The predicate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Drill {
    /// There is a drill; nobody can tell on what.
    Announced(Announcement),
    /// This is what it was on.
    Opened(Box<Opening>),
}

/// That there is a drill. The subject is named `drill` and has the commitment as its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Announcement {
    /// The origin of the log that it stands in.
    pub log: String,
    /// What [`Opening::commitment`] gives.
    pub commitment: Digest,
}

/// What a drill was on. A secret until it is in the log. The subject is the published file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Opening {
    /// The origin of the log that it stands in.
    pub log: String,
    /// The release, on a registry that the package URL names.
    #[serde(deserialize_with = "crate::purl::deserialize_canonical")]
    pub package: Purl,
    /// The published file's name.
    pub file: FileName,
    /// The published file's digest, which no honest rebuild gives.
    pub digest: Digest,
    /// What hid all this.
    pub nonce: Nonce,
    /// What is wrong with the file, for people: 1 to [`REASON_CHARS_MAX`] characters.
    pub reason: String,
}

/// A drill's statement that the log's key signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedDrill {
    drill: Drill,
    digest: Digest,
}

/// Why bytes are no statement of a drill in this log.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DrillError {
    /// Malformed, too large, or not signed by the log's key.
    #[error("envelope does not count")]
    Envelope(#[source] DsseError),
    /// No statement of a drill.
    #[error("statement does not count")]
    Statement(#[source] StatementError),
    /// A drill in another log.
    #[error("drill of log `{got}`")]
    ForeignLog {
        /// The log that it names.
        got: String,
    },
}

impl DrillError {
    /// A short stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Envelope(error) => error.name(),
            Self::Statement(error) => error.name(),
            Self::ForeignLog { .. } => "foreign-log",
        }
    }
}

impl Opening {
    /// The artifact.
    pub fn artifact(&self) -> ArtifactId {
        ArtifactId { slot: ArtifactSlot { package: self.package.clone(), file: self.file.clone() }, digest: self.digest }
    }

    /// SHA-256 of the domain; of log, package, file and digest, each followed by a line feed; and of the nonce.
    pub fn commitment(&self) -> Digest {
        let mut hash = Sha256::new();
        hash.update(DOMAIN);
        for part in [self.log.clone(), self.package.to_string(), self.file.to_string(), self.digest.to_string()] {
            hash.update(part.as_bytes());
            hash.update(b"\n");
        }
        hash.update(self.nonce.as_bytes());
        Digest::from_bytes(hash.finalize().into())
    }

    /// What announces it.
    pub fn announcement(&self) -> Announcement {
        Announcement { log: self.log.clone(), commitment: self.commitment() }
    }

    /// What shape and subject cannot say.
    fn check(&self) -> Result<(), String> {
        if self.package.version().is_none() {
            return Err(format!("package {} names no version", self.package));
        }
        if self.package.qualifier("repository_url").is_none() {
            return Err(format!("package {} names no registry of its own", self.package));
        }
        check_line("reason", &self.reason, REASON_CHARS_MAX)
    }
}

impl Drill {
    /// The origin of the log that it stands in.
    pub fn log(&self) -> &str {
        match self {
            Self::Announced(announcement) => &announcement.log,
            Self::Opened(opening) => &opening.log,
        }
    }

    /// What binds the two steps of a drill to each other.
    pub fn commitment(&self) -> Digest {
        match self {
            Self::Announced(announcement) => announcement.commitment,
            Self::Opened(opening) => opening.commitment(),
        }
    }

    fn subject(&self) -> Subject {
        match self {
            Self::Announced(announcement) => Subject::new("drill", announcement.commitment),
            Self::Opened(opening) => Subject::new(opening.file.as_str(), opening.digest),
        }
    }

    /// The envelope, if the statement may say this. Deterministic: the same step gives the same bytes.
    pub fn sign(self, log: &SecretKey) -> Result<Envelope, DrillError> {
        let statement = Statement::new(vec![self.subject()], self);
        let contradiction = |said| DrillError::Statement(StatementError::Contradiction(said));
        statement.predicate.check(&statement.subject).map_err(contradiction)?;
        Ok(Envelope::sign(statement.to_payload(), log))
    }
}

impl VerifiedDrill {
    /// Verifies an envelope from the log with this key and origin.
    pub fn verify(envelope: &[u8], key: &impl PublicKey, origin: &str) -> Result<Self, DrillError> {
        let envelope = Envelope::parse(envelope, DRILL_ENVELOPE_BYTES_MAX).map_err(DrillError::Envelope)?;
        envelope.verify(key).map_err(DrillError::Envelope)?;
        let drill = Statement::<Drill>::parse(envelope.payload()).map_err(DrillError::Statement)?.predicate;
        if drill.log() != origin {
            return Err(DrillError::ForeignLog { got: drill.log().chars().take(100).collect() });
        }
        Ok(Self { drill, digest: envelope.digest() })
    }

    /// What it says.
    pub fn drill(&self) -> &Drill {
        &self.drill
    }

    /// SHA-256 of the envelope.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl Predicate for Drill {
    const TYPE: &'static str = "urn:quorate:drill/v1";

    fn check(&self, subject: &[Subject]) -> Result<(), String> {
        if subject != [self.subject()] {
            return Err("the subject is not what the drill names".to_owned());
        }
        let log = self.log();
        if log.is_empty() || log.len() > LOG_BYTES_MAX || log.chars().any(char::is_control) {
            return Err(format!("the log's name is not one line of 1 to {LOG_BYTES_MAX} bytes"));
        }
        match self {
            Self::Announced(_) => Ok(()),
            Self::Opened(opening) => opening.check(),
        }
    }
}
