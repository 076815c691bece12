//! The harness: operators with real keys that sign real results, for the tests of every room.
//!
//! Nothing here is faked: certificates, envelopes and feeds are made by the same code that nodes
//! use, and pass the same door.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_proto::build_witness::{Intermediate, Intermediates, Salt};
use quorate_proto::certificate::NodeCertificate;
use quorate_proto::commitment::{Commitment, Nonce, Promise, Reveals, Secret, outcome_digest};
use quorate_proto::comparison::{Difference, DifferenceClass, Executable, Level, PassUse, Risk};
use quorate_proto::declaration::{Advisory, Retraction, Revocation, Vouch};
use quorate_proto::drill::{Drill, Opening};
use quorate_proto::dsse::Envelope;
use quorate_proto::feed::{FeedHead, FeedPosition};
use quorate_proto::key::SecretKey;
use quorate_proto::result::{
    Builder, DifferenceList, Environment, EnvironmentClass, FoundBy, Outcome, Phase, RebuildResult, RebuiltFile, RegistryView, Source,
    SourceKind,
};
use quorate_proto::statement::{Statement, Subject};
use quorate_proto::verified::FeedItem;
use quorate_proto::witness_check::Claim;
use quorate_proto::{ArtifactId, ArtifactSlot, Digest, NodeId, NormalDigest, OperatorId, SignerId, TaskId, Timestamp};

/// When every result of the harness is signed: 2026-01-15T00:00:00Z.
pub const SIGNED_AT: i64 = 1_768_435_200;

/// What hides every commitment of the harness.
pub const NONCE: Nonce = Nonce::from_bytes([7; 32]);

/// An operator with one node and that node's feed.
#[derive(Debug)]
pub struct Member {
    root: SecretKey,
    node: SecretKey,
    certificate: Vec<u8>,
    head: FeedHead,
}

impl Member {
    /// An operator whose keys follow from `seed`.
    pub fn new(seed: u8) -> Self {
        Self::with_nodes(seed, 1).remove(0)
    }

    /// The same operator with several nodes, each with a feed of its own.
    pub fn with_nodes(seed: u8, count: u8) -> Vec<Self> {
        (0..count).map(|index| Self::with_validity(seed, index, SIGNED_AT - 86_400, SIGNED_AT + 86_400)).collect()
    }

    /// A node whose certificate holds from `from` to `until`, in Unix seconds.
    pub fn with_validity(seed: u8, index: u8, from: i64, until: i64) -> Self {
        let root = SecretKey::from_seed(&[seed; 32]);
        let mut node_seed = [seed; 32];
        node_seed[0] = 0xff;
        node_seed[1] = index;
        let node = SecretKey::from_seed(&node_seed);
        let certificate = certificate(&root, node.node_id(), from, until);
        Self { root, node, certificate, head: FeedHead::default() }
    }

    /// A certificate by this operator for a node that is another operator's.
    pub fn certifies(&self, other: &Self) -> Vec<u8> {
        certificate(&self.root, other.node(), SIGNED_AT - 86_400, SIGNED_AT + 86_400)
    }

    /// Who answers for the node.
    pub fn operator(&self) -> OperatorId {
        self.root.operator_id()
    }

    /// The node.
    pub fn node(&self) -> NodeId {
        self.node.node_id()
    }

    /// The operator's secret root key.
    pub fn root_key(&self) -> &SecretKey {
        &self.root
    }

    /// The node's secret key.
    pub fn key(&self) -> &SecretKey {
        &self.node
    }

    /// The certificate's envelope.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Where the next entry will stand.
    pub fn position(&self) -> FeedPosition {
        self.head.position(self.node())
    }

    /// Signs a result as the next entry of the feed.
    pub fn says(&mut self, artifact: &ArtifactId, outcome: Outcome) -> FeedItem {
        let item = self.says_at(self.position(), artifact, outcome);
        self.head = FeedHead::behind(self.head.next() + 1, Digest::of(&item.envelope));
        item
    }

    /// Commits to an outcome as the next entry of the feed, and holds it for ten minutes until `enough` others have.
    pub fn commits(&mut self, artifact: &ArtifactId, outcome: &Outcome, enough: u32) -> FeedItem {
        let (feed, now) = (self.position(), Timestamp::from_unix_seconds(SIGNED_AT));
        let secret = Secret {
            operator: self.operator(),
            node: self.node(),
            task: TaskId::of(&artifact.slot),
            outcome: outcome_digest(artifact.digest, outcome),
            nonce: NONCE,
        };
        let commitment = Commitment {
            package: artifact.slot.package.clone(),
            file: artifact.slot.file.clone(),
            operator: self.operator(),
            commitment: secret.commitment(),
            signed_at: now,
            promise: Promise::new(enough, Duration::from_mins(10), now),
            feed,
        };
        self.append(commitment)
    }

    /// Signs any commitment as the next entry of the feed.
    pub fn append(&mut self, commitment: Commitment) -> FeedItem {
        let envelope = Envelope::sign(commitment.into_statement().to_payload(), &self.node).bytes().to_vec();
        self.head = FeedHead::behind(self.head.next() + 1, Digest::of(&envelope));
        FeedItem { certificate: self.certificate.clone(), envelope }
    }

    /// Signs the result that opens the commitment at `sequence` as the next entry of the feed, naming what it saw.
    pub fn reveals(&mut self, artifact: &ArtifactId, outcome: Outcome, sequence: u64, seen: &[FeedItem]) -> FeedItem {
        let seen: BTreeSet<_> = seen.iter().map(|item| Digest::of(&item.envelope)).collect();
        let reveals = Reveals { sequence, nonce: NONCE, seen: seen.into_iter().collect(), after: None };
        let result = RebuildResult { reveals: Some(reveals), ..self.result(artifact, outcome, self.position()) };
        let item = self.sign(artifact, result);
        self.head = FeedHead::behind(self.head.next() + 1, Digest::of(&item.envelope));
        item
    }

    /// Signs a result of a build that left `left` as the next entry of the feed.
    pub fn builds(&mut self, artifact: &ArtifactId, outcome: Outcome, left: &Intermediates) -> FeedItem {
        let witness = left.witness(&Salt::of(&self.node(), &TaskId::of(&artifact.slot)));
        let item = self.sign(artifact, RebuildResult { build_witness: Some(witness), ..self.result(artifact, outcome, self.position()) });
        self.head = FeedHead::behind(self.head.next() + 1, Digest::of(&item.envelope));
        item
    }

    /// Holds another's result against an own build that left `left`, and signs the check as the next entry of the feed.
    ///
    /// # Panics
    /// If the item is no result with a build witness.
    pub fn checks(&mut self, item: &FeedItem, left: &Intermediates) -> FeedItem {
        let envelope = Envelope::parse(&item.envelope, item.envelope.len()).expect("an envelope");
        let result = Statement::<RebuildResult>::parse(envelope.payload()).expect("a result");
        let claim = Claim::read(&result, envelope.digest()).expect("a build witness");
        let (agreement, now) = (claim.agreement(left), Timestamp::from_unix_seconds(SIGNED_AT));
        let statement = claim.into_statement(agreement, self.operator(), self.position(), now);
        let envelope = Envelope::sign(statement.to_payload(), &self.node).bytes().to_vec();
        self.head = FeedHead::behind(self.head.next() + 1, Digest::of(&envelope));
        FeedItem { certificate: self.certificate.clone(), envelope }
    }

    /// Signs a result for any position, without moving the feed.
    pub fn says_at(&self, feed: FeedPosition, artifact: &ArtifactId, outcome: Outcome) -> FeedItem {
        self.sign(artifact, self.result(artifact, outcome, feed))
    }

    /// A whole result with ordinary values.
    pub fn result(&self, artifact: &ArtifactId, outcome: Outcome, feed: FeedPosition) -> RebuildResult {
        result(artifact, outcome, feed, self.operator())
    }

    /// Signs any result, without moving the feed.
    pub fn sign(&self, artifact: &ArtifactId, result: RebuildResult) -> FeedItem {
        let subject = Subject::new(artifact.slot.file.as_str(), artifact.digest);
        let payload = Statement::new(vec![subject], result).to_payload();
        FeedItem { certificate: self.certificate.clone(), envelope: Envelope::sign(payload, &self.node).bytes().to_vec() }
    }
}

fn certificate(root: &SecretKey, node: NodeId, from: i64, until: i64) -> Vec<u8> {
    let (not_before, not_after) = (Timestamp::from_unix_seconds(from), Timestamp::from_unix_seconds(until));
    NodeCertificate { operator: root.operator_id(), node, not_before, not_after }.sign(root).bytes().to_vec()
}

/// An artifact of PyPI whose bytes are `content`.
///
/// # Panics
/// If name and version make no package URL.
pub fn artifact(name: &str, version: &str, content: &[u8]) -> ArtifactId {
    let package = format!("pkg:pypi/{name}@{version}").parse().expect("a test writes a package URL");
    let file = format!("{name}-{version}-py3-none-any.whl").parse().expect("a file name");
    ArtifactId { slot: ArtifactSlot { package, file }, digest: Digest::of(content) }
}

/// The same artifact on a registry of its own.
pub fn on_own_registry(artifact: &ArtifactId) -> ArtifactId {
    let package = artifact.slot.package.clone().in_repository("https://drills.registry.example/simple");
    ArtifactId { slot: ArtifactSlot { package, file: artifact.slot.file.clone() }, digest: artifact.digest }
}

/// What opens a drill on `artifact` in the log of this origin.
pub fn opening(log: &str, artifact: &ArtifactId) -> Opening {
    let ArtifactSlot { package, file } = artifact.slot.clone();
    Opening { log: log.to_owned(), package, file, digest: artifact.digest, nonce: NONCE, reason: "a module that no source has".to_owned() }
}

/// The envelopes that announce and open a drill, signed by the log's key.
///
/// # Panics
/// If no drill may be on the artifact.
pub fn drill(log: &SecretKey, opening: &Opening) -> [Vec<u8>; 2] {
    [Drill::Announced(opening.announcement()), Drill::Opened(Box::new(opening.clone()))]
        .map(|drill| drill.sign(log).expect("a drill that is allowed").bytes().to_vec())
}

/// Somebody says that a file is compromised.
pub fn advisory(signer: SignerId, id: &str, digest: Digest) -> Advisory {
    let signed_at = Timestamp::from_unix_seconds(SIGNED_AT);
    Advisory { signer, signed_at, id: id.to_owned(), digest: Some(digest), package: None, reason: "a backdoor".to_owned() }
}

/// Somebody says, until a day later, that what rebuilds of a file give is benign.
pub fn vouch(signer: SignerId, id: &str, digest: Digest, rebuilt: &str) -> Vouch {
    let (signed_at, until) = (Timestamp::from_unix_seconds(SIGNED_AT), Timestamp::from_unix_seconds(SIGNED_AT + 86_400));
    Vouch { signer, signed_at, id: id.to_owned(), digest, rebuilt: rebuilt.to_owned(), until, reason: "a date".to_owned() }
}

/// An operator revokes a node of its own, or itself.
pub fn revocation(signer: SignerId, node: Option<NodeId>, since: u64) -> Revocation {
    Revocation { signer, signed_at: Timestamp::from_unix_seconds(SIGNED_AT), node, since, reason: "a stolen key".to_owned() }
}

/// Somebody takes back what they have said.
pub fn retraction(signer: SignerId, statement: Digest) -> Retraction {
    Retraction { signer, signed_at: Timestamp::from_unix_seconds(SIGNED_AT), statement, reason: "an error".to_owned() }
}

fn result(artifact: &ArtifactId, outcome: Outcome, feed: FeedPosition, operator: OperatorId) -> RebuildResult {
    let signed_at = Timestamp::from_unix_seconds(SIGNED_AT);
    RebuildResult {
        package: artifact.slot.package.clone(),
        operator,
        registry: RegistryView {
            url: format!("https://registry.example/files/{}", artifact.slot.file),
            size_bytes: 98_188,
            index_checksum: Some(artifact.digest),
            published_at: Some(Timestamp::from_unix_seconds(SIGNED_AT - 3600)),
            observed_at: signed_at,
        },
        source: Some(Source {
            kind: SourceKind::Git,
            uri: "https://github.com/example/example".to_owned(),
            commit: Some("934813e4d421071a1b3db3973c02fe2721359a6e".to_owned()),
            tree: None,
            reference: Some("refs/tags/v1.0".to_owned()),
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
        toolchain: Vec::new(),
        environment: Environment { class: EnvironmentClass::Host, digest: Digest::of(b"environment") },
        build_witness: None,
        builder: Builder { name: "quorate-node".to_owned(), version: "0.1.0".to_owned() },
        started_at: signed_at,
        finished_at: signed_at,
        provenance: None,
        reveals: None,
        feed,
    }
}

/// What builds of the kind `kind` leave: nothing that any other kind does.
///
/// # Panics
/// Never.
pub fn left(kind: u8) -> Intermediates {
    let files = (0..60).map(|n| Intermediate::of(&[n], &Digest::of(&[kind, n])));
    Intermediates::new(files).expect("sixty files")
}

/// The published bytes came out.
pub fn identical(artifact: &ArtifactId) -> Outcome {
    Outcome::Identical { rebuilt: RebuiltFile { digest: artifact.digest, size_bytes: 98_188, normal: None } }
}

/// The published normal form came out.
pub fn equivalent() -> Outcome {
    let normal = NormalDigest::from_bytes([1; 32]);
    Outcome::Equivalent {
        rebuilt: RebuiltFile { digest: Digest::of(b"equivalent"), size_bytes: 98_188, normal: Some(normal) },
        published_normal: normal,
        level: Level::Normal,
        passes: vec![PassUse { name: "zip-times".to_owned(), version: 1, risk: Risk::None, members: 3 }],
    }
}

/// `content` came out, which lacks the published member `member`.
pub fn different(content: &str, member: &str) -> Outcome {
    let difference = Difference {
        member: member.to_owned(),
        class: DifferenceClass::OnlyPublished,
        executable: Executable::Code,
        published: Some(Digest::of(member.as_bytes())),
        rebuilt: None,
    };
    Outcome::Different {
        rebuilt: RebuiltFile { digest: Digest::of(content.as_bytes()), size_bytes: 98_100, normal: None },
        published_normal: None,
        differences: DifferenceList { count: 1, members: vec![difference], report: None },
    }
}

/// Nothing came out.
pub fn failed() -> Outcome {
    Outcome::BuildFailed { phase: Phase::Build, summary: "exit code 1".to_owned() }
}

/// A policy over `members`.
pub fn policy<'a>(threshold: usize, members: impl IntoIterator<Item = &'a Member>) -> String {
    let operator =
        |(index, member): (usize, &Member)| format!("\n[[operator]]\nname = \"operator-{index}\"\nkey = \"{}\"\n", member.operator());
    let operators: String = members.into_iter().enumerate().map(operator).collect();
    format!("version = 1\nthreshold = {threshold}\n{operators}")
}
