//! Verdicts: a state, flags beside it, and the numbers behind both.

use std::collections::BTreeSet;

use quorate_proto::{ArtifactId, Digest, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ballot::{Ballot, Vote};
use crate::history::History;
use crate::policy::Attribute;
use crate::severity::Severity;

/// What the enrolled operators say together. The first that applies, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// People say so, in an advisory of the policy or of somebody it listens to. Never automatic.
    Compromised,
    /// Enough operators agree with the registry, and enough agree on one other result.
    Contested,
    /// Enough operators got the published bytes.
    Reproduced,
    /// Enough operators got the published bytes or the published normal form.
    Equivalent,
    /// Enough operators agree, or got a difference that the policy vouches for.
    Explained,
    /// Enough operators agree with each other on another result than the published one.
    Suspect,
    /// Enough operators built it, and what came out is another thing in another environment.
    EnvironmentDependent,
    /// Enough operators got something else, but not the same.
    Unreproducible,
    /// Enough operators could not build it.
    Unbuildable,
    /// Nothing is shared by enough operators, and those who have not answered cannot change that.
    Inconclusive,
    /// Not enough operators have said enough.
    Pending,
}

/// An alarm beside a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flag {
    /// An operator with a result here has signed two histories.
    Equivocation,
    /// Operators were served other bytes under the same name.
    RegistrySplit,
    /// One node was served other bytes under the same name, one after the other.
    Mutated,
    /// One name of a source, such as a tag, led operators to different contents.
    SourceSplit,
    /// An operator committed to a result and did not reveal it.
    Withheld,
    /// The log's operator had published this very file to see who agrees with it.
    Drill,
}

/// How many members of a group are on each side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupCount {
    /// The group.
    pub name: String,
    /// How many of its members it takes to speak for it.
    pub k: usize,
    /// How many it has.
    pub members: usize,
    /// How many agree with the registry.
    pub agree: usize,
    /// How many got something else.
    pub differ: usize,
    /// How many could not build it.
    pub failed: usize,
}

/// How different those are who agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// In what.
    pub over: Attribute,
    /// How many different values there must be.
    pub needed: usize,
    /// How many there are among those who agree with the registry.
    pub agree: usize,
}

/// The verdict on one artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// What it is about.
    pub artifact: ArtifactId,
    /// The state.
    pub state: State,
    /// How grave the difference is, where the state is `suspect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// How the package's other releases fared before, where the state is `suspect` and the log was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
    /// Alarms.
    pub flags: BTreeSet<Flag>,
    /// How many members of the policy, operators or groups, it asks for.
    pub threshold: usize,
    /// How many it has.
    pub enrolled: usize,
    /// Members that got the published bytes or normal form.
    pub agree: usize,
    /// Members that got something else.
    pub differ: usize,
    /// Members that could not build it.
    pub failed: usize,
    /// Members that share `other`.
    #[serde(default)]
    pub shared: usize,
    /// The result that most differing operators share, if any differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<String>,
    /// The groups of the policy, outer ones first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupCount>,
    /// What those on a side must differ in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub distinct: Vec<Spread>,
    /// Advisories about it, by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advisories: Vec<String>,
    /// Vouches for differences that somebody got, by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vouches: Vec<String>,
    /// Envelopes of the declarations that it rests on: advisories and vouches that had a part, and what silenced results.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub declarations: Vec<Digest>,
    /// One vote an enrolled operator, in the order of their names.
    pub votes: Vec<Vote>,
    /// Other digests seen under the same name, sorted; at most eight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_digests: Vec<Digest>,
    /// As of when, where the policy has rules that look at the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
    /// SHA-256 of the policy.
    pub policy: Digest,
    /// Name and version of the rules.
    pub engine: String,
}

impl State {
    /// All states, in the order in which the first that applies is taken.
    pub const ORDER: [Self; 11] = [
        Self::Compromised,
        Self::Contested,
        Self::Reproduced,
        Self::Equivalent,
        Self::Explained,
        Self::Suspect,
        Self::EnvironmentDependent,
        Self::Unreproducible,
        Self::Unbuildable,
        Self::Inconclusive,
        Self::Pending,
    ];

    /// The state's name, as in the JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Compromised => "compromised",
            Self::Contested => "contested",
            Self::Reproduced => "reproduced",
            Self::Equivalent => "equivalent",
            Self::Explained => "explained",
            Self::Suspect => "suspect",
            Self::EnvironmentDependent => "environment-dependent",
            Self::Unreproducible => "unreproducible",
            Self::Unbuildable => "unbuildable",
            Self::Inconclusive => "inconclusive",
            Self::Pending => "pending",
        }
    }
}

impl Flag {
    /// The flag's name, as in the JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Equivocation => "equivocation",
            Self::RegistrySplit => "registry-split",
            Self::Mutated => "mutated",
            Self::SourceSplit => "source-split",
            Self::Withheld => "withheld",
            Self::Drill => "drill",
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::fmt::Display for Flag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl Verdict {
    /// Digests of every result that was considered, agreeing and dissenting, of the commitments that these open, of
    /// the checks that bear them out, and of declarations, sorted.
    pub fn rests_on(&self) -> Vec<Digest> {
        let of_vote = |vote: &Vote| [&vote.results, &vote.commitments, &vote.checks].into_iter().flatten().copied().collect::<Vec<_>>();
        let digests: BTreeSet<_> = self.votes.iter().flat_map(of_vote).chain(self.declarations.iter().copied()).collect();
        digests.into_iter().collect()
    }

    /// The severity as the history raises it: how alarming it is.
    pub fn alarm(&self) -> Option<Severity> {
        self.severity.map(|severity| self.history.unwrap_or_default().raise(severity))
    }

    /// Votes that contradict the side which the state takes.
    pub fn dissent(&self) -> impl Iterator<Item = &Vote> {
        self.votes.iter().filter(|vote| match self.state {
            State::Reproduced | State::Equivalent => matches!(vote.ballot, Ballot::Different { .. }),
            State::Explained => matches!(vote.ballot, Ballot::Different { .. }) && !self.is_on_other(vote),
            State::Suspect | State::Unreproducible | State::Unbuildable => {
                matches!(vote.ballot, Ballot::Identical | Ballot::Equivalent { .. })
            }
            State::Compromised | State::Contested | State::EnvironmentDependent | State::Inconclusive | State::Pending => false,
        })
    }

    /// The numbers behind the state, in one sentence.
    pub fn reason(&self) -> String {
        let of = |count, what| format!("{count} of {} {} {what}, threshold {}", self.enrolled, self.members(), self.threshold);
        match self.state {
            State::Compromised => format!("advisory {}; {}", self.advisories.join(", "), of(self.agree, "agree with the registry")),
            State::Contested => format!("{} while others agree on another result", of(self.agree, "agree with the registry")),
            State::Reproduced if self.groups.is_empty() => of(self.identical(), "rebuilt the published bytes"),
            State::Reproduced => of(self.agree, "rebuilt the published bytes or contents"),
            State::Equivalent => of(self.agree, "rebuilt the published contents"),
            State::Explained => {
                let shared = format!("agree with the registry, {} got the difference of vouch {}", self.shared, self.vouches.join(", "));
                of(self.agree, &shared)
            }
            State::Suspect => of(self.shared, "agree on another result than the published one"),
            State::EnvironmentDependent => {
                let apart = format!("agree with the registry, {} differ, as their environments do", self.differ);
                of(self.agree, &apart)
            }
            State::Unreproducible => format!("{}, not with each other", of(self.differ, "got another result")),
            State::Unbuildable => of(self.failed, "could not build it"),
            State::Inconclusive => format!("{}; who has not answered cannot decide it, threshold {}", self.numbers(), self.threshold),
            State::Pending => {
                let voted = self.votes.iter().filter(|vote| vote.ballot != Ballot::Absent).count();
                let (of, threshold) = (self.votes.len(), self.threshold);
                format!("{}; {voted} of {of} operators have answered, threshold {threshold}", self.numbers())
            }
        }
    }

    /// What is missing for a quorum, where one is missing.
    pub fn missing(&self) -> Option<String> {
        if !matches!(self.state, State::Pending | State::Inconclusive | State::Unbuildable) {
            return None;
        }
        let lacking = self.threshold.saturating_sub(self.agree);
        let mut parts = vec![format!("{lacking} more must agree with the registry")];
        for spread in self.distinct.iter().filter(|spread| spread.agree < spread.needed) {
            parts.push(format!("they must differ in {} ({} of {})", spread.over, spread.agree, spread.needed));
        }
        let absent: Vec<_> = self.votes.iter().filter(|vote| vote.ballot == Ballot::Absent).map(|vote| vote.name.as_str()).collect();
        parts.push(if absent.is_empty() {
            "everybody has answered".to_owned()
        } else {
            format!("no result yet from {}", absent.join(", "))
        });
        for vote in &self.votes {
            if let Ballot::Pending { reason } = &vote.ballot {
                parts.push(format!("{} is {reason}", vote.name));
            }
        }
        Some(parts.join("; "))
    }

    /// How many operators rebuilt the published bytes.
    pub fn identical(&self) -> usize {
        self.votes.iter().filter(|vote| vote.ballot == Ballot::Identical).count()
    }

    fn numbers(&self) -> String {
        format!("{} agree, {} differ, {} could not build", self.agree, self.differ, self.failed)
    }

    /// What is counted.
    fn members(&self) -> &'static str {
        if self.groups.is_empty() { "operators" } else { "groups" }
    }

    fn is_on_other(&self, vote: &Vote) -> bool {
        matches!(&vote.ballot, Ballot::Different { rebuilt } if Some(rebuilt) == self.other.as_ref())
    }
}
