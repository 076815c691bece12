//! The libp2p behaviours of one peer, and the swarm that runs them over QUIC and TCP.

use std::time::Duration;

use libp2p::gossipsub::{
    self, ConfigBuilder, MessageAuthenticity, PeerScoreParams, PeerScoreThresholds, TopicScoreParams, ValidationMode,
    WhitelistSubscriptionFilter,
};
use libp2p::identity::Keypair;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder, allow_block_list, autonat, connection_limits, dcutr, identify, kad, memory_connection_limits,
    noise, ping, relay, tcp, yamux,
};
use quorate_proto::wire::{FEED_ITEM_BYTES_MAX, SYNC_PROTOCOL};

use crate::codec::SyncCodec;
use crate::counters::Counters;
use crate::gate::Gate;
use crate::mesh::{MeshConfig, MeshError, Reach};
use crate::topics::{OurTopics, feed_topic, message_id, notice_topic, subscriptions};

/// What gossipsub adds to a frame: topic and field headers.
const FRAME_OVERHEAD_BYTES: usize = 1024;

/// Time to answer a sync request. 4 MiB over a slow line fit into it.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Sync requests that one connection serves at a time. One is what an honest peer has under way.
const STREAMS_PER_CONNECTION_MAX: usize = 8;

/// A quiet connection is kept: its next heads question comes within the minute anyway.
const IDLE_TIMEOUT: Duration = Duration::from_mins(10);

/// Handshakes of strangers at a time: the dearest thing that anybody may ask for. Who is refused dials again.
const HANDSHAKES_MAX: u32 = 32;

/// Time to connect, with the handshake. Less than the 10 s after which `AutoNAT` takes a try for unanswered and makes it
/// again for ever: where a router drops what nobody asked for, running out of time *is* the answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(8);

/// The protocol of the routing table.
const KAD_PROTOCOL: StreamProtocol = StreamProtocol::new("/quorate/kad/1");

/// Connections that lookups in the routing table may open beyond the peers that are wanted.
const LOOKUP_CONNECTIONS_MAX: usize = 8;

/// What a relay carries between two peers that cannot reach each other. They sync feeds over it where no direct
/// connection comes about, so it is more than a handshake.
const CIRCUIT_BYTES_MAX: u64 = 64 << 20;
const CIRCUIT_TIME_MAX: Duration = Duration::from_mins(30);
const CIRCUITS_MAX: usize = 64;

type Gossip = gossipsub::Behaviour<OurTopics, WhitelistSubscriptionFilter>;

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    memory: memory_connection_limits::Behaviour,
    limits: connection_limits::Behaviour,
    pub(crate) gate: Gate,
    pub(crate) banned: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub(crate) gossip: Gossip,
    pub(crate) sync: request_response::Behaviour<SyncCodec>,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(crate) kad: kad::Behaviour<kad::store::MemoryStore>,
    relay_client: relay::client::Behaviour,
    relay: Toggle<relay::Behaviour>,
    dcutr: dcutr::Behaviour,
    /// Only where the configuration does not say whether we can be dialled: it remembers every address that any peer
    /// thinks we have.
    autonat_client: Toggle<autonat::v2::client::Behaviour>,
    autonat_server: Toggle<autonat::v2::server::Behaviour>,
}

/// A swarm that listens nowhere yet.
pub(crate) fn swarm(keypair: Keypair, config: &MeshConfig, counters: &Counters) -> Result<Swarm<Behaviour>, MeshError> {
    let refused = |reason: String| MeshError::Transport { reason };
    let swarm = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .map_err(|e| refused(e.to_string()))?
        .with_quic()
        .with_relay_client(noise::Config::new, yamux::Config::default)
        .map_err(|e| refused(e.to_string()))?
        .with_behaviour(|keypair, circuits| behaviour(keypair, circuits, config, counters).map_err(Box::from))
        .map_err(|e| refused(e.to_string()))?
        .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(IDLE_TIMEOUT))
        .with_connection_timeout(CONNECTION_TIMEOUT)
        .build();
    Ok(swarm)
}

fn behaviour(
    keypair: &Keypair,
    relay_client: relay::client::Behaviour,
    config: &MeshConfig,
    counters: &Counters,
) -> Result<Behaviour, MeshError> {
    let own = keypair.public().to_peer_id();
    let sync_config =
        request_response::Config::default().with_request_timeout(REQUEST_TIMEOUT).with_max_concurrent_streams(STREAMS_PER_CONNECTION_MAX);
    let sync_protocol = [(StreamProtocol::new(SYNC_PROTOCOL), ProtocolSupport::Full)];
    let identify = identify::Config::new("/quorate/1".to_owned(), keypair.public())
        .with_agent_version(concat!("quorate/", env!("CARGO_PKG_VERSION")).to_owned())
        .with_push_listen_addr_updates(true);
    Ok(Behaviour {
        memory: memory_connection_limits::Behaviour::with_max_bytes(config.memory_bytes_max),
        limits: limits(config),
        gate: Gate::new(config.limited),
        banned: allow_block_list::Behaviour::default(),
        gossip: gossip()?,
        sync: request_response::Behaviour::with_codec(SyncCodec::new(counters.clone()), sync_protocol, sync_config),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::default()),
        kad: routing(own, config),
        relay_client,
        relay: config.relay.then(|| relay::Behaviour::new(own, relay_config())).into(),
        dcutr: dcutr::Behaviour::new(own),
        autonat_client: (config.reach == Reach::Automatic).then(autonat::v2::client::Behaviour::default).into(),
        autonat_server: config.relay.then(autonat::v2::server::Behaviour::default).into(),
    })
}

fn limits(config: &MeshConfig) -> connection_limits::Behaviour {
    let outgoing = config.peers_wanted + config.bootstrap.len() + LOOKUP_CONNECTIONS_MAX;
    let limits = connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(config.connections_max.min(HANDSHAKES_MAX)))
        .with_max_established_incoming(Some(config.connections_max))
        .with_max_established_outgoing(Some(u32::try_from(outgoing).unwrap_or(u32::MAX)))
        .with_max_established_per_peer(Some(4));
    connection_limits::Behaviour::new(limits)
}

fn relay_config() -> relay::Config {
    relay::Config {
        max_circuits: CIRCUITS_MAX,
        max_circuit_duration: CIRCUIT_TIME_MAX,
        max_circuit_bytes: CIRCUIT_BYTES_MAX,
        ..relay::Config::default()
    }
}

/// The routing table finds peers that nobody whom we know has told of. It keeps no records for others.
fn routing(own: libp2p::PeerId, config: &MeshConfig) -> kad::Behaviour<kad::store::MemoryStore> {
    let mut kad_config = kad::Config::new(KAD_PROTOCOL);
    kad_config.set_record_filtering(kad::StoreInserts::FilterBoth);
    let mut kad = kad::Behaviour::with_config(own, kad::store::MemoryStore::new(own), kad_config);
    let serves = !config.listen.is_empty() && config.reach != Reach::Behind;
    kad.set_mode(Some(if serves { kad::Mode::Server } else { kad::Mode::Client }));
    kad
}

/// Messages carry no author, signature or number of gossipsub's own: the item inside is signed by who
/// answers for it, and a relay's signature would say nothing more. The id is made of topic and
/// content, so one item is one message whoever publishes it again. Nothing is passed on before the
/// store has verified it.
fn gossip() -> Result<Gossip, MeshError> {
    let refused = |reason: String| MeshError::Transport { reason };
    let config = ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(message_id)
        .max_transmit_size(FEED_ITEM_BYTES_MAX + FRAME_OVERHEAD_BYTES)
        .heartbeat_initial_delay(Duration::from_millis(100))
        .heartbeat_interval(Duration::from_millis(700))
        .duplicate_cache_time(Duration::from_mins(2))
        .build()
        .map_err(|e| refused(e.to_string()))?;
    let anonymous = MessageAuthenticity::Anonymous;
    let gossip = Gossip::new_with_subscription_filter_and_transform(anonymous, config, subscriptions(), OurTopics);
    let mut gossip = gossip.map_err(|e| refused(e.to_owned()))?;
    gossip.with_peer_score(score_parameters(), PeerScoreThresholds::default()).map_err(refused)?;
    gossip.subscribe(&feed_topic()).map_err(|e| refused(e.to_string()))?;
    gossip.subscribe(&notice_topic()).map_err(|e| refused(e.to_string()))?;
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
        topics: [(feed_topic().hash(), topic.clone()), (notice_topic().hash(), topic)].into(),
        // The application's part is the peer's penalty: what it did wrong over sync counts here too.
        app_specific_weight: 1.0,
        // Many behind one address are no offence: volunteers behind one relay all have the relay's, and a stranger with a few
        // identities must not cost its neighbours theirs. What an address may do is the gate's.
        ip_colocation_factor_weight: 0.0,
        ..PeerScoreParams::default()
    }
}
