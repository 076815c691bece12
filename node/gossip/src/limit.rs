//! Token buckets: what a peer may cost before any signature is checked, what an operator may have passed on after, and
//! how often an address may connect.

use std::collections::BTreeMap;
use std::time::Duration;

/// A rate with a burst.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// How many at once.
    pub burst: u32,
    /// How many a second in the long run.
    pub per_second: u32,
}

/// Gossip frames. A busy network makes some ten results a second; what exceeds this comes by sync.
pub const FRAMES: Rate = Rate { burst: 512, per_second: 128 };

/// Sync requests. A late joiner asks once per 4 MiB of entries and once a file.
pub const REQUESTS: Rate = Rate { burst: 1024, per_second: 256 };

/// Verified items of one operator that are passed on, whoever brings them. What exceeds this is kept, and comes to
/// others by sync: an operator that signs much must not crowd out the others' gossip.
pub const OPERATOR_ITEMS: Rate = Rate { burst: 4096, per_second: 64 };

/// Incoming connections of one address. A household of nodes that all restart fits into it.
pub const ARRIVALS: Rate = Rate { burst: 64, per_second: 1 };

/// Buckets of peers, operators or addresses.
#[derive(Debug)]
pub struct Limiter<K> {
    rate: Rate,
    buckets: BTreeMap<K, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Duration,
}

impl<K: Ord> Limiter<K> {
    /// Buckets of one rate, all full.
    pub fn new(rate: Rate) -> Self {
        Self { rate, buckets: BTreeMap::new() }
    }

    /// Takes a token of `key`, if there is one. `now` is the time since any fixed moment.
    pub fn admit(&mut self, key: K, now: Duration) -> bool {
        let burst = f64::from(self.rate.burst);
        let bucket = self.buckets.entry(key).or_insert(Bucket { tokens: burst, at: now });
        let gained = now.saturating_sub(bucket.at).as_secs_f64() * f64::from(self.rate.per_second);
        bucket.tokens = (bucket.tokens + gained).min(burst);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }

    /// Forgets whose bucket is full again: one that reconnects quickly gains nothing by it.
    pub fn forget_full(&mut self, now: Duration) {
        let refill = f64::from(self.rate.burst) / f64::from(self.rate.per_second);
        self.buckets.retain(|_, bucket| now.saturating_sub(bucket.at).as_secs_f64() < refill);
    }
}

#[cfg(test)]
mod tests {
    use libp2p::PeerId;

    use super::*;

    #[test]
    fn a_peer_gets_its_burst_and_then_its_rate_even_when_it_reconnects() {
        let mut limiter = Limiter::new(Rate { burst: 3, per_second: 1 });
        let (peer, other) = (PeerId::random(), PeerId::random());
        let at = Duration::from_secs;
        assert_eq!((0..5).filter(|_| limiter.admit(peer, at(0))).count(), 3);
        assert!(limiter.admit(other, at(0)));
        limiter.forget_full(at(1));
        assert_eq!((0..5).filter(|_| limiter.admit(peer, at(1))).count(), 1);
        limiter.forget_full(at(10));
        assert_eq!((0..5).filter(|_| limiter.admit(peer, at(10))).count(), 3);
    }
}
