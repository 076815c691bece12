//! The published file against the rebuilt one, in the words of a result.

use std::path::Path;

use quorate_normalize::{CompareError, Input, Limits, MemberDifference};
use quorate_proto::Digest;
use quorate_proto::comparison::{Anomaly, Executable, Level};
use quorate_proto::provenance::BLOB_BYTES_MAX;
use quorate_proto::result::{
    ANOMALIES_LISTED_MAX, DIFFERENCES_LISTED_MAX, DifferenceList, NotAttemptedReason, Outcome, Phase, RebuiltFile,
};

use crate::workshop::clip;

/// What a comparison says.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What came out.
    pub outcome: Outcome,
    /// Structural faults, as many as a result lists.
    pub anomalies: Vec<Anomaly>,
    /// The whole report as JSON, where something differs; its digest stands in the outcome.
    pub report: Option<Vec<u8>>,
}

/// Compares the files at two paths. Reads both into memory: call it where blocking is fine.
///
/// `digest` is the published file's: other bytes at its path are an error, because the result would be
/// about something else.
pub fn compare(published: &Path, digest: Digest, rebuilt: &Path, file_name: &str) -> std::io::Result<Comparison> {
    let (published, rebuilt) = (std::fs::read(published)?, std::fs::read(rebuilt)?);
    if Digest::of(&published) != digest {
        return Err(std::io::Error::other("the published file has changed on this machine"));
    }
    let input = Input { published: &published, rebuilt: &rebuilt, file_name };
    Ok(match quorate_normalize::compare(&input, &Limits::default()) {
        Ok(comparison) => told(comparison),
        Err(CompareError::UnreadableRebuilt { anomalies }) => Comparison {
            outcome: Outcome::BuildFailed { phase: Phase::Build, summary: "the build made a file that cannot be read".to_owned() },
            anomalies: listed(anomalies),
            report: None,
        },
        Err(CompareError::Limit { .. }) => {
            let outcome = Outcome::NotAttempted { reason: NotAttemptedReason::TooLarge };
            Comparison { outcome, anomalies: Vec::new(), report: None }
        }
    })
}

/// Most bytes of a member's name in a result; the report has it whole.
const MEMBER_BYTES_MAX: usize = 1 << 10;

fn told(comparison: quorate_normalize::Comparison) -> Comparison {
    let side = &comparison.rebuilt;
    let rebuilt = RebuiltFile { digest: side.digest, size_bytes: side.size_bytes, normal: side.shared() };
    let published_normal = comparison.published.shared();
    let mut report = None;
    let outcome = match (comparison.level, published_normal) {
        (Level::Byte, _) => Outcome::Identical { rebuilt },
        (level @ (Level::Stream | Level::Normal | Level::Manifest), Some(normal)) if rebuilt.normal == Some(normal) => {
            Outcome::Equivalent { rebuilt, published_normal: normal, level, passes: comparison.passes.clone() }
        }
        _ => {
            let bytes = report_bytes(&comparison);
            let differences = DifferenceList {
                count: u32::try_from(comparison.differences.len()).unwrap_or(u32::MAX),
                members: code_first(&comparison.differences),
                report: Some(Digest::of(&bytes)),
            };
            report = Some(bytes);
            Outcome::Different { rebuilt, published_normal, differences }
        }
    };
    Comparison { outcome, anomalies: listed(comparison.anomalies), report }
}

fn listed(mut anomalies: Vec<Anomaly>) -> Vec<Anomaly> {
    anomalies.truncate(ANOMALIES_LISTED_MAX);
    anomalies
}

/// What can run is listed before what cannot.
fn code_first(differences: &[MemberDifference]) -> Vec<quorate_proto::comparison::Difference> {
    let mut members: Vec<_> = differences.iter().map(|difference| difference.difference.clone()).collect();
    for difference in &mut members {
        clip(&mut difference.member, MEMBER_BYTES_MAX);
    }
    members.sort_by(|a, b| (a.executable != Executable::Code, &a.member).cmp(&(b.executable != Executable::Code, &b.member)));
    members.truncate(DIFFERENCES_LISTED_MAX);
    members
}

/// The report as evidence; what would make it too large is left out, diffs first.
fn report_bytes(comparison: &quorate_normalize::Comparison) -> Vec<u8> {
    let mut report = comparison.clone();
    let mut bytes = to_json(&report);
    if bytes.len() > BLOB_BYTES_MAX {
        report.differences.iter_mut().for_each(|difference| difference.detail = None);
        bytes = to_json(&report);
    }
    while bytes.len() > BLOB_BYTES_MAX {
        report.differences.truncate(report.differences.len() / 2);
        report.anomalies.truncate(report.anomalies.len() / 2);
        bytes = to_json(&report);
    }
    bytes
}

fn to_json(comparison: &quorate_normalize::Comparison) -> Vec<u8> {
    serde_json::to_vec(comparison).expect("a comparison holds nothing that JSON cannot say")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_published_file_that_was_swapped_on_disk_is_not_judged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"swapped").unwrap();
        assert!(compare(&path, Digest::of(b"published"), &path, "a-1.tar.gz").is_err());
    }
}
