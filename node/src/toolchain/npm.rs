//! Node, npm and pnpm in the versions that published an artifact: the packages `node-linux-<machine>`, `npm` and `pnpm`
//! of the registry itself.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use quorate_proto::result::Tool;
use semver::Version;
use tokio::task::spawn_blocking;

use super::{How, Kind, Provenance, Toolchain, ToolchainCache};
use crate::cache::{Cache, Currency};
use crate::registry::npm::{PackageName, Registry, packument};
use crate::registry::{Download, RegistryError};
use crate::source::unpack::{self, UnpackError};

/// Largest tarball of a toolchain, in bytes.
const TARBALL_BYTES_MAX: u64 = 256 << 20;
/// How long it is believed which versions there are: one that is wanted and missing is asked for in each rebuild.
const VERSIONS_AGE_MAX: Duration = Duration::from_hours(24);

/// A toolchain that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// The registry's fault, or it has none.
    #[error("fetching a toolchain")]
    Registry(#[from] RegistryError),
    /// A tarball that is none.
    #[error("unpacking a toolchain")]
    Unpack(#[from] UnpackError),
    /// The disk.
    #[error("keeping a toolchain")]
    Disk(#[from] io::Error),
    /// No version near the one that is wanted.
    #[error("the registry has no {kind} near version {wanted}")]
    None {
        /// What.
        kind: Kind,
        /// Which.
        wanted: Version,
    },
}

/// Where toolchains come from and where they are kept.
#[derive(Clone, Debug)]
pub struct Source {
    /// The registry.
    pub registry: Registry,
    /// Where downloads and toolchains are kept.
    pub cache: Cache,
}

impl Source {
    /// The toolchain of a version, else of the nearest one that there is.
    pub async fn get(&self, kind: Kind, wanted: &Version) -> Result<Toolchain, ToolchainError> {
        if let Some(held) = self.held(kind, wanted).await? {
            return Ok(held);
        }
        let name = package(kind);
        let packument = self.registry.packument(&name, Currency::Within(VERSIONS_AGE_MAX)).await?;
        let known = packument.versions.keys().filter_map(|text| packument::version(text));
        let version = nearest(known, wanted).ok_or_else(|| ToolchainError::None { kind, wanted: wanted.clone() })?;
        if let Some(held) = self.held(kind, &version).await? {
            return Ok(held);
        }
        let entry = &packument.versions[&version.to_string()];
        let none = || ToolchainError::None { kind, wanted: wanted.clone() };
        let url = packument.tarball(entry).ok_or_else(none)?;
        let download = self.registry.download(&url, &entry.integrity(), TARBALL_BYTES_MAX, &self.cache).await?;
        let uri = name.purl(&version.to_string()).map_or_else(|| url.to_string(), |purl| purl.to_string());
        let toolchains = ToolchainCache::new(&self.cache);
        spawn_blocking(move || kept(&toolchains, kind, &version, &download, uri)).await.map_err(io::Error::other)?
    }

    async fn held(&self, kind: Kind, version: &Version) -> io::Result<Option<Toolchain>> {
        let (toolchains, version) = (ToolchainCache::new(&self.cache), version.to_string());
        spawn_blocking(move || toolchains.get(kind, &version)).await.map_err(io::Error::other)
    }
}

/// The program of a node toolchain, or the script of a package manager.
pub fn entry_point(toolchain: &Toolchain) -> PathBuf {
    match toolchain.kind {
        Kind::Npm => toolchain.folder.join("bin/npm-cli.js"),
        Kind::Pnpm => toolchain.folder.join("bin/pnpm.cjs"),
        kind => toolchain.folder.join("bin").join(kind.name()),
    }
}

/// A toolchain as a result names it.
pub fn tool(toolchain: &Toolchain) -> Tool {
    Tool { name: toolchain.kind.name().to_owned(), version: toolchain.version.clone(), digest: Some(toolchain.provenance.digest) }
}

fn kept(toolchains: &ToolchainCache, kind: Kind, version: &Version, download: &Download, uri: String) -> Result<Toolchain, ToolchainError> {
    let version = version.to_string();
    let _lock = toolchains.lock(&format!("{kind}-{version}"))?;
    if let Some(held) = toolchains.get(kind, &version) {
        return Ok(held);
    }
    let staging = toolchains.stage()?;
    let folder = staging.folder();
    unpack::unpack(&download.path, "toolchain.tgz", &folder)?;
    if kind == Kind::Node {
        // Headers and manuals take no part in what is built here.
        for extra in fs::read_dir(&folder)?.flatten().filter(|entry| entry.file_name() != "bin") {
            if extra.file_type()?.is_dir() { fs::remove_dir_all(extra.path())? } else { fs::remove_file(extra.path())? }
        }
    }
    let provenance = Provenance { how: How::Unpacked, uri, digest: download.digest, built_with: Vec::new(), replaced: Vec::new() };
    Ok(toolchains.keep(staging, kind, &version, provenance)?)
}

fn package(kind: Kind) -> PackageName {
    let machine = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    let name = match kind {
        Kind::Npm | Kind::Pnpm => kind.name().to_owned(),
        kind => format!("{kind}-linux-{machine}"),
    };
    name.parse().expect("made of letters, digits and hyphens")
}

/// The wanted version, else the next older one of its major version, else the next newer one of it.
fn nearest(known: impl Iterator<Item = Version>, wanted: &Version) -> Option<Version> {
    let mut of_major: Vec<_> = known.filter(|version| version.major == wanted.major && version.pre.is_empty()).collect();
    of_major.sort();
    let older = of_major.iter().rev().find(|version| *version <= wanted);
    older.or_else(|| of_major.first()).cloned()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_nearest_version_is_of_the_same_major() {
        let near = |known: &[&str], wanted: &str| {
            let known = known.iter().map(|text| text.parse().unwrap());
            nearest(known, &wanted.parse().unwrap()).map(|version| version.to_string())
        };
        assert_eq!(near(&["16.1.0", "16.3.0", "18.0.0"], "16.2.0").as_deref(), Some("16.1.0"));
        assert_eq!(near(&["16.3.0", "16.4.0"], "16.2.0").as_deref(), Some("16.3.0"));
        assert_eq!(near(&["16.3.0", "16.2.0"], "16.2.0").as_deref(), Some("16.2.0"));
        assert_eq!(near(&["18.0.0", "16.0.0-rc.1"], "16.2.0"), None);
    }
}
