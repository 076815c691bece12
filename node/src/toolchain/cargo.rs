//! Versions of cargo: those that are installed, those that are cached, and how one is come by.
//!
//! The cargo of a version alone is enough: to pack a crate it asks rustc for nothing but its version, and
//! this machine's own answers. It is had from the Rust project's archives where a server of those is named
//! (`RUSTUP_DIST_SERVER`), else built here from its crate, which every index has.

mod build;
mod dist;
mod installed;
mod lock;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::PathBuf;
use std::sync::Mutex;

use quorate_proto::Digest;
use quorate_proto::result::Tool;
use semver::Version;
use tokio::sync::{OnceCell, watch};

use super::{How, Kind, Provenance, Toolchain, ToolchainCache};
use crate::cache::digest_of_file;
use crate::ecosystem::{Facilities, ToolchainUse};
use crate::registry::cargo::Registry;
use crate::traffic;
use crate::workshop::BuildError;
pub use installed::{Installed, installed};

/// Largest program that is kept, in bytes.
const PROGRAM_BYTES_MAX: u64 = 1 << 30;

/// A cargo that builds can run.
#[derive(Clone, Debug)]
pub struct Cargo {
    /// Its version.
    pub version: Version,
    /// Its program.
    pub program: PathBuf,
    /// Folders that it needs.
    pub folders: Vec<PathBuf>,
    /// Folders of programs that it calls, such as rustc.
    pub path: Vec<PathBuf>,
    /// SHA-256 of the program, and of the rustc beside it.
    pub tools: Vec<Tool>,
    /// Where it came from, if it was brought in.
    pub provenance: Option<Provenance>,
}

/// A cargo that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// This machine has no Rust at all.
    #[error("this machine has no cargo and rustc")]
    NoneInstalled,
    /// Nobody offers it.
    #[error("no cargo 1.{minor} is offered: {reason}")]
    NotOffered {
        /// The minor version.
        minor: u64,
        /// Why not.
        reason: String,
    },
    /// It is not there, and is not waited for.
    #[error("cargo 1.{minor} is not at hand")]
    NotAtHand {
        /// The minor version.
        minor: u64,
    },
    /// It takes longer than anybody waits; it is built to its end all the same.
    #[error("cargo 1.{minor} is not there after {waited_seconds} seconds and is still being brought in")]
    NotYet {
        /// The minor version.
        minor: u64,
        /// How long it was waited for.
        waited_seconds: u64,
    },
    /// It could not be built.
    #[error("building cargo 1.{minor}")]
    Build {
        /// The minor version.
        minor: u64,
        /// The cause.
        #[source]
        source: Box<BuildError>,
    },
    /// The disk.
    #[error("keeping a toolchain")]
    Disk(#[from] std::io::Error),
}

/// How far the build of a cargo is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Building {
    /// The minor version.
    pub minor: u64,
    /// Crates that were compiled.
    pub compiled: usize,
    /// Crates in its lock file; not every platform needs them all.
    pub crates: usize,
}

/// Every cargo that this machine has or can have.
#[derive(Debug)]
pub struct Cargos {
    facilities: Facilities,
    cache: ToolchainCache,
    installed: OnceCell<Vec<Installed>>,
    told: watch::Sender<Option<Building>>,
    /// How often each minor version was asked for in vain.
    lacked: Mutex<BTreeMap<u64, u64>>,
}

/// Bringing one in. It goes on when nobody waits for it any more: whoever asks next finds it.
struct Errand {
    site: build::Site,
    cache: ToolchainCache,
}

impl Cargos {
    /// Nothing is asked yet.
    pub fn new(facilities: Facilities) -> Self {
        let cache = ToolchainCache::new(&facilities.cache);
        Self { facilities, cache, installed: OnceCell::new(), told: watch::Sender::new(None), lacked: Mutex::default() }
    }

    /// The toolchains that this machine came with.
    pub async fn installed(&self) -> &[Installed] {
        self.installed.get_or_init(installed).await
    }

    /// Minor versions that are at hand without any fetching.
    pub async fn held(&self) -> BTreeSet<u64> {
        let installed = stable(self.installed().await).map(|own| own.version.minor);
        installed.chain(minors(&self.cache).into_iter().map(|(minor, _)| minor)).collect()
    }

    /// The cargo of a minor version: installed, cached, or brought in now.
    pub async fn exact(&self, minor: u64, registry: &Registry) -> Result<Cargo, ToolchainError> {
        let installed = self.installed().await;
        if let Some(own) = stable(installed).find(|own| own.version.minor == minor) {
            return own.cargo();
        }
        let rust = installed.first().ok_or(ToolchainError::NoneInstalled)?;
        if let Some(toolchain) = cached_of(&self.cache, minor) {
            return cached(&toolchain, rust);
        }
        let Some(waits) = self.facilities.toolchain_wait else {
            *self.lacked().entry(minor).or_default() += 1;
            return Err(ToolchainError::NotAtHand { minor });
        };
        let brought = tokio::time::timeout(waits, self.bring(minor, registry)).await;
        let toolchain = brought.map_err(|_| ToolchainError::NotYet { minor, waited_seconds: waits.as_secs() })??;
        cached(&toolchain, rust)
    }

    /// The minor versions that were not at hand since this was last asked, the most wanted first.
    pub fn take_lacked(&self) -> Vec<u64> {
        let lacked = std::mem::take(&mut *self.lacked());
        let mut minors: Vec<_> = lacked.into_iter().collect();
        minors.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        minors.into_iter().map(|(minor, _)| minor).collect()
    }

    fn lacked(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, u64>> {
        self.lacked.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// How far the build of a cargo is, while there is one.
    pub fn building(&self) -> watch::Receiver<Option<Building>> {
        self.told.subscribe()
    }

    /// Brings a version into the cache, one process and one version at a time: building takes minutes.
    pub async fn bring(&self, minor: u64, registry: &Registry) -> Result<Toolchain, ToolchainError> {
        let rust = self.installed().await.first().ok_or(ToolchainError::NoneInstalled)?.clone();
        let registry = Registry::new(self.facilities.http.clone(), registry.index().clone());
        let site = build::Site { minor, rust, registry, facilities: self.facilities.clone(), told: self.told.clone() };
        let errand = Errand { site, cache: self.cache.clone() };
        tokio::spawn(traffic::within(traffic::current(), errand.run())).await.map_err(std::io::Error::other)?
    }

    /// The cargo at hand that is nearest to a minor version: the first at or after it, else the last.
    pub async fn nearest(&self, minor: Option<u64>, toolchains: ToolchainUse) -> Result<Cargo, ToolchainError> {
        let installed = self.installed().await;
        let rust = installed.first().ok_or(ToolchainError::NoneInstalled)?;
        let own: BTreeSet<u64> = stable(installed).map(|own| own.version.minor).collect();
        let at_hand = if toolchains == ToolchainUse::Exact { self.held().await } else { own.clone() };
        let brought = nearest(&at_hand, minor).filter(|minor| !own.contains(minor));
        if let Some(toolchain) = brought.and_then(|minor| cached_of(&self.cache, minor)) {
            return cached(&toolchain, rust);
        }
        let nearest = nearest(&own, minor);
        stable(installed).find(|own| Some(own.version.minor) == nearest).unwrap_or(rust).cargo()
    }
}

impl Errand {
    async fn run(self) -> Result<Toolchain, ToolchainError> {
        let Self { site, cache } = self;
        let waiting = cache.clone();
        let lock = tokio::task::spawn_blocking(move || waiting.lock(Kind::Cargo.name()));
        let _lock = lock.await.map_err(std::io::Error::other)??;
        if let Some(toolchain) = cached_of(&cache, site.minor) {
            return Ok(toolchain);
        }
        if let Some(toolchain) = dist::fetch(site.minor, &site.facilities, &cache).await? {
            return Ok(toolchain);
        }
        build::build(&site, &cache).await
    }
}

fn stable(installed: &[Installed]) -> impl Iterator<Item = &Installed> {
    installed.iter().filter(|own| own.version.pre.is_empty())
}

/// The minor version at hand that stands in for another one: the first at or after it, else the last.
pub fn nearest(at_hand: &BTreeSet<u64>, minor: Option<u64>) -> Option<u64> {
    minor.and_then(|minor| at_hand.range(minor..).next()).or(at_hand.last()).copied()
}

fn cached_of(cache: &ToolchainCache, minor: u64) -> Option<Toolchain> {
    let (_, version) = minors(cache).into_iter().rfind(|(own, _)| *own == minor)?;
    cache.get(Kind::Cargo, &version)
}

fn minors(cache: &ToolchainCache) -> Vec<(u64, String)> {
    let all = cache.list().into_iter().filter(|(toolchain, ..)| toolchain.kind == Kind::Cargo);
    all.filter_map(|(toolchain, ..)| Some((Version::parse(&toolchain.version).ok()?.minor, toolchain.version))).collect()
}

/// A cached cargo beside this machine's rustc.
fn cached(toolchain: &Toolchain, rust: &Installed) -> Result<Cargo, ToolchainError> {
    let bin = toolchain.folder.join("bin");
    let program = bin.join("cargo");
    let malformed = |error: semver::Error| ToolchainError::Disk(std::io::Error::other(error));
    Ok(Cargo {
        version: Version::parse(&toolchain.version).map_err(malformed)?,
        tools: vec![tool("cargo", &toolchain.version, digest_of_file(&program)?.0), rust.rustc()?],
        folders: [toolchain.folder.clone()].into_iter().chain(rust.folders()).collect(),
        path: vec![bin, rust.sysroot.join("bin")],
        program,
        provenance: Some(toolchain.provenance.clone()),
    })
}

fn tool(name: &str, version: &str, digest: Digest) -> Tool {
    Tool { name: name.to_owned(), version: version.to_owned(), digest: Some(digest) }
}

/// What a built or unpacked cargo is kept as: its program alone.
fn keep(program: impl Read, version: &str, provenance: Provenance, cache: &ToolchainCache) -> Result<Toolchain, ToolchainError> {
    use std::os::unix::fs::PermissionsExt as _;
    let staging = cache.stage()?;
    let bin = staging.folder().join("bin");
    std::fs::create_dir(&bin)?;
    let mut file = std::fs::File::create(bin.join("cargo"))?;
    std::io::copy(&mut program.take(PROGRAM_BYTES_MAX), &mut file)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o755))?;
    std::fs::set_permissions(&bin, std::fs::Permissions::from_mode(0o755))?;
    drop(file);
    Ok(cache.keep(staging, Kind::Cargo, version, provenance)?)
}

/// How a toolchain came here, for people.
pub fn words(how: How) -> &'static str {
    match how {
        How::Unpacked => "unpacked",
        How::Built => "built",
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_nearest_cargo_is_the_first_at_or_after_else_the_last() {
        let at_hand = [50, 75, 95].into();
        let nearest = |minor| super::nearest(&at_hand, minor);
        assert_eq!((nearest(Some(38)), nearest(Some(50)), nearest(Some(51))), (Some(50), Some(50), Some(75)));
        assert_eq!((nearest(Some(96)), nearest(None)), (Some(95), Some(95)));
        assert_eq!(super::nearest(&[].into(), Some(1)), None);
    }
}
