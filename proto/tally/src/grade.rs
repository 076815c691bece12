//! Grades: how sure it is that a vote is its operator's own. Computed from statements alone.
//!
//! A grade says nothing about what came out, and never changes it. Only a policy that asks for grades lets votes
//! wait for theirs. `docs/spec/tally.md`, section "Grades".

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_proto::entry::VerifiedCommitment;
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{ArtifactId, Digest, NodeId, OperatorId};
use serde::{Deserialize, Serialize};

use crate::count::Circumstances;
use crate::heard::Heard;
use crate::policy::Policy;

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

/// An operator's word that a result's build witness fits its own build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Confirmation {
    /// The result, by its envelope.
    pub result: Digest,
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

#[derive(Clone, Copy)]
struct Graded {
    grade: Grade,
    /// The commitment that it opens.
    opened: Option<Digest>,
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
    pub(crate) fn of(policy: &Policy, artifact: &ArtifactId, heard: &Heard<'_>, circumstances: Circumstances<'_>) -> Self {
        if circumstances.commitments.is_empty() && circumstances.confirmations.is_empty() {
            return Self { graded: BTreeMap::new() };
        }
        let words = || policy.voters().iter().flat_map(|voter| heard.words(&voter.operator, artifact.digest));
        let others = policy.rules_for(&artifact.slot.package).threshold.saturating_sub(1);
        let seen = Seen::by(words());
        // Of two at one place, an equivocator's, the one with the larger digest.
        let mut commitments: Vec<_> = counted(policy, artifact, circumstances.commitments).collect();
        commitments.sort_by_key(|entry| entry.digest());
        let commitments: BTreeMap<_, _> = commitments.into_iter().map(|entry| (place(entry), entry)).collect();
        let confirmed = confirmed(policy, circumstances.confirmations);
        let graded = words().map(|word| {
            let opened = opened(&commitments, word);
            let blind = opened.is_some_and(|commitment| seen.by_others(commitment, word.operator()) >= others);
            let by = confirmed.get(&word.digest());
            let witnessed = by.is_some_and(|by| by.iter().any(|operator| *operator != word.operator()));
            let grade = match (blind, witnessed) {
                (true, _) => Grade::Blind,
                (false, true) => Grade::Witnessed,
                (false, false) => Grade::Follower,
            };
            (word.digest(), Graded { grade, opened })
        });
        Self { graded: graded.collect() }
    }

    /// The grade of a result.
    pub(crate) fn grade(&self, result: Digest) -> Grade {
        self.graded.get(&result).map_or(Grade::Follower, |graded| graded.grade)
    }

    /// The commitment that a result opens.
    pub(crate) fn opened(&self, result: Digest) -> Option<Digest> {
        self.graded.get(&result).and_then(|graded| graded.opened)
    }
}

/// The commitments to the task of an artifact that are listened to: of the enrolled, at no revoked place.
pub(crate) fn counted<'c>(
    policy: &'c Policy,
    artifact: &'c ArtifactId,
    commitments: &'c [Arc<VerifiedCommitment>],
) -> impl Iterator<Item = &'c VerifiedCommitment> {
    commitments.iter().map(Arc::as_ref).filter(move |entry| counts(policy, artifact, entry))
}

/// Whether a commitment is listened to.
pub(crate) fn counts(policy: &Policy, artifact: &ArtifactId, entry: &VerifiedCommitment) -> bool {
    let (commitment, position) = (entry.commitment(), entry.position());
    (&commitment.package, &commitment.file) == (&artifact.slot.package, &artifact.slot.file)
        && policy.enrolled().contains(&entry.operator())
        && !policy.is_revoked(entry.operator(), position.node, position.sequence)
}

fn place(entry: &VerifiedCommitment) -> (NodeId, u64) {
    (entry.node(), entry.position().sequence)
}

fn opened(commitments: &BTreeMap<(NodeId, u64), &VerifiedCommitment>, word: &VerifiedStatement) -> Option<Digest> {
    let reveals = word.result().reveals.as_ref()?;
    let commitment = commitments.get(&(word.node(), reveals.sequence))?;
    commitment.is_opened_by(word).then(|| commitment.digest())
}

fn confirmed(policy: &Policy, confirmations: &[Confirmation]) -> BTreeMap<Digest, BTreeSet<OperatorId>> {
    let mut confirmed: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for one in confirmations {
        if policy.enrolled().contains(&one.operator) && !policy.is_revoked(one.operator, one.node, one.sequence) {
            confirmed.entry(one.result).or_default().insert(one.operator);
        }
    }
    confirmed
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

    fn by_others(&self, commitment: Digest, operator: OperatorId) -> usize {
        self.0.get(&commitment).map_or(0, |by| by.iter().filter(|other| **other != operator).count())
    }
}
