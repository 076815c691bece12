//! `quorate`: the command of consumers and responders.
//!
//! In scope: asking a coordinator for evidence, deriving verdicts from it under the user's own
//! policy, explaining them, keeping them in bundles, and checking the answers to incident queries.
//! A thin shell around the pure crates of `proto/`.
//!
//! Out of scope: any trust in the coordinator, and any state of its own.
//!
//! Reading order: [`cli`], [`target`], [`trust`] and [`trusted_log`] (what is asked, under which policy), [`server`]
//! and [`gather`] (bytes come in; [`log_files`] those of the log), [`evidence`], [`claim`] and [`assess`] (the decision),
//! then the commands [`verify`], [`explain`], [`bundle`], [`affected`], [`monitor`], [`mirror`], [`compare`], [`policy`],
//! [`what_if`], [`declare`], and how they speak: [`render`], [`view`], [`text`], [`answer`], [`exit`].

mod affected;
mod answer;
mod assess;
mod bundle;
mod claim;
mod cli;
mod compare;
mod declare;
mod evidence;
mod exit;
mod explain;
mod gather;
mod log_files;
mod mirror;
mod monitor;
mod policy;
mod render;
mod server;
mod target;
mod text;
mod trust;
mod trusted_log;
mod verify;
mod view;
mod what_if;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context as _;
use clap::Parser as _;
use quorate_proto::Timestamp;

use crate::answer::Answer;
use crate::cli::{Cli, Command, Format, PolicyCommand, Verify, WhatIf};
use crate::compare::UnreadableFile;
use crate::exit::Exit;
use crate::gather::Session;
use crate::log_files::LogFiles;
use crate::server::{Server, ServerError};
use crate::text::Paint;
use crate::trust::{Trust, TrustError};
use crate::what_if::Alternatives;

fn main() -> ExitCode {
    // Fails only if one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    let exit = match run(&cli) {
        Ok(answer) => answer.print(),
        Err(error) => {
            answer::report(&error, hint(&error));
            Exit::Failed
        }
    };
    exit.into()
}

fn run(cli: &Cli) -> anyhow::Result<Answer> {
    let paint = paint();
    if let Command::Compare(args) = &cli.command {
        return compare::run(args, cli.format, paint);
    }
    let format = cli.format.without_pages()?;
    if let Command::Declare(args) = &cli.command {
        return declare::run(args, cli.server.as_deref(), format);
    }
    let now = Timestamp::from(SystemTime::now());
    let trust = match &cli.command {
        Command::WhatIf(args) => alternatives(cli, args)?.asking().clone(),
        _ => Trust::load(cli.policy.as_deref(), usual_policy().as_deref())?,
    };
    if let Command::Policy(PolicyCommand::Doctor) = &cli.command {
        return Ok(policy::doctor::run(&trust.policy, format, paint));
    }
    if let Command::Policy(PolicyCommand::Tlog(args)) = &cli.command {
        return policy::tlog::run(&trust, args, format);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    if let Some(answer) = runtime.block_on(from_files(cli, &trust, format)) {
        return answer;
    }
    if let Some((args, path)) = bundled(&cli.command) {
        let found = verify::offline(&trust, &gather::read_bundle(path)?, args.target.as_ref(), args.package.as_ref(), now)?;
        return Ok(match &cli.command {
            Command::Policy(_) => policy::check::answer(&trust, found, format, paint, now),
            _ => verify::answer(&trust, found, format, paint),
        });
    }
    let server = Server::at(cli.server.as_deref())?;
    let session = Session { trust: &trust, server: &server, now };
    runtime.block_on(online(cli, &session, format, paint))
}

/// A command that takes the log from a folder.
async fn from_files(cli: &Cli, trust: &Trust, format: Format) -> Option<anyhow::Result<Answer>> {
    match &cli.command {
        Command::Mirror(args) if args.check => Some(mirror::check(trust, args, format).await),
        Command::Monitor(args) => {
            let files = LogFiles::Folder(args.mirror.as_deref()?);
            Some(monitor::run(trust, &files, args, format).await)
        }
        _ => None,
    }
}

/// A command that takes its evidence from a bundle.
fn bundled(command: &Command) -> Option<(&Verify, &Path)> {
    let args = match command {
        Command::Verify(args) => args,
        Command::Policy(PolicyCommand::Check(args)) => args.as_ref(),
        _ => return None,
    };
    Some((args, args.bundle.as_deref()?))
}

fn alternatives(cli: &Cli, args: &WhatIf) -> anyhow::Result<Alternatives> {
    Alternatives::load(args, cli.policy.as_deref(), todays_policy().as_deref())
}

async fn online(cli: &Cli, session: &Session<'_>, format: Format, paint: Paint) -> anyhow::Result<Answer> {
    match &cli.command {
        Command::Verify(args) => {
            let target = args.target.as_ref().context("neither a target nor a bundle")?;
            let found = session.find(target, args.package.as_ref()).await?;
            Ok(verify::answer(session.trust, found, format, paint))
        }
        Command::Explain(args) => explain::run(session, &args.target, format, paint).await,
        Command::Bundle(args) => bundle::run(session, args, format, paint).await,
        Command::Affected(args) => affected::run(session, args, format, paint).await,
        Command::Monitor(args) => monitor::run(session.trust, &LogFiles::Served(session.server), args, format).await,
        Command::Mirror(args) => mirror::run(session, args, format).await,
        Command::Compare(args) => compare::run(args, cli.format, paint),
        Command::Policy(PolicyCommand::Check(args)) => {
            let target = args.target.as_ref().context("neither a target nor a bundle")?;
            let found = session.find(target, args.package.as_ref()).await?;
            Ok(policy::check::answer(session.trust, found, format, paint, session.now))
        }
        Command::Policy(PolicyCommand::Doctor) => Ok(policy::doctor::run(&session.trust.policy, format, paint)),
        Command::Policy(PolicyCommand::Tlog(args)) => policy::tlog::run(session.trust, args, format),
        Command::Declare(args) => declare::run(args, cli.server.as_deref(), format),
        Command::WhatIf(args) => what_if::run(session, args, &alternatives(cli, args)?, format, paint).await,
    }
}

/// The policy in force where the command line names another: that of the environment, else the usual one.
fn todays_policy() -> Option<PathBuf> {
    std::env::var_os("QUORATE_POLICY").map(PathBuf::from).or_else(usual_policy)
}

/// `$XDG_CONFIG_HOME/quorate/policy.toml`, else `~/.config/quorate/policy.toml`.
fn usual_policy() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")))?;
    Some(config.join("quorate").join("policy.toml"))
}

/// Colours only on a terminal that wants them.
fn paint() -> Paint {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if std::io::stdout().is_terminal() && !unwanted && !dumb { Paint::Colour } else { Paint::Plain }
}

fn hint(error: &anyhow::Error) -> Option<&'static str> {
    let of_trust = error.downcast_ref::<TrustError>().and_then(TrustError::hint);
    let of_server = || error.downcast_ref::<ServerError>().and_then(ServerError::hint);
    of_trust.or_else(of_server).or_else(|| error.downcast_ref::<UnreadableFile>().and_then(UnreadableFile::hint))
}
