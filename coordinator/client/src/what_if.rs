//! `quorate what-if`: what would change without an operator, or under another policy.
//!
//! The evidence is gathered once and assessed twice. An operator that is left out stays in the denominator:
//! it is as if it had never said anything.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use quorate_proto::{ArtifactId, Digest, OperatorId};
use quorate_tally::{Policy, State};
use serde::Serialize;

use crate::answer::Answer;
use crate::assess::{Assessment, Subject, assess};
use crate::cli::{Format, WhatIf};
use crate::exit::Exit;
use crate::gather::{Session, progress};
use crate::render::{count, lines};
use crate::text::{Paint, Tone, json_line, plain};
use crate::trust::Trust;
use crate::view::{SCHEMA_VERSION, outcome};

/// The most artifacts of a coordinator that are looked at.
const ARTIFACTS_MAX: usize = 2_000;

/// Today's policy and the other one.
#[derive(Debug)]
pub(crate) struct Alternatives {
    today: Trust,
    then: Trust,
    without: Vec<OperatorId>,
}

/// The JSON answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WhatIfView<'a> {
    schema_version: u32,
    command: &'static str,
    exit: u8,
    policy: Digest,
    other_policy: Digest,
    without: &'a [OperatorId],
    looked_at: usize,
    changes: Vec<&'a Change>,
    notes: &'a [String],
}

/// An artifact, as it is and as it would be.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    artifact: ArtifactId,
    today: Standing,
    then: Standing,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Standing {
    state: State,
    outcome: &'static str,
    reason: String,
}

impl Alternatives {
    /// `given` is the policy that was named; `usual` the one that is used if none is.
    pub(crate) fn load(args: &WhatIf, given: Option<&Path>, usual: Option<&Path>) -> anyhow::Result<Self> {
        let mut then = Trust::load(given, usual)?;
        let today = match &args.base {
            Some(base) => Trust::load(Some(base), None)?,
            None if args.without.is_empty() => Trust::load(None, usual)?,
            None => then.clone(),
        };
        let find = |text: &String| operator(&then.policy, text);
        let without = args.without.iter().map(find).collect::<anyhow::Result<Vec<_>>>()?;
        if without.is_empty() && then.policy.digest() == today.policy.digest() {
            bail!("nothing would be otherwise: name --without OPERATOR, or another policy than today's with --policy FILE");
        }
        then.policy = without.iter().fold(then.policy, |policy, operator| policy.distrusting(*operator));
        Ok(Self { today, then, without })
    }

    /// Under which policy the evidence is asked for: one with a log needs the proofs.
    pub(crate) fn asking(&self) -> &Trust {
        if self.then.log.is_some() { &self.then } else { &self.today }
    }
}

fn operator(policy: &Policy, text: &str) -> anyhow::Result<OperatorId> {
    let key = text.parse::<OperatorId>().ok().filter(|key| policy.enrolled().contains(key));
    policy.named(text).or(key).with_context(|| format!("`{text}` is no operator of the policy, neither by name nor by key"))
}

/// Asks for everything, and assesses it both ways.
pub(crate) async fn run(session: &Session<'_>, args: &WhatIf, both: &Alternatives, format: Format, paint: Paint) -> anyhow::Result<Answer> {
    let mut notes = Vec::new();
    let artifacts = artifacts(session, args, &mut notes).await?;
    let bar = progress(artifacts.len());
    let mut all = Vec::new();
    for artifact in artifacts {
        let gathered = session.gather(&artifact).await?;
        let under = |trust| assess(trust, Subject::Artifact(artifact.clone()), &gathered, session.now);
        let (today, then) = (under(&both.today), under(&both.then));
        all.push((Standing::of(&today), Standing::of(&then), artifact));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let looked_at = all.len();
    let otherwise = all.into_iter().filter(|(today, then, _)| (today.state, today.outcome) != (then.state, then.outcome));
    let changes: Vec<_> = otherwise.map(|(today, then, artifact)| Change { artifact, today, then }).collect();
    let exit = match (looked_at, changes.len()) {
        (0, _) => Exit::NotEnoughEvidence,
        (_, 0) => Exit::Met,
        _ => Exit::Violated,
    };
    let stdout = match format {
        Format::Human => human(&changes, looked_at, paint),
        Format::Json => json_line(&WhatIfView {
            schema_version: SCHEMA_VERSION,
            command: "what-if",
            exit: exit.code(),
            policy: both.today.policy.digest(),
            other_policy: both.then.policy.digest(),
            without: &both.without,
            looked_at,
            changes: changes.iter().collect(),
            notes: &notes,
        }),
    };
    Ok(Answer { stdout, notes, exit })
}

/// Those that were named, else all that the coordinator has a verdict on, the newest first.
async fn artifacts(session: &Session<'_>, args: &WhatIf, notes: &mut Vec<String>) -> anyhow::Result<Vec<ArtifactId>> {
    let mut artifacts = Vec::new();
    for target in &args.targets {
        let found = session.find(target, None).await?;
        artifacts.extend(found.assessments.iter().filter_map(|assessment| assessment.subject.artifact().cloned()));
        notes.extend(found.notes);
    }
    let mut before = None;
    while args.targets.is_empty() {
        let page = session.server.verdicts(before).await?;
        artifacts.extend(page.verdicts);
        if artifacts.len() >= ARTIFACTS_MAX && page.next.is_some() {
            notes.push(format!("only the newest {ARTIFACTS_MAX} artifacts are looked at"));
            artifacts.truncate(ARTIFACTS_MAX);
            break;
        }
        // Pages that do not go on would never end.
        match page.next.filter(|next| before.is_none_or(|before| *next < before)) {
            Some(next) => before = Some(next),
            None => break,
        }
    }
    Ok(artifacts)
}

impl Standing {
    fn of(assessment: &Assessment) -> Self {
        Self { state: assessment.verdict.state, outcome: outcome(assessment.exit), reason: assessment.verdict.reason() }
    }
}

fn human(changes: &[Change], looked_at: usize, paint: Paint) -> String {
    let mut text = String::new();
    for Change { artifact, today, then } in changes {
        let tone = if then.outcome == outcome(Exit::Met) { Tone::Good } else { Tone::Bad };
        let head = format!("{} -> {}", today.state, then.state);
        let _ = writeln!(text, "{}  {} of {}", paint.tone(tone, &head), artifact.slot.file, artifact.slot.package);
        lines(&mut text, "today", &format!("{}: {}", today.outcome, plain(&today.reason)));
        lines(&mut text, "then", &format!("{}: {}", then.outcome, plain(&then.reason)));
    }
    let lost = changes.iter().filter(|change| change.today.outcome == outcome(Exit::Met) && change.then.outcome != outcome(Exit::Met));
    let won = changes.iter().filter(|change| change.today.outcome != outcome(Exit::Met) && change.then.outcome == outcome(Exit::Met));
    let _ = writeln!(
        text,
        "{} of {} would change: {} would no longer meet the policy, {} would newly meet it",
        changes.len(),
        count(looked_at, "artifact"),
        lost.count(),
        won.count(),
    );
    text
}
