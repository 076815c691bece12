//! The shape of a policy file. Everything is optional but `version`, `threshold` and `operator`.

use std::collections::{BTreeMap, BTreeSet};

use quorate_proto::comparison::{Level, Risk};
use quorate_proto::result::SourceKind;
use quorate_proto::{Digest, NodeId, OperatorId, PurlPattern, SignerId, Timestamp};
use serde::Deserialize;

use super::{Consequence, LogPolicy};
use crate::grade::Grade;
use crate::verdict::State;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyFile {
    pub(super) version: u32,
    pub(super) threshold: usize,
    pub(super) max_age_days: Option<u32>,
    pub(super) grades: Option<Vec<Grade>>,
    pub(super) operator: Vec<Operator>,
    #[serde(default)]
    pub(super) group: Vec<Group>,
    #[serde(default)]
    pub(super) distinct: BTreeMap<Attribute, usize>,
    #[serde(default)]
    pub(super) allow: Allow,
    #[serde(default)]
    pub(super) accept: Accept,
    #[serde(default)]
    pub(super) states: BTreeMap<State, Consequence>,
    #[serde(default)]
    pub(super) package: Vec<PackageRule>,
    #[serde(default)]
    pub(super) person: Vec<Person>,
    #[serde(default)]
    pub(super) vouch: Vec<Vouch>,
    #[serde(default)]
    pub(super) advisory: Vec<Advisory>,
    #[serde(default)]
    pub(super) retraction: Vec<Retraction>,
    #[serde(default)]
    pub(super) revocation: Vec<Revocation>,
    pub(super) log: Option<LogPolicy>,
}

/// Something that operators have in common, and that one fault or one court could reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attribute {
    /// Who owns it.
    Organisation,
    /// Whose law it is under.
    Country,
    /// Through whom it sees the registries.
    Network,
    /// What its environments are made from, such as a distribution.
    Environment,
    /// Which rebuilder it runs.
    Implementation,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Operator {
    pub(super) name: String,
    pub(super) key: OperatorId,
    pub(super) organisation: Option<String>,
    pub(super) country: Option<String>,
    pub(super) network: Option<String>,
    pub(super) environment: Option<String>,
    pub(super) implementation: Option<String>,
}

/// Operators and groups of which `k` together speak as one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) k: usize,
    pub(super) members: Vec<String>,
}

/// Which results count.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Allow {
    pub(super) levels: Vec<Level>,
    pub(super) sources: Vec<SourceKind>,
    pub(super) risk_max: Risk,
    /// `name`, or `name/version`.
    pub(super) passes: Option<Vec<String>>,
}

/// Which states meet the policy.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Accept {
    pub(super) states: Vec<State>,
}

/// What is otherwise for some packages.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PackageRule {
    #[serde(rename = "match")]
    pub(super) pattern: PurlPattern,
    pub(super) threshold: Option<usize>,
    pub(super) max_age_days: Option<u32>,
    pub(super) grades: Option<Vec<Grade>>,
    pub(super) distinct: Option<BTreeMap<Attribute, usize>>,
    pub(super) allow: Option<Allow>,
    pub(super) accept: Option<Accept>,
    pub(super) states: Option<BTreeMap<State, Consequence>>,
}

/// Somebody who is not an operator, and whose declarations count.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) key: SignerId,
    pub(super) may: BTreeSet<May>,
}

/// What a person may declare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum May {
    /// That something is compromised.
    Advise,
    /// That a difference is benign.
    Vouch,
}

/// A difference that somebody looked at and found benign.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Vouch {
    pub(super) id: String,
    /// The published file.
    pub(super) digest: Digest,
    /// What rebuilds give: a ballot's `rebuilt`.
    pub(super) rebuilt: String,
    pub(super) until: Timestamp,
    pub(super) reason: String,
}

/// People say that something is compromised.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Advisory {
    pub(super) id: String,
    pub(super) digest: Option<Digest>,
    pub(super) package: Option<PurlPattern>,
    pub(super) reason: String,
}

/// A result that is as if it had never been.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Retraction {
    /// The result's envelope.
    pub(super) result: Digest,
    #[serde(rename = "reason")]
    pub(super) _reason: Option<String>,
}

/// A key that is not trusted any more.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revocation {
    pub(super) node: Option<NodeId>,
    /// The first sequence number of the node's feed that does not count.
    pub(super) since: Option<u64>,
    /// All nodes of this operator, for all that they ever said.
    pub(super) operator: Option<String>,
    pub(super) reason: String,
}

impl Attribute {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Organisation, Self::Country, Self::Network, Self::Environment, Self::Implementation];

    /// The attribute's name, as in the policy.
    pub fn name(self) -> &'static str {
        match self {
            Self::Organisation => "organisation",
            Self::Country => "country",
            Self::Network => "network",
            Self::Environment => "environment",
            Self::Implementation => "implementation",
        }
    }
}

impl std::fmt::Display for Attribute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl Operator {
    /// What the policy says of it.
    pub(super) fn attributes(&self) -> BTreeMap<Attribute, String> {
        let said = [&self.organisation, &self.country, &self.network, &self.environment, &self.implementation];
        Attribute::ALL.into_iter().zip(said).filter_map(|(attribute, value)| Some((attribute, value.clone()?))).collect()
    }
}

impl Default for Allow {
    fn default() -> Self {
        Self {
            levels: vec![Level::Stream, Level::Normal, Level::Manifest],
            sources: vec![SourceKind::Git, SourceKind::SourceArchive, SourceKind::SourceDistribution],
            risk_max: Risk::Medium,
            passes: None,
        }
    }
}

impl Default for Accept {
    fn default() -> Self {
        Self { states: vec![State::Reproduced, State::Equivalent, State::Explained] }
    }
}
