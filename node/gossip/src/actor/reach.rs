//! How others reach us: confirmed addresses, relays, holes punched; and the routing table.

use std::collections::HashMap;
use std::time::Duration;

use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::{Multiaddr, PeerId, autonat, dcutr, identify, kad, relay};

use super::Actor;
use crate::circuits::Circuits;
use crate::counters::Place;
use crate::mesh::Reach;
use crate::record::dialable;
use crate::store::FeedStore;

/// The protocol by which a peer says that it is a relay (circuit relay v2).
const HOP_PROTOCOL: &str = "/libp2p/circuit/relay/0.2.0/hop";

/// The protocol of the routing table.
const KAD_PROTOCOL: &str = "/quorate/kad/1";

/// Addresses of one peer that go into the routing table.
const ROUTES_MAX: usize = 8;

/// The counter's names of what came of punching a hole.
pub(super) const PUNCHED: &str = "hole-punched";
pub(super) const NOT_PUNCHED: &str = "hole-not-punched";

/// The ways in.
pub(super) struct Ways {
    circuits: Circuits,
    listeners: HashMap<ListenerId, PeerId>,
}

impl Ways {
    pub(super) fn new(circuits: Circuits) -> Self {
        Self { circuits, listeners: HashMap::new() }
    }

    pub(super) fn reach(&self) -> Reach {
        self.circuits.reach()
    }

    pub(super) fn relays(&self) -> impl Iterator<Item = &Multiaddr> {
        self.circuits.relays()
    }

    pub(super) fn lost(&mut self, peer: &PeerId) {
        self.circuits.lost(peer);
    }
}

impl<S: FeedStore> Actor<S> {
    /// Asks relays for a way in, where one is needed.
    pub(super) fn keep_ways(&mut self, now: Duration) {
        for (relay, address) in self.ways.circuits.due(now) {
            match self.swarm.listen_on(address) {
                Ok(listener) => drop(self.ways.listeners.insert(listener, relay)),
                Err(error) => {
                    tracing::debug!(%relay, %error, "no way in through this relay");
                    self.ways.circuits.closed(&relay, now);
                }
            }
        }
    }

    /// Whoever can be dialled can be dialled where it listens.
    pub(super) fn on_listening(&mut self, address: &Multiaddr) {
        let circuit = address.iter().any(|part| part == Protocol::P2pCircuit);
        if self.ways.circuits.is_declared_open() && !circuit && self.acquaintance.leads(address) {
            self.swarm.add_external_address(address.clone());
        }
    }

    pub(super) fn on_listener_closed(&mut self, listener: ListenerId) {
        if let Some(relay) = self.ways.listeners.remove(&listener) {
            self.counters.count(Place::Connection, "circuit-lost");
            let now = self.now();
            self.ways.circuits.closed(&relay, now);
        }
    }

    pub(super) fn on_confirmed(&mut self, address: &Multiaddr) {
        if !address.iter().any(|part| part == Protocol::P2pCircuit) {
            self.ways.circuits.tested(Ok(()));
        }
    }

    pub(super) fn on_reach_tested(&mut self, event: &autonat::v2::client::Event) {
        let reached = event.result.as_ref().map_or(Err(()), |()| Ok(()));
        self.counters.count(Place::Connection, if reached.is_ok() { "dialled-back" } else { "not-dialled-back" });
        self.ways.circuits.tested(reached);
    }

    /// What a peer says of itself. None of it is proven but its key.
    pub(super) fn on_identified(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        self.acquaintance.runs(&peer_id, &info.agent_version);
        let speaks = |protocol: &str| info.protocols.iter().any(|other| other.as_ref() == protocol);
        if speaks(HOP_PROTOCOL)
            && let Some(address) = self.acquaintance.dialled_at(&peer_id)
        {
            self.ways.circuits.offered(peer_id, address);
        }
        if speaks(KAD_PROTOCOL) {
            let routes = info.listen_addrs.iter().filter_map(|address| dialable(address, peer_id));
            let routes: Vec<Multiaddr> = routes.filter(|address| self.acquaintance.leads(address)).take(ROUTES_MAX).collect();
            // Only what it says now: addresses must not pile up.
            self.swarm.behaviour_mut().kad.remove_peer(&peer_id);
            for route in routes {
                self.swarm.behaviour_mut().kad.add_address(&peer_id, route);
            }
        }
    }

    /// A peer that only the routing table knows is dialled while too few are connected; once it is, it is asked for
    /// its signed record like everybody.
    pub(super) fn on_routing(&mut self, event: &kad::Event) {
        let kad::Event::RoutingUpdated { peer, is_new_peer: true, .. } = *event else { return };
        if self.acquaintance.is_lonely() && !self.acquaintance.connections.contains_key(&peer) {
            let _ = self.swarm.dial(DialOpts::peer_id(peer).build());
        }
    }

    pub(super) fn on_circuit(&mut self, event: &relay::client::Event) {
        let outcome = match event {
            relay::client::Event::ReservationReqAccepted { renewal: false, .. } => "circuit-reserved",
            relay::client::Event::ReservationReqAccepted { .. } => "circuit-renewed",
            relay::client::Event::OutboundCircuitEstablished { .. } => "circuit-out",
            relay::client::Event::InboundCircuitEstablished { .. } => "circuit-in",
        };
        self.counters.count(Place::Connection, outcome);
    }

    pub(super) fn on_relaying(&mut self, event: &relay::Event) {
        let outcome = match event {
            relay::Event::ReservationReqAccepted { .. } => "reservation",
            relay::Event::ReservationReqDenied { .. } => "reservation-denied",
            relay::Event::CircuitReqAccepted { .. } => "circuit",
            relay::Event::CircuitReqDenied { .. } => "circuit-denied",
            _ => return,
        };
        self.counters.count(Place::Serve, outcome);
    }

    pub(super) fn on_punched(&mut self, event: &dcutr::Event) {
        self.counters.count(Place::Connection, if event.result.is_ok() { PUNCHED } else { NOT_PUNCHED });
    }
}
