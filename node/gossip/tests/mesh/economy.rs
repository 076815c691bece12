//! What sync costs, in bytes: counted on the wire by a proxy between two real swarms, and in its own frames.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quorate_gossip::MeshConfig;

use crate::author::{Author, enrolled, environment};
use crate::memory::MemoryStore;
use crate::proxy::counted;
use crate::swarms::{Peer, TCP, entries};

const RESULTS: usize = 1500;

#[tokio::test]
async fn a_late_joiner_transfers_at_most_a_tenth_more_than_the_results_that_it_fetches() {
    let mut authors: Vec<Author> = (1..=4).map(Author::new).collect();
    let store = || Arc::new(MemoryStore::new(enrolled(&authors)));
    let (keeper, joiner) = (store(), store());
    let mut size = 0;
    for n in 0..RESULTS {
        let item = authors[n % 3].next_plain();
        size += item.envelope.len();
        keeper.take_in(&item);
    }
    keeper.put(environment());
    joiner.put(environment());
    let keeper = Peer::start(&authors[0], keeper, &[TCP], Vec::new()).await;
    let (address, bytes) = counted(&keeper.addresses().await[0]).await;
    let config = MeshConfig { bootstrap: vec![address], peers_wanted: 0, ..MeshConfig::default() };
    let joiner = Peer::start_with(&authors[3], joiner, config).await;
    joiner.until(|store| entries(store) == RESULTS as u64).await;
    let transferred = bytes.load(Ordering::Relaxed);
    let limit = size as u64 * 11 / 10;
    assert!(transferred <= limit, "{transferred} bytes for {RESULTS} results of {size}: limit {limit}");
}

#[tokio::test]
async fn equal_state_of_a_hundred_nodes_is_reconciled_with_less_than_two_kilobytes() {
    let mut authors: Vec<Author> = (1..=100).map(Author::new).collect();
    let items: Vec<_> = authors.iter_mut().map(Author::next_plain).collect();
    let store = || {
        let store = MemoryStore::new(enrolled(&authors));
        for item in &items {
            store.take_in(item);
        }
        store.put(environment());
        Arc::new(store)
    };
    let first = Peer::start(&authors[0], store(), &[TCP], Vec::new()).await;
    let config = MeshConfig { bootstrap: first.addresses().await, peers_wanted: 0, ..MeshConfig::default() };
    let second = Peer::start_with(&authors[1], store(), config).await;
    for peer in [&first, &second] {
        let mut status = peer.mesh.status();
        status.wait_for(|status| status.heads_heard > 0).await.unwrap();
    }
    // Both have asked the other, and everything that else is asked on meeting is in it.
    let (received, sent) = first.mesh.counters().sync_bytes();
    assert!(received + sent < 2048, "{received} bytes in, {sent} out");
    assert_eq!(entries(&first.store), 100);
}
