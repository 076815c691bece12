//! The JSON of verdicts, as `docs/spec/cli.md` describes it. Changes of shape change
//! [`SCHEMA_VERSION`].

use std::collections::{BTreeMap, BTreeSet};

use quorate_proto::{Digest, FileName, Purl};
use quorate_tally::verdict::{GroupCount, Spread};
use quorate_tally::{Consequence, Flag, History, Severity, State, Vote};
use serde::Serialize;

use crate::assess::Assessment;
use crate::claim::{LogCheck, Opinion, Standing};
use crate::exit::Exit;
use crate::trusted_log::Witnessed;

/// Version of every JSON shape that this command prints.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// Answer of `verify` and `explain`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReportView<'a, A: Serialize> {
    pub(crate) schema_version: u32,
    pub(crate) command: &'static str,
    pub(crate) exit: u8,
    pub(crate) policy: Digest,
    pub(crate) artifacts: Vec<A>,
    pub(crate) notes: &'a [String],
}

/// One artifact.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ArtifactView<'a> {
    package: Option<&'a Purl>,
    file: Option<&'a FileName>,
    digest: Digest,
    state: State,
    severity: Option<Severity>,
    outcome: &'static str,
    consequence: Consequence,
    flags: &'a BTreeSet<Flag>,
    threshold: usize,
    enrolled: usize,
    agree: usize,
    differ: usize,
    failed: usize,
    reason: String,
    other: Option<&'a str>,
    shared: usize,
    groups: &'a [GroupCount],
    distinct: &'a [Spread],
    advisories: &'a [String],
    vouches: &'a [String],
    declarations: &'a [Digest],
    other_digests: &'a [Digest],
    votes: &'a [Vote],
    dissent: Vec<&'a str>,
    evidence: EvidenceView<'a>,
    log: LogView<'a>,
    coordinator: CoordinatorView<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EvidenceView<'a> {
    given: usize,
    counted: usize,
    about_something_else: usize,
    refused: &'a BTreeMap<&'static str, usize>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "status", rename_all = "kebab-case", rename_all_fields = "camelCase")]
enum LogView<'a> {
    NotAsked {
        claimed_index: Option<u64>,
    },
    Proven {
        origin: &'a str,
        index: u64,
        size: u64,
        state: Option<State>,
        #[serde(skip_serializing_if = "Option::is_none")]
        witnesses: Option<WitnessView<'a>>,
    },
    Missing,
    Invalid {
        reason: &'a str,
    },
}

/// What the witnesses of the policy have done; absent where it asks for none.
#[derive(Debug, Serialize)]
struct WitnessView<'a> {
    met: bool,
    cosigned: &'a [String],
    lacking: &'a [String],
}

/// What the coordinator says; its flags, if it has any, and the package's history on its word alone.
#[derive(Debug, Serialize)]
struct CoordinatorView<'a> {
    #[serde(flatten)]
    opinion: OpinionView<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<&'a BTreeSet<Flag>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<History>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "status", rename_all = "kebab-case", rename_all_fields = "camelCase")]
enum OpinionView<'a> {
    Silent,
    Unusable { reason: &'a str },
    Follows { state: State, policy: Digest },
    Older { state: State, policy: Digest, newer: usize },
    OtherPolicy { state: State, policy: Digest },
    Withheld { state: State, policy: Digest, count: usize },
    Contradicts { state: State, policy: Digest, recomputed: State },
}

/// The word for an exit code.
pub(crate) const fn outcome(exit: Exit) -> &'static str {
    match exit {
        Exit::Met => "met",
        Exit::NotEnoughEvidence => "not-enough-evidence",
        Exit::Violated => "violated",
        Exit::Failed => "failed",
    }
}

impl<'a> From<&'a Assessment> for ArtifactView<'a> {
    fn from(assessment: &'a Assessment) -> Self {
        let (verdict, evidence) = (&assessment.verdict, &assessment.evidence);
        let slot = assessment.subject.artifact().map(|artifact| &artifact.slot);
        let counted = evidence.in_slot_count(&verdict.artifact);
        Self {
            package: slot.map(|slot| &slot.package),
            file: slot.map(|slot| &slot.file),
            digest: assessment.subject.digest(),
            state: verdict.state,
            severity: verdict.severity,
            outcome: outcome(assessment.exit),
            consequence: assessment.consequence,
            flags: &verdict.flags,
            threshold: verdict.threshold,
            enrolled: verdict.enrolled,
            agree: verdict.agree,
            differ: verdict.differ,
            failed: verdict.failed,
            reason: verdict.reason(),
            other: verdict.other.as_deref(),
            shared: verdict.shared,
            groups: &verdict.groups,
            distinct: &verdict.distinct,
            advisories: &verdict.advisories,
            vouches: &verdict.vouches,
            declarations: &verdict.declarations,
            other_digests: &verdict.other_digests,
            votes: &verdict.votes,
            dissent: verdict.dissent().map(|vote| vote.name.as_str()).collect(),
            evidence: EvidenceView {
                given: evidence.given_count(),
                counted,
                about_something_else: evidence.statements().len() - counted,
                refused: evidence.refused(),
            },
            log: LogView::of(assessment),
            coordinator: CoordinatorView::from(&assessment.opinion),
        }
    }
}

impl<'a> LogView<'a> {
    fn of(assessment: &'a Assessment) -> Self {
        match &assessment.log {
            LogCheck::NotAsked { claimed } => Self::NotAsked { claimed_index: *claimed },
            LogCheck::Proven { origin, index, size, witnessed } => {
                let witnesses = WitnessView::of(witnessed);
                Self::Proven { origin, index: *index, size: *size, state: assessment.logged, witnesses }
            }
            LogCheck::Missing => Self::Missing,
            LogCheck::Invalid { reason } => Self::Invalid { reason },
        }
    }
}

impl<'a> WitnessView<'a> {
    fn of(witnessed: &'a Witnessed) -> Option<Self> {
        match witnessed {
            Witnessed::NotAsked => None,
            Witnessed::By(cosigned) => Some(Self { met: true, cosigned, lacking: &[] }),
            Witnessed::TooFew { have, lacking } => Some(Self { met: false, cosigned: have, lacking }),
        }
    }
}

impl<'a> From<&'a Opinion> for CoordinatorView<'a> {
    fn from(opinion: &'a Opinion) -> Self {
        let (flags, history) = match opinion {
            Opinion::Says { flags, history, .. } => (Some(flags).filter(|flags| !flags.is_empty()), *history),
            _ => (None, None),
        };
        Self { opinion: OpinionView::from(opinion), flags, history }
    }
}

impl<'a> From<&'a Opinion> for OpinionView<'a> {
    fn from(opinion: &'a Opinion) -> Self {
        match opinion {
            Opinion::Silent => Self::Silent,
            Opinion::Unusable { reason } => Self::Unusable { reason },
            Opinion::Says { state, policy, standing, .. } => Self::says(*state, *policy, standing),
        }
    }
}

impl OpinionView<'_> {
    const fn says(state: State, policy: Digest, standing: &Standing) -> Self {
        match *standing {
            Standing::Follows => Self::Follows { state, policy },
            Standing::Older { newer } => Self::Older { state, policy, newer },
            Standing::OtherPolicy => Self::OtherPolicy { state, policy },
            Standing::Withheld { count } => Self::Withheld { state, policy, count },
            Standing::Contradicts { recomputed } => Self::Contradicts { state, policy, recomputed },
        }
    }
}
