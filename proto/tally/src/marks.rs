//! Marks: promises that nodes broke, and agreement with what is known to be wrong, each to be seen in statements that
//! they signed.
//!
//! A mark takes no vote away: whoever owns a policy looks, and decides whom to enrol. No mark depends on what its
//! author could not know, and none on how fast entries travel: a node is held to its own words.
//! `docs/spec/tally.md`, section "Marks".

use std::collections::BTreeSet;
use std::sync::Arc;

use quorate_proto::commitment::Reveals;
use quorate_proto::entry::VerifiedCommitment;
use quorate_proto::result::RebuildResult;
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{ArtifactSlot, Digest, NodeId, OperatorId};
use serde::{Deserialize, Serialize};

use crate::count::Circumstances;

/// A promise that was broken, or a word that cannot be true.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// Who answers for the node.
    pub operator: OperatorId,
    /// The node.
    pub node: NodeId,
    /// Which.
    pub kind: MarkKind,
    /// The envelopes that show it: the commitment, and what goes against it; of a drill its announcement, its opening,
    /// and the result.
    pub shown_by: Vec<Digest>,
}

/// Kinds of marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MarkKind {
    /// Revealed before the time promised, with too few commitments and no result seen.
    Premature,
    /// Committed a second time to a task while the first commitment was not revealed.
    SecondCommitment,
    /// Revealed something else than was committed to.
    FalseReveal,
    /// Not revealed by the time promised.
    Open,
    /// Agreed with a file that is known to be wrong.
    Drill,
}

impl MarkKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Premature, Self::SecondCommitment, Self::FalseReveal, Self::Open, Self::Drill];

    /// The kind's name, as in the JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Premature => "premature",
            Self::SecondCommitment => "second-commitment",
            Self::FalseReveal => "false-reveal",
            Self::Open => "open",
            Self::Drill => "drill",
        }
    }
}

impl std::fmt::Display for MarkKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// The marks that the entries about one slot show, in these circumstances: as of a time, at none of which nothing is
/// late, with these commitments and drills. What is about other slots is ignored; order and repetition change nothing.
/// No policy has a part: what was signed stays signed. Complexity: O(n log n).
pub fn marks<'s>(
    slot: &ArtifactSlot,
    statements: impl IntoIterator<Item = &'s VerifiedStatement>,
    circumstances: Circumstances<'_>,
) -> Vec<Mark> {
    let results: Vec<_> = statements.into_iter().filter(|statement| statement.artifact().slot == *slot).collect();
    let drilled = circumstances.drills.iter().filter(|drilled| drilled.artifact.slot == *slot);
    let mut marks: BTreeSet<_> = drilled.flat_map(|drilled| drilled.marks(results.iter().copied())).collect();
    broken_promises(slot, &results, circumstances, &mut marks);
    marks.into_iter().collect()
}

fn broken_promises(slot: &ArtifactSlot, results: &[&VerifiedStatement], circumstances: Circumstances<'_>, marks: &mut BTreeSet<Mark>) {
    let about = |entry: &&VerifiedCommitment| (&entry.commitment().package, &entry.commitment().file) == (&slot.package, &slot.file);
    let mut commitments: Vec<_> = circumstances.commitments.iter().map(Arc::as_ref).filter(about).collect();
    commitments.sort_by_key(|entry| (entry.node(), entry.position().sequence, entry.digest()));
    commitments.dedup_by_key(|entry| entry.digest());
    for (at, commitment) in commitments.iter().enumerate() {
        let own = || results.iter().copied().filter(|result| result.node() == commitment.node());
        let revealing =
            own().filter(|result| result.result().reveals.as_ref().is_some_and(|r| r.sequence == commitment.position().sequence));
        let mut mark = |kind, by: Option<Digest>| {
            let shown_by = [Some(commitment.digest()), by].into_iter().flatten().collect();
            marks.insert(Mark { operator: commitment.operator(), node: commitment.node(), kind, shown_by });
        };
        let mut is_open = true;
        for result in revealing {
            is_open = false;
            if !commitment.is_opened_by(result) {
                mark(MarkKind::FalseReveal, Some(result.digest()));
            } else if is_premature(commitment, result.result()) {
                mark(MarkKind::Premature, Some(result.digest()));
            }
        }
        if is_open && circumstances.as_of.is_some_and(|now| now > commitment.commitment().promise.reveal_by) {
            mark(MarkKind::Open, None);
        }
        let next = commitments.get(at + 1).filter(|next| next.node() == commitment.node());
        if let Some(next) = next
            && !own().any(|result| (commitment.position().sequence..next.position().sequence).contains(&result.position().sequence))
        {
            mark(MarkKind::SecondCommitment, Some(next.digest()));
        }
    }
}

fn is_premature(commitment: &VerifiedCommitment, result: &RebuildResult) -> bool {
    let promise = commitment.commitment().promise;
    let Some(Reveals { seen, after, .. }) = &result.reveals else { return false };
    result.finished_at < promise.hold_until && seen.len() < promise.enough as usize && after.is_none()
}
