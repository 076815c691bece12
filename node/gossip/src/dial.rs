//! When to dial which bootstrap address: at once, then with growing pauses, for ever.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};

/// First pause.
const PAUSE_MIN: Duration = Duration::from_millis(500);

/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The bootstrap addresses with their state.
#[derive(Debug)]
pub(crate) struct Dialer {
    targets: Vec<Target>,
}

#[derive(Debug)]
struct Target {
    address: Multiaddr,
    state: State,
    pause: Duration,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Waiting {
        until: Duration,
    },
    Dialling,
    Connected(PeerId),
    /// It is our own address: never dialled again.
    Own,
}

impl Dialer {
    pub(crate) fn new(addresses: Vec<Multiaddr>) -> Self {
        let target = |address| Target { address, state: State::Waiting { until: Duration::ZERO }, pause: PAUSE_MIN };
        Self { targets: addresses.into_iter().map(target).collect() }
    }

    /// The addresses to dial now; each counts as being dialled from here on.
    pub(crate) fn due(&mut self, now: Duration) -> Vec<(usize, Multiaddr)> {
        let mut due = Vec::new();
        for (index, target) in self.targets.iter_mut().enumerate() {
            if matches!(target.state, State::Waiting { until } if until <= now) {
                target.state = State::Dialling;
                due.push((index, target.address.clone()));
            }
        }
        due
    }

    /// A dial went through.
    pub(crate) fn connected(&mut self, index: usize, peer: PeerId) {
        let target = &mut self.targets[index];
        (target.state, target.pause) = (State::Connected(peer), PAUSE_MIN);
    }

    /// A dial failed.
    pub(crate) fn failed(&mut self, index: usize, now: Duration) {
        let target = &mut self.targets[index];
        target.state = State::Waiting { until: now + target.pause };
        target.pause = (target.pause * 2).min(PAUSE_MAX);
    }

    /// A dial reached ourselves.
    pub(crate) fn own(&mut self, index: usize) {
        self.targets[index].state = State::Own;
    }

    /// The last connection to `peer` is gone.
    pub(crate) fn closed(&mut self, peer: PeerId, now: Duration) {
        for target in self.targets.iter_mut().filter(|target| target.state == State::Connected(peer)) {
            target.state = State::Waiting { until: now + PAUSE_MIN };
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_dead_address_is_dialled_for_ever_with_pauses_that_end_growing() {
        let mut dialer = Dialer::new(vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()]);
        let (mut now, mut pauses) = (Duration::ZERO, Vec::new());
        for _ in 0..10 {
            assert_eq!(dialer.due(now).len(), 1);
            assert!(dialer.due(now).is_empty(), "one dial at a time");
            dialer.failed(0, now);
            let before = now;
            while dialer.targets[0].state != State::Dialling && dialer.due(now).is_empty() {
                now += Duration::from_millis(100);
            }
            pauses.push(now.saturating_sub(before));
            dialer.targets[0].state = State::Waiting { until: now };
        }
        assert_eq!(pauses[..3], [500, 1000, 2000].map(Duration::from_millis));
        assert_eq!(*pauses.last().unwrap(), PAUSE_MAX);
    }

    #[test]
    fn a_lost_peer_is_dialled_again_and_our_own_address_never() {
        let mut dialer = Dialer::new(vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap(), "/ip4/127.0.0.1/tcp/2".parse().unwrap()]);
        let (peer, at) = (PeerId::random(), Duration::from_secs);
        dialer.due(at(0));
        dialer.connected(0, peer);
        dialer.own(1);
        assert!(dialer.due(at(1000)).is_empty());
        dialer.closed(peer, at(1000));
        assert_eq!(dialer.due(at(1001)).len(), 1);
    }
}
