//! The daemon `quorate-coordinator`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use quorate_coordinator::check::check;
use quorate_coordinator::config::{Config, make_key};
use quorate_coordinator::daemon::run;
use quorate_coordinator::drill;
use quorate_coordinator::store::files::Paths;
use quorate_tlog::Signer;
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Collects signed rebuild results, tallies them under a policy, and publishes verdicts in a log that
/// cannot be rewritten.
#[derive(Parser)]
#[command(name = "quorate-coordinator", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a data directory with a new log key, and prints the log's verifier key.
    Init {
        /// The data directory.
        #[arg(long)]
        dir: PathBuf,
        /// The log's origin, such as `quorate.example/log`.
        #[arg(long)]
        origin: String,
    },
    /// Runs the coordinator.
    Run {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Verifies the log on disk: recomputes the root, checks the index against the leaves.
    Check {
        /// The data directory of a coordinator that does not run.
        #[arg(long)]
        dir: PathBuf,
    },
    /// Drills: files that are known to be wrong, on a registry of your own, to see who agrees with them.
    Drill(drill::command::Arguments),
}

fn main() -> ExitCode {
    // Two providers are compiled in by some dependency graphs; then rustls has no default.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .init();
    match dispatch(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if let Some(hint) = hint(&error) {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(2)
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Init { dir, origin } => init(&dir, &origin),
        Command::Run { config } => {
            let config = Config::load(&config).with_context(|| format!("loading configuration `{}`", config.display()))?;
            tokio::runtime::Runtime::new().context("starting the runtime")?.block_on(run(config))
        }
        Command::Check { dir } => {
            let report = check(&Paths::new(&dir)).with_context(|| format!("checking `{}`", dir.display()))?;
            println!("{report}");
            Ok(())
        }
        Command::Drill(arguments) => drill::command::run(arguments),
    }
}

fn init(dir: &Path, origin: &str) -> anyhow::Result<()> {
    let name = origin.parse().context("reading the origin")?;
    std::fs::create_dir_all(dir).with_context(|| format!("making `{}`", dir.display()))?;
    let key = make_key(&dir.join("log.key")).context("making the log's key")?;
    let vkey = Signer::from_seed(name, &key.seed()).verifier().to_string();
    std::fs::write(Paths::new(dir).vkey(), format!("{vkey}\n")).context("writing the verifier key")?;
    println!("{vkey}");
    Ok(())
}

fn hint(error: &anyhow::Error) -> Option<&'static str> {
    use quorate_coordinator::config::ConfigError;
    use quorate_coordinator::store::StoreError;
    if let Some(StoreError::Locked(_)) = error.downcast_ref() {
        return Some("another quorate-coordinator runs on this data directory");
    }
    if let Some(drill::AskError::Silent { .. }) = error.downcast_ref() {
        return Some("a drill is logged by the coordinator that runs: start it, and name its data directory with --dir");
    }
    match error.downcast_ref() {
        Some(ConfigError::File { .. }) => Some("paths in a configuration are relative to the folder that it is in"),
        Some(ConfigError::KeyForm(_)) => Some("`quorate-coordinator init` makes a key"),
        _ => None,
    }
}
