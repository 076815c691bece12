//! `quorate policy check`: how a policy comes to its verdict, step by step from the evidence.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use quorate_proto::{ArtifactId, Digest, Timestamp};
use quorate_tally::explain::{MarkStep, ResultStep, Weight};
use quorate_tally::{Consequence, Explanation, Grade, explain};
use serde::Serialize;

use crate::answer::Answer;
use crate::assess::Assessment;
use crate::cli::Format;
use crate::exit::Exit;
use crate::gather::Found;
use crate::render;
use crate::text::{Paint, Tone, json_line, plain, short};
use crate::trust::Trust;
use crate::verify::exit_of;
use crate::view::{ReportView, SCHEMA_VERSION, outcome};

/// One artifact.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CheckView<'a> {
    artifact: Option<&'a ArtifactId>,
    digest: Digest,
    outcome: &'static str,
    consequence: Consequence,
    refused: &'a BTreeMap<&'static str, usize>,
    #[serde(flatten)]
    explanation: &'a Explanation,
}

/// Explains what was found, as of `now`.
pub(crate) fn answer(trust: &Trust, found: Found, format: Format, paint: Paint, now: Timestamp) -> Answer {
    let exit = exit_of(&found.assessments);
    let explained: Vec<_> = found.assessments.iter().map(|assessment| (assessment, steps(trust, assessment, now))).collect();
    let stdout = match format {
        Format::Human => {
            let page = |(a, e): &(&Assessment, Explanation)| human(a, e, paint);
            explained.iter().map(page).collect::<Vec<_>>().join("\n")
        }
        Format::Json => json_line(&ReportView {
            schema_version: SCHEMA_VERSION,
            command: "policy check",
            exit: exit.code(),
            policy: trust.policy.digest(),
            artifacts: explained.iter().map(|(assessment, explanation)| view(assessment, explanation)).collect(),
            notes: &found.notes,
        }),
    };
    Answer { stdout, notes: found.notes, exit }
}

fn steps(trust: &Trust, assessment: &Assessment, now: Timestamp) -> Explanation {
    let (artifact, evidence) = (&assessment.verdict.artifact, &assessment.evidence);
    explain(&trust.policy, artifact, evidence.statements(), evidence.circumstances(now))
}

fn view<'a>(assessment: &'a Assessment, explanation: &'a Explanation) -> CheckView<'a> {
    CheckView {
        artifact: assessment.subject.artifact(),
        digest: assessment.subject.digest(),
        outcome: outcome(assessment.exit),
        consequence: assessment.consequence,
        refused: assessment.evidence.refused(),
        explanation,
    }
}

fn human(assessment: &Assessment, explanation: &Explanation, paint: Paint) -> String {
    let mut text = render::verdict(assessment, paint);
    let rules = explanation.rules.as_ref().map_or("for all packages".to_owned(), |pattern| format!("for {}", plain(pattern)));
    let _ = writeln!(text, "\n1. the policy's rules {rules}");
    for entry in &explanation.entries {
        let by = entry.by.as_ref().map_or_else(String::new, |name| format!(" by {}", plain(name)));
        let _ = writeln!(text, "   {} {}{by}: {}", entry.kind, plain(&entry.id), plain(&entry.reason));
    }
    let _ = writeln!(text, "\n2. what became of each result");
    results(&mut text, &explanation.results, paint);
    for MarkStep { name, mark } in &explanation.marks {
        let row = format!("{:<16} {:<24} {} (mark)", plain(name), short(&mark.node.to_string()), mark.kind);
        let _ = writeln!(text, "   {}", paint.tone(Tone::Bad, &row));
    }
    let _ = writeln!(text, "\n3. what each operator says");
    for vote in &explanation.verdict.votes {
        let ballot = paint.tone(render::ballot_tone(&vote.ballot), &render::ballot(&vote.ballot));
        let _ = writeln!(text, "   {:<16} {ballot}", plain(&vote.name));
    }
    let _ = writeln!(text, "\n4. the first state that applies");
    states(&mut text, explanation, paint);
    let means = format!("{}, so {}", render::word(&assessment.consequence), words(assessment.exit));
    let _ = writeln!(text, "\n5. what that means\n   {}: {means}", explanation.verdict.state);
    text
}

fn results(text: &mut String, results: &[ResultStep], paint: Paint) {
    if results.is_empty() {
        let _ = writeln!(text, "   nobody in the policy has said anything");
    }
    for step in results {
        let fate = match &step.weight {
            Weight::Counts => paint.tone(Tone::Good, "counts"),
            other => paint.tone(Tone::Unsure, &fate(other)),
        };
        let place = format!("{} #{}", short(&step.node.to_string()), step.sequence);
        let grade = step.grade.map_or("", Grade::name);
        let _ = writeln!(text, "   {:<16} {place:<24} {:<20} {grade:<10} {fate}", plain(&step.operator), plain(&step.says));
    }
}

fn fate(weight: &Weight) -> String {
    match weight {
        Weight::Counts => "counts".to_owned(),
        Weight::NotCounted { reason } => format!("does not count: {}", plain(reason)),
        Weight::Pending { reason } => format!("waits: {}", plain(reason)),
        Weight::Superseded => "the node has said something newer".to_owned(),
        Weight::OtherFile { digest } => format!("is about another file of this name, {}", short(&digest.to_string())),
        Weight::Retracted => "was taken back".to_owned(),
        Weight::Revoked => "was signed with a key that is revoked".to_owned(),
        Weight::Stranger => "is by nobody in the policy".to_owned(),
        Weight::OutOfBounds => "is one of too many".to_owned(),
    }
}

/// Those behind the first that applies do not matter any more.
fn states(text: &mut String, explanation: &Explanation, paint: Paint) {
    let taken = explanation.verdict.state;
    let mut decided = false;
    for step in &explanation.states {
        let (mark, tone) = match (step.state == taken, decided) {
            (true, _) => ("=>", Tone::Head),
            (false, true) => ("  ", Tone::Faint),
            (false, false) => ("no", Tone::Unsure),
        };
        decided |= step.state == taken;
        let row = format!("{mark} {:<22} {}", step.state, plain(&step.because));
        let _ = writeln!(text, "   {}", paint.tone(tone, &row));
    }
}

const fn words(exit: Exit) -> &'static str {
    match exit {
        Exit::Met => "the policy is met",
        Exit::NotEnoughEvidence => "there is not enough evidence",
        Exit::Violated => "the policy is violated",
        Exit::Failed => "the tool has failed",
    }
}
