//! What is listened to: of all results about a slot, those of enrolled operators that were neither revoked
//! nor retracted, within bounds that no signer can widen.

use std::collections::{BTreeMap, BTreeSet};

use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{ArtifactId, Digest, NodeId, OperatorId};

use crate::said::{NAMED_MAX, Said};

/// Of each node, this many of its latest results in a slot are looked at: nobody can make a verdict long
/// by signing about ever new digests.
const RESULTS_OF_A_NODE_MAX: usize = 8;

/// Of each operator, this many nodes are looked at, those with the smallest keys.
const NODES_OF_AN_OPERATOR_MAX: usize = 16;

/// The latest results of each node, oldest first.
type Feeds<'s> = BTreeMap<OperatorId, BTreeMap<NodeId, BTreeMap<(u64, Digest), &'s VerifiedStatement>>>;

/// The results about a slot that are looked at.
pub(crate) struct Heard<'s> {
    feeds: Feeds<'s>,
    silencers: BTreeMap<OperatorId, BTreeSet<Digest>>,
}

impl<'s> Heard<'s> {
    /// The order of `statements` and repetitions in it change nothing.
    pub(crate) fn of(said: &Said<'_>, artifact: &ArtifactId, statements: impl IntoIterator<Item = &'s VerifiedStatement>) -> Self {
        let (mut feeds, mut silencers) = (Feeds::new(), BTreeMap::<_, BTreeSet<_>>::new());
        let enrolled = said.policy.enrolled();
        for statement in statements.into_iter().filter(|s| s.artifact().slot == artifact.slot && enrolled.contains(&s.operator())) {
            if said.is_silenced(statement) {
                silencers.entry(statement.operator()).or_default().extend(said.silencer(statement));
                continue;
            }
            let nodes = feeds.entry(statement.operator()).or_default();
            nodes.entry(statement.node()).or_default().insert((statement.position().sequence, statement.digest()), statement);
        }
        for nodes in feeds.values_mut() {
            while nodes.len() > NODES_OF_AN_OPERATOR_MAX {
                nodes.pop_last();
            }
            for results in nodes.values_mut() {
                while results.len() > RESULTS_OF_A_NODE_MAX {
                    results.pop_first();
                }
            }
        }
        Self { feeds, silencers }
    }

    /// Declarations for which results are not among them: of each operator a few, those with the smallest digests.
    pub(crate) fn silencers(&self) -> impl Iterator<Item = Digest> {
        self.silencers.values().flat_map(|of_one| of_one.iter().copied().take(NAMED_MAX))
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &'s VerifiedStatement> {
        self.feeds.values().flat_map(BTreeMap::values).flat_map(|results| results.values().copied())
    }

    /// Those of each node, oldest first.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = impl Iterator<Item = &'s VerifiedStatement>> {
        self.feeds.values().flat_map(BTreeMap::values).map(|results| results.values().copied())
    }

    /// Whether an operator speaks about the slot at all.
    pub(crate) fn has(&self, operator: &OperatorId) -> bool {
        self.feeds.contains_key(operator)
    }

    /// The last word about `digest` of each node of an operator. Of two with one number, an equivocator's,
    /// that with the larger digest.
    pub(crate) fn words(&self, operator: &OperatorId, digest: Digest) -> impl Iterator<Item = &'s VerifiedStatement> {
        let nodes = self.feeds.get(operator).into_iter().flat_map(BTreeMap::values);
        nodes.filter_map(move |results| results.values().rev().find(|s| s.artifact().digest == digest).copied())
    }
}
