//! What follows from the entries of a log: its verdicts once more, those that have yet to come, and its marks.

use std::collections::BTreeMap;

use quorate_proto::feed::EquivocationProof;
use quorate_proto::{ArtifactId, ArtifactSlot, Digest, Timestamp};
use quorate_tally::ballot::Ballot;
use quorate_tally::drills::Drills;
use quorate_tally::{Circumstances, Confirmation, Declarations, Mark, Policy, State, Verdict, marks, tally_as_of};

use super::course::{self, Lack, Last, Times};
use super::history::Packages;
use super::kept::Entries;

/// What verdicts rest on besides the entries about their slots.
#[derive(Default)]
pub(super) struct Grounds {
    pub(super) proofs: Vec<(u64, EquivocationProof)>,
    pub(super) policies: BTreeMap<Digest, Policy>,
    /// The policy of the last verdict; before any, the last one that was logged.
    pub(super) in_force: Option<Digest>,
    pub(super) drills: Drills,
    pub(super) declarations: Declarations,
    pub(super) packages: Packages,
    pub(super) times: Times,
}

/// The marks of a slot as of any time from one to another.
pub(super) struct Marked {
    pub(super) marks: Vec<Mark>,
    from: Timestamp,
    /// The next time that a promise runs out at, if any does.
    until: Option<Timestamp>,
}

impl Grounds {
    /// What follows from all entries about the slot before `size`, as of the time that the verdict names. Proofs of
    /// equivocation that came between that size and the verdict may have been known: those of operators that
    /// the verdict calls equivocated.
    pub(super) fn recompute(&self, entries: &Entries, policy: &Policy, verdict: &Verdict, size: u64) -> Verdict {
        let called = |operator| verdict.votes.iter().any(|vote| vote.operator == operator && vote.ballot == Ballot::Equivocated);
        let known = self.proofs.iter().filter(|(leaf, proof)| *leaf < size || called(proof.operator()));
        let proofs: Vec<_> = known.map(|(_, proof)| proof.clone()).collect();
        // Where the time matters a verdict has to name one.
        let as_of = verdict.as_of.or_else(|| self.times.latest_before(size));
        self.tally(entries, policy, &verdict.artifact, size, as_of, &proofs)
    }

    /// Whether a verdict on an artifact is yet to come after the last one.
    pub(super) fn lacks(&self, entries: &Entries, artifact: &ArtifactId, last: Option<&Last>, now: Timestamp) -> Option<Lack> {
        let since = entries.results_since(last.map_or(0, |last| last.size));
        let oldest = since.map(|result| result.result().finished_at).min()?;
        if now < oldest.plus(course::DUE_AFTER) {
            return Some(Lack::OnItsWay);
        }
        let policy = self.policies.get(&last.map(|last| last.policy).or(self.in_force)?)?;
        let proofs: Vec<_> = self.proofs.iter().map(|(_, proof)| proof.clone()).collect();
        let says = |size, as_of| Verdict { as_of: None, history: None, ..self.tally(entries, policy, artifact, size, as_of, &proofs) };
        let newest = entries.results().map(|(_, result)| result.result().finished_at).max();
        let is_said = |last: &Last| {
            let held = says(last.size, last.as_of);
            [newest, Some(now)].into_iter().any(|as_of| says(u64::MAX, as_of) == held)
        };
        (!last.is_some_and(is_said)).then_some(Lack::Due)
    }

    fn tally(
        &self,
        entries: &Entries,
        policy: &Policy,
        artifact: &ArtifactId,
        size: u64,
        as_of: Option<Timestamp>,
        proofs: &[EquivocationProof],
    ) -> Verdict {
        let statements = entries.results_before(size);
        let commitments = entries.commitments_before(size);
        let others = commitments.iter().map(|entry| (entry.operator(), entry.node()));
        let others = others.chain(entries.checks_before(size).map(|check| (check.operator(), check.position().node)));
        let others = others.chain(proofs.iter().map(|proof| (proof.operator(), proof.node())));
        let circumstances = Circumstances {
            as_of,
            equivocations: proofs,
            commitments: &commitments,
            confirmations: &Confirmation::among(entries.checks_before(size), statements.clone()),
            drills: &self.drills.shown(&artifact.slot, size, &entries.results()),
            declarations: &self.declarations.about(&artifact.slot, size, statements.clone(), others),
        };
        let mut verdict = tally_as_of(policy, artifact, statements, circumstances);
        verdict.history = (verdict.state == State::Suspect).then(|| self.packages.history(&verdict, size));
        verdict
    }

    /// The marks that all entries about a slot show.
    pub(super) fn marked(&self, slot: &ArtifactSlot, entries: &Entries, as_of: Timestamp) -> Marked {
        let commitments = entries.commitments_before(u64::MAX);
        let drills = self.drills.shown(slot, u64::MAX, &entries.results());
        let until = commitments.iter().map(|entry| entry.commitment().promise.reveal_by).filter(|due| *due >= as_of).min();
        let circumstances = Circumstances { as_of: Some(as_of), commitments: &commitments, drills: &drills, ..Circumstances::default() };
        Marked { marks: marks(slot, entries.results().map(|(_, result)| result), circumstances), from: as_of, until }
    }
}

impl Marked {
    pub(super) fn holds(&self, as_of: Timestamp) -> bool {
        self.from <= as_of && self.until.is_none_or(|until| as_of <= until)
    }
}

/// In what a verdict differs from what it should be.
pub(super) fn contradiction(verdict: &Verdict, recomputed: &Verdict) -> String {
    let file = crate::text::plain(verdict.artifact.slot.file.as_str());
    if (Verdict { history: verdict.history, ..recomputed.clone() }) == *verdict {
        let words = |of: &Verdict| of.history.map_or_else(|| "nothing of other releases".to_owned(), |history| history.to_string());
        return format!("the verdict on {file} says: {}; but the verdicts before it give: {}", words(verdict), words(recomputed));
    }
    format!("the verdict on {file} says `{}`, but the results before it give `{}`", verdict.state, recomputed.state)
}
