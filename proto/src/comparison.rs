//! The words in which two archives are compared: levels, passes, anomalies, differences.
//!
//! How they are found is `quorate-normalize`; here stand only the closed lists that go into signed
//! results, so that a policy can name them.

use serde::{Deserialize, Serialize};

use crate::Digest;

/// How close the rebuilt file came, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The same bytes.
    Byte,
    /// The same bytes once decompressed.
    Stream,
    /// The same members, types, link targets, executable bits and contents.
    Normal,
    /// Normal, but for generated files that are equal when read as what they are.
    Manifest,
    /// None of these.
    Different,
}

impl Level {
    /// The level's name, as in the JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Byte => "byte",
            Self::Stream => "stream",
            Self::Normal => "normal",
            Self::Manifest => "manifest",
            Self::Different => "different",
        }
    }
}

/// How much an attacker could hide behind a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    /// Nothing that an installer or a program reads.
    None,
    /// Metadata that a tool may read but that carries no code.
    Low,
    /// Content of generated files, compared by meaning.
    Medium,
}

/// A normalisation that changed something on at least one side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PassUse {
    /// Name, such as `zip-times`.
    pub name: String,
    /// Version of the pass; a change of what it drops is a new version.
    pub version: u32,
    /// What could hide behind it.
    pub risk: Risk,
    /// How many members it changed on either side.
    pub members: u32,
}

/// A structural fault in an archive, which no normalisation may remove.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Anomaly {
    /// Which side has it.
    pub side: Side,
    /// What it is.
    pub kind: AnomalyKind,
    /// The member concerned, if it is one; control characters escaped; at most 300 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// What was found, in one sentence.
    pub detail: String,
}

/// One of the two files that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The file on the registry.
    Published,
    /// The file that a rebuild made.
    Rebuilt,
}

/// The closed list of structural faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnomalyKind {
    /// Two members of one name.
    DuplicateName,
    /// Names that collide on a file system that folds case or Unicode forms.
    CollidingName,
    /// Bytes before the first member.
    LeadingData,
    /// Bytes between members that belong to none.
    InteriorData,
    /// Bytes after the end.
    TrailingData,
    /// A local header that disagrees with the central directory.
    HeaderMismatch,
    /// Members whose bytes overlap.
    OverlappingMembers,
    /// An absolute name, one with `..`, or one with a drive letter.
    PathEscape,
    /// A name with NUL, control characters, backslashes or invalid encoding.
    MalformedName,
    /// A link whose target lies outside of the archive.
    EscapingLink,
    /// A device, socket or FIFO.
    SpecialFile,
    /// More members, bytes or compression than any honest archive has.
    AbsurdSize,
    /// A checksum that does not match its content.
    ChecksumMismatch,
    /// An encrypted member.
    Encrypted,
    /// A compression method or member type that is not part of the profile.
    UnsupportedFeature,
    /// Several compressed streams where one is expected.
    ExtraStream,
    /// A field that is not written in its canonical form.
    NonCanonical,
    /// A file that ends too early or cannot be read.
    Truncated,
    /// An archive whose own list of contents disagrees with its contents, such as a wheel's `RECORD`.
    ManifestMismatch,
}

/// A difference between the two normal forms.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Difference {
    /// Name of the member, control characters escaped; `!/` joins the names of nested archives.
    pub member: String,
    /// What kind of difference it is.
    pub class: DifferenceClass,
    /// Whether the member is executable by its mode, or by its kind, on either side.
    pub executable: Executable,
    /// SHA-256 of the published content, if there is such a member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<Digest>,
    /// SHA-256 of the rebuilt content, if there is such a member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rebuilt: Option<Digest>,
}

/// The kinds of difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DifferenceClass {
    /// The member is in the published file only.
    OnlyPublished,
    /// The member is in the rebuilt file only.
    OnlyRebuilt,
    /// Both have it, with other contents.
    Content,
    /// Both have it with the same contents; type, link target or executable bit differ.
    Metadata,
    /// The files are not of a kind that can be looked into; their bytes differ.
    Opaque,
    /// The normal forms are equal, but the published file has an anomaly that the rebuilt one lacks.
    Anomaly,
}

/// Whether a member can run: what decides how grave a difference is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Executable {
    /// Code: a program, a library, a script, a source file that an interpreter loads.
    Code,
    /// Something else.
    Data,
}
