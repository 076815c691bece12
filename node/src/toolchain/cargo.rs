//! Versions of cargo: those that are installed, those that are cached, and how one is come by.
//!
//! The cargo of a version alone is enough: to pack a crate it asks rustc for nothing but its version, and
//! this machine's own answers. It is had from the Rust project's archives where a server of those is named
//! (`RUSTUP_DIST_SERVER`), else built here from its crate, which every index has.

mod build;
mod dist;
mod installed;

use std::collections::BTreeSet;
use std::io::Read;
use std::path::PathBuf;

use quorate_proto::Digest;
use quorate_proto::result::Tool;
use semver::Version;
use tokio::sync::OnceCell;

use super::{How, Kind, Provenance, Toolchain, ToolchainCache};
use crate::cache::digest_of_file;
use crate::ecosystem::Facilities;
use crate::registry::cargo::Registry;
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

/// Every cargo that this machine has or can have.
#[derive(Debug)]
pub struct Cargos {
    facilities: Facilities,
    cache: ToolchainCache,
    installed: OnceCell<Vec<Installed>>,
}

impl Cargos {
    /// Nothing is asked yet.
    pub fn new(facilities: Facilities) -> Self {
        let cache = ToolchainCache::new(&facilities.cache);
        Self { facilities, cache, installed: OnceCell::new() }
    }

    /// The toolchains that this machine came with.
    pub async fn installed(&self) -> &[Installed] {
        self.installed.get_or_init(installed).await
    }

    /// Minor versions that are at hand without any fetching.
    pub async fn held(&self) -> BTreeSet<u64> {
        let installed = self.installed().await.iter().filter(|own| own.version.pre.is_empty()).map(|own| own.version.minor);
        installed.chain(self.cached().into_iter().map(|(minor, _)| minor)).collect()
    }

    /// The cargo of a minor version: installed, cached, or brought in now.
    pub async fn exact(&self, minor: u64, registry: &Registry) -> Result<Cargo, ToolchainError> {
        let installed = self.installed().await;
        if let Some(own) = installed.iter().find(|own| own.version.minor == minor && own.version.pre.is_empty()) {
            return own.cargo();
        }
        let rust = installed.first().ok_or(ToolchainError::NoneInstalled)?;
        if let Some(toolchain) = self.cached_of(minor) {
            return cached(&toolchain, rust);
        }
        cached(&self.bring(minor, registry).await?, rust)
    }

    /// Brings a version into the cache, one process and one version at a time: building takes minutes.
    pub async fn bring(&self, minor: u64, registry: &Registry) -> Result<Toolchain, ToolchainError> {
        let cache = self.cache.clone();
        let lock = tokio::task::spawn_blocking(move || cache.lock(Kind::Cargo.name()));
        let _lock = lock.await.map_err(std::io::Error::other)??;
        if let Some(toolchain) = self.cached_of(minor) {
            return Ok(toolchain);
        }
        if let Some(toolchain) = dist::fetch(minor, &self.facilities, &self.cache).await? {
            return Ok(toolchain);
        }
        let rust = self.installed().await.first().ok_or(ToolchainError::NoneInstalled)?;
        build::build(minor, registry, rust, &self.facilities, &self.cache).await
    }

    /// The installed cargo that is nearest to a minor version: the first at or after it, else the last.
    pub async fn nearest(&self, minor: Option<u64>) -> Result<Cargo, ToolchainError> {
        let installed = self.installed().await;
        let stable = || installed.iter().filter(|own| own.version.pre.is_empty());
        let after = minor.and_then(|minor| stable().filter(|own| own.version.minor >= minor).min_by_key(|own| own.version.minor));
        let nearest = after.or_else(|| stable().max_by(|a, b| a.version.cmp(&b.version))).or(installed.first());
        nearest.ok_or(ToolchainError::NoneInstalled)?.cargo()
    }

    fn cached_of(&self, minor: u64) -> Option<Toolchain> {
        let (_, version) = self.cached().into_iter().rfind(|(own, _)| *own == minor)?;
        self.cache.get(Kind::Cargo, &version)
    }

    fn cached(&self) -> Vec<(u64, String)> {
        let all = self.cache.list().into_iter().filter(|(toolchain, ..)| toolchain.kind == Kind::Cargo);
        all.filter_map(|(toolchain, ..)| Some((Version::parse(&toolchain.version).ok()?.minor, toolchain.version))).collect()
    }
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
