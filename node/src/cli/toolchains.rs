//! `quorate-node toolchains`: which build tools are at hand, bringing one in, and throwing old ones away.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use quorate_node::cache::Cache;
use quorate_node::pipeline::Engine;
use quorate_node::toolchain::cargo::{Building, words};
use quorate_node::toolchain::{Kind, Toolchain, ToolchainCache};
use quorate_proto::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Format;
use super::engine::EngineArgs;

const DAY: Duration = Duration::from_hours(24);

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// List what is installed and what is cached.
    List(List),
    /// Bring a version into the cache.
    Fetch(Fetch),
    /// Throw away what was not used for long.
    Prune(Prune),
}

#[derive(clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    place: Place,
}

#[derive(clap::Args)]
pub(crate) struct Fetch {
    /// What it is a version of: `cargo`.
    kind: Kind,
    /// The version, such as `1.85.0`.
    #[arg(id = "wanted", value_name = "VERSION")]
    version: String,
    #[command(flatten)]
    engine: EngineArgs,
    /// How to print.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
}

#[derive(clap::Args)]
pub(crate) struct Prune {
    /// How many days a toolchain must have lain unused; 0 throws away all.
    #[arg(long, default_value_t = 30)]
    unused_days: u32,
    #[command(flatten)]
    place: Place,
}

#[derive(clap::Args)]
pub(crate) struct Place {
    /// Where downloads are kept; the user's cache folder when absent.
    #[arg(long, value_name = "DIR", env = "QUORATE_CACHE_DIR")]
    cache_dir: Option<PathBuf>,
    /// How to print.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
}

pub(crate) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(args) => list(&args).await,
        Command::Fetch(args) => fetch(&args).await,
        Command::Prune(args) => prune(&args),
    }
}

impl Place {
    fn folder(&self) -> anyhow::Result<PathBuf> {
        let folder = self.cache_dir.clone().or_else(super::cache_home);
        folder.context("no cache folder: name one by --cache-dir")
    }

    fn cache(&self) -> anyhow::Result<ToolchainCache> {
        let folder = self.folder()?;
        let cache = Cache::open(&folder).with_context(|| format!("opening the cache {}", folder.display()))?;
        Ok(ToolchainCache::new(&cache))
    }
}

async fn list(args: &List) -> anyhow::Result<ExitCode> {
    let installed = quorate_node::toolchain::cargo::installed().await;
    let cached = args.place.cache()?.list();
    let mut out = std::io::stdout().lock();
    match args.place.format {
        Format::Json => {
            let own = installed.iter().map(|own| json!({ "kind": "cargo", "version": own.version.to_string(), "folder": own.sysroot }));
            let cached = cached.iter().map(|(toolchain, size, used)| {
                let mut view = view(toolchain);
                view["sizeBytes"] = json!(size);
                view["usedAt"] = json!(Timestamp::from(*used).whole_seconds());
                view
            });
            let view =
                json!({ "schema": "quorate-toolchains/v1", "installed": own.collect::<Vec<_>>(), "cached": cached.collect::<Vec<_>>() });
            writeln!(out, "{view}")?;
        }
        Format::Human => {
            for own in &installed {
                writeln!(out, "{:<8}{:<20}installed  {}", "cargo", own.version.to_string(), own.sysroot.display())?;
            }
            for (toolchain, size, used) in &cached {
                let used = Timestamp::from(*used).whole_seconds();
                let how = words(toolchain.provenance.how);
                let mib = size.div_ceil(1 << 20);
                writeln!(
                    out,
                    "{:<8}{:<20}{how:<11}{}  {mib} MiB, used {used}",
                    toolchain.kind.name(),
                    toolchain.version,
                    toolchain.provenance.uri
                )?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn fetch(args: &Fetch) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(args.kind == Kind::Cargo, "{} is not brought in by this command", args.kind);
    let minor = args.version.strip_prefix("1.").and_then(|rest| rest.split('.').next()?.parse().ok());
    let minor: u64 = minor.with_context(|| format!("`{}` is no version of cargo", args.version))?;
    let scratch = tempfile::Builder::new().prefix("quorate-toolchain-").tempdir().context("making a scratch folder")?;
    let engine = Engine::new(args.engine.config(scratch.path()))?;
    let crates = engine.crates();
    let registry = crates.usual().await.context("finding the registry")?;
    eprintln!("cargo 1.{minor}: to build one takes minutes");
    let bringing = crates.cargos().bring(minor, &registry);
    let toolchain = shown(crates.cargos().building(), bringing).await.with_context(|| format!("bringing in cargo {}", args.version))?;
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Json => writeln!(out, "{}", view(&toolchain))?,
        Format::Human => writeln!(out, "{} {}  {}", toolchain.kind, toolchain.version, toolchain.digest)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits for a toolchain and shows how far it is: a bar where there is a terminal, a line a minute elsewhere.
async fn shown<T>(mut building: watch::Receiver<Option<Building>>, bringing: impl Future<Output = T>) -> T {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos} of at most {len} crates");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let begin = Instant::now();
    let mut said = 0;
    tokio::pin!(bringing);
    loop {
        tokio::select! {
            brought = &mut bringing => {
                bar.finish_and_clear();
                return brought;
            }
            Ok(()) = building.changed() => {}
        }
        let Some(Building { compiled, crates, .. }) = *building.borrow_and_update() else { continue };
        bar.set_length(crates as u64);
        bar.set_position(compiled as u64);
        let minutes = begin.elapsed().as_secs() / 60;
        if bar.is_hidden() && minutes > said {
            said = minutes;
            eprintln!("{minutes} min: {compiled} of at most {crates} crates");
        }
    }
}

fn prune(args: &Prune) -> anyhow::Result<ExitCode> {
    let removed = args.place.cache()?.prune(DAY * args.unused_days, SystemTime::now()).context("removing toolchains")?;
    let mut out = std::io::stdout().lock();
    match args.place.format {
        Format::Json => {
            let removed: Vec<_> = removed.iter().map(view).collect();
            writeln!(out, "{}", json!({ "schema": "quorate-toolchains/v1", "removed": removed }))?;
        }
        Format::Human => removed.iter().try_for_each(|toolchain| writeln!(out, "removed {} {}", toolchain.kind, toolchain.version))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn view(toolchain: &Toolchain) -> Value {
    json!({
        "kind": toolchain.kind,
        "version": toolchain.version,
        "digest": toolchain.digest,
        "folder": toolchain.folder,
        "provenance": toolchain.provenance,
    })
}
