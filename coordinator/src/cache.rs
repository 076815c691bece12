//! A bounded cache in two generations: when the young one is full it becomes the old one, and the old
//! one is dropped. Never holds more than twice its capacity; no clock, no list to keep in order.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keeps what was put in or asked for lately. Values should be cheap to clone.
#[derive(Debug)]
pub struct Bounded<K, V> {
    capacity: usize,
    generations: Mutex<Generations<K, V>>,
}

#[derive(Debug)]
struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// Counts removals, so that an answer that was under way during one is not kept.
    epoch: u64,
}

impl<K: Eq + Hash + Clone, V: Clone> Bounded<K, V> {
    /// A cache of at least `capacity` and at most twice as many values.
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), generations: Mutex::new(Generations { young: HashMap::new(), old: HashMap::new(), epoch: 0 }) }
    }

    /// The value, if it is held.
    pub fn get(&self, key: &K) -> Option<V> {
        let mut held = self.lock();
        if let Some(value) = held.young.get(key) {
            return Some(value.clone());
        }
        let value = held.old.get(key)?.clone();
        self.put_into(&mut held, key.clone(), value.clone());
        Some(value)
    }

    /// Keeps a value.
    pub fn put(&self, key: K, value: V) {
        self.put_into(&mut self.lock(), key, value);
    }

    /// To be asked for before a value is looked up, and given to [`Self::put_since`].
    pub fn epoch(&self) -> u64 {
        self.lock().epoch
    }

    /// Keeps a value unless something was removed since `epoch`: it may be out of date.
    pub fn put_since(&self, epoch: u64, key: K, value: V) {
        let mut held = self.lock();
        if held.epoch == epoch {
            self.put_into(&mut held, key, value);
        }
    }

    /// Forgets values that are out of date.
    pub fn remove<'k>(&self, keys: impl IntoIterator<Item = &'k K>)
    where
        K: 'k,
    {
        let mut held = self.lock();
        held.epoch += 1;
        for key in keys {
            held.young.remove(key);
            held.old.remove(key);
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        let mut held = self.lock();
        *held = Generations { young: HashMap::new(), old: HashMap::new(), epoch: held.epoch + 1 };
    }

    fn put_into(&self, held: &mut Generations<K, V>, key: K, value: V) {
        if held.young.len() >= self.capacity {
            held.old = std::mem::take(&mut held.young);
        }
        held.young.insert(key, value);
    }

    fn lock(&self) -> MutexGuard<'_, Generations<K, V>> {
        // Nothing in here can panic half-way through a change.
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_holds_more_than_twice_its_capacity_and_keeps_what_is_used() {
        let cache = Bounded::new(8);
        for n in 0..100_u32 {
            cache.put(n, n);
            assert_eq!(cache.get(&0), Some(0));
        }
        assert!((0..100).filter(|n| cache.get(n).is_some()).count() <= 17);
        assert_eq!(cache.get(&1), None);
    }

    #[test]
    fn an_answer_that_was_under_way_during_a_removal_is_not_kept() {
        let cache = Bounded::new(8);
        let epoch = cache.epoch();
        cache.remove([&1]);
        cache.put_since(epoch, 1, "stale");
        assert_eq!(cache.get(&1), None);
        cache.put_since(cache.epoch(), 1, "fresh");
        assert_eq!(cache.get(&1), Some("fresh"));
    }
}
