//! The libp2p behaviours of one peer, and the swarm that runs them over QUIC and TCP.

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use libp2p::gossipsub::{
    self, ConfigBuilder, MessageAuthenticity, MessageId, PeerScoreParams, PeerScoreThresholds, TopicScoreParams, ValidationMode,
};
use libp2p::identity::Keypair;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{StreamProtocol, Swarm, SwarmBuilder, connection_limits, identify, memory_connection_limits, noise, ping, tcp, yamux};
use quorate_proto::Digest;
use quorate_proto::wire::{FEED_ITEM_BYTES_MAX, FEED_TOPIC, SYNC_PROTOCOL};

use crate::codec::SyncCodec;
use crate::mesh::{MeshConfig, MeshError};

/// What gossipsub adds to a frame: topic and field headers.
const FRAME_OVERHEAD_BYTES: usize = 1024;

/// Time to answer a sync request. 4 MiB over a slow line fit into it.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Sync requests that one connection serves at a time. One is what an honest peer has under way.
const STREAMS_PER_CONNECTION_MAX: usize = 8;

/// A quiet connection is kept: its next heads question comes within the minute anyway.
const IDLE_TIMEOUT: Duration = Duration::from_mins(10);

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    memory: memory_connection_limits::Behaviour,
    limits: connection_limits::Behaviour,
    pub(crate) gossip: gossipsub::Behaviour,
    pub(crate) sync: request_response::Behaviour<SyncCodec>,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

/// The topic of feed items.
pub(crate) fn feed_topic() -> gossipsub::IdentTopic {
    gossipsub::IdentTopic::new(FEED_TOPIC)
}

/// A swarm that listens nowhere yet.
pub(crate) fn swarm(keypair: Keypair, config: &MeshConfig) -> Result<Swarm<Behaviour>, MeshError> {
    let refused = |reason: String| MeshError::Transport { reason };
    let behaviour = behaviour(&keypair, config)?;
    let swarm = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .map_err(|e| refused(e.to_string()))?
        .with_quic()
        .with_behaviour(|_| behaviour)
        .map_err(|e| refused(e.to_string()))?
        .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(IDLE_TIMEOUT))
        .build();
    Ok(swarm)
}

fn behaviour(keypair: &Keypair, config: &MeshConfig) -> Result<Behaviour, MeshError> {
    let limits = connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(config.connections_max))
        .with_max_established_incoming(Some(config.connections_max))
        .with_max_established_per_peer(Some(4));
    let sync_config =
        request_response::Config::default().with_request_timeout(REQUEST_TIMEOUT).with_max_concurrent_streams(STREAMS_PER_CONNECTION_MAX);
    let identify = identify::Config::new("/quorate/1".to_owned(), keypair.public())
        .with_agent_version(concat!("quorate/", env!("CARGO_PKG_VERSION")).to_owned());
    Ok(Behaviour {
        memory: memory_connection_limits::Behaviour::with_max_bytes(config.memory_bytes_max),
        limits: connection_limits::Behaviour::new(limits),
        gossip: gossip()?,
        sync: request_response::Behaviour::new([(StreamProtocol::new(SYNC_PROTOCOL), ProtocolSupport::Full)], sync_config),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::default()),
    })
}

/// Messages carry no author, signature or number of gossipsub's own: the item inside is signed by who
/// answers for it, and a relay's signature would say nothing more. The id is the SHA-256 of the
/// content, so one item is one message whoever publishes it again. Nothing is passed on before the
/// store has verified it.
fn gossip() -> Result<gossipsub::Behaviour, MeshError> {
    let refused = |reason: String| MeshError::Transport { reason };
    let config = ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|message| MessageId::from(Digest::of(&message.data).as_bytes().to_vec()))
        .max_transmit_size(FEED_ITEM_BYTES_MAX + FRAME_OVERHEAD_BYTES)
        .heartbeat_initial_delay(Duration::from_millis(100))
        .heartbeat_interval(Duration::from_millis(700))
        .duplicate_cache_time(Duration::from_mins(2))
        .build()
        .map_err(|e| refused(e.to_string()))?;
    let mut gossip = gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config).map_err(|e| refused(e.to_owned()))?;
    gossip.with_peer_score(score_parameters(), PeerScoreThresholds::default()).map_err(refused)?;
    gossip.subscribe(&feed_topic()).map_err(|e| refused(e.to_string()))?;
    Ok(gossip)
}

/// Invalid messages cost; silence does not, because an honest node may have nothing to say for hours.
fn score_parameters() -> PeerScoreParams {
    let topic = TopicScoreParams {
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -20.0,
        ..TopicScoreParams::default()
    };
    PeerScoreParams {
        topics: [(feed_topic().hash(), topic)].into(),
        ip_colocation_factor_whitelist: HashSet::from([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
        ..PeerScoreParams::default()
    }
}
