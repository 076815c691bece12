//! What may change verdicts although no result came: declarations, drills that were opened, proofs of equivocation.
//!
//! No signed time says when one came into the log: it may have been signed long before it was handed in. It was there at
//! the latest when this machine read it, when by its own word the coordinator made the first verdict that considers so
//! much of the log, and when witnesses cosigned a checkpoint that has it. [`DUE_AFTER`] behind the earliest of these an
//! occasion is *ripe*: whom it concerns is asked once, and each of them has a verdict that considers it or says the same.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use quorate_proto::declaration::{Declaration, VerifiedDeclaration};
use quorate_proto::{ArtifactSlot, Digest, NodeId, OperatorId, PurlPattern, Timestamp};
use quorate_tally::Declarations;

use super::course::DUE_AFTER;

/// Those that are not ripe, in the order of the log.
#[derive(Default)]
pub(super) struct Occasions {
    waiting: VecDeque<Occasion>,
    /// So many of them stand in what some verdict considers.
    considered: usize,
    /// When vouches for files end: verdicts change then although nothing comes.
    ends: BTreeSet<(Timestamp, Digest)>,
}

struct Occasion {
    leaf: u64,
    about: About,
    /// The earliest time that it is known to have been there at.
    stood: Option<Timestamp>,
}

/// What verdicts it may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// Those on these bytes.
    File(Digest),
    /// Those on files of these packages.
    Packages(PurlPattern),
    /// Those on files of this name.
    Slot(ArtifactSlot),
    /// Those that the result in this envelope counts for.
    Result(Digest),
    /// Those for which counts what an operator says: from a number on of one node, or of all nodes.
    Speaker {
        /// Whose nodes.
        operator: OperatorId,
        /// Which; all without.
        node: Option<NodeId>,
        /// From which number on.
        since: u64,
    },
}

/// What ripe occasions are about, each with the last leaf that is.
#[derive(Default)]
pub(super) struct Ripe {
    files: HashMap<Digest, u64>,
    packages: Vec<(PurlPattern, u64)>,
    slots: HashMap<ArtifactSlot, u64>,
    results: HashMap<Digest, u64>,
    /// With the first number.
    speakers: BTreeMap<(OperatorId, Option<NodeId>), (u64, u64)>,
}

impl Occasions {
    /// One stands at `leaf`, behind all others; this machine's clock says `now`.
    pub(super) fn add(&mut self, leaf: u64, about: About, now: Option<Timestamp>) {
        self.waiting.push_back(Occasion { leaf, about, stood: now });
    }

    /// A verdict that was made at that time considers so much of the log: the next one of more tells no more of this.
    pub(super) fn considered(&mut self, size: u64, at: Timestamp) {
        while let Some(next) = self.waiting.get_mut(self.considered).filter(|next| next.leaf < size) {
            next.stood_at(at);
            self.considered += 1;
        }
    }

    /// Witnesses say that the log had this size at that time.
    pub(super) fn cosigned(&mut self, size: u64, at: Timestamp) {
        for next in self.waiting.iter_mut().take_while(|next| next.leaf < size) {
            next.stood_at(at);
        }
    }

    /// Takes those that are ripe, up to the first that is not.
    pub(super) fn ripe(&mut self, now: Timestamp) -> Ripe {
        let mut ripe = Ripe::default();
        let is_ripe = |next: &mut Occasion| next.stood.is_some_and(|stood| stood.plus(DUE_AFTER) <= now);
        while let Some(Occasion { leaf, about, .. }) = self.waiting.pop_front_if(is_ripe) {
            self.considered = self.considered.saturating_sub(1);
            ripe.add(leaf, about);
        }
        ripe
    }

    /// A vouch for a file is in force until then.
    pub(super) fn add_end(&mut self, until: Timestamp, file: Digest) {
        self.ends.insert((until, file));
    }

    /// Takes the ends that are long enough ago: of each file the last one.
    pub(super) fn ended(&mut self, now: Timestamp) -> HashMap<Digest, Timestamp> {
        let mut ended = HashMap::new();
        while let Some((until, file)) = self.ends.first().copied().filter(|(until, _)| until.plus(DUE_AFTER) <= now) {
            self.ends.pop_first();
            ended.insert(file, until);
        }
        ended
    }

    /// Where the first stands that is not ripe: whatever stands before is.
    pub(super) fn unripe_from(&self) -> u64 {
        self.waiting.front().map_or(u64::MAX, |next| next.leaf)
    }
}

impl Occasion {
    fn stood_at(&mut self, at: Timestamp) {
        self.stood = Some(self.stood.map_or(at, |stood| stood.min(at)));
    }
}

impl About {
    /// What a declaration may change, which stands behind the `known` ones; nothing if it takes back what cannot be.
    pub(super) fn of(known: &Declarations, declared: &VerifiedDeclaration) -> Option<Self> {
        match declared.declaration() {
            Declaration::Advisory(advisory) => advisory.digest.map(Self::File).or_else(|| advisory.package.clone().map(Self::Packages)),
            Declaration::Vouch(vouch) => Some(Self::File(vouch.digest)),
            Declaration::Revocation(revocation) => {
                let operator = OperatorId::from_bytes(*revocation.signer.as_bytes()).ok()?;
                Some(Self::Speaker { operator, node: revocation.node, since: revocation.since })
            }
            Declaration::Retraction(back) => match known.leaf_of(&back.statement).and_then(|leaf| known.at(leaf)) {
                Some(earlier) if matches!(earlier.declaration(), Declaration::Advisory(_) | Declaration::Vouch(_)) => {
                    Self::of(known, earlier)
                }
                Some(_) => None,
                None => Some(Self::Result(back.statement)),
            },
        }
    }
}

impl Ripe {
    fn add(&mut self, leaf: u64, about: About) {
        match about {
            About::File(digest) => drop(self.files.insert(digest, leaf)),
            About::Packages(pattern) => self.packages.push((pattern, leaf)),
            About::Slot(slot) => self.concern(slot, leaf),
            About::Result(envelope) => drop(self.results.insert(envelope, leaf)),
            About::Speaker { operator, node, since } => {
                let (first, last) = self.speakers.entry((operator, node)).or_insert((since, leaf));
                (*first, *last) = (since.min(*first), leaf);
            }
        }
    }

    /// One at `leaf` is about a slot, too.
    pub(super) fn concern(&mut self, slot: ArtifactSlot, leaf: u64) {
        let last = self.slots.entry(slot).or_insert(leaf);
        *last = leaf.max(*last);
    }

    /// Whether it is about nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.packages.is_empty() && self.slots.is_empty() && !self.is_about_entries()
    }

    /// Whether it is about what nodes have said.
    pub(super) fn is_about_entries(&self) -> bool {
        !self.results.is_empty() || !self.speakers.is_empty()
    }

    /// The last that is about an entry of a feed.
    pub(super) fn last_on_entry(&self, operator: OperatorId, place: (NodeId, u64), envelope: &Digest) -> Option<u64> {
        let (node, sequence) = place;
        let speakers = [None, Some(node)].into_iter().filter_map(|node| self.speakers.get(&(operator, node)));
        let speakers = speakers.filter(|(since, _)| *since <= sequence).map(|(_, leaf)| *leaf);
        speakers.chain(self.results.get(envelope).copied()).max()
    }

    /// The last that is about an artifact. Complexity: O(n) in the number of patterns.
    pub(super) fn last_on(&self, slot: &ArtifactSlot, digest: &Digest) -> Option<u64> {
        let named = [self.files.get(digest), self.slots.get(slot)].into_iter().flatten().copied();
        let meant = self.packages.iter().filter(|(pattern, _)| pattern.matches(&slot.package)).map(|(_, leaf)| *leaf);
        named.chain(meant).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_unix_seconds(60 * minutes)
    }

    fn about(content: u8) -> About {
        About::File(Digest::of(&[content]))
    }

    /// The leaves of those that are ripe.
    fn ripe(occasions: &mut Occasions, minutes: i64) -> Vec<u64> {
        let mut leaves: Vec<_> = occasions.ripe(at(minutes)).files.into_values().collect();
        leaves.sort_unstable();
        leaves
    }

    #[test]
    fn who_watches_without_end_needs_nobody_to_say_how_long_something_has_been_there() {
        let mut occasions = Occasions::default();
        occasions.add(3, about(3), Some(at(0)));
        occasions.add(5, about(5), Some(at(1)));
        assert_eq!((ripe(&mut occasions, 9), occasions.unripe_from()), (vec![], 3));
        assert_eq!((ripe(&mut occasions, 10), occasions.unripe_from()), (vec![3], 5));
        assert_eq!((ripe(&mut occasions, 11), occasions.unripe_from()), (vec![5], u64::MAX));
    }

    #[test]
    fn the_earliest_word_counts_the_coordinators_first_and_no_later_one() {
        let mut occasions = Occasions::default();
        for leaf in [3, 5, 7] {
            occasions.add(leaf, about(1), Some(at(100)));
        }
        occasions.considered(3, at(0));
        occasions.considered(6, at(20));
        occasions.considered(6, at(1));
        assert_eq!((ripe(&mut occasions, 29), occasions.unripe_from()), (vec![], 3));
        assert_eq!((ripe(&mut occasions, 30), occasions.unripe_from()), (vec![5], 7));
        occasions.cosigned(7, at(0));
        occasions.cosigned(8, at(25));
        assert_eq!((ripe(&mut occasions, 34), ripe(&mut occasions, 35)), (vec![], vec![7]));
        // A verdict dates what came after those that are ripe.
        occasions.add(9, about(2), Some(at(100)));
        occasions.considered(10, at(40));
        assert_eq!(ripe(&mut occasions, 50), [9]);
    }
}
