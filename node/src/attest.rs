//! From what was found to what is signed.
//!
//! A [`Finding`] is everything of a result but its place in the feed, so that it can be kept durably
//! before the node commits to a sequence number. Signing needs the key and a time, and nothing else here
//! does.

use std::collections::BTreeMap;

use quorate_proto::comparison::Anomaly;
use quorate_proto::dsse::Envelope;
use quorate_proto::feed::FeedPosition;
use quorate_proto::provenance::Provenance;
use quorate_proto::result::{Assist, Builder, Environment, Outcome, RESULT_ENVELOPE_BYTES_MAX, RebuildResult, RegistryView, Source, Tool};
use quorate_proto::statement::{Statement, Subject};
use quorate_proto::{ArtifactId, ArtifactSlot, Digest, FileName, Purl, SecretKey, Timestamp};
use serde::{Deserialize, Serialize};

/// Everything of a result but the feed position and the provenance's digest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Finding {
    /// The published file's name.
    pub file: FileName,
    /// SHA-256 of the published file, or what the index says it is.
    pub published: Digest,
    /// The release.
    pub package: Purl,
    /// What the node saw on the registry.
    pub registry: RegistryView,
    /// What it was rebuilt from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// What came out.
    pub outcome: Outcome,
    /// Structural faults.
    pub anomalies: Vec<Anomaly>,
    /// What the rebuild was told that the source does not say.
    pub assists: Vec<Assist>,
    /// Escape attempts that the sandbox saw.
    pub violations: Vec<String>,
    /// Build tools, in the order of their names.
    pub toolchain: Vec<Tool>,
    /// Where it was built.
    pub environment: Environment,
    /// When the node began.
    pub started_at: Timestamp,
    /// When the node was done; the result itself carries the time of signing.
    pub finished_at: Timestamp,
    /// Everything that went into the rebuilt file, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<FoundProvenance>,
    /// Evidence by digest: the environment's inventory and the report of the differences.
    #[serde(with = "texts")]
    pub blobs: Vec<Vec<u8>>,
    /// Seconds of each phase, for people: not part of a result.
    pub seconds: BTreeMap<String, f64>,
}

/// A provenance before it is signed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FoundProvenance {
    /// The rebuilt files.
    pub subject: Vec<Subject>,
    /// What went into them. The builder's id is filled in by signing.
    pub predicate: Provenance,
}

/// A finding that a node has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The result's envelope: the feed entry.
    pub envelope: Envelope,
    /// The provenance's envelope, which the result names by digest.
    pub provenance_envelope: Option<Envelope>,
    /// Evidence that the result names by digest.
    pub blobs: Vec<Vec<u8>>,
}

impl Finding {
    /// Which artifact this is about.
    pub fn artifact(&self) -> ArtifactId {
        ArtifactId { slot: ArtifactSlot { package: self.package.clone(), file: self.file.clone() }, digest: self.published }
    }

    /// Signs the finding as the feed entry at `position`. The result always fits its size limit: lists are
    /// shortened where they must be, and the evidence has them whole.
    pub fn sign(self, key: &SecretKey, position: FeedPosition, now: Timestamp) -> Signed {
        let provenance_envelope = self.provenance.clone().map(|mut provenance| {
            provenance.predicate.run_details.builder.id = format!("urn:quorate:node:{}", key.node_id());
            Envelope::sign(Statement::new(provenance.subject, provenance.predicate).to_payload(), key)
        });
        let subject = Subject::new(self.file.as_str(), self.published);
        let blobs = self.blobs.clone();
        let mut result = self.result(position, now.whole_seconds(), provenance_envelope.as_ref().map(Envelope::digest));
        let mut envelope = Envelope::sign(Statement::new(vec![subject.clone()], result.clone()).to_payload(), key);
        while envelope.bytes().len() > RESULT_ENVELOPE_BYTES_MAX && shorten(&mut result) {
            envelope = Envelope::sign(Statement::new(vec![subject.clone()], result.clone()).to_payload(), key);
        }
        Signed { envelope, provenance_envelope, blobs }
    }

    fn result(self, feed: FeedPosition, finished_at: Timestamp, provenance: Option<Digest>) -> RebuildResult {
        RebuildResult {
            package: self.package,
            registry: self.registry,
            source: self.source,
            outcome: self.outcome,
            anomalies: self.anomalies,
            assists: self.assists,
            violations: self.violations,
            toolchain: self.toolchain,
            environment: self.environment,
            builder: builder(),
            started_at: self.started_at.whole_seconds().min(finished_at),
            finished_at,
            provenance,
            feed,
        }
    }
}

/// This program.
pub fn builder() -> Builder {
    Builder { name: "quorate-node".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
}

/// Halves the longest list that a result may lose; false when there is none left.
fn shorten(result: &mut RebuildResult) -> bool {
    let members = match &mut result.outcome {
        Outcome::Different { differences, .. } => Some(&mut differences.members),
        _ => None,
    };
    let lengths = [result.toolchain.len(), result.anomalies.len(), members.as_ref().map_or(0, |members| members.len())];
    let longest = lengths.into_iter().max().unwrap_or(0);
    if longest == 0 {
        return false;
    }
    if lengths[0] == longest {
        result.toolchain.truncate(longest / 2);
    } else if lengths[1] == longest {
        result.anomalies.truncate(longest / 2);
    } else if let Some(members) = members {
        members.truncate(longest / 2);
    }
    true
}

/// Evidence is JSON text, and is kept as text.
mod texts {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(blobs: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(blobs.iter().map(|blob| data_encoding::BASE64.encode(blob)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<u8>>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| data_encoding::BASE64.decode(text.as_bytes()).map_err(de::Error::custom)).collect()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use quorate_proto::certificate::{NodeCertificate, VerifiedCertificate};
    use quorate_proto::comparison::{Difference, DifferenceClass, Executable};
    use quorate_proto::result::{DifferenceList, EnvironmentClass, RebuiltFile};
    use quorate_proto::verified::VerifiedStatement;

    fn finding(differences: usize) -> Finding {
        let now = Timestamp::from_unix_seconds(1_768_435_200);
        let difference = |i: usize| Difference {
            member: format!("{i}/{}", "x".repeat(4000)),
            class: DifferenceClass::OnlyPublished,
            executable: Executable::Code,
            published: Some(Digest::of(b"p")),
            rebuilt: None,
        };
        let members = (0..differences).map(difference).collect();
        Finding {
            file: "demo-1.0-py3-none-any.whl".parse().unwrap(),
            published: Digest::of(b"published"),
            package: "pkg:pypi/demo@1.0".parse().unwrap(),
            registry: RegistryView {
                url: "https://registry.example".into(),
                size_bytes: 1,
                index_checksum: None,
                published_at: None,
                observed_at: now,
            },
            source: None,
            outcome: Outcome::Different {
                rebuilt: RebuiltFile { digest: Digest::of(b"rebuilt"), size_bytes: 1, normal: None },
                published_normal: None,
                differences: DifferenceList { count: 24, members, report: None },
            },
            anomalies: Vec::new(),
            assists: Vec::new(),
            violations: Vec::new(),
            toolchain: Vec::new(),
            environment: Environment { class: EnvironmentClass::Host, digest: Digest::of(b"inventory") },
            started_at: now,
            finished_at: now,
            provenance: None,
            blobs: vec![b"inventory".to_vec()],
            seconds: BTreeMap::new(),
        }
    }

    #[test]
    fn a_signed_finding_passes_the_door_however_much_differs() {
        let (root, node) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
        let now = Timestamp::from_unix_seconds(1_768_435_300);
        let certificate = NodeCertificate {
            operator: root.operator_id(),
            node: node.node_id(),
            not_before: now,
            not_after: now.plus(std::time::Duration::from_mins(1)),
        };
        let certificate = VerifiedCertificate::verify(certificate.sign(&root).bytes(), &[root.operator_id()].into()).unwrap();
        for differences in [0, 24] {
            let position = FeedPosition { node: node.node_id(), sequence: 0, previous: None };
            let signed = finding(differences).sign(&node, position, now);
            let verified = VerifiedStatement::verify(signed.envelope.bytes(), &certificate).unwrap();
            assert_eq!(verified.result().finished_at, now);
        }
    }

    #[test]
    fn a_finding_survives_the_disk() {
        let finding = finding(2);
        let bytes = serde_json::to_vec(&finding).unwrap();
        assert_eq!(serde_json::from_slice::<Finding>(&bytes).unwrap(), finding);
    }
}
