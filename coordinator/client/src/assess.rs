//! The decision: evidence, claim and policy in, one assessment out. Pure.
//!
//! The verdict is always recomputed. What a coordinator says can only make the outcome worse: a
//! proof that does not hold, a logged verdict that does not follow from its evidence, or evidence
//! that it names and does not hand over. Where a log is asked for, results that the logged verdict
//! does not name can only make it worse as well.

use quorate_proto::bundle::Bundle;
use quorate_proto::verified::FeedItem;
use quorate_proto::{ArtifactId, ArtifactSlot, Digest, FileName, Purl, Timestamp};
use quorate_tally::{Consequence, Policy, State, Verdict, tally_as_of};

use crate::claim::{Basis, Claim, LogCheck, Opinion, Standing, check_log, check_opinion, named_verdict};
use crate::evidence::{Door, Evidence};
use crate::exit::Exit;
use crate::trust::Trust;
use crate::trusted_log::Witnessed;

/// What is assessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A published file.
    Artifact(ArtifactId),
    /// Bytes that nobody is known to have published.
    Bytes(Digest),
}

/// Everything that was handed over about one artifact, by a server or in a bundle. Unverified.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gathered {
    /// Results.
    pub(crate) items: Vec<FeedItem>,
    /// Pairs that are said to prove an equivocation.
    pub(crate) pairs: Vec<[FeedItem; 2]>,
    /// Envelopes of what people are said to have declared.
    pub(crate) declarations: Vec<Vec<u8>>,
    /// The coordinator's verdict.
    pub(crate) claim: Option<Claim>,
    /// The coordinator's policy, if it is another than the user's.
    pub(crate) their_policy: Option<Policy>,
}

/// What is known about one artifact under the user's policy.
#[derive(Clone, Debug)]
pub(crate) struct Assessment {
    /// What was assessed.
    pub(crate) subject: Subject,
    /// The verdict, recomputed.
    pub(crate) verdict: Verdict,
    /// What it rests on.
    pub(crate) evidence: Evidence,
    /// Whether the coordinator's verdict stands in the log.
    pub(crate) log: LogCheck,
    /// What follows from the results that the logged verdict names, and from them alone.
    pub(crate) logged: Option<State>,
    /// What the coordinator says.
    pub(crate) opinion: Opinion,
    /// What the policy says of the verdict's state.
    pub(crate) consequence: Consequence,
    /// What follows for a script.
    pub(crate) exit: Exit,
}

impl Subject {
    /// The bytes.
    pub(crate) fn digest(&self) -> Digest {
        match self {
            Self::Artifact(artifact) => artifact.digest,
            Self::Bytes(digest) => *digest,
        }
    }

    /// The published file, if it is known as one.
    pub(crate) fn artifact(&self) -> Option<&ArtifactId> {
        match self {
            Self::Artifact(artifact) => Some(artifact),
            Self::Bytes(_) => None,
        }
    }
}

impl From<&Bundle> for Gathered {
    fn from(bundle: &Bundle) -> Self {
        let pair = |[a, b]: &[_; 2]| [FeedItem::from(a), FeedItem::from(b)];
        Self {
            items: bundle.results.iter().chain(&bundle.commitments).chain(&bundle.checks).map(FeedItem::from).collect(),
            pairs: bundle.equivocations.iter().map(pair).collect(),
            declarations: bundle.declarations.iter().map(|envelope| envelope.clone().into_bytes()).collect(),
            claim: Some(Claim::of_bundle(bundle)),
            their_policy: None,
        }
    }
}

impl Gathered {
    /// Leaves out declarations that the verdict does not name. What is in force now is asked for after it, and what was
    /// taken back since would count for ever.
    pub(crate) fn keep_named_declarations(&mut self, artifact: &ArtifactId) {
        let named = self.claim.as_ref().and_then(|claim| claim.verdict(artifact).ok()).map(|verdict| verdict.declarations);
        let named = named.unwrap_or_default();
        self.declarations.retain(|envelope| named.contains(&Digest::of(envelope)));
    }
}

impl Assessment {
    /// How many operators speak of these bytes in this slot.
    pub(crate) fn voters(&self) -> usize {
        self.verdict.votes.iter().filter(|vote| !vote.results.is_empty()).count()
    }

    /// The name that it was published under.
    pub(crate) fn file(&self) -> Option<&str> {
        self.subject.artifact().map(|artifact| artifact.slot.file.as_str())
    }

    /// Whether there is anything to say: a slot that somebody merely listed has no weight.
    pub(crate) fn has_weight(&self) -> bool {
        let withheld = matches!(self.opinion, Opinion::Says { standing: Standing::Withheld { .. }, .. });
        self.voters() > 0 || withheld || self.exit == Exit::Violated
    }
}

/// Assesses `subject` at time `now`.
pub(crate) fn assess(trust: &Trust, subject: Subject, gathered: &Gathered, now: Timestamp) -> Assessment {
    let door = |policy| Door { enrolled: Policy::enrolled(policy), certificates: &trust.certificates, now };
    let check = |policy| Evidence::check(&gathered.items, &gathered.pairs, &gathered.declarations, door(policy));
    let evidence = check(&trust.policy);
    let artifact = subject.artifact().cloned().unwrap_or_else(|| unpublished(subject.digest()));
    let verdict = tally_as_of(&trust.policy, &artifact, evidence.statements(), evidence.circumstances(now));
    let theirs = gathered.their_policy.as_ref().map(|policy| (policy, check(policy)));
    let own = Basis { policy: &trust.policy, evidence: &evidence };
    let mut bases = vec![own];
    bases.extend(theirs.as_ref().map(|(policy, evidence)| Basis { policy, evidence }));
    let opinion = check_opinion(gathered.claim.as_ref(), &artifact, &bases);
    let log = check_log(gathered.claim.as_ref(), trust.log.as_ref());
    let logged = matches!(log, LogCheck::Proven { .. }).then(|| named_verdict(gathered.claim.as_ref(), &artifact, own, now)).flatten();
    let allows = |verdict: &Verdict| Exit::from(trust.policy.disposition(verdict));
    let exit = allows(&verdict).max(logged.as_ref().map_or(Exit::Met, allows)).max(demands(&log, &opinion));
    let logged = logged.map(|verdict| verdict.state);
    let consequence = trust.policy.consequence(&verdict);
    Assessment { subject, verdict, evidence, log, logged, opinion, consequence, exit }
}

/// What log and opinion allow at best.
fn demands(log: &LogCheck, opinion: &Opinion) -> Exit {
    match (log, opinion) {
        (LogCheck::Invalid { .. }, _)
        | (LogCheck::Proven { .. }, Opinion::Unusable { .. } | Opinion::Says { standing: Standing::Contradicts { .. }, .. }) => {
            Exit::Violated
        }
        (LogCheck::Missing | LogCheck::Proven { witnessed: Witnessed::TooFew { .. }, .. }, _)
        | (_, Opinion::Says { standing: Standing::Withheld { .. }, .. }) => Exit::NotEnoughEvidence,
        (LogCheck::NotAsked { .. } | LogCheck::Proven { .. }, _) => Exit::Met,
    }
}

/// Stands in for an artifact where there is none, so that the tally can count nobody's votes. It
/// is never shown.
fn unpublished(digest: Digest) -> ArtifactId {
    let package: Purl = "pkg:generic/unpublished@0".parse().expect("a constant package URL");
    let file: FileName = "unpublished".parse().expect("a constant file name");
    ArtifactId { slot: ArtifactSlot { package, file }, digest }
}
