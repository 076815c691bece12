//! Who is heard first when more comes than can be judged: peers whose frames were of use.
//!
//! A frame of use earns [`GAIN`] points and any other that was not expected costs one; a peer is heard first while it
//! has some left. So the junk that is heard first is bounded by what is of use, however many names it comes under, and
//! a crowd of strangers delays each other. Who is not heard in time loses nothing for good: feed sync brings it.

use std::collections::BTreeMap;

use libp2p::PeerId;

use crate::store::{Accepted, Passing};

/// What a frame of use earns.
const GAIN: i32 = 8;

/// The most points that a peer has: what it may waste at once.
const MOST: i32 = 512;

/// The fewest: how much use makes up for any amount of junk.
const LEAST: i32 = -64;

/// When a frame is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Before what strangers bring.
    First,
    /// When nothing else waits.
    Second,
}

/// The points of the connected peers.
#[derive(Debug, Default)]
pub(crate) struct Standing(BTreeMap<PeerId, i32>);

impl Standing {
    pub(crate) fn turn(&self, peer: &PeerId) -> Turn {
        if self.0.get(peer).is_some_and(|points| *points > 0) { Turn::First } else { Turn::Second }
    }

    /// What became of something that the peer brought.
    pub(crate) fn judged(&mut self, peer: PeerId, outcome: Accepted) {
        let change = match (outcome, outcome.passing()) {
            (_, Passing::On) => GAIN,
            // Others were quicker, or the fault is ours.
            (Accepted::Duplicate | Accepted::Unavailable, _) => 0,
            (_, Passing::Ignored | Passing::Punished) => -1,
        };
        let points = self.0.entry(peer).or_default();
        *points = (*points + change).clamp(LEAST, MOST);
    }

    /// The peer is gone, and its name is worth nothing any more.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.0.remove(peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::reason;

    #[test]
    fn a_stranger_comes_second_one_of_use_first_and_no_longer_than_its_use_pays_for() {
        let (mut standing, peer) = (Standing::default(), PeerId::random());
        assert_eq!(standing.turn(&peer), Turn::Second);
        standing.judged(peer, Accepted::New);
        for _ in 0..GAIN {
            assert_eq!(standing.turn(&peer), Turn::First);
            standing.judged(peer, Accepted::Duplicate);
            standing.judged(peer, Accepted::Rejected("unknown-operator"));
        }
        assert_eq!(standing.turn(&peer), Turn::Second);
        standing.judged(peer, Accepted::New);
        standing.forget(&peer);
        assert_eq!(standing.turn(&peer), Turn::Second);
    }

    #[test]
    fn neither_use_nor_junk_counts_without_bound() {
        let (mut standing, peer) = (Standing::default(), PeerId::random());
        let junk = |standing: &mut Standing, count: i32| (0..count).for_each(|_| standing.judged(peer, Accepted::Rejected(reason::FUTURE)));
        (0..10_000).for_each(|_| standing.judged(peer, Accepted::New));
        junk(&mut standing, MOST);
        assert_eq!(standing.turn(&peer), Turn::Second);
        junk(&mut standing, 10_000);
        (0..=-LEAST / GAIN).for_each(|_| standing.judged(peer, Accepted::New));
        assert_eq!(standing.turn(&peer), Turn::First);
    }
}
