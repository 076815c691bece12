//! `quorate-node environment`: what builds run in, and what differs between two such things.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use quorate_node::blob::BlobStore;
use quorate_node::cache::Cache;
use quorate_node::environment::{Difference, Host, Inventory, Item, Rootfs, RootfsSpec};
use quorate_proto::Digest;
use quorate_proto::provenance::BLOB_BYTES_MAX;

use super::Format;

/// The version of the JSON of a difference.
const SCHEMA: &str = "quorate-environment-diff/v1";

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// List what an environment has; JSON is the inventory itself, byte for byte what its digest is of.
    Show(Show),
    /// Say what differs between two environments; exit code 1 when anything does.
    Diff(Diff),
}

#[derive(clap::Args)]
pub(crate) struct Show {
    /// A Debian root of this suite instead of the machine's own tools; made when it is not in the cache.
    #[arg(long, value_name = "SUITE")]
    rootfs: Option<String>,
    /// Packages in the root besides the essential ones and build-essential, separated by commas.
    #[arg(long, value_name = "PACKAGES", value_delimiter = ',', requires = "rootfs")]
    include: Vec<String>,
    #[command(flatten)]
    place: Place,
    /// How to print.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
}

#[derive(clap::Args)]
pub(crate) struct Diff {
    /// An inventory file, a digest that this node knows, `host`, or `rootfs:SUITE`.
    a: String,
    /// The other, in the same forms.
    b: String,
    /// The data folder of the node whose evidence is searched for digests.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
    /// How to print.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
}

#[derive(clap::Args)]
struct Place {
    /// The interpreter that builds run on.
    #[arg(long, value_name = "PYTHON", default_value = "python3")]
    python: PathBuf,
    /// Where roots and inventories are kept; the user's cache folder when absent.
    #[arg(long, value_name = "DIR", env = "QUORATE_CACHE_DIR")]
    cache_dir: Option<PathBuf>,
    /// The archive that roots are made from; apt's own when absent.
    #[arg(long, value_name = "URL")]
    mirror: Option<url::Url>,
}

pub(crate) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Show(args) => show(&args).await,
        Command::Diff(args) => diff(&args).await,
    }
}

async fn show(args: &Show) -> anyhow::Result<ExitCode> {
    let bytes = match &args.rootfs {
        Some(suite) => args.place.rootfs(suite, args.include.iter().cloned().collect()).await?,
        None => args.place.host().await?,
    };
    // So that `diff` finds it by its digest.
    args.place.cache()?.put(&bytes).context("keeping the inventory")?;
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Json => {
            out.write_all(&bytes)?;
            writeln!(out)?;
        }
        Format::Human => write!(out, "{}", listed(&Inventory::parse(&bytes)?))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn diff(args: &Diff) -> anyhow::Result<ExitCode> {
    let a = inventory(&args.a, args).await.with_context(|| format!("reading environment `{}`", args.a))?;
    let b = inventory(&args.b, args).await.with_context(|| format!("reading environment `{}`", args.b))?;
    let difference = Difference::between(&a, &b);
    let text = match args.format {
        Format::Json => {
            let mut view = serde_json::to_value(&difference)?;
            view["schema"] = SCHEMA.into();
            format!("{view}\n")
        }
        Format::Human => said(&difference),
    };
    write!(std::io::stdout().lock(), "{text}")?;
    Ok(if difference.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

async fn inventory(named: &str, args: &Diff) -> anyhow::Result<Inventory> {
    let bytes = if named == "host" {
        args.place.host().await?
    } else if let Some(suite) = named.strip_prefix("rootfs:") {
        args.place.rootfs(suite, BTreeSet::new()).await?
    } else if let Ok(digest) = named.parse::<Digest>() {
        args.place.known(digest, args.dir.as_deref())?
    } else {
        read(Path::new(named))?
    };
    Ok(Inventory::parse(&bytes)?)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let size = std::fs::metadata(path)?.len();
    if size > BLOB_BYTES_MAX as u64 {
        bail!("{size} bytes, and an inventory has at most {BLOB_BYTES_MAX}");
    }
    Ok(std::fs::read(path)?.trim_ascii_end().to_vec())
}

impl Place {
    fn cache(&self) -> anyhow::Result<Cache> {
        let dir = self.cache_dir.clone().or_else(super::cache_home).context("no cache folder; hint: --cache-dir")?;
        Cache::open(&dir).with_context(|| format!("opening the cache {}", dir.display()))
    }

    async fn host(&self) -> anyhow::Result<Vec<u8>> {
        Ok(Host::detect(&self.python).await?.inventory)
    }

    async fn rootfs(&self, suite: &str, include: BTreeSet<String>) -> anyhow::Result<Vec<u8>> {
        let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
        let mut spec = RootfsSpec::of_this_machine(suite, &today)?;
        spec.include = include;
        if let Some(mirror) = &self.mirror {
            spec.archives = vec![format!("deb {} {suite} main", mirror.as_str().trim_end_matches('/'))];
        }
        eprintln!("the root of {suite}: from the cache, or made now, which takes a minute or two");
        Ok(Rootfs::make(&self.cache()?, &spec).await?.inventory)
    }

    fn known(&self, digest: Digest, dir: Option<&Path>) -> anyhow::Result<Vec<u8>> {
        if let Some(dir) = dir
            && let Some(bytes) = BlobStore::open(&dir.join("blobs"))?.get(digest)?
        {
            return Ok(bytes);
        }
        match self.cache()?.get(digest) {
            Some(path) => read(&path),
            None => bail!("this node has no file {digest}; hint: --dir names the node's data folder"),
        }
    }
}

fn listed(inventory: &Inventory) -> String {
    let environment = inventory.environment();
    let mut text = format!("{}  {:?}\n", environment.digest, environment.class).to_lowercase();
    // Writing to a string cannot fail.
    for (name, value) in &inventory.system {
        let _ = writeln!(text, "system   {name:<40} {value}");
    }
    for tool in &inventory.tools {
        let _ = writeln!(text, "tool     {:<40} {}", tool.name, tool.version);
    }
    for package in &inventory.packages {
        let _ = writeln!(text, "package  {:<40} {}", format!("{}:{}", package.name, package.architecture), package.version);
    }
    text
}

fn said(difference: &Difference) -> String {
    let mut text = format!("a  {}\nb  {}\n", difference.a.digest, difference.b.digest);
    let only = |text: &mut String, mark: &str, items: &[Item]| {
        for item in items {
            let _ = writeln!(text, "{mark} {:<40} {}", item.part.to_string(), item.version);
        }
    };
    only(&mut text, "-", &difference.only_a);
    only(&mut text, "+", &difference.only_b);
    for change in &difference.changed {
        let _ = writeln!(text, "~ {:<40} {} -> {}", change.part.to_string(), change.a, change.b);
    }
    let (only_a, only_b, changed) = (difference.only_a.len(), difference.only_b.len(), difference.changed.len());
    if difference.is_empty() {
        text.push_str("nothing that takes part in builds differs\n");
    } else {
        let _ = writeln!(text, "{only_a} only in a, {only_b} only in b, {changed} in other versions");
    }
    text
}
