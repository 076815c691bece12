//! The coordinator as a peer: it fetches feeds and evidence from a node, and serves them to a newcomer.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use quorate_gossip::{Accepted, FeedStore, Mesh, MeshConfig};
use quorate_proto::feed::FeedHead;
use quorate_proto::verified::FeedItem;
use quorate_proto::wire::{Beginning, BeginningWanted, Notice};
use quorate_proto::{Digest, NodeId, SecretKey};
use quorate_tlog::{Checkpoint, ConsistencyProof, Hash, SignedNote, TreeHead};

use crate::fixture::{Network, artifact, identical};
use crate::harness::{PATIENCE, Place};

/// What a peer holds, in memory. Believes everything.
#[derive(Default)]
struct Peer {
    feeds: Mutex<BTreeMap<NodeId, Vec<FeedItem>>>,
    blobs: Mutex<BTreeMap<Digest, Vec<u8>>>,
    heard: Mutex<Vec<Checkpoint>>,
    /// Asked for once a checkpoint was heard; then what was answered.
    asked: Mutex<Option<BeginningWanted>>,
    answered: Mutex<Option<Beginning>>,
}

impl FeedStore for Peer {
    async fn heads(&self) -> Vec<(NodeId, FeedHead)> {
        self.feeds.lock().unwrap().iter().filter_map(|(node, items)| Some((*node, head(items)?))).collect()
    }

    async fn entries(&self, node: NodeId, from: u64, _: usize) -> Vec<FeedItem> {
        let feeds = self.feeds.lock().unwrap();
        feeds.get(&node).map_or(&[][..], |items| &items[usize::try_from(from).unwrap()..]).to_vec()
    }

    async fn blob(&self, digest: Digest) -> Option<Vec<u8>> {
        self.blobs.lock().unwrap().get(&digest).cloned()
    }

    async fn accept(&self, items: Vec<FeedItem>) -> Vec<Accepted> {
        let mut feeds = self.feeds.lock().unwrap();
        items
            .into_iter()
            .map(|item| {
                let envelope = quorate_proto::dsse::Envelope::parse(&item.envelope, 1 << 20).unwrap();
                let payload: serde_json::Value = serde_json::from_slice(envelope.payload()).unwrap();
                let feed = &payload["predicate"]["feed"];
                let items = feeds.entry(feed["node"].as_str().unwrap().parse().unwrap()).or_default();
                if feed["sequence"].as_u64().unwrap() == items.len() as u64 {
                    items.push(item);
                    return Accepted::New;
                }
                Accepted::Duplicate
            })
            .collect()
    }

    async fn wanted_blobs(&self) -> Vec<Digest> {
        Vec::new()
    }

    async fn put_blob(&self, _: Vec<u8>) {}

    async fn accept_notice(&self, notice: Notice) -> Accepted {
        let Notice::Checkpoint(note) = notice else { panic!("nobody was caught with two histories") };
        let text = SignedNote::parse(&note).unwrap().unverified_text().to_owned();
        self.heard.lock().unwrap().push(Checkpoint::parse(&text).unwrap());
        Accepted::New
    }

    async fn wanted_beginnings(&self) -> Vec<BeginningWanted> {
        self.asked.lock().unwrap().iter().copied().collect()
    }

    async fn accept_beginning(&self, wanted: BeginningWanted, beginning: Beginning) -> Accepted {
        assert_eq!(self.asked.lock().unwrap().take(), Some(wanted));
        *self.answered.lock().unwrap() = Some(beginning);
        Accepted::New
    }
}

fn head(items: &[FeedItem]) -> Option<FeedHead> {
    Some(FeedHead::behind(items.len() as u64, Digest::of(&items.last()?.envelope)))
}

fn join(seed: u8, address: &str, peer: &Arc<Peer>) -> Mesh {
    let config = MeshConfig { bootstrap: vec![address.parse().unwrap()], seed: u64::from(seed), ..MeshConfig::default() };
    Mesh::start(&SecretKey::from_seed(&[seed; 32]), config, Arc::clone(peer)).unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn feeds_and_evidence_come_from_a_node_and_go_to_a_late_joiner() {
    let mut network = Network::new(3);
    let place = Place::new(&network.policy(2));
    let running = place.start().await;
    let click = artifact("click", "8.1.8", "");
    let node = Arc::new(Peer::default());
    for n in 0..3 {
        let item = network.nodes[n].sign(&click, identical(&click));
        node.feeds.lock().unwrap().insert(network.nodes[n].key.node_id(), vec![item]);
    }
    let provenance = network.nodes[0].provenance(&click);
    node.blobs.lock().unwrap().insert(Digest::of(&provenance), provenance.clone());
    let mesh = join(201, &running.mesh[0], &node);
    running.await_state(&click.digest, "reproduced").await;
    let path = format!("/api/v1/blobs/{}", Digest::of(&provenance));
    let began = Instant::now();
    while running.get(&path).await != (200, provenance.clone()) {
        assert!(began.elapsed() < PATIENCE, "the provenance does not arrive");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    mesh.stop().await;

    let late = Arc::new(Peer::default());
    let _mesh = join(202, &running.mesh[0], &late);
    let began = Instant::now();
    while *late.feeds.lock().unwrap() != *node.feeds.lock().unwrap() {
        assert!(began.elapsed() < PATIENCE, "the feeds do not arrive");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_are_told_and_so_is_how_their_trees_begin() {
    let mut network = Network::new(2);
    let place = Place::new(&network.policy(2));
    let mut running = place.start().await;
    let peer = Arc::new(Peer::default());
    let mesh = join(203, &running.mesh[0], &peer);
    let heard = |size: u64| peer.heard.lock().unwrap().iter().find(|checkpoint| checkpoint.size() >= size).cloned();
    let click = artifact("click", "8.1.8", "");
    let began = Instant::now();
    let mut sizes = Vec::new();
    for n in 0..2 {
        let item = network.nodes[n].sign(&click, identical(&click));
        running.submit(&[item]).await.unwrap();
        let size = running.quiet().await.size;
        sizes.push(size);
        while heard(size).is_none() {
            assert!(began.elapsed() < PATIENCE, "no checkpoint of {size} was told");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let (small, large) = (heard(sizes[0]).unwrap(), heard(sizes[1]).unwrap());
    let log = Digest::of(large.origin().as_str().as_bytes());
    let wanted = BeginningWanted { log, old_size: small.size(), size: large.size(), root: *large.root().as_bytes() };
    *peer.asked.lock().unwrap() = Some(wanted);
    mesh.nudge();
    let beginning = loop {
        if let Some(beginning) = peer.answered.lock().unwrap().take() {
            break beginning;
        }
        assert!(began.elapsed() < PATIENCE, "how the tree begins is not told");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let proof = ConsistencyProof { path: beginning.path.into_iter().map(Hash::from_bytes).collect() };
    let start = TreeHead { size: small.size(), root: Hash::from_bytes(beginning.root) };
    proof.verify(&start, large.head()).unwrap();
    assert_eq!(&start, small.head());
}
