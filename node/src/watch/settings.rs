//! `[watch]`: what is rebuilt without being asked for.

use std::path::PathBuf;
use std::time::Duration;

use quorate_proto::Purl;
use serde::Deserialize;

use super::machine::Backlog;

/// Shortest rest between two polls of one registry, in seconds.
pub const EVERY_SECONDS_MIN: u64 = 1;
/// Longest.
pub const EVERY_SECONDS_MAX: u64 = 86_400;
/// Most packages on a watch list.
pub const PACKAGES_MAX: usize = 20_000;

/// `[watch]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchConfig {
    /// Package URLs. With a version: every file of that release. Without: every release published from now
    /// on, and of those before as much as `backlog` says. What was done is not done again.
    pub packages: Vec<Purl>,
    /// Registries whose whole feed is followed. Default: none.
    pub feeds: Vec<Kind>,
    /// Seconds between two polls of one registry. Default 300.
    pub every_seconds: u64,
    /// What is rebuilt of the releases that a package has when its watch begins: `none`, `latest` (default), `all`.
    pub backlog: Backlog,
    /// `[watch.pypi]`.
    pub pypi: PypiFeed,
    /// `[watch.npm]`.
    pub npm: NpmFeed,
    /// `[watch.cargo]`.
    pub cargo: CargoFeed,
    /// `[watch.deb]`.
    pub deb: DebFeed,
}

/// A kind of registry: a package URL's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Python.
    Pypi,
    /// JavaScript.
    Npm,
    /// Rust.
    Cargo,
    /// Debian and its like.
    Deb,
}

/// `[watch.pypi]`: the changelog.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PypiFeed {
    /// The XML-RPC address. Default: `pypi` beside the index; where there is none, the index's own list of
    /// projects with their serials.
    pub changelog_url: Option<String>,
}

/// `[watch.npm]`: the changes feed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NpmFeed {
    /// The database that has `_changes`. Default: the registry itself.
    pub changes_url: Option<String>,
}

/// `[watch.cargo]`: the feed of updates.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CargoFeed {
    /// The RSS feed. No default: an index does not say where it is.
    pub updates_url: Option<String>,
}

/// `[watch.deb]`: which parts of the archive.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DebFeed {
    /// Suites. Default: those of `[registry.deb]`, else those that the rebuild engine uses.
    pub suites: Vec<String>,
    /// Components. Default: `main`.
    pub components: Vec<String>,
    /// Architectures. Default: this machine's. Packages for all are in each.
    pub architectures: Vec<String>,
    /// The keys that may sign. Default: those of `[registry.deb]`, else Debian's keyring.
    pub keyring: Option<PathBuf>,
    /// Namespace of package URLs. Default: `debian`.
    pub namespace: Option<String>,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            packages: Vec::new(),
            feeds: Vec::new(),
            every_seconds: 300,
            backlog: Backlog::default(),
            pypi: PypiFeed::default(),
            npm: NpmFeed::default(),
            cargo: CargoFeed::default(),
            deb: DebFeed::default(),
        }
    }
}

impl WatchConfig {
    /// Refuses what cannot work: which key, and why.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if !(EVERY_SECONDS_MIN..=EVERY_SECONDS_MAX).contains(&self.every_seconds) {
            return Err(("watch.every_seconds", format!("between {EVERY_SECONDS_MIN} and {EVERY_SECONDS_MAX}")));
        }
        if self.packages.len() > PACKAGES_MAX {
            return Err(("watch.packages", format!("{} packages, limit {PACKAGES_MAX}", self.packages.len())));
        }
        let is_lost = |package: &&Purl| package.version().is_none() && Kind::of(package).is_none();
        if let Some(package) = self.packages.iter().find(is_lost) {
            return Err(("watch.packages", format!("{package} names no version, and nothing is known that lists its releases")));
        }
        let deb = &self.deb;
        let mut parts = deb.suites.iter().chain(&deb.components).chain(&deb.architectures).chain(&deb.namespace);
        match parts.find(|part| !is_plain(part)) {
            Some(part) => Err(("watch.deb", format!("{part:?} is no name of a part of an archive"))),
            None => Ok(()),
        }
    }

    /// The rest between two polls.
    pub fn every(&self) -> Duration {
        Duration::from_secs(self.every_seconds)
    }
}

impl Kind {
    /// The kind of registry that a package is in.
    pub fn of(package: &Purl) -> Option<Self> {
        match package.package_type() {
            "pypi" => Some(Self::Pypi),
            "npm" => Some(Self::Npm),
            "cargo" => Some(Self::Cargo),
            "deb" => Some(Self::Deb),
            _ => None,
        }
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pypi => "pypi",
            Self::Npm => "npm",
            Self::Cargo => "cargo",
            Self::Deb => "deb",
        }
    }
}

/// Suites may have a slash (`stable/updates`); nothing leads out of the archive.
fn is_plain(part: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty() && name != "." && name != ".." && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+~".contains(c))
    };
    part.len() <= 100 && part.split('/').all(is_name)
}
