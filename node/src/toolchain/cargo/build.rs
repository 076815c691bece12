//! cargo built here from its crate: version 0.(N+1) of the crate is cargo 1.N.
//!
//! Built in the sandbox like anything else that strangers wrote: its dependencies come through the recording
//! proxy, and the build itself reaches nothing. Without debugging information and without optimising: what
//! cargo packs does not depend on how fast it is.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use quorate_proto::result::{Phase, Tool};
use semver::Version;
use tokio::sync::watch;

use super::lock::{self, Change, Package, WRITER};
use super::{Building, How, Installed, Provenance, Toolchain, ToolchainCache, ToolchainError, keep};
use crate::cache::Currency;
use crate::ecosystem::Facilities;
use crate::fetch::cargo::{PORT, write_home};
use crate::proxy::Proxy;
use crate::proxy::cargo::TimeMachine;
use crate::registry::cargo::{CrateName, Line, Registry};
use crate::sandbox::{Exit, Finished, Limits, Mode, Network, open_output};
use crate::source::{tree, unpack};
use crate::workshop::{BuildError, Failure, OUT, SOURCE, TOOLS, Task, Tools, Workshop};

/// Longest that one command may run: building takes minutes, on a busy machine many.
const WALL_MAX: Duration = Duration::from_hours(2);
/// Largest crate of cargo, in bytes, and largest lock file.
const CRATE_BYTES_MAX: u64 = 64 << 20;
const LOCK_BYTES_MAX: u64 = 4 << 20;
/// Most dependencies of an old lock file that are replaced.
const REPLACED_MAX: usize = 24;
/// How often it is counted how far a build is.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Without a lock file there is none that could be in the way; with one, it is the one that builds.
const FETCH: [&str; 2] = ["fetch", "--locked"];
/// What does not build any more shows all at once.
const BUILD: [&str; 6] = ["build", "--bin", "cargo", "--offline", "--locked", "--keep-going"];

/// What a build is of, and with what.
#[derive(Debug)]
pub(super) struct Site {
    /// The minor version.
    pub(super) minor: u64,
    /// What builds it.
    pub(super) rust: Installed,
    /// Where its crate and its dependencies are.
    pub(super) registry: Registry,
    /// The node's.
    pub(super) facilities: Facilities,
    /// Who is told how far it is.
    pub(super) told: watch::Sender<Option<Building>>,
}

/// Builds a minor version and keeps it.
pub(super) async fn build(site: &Site, cache: &ToolchainCache) -> Result<Toolchain, ToolchainError> {
    let minor = site.minor;
    let line = line_of(minor, &site.registry).await?;
    let failed = |source| ToolchainError::Build { minor, source: Box::new(source) };
    let built = site.run(&line).await;
    site.told.send_replace(None);
    let (workshop, replaced) = built.map_err(failed)?;
    let uri = format!("pkg:cargo/cargo@{}", line.version);
    let rust = &site.rust;
    let built_with = vec![rust.rustc()?, Tool { name: "cargo".to_owned(), version: rust.version.to_string(), digest: None }];
    let provenance = Provenance { how: How::Built, uri, digest: line.checksum, built_with, replaced };
    let program = open_output(&workshop.out(), "target/debug/cargo".as_ref())?;
    keep(program, &format!("1.{minor}.{}", line.version.patch), provenance, cache)
}

/// The newest patch of the crate that is this version; yanked only if there is no other.
async fn line_of(minor: u64, registry: &Registry) -> Result<Line, ToolchainError> {
    let not_offered = |reason: String| ToolchainError::NotOffered { minor, reason };
    let name = "cargo".parse().map_err(|_| not_offered("no name".to_owned()))?;
    let lines = registry.lines(&name, Currency::Now).await.map_err(|error| not_offered(crate::proxy::describe(&error)))?;
    let fitting = lines.into_iter().filter(|line| {
        let version = &line.version;
        version.major == 0 && version.minor == minor + 1 && version.pre.is_empty()
    });
    let newest = fitting.max_by(|a, b| (!a.is_yanked, &a.version).cmp(&(!b.is_yanked, &b.version)));
    newest.ok_or_else(|| not_offered(format!("the index has no cargo 0.{}", minor + 1)))
}

impl Site {
    /// Builds with the crate's own lock file, but for the writer of archives, which is as old as in the makers'
    /// build, and for what this machine's rustc does not take any more, which is as new as fits.
    async fn run(&self, line: &Line) -> Result<(Workshop, Vec<String>), BuildError> {
        let workshop = self.lay_out(line).await?;
        let proxy = Proxy::start(|recorder| self.index(None).routes(recorder))?;
        let mut replaced: Vec<Change> = self.lock(&workshop, line, &proxy).await?.into_iter().collect();
        loop {
            self.must(&workshop, &FETCH, Some(&proxy)).await?;
            let finished = self.watched(&workshop).await?;
            if finished.exit == Exit::Code(0) {
                let replaced = lock::words(&replaced, &locked(&workshop));
                return Ok((workshop, replaced));
            }
            let mut changes = lock::changes(&finished.log_tail, &locked(&workshop));
            changes.retain(|change| !replaced.contains(change));
            if changes.is_empty() || replaced.len() + changes.len() > REPLACED_MAX {
                return Err(Failure::of(Phase::Build, &finished, workshop.limits()).into());
            }
            for change in changes {
                tracing::info!(cargo = %format!("1.{}", self.minor), ?change, "does not build here any more and is replaced");
                self.make(&change, &workshop, &proxy).await?;
                replaced.push(change);
            }
        }
    }

    /// The lock file as the makers had it, as far as it shows in archives. A crate without one gets that of
    /// its day.
    async fn lock(&self, workshop: &Workshop, line: &Line, proxy: &Proxy) -> Result<Option<Change>, BuildError> {
        if locked(workshop).is_empty() {
            let then = Proxy::start(|recorder| self.index(line.published_at).routes(recorder))?;
            self.must(workshop, &["generate-lockfile"], Some(&then)).await?;
        }
        let (locked, name) = (locked(workshop), name_of_writer()?);
        if lock::version_of(&name, &locked).is_none() {
            return Ok(None);
        }
        let Some(version) = lock::writer_then(line, &self.lines(&name).await?, &locked) else { return Ok(None) };
        let change = Change::Lowered(name);
        self.change(&change, Some(&version), workshop, proxy).await?;
        Ok(Some(change))
    }

    /// Changes the lock file, and leaves the writer of archives as it was.
    async fn make(&self, change: &Change, workshop: &Workshop, proxy: &Proxy) -> Result<(), BuildError> {
        let before = locked(workshop);
        let to = match change {
            Change::Raised(name) => lock::version_after(&self.lines(name).await?, name, &before),
            Change::Lowered(_) | Change::Renewed(_) | Change::All => None,
        };
        self.change(change, to.as_ref(), workshop, proxy).await?;
        let writer = name_of_writer()?;
        let version = lock::version_of(&writer, &before);
        if version == lock::version_of(&writer, &locked(workshop)) {
            return Ok(());
        }
        self.change(&Change::Lowered(writer), version, workshop, proxy).await
    }

    async fn change(&self, change: &Change, to: Option<&Version>, workshop: &Workshop, proxy: &Proxy) -> Result<(), BuildError> {
        let version = to.map(Version::to_string);
        let precise = version.iter().flat_map(|version| ["--precise", version]);
        self.must(workshop, &change.arguments().into_iter().chain(precise).collect::<Vec<_>>(), Some(proxy)).await
    }

    async fn lines(&self, name: &CrateName) -> Result<Vec<Line>, BuildError> {
        self.registry.lines(name, Currency::Now).await.map_err(|error| BuildError::Registry(crate::proxy::describe(&error)))
    }

    fn index(&self, cutoff: Option<quorate_proto::Timestamp>) -> TimeMachine {
        let Facilities { http, cache, .. } = &self.facilities;
        let registry = Registry::new(http.clone(), self.registry.index().clone());
        TimeMachine { cutoff, ..TimeMachine::of_today(registry, http.clone(), cache.clone()) }
    }

    async fn lay_out(&self, line: &Line) -> Result<Workshop, BuildError> {
        let Facilities { sandbox, limits, decoys, work_dir, cache, .. } = &self.facilities;
        let limits = Limits { wall: WALL_MAX, ..limits.clone() };
        let tools = Tools { sandbox: sandbox.clone(), limits, decoys: decoys.clone() };
        let workshop = Workshop::new(work_dir, tools)?;
        let download = self.registry.download(line, CRATE_BYTES_MAX, cache).await;
        let download = download.map_err(|error| BuildError::Registry(crate::proxy::describe(&error)))?;
        let source = workshop.source();
        let unpacked = tokio::task::spawn_blocking(move || unpack::unpack(&download.path, "cargo.tar.gz", &source)).await;
        unpacked.map_err(std::io::Error::other)?.map_err(std::io::Error::other)?;
        write_home(&workshop.tools(), &format!("sparse+http://127.0.0.1:{PORT}/index/"), self.rust.version.minor)?;
        workshop.hand_over()?;
        Ok(workshop)
    }

    /// Builds, and tells how far it is.
    async fn watched(&self, workshop: &Workshop) -> Result<Finished, BuildError> {
        let deps = workshop.out().join("target/debug/deps");
        let crates = locked(workshop).len();
        let build = self.cargo(workshop, &BUILD, None);
        tokio::pin!(build);
        loop {
            let compiled = compiled(&deps);
            self.told.send_replace(Some(Building { minor: self.minor, compiled, crates }));
            tokio::select! {
                finished = &mut build => return finished,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Runs what has to succeed.
    async fn must(&self, workshop: &Workshop, words: &[&str], proxy: Option<&Proxy>) -> Result<(), BuildError> {
        let finished = self.cargo(workshop, words, proxy).await?;
        match finished.exit {
            Exit::Code(0) => Ok(()),
            _ => Err(Failure::of(Phase::Fetch, &finished, workshop.limits()).into()),
        }
    }

    async fn cargo(&self, workshop: &Workshop, words: &[&str], proxy: Option<&Proxy>) -> Result<Finished, BuildError> {
        let program = self.rust.sysroot.join("bin/cargo").to_string_lossy().into_owned();
        let manifest = ["--manifest-path".to_owned(), format!("{SOURCE}/Cargo.toml")];
        let argv = [program].into_iter().chain(words.iter().map(|word| (*word).to_owned())).chain(manifest).collect();
        let network = proxy.map_or(Network::None, |proxy| Network::Proxy { socket: proxy.socket().to_owned(), port: PORT });
        let task = Task { argv, variables: self.variables(), network, folders: self.rust.folders(), tools: Mode::ReadWrite };
        Ok(workshop.run(task).await?)
    }

    fn variables(&self) -> BTreeMap<String, String> {
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", self.rust.sysroot.join("bin").display());
        let home = format!("{TOOLS}/cargo-home");
        let target = format!("{OUT}/target");
        let all = [
            ("PATH", path.as_str()),
            ("CARGO_HOME", &home),
            ("CARGO_TARGET_DIR", &target),
            ("CARGO_TERM_COLOR", "never"),
            ("CARGO_INCREMENTAL", "0"),
            ("CARGO_RESOLVER_INCOMPATIBLE_RUST_VERSIONS", "fallback"),
            ("CARGO_PROFILE_DEV_DEBUG", "false"),
            ("CARGO_PROFILE_DEV_STRIP", "true"),
            // The zlib of the crate and not the machine's: its bytes are in every archive.
            ("LIBZ_SYS_STATIC", "1"),
            ("RUSTFLAGS", "--cap-lints=allow"),
        ];
        all.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }
}

fn name_of_writer() -> Result<CrateName, BuildError> {
    Ok(WRITER.parse().map_err(std::io::Error::other)?)
}

/// What the lock file in a workshop's source says.
fn locked(workshop: &Workshop) -> Vec<Package> {
    let bytes = tree::read(&workshop.source(), "Cargo.lock", LOCK_BYTES_MAX).ok().flatten().unwrap_or_default();
    lock::packages(&String::from_utf8_lossy(&bytes))
}

/// How many crates rustc is through with, by the lists of their files that it leaves.
fn compiled(deps: &Path) -> usize {
    let names = std::fs::read_dir(deps).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "d")).count()
}
