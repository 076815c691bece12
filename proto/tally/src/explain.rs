//! How a verdict comes about, step by step: what became of every result, which entries of the policy had a
//! part, and for each state whether its condition holds and in which numbers.
//!
//! The same code that tallies answers here; nothing is decided a second time.

use std::fmt::Write as _;
use std::sync::Arc;

use quorate_proto::declaration::{Advisory, Declaration, Retraction, Revocation, Vouch};
use quorate_proto::entry::VerifiedCommitment;
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{ArtifactId, Digest, NodeId};
use serde::Serialize;

use crate::ballot::Ballot;
use crate::count::{Case, Circumstances, Count};
use crate::grade::{Grade, Grades, counts};
use crate::heard::Heard;
use crate::marks::{Mark, marks};
use crate::policy::Policy;
use crate::said::Said;
use crate::verdict::{State, Verdict};

/// A verdict and the way to it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What is explained.
    pub verdict: Verdict,
    /// The pattern of the rules that apply; none if they are those for all packages.
    pub rules: Option<String>,
    /// Every result about the slot, by operator, node and number.
    pub results: Vec<ResultStep>,
    /// Advisories and vouches that had a part, and declarations that silenced results.
    pub entries: Vec<Entry>,
    /// Every state in order. The first that applies is taken.
    pub states: Vec<StateStep>,
    /// Promises about this slot that enrolled operators' nodes broke.
    pub marks: Vec<MarkStep>,
}

/// A broken promise, and whose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MarkStep {
    /// The operator, as the policy names it.
    pub name: String,
    /// The mark.
    #[serde(flatten)]
    pub mark: Mark,
}

/// What became of a result.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResultStep {
    /// The operator, as the policy names it.
    pub operator: String,
    /// Its node.
    pub node: NodeId,
    /// The place in the node's feed.
    pub sequence: u64,
    /// The envelope.
    pub result: Digest,
    /// The class of the result.
    pub says: String,
    /// How sure it is that the result is the operator's own, if it is its node's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grade: Option<Grade>,
    /// Whether it has a part in the verdict.
    pub weight: Weight,
}

/// Whether a result has a part in the verdict.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "weight", rename_all = "kebab-case")]
pub enum Weight {
    /// It is its node's word.
    Counts,
    /// It is its node's word, and a rule of the policy does not let it count.
    NotCounted {
        /// Which.
        reason: String,
    },
    /// It is its node's word, and waits for another grade.
    Pending {
        /// Which it has, and which are taken.
        reason: String,
    },
    /// The node has said something newer.
    Superseded,
    /// It is about another file under the same name.
    OtherFile {
        /// Which.
        digest: Digest,
    },
    /// It was taken back.
    Retracted,
    /// It was signed with a key that is not trusted since.
    Revoked,
    /// The operator is not in the policy.
    Stranger,
    /// The operator has more nodes, or the node more results, than are looked at.
    OutOfBounds,
}

/// An entry of the policy, or a declaration, that had a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// `advisory` or `vouch`; of declarations `revocation` and `retraction` too.
    pub kind: &'static str,
    /// Its id; where it has none, what it silences.
    pub id: String,
    /// What its owner says.
    pub reason: String,
    /// Who has declared it, by name; none if the policy itself says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The declaration's envelope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declaration: Option<Digest>,
}

/// A state and its condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StateStep {
    /// The state.
    pub state: State,
    /// Whether the condition holds.
    pub applies: bool,
    /// The numbers.
    pub because: String,
}

/// Explains the verdict that [`tally_as_of`](crate::tally_as_of) gives on the same arguments.
pub fn explain(policy: &Policy, artifact: &ArtifactId, statements: &[VerifiedStatement], circumstances: Circumstances<'_>) -> Explanation {
    let said = Said::of(policy, artifact, circumstances.declarations);
    let heard = Heard::of(&said, artifact, statements);
    let grades = Grades::of(&said, artifact, &heard, circumstances);
    let case = Case { policy, artifact, said: &said, heard: &heard, grades: &grades, circumstances };
    let (count, verdict) = case.decided();
    let step = |state: State| StateStep { state, applies: count.applies(state), because: count.because(state) };
    let about = statements.iter().filter(|statement| statement.artifact().slot == artifact.slot);
    let mut results: Vec<_> = about.map(|statement| case.step(statement)).collect();
    results.sort();
    results.dedup();
    Explanation {
        rules: policy.rules_for(&artifact.slot.package).pattern.as_ref().map(|pattern| pattern.as_str().to_owned()),
        entries: entries(&said, artifact, &verdict),
        states: State::ORDER.into_iter().map(step).collect(),
        marks: case.marks(statements),
        results,
        verdict,
    }
}

fn entries(said: &Said<'_>, artifact: &ArtifactId, verdict: &Verdict) -> Vec<Entry> {
    let policy = said.policy;
    let entry =
        |kind, (id, reason): (&str, &str)| Entry { kind, id: id.to_owned(), reason: reason.to_owned(), by: None, declaration: None };
    let declared =
        verdict.declarations.iter().filter_map(|digest| Some(Entry::declared(policy, said.declaration(digest)?.declaration(), *digest)));
    let advisories = policy.advisories(artifact).map(|about| entry("advisory", about));
    let vouches = policy.all_vouches().filter(|(id, _)| verdict.vouches.iter().any(|used| used == id));
    advisories.chain(vouches.map(|about| entry("vouch", about))).chain(declared).collect()
}

impl Entry {
    fn declared(policy: &Policy, declaration: &Declaration, digest: Digest) -> Self {
        let id = match declaration {
            Declaration::Advisory(Advisory { id, .. }) | Declaration::Vouch(Vouch { id, .. }) => id.clone(),
            Declaration::Revocation(Revocation { node: Some(node), since, .. }) => format!("{node} since {since}"),
            Declaration::Revocation(Revocation { signer, .. }) => signer.to_string(),
            Declaration::Retraction(Retraction { statement, .. }) => statement.to_string(),
        };
        Self {
            kind: declaration.kind(),
            id,
            reason: declaration.reason().to_owned(),
            by: Some(policy.name_of_signer(&declaration.signer())),
            declaration: Some(digest),
        }
    }
}

impl Case<'_, '_> {
    fn marks(&self, statements: &[VerifiedStatement]) -> Vec<MarkStep> {
        let counted = |entry: &&Arc<VerifiedCommitment>| counts(self.said, self.artifact, entry);
        let commitments: Vec<_> = self.circumstances.commitments.iter().filter(counted).cloned().collect();
        let marks = marks(&self.artifact.slot, statements, Circumstances { commitments: &commitments, ..self.circumstances });
        marks.into_iter().map(|mark| MarkStep { name: self.policy.name_of(&mark.operator), mark }).collect()
    }

    fn step(&self, statement: &VerifiedStatement) -> ResultStep {
        let weight = self.weight(statement);
        let is_word = matches!(weight, Weight::Counts | Weight::NotCounted { .. } | Weight::Pending { .. });
        ResultStep {
            grade: is_word.then(|| self.grades.grade(statement.digest())),
            operator: self.policy.name_of(&statement.operator()),
            node: statement.node(),
            sequence: statement.position().sequence,
            result: statement.digest(),
            says: statement.result().outcome.class().to_owned(),
            weight,
        }
    }

    fn weight(&self, statement: &VerifiedStatement) -> Weight {
        let (operator, digest) = (statement.operator(), statement.digest());
        if !self.policy.enrolled().contains(&operator) {
            return Weight::Stranger;
        }
        if self.said.is_retracted(statement) {
            return Weight::Retracted;
        }
        if self.said.is_revoked(operator, statement.node(), statement.position().sequence) {
            return Weight::Revoked;
        }
        if !self.heard.all().any(|heard| heard.digest() == digest) {
            return Weight::OutOfBounds;
        }
        if statement.artifact().digest != self.artifact.digest {
            return Weight::OtherFile { digest: statement.artifact().digest };
        }
        if !self.heard.words(&operator, self.artifact.digest).any(|word| word.digest() == digest) {
            return Weight::Superseded;
        }
        match self.ballot(statement) {
            Ballot::NotCounted { reason } => Weight::NotCounted { reason },
            Ballot::Pending { reason } => Weight::Pending { reason },
            _ => Weight::Counts,
        }
    }
}

impl Count<'_> {
    /// The numbers behind a state's condition.
    fn because(&self, state: State) -> String {
        let another = || match self.leading() {
            Some((_, other, _)) if !other.vouches.is_empty() => {
                self.weigh(&other.side, &format!("share one other result, which vouch {} explains", other.vouches.listed()))
            }
            Some((_, other, _)) => self.weigh(&other.side, &format!("share one other result, severity {}", other.severity)),
            None => "nobody got another result".to_owned(),
        };
        match state {
            State::Compromised if self.advisories.is_empty() => "no advisory names it".to_owned(),
            State::Compromised => format!("advisory {}", self.advisories.listed()),
            State::Contested => format!("{}, and {}", self.weigh(&self.support, "agree or are explained"), another()),
            State::Reproduced => self.weigh(&self.identical, "rebuilt the published bytes"),
            State::Equivalent => self.weigh(&self.agree, "rebuilt the published bytes or contents"),
            State::Explained => self.weigh(&self.support, "agree, or differ as a vouch says"),
            State::Suspect => another(),
            State::EnvironmentDependent => {
                let apart = if self.depends_on_environment { "results differ as environments do" } else { "not a matter of environments" };
                format!("{}; {apart}", self.weigh(&self.agree.and(&self.differ), "built it"))
            }
            State::Unreproducible => self.weigh(&self.differ, "got another result"),
            State::Unbuildable => self.weigh(&self.failed, "could not build it"),
            State::Inconclusive => {
                let open = format!("{} of {} operators could still answer", self.open.len(), self.quorum.policy.voters().len());
                if self.applies(state) { format!("{open}, and could not decide it") } else { open }
            }
            State::Pending => "what remains".to_owned(),
        }
    }

    fn weigh(&self, side: &crate::quorum::Side, what: &str) -> String {
        let (rules, policy) = (self.quorum.rules, self.quorum.policy);
        let mut text = format!("{} of {} {what}, threshold {}", self.quorum.count(side), policy.size(), rules.threshold);
        for (attribute, needed) in &rules.distinct {
            let _ = write!(text, ", {attribute} {} of {needed}", self.quorum.spread(side, *attribute));
        }
        text
    }
}
