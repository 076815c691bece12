//! Whom the mesh knows: keeps the book, asks for no more connections than are wanted, bans who harms.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use libp2p::core::ConnectedPoint;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::{Multiaddr, PeerId};
use quorate_proto::wire::PEER_RECORDS_MAX;

use super::{Actor, Dial};
use crate::book::{Book, Learned};
use crate::counters::Place;
use crate::mesh::MeshConfig;
use crate::penalty::Offence;
use crate::record::{Network, Record, network_of};
use crate::store::FeedStore;

/// Dials of peers from the book that are under way at a time.
const DIALS_MAX: usize = 4;

/// How long what is new in the book waits for its file. What a `kill -9` takes is learned again.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// How long a direct connection stands before one through a relay beside it is closed: the other end may be a moment behind.
const DETOUR_KEPT: Duration = Duration::from_secs(5);

/// Characters of what a peer says that it runs.
const AGENT_CHARS_MAX: usize = 64;

/// The book, the connections, and what we tell of ourselves.
pub(super) struct Acquaintance {
    keypair: Keypair,
    pub(super) book: Book,
    pub(super) connections: BTreeMap<PeerId, Connection>,
    own: Option<Record>,
    own_addresses: Vec<Multiaddr>,
    wanted: usize,
    /// Whether this mesh lives on one machine: only then are loopback addresses told and dialled.
    local: bool,
    seed: u64,
    changed: bool,
    saved_at: Duration,
    blocked: BTreeSet<PeerId>,
}

/// What connects us to a peer.
#[derive(Default)]
pub(super) struct Connection {
    links: Vec<Link>,
    pub(super) agent: String,
}

/// One of several connections to a peer: through a relay and beside it, or made by both at once.
pub(super) struct Link {
    id: ConnectionId,
    since: Duration,
    pub(super) address: Multiaddr,
    pub(super) outgoing: bool,
    pub(super) relayed: bool,
}

impl Link {
    pub(super) fn new(id: ConnectionId, endpoint: &ConnectedPoint, now: Duration) -> Self {
        let (address, outgoing) = match endpoint {
            ConnectedPoint::Dialer { address, .. } => (address.clone(), true),
            ConnectedPoint::Listener { send_back_addr, .. } => (send_back_addr.clone(), false),
        };
        Self { id, since: now, address, outgoing, relayed: endpoint.is_relayed() }
    }
}

impl Connection {
    /// The first one that does not lead through a relay, or else the first.
    pub(super) fn link(&self) -> Option<&Link> {
        self.links.iter().find(|link| !link.relayed).or(self.links.first())
    }
}

impl Acquaintance {
    pub(super) fn new(keypair: Keypair, config: &MeshConfig) -> Self {
        let own = keypair.public().to_peer_id();
        let configured = config.listen.iter().chain(&config.bootstrap).chain(&config.external);
        Self {
            keypair,
            book: Book::new(own),
            connections: BTreeMap::new(),
            own: None,
            own_addresses: Vec::new(),
            wanted: config.peers_wanted,
            local: configured.into_iter().any(|address| network_of(address) == Some(Network::Loopback)),
            seed: config.seed,
            changed: false,
            saved_at: Duration::ZERO,
            blocked: BTreeSet::new(),
        }
    }

    pub(super) fn connected(&mut self, peer: PeerId, link: Link) {
        self.book.reached(peer, wall());
        self.changed = true;
        self.connections.entry(peer).or_default().links.push(link);
    }

    pub(super) fn closed(&mut self, peer: &PeerId, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(peer) else { return };
        connection.links.retain(|link| link.id != id);
        if connection.links.is_empty() {
            self.connections.remove(peer);
            self.book.reached(*peer, wall());
            self.changed = true;
        }
    }

    /// Connections through relays to peers that are reached directly as well.
    fn detours(&self, now: Duration) -> Vec<ConnectionId> {
        let stands = |link: &Link| !link.relayed && now.saturating_sub(link.since) >= DETOUR_KEPT;
        let direct = self.connections.values().filter(|connection| connection.links.iter().any(stands));
        direct.flat_map(|connection| &connection.links).filter(|link| link.relayed).map(|link| link.id).collect()
    }

    pub(super) fn failed(&mut self, peer: PeerId) {
        self.book.failed(peer);
        self.changed = true;
    }

    pub(super) fn runs(&mut self, peer: &PeerId, agent: &str) {
        if let Some(connection) = self.connections.get_mut(peer) {
            connection.agent = agent.chars().filter(|c| !c.is_control()).take(AGENT_CHARS_MAX).collect();
        }
    }

    /// Whether fewer peers are connected than are wanted.
    pub(super) fn is_lonely(&self) -> bool {
        self.connections.len() < self.wanted
    }

    /// The address we have dialled a peer at.
    pub(super) fn dialled_at(&self, peer: &PeerId) -> Option<Multiaddr> {
        let links = &self.connections.get(peer)?.links;
        links.iter().find(|link| link.outgoing && !link.relayed).map(|link| link.address.clone())
    }

    /// Whether an address may be told or dialled: those of this machine lead elsewhere on other machines.
    pub(super) fn leads(&self, address: &Multiaddr) -> bool {
        self.local || network_of(address) != Some(Network::Loopback)
    }

    /// The same order for the same peers until the process ends, and another one on every other node.
    fn place(&self, peer: &PeerId) -> u64 {
        // FNV-1a: enough to spread choices. Nobody gains by a place of their own choosing, which networks share.
        peer.to_bytes()
            .iter()
            .fold(0xcbf2_9ce4_8422_2325 ^ self.seed, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
    }
}

impl<S: FeedStore> Actor<S> {
    /// Takes up what was kept; who is banned stays banned.
    pub(super) async fn open_book(&mut self) {
        if let Some(bytes) = self.store.peer_book().await {
            self.acquaintance.book = Book::decode(*self.swarm.local_peer_id(), &bytes);
        }
        for peer in self.acquaintance.book.banned(wall()) {
            self.block(peer);
        }
    }

    /// Keeps the book once more before the end.
    pub(super) async fn close_book(&mut self) {
        self.store.keep_peer_book(self.acquaintance.book.encode()).await;
    }

    pub(super) fn save_book(&mut self, now: Duration) {
        if !self.acquaintance.changed || now.saturating_sub(self.acquaintance.saved_at) < SAVE_EVERY {
            return;
        }
        (self.acquaintance.changed, self.acquaintance.saved_at) = (false, now);
        let (store, bytes) = (Arc::clone(&self.store), self.acquaintance.book.encode());
        tokio::spawn(async move { store.keep_peer_book(bytes).await });
    }

    /// Dials peers from the book while fewer are connected than are wanted.
    pub(super) fn dial_more(&mut self) {
        let under_way = self.dials.values().filter(|dial| matches!(dial, Dial::Known(_))).count();
        let missing = self.acquaintance.wanted.saturating_sub(self.acquaintance.connections.len() + under_way);
        let count = missing.min(DIALS_MAX.saturating_sub(under_way));
        if count == 0 {
            return;
        }
        let now = wall();
        let busy: BTreeSet<PeerId> =
            self.dials.values().filter_map(|dial| if let Dial::Known(peer) = dial { Some(*peer) } else { None }).collect();
        let connected: BTreeSet<PeerId> = self.acquaintance.connections.keys().copied().chain(busy).collect();
        let order = |peer: &PeerId| self.acquaintance.place(peer);
        for (peer, mut addresses) in self.acquaintance.book.to_dial(&connected, count, now, order) {
            let gate = &self.swarm.behaviour().gate;
            addresses.retain(|address| self.acquaintance.leads(address) && !gate.is_shut(address, now));
            self.acquaintance.book.tried(peer, now);
            if !addresses.is_empty() {
                self.dial(Dial::Known(peer), DialOpts::peer_id(peer).addresses(addresses).build());
            }
        }
    }

    /// What goes on over a relay beside a direct connection is lost with the relay, and takes others' room there.
    pub(super) fn leave_relays(&mut self, now: Duration) {
        for detour in self.acquaintance.detours(now) {
            self.swarm.close_connection(detour);
        }
    }

    /// Looks at records that a peer told. One that does not hold is the teller's fault: honest peers check before
    /// they pass on.
    pub(super) fn meet(&mut self, teller: PeerId, records: &[Vec<u8>]) {
        for bytes in records {
            let outcome = match Record::verify(bytes) {
                Ok(record) => self.learn(record, teller),
                Err(error) => {
                    tracing::debug!(%teller, %error, "peer told an address record that does not hold");
                    self.punish(teller, Offence::Malformed);
                    "bad-record"
                }
            };
            self.counters.count(Place::Peers, outcome);
        }
    }

    fn learn(&mut self, record: Record, teller: PeerId) -> &'static str {
        if !record.addresses().iter().any(|address| self.acquaintance.leads(address)) {
            return "unreachable";
        }
        let (peer, now) = (record.peer(), wall());
        let learned = self.acquaintance.book.learn(record, teller, now);
        if peer == teller && self.acquaintance.connections.contains_key(&peer) {
            self.acquaintance.book.reached(peer, now);
        }
        self.acquaintance.changed |= learned != Learned::Nothing;
        match learned {
            Learned::New => "new",
            Learned::Newer => "newer",
            Learned::Nothing => "known",
        }
    }

    /// Our own record, and some of those that we know.
    pub(super) fn records_for(&mut self, asker: &PeerId) -> Vec<Vec<u8>> {
        let own = self.own_record().map(|record| record.bytes().to_vec());
        let order = |peer: &PeerId| self.acquaintance.place(peer);
        let others = self.acquaintance.book.to_tell(asker, PEER_RECORDS_MAX - 1, wall(), order);
        own.into_iter().chain(others).collect()
    }

    /// Signed anew when an address is. Nothing while there is no address that can be dialled.
    fn own_record(&mut self) -> Option<&Record> {
        let circuit = |address: &&Multiaddr| address.iter().any(|part| part == Protocol::P2pCircuit);
        let external = self.swarm.external_addresses().chain(self.swarm.listeners());
        let mut addresses: Vec<Multiaddr> = external.filter(|address| self.acquaintance.leads(address)).cloned().collect();
        if self.ways.reach() == crate::mesh::Reach::Behind {
            addresses.retain(|address| circuit(&address));
        }
        if self.acquaintance.own.is_none() || addresses != self.acquaintance.own_addresses {
            self.acquaintance.own = Record::sign(&self.acquaintance.keypair, addresses.clone()).ok();
            self.acquaintance.own_addresses = addresses;
        }
        self.acquaintance.own.as_ref()
    }

    /// Writes an offence down. The peer's score in gossipsub follows; a ban closes its connections.
    pub(super) fn punish(&mut self, peer: PeerId, offence: Offence) {
        let now = wall();
        let bans = self.acquaintance.book.punish(peer, offence, now);
        self.acquaintance.changed = true;
        let points = self.acquaintance.book.points(&peer, now);
        self.swarm.behaviour_mut().gossip.set_application_score(&peer, -f64::from(points) / 2.0);
        if bans {
            tracing::warn!(%peer, points, "peer is banned for a while");
            self.counters.count(Place::Connection, "banned");
            self.blame_address_of(peer, now);
            self.block(peer);
        }
    }

    /// An address that peers are banned at again and again is shut; never a relay's, which carries others' words.
    fn blame_address_of(&mut self, peer: PeerId, now: u64) {
        let link = self.acquaintance.connections.get(&peer).and_then(Connection::link);
        let Some(link) = link.filter(|link| !link.relayed) else { return };
        if self.swarm.behaviour_mut().gate.blame(&link.address, self.ways.relays(), now) {
            tracing::warn!(address = %link.address, "peers at this address were banned again and again; it is shut for a while");
            self.counters.count(Place::Connection, "address-shut");
        }
    }

    fn block(&mut self, peer: PeerId) {
        self.acquaintance.blocked.insert(peer);
        self.swarm.behaviour_mut().banned.block_peer(peer);
    }

    /// Lets in again whose points have faded.
    pub(super) fn lift_bans(&mut self) {
        let now = wall();
        let lifted: Vec<PeerId> =
            self.acquaintance.blocked.iter().filter(|peer| !self.acquaintance.book.is_banned(peer, now)).copied().collect();
        for peer in lifted {
            self.acquaintance.blocked.remove(&peer);
            self.swarm.behaviour_mut().banned.unblock_peer(peer);
        }
    }
}

/// Seconds since the Epoch: the book outlives the process.
pub(crate) fn wall() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
