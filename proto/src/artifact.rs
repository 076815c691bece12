//! What a verdict is about: one published file of one release.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Digest, Purl, text};

/// Longest file name that is accepted, in bytes.
pub const FILE_NAME_BYTES_MAX: usize = 255;

/// The name of a published file: one path segment of printable characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(String);

/// A text that cannot be a published file's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("malformed file name {0:?}: expected one path segment of at most {FILE_NAME_BYTES_MAX} printable bytes")]
pub struct FileNameError(String);

/// The place that a published file takes in its registry. Two digests seen in one slot are a
/// registry split.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactSlot {
    /// The release, with its version.
    pub package: Purl,
    /// The file of it.
    pub file: FileName,
}

/// One published file: its slot and its bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ArtifactId {
    /// Where it was published.
    #[serde(flatten)]
    pub slot: ArtifactSlot,
    /// SHA-256 of the published bytes.
    pub digest: Digest,
}

impl FileName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FileName {
    type Err = FileNameError;

    fn from_str(text: &str) -> Result<Self, FileNameError> {
        let printable = |c: char| !c.is_control() && !matches!(c, '/' | '\\' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let valid = (1..=FILE_NAME_BYTES_MAX).contains(&text.len()) && text.chars().all(printable) && text != "." && text != "..";
        if valid { Ok(Self(text.to_owned())) } else { Err(FileNameError(text.chars().take(100).collect())) }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for FileName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for FileName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::parse(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_escape_a_folder_or_a_terminal_are_refused() {
        for text in ["", ".", "..", "a/b", "a\\b", "a\u{1b}[31m", "a\u{202e}b", &"x".repeat(256)] {
            assert!(text.parse::<FileName>().is_err(), "{text:?}");
        }
        assert!("click-8.1.8-py3-none-any.whl".parse::<FileName>().is_ok());
    }
}
