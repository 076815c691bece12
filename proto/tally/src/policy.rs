//! Policies: whose results count, which of them, and how many are enough.
//!
//! A TOML file that a consumer owns; a coordinator has one too. Its identity is the SHA-256 of its
//! exact bytes, so that a verdict can name it. Unknown keys are refused: a misspelt rule that is
//! silently not applied would be worse than none.

use std::collections::{BTreeMap, BTreeSet};

use quorate_proto::comparison::{Level, Risk};
use quorate_proto::result::SourceKind;
use quorate_proto::{Digest, OperatorId};
use serde::Deserialize;

use crate::verdict::{State, Verdict};

/// Largest policy, in bytes.
pub const POLICY_BYTES_MAX: usize = 256 * 1024;

/// A policy that was read and checked.
#[derive(Clone, Debug)]
pub struct Policy {
    file: PolicyFile,
    names: BTreeMap<OperatorId, String>,
    enrolled: BTreeSet<OperatorId>,
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

/// A text that is no usable policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Too large.
    #[error("policy of {got} bytes, limit {limit}")]
    TooLarge {
        /// Bytes given.
        got: usize,
        /// Bytes accepted.
        limit: usize,
    },
    /// Not TOML of the expected shape.
    #[error("malformed policy")]
    Malformed(#[source] Box<toml::de::Error>),
    /// A version that these rules do not know.
    #[error("policy has version {0}, expected 1")]
    Version(u32),
    /// An operator that stands twice, by key or by name.
    #[error("operator `{0}` stands twice in the policy")]
    DuplicateOperator(String),
    /// A name that could mislead a reader.
    #[error("operator name {0:?} must have 1 to 64 letters, digits, spaces or `-_.`")]
    OperatorName(String),
    /// A threshold that nobody or everybody reaches.
    #[error("threshold {threshold} with {operators} operators: expected 1 to {operators}")]
    Threshold {
        /// The threshold given.
        threshold: usize,
        /// How many operators there are.
        operators: usize,
    },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    version: u32,
    threshold: usize,
    operator: Vec<Operator>,
    #[serde(default)]
    allow: Allow,
    #[serde(default)]
    accept: Accept,
    log: Option<LogPolicy>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Operator {
    name: String,
    key: OperatorId,
}

/// Which results count.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Allow {
    levels: Vec<Level>,
    sources: Vec<SourceKind>,
    risk_max: Risk,
}

/// Which states meet the policy.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Accept {
    states: Vec<State>,
}

impl Default for Allow {
    fn default() -> Self {
        Self {
            levels: vec![Level::Stream, Level::Normal, Level::Manifest],
            sources: vec![SourceKind::Git, SourceKind::SourceArchive, SourceKind::SourceDistribution],
            risk_max: Risk::Medium,
        }
    }
}

impl Default for Accept {
    fn default() -> Self {
        Self { states: vec![State::Reproduced, State::Equivalent] }
    }
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
        let names = operator_names(&file.operator)?;
        if !(1..=names.len()).contains(&file.threshold) {
            return Err(PolicyError::Threshold { threshold: file.threshold, operators: names.len() });
        }
        let enrolled = names.keys().copied().collect();
        Ok(Self { file, names, enrolled, digest: Digest::of(text.as_bytes()) })
    }

    /// SHA-256 of the policy's exact bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many operators are enough.
    pub fn threshold(&self) -> usize {
        self.file.threshold
    }

    /// Everybody who may vote: the denominator of every verdict.
    pub fn enrolled(&self) -> &BTreeSet<OperatorId> {
        &self.enrolled
    }

    /// The name that this policy gives to an operator, else its key.
    pub fn name_of(&self, operator: &OperatorId) -> String {
        self.names.get(operator).cloned().unwrap_or_else(|| operator.to_string())
    }

    /// Whose log a proof must come from, if the policy says so.
    pub fn log(&self) -> Option<&LogPolicy> {
        self.file.log.as_ref()
    }

    /// Whether an `equivalent` result at this level, resting on passes of this risk, counts.
    pub fn allows_level(&self, level: Level, risk: Option<Risk>) -> bool {
        self.file.allow.levels.contains(&level) && risk.is_none_or(|risk| risk <= self.file.allow.risk_max)
    }

    /// Whether a rebuild from this kind of source counts.
    pub fn allows_source(&self, kind: SourceKind) -> bool {
        self.file.allow.sources.contains(&kind)
    }

    /// What a verdict means under this policy.
    pub fn disposition(&self, verdict: &Verdict) -> Disposition {
        if self.file.accept.states.contains(&verdict.state) {
            return Disposition::Met;
        }
        match verdict.state {
            State::Pending | State::Unbuildable => Disposition::NotEnoughEvidence,
            State::Reproduced | State::Equivalent | State::Suspect | State::Contested | State::Unreproducible => Disposition::Violated,
        }
    }
}

fn operator_names(operators: &[Operator]) -> Result<BTreeMap<OperatorId, String>, PolicyError> {
    let mut names = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for operator in operators {
        let plain = |c: char| c.is_alphanumeric() || " -_.".contains(c);
        if !(1..=64).contains(&operator.name.len()) || !operator.name.chars().all(plain) {
            return Err(PolicyError::OperatorName(operator.name.chars().take(100).collect()));
        }
        let twice = names.insert(operator.key, operator.name.clone()).is_some() || !seen.insert(&operator.name);
        if twice {
            return Err(PolicyError::DuplicateOperator(operator.name.clone()));
        }
    }
    Ok(names)
}
