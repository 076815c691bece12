//! `quorate policy doctor`: the smallest sets of operators that can fool a policy, and that can stall it.
//! Asks no server.

use std::fmt::Write as _;

use quorate_proto::Digest;
use quorate_tally::doctor::{Coalitions, Known};
use quorate_tally::{Diagnosis, Policy, examine};
use serde::Serialize;

use crate::answer::Answer;
use crate::cli::Format;
use crate::exit::Exit;
use crate::render::{count, line, lines};
use crate::text::{Paint, Tone, json_line, plain};
use crate::view::SCHEMA_VERSION;

/// How many sets are shown to people; the JSON has all that were found.
const SETS_SHOWN_MAX: usize = 6;

/// The JSON answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DoctorView<'a> {
    schema_version: u32,
    command: &'static str,
    exit: u8,
    policy: Digest,
    operators: usize,
    rules: &'a [Diagnosis],
}

/// Examines the policy. One operator that can fool it alone is a finding.
pub(crate) fn run(policy: &Policy, format: Format, paint: Paint) -> Answer {
    let rules = examine(policy);
    let weak = rules.iter().any(|diagnosis| diagnosis.fool.size == 1);
    let exit = if weak { Exit::Violated } else { Exit::Met };
    let stdout = match format {
        Format::Human => human(policy, &rules, paint),
        Format::Json => json_line(&DoctorView {
            schema_version: SCHEMA_VERSION,
            command: "policy doctor",
            exit: exit.code(),
            policy: policy.digest(),
            operators: policy.voters().len(),
            rules: &rules,
        }),
    };
    let notes = weak.then(|| "one operator alone can fool this policy: a higher `threshold` makes it take more".to_owned());
    Answer { stdout, notes: notes.into_iter().collect(), exit }
}

fn human(policy: &Policy, rules: &[Diagnosis], paint: Paint) -> String {
    let mut text = String::new();
    for diagnosis in rules {
        let packages = diagnosis.packages.as_deref().map_or_else(
            || if rules.len() == 1 { "every package" } else { "every other package" }.to_owned(),
            |pattern| format!("packages like {}", plain(pattern)),
        );
        let noun = if diagnosis.members == policy.voters().len() { "operators" } else { "members" };
        let verb = if diagnosis.threshold == 1 { "is" } else { "are" };
        let head = format!("{} of {} {noun} {verb} enough for {packages}", diagnosis.threshold, diagnosis.members);
        let _ = writeln!(text, "{}", paint.tone(Tone::Head, &head));
        let tone = if diagnosis.fool.size == 1 { Tone::Bad } else { Tone::Good };
        sets(&mut text, "can fool it", &diagnosis.fool, paint, tone);
        sets(&mut text, "can stall it", &diagnosis.stall, paint, Tone::Unsure);
        people(&mut text, "can excuse", &diagnosis.excuse, "what operators find different");
        people(&mut text, "can condemn", &diagnosis.condemn, "anything");
    }
    text
}

fn people(text: &mut String, label: &str, names: &[String], what: &str) {
    if !names.is_empty() {
        lines(text, label, &format!("{what}, each alone: {}", plain(&names.join(", "))));
    }
}

fn sets(text: &mut String, label: &str, found: &Coalitions, paint: Paint, tone: Tone) {
    let size = count(found.size, "operator");
    let size = match (found.known, found.size) {
        (Known::AtLeast, _) => format!("at least {size}: the search was cut there"),
        (Known::Nobody, _) => "nobody: with those who are revoked too few are left".to_owned(),
        (_, 0) => "nobody needs to: with those who are revoked nobody is a quorum".to_owned(),
        _ => size,
    };
    line(text, label, &paint.tone(tone, &size));
    for set in found.sets.iter().filter(|set| !set.0.is_empty()).take(SETS_SHOWN_MAX) {
        lines(text, "", &plain(&set.to_string()));
    }
    if found.sets.len() > SETS_SHOWN_MAX || found.known == Known::Some {
        line(text, "", &paint.tone(Tone::Faint, "and others"));
    }
}
