//! The command line: one module a subcommand, each with its `Args` and its `run`.
//!
//! Data goes to stdout, talk to stderr. Exit codes: 0 done; 1 a divergence was found; 2 misuse, or
//! the tool failed, or something that it needs is missing; 3 not enough evidence.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

mod definition;
mod doctor;
mod engine;
mod enqueue;
mod environment;
mod feed;
mod key;
mod links;
mod operator;
mod peers;
mod rebuild;
mod run;
mod toolchains;
mod watch;

/// Exit code of misuse and of failures.
const FAILED: u8 = 2;

/// Rebuilds published packages, compares, signs what came out, and tells the mesh.
#[derive(Parser)]
#[command(name = "quorate-node", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Rebuild one release or file and say what came out; no peers, nothing is signed into a feed.
    Rebuild(rebuild::Args),
    /// Run the node: take jobs, rebuild, sign, gossip.
    Run(run::Args),
    /// Put a rebuild into the queue of a node, whether or not it runs.
    Enqueue(enqueue::Args),
    /// Reviewed definitions.
    #[command(subcommand)]
    Definition(definition::Command),
    /// List what this node has signed.
    Feed(feed::Args),
    /// Write what this node rebuilt of an artifact as a link for `in-toto-verify`.
    Links(links::Args),
    /// List the peers of a running node.
    Peers(peers::Args),
    /// Say how far feeds are held, what is missing, and what logs have shown; 1 where somebody has two histories.
    SyncStatus(peers::Args),
    /// Root keys and node certificates.
    #[command(subcommand)]
    Operator(operator::Command),
    /// The node's own key.
    #[command(subcommand)]
    Key(key::Command),
    /// What builds run in, and what differs between two environments.
    #[command(subcommand)]
    Environment(environment::Command),
    /// Watched registries.
    #[command(subcommand)]
    Watch(watch::Command),
    /// Build tools of other versions than this machine's own.
    #[command(subcommand)]
    Toolchains(toolchains::Command),
    /// Say what this machine lacks, and the command that installs it.
    Doctor(doctor::Args),
}

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Human,
    /// For programs.
    Json,
}

/// Parses, runs, and reports an error once: the chain of causes on stderr.
pub(crate) fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(FAILED) } else { ExitCode::SUCCESS };
        }
    };
    start_logging();
    match runtime(cli.command) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn runtime(command: Command) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(dispatch(command))
}

async fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Rebuild(args) => rebuild::run(args).await,
        Command::Run(args) => run::run(args).await,
        Command::Enqueue(args) => enqueue::run(args),
        Command::Definition(command) => definition::run(command).await,
        Command::Feed(args) => feed::run(&args),
        Command::Links(args) => links::run(&args),
        Command::Peers(args) => peers::peers(&args),
        Command::SyncStatus(args) => peers::sync_status(&args),
        Command::Operator(command) => operator::run(command),
        Command::Key(command) => key::run(command),
        Command::Environment(command) => environment::run(command).await,
        Command::Watch(command) => watch::run(&command),
        Command::Toolchains(command) => toolchains::run(command).await,
        Command::Doctor(args) => doctor::run(args),
    }
}

/// The user's cache folder of this program, where one can be told.
fn cache_home() -> Option<PathBuf> {
    let home = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    home.map(|home| home.join("quorate"))
}

/// Logs go to stderr; `RUST_LOG` chooses which.
fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,quorate_node=info,quorate_gossip=info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).init();
}

/// A reader that went away, such as `head`, has got what it wanted.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn every_subcommand_can_be_asked_for() {
        super::Cli::command().debug_assert();
    }
}
