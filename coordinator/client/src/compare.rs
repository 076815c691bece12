//! `quorate compare`: how close are two files, by the rules that operators sign by?
//!
//! A is what a result calls published, B what it calls rebuilt. [`contents`] and [`survey`] group what
//! the comparison found, [`words`] names it, and [`human`], [`view`] and [`page`] print it.

mod contents;
mod human;
mod page;
mod survey;
mod view;
mod words;

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use quorate_normalize::{CompareError, Comparison, Container, Input, Limits, compare};
use quorate_proto::comparison::Level;

use self::contents::Contents;
use self::survey::Survey;
use crate::answer::{Answer, write_file};
use crate::cli::{Compare, ReportFormat};
use crate::exit::Exit;
use crate::text::Paint;

/// Members that get a diff: more than a node needs, because a source archive has many that its
/// release lacks.
const DIFFS_MAX: usize = 400;

/// Bytes of both files together from which on a spinner says that work is going on.
const LONG_WORK_BYTES: usize = 16 << 20;

/// A file that was compared.
struct Operand {
    name: String,
    bytes: Vec<u8>,
}

/// Everything that a report says, in whatever form.
struct Report<'a> {
    names: [&'a str; 2],
    comparison: &'a Comparison,
    survey: Survey<'a>,
    exit: Exit,
}

/// A file that was named cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("reading `{}`", path.display())]
pub(crate) struct UnreadableFile {
    /// Which file.
    path: PathBuf,
    /// Why not.
    #[source]
    source: io::Error,
}

impl UnreadableFile {
    /// What the user can do.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        let is_folder = self.source.kind() == io::ErrorKind::IsADirectory;
        is_folder.then_some("two files are compared. Pack a source first: git archive --prefix=NAME-VERSION/ -o source.tar.gz TAG")
    }
}

/// Reads both files, compares them, and writes the reports that were asked for.
pub(crate) fn run(args: &Compare, format: ReportFormat, paint: Paint) -> anyhow::Result<Answer> {
    let limits = Limits { diffs_max: DIFFS_MAX, ..Limits::default() };
    let (a, b) = (read(&args.published, &limits)?, read(&args.rebuilt, &limits)?);
    let file_name = deciding_name(&a.name, &b.name);
    let spinner = spinner(a.bytes.len().saturating_add(b.bytes.len()));
    let input = Input { published: &a.bytes, rebuilt: &b.bytes, file_name };
    let comparison = compare(&input, &limits).map_err(|error| explained(error, file_name))?;
    let report = Report::of(&comparison, &a, &b, file_name, &limits);
    spinner.finish_and_clear();
    let beside = [(&args.html, ReportFormat::Html), (&args.json, ReportFormat::Json)];
    for (path, format) in beside {
        if let Some(path) = path {
            write_file(path, report.print(format, Paint::Plain).as_bytes())?;
        }
    }
    Ok(Answer { stdout: report.print(format, paint), notes: Vec::new(), exit: report.exit })
}

impl<'a> Report<'a> {
    fn of(comparison: &'a Comparison, a: &'a Operand, b: &'a Operand, file_name: &str, limits: &Limits) -> Self {
        let is_different = comparison.level == Level::Different;
        let contents = |operand: &Operand| is_different.then(|| Contents::of(&operand.bytes, file_name, limits)).flatten();
        let survey = Survey::of(comparison, &[contents(a), contents(b)]);
        let exit = if is_different { Exit::Violated } else { Exit::Met };
        Self { names: [&a.name, &b.name], comparison, survey, exit }
    }

    fn print(&self, format: ReportFormat, paint: Paint) -> String {
        match format {
            ReportFormat::Human => human::text(self, paint),
            ReportFormat::Json => view::json(self),
            ReportFormat::Html => page::html(self),
        }
    }
}

/// The name that decides how both are read: A's, or B's where A's says nothing, as that of a pipe.
fn deciding_name<'n>(a: &'n str, b: &'n str) -> &'n str {
    if Container::of(a) == Container::Opaque { b } else { a }
}

/// At most one byte more than the limit; the comparison refuses what is too long.
fn read(path: &Path, limits: &Limits) -> Result<Operand, UnreadableFile> {
    let read = || {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(limits.file_bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|source| UnreadableFile { path: path.to_owned(), source })?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok(Operand { name, bytes })
}

/// Shows that work is going on, on a terminal, if it takes long enough to wonder.
fn spinner(bytes: usize) -> ProgressBar {
    if bytes < LONG_WORK_BYTES {
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{spinner} comparing, {elapsed}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    spinner.set_style(style);
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

fn explained(error: CompareError, file_name: &str) -> anyhow::Error {
    let context = if let CompareError::UnreadableRebuilt { anomalies } = &error {
        let detail = anomalies.first().map_or("", |anomaly| anomaly.detail.as_str());
        format!("the second file cannot be read as `{file_name}` says: {detail}")
    } else {
        "comparing".to_owned()
    };
    anyhow::Error::from(error).context(context)
}
