//! Who finds whom: one bootstrap address, signed addresses passed on, a book that outlives the process, bans.

use std::sync::Arc;

use libp2p::{Swarm, gossipsub};
use quorate_gossip::counters::Place;
use quorate_gossip::{Counters, LimitedAddresses, MeshConfig};

use crate::author::{Author, enrolled};
use crate::bad_input::{send, stranger};
use crate::memory::MemoryStore;
use crate::swarms::{Peer, QUIC, TCP, entries, say};

const PEERS: u8 = 14;
const WANTED: usize = 4;

fn config(bootstrap: &[quorate_gossip::Multiaddr], seed: u8) -> MeshConfig {
    MeshConfig {
        listen: vec![QUIC.parse().unwrap()],
        bootstrap: bootstrap.to_vec(),
        peers_wanted: WANTED,
        seed: u64::from(seed),
        ..MeshConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_bootstrap_address_everybody_finds_everybody_and_stays_within_bounds() {
    let mut authors: Vec<Author> = (1..=PEERS).map(Author::new).collect();
    let enrolled = enrolled(&authors);
    let mut peers: Vec<Peer> = Vec::new();
    for author in &authors {
        let bootstrap = match peers.first() {
            Some(hub) => hub.addresses().await,
            None => Vec::new(),
        };
        let number = u8::try_from(peers.len()).unwrap();
        peers.push(Peer::start_with(author, Arc::new(MemoryStore::new(enrolled.clone())), config(&bootstrap, number)).await);
    }
    for peer in &peers {
        let shown =
            peer.until_shown(|shown| shown.peers.iter().filter(|peer| !peer.addresses.is_empty()).count() == usize::from(PEERS) - 1).await;
        let outgoing = shown.peers.iter().filter_map(|peer| peer.connection.as_ref()).filter(|connection| connection.outgoing).count();
        // The bootstrap address, the peers that are wanted, and what the routing table may look up.
        assert!(outgoing <= 1 + WANTED + 8, "{outgoing} connections were opened");
    }
    // Nobody needs the first one any more.
    let hub = peers.remove(0);
    hub.mesh.stop().await;
    for peer in &peers {
        peer.until_shown(|shown| shown.peers.iter().any(|peer| peer.connection.is_some())).await;
    }
    say(&peers[0], &mut authors[1]);
    for peer in &peers {
        peer.until(|store| entries(store) == 1).await;
    }
}

#[tokio::test]
async fn who_comes_back_finds_its_peers_without_any_bootstrap_address() {
    let mut authors: Vec<Author> = (1..=3).map(Author::new).collect();
    let enrolled = enrolled(&authors);
    let store = || Arc::new(MemoryStore::new(enrolled.clone()));
    let hub = Peer::start_with(&authors[0], store(), config(&[], 1)).await;
    let friend = Peer::start_with(&authors[1], store(), config(&hub.addresses().await, 2)).await;
    let node = Peer::start_with(&authors[2], store(), config(&hub.addresses().await, 3)).await;
    node.until_shown(|shown| shown.peers.len() == 2 && shown.peers.iter().all(|peer| peer.reached_at.is_some())).await;
    let kept = Arc::clone(&node.store);
    node.mesh.stop().await;
    hub.mesh.stop().await;
    let again = Peer::start_with(&authors[2], kept, config(&[], 3)).await;
    again.until_connected(1).await;
    say(&friend, &mut authors[1]);
    again.until(|store| entries(store) == 1).await;
}

/// Sends what nobody passes on until it is banned for it: by the second frame, or the third where points fade meanwhile.
async fn misbehave(liar: &mut Swarm<gossipsub::Behaviour>, counters: &Counters, mut frame: impl FnMut(u8) -> Vec<u8>) {
    let bans = || counters.get(Place::Connection, "banned");
    let heard = || counters.snapshot().iter().filter(|((place, _), _)| *place == Place::Gossip).map(|(_, n)| n).sum::<u64>();
    let before = bans();
    for count in 1..=3 {
        let earlier = heard();
        send(liar, frame(count), || heard() > earlier).await;
        if bans() > before {
            return;
        }
    }
    panic!("three bad frames and no ban: {:?}", counters.snapshot());
}

#[tokio::test]
async fn a_peer_that_goes_on_sending_what_nobody_passes_on_is_banned_and_stays_out_over_a_restart() {
    let mut author = Author::new(1);
    let store = Arc::new(MemoryStore::new([author.operator()].into()));
    let victim = Peer::start(&Author::new(3), Arc::clone(&store), &[TCP], Vec::new()).await;
    let counters = victim.mesh.counters().clone();
    let mut liar = stranger(victim.addresses().await[0].clone()).await;
    let id = *liar.local_peer_id();
    let damaged = |count| {
        let mut item = author.next();
        let middle = item.envelope.len() / 2;
        item.envelope[middle] ^= count;
        item.encode()
    };
    misbehave(&mut liar, &counters, damaged).await;
    let shown =
        victim.until_shown(|shown| shown.peers.iter().any(|peer| peer.peer == id && peer.banned && peer.connection.is_none())).await;
    assert!(shown.peers.iter().all(|peer| peer.points >= 100));
    victim.mesh.stop().await;
    let again = Peer::start(&Author::new(3), store, &[TCP], Vec::new()).await;
    again.until_shown(|shown| shown.peers.iter().any(|peer| peer.peer == id && peer.banned)).await;
}

#[tokio::test]
async fn who_comes_back_under_one_new_name_after_the_other_is_shut_out_by_its_address() {
    let author = Author::new(1);
    let listen = vec![TCP.parse().unwrap()];
    let config = MeshConfig { listen, limited: LimitedAddresses::All, ..MeshConfig::default() };
    let victim = Peer::start_with(&author, Arc::new(MemoryStore::new([author.operator()].into())), config).await;
    let counters = victim.mesh.counters().clone();
    let address = victim.addresses().await[0].clone();
    for name in 0..3_u8 {
        let mut liar = stranger(address.clone()).await;
        misbehave(&mut liar, &counters, |count| vec![0xff, name, count]).await;
    }
    assert_eq!(counters.get(Place::Connection, "address-shut"), 1);
    let again = MeshConfig { bootstrap: vec![address], peers_wanted: 0, ..MeshConfig::default() };
    let again = Peer::start_with(&Author::new(2), Arc::new(MemoryStore::new([].into())), again).await;
    let refused = async {
        while counters.get(Place::Connection, "address-refused") == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), refused).await.unwrap();
    assert_eq!(again.mesh.counters().get(Place::Connection, "established"), 0);
}
