//! Verdicts for people: one line with the numbers, and below it only what changes its meaning.

use std::fmt::Write as _;

use quorate_tally::{Ballot, Consequence, Flag, Grade, State, Verdict};

use crate::assess::Assessment;
use crate::claim::{LogCheck, Opinion, Standing};
use crate::exit::Exit;
use crate::text::{Paint, Tone, plain, short};
use crate::trusted_log::Witnessed;

/// Width of the first column of what stands below a verdict.
const LABEL_WIDTH: usize = 13;

/// Width of what is broken into lines.
const LINE_WIDTH: usize = 100;

/// A verdict: the line with the numbers, what it is about, and every reservation.
pub(crate) fn verdict(assessment: &Assessment, paint: Paint) -> String {
    let verdict = &assessment.verdict;
    let state = paint.tone(state_tone(verdict.state, assessment.exit), verdict.state.name());
    let mut text = format!("{state}  {}{}\n", plain(&verdict.reason()), log_suffix(&assessment.log));
    line(&mut text, "artifact", &about(assessment));
    if let Some(severity) = verdict.severity {
        line(&mut text, "severity", &paint.tone(Tone::Bad, severity.name()));
    }
    for group in &verdict.groups {
        let (k, members) = (group.k, count(group.members, "member"));
        let numbers = format!("{} agree, {} differ, {} could not build", group.agree, group.differ, group.failed);
        line(&mut text, "group", &format!("{}: {numbers}, {k} of {members} speak for it", plain(&group.name)));
    }
    for spread in verdict.distinct.iter().filter(|spread| spread.agree < spread.needed && verdict.agree >= verdict.threshold) {
        line(&mut text, "distinct", &format!("those who agree differ in {}: {} of {}", spread.over, spread.agree, spread.needed));
    }
    if let Some(grades) = grades(verdict) {
        line(&mut text, "grades", &grades);
    }
    for flag in &verdict.flags {
        line(&mut text, "flag", &paint.tone(Tone::Bad, flag.name()));
    }
    for vote in verdict.dissent() {
        line(&mut text, "dissent", &paint.tone(Tone::Unsure, &format!("{}: {}", plain(&vote.name), ballot(&vote.ballot))));
    }
    if assessment.subject.artifact().is_some() {
        for reservation in reservations(assessment) {
            line(&mut text, "but", &paint.tone(Tone::Bad, &reservation));
        }
        if let Some(opinion) = opinion(&assessment.opinion, verdict.state) {
            line(&mut text, "coordinator", &opinion);
        }
        if let Some(history) = history(assessment) {
            line(&mut text, "history", &paint.tone(Tone::Bad, &history));
        }
        if says_drill(&assessment.opinion) {
            line(&mut text, "drill", "says the coordinator: the file was announced to be wrong before anybody had voted");
        }
    }
    if let Some(refused) = refused(assessment) {
        line(&mut text, "refused", &refused);
    }
    text
}

/// How sure it is that votes are their operators' own; nothing where everybody may have copied.
fn grades(verdict: &Verdict) -> Option<String> {
    let of = |grade: Grade| {
        let names: Vec<_> = verdict.votes.iter().filter(|vote| vote.grade == Some(grade)).map(|vote| plain(&vote.name)).collect();
        (!names.is_empty()).then(|| format!("{grade}: {}", names.join(", ")))
    };
    let all: Vec<_> = Grade::ALL.into_iter().rev().filter_map(of).collect();
    let better = verdict.votes.iter().any(|vote| vote.grade > Some(Grade::Follower));
    better.then(|| all.join("; "))
}

/// One line below a verdict.
pub(crate) fn line(text: &mut String, label: &str, content: &str) {
    let _ = writeln!(text, "  {label:<LABEL_WIDTH$}{content}");
}

/// The same, of a sentence that may be longer than a line.
pub(crate) fn lines(text: &mut String, label: &str, content: &str) {
    let (mut label, mut begun) = (label, String::new());
    for word in content.split(' ') {
        if !begun.is_empty() && begun.chars().count() + 1 + word.chars().count() > LINE_WIDTH - LABEL_WIDTH - 2 {
            line(text, std::mem::take(&mut label), &begun);
            begun.clear();
        } else if !begun.is_empty() {
            begun.push(' ');
        }
        begun.push_str(word);
    }
    line(text, label, &begun);
}

/// What an operator says, in words.
pub(crate) fn ballot(ballot: &Ballot) -> String {
    match ballot {
        Ballot::Identical => "identical".to_owned(),
        Ballot::Equivalent { level } => format!("equivalent ({})", word(level)),
        Ballot::Different { rebuilt } => format!("different, got {}", short(rebuilt)),
        Ballot::NotBuilt { class } => format!("not built ({})", plain(class)),
        Ballot::NotCounted { reason } => format!("not counted: {}", plain(reason)),
        Ballot::Pending { reason } => format!("waits: {}", plain(reason)),
        Ballot::Split => "its nodes contradict each other".to_owned(),
        Ballot::Equivocated => "has signed two histories".to_owned(),
        Ballot::Absent => "no result".to_owned(),
    }
}

/// The colour of an operator's line.
pub(crate) const fn ballot_tone(ballot: &Ballot) -> Tone {
    match ballot {
        Ballot::Identical | Ballot::Equivalent { .. } => Tone::Good,
        Ballot::Different { .. } | Ballot::Split | Ballot::Equivocated => Tone::Bad,
        Ballot::NotBuilt { .. } | Ballot::NotCounted { .. } | Ballot::Pending { .. } => Tone::Unsure,
        Ballot::Absent => Tone::Faint,
    }
}

/// A value of a closed list, as the JSON writes it.
pub(crate) fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => plain(&word),
        _ => String::new(),
    }
}

/// The colour of a line of a unified diff.
pub(crate) fn diff_tone(line: &str) -> Tone {
    match line.as_bytes().first() {
        Some(b'+') => Tone::Good,
        Some(b'-') => Tone::Bad,
        _ => Tone::Faint,
    }
}

/// A count with its noun.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

const fn state_tone(state: State, exit: Exit) -> Tone {
    match (state, exit) {
        (State::Reproduced | State::Equivalent, Exit::Met) => Tone::Good,
        (State::Explained, Exit::Met) | (State::Pending | State::Inconclusive | State::Unbuildable, _) => Tone::Unsure,
        _ => Tone::Bad,
    }
}

fn about(assessment: &Assessment) -> String {
    let digest = assessment.subject.digest();
    match assessment.subject.artifact() {
        Some(artifact) => format!("{} of {}, {digest}", artifact.slot.file, artifact.slot.package),
        None => format!("{digest}, known to nobody here"),
    }
}

fn log_suffix(log: &LogCheck) -> String {
    match log {
        LogCheck::Proven { index, witnessed: Witnessed::By(names), .. } if !names.is_empty() => {
            format!(", log index {index}, cosigned by {}", plain(&names.join(", ")))
        }
        LogCheck::Proven { index, .. } => format!(", log index {index}"),
        LogCheck::NotAsked { claimed: Some(index) } => format!(", log index {index} (unchecked: the policy names no log)"),
        LogCheck::NotAsked { claimed: None } | LogCheck::Missing | LogCheck::Invalid { .. } => String::new(),
    }
}

/// What may keep the policy from being met although the state would meet it.
fn reservations(assessment: &Assessment) -> Vec<String> {
    let mut reservations = Vec::new();
    if assessment.consequence == Consequence::Warn {
        reservations.push(format!("the policy lets `{}` pass with a warning", assessment.verdict.state));
    }
    match &assessment.log {
        LogCheck::Missing => reservations.push("the policy asks for a proof of logging, and there is none".to_owned()),
        LogCheck::Invalid { reason } => reservations.push(format!("the proof of logging does not hold: {}", plain(reason))),
        LogCheck::Proven { witnessed: Witnessed::TooFew { have, lacking }, .. } => reservations.push(too_few(have, lacking)),
        LogCheck::Proven { .. } | LogCheck::NotAsked { .. } => {}
    }
    if let Some(logged) = assessment.logged.filter(|logged| *logged != assessment.verdict.state) {
        reservations.push(format!("the results that the logged verdict names give `{logged}`: the others are not proven to be logged"));
    }
    reservations
}

fn too_few(have: &[String], lacking: &[String]) -> String {
    let have = if have.is_empty() { "nobody".to_owned() } else { plain(&have.join(", ")) };
    format!("too few witnesses have cosigned the checkpoint: it is cosigned by {have}, not by {}", plain(&lacking.join(", ")))
}

/// Nothing when the coordinator says what was recomputed.
fn opinion(opinion: &Opinion, ours: State) -> Option<String> {
    let (state, policy, standing) = match opinion {
        Opinion::Silent => return Some("has no verdict".to_owned()),
        Opinion::Unusable { reason } => return Some(format!("its verdict cannot be used: {}", plain(reason))),
        Opinion::Says { state, policy, standing, .. } => (state, policy, standing),
    };
    match standing {
        Standing::Follows | Standing::OtherPolicy if *state == ours => None,
        Standing::Follows => Some(format!("says `{state}` under its own policy")),
        Standing::Older { newer } => Some(format!("says `{state}`, without {}", count(*newer, "newer result"))),
        Standing::OtherPolicy => Some(format!("says `{state}` under a policy that is not at hand ({})", short(&policy.to_string()))),
        Standing::Withheld { count } => {
            Some(format!("DISAGREES: says `{state}`, resting on {} not handed over", self::count(*count, "result")))
        }
        Standing::Contradicts { recomputed } => {
            Some(format!("DISAGREES: says `{state}`, but the results that it names give `{recomputed}`"))
        }
    }
}

/// Only who reads the whole log can tell; it changes no answer. What it raises is the severity that is found here.
fn history(assessment: &Assessment) -> Option<String> {
    let Opinion::Says { history: Some(history), .. } = &assessment.opinion else { return None };
    let raised = assessment.verdict.severity.filter(|severity| history.raise(*severity) > *severity);
    let alarm = raised.map_or(String::new(), |severity| format!(": {severity} is {} here", history.raise(severity)));
    Some(format!("says the coordinator: {history}{alarm}"))
}

/// Only who reads the whole log can tell; it changes no answer.
fn says_drill(opinion: &Opinion) -> bool {
    matches!(opinion, Opinion::Says { flags, .. } if flags.contains(&Flag::Drill))
}

fn refused(assessment: &Assessment) -> Option<String> {
    let counts: Vec<_> = assessment.evidence.refused().iter().map(|(name, count)| format!("{count} {name}")).collect();
    let other = assessment.evidence.statements().len() - assessment.evidence.in_slot_count(&assessment.verdict.artifact);
    let other = (other > 0).then(|| format!("{other} about something else"));
    let all: Vec<_> = counts.into_iter().chain(other).collect();
    (!all.is_empty()).then(|| all.join(", "))
}
