//! Compares two files: lint, levels from best to worst, then what differs.
//!
//! An anomaly that only one side has makes the files `different`, whatever else is equal: nothing
//! is normalised away that the lint objects to. And bytes that differ without any pass saying why
//! make them `different` too. SPEC normal-form: Levels.

use quorate_proto::comparison::{Anomaly, Difference, Level, PassUse, Side};
use quorate_proto::{Digest, NormalDigest};
use serde::{Deserialize, Serialize};

use crate::limits::{LimitError, Limits};
use crate::reading::State;
use crate::{archive, form};
use sides::Sides;

mod sides;

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
    if input.published == input.rebuilt {
        return Ok(compare_equal(input, limits));
    }
    let limit = |side| move |source| CompareError::Limit { side, source };
    let published = archive::read(input.published, input.file_name, limits, None).map_err(limit(Side::Published))?;
    let rebuilt = archive::read(input.rebuilt, input.file_name, limits, Some(&published)).map_err(limit(Side::Rebuilt))?;
    if rebuilt.state == State::Broken {
        return Err(CompareError::UnreadableRebuilt { anomalies: rebuilt.findings.anomalies(Side::Rebuilt) });
    }
    Ok(Sides { input, limits, published: &published, rebuilt: &rebuilt }.compare())
}

/// What is structurally wrong with one file.
pub fn lint(bytes: &[u8], file_name: &str, side: Side, limits: &Limits) -> Result<Vec<Anomaly>, LimitError> {
    Ok(archive::read(bytes, file_name, limits, None)?.findings.anomalies(side))
}

/// Equal bytes are equal whatever is wrong with them, and even past a limit of ours.
fn compare_equal(input: &Input<'_>, limits: &Limits) -> Comparison {
    let reading = archive::read(input.published, input.file_name, limits, None).ok();
    let normal = reading.as_ref().and_then(form::listing).map(|listing| form::digest(&listing));
    let form = side_form(input.published, normal);
    let of = |side| reading.iter().flat_map(move |reading| reading.findings.anomalies(side));
    Comparison {
        level: Level::Byte,
        published: form.clone(),
        rebuilt: form,
        anomalies: of(Side::Published).chain(of(Side::Rebuilt)).collect(),
        passes: Vec::new(),
        differences: Vec::new(),
    }
}

fn side_form(bytes: &[u8], normal: Option<NormalDigest>) -> SideForm {
    SideForm { digest: Digest::of(bytes), size_bytes: crate::fields::len64(bytes), normal }
}
