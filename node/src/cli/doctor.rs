//! `quorate-node doctor`: what this machine lacks, and the command that installs it.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use quorate_node::doctor::{self, DoctorConfig};
use quorate_node::watch;

use super::{FAILED, Format};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The Python that builds use.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// A node's data folder: its watches are examined too.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// How to print.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut findings = doctor::examine(&DoctorConfig { python: args.python, ..DoctorConfig::default() });
    if let Some(dir) = &args.dir {
        findings.extend(watch::status(dir).context("reading the watches")?.findings());
    }
    let text = match args.format {
        Format::Human => doctor::render_human(&findings),
        Format::Json => doctor::render_json(&findings),
    };
    writeln!(std::io::stdout().lock(), "{}", text.trim_end())?;
    Ok(if doctor::is_ready(&findings) { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
