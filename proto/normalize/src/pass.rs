//! The passes: what normalising drops, under which name, version and risk, and on how many members.
//!
//! A pass is reported only where the two sides differ in what it drops. SPEC normal-form: Passes.

use std::fmt;

use quorate_proto::comparison::{PassUse, Risk};

use crate::form::{Pair, Pairing};
use crate::reading::{Kind, Member, Reading};

/// The closed list of passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pass {
    /// DOS date and time of zip members.
    ZipTimes,
    /// Host system and versions in zip headers, and internal attributes.
    ZipHostAndVersion,
    /// Data descriptors, zip64 fields and the UTF-8 flag on ASCII names.
    ZipLayout,
    /// Compression method, level and bytes of zip members.
    ZipCompression,
    /// Extra fields with times.
    ZipExtraTimestamps,
    /// Extra fields with numeric owners.
    ZipExtraOwner,
    /// Order of members and of their bytes.
    MemberOrder,
    /// Permissions other than the executable bit.
    ModeBits,
    /// Times in tar headers and pax records.
    TarTimes,
    /// Owners, groups and device numbers in tar headers and pax records.
    TarOwner,
    /// Dialect of tar, and how names and numbers are written in it.
    TarFormat,
    /// Comments in pax headers, such as the commit that `git archive` writes.
    TarComment,
    /// Fields of the gzip header.
    GzipHeader,
    /// The deflate bytes in a gzip file.
    GzipCompression,
    /// How an xz stream is compressed.
    XzCompression,
    /// How a zstd frame is compressed.
    ZstdCompression,
    /// How a bzip2 stream is compressed.
    Bzip2Compression,
    /// Times, owners and spelling of the headers of a Unix archive.
    ArHeader,
    /// Order of lines and spelling of hash names in a wheel's `RECORD`.
    WheelRecord,
    /// Order of fields in a wheel's `METADATA`.
    WheelMetadata,
    /// Order of fields and lines in the metadata that setuptools generates for a source distribution.
    SdistMetadata,
    /// How a `Cargo.toml` that cargo generated says what it says.
    CrateManifest,
    /// Order and format version of a `Cargo.lock`.
    CrateLock,
    /// What `.cargo_vcs_info.json` says beside the commit, where one side does not say it.
    CrateVcsInfo,
    /// Bytes of archives inside the archive, where their normal forms are equal.
    NestedArchive,
}

impl Pass {
    /// Every pass, in the order in which results list them.
    pub const ALL: [Self; 25] = [
        Self::ZipTimes,
        Self::ZipHostAndVersion,
        Self::ZipLayout,
        Self::ZipCompression,
        Self::ZipExtraTimestamps,
        Self::ZipExtraOwner,
        Self::MemberOrder,
        Self::ModeBits,
        Self::TarTimes,
        Self::TarOwner,
        Self::TarFormat,
        Self::TarComment,
        Self::GzipHeader,
        Self::GzipCompression,
        Self::XzCompression,
        Self::ZstdCompression,
        Self::Bzip2Compression,
        Self::ArHeader,
        Self::WheelRecord,
        Self::WheelMetadata,
        Self::SdistMetadata,
        Self::CrateManifest,
        Self::CrateLock,
        Self::CrateVcsInfo,
        Self::NestedArchive,
    ];

    /// The name in results and policies.
    pub fn name(self) -> &'static str {
        match self {
            Self::ZipTimes => "zip-times",
            Self::ZipHostAndVersion => "zip-host-and-version",
            Self::ZipLayout => "zip-layout",
            Self::ZipCompression => "zip-compression",
            Self::ZipExtraTimestamps => "zip-extra-timestamps",
            Self::ZipExtraOwner => "zip-extra-owner",
            Self::MemberOrder => "member-order",
            Self::ModeBits => "mode-bits",
            Self::TarTimes => "tar-times",
            Self::TarOwner => "tar-owner",
            Self::TarFormat => "tar-format",
            Self::TarComment => "tar-comment",
            Self::GzipHeader => "gzip-header",
            Self::GzipCompression => "gzip-compression",
            Self::XzCompression => "xz-compression",
            Self::ZstdCompression => "zstd-compression",
            Self::Bzip2Compression => "bzip2-compression",
            Self::ArHeader => "ar-header",
            Self::WheelRecord => "wheel-record",
            Self::WheelMetadata => "wheel-metadata",
            Self::SdistMetadata => "sdist-metadata",
            Self::CrateManifest => "crate-manifest",
            Self::CrateLock => "crate-lock",
            Self::CrateVcsInfo => "crate-vcs-info",
            Self::NestedArchive => "nested-archive",
        }
    }

    /// Version of the pass; it rises when what the pass drops changes.
    pub fn version(self) -> u32 {
        match self {
            // 2: also `SOURCES.txt` and `requires.txt`.
            Self::SdistMetadata => 2,
            _ => 1,
        }
    }

    /// What could hide behind the pass.
    pub fn risk(self) -> Risk {
        match self {
            Self::MemberOrder | Self::ModeBits | Self::TarComment | Self::WheelRecord | Self::CrateVcsInfo | Self::NestedArchive => {
                Risk::Low
            }
            Self::WheelMetadata | Self::SdistMetadata | Self::CrateManifest | Self::CrateLock => Risk::Medium,
            _ => Risk::None,
        }
    }

    /// Whether the sides differ in what this pass drops of one member.
    fn changed(self, published: &Member<'_>, rebuilt: &Member<'_>) -> bool {
        let contents_equal = published.content.summary == rebuilt.content.summary;
        let normal_equal = published.normal() == rebuilt.normal();
        let manifest_equal = published.manifest() == rebuilt.manifest();
        match self {
            Self::WheelRecord => !contents_equal && normal_equal && published.kind == Kind::File,
            Self::WheelMetadata
            | Self::SdistMetadata
            | Self::CrateManifest
            | Self::CrateLock
            | Self::CrateVcsInfo
            | Self::NestedArchive => !normal_equal && manifest_equal && published.manifest_pass() == Some(self),
            Self::ZipCompression => {
                let is_packed_alike = published.facts.agree(&rebuilt.facts, self) && published.deflated() == rebuilt.deflated();
                contents_equal && !is_packed_alike
            }
            Self::ModeBits => {
                let types_equal = published.kind == rebuilt.kind && published.executable == rebuilt.executable;
                types_equal && !published.facts.agree(&rebuilt.facts, self)
            }
            _ => !published.facts.agree(&rebuilt.facts, self),
        }
    }
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The passes in whose dropped data the two sides differ, over the members that both have. Facts
/// of an archive as a whole count as one member.
pub(crate) fn uses(published: &Reading<'_>, rebuilt: &Reading<'_>, pairing: &Pairing<'_, '_>) -> Vec<PassUse> {
    let moved = moved_members(pairing);
    let count = |pass: Pass| -> usize {
        let whole = usize::from(!published.facts.agree(&rebuilt.facts, pass));
        let members = pairing.both.iter().filter(|pair| pass.changed(pair.published, pair.rebuilt)).count();
        let order = if pass == Pass::MemberOrder { moved } else { 0 };
        whole + members + order
    };
    Pass::ALL
        .into_iter()
        .map(|pass| (pass, count(pass)))
        .filter(|(_, count)| *count > 0)
        .map(|(pass, count)| pass_use(pass, count))
        .collect()
}

/// Passes with those of nested archives added, in the order of all.
pub(crate) fn merge(outer: &[PassUse], inner: &[PassUse]) -> Vec<PassUse> {
    let used = |pass: &Pass| {
        let same = outer.iter().chain(inner).filter(|used| used.name == pass.name());
        let members = same.fold(0u32, |sum, used| sum.saturating_add(used.members));
        (members > 0).then(|| pass_use(*pass, usize::try_from(members).unwrap_or(usize::MAX)))
    };
    Pass::ALL.iter().filter_map(used).collect()
}

fn pass_use(pass: Pass, members: usize) -> PassUse {
    PassUse {
        name: pass.name().to_owned(),
        version: pass.version(),
        risk: pass.risk(),
        members: u32::try_from(members).unwrap_or(u32::MAX),
    }
}

/// How many of the members that both sides have stand at another place, either in the listing of
/// the archive or by the position of their bytes.
fn moved_members(pairing: &Pairing<'_, '_>) -> usize {
    let listed = |side: fn(&Pair<'_, '_>) -> u64| ranks(pairing.both.iter().map(side));
    let index = [listed(|pair| pair.published_index.into()), listed(|pair| pair.rebuilt_index.into())];
    let place = [listed(|pair| pair.published.position), listed(|pair| pair.rebuilt.position)];
    (0..pairing.both.len()).filter(|at| index[0].get(*at) != index[1].get(*at) || place[0].get(*at) != place[1].get(*at)).count()
}

/// Rank of each key among all, by its index.
fn ranks(keys: impl Iterator<Item = u64>) -> Vec<u32> {
    let mut order: Vec<(u64, u32)> = keys.zip(0..).collect();
    order.sort_unstable();
    let mut ranks = vec![0; order.len()];
    for (rank, (_, index)) in (0..).zip(order) {
        if let Some(place) = usize::try_from(index).ok().and_then(|index| ranks.get_mut(index)) {
            *place = rank;
        }
    }
    ranks
}
