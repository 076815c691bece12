//! Ballots: what one operator says about one artifact, all of its nodes together.
//!
//! A node's latest result counts. Nodes of one operator that agree are one vote; nodes that
//! contradict each other are none. A failed build says nothing against a node that succeeded.

use quorate_proto::comparison::Level;
use quorate_proto::result::{Outcome, RebuildResult};
use quorate_proto::{Digest, OperatorId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::grade::Grade;
use crate::policy::Rules;

/// One enrolled operator's vote on one artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vote {
    /// Who votes.
    pub operator: OperatorId,
    /// The name that the policy gives to it.
    pub name: String,
    /// What it says.
    pub ballot: Ballot,
    /// How sure it is that it is the operator's own; of several nodes' results the best. None without a result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grade: Option<Grade>,
    /// Envelope digests of the results that this rests on, sorted.
    pub results: Vec<Digest>,
    /// Envelope digests of the commitments that these open, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commitments: Vec<Digest>,
    /// Envelope digests of checks that bear the results out, sorted. Not all that there may be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Digest>,
}

/// What an operator says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "says", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Ballot {
    /// The published bytes came out.
    Identical,
    /// The published normal form came out.
    Equivalent {
        /// How close.
        level: Level,
    },
    /// Something else came out.
    Different {
        /// What: the normal form if there is one, else the digest.
        rebuilt: String,
    },
    /// Nothing came out.
    NotBuilt {
        /// The result class.
        class: String,
    },
    /// A result of a grade that the policy does not take. It may get another yet.
    Pending {
        /// Which it has, and which are taken.
        reason: String,
    },
    /// A result that the policy does not count.
    NotCounted {
        /// Why not.
        reason: String,
    },
    /// Its nodes contradict each other.
    Split,
    /// One of its nodes has signed two histories.
    Equivocated,
    /// No result yet.
    Absent,
}

impl Ballot {
    /// The ballot of a single result, as of a time.
    pub(crate) fn of(result: &RebuildResult, rules: &Rules, as_of: Option<Timestamp>) -> Self {
        if let Some(reason) = rules.objection(result, as_of) {
            return Self::NotCounted { reason };
        }
        match &result.outcome {
            Outcome::Identical { .. } => Self::Identical,
            Outcome::Equivalent { level, .. } => Self::Equivalent { level: *level },
            Outcome::Different { rebuilt, .. } => {
                Self::Different { rebuilt: rebuilt.normal.map_or_else(|| rebuilt.digest.to_string(), |normal| normal.to_string()) }
            }
            other => Self::NotBuilt { class: other.class().to_owned() },
        }
    }

    /// The ballot of two nodes of one operator: commutative, associative, idempotent.
    pub(crate) fn join(self, other: Self) -> Self {
        use Ballot::{Absent, Different, Equivalent, Equivocated, Identical, NotBuilt, NotCounted, Pending, Split};
        match (self, other) {
            (a, b) if a == b => a,
            (Equivocated, _) | (_, Equivocated) => Equivocated,
            (Split, _) | (_, Split) => Split,
            (Identical, Equivalent { .. }) | (Equivalent { .. }, Identical) => Identical,
            (Equivalent { level: a }, Equivalent { level: b }) => Equivalent { level: a.min(b) },
            (Different { .. }, Identical | Equivalent { .. } | Different { .. }) | (Identical | Equivalent { .. }, Different { .. }) => {
                Split
            }
            (counted @ (Identical | Equivalent { .. } | Different { .. }), _)
            | (_, counted @ (Identical | Equivalent { .. } | Different { .. })) => counted,
            (NotBuilt { class: a }, NotBuilt { class: b }) => NotBuilt { class: a.min(b) },
            (NotCounted { reason: a }, NotCounted { reason: b }) => NotCounted { reason: a.min(b) },
            (Pending { reason: a }, Pending { reason: b }) => Pending { reason: a.min(b) },
            (built @ NotBuilt { .. }, _) | (_, built @ NotBuilt { .. }) => built,
            (waits @ Pending { .. }, _) | (_, waits @ Pending { .. }) => waits,
            (kept @ NotCounted { .. }, Absent) | (Absent, kept) => kept,
        }
    }
}
