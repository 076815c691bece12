//! Something scarce, shared among addresses.
//!
//! Everybody gets a share at once. Where that makes them too many, the network that has most gives up the share that it has had
//! longest: who takes up much, from one place, makes room for its own.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// What is shared. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shares(Arc<Mutex<Held>>);

/// A share, given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    shares: Shares,
    network: IpAddr,
    number: u64,
}

/// Tells that a share is lost.
#[derive(Debug)]
pub struct Lost(oneshot::Receiver<Infallible>);

#[derive(Debug)]
struct Held {
    weight_max: usize,
    weight: usize,
    next: u64,
    networks: BTreeMap<IpAddr, Network>,
}

#[derive(Debug, Default)]
struct Network {
    weight: usize,
    /// By number: the first is the oldest.
    pieces: BTreeMap<u64, Piece>,
}

#[derive(Debug)]
struct Piece {
    weight: usize,
    /// Nothing is ever sent: it tells by being dropped.
    _tells: oneshot::Sender<Infallible>,
}

impl Shares {
    /// So much is there in all.
    pub fn new(weight_max: usize) -> Self {
        Self(Arc::new(Mutex::new(Held { weight_max, weight: 0, next: 0, networks: BTreeMap::new() })))
    }

    /// A share for somebody at this address.
    pub fn take(&self, from: IpAddr, weight: usize) -> (Share, Lost) {
        let (tells, told) = oneshot::channel();
        let network = network(from);
        let mut held = self.lock();
        let number = held.next;
        held.next += 1;
        held.networks.entry(network).or_default().pieces.insert(number, Piece { weight: 0, _tells: tells });
        held.grow(network, number, weight);
        (Share { shares: self.clone(), network, number }, Lost(told))
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// It takes up more.
    pub fn grow(&self, weight: usize) {
        self.shares.lock().grow(self.network, self.number, weight);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shares.lock().remove(self.network, self.number);
    }
}

impl Lost {
    /// Waits until the share is given up.
    pub async fn told(self) {
        // Nothing is ever sent.
        let _ = self.0.await;
    }
}

impl Held {
    fn grow(&mut self, network: IpAddr, number: u64, weight: usize) {
        // A share that is lost grows no more.
        let Some(one) = self.networks.get_mut(&network) else { return };
        let Some(piece) = one.pieces.get_mut(&number) else { return };
        piece.weight += weight;
        one.weight += weight;
        self.weight += weight;
        while self.weight > self.weight_max {
            let Some((network, number)) = self.next_to_go() else { return };
            self.remove(network, number);
        }
    }

    /// Of the network that has most the oldest; of two that have as much, the older one.
    fn next_to_go(&self) -> Option<(IpAddr, u64)> {
        let oldest = |one: &Network| one.pieces.first_key_value().map(|(number, _)| *number);
        let (network, one) = self.networks.iter().max_by_key(|(_, one)| (one.weight, Reverse(oldest(one))))?;
        Some((*network, oldest(one)?))
    }

    fn remove(&mut self, network: IpAddr, number: u64) {
        let Entry::Occupied(mut one) = self.networks.entry(network) else { return };
        let Some(piece) = one.get_mut().pieces.remove(&number) else { return };
        one.get_mut().weight -= piece.weight;
        self.weight -= piece.weight;
        if one.get().pieces.is_empty() {
            one.remove();
        }
    }
}

/// Whoever has one address of IPv6 has a network of them.
fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> IpAddr {
        IpAddr::from([203, 0, 113, last])
    }

    fn is_lost(share: &mut (Share, Lost)) -> bool {
        share.1.0.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    fn lost(held: &mut [(Share, Lost)]) -> Vec<usize> {
        let told = held.iter_mut().map(is_lost).enumerate();
        told.filter(|(_, is_lost)| *is_lost).map(|(at, _)| at).collect()
    }

    #[test]
    fn whoever_has_most_makes_room_with_its_oldest() {
        let shares = Shares::new(4);
        let mut held: Vec<_> = [1, 2, 2, 2].map(|last| shares.take(at(last), 1)).into();
        assert_eq!(lost(&mut held), [0; 0]);
        held.push(shares.take(at(3), 1));
        assert_eq!(lost(&mut held), [1]);
        // Among those with as much the oldest goes.
        held.push(shares.take(at(4), 1));
        assert_eq!(lost(&mut held), [1, 2]);
        held.push(shares.take(at(5), 1));
        assert_eq!(lost(&mut held), [0, 1, 2]);
    }

    #[test]
    fn what_counts_is_weight_and_one_that_outgrows_everything_is_lost_itself() {
        let shares = Shares::new(10);
        let mut held: Vec<_> = [1, 1, 1, 2].map(|last| shares.take(at(last), 1)).into();
        held[3].0.grow(5);
        assert_eq!(lost(&mut held), [0; 0]);
        held[0].0.grow(2);
        assert_eq!(lost(&mut held), [3], "six against five");
        held[0].0.grow(100);
        assert_eq!(lost(&mut held), [0, 3]);
        held[0].0.grow(100);
        assert_eq!(lost(&mut held), [0, 3], "what is lost grows no more");
    }

    #[test]
    fn everything_is_given_back() {
        let shares = Shares::new(3);
        for round in 0..3 {
            let held: Vec<_> = (0..9).map(|last| shares.take(at(last), round)).collect();
            drop(held);
            let left = shares.lock();
            assert!(left.weight == 0 && left.networks.is_empty());
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let shares = Shares::new(3);
        let ip = |network, last: u16| IpAddr::from([0x2001, 0xdb8, 0, network, 0, 0, 0, last]);
        let mut held: Vec<_> = [ip(1, 0), ip(2, 0), ip(2, 1), ip(2, 2)].map(|from| shares.take(from, 1)).into();
        assert_eq!(lost(&mut held), [1]);
    }
}
