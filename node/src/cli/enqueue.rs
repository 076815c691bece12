//! `quorate-node enqueue`: puts a job into the queue of a node.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use quorate_node::pipeline::Job;
use quorate_node::queue::{Enqueued, Queue};
use quorate_proto::{FileName, Purl};
use serde_json::json;

use super::Format;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The node's data folder.
    #[arg(long)]
    dir: PathBuf,
    /// The release, such as `pkg:pypi/click@8.1.8`.
    package: Purl,
    /// The published file to rebuild; chosen by the node when absent.
    #[arg(long)]
    artifact: Option<FileName>,
    /// How to print.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let queue = Queue::open(&args.dir).context("opening the queue")?;
    let job = Job { package: args.package, file: args.artifact, artifact_path: None };
    let (id, enqueued) = queue.enqueue(&job).context("adding the job")?;
    let state = match enqueued {
        Enqueued::New => "queued",
        Enqueued::Already => "queued before",
    };
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Human => writeln!(out, "{state}: {} (job {id})", job.package)?,
        Format::Json => {
            let view = json!({ "schema": "quorate-enqueue/v1", "job": id.to_string(), "package": job.package, "artifact": job.file, "state": state });
            writeln!(out, "{view}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
