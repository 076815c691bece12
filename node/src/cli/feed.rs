//! `quorate-node feed`: lists what a node has signed. Reads the files; the node may run meanwhile.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use quorate_node::feed;
use quorate_proto::NodeId;
use quorate_proto::build_witness::BuildWitness;
use quorate_proto::entry::EntryStatement;
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

fn line(entry: &EntryStatement) -> String {
    let (at, says, package, file) = match entry {
        EntryStatement::Result(statement) => {
            let result = &statement.predicate;
            (result.finished_at, result.outcome.class(), &result.package, statement.artifact().slot.file)
        }
        EntryStatement::Commitment(statement) => {
            let commitment = &statement.predicate;
            (commitment.signed_at, "(committed)", &commitment.package, commitment.file.clone())
        }
        EntryStatement::Check(statement) => {
            let check = &statement.predicate;
            let says = if check.agreement.confirms() { "(confirms a build)" } else { "(other work)" };
            (check.signed_at, says, &check.package, check.file.clone())
        }
    };
    format!("{:>6}  {at}  {says:<20}  {package}  {file}", entry.position().sequence)
}

fn view(entry: &EntryStatement) -> Value {
    let position = entry.position();
    match entry {
        EntryStatement::Result(statement) => {
            let (result, artifact) = (&statement.predicate, statement.artifact());
            json!({
                "schema": "quorate-feed/v1",
                "entry": "result",
                "sequence": position.sequence,
                "previous": position.previous,
                "package": result.package,
                "artifact": artifact.slot.file,
                "published": artifact.digest,
                "result": result.outcome.class(),
                "finishedAt": result.finished_at,
                "provenance": result.provenance,
                "reveals": result.reveals.as_ref().map(|reveals| reveals.sequence),
                "buildWitness": result.build_witness.as_ref().map(BuildWitness::members),
            })
        }
        EntryStatement::Commitment(statement) => {
            let commitment = &statement.predicate;
            json!({
                "schema": "quorate-feed/v1",
                "entry": "commitment",
                "sequence": position.sequence,
                "previous": position.previous,
                "package": commitment.package,
                "artifact": commitment.file,
                "signedAt": commitment.signed_at,
                "holdUntil": commitment.promise.hold_until,
                "revealBy": commitment.promise.reveal_by,
            })
        }
        EntryStatement::Check(statement) => {
            let check = &statement.predicate;
            json!({
                "schema": "quorate-feed/v1",
                "entry": "witness-check",
                "sequence": position.sequence,
                "previous": position.previous,
                "package": check.package,
                "artifact": check.file,
                "checked": check.checked,
                "agreement": check.agreement,
                "signedAt": check.signed_at,
            })
        }
    }
}
