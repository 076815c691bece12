//! What strangers may send: each kind has a name, is counted, and changes nothing.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use libp2p::gossipsub::{self, ConfigBuilder, IdentTopic, MessageAuthenticity, ValidationMode};
use libp2p::{Multiaddr, Swarm, SwarmBuilder, noise, tcp, yamux};
use quorate_gossip::counters::Place;
use quorate_proto::dsse::Envelope;
use quorate_proto::feed::FeedPosition;
use quorate_proto::verified::FeedItem;
use quorate_proto::wire::{FEED_TOPIC, NOTICE_TOPIC};
use quorate_proto::{Digest, SecretKey};

use crate::author::{Author, SIGNED_AT, certificate, enrolled, statement};
use crate::memory::MemoryStore;
use crate::swarms::Peer;

const DAY: i64 = 24 * 60 * 60;

/// Every kind of bad frame with the name that it is counted under.
fn bad_frames(author: &mut Author) -> Vec<(&'static str, Vec<u8>)> {
    let fork = author.fork();
    let first = author.next();
    let second = author.next();
    let mut signature = second.clone();
    let at = signature.envelope.windows(6).position(|window| window == b"\"sig\":").unwrap() + 10;
    signature.envelope[at] = if signature.envelope[at] == b'A' { b'B' } else { b'A' };
    let mut flipped = second.encode();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x40;
    vec![
        ("malformed-frame", first.encode()[..100].to_vec()),
        ("malformed-envelope", flipped),
        ("bad-signature", signature.encode()),
        ("unknown-operator", Author::new(99).next().encode()),
        ("expired-certificate", expired().encode()),
        ("foreign-feed", foreign().encode()),
        ("future", author.fork().next_at(SIGNED_AT + 3600).encode()),
        ("bad-certificate", long_certificate().encode()),
        ("fork", forked(fork).encode()),
        ("contradiction", nameless(author).encode()),
    ]
}

fn expired() -> FeedItem {
    let (root, key) = (SecretKey::from_seed(&[2; 32]), SecretKey::from_seed(&[2 | 0x80; 32]));
    let position = FeedPosition { node: key.node_id(), sequence: 0, previous: None };
    let envelope = Envelope::sign(statement(root.operator_id(), position, Some(Digest::of(b"p")), SIGNED_AT), &key);
    let certificate = certificate(&root, key.node_id(), SIGNED_AT - 10 * DAY, SIGNED_AT - DAY);
    FeedItem { certificate, envelope: envelope.bytes().to_vec() }
}

fn long_certificate() -> FeedItem {
    let (root, key) = (SecretKey::from_seed(&[2; 32]), SecretKey::from_seed(&[2 | 0x80; 32]));
    let certificate = certificate(&root, key.node_id(), SIGNED_AT - 10 * DAY, SIGNED_AT + 100 * DAY);
    FeedItem { certificate, ..Author::new(2).next() }
}

/// Signed by the second author, at a place in the first one's feed.
fn foreign() -> FeedItem {
    let victim = Author::new(1);
    let mut liar = Author::new(2);
    let key = SecretKey::from_seed(&liar.key().seed());
    let position = FeedPosition { node: victim.node(), sequence: 0, previous: None };
    let envelope = Envelope::sign(statement(liar.operator(), position, Some(Digest::of(b"p")), SIGNED_AT), &key);
    FeedItem { envelope: envelope.bytes().to_vec(), ..liar.next() }
}

/// Follows an entry that nobody has seen.
fn forked(mut twin: Author) -> FeedItem {
    twin.fork().next();
    let mut other = twin.fork();
    other.next();
    twin.next();
    other.next()
}

/// A statement whose subject is no file name.
fn nameless(author: &Author) -> FeedItem {
    let position = author.head().position(author.node());
    let text = String::from_utf8(statement(author.operator(), position, Some(Digest::of(b"p")), SIGNED_AT))
        .unwrap()
        .replace("sample.whl", "../escape");
    let envelope = Envelope::sign(text.into_bytes(), author.key());
    FeedItem { envelope: envelope.bytes().to_vec(), ..author.fork().next() }
}

/// A gossipsub peer that has not our manners: no size limit, no checks.
pub(crate) async fn stranger(to: Multiaddr) -> Swarm<gossipsub::Behaviour> {
    let config = ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .max_transmit_size(1 << 20)
        .heartbeat_initial_delay(Duration::from_millis(50))
        .message_id_fn(|message| {
            let named = [message.topic.as_str().as_bytes(), b"\0", &message.data].concat();
            gossipsub::MessageId::from(Digest::of(&named).as_bytes().to_vec())
        })
        .build()
        .unwrap();
    let mut gossip = gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config).unwrap();
    gossip.subscribe(&IdentTopic::new(FEED_TOPIC)).unwrap();
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| gossip)
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_mins(1)))
        .build();
    swarm.dial(to).unwrap();
    while swarm.behaviour().all_peers().all(|(_, topics)| topics.is_empty()) {
        swarm.next().await;
    }
    swarm
}

pub(crate) async fn send(swarm: &mut Swarm<gossipsub::Behaviour>, frame: Vec<u8>, until: impl Fn() -> bool) {
    send_on(FEED_TOPIC, swarm, frame, until).await;
}

async fn send_on(topic: &str, swarm: &mut Swarm<gossipsub::Behaviour>, frame: Vec<u8>, until: impl Fn() -> bool) {
    swarm.behaviour_mut().publish(IdentTopic::new(topic), frame).unwrap();
    let wait = async {
        while !until() {
            let _ = tokio::time::timeout(Duration::from_millis(20), swarm.next()).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("counted in time");
}

#[tokio::test]
async fn every_kind_of_bad_frame_is_named_and_counted_and_changes_nothing() {
    let mut authors: Vec<Author> = (1..=2).map(Author::new).collect();
    let store = Arc::new(MemoryStore::new(enrolled(&authors)));
    let victim = Peer::start(&Author::new(3), Arc::clone(&store), &["/ip4/127.0.0.1/tcp/0"], Vec::new()).await;
    store.take_in(&authors[0].fork().next());
    store.take_in(&authors[1].fork().next());
    let before = store.state();
    for (name, frame) in bad_frames(&mut authors[0]) {
        // A stranger each, because one that goes on like this is soon not listened to.
        let mut stranger = stranger(victim.addresses().await[0].clone()).await;
        let counters = victim.mesh.counters().clone();
        send(&mut stranger, frame, || counters.get(Place::Gossip, name) == 1).await;
        assert_eq!(store.state(), before, "{name}");
    }
}

#[tokio::test]
async fn what_a_liar_says_on_the_other_topic_suppresses_nothing_and_costs_honest_senders_nothing() {
    let mut author = Author::new(1);
    let store = Arc::new(MemoryStore::new([author.operator()].into()));
    let victim = Peer::start(&Author::new(3), Arc::clone(&store), &["/ip4/127.0.0.1/tcp/0"], Vec::new()).await;
    let mut liar = stranger(victim.addresses().await[0].clone()).await;
    let mut honest = stranger(victim.addresses().await[0].clone()).await;
    let counters = victim.mesh.counters().clone();
    let heard = || ["unknown-log", "bad-notice", "malformed-frame"].iter().map(|name| counters.get(Place::Notice, name)).sum::<u64>();
    for n in 1..=3 {
        let frame = author.next().encode();
        send_on(NOTICE_TOPIC, &mut liar, frame.clone(), || heard() == n).await;
        send(&mut honest, frame, || counters.get(Place::Gossip, "new") == n).await;
    }
    assert_eq!(crate::swarms::entries(&store), 3);
}

#[tokio::test]
async fn a_gap_is_counted_and_nothing_is_stored_before_what_is_missing() {
    let mut author = Author::new(1);
    let store = Arc::new(MemoryStore::new([author.operator()].into()));
    let victim = Peer::start(&Author::new(3), Arc::clone(&store), &["/ip4/127.0.0.1/tcp/0"], Vec::new()).await;
    let (first, third) = (author.next(), (author.next(), author.next()).1);
    let mut stranger = stranger(victim.addresses().await[0].clone()).await;
    let counters = victim.mesh.counters().clone();
    send(&mut stranger, third.encode(), || counters.get(Place::Gossip, "gap") == 1).await;
    assert!(store.state().feeds.values().all(|feed| feed.items.is_empty()));
    send(&mut stranger, first.encode(), || counters.get(Place::Gossip, "new") == 1).await;
    assert_eq!(crate::swarms::entries(&store), 1);
}

#[tokio::test]
async fn a_second_envelope_with_one_sequence_number_is_kept_as_proof_and_the_feed_stays() {
    let mut author = Author::new(1);
    let mut twin = author.fork();
    let store = Arc::new(MemoryStore::new([author.operator()].into()));
    let victim = Peer::start(&Author::new(3), Arc::clone(&store), &["/ip4/127.0.0.1/tcp/0"], Vec::new()).await;
    let mut stranger = stranger(victim.addresses().await[0].clone()).await;
    let counters = victim.mesh.counters().clone();
    let honest = author.next();
    send(&mut stranger, honest.encode(), || counters.get(Place::Gossip, "new") == 1).await;
    send(&mut stranger, twin.next().encode(), || counters.get(Place::Gossip, "equivocation") == 1).await;
    let state = store.state();
    assert_eq!(state.feeds[&author.node()].items[0].1, honest);
    assert_eq!(state.proofs[&author.node()].sequence(), 0);
}

#[tokio::test]
async fn an_oversized_frame_never_reaches_the_store() {
    let author = Author::new(1);
    let store = Arc::new(MemoryStore::new([author.operator()].into()));
    let victim = Peer::start(&Author::new(3), Arc::clone(&store), &["/ip4/127.0.0.1/tcp/0"], Vec::new()).await;
    let mut stranger = stranger(victim.addresses().await[0].clone()).await;
    let counters = victim.mesh.counters().clone();
    // Between what an item may have and what the transport takes: read, measured, refused.
    send(&mut stranger, vec![0; 64 * 1024 + 100], || counters.get(Place::Gossip, "oversized") == 1).await;
    // Beyond that the stream itself breaks; the victim lives on.
    stranger.behaviour_mut().publish(IdentTopic::new(FEED_TOPIC), vec![0; 300 * 1024]).unwrap();
    let _ = tokio::time::timeout(Duration::from_millis(300), async {
        loop {
            stranger.next().await;
        }
    })
    .await;
    let mut another = self::stranger(victim.addresses().await[0].clone()).await;
    let item = Author::new(1).next();
    send(&mut another, item.encode(), || counters.get(Place::Gossip, "new") == 1).await;
}

#[tokio::test]
async fn frames_beyond_a_peers_rate_are_ignored_before_any_signature_is_checked() {
    let author = Author::new(1);
    let store = Arc::new(MemoryStore::new([author.operator()].into()));
    let victim = Peer::start(&Author::new(3), Arc::clone(&store), &["/ip4/127.0.0.1/tcp/0"], Vec::new()).await;
    let mut stranger = stranger(victim.addresses().await[0].clone()).await;
    let counters = victim.mesh.counters().clone();
    let flood = FeedItem { certificate: b"x".to_vec(), envelope: Vec::new() };
    for n in 0..2000_u32 {
        let item = FeedItem { envelope: n.to_be_bytes().to_vec(), ..flood.clone() };
        let _ = stranger.behaviour_mut().publish(IdentTopic::new(FEED_TOPIC), item.encode());
    }
    let wait = async {
        while counters.get(Place::Gossip, "rate-limited") + counters.get(Place::Gossip, "busy") == 0 {
            let _ = tokio::time::timeout(Duration::from_millis(20), stranger.next()).await;
        }
    };
    // A peer that sends only invalid frames may be shut out by its score before it meets the rate.
    let _ = tokio::time::timeout(Duration::from_secs(5), wait).await;
    assert!(counters.get(Place::Gossip, "bad-certificate") <= 1200);
    assert!(store.state().feeds.is_empty());
}
