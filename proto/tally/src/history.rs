//! History: how the other releases of a package fared, for a file that is suspect.
//!
//! A package whose releases agreed until one does not is more alarming than one that never did. The severity of a
//! difference stays what its kind makes it, so that it follows from the results; the history stands beside it in the
//! verdict, and one rule raises the one by the other. It is counted from verdicts that stand in the log before the size
//! that the verdict names: whoever reads the log in order finds the same. Which those are is for readers of a log to say.
//! `docs/spec/tally.md`, section "History".

use std::collections::BTreeMap;
use std::fmt;

use quorate_proto::{Digest, Purl};
use serde::{Deserialize, Serialize};

use crate::severity::Severity;
use crate::verdict::{State, Verdict};

/// Verdicts in force on files of a package that are looked at: those that stand last in the log.
pub const VERDICTS_MAX: usize = 1_024;

/// So many releases that agree are a habit.
const UNBROKEN_MIN: usize = 3;

/// How the other releases of a package fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Releases that agree with the registry or are explained.
    pub agreed: usize,
    /// Releases with a file that does not.
    pub other: usize,
}

/// What a verdict says for the history of its package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// By which rules: see [`rules`].
    pub rules: Digest,
    /// SHA-256 of the package URL.
    pub release: Digest,
    /// What it says.
    pub state: State,
}

/// How a release fared, the worse the greater. One that nobody could judge has not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fared {
    Agreed,
    Other,
}

/// What verdicts by one policy and one version of the rules have in common.
pub fn rules(policy: Digest, engine: &str) -> Digest {
    Digest::of(format!("{policy} {engine}").as_bytes())
}

/// What all releases of a package in one registry have in common.
pub fn package(release: &Purl) -> Digest {
    Digest::of(release.without_version().to_string().as_bytes())
}

impl Past {
    /// What `verdict` says.
    pub fn of(verdict: &Verdict) -> Self {
        let release = Digest::of(verdict.artifact.slot.package.to_string().as_bytes());
        Self { rules: rules(verdict.policy, &verdict.engine), release, state: verdict.state }
    }
}

impl History {
    /// The history beside `verdict`. `newest` are the verdicts in force on files of the package, those that stand last in
    /// the log first; after [`VERDICTS_MAX`] no more are asked for. Those about the same release and those by other rules
    /// count for nothing.
    pub fn of(verdict: &Verdict, newest: impl IntoIterator<Item = Past>) -> Self {
        let this = Past::of(verdict);
        let mut releases = BTreeMap::new();
        for past in newest.into_iter().take(VERDICTS_MAX).filter(|past| past.rules == this.rules && past.release != this.release) {
            if let Some(fared) = Fared::of(past.state) {
                let worst = releases.entry(past.release).or_insert(fared);
                *worst = fared.max(*worst);
            }
        }
        let other = releases.values().filter(|fared| **fared == Fared::Other).count();
        Self { agreed: releases.len() - other, other }
    }

    /// How alarming a difference of this severity is: one step more where the package's other releases all agree.
    #[must_use]
    pub fn raise(self, severity: Severity) -> Severity {
        if self.agreed >= UNBROKEN_MIN && self.other == 0 { severity.graver() } else { severity }
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (agreed, all) = (self.agreed, self.agreed.saturating_add(self.other));
        let is_one = if all == 1 { "release agrees" } else { "releases agree" };
        match self {
            Self { agreed: 0, other: 0 } => f.write_str("no earlier release of the package was judged"),
            Self { other: 0, .. } => write!(f, "{agreed} of {all} earlier {is_one} with the registry; this one does not"),
            _ => write!(f, "{agreed} of {all} earlier {is_one} with the registry"),
        }
    }
}

impl Fared {
    fn of(state: State) -> Option<Self> {
        match state {
            State::Reproduced | State::Equivalent | State::Explained => Some(Self::Agreed),
            State::Compromised | State::Contested | State::Suspect | State::EnvironmentDependent | State::Unreproducible => {
                Some(Self::Other)
            }
            State::Unbuildable | State::Inconclusive | State::Pending => None,
        }
    }
}
