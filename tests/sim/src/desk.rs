//! The coordinator's desk: results come in, are logged in batches, tallied, and verdicts are logged and cosigned.
//!
//! Real: the tally, the verdict statement and its signature, the log. Modelled: the batches and pauses of
//! `coordinator/src/ingest.rs` and `verdicts.rs`, with their own intervals.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use quorate_proto::dsse::Envelope;
use quorate_proto::entry::{VerifiedCommitment, VerifiedEntry};
use quorate_proto::feed::EquivocationProof;
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{ArtifactId, ArtifactSlot, SecretKey, Timestamp};
use quorate_tally::verdict::State;
use quorate_tally::{Circumstances, Policy, Verdict, Verifier, tally_as_of};
use quorate_tests::Member;
use quorate_tlog::TreeHead;

use crate::cosigning::{Cosigning, Signed};
use crate::ledger::{Ledger, signer};
use crate::timing::{BATCH, GROUP_FOR, YIELD};
use crate::witness::WitnessDesk;

/// While items wait, the tally looks again after this.
const YIELD_STEP: Duration = Duration::from_millis(20);

/// What the desk does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// A batch closes.
    Close,
    /// A batch is durable.
    Written,
    /// The tally, which has waited since then.
    Tally(Duration),
    /// A round of witnesses has run long enough.
    Round(u64),
}

/// A verdict that was published with a quorum of cosignatures.
#[derive(Clone, Debug)]
pub struct Published {
    /// About what.
    pub artifact: ArtifactId,
    /// What it says.
    pub state: State,
    /// When.
    pub at: Duration,
}

/// The desk.
#[derive(Debug)]
pub struct Desk {
    policy: Policy,
    key: SecretKey,
    /// The log.
    pub ledger: Ledger,
    /// Its witnesses.
    pub cosigning: Cosigning,
    waiting: Vec<Leaf>,
    writing: Vec<Leaf>,
    batch: Batch,
    logged: BTreeMap<ArtifactSlot, Vec<Rc<VerifiedEntry>>>,
    dirty: BTreeSet<ArtifactSlot>,
    tallying: Tallying,
    verdicts: BTreeMap<ArtifactId, Verdict>,
    unpublished: Vec<(u64, ArtifactId, State)>,
    published: Vec<Published>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Batch {
    Idle,
    Open,
    Writing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tallying {
    Idle,
    Planned,
}

#[derive(Debug)]
enum Leaf {
    Entry(Rc<VerifiedEntry>, Vec<u8>),
    Verdict(Box<Verdict>, Vec<u8>),
}

/// So many of so many witnesses are more than half of all and of those that may lie, a third.
pub fn threshold(witnesses: usize) -> usize {
    usize::midpoint(witnesses, witnesses.saturating_sub(1) / 3) + 1
}

impl Desk {
    /// A desk whose policy is these operators, three of them enough, and whose log has so many witnesses.
    pub fn new(members: &[Member], witnesses: usize) -> Self {
        let mut operators = BTreeSet::new();
        let once: Vec<&Member> = members.iter().filter(|member| operators.insert(member.operator())).collect();
        let policy = Policy::parse(&quorate_tests::policy(3.min(once.len()), once)).expect("a policy of the harness");
        let keys = (0..witnesses).map(|number| WitnessDesk::new(number, signer().verifier()).key().clone()).collect();
        Self {
            policy,
            key: SecretKey::from_seed(&[0x55; 32]),
            ledger: Ledger::default(),
            cosigning: Cosigning::new(keys, threshold(witnesses)),
            waiting: Vec::new(),
            writing: Vec::new(),
            batch: Batch::Idle,
            logged: BTreeMap::new(),
            dirty: BTreeSet::new(),
            tallying: Tallying::Idle,
            verdicts: BTreeMap::new(),
            unpublished: Vec::new(),
            published: Vec::new(),
        }
    }

    /// Who votes, and how many are enough.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The verdicts that were published, in their order.
    pub fn published(&self) -> &[Published] {
        &self.published
    }

    /// An entry came in and is to be logged. What is to be done next, and after how long.
    pub fn take_in(&mut self, entry: Rc<VerifiedEntry>, envelope: Vec<u8>) -> Option<(Duration, Task)> {
        self.waiting.push(Leaf::Entry(entry, envelope));
        self.open()
    }

    fn open(&mut self) -> Option<(Duration, Task)> {
        let idle = self.batch == Batch::Idle && !self.waiting.is_empty();
        idle.then(|| {
            self.batch = Batch::Open;
            (GROUP_FOR, Task::Close)
        })
    }

    /// The batch is full enough and is being written.
    pub fn close(&mut self) -> (Duration, Task) {
        self.batch = Batch::Writing;
        self.writing = std::mem::take(&mut self.waiting);
        (BATCH, Task::Written)
    }

    /// The batch is durable: the log has grown. Its checkpoint, and what is to be done next.
    pub fn written(&mut self, now: Duration) -> (Signed, Vec<(Duration, Task)>) {
        self.batch = Batch::Idle;
        let mut entries = Vec::new();
        for (index, leaf) in (self.ledger.size()..).zip(std::mem::take(&mut self.writing)) {
            match leaf {
                Leaf::Entry(entry, bytes) => {
                    let slot = slot_of(&entry);
                    self.dirty.insert(slot.clone());
                    self.logged.entry(slot).or_default().push(entry);
                    entries.push(bytes);
                }
                Leaf::Verdict(verdict, bytes) => {
                    self.unpublished.push((index, verdict.artifact.clone(), verdict.state));
                    entries.push(bytes);
                }
            }
        }
        let signed = self.ledger.append(entries);
        let mut next: Vec<_> = self.open().into_iter().collect();
        next.extend(self.plan_tally(now));
        (signed, next)
    }

    fn plan_tally(&mut self, now: Duration) -> Option<(Duration, Task)> {
        let plan = self.tallying == Tallying::Idle && !self.dirty.is_empty();
        plan.then(|| {
            self.tallying = Tallying::Planned;
            (Duration::ZERO, Task::Tally(now))
        })
    }

    /// Tallies, unless items wait and have not been waited for long enough: any item, where the coordinator lets a few pass.
    pub fn tally(&mut self, since: Duration, now: Duration, time: Timestamp, proofs: &[EquivocationProof]) -> Vec<(Duration, Task)> {
        let busy = self.batch != Batch::Idle || !self.waiting.is_empty();
        if busy && now.saturating_sub(since) < YIELD {
            return vec![(YIELD_STEP, Task::Tally(since))];
        }
        self.tallying = Tallying::Idle;
        for slot in std::mem::take(&mut self.dirty) {
            self.tally_slot(&slot, time, proofs);
        }
        self.open().into_iter().collect()
    }

    fn tally_slot(&mut self, slot: &ArtifactSlot, time: Timestamp, proofs: &[EquivocationProof]) {
        let entries = self.logged.get(slot).map(Vec::as_slice).unwrap_or_default();
        let statements = || entries.iter().filter_map(|entry| entry.result());
        let commitments: Vec<Arc<VerifiedCommitment>> =
            entries.iter().filter_map(|entry| entry.commitment()).cloned().map(Arc::new).collect();
        let artifacts: BTreeSet<&ArtifactId> = statements().map(VerifiedStatement::artifact).collect();
        let circumstances =
            Circumstances { as_of: Some(time), equivocations: proofs, commitments: &commitments, ..Circumstances::default() };
        let verifier = Verifier { id: "https://quorate.example".to_owned(), time, log_size: self.ledger.size() };
        for artifact in artifacts {
            let verdict = tally_as_of(&self.policy, artifact, statements(), circumstances);
            if self.verdicts.get(artifact) == Some(&verdict) {
                continue;
            }
            let envelope = Envelope::sign(verdict.to_statement(&verifier).to_payload(), &self.key);
            self.verdicts.insert(artifact.clone(), verdict.clone());
            self.waiting.push(Leaf::Verdict(Box::new(verdict), envelope.bytes().to_vec()));
        }
    }

    /// A checkpoint has its quorum.
    pub fn on_published(&mut self, head: TreeHead, at: Duration) {
        let (out, kept) = std::mem::take(&mut self.unpublished).into_iter().partition(|(index, ..)| *index < head.size);
        self.unpublished = kept;
        let out: Vec<(u64, ArtifactId, State)> = out;
        self.published.extend(out.into_iter().map(|(_, artifact, state)| Published { artifact, state, at }));
    }
}

fn slot_of(entry: &VerifiedEntry) -> ArtifactSlot {
    match entry {
        VerifiedEntry::Result(result) => result.artifact().slot.clone(),
        VerifiedEntry::Commitment(commitment) => commitment.commitment().slot(),
        VerifiedEntry::Check(check) => check.check().slot(),
    }
}
