//! A small network of operators and nodes that sign whatever a test asks for. Made in code, seeded.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, missing_docs, unreachable_pub, reason = "tests")]

use std::fmt::Write as _;
use std::time::Duration;

use quorate_proto::certificate::NodeCertificate;
use quorate_proto::comparison::{Difference, DifferenceClass, Executable, Level, PassUse, Risk};
use quorate_proto::dsse::Envelope;
use quorate_proto::feed::FeedHead;
use quorate_proto::provenance::{BuildDefinition, BuildMetadata, Provenance, ProvenanceBuilder, ResourceDescriptor, RunDetails};
use quorate_proto::result::{
    Builder, DifferenceList, Environment, EnvironmentClass, FoundBy, Outcome, Phase, RebuildResult, RebuiltFile, RegistryView, Source,
    SourceKind, Tool,
};
use quorate_proto::statement::{Statement, Subject};
use quorate_proto::verified::FeedItem;
use quorate_proto::{ArtifactId, ArtifactSlot, Digest, NormalDigest, Purl, SecretKey, Timestamp};

/// Operators with one node each.
pub struct Network {
    pub now: Timestamp,
    pub nodes: Vec<Node>,
}

/// A node and the operator that answers for it.
pub struct Node {
    pub name: String,
    pub root: SecretKey,
    pub key: SecretKey,
    pub certificate: Vec<u8>,
    pub head: FeedHead,
    pub now: Timestamp,
}

const NAMES: [&str; 8] = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"];

pub fn now() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now()).whole_seconds()
}

impl Network {
    pub fn new(operators: u8) -> Self {
        Self::at(operators, now())
    }

    pub fn at(operators: u8, now: Timestamp) -> Self {
        Self { now, nodes: (0..operators).map(|n| Node::new(n, n, now)).collect() }
    }

    pub fn policy(&self, threshold: usize) -> String {
        let mut text = format!("version = 1\nthreshold = {threshold}\n");
        for node in &self.nodes {
            write!(text, "\n[[operator]]\nname = \"{}\"\nkey = \"{}\"\n", node.name, node.root.operator_id()).unwrap();
        }
        text
    }
}

impl Node {
    pub fn new(operator: u8, node: u8, now: Timestamp) -> Self {
        let root = SecretKey::from_seed(&[100 + operator; 32]);
        let key = SecretKey::from_seed(&[1 + node; 32]);
        let certificate = certify(&root, &key, now, 0, 20);
        let name = NAMES.get(usize::from(operator)).map_or_else(|| format!("operator-{operator}"), |name| (*name).to_owned());
        Self { name, root, key, certificate, head: FeedHead::default(), now }
    }

    /// The next entry of the feed.
    pub fn sign(&mut self, artifact: &ArtifactId, outcome: Outcome) -> FeedItem {
        let item = self.signed(artifact, outcome, |_| {});
        let digest = Digest::of(&item.envelope);
        self.head = FeedHead::behind(self.head.next() + 1, digest);
        item
    }

    /// As [`Self::sign`], with changes to what is signed.
    pub fn sign_with(&mut self, artifact: &ArtifactId, outcome: Outcome, change: impl FnOnce(&mut RebuildResult)) -> FeedItem {
        let item = self.signed(artifact, outcome, change);
        self.head = FeedHead::behind(self.head.next() + 1, Digest::of(&item.envelope));
        item
    }

    /// An entry at the present place of the feed, which does not move on.
    pub fn signed(&self, artifact: &ArtifactId, outcome: Outcome, change: impl FnOnce(&mut RebuildResult)) -> FeedItem {
        let mut result = self.result(artifact, outcome);
        change(&mut result);
        let subject = Subject::new(artifact.slot.file.as_str(), artifact.digest);
        let envelope = Envelope::sign(Statement::new(vec![subject], result).to_payload(), &self.key);
        FeedItem { certificate: self.certificate.clone(), envelope: envelope.bytes().to_vec() }
    }

    fn result(&self, artifact: &ArtifactId, outcome: Outcome) -> RebuildResult {
        let built = outcome.rebuilt().is_some();
        RebuildResult {
            package: artifact.slot.package.clone(),
            operator: self.root.operator_id(),
            registry: RegistryView {
                url: format!("https://registry.example/files/{}", artifact.slot.file),
                size_bytes: 98_188,
                index_checksum: Some(artifact.digest),
                published_at: Some(self.now.plus(Duration::ZERO)),
                observed_at: self.now,
            },
            source: built.then(|| Source {
                kind: SourceKind::Git,
                uri: format!("https://github.com/{0}/{0}", artifact.slot.package.name()),
                commit: Some(Digest::of(artifact.slot.package.to_string().as_bytes()).to_hex()[..40].to_owned()),
                tree: None,
                reference: artifact.slot.package.version().map(str::to_owned),
                directory: None,
                digest: None,
                found_by: FoundBy::Tag,
                evidence: None,
                signature: None,
            }),
            outcome,
            anomalies: Vec::new(),
            assists: Vec::new(),
            violations: Vec::new(),
            toolchain: vec![tool("flit-core", "3.10.1"), tool("python", "3.11.2")],
            environment: Environment { class: EnvironmentClass::Host, digest: Digest::of(inventory().as_slice()) },
            build_witness: None,
            builder: Builder { name: "quorate-node".into(), version: "0.1.0".into() },
            started_at: self.now,
            finished_at: self.now,
            provenance: built.then(|| Digest::of(&self.provenance(artifact))),
            reveals: None,
            feed: self.head.position(self.key.node_id()),
        }
    }

    /// The provenance that the node's results about this artifact name.
    pub fn provenance(&self, artifact: &ArtifactId) -> Vec<u8> {
        let predicate = Provenance {
            build_definition: BuildDefinition {
                build_type: "urn:quorate:build/pypi/v1".into(),
                external_parameters: serde_json::Map::new(),
                internal_parameters: serde_json::Map::new(),
                resolved_dependencies: vec![
                    ResourceDescriptor::file("packaging.whl", "pkg:pypi/packaging@24.2", Digest::of(b"packaging")),
                    ResourceDescriptor::file("source", "git+https://github.com/example/example", Digest::of(b"tree"))
                        .with("commit", "c".repeat(40)),
                ],
            },
            run_details: RunDetails {
                builder: ProvenanceBuilder { id: format!("urn:quorate:node:{}", self.key.node_id()), version: [].into() },
                metadata: BuildMetadata { started_on: self.now, finished_on: self.now },
            },
        };
        let subject = Subject::new(artifact.slot.file.as_str(), artifact.digest);
        Envelope::sign(Statement::new(vec![subject], predicate).to_payload(), &self.key).bytes().to_vec()
    }
}

/// A certificate from `from_days` before now on, for `days`.
pub fn certify(root: &SecretKey, key: &SecretKey, now: Timestamp, from_days: i64, days: i64) -> Vec<u8> {
    let day = 24 * 3600;
    let not_before = Timestamp::from_unix_seconds(now.unix_seconds() - (from_days + 1) * day);
    let not_after = Timestamp::from_unix_seconds(not_before.unix_seconds() + days * day);
    let certificate = NodeCertificate { operator: root.operator_id(), node: key.node_id(), not_before, not_after };
    certificate.sign(root).bytes().to_vec()
}

/// The environment's inventory that every result names.
pub fn inventory() -> Vec<u8> {
    serde_json::json!({"packages": {"xz-utils": "5.4.1", "gcc": "12.2.0"}}).to_string().into_bytes()
}

pub fn artifact(name: &str, version: &str, seed: &str) -> ArtifactId {
    let package = Purl::pypi(name, version).unwrap();
    let file = format!("{}-{version}-py3-none-any.whl", name.replace('-', "_")).parse().unwrap();
    ArtifactId { slot: ArtifactSlot { package, file }, digest: Digest::of(format!("{name}{version}{seed}").as_bytes()) }
}

pub fn identical(artifact: &ArtifactId) -> Outcome {
    Outcome::Identical { rebuilt: RebuiltFile { digest: artifact.digest, size_bytes: 98_188, normal: None } }
}

pub fn equivalent(artifact: &ArtifactId) -> Outcome {
    let normal = NormalDigest::from_bytes(*artifact.digest.as_bytes());
    Outcome::Equivalent {
        rebuilt: RebuiltFile { digest: Digest::of(artifact.digest.as_bytes()), size_bytes: 98_190, normal: Some(normal) },
        published_normal: normal,
        level: Level::Normal,
        passes: vec![
            PassUse { name: "zip-times".into(), version: 1, risk: Risk::None, members: 21 },
            PassUse { name: "zip-order".into(), version: 1, risk: Risk::None, members: 4 },
        ],
    }
}

/// A published file with one member more than its source.
pub fn backdoored(artifact: &ArtifactId, report: Option<Digest>) -> Outcome {
    Outcome::Different {
        rebuilt: RebuiltFile { digest: Digest::of(b"clean"), size_bytes: 98_188, normal: Some(NormalDigest::from_bytes([9; 32])) },
        published_normal: Some(NormalDigest::from_bytes(*artifact.digest.as_bytes())),
        differences: DifferenceList { count: 2, members: differences(), report },
    }
}

pub fn differences() -> Vec<Difference> {
    vec![
        Difference {
            member: "click/_winconsole_shim.py".into(),
            class: DifferenceClass::OnlyPublished,
            executable: Executable::Code,
            published: Some(Digest::of(b"shim")),
            rebuilt: None,
        },
        Difference {
            member: "click/__init__.py".into(),
            class: DifferenceClass::Content,
            executable: Executable::Code,
            published: Some(Digest::of(b"a")),
            rebuilt: Some(Digest::of(b"b")),
        },
    ]
}

pub fn build_failed() -> Outcome {
    Outcome::BuildFailed { phase: Phase::Build, summary: "error: command 'gcc' failed: No such file or directory".into() }
}

fn tool(name: &str, version: &str) -> Tool {
    Tool { name: name.into(), version: version.into(), digest: None }
}
