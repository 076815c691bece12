//! Grades: how sure it is that a vote is its operator's own. Computed from statements alone.
//!
//! A grade says nothing about what came out, and never changes it. Only a policy that asks for grades lets votes
//! wait for theirs. `docs/spec/tally.md`, section "Grades".

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_proto::entry::{VerifiedCheck, VerifiedCommitment};
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{ArtifactId, Digest, NodeId, OperatorId};
use serde::{Deserialize, Serialize};

use crate::count::Circumstances;
use crate::heard::Heard;
use crate::policy::Policy;
use crate::quorum::{Quorum, Side};
use crate::said::Said;

/// How sure it is that a vote was not copied, the least first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// It may have been: there was something to copy.
    #[default]
    Follower,
    /// Another operator that built the same has confirmed that it was built.
    Witnessed,
    /// The operator was bound to it before there was anything to copy, as enough others say.
    Blind,
}

/// Checks that a verdict names, unless more results rest on them: a few of each, so that a policy with other
/// operators finds one of theirs among them.
const CHECKS_NAMED: usize = 64;

/// An operator's word that a result's build witness fits its own build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Confirmation {
    /// The result, by its envelope.
    pub result: Digest,
    /// The check, by its envelope.
    pub check: Digest,
    /// Who says so.
    pub operator: OperatorId,
    /// Which of its nodes.
    pub node: NodeId,
    /// Where in its feed.
    pub sequence: u64,
}

/// The grades of the results that are their nodes' words. Whatever is not in here is a follower's.
pub(crate) struct Grades {
    graded: BTreeMap<Digest, Graded>,
}

#[derive(Clone)]
struct Graded {
    grade: Grade,
    /// The commitment that it opens.
    opened: Option<Digest>,
    /// The checks that bear it out, sorted.
    checks: Vec<Digest>,
}

impl Confirmation {
    /// What a check says of a result, if it bears it out: that it speaks of this very result, of another operator's
    /// work, and that most of it agrees.
    pub fn of(check: &VerifiedCheck, result: &VerifiedStatement) -> Option<Self> {
        let position = check.position();
        check.check().confirms(result).then(|| Self {
            result: result.digest(),
            check: check.digest(),
            operator: check.operator(),
            node: position.node,
            sequence: position.sequence,
        })
    }

    /// What `checks` say of those `results` that they name. Complexity: O(n log n).
    pub fn among<'s>(
        checks: impl IntoIterator<Item = &'s VerifiedCheck>,
        results: impl IntoIterator<Item = &'s VerifiedStatement>,
    ) -> Vec<Self> {
        let mut checks = checks.into_iter().peekable();
        if checks.peek().is_none() {
            return Vec::new();
        }
        let results: BTreeMap<_, _> = results.into_iter().map(|result| (result.digest(), result)).collect();
        checks.filter_map(|check| Self::of(check, results.get(&check.check().checked.statement)?)).collect()
    }
}

impl Grade {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Follower, Self::Witnessed, Self::Blind];

    /// The grade's name, as in the JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Follower => "follower",
            Self::Witnessed => "witnessed",
            Self::Blind => "blind",
        }
    }
}

impl std::fmt::Display for Grade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl Grades {
    /// Complexity: O(n log n) in the number of words and of what they name.
    pub(crate) fn of(said: &Said<'_>, artifact: &ArtifactId, heard: &Heard<'_>, circumstances: Circumstances<'_>) -> Self {
        if circumstances.commitments.is_empty() && circumstances.confirmations.is_empty() {
            return Self { graded: BTreeMap::new() };
        }
        let policy = said.policy;
        let words = || policy.voters().iter().flat_map(|voter| heard.words(&voter.operator, artifact.digest));
        let quorum = Quorum { policy, rules: policy.rules_for(&artifact.slot.package) };
        let seen = Seen::by(words());
        // Of two at one place, an equivocator's, the one with the larger digest.
        let mut commitments: Vec<_> = counted(said, artifact, circumstances.commitments).collect();
        commitments.sort_by_key(|entry| entry.digest());
        let commitments: BTreeMap<_, _> = commitments.into_iter().map(|entry| (place(entry), entry)).collect();
        let confirmed = confirmed(said, circumstances.confirmations);
        let graded = words().map(|word| {
            let opened = opened(&commitments, word);
            let blind = opened.is_some_and(|commitment| quorum.holds(&seen.vouching(commitment, word.operator(), policy)));
            let checks = by_others(&confirmed, word);
            let grade = match (blind, checks.is_empty()) {
                (true, _) => Grade::Blind,
                (false, false) => Grade::Witnessed,
                (false, true) => Grade::Follower,
            };
            (word.digest(), Graded { grade, opened, checks })
        });
        let mut graded: BTreeMap<_, _> = graded.collect();
        name_few(&mut graded);
        Self { graded }
    }

    /// The grade of a result.
    pub(crate) fn grade(&self, result: Digest) -> Grade {
        self.graded.get(&result).map_or(Grade::Follower, |graded| graded.grade)
    }

    /// The commitment that a result opens.
    pub(crate) fn opened(&self, result: Digest) -> Option<Digest> {
        self.graded.get(&result).and_then(|graded| graded.opened)
    }

    /// Checks that bear a result out, sorted. Also where it is blind: under another policy it may not be.
    pub(crate) fn checks(&self, result: Digest) -> &[Digest] {
        self.graded.get(&result).map_or(&[], |graded| &graded.checks)
    }
}

/// The commitments to the task of an artifact that are listened to: of the enrolled, at no revoked place.
pub(crate) fn counted<'c>(
    said: &'c Said<'_>,
    artifact: &'c ArtifactId,
    commitments: &'c [Arc<VerifiedCommitment>],
) -> impl Iterator<Item = &'c VerifiedCommitment> {
    commitments.iter().map(Arc::as_ref).filter(move |entry| counts(said, artifact, entry))
}

/// Whether a commitment is listened to.
pub(crate) fn counts(said: &Said<'_>, artifact: &ArtifactId, entry: &VerifiedCommitment) -> bool {
    let (commitment, position) = (entry.commitment(), entry.position());
    (&commitment.package, &commitment.file) == (&artifact.slot.package, &artifact.slot.file)
        && said.policy.enrolled().contains(&entry.operator())
        && !said.is_revoked(entry.operator(), position.node, position.sequence)
}

fn place(entry: &VerifiedCommitment) -> (NodeId, u64) {
    (entry.node(), entry.position().sequence)
}

fn opened(commitments: &BTreeMap<(NodeId, u64), &VerifiedCommitment>, word: &VerifiedStatement) -> Option<Digest> {
    let reveals = word.result().reveals.as_ref()?;
    let commitment = commitments.get(&(word.node(), reveals.sequence))?;
    commitment.is_opened_by(word).then(|| commitment.digest())
}

/// Who confirms each result, and with which check: of an operator's several that with the smallest digest.
type Confirmed = BTreeMap<Digest, BTreeMap<OperatorId, Digest>>;

fn confirmed(said: &Said<'_>, confirmations: &[Confirmation]) -> Confirmed {
    let mut confirmed = Confirmed::new();
    for one in confirmations {
        if said.policy.enrolled().contains(&one.operator) && !said.is_revoked(one.operator, one.node, one.sequence) {
            let check = confirmed.entry(one.result).or_default().entry(one.operator).or_insert(one.check);
            *check = one.check.min(*check);
        }
    }
    confirmed
}

/// One check of every other operator that confirms a result, sorted.
fn by_others(confirmed: &Confirmed, word: &VerifiedStatement) -> Vec<Digest> {
    let all = confirmed.get(&word.digest()).into_iter().flatten();
    let mut checks: Vec<_> = all.filter(|(operator, _)| **operator != word.operator()).map(|(_, check)| *check).collect();
    checks.sort_unstable();
    checks
}

/// Leaves the first few of each result's checks: a verdict has to fit a log entry, however many confirm.
fn name_few(graded: &mut BTreeMap<Digest, Graded>) {
    let borne_out = graded.values().filter(|graded| !graded.checks.is_empty()).count();
    let each = CHECKS_NAMED.checked_div(borne_out).unwrap_or(CHECKS_NAMED).max(1);
    for graded in graded.values_mut() {
        graded.checks.truncate(each);
    }
}

/// Which operators say that they saw a commitment before any result.
struct Seen(BTreeMap<Digest, BTreeSet<OperatorId>>);

impl Seen {
    fn by<'s>(words: impl Iterator<Item = &'s VerifiedStatement>) -> Self {
        let mut seen: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for word in words {
            for commitment in word.result().reveals.iter().flat_map(|reveals| &reveals.seen) {
                seen.entry(*commitment).or_default().insert(word.operator());
            }
        }
        Self(seen)
    }

    /// The operator whose commitment it is, and those who name it.
    fn vouching(&self, commitment: Digest, operator: OperatorId, policy: &Policy) -> Side {
        let (by, voters) = (self.0.get(&commitment), policy.voters());
        let mut side = Side::empty(voters.len());
        for (at, voter) in voters.iter().enumerate() {
            if voter.operator == operator || by.is_some_and(|by| by.contains(&voter.operator)) {
                side.add(at);
            }
        }
        side
    }
}
