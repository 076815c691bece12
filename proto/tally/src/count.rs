//! Counting: one vote an operator, over the enrolled and nobody else.

use std::collections::{BTreeMap, BTreeSet};

use quorate_proto::feed::EquivocationProof;
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{ArtifactId, NodeId, OperatorId};

use crate::ENGINE;
use crate::ballot::{Ballot, Vote};
use crate::policy::Policy;
use crate::verdict::{Flag, State, Verdict};

/// Of each node, this many of its latest results in a slot are looked at: nobody can make a verdict long
/// by signing about ever new digests.
const RESULTS_OF_A_NODE_MAX: usize = 8;

/// Of each operator, this many nodes are looked at, those with the smallest keys.
const NODES_OF_AN_OPERATOR_MAX: usize = 16;

/// Other digests that a verdict lists, the smallest.
const OTHER_DIGESTS_MAX: usize = 8;

/// The verdict on `artifact`.
///
/// `statements` are all results about the artifact's slot, also those about other digests in it;
/// anything else is ignored. Their order and repetitions change nothing. Complexity: O(n log n) in
/// the number of statements.
pub fn tally<'s>(
    policy: &Policy,
    artifact: &ArtifactId,
    statements: impl IntoIterator<Item = &'s VerifiedStatement>,
    equivocations: &[EquivocationProof],
) -> Verdict {
    let in_slot =
        looked_at(statements.into_iter().filter(|s| s.artifact().slot == artifact.slot && policy.enrolled().contains(&s.operator())));
    let votes = votes(policy, artifact, &in_slot, equivocations);
    let count = Count::of(&votes);
    let other_digests: BTreeSet<_> = in_slot.iter().map(|s| s.artifact().digest).filter(|digest| *digest != artifact.digest).collect();
    let equivocated = votes.iter().any(|vote| vote.ballot == Ballot::Equivocated);
    let flags = [(equivocated, Flag::Equivocation), (!other_digests.is_empty(), Flag::RegistrySplit)];
    Verdict {
        artifact: artifact.clone(),
        state: count.state(policy.threshold()),
        flags: flags.into_iter().filter(|(raised, _)| *raised).map(|(_, flag)| flag).collect(),
        threshold: policy.threshold(),
        enrolled: policy.enrolled().len(),
        agree: count.identical + count.equivalent,
        differ: count.differ(),
        failed: count.failed,
        other: count.leading_other(),
        votes,
        other_digests: other_digests.into_iter().take(OTHER_DIGESTS_MAX).collect(),
        policy: policy.digest(),
        engine: ENGINE.to_owned(),
    }
}

/// The latest results of each node, newest last, within the bounds above.
fn looked_at<'a>(in_slot: impl Iterator<Item = &'a VerifiedStatement>) -> Vec<&'a VerifiedStatement> {
    let mut operators: BTreeMap<OperatorId, BTreeMap<NodeId, BTreeMap<_, &VerifiedStatement>>> = BTreeMap::new();
    for statement in in_slot {
        let results = operators.entry(statement.operator()).or_default().entry(statement.node()).or_default();
        results.insert((statement.position().sequence, statement.digest()), statement);
    }
    let nodes = operators.into_values().flat_map(|nodes| nodes.into_values().take(NODES_OF_AN_OPERATOR_MAX));
    let latest = |results: BTreeMap<_, &'a VerifiedStatement>| results.into_values().rev().take(RESULTS_OF_A_NODE_MAX);
    nodes.flat_map(latest).collect()
}

/// One vote for every enrolled operator, in the order of their names.
fn votes(policy: &Policy, artifact: &ArtifactId, in_slot: &[&VerifiedStatement], equivocations: &[EquivocationProof]) -> Vec<Vote> {
    let latest = latest_of_each_node(in_slot.iter().copied().filter(|s| s.artifact().digest == artifact.digest));
    let here: BTreeSet<OperatorId> = in_slot.iter().map(|s| s.operator()).collect();
    let equivocators: BTreeSet<OperatorId> = equivocations.iter().map(EquivocationProof::operator).filter(|o| here.contains(o)).collect();
    let mut votes: Vec<Vote> = policy
        .enrolled()
        .iter()
        .map(|operator| {
            let own: Vec<_> = latest.values().filter(|s| s.operator() == *operator).collect();
            let start = if equivocators.contains(operator) { Ballot::Equivocated } else { Ballot::Absent };
            let ballot = own.iter().map(|s| Ballot::of(s.result(), policy)).fold(start, Ballot::join);
            let results: BTreeSet<_> = own.iter().map(|s| s.digest()).collect();
            Vote { operator: *operator, name: policy.name_of(operator), ballot, results: results.into_iter().collect() }
        })
        .collect();
    votes.sort_by(|a, b| (&a.name, a.operator).cmp(&(&b.name, b.operator)));
    votes
}

/// A node may look again; its latest word counts. Ties (an equivocator's) go to the larger digest.
fn latest_of_each_node<'a>(
    statements: impl Iterator<Item = &'a VerifiedStatement>,
) -> BTreeMap<(OperatorId, NodeId), &'a VerifiedStatement> {
    let mut latest: BTreeMap<_, &VerifiedStatement> = BTreeMap::new();
    let rank = |s: &VerifiedStatement| (s.position().sequence, s.digest());
    for statement in statements {
        let slot = latest.entry((statement.operator(), statement.node())).or_insert(statement);
        if rank(statement) > rank(slot) {
            *slot = statement;
        }
    }
    latest
}

#[derive(Default)]
struct Count {
    identical: usize,
    equivalent: usize,
    others: BTreeMap<String, usize>,
    failed: usize,
}

impl Count {
    fn of(votes: &[Vote]) -> Self {
        let mut count = Self::default();
        for vote in votes {
            match &vote.ballot {
                Ballot::Identical => count.identical += 1,
                Ballot::Equivalent { .. } => count.equivalent += 1,
                Ballot::Different { rebuilt } => *count.others.entry(rebuilt.clone()).or_default() += 1,
                Ballot::NotBuilt { .. } => count.failed += 1,
                Ballot::NotCounted { .. } | Ballot::Split | Ballot::Equivocated | Ballot::Absent => {}
            }
        }
        count
    }

    fn differ(&self) -> usize {
        self.others.values().sum()
    }

    fn leading_other(&self) -> Option<String> {
        self.others.iter().max_by_key(|(_, count)| **count).map(|(rebuilt, _)| rebuilt.clone())
    }

    fn state(&self, threshold: usize) -> State {
        let agree = self.identical + self.equivalent >= threshold;
        let other = self.others.values().any(|count| *count >= threshold);
        match (agree, other) {
            (true, true) => State::Contested,
            (true, false) if self.identical >= threshold => State::Reproduced,
            (true, false) => State::Equivalent,
            (false, true) => State::Suspect,
            (false, false) if self.differ() >= threshold => State::Unreproducible,
            (false, false) if self.failed >= threshold => State::Unbuildable,
            (false, false) => State::Pending,
        }
    }
}
