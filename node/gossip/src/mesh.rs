//! The handle: what the rest of a program sees of the mesh.

use std::sync::Arc;
use std::time::Duration;

use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId};
use quorate_proto::verified::FeedItem;
use quorate_proto::{NodeId, SecretKey};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::actor::{Actor, Command, Start};
use crate::behaviour;
use crate::counters::{Counters, Place};
use crate::snapshot::Snapshot;
use crate::store::FeedStore;

/// Own items that wait for the swarm. When it is full, an item is not gossiped: sync brings it.
const COMMANDS_MAX: usize = 1024;

/// How long [`Mesh::listening`] waits for the operating system.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);

/// What a mesh is started with.
#[derive(Clone, Debug)]
pub struct MeshConfig {
    /// Addresses to listen on; port 0 lets the system choose.
    pub listen: Vec<Multiaddr>,
    /// Addresses that are dialled, and dialled again for ever.
    pub bootstrap: Vec<Multiaddr>,
    /// Up to how many connections peers that were heard of are dialled, beyond the bootstrap addresses.
    pub peers_wanted: usize,
    /// Addresses under which others reach this peer and which it cannot know itself, such as a forwarded port.
    pub external: Vec<Multiaddr>,
    /// Whether this peer can be dialled.
    pub reach: Reach,
    /// Whether it carries connections between peers that cannot reach each other, and tells peers whether they can
    /// be dialled. For peers with a public address.
    pub relay: bool,
    /// Incoming connections at a time.
    pub connections_max: u32,
    /// Whose incoming connections are limited by where they come from.
    pub limited: LimitedAddresses,
    /// Above this resident size of the process, no new connection is made or taken.
    pub memory_bytes_max: usize,
    /// Spreads timers, so that many peers do not ask at once.
    pub seed: u64,
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            bootstrap: Vec::new(),
            peers_wanted: 24,
            external: Vec::new(),
            reach: Reach::Automatic,
            relay: false,
            connections_max: 256,
            limited: LimitedAddresses::Public,
            memory_bytes_max: 2 << 30,
            seed: 0,
        }
    }
}

/// Whether a peer can be dialled from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Peers that serve as relays are asked to try; until then it says so of itself.
    #[default]
    Automatic,
    /// It can.
    Open,
    /// It cannot: it is behind address translation, and is reached through relays.
    Behind,
}

/// Which addresses are limited in how often they connect, and shut where peers are banned again and again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitedAddresses {
    /// Public ones: a private address is many places.
    #[default]
    Public,
    /// Those of this machine and of private networks, too.
    All,
}

/// What the mesh is at the moment.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Addresses that it listens on, with the peer id.
    pub listening: Vec<Multiaddr>,
    /// Connected peers.
    pub peers: Vec<PeerId>,
    /// Peers that have told their heads since the start: a node that waits for this before it signs
    /// learns in time that its own feed goes on elsewhere.
    pub heads_heard: usize,
}

/// Why a mesh does not start.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// A transport or protocol could not be set up.
    #[error("mesh cannot be set up: {reason}")]
    Transport {
        /// What the library said.
        reason: String,
    },
    /// An address that cannot be listened on.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the library said.
        reason: String,
    },
    /// The mesh's task has ended, or the system gave no address in time.
    #[error("mesh does not listen")]
    NotListening,
}

/// A running mesh. Clones are handles to the same one; it ends when the last is dropped.
#[derive(Clone, Debug)]
pub struct Mesh {
    peer_id: PeerId,
    addresses: usize,
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<Status>,
    counters: Counters,
}

impl Mesh {
    /// Starts the mesh on the current tokio runtime. The transport's identity is `key`: a node's peer
    /// id and its node id are the same key, so that everybody can tell who serves what. The signatures
    /// cannot be mistaken for each other: what libp2p signs and what DSSE signs begin differently.
    pub fn start<S: FeedStore>(key: &SecretKey, config: MeshConfig, store: Arc<S>) -> Result<(Self, JoinHandle<()>), MeshError> {
        let counters = Counters::default();
        let keypair = keypair_of(key)?;
        let mut swarm = behaviour::swarm(keypair.clone(), &config, &counters)?;
        for address in &config.listen {
            let refused = |reason: String| MeshError::Listen { address: address.clone(), reason };
            swarm.listen_on(address.clone()).map_err(|e| refused(e.to_string()))?;
        }
        for address in &config.external {
            swarm.add_external_address(address.clone());
        }
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (status, watched) = watch::channel(Status::default());
        let mesh =
            Self { peer_id: *swarm.local_peer_id(), addresses: config.listen.len(), commands, status: watched, counters: counters.clone() };
        let actor = Actor::new(swarm, store, Start { keypair, config, counters, status });
        Ok((mesh, tokio::spawn(actor.run(inbox))))
    }

    /// Gossips an item that the own store holds already. Never waits and never fails: what gossip does
    /// not carry, feed sync does.
    pub fn publish(&self, item: &FeedItem) {
        if self.commands.try_send(Command::Publish(item.encode())).is_err() {
            self.counters.count(Place::Publish, "not-gossiped");
        }
    }

    /// Looks into the store soon, because something in it is new: notices are gossiped, beginnings asked for. Never
    /// waits and never fails: the store is looked at every few seconds anyway.
    pub fn nudge(&self) {
        let _ = self.commands.try_send(Command::Look);
    }

    /// What the mesh knows of itself and of its peers; nothing when it has ended.
    pub async fn snapshot(&self) -> Option<Snapshot> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::Describe(answer)).await.ok()?;
        answered.await.ok()
    }

    /// The addresses that peers may dial, once every configured one is bound.
    pub async fn listening(&self) -> Result<Vec<Multiaddr>, MeshError> {
        let mut status = self.status.clone();
        let bound = status.wait_for(|status| status.listening.len() >= self.addresses);
        let bound = tokio::time::timeout(LISTEN_TIMEOUT, bound).await.map_err(|_| MeshError::NotListening)?;
        bound.map(|status| status.listening.clone()).map_err(|_| MeshError::NotListening)
    }

    /// What the mesh is at the moment, and a way to wait until it is something else.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Who we are to peers.
    pub fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// Ends the mesh: connections close, handles do nothing more.
    pub async fn stop(&self) {
        let _ = self.commands.send(Command::Stop).await;
        self.commands.closed().await;
    }
}

/// The peer id of a node: the multihash of its public key.
pub fn peer_id_of(node: &NodeId) -> Option<PeerId> {
    let key = libp2p::identity::ed25519::PublicKey::try_from_bytes(node.as_bytes()).ok()?;
    Some(libp2p::identity::PublicKey::from(key).to_peer_id())
}

fn keypair_of(key: &SecretKey) -> Result<Keypair, MeshError> {
    Keypair::ed25519_from_bytes(key.seed()).map_err(|e| MeshError::Transport { reason: e.to_string() })
}
