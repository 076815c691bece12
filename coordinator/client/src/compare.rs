//! `quorate compare`: how close are two files, by the rules that operators sign by?

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use quorate_normalize::report::{ReportLimits, lines};
use quorate_normalize::{CompareError, Comparison, Input, Limits, compare};
use quorate_proto::comparison::Level;
use serde::Serialize;

use crate::answer::Answer;
use crate::cli::{Compare, Format};
use crate::exit::Exit;
use crate::text::{Paint, Tone, json_line, plain};
use crate::view::SCHEMA_VERSION;

/// The JSON answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CompareView<'a> {
    schema_version: u32,
    command: &'static str,
    exit: u8,
    comparison: &'a Comparison,
}

/// Reads both files and compares them.
pub(crate) fn run(args: &Compare, format: Format, paint: Paint) -> anyhow::Result<Answer> {
    let limits = Limits::default();
    let published = read(&args.published, &limits)?;
    let rebuilt = read(&args.rebuilt, &limits)?;
    let file_name = args.published.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let comparison = compare(&Input { published: &published, rebuilt: &rebuilt, file_name }, &limits).map_err(explained)?;
    let exit = if comparison.level == Level::Different { Exit::Violated } else { Exit::Met };
    let stdout = match format {
        Format::Human => human(&comparison, paint),
        Format::Json => {
            json_line(&CompareView { schema_version: SCHEMA_VERSION, command: "compare", exit: exit.code(), comparison: &comparison })
        }
    };
    Ok(Answer { stdout, notes: Vec::new(), exit })
}

/// At most one byte more than the limit; the comparison refuses what is too long.
fn read(path: &Path, limits: &Limits) -> anyhow::Result<Vec<u8>> {
    let read = || {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(limits.file_bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    read().with_context(|| format!("reading `{}`", path.display()))
}

fn explained(error: CompareError) -> anyhow::Error {
    let first = match &error {
        CompareError::UnreadableRebuilt { anomalies } => anomalies.first().map(|anomaly| anomaly.detail.clone()),
        CompareError::Limit { .. } => None,
    };
    let error = anyhow::Error::from(error);
    match first {
        Some(detail) => error.context(format!("the second file cannot be read: {detail}")),
        None => error.context("comparing"),
    }
}

fn human(comparison: &Comparison, paint: Paint) -> String {
    let tone = if comparison.level == Level::Different { Tone::Bad } else { Tone::Good };
    let mut text = String::new();
    for (index, line) in lines(comparison, &ReportLimits::default()).iter().enumerate() {
        let line = plain(line);
        text.push_str(&if index == 0 { paint.tone(tone, &line) } else { line });
        text.push('\n');
    }
    text
}
