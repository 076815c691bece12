//! `quorate-node watch`: what watches say of themselves.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use quorate_node::watch;

use super::{FAILED, Format};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Say where each watch is, when it last polled, and what is wrong; whether or not the node runs.
    Status(Status),
}

#[derive(clap::Args)]
pub(crate) struct Status {
    /// The node's data folder.
    #[arg(long)]
    dir: PathBuf,
    /// How to print.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
}

pub(crate) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let Command::Status(args) = command;
    let status = watch::status(&args.dir).with_context(|| format!("reading the watches of `{}`", args.dir.display()))?;
    let text = match args.format {
        Format::Human => status.render_human(),
        Format::Json => status.render_json(),
    };
    writeln!(std::io::stdout().lock(), "{}", text.trim_end())?;
    Ok(if status.is_well() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
