//! `quorate-node key`: the node's own key.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use quorate_node::{feed, key};
use serde_json::json;

use super::Format;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make a node's key, and begin its feed in the data folder. A key and its feed belong together: a key
    /// whose feed is lost never signs again.
    Init(Init),
}

#[derive(clap::Args)]
pub(crate) struct Init {
    /// The node's data folder; made where it is missing.
    #[arg(long)]
    dir: PathBuf,
    /// Where the key goes; `node.key` in the data folder when absent.
    #[arg(long)]
    key: Option<PathBuf>,
    /// How to print.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
}

pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    let Command::Init(args) = command;
    std::fs::create_dir_all(&args.dir).with_context(|| format!("making `{}`", args.dir.display()))?;
    let path = args.key.unwrap_or_else(|| args.dir.join("node.key"));
    let node = key::generate(&path).context("making the key")?.node_id();
    feed::begin(&args.dir, &node).context("beginning the feed")?;
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Human => writeln!(out, "{node}")?,
        Format::Json => writeln!(out, "{}", json!({ "schema": "quorate-key/v1", "node": node, "key": path }))?,
    }
    Ok(ExitCode::SUCCESS)
}
