//! What is going to happen, in order of time. Of two things at one time the one that was put down first comes first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

/// What is going to happen.
#[derive(Debug)]
pub struct Agenda<H> {
    times: BinaryHeap<Reverse<(Duration, u64)>>,
    happenings: BTreeMap<u64, H>,
    count: u64,
}

impl<H> Default for Agenda<H> {
    fn default() -> Self {
        Self { times: BinaryHeap::new(), happenings: BTreeMap::new(), count: 0 }
    }
}

impl<H> Agenda<H> {
    /// Puts something down.
    pub fn put(&mut self, at: Duration, happening: H) {
        self.times.push(Reverse((at, self.count)));
        self.happenings.insert(self.count, happening);
        self.count += 1;
    }

    /// What comes next, and when.
    pub fn take(&mut self) -> Option<(Duration, H)> {
        let Reverse((at, number)) = self.times.pop()?;
        self.happenings.remove(&number).map(|happening| (at, happening))
    }

    /// How many things were put down in all.
    pub fn count(&self) -> u64 {
        self.count
    }
}
