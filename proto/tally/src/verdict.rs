//! Verdicts: a state, flags beside it, and the numbers behind both.

use std::collections::BTreeSet;

use quorate_proto::{ArtifactId, Digest};
use serde::{Deserialize, Serialize};

use crate::ballot::{Ballot, Vote};

/// What the enrolled operators say together. The first that applies, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Enough operators agree with the registry, and enough agree on one other result.
    Contested,
    /// Enough operators got the published bytes.
    Reproduced,
    /// Enough operators got the published bytes or the published normal form.
    Equivalent,
    /// Enough operators agree with each other on another result than the published one.
    Suspect,
    /// Enough operators got something else, but not the same.
    Unreproducible,
    /// Enough operators could not build it.
    Unbuildable,
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
}

/// The verdict on one artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// What it is about.
    pub artifact: ArtifactId,
    /// The state.
    pub state: State,
    /// Alarms.
    pub flags: BTreeSet<Flag>,
    /// How many operators the policy asks for.
    pub threshold: usize,
    /// How many operators may vote.
    pub enrolled: usize,
    /// Operators that got the published bytes or normal form.
    pub agree: usize,
    /// Operators that got something else.
    pub differ: usize,
    /// Operators that could not build it.
    pub failed: usize,
    /// The result that most differing operators share, if any differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<String>,
    /// One vote an enrolled operator, in the order of their names.
    pub votes: Vec<Vote>,
    /// Other digests seen under the same name, sorted; at most eight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_digests: Vec<Digest>,
    /// SHA-256 of the policy.
    pub policy: Digest,
    /// Name and version of the rules.
    pub engine: String,
}

impl State {
    /// The state's name, as in the JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Contested => "contested",
            Self::Reproduced => "reproduced",
            Self::Equivalent => "equivalent",
            Self::Suspect => "suspect",
            Self::Unreproducible => "unreproducible",
            Self::Unbuildable => "unbuildable",
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
    /// Digests of every result that was considered, agreeing and dissenting, sorted.
    pub fn rests_on(&self) -> Vec<Digest> {
        let digests: BTreeSet<_> = self.votes.iter().flat_map(|vote| vote.results.iter().copied()).collect();
        digests.into_iter().collect()
    }

    /// Votes that contradict the side which the state takes.
    pub fn dissent(&self) -> impl Iterator<Item = &Vote> {
        self.votes.iter().filter(|vote| match self.state {
            State::Reproduced | State::Equivalent => matches!(vote.ballot, Ballot::Different { .. }),
            State::Suspect | State::Unreproducible | State::Unbuildable => {
                matches!(vote.ballot, Ballot::Identical | Ballot::Equivalent { .. })
            }
            State::Contested | State::Pending => false,
        })
    }

    /// The numbers behind the state, in one sentence.
    pub fn reason(&self) -> String {
        let of = |count, what| format!("{count} of {} operators {what}, threshold {}", self.enrolled, self.threshold);
        match self.state {
            State::Contested => format!("{} while others agree on another result", of(self.agree, "agree with the registry")),
            State::Reproduced => of(self.identical(), "rebuilt the published bytes"),
            State::Equivalent => of(self.agree, "rebuilt the published contents"),
            State::Suspect => of(self.on_other(), "agree on another result than the published one"),
            State::Unreproducible => format!("{}, not with each other", of(self.differ, "got another result")),
            State::Unbuildable => of(self.failed, "could not build it"),
            State::Pending => {
                let voted = self.votes.iter().filter(|vote| vote.ballot != Ballot::Absent).count();
                format!("{} agree, {} differ, {} could not build; {}", self.agree, self.differ, self.failed, of(voted, "have answered"))
            }
        }
    }

    fn identical(&self) -> usize {
        self.votes.iter().filter(|vote| vote.ballot == Ballot::Identical).count()
    }

    fn on_other(&self) -> usize {
        let shared = |vote: &&Vote| matches!(&vote.ballot, Ballot::Different { rebuilt } if Some(rebuilt) == self.other.as_ref());
        self.votes.iter().filter(shared).count()
    }
}
