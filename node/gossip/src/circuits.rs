//! When to ask which relay for a way in: a peer that nobody can dial is reached through peers that everybody can.
//!
//! Pure: what the swarm reports comes in, and what to listen on goes out. `docs/spec/mesh.md`, section 7.

use std::collections::BTreeMap;
use std::time::Duration;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use crate::mesh::Reach;

/// Relays that a way in is held through at a time: one may go.
const CIRCUITS_WANTED: usize = 2;

/// Pause after a relay that refused, or went.
const PAUSE: Duration = Duration::from_secs(10);

/// Relays that are remembered.
const OFFERS_MAX: usize = 64;

/// What is known of the own reach, and of relays.
#[derive(Debug)]
pub(crate) struct Circuits {
    reach: Reach,
    confirmed: bool,
    refuted: bool,
    offers: BTreeMap<PeerId, Offer>,
}

#[derive(Debug)]
struct Offer {
    address: Multiaddr,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Free { from: Duration },
    Held,
}

impl Circuits {
    pub(crate) fn new(reach: Reach) -> Self {
        Self { reach, confirmed: false, refuted: false, offers: BTreeMap::new() }
    }

    /// Whether we can be dialled, as far as that is known.
    pub(crate) fn reach(&self) -> Reach {
        match self.reach {
            Reach::Automatic if self.confirmed => Reach::Open,
            Reach::Automatic if self.refuted => Reach::Behind,
            reach => reach,
        }
    }

    /// Whether the configuration says that we can be dialled.
    pub(crate) fn is_declared_open(&self) -> bool {
        self.reach == Reach::Open
    }

    /// A peer that we have dialled at `address` says that it is a relay.
    pub(crate) fn offered(&mut self, relay: PeerId, address: Multiaddr) {
        let through_another = address.iter().any(|part| part == Protocol::P2pCircuit);
        if !through_another && (self.offers.len() < OFFERS_MAX || self.offers.contains_key(&relay)) {
            self.offers.entry(relay).or_insert(Offer { address, state: State::Free { from: Duration::ZERO } });
        }
    }

    /// The connection to a peer is gone, and with it the way in.
    pub(crate) fn lost(&mut self, relay: &PeerId) {
        self.offers.remove(relay);
    }

    /// The relay does not hold a way in for us, or does no more.
    pub(crate) fn closed(&mut self, relay: &PeerId, now: Duration) {
        if let Some(offer) = self.offers.get_mut(relay) {
            offer.state = State::Free { from: now + PAUSE };
        }
    }

    /// Another peer could dial us, or could not. No address is tried again that failed once, and there may be only one:
    /// a failure is enough, until some address is confirmed.
    pub(crate) fn tested(&mut self, reached: Result<(), ()>) {
        match reached {
            Ok(()) => self.confirmed = true,
            Err(()) => self.refuted = true,
        }
    }

    /// Where the relays are that are known.
    pub(crate) fn relays(&self) -> impl Iterator<Item = &Multiaddr> {
        self.offers.values().map(|offer| &offer.address)
    }

    /// The relays to ask now, with the address to listen on; each counts as held from here on.
    pub(crate) fn due(&mut self, now: Duration) -> Vec<(PeerId, Multiaddr)> {
        if self.reach() != Reach::Behind {
            return Vec::new();
        }
        let held = self.offers.values().filter(|offer| offer.state == State::Held).count();
        let free = self.offers.iter_mut().filter(|(_, offer)| matches!(offer.state, State::Free { from } if from <= now));
        let mut due = Vec::new();
        for (relay, offer) in free.take(CIRCUITS_WANTED.saturating_sub(held)) {
            offer.state = State::Held;
            let address = offer.address.clone().with_p2p(*relay).unwrap_or_else(|address| address);
            due.push((*relay, address.with(Protocol::P2pCircuit)));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn at(address: &str) -> Multiaddr {
        address.parse().unwrap()
    }

    #[test]
    fn two_relays_are_asked_and_a_third_only_when_one_goes() {
        let mut circuits = Circuits::new(Reach::Behind);
        let relays: Vec<PeerId> = (0..3).map(|_| PeerId::random()).collect();
        for relay in &relays {
            circuits.offered(*relay, at("/ip4/192.0.2.1/tcp/1"));
        }
        let asked = circuits.due(Duration::ZERO);
        assert_eq!(asked.len(), CIRCUITS_WANTED);
        assert!(asked[0].1.to_string().ends_with(&format!("/p2p/{}/p2p-circuit", asked[0].0)));
        assert!(circuits.due(Duration::ZERO).is_empty());
        circuits.closed(&asked[0].0, Duration::ZERO);
        let next = circuits.due(Duration::ZERO);
        assert!(next.len() == 1 && next[0].0 != asked[0].0, "not the one that has just refused");
        circuits.lost(&next[0].0);
        assert_eq!(circuits.due(PAUSE), [asked[0].clone()]);
    }

    #[test]
    fn whoever_can_be_dialled_asks_no_relay_and_a_failure_says_that_one_cannot() {
        let mut circuits = Circuits::new(Reach::Automatic);
        circuits.offered(PeerId::random(), at("/ip4/192.0.2.1/tcp/1"));
        assert!(circuits.due(Duration::ZERO).is_empty());
        assert_eq!(circuits.reach(), Reach::Automatic);
        circuits.tested(Err(()));
        assert_eq!(circuits.reach(), Reach::Behind);
        circuits.tested(Ok(()));
        assert_eq!(circuits.reach(), Reach::Open);
        assert!(circuits.due(Duration::ZERO).is_empty());
        assert!(Circuits::new(Reach::Open).due(Duration::ZERO).is_empty());
    }

    #[test]
    fn no_way_in_leads_through_two_relays() {
        let mut circuits = Circuits::new(Reach::Behind);
        let (relay, other) = (PeerId::random(), PeerId::random());
        circuits.offered(relay, at(&format!("/ip4/192.0.2.1/tcp/1/p2p/{other}/p2p-circuit")));
        assert!(circuits.due(Duration::ZERO).is_empty());
    }
}
