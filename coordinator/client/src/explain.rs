//! `quorate explain`: what every operator saw, what differs, and what is missing.
//!
//! A pure [`Explanation`] of an assessment and the reports of differences that could be had, and
//! two ways to show it: text for one screen ([`human`]), and JSON.

mod human;

use std::collections::{BTreeMap, BTreeSet};

use quorate_normalize::{Detail, MemberDifference};
use quorate_proto::comparison::{Difference, DifferenceClass, Executable};
use quorate_proto::result::{Outcome, RebuildResult};
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{Digest, NodeId, OperatorId};
use quorate_tally::Vote;
use serde::{Deserialize, Serialize};

use crate::answer::Answer;
use crate::assess::Assessment;
use crate::cli::Format;
use crate::gather::Session;
use crate::target::Target;
use crate::text::{Paint, json_line};
use crate::verify::exit_of;
use crate::view::{ArtifactView, ReportView, SCHEMA_VERSION};

/// The most reports that are fetched for one artifact.
const REPORTS_MAX: usize = 8;

/// Reports of differences, by digest.
pub(crate) type Reports = BTreeMap<Digest, Vec<MemberDifference>>;

/// An assessment with everything behind it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explanation<'a> {
    #[serde(flatten)]
    artifact: ArtifactView<'a>,
    results: Vec<SignedView<'a>>,
    differences: Vec<SharedDifference>,
    difference_count: usize,
    missing: Option<String>,
    #[serde(skip)]
    assessment: &'a Assessment,
}

/// A result that counts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SignedView<'a> {
    operator: OperatorId,
    name: &'a str,
    node: NodeId,
    envelope: Digest,
    result: &'a RebuildResult,
}

/// A difference and those who saw it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SharedDifference {
    member: String,
    class: DifferenceClass,
    executable: Executable,
    operators: BTreeSet<String>,
    detail: Option<Detail>,
}

/// The part of a report of differences that is read here.
#[derive(Deserialize)]
struct ReportFile {
    differences: Vec<MemberDifference>,
}

/// Asks, fetches the reports, explains.
pub(crate) async fn run(session: &Session<'_>, target: &Target, format: Format, paint: Paint) -> anyhow::Result<Answer> {
    let found = session.find(target, None).await?;
    let mut reports = Reports::new();
    for assessment in &found.assessments {
        fetch_reports(session, assessment, &mut reports).await;
    }
    let explanations: Vec<_> = found.assessments.iter().map(|assessment| Explanation::of(assessment, &reports)).collect();
    let exit = exit_of(&found.assessments);
    let stdout = match format {
        Format::Human => explanations.iter().map(|explanation| human::text(explanation, paint)).collect::<Vec<_>>().join("\n"),
        Format::Json => json_line(&ReportView {
            schema_version: SCHEMA_VERSION,
            command: "explain",
            exit: exit.code(),
            policy: session.trust.policy.digest(),
            artifacts: explanations,
            notes: &found.notes,
        }),
    };
    Ok(Answer { stdout, notes: found.notes, exit })
}

/// Reports are a help to the reader: without them the differences are still listed.
async fn fetch_reports(session: &Session<'_>, assessment: &Assessment, reports: &mut Reports) {
    let named: BTreeSet<_> = voting(assessment).filter_map(|(_, statement)| report_of(statement)).collect();
    for digest in named.into_iter().take(REPORTS_MAX) {
        let bytes = session.server.blob(&digest).await.ok().flatten().unwrap_or_default();
        if let Ok(report) = serde_json::from_slice::<ReportFile>(&bytes) {
            reports.insert(digest, report.differences);
        }
    }
}

fn report_of(statement: &VerifiedStatement) -> Option<Digest> {
    match &statement.result().outcome {
        Outcome::Different { differences, .. } => differences.report,
        _ => None,
    }
}

/// The results that votes rest on.
fn voting(assessment: &Assessment) -> impl Iterator<Item = (&Vote, &VerifiedStatement)> {
    let votes = assessment.verdict.votes.iter();
    votes.flat_map(move |vote| vote.results.iter().filter_map(move |digest| Some((vote, assessment.evidence.statement(digest)?))))
}

impl<'a> Explanation<'a> {
    /// Explains `assessment` with the help of `reports`.
    pub(crate) fn of(assessment: &'a Assessment, reports: &Reports) -> Self {
        let signed = |(vote, statement): (&'a Vote, &'a VerifiedStatement)| SignedView {
            operator: vote.operator,
            name: &vote.name,
            node: statement.node(),
            envelope: statement.digest(),
            result: statement.result(),
        };
        let differences = differences(assessment, reports);
        Self {
            artifact: ArtifactView::from(assessment),
            results: voting(assessment).map(signed).collect(),
            difference_count: difference_count(assessment).max(differences.len()),
            differences,
            missing: assessment.verdict.missing(),
            assessment,
        }
    }
}

/// Equal differences are one, with everybody who saw it; code before data, the most seen first.
fn differences(assessment: &Assessment, reports: &Reports) -> Vec<SharedDifference> {
    let mut shared: BTreeMap<(Executable, Difference), SharedDifference> = BTreeMap::new();
    for (vote, statement) in voting(assessment) {
        let Outcome::Different { differences: list, .. } = &statement.result().outcome else { continue };
        let report = list.report.and_then(|digest| reports.get(&digest));
        let listed = list.members.iter().map(|difference| (difference, None));
        let reported = report.into_iter().flatten().map(|entry| (&entry.difference, entry.detail.as_ref()));
        for (difference, detail) in listed.chain(reported) {
            let entry = shared.entry((difference.executable, difference.clone())).or_insert_with(|| SharedDifference::of(difference));
            entry.operators.insert(vote.name.clone());
            entry.detail = entry.detail.take().or_else(|| detail.cloned());
        }
    }
    let mut list: Vec<_> = shared.into_values().collect();
    list.sort_by_key(|difference| (difference.executable, std::cmp::Reverse(difference.operators.len())));
    list
}

/// How many differences there are at most in one result: it lists only the first of them.
fn difference_count(assessment: &Assessment) -> usize {
    let count = |(_, statement): (&Vote, &VerifiedStatement)| match &statement.result().outcome {
        Outcome::Different { differences, .. } => usize::try_from(differences.count).unwrap_or(usize::MAX),
        _ => 0,
    };
    voting(assessment).map(count).max().unwrap_or(0)
}

impl SharedDifference {
    fn of(difference: &Difference) -> Self {
        Self {
            member: difference.member.clone(),
            class: difference.class,
            executable: difference.executable,
            operators: BTreeSet::new(),
            detail: None,
        }
    }
}
