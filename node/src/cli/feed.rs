//! `quorate-node feed`: lists what a node has signed. Reads the files; the node may run meanwhile.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use quorate_node::feed;
use quorate_proto::NodeId;
use quorate_proto::result::RebuildResult;
use quorate_proto::statement::Statement;
use serde_json::{Value, json};

use super::Format;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The node's data folder.
    #[arg(long)]
    dir: PathBuf,
    /// Whose feed; the node's own when absent.
    #[arg(long)]
    node: Option<NodeId>,
    /// How to print: JSON is one line an entry.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let node = match args.node {
        Some(node) => node,
        None => own(&args.dir)?,
    };
    let entries = feed::read(&args.dir, node).context("reading the feed")?;
    let mut out = std::io::stdout().lock();
    for entry in &entries {
        match args.format {
            Format::Human => writeln!(out, "{}", line(entry))?,
            Format::Json => writeln!(out, "{}", view(entry))?,
        }
    }
    if args.format == Format::Human {
        eprintln!("{} entries of {node}", entries.len());
    }
    Ok(ExitCode::SUCCESS)
}

fn own(dir: &std::path::Path) -> anyhow::Result<NodeId> {
    let mut begun = feed::begun(dir).context("looking for the node's own feed")?;
    match (begun.pop(), begun.is_empty()) {
        (Some(node), true) => Ok(node),
        (None, _) => anyhow::bail!("no feed was begun in `{}`; hint: quorate-node key init --dir {0}", dir.display()),
        _ => anyhow::bail!("several feeds were begun in `{}`; hint: name one with --node", dir.display()),
    }
}

fn line(entry: &Statement<RebuildResult>) -> String {
    let result = &entry.predicate;
    let artifact = entry.artifact();
    format!(
        "{:>6}  {}  {:<20}  {}  {}",
        result.feed.sequence,
        result.finished_at,
        result.outcome.class(),
        result.package,
        artifact.slot.file
    )
}

fn view(entry: &Statement<RebuildResult>) -> Value {
    let result = &entry.predicate;
    let artifact = entry.artifact();
    json!({
        "schema": "quorate-feed/v1",
        "sequence": result.feed.sequence,
        "previous": result.feed.previous,
        "package": result.package,
        "artifact": artifact.slot.file,
        "published": artifact.digest,
        "result": result.outcome.class(),
        "finishedAt": result.finished_at,
        "provenance": result.provenance,
    })
}
