//! Proofs that travel: whoever has two histories is known to everybody, not only to who met both.

use std::sync::Arc;

use quorate_proto::verified::FeedItem;

use crate::author::{Author, enrolled};
use crate::memory::MemoryStore;
use crate::swarms::{Peer, QUIC, entries};

#[tokio::test]
async fn a_proof_of_two_histories_reaches_those_who_saw_one_of_them_or_none_and_who_come_later() {
    let mut authors: Vec<Author> = (1..=4).map(Author::new).collect();
    let enrolled = enrolled(&authors);
    let store = || Arc::new(MemoryStore::new(enrolled.clone()));
    let first = Peer::start(&authors[0], store(), &[QUIC], Vec::new()).await;
    let middle = Peer::start(&authors[1], store(), &[QUIC], first.addresses().await).await;
    let last = Peer::start(&authors[2], store(), &[QUIC], middle.addresses().await).await;
    let mut equivocator = authors.remove(3);
    let mut twin = equivocator.fork();
    let (one, other) = (equivocator.next(), twin.next());
    first.store.take_in(&one);
    first.mesh.publish(&one);
    last.until(|store| entries(store) == 1).await;
    // Only the first one ever meets the other history.
    first.store.take_in(&other);
    first.mesh.nudge();
    for peer in [&middle, &last] {
        peer.until(|store| store.state().proofs.contains_key(&equivocator.node())).await;
    }
    first.mesh.stop().await;
    let late = Peer::start(&authors[0], store(), &[QUIC], last.addresses().await).await;
    late.until(|store| store.state().proofs.contains_key(&equivocator.node())).await;
}

#[tokio::test]
async fn a_second_history_of_the_same_length_is_proven_when_its_hearers_meet_though_nothing_follows() {
    let mut authors: Vec<Author> = (1..=3).map(Author::new).collect();
    let enrolled = enrolled(&authors);
    let store = || Arc::new(MemoryStore::new(enrolled.clone()));
    let mut equivocator = authors.remove(2);
    let common = equivocator.next();
    let mut twin = equivocator.fork();
    let tell = |store: Arc<MemoryStore>, said: [FeedItem; 2]| {
        for item in std::iter::once(&common).chain(&said) {
            store.take_in(item);
        }
        store
    };
    let one = tell(store(), [equivocator.next(), equivocator.next()]);
    let other = tell(store(), [twin.next(), twin.next()]);
    let first = Peer::start(&authors[0], one, &[QUIC], Vec::new()).await;
    let second = Peer::start(&authors[1], other, &[QUIC], first.addresses().await).await;
    for peer in [&first, &second] {
        peer.until(|store| store.state().proofs.contains_key(&equivocator.node())).await;
        assert_eq!(entries(&peer.store), 3, "neither takes the other history over");
    }
}
