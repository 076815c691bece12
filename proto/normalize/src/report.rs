//! A comparison as lines for a terminal. Names and texts come out of hostile archives, so control
//! characters never reach the terminal.

use quorate_proto::comparison::{Anomaly, DifferenceClass, Executable, Level, Risk, Side};

use crate::compare::{Comparison, Detail, HeaderReplay, MemberDifference, ReplayOutcome};
use crate::names;

/// How much is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportLimits {
    /// Differences listed; the rest are counted.
    pub differences_max: usize,
    /// Anomalies listed; the rest are counted.
    pub anomalies_max: usize,
    /// Lines of each diff.
    pub diff_lines_max: usize,
    /// Characters of each line of a diff.
    pub line_chars_max: usize,
}

impl Default for ReportLimits {
    fn default() -> Self {
        Self { differences_max: 50, anomalies_max: 20, diff_lines_max: 12, line_chars_max: 160 }
    }
}

/// The lines of a report, without colours and without line ends.
pub fn lines(comparison: &Comparison, limits: &ReportLimits) -> Vec<String> {
    let mut lines = vec![format!("level      {}", level_text(comparison.level))];
    for (name, side) in [("published", &comparison.published), ("rebuilt  ", &comparison.rebuilt)] {
        let normal = side.normal.map_or("no normal form".to_owned(), |normal| normal.to_string());
        lines.push(format!("{name}  {} bytes  {}  {normal}", side.size_bytes, side.digest));
    }
    for pass in &comparison.passes {
        let risk = risk_text(pass.risk);
        lines.push(format!("pass       {} v{}  {} members  risk {risk}", pass.name, pass.version, pass.members));
    }
    lines.extend(comparison.header_replay.as_ref().map(replay_line));
    push_some(&mut lines, &comparison.anomalies, limits.anomalies_max, "anomalies", |anomaly| vec![anomaly_line(anomaly)]);
    push_some(&mut lines, &comparison.differences, limits.differences_max, "differences", |difference| {
        difference_lines(difference, limits)
    });
    lines
}

/// Whether nothing but headers and compression differs.
fn replay_line(replay: &HeaderReplay) -> String {
    let outcome = match replay.outcome {
        ReplayOutcome::Proven => "proven",
        ReplayOutcome::Failed => "FAILED",
    };
    let kept = match replay.kept_members {
        0 => String::new(),
        kept => format!(" but for {kept} generated or nested files"),
    };
    format!("header replay: {outcome}{kept}  {}", replay.published)
}

fn push_some<T>(lines: &mut Vec<String>, items: &[T], items_max: usize, what: &str, text: impl Fn(&T) -> Vec<String>) {
    lines.extend(items.iter().take(items_max).flat_map(text));
    if items.len() > items_max {
        lines.push(format!("           {} more {what}", items.len() - items_max));
    }
}

fn level_text(level: Level) -> &'static str {
    match level {
        Level::Byte => "byte: the same bytes",
        Level::Stream => "stream: the same bytes once decompressed",
        Level::Normal => "normal: the same members, types, links, executable bits and contents",
        Level::Manifest => "manifest: normal, but for generated files and nested archives that say the same",
        Level::Different => "different",
    }
}

fn risk_text(risk: Risk) -> &'static str {
    match risk {
        Risk::None => "none",
        Risk::Low => "low",
        Risk::Medium => "medium",
    }
}

fn anomaly_line(anomaly: &Anomaly) -> String {
    let side = match anomaly.side {
        Side::Published => "published",
        Side::Rebuilt => "rebuilt",
    };
    let member = anomaly.member.as_deref().map(|member| format!(" `{}`", printable(member))).unwrap_or_default();
    let kind = serde_json::to_value(anomaly.kind).ok();
    let kind = kind.as_ref().and_then(serde_json::Value::as_str).unwrap_or("anomaly");
    format!("anomaly    {side} {kind}{member}: {}", printable(&anomaly.detail))
}

fn difference_lines(difference: &MemberDifference, limits: &ReportLimits) -> Vec<String> {
    let class = match difference.difference.class {
        DifferenceClass::OnlyPublished => "only published",
        DifferenceClass::OnlyRebuilt => "only rebuilt",
        DifferenceClass::Content => "content",
        DifferenceClass::Metadata => "metadata",
        DifferenceClass::Opaque => "opaque",
        DifferenceClass::Anomaly => "anomaly",
    };
    let kind = match difference.difference.executable {
        Executable::Code => "code",
        Executable::Data => "data",
    };
    let member = printable(&difference.difference.member);
    let mut lines = vec![format!("{class:<14} {kind}  {member}")];
    match &difference.detail {
        None => {}
        Some(Detail::Diff(text)) => lines.extend(diff_lines(text, limits)),
        Some(Detail::Metadata(changes)) => lines.extend(changes.iter().map(|change| format!("    {}", printable(change)))),
        Some(Detail::Anomaly(text)) => lines.push(format!("    {}", printable(text))),
    }
    lines
}

fn diff_lines(text: &str, limits: &ReportLimits) -> Vec<String> {
    let all = text.lines().skip_while(|line| line.starts_with("---") || line.starts_with("+++"));
    let count = all.clone().count();
    let short = |line: &str| printable(&line.chars().take(limits.line_chars_max).collect::<String>());
    let mut lines: Vec<String> = all.take(limits.diff_lines_max).map(|line| format!("    {}", short(line))).collect();
    if count > limits.diff_lines_max {
        lines.push(format!("    {} more lines", count - limits.diff_lines_max));
    }
    lines
}

/// Without what moves a cursor, changes a colour or turns the direction of text.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => shown.push(character),
            _ if names::is_hidden(character) => shown.extend(character.escape_default()),
            _ => shown.push(character),
        }
    }
    shown
}
