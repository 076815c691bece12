//! A whole network on one machine: one coordinator, some nodes of as many operators, real packages.
//!
//! Everything runs as separate processes on loopback, on ports that the system chooses, in a folder of
//! its own: the same programs, commands and files as anywhere else. Reading order: [`cases`] (what is
//! put through, and what must come out), [`network`] (keys, policy, configuration, processes),
//! [`lie`] (the operator that signs without building), [`report`] (progress, table, verdicts).

mod backdoor;
mod cases;
mod index;
mod lie;
mod network;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use quorate_proto::Purl;

use crate::network::Network;
use crate::report::Row;

/// Longest wait for the verdicts: builds on two loaded cores, and a hang that must end.
const VERDICTS_WITHIN: Duration = Duration::from_mins(15);

/// Start a coordinator and five nodes of five operators here, and put real packages through them.
#[derive(Parser)]
#[command(name = "deploy/devnet/run", version)]
struct Args {
    /// End after the verdicts: 0 if all are as expected, 1 if one is not.
    #[arg(long)]
    once: bool,
    /// How verdicts are printed; `json` prints one line an artifact.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
    /// More releases to put through, such as `pkg:pypi/idna@3.10`; any verdict is as expected.
    #[arg(long = "package", value_name = "PURL")]
    packages: Vec<Purl>,
    /// The folder to work in; must not exist. Default: a new one for temporary files.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// How many operators; a majority of them is the threshold.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(3..=25))]
    operators: u8,
    /// Install no system packages: what is missing is listed instead.
    #[arg(long)]
    no_install: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

fn main() -> ExitCode {
    // Fails only if one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let args = Args::parse();
    let ran = tokio::runtime::Runtime::new().context("starting the runtime").and_then(|runtime| runtime.block_on(run(args)));
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(args: Args) -> anyhow::Result<bool> {
    let started = Instant::now();
    let dir = report::new_folder(args.dir)?;
    let cases = cases::prepare(&dir, &args.packages).await?;
    let network = Network::start(&dir, usize::from(args.operators), &cases).await?;
    report::say(&format!(
        "network of {} operators, {} of them witnesses of which {} must cosign, ready after {:.1} s in {}",
        args.operators,
        network.witnesses.len(),
        network.quorum,
        started.elapsed().as_secs_f64(),
        dir.display()
    ));
    let (rows, seconds) = tokio::select! {
        rows = report::until_all_have_voted(&network, &cases, VERDICTS_WITHIN) => rows?,
        signal = tokio::signal::ctrl_c() => return signal.context("waiting for a signal").map(|()| false),
    };
    match args.format {
        Format::Human => report::print_table(&rows),
        Format::Json => rows.iter().try_for_each(Row::print_json)?,
    }
    report::say(&format!("verdicts after {seconds:.1} s, most of it building; {:.1} s in all", started.elapsed().as_secs_f64()));
    let as_expected = rows.iter().all(Row::is_as_expected) && report::until_drill_names_the_liar(&network).await?;
    if rows.iter().all(Row::is_skipped) {
        anyhow::bail!("every case was skipped: sources and artifacts cannot be had here, so nothing was shown");
    }
    if !args.once {
        report::print_what_to_try(&network, &rows);
        tokio::signal::ctrl_c().await.context("waiting for a signal")?;
    }
    Ok(as_expected)
}
