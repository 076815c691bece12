//! Volunteers whom nobody can dial: reached through a relay that believes nothing of what it carries.

use std::collections::BTreeSet;
use std::sync::Arc;

use quorate_gossip::counters::Place;
use quorate_gossip::{MeshConfig, Multiaddr, Reach, Snapshot};

use crate::author::{Author, enrolled};
use crate::memory::MemoryStore;
use crate::swarms::{Peer, TCP, entries, say};

fn behind(bootstrap: Vec<Multiaddr>) -> MeshConfig {
    MeshConfig { bootstrap, reach: Reach::Behind, peers_wanted: 0, ..MeshConfig::default() }
}

#[tokio::test]
async fn a_node_that_listens_nowhere_is_reached_through_a_relay() {
    let mut authors: Vec<Author> = (1..=3).map(Author::new).collect();
    let enrolled = enrolled(&authors);
    // The relay enrols nobody: it passes no item on, so what arrives came through the circuit.
    let relay =
        MeshConfig { listen: vec![TCP.parse().unwrap()], relay: true, reach: Reach::Open, peers_wanted: 0, ..MeshConfig::default() };
    let relay = Peer::start_with(&authors[0], Arc::new(MemoryStore::new(BTreeSet::new())), relay).await;
    let hidden = behind(relay.addresses().await);
    let hidden = Peer::start_with(&authors[1], Arc::new(MemoryStore::new(enrolled.clone())), hidden).await;
    let circuit = |address: &&Multiaddr| address.to_string().contains("/p2p-circuit/");
    let shown = hidden.until_shown(|shown| shown.listening.iter().any(|address| circuit(&address))).await;
    let address = shown.listening.iter().find(circuit).unwrap().clone();
    let other = Peer::start_with(&authors[2], Arc::new(MemoryStore::new(enrolled)), behind(vec![address])).await;
    let id = hidden.mesh.peer_id();
    other.until_shown(|shown| shown.peers.iter().any(|peer| peer.peer == id && peer.connection.is_some())).await;
    say(&hidden, &mut authors[1]);
    other.until(|store| entries(store) == 1 && store.wants().is_empty()).await;
    say(&other, &mut authors[2]);
    hidden.until(|store| entries(store) == 2 && store.wants().is_empty()).await;
    assert_eq!(entries(&relay.store), 0);
}

#[tokio::test]
async fn the_signed_address_of_a_hidden_node_is_its_circuit() {
    let authors: Vec<Author> = (1..=2).map(Author::new).collect();
    let relay =
        MeshConfig { listen: vec![TCP.parse().unwrap()], relay: true, reach: Reach::Open, peers_wanted: 0, ..MeshConfig::default() };
    let relay = Peer::start_with(&authors[0], Arc::new(MemoryStore::new(BTreeSet::new())), relay).await;
    let hidden = Peer::start_with(&authors[1], Arc::new(MemoryStore::new(BTreeSet::new())), behind(relay.addresses().await)).await;
    let id = hidden.mesh.peer_id();
    let shown = relay.until_shown(|shown| shown.peers.iter().any(|peer| peer.peer == id && !peer.addresses.is_empty())).await;
    let known = shown.peers.iter().find(|peer| peer.peer == id).unwrap();
    assert!(known.addresses.iter().all(|address| address.to_string().ends_with("/p2p-circuit")), "{known:?}");
}

async fn relay(author: &Author) -> Peer {
    let listen = vec![TCP.parse().unwrap()];
    let config = MeshConfig { listen, relay: true, reach: Reach::Open, peers_wanted: 0, ..MeshConfig::default() };
    Peer::start_with(author, Arc::new(MemoryStore::new(BTreeSet::new())), config).await
}

#[tokio::test]
async fn a_node_that_others_can_dial_is_told_so_by_one_that_has_tried() {
    let authors: Vec<Author> = (1..=2).map(Author::new).collect();
    let relay = relay(&authors[0]).await;
    let config = MeshConfig {
        listen: vec![TCP.parse().unwrap()],
        bootstrap: relay.addresses().await,
        reach: Reach::Automatic,
        peers_wanted: 0,
        ..MeshConfig::default()
    };
    let node = Peer::start_with(&authors[1], Arc::new(MemoryStore::new(BTreeSet::new())), config).await;
    let shown = node.until_shown(|shown| shown.reach == Reach::Open).await;
    assert!(node.mesh.counters().get(Place::Connection, "dialled-back") > 0);
    let listens = node.addresses().await;
    assert!(shown.external.iter().any(|address| listens.iter().any(|own| own.to_string().starts_with(&address.to_string()))), "{shown:?}");
}

/// On one machine nothing is translated: what is tried here is the protocol, from the circuit to a connection without it.
#[tokio::test]
async fn two_that_meet_through_a_relay_come_to_a_connection_of_their_own_and_need_it_no_more() {
    let mut authors: Vec<Author> = (1..=3).map(Author::new).collect();
    let enrolled = enrolled(&authors);
    let relay = relay(&authors[0]).await;
    let volunteer = |bootstrap| MeshConfig { listen: vec![TCP.parse().unwrap()], ..behind(bootstrap) };
    let hidden = volunteer(relay.addresses().await);
    let hidden = Peer::start_with(&authors[1], Arc::new(MemoryStore::new(enrolled.clone())), hidden).await;
    let circuit = |address: &&Multiaddr| address.to_string().contains("/p2p-circuit/");
    let shown = hidden.until_shown(|shown| shown.listening.iter().any(|address| circuit(&address))).await;
    let address = shown.listening.iter().find(circuit).unwrap().clone();
    let other = Peer::start_with(&authors[2], Arc::new(MemoryStore::new(enrolled)), volunteer(vec![address])).await;
    let id = hidden.mesh.peer_id();
    let direct = |shown: &Snapshot| {
        shown.peers.iter().any(|peer| peer.peer == id && peer.connection.as_ref().is_some_and(|connection| !connection.relayed))
    };
    other.until_shown(direct).await;
    let punched: u64 = [&hidden, &other].map(|peer| peer.mesh.counters().get(Place::Connection, "hole-punched")).iter().sum();
    assert!(punched > 0);
    relay.mesh.stop().await;
    say(&hidden, &mut authors[1]);
    other.until(|store| entries(store) == 1).await;
}
