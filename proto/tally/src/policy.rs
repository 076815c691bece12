//! Policies: whose results count, which of them, how many are enough, and what follows.
//!
//! A TOML file that a consumer owns; a coordinator has one too. Its identity is the SHA-256 of its
//! exact bytes, so that a verdict can name it. Unknown keys are refused: a misspelt rule that is
//! silently not applied would be worse than none.
//!
//! Vouches, advisories, retractions and revocations are entries of the file, which whoever owns the policy says; or
//! [declarations](quorate_proto::declaration) of the people and operators that it listens to.

mod error;
mod file;
mod people;
mod rules;
mod voters;

use std::collections::BTreeSet;

use quorate_proto::{ArtifactId, Digest, NodeId, OperatorId, Purl, Timestamp};
use serde::{Deserialize, Serialize};

pub use error::PolicyError;
pub use file::Attribute;
pub(crate) use file::May;
pub(crate) use rules::Rules;
pub use voters::Voter;

use crate::quorum::{Group, Quorum, Side};
use crate::verdict::{State, Verdict};
use file::{Advisory, PolicyFile, Revocation, Vouch};

/// Largest policy, in bytes.
pub const POLICY_BYTES_MAX: usize = 256 * 1024;

/// A policy that was read and checked.
#[derive(Clone, Debug)]
pub struct Policy {
    file: PolicyFile,
    voters: Vec<Voter>,
    enrolled: BTreeSet<OperatorId>,
    /// The first is the policy itself.
    groups: Vec<Group>,
    /// The last are those for all packages that no other is for.
    rules: Vec<Rules>,
    retracted: BTreeSet<Digest>,
    digest: Digest,
}

/// Whose log a proof must come from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogPolicy {
    /// The log's origin line.
    pub origin: String,
    /// Its C2SP verifier key.
    pub key: String,
    /// A C2SP `tlog-policy` text: whose cosignatures the checkpoint must have. Its `log` lines are not asked.
    pub witnesses: Option<String>,
}

/// What a verdict means to the one who owns the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The policy is met.
    Met,
    /// The policy is violated.
    Violated,
    /// There is too little evidence to say.
    NotEnoughEvidence,
}

/// What a state means for the consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consequence {
    /// It may be used.
    Allow,
    /// It may be used, and somebody should look.
    Warn,
    /// It must not be used.
    Block,
}

impl Policy {
    /// Reads a policy.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::TooLarge { got: text.len(), limit: POLICY_BYTES_MAX });
        }
        let file: PolicyFile = toml::from_str(text).map_err(|e| PolicyError::Malformed(Box::new(e)))?;
        if file.version != 1 {
            return Err(PolicyError::Version(file.version));
        }
        let voters = voters::voters(&file.operator)?;
        let policy = Self {
            enrolled: voters.iter().map(|voter| voter.operator).collect(),
            groups: voters::groups(&file, &voters)?,
            rules: Rules::of(&file),
            retracted: file.retraction.iter().map(|retraction| retraction.result).collect(),
            digest: Digest::of(text.as_bytes()),
            voters,
            file,
        };
        policy.check()?;
        people::check(&policy.file)?;
        Ok(policy)
    }

    /// Every rule can be met, and every entry means something.
    fn check(&self) -> Result<(), PolicyError> {
        let mut everybody = Side::empty(self.voters.len());
        (0..self.voters.len()).for_each(|voter| everybody.add(voter));
        for rules in &self.rules {
            if !rules.take_a_grade() {
                return Err(PolicyError::Grades);
            }
            let (threshold, operators) = (rules.threshold, self.size());
            if !(1..=operators).contains(&threshold) {
                return Err(PolicyError::Threshold { threshold, operators });
            }
            if let Some(attribute) = (Quorum { policy: self, rules }).lacking(&everybody) {
                let needed = rules.distinct.get(&attribute).copied().unwrap_or_default();
                return Err(PolicyError::Distinct { attribute, needed });
            }
        }
        if let Some(advisory) = self.file.advisory.iter().find(|entry| entry.digest.is_some() == entry.package.is_some()) {
            return Err(PolicyError::Advisory(advisory.id.chars().take(100).collect()));
        }
        for entry in &self.file.revocation {
            let whole = entry.operator.as_ref().filter(|_| entry.since.is_none()).is_some_and(|name| self.named(name).is_some());
            if entry.node.is_some() == entry.operator.is_some() || (entry.operator.is_some() && !whole) {
                return Err(PolicyError::Revocation(entry.reason.chars().take(100).collect()));
            }
        }
        Ok(())
    }

    /// SHA-256 of the policy's exact bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many members, operators or groups, are enough where no rule for a package says otherwise.
    pub fn threshold(&self) -> usize {
        self.file.threshold
    }

    /// How many members it has: groups, and operators that are in none.
    pub fn size(&self) -> usize {
        self.groups[0].len()
    }

    /// Everybody who may vote.
    pub fn enrolled(&self) -> &BTreeSet<OperatorId> {
        &self.enrolled
    }

    /// Everybody who may vote, in the order of their names, with what the policy says of them.
    pub fn voters(&self) -> &[Voter] {
        &self.voters
    }

    /// The operator of this name.
    pub fn named(&self, name: &str) -> Option<OperatorId> {
        self.voters.iter().find(|voter| voter.name == name).map(|voter| voter.operator)
    }

    /// The name that this policy gives to an operator, else its key.
    pub fn name_of(&self, operator: &OperatorId) -> String {
        let voter = self.voters.iter().find(|voter| voter.operator == *operator);
        voter.map_or_else(|| operator.to_string(), |voter| voter.name.clone())
    }

    /// Whose log a proof must come from, if the policy says so.
    pub fn log(&self) -> Option<&LogPolicy> {
        self.file.log.as_ref()
    }

    /// This policy, as if an operator had never said anything. It stays in the denominator.
    #[must_use]
    pub fn distrusting(mut self, operator: OperatorId) -> Self {
        let (name, reason) = (Some(self.name_of(&operator)), "not trusted".to_owned());
        self.file.revocation.push(Revocation { node: None, since: None, operator: name, reason });
        self
    }

    /// What a verdict means for the consumer.
    pub fn consequence(&self, verdict: &Verdict) -> Consequence {
        self.rules_for(&verdict.artifact.slot.package).consequence(verdict.state)
    }

    /// What a verdict means under this policy. Where it blocks for want of evidence, more of it may help.
    pub fn disposition(&self, verdict: &Verdict) -> Disposition {
        match (self.consequence(verdict), verdict.state) {
            (Consequence::Allow | Consequence::Warn, _) => Disposition::Met,
            (Consequence::Block, State::Pending | State::Inconclusive | State::Unbuildable) => Disposition::NotEnoughEvidence,
            (Consequence::Block, _) => Disposition::Violated,
        }
    }

    /// The rules for a package: the first in the file that match it.
    pub(crate) fn rules_for(&self, package: &Purl) -> &Rules {
        let meant = |rules: &&Rules| rules.pattern.as_ref().is_none_or(|pattern| pattern.matches(package));
        self.rules.iter().find(meant).expect("the last rules are for every package")
    }

    pub(crate) fn rules(&self) -> &[Rules] {
        &self.rules
    }

    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Whether the verdict on a package depends on when it is asked for.
    pub(crate) fn depends_on_time(&self, artifact: &ArtifactId) -> bool {
        self.rules_for(&artifact.slot.package).ages() || self.file.vouch.iter().any(|vouch| vouch.digest == artifact.digest)
    }

    /// The result was taken back.
    pub(crate) fn is_retracted(&self, result: Digest) -> bool {
        self.retracted.contains(&result)
    }

    /// Nothing counts that an operator ever said, by its place among the voters.
    pub(crate) fn is_silent(&self, voter: usize) -> bool {
        self.file.revocation.iter().any(|entry| entry.operator.as_ref() == Some(&self.voters[voter].name))
    }

    /// The place in a feed is of no trusted key: whatever stands there was never seen.
    pub(crate) fn is_revoked(&self, operator: OperatorId, node: NodeId, sequence: u64) -> bool {
        self.file.revocation.iter().any(|entry| match (&entry.node, &entry.operator) {
            (Some(revoked), _) => *revoked == node && sequence >= entry.since.unwrap_or(0),
            (None, Some(name)) => self.named(name) == Some(operator),
            (None, None) => false,
        })
    }

    /// Ids and reasons of the advisories about an artifact.
    pub(crate) fn advisories<'p>(&'p self, artifact: &'p ArtifactId) -> impl Iterator<Item = (&'p str, &'p str)> {
        let about = |entry: &&Advisory| match (&entry.digest, &entry.package) {
            (Some(digest), _) => *digest == artifact.digest,
            (None, Some(pattern)) => pattern.matches(&artifact.slot.package),
            (None, None) => false,
        };
        self.file.advisory.iter().filter(about).map(|entry| (entry.id.as_str(), entry.reason.as_str()))
    }

    /// Ids and reasons of all vouches.
    pub(crate) fn all_vouches(&self) -> impl Iterator<Item = (&str, &str)> {
        self.file.vouch.iter().map(|vouch| (vouch.id.as_str(), vouch.reason.as_str()))
    }

    /// Ids of the vouches, in force as of a time, for this difference of an artifact. None is in force at no time.
    pub(crate) fn vouches(&self, artifact: &ArtifactId, rebuilt: &str, as_of: Option<Timestamp>) -> impl Iterator<Item = &str> {
        let in_force = move |vouch: &Vouch| as_of.is_some_and(|now| now <= vouch.until);
        let about = move |vouch: &&Vouch| vouch.digest == artifact.digest && vouch.rebuilt == rebuilt && in_force(vouch);
        self.file.vouch.iter().filter(about).map(|vouch| vouch.id.as_str())
    }
}
