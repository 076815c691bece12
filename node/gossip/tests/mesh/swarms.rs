//! Real swarms on loopback: QUIC and TCP, late joiners, lost and found peers.

use std::sync::Arc;
use std::time::Duration;

use quorate_gossip::{Mesh, MeshConfig, Multiaddr, Snapshot};
use tokio::time::timeout;

use crate::author::{Author, enrolled, environment};
use crate::memory::MemoryStore;

pub(crate) const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
pub(crate) const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Peer {
    pub(crate) mesh: Mesh,
    pub(crate) store: Arc<MemoryStore>,
}

impl Peer {
    pub(crate) async fn start(author: &Author, store: Arc<MemoryStore>, listen: &[&str], bootstrap: Vec<Multiaddr>) -> Self {
        let listen = listen.iter().map(|address| address.parse().unwrap()).collect();
        Self::start_with(author, store, MeshConfig { listen, bootstrap, seed: 7, ..MeshConfig::default() }).await
    }

    pub(crate) async fn start_with(author: &Author, store: Arc<MemoryStore>, config: MeshConfig) -> Self {
        let (mesh, _task) = Mesh::start(author.key(), config, Arc::clone(&store)).unwrap();
        mesh.listening().await.unwrap();
        Self { mesh, store }
    }

    pub(crate) async fn addresses(&self) -> Vec<Multiaddr> {
        self.mesh.listening().await.unwrap()
    }

    /// Waits until `reached` holds of the store.
    pub(crate) async fn until(&self, reached: impl Fn(&MemoryStore) -> bool) {
        let wait = async {
            while !reached(&self.store) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(timeout(PATIENCE, wait).await.is_ok(), "not reached; counters: {:?}", self.mesh.counters().snapshot());
    }

    /// Waits until `reached` holds of what the mesh shows.
    pub(crate) async fn until_shown(&self, reached: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let wait = async {
            loop {
                let shown = self.mesh.snapshot().await.unwrap();
                if reached(&shown) {
                    return shown;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let outcome = timeout(PATIENCE, wait).await;
        let Ok(shown) = outcome else {
            panic!("not shown: {:#?}; counters: {:?}", self.mesh.snapshot().await, self.mesh.counters().snapshot());
        };
        shown
    }

    pub(crate) async fn until_connected(&self, peers: usize) {
        let mut status = self.mesh.status();
        timeout(PATIENCE, status.wait_for(|status| status.peers.len() >= peers)).await.unwrap().unwrap();
    }
}

pub(crate) fn entries(store: &MemoryStore) -> u64 {
    store.held().iter().map(|(_, head)| head.next()).sum()
}

fn cast() -> (Vec<Author>, impl Fn() -> Arc<MemoryStore>) {
    let authors: Vec<Author> = (1..=3).map(Author::new).collect();
    let enrolled = enrolled(&authors);
    (authors, move || Arc::new(MemoryStore::new(enrolled.clone())))
}

pub(crate) fn say(peer: &Peer, author: &mut Author) {
    peer.store.put(author.blob(author.head().next()));
    peer.store.put(environment());
    let item = author.next();
    peer.store.take_in(&item);
    peer.mesh.publish(&item);
}

async fn what_one_says_reaches_the_other_over(transport: &str) {
    let (mut authors, store) = cast();
    let first = Peer::start(&authors[0], store(), &[transport], Vec::new()).await;
    let second = Peer::start(&authors[1], store(), &[transport], first.addresses().await).await;
    second.until_connected(1).await;
    for _ in 0..5 {
        say(&first, &mut authors[0]);
    }
    say(&second, &mut authors[1]);
    second.until(|store| entries(store) == 6 && store.wants().is_empty()).await;
    first.until(|store| entries(store) == 6 && store.wants().is_empty()).await;
}

#[tokio::test]
async fn items_and_their_files_travel_over_quic() {
    what_one_says_reaches_the_other_over(QUIC).await;
}

#[tokio::test]
async fn items_and_their_files_travel_over_tcp() {
    what_one_says_reaches_the_other_over(TCP).await;
}

#[tokio::test]
async fn a_late_joiner_gets_what_it_missed_from_a_peer_that_is_not_the_author() {
    let (mut authors, store) = cast();
    let author = Peer::start(&authors[0], store(), &[QUIC], Vec::new()).await;
    for _ in 0..40 {
        say(&author, &mut authors[0]);
    }
    let keeper = Peer::start(&authors[1], store(), &[QUIC, TCP], author.addresses().await).await;
    keeper.until(|store| entries(store) == 40 && store.wants().is_empty()).await;
    author.mesh.stop().await;
    let late = Peer::start(&authors[2], store(), &[TCP], keeper.addresses().await).await;
    late.until(|store| entries(store) == 40 && store.wants().is_empty()).await;
    assert_eq!(late.store.state().feeds, author.store.state().feeds);
}

#[tokio::test]
async fn items_pass_through_a_relay_that_is_quicker_than_the_next_round_of_heads() {
    let (mut authors, store) = cast();
    let relay = Peer::start(&authors[0], store(), &[QUIC], Vec::new()).await;
    let first = Peer::start(&authors[1], store(), &[QUIC], relay.addresses().await).await;
    let second = Peer::start(&authors[2], store(), &[QUIC], relay.addresses().await).await;
    relay.until_connected(2).await;
    second.until_connected(1).await;
    let began = tokio::time::Instant::now();
    for _ in 0..3 {
        say(&first, &mut authors[1]);
    }
    second.until(|store| entries(store) == 3).await;
    assert!(began.elapsed() < Duration::from_secs(15), "gossip or gap repair, not the periodic round");
}

#[tokio::test]
async fn a_peer_that_comes_back_at_the_same_address_is_found_again() {
    let (mut authors, store) = cast();
    let first = Peer::start(&authors[0], store(), &[TCP], Vec::new()).await;
    let address = first.addresses().await;
    let second = Peer::start(&authors[1], store(), &[TCP], address.clone()).await;
    second.until_connected(1).await;
    let kept = Arc::clone(&first.store);
    first.mesh.stop().await;
    let fixed = address[0].iter().take(2).collect::<Multiaddr>().to_string();
    let again = Peer::start(&authors[0], kept, &[&fixed], Vec::new()).await;
    say(&again, &mut authors[0]);
    second.until(|store| entries(store) == 1).await;
}

#[tokio::test]
async fn an_item_published_without_peers_is_not_lost() {
    let (mut authors, store) = cast();
    let first = Peer::start(&authors[0], store(), &[QUIC], Vec::new()).await;
    say(&first, &mut authors[0]);
    let second = Peer::start(&authors[1], store(), &[QUIC], first.addresses().await).await;
    second.until(|store| entries(store) == 1).await;
}
