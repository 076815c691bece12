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
use crate::render::{count, line};
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
        let noun = if diagnosis.members == policy.voters().len() { "operators" } else { "groups" };
        let head = format!("{} of {} {noun} are enough for {packages}", diagnosis.threshold, diagnosis.members);
        let _ = writeln!(text, "{}", paint.tone(Tone::Head, &head));
        let tone = if diagnosis.fool.size == 1 { Tone::Bad } else { Tone::Good };
        sets(&mut text, "can fool it", &diagnosis.fool, paint, tone);
        sets(&mut text, "can stall it", &diagnosis.stall, paint, Tone::Unsure);
    }
    text
}

fn sets(text: &mut String, label: &str, found: &Coalitions, paint: Paint, tone: Tone) {
    let size = count(found.size, "operator");
    let size = if found.known == Known::AtLeast { format!("at least {size}: the search was cut there") } else { size };
    line(text, label, &paint.tone(tone, &size));
    for set in found.sets.iter().take(SETS_SHOWN_MAX) {
        line(text, "", &plain(&set.to_string()));
    }
    if found.sets.len() > SETS_SHOWN_MAX || found.known == Known::Some {
        line(text, "", &paint.tone(Tone::Faint, "and others"));
    }
}
