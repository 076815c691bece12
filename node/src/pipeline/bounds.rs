//! The door of a finding: whatever strangers said on the way, a result holds a bounded part of it. Pure.

use quorate_proto::result::{Assist, Outcome};

use crate::attest::Finding;
use crate::workshop::clip;

/// Most bytes of a summary, and of an address.
const TEXT_BYTES_MAX: usize = 2 << 10;
/// Most bytes of one word about a tool, an assist or a violation.
const WORD_BYTES_MAX: usize = 512;
const ASSISTS_MAX: usize = 32;
const VIOLATIONS_MAX: usize = 16;
const TOOLS_MAX: usize = 64;

/// The finding within the bounds of a result. The published file's address is bounded where it is read.
pub(super) fn bounded(mut finding: Finding) -> Finding {
    match &mut finding.outcome {
        Outcome::BuildFailed { summary, .. }
        | Outcome::SourceUnavailable { summary }
        | Outcome::ArtifactUnavailable { summary }
        | Outcome::SandboxViolation { summary, .. } => clip(summary, TEXT_BYTES_MAX),
        Outcome::Identical { .. } | Outcome::Equivalent { .. } | Outcome::Different { .. } | Outcome::NotAttempted { .. } => {}
    }
    finding.assists.truncate(ASSISTS_MAX);
    for Assist { name, value, reason } in &mut finding.assists {
        for text in [name, value, reason] {
            clip(text, WORD_BYTES_MAX);
        }
    }
    finding.violations.truncate(VIOLATIONS_MAX);
    finding.violations.iter_mut().for_each(|text| clip(text, WORD_BYTES_MAX));
    finding.toolchain.truncate(TOOLS_MAX);
    for tool in &mut finding.toolchain {
        for text in [&mut tool.name, &mut tool.version] {
            clip(text, WORD_BYTES_MAX);
        }
    }
    for anomaly in &mut finding.anomalies {
        anomaly.member.iter_mut().chain([&mut anomaly.detail]).for_each(|text| clip(text, WORD_BYTES_MAX));
    }
    if let Some(source) = &mut finding.source {
        let texts = [&mut source.directory, &mut source.reference].into_iter().flatten();
        texts.chain([&mut source.uri]).for_each(|text| clip(text, TEXT_BYTES_MAX));
    }
    finding
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::collections::BTreeMap;

    use quorate_proto::result::{Environment, EnvironmentClass, Phase, RegistryView, Tool};
    use quorate_proto::{Digest, Timestamp};

    #[test]
    fn what_strangers_say_without_end_is_cut_at_the_door_of_a_finding() {
        let now = Timestamp::from_unix_seconds(0);
        let long = || "é".repeat(100_000);
        let finding = bounded(Finding {
            file: "demo-1.0-py3-none-any.whl".parse().unwrap(),
            published: Digest::of(b""),
            package: "pkg:pypi/demo@1.0".parse().unwrap(),
            registry: RegistryView { url: String::new(), size_bytes: 0, index_checksum: None, published_at: None, observed_at: now },
            source: None,
            outcome: Outcome::SandboxViolation { phase: Phase::Fetch, summary: long() },
            anomalies: Vec::new(),
            assists: vec![Assist { name: long(), value: long(), reason: long() }; 100],
            violations: vec![long(); 100],
            toolchain: vec![Tool { name: long(), version: long(), digest: None }; 100],
            environment: Environment { class: EnvironmentClass::Host, digest: Digest::of(b"") },
            intermediates: None,
            started_at: now,
            finished_at: now,
            provenance: None,
            blobs: Vec::new(),
            seconds: BTreeMap::new(),
            fetched: crate::traffic::Fetched::default(),
            attempts: Vec::new(),
        });
        assert_eq!((finding.assists.len(), finding.violations.len(), finding.toolchain.len()), (32, 16, 64));
        assert!(serde_json::to_vec(&finding).unwrap().len() < 130 << 10);
        let Outcome::SandboxViolation { summary, .. } = &finding.outcome else { panic!() };
        assert!(summary.len() <= TEXT_BYTES_MAX);
    }
}
