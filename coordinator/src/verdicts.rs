//! Verdicts: after each batch, the touched slots are tallied again, and what changed is signed and
//! logged in the next batch.
//!
//! The tally itself is `quorate-tally`'s. Here: which results it is given (all of the slot that stand
//! in the log before one size), whether anything changed, and that nothing is missed by a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use quorate_proto::declaration::{Declaration, VerifiedDeclaration};
use quorate_proto::dsse::Envelope;
use quorate_proto::entry::VerifiedCommitment;
use quorate_proto::feed::EquivocationProof;
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{ArtifactId, Purl, SecretKey, Timestamp};
use quorate_tally::summary::VERDICT_ENVELOPE_BYTES_MAX;
use quorate_tally::{Circumstances, Confirmation, Drilled, Policy, State, Verifier, marks, tally_as_of};

use crate::ingest::Ingest;
use crate::store::batch::MarkChanges;
use crate::store::leaf::content_of;
use crate::store::rows::{ArtifactKey, SlotKey};
use crate::store::{SignedVerdict, Store, StoreError};

/// Slots tallied in one round at most: about as many verdicts go into one batch.
const ROUND_SLOTS_MAX: usize = 1_024;

/// How long a round goes on, and how long while items are waiting to become durable, which comes before verdicts. What
/// a slot costs depends on how many results it has and whether they are in memory, thirty to three thousand microseconds.
const ROUND: Duration = Duration::from_millis(100);
const BUSY_ROUND: Duration = Duration::from_millis(20);

/// How long a round lets waiting items pass. Slots gather meanwhile, so that one tally serves several results. While
/// items come in without end, the tally takes about a thirtieth of one core.
const YIELD: Duration = Duration::from_millis(600);
const YIELD_STEP: Duration = Duration::from_millis(20);

/// How long after the time of its promise a slot is tallied again.
const COME_DUE_AFTER: Duration = Duration::from_secs(1);

/// Pause after a round that could not be logged.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Slots that wait for a tally, each with its first result that no verdict has considered. Bounded by
/// the number of slots in the log.
#[derive(Debug, Default)]
pub struct Dirty {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    slots: BTreeMap<SlotKey, u64>,
    /// When slots are to be tallied again, because a commitment in them may be late by then.
    later: BTreeSet<(Timestamp, SlotKey)>,
    /// First leaf of a batch that is being published and whose slots are not among these yet.
    held_from: Option<u64>,
    stopped: bool,
}

impl Dirty {
    /// Adds slots.
    pub(crate) fn mark(&self, slots: impl IntoIterator<Item = (SlotKey, u64)>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).add(slots);
        self.changed.notify_one();
    }

    /// Says that leaves from this one on are about to be published. Until [`Self::release`] no round counts
    /// as having considered them, or a stop in between would lose their verdicts.
    pub fn hold(&self, from: u64) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).held_from = Some(from);
    }

    /// Adds the slots of what was published, and ends [`Self::hold`].
    pub fn release(&self, slots: BTreeMap<SlotKey, u64>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.add(slots);
        state.held_from = None;
        self.changed.notify_one();
    }

    /// Has a slot tallied again once a time is over: no result may come to say so.
    pub fn later(&self, slot: SlotKey, at: Timestamp) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).later.insert((at, slot));
        self.changed.notify_one();
    }

    /// Ends [`Self::take`].
    pub fn stop(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stopped = true;
        self.changed.notify_all();
    }

    /// How many slots wait.
    pub fn len(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).slots.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for slots; false when stopped.
    fn wait(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let next = state.come_due(now());
            if !state.slots.is_empty() || state.stopped {
                return !state.stopped;
            }
            state = match next {
                Some(wait) => self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Takes at most `most` slots, those that wait longest first.
    fn take(&self, most: usize) -> Vec<(SlotKey, u64)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut order: Vec<_> = state.slots.iter().map(|(slot, leaf)| (*slot, *leaf)).collect();
        order.sort_unstable_by_key(|(slot, leaf)| (*leaf, *slot));
        order.truncate(most);
        for (slot, _) in &order {
            state.slots.remove(slot);
        }
        order
    }

    /// Every result before this leaf is in a verdict, once a round up to `size` is logged.
    fn reflected(&self, size: u64) -> u64 {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.slots.values().copied().chain(state.held_from).min().map_or(size, |first| first.min(size))
    }
}

impl Waiting {
    /// Takes up the slots whose time is over. How long it is until the next one's is.
    fn come_due(&mut self, now: Timestamp) -> Option<Duration> {
        while let Some((at, slot)) = self.later.first().copied() {
            if at >= now {
                let seconds = at.unix_seconds().saturating_sub(now.unix_seconds()).max(0).unsigned_abs();
                return Some(Duration::from_secs(seconds) + COME_DUE_AFTER);
            }
            self.later.pop_first();
            // No result of it is new.
            self.slots.entry(slot).or_insert(u64::MAX);
        }
        None
    }

    fn add(&mut self, slots: impl IntoIterator<Item = (SlotKey, u64)>) {
        for (slot, leaf) in slots {
            self.slots.entry(slot).and_modify(|first| *first = leaf.min(*first)).or_insert(leaf);
        }
    }
}

/// What a round of the tally comes to.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// Verdicts that say something new.
    pub(crate) verdicts: Vec<SignedVerdict>,
    /// What became of marks.
    pub(crate) marks: Vec<MarkChanges>,
    /// When vouches end, and in which slots.
    ends: Vec<(SlotKey, Timestamp)>,
}

impl Round {
    /// The slots of suspect files of whose package verdicts on other releases come with theirs: the history beside
    /// theirs is without these. So that it is the same however many slots a round has, they are tallied once more.
    fn blind_to_history(&self) -> BTreeSet<SlotKey> {
        let mut releases: BTreeMap<Purl, BTreeSet<&Purl>> = BTreeMap::new();
        for SignedVerdict { verdict, .. } in &self.verdicts {
            let package = &verdict.artifact.slot.package;
            releases.entry(package.without_version()).or_default().insert(package);
        }
        let suspect = self.verdicts.iter().map(|signed| &signed.verdict).filter(|verdict| verdict.state == State::Suspect);
        let among = suspect.map(|verdict| &verdict.artifact.slot).filter(|slot| releases[&slot.package.without_version()].len() > 1);
        among.map(SlotKey::of).collect()
    }
}

/// Who tallies and signs.
pub struct Teller {
    /// Whose results count.
    pub policy: Arc<Policy>,
    /// Signs verdicts.
    pub key: SecretKey,
    /// The URI that verdicts name as their verifier.
    pub id: String,
}

impl Teller {
    /// Starts the tally's thread. It ends when `dirty` is stopped or the writer is gone.
    pub fn start(self, ingest: Ingest, dirty: Arc<Dirty>) -> std::io::Result<thread::JoinHandle<()>> {
        thread::Builder::new().name("tally".to_owned()).spawn(move || self.run(&ingest, &dirty))
    }

    fn run(&self, ingest: &Ingest, dirty: &Dirty) {
        while dirty.wait() {
            let waiting = Instant::now();
            while ingest.is_busy() && waiting.elapsed() < YIELD {
                thread::sleep(YIELD_STEP);
            }
            let until = Instant::now() + if ingest.is_busy() { BUSY_ROUND } else { ROUND };
            let mut slots = dirty.take(ROUND_SLOTS_MAX);
            let size = ingest.store().log().published().head.size;
            let round = self.round(ingest, slots.iter().map(|(slot, _)| slot), size, until);
            if let Ok((round, tallied)) = &round {
                dirty.mark(slots.split_off(*tallied));
                round.ends.iter().for_each(|(slot, at)| dirty.later(*slot, *at));
            }
            let logged = match round {
                Ok((round, _)) => {
                    let again = round.blind_to_history();
                    dirty.mark(slots.iter().filter(|(slot, _)| again.contains(slot)).copied());
                    ingest.log_round(round, dirty.reflected(size)).is_ok()
                }
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "a tally failed; it is tried again");
                    false
                }
            };
            ingest.metrics().untallied.set(i64::try_from(dirty.len()).unwrap_or(i64::MAX));
            if !logged {
                dirty.mark(slots);
                thread::sleep(RETRY_AFTER);
            }
        }
    }

    /// Tallies slots until a time. How many.
    fn round<'k>(
        &self,
        ingest: &Ingest,
        slots: impl Iterator<Item = &'k SlotKey>,
        size: u64,
        until: Instant,
    ) -> Result<(Round, usize), StoreError> {
        let store = ingest.store();
        let equivocations = store.equivocations();
        let drills = store.drills();
        let mut round = Round::default();
        let mut tallied = 0;
        for slot in slots {
            if tallied > 0 && Instant::now() >= until {
                break;
            }
            tallied += 1;
            let statements = store.slot_results(*slot, size)?;
            let commitments = store.commitments(*slot, size)?;
            let checks = store.checks(*slot, size)?;
            let results = statements.iter().map(|(_, statement)| statement.as_ref());
            let declarations = store.declared(results.clone(), &commitments, &checks, size);
            let time = now().whole_seconds();
            let ends = declarations.iter().filter_map(|declared| in_force_until(declared)).filter(|end| *end >= time);
            round.ends.extend(ends.map(|end| (*slot, end)));
            let shown = |(_, any): &(u64, Arc<VerifiedStatement>)| drills.shown(&any.artifact().slot, size, &with_leaves(&statements));
            let evidence = SlotEvidence {
                statements: &statements,
                commitments: &commitments,
                confirmations: &Confirmation::among(checks.iter().map(Arc::as_ref), results),
                equivocations: &equivocations,
                drills: &statements.first().map(shown).unwrap_or_default(),
                declarations: &declarations,
                time,
                size,
            };
            let artifacts: BTreeSet<&ArtifactId> = statements.iter().map(|(_, statement)| statement.artifact()).collect();
            for artifact in artifacts {
                round.verdicts.extend(self.decide(ingest, artifact, &evidence)?);
            }
            round.marks.extend(evidence.marks(store)?);
        }
        Ok((round, tallied))
    }

    /// A signed verdict, if it says something else than the one in force.
    fn decide(&self, ingest: &Ingest, artifact: &ArtifactId, evidence: &SlotEvidence<'_>) -> Result<Option<SignedVerdict>, StoreError> {
        let SlotEvidence { time, size, .. } = *evidence;
        let mut verdict = tally_as_of(&self.policy, artifact, evidence.statements(), evidence.circumstances());
        if verdict.state == State::Suspect {
            verdict.history = Some(ingest.store().history(&verdict, size)?);
        }
        let held = ingest.store().verdict_row(&ArtifactKey::of(artifact))?;
        if held.is_some_and(|held| held.content == content_of(&verdict)) {
            return Ok(None);
        }
        let statement = verdict.to_statement(&Verifier { id: self.id.clone(), time, log_size: size });
        let envelope = Envelope::sign(statement.to_payload(), &self.key);
        let got = envelope.bytes().len();
        if got > VERDICT_ENVELOPE_BYTES_MAX {
            // No log entry holds it. One artifact without a verdict must not cost the others theirs.
            ingest.metrics().oversized_verdicts.inc();
            tracing::error!(artifact = %artifact.digest, got, limit = VERDICT_ENVELOPE_BYTES_MAX, "verdict too large to be logged");
            return Ok(None);
        }
        Ok(Some(SignedVerdict { verdict, envelope: envelope.bytes().to_vec(), log_size: size, time }))
    }
}

/// What is known of a slot.
#[derive(Clone, Copy)]
struct SlotEvidence<'e> {
    /// With their leaves.
    statements: &'e [(u64, Arc<VerifiedStatement>)],
    commitments: &'e [Arc<VerifiedCommitment>],
    confirmations: &'e [Confirmation],
    equivocations: &'e [EquivocationProof],
    drills: &'e [Drilled],
    declarations: &'e [Arc<VerifiedDeclaration>],
    time: Timestamp,
    /// The log's size that it was read at.
    size: u64,
}

impl<'e> SlotEvidence<'e> {
    fn statements(&self) -> impl Iterator<Item = &'e VerifiedStatement> {
        self.statements.iter().map(|(_, statement)| statement.as_ref())
    }

    fn circumstances(&self) -> Circumstances<'e> {
        let Self { commitments, confirmations, equivocations, drills, declarations, time, .. } = *self;
        Circumstances { as_of: Some(time), equivocations, commitments, confirmations, drills, declarations }
    }

    /// What became of the marks in the slot; nothing where nothing did.
    fn marks(&self, store: &Store) -> Result<Option<MarkChanges>, StoreError> {
        let drilled = || self.drills.first().map(|drilled| drilled.artifact.slot.clone());
        let Some(slot) = self.commitments.first().map(|entry| entry.commitment().slot()).or_else(drilled) else { return Ok(None) };
        let marks = marks(&slot, self.statements(), self.circumstances());
        // Whoever has none of both can have no mark.
        let committed = self.commitments.iter().map(|entry| entry.operator());
        let operators = committed.chain(marks.iter().map(|mark| mark.operator)).collect();
        Ok(Some(store.mark_changes(&slot, &operators, &marks)?).filter(|changes| !changes.is_empty()))
    }
}

/// When a verdict changes without anything new.
fn in_force_until(declared: &VerifiedDeclaration) -> Option<Timestamp> {
    match declared.declaration() {
        Declaration::Vouch(vouch) => Some(vouch.until),
        _ => None,
    }
}

fn now() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now())
}

/// Results with their leaves, as the tally reads them.
pub(crate) fn with_leaves(results: &[(u64, Arc<VerifiedStatement>)]) -> impl Iterator<Item = (u64, &VerifiedStatement)> + Clone {
    results.iter().map(|(leaf, statement)| (*leaf, statement.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proto::ArtifactSlot;

    fn slot(name: &str) -> SlotKey {
        let package = format!("pkg:pypi/{name}@1").parse().expect("a package URL");
        SlotKey::of(&ArtifactSlot { package, file: "file".parse().expect("a file name") })
    }

    #[test]
    fn a_kill_between_publication_and_marking_loses_no_verdict() {
        let dirty = Dirty::default();
        assert_eq!(dirty.reflected(10), 10);
        // A batch from leaf 10 on is being published: the tally sees size 12, and not yet the slot.
        dirty.hold(10);
        assert!(dirty.take(9).is_empty());
        assert_eq!(dirty.reflected(12), 10);
        // A round that could not be logged puts its slots back; that ends nothing.
        dirty.mark(BTreeMap::from([(slot("a"), 11)]));
        assert_eq!(dirty.reflected(12), 10);
        dirty.release(BTreeMap::from([(slot("b"), 10)]));
        assert_eq!(dirty.reflected(12), 10);
        assert_eq!(dirty.take(9).len(), 2);
        assert_eq!(dirty.reflected(12), 12);
    }

    #[test]
    fn a_result_in_a_slot_that_waits_for_another_reason_is_not_taken_for_considered() {
        let dirty = Dirty::default();
        dirty.later(slot("a"), now());
        dirty.state.lock().expect("no other thread").come_due(now().plus(Duration::from_mins(1)));
        dirty.mark(BTreeMap::from([(slot("a"), 7)]));
        assert_eq!(dirty.reflected(12), 7);
    }
}
