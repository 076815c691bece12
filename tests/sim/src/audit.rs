//! What anybody can hold against an operator, from statements alone: the real tally's grades and marks, agreement
//! with drills among these. Who is named, and after how many tasks.
//!
//! Two rules, both the tally's. A mark names at once. And who may have copied everything, because no vote of it was ever
//! blind or witnessed, is named; an honest node that is slow has others that confirm its builds.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_proto::entry::VerifiedCommitment;
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{ArtifactId, Digest, OperatorId, Timestamp};
use quorate_tally::record::{Ownership, Record};
use quorate_tally::{Circumstances, Confirmation, Drilled, Grade, MarkKind, Policy, marks, tally_as_of};

use crate::work::{Job, Kind};

/// Why somebody is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A promise was broken, or a drill agreed with.
    Marked(MarkKind),
    /// No vote was ever its own.
    NothingOwn,
}

/// What is known of one task.
#[derive(Clone, Debug)]
pub struct Evidence<'e> {
    /// The task.
    pub job: Job,
    /// Results of it.
    pub statements: Vec<&'e VerifiedStatement>,
    /// Commitments to it.
    pub commitments: Vec<Arc<VerifiedCommitment>>,
    /// Build witnesses that others confirm.
    pub confirmations: Vec<Confirmation>,
}

/// The books.
#[derive(Debug, Default)]
pub struct Audit {
    records: BTreeMap<OperatorId, Record>,
    named: BTreeMap<OperatorId, (usize, Reason)>,
    tasks: usize,
    /// Checks of all tasks.
    pub checks: usize,
    /// Votes by grade, of all operators.
    pub votes: BTreeMap<Grade, u64>,
}

impl Evidence<'_> {
    /// Drills are taken as announced in time and opened; that this is so is the log's matter.
    fn drills(&self, artifact: &ArtifactId) -> Vec<Drilled> {
        let [announcement, opening] = [&b"announcement"[..], b"opening"].map(Digest::of);
        let drilled = || Drilled { artifact: artifact.clone(), announcement, opening };
        (self.job.kind == Kind::Drill).then(drilled).into_iter().collect()
    }
}

impl Audit {
    /// Looks at one more task.
    pub fn look(&mut self, policy: &Policy, evidence: &Evidence<'_>, as_of: Timestamp) {
        self.tasks += 1;
        let artifact = evidence.job.truth.artifact();
        let drills = evidence.drills(&artifact);
        let (commitments, confirmations) = (evidence.commitments.as_slice(), evidence.confirmations.as_slice());
        let circumstances = Circumstances { as_of: Some(as_of), commitments, confirmations, drills: &drills, ..Circumstances::default() };
        for mark in marks(&artifact.slot, evidence.statements.iter().copied(), circumstances) {
            self.name(mark.operator, Reason::Marked(mark.kind));
        }
        let verdict = tally_as_of(policy, &artifact, evidence.statements.iter().copied(), circumstances);
        for vote in verdict.votes {
            let Some(grade) = vote.grade else { continue };
            *self.votes.entry(grade).or_default() += 1;
            let record = self.records.entry(vote.operator).or_default();
            record.tasks += 1;
            if grade != Grade::Follower {
                record.owns = Ownership::Once;
            }
            if record.is_follower() {
                self.name(vote.operator, Reason::NothingOwn);
            }
        }
    }

    fn name(&mut self, operator: OperatorId, reason: Reason) {
        self.named.entry(operator).or_insert((self.tasks, reason));
    }

    /// After how many tasks an operator was named, and why.
    pub fn named(&self, operator: OperatorId) -> Option<(usize, Reason)> {
        self.named.get(&operator).copied()
    }
}
