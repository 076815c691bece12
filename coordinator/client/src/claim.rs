//! What a coordinator claims, held against evidence and log.
//!
//! A claim is a verdict's envelope and, where a log was asked for, the proof that it stands in
//! it. Nothing here decides whether a policy is met; [`crate::assess`] does.

use std::collections::BTreeSet;
use std::sync::Arc;

use quorate_proto::bundle::Bundle;
use quorate_proto::declaration::VerifiedDeclaration;
use quorate_proto::dsse::Envelope;
use quorate_proto::entry::VerifiedCommitment;
use quorate_proto::feed::EquivocationProof;
use quorate_proto::statement::Statement;
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{ArtifactId, Digest, Timestamp};
use quorate_tally::ballot::Ballot;
use quorate_tally::summary::VERDICT_ENVELOPE_BYTES_MAX;
use quorate_tally::{Circumstances, Confirmation, ENGINE, Flag, History, Policy, State, Verdict, VerdictSummary, tally_as_of};
use quorate_tlog::proof::ProofError;
use quorate_tlog::{TlogProof, leaf_hash};

use crate::evidence::Evidence;
use crate::trusted_log::{Opened, TrustedLog, Witnessed};

/// A verdict that somebody handed over, unverified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The verdict's envelope.
    pub(crate) envelope: Vec<u8>,
    /// The `.tlog-proof`, if one came with it.
    pub(crate) proof: Option<Vec<u8>>,
    /// Where it is said to stand in the log.
    pub(crate) index: Option<u64>,
}

/// Whether the verdict stands in the log that the policy names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogCheck {
    /// The policy names no log.
    NotAsked {
        /// Where the verdict is said to stand.
        claimed: Option<u64>,
    },
    /// It does.
    Proven {
        /// The log.
        origin: String,
        /// The verdict's place.
        index: u64,
        /// The size that the checkpoint signs.
        size: u64,
        /// Whether enough witnesses have seen it.
        witnessed: Witnessed,
    },
    /// Nobody handed over a proof.
    Missing,
    /// The proof does not hold.
    Invalid {
        /// Why not.
        reason: String,
    },
}

/// What the coordinator says, in the light of the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Opinion {
    /// Nothing.
    Silent,
    /// Nothing that is a verdict about this artifact.
    Unusable {
        /// Why not.
        reason: String,
    },
    /// A verdict.
    Says {
        /// Its state.
        state: State,
        /// Its alarms, on the coordinator's word.
        flags: BTreeSet<Flag>,
        /// How the package's other releases fared, on the log's word: whoever reads all of it can tell.
        history: Option<History>,
        /// The policy that it was made under.
        policy: Digest,
        /// How it relates to the evidence.
        standing: Standing,
    },
}

/// How a coordinator's verdict relates to the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It follows from the evidence.
    Follows,
    /// It follows from what it names; `newer` more results have come in.
    Older {
        /// How many.
        newer: usize,
    },
    /// It was made under another policy, whose text is not at hand.
    OtherPolicy,
    /// It rests on results that were not handed over.
    Withheld {
        /// How many.
        count: usize,
    },
    /// It does not follow from the results that it names.
    Contradicts {
        /// What does follow.
        recomputed: State,
    },
}

impl Claim {
    /// The claim in a bundle.
    pub(crate) fn of_bundle(bundle: &Bundle) -> Self {
        let proof = (!bundle.proof.is_empty()).then(|| bundle.proof.clone().into_bytes());
        let index = proof.as_ref().and_then(|proof| TlogProof::parse(proof).ok()).map(|proof| proof.inclusion().index);
        Self { envelope: bundle.verdict.clone().into_bytes(), proof, index }
    }

    /// Reads the verdict, which must be about `artifact`. Its signature vouches for nothing that
    /// evidence and log do not.
    pub(crate) fn verdict(&self, artifact: &ArtifactId) -> Result<Verdict, String> {
        let envelope = Envelope::parse(&self.envelope, VERDICT_ENVELOPE_BYTES_MAX).map_err(|error| error.to_string())?;
        let statement = Statement::<VerdictSummary>::parse(envelope.payload()).map_err(|error| error.to_string())?;
        let verdict = statement.predicate.verdict;
        if verdict.artifact == *artifact {
            Ok(verdict)
        } else {
            Err(format!("it is about {} of {}, {}", verdict.artifact.slot.file, verdict.artifact.slot.package, verdict.artifact.digest))
        }
    }
}

/// Looks for the claim in the log.
pub(crate) fn check_log(claim: Option<&Claim>, log: Option<&TrustedLog>) -> LogCheck {
    let Some(log) = log else {
        return LogCheck::NotAsked { claimed: claim.and_then(|claim| claim.index) };
    };
    let Some((claim, proof)) = claim.and_then(|claim| Some((claim, claim.proof.as_ref()?))) else {
        return LogCheck::Missing;
    };
    let proven = TlogProof::parse(proof).and_then(|proof| {
        let Opened { checkpoint, witnessed } = log.open(proof.checkpoint())?;
        proof.inclusion().verify(&leaf_hash(&claim.envelope), checkpoint.head()).map_err(ProofError::Inclusion)?;
        let origin = checkpoint.origin().as_str().to_owned();
        Ok(LogCheck::Proven { origin, index: proof.inclusion().index, size: checkpoint.size(), witnessed })
    });
    proven.unwrap_or_else(|error| LogCheck::Invalid { reason: proof_reason(&error) })
}

/// The error with its cause.
fn proof_reason(error: &ProofError) -> String {
    use std::error::Error as _;
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        reason = format!("{reason}: {cause}");
        source = cause.source();
    }
    reason
}

/// Evidence under the policy that a claim was made under.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Basis<'a> {
    /// The user's policy, or the coordinator's.
    pub(crate) policy: &'a Policy,
    /// What counts under it.
    pub(crate) evidence: &'a Evidence,
}

/// Holds a claim against the evidence. `grounds` are the policies whose text is at hand.
pub(crate) fn check_opinion(claim: Option<&Claim>, artifact: &ArtifactId, grounds: &[Basis<'_>]) -> Opinion {
    let Some(claim) = claim else { return Opinion::Silent };
    let verdict = match claim.verdict(artifact) {
        Ok(verdict) => verdict,
        Err(reason) => return Opinion::Unusable { reason },
    };
    let basis = grounds.iter().find(|basis| basis.policy.digest() == verdict.policy && verdict.engine == ENGINE);
    let given = |digest: &Digest| grounds.iter().all(|basis| basis.evidence.was_given(digest));
    let withheld = verdict.rests_on().iter().filter(|digest| !given(digest)).count();
    let standing = match basis {
        _ if withheld > 0 => Standing::Withheld { count: withheld },
        None => Standing::OtherPolicy,
        Some(basis) => recompute(&verdict, *basis),
    };
    Opinion::Says { state: verdict.state, flags: verdict.flags, history: verdict.history, policy: verdict.policy, standing }
}

/// What follows under the policy of `basis` from the results that the claim names, and from them
/// alone, as of `now`. Nothing if the claim is no verdict about `artifact`.
pub(crate) fn named_verdict(claim: Option<&Claim>, artifact: &ArtifactId, basis: Basis<'_>, now: Timestamp) -> Option<Verdict> {
    let verdict = claim?.verdict(artifact).ok()?;
    Some(Named::of(&verdict, basis.evidence).tally(basis.policy, artifact, Some(now)))
}

/// What a verdict names of the evidence.
struct Named {
    statements: Vec<VerifiedStatement>,
    commitments: Vec<Arc<VerifiedCommitment>>,
    confirmations: Vec<Confirmation>,
    declarations: Vec<Arc<VerifiedDeclaration>>,
    equivocations: Vec<EquivocationProof>,
}

impl Named {
    fn of(verdict: &Verdict, evidence: &Evidence) -> Self {
        let named = verdict.rests_on();
        let declarations: Vec<_> = evidence.declarations().iter().filter(|one| named.contains(&one.digest())).cloned().collect();
        Self {
            statements: named_statements(verdict, evidence, &declarations),
            commitments: evidence.commitments().iter().filter(|entry| named.contains(&entry.digest())).cloned().collect(),
            confirmations: evidence.confirmations().iter().filter(|one| named.contains(&one.check)).copied().collect(),
            declarations,
            equivocations: claimed_equivocations(verdict, evidence),
        }
    }

    fn tally(&self, policy: &Policy, artifact: &ArtifactId, as_of: Option<Timestamp>) -> Verdict {
        let Self { statements, commitments, confirmations, declarations, equivocations } = self;
        let known = Circumstances { as_of, equivocations, commitments, confirmations, declarations, ..Circumstances::default() };
        tally_as_of(policy, artifact, statements, known)
    }
}

/// The results that a verdict names, and of operators of whom it names none, those about other
/// digests of the slot: a verdict does not name them, and for the votes they only say who is
/// present. Of the others they are left out: later ones would displace what is named, as the tally
/// looks at a node's latest results. What the named declarations silence is there to be silenced.
fn named_statements(verdict: &Verdict, evidence: &Evidence, declarations: &[Arc<VerifiedDeclaration>]) -> Vec<VerifiedStatement> {
    let named = verdict.rests_on();
    let voted = |operator| verdict.votes.iter().any(|vote| vote.operator == operator && !vote.results.is_empty());
    let elsewhere = |s: &VerifiedStatement| s.artifact().digest != verdict.artifact.digest && !voted(s.operator());
    let silenced = |s: &VerifiedStatement| declarations.iter().any(|one| one.silences(s));
    evidence.statements().iter().filter(|s| named.contains(&s.digest()) || elsewhere(s) || silenced(s)).cloned().collect()
}

fn claimed_equivocations(verdict: &Verdict, evidence: &Evidence) -> Vec<EquivocationProof> {
    let equivocated = |operator| verdict.votes.iter().any(|vote| vote.operator == operator && vote.ballot == Ballot::Equivocated);
    evidence.equivocations().iter().filter(|proof| equivocated(proof.operator())).cloned().collect()
}

/// Tallies again what the verdict names, as of the time that it names, and compares everything but the
/// flags, which rest on results and commitments that it does not name, and the history, which rests on other verdicts.
fn recompute(verdict: &Verdict, basis: Basis<'_>) -> Standing {
    let named = verdict.rests_on();
    let mut recomputed = Named::of(verdict, basis.evidence).tally(basis.policy, &verdict.artifact, verdict.as_of);
    recomputed.as_of = verdict.as_of;
    recomputed.flags.clone_from(&verdict.flags);
    recomputed.history = verdict.history.filter(|_| recomputed.state == State::Suspect);
    recomputed.other_digests.clone_from(&verdict.other_digests);
    if recomputed != *verdict {
        return Standing::Contradicts { recomputed: recomputed.state };
    }
    let known = Circumstances { as_of: verdict.as_of, ..basis.evidence.circumstances(Timestamp::from_unix_seconds(0)) };
    let all = tally_as_of(basis.policy, &verdict.artifact, basis.evidence.statements(), known);
    let newer = all.rests_on().iter().filter(|digest| !named.contains(digest)).count();
    if newer > 0 { Standing::Older { newer } } else { Standing::Follows }
}
