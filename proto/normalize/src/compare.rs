//! Compares two files: lint, levels from best to worst, then what differs.
//!
//! An anomaly that only one side has makes the files `different`, whatever else is equal: nothing
//! is normalised away that the lint objects to. And bytes that differ without any pass saying why
//! make them `different` too. SPEC normal-form: Levels.

use quorate_proto::comparison::{Anomaly, Difference, Level, PassUse, Side};
use quorate_proto::{Digest, NormalDigest};
use serde::{Deserialize, Serialize};

use crate::fields::count64;
use crate::limits::{LimitError, Limits};
use crate::reading::{Format, Reading, State};
use crate::{archive, form, manifest};
use sides::Sides;

mod nested;
mod replay;
mod sides;
mod texts;

/// The two files.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The file on the registry.
    pub published: &'a [u8],
    /// The file that a rebuild made.
    pub rebuilt: &'a [u8],
    /// Name of the published file: it decides how both are read.
    pub file_name: &'a str,
}

/// How two files compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Comparison {
    /// How close they are.
    pub level: Level,
    /// The file on the registry.
    pub published: SideForm,
    /// The file that a rebuild made.
    pub rebuilt: SideForm,
    /// Structural faults of both sides, the published side first.
    pub anomalies: Vec<Anomaly>,
    /// What was normalised away, over the members that both sides have. Empty for equal bytes.
    pub passes: Vec<PassUse>,
    /// What came of writing the rebuilt contents under the published headers, where that was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_replay: Option<HeaderReplay>,
    /// What differs, by name. Empty unless the level is `different`.
    pub differences: Vec<MemberDifference>,
}

/// One file of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SideForm {
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Size of the file.
    pub size_bytes: u64,
    /// Digest of its normal form, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normal: Option<NormalDigest>,
    /// Digest of its normal form with generated files and nested archives in canonical form. Only at the level
    /// `manifest`, where it is the same on both sides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<NormalDigest>,
}

impl SideForm {
    /// The digest that both sides share at the level that was found, if that is `normal` or `manifest`.
    pub fn shared(&self) -> Option<NormalDigest> {
        self.manifest.or(self.normal)
    }
}

/// The rebuilt contents, written under the published headers: evidence that nothing but headers and
/// compression differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderReplay {
    /// What came out.
    pub outcome: ReplayOutcome,
    /// SHA-256 of the published file, decompressed.
    pub published: Digest,
    /// SHA-256 of the published headers with the rebuilt contents.
    pub replayed: Digest,
    /// Members that only a pass makes equal; their contents were taken from the published file.
    pub kept_members: u32,
}

/// What came of a header replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplayOutcome {
    /// The digest is that of the published file.
    Proven,
    /// The digest is another one: a fault of this program, or of its limits.
    Failed,
}

/// A difference, with what helps a person to judge it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemberDifference {
    /// What goes into a signed result.
    pub difference: Difference,
    /// More about it, where there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Detail>,
}

/// What a person sees of a difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Detail {
    /// A unified diff from published to rebuilt, maybe cut.
    Diff(String),
    /// Type, executable bit or link target, as `what: published, rebuilt`.
    Metadata(Vec<String>),
    /// The anomaly that one side has.
    Anomaly(String),
    /// Why there is no diff of a content.
    Unshown(Unshown),
}

/// Why there is no diff of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unshown {
    /// It is no text on one side at least.
    Binary,
    /// It is longer, or changed in more lines, than diffs are made of.
    Long,
    /// Other members had all the diffs that there may be.
    Many,
}

impl Unshown {
    /// The reason, for people.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Binary => "no lines to show: binary",
            Self::Long => "no lines to show: too long, or too much changed",
            Self::Many => "no lines to show: one of too many",
        }
    }
}

/// Why two files could not be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// A file goes past one of our own limits.
    #[error("{side:?} file goes past a limit")]
    Limit {
        /// Which file.
        side: Side,
        /// Which limit.
        #[source]
        source: LimitError,
    },
    /// The rebuilt file cannot be read: a fault of the build, not of what was published.
    #[error("rebuilt file cannot be read ({} anomalies)", anomalies.len())]
    UnreadableRebuilt {
        /// What is wrong with it.
        anomalies: Vec<Anomaly>,
    },
}

/// Compares two files.
pub fn compare(input: &Input<'_>, limits: &Limits) -> Result<Comparison, CompareError> {
    compare_at(input, limits, 0).map(|(comparison, _)| comparison)
}

/// What a comparison used of the limits that hold for an archive with all archives in it.
#[derive(Clone, Copy, Debug, Default)]
struct Work {
    bytes: u64,
    members: u64,
    diffs: usize,
}

impl Work {
    fn add(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.members = self.members.saturating_add(other.members);
        self.diffs += other.diffs;
    }

    fn of(reading: &Reading<'_>) -> Self {
        let bytes = reading.members.iter().fold(0u64, |sum, member| sum.saturating_add(member.content.summary.size));
        Self { bytes, members: count64(&reading.members), diffs: 0 }
    }

    /// The limits less what was used of them.
    fn rest_of(self, limits: &Limits) -> Limits {
        Limits {
            total_bytes_max: limits.total_bytes_max.saturating_sub(self.bytes),
            members_max: limits.members_max.saturating_sub(self.members),
            diffs_max: limits.diffs_max.saturating_sub(self.diffs),
            ..*limits
        }
    }
}

/// Compares two files that lie in `depth` archives.
fn compare_at(input: &Input<'_>, limits: &Limits, depth: u32) -> Result<(Comparison, Work), CompareError> {
    if input.published == input.rebuilt {
        return Ok((compare_equal(input, limits), Work::default()));
    }
    let limit = |side| move |source| CompareError::Limit { side, source };
    let mut tape = replay::blank(input, depth);
    let mut published = archive::read_with(input.published, input.file_name, limits, None, &mut tape).map_err(limit(Side::Published))?;
    let mut tape = replay::turn(tape);
    let known = Some(&published);
    let mut rebuilt = archive::read_with(input.rebuilt, input.file_name, limits, known, &mut tape).map_err(limit(Side::Rebuilt))?;
    if rebuilt.state == State::Broken {
        return Err(CompareError::UnreadableRebuilt { anomalies: rebuilt.findings.anomalies(Side::Rebuilt) });
    }
    manifest::reconcile(&mut published, &mut rebuilt, Format::of(input.file_name));
    let mut work = Work::of(&published);
    work.bytes = work.bytes.max(Work::of(&rebuilt).bytes);
    work.members = work.members.max(Work::of(&rebuilt).members);
    let nested = nested::compare(input, &work.rest_of(limits), depth, [&mut published, &mut rebuilt])?;
    work.add(nested.work);
    let mut comparison = Sides { input, limits, published: &published, rebuilt: &rebuilt, nested }.compare();
    if depth == 0 && matches!(comparison.level, Level::Normal | Level::Manifest) {
        comparison.header_replay = replay::of(tape, input, limits, [&published, &rebuilt]);
    }
    Ok((comparison, work))
}

/// What is structurally wrong with one file.
pub fn lint(bytes: &[u8], file_name: &str, side: Side, limits: &Limits) -> Result<Vec<Anomaly>, LimitError> {
    Ok(archive::read(bytes, file_name, limits, None)?.findings.anomalies(side))
}

/// Equal bytes are equal whatever is wrong with them, and even past a limit of ours.
fn compare_equal(input: &Input<'_>, limits: &Limits) -> Comparison {
    let reading = archive::read(input.published, input.file_name, limits, None).ok();
    let normal = reading.as_ref().and_then(form::normal_digest);
    let form = side_form(input.published, normal);
    let of = |side| reading.iter().flat_map(move |reading| reading.anomalies(side));
    Comparison {
        level: Level::Byte,
        published: form.clone(),
        rebuilt: form,
        anomalies: of(Side::Published).chain(of(Side::Rebuilt)).collect(),
        passes: Vec::new(),
        header_replay: None,
        differences: Vec::new(),
    }
}

fn side_form(bytes: &[u8], normal: Option<NormalDigest>) -> SideForm {
    SideForm { digest: Digest::of(bytes), size_bytes: crate::fields::len64(bytes), normal, manifest: None }
}
