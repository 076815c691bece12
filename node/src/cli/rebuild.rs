//! `quorate-node rebuild`: one artifact or a list of them, no peers.

mod batch;
mod report;
mod table;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use quorate_node::attest::Finding;
use quorate_node::pipeline::{Disposition, Engine, Job, Progress, RebuildError, Step};
use quorate_proto::build_witness::Salt;
use quorate_proto::result::Outcome;
use quorate_proto::{FileName, Purl};
use serde_json::{Value, json};

use super::Format;
use super::engine::EngineArgs;

/// Exit code when the rebuilt file differs.
const DIFFERENT: u8 = 1;
/// Exit code when nothing could be rebuilt.
const NOT_ENOUGH_EVIDENCE: u8 = 3;
/// Version of the JSON that is printed.
const SCHEMA_VERSION: u32 = 1;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The release, such as `pkg:pypi/click@8.1.8`.
    #[arg(required_unless_present = "list")]
    purl: Option<Purl>,
    /// Rebuild every artifact of a JSON list with the fields `ecosystem name version artifact sha256`; rows that
    /// `--out` already holds are not built again.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["purl", "artifact"], requires = "out")]
    list: Option<PathBuf>,
    /// How many artifacts of a list are rebuilt at a time; one more than there are cores when absent.
    #[arg(long, value_name = "N", requires = "list")]
    jobs: Option<NonZeroUsize>,
    /// Longest that one artifact of a list may take, in seconds.
    #[arg(long, value_name = "S", requires = "list", default_value = "1800")]
    time_limit: u64,
    /// A file of the release by its name, or a file on this machine that stands for it.
    #[arg(long, value_name = "FILE")]
    artifact: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
    /// Keep the rebuilt file, the finding, the report of differences and the provenance in this folder; with
    /// `--list`, the rows as they are done in this file.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How the finding is printed.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let scratch = tempfile::Builder::new().prefix("quorate-rebuild-").tempdir().context("making a scratch folder")?;
    let mut config = args.engine.config(scratch.path());
    if args.list.is_some() {
        // A list is built with what is at hand first, and again with what it lacked.
        config.toolchain_wait = None;
    }
    let engine = Engine::new(config)?;
    if let (Some(list), Some(out)) = (&args.list, &args.out) {
        let pace = batch::Pace { jobs: args.jobs, time_limit: Duration::from_secs(args.time_limit) };
        return batch::run(Arc::new(engine), list, out, pace, args.format).await;
    }
    let job = job(&args)?;
    let finding = match engine.rebuild(&job, &Talk).await {
        Ok(finding) => finding,
        Err(error) => return Err(with_hint(error)),
    };
    if let Some(out) = &args.out {
        keep(&engine, &finding, out).with_context(|| format!("writing to {}", out.display()))?;
    }
    match args.format {
        Format::Json => print(&(serde_json::to_string_pretty(&view(&finding))? + "\n"))?,
        Format::Human => print(&report::report(&finding))?,
    }
    Ok(ExitCode::from(exit_code(&finding.outcome)))
}

/// Tells on stderr how far it is.
struct Talk;

impl Progress for Talk {
    fn step(&self, step: Step, detail: &str) {
        let word = match step {
            Step::Release => "release",
            Step::Resolve => "source",
            Step::Fetch => "fetch",
            Step::Build => "build",
            Step::Compare => "compare",
        };
        eprintln!("{word:>8}  {detail}");
    }
}

fn job(args: &Args) -> anyhow::Result<Job> {
    let mut job = Job { package: args.purl.clone().context("no package URL is given")?, file: None, artifact_path: None };
    if let Some(artifact) = &args.artifact {
        let name = artifact.file_name().and_then(|name| name.to_str()).with_context(|| format!("{} names no file", artifact.display()))?;
        job.file = Some(name.parse::<FileName>()?);
        if artifact.is_file() {
            job.artifact_path = Some(std::path::absolute(artifact)?);
        } else if artifact.components().count() > 1 {
            anyhow::bail!("no file {}", artifact.display());
        }
    }
    Ok(job)
}

fn with_hint(error: RebuildError) -> anyhow::Error {
    let hint = match (&error, error.disposition()) {
        (RebuildError::Sandbox(_) | RebuildError::Environment(_), _) => "`quorate-node doctor` says what this machine lacks",
        (_, Disposition::Retry) => "the same command may succeed later",
        (_, Disposition::Reject) => "check the package URL, the file name and the index",
    };
    eprintln!("hint: {hint}");
    error.into()
}

fn exit_code(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Identical { .. } | Outcome::Equivalent { .. } => 0,
        Outcome::Different { .. } => DIFFERENT,
        Outcome::BuildFailed { .. }
        | Outcome::SourceUnavailable { .. }
        | Outcome::ArtifactUnavailable { .. }
        | Outcome::SandboxViolation { .. }
        | Outcome::NotAttempted { .. } => NOT_ENOUGH_EVIDENCE,
    }
}

/// The finding as `--format json` prints it.
fn view(finding: &Finding) -> Value {
    let mut outcome = serde_json::to_value(&finding.outcome).unwrap_or_default();
    let taken = |outcome: &mut Value, key: &str| outcome.get_mut(key).map(Value::take).unwrap_or_default();
    let (passes, differences) = (taken(&mut outcome, "passes"), taken(&mut outcome, "differences"));
    json!({
        "schemaVersion": SCHEMA_VERSION,
        "package": finding.package,
        "artifact": finding.file,
        "published": finding.published,
        "rebuilt": finding.outcome.rebuilt().map(|rebuilt| rebuilt.digest),
        "result": finding.outcome.class(),
        "level": finding.outcome.level(),
        "phase": outcome["phase"],
        "reason": outcome["reason"],
        "summary": outcome["summary"],
        "source": finding.source,
        "toolchain": finding.toolchain,
        "passes": if passes.is_null() { json!([]) } else { passes },
        "assists": finding.assists,
        "anomalies": finding.anomalies,
        "violations": finding.violations,
        "differences": differences,
        "environment": finding.environment,
        // Salted for nobody: it holds two builds of one machine against each other and serves no node.
        "intermediates": finding.intermediates.as_ref().map(|left| left.witness(&Salt::nobody())),
        "seconds": finding.seconds,
        "fetched": finding.fetched,
        "attempts": finding.attempts,
    })
}

fn keep(engine: &Engine, finding: &Finding, out: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(out)?;
    if let Some(path) = finding.outcome.rebuilt().and_then(|rebuilt| engine.cache().get(rebuilt.digest)) {
        std::fs::copy(path, out.join(finding.file.as_str()))?;
    }
    let json = |value: Value| serde_json::to_vec_pretty(&value).map_err(std::io::Error::other);
    std::fs::write(out.join("finding.json"), json(view(finding))?)?;
    if let Some(provenance) = &finding.provenance {
        std::fs::write(out.join("provenance.json"), json(json!(provenance))?)?;
    }
    for (blob, name) in finding.blobs.iter().zip(["environment.json", "differences.json"]) {
        std::fs::write(out.join(name), blob)?;
    }
    Ok(())
}

/// Writes to stdout; unlike `print!` it does not panic when the reader is gone.
fn print(text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    std::io::stdout().write_all(text.as_bytes())
}
