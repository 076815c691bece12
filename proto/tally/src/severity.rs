//! Severity: how grave a difference is, from what kind it is of. A program that stands in no rebuild is not
//! a line ending.

use quorate_proto::comparison::{Difference, DifferenceClass, Executable};
use quorate_proto::result::{Outcome, RebuildResult};
use serde::{Deserialize, Serialize};

/// How grave a difference is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Only data differs.
    Low,
    /// Something differs that decides how members are used: types, links, executable bits, the archive itself;
    /// or nobody can look inside.
    Medium,
    /// Code differs, or the published file lacks some.
    High,
    /// The published file has code that comes out of no rebuild.
    Critical,
}

impl Severity {
    /// The severity's name, as in the JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// One step graver, if there is one.
    pub(crate) fn graver(self) -> Self {
        match self {
            Self::Low => Self::Medium,
            Self::Medium => Self::High,
            Self::High | Self::Critical => Self::Critical,
        }
    }

    /// Of the gravest difference that a result lists. Results list code first; one that lists nothing is not trusted to be harmless.
    pub fn of(result: &RebuildResult) -> Option<Self> {
        match &result.outcome {
            Outcome::Different { differences, .. } => differences.members.iter().map(Self::of_difference).max().or(Some(Self::Medium)),
            _ => None,
        }
    }

    fn of_difference(difference: &Difference) -> Self {
        match (difference.class, difference.executable) {
            (DifferenceClass::OnlyPublished, Executable::Code) => Self::Critical,
            (DifferenceClass::OnlyRebuilt | DifferenceClass::Content | DifferenceClass::Opaque, Executable::Code) => Self::High,
            (DifferenceClass::Metadata | DifferenceClass::Anomaly, _) | (DifferenceClass::Opaque, Executable::Data) => Self::Medium,
            (DifferenceClass::OnlyPublished | DifferenceClass::OnlyRebuilt | DifferenceClass::Content, Executable::Data) => Self::Low,
        }
    }
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
