//! What a pass says.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use quorate_proto::{ArtifactId, ArtifactSlot, Digest, NodeId, OperatorId, Timestamp};
use quorate_tally::{Mark, MarkKind, Policy};
use quorate_tlog::Checkpoint;
use serde::Serialize;

use super::audit::{Audit, AuditError, Shown};
use super::own::Looked;
use crate::exit::Exit;
use crate::text::plain;
use crate::view::SCHEMA_VERSION;

/// Marks that are written out; all are counted.
const MARKS_LISTED_MAX: usize = 1_000;

/// Of these, so many for people.
const MARKS_SHOWN: usize = 20;

/// Verdicts that are yet to come and are written out; all are counted.
const DUE_LISTED_MAX: usize = 20;

/// One pass; its JSON is `docs/spec/cli.md`'s.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PassView {
    schema_version: u32,
    command: &'static str,
    exit: u8,
    origin: String,
    pub(super) size: u64,
    root: String,
    results: u64,
    verdicts: u64,
    other_engines: u64,
    unknown_engines: u64,
    due_count: usize,
    due: Vec<ArtifactId>,
    pub(super) views: Vec<ViewOf>,
    own: Vec<Looked>,
    followers: Vec<FollowerOf>,
    hidden_drills: usize,
    drills: Vec<DrillOf>,
    mark_count: usize,
    marks: Vec<MarkOf>,
    findings: Vec<Finding>,
}

/// An operator that may have copied everything.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FollowerOf {
    operator: OperatorId,
    name: String,
    tasks: usize,
}

/// A drill that was opened.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DrillOf {
    #[serde(flatten)]
    artifact: ArtifactId,
    reason: String,
    announced: Option<u64>,
    opened: u64,
    /// Why it shows nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    void: Option<String>,
}

/// A mark that the log shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MarkOf {
    operator: OperatorId,
    name: String,
    node: NodeId,
    kind: MarkKind,
    #[serde(flatten)]
    slot: ArtifactSlot,
    shown_by: Vec<Digest>,
}

/// How a checkpoint that somebody was shown stands to the log's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ViewOf {
    pub(super) from: String,
    pub(super) size: Option<u64>,
    pub(super) standing: Standing,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
}

/// See [`ViewOf`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Standing {
    /// A beginning of the log.
    Consistent,
    /// Larger than what the coordinator serves: nothing can be said yet.
    Ahead,
    /// Of another history.
    Contradicts,
    /// Not signed by this log.
    NotOfThisLog,
    /// Could not be had, or not be compared.
    Unreadable,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    entry: Option<u64>,
    says: String,
}

impl PassView {
    pub(super) fn new(checkpoint: &Checkpoint) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            command: "monitor",
            exit: Exit::Met.code(),
            origin: checkpoint.origin().as_str().to_owned(),
            size: checkpoint.size(),
            root: checkpoint.root().to_string(),
            results: 0,
            verdicts: 0,
            other_engines: 0,
            unknown_engines: 0,
            due_count: 0,
            due: Vec::new(),
            views: Vec::new(),
            own: Vec::new(),
            followers: Vec::new(),
            hidden_drills: 0,
            drills: Vec::new(),
            mark_count: 0,
            marks: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// Something does not hold.
    pub(super) fn find(&mut self, entry: Option<u64>, says: String) {
        self.findings.push(Finding { entry, says });
        self.exit = Exit::Violated.code();
    }

    pub(super) fn count(&mut self, audit: &Audit) {
        self.results = audit.counts.results;
        self.verdicts = audit.counts.verdicts;
        self.other_engines = audit.counts.other_engines;
        self.unknown_engines = audit.counts.unknown_engines;
        for (entry, says) in &audit.findings {
            self.find(Some(*entry), says.clone());
        }
    }

    /// Who broke promises or agreed with drills. That is the log's content and no fault of it.
    pub(super) fn name(&mut self, audit: &mut Audit, names: &Policy, now: Timestamp) -> Result<(), AuditError> {
        let follower = |(operator, tasks): (OperatorId, usize)| FollowerOf { operator, name: names.name_of(&operator), tasks };
        self.followers = audit.followers().into_iter().map(follower).collect();
        self.hidden_drills = audit.hidden_drills();
        let drill = |(opened, shows): Shown<'_>| DrillOf {
            artifact: opened.artifact.clone(),
            reason: opened.reason.clone(),
            announced: opened.announcement.map(|place| place.leaf),
            opened: opened.opening.leaf,
            void: shows.err().map(|void| void.to_string()),
        };
        self.drills = audit.drills()?.into_iter().map(drill).collect();
        let marks = audit.marks(now)?;
        self.mark_count = marks.len();
        let mark = |(slot, mark): (ArtifactSlot, Mark)| MarkOf {
            operator: mark.operator,
            name: names.name_of(&mark.operator),
            node: mark.node,
            kind: mark.kind,
            slot,
            shown_by: mark.shown_by,
        };
        self.marks = marks.into_iter().take(MARKS_LISTED_MAX).map(mark).collect();
        Ok(())
    }

    /// Verdicts that are yet to come.
    pub(super) fn miss(&mut self, due: BTreeSet<ArtifactId>) {
        self.due_count = due.len();
        self.due = due.into_iter().take(DUE_LISTED_MAX).collect();
        self.exit = self.exit().code();
    }

    /// What one's own feed and the log say of each other. What only lacks may be on its way.
    pub(super) fn look_for(&mut self, looked: Looked) {
        for says in &looked.contradictions {
            self.find(None, says.clone());
        }
        self.own.push(looked);
        self.exit = self.exit().code();
    }

    pub(super) fn exit(&self) -> Exit {
        let all_made = self.unknown_engines == 0 && (self.verdicts == 0 || self.verdicts > self.other_engines);
        let all_there = self.due_count == 0 && self.own.iter().all(|looked| looked.missing_count == 0);
        match (self.findings.is_empty(), all_made && all_there) {
            (false, _) => Exit::Violated,
            (true, false) => Exit::NotEnoughEvidence,
            (true, true) => Exit::Met,
        }
    }

    pub(super) fn human(&self) -> String {
        let outcome = if self.findings.is_empty() { "holds" } else { "DOES NOT HOLD" };
        let made = self.verdicts - self.other_engines;
        let mut text = format!(
            "{outcome}  {} at size {}: {} results, {made} of {} verdicts made again\n",
            plain(&self.origin),
            self.size,
            self.results,
            self.verdicts
        );
        for finding in &self.findings {
            let at = finding.entry.map_or(String::new(), |entry| format!("entry {entry}: "));
            let _ = writeln!(text, "  {at}{}", plain(&finding.says));
        }
        if self.unknown_engines > 0 {
            let _ = writeln!(text, "  {} verdicts are by rules that this program does not know: a newer one may", self.unknown_engines);
        }
        for artifact in &self.due {
            let (file, package) = (plain(artifact.slot.file.as_str()), plain(&artifact.slot.package.to_string()));
            let _ = writeln!(text, "  DUE a verdict on {file} of {package}, {}: what the log says of it now is in none", artifact.digest);
        }
        if self.due_count > self.due.len() {
            let _ = writeln!(text, "  and {} verdicts more", self.due_count - self.due.len());
        }
        for looked in &self.own {
            let _ = writeln!(text, "  {}", looked.words());
        }
        for drill in &self.drills {
            drill.write(&mut text);
        }
        for FollowerOf { name, tasks, .. } in &self.followers {
            let _ = writeln!(text, "  FOLLOWER {}: none of its votes on {tasks} tasks was ever blind or witnessed", plain(name));
        }
        for mark in self.marks.iter().take(MARKS_SHOWN) {
            mark.write(&mut text);
        }
        if self.mark_count > MARKS_SHOWN {
            let _ = writeln!(text, "  and {} marks more", self.mark_count - MARKS_SHOWN);
        }
        for view in &self.views {
            let size = view.size.map_or(String::new(), |size| format!(" (size {size})"));
            let why = view.why.as_ref().map_or(String::new(), |why| format!(": {}", plain(why)));
            let _ = writeln!(text, "  {}{size} {}{why}", plain(&view.from), view.standing.words());
        }
        text
    }
}

impl DrillOf {
    fn write(&self, text: &mut String) {
        let (file, package) = (plain(self.artifact.slot.file.as_str()), plain(&self.artifact.slot.package.to_string()));
        let state = self.void.as_ref().map_or_else(
            || format!("{} known to be wrong: {}", self.artifact.digest, plain(&self.reason)),
            |void| format!("void: {}", plain(void)),
        );
        let _ = writeln!(text, "  drill {file} of {package}, opened as entry {}; {state}", self.opened);
    }
}

impl MarkOf {
    fn write(&self, text: &mut String) {
        let (file, package) = (plain(self.slot.file.as_str()), plain(&self.slot.package.to_string()));
        let shown_by = self.shown_by.last().map_or(String::new(), |digest| format!(", shown by {digest}"));
        let _ = writeln!(text, "  MARK {} of {}: {file} of {package}{shown_by}", self.kind, plain(&self.name));
    }
}

impl Standing {
    const fn words(self) -> &'static str {
        match self {
            Self::Consistent => "is a beginning of it",
            Self::Ahead => "is ahead of it; nothing can be said yet",
            Self::Contradicts => "CONTRADICTS it",
            Self::NotOfThisLog => "is not signed by this log",
            Self::Unreadable => "could not be compared",
        }
    }
}
