//! Counting: one vote an operator, over the enrolled and nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_proto::declaration::VerifiedDeclaration;
use quorate_proto::entry::VerifiedCommitment;
use quorate_proto::feed::EquivocationProof;
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{ArtifactId, Digest, OperatorId, Timestamp};

use crate::ENGINE;
use crate::ballot::{Ballot, Vote};
use crate::drills::Drilled;
use crate::flags::{flags, open};
use crate::grade::{Confirmation, Grades};
use crate::heard::Heard;
use crate::policy::{Attribute, Policy};
use crate::quorum::{Quorum, Side, reached};
use crate::said::{Said, Told};
use crate::severity::Severity;
use crate::verdict::{Flag, GroupCount, Spread, State, Verdict};

/// Other digests that a verdict lists, the smallest.
const OTHER_DIGESTS_MAX: usize = 8;

/// What a verdict depends on besides policy and results.
#[derive(Clone, Copy, Debug, Default)]
pub struct Circumstances<'a> {
    /// As of when. At no time no vouch is in force and no result is young enough for a `max_age_days`.
    pub as_of: Option<Timestamp>,
    /// Operators' nodes that have signed two histories.
    pub equivocations: &'a [EquivocationProof],
    /// Commitments to results in the artifact's slot. Others are ignored.
    pub commitments: &'a [Arc<VerifiedCommitment>],
    /// Build witnesses that other operators confirm.
    pub confirmations: &'a [Confirmation],
    /// What drills have shown to be wrong. Other artifacts are ignored.
    pub drills: &'a [Drilled],
    /// What people have declared. What does not concern the artifact or its slot, and what the policy does not listen
    /// to, is ignored.
    pub declarations: &'a [Arc<VerifiedDeclaration>],
}

/// The verdict on `artifact` as of no time; see [`tally_as_of`].
pub fn tally<'s>(
    policy: &Policy,
    artifact: &ArtifactId,
    statements: impl IntoIterator<Item = &'s VerifiedStatement>,
    equivocations: &[EquivocationProof],
) -> Verdict {
    tally_as_of(policy, artifact, statements, Circumstances { equivocations, ..Circumstances::default() })
}

/// The verdict on `artifact`.
///
/// `statements` are all results about the artifact's slot, also those about other digests in it;
/// anything else is ignored. Their order and repetitions change nothing. Complexity: O(n log n) in
/// the number of statements.
pub fn tally_as_of<'s>(
    policy: &Policy,
    artifact: &ArtifactId,
    statements: impl IntoIterator<Item = &'s VerifiedStatement>,
    circumstances: Circumstances<'_>,
) -> Verdict {
    let said = Said::of(policy, artifact, circumstances.declarations);
    let heard = Heard::of(&said, artifact, statements);
    let grades = Grades::of(&said, artifact, &heard, circumstances);
    Case { policy, artifact, said: &said, heard: &heard, grades: &grades, circumstances }.decided().1
}

/// What is tallied.
#[derive(Clone, Copy)]
pub(crate) struct Case<'c, 's> {
    pub(crate) policy: &'c Policy,
    pub(crate) artifact: &'c ArtifactId,
    pub(crate) said: &'c Said<'c>,
    pub(crate) heard: &'c Heard<'s>,
    pub(crate) grades: &'c Grades,
    pub(crate) circumstances: Circumstances<'c>,
}

/// Who is on which side.
pub(crate) struct Count<'c> {
    pub(crate) quorum: Quorum<'c>,
    pub(crate) identical: Side,
    /// Identical or equivalent.
    pub(crate) agree: Side,
    /// Those who agree, and those with a difference that is vouched for.
    pub(crate) support: Side,
    pub(crate) others: BTreeMap<String, Other>,
    pub(crate) differ: Side,
    pub(crate) failed: Side,
    /// Those who have not answered.
    pub(crate) open: Side,
    pub(crate) advisories: Told,
    pub(crate) depends_on_environment: bool,
}

/// A result that is not the published one.
pub(crate) struct Other {
    pub(crate) side: Side,
    pub(crate) severity: Severity,
    pub(crate) vouches: Told,
}

impl<'c> Case<'c, '_> {
    /// The verdict, and the count that it follows from.
    pub(crate) fn decided(&self) -> (Count<'c>, Verdict) {
        let votes = self.votes();
        let count = Count::of(self, &votes);
        let mut verdict = count.verdict(self, count.state());
        let open: Vec<_> = open(self.said, self.artifact, self.heard, self.circumstances.commitments).collect();
        verdict.flags = flags(self.artifact, self.heard, &votes);
        if open.iter().any(|commitment| self.circumstances.as_of.is_some_and(|now| now > commitment.commitment().promise.reveal_by)) {
            verdict.flags.insert(Flag::Withheld);
        }
        if self.circumstances.drills.iter().any(|drilled| drilled.artifact == *self.artifact) {
            verdict.flags.insert(Flag::Drill);
        }
        if !open.is_empty() {
            verdict.as_of = self.circumstances.as_of;
        }
        verdict.votes = votes;
        (count, verdict)
    }

    /// One vote for every enrolled operator, in the order of their names.
    fn votes(&self) -> Vec<Vote> {
        let equivocators = self.equivocators();
        let vote = |operator: OperatorId, name: &String| {
            let start = if equivocators.contains(&operator) { Ballot::Equivocated } else { Ballot::Absent };
            let words = || self.heard.words(&operator, self.artifact.digest);
            let ballot = words().map(|word| self.ballot(word)).fold(start, Ballot::join);
            let grade = words().map(|word| self.grades.grade(word.digest())).max();
            let mut results: Vec<_> = words().map(VerifiedStatement::digest).collect();
            results.sort_unstable();
            let mut commitments: Vec<_> = words().filter_map(|word| self.grades.opened(word.digest())).collect();
            commitments.sort_unstable();
            let mut checks: Vec<_> = words().flat_map(|word| self.grades.checks(word.digest())).copied().collect();
            checks.sort_unstable();
            Vote { operator, name: name.clone(), ballot, grade, results, commitments, checks }
        };
        self.policy.voters().iter().map(|voter| vote(voter.operator, &voter.name)).collect()
    }

    /// What a result comes to, with its grade.
    pub(crate) fn ballot(&self, statement: &VerifiedStatement) -> Ballot {
        let rules = self.policy.rules_for(&self.artifact.slot.package);
        match Ballot::of(statement.result(), rules, self.circumstances.as_of) {
            objected @ Ballot::NotCounted { .. } => objected,
            ballot => match rules.waits_for_grade(self.grades.grade(statement.digest())) {
                Some(reason) => Ballot::Pending { reason },
                None => ballot,
            },
        }
    }

    /// Operators that speak here and have signed two histories, as far as their keys were not revoked before.
    fn equivocators(&self) -> BTreeSet<OperatorId> {
        let seen = |proof: &&EquivocationProof| {
            self.heard.has(&proof.operator()) && !self.said.is_revoked(proof.operator(), proof.node(), proof.sequence())
        };
        self.circumstances.equivocations.iter().filter(seen).map(EquivocationProof::operator).collect()
    }

    /// The gravest that those who got something else say of it.
    fn severity(&self, vote: &Vote) -> Severity {
        let words = self.heard.words(&vote.operator, self.artifact.digest);
        words.filter_map(|statement| Severity::of(statement.result())).max().unwrap_or(Severity::Medium)
    }

    /// Whether what came out is one thing in each environment, and not the same in all. An environment is what
    /// the policy calls it, else the inventory that the results name; it tells something only if at least two
    /// operators use it.
    fn depends_on_environment(&self, votes: &[Vote]) -> bool {
        let mut outcomes: BTreeMap<String, (usize, BTreeSet<Option<&str>>)> = BTreeMap::new();
        for (vote, voter) in votes.iter().zip(self.policy.voters()) {
            let outcome = match &vote.ballot {
                Ballot::Identical | Ballot::Equivalent { .. } => None,
                Ballot::Different { rebuilt } => Some(rebuilt.as_str()),
                _ => continue,
            };
            let named = voter.attribute(Attribute::Environment).map(str::to_owned);
            let mut words = self.heard.words(&vote.operator, self.artifact.digest);
            let inventory = || words.next().map(|statement| statement.result().environment.digest.to_string());
            if let Some(environment) = named.or_else(inventory) {
                let entry = outcomes.entry(environment).or_default();
                entry.0 += 1;
                entry.1.insert(outcome);
            }
        }
        let telling: BTreeSet<_> = outcomes.values().filter(|(operators, _)| *operators >= 2).flat_map(|(_, seen)| seen).collect();
        telling.len() >= 2 && outcomes.values().all(|(_, seen)| seen.len() == 1)
    }
}

impl<'c> Count<'c> {
    pub(crate) fn of(case: &Case<'c, '_>, votes: &[Vote]) -> Self {
        let rules = case.policy.rules_for(&case.artifact.slot.package);
        let none = Side::empty(votes.len());
        let mut count = Self {
            quorum: Quorum { policy: case.policy, rules },
            identical: none.clone(),
            agree: none.clone(),
            support: none.clone(),
            others: BTreeMap::new(),
            differ: none.clone(),
            failed: none.clone(),
            open: none,
            advisories: case.said.advisories(),
            depends_on_environment: false,
        };
        for (voter, vote) in votes.iter().enumerate() {
            count.add(case, voter, vote);
        }
        for other in count.others.values().filter(|other| !other.vouches.is_empty()) {
            count.support = count.support.and(&other.side);
        }
        count.depends_on_environment = !count.differ.is_empty() && case.depends_on_environment(votes);
        count
    }

    fn add(&mut self, case: &Case<'_, '_>, voter: usize, vote: &Vote) {
        match &vote.ballot {
            Ballot::Identical => {
                self.identical.add(voter);
                self.agree.add(voter);
                self.support.add(voter);
            }
            Ballot::Equivalent { .. } => {
                self.agree.add(voter);
                self.support.add(voter);
            }
            Ballot::Different { rebuilt } => {
                self.differ.add(voter);
                let vouches = || case.said.vouches(rebuilt, case.circumstances.as_of);
                let side = || Side::empty(case.policy.voters().len());
                let new = || Other { side: side(), severity: Severity::Low, vouches: vouches() };
                let other = self.others.entry(rebuilt.clone()).or_insert_with(new);
                other.side.add(voter);
                other.severity = other.severity.max(case.severity(vote));
            }
            Ballot::NotBuilt { .. } => self.failed.add(voter),
            Ballot::Absent | Ballot::Pending { .. } => self.open.add(voter),
            Ballot::NotCounted { .. } | Ballot::Split | Ballot::Equivocated => {}
        }
    }

    /// The first state that applies.
    pub(crate) fn state(&self) -> State {
        State::ORDER.into_iter().find(|state| self.applies(*state)).unwrap_or(State::Pending)
    }

    /// Whether a state's own condition holds, whatever the states before it.
    pub(crate) fn applies(&self, state: State) -> bool {
        match state {
            State::Compromised => !self.advisories.is_empty(),
            State::Contested => self.another_holds() && self.quorum.holds(&self.support),
            State::Reproduced => self.quorum.holds(&self.identical),
            State::Equivalent => self.quorum.holds(&self.agree),
            State::Explained => self.quorum.holds(&self.support),
            State::Suspect => self.another_holds(),
            State::EnvironmentDependent => self.depends_on_environment && self.quorum.holds(&self.agree.and(&self.differ)),
            State::Unreproducible => self.quorum.holds(&self.differ),
            State::Unbuildable => self.quorum.holds(&self.failed),
            State::Inconclusive => [&self.support, &self.differ, &self.failed].into_iter().all(|side| !self.could_hold(side)),
            State::Pending => true,
        }
    }

    /// Enough share one result that is neither the published one nor vouched for.
    fn another_holds(&self) -> bool {
        self.others.values().any(|other| self.contests(other))
    }

    fn contests(&self, other: &Other) -> bool {
        other.vouches.is_empty() && self.quorum.holds(&other.side)
    }

    /// Whether a side would be enough if everybody who has not answered joined it.
    fn could_hold(&self, side: &Side) -> bool {
        self.quorum.holds(&side.and(&self.open))
    }

    /// What enough share, else what most who differ share; of equals the greatest text.
    pub(crate) fn leading(&self) -> Option<(&String, &Other, usize)> {
        let counted = self.others.iter().map(|(rebuilt, other)| (rebuilt, other, self.quorum.count(&other.side)));
        counted.max_by_key(|(_, other, count)| (self.contests(other), *count, other.side.len()))
    }

    /// The verdict, but for flags and votes.
    pub(crate) fn verdict(&self, case: &Case<'_, '_>, state: State) -> Verdict {
        let leading = self.leading();
        let others = case.heard.all().map(|s| s.artifact().digest).filter(|digest| *digest != case.artifact.digest);
        let vouched = || self.others.values().map(|other| &other.vouches);
        let declared = vouched().chain([&self.advisories]).flat_map(|told| told.by.iter().copied());
        Verdict {
            artifact: case.artifact.clone(),
            state,
            severity: leading.filter(|_| state == State::Suspect).map(|(_, other, _)| other.severity),
            history: None,
            flags: BTreeSet::new(),
            threshold: self.quorum.rules.threshold,
            enrolled: case.policy.size(),
            agree: self.quorum.count(&self.agree),
            differ: self.quorum.count(&self.differ),
            failed: self.quorum.count(&self.failed),
            shared: leading.map_or(0, |(_, _, count)| count),
            other: leading.map(|(rebuilt, ..)| rebuilt.clone()),
            groups: self.groups(),
            distinct: self.spreads(),
            advisories: self.advisories.ids.iter().cloned().collect(),
            vouches: vouched().flat_map(|told| told.ids.iter().cloned()).collect::<BTreeSet<_>>().into_iter().collect(),
            declarations: declared.chain(case.heard.silencers()).collect::<BTreeSet<Digest>>().into_iter().collect(),
            votes: Vec::new(),
            other_digests: others.collect::<BTreeSet<_>>().into_iter().take(OTHER_DIGESTS_MAX).collect(),
            as_of: case.circumstances.as_of.filter(|_| case.said.depends_on_time()),
            policy: case.policy.digest(),
            engine: ENGINE.to_owned(),
        }
    }

    fn groups(&self) -> Vec<GroupCount> {
        let groups = self.quorum.policy.groups();
        if groups.len() == 1 {
            return Vec::new();
        }
        let [agree, differ, failed] = [&self.agree, &self.differ, &self.failed].map(|side| reached(groups, |voter| side.has(voter)));
        let count = |at: usize| GroupCount {
            name: groups[at].name.clone(),
            k: groups[at].k,
            members: groups[at].len(),
            agree: agree[at],
            differ: differ[at],
            failed: failed[at],
        };
        (1..groups.len()).map(count).collect()
    }

    fn spreads(&self) -> Vec<Spread> {
        let asked = self.quorum.rules.distinct.iter();
        let spread = |(attribute, needed): (&Attribute, &usize)| Spread {
            over: *attribute,
            needed: *needed,
            agree: self.quorum.spread(&self.agree, *attribute),
        };
        asked.map(spread).collect()
    }
}
