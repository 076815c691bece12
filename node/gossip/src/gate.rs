//! The gate for incoming connections: how many one address may make, and which addresses are shut out for a while.
//!
//! A peer id costs nothing, so who is banned comes back under another one. An address costs something: one that
//! peers are banned at again and again is shut, by the points of [`Penalty`]. What comes through a relay says nothing
//! of where it comes from, and a private address is many places: neither is counted. Only *incoming* connections are
//! judged here. `docs/spec/mesh.md`, section 6.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::task::{Context, Poll};
use std::time::Instant;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use crate::limit::{ARRIVALS, Limiter};
use crate::mesh::LimitedAddresses;
use crate::penalty::{Offence, Penalty};

/// Addresses whose points are remembered. When it is full the one with the fewest points is forgotten.
const PENALTIES_MAX: usize = 4096;

/// Where a connection comes from: what one party is likely to have for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    V4(Ipv4Addr),
    /// The first 64 bits.
    V6([u16; 4]),
}

/// Why a connection was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Its address makes too many.
    #[error("too many connections from this address")]
    TooMany,
    /// Its address is shut.
    #[error("peers at this address were banned again and again")]
    Shut,
}

/// The gate, as a behaviour of the swarm.
pub(crate) struct Gate {
    limited: LimitedAddresses,
    began: Instant,
    arrivals: Limiter<Origin>,
    penalties: BTreeMap<Origin, Penalty>,
}

impl Gate {
    pub(crate) fn new(limited: LimitedAddresses) -> Self {
        Self { limited, began: Instant::now(), arrivals: Limiter::new(ARRIVALS), penalties: BTreeMap::new() }
    }

    /// A peer at this address was banned; whether that shuts the address. Never one of `spared`.
    pub(crate) fn blame<'a>(&mut self, address: &Multiaddr, spared: impl IntoIterator<Item = &'a Multiaddr>, now: u64) -> bool {
        let Some(origin) = self.origin_of(address) else { return false };
        if spared.into_iter().any(|spared| self.origin_of(spared) == Some(origin)) {
            return false;
        }
        self.penalties.retain(|_, penalty| !penalty.is_spent(now));
        if self.penalties.len() >= PENALTIES_MAX
            && let Some(least) = self.penalties.iter().min_by_key(|(_, penalty)| penalty.points(now)).map(|(origin, _)| *origin)
        {
            self.penalties.remove(&least);
        }
        self.penalties.entry(origin).or_default().add(Offence::BannedPeer, now)
    }

    /// Whether the address is shut at `now`, in seconds since the Epoch.
    pub(crate) fn is_shut(&self, address: &Multiaddr, now: u64) -> bool {
        self.origin_of(address).and_then(|origin| self.penalties.get(&origin)).is_some_and(|penalty| penalty.is_banned(now))
    }

    /// Forgets what is of no use any more.
    pub(crate) fn sweep(&mut self) {
        self.arrivals.forget_full(self.began.elapsed());
    }

    fn judge(&mut self, address: &Multiaddr, now: u64) -> Result<(), Refusal> {
        if self.is_shut(address, now) {
            return Err(Refusal::Shut);
        }
        let passed = self.began.elapsed();
        match self.origin_of(address) {
            Some(origin) if !self.arrivals.admit(origin, passed) => Err(Refusal::TooMany),
            _ => Ok(()),
        }
    }

    /// Nothing for addresses that are not judged.
    fn origin_of(&self, address: &Multiaddr) -> Option<Origin> {
        if address.iter().any(|part| part == Protocol::P2pCircuit) {
            return None;
        }
        let ip = match address.iter().next()? {
            Protocol::Ip4(ip) => IpAddr::V4(ip),
            Protocol::Ip6(ip) => IpAddr::V6(ip).to_canonical(),
            _ => return None,
        };
        (self.limited == LimitedAddresses::All || is_public(ip)).then(|| match ip {
            IpAddr::V4(ip) => Origin::V4(ip),
            IpAddr::V6(ip) => Origin::V6(prefix(ip)),
        })
    }
}

fn prefix(ip: Ipv6Addr) -> [u16; 4] {
    let [a, b, c, d, ..] = ip.segments();
    [a, b, c, d]
}

fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            // RFC 6598: what is between a provider and its customers.
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            !(ip.is_loopback() || ip.is_private() || ip.is_link_local() || shared)
        }
        IpAddr::V6(ip) => !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()),
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(&mut self, _: ConnectionId, _: &Multiaddr, remote: &Multiaddr) -> Result<(), ConnectionDenied> {
        self.judge(remote, crate::actor::wall()).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::penalty::HALF_LIFE_S;

    fn at(address: &str) -> Multiaddr {
        address.parse().unwrap()
    }

    const HERE: &str = "/ip4/203.0.113.7/tcp/4001";

    #[test]
    fn the_third_banned_peer_within_minutes_shuts_its_address_for_a_while_and_no_other() {
        let mut gate = Gate::new(LimitedAddresses::Public);
        assert!(!gate.blame(&at(HERE), [], 1000));
        assert!(!gate.blame(&at("/ip4/203.0.113.7/udp/9/quic-v1"), [], 1000));
        assert_eq!(gate.judge(&at(HERE), 1000), Ok(()));
        assert!(gate.blame(&at(HERE), [], 1060));
        assert_eq!(gate.judge(&at("/ip4/203.0.113.7/tcp/5555"), 1060), Err(Refusal::Shut));
        assert_eq!(gate.judge(&at("/ip4/203.0.113.8/tcp/4001"), 1060), Ok(()));
        assert_eq!(gate.judge(&at(HERE), 1060 + 2 * HALF_LIFE_S), Ok(()));
    }

    #[test]
    fn a_relays_address_a_private_one_and_a_circuit_are_never_shut() {
        let mut gate = Gate::new(LimitedAddresses::Public);
        let private = ["/ip4/127.0.0.1/tcp/1", "/ip4/10.1.2.3/tcp/1", "/ip4/100.64.0.1/tcp/1", "/ip6/::1/tcp/1", "/ip6/fd00::1/tcp/1"];
        let circuit = format!("{HERE}/p2p/{}/p2p-circuit", PeerId::random());
        for _ in 0..10 {
            assert!(!gate.blame(&at(HERE), [&at("/ip4/203.0.113.7/tcp/9")], 1000));
            assert!(private.iter().chain([&circuit.as_str()]).all(|address| !gate.blame(&at(address), [], 1000)));
        }
        assert!(private.iter().chain([&HERE]).all(|address| gate.judge(&at(address), 1000).is_ok()));
        let mut strict = Gate::new(LimitedAddresses::All);
        assert!((0..3).any(|_| strict.blame(&at(private[0]), [], 1000)));
    }

    #[test]
    fn an_address_gets_its_burst_of_connections_and_neighbours_in_a_network_of_ipv6_share_theirs() {
        let mut gate = Gate::new(LimitedAddresses::Public);
        let mut taken = |address: &str| (0..200).filter(|_| gate.judge(&at(address), 1000).is_ok()).count();
        let burst = usize::try_from(ARRIVALS.burst).unwrap();
        for address in [HERE, "/ip6/2001:db8::1/tcp/1"] {
            assert!((burst..burst + 3).contains(&taken(address)), "time passes meanwhile");
        }
        assert!(taken("/ip6/2001:db8::2/tcp/1") < 3);
        assert!(taken("/ip6/2001:db8:0:1::2/tcp/1") >= burst);
        assert_eq!(taken("/ip4/192.168.1.1/tcp/1"), 200);
    }
}
