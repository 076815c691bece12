//! `quorate affected`: which artifacts were built with this, from this, by them, or then?
//!
//! The coordinator's index only says where to look. Every row is checked again: the result's
//! signature, the provenance's signature by the same node, and that each criterion holds in them.
//! So every row printed is sound; that no row is missing is only as good as the index.

pub(crate) mod criteria;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::Context as _;
use quorate_proto::dsse::Envelope;
use quorate_proto::provenance::{BLOB_BYTES_MAX, Provenance};
use quorate_proto::statement::Statement;
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{ArtifactId, Digest, NodeId, OperatorId, Timestamp};
use quorate_tally::{Policy, State};
use serde::Serialize;
use serde_json::Value;

use self::criteria::{Criteria, Match, Record};
use crate::answer::Answer;
use crate::assess::Assessment;
use crate::cli::{Affected, Format};
use crate::exit::Exit;
use crate::gather::{Session, progress};
use crate::render::{count, line};
use crate::server::AffectedRow;
use crate::text::{Paint, Tone, json_line, plain};
use crate::view::SCHEMA_VERSION;

/// How many rows are asked for.
const ROWS_MAX: usize = 1000;

/// A row that was checked, and holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
struct SoundRow {
    artifact: ArtifactId,
    state: State,
    operator: OperatorId,
    name: String,
    node: NodeId,
    finished_at: Timestamp,
    result: Digest,
    class: &'static str,
    provenance: Option<Digest>,
    matches: BTreeSet<Match>,
}

/// A line of JSON: a row, or the summary at the end.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
enum LineView<'a> {
    Affected {
        schema_version: u32,
        #[serde(flatten)]
        row: &'a SoundRow,
    },
    Summary {
        schema_version: u32,
        exit: u8,
        policy: Digest,
        artifacts: usize,
        rows: usize,
        refused: &'a BTreeMap<String, usize>,
        unchecked: usize,
        truncated: bool,
    },
}

/// What is known after all rows were checked.
#[derive(Debug, Default)]
struct Checked {
    sound: BTreeSet<SoundRow>,
    refused: BTreeMap<String, usize>,
    unchecked: usize,
    truncated: bool,
}

/// Why a row does not count.
enum RowFault {
    /// It does not hold.
    Refused(String),
    /// The evidence is not to be had, so nobody can say.
    Unchecked,
}

/// Asks the index, checks every row.
pub(crate) async fn run(session: &Session<'_>, args: &Affected, format: Format, paint: Paint) -> anyhow::Result<Answer> {
    let criteria = criteria_of(args, &session.trust.policy)?;
    let mut query = criteria.to_query();
    query.push(("limit", ROWS_MAX.to_string()));
    let answer = session.server.affected(&query).await?;
    let mut checked = Checked { truncated: answer.truncated, ..Checked::default() };
    let bar = progress(answer.affected.len());
    let mut assessments: BTreeMap<ArtifactId, Option<Assessment>> = BTreeMap::new();
    for row in answer.affected.iter().take(ROWS_MAX) {
        if !assessments.contains_key(&row.artifact) {
            // One artifact whose evidence cannot be had must not hide the others.
            let assessment = session.assess(row.artifact.clone()).await.ok();
            assessments.insert(row.artifact.clone(), assessment);
        }
        checked.take(match assessments.get(&row.artifact).and_then(Option::as_ref) {
            Some(assessment) => check_row(session, &criteria, row, assessment).await,
            None => Err(RowFault::Unchecked),
        });
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(checked.answer(&session.trust.policy, format, paint))
}

fn criteria_of(args: &Affected, policy: &Policy) -> anyhow::Result<Criteria> {
    let operator = args.operator.as_deref().map(|text| operator_of(text, policy)).transpose()?;
    Ok(Criteria {
        digest: args.digest,
        purl: args.purl.clone(),
        commit: args.commit.clone(),
        tool: args.tool.clone(),
        operator,
        node: args.node,
        since: args.since,
        until: args.until,
    })
}

fn operator_of(text: &str, policy: &Policy) -> anyhow::Result<OperatorId> {
    let named = policy.enrolled().iter().find(|operator| policy.name_of(operator) == text).copied();
    named.or_else(|| text.parse().ok()).with_context(|| format!("`{text}` is neither a key nor the name of an operator in the policy"))
}

/// Checks one row. The result comes from the results of its artifact, which passed the door.
async fn check_row(session: &Session<'_>, criteria: &Criteria, row: &AffectedRow, assessment: &Assessment) -> Result<SoundRow, RowFault> {
    let evidence = &assessment.evidence;
    let Some(statement) = evidence.statement(&row.result).filter(|statement| *statement.artifact() == row.artifact) else {
        let given = evidence.was_given(&row.result);
        return Err(if given { RowFault::Refused("result does not count".to_owned()) } else { RowFault::Unchecked });
    };
    let sound = |matches| SoundRow::of(session, assessment, statement, matches);
    if let Ok(matches) = criteria.check(Record { statement, provenance: None, inventory: None }) {
        return Ok(sound(matches));
    }
    let provenance = fetch_provenance(session, statement).await?;
    let inventory = if criteria.asks_for_inventory() { fetch_inventory(session, statement).await } else { None };
    let lacks_inventory = criteria.asks_for_inventory() && inventory.is_none();
    let record = Record { statement, provenance: provenance.as_ref(), inventory: inventory.as_ref() };
    criteria.check(record).map(sound).map_err(|criterion| match criterion {
        "tool" if lacks_inventory => RowFault::Unchecked,
        criterion => RowFault::Refused(format!("{criterion} does not hold")),
    })
}

/// The provenance that a result names, if it names one.
async fn fetch_provenance(session: &Session<'_>, statement: &VerifiedStatement) -> Result<Option<Provenance>, RowFault> {
    let Some(digest) = statement.result().provenance else { return Ok(None) };
    let bytes = session.server.blob(&digest).await.ok().flatten().ok_or(RowFault::Unchecked)?;
    read_provenance(&bytes, statement).map(Some).map_err(RowFault::Refused)
}

/// The door for provenance: signed by the node that signed the result, about the file that it
/// rebuilt.
fn read_provenance(bytes: &[u8], statement: &VerifiedStatement) -> Result<Provenance, String> {
    let bad = |what: &str| format!("provenance: {what}");
    let envelope = Envelope::parse(bytes, BLOB_BYTES_MAX).map_err(|_| bad("malformed envelope"))?;
    envelope.verify(&statement.node()).map_err(|_| bad("not signed by the node"))?;
    let provenance = Statement::<Provenance>::parse(envelope.payload()).map_err(|_| bad("malformed statement"))?;
    let about = |digest: Digest| provenance.subject.iter().any(|subject| subject.digest.sha256 == digest);
    match statement.result().outcome.rebuilt() {
        Some(rebuilt) if !about(rebuilt.digest) => Err(bad("about another file")),
        _ => Ok(provenance.predicate),
    }
}

/// The inventory of the environment, which the result names by digest.
async fn fetch_inventory(session: &Session<'_>, statement: &VerifiedStatement) -> Option<Value> {
    let bytes = session.server.blob(&statement.result().environment.digest).await.ok().flatten()?;
    serde_json::from_slice(&bytes).ok()
}

impl SoundRow {
    fn of(session: &Session<'_>, assessment: &Assessment, statement: &VerifiedStatement, matches: BTreeSet<Match>) -> Self {
        let result = statement.result();
        Self {
            artifact: statement.artifact().clone(),
            state: assessment.verdict.state,
            operator: statement.operator(),
            name: session.trust.policy.name_of(&statement.operator()),
            node: statement.node(),
            finished_at: result.finished_at,
            result: statement.digest(),
            class: result.outcome.class(),
            provenance: result.provenance,
            matches,
        }
    }
}

impl Checked {
    fn take(&mut self, row: Result<SoundRow, RowFault>) {
        match row {
            Ok(row) => {
                self.sound.insert(row);
            }
            Err(RowFault::Refused(reason)) => *self.refused.entry(reason).or_default() += 1,
            Err(RowFault::Unchecked) => self.unchecked += 1,
        }
    }

    /// "None affected" may only be said when every row could be checked and none was cut off.
    fn exit(&self) -> Exit {
        if !self.sound.is_empty() {
            Exit::Violated
        } else if self.unchecked > 0 || self.truncated {
            Exit::Failed
        } else {
            Exit::Met
        }
    }

    fn artifacts(&self) -> BTreeMap<&ArtifactId, Vec<&SoundRow>> {
        let mut artifacts: BTreeMap<&ArtifactId, Vec<&SoundRow>> = BTreeMap::new();
        for row in &self.sound {
            artifacts.entry(&row.artifact).or_default().push(row);
        }
        artifacts
    }

    fn notes(&self) -> Vec<String> {
        let refused = self.refused.iter().map(|(reason, rows)| format!("{} of the coordinator refused: {reason}", count(*rows, "row")));
        let unchecked =
            (self.unchecked > 0).then(|| format!("{} could not be checked: the evidence is not to be had", count(self.unchecked, "row")));
        let truncated = self.truncated.then(|| "the coordinator has more rows than it gave: narrow the question".to_owned());
        refused.chain(unchecked).chain(truncated).collect()
    }

    fn answer(&self, policy: &Policy, format: Format, paint: Paint) -> Answer {
        let stdout = match format {
            Format::Human => self.human(paint),
            Format::Json => self.json(policy),
        };
        Answer { stdout, notes: self.notes(), exit: self.exit() }
    }

    fn json(&self, policy: &Policy) -> String {
        let rows = self.sound.iter().map(|row| json_line(&LineView::Affected { schema_version: SCHEMA_VERSION, row }));
        let summary = LineView::Summary {
            schema_version: SCHEMA_VERSION,
            exit: self.exit().code(),
            policy: policy.digest(),
            artifacts: self.artifacts().len(),
            rows: self.sound.len(),
            refused: &self.refused,
            unchecked: self.unchecked,
            truncated: self.truncated,
        };
        rows.chain([json_line(&summary)]).collect()
    }

    fn human(&self, paint: Paint) -> String {
        let mut text = String::new();
        for (artifact, rows) in self.artifacts() {
            let state = paint.tone(Tone::Bad, &format!("{:<15}", rows[0].state.name()));
            let _ = writeln!(text, "{state} {} of {}, {}", artifact.slot.file, artifact.slot.package, artifact.digest);
            let mut seen: BTreeMap<(&str, String), BTreeSet<&str>> = BTreeMap::new();
            for row in rows {
                for found in &row.matches {
                    seen.entry((found.place, plain(&found.found))).or_default().insert(&row.name);
                }
            }
            for ((place, found), names) in seen {
                let names: Vec<_> = names.into_iter().map(plain).collect();
                line(&mut text, place, &format!("{found}  ({})", names.join(", ")));
            }
        }
        let last = match self.artifacts().len() {
            0 => "no artifact is affected, as far as the coordinator's index goes".to_owned(),
            artifacts => format!("{} affected, by {}", count(artifacts, "artifact"), count(self.sound.len(), "signed result")),
        };
        let _ = writeln!(text, "{last}");
        text
    }
}
