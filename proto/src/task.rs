//! Tasks: what a rebuilder sets out to do, named before anybody says what came out.
//!
//! A task is an artifact's slot without a digest: the published one would already be half an answer.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::digest::DigestError;
use crate::{ArtifactSlot, Digest, text};

/// What is hashed before package and file.
const DOMAIN: &[u8] = b"quorate-task/v1\0";

/// Names a task. Text form `sha256:<64 lower-case hex digits>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(Digest);

impl TaskId {
    /// The task of rebuilding the file in `slot`: SHA-256 of [`DOMAIN`], the length of the package URL in bytes as
    /// eight bytes, big-endian, the package URL, and the file name.
    pub fn of(slot: &ArtifactSlot) -> Self {
        let package = slot.package.to_string();
        let mut hash = Sha256::new();
        hash.update(DOMAIN);
        hash.update((package.len() as u64).to_be_bytes());
        hash.update(package.as_bytes());
        hash.update(slot.file.as_str().as_bytes());
        Self(Digest::from_bytes(hash.finalize().into()))
    }

    /// The 32 raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// As a digest.
    pub const fn digest(&self) -> Digest {
        self.0
    }

    /// The 64 hex digits with no prefix.
    pub fn to_hex(&self) -> String {
        self.0.to_hex()
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TaskId {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        text.parse().map(Self)
    }
}

impl Serialize for TaskId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TaskId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::parse(deserializer)
    }
}
