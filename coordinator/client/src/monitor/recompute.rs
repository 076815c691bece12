//! What follows from the entries of a log: its verdicts once more, those that have yet to come, and its marks.

use std::collections::BTreeMap;
use std::time::Duration;

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

/// How much of the log is looked at.
#[derive(Clone, Copy)]
struct Extent {
    /// Of entries of feeds, and of verdicts on other releases.
    entries: u64,
    /// Of what else may change a verdict.
    occasions: u64,
}

/// When it is asked what is due.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) now: Timestamp,
    /// Occasions from this leaf on are not ripe.
    pub(super) unripe_from: u64,
}

impl Extent {
    const ALL: Self = Self::of(u64::MAX);

    const fn of(size: u64) -> Self {
        Self { entries: size, occasions: size }
    }
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
        self.tally(entries, policy, &verdict.artifact, Extent::of(size), as_of, &proofs)
    }

    /// How much of the log a verdict that considers it up to `size` has read for proofs of equivocation.
    pub(super) fn proofs_read(&self, verdict: &Verdict, size: u64) -> u64 {
        let called = |operator| verdict.votes.iter().any(|vote| vote.operator == operator && vote.ballot == Ballot::Equivocated);
        let later = self.proofs.iter().rev().take_while(|(leaf, _)| *leaf >= size);
        later.filter(|(_, proof)| called(proof.operator())).map(|(leaf, _)| leaf + 1).max().unwrap_or(size)
    }

    /// Whether results that no verdict on an artifact has considered say something else than the last one.
    pub(super) fn lacks(&self, entries: &Entries, artifact: &ArtifactId, last: Option<&Last>, asked: Asked) -> Option<Lack> {
        let since = entries.results_since(last.map_or(0, |last| last.size));
        let oldest = since.map(|result| result.result().finished_at).min()?;
        if asked.now < oldest.plus(course::DUE_AFTER) {
            return Some(Lack::OnItsWay);
        }
        let Some(last) = last else { return self.in_force.map(|_| Lack::Due) };
        let ripe = Extent { occasions: asked.unripe_from, ..Extent::ALL };
        self.unsaid(entries, artifact, last, ripe, &self.times_of(entries, last, asked.now))
    }

    /// Whether the last verdict says something else than what follows from its results and all that is ripe.
    pub(super) fn ignores(&self, entries: &Entries, artifact: &ArtifactId, last: &Last, asked: Asked) -> bool {
        let ripe = Extent { entries: last.size, occasions: asked.unripe_from };
        self.unsaid(entries, artifact, last, ripe, &self.times_of(entries, last, asked.now)) == Some(Lack::Due)
    }

    /// Whether the last verdict says something else than its results do since a vouch has ended.
    pub(super) fn outlives(&self, entries: &Entries, artifact: &ArtifactId, last: &Last, ended: Timestamp, asked: Asked) -> bool {
        let ripe = Extent { entries: last.size, occasions: asked.unripe_from };
        let times = [ended.plus(Duration::from_secs(1)), asked.now].map(Some);
        self.unsaid(entries, artifact, last, ripe, &times) == Some(Lack::Due)
    }

    /// When a verdict that nothing is lacking in may be as of: which one the coordinator was to take, nobody knows.
    fn times_of(&self, entries: &Entries, last: &Last, now: Timestamp) -> [Option<Timestamp>; 3] {
        let newest = entries.results().map(|(_, result)| result.result().finished_at).max();
        [newest, Some(now), self.time_of(last)]
    }

    fn time_of(&self, last: &Last) -> Option<Timestamp> {
        last.as_of.or_else(|| self.times.latest_before(last.size))
    }

    /// Whether the last verdict says, as of none of these times, what follows from all that is known, and not what follows from
    /// what is `ripe` either.
    fn unsaid(&self, entries: &Entries, artifact: &ArtifactId, last: &Last, ripe: Extent, times: &[Option<Timestamp>]) -> Option<Lack> {
        let policy = self.policies.get(&last.policy)?;
        let says = |extent: Extent, as_of, proofs_read| {
            let read = self.proofs.iter().filter(|(leaf, _)| *leaf < proofs_read);
            let proofs: Vec<_> = read.map(|(_, proof)| proof.clone()).collect();
            Verdict { as_of: None, history: None, ..self.tally(entries, policy, artifact, extent, as_of, &proofs) }
        };
        let held = says(Extent::of(last.size), self.time_of(last), last.proofs);
        let is_held = |extent: Extent| times.iter().any(|as_of| says(extent, *as_of, extent.occasions) == held);
        if is_held(Extent::ALL) {
            return None;
        }
        Some(if is_held(ripe) { Lack::OnItsWay } else { Lack::Due })
    }

    fn tally(
        &self,
        entries: &Entries,
        policy: &Policy,
        artifact: &ArtifactId,
        extent: Extent,
        as_of: Option<Timestamp>,
        proofs: &[EquivocationProof],
    ) -> Verdict {
        let Extent { entries: size, occasions } = extent;
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
            drills: &self.drills.shown(&artifact.slot, occasions, &entries.results()),
            declarations: &self.declarations.about(&artifact.slot, occasions, statements.clone(), others),
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
