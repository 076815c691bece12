//! An explanation on one screen: operators that saw the same stand together.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use quorate_normalize::Detail;
use quorate_proto::comparison::PassUse;
use quorate_proto::result::{Outcome, RebuildResult, Source};
use quorate_tally::Vote;

use super::{Explanation, SharedDifference, voting};
use crate::render::{self, ballot, ballot_tone, diff_tone, line, word};
use crate::text::{Paint, Tone, plain, short};

/// How many differences are shown; the JSON has them all.
const DIFFERENCES_SHOWN_MAX: usize = 8;

/// How many lines of diff are shown, over all differences.
const DIFF_LINES_SHOWN_MAX: usize = 24;

/// How many anomalies of one group are shown.
const ANOMALIES_SHOWN_MAX: usize = 4;

/// The explanation as text.
pub(super) fn text(explanation: &Explanation<'_>, paint: Paint) -> String {
    let mut text = render::verdict(explanation.assessment, paint);
    text.push_str("\nvotes\n");
    for (facts, votes) in groups(explanation) {
        let names: Vec<_> = votes.iter().map(|vote| plain(&vote.name)).collect();
        let head = format!("{}: {}", names.join(", "), ballot(&votes[0].ballot));
        let _ = writeln!(text, "  {}", paint.tone(ballot_tone(&votes[0].ballot), &head));
        for (label, fact) in facts {
            line(&mut text, &format!("  {label}"), &fact);
        }
    }
    text.push_str(&differences(&explanation.differences, explanation.difference_count, paint));
    if let Some(missing) = &explanation.missing {
        let _ = writeln!(text, "\nmissing\n  {missing}");
    }
    text
}

/// Label and content of each line about a result.
type Facts = Vec<(&'static str, String)>;

/// Votes with equal ballots and equal facts, in the order of the first name.
fn groups<'a>(explanation: &'a Explanation<'_>) -> Vec<(Facts, Vec<&'a Vote>)> {
    let mut facts_of: BTreeMap<&str, Facts> = BTreeMap::new();
    for (vote, statement) in voting(explanation.assessment) {
        facts_of.entry(&vote.name).or_default().extend(facts(statement.result()));
    }
    let mut groups: Vec<(Facts, Vec<&Vote>)> = Vec::new();
    for vote in &explanation.assessment.verdict.votes {
        let facts = facts_of.remove(vote.name.as_str()).unwrap_or_default();
        match groups.iter_mut().find(|(known, votes)| *known == facts && votes[0].ballot == vote.ballot) {
            Some((_, votes)) => votes.push(vote),
            None => groups.push((facts, vec![vote])),
        }
    }
    groups
}

fn facts(result: &RebuildResult) -> Facts {
    let mut facts = Facts::new();
    facts.extend(result.source.as_ref().map(|of| ("source", source(of))));
    facts.extend(outcome(&result.outcome));
    let tools: Vec<_> = result.toolchain.iter().map(|tool| plain(&format!("{} {}", tool.name, tool.version))).collect();
    if !tools.is_empty() {
        facts.push(("toolchain", tools.join(", ")));
    }
    let builder = plain(&format!("{} {}", result.builder.name, result.builder.version));
    facts.push(("built on", format!("{} {}, {builder}", word(&result.environment.class), short(&result.environment.digest.to_string()))));
    for assist in &result.assists {
        facts.push(("assist", plain(&format!("{} = {} ({})", assist.name, assist.value, assist.reason))));
    }
    for anomaly in result.anomalies.iter().take(ANOMALIES_SHOWN_MAX) {
        let member = anomaly.member.as_ref().map_or(String::new(), |member| format!(" {member}"));
        let (side, kind) = (word(&anomaly.side), word(&anomaly.kind));
        facts.push(("anomaly", plain(&format!("{side}: {kind}{member}: {}", anomaly.detail))));
    }
    if result.anomalies.len() > ANOMALIES_SHOWN_MAX {
        facts.push(("anomaly", format!("and {} more", result.anomalies.len() - ANOMALIES_SHOWN_MAX)));
    }
    facts.extend(result.violations.iter().map(|violation| ("violation", plain(violation))));
    facts
}

fn source(source: &Source) -> String {
    let mut text = format!("{} {}", word(&source.kind), plain(&source.uri));
    if let Some(commit) = &source.commit {
        let _ = write!(text, " {}", short(commit));
    }
    if let Some(digest) = source.digest {
        let _ = write!(text, " {}", short(&digest.to_string()));
    }
    if let Some(reference) = &source.reference {
        let _ = write!(text, " ({})", plain(reference));
    }
    if let Some(directory) = source.directory.as_ref().filter(|directory| !directory.is_empty()) {
        let _ = write!(text, ", folder {}", plain(directory));
    }
    format!("{text}, found by {}", word(&source.found_by))
}

fn outcome(outcome: &Outcome) -> Facts {
    match outcome {
        Outcome::Equivalent { level, passes, .. } => {
            let passes: Vec<_> = passes.iter().map(pass).collect();
            vec![("level", word(level)), ("passes", passes.join(", "))]
        }
        Outcome::Identical { .. } | Outcome::Different { .. } => Facts::new(),
        Outcome::BuildFailed { phase, summary } | Outcome::SandboxViolation { phase, summary } => {
            vec![("stopped in", format!("{}: {}", word(phase), plain(summary)))]
        }
        Outcome::SourceUnavailable { summary } | Outcome::ArtifactUnavailable { summary } => vec![("because", plain(summary))],
        Outcome::NotAttempted { reason } => vec![("because", word(reason))],
    }
}

fn pass(pass: &PassUse) -> String {
    plain(&format!("{}/{} ({} members, risk {})", pass.name, pass.version, pass.members, word(&pass.risk)))
}

fn differences(differences: &[SharedDifference], count: usize, paint: Paint) -> String {
    if differences.is_empty() {
        return String::new();
    }
    let mut text = "\ndifferences\n".to_owned();
    let mut diff_lines_left = DIFF_LINES_SHOWN_MAX;
    for difference in differences.iter().take(DIFFERENCES_SHOWN_MAX) {
        let operators: Vec<_> = difference.operators.iter().map(|name| plain(name)).collect();
        let (class, executable) = (word(&difference.class), word(&difference.executable));
        let head = format!("{class:<15} {executable}  {}", plain(&difference.member));
        let _ = writeln!(text, "  {}  ({})", paint.tone(Tone::Bad, &head), operators.join(", "));
        for detail in detail_lines(difference.detail.as_ref()).into_iter().take(diff_lines_left) {
            let _ = writeln!(text, "    | {}", paint.tone(diff_tone(&detail), &detail));
            diff_lines_left -= 1;
        }
    }
    let shown = differences.len().min(DIFFERENCES_SHOWN_MAX);
    if count > shown {
        let _ = writeln!(text, "  and {} more: see --format json", count - shown);
    }
    text
}

/// What a person sees of a difference, a line each, escaped.
pub(crate) fn detail_lines(detail: Option<&Detail>) -> Vec<String> {
    match detail {
        None => Vec::new(),
        Some(Detail::Diff(diff)) => diff.lines().map(plain).collect(),
        Some(Detail::Metadata(lines)) => lines.iter().map(|line| plain(line)).collect(),
        Some(Detail::Anomaly(anomaly)) => vec![plain(anomaly)],
        Some(Detail::Unshown(reason)) => vec![reason.reason().to_owned()],
    }
}
