//! In-toto Statement v1: subjects by digest, a predicate by type.
//!
//! Fields that this version does not know are ignored, as the in-toto parsing rules ask; the exact
//! payload bytes are what is signed and kept, so nothing is lost by that.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Digest;

/// `_type` of every statement.
pub const STATEMENT_V1: &str = "https://in-toto.io/Statement/v1";

/// A predicate, with the type URI that names it and the rules that its fields obey among each other.
pub trait Predicate: Serialize + DeserializeOwned {
    /// The predicate type URI.
    const TYPE: &'static str;

    /// Checks what the shape alone cannot say. `subject` is what the statement is about.
    fn check(&self, subject: &[Subject]) -> Result<(), String>;
}

/// A statement about some files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement<P> {
    #[serde(rename = "_type")]
    kind: String,
    /// What it is about.
    pub subject: Vec<Subject>,
    predicate_type: String,
    /// What is said.
    pub predicate: P,
}

/// A file, or another thing that has a digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// Its digests.
    pub digest: DigestSet,
}

/// An in-toto digest set, of which Quorate reads SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestSet {
    #[serde(with = "hex")]
    /// SHA-256, written as 64 hex digits.
    pub sha256: Digest,
}

/// A payload that is not the statement that was expected.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum StatementError {
    /// Not JSON of the expected shape.
    #[error("statement is malformed: {0}")]
    Malformed(String),
    /// Another `_type`.
    #[error("statement has type `{0}`, expected `{STATEMENT_V1}`")]
    Type(String),
    /// Another predicate.
    #[error("statement has predicate type `{got}`, expected `{expected}`")]
    PredicateType {
        /// The type URI in the statement.
        got: String,
        /// The type URI that was expected.
        expected: &'static str,
    },
    /// Fields that contradict each other.
    #[error("statement contradicts itself: {0}")]
    Contradiction(String),
}

impl StatementError {
    /// A short stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Contradiction(_) => "contradiction",
            Self::Malformed(_) | Self::Type(_) | Self::PredicateType { .. } => "malformed-statement",
        }
    }
}

/// What is for people is one line.
pub(crate) fn check_line(what: &str, text: &str, chars_max: usize) -> Result<(), String> {
    let chars = text.chars().count();
    if !(1..=chars_max).contains(&chars) {
        return Err(format!("{what} of {chars} characters, expected 1 to {chars_max}"));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("{what} with a control character"));
    }
    Ok(())
}

/// The part of a statement that tells which predicate it has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(rename = "_type")]
    kind: String,
    predicate_type: String,
}

impl<P: Predicate> Statement<P> {
    /// A statement about `subject`.
    pub fn new(subject: Vec<Subject>, predicate: P) -> Self {
        Self { kind: STATEMENT_V1.to_owned(), subject, predicate_type: P::TYPE.to_owned(), predicate }
    }

    /// Reads a payload. It is read once; a second look is taken only to name what is wrong with it.
    pub fn parse(payload: &[u8]) -> Result<Self, StatementError> {
        // Text that is checked as a whole needs no check for each string. Payloads that are no text throughout
        // may still be read: nobody looks into fields that this version does not know.
        let parsed = std::str::from_utf8(payload).map_or_else(|_| serde_json::from_slice::<Self>(payload), serde_json::from_str);
        let got = match &parsed {
            Ok(statement) if statement.kind == STATEMENT_V1 => &statement.predicate_type,
            _ => &predicate_type(payload)?,
        };
        if got != P::TYPE {
            return Err(StatementError::PredicateType { got: got.clone(), expected: P::TYPE });
        }
        let statement = parsed.map_err(|e| StatementError::Malformed(e.to_string()))?;
        statement.predicate.check(&statement.subject).map_err(StatementError::Contradiction)?;
        Ok(statement)
    }

    /// The payload bytes: compact JSON.
    pub fn to_payload(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("statements hold nothing that JSON cannot say")
    }
}

/// The predicate type of a payload that is an in-toto Statement v1.
pub fn predicate_type(payload: &[u8]) -> Result<String, StatementError> {
    let head: Head = serde_json::from_slice(payload).map_err(|e| StatementError::Malformed(e.to_string()))?;
    if head.kind != STATEMENT_V1 {
        return Err(StatementError::Type(head.kind.chars().take(100).collect()));
    }
    Ok(head.predicate_type)
}

impl Subject {
    /// A subject with its SHA-256.
    pub fn new(name: impl Into<String>, digest: Digest) -> Self {
        Self { name: name.into(), digest: DigestSet { sha256: digest } }
    }
}

/// In-toto digest sets write the hex digits without a prefix.
mod hex {
    use super::Digest;
    use crate::text;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&digest.to_hex())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        text::read(deserializer, Digest::from_hex)
    }
}
