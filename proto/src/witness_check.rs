//! The check of a build witness, `urn:quorate:witness-check/v1`: a node that did the same work says how far another
//! operator's [build witness](crate::build_witness) agrees with what its own build left.
//!
//! It stands in the checker's own feed. It speaks of work, never of what came out: no check changes a digest, and
//! one that does not [confirm](crate::build_witness::Agreement::confirms) accuses nobody, because other tools leave
//! other files. Implements `docs/spec/build-witness.md`.

use serde::{Deserialize, Serialize};

use crate::build_witness::{Agreement, BuildWitness, Intermediates, Salt};
use crate::feed::FeedPosition;
use crate::result::{EnvironmentClass, RebuildResult};
use crate::statement::{Predicate, Statement, Subject};
use crate::verified::VerifiedStatement;
use crate::{ArtifactSlot, Digest, FileName, NodeId, OperatorId, Purl, TaskId, Timestamp};

/// The predicate. The subject is the checked result: its node's text form, and the digest of its envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WitnessCheck {
    /// The release that both have built.
    #[serde(deserialize_with = "crate::purl::deserialize_canonical")]
    pub package: Purl,
    /// The file of it.
    pub file: FileName,
    /// Who answers for the node that checked.
    pub operator: OperatorId,
    /// Whose result was checked.
    pub checked: Checked,
    /// In which kind of environment both were built.
    pub environment: EnvironmentClass,
    /// How far they agree.
    pub agreement: Agreement,
    /// When the checker signed. Certificates are checked against this time.
    pub signed_at: Timestamp,
    /// Where this stands in the checker's feed.
    pub feed: FeedPosition,
}

/// A result that was checked, by who signed it and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Checked {
    /// Who answers for its node.
    pub operator: OperatorId,
    /// Its node.
    pub node: NodeId,
    /// SHA-256 of its envelope.
    pub statement: Digest,
}

/// A result of another operator's with a build witness, as far as it can be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What it says was built.
    pub slot: ArtifactSlot,
    /// In which kind of environment.
    pub environment: EnvironmentClass,
    /// Whose result it is.
    pub checked: Checked,
    /// The witness.
    pub witness: BuildWitness,
}

impl Claim {
    /// What a result claims; nothing if it has no build witness.
    pub fn of(result: &VerifiedStatement) -> Option<Self> {
        Self::new(result.result(), &result.artifact().slot, result.digest())
    }

    /// The same of a result that was verified before: the statement, and the digest of its envelope.
    pub fn read(statement: &Statement<RebuildResult>, digest: Digest) -> Option<Self> {
        Self::new(&statement.predicate, &statement.artifact().slot, digest)
    }

    fn new(result: &RebuildResult, slot: &ArtifactSlot, statement: Digest) -> Option<Self> {
        let witness = result.build_witness.clone()?;
        let checked = Checked { operator: result.operator, node: result.feed.node, statement };
        Some(Self { slot: slot.clone(), environment: result.environment.class, checked, witness })
    }

    /// The task.
    pub fn task(&self) -> TaskId {
        TaskId::of(&self.slot)
    }

    /// Holds it against what an own build of the same task left, in the same kind of environment.
    pub fn agreement(&self, own: &Intermediates) -> Agreement {
        own.check(&self.witness, &Salt::of(&self.checked.node, &self.task()))
    }

    /// The statement of the checker that answers to `operator`, at `feed`.
    pub fn into_statement(
        self,
        agreement: Agreement,
        operator: OperatorId,
        feed: FeedPosition,
        signed_at: Timestamp,
    ) -> Statement<WitnessCheck> {
        let Self { slot: ArtifactSlot { package, file }, environment, checked, .. } = self;
        let check = WitnessCheck { package, file, operator, checked, environment, agreement, signed_at: signed_at.whole_seconds(), feed };
        Statement::new(vec![checked.subject()], check)
    }
}

impl Checked {
    fn subject(&self) -> Subject {
        Subject::new(self.node.to_string(), self.statement)
    }
}

impl WitnessCheck {
    /// What both have built.
    pub fn slot(&self) -> ArtifactSlot {
        ArtifactSlot { package: self.package.clone(), file: self.file.clone() }
    }

    /// The task.
    pub fn task(&self) -> TaskId {
        TaskId::of(&self.slot())
    }

    /// Whether this bears out that `result` was built: it speaks of that very result, comes from another operator,
    /// and most of the work agrees.
    pub fn confirms(&self, result: &VerifiedStatement) -> bool {
        let is_of_it = |claim: Claim| claim.checked == self.checked && claim.slot == self.slot() && claim.environment == self.environment;
        self.operator != result.operator() && self.agreement.confirms() && Claim::of(result).is_some_and(is_of_it)
    }
}

impl Predicate for WitnessCheck {
    const TYPE: &'static str = "urn:quorate:witness-check/v1";

    fn check(&self, subject: &[Subject]) -> Result<(), String> {
        if self.package.version().is_none() {
            return Err(format!("package {} names no version", self.package));
        }
        if subject != [self.checked.subject()] {
            return Err("the subject is not the checked result".to_owned());
        }
        if self.operator == self.checked.operator {
            return Err("a check of the operator's own result".to_owned());
        }
        if !self.signed_at.is_whole_seconds() {
            return Err("a time with a fraction of a second".to_owned());
        }
        self.agreement.check()
    }
}
