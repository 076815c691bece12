//! The routing table: peers find each other over somebody who neither tells addresses nor passes anything on.

use std::sync::Arc;

use futures::StreamExt as _;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, StreamProtocol, SwarmBuilder, identify, kad, noise, tcp, yamux};
use quorate_gossip::MeshConfig;
use tokio::sync::watch;

use crate::author::{Author, enrolled};
use crate::memory::MemoryStore;
use crate::swarms::{Peer, TCP, entries, say};

/// Speaks Kademlia and says who it is, and nothing else: no sync, no gossip, no records.
#[derive(NetworkBehaviour)]
struct Signpost {
    kad: kad::Behaviour<kad::store::MemoryStore>,
    identify: identify::Behaviour,
}

/// Its address, and how many peers it knows the way to.
async fn signpost() -> (Multiaddr, watch::Receiver<usize>) {
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key| {
            let own = key.public().to_peer_id();
            let config = kad::Config::new(StreamProtocol::new("/quorate/kad/1"));
            let mut kad = kad::Behaviour::with_config(own, kad::store::MemoryStore::new(own), config);
            kad.set_mode(Some(kad::Mode::Server));
            Signpost { kad, identify: identify::Behaviour::new(identify::Config::new("/quorate/1".to_owned(), key.public())) }
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(std::time::Duration::from_mins(1)))
        .build();
    swarm.listen_on(TCP.parse().unwrap()).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address.with_p2p(*swarm.local_peer_id()).unwrap();
        }
    };
    let (known, watched) = watch::channel(0);
    tokio::spawn(async move {
        loop {
            let event = swarm.select_next_some().await;
            if let SwarmEvent::Behaviour(SignpostEvent::Identify(identify::Event::Received { peer_id, info, .. })) = event {
                for address in info.listen_addrs {
                    swarm.behaviour_mut().kad.add_address(&peer_id, address);
                }
                known.send_modify(|known| *known += 1);
            }
        }
    });
    (address, watched)
}

#[tokio::test]
async fn a_peer_two_hops_away_is_found_over_one_that_knows_the_way_and_tells_nothing() {
    let mut authors: Vec<Author> = (1..=2).map(Author::new).collect();
    let enrolled = enrolled(&authors);
    let (address, mut known) = signpost().await;
    let config = || MeshConfig { listen: vec![TCP.parse().unwrap()], bootstrap: vec![address.clone()], ..MeshConfig::default() };
    let first = Peer::start_with(&authors[0], Arc::new(MemoryStore::new(enrolled.clone())), config()).await;
    known.wait_for(|known| *known > 0).await.unwrap();
    let second = Peer::start_with(&authors[1], Arc::new(MemoryStore::new(enrolled)), config()).await;
    let id = first.mesh.peer_id();
    second.until_shown(|shown| shown.peers.iter().any(|peer| peer.peer == id && peer.connection.is_some())).await;
    say(&first, &mut authors[0]);
    second.until(|store| entries(store) == 1).await;
}
