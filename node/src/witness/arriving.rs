//! Places for requests that are arriving: so many in all, and so many from one address. Who takes its time takes it from
//! no more than its own.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{ARRIVING_FROM_ONE_MAX, ARRIVING_MAX};

/// How many requests are arriving from where. An address of IPv6 counts by its network.
#[derive(Debug, Default)]
pub(super) struct Arriving(Mutex<BTreeMap<IpAddr, usize>>);

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    arriving: &'a Arriving,
    from: IpAddr,
}

impl Arriving {
    /// A place for a request from this address, if there is one.
    pub(super) fn place(&self, from: IpAddr) -> Option<Place<'_>> {
        let from = network(from);
        let mut places = self.lock();
        let (all, own) = (places.values().sum::<usize>(), places.get(&from).copied().unwrap_or(0));
        if all >= ARRIVING_MAX || own >= ARRIVING_FROM_ONE_MAX {
            return None;
        }
        places.insert(from, own + 1);
        Some(Place { arriving: self, from })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut places = self.arriving.lock();
        match places.get_mut(&self.from) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(places.remove(&self.from)),
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

    #[test]
    fn one_address_takes_no_more_than_its_share_and_gets_it_back() {
        let arriving = Arriving::default();
        let at = |last: u8| IpAddr::from([203, 0, 113, last]);
        let mut held: Vec<_> = std::iter::from_fn(|| arriving.place(at(1))).collect();
        assert_eq!(held.len(), ARRIVING_FROM_ONE_MAX);
        let other = arriving.place(at(2));
        assert!(other.is_some());
        held.pop();
        held.extend(arriving.place(at(1)));
        assert_eq!(held.len(), ARRIVING_FROM_ONE_MAX);
        drop((held, other));
        assert!(arriving.lock().is_empty());
        let all: Vec<_> = (0..=u8::MAX).flat_map(|last| std::iter::from_fn(|| arriving.place(at(last))).collect::<Vec<_>>()).collect();
        assert_eq!(all.len(), ARRIVING_MAX);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let arriving = Arriving::default();
        let at = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        let held: Vec<_> = (0..100).filter_map(|last| arriving.place(at(last))).collect();
        assert_eq!(held.len(), ARRIVING_FROM_ONE_MAX);
    }
}
