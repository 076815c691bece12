//! The passes: what normalising drops, under which name, version and risk, and on how many members.
//!
//! A pass is reported only where the two sides differ in what it drops. SPEC normal-form: Passes.

use std::collections::BTreeMap;
use std::fmt;

use quorate_proto::comparison::{PassUse, Risk};

use crate::form::Pairing;
use crate::reading::{Member, Reading};

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
    /// Order of lines and spelling of hash names in a wheel's `RECORD`.
    WheelRecord,
    /// Order of fields in a wheel's `METADATA`.
    WheelMetadata,
    /// Order of fields in a source distribution's `PKG-INFO`.
    SdistMetadata,
}

impl Pass {
    /// Every pass, in the order in which results list them.
    pub const ALL: [Self; 17] = [
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
        Self::WheelRecord,
        Self::WheelMetadata,
        Self::SdistMetadata,
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
            Self::WheelRecord => "wheel-record",
            Self::WheelMetadata => "wheel-metadata",
            Self::SdistMetadata => "sdist-metadata",
        }
    }

    /// Version of the pass; it rises when what the pass drops changes.
    pub fn version(self) -> u32 {
        1
    }

    /// What could hide behind the pass.
    pub fn risk(self) -> Risk {
        match self {
            Self::MemberOrder | Self::ModeBits | Self::TarComment | Self::WheelRecord => Risk::Low,
            Self::WheelMetadata | Self::SdistMetadata => Risk::Medium,
            _ => Risk::None,
        }
    }

    /// Whether the sides differ in what this pass drops of one member.
    fn changed(self, published: &Member<'_>, rebuilt: &Member<'_>) -> bool {
        let contents_equal = published.content.summary == rebuilt.content.summary;
        let normal_equal = published.normal == rebuilt.normal;
        let manifest_equal = published.manifest == rebuilt.manifest;
        match self {
            Self::WheelRecord => !contents_equal && normal_equal,
            Self::WheelMetadata | Self::SdistMetadata => !normal_equal && manifest_equal,
            Self::ZipCompression => contents_equal && !published.facts.agree(&rebuilt.facts, self),
            Self::ModeBits => {
                let types_equal = published.kind == rebuilt.kind && published.executable == rebuilt.executable;
                types_equal && !published.facts.agree(&rebuilt.facts, self)
            }
            _ => !published.facts.agree(&rebuilt.facts, self),
        }
    }

    /// Whether this pass is about such archives at all, where others could answer for it.
    fn concerns(self, reading: &Reading<'_>) -> bool {
        let is_zip = reading.container == crate::Container::Zip;
        match self {
            Self::WheelRecord | Self::WheelMetadata => is_zip,
            Self::SdistMetadata => !is_zip,
            _ => true,
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
    let passes = Pass::ALL.into_iter().filter(|pass| pass.concerns(published));
    let count = |pass: Pass| -> usize {
        let whole = usize::from(!published.facts.agree(&rebuilt.facts, pass));
        let members = pairing.both.iter().filter(|pair| pass.changed(pair.published, pair.rebuilt)).count();
        let order = if pass == Pass::MemberOrder { moved } else { 0 };
        whole + members + order
    };
    passes.map(|pass| (pass, count(pass))).filter(|(_, count)| *count > 0).map(|(pass, count)| pass_use(pass, count)).collect()
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
    let listed = |side: fn(&crate::form::Pair<'_, '_>) -> u64| ranks(pairing.both.iter().map(side));
    let index = [listed(|pair| pair.published_index), listed(|pair| pair.rebuilt_index)];
    let place = [listed(|pair| pair.published.position), listed(|pair| pair.rebuilt.position)];
    (0..pairing.both.len()).filter(|at| index[0].get(at) != index[1].get(at) || place[0].get(at) != place[1].get(at)).count()
}

/// Rank of each key among all, by its index.
fn ranks(keys: impl Iterator<Item = u64>) -> BTreeMap<usize, usize> {
    let mut order: Vec<(u64, usize)> = keys.enumerate().map(|(index, key)| (key, index)).collect();
    order.sort_unstable();
    order.into_iter().enumerate().map(|(rank, (_, index))| (index, rank)).collect()
}
