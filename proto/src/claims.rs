//! Which results of others are to be held against own builds, and how often: a machine over what the node has seen.
//!
//! Everything here follows from the feeds: an own result with a build witness says that the work was done, an own
//! check that a result was looked at, another operator's result with a build witness that there is something to
//! look at. So nothing is written down, and a start comes to the same as having run on. What the own result says
//! already, that the other was bound to its answer before there was one to copy, needs no check beside it.
//!
//! In scope: entries, in the order in which one node takes them in. Out of scope: what own builds left, and the own
//! feed: whoever asks what is [`ready`](Claims::ready) signs a check, or [leaves it out](Claims::forget).
//! Implements `docs/spec/build-witness.md`, section "Witness check".

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::entry::{EntryStatement, VerifiedEntry};
use crate::result::{EnvironmentClass, RebuildResult};
use crate::witness_check::{Claim, WitnessCheck};
use crate::{Digest, NodeId, OperatorId, TaskId};

/// Results that arrived before the own one of their task and are remembered: about 1.5 KiB each. When there are
/// more, the oldest are forgotten: nobody says that they were built.
const WAITING_MAX: usize = 4096;
/// Results that wait to be checked. When there are more, the oldest are left out until the next start.
const READY_MAX: usize = 4096;
/// Checks of one operator's results for one task: who builds again and again is not checked again and again.
const CHECKS_OF_ONE_MAX: usize = 4;
/// Others' commitments without a result that are remembered, 80 bytes each. A result whose commitment was forgotten
/// is checked.
const COMMITTED_MAX: usize = 65_536;

/// Work that is done in one kind of environment.
type Work = (TaskId, EnvironmentClass);

/// What one node knows of others' results, and whether they are to be checked.
#[derive(Debug)]
pub struct Claims {
    own: (NodeId, OperatorId),
    /// Own results with a build witness, and the commitments that each names as seen.
    built: BTreeMap<Work, Vec<Digest>>,
    /// Others' commitments, by their places.
    committed: BTreeMap<(NodeId, u64), Digest>,
    /// In the order in which they came.
    waiting: VecDeque<Other>,
    ready: VecDeque<Claim>,
    /// Results that own checks name.
    done: BTreeSet<Digest>,
    counts: BTreeMap<(OperatorId, TaskId), usize>,
}

/// Another operator's result, and the commitment that it says to open.
#[derive(Debug)]
struct Other {
    claim: Claim,
    opens: Option<Digest>,
}

impl Claims {
    /// Nothing seen yet, by the node that checks and whoever answers for it.
    pub fn new(node: NodeId, operator: OperatorId) -> Self {
        Self {
            own: (node, operator),
            built: BTreeMap::new(),
            committed: BTreeMap::new(),
            waiting: VecDeque::new(),
            ready: VecDeque::new(),
            done: BTreeSet::new(),
            counts: BTreeMap::new(),
        }
    }

    /// An entry that a feed holds at a start: those of the own feed first.
    pub fn load(&mut self, entry: &EntryStatement, digest: Digest) {
        match entry {
            EntryStatement::Result(statement) => self.result(&statement.predicate, Claim::read(statement, digest)),
            EntryStatement::Check(statement) => self.check(&statement.predicate),
            EntryStatement::Commitment(statement) => {
                self.commitment((statement.predicate.feed.node, statement.predicate.feed.sequence), digest);
            }
        }
    }

    /// An entry became durable, the node's own or another's.
    pub fn saw(&mut self, entry: &VerifiedEntry) {
        match entry {
            VerifiedEntry::Result(result) => self.result(result.result(), Claim::of(result)),
            VerifiedEntry::Check(check) => self.check(check.check()),
            VerifiedEntry::Commitment(entry) => self.commitment((entry.node(), entry.position().sequence), entry.digest()),
        }
    }

    /// Some that are to be checked, the longest waiting first.
    pub fn ready(&self, count_max: usize) -> Vec<Claim> {
        self.ready.iter().take(count_max).cloned().collect()
    }

    /// Leaves one out: there is nothing to hold it against.
    pub fn forget(&mut self, claim: &Claim) {
        self.ready.retain(|ready| ready.checked != claim.checked);
    }

    fn commitment(&mut self, place: (NodeId, u64), digest: Digest) {
        if place.0 == self.own.0 {
            return;
        }
        self.committed.insert(place, digest);
        if self.committed.len() > COMMITTED_MAX {
            self.committed.pop_first();
        }
    }

    fn result(&mut self, result: &RebuildResult, claim: Option<Claim>) {
        let reveals = result.reveals.as_ref();
        let opens = reveals.and_then(|reveals| self.committed.remove(&(result.feed.node, reveals.sequence)));
        match claim {
            Some(own) if own.checked.node == self.own.0 => {
                self.built(&own, reveals.map(|reveals| reveals.seen.clone()).unwrap_or_default());
            }
            // What another node of one's own says needs no bearing out: it is the same operator's vote.
            Some(claim) if claim.checked.operator != self.own.1 => self.heard(Other { claim, opens }),
            Some(_) | None => {}
        }
    }

    /// Of several own results of one work the latest says what was seen.
    fn built(&mut self, own: &Claim, seen: Vec<Digest>) {
        let work = (own.task(), own.environment);
        self.built.insert(work, seen);
        let is_of_it = |other: &Other| (other.claim.task(), other.claim.environment) == work;
        let (ready, waiting): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(is_of_it);
        self.waiting = waiting.into();
        for other in ready {
            self.heard(other);
        }
    }

    fn check(&mut self, check: &WitnessCheck) {
        if check.feed.node == self.own.0 {
            self.checked(check);
        }
    }

    fn checked(&mut self, check: &WitnessCheck) {
        self.done.insert(check.checked.statement);
        *self.counts.entry((check.checked.operator, check.task())).or_default() += 1;
        self.ready.retain(|claim| claim.checked.statement != check.checked.statement);
    }

    fn heard(&mut self, other: Other) {
        match self.built.get(&(other.claim.task(), other.claim.environment)) {
            Some(seen) if other.opens.is_some_and(|commitment| seen.contains(&commitment)) => {}
            Some(_) => self.make_ready(other.claim),
            None => push(&mut self.waiting, other, WAITING_MAX),
        }
    }

    fn make_ready(&mut self, claim: Claim) {
        let (operator, task) = (claim.checked.operator, claim.task());
        if self.done.contains(&claim.checked.statement) {
            return;
        }
        let under_way = self.ready.iter().filter(|other| other.checked.operator == operator && other.slot == claim.slot).count();
        let checked = self.counts.get(&(operator, task)).copied().unwrap_or(0);
        if under_way + checked < CHECKS_OF_ONE_MAX {
            push(&mut self.ready, claim, READY_MAX);
        }
    }
}

fn push<T>(queue: &mut VecDeque<T>, one: T, count_max: usize) {
    if queue.len() == count_max {
        queue.pop_front();
    }
    queue.push_back(one);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ArtifactSlot;
    use crate::build_witness::{Agreement, BUCKETS, BuildWitness};
    use crate::feed::FeedHead;
    use crate::witness_check::Checked;
    use crate::{SecretKey, Timestamp};

    impl Claims {
        fn hears(&mut self, claim: Claim) {
            self.heard(Other { claim, opens: None });
        }
    }

    fn claims() -> Claims {
        let key = SecretKey::from_seed(&[99; 32]);
        Claims::new(key.node_id(), key.operator_id())
    }

    /// What the operator `operator` says of task `task` in its result `n`.
    fn claim(operator: u8, task: u8, n: u32) -> Claim {
        let package = format!("pkg:pypi/a@{task}").parse().expect("a package URL");
        let slot = ArtifactSlot { package, file: "a.whl".parse().expect("a file name") };
        let key = SecretKey::from_seed(&[operator; 32]);
        let statement = Digest::of(format!("{operator} {n}").as_bytes());
        let checked = Checked { operator: key.operator_id(), node: key.node_id(), statement };
        Claim { slot, environment: EnvironmentClass::Host, checked, witness: BuildWitness { buckets: [None; BUCKETS] } }
    }

    fn check(claim: &Claim) -> WitnessCheck {
        let own = SecretKey::from_seed(&[99; 32]);
        let position = FeedHead::default().position(own.node_id());
        let (agreement, now) = (Agreement { matched: 1, compared: 1 }, Timestamp::from_unix_seconds(0));
        claim.clone().into_statement(agreement, own.operator_id(), position, now).predicate
    }

    #[test]
    fn a_result_is_checked_once_and_only_for_work_that_was_done_here() {
        let mut claims = claims();
        claims.hears(claim(1, 1, 0));
        claims.hears(claim(1, 2, 1));
        assert_eq!(claims.ready(9), []);
        claims.built(&claim(99, 1, 0), Vec::new());
        assert_eq!(claims.ready(9), [claim(1, 1, 0)], "what came before the own result");
        claims.hears(claim(2, 1, 0));
        assert_eq!(claims.ready(9), [claim(1, 1, 0), claim(2, 1, 0)]);
        claims.built(&claim(99, 1, 5), Vec::new());
        assert_eq!(claims.ready(1).len(), 1);
        claims.checked(&check(&claim(1, 1, 0)));
        claims.hears(claim(1, 1, 0));
        assert_eq!(claims.ready(9), [claim(2, 1, 0)]);
        let other_class = Claim { environment: EnvironmentClass::Rootfs, ..claim(3, 1, 0) };
        claims.hears(other_class);
        assert_eq!(claims.ready(9).len(), 1, "another kind of environment is other work");
    }

    #[test]
    fn a_result_whose_commitment_the_own_result_names_is_not_checked_and_one_that_came_too_late_is() {
        let mut claims = claims();
        let (early, late) = (Digest::of(b"early"), Digest::of(b"late"));
        let opening = |operator, opens| Other { claim: claim(operator, 1, 0), opens };
        claims.heard(opening(1, Some(early)));
        claims.built(&claim(99, 1, 0), vec![early]);
        claims.heard(opening(2, Some(late)));
        claims.heard(opening(3, None));
        assert_eq!(claims.ready(9), [claim(2, 1, 0), claim(3, 1, 0)]);
    }

    #[test]
    fn no_more_commitments_than_so_many_are_remembered() {
        let (mut claims, node) = (claims(), SecretKey::from_seed(&[1; 32]).node_id());
        (0..=COMMITTED_MAX as u64).for_each(|sequence| claims.commitment((node, sequence), Digest::of(b"some")));
        claims.commitment((claims.own.0, 0), Digest::of(b"own"));
        assert_eq!(claims.committed.len(), COMMITTED_MAX);
    }

    #[test]
    fn a_start_from_the_feeds_comes_to_what_was_there() {
        let mut running = claims();
        running.hears(claim(1, 1, 0));
        running.built(&claim(99, 1, 0), Vec::new());
        running.hears(claim(2, 1, 0));
        running.checked(&check(&claim(2, 1, 0)));
        let mut started = claims();
        started.built(&claim(99, 1, 0), Vec::new());
        started.checked(&check(&claim(2, 1, 0)));
        started.hears(claim(1, 1, 0));
        started.hears(claim(2, 1, 0));
        assert_eq!(started.ready(9), running.ready(9));
    }

    #[test]
    fn an_operator_that_floods_a_task_with_results_and_nodes_is_checked_four_times() {
        let mut claims = claims();
        claims.built(&claim(99, 1, 0), Vec::new());
        for n in 0..100 {
            let mut one = claim(1, 1, n);
            let seed = u8::try_from(n).expect("below a hundred") | 0x80;
            one.checked.node = SecretKey::from_seed(&[seed; 32]).node_id();
            claims.hears(one);
            for ready in claims.ready(usize::from(n % 3 == 0)) {
                claims.checked(&check(&ready));
            }
        }
        claims.hears(claim(2, 1, 0));
        while let Some(ready) = claims.ready(1).pop() {
            claims.checked(&check(&ready));
        }
        assert_eq!(claims.done.len(), 5, "four of the one, and the other is not kept out");
    }

    #[test]
    fn what_waits_is_bounded_and_the_latest_are_kept() {
        let mut claims = claims();
        let last = u32::try_from(WAITING_MAX).expect("a small number") + 9;
        (0..=last).for_each(|n| claims.hears(claim(1, 2, n)));
        assert_eq!(claims.waiting.len(), WAITING_MAX);
        assert_eq!(claims.waiting.back().map(|other| &other.claim), Some(&claim(1, 2, last)));
        claims.built(&claim(99, 2, 0), Vec::new());
        assert!(claims.waiting.is_empty() && claims.ready.len() == 4);
    }
}
