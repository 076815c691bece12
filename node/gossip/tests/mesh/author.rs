//! Nodes that sign: the makers of test items.

use std::collections::BTreeSet;

use quorate_proto::certificate::NodeCertificate;
use quorate_proto::dsse::Envelope;
use quorate_proto::feed::FeedHead;
use quorate_proto::result::{Builder, Environment, EnvironmentClass, NotAttemptedReason, Outcome, RebuildResult, RegistryView};
use quorate_proto::statement::{Statement, Subject};
use quorate_proto::verified::FeedItem;
use quorate_proto::{Digest, NodeId, OperatorId, SecretKey, Timestamp};

/// When test items are signed.
pub(crate) const SIGNED_AT: i64 = 1_790_000_000;

const DAY: i64 = 24 * 60 * 60;

/// A node of an operator of its own, with its feed so far.
pub(crate) struct Author {
    root: SecretKey,
    key: SecretKey,
    certificate: Vec<u8>,
    head: FeedHead,
    history: u8,
}

impl Author {
    pub(crate) fn new(number: u8) -> Self {
        let (root, key) = (SecretKey::from_seed(&[number; 32]), SecretKey::from_seed(&[number | 0x80; 32]));
        let certificate = certificate(&root, key.node_id(), SIGNED_AT - DAY, SIGNED_AT + DAY);
        Self { root, key, certificate, head: FeedHead::default(), history: 0 }
    }

    pub(crate) fn operator(&self) -> OperatorId {
        self.root.operator_id()
    }

    pub(crate) fn node(&self) -> NodeId {
        self.key.node_id()
    }

    pub(crate) fn key(&self) -> &SecretKey {
        &self.key
    }

    pub(crate) fn head(&self) -> FeedHead {
        self.head
    }

    /// The same node with a second history from here on.
    pub(crate) fn fork(&self) -> Self {
        let key = SecretKey::from_seed(&self.key.seed());
        let root = SecretKey::from_seed(&self.root.seed());
        Self { root, key, certificate: self.certificate.clone(), head: self.head, history: self.history + 1 }
    }

    /// The next entry.
    pub(crate) fn next(&mut self) -> FeedItem {
        self.next_at(SIGNED_AT)
    }

    pub(crate) fn next_at(&mut self, signed_at: i64) -> FeedItem {
        let provenance = Digest::of(&self.blob(self.head.next()));
        self.sign(Some(provenance), signed_at)
    }

    /// The next entry, which names no file of its own.
    pub(crate) fn next_plain(&mut self) -> FeedItem {
        self.sign(None, SIGNED_AT)
    }

    fn sign(&mut self, provenance: Option<Digest>, signed_at: i64) -> FeedItem {
        let position = self.head.position(self.node());
        let payload = statement(self.operator(), position, provenance, signed_at);
        let envelope = Envelope::sign(payload, &self.key);
        self.head = FeedHead::behind(position.sequence + 1, envelope.digest());
        FeedItem { certificate: self.certificate.clone(), envelope: envelope.bytes().to_vec() }
    }

    /// The file that entry `sequence` names.
    pub(crate) fn blob(&self, sequence: u64) -> Vec<u8> {
        format!("provenance of {} {sequence} {}", self.node(), self.history).into_bytes()
    }
}

/// The file that every entry names.
pub(crate) fn environment() -> Vec<u8> {
    b"environment".to_vec()
}

pub(crate) fn certificate(root: &SecretKey, node: NodeId, from: i64, to: i64) -> Vec<u8> {
    let (not_before, not_after) = (Timestamp::from_unix_seconds(from), Timestamp::from_unix_seconds(to));
    NodeCertificate { operator: root.operator_id(), node, not_before, not_after }.sign(root).bytes().to_vec()
}

pub(crate) fn enrolled(authors: &[Author]) -> BTreeSet<OperatorId> {
    authors.iter().map(Author::operator).collect()
}

pub(crate) fn statement(
    operator: OperatorId,
    feed: quorate_proto::feed::FeedPosition,
    provenance: Option<Digest>,
    signed_at: i64,
) -> Vec<u8> {
    let at = Timestamp::from_unix_seconds(signed_at);
    let result = RebuildResult {
        package: format!("pkg:pypi/sample@{}", feed.sequence).parse().unwrap(),
        operator,
        registry: RegistryView {
            url: "https://registry.example/a".to_owned(),
            size_bytes: 1,
            index_checksum: None,
            published_at: None,
            observed_at: at,
        },
        source: None,
        outcome: Outcome::NotAttempted { reason: NotAttemptedReason::UnsupportedKind },
        anomalies: Vec::new(),
        assists: Vec::new(),
        violations: Vec::new(),
        toolchain: Vec::new(),
        environment: Environment { class: EnvironmentClass::Host, digest: Digest::of(&environment()) },
        build_witness: None,
        builder: Builder { name: "test".to_owned(), version: "1".to_owned() },
        started_at: at,
        finished_at: at,
        provenance,
        reveals: None,
        feed,
    };
    Statement::new(vec![Subject::new("sample.whl", Digest::of(b"artifact"))], result).to_payload()
}
