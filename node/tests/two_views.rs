//! A log that shows two views to two halves of a network: proven to everybody when the halves meet.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use quorate_gossip::{Accepted, FeedStore, Mesh, MeshConfig, Multiaddr};
use quorate_node::blob::BlobStore;
use quorate_node::feed::{self, Feeds, Own};
use quorate_node::logs::Logs;
use quorate_node::mesh::MeshStore;
use quorate_proto::feed::FeedHead;
use quorate_proto::verified::FeedItem;
use quorate_proto::wire::{Beginning, BeginningWanted, Notice, Told};
use quorate_proto::{Digest, NodeId, SecretKey};
use quorate_tlog::{Checkpoint, MemoryTiles, Signer, Tree, TreeHead, TreeView, leaf_hash};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(40);

fn log() -> Signer {
    Signer::from_seed("log.example".parse().unwrap(), &[1; 32])
}

/// A coordinator that shows one view of its log, and answers for it.
struct Coordinator {
    head: TreeHead,
    tiles: MemoryTiles,
    note: Vec<u8>,
}

impl Coordinator {
    fn new(history: &str, size: u64) -> Self {
        let leaves: Vec<_> = (0..size).map(|n| leaf_hash(format!("{history}{n}").as_bytes())).collect();
        let appended = Tree::new().append(&leaves).unwrap();
        let mut tiles = MemoryTiles::default();
        tiles.0.extend(appended.tiles.into_iter().map(|tile| (tile.path, tile.bytes)));
        let head = appended.tree.head();
        let note = Checkpoint::new("log.example".parse().unwrap(), head).unwrap().sign(&log()).unwrap();
        Self { head, tiles, note: note.to_string().into_bytes() }
    }

    async fn start(self, seed: u8) -> (Mesh, Vec<Multiaddr>) {
        start(seed, self, Vec::new()).await
    }
}

impl FeedStore for Coordinator {
    async fn heads(&self) -> Vec<(NodeId, FeedHead)> {
        Vec::new()
    }

    async fn entries(&self, _: NodeId, _: u64, _: usize) -> Vec<FeedItem> {
        Vec::new()
    }

    async fn blob(&self, _: Digest) -> Option<Vec<u8>> {
        None
    }

    async fn accept(&self, items: Vec<FeedItem>) -> Vec<Accepted> {
        vec![Accepted::Duplicate; items.len()]
    }

    async fn wanted_blobs(&self) -> Vec<Digest> {
        Vec::new()
    }

    async fn put_blob(&self, _: Vec<u8>) {}

    async fn notices(&self) -> Vec<Told> {
        vec![Told::checkpoint(self.note.clone())]
    }

    async fn accept_notice(&self, _: Notice) -> Accepted {
        Accepted::Duplicate
    }

    async fn beginning(&self, wanted: BeginningWanted) -> Option<Beginning> {
        if wanted.root != *self.head.root.as_bytes() {
            return None;
        }
        let (beginning, proof) = TreeView::new(self.head, &self.tiles).unwrap().consistency(wanted.old_size).ok()?;
        Some(Beginning { root: *beginning.root.as_bytes(), path: proof.path.iter().map(|hash| *hash.as_bytes()).collect() })
    }
}

async fn start<S: FeedStore>(seed: u8, store: S, bootstrap: Vec<Multiaddr>) -> (Mesh, Vec<Multiaddr>) {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    // Who meets whom is for the test to say.
    let config = MeshConfig { listen, bootstrap, peers_wanted: 0, seed: u64::from(seed), ..MeshConfig::default() };
    let (mesh, _task) = Mesh::start(&SecretKey::from_seed(&[seed; 32]), config, Arc::new(store)).unwrap();
    let addresses = mesh.listening().await.unwrap();
    (mesh, addresses)
}

struct Node {
    logs: Logs,
    mesh: Mesh,
    addresses: Vec<Multiaddr>,
    _dir: TempDir,
}

impl Node {
    async fn start(seed: u8, bootstrap: Vec<Multiaddr>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = SecretKey::from_seed(&[seed; 32]);
        feed::begin(dir.path(), &key.node_id()).unwrap();
        let blobs = BlobStore::open(&dir.path().join("blobs")).unwrap();
        let feeds = Feeds::open(dir.path(), Own { node: key.node_id(), operator: key.operator_id() }, [].into(), blobs).unwrap();
        let logs = Logs::open(dir.path(), &[log().verifier().clone()]).unwrap();
        let (mesh, addresses) = start(seed, MeshStore::new(feeds, logs.clone(), dir.path()), bootstrap).await;
        Self { logs, mesh, addresses, _dir: dir }
    }

    async fn until(&self, what: &str, reached: impl Fn(&Logs) -> bool) {
        let wait = async {
            while !reached(&self.logs) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        assert!(waited.is_ok(), "{what}: {:?}; counters {:?}", self.logs.shown(), self.mesh.counters().snapshot());
    }
}

fn has_heard(logs: &Logs) -> bool {
    logs.shown()[0].head.is_some()
}

fn has_convicted(logs: &Logs) -> bool {
    logs.shown()[0].conviction.as_ref().is_some_and(|proof| proof.verify(log().verifier()).is_ok())
}

/// Two halves that each know one view; then one node of each meets the other.
async fn the_halves_meet(sizes: (u64, u64)) {
    let (one, other) = (Coordinator::new("a", sizes.0), Coordinator::new("b", sizes.1));
    let ((_one, at_one), (_other, at_other)) = (one.start(11).await, other.start(12).await);
    let first = Node::start(1, at_one).await;
    let follower = Node::start(2, first.addresses.clone()).await;
    first.until("the first view", has_heard).await;
    follower.until("the first view, passed on", has_heard).await;
    let bridge = [at_other, first.addresses.clone()].concat();
    let second = Node::start(3, bridge).await;
    for node in [&second, &first, &follower] {
        node.until("the proof", has_convicted).await;
    }
}

/// As above; but the nodes that meet have neither tree's coordinator among their neighbours.
#[tokio::test]
async fn a_second_view_is_proven_where_only_nodes_meet_and_who_has_the_trees_is_further_away() {
    for sizes in [(5, 300), (300, 7)] {
        let (one, other) = (Coordinator::new("a", sizes.0), Coordinator::new("b", sizes.1));
        let ((_one, at_one), (_other, at_other)) = (one.start(15).await, other.start(16).await);
        let (first, third) = (Node::start(5, at_one).await, Node::start(6, at_other).await);
        let second = Node::start(7, first.addresses.clone()).await;
        second.until("the first view, passed on", has_heard).await;
        third.until("the other view", has_heard).await;
        let bridge = Node::start(8, [second.addresses.clone(), third.addresses.clone()].concat()).await;
        for node in [&bridge, &first, &second, &third] {
            node.until("the proof", has_convicted).await;
        }
    }
}

#[tokio::test]
async fn two_views_of_one_size_are_proven_to_every_node_of_both_halves() {
    the_halves_meet((5, 5)).await;
}

#[tokio::test]
async fn two_views_of_two_sizes_are_proven_with_the_word_of_one_that_has_the_larger_tree() {
    the_halves_meet((5, 300)).await;
    the_halves_meet((300, 7)).await;
}

#[tokio::test]
async fn one_history_at_two_sizes_convicts_nobody_and_is_linked() {
    let (small, large) = (Coordinator::new("a", 5), Coordinator::new("a", 300));
    let ((_small, at_small), (_large, at_large)) = (small.start(13).await, large.start(14).await);
    let node = Node::start(4, [at_small, at_large].concat()).await;
    node.until("both sizes, and that they go together", |logs| {
        let shown = &logs.shown()[0];
        shown.head.is_some_and(|(size, _)| size == 300)
            && shown.unlinked == 0
            && node.mesh.counters().get(quorate_gossip::counters::Place::Notice, "new") == 2
    })
    .await;
    assert!(node.logs.shown()[0].conviction.is_none());
}
