//! From what was found to what is signed.
//!
//! A [`Finding`] is everything of a result but its place in the feed, so that it can be kept durably
//! before the node commits to a sequence number. Signing needs the key and a time, and nothing else here
//! does.

use std::collections::BTreeMap;

use quorate_proto::build_witness::{BuildWitness, Intermediates, Salt};
use quorate_proto::commitment::{Commitment, Promise, Reveals, Secret, outcome_digest};
use quorate_proto::comparison::Anomaly;
use quorate_proto::dsse::Envelope;
use quorate_proto::feed::FeedPosition;
use quorate_proto::provenance::{BLOB_BYTES_MAX, Provenance};
use quorate_proto::result::{Assist, Builder, Environment, Outcome, RESULT_ENVELOPE_BYTES_MAX, RebuildResult, RegistryView, Source, Tool};
use quorate_proto::statement::{Statement, Subject};
use quorate_proto::{ArtifactId, ArtifactSlot, Digest, FileName, NodeId, OperatorId, Purl, SecretKey, TaskId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::traffic::Fetched;

mod limit;

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
    /// What the build left and nobody publishes. A result says of it what is salted with the node's own name.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "secret")]
    pub intermediates: Option<Intermediates>,
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
    /// What the rebuild brought in from elsewhere, for people: not part of a result.
    #[serde(default)]
    pub fetched: Fetched,
    /// Every source and way that was tried, in their order, with what came of each, for people: not part of a result.
    #[serde(default)]
    pub attempts: Vec<serde_json::Value>,
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

/// Where and when something is signed.
#[derive(Clone, Debug)]
pub struct Place {
    /// Who answers for the node.
    pub operator: OperatorId,
    /// The place in the node's feed.
    pub feed: FeedPosition,
    /// The commitment that it opens, if the node committed.
    pub reveals: Option<Reveals>,
    /// When.
    pub now: Timestamp,
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

impl Signed {
    /// Every file that has to be there before the result is told.
    pub fn evidence(&self) -> impl Iterator<Item = &[u8]> {
        self.blobs.iter().map(Vec::as_slice).chain(self.provenance_envelope.as_ref().map(Envelope::bytes))
    }
}

impl Finding {
    /// Which artifact this is about.
    pub fn artifact(&self) -> ArtifactId {
        ArtifactId { slot: ArtifactSlot { package: self.package.clone(), file: self.file.clone() }, digest: self.published }
    }

    /// Signs the finding as a feed entry. The result and its provenance always fit their
    /// size limits, whatever a publisher puts into names, addresses and lists: they are shortened where
    /// they must be. A report of differences that no peer could serve is left out.
    pub fn sign(mut self, key: &SecretKey, place: Place) -> Signed {
        let provenance_envelope = self.provenance.take().and_then(|provenance| sign_provenance(provenance, key));
        let subject = Subject::new(self.file.as_str(), self.published);
        let blobs = self.evidence();
        let mut result = self.result(place, provenance_envelope.as_ref().map(Envelope::digest));
        limit::lists(&mut result);
        let sign = |result: &RebuildResult| Envelope::sign(Statement::new(vec![subject.clone()], result.clone()).to_payload(), key);
        let mut envelope = sign(&result);
        for cut in &limit::CUTS {
            if envelope.bytes().len() <= RESULT_ENVELOPE_BYTES_MAX {
                break;
            }
            cut.shorten(&mut result);
            envelope = sign(&result);
        }
        Signed { envelope, provenance_envelope, blobs }
    }

    /// The evidence, less a report that is too large to be kept: that something differs is said without it.
    fn evidence(&mut self) -> Vec<Vec<u8>> {
        let mut blobs = std::mem::take(&mut self.blobs);
        if let Outcome::Different { differences, .. } = &mut self.outcome
            && let Some(report) = differences.report
            && blobs.iter().any(|blob| blob.len() > BLOB_BYTES_MAX && Digest::of(blob) == report)
        {
            differences.report = None;
            blobs.retain(|blob| blob.len() <= BLOB_BYTES_MAX || Digest::of(blob) != report);
        }
        blobs
    }

    /// What the node can say of its work.
    fn build_witness(&self, node: &NodeId) -> Option<BuildWitness> {
        let salt = Salt::of(node, &TaskId::of(&self.artifact().slot));
        let left = self.intermediates.as_ref().filter(|_| self.outcome.rebuilt().is_some())?;
        Some(left.witness(&salt))
    }

    fn result(self, place: Place, provenance: Option<Digest>) -> RebuildResult {
        let Place { operator, feed, reveals, now } = place;
        let build_witness = self.build_witness(&feed.node);
        let finished_at = now.whole_seconds();
        RebuildResult {
            package: self.package,
            operator,
            registry: self.registry,
            source: self.source,
            outcome: self.outcome,
            anomalies: self.anomalies,
            assists: self.assists,
            violations: self.violations,
            toolchain: self.toolchain,
            environment: self.environment,
            build_witness,
            builder: builder(),
            started_at: self.started_at.whole_seconds().min(finished_at),
            finished_at,
            provenance,
            reveals,
            feed,
        }
    }

    /// What a commitment to this finding is to.
    pub fn outcome(&self) -> Digest {
        outcome_digest(self.published, &self.outcome)
    }
}

/// What a node binds itself to.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The task.
    pub slot: ArtifactSlot,
    /// What nobody can read yet.
    pub secret: Secret,
    /// When it is going to be revealed.
    pub promise: Promise,
}

/// Signs a commitment as a feed entry.
pub fn commit(binding: Binding, key: &SecretKey, place: &Place) -> Envelope {
    let Binding { slot, secret, promise } = binding;
    let commitment = Commitment {
        package: slot.package,
        file: slot.file,
        operator: place.operator,
        commitment: secret.commitment(),
        signed_at: place.now.whole_seconds(),
        promise,
        feed: place.feed,
    };
    Envelope::sign(commitment.into_statement().to_payload(), key)
}

/// This program.
pub fn builder() -> Builder {
    Builder { name: "quorate-node".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
}

/// The provenance's envelope, with as many dependencies as fit; nothing when not even its subject fits.
fn sign_provenance(mut provenance: FoundProvenance, key: &SecretKey) -> Option<Envelope> {
    provenance.predicate.run_details.builder.id = format!("urn:quorate:node:{}", key.node_id());
    let found = provenance.predicate.build_definition.resolved_dependencies.len();
    loop {
        let statement = Statement::new(provenance.subject.clone(), provenance.predicate.clone());
        let envelope = Envelope::sign(statement.to_payload(), key);
        if envelope.bytes().len() <= BLOB_BYTES_MAX {
            return Some(envelope);
        }
        if !limit::provenance(&mut provenance.predicate.build_definition, found) {
            return None;
        }
    }
}

/// Digests of intermediates, one after the other, as text.
mod secret {
    use quorate_proto::Digest;
    use quorate_proto::build_witness::{Intermediate, Intermediates};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    #[expect(clippy::ref_option, reason = "what serde hands over")]
    pub(super) fn serialize<S: Serializer>(left: &Option<Intermediates>, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = |left: &Intermediates| left.as_slice().iter().flat_map(|one| *one.digest().as_bytes()).collect::<Vec<u8>>();
        left.as_ref().map(|left| data_encoding::BASE64.encode(&bytes(left))).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Intermediates>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let bytes = data_encoding::BASE64.decode(text.as_bytes()).map_err(de::Error::custom)?;
        let (digests, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() {
            return Err(de::Error::custom("not whole digests"));
        }
        let all = digests.iter().map(|digest| Intermediate::from_digest(Digest::from_bytes(*digest)));
        Intermediates::new(all).map(Some).map_err(de::Error::custom)
    }
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
    use quorate_proto::comparison::{AnomalyKind, Difference, DifferenceClass, Executable, Side};
    use quorate_proto::provenance::{BuildDefinition, BuildMetadata, ProvenanceBuilder, ResourceDescriptor, RunDetails};
    use quorate_proto::result::{DifferenceList, EnvironmentClass, FoundBy, Phase, RebuiltFile, SourceKind};
    use quorate_proto::verified::VerifiedStatement;

    fn source() -> Source {
        Source {
            kind: SourceKind::SourceDistribution,
            uri: "https://registry.example/demo-1.0.tar.gz".into(),
            commit: None,
            tree: None,
            reference: None,
            directory: None,
            digest: Some(Digest::of(b"source")),
            found_by: FoundBy::Index,
            evidence: None,
            signature: None,
        }
    }

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
            source: Some(source()),
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
            intermediates: None,
            started_at: now,
            finished_at: now,
            provenance: None,
            blobs: vec![b"inventory".to_vec()],
            seconds: BTreeMap::new(),
            fetched: Fetched::default(),
            attempts: Vec::new(),
        }
    }

    #[test]
    fn a_signed_finding_passes_the_door_however_much_differs() {
        for differences in [0, 24] {
            let (_, verified) = sign(finding(differences));
            assert_eq!(verified.result().finished_at, Timestamp::from_unix_seconds(1_768_435_300));
        }
    }

    fn member() -> (SecretKey, SecretKey, VerifiedCertificate, Timestamp) {
        let (root, node) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
        let now = Timestamp::from_unix_seconds(1_768_435_300);
        let not_after = now.plus(std::time::Duration::from_mins(1));
        let certificate = NodeCertificate { operator: root.operator_id(), node: node.node_id(), not_before: now, not_after };
        let certificate = VerifiedCertificate::verify(certificate.sign(&root).bytes(), &[root.operator_id()].into()).unwrap();
        (root, node, certificate, now)
    }

    fn sign(finding: Finding) -> (Signed, VerifiedStatement) {
        let (root, node, certificate, now) = member();
        let position = FeedPosition { node: node.node_id(), sequence: 0, previous: None };
        let signed = finding.sign(&node, Place { operator: root.operator_id(), feed: position, reveals: None, now });
        let verified = VerifiedStatement::verify(signed.envelope.bytes(), &certificate).unwrap();
        (signed, verified)
    }

    fn provenance(dependencies: usize, junk: &str) -> FoundProvenance {
        let file = |n: usize| ResourceDescriptor::file(format!("{n}"), "x".repeat(2000), Digest::of(b"file"));
        let now = Timestamp::from_unix_seconds(1_768_435_200);
        let predicate = Provenance {
            build_definition: BuildDefinition {
                build_type: "urn:test".into(),
                external_parameters: [("package".to_owned(), "pkg:pypi/demo@1.0".into())].into_iter().collect(),
                internal_parameters: [("requires".to_owned(), junk.into())].into_iter().collect(),
                resolved_dependencies: (0..dependencies).map(file).collect(),
            },
            run_details: RunDetails {
                builder: ProvenanceBuilder { id: String::new(), version: BTreeMap::new() },
                metadata: BuildMetadata { started_on: now, finished_on: now },
            },
        };
        FoundProvenance { subject: vec![Subject::new("demo.whl", Digest::of(b"rebuilt"))], predicate }
    }

    /// Everything that a publisher, a registry or a build can make long, made long, in bytes that JSON
    /// writes six times as long.
    #[test]
    fn a_poisonous_finding_with_endless_names_lists_and_addresses_still_fits_its_entry() {
        let endless = "\u{1}".repeat(20_000);
        let anomaly =
            Anomaly { side: Side::Published, kind: AnomalyKind::TrailingData, member: Some(endless.clone()), detail: endless.clone() };
        let assist = Assist { name: endless.clone(), value: endless.clone(), reason: endless.clone() };
        let tool = Tool { name: endless.clone(), version: endless.clone(), digest: Some(Digest::of(b"tool")) };
        for size in [1, 2000] {
            let mut poison = finding(20);
            poison.anomalies = vec![anomaly.clone(); size.min(40)];
            poison.assists = vec![assist.clone(); size.min(10)];
            poison.violations = vec!["x".repeat(300); size];
            poison.violations.push(endless.clone());
            poison.toolchain = vec![tool.clone(); size.min(10)];
            poison.registry.url.clone_from(&endless);
            let source = poison.source.as_mut().unwrap();
            source.uri.clone_from(&endless);
            (source.reference, source.directory) = (Some(endless.clone()), Some(endless.clone()));
            let (_, verified) = sign(poison);
            let result = verified.result();
            assert!(result.registry.url.ends_with('…'), "what was cut says so");
            assert!(!result.anomalies.is_empty() && !result.violations.is_empty(), "something of each is said");
            let Outcome::Different { differences, .. } = &result.outcome else { panic!("the outcome stays") };
            assert_eq!((differences.count, differences.members.is_empty()), (24, false));
        }
    }

    #[test]
    fn an_endless_summary_still_fits_its_entry() {
        let mut poison = finding(0);
        poison.outcome = Outcome::BuildFailed { phase: Phase::Build, summary: "é".repeat(100_000) };
        let (_, verified) = sign(poison);
        assert!(matches!(&verified.result().outcome, Outcome::BuildFailed { summary, .. } if summary.chars().count() >= 2000));
    }

    #[test]
    fn a_provenance_that_no_peer_could_serve_is_cut_and_says_so() {
        for (dependencies, junk, kept) in [(3, 10, true), (5000, 10, true), (3, 5 << 20, false)] {
            let mut poison = finding(1);
            poison.provenance = Some(provenance(dependencies, &"x".repeat(junk)));
            let (signed, verified) = sign(poison);
            let envelope = signed.provenance_envelope.unwrap();
            assert!(envelope.bytes().len() <= BLOB_BYTES_MAX);
            assert_eq!(verified.result().provenance, Some(envelope.digest()));
            let definition = Statement::<Provenance>::parse(envelope.payload()).unwrap().predicate.build_definition;
            let listed = definition.resolved_dependencies.len();
            assert_eq!(definition.internal_parameters.contains_key("requires"), kept);
            let note = definition.internal_parameters.get("shortened");
            assert_eq!(note.is_some(), listed < dependencies || !kept, "{listed} of {dependencies}");
            assert!(listed > 500 || dependencies == 3, "as many as fit");
        }
    }

    #[test]
    fn a_report_that_no_peer_could_serve_does_not_hide_that_something_differs() {
        let mut poison = finding(3);
        let report = vec![b'x'; BLOB_BYTES_MAX + 1];
        if let Outcome::Different { differences, .. } = &mut poison.outcome {
            differences.report = Some(Digest::of(&report));
        }
        poison.blobs.push(report);
        let (signed, verified) = sign(poison);
        assert_eq!(signed.blobs, [b"inventory".to_vec()]);
        assert!(matches!(&verified.result().outcome, Outcome::Different { differences, .. } if differences.report.is_none()));
    }

    fn left() -> Intermediates {
        use quorate_proto::build_witness::Intermediate;
        Intermediates::new((0..50_u8).map(|n| Intermediate::of(&[n], &Digest::of(&[n])))).unwrap()
    }

    #[test]
    fn a_result_witnesses_the_build_under_its_own_nodes_name_and_says_no_unsalted_digest() {
        let (signed, verified) = sign(Finding { intermediates: Some(left()), ..finding(24) });
        let witness = verified.result().build_witness.clone().unwrap();
        let salt = Salt::of(&verified.node(), &TaskId::of(&verified.artifact().slot));
        let agreement = left().check(&witness, &salt);
        assert!(agreement.confirms() && agreement.matched == agreement.compared);
        let said = String::from_utf8(signed.envelope.payload().to_vec()).unwrap();
        assert!(left().as_slice().iter().all(|one| !said.contains(&one.digest().to_hex())));
        let outcome = Outcome::BuildFailed { phase: Phase::Build, summary: String::new() };
        let (_, failed) = sign(Finding { intermediates: Some(left()), outcome, ..finding(0) });
        assert!(failed.result().build_witness.is_none());
    }

    #[test]
    fn a_finding_survives_the_disk() {
        let finding = Finding { intermediates: Some(left()), ..finding(2) };
        let bytes = serde_json::to_vec(&finding).unwrap();
        assert_eq!(serde_json::from_slice::<Finding>(&bytes).unwrap(), finding);
        let finding = Finding { intermediates: None, ..finding };
        let bytes = serde_json::to_vec(&finding).unwrap();
        assert_eq!(serde_json::from_slice::<Finding>(&bytes).unwrap(), finding);
    }
}
