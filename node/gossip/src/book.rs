//! The peers that are known, with what they say of where they are and how it went with them.
//!
//! Pure: times come in, in seconds since the Epoch, because the book outlives the process. Bounded in every
//! direction: in peers, in untried peers told by one peer, in penalties. A hint, never the truth: a lost book costs a
//! round of asking around. Its file is `file`'s. `docs/spec/mesh.md`, sections 5 and 6.

mod file;

use std::collections::{BTreeMap, BTreeSet};

use libp2p::{Multiaddr, PeerId};

use crate::penalty::{Offence, Penalty};
use crate::record::{Network, Record};

/// Peers that are remembered.
pub const PEERS_MAX: usize = 1024;

/// Peers that were told by one peer and never reached: one liar must not fill the book.
pub const UNTRIED_PER_TELLER_MAX: usize = 64;

/// Penalties that are remembered; of more, the smallest go.
pub const PENALTIES_MAX: usize = 1024;

/// The pause after the first failed dial, in seconds; it doubles.
const PAUSE_S: u64 = 30;

/// The longest pause between two dials of one peer.
const PAUSE_S_MAX: u64 = 3600;

/// A peer that was reached within this time is passed on to others.
const FRESH_S: u64 = 24 * 3600;

/// A peer that was never reached in this many tries, or not for this long, makes room first.
const FAILURES_MAX: u32 = 8;

/// The book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Book {
    own: PeerId,
    peers: BTreeMap<PeerId, Known>,
    penalties: BTreeMap<PeerId, Penalty>,
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Where it says that it is.
    pub record: Record,
    /// Who told first; none when it was the peer itself.
    pub told_by: Option<PeerId>,
    /// When it was connected last, in seconds since the Epoch.
    pub reached_at: Option<u64>,
    /// Failed dials since.
    pub failures: u32,
    /// When it was dialled last.
    pub tried_at: Option<u64>,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// Of a peer that was not known.
    New,
    /// In place of an older one.
    Newer,
    /// Nothing new, our own, or there is no room for it.
    Nothing,
}

impl Book {
    /// An empty book of the peer `own`.
    pub fn new(own: PeerId) -> Self {
        Self { own, peers: BTreeMap::new(), penalties: BTreeMap::new() }
    }

    /// The peers, in the order of their ids.
    pub fn peers(&self) -> impl Iterator<Item = &Known> {
        self.peers.values()
    }

    /// One peer.
    pub fn get(&self, peer: &PeerId) -> Option<&Known> {
        self.peers.get(peer)
    }

    /// How many peers are known.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether nobody is known.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// Takes a record that `teller` told.
    pub fn learn(&mut self, record: Record, teller: PeerId, now: u64) -> Learned {
        let peer = record.peer();
        if peer == self.own {
            return Learned::Nothing;
        }
        if let Some(known) = self.peers.get_mut(&peer) {
            // Numbers are seconds: two of one second may differ, and only the peer itself can have signed them.
            if record.sequence() < known.record.sequence() || record == known.record {
                return Learned::Nothing;
            }
            known.record = record;
            return Learned::Newer;
        }
        let told_by = (teller != peer).then_some(teller);
        let untried = |known: &&Known| known.reached_at.is_none() && known.told_by == told_by;
        if told_by.is_some() && self.peers.values().filter(untried).count() >= UNTRIED_PER_TELLER_MAX {
            return Learned::Nothing;
        }
        if self.peers.len() >= PEERS_MAX && !self.make_room(now) {
            return Learned::Nothing;
        }
        self.peers.insert(peer, Known { record, told_by, reached_at: None, failures: 0, tried_at: None });
        Learned::New
    }

    /// Forgets the peer that is of the least use, if there is one that is of little.
    fn make_room(&mut self, now: u64) -> bool {
        let stale = |known: &Known| known.reached_at.is_none_or(|at| now.saturating_sub(at) > 7 * FRESH_S);
        let useless = self.peers.iter().filter(|(_, known)| stale(known) && known.failures > 0);
        let worst = useless.max_by_key(|(_, known)| (known.failures, std::cmp::Reverse(known.reached_at))).map(|(peer, _)| *peer);
        worst.is_some_and(|peer| self.peers.remove(&peer).is_some())
    }

    /// A connection to the peer stands.
    pub fn reached(&mut self, peer: PeerId, now: u64) {
        if let Some(known) = self.peers.get_mut(&peer) {
            (known.reached_at, known.failures) = (Some(now), 0);
        }
    }

    /// The peer is being dialled.
    pub fn tried(&mut self, peer: PeerId, now: u64) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.tried_at = Some(now);
        }
    }

    /// A dial came to nothing.
    pub fn failed(&mut self, peer: PeerId) {
        let gone = self.peers.get_mut(&peer).is_some_and(|known| {
            known.failures = known.failures.saturating_add(1);
            known.reached_at.is_none() && known.failures >= FAILURES_MAX
        });
        if gone {
            self.peers.remove(&peer);
        }
    }

    /// Writes an offence down; whether it is the one that bans the peer.
    pub fn punish(&mut self, peer: PeerId, offence: Offence, now: u64) -> bool {
        if self.penalties.len() >= PENALTIES_MAX && !self.penalties.contains_key(&peer) {
            self.penalties.retain(|_, penalty| !penalty.is_spent(now));
            let least = self.penalties.iter().min_by_key(|(_, penalty)| penalty.points(now)).map(|(peer, _)| *peer);
            if let Some(least) = least.filter(|_| self.penalties.len() >= PENALTIES_MAX) {
                self.penalties.remove(&least);
            }
        }
        self.penalties.entry(peer).or_default().add(offence, now)
    }

    /// The points of a peer at `now`.
    pub fn points(&self, peer: &PeerId, now: u64) -> u32 {
        self.penalties.get(peer).map_or(0, |penalty| penalty.points(now))
    }

    /// Whether the peer is banned at `now`.
    pub fn is_banned(&self, peer: &PeerId, now: u64) -> bool {
        self.penalties.get(peer).is_some_and(|penalty| penalty.is_banned(now))
    }

    /// Who is banned at `now`.
    pub fn banned(&self, now: u64) -> BTreeSet<PeerId> {
        self.penalties.iter().filter(|(_, penalty)| penalty.is_banned(now)).map(|(peer, _)| *peer).collect()
    }

    /// Up to `count` peers to dial: neither connected nor banned, and their pause is over. First those of networks
    /// with the fewest connections, so that a neighbourhood of strangers does not become the whole world; among
    /// them as `order` has it.
    pub fn to_dial(
        &self,
        connected: &BTreeSet<PeerId>,
        count: usize,
        now: u64,
        order: impl Fn(&PeerId) -> u64,
    ) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let mut crowd: BTreeMap<Option<Network>, usize> = BTreeMap::new();
        for known in connected.iter().filter_map(|peer| self.peers.get(peer)) {
            *crowd.entry(known.record.network()).or_default() += 1;
        }
        let free = self.peers.iter().filter(|(peer, known)| !connected.contains(peer) && known.is_due(now) && !self.is_banned(peer, now));
        let mut free: Vec<_> = free.map(|(peer, known)| (order(peer), peer, known)).collect();
        free.sort_unstable_by_key(|(place, peer, _)| (*place, **peer));
        let mut chosen = Vec::new();
        while chosen.len() < count && !free.is_empty() {
            let load = |known: &Known| crowd.get(&known.record.network()).copied().unwrap_or(0);
            let Some(index) = (0..free.len()).min_by_key(|index| load(free[*index].2)) else { break };
            let (_, peer, known) = free.remove(index);
            *crowd.entry(known.record.network()).or_default() += 1;
            chosen.push((*peer, known.record.addresses().to_vec()));
        }
        chosen
    }

    /// Up to `count` records to pass on to `asker`: of peers that were reached lately, in the order of `order`.
    pub fn to_tell(&self, asker: &PeerId, count: usize, now: u64, order: impl Fn(&PeerId) -> u64) -> Vec<Vec<u8>> {
        let fresh = |known: &Known| known.reached_at.is_some_and(|at| now.saturating_sub(at) < FRESH_S);
        let known = self.peers.iter().filter(|(peer, known)| *peer != asker && fresh(known) && !self.is_banned(peer, now));
        let mut told: Vec<_> = known.map(|(peer, known)| (order(peer), known.record.bytes())).collect();
        told.sort_unstable();
        told.into_iter().take(count).map(|(_, bytes)| bytes.to_vec()).collect()
    }
}

impl Known {
    fn is_due(&self, now: u64) -> bool {
        let pause = match self.failures {
            0 => PAUSE_S,
            failures => PAUSE_S.saturating_mul(1 << failures.min(16)).min(PAUSE_S_MAX),
        };
        self.tried_at.is_none_or(|at| now.saturating_sub(at) >= pause || at > now)
    }
}

#[cfg(test)]
mod tests;
