//! The files that results name and that are not here yet, with a fair share for every node.
//!
//! A result may name files that nobody has, as many as its author likes. So files are wanted in turns: one
//! of each node, another of each node, and so on; and of each node in an order that goes round, so that
//! lost files do not hide later ones.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_proto::{Digest, NodeId};

/// How long the same files are wanted before others have their turn. Long enough for every peer to be
/// asked for most of them, some fifty a second.
const TURN: Duration = Duration::from_secs(20);

/// The files that results name and that are lacking.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    nodes: BTreeMap<NodeId, Named>,
    turn_began: Duration,
    /// The node that is first in this turn.
    first: Option<NodeId>,
}

/// What results of one node name.
#[derive(Clone, Debug, Default)]
struct Named {
    digests: BTreeSet<Digest>,
    /// The last one of the turn before.
    after: Option<Digest>,
}

impl Wanted {
    /// A result of `node` names files that are lacking.
    pub fn extend(&mut self, node: NodeId, digests: impl IntoIterator<Item = Digest>) {
        let mut digests = digests.into_iter().peekable();
        if digests.peek().is_some() {
            self.nodes.entry(node).or_default().digests.extend(digests);
        }
    }

    /// Whether a file is wanted.
    pub fn contains(&self, digest: Digest) -> bool {
        self.nodes.values().any(|named| named.digests.contains(&digest))
    }

    /// A file is here.
    pub fn remove(&mut self, digest: Digest) {
        for named in self.nodes.values_mut() {
            named.digests.remove(&digest);
        }
        self.nodes.retain(|_, named| !named.digests.is_empty());
    }

    /// Forgets what `wanted` is false for.
    pub fn retain(&mut self, wanted: impl Fn(Digest) -> bool) {
        for named in self.nodes.values_mut() {
            named.digests.retain(|digest| wanted(*digest));
        }
        self.nodes.retain(|_, named| !named.digests.is_empty());
    }

    /// Up to `count_max` files, in turns of the nodes. `now` is the time since any fixed moment.
    pub fn some(&mut self, count_max: usize, now: Duration) -> Vec<Digest> {
        let share = (count_max / self.nodes.len().max(1)).max(1);
        if now.saturating_sub(self.turn_began) >= TURN {
            self.turn_began = now;
            self.next_turn(share, count_max);
        }
        let first = self.first.iter().flat_map(|first| self.nodes.range(*first..)).chain(&self.nodes);
        let mut lists: Vec<_> = first.take(self.nodes.len().max(1)).map(|(_, named)| named.in_order().take(share)).collect();
        let (mut seen, mut some) = (BTreeSet::new(), Vec::new());
        while some.len() < count_max && !lists.is_empty() {
            lists.retain_mut(|list| {
                let next = list.next();
                some.extend(next.filter(|digest| seen.insert(*digest)));
                next.is_some()
            });
        }
        some.truncate(count_max);
        some
    }

    /// The nodes beyond the ones that had their turn come first, and of each node the files beyond.
    fn next_turn(&mut self, share: usize, count_max: usize) {
        let step = if self.nodes.len() > count_max { count_max } else { 1 };
        for named in self.nodes.values_mut() {
            named.after = named.in_order().take(share).last();
        }
        let first = self.first.or_else(|| self.nodes.keys().next().copied());
        let beyond = first.and_then(|first| self.nodes.range(first..).nth(step));
        self.first = beyond.or_else(|| self.nodes.iter().next()).map(|(node, _)| *node);
    }
}

impl Named {
    /// All of them once, beginning behind the last one of the turn before.
    fn in_order(&self) -> impl Iterator<Item = Digest> {
        let begun = |digest: &&Digest| self.after.is_some_and(|after| **digest <= after);
        self.digests.iter().filter(move |digest| !begun(digest)).chain(self.digests.iter().filter(begun)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proto::SecretKey;

    fn node(number: u8) -> NodeId {
        SecretKey::from_seed(&[number; 32]).node_id()
    }

    /// As low as digests go.
    fn junk(from: u8, count: u16) -> Vec<Digest> {
        let digest = |n: u16| {
            let mut bytes = [0; 32];
            bytes[1..3].copy_from_slice(&n.to_be_bytes());
            bytes[31] = from;
            Digest::from_bytes(bytes)
        };
        (0..count).map(digest).collect()
    }

    #[test]
    fn low_digests_that_nobody_has_do_not_keep_another_nodes_files_out() {
        let mut wanted = Wanted::default();
        for liar in 1..=50 {
            wanted.extend(node(liar), junk(liar, 2000));
        }
        let honest: Vec<Digest> = (0..5).map(|n: u8| Digest::of(&[n])).collect();
        wanted.extend(node(99), honest.clone());
        let some = wanted.some(1024, Duration::ZERO);
        assert!(some.len() <= 1024);
        assert!(honest.iter().all(|digest| some.contains(digest)));
        let first = some.iter().position(|digest| honest.contains(digest));
        assert!(first.is_some_and(|at| at <= 50), "one of each node, before the second of any: {first:?}");
    }

    #[test]
    fn every_file_has_its_turn_however_many_are_lost() {
        let mut wanted = Wanted::default();
        wanted.extend(node(1), junk(1, 3000));
        wanted.extend(node(2), junk(2, 10));
        let mut asked = BTreeSet::new();
        for turn in 0..8 {
            asked.extend(wanted.some(1024, TURN * turn));
            asked.extend(wanted.some(1024, TURN * turn + TURN / 2));
        }
        assert_eq!(asked.len(), 3010);
    }

    #[test]
    fn more_nodes_than_places_take_turns() {
        let mut wanted = Wanted::default();
        (1..=40).for_each(|n| wanted.extend(node(n), junk(n, 1)));
        let mut asked = BTreeSet::new();
        for turn in 0..5 {
            let some = wanted.some(8, TURN * turn);
            assert_eq!(some.len(), 8);
            asked.extend(some);
        }
        assert_eq!(asked.len(), 40);
    }

    #[test]
    fn a_file_that_two_nodes_name_is_wanted_until_it_is_here() {
        let mut wanted = Wanted::default();
        let digest = Digest::of(b"shared");
        wanted.extend(node(1), [digest]);
        wanted.extend(node(2), [digest]);
        assert_eq!(wanted.some(10, Duration::ZERO), [digest]);
        wanted.remove(digest);
        assert!(!wanted.contains(digest) && wanted.some(10, Duration::ZERO).is_empty());
    }
}
