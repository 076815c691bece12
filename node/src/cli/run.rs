//! `quorate-node run`: the daemon.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use quorate_node::config::Config;
use quorate_node::daemon;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The configuration file.
    #[arg(long)]
    config: PathBuf,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.config).context("loading the configuration")?;
    daemon::run(config).await.context("running the node")?;
    Ok(ExitCode::SUCCESS)
}
