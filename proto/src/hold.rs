//! When a node may commit to a result, and when it may reveal it: a machine over what the node has seen.
//!
//! The rule: commit while nobody's result of the task is seen; reveal once enough other operators have committed
//! and the others had a moment to see the same, or once somebody's result is seen (holding back protects nothing
//! any more), or once the time promised is over.
//!
//! In scope: the order in which one node sees commitments and results of a task. Out of scope: files, feeds, and a
//! clock: the time comes in. What was seen is [`Sighting`], small enough to be kept durably by whoever holds a
//! result back.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::commitment::{Nonce, Promise, Reveals, SEEN_LISTED_MAX};
use crate::entry::VerifiedEntry;
use crate::{Digest, OperatorId, TaskId, Timestamp};

/// Tasks of one operator, committed to by it and without a result, that are remembered. Of more than these the
/// commitments are not named: nobody fills another's memory.
const OPEN_OF_AN_OPERATOR_MAX: usize = 4_096;

/// How a node holds results back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Commitments of so many other operators are enough.
    pub enough: u32,
    /// How long the node waits for them.
    pub hold: Duration,
    /// How long it waits when it has seen enough, so that the others see as many before the first result.
    pub settle: Duration,
}

/// What a node has seen of one task before it saw a result of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sighting {
    /// The first commitment of each other operator, by the digest of its envelope.
    pub seen: BTreeMap<OperatorId, Digest>,
    /// The first result that it saw. Nothing is added to `seen` after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Digest>,
}

/// Whether a committed result is to be revealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Not yet. Before this time nothing changes but by what is seen meanwhile.
    Wait {
        /// When to look again.
        until: Timestamp,
    },
    /// Now, saying this.
    Reveal(Sighting),
}

/// All that a node has seen of all tasks.
#[derive(Clone, Debug)]
pub struct Sightings {
    own: OperatorId,
    /// Tasks without a result, and those whose own result is held back.
    open: BTreeMap<TaskId, Open>,
    /// How many of them each operator has committed to.
    counts: BTreeMap<OperatorId, usize>,
    /// Tasks with a result.
    told: BTreeSet<TaskId>,
}

#[derive(Clone, Debug, Default)]
struct Open {
    sighting: Sighting,
    /// When the last commitment was seen.
    last_at: Option<Timestamp>,
    held: bool,
}

impl Terms {
    /// What a node that commits at `now` promises.
    pub fn promise(&self, now: Timestamp) -> Promise {
        Promise::new(self.enough, self.hold, now)
    }
}

impl Sighting {
    /// What a result says that opens the commitment at `sequence`.
    pub fn reveals(&self, sequence: u64, nonce: Nonce) -> Reveals {
        let seen: BTreeSet<_> = self.seen.values().copied().collect();
        Reveals { sequence, nonce, seen: seen.into_iter().take(SEEN_LISTED_MAX).collect(), after: self.after }
    }
}

impl Sightings {
    /// Nothing seen yet. Commitments of `own`, whichever of its nodes made them, are nobody else's.
    pub fn new(own: OperatorId) -> Self {
        Self { own, open: BTreeMap::new(), counts: BTreeMap::new(), told: BTreeSet::new() }
    }

    /// An entry was taken in: in the order in which this node takes them in, its own among them.
    pub fn saw(&mut self, entry: &VerifiedEntry, now: Timestamp) {
        match entry {
            VerifiedEntry::Result(result) => self.saw_result(TaskId::of(&result.artifact().slot), result.digest()),
            VerifiedEntry::Commitment(entry) => self.saw_commitment(entry.task(), entry.operator(), entry.digest(), now),
            VerifiedEntry::Check(_) => {}
        }
    }

    /// A commitment was seen. Only the first of an operator counts.
    pub fn saw_commitment(&mut self, task: TaskId, by: OperatorId, commitment: Digest, now: Timestamp) {
        let count = self.counts.entry(by).or_default();
        if by == self.own || self.told.contains(&task) || *count >= OPEN_OF_AN_OPERATOR_MAX {
            return;
        }
        let open = self.open.entry(task).or_default();
        if open.sighting.seen.len() < SEEN_LISTED_MAX
            && let Entry::Vacant(place) = open.sighting.seen.entry(by)
        {
            place.insert(commitment);
            *count += 1;
            open.last_at = Some(now);
        }
    }

    /// A result was seen: from here on every commitment to its task may have been made with an eye on it.
    pub fn saw_result(&mut self, task: TaskId, result: Digest) {
        match self.open.get_mut(&task).filter(|open| open.held) {
            Some(open) => open.sighting.after = open.sighting.after.or(Some(result)),
            None => self.forget(&task),
        }
        self.told.insert(task);
    }

    /// Whether a commitment to the task says anything: nobody's result of it was seen.
    pub fn may_commit(&self, task: &TaskId) -> bool {
        !self.told.contains(task)
    }

    /// The node commits to a result of the task: what it sees of it is kept until [`Self::release`]. Whether that is
    /// of any use: not once somebody's result was seen.
    pub fn hold(&mut self, task: TaskId) -> bool {
        let may = self.may_commit(&task);
        if may {
            self.open.entry(task).or_default().held = true;
        }
        may
    }

    /// The node held a result of the task back before it stopped, and had seen this much. To be called before what
    /// its feeds hold is [seen](Self::saw) again, results first: their order is not known any more.
    pub fn restore(&mut self, task: TaskId, sighting: Sighting) {
        for operator in sighting.seen.keys() {
            *self.counts.entry(*operator).or_default() += 1;
        }
        self.open.insert(task, Open { sighting, last_at: None, held: true });
    }

    /// The node has revealed its result of the task, or never will.
    pub fn release(&mut self, task: &TaskId) {
        if self.told.contains(task) {
            self.forget(task);
        } else if let Some(open) = self.open.get_mut(task) {
            open.held = false;
        }
    }

    /// What was seen of a task whose result is held back.
    pub fn sighting(&self, task: &TaskId) -> Option<&Sighting> {
        self.open.get(task).filter(|open| open.held).map(|open| &open.sighting)
    }

    /// Whether the result of `task`, committed to with this promise, is to be revealed at `now`.
    pub fn decide(&self, task: &TaskId, promise: &Promise, settle: Duration, now: Timestamp) -> Decision {
        let open = self.open.get(task).cloned().unwrap_or_default();
        let until = if open.sighting.seen.len() >= promise.enough as usize {
            let settled = open.last_at.map_or(now, |at| at.plus(settle));
            settled.min(promise.hold_until)
        } else {
            promise.hold_until
        };
        if open.sighting.after.is_some() || now >= until { Decision::Reveal(open.sighting) } else { Decision::Wait { until } }
    }

    fn forget(&mut self, task: &TaskId) {
        for operator in self.open.remove(task).into_iter().flat_map(|open| open.sighting.seen.into_keys()) {
            if let Some(count) = self.counts.get_mut(&operator) {
                *count = count.saturating_sub(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{ArtifactSlot, SecretKey};

    const TERMS: Terms = Terms { enough: 2, hold: Duration::from_mins(10), settle: Duration::from_secs(2) };

    fn operator(seed: u8) -> OperatorId {
        SecretKey::from_seed(&[seed; 32]).operator_id()
    }

    fn task(name: &str) -> TaskId {
        let package = format!("pkg:pypi/{name}@1").parse().unwrap();
        TaskId::of(&ArtifactSlot { package, file: "file".parse().unwrap() })
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(1_000_000 + seconds)
    }

    fn sightings() -> Sightings {
        Sightings::new(operator(0))
    }

    fn digests(seen: &[u8]) -> BTreeMap<OperatorId, Digest> {
        seen.iter().map(|seed| (operator(*seed), Digest::of(&[*seed]))).collect()
    }

    fn sees(sightings: &mut Sightings, seed: u8, now: i64) {
        sightings.saw_commitment(task("a"), operator(seed), Digest::of(&[seed]), at(now));
    }

    fn decide(sightings: &Sightings, now: i64) -> Decision {
        sightings.decide(&task("a"), &TERMS.promise(at(0)), TERMS.settle, at(now))
    }

    #[test]
    fn a_result_is_held_back_until_enough_others_have_committed_and_had_a_moment() {
        let mut sightings = sightings();
        sees(&mut sightings, 1, 0);
        assert!(sightings.hold(task("a")), "what came before one's own commitment is seen as well");
        assert_eq!(decide(&sightings, 0), Decision::Wait { until: at(600) });
        sees(&mut sightings, 1, 1);
        sees(&mut sightings, 0, 1);
        assert_eq!(decide(&sightings, 1), Decision::Wait { until: at(600) }, "one operator counts once, and one's own not at all");
        sees(&mut sightings, 2, 5);
        assert_eq!(decide(&sightings, 5), Decision::Wait { until: at(7) });
        let all = Sighting { seen: digests(&[1, 2]), after: None };
        assert_eq!(decide(&sightings, 7), Decision::Reveal(all));
    }

    #[test]
    fn the_time_promised_ends_the_wait_however_few_have_committed() {
        let mut sightings = sightings();
        assert!(sightings.hold(task("a")));
        assert_eq!(decide(&sightings, 599), Decision::Wait { until: at(600) });
        assert_eq!(decide(&sightings, 600), Decision::Reveal(Sighting::default()));
    }

    #[test]
    fn a_result_ends_the_wait_and_no_commitment_after_it_is_named() {
        let mut sightings = sightings();
        assert!(sightings.hold(task("a")));
        sees(&mut sightings, 1, 1);
        sightings.saw_result(task("a"), Digest::of(b"result"));
        sightings.saw_result(task("a"), Digest::of(b"later"));
        sees(&mut sightings, 2, 2);
        let sighting = Sighting { seen: digests(&[1]), after: Some(Digest::of(b"result")) };
        assert_eq!(decide(&sightings, 2), Decision::Reveal(sighting));
        assert!(!sightings.hold(task("a")) && !sightings.may_commit(&task("a")), "nobody commits to what is told");
        assert!(sightings.may_commit(&task("b")));
    }

    #[test]
    fn what_was_seen_before_a_restart_is_named_and_no_more_than_that() {
        let mut sightings = sightings();
        sightings.restore(task("a"), Sighting { seen: digests(&[1]), after: None });
        sightings.saw_result(task("a"), Digest::of(b"result"));
        sees(&mut sightings, 2, 9);
        let sighting = Sighting { seen: digests(&[1]), after: Some(Digest::of(b"result")) };
        assert_eq!(decide(&sightings, 9), Decision::Reveal(sighting), "whether the second came before the result nobody knows");
    }

    #[test]
    fn an_operator_that_commits_without_end_fills_no_memory_and_keeps_nobody_else_out() {
        let mut sightings = sightings();
        for n in 0..2 * OPEN_OF_AN_OPERATOR_MAX {
            sightings.saw_commitment(task(&n.to_string()), operator(1), Digest::of(b"c"), at(0));
        }
        assert_eq!(sightings.open.len(), OPEN_OF_AN_OPERATOR_MAX);
        sees(&mut sightings, 1, 0);
        sees(&mut sightings, 2, 0);
        assert!(sightings.hold(task("a")));
        assert_eq!(sightings.sighting(&task("a")).unwrap().seen, digests(&[2]));
        sightings.saw_result(task("0"), Digest::of(b"result"));
        sees(&mut sightings, 1, 0);
        assert_eq!(sightings.sighting(&task("a")).unwrap().seen, digests(&[1, 2]), "who reveals has room again");
    }

    #[test]
    fn what_is_revealed_is_forgotten_but_that_it_was_told() {
        let mut sightings = sightings();
        assert!(sightings.hold(task("a")));
        sees(&mut sightings, 1, 1);
        sightings.saw_result(task("a"), Digest::of(b"own"));
        sightings.release(&task("a"));
        assert!(sightings.open.is_empty() && sightings.counts[&operator(1)] == 0);
        assert!(!sightings.may_commit(&task("a")));
    }
}
