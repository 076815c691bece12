//! A comparison as JSON, as `docs/spec/cli.md` describes it.

use quorate_normalize::{Detail, SideForm};
use quorate_proto::comparison::{Anomaly, Difference, Level, PassUse};
use serde::Serialize;

use super::Report;
use super::survey::{Entry, Kind};
use crate::text::json_line;
use crate::view::SCHEMA_VERSION;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CompareView<'a> {
    schema_version: u32,
    command: &'static str,
    exit: u8,
    level: Level,
    published: SideView<'a>,
    rebuilt: SideView<'a>,
    anomalies: &'a [Anomaly],
    passes: &'a [PassUse],
    differences: Vec<DifferenceView<'a>>,
    summary: SummaryView<'a>,
}

#[derive(Serialize)]
struct SideView<'a> {
    file: &'a str,
    #[serde(flatten)]
    form: &'a SideForm,
}

#[derive(Serialize)]
struct DifferenceView<'a> {
    #[serde(flatten)]
    difference: &'a Difference,
    detail: Option<&'a Detail>,
}

/// What the report for people shows, before it is cut to a screen.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SummaryView<'a> {
    folder: Option<&'a str>,
    only_published: Vec<EntryView<'a>>,
    only_rebuilt: Vec<EntryView<'a>>,
    changed: Vec<&'a str>,
    same: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryView<'a> {
    name: &'a str,
    kind: &'static str,
    files: usize,
    code: usize,
    size_bytes: u64,
}

/// One line of JSON.
pub(super) fn json(report: &Report<'_>) -> String {
    let Report { comparison, survey, .. } = report;
    let side = |at: usize, form| SideView { file: report.names[at], form };
    json_line(&CompareView {
        schema_version: SCHEMA_VERSION,
        command: "compare",
        exit: report.exit.code(),
        level: comparison.level,
        published: side(0, &comparison.published),
        rebuilt: side(1, &comparison.rebuilt),
        anomalies: &comparison.anomalies,
        passes: &comparison.passes,
        differences: comparison
            .differences
            .iter()
            .map(|found| DifferenceView { difference: &found.difference, detail: found.detail.as_ref() })
            .collect(),
        summary: SummaryView {
            folder: survey.top.as_deref(),
            only_published: survey.only_a.iter().map(EntryView::from).collect(),
            only_rebuilt: survey.only_b.iter().map(EntryView::from).collect(),
            changed: survey.changed.iter().map(|item| item.name.as_str()).collect(),
            same: survey.same,
        },
    })
}

impl<'a> From<&'a Entry<'_>> for EntryView<'a> {
    fn from(entry: &'a Entry<'_>) -> Self {
        let kind = entry.items.first().filter(|_| !entry.is_folder()).map_or(Kind::Folder, |item| item.kind);
        Self {
            name: &entry.name,
            kind: kind.word(),
            files: entry.files().count(),
            code: entry.code_count(),
            size_bytes: entry.size_bytes(),
        }
    }
}
