//! Peers that ask for much and read nothing.

use std::io;
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite, AsyncWriteExt as _, StreamExt as _};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::{Multiaddr, StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use quorate_gossip::counters::Place;
use quorate_proto::Digest;
use quorate_proto::provenance::BLOB_BYTES_MAX;
use quorate_proto::wire::{SYNC_PROTOCOL, SyncRequest};

use crate::author::{Author, enrolled};
use crate::memory::MemoryStore;
use crate::swarms::{Peer, entries};

/// What one peer may have under way.
const SHARE: u64 = 4;

/// Asks as it should, and never reads the answer.
#[derive(Clone, Copy, Default)]
struct Deaf;

impl request_response::Codec for Deaf {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T: AsyncRead + Unpin + Send>(&mut self, _: &StreamProtocol, _: &mut T) -> io::Result<Vec<u8>> {
        std::future::pending().await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(&mut self, _: &StreamProtocol, _: &mut T) -> io::Result<Vec<u8>> {
        std::future::pending().await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(&mut self, _: &StreamProtocol, io: &mut T, frame: Vec<u8>) -> io::Result<()> {
        io.write_all(&u32::try_from(frame.len()).unwrap().to_be_bytes()).await?;
        io.write_all(&frame).await?;
        io.close().await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(&mut self, _: &StreamProtocol, _: &mut T, _: Vec<u8>) -> io::Result<()> {
        std::future::pending().await
    }
}

/// A peer that asks `count` times for the file and goes on living.
async fn deaf(to: Multiaddr, digest: Digest, count: usize) -> Swarm<request_response::Behaviour<Deaf>> {
    let config = request_response::Config::default().with_request_timeout(Duration::from_mins(1));
    let protocols = [(StreamProtocol::new(SYNC_PROTOCOL), ProtocolSupport::Full)];
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| request_response::Behaviour::<Deaf>::new(protocols, config))
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_mins(1)))
        .build();
    swarm.dial(to).unwrap();
    while swarm.connected_peers().next().is_none() {
        swarm.next().await;
    }
    let victim = *swarm.connected_peers().next().unwrap();
    for _ in 0..count {
        swarm.behaviour_mut().send_request(&victim, SyncRequest::Blob(digest).encode());
    }
    swarm
}

#[tokio::test]
async fn a_peer_that_asks_and_does_not_read_holds_no_more_than_its_share_of_answers() {
    let mut authors: Vec<Author> = (1..=2).map(Author::new).collect();
    let store = std::sync::Arc::new(MemoryStore::new(enrolled(&authors)));
    let large = vec![7; BLOB_BYTES_MAX];
    let digest = Digest::of(&large);
    store.put(large);
    let victim = Peer::start(&authors[0], store, &["/ip4/127.0.0.1/tcp/0"], Vec::new()).await;
    let counters = victim.mesh.counters().clone();
    let mut deaf = deaf(victim.addresses().await[0].clone(), digest, 8).await;
    let all = async {
        while counters.get(Place::Serve, "blob") + counters.get(Place::Serve, "busy") < 8 {
            let _ = tokio::time::timeout(Duration::from_millis(20), deaf.next()).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), all).await.expect("every request is counted");
    assert_eq!((counters.get(Place::Serve, "blob"), counters.get(Place::Serve, "busy")), (SHARE, 8 - SHARE));
    // Others are served meanwhile.
    victim.store.take_in(&authors[0].next());
    let honest = std::sync::Arc::new(MemoryStore::new(enrolled(&authors)));
    let honest = Peer::start(&authors[1], honest, &["/ip4/127.0.0.1/tcp/0"], victim.addresses().await).await;
    honest.until(|store| entries(store) == 1).await;
    drop(deaf);
    let places_back = async {
        while counters.get(Place::Serve, "failed") < 8 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), places_back).await.expect("each one has ended");
}
