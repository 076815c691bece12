//! How much a comparison may read and hold, and the error that says which bound was hit where.
//!
//! A limit is the operator's own and never a statement about the archive: hitting one is an
//! error. What no honest archive has (`ABSURD_*`) is part of the profile and becomes an anomaly.

use std::fmt;

/// Decompressed bytes below this are never called absurd, whatever their ratio.
pub(crate) const ABSURD_FROM_BYTES: u64 = 64 << 20;

/// Decompressed bytes per compressed byte above which a big stream is called absurd.
pub(crate) const ABSURD_RATIO: u64 = 200;

/// Whether `produced` bytes out of `consumed` are more than any honest archive has.
pub(crate) fn is_absurd(produced: u64, consumed: u64) -> bool {
    produced > ABSURD_FROM_BYTES && produced / consumed.max(1) > ABSURD_RATIO
}

/// Members beyond which no honest archive goes.
const ABSURD_MEMBERS: u64 = 250_000;

/// Whether an archive has more members than any honest one.
pub(crate) fn is_absurd_count(members: u64) -> bool {
    members > ABSURD_MEMBERS
}

/// The bounds of one comparison. Each holds for each side alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file itself.
    pub file_bytes_max: u64,
    /// Members of the archive.
    pub members_max: u64,
    /// Decompressed bytes of one member.
    pub member_bytes_max: u64,
    /// Decompressed bytes of the whole archive.
    pub total_bytes_max: u64,
    /// Bytes of one extension header of a tar (long names, pax records).
    pub extension_bytes_max: u64,
    /// Bytes of one generated manifest (`RECORD`, `METADATA`, `PKG-INFO`), which is held in memory.
    pub manifest_bytes_max: u64,
    /// Bytes of one side of a text that are held for a diff; longer texts are compared by digest only.
    pub diff_source_bytes_max: u64,
    /// Bytes of the unified diff of one member; the rest is cut and said to be cut.
    pub diff_bytes_max: usize,
    /// Members that get a diff.
    pub diffs_max: usize,
    /// Anomalies listed for one side; the rest are counted and hashed in one last entry.
    pub anomalies_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes_max: 4 << 30,
            members_max: ABSURD_MEMBERS,
            member_bytes_max: 4 << 30,
            total_bytes_max: 16 << 30,
            extension_bytes_max: 1 << 20,
            manifest_bytes_max: 32 << 20,
            diff_source_bytes_max: 256 << 10,
            diff_bytes_max: 16 << 10,
            diffs_max: 32,
            anomalies_max: 1000,
        }
    }
}

/// A bound of [`Limits`] that an archive goes past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{quantity} at offset {offset}: got {got}, limit {limit}")]
pub struct LimitError {
    /// What there is too much of.
    pub quantity: Quantity,
    /// Where it was noticed: an offset in the zip file, or in the decompressed tar stream.
    pub offset: u64,
    /// How much there is, as far as it is known.
    pub got: u64,
    /// How much is allowed.
    pub limit: u64,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Bytes of the file itself.
    FileBytes,
    /// Members of the archive.
    Members,
    /// Decompressed bytes of one member.
    MemberBytes,
    /// Decompressed bytes of the whole archive.
    TotalBytes,
    /// Bytes of an extension header.
    ExtensionBytes,
    /// Bytes of a generated manifest.
    ManifestBytes,
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FileBytes => "file size",
            Self::Members => "number of members",
            Self::MemberBytes => "member size",
            Self::TotalBytes => "decompressed size",
            Self::ExtensionBytes => "extension header size",
            Self::ManifestBytes => "manifest size",
        })
    }
}

impl Quantity {
    /// Refuses `got` past `limit`.
    pub(crate) fn check(self, offset: u64, got: u64, limit: u64) -> Result<(), LimitError> {
        if got > limit {
            return Err(LimitError { quantity: self, offset, got, limit });
        }
        Ok(())
    }
}
