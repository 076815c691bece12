//! Declarations: what people say in their own name, signed, for everybody whose policy listens to them.
//!
//! An [`Advisory`] says that something is compromised, a [`Vouch`] that one exact difference is benign; an operator
//! [revokes](Revocation) a node of its own, or itself; and whoever has said something can take it [back](Retraction).
//!
//! In scope: the four statements, and that the key which each names has signed it. Out of scope: whether that key
//! counts, which is for a policy to say, and what follows from it (the tally). Implements `docs/spec/declarations.md`.

use serde::{Deserialize, Serialize};

use crate::drill::REASON_CHARS_MAX;
use crate::dsse::{DsseError, Envelope};
use crate::statement::{Predicate, Statement, StatementError, Subject, check_line, predicate_type};
use crate::verified::{CLOCK_SKEW_MAX, VerifiedStatement};
use crate::{ArtifactId, Digest, NodeId, NormalDigest, OperatorId, PurlPattern, SecretKey, SignerId, Timestamp};

/// Largest envelope of a declaration, in bytes.
pub const DECLARATION_BYTES_MAX: usize = 12 * 1024;

/// Longest id, in characters.
pub const ID_CHARS_MAX: usize = 64;

/// The four predicate types, for people.
const KINDS: &str = "urn:quorate:{advisory,vouch,revocation,retraction}/v1";

/// What is declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Declaration {
    /// Something is compromised.
    Advisory(Advisory),
    /// One exact difference is benign.
    Vouch(Vouch),
    /// A key is not trusted any more.
    Revocation(Revocation),
    /// Something was said in error.
    Retraction(Retraction),
}

/// People say that something is compromised: either one file, or packages. The subject is that file, or the pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Advisory {
    /// Who says so.
    pub signer: SignerId,
    /// When.
    pub signed_at: Timestamp,
    /// Its name, for people: one line of 1 to [`ID_CHARS_MAX`] characters.
    pub id: String,
    /// The published file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The packages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<PurlPattern>,
    /// What is wrong, for people: one line of 1 to [`REASON_CHARS_MAX`] characters.
    pub reason: String,
}

/// People have looked at a difference and found it benign. The subject is the published file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vouch {
    /// Who says so.
    pub signer: SignerId,
    /// When.
    pub signed_at: Timestamp,
    /// Its name, for people.
    pub id: String,
    /// The published file.
    pub digest: Digest,
    /// What rebuilds give: the normal form if there is one, else the digest, in its text form.
    pub rebuilt: String,
    /// Until when this holds.
    pub until: Timestamp,
    /// Why it is benign.
    pub reason: String,
}

/// An operator says that a key of its own is not trusted any more. The subject is the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revocation {
    /// The operator's root key.
    pub signer: SignerId,
    /// When.
    pub signed_at: Timestamp,
    /// The node; without one all nodes of the operator, for all that they ever said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// The first sequence number of the node's feed that does not count. 0 without a node.
    #[serde(default)]
    pub since: u64,
    /// What happened.
    pub reason: String,
}

/// Somebody takes back an advisory or a vouch of their own, or a result of their own operator. The subject is what
/// is taken back. Nothing takes back a revocation or a retraction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retraction {
    /// Who has said it.
    pub signer: SignerId,
    /// When it is taken back.
    pub signed_at: Timestamp,
    /// SHA-256 of the envelope that is taken back.
    pub statement: Digest,
    /// Why.
    pub reason: String,
}

/// A declaration that the key it names has signed. Whether the key counts is for a policy to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedDeclaration {
    declaration: Declaration,
    envelope: Envelope,
}

/// Why bytes are no declaration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DeclarationError {
    /// Malformed, too large, or not signed by the key that it names.
    #[error("envelope does not count")]
    Envelope(#[source] DsseError),
    /// No declaration.
    #[error("statement does not count")]
    Statement(#[source] StatementError),
}

impl DeclarationError {
    /// A short stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Envelope(error) => error.name(),
            Self::Statement(error) => error.name(),
        }
    }
}

impl Declaration {
    /// Whether a predicate type is one of these.
    pub fn is_type(predicate_type: &str) -> bool {
        [Advisory::TYPE, Vouch::TYPE, Revocation::TYPE, Retraction::TYPE].contains(&predicate_type)
    }

    /// Reads a payload.
    pub fn parse(payload: &[u8]) -> Result<Self, StatementError> {
        match predicate_type(payload)?.as_str() {
            Advisory::TYPE => Statement::parse(payload).map(|statement| Self::Advisory(statement.predicate)),
            Vouch::TYPE => Statement::parse(payload).map(|statement| Self::Vouch(statement.predicate)),
            Revocation::TYPE => Statement::parse(payload).map(|statement| Self::Revocation(statement.predicate)),
            Retraction::TYPE => Statement::parse(payload).map(|statement| Self::Retraction(statement.predicate)),
            other => Err(StatementError::PredicateType { got: other.chars().take(100).collect(), expected: KINDS }),
        }
    }

    /// Who declares it.
    pub fn signer(&self) -> SignerId {
        match self {
            Self::Advisory(Advisory { signer, .. })
            | Self::Vouch(Vouch { signer, .. })
            | Self::Revocation(Revocation { signer, .. })
            | Self::Retraction(Retraction { signer, .. }) => *signer,
        }
    }

    /// When.
    pub fn signed_at(&self) -> Timestamp {
        match self {
            Self::Advisory(Advisory { signed_at, .. })
            | Self::Vouch(Vouch { signed_at, .. })
            | Self::Revocation(Revocation { signed_at, .. })
            | Self::Retraction(Retraction { signed_at, .. }) => *signed_at,
        }
    }

    /// Why, for people.
    pub fn reason(&self) -> &str {
        match self {
            Self::Advisory(Advisory { reason, .. })
            | Self::Vouch(Vouch { reason, .. })
            | Self::Revocation(Revocation { reason, .. })
            | Self::Retraction(Retraction { reason, .. }) => reason,
        }
    }

    /// Of which kind it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Advisory(_) => "advisory",
            Self::Vouch(_) => "vouch",
            Self::Revocation(_) => "revocation",
            Self::Retraction(_) => "retraction",
        }
    }

    /// What it is about, by name and digest.
    pub fn subject(&self) -> Subject {
        match self {
            Self::Advisory(advisory) => advisory.subject(),
            Self::Vouch(vouch) => named(vouch.digest),
            Self::Revocation(revocation) => revocation.subject(),
            Self::Retraction(retraction) => named(retraction.statement),
        }
    }

    /// Signed, if the statement may say this and the key is the one that it names. Deterministic.
    pub fn sign(self, key: &SecretKey) -> Result<VerifiedDeclaration, DeclarationError> {
        let payload = match self {
            Self::Advisory(advisory) => payload(advisory.subject(), advisory),
            Self::Vouch(vouch) => payload(named(vouch.digest), vouch),
            Self::Revocation(revocation) => payload(revocation.subject(), revocation),
            Self::Retraction(retraction) => payload(named(retraction.statement), retraction),
        };
        VerifiedDeclaration::verify(Envelope::sign(payload, key).bytes())
    }
}

impl VerifiedDeclaration {
    /// The door for declarations: size, form, statement, signature of the key that the statement names.
    pub fn verify(bytes: &[u8]) -> Result<Self, DeclarationError> {
        let envelope = Envelope::parse(bytes, DECLARATION_BYTES_MAX).map_err(DeclarationError::Envelope)?;
        let declaration = Declaration::parse(envelope.payload()).map_err(DeclarationError::Statement)?;
        envelope.verify(&declaration.signer()).map_err(DeclarationError::Envelope)?;
        Ok(Self { declaration, envelope })
    }

    /// What it says.
    pub fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    /// Who says so.
    pub fn signer(&self) -> SignerId {
        self.declaration.signer()
    }

    /// SHA-256 of the envelope.
    pub fn digest(&self) -> Digest {
        self.envelope.digest()
    }

    /// The exact bytes.
    pub fn bytes(&self) -> &[u8] {
        self.envelope.bytes()
    }

    /// Whether it was signed further in the future than clocks may differ.
    pub fn is_ahead_of(&self, now: Timestamp) -> bool {
        self.declaration.signed_at() > now.plus(CLOCK_SKEW_MAX)
    }

    /// Whether it makes a result one that was never seen: its operator has revoked the place, or taken it back.
    pub fn silences(&self, result: &VerifiedStatement) -> bool {
        match &self.declaration {
            Declaration::Revocation(revocation) => revocation.covers(result.operator(), result.node(), result.position().sequence),
            Declaration::Retraction(retraction) => retraction.signer == result.operator().into() && retraction.statement == result.digest(),
            Declaration::Advisory(_) | Declaration::Vouch(_) => false,
        }
    }
}

impl Advisory {
    /// Whether it names the artifact or its package.
    pub fn names(&self, artifact: &ArtifactId) -> bool {
        self.digest == Some(artifact.digest) || self.package.as_ref().is_some_and(|pattern| pattern.matches(&artifact.slot.package))
    }

    fn subject(&self) -> Subject {
        let pattern = || self.package.as_ref().map_or("", PurlPattern::as_str);
        self.digest.map_or_else(|| Subject::new(pattern(), Digest::of(pattern().as_bytes())), named)
    }
}

impl Revocation {
    /// Whether what stands in this place of a feed, of this operator's node, is to be as if it had never been.
    pub fn covers(&self, operator: OperatorId, node: NodeId, sequence: u64) -> bool {
        self.signer == operator.into() && self.node.is_none_or(|revoked| revoked == node && sequence >= self.since)
    }

    fn subject(&self) -> Subject {
        match self.node {
            Some(node) => Subject::new(node.to_string(), Digest::of(node.as_bytes())),
            None => Subject::new(self.signer.to_string(), Digest::of(self.signer.as_bytes())),
        }
    }
}

impl Predicate for Advisory {
    const TYPE: &'static str = "urn:quorate:advisory/v1";

    fn check(&self, subject: &[Subject]) -> Result<(), String> {
        if self.digest.is_some() == self.package.is_some() {
            return Err("an advisory names either a digest or a package".to_owned());
        }
        check_line("id", &self.id, ID_CHARS_MAX)?;
        check(subject, self.subject(), self.signed_at, &self.reason)
    }
}

impl Predicate for Vouch {
    const TYPE: &'static str = "urn:quorate:vouch/v1";

    fn check(&self, subject: &[Subject]) -> Result<(), String> {
        if self.rebuilt.parse::<NormalDigest>().is_err() && self.rebuilt.parse::<Digest>().is_err() {
            return Err("`rebuilt` is neither a digest nor a normal digest".to_owned());
        }
        if !self.until.is_whole_seconds() {
            return Err("a time with a fraction of a second".to_owned());
        }
        check_line("id", &self.id, ID_CHARS_MAX)?;
        check(subject, named(self.digest), self.signed_at, &self.reason)
    }
}

impl Predicate for Revocation {
    const TYPE: &'static str = "urn:quorate:revocation/v1";

    fn check(&self, subject: &[Subject]) -> Result<(), String> {
        if self.node.is_none() && self.since > 0 {
            return Err("`since` is a place in a node's feed, and no node is named".to_owned());
        }
        check(subject, self.subject(), self.signed_at, &self.reason)
    }
}

impl Predicate for Retraction {
    const TYPE: &'static str = "urn:quorate:retraction/v1";

    fn check(&self, subject: &[Subject]) -> Result<(), String> {
        check(subject, named(self.statement), self.signed_at, &self.reason)
    }
}

/// What has nothing but a digest is named by it.
fn named(digest: Digest) -> Subject {
    Subject::new(digest.to_string(), digest)
}

fn payload(subject: Subject, predicate: impl Predicate) -> Vec<u8> {
    Statement::new(vec![subject], predicate).to_payload()
}

fn check(subject: &[Subject], expected: Subject, signed_at: Timestamp, reason: &str) -> Result<(), String> {
    if subject != [expected] {
        return Err("the subject is not what the declaration names".to_owned());
    }
    if !signed_at.is_whole_seconds() {
        return Err("a time with a fraction of a second".to_owned());
    }
    check_line("reason", reason, REASON_CHARS_MAX)
}
