//! A finding for people.

use quorate_node::attest::Finding;
use quorate_node::traffic::Fetched;
use quorate_proto::Digest;
use quorate_proto::comparison::Level;
use quorate_proto::result::Outcome;
use serde_json::Value;

/// Most lines of differences that are printed, of all members and of one, and most characters of a line.
const DIFF_LINES_MAX: usize = 120;
const DIFF_LINES_MAX_EACH: usize = 24;
const DIFF_CHARS_MAX: usize = 200;

/// All of it, one fact a line.
pub(super) fn report(finding: &Finding) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        let _ = writeln!(text, "{label:<12}{value}");
    };
    line("package", finding.package.to_string());
    line("artifact", finding.file.to_string());
    line("published", finding.published.to_string());
    if let Some(rebuilt) = finding.outcome.rebuilt() {
        line("rebuilt", rebuilt.digest.to_string());
    }
    line("result", result_line(&finding.outcome));
    if let Some(source) = &finding.source {
        let found = serde_json::to_value(source.found_by).unwrap_or_default();
        line("source", format!("{} (found by {})", source.uri, found.as_str().unwrap_or_default()));
        for (label, value) in [("  commit", &source.commit), ("  ref", &source.reference), ("  folder", &source.directory)] {
            if let Some(value) = value {
                line(label, value.clone());
            }
        }
    }
    let tools: Vec<_> = finding.toolchain.iter().map(|tool| format!("{} {}", tool.name, tool.version)).collect();
    if !tools.is_empty() {
        line("tools", tools.join(", "));
    }
    for assist in &finding.assists {
        line("assist", format!("{} = {}: {}", assist.name, assist.value, assist.reason));
    }
    for violation in &finding.violations {
        line("violation", violation.clone());
    }
    for anomaly in &finding.anomalies {
        let side = serde_json::to_value((anomaly.side, anomaly.kind)).unwrap_or_default();
        line("anomaly", format!("{side} {}: {}", anomaly.member.as_deref().unwrap_or(""), anomaly.detail));
    }
    if let Some(left) = &finding.intermediates {
        line("left", format!("{} files that only a builder knows", left.as_slice().len()));
    }
    detail_lines(&finding.outcome, &mut line);
    diff_lines(finding, &mut line);
    let seconds: Vec<_> = finding.seconds.iter().map(|(phase, seconds)| format!("{phase} {seconds:.2}")).collect();
    line("seconds", seconds.join(", "));
    line("fetched", fetched_line(&finding.fetched));
    // Strangers wrote some of this: it must not paint a terminal.
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// What differs inside of the listed members, as far as the report shows it.
fn diff_lines(finding: &Finding, line: &mut impl FnMut(&str, String)) {
    let Outcome::Different { differences, .. } = &finding.outcome else { return };
    let report = finding.blobs.iter().find(|blob| Some(Digest::of(blob)) == differences.report);
    let report: Value = report.and_then(|blob| serde_json::from_slice(blob).ok()).unwrap_or_default();
    let mut left = DIFF_LINES_MAX;
    for difference in report["differences"].as_array().into_iter().flatten() {
        let shown: Vec<String> = match &difference["detail"] {
            Value::Object(detail) => detail.values().flat_map(detail_texts).collect(),
            _ => Vec::new(),
        };
        if !shown.is_empty() {
            line("diff", difference["difference"]["member"].as_str().unwrap_or_default().chars().take(DIFF_CHARS_MAX).collect());
        }
        for text in shown.iter().take(DIFF_LINES_MAX_EACH.min(left)) {
            line("", text.chars().take(DIFF_CHARS_MAX).collect());
        }
        left -= shown.len().min(DIFF_LINES_MAX_EACH).min(left);
        if shown.len() > DIFF_LINES_MAX_EACH || left == 0 {
            line("", "… (the rest is in the report: --out DIR)".to_owned());
        }
        if left == 0 {
            return;
        }
    }
}

fn detail_texts(detail: &Value) -> Vec<String> {
    let texts = |value: &Value| value.as_str().unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    detail.as_array().map_or_else(|| texts(detail), |all| all.iter().flat_map(texts).collect())
}

fn detail_lines(outcome: &Outcome, line: &mut impl FnMut(&str, String)) {
    match outcome {
        Outcome::Equivalent { passes, .. } => {
            for pass in passes {
                let risk = serde_json::to_value(pass.risk).unwrap_or_default();
                line(
                    "pass",
                    format!("{} v{} on {} members, risk {}", pass.name, pass.version, pass.members, risk.as_str().unwrap_or_default()),
                );
            }
        }
        Outcome::Different { differences, .. } => {
            for member in &differences.members {
                let class = serde_json::to_value((member.class, member.executable)).unwrap_or_default();
                line("differs", format!("{class} {}", member.member));
            }
            line("differs", format!("{} in all", differences.count));
        }
        Outcome::BuildFailed { summary, .. }
        | Outcome::SourceUnavailable { summary }
        | Outcome::ArtifactUnavailable { summary }
        | Outcome::SandboxViolation { summary, .. } => {
            for text in summary.lines() {
                line("", text.to_owned());
            }
        }
        Outcome::Identical { .. } | Outcome::NotAttempted { .. } => {}
    }
}

fn fetched_line(fetched: &Fetched) -> String {
    if *fetched == Fetched::default() {
        return "nothing".to_owned();
    }
    let Fetched { requests, unchanged, size_bytes, repositories, roots } = fetched;
    let mut words = vec![format!("{size_bytes} bytes in {requests} requests"), format!("{unchanged} of them for what had not changed")];
    let more = [(repositories, "repositories asked"), (roots, "roots made")];
    words.extend(more.iter().filter(|(count, _)| **count > 0).map(|(count, what)| format!("{count} {what}")));
    words.join(", ")
}

fn result_line(outcome: &Outcome) -> String {
    match outcome.level() {
        Some(Level::Byte) => "identical: the same bytes".to_owned(),
        Some(Level::Stream) => "equivalent: the same bytes once decompressed".to_owned(),
        Some(Level::Normal) => "equivalent: the same members, types, executable bits and contents".to_owned(),
        Some(Level::Manifest) => "equivalent: but for the order of generated metadata".to_owned(),
        Some(Level::Different) | None => outcome.class().to_owned(),
    }
}
