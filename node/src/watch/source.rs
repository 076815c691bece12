//! What is polled: one registry with its address, its feed and its part of the watch list.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use pep440_rs::Version;
use quorate_proto::Purl;
use url::Url;

use super::cargo::Cargo;
use super::debian::{Debian, Extent};
use super::listing::{Listing, Page, Position};
use super::machine::{Detail, Feed, Settings, Wanted};
use super::npm::{Npm, Times};
use super::problem::Problem;
use super::pypi::Pypi;
use super::settings::{Kind, WatchConfig};
use super::store::Watched;
use super::wire::Wire;
use crate::registry::address::{self, AddressError};
use crate::registry::{cargo::address as cargo, npm::address as npm, pypi::address as pypi, with_slash};
use crate::resolve::Debian as Archive;

/// A registry to be watched, whose address may not be known yet.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What kind of registry.
    pub kind: Kind,
    /// Its address, where package URLs name it.
    pub repository: Option<String>,
    /// Its part of the watch list.
    pub list: BTreeMap<Purl, Wanted>,
    /// Whether its whole feed is followed.
    pub follow: Follow,
}

/// Whether a registry's whole feed is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// It is.
    Feed,
    /// Only the watch list is polled.
    List,
}

/// What is known of registries' addresses.
#[derive(Clone, Debug)]
pub struct Places {
    /// `[watch]`.
    pub watch: WatchConfig,
    /// `[registry]`: base addresses by package URL type.
    pub registries: BTreeMap<String, String>,
    /// The Python whose pip is asked.
    pub python: PathBuf,
}

/// A registry that can be asked.
#[derive(Clone, Debug)]
pub enum Source {
    /// A Python index.
    Pypi(Pypi),
    /// An npm registry.
    Npm(Npm),
    /// A cargo registry.
    Cargo(Cargo),
    /// A suite of a Debian archive.
    Debian(Debian),
}

/// A registry that cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Its address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Debian's mirror or keys.
    #[error(transparent)]
    Debian(#[from] crate::resolve::debian::DebianError),
    /// The machine's architecture.
    #[error("this machine's Debian architecture is not known: name one in watch.deb.architectures")]
    Architecture,
}

/// What a configuration wants watched, by registry. Packages of kinds that nothing is known of are left out.
pub fn plans(watch: &WatchConfig) -> Vec<Plan> {
    let mut plans: BTreeMap<(Kind, Option<String>), BTreeMap<Purl, Wanted>> = BTreeMap::new();
    for kind in &watch.feeds {
        plans.entry((*kind, None)).or_default();
    }
    for package in &watch.packages {
        let Some(kind) = Kind::of(package) else { continue };
        let repository = package.qualifier("repository_url").map(str::to_owned);
        let wanted = plans.entry((kind, repository)).or_default().entry(package.without_version());
        match package.version().map(|version| normal_version(kind, version)) {
            None => drop(wanted.and_modify(|wanted| *wanted = Wanted::Every).or_insert(Wanted::Every)),
            Some(version) => {
                if let Wanted::Versions(versions) = wanted.or_insert_with(|| Wanted::Versions(BTreeSet::new())) {
                    versions.insert(version);
                }
            }
        }
    }
    let plan = |((kind, repository), list): ((Kind, Option<String>), _)| {
        let follow = if repository.is_none() && watch.feeds.contains(&kind) { Follow::Feed } else { Follow::List };
        Plan { kind, repository, list, follow }
    };
    plans.into_iter().map(plan).collect()
}

/// Versions of Python releases have many spellings.
fn normal_version(kind: Kind, version: &str) -> String {
    let python = (kind == Kind::Pypi).then(|| version.parse::<Version>().ok()).flatten();
    python.map_or_else(|| version.to_owned(), |version| version.to_string())
}

impl Plan {
    /// Finds the registry: one source, or one a suite.
    pub async fn resolve(&self, places: &Places) -> Result<Vec<Source>, SourceError> {
        let configured = self.repository.as_deref().or_else(|| places.registries.get(self.kind.as_str()).map(String::as_str));
        let repository = self.repository.clone();
        let given = |text: &Option<String>| text.as_deref().map(|text| address::parse(text, "the configuration")).transpose();
        Ok(match self.kind {
            Kind::Pypi => {
                let index = with_slash(pypi::default_index(configured, &places.python).await?);
                let changelog = given(&places.watch.pypi.changelog_url)?.map_or_else(|| Pypi::changelog_beside(&index), Ok)?;
                vec![Source::Pypi(Pypi { index, changelog, repository })]
            }
            Kind::Npm => {
                let registry = with_slash(npm::default_registry(configured).await?);
                let changes = given(&places.watch.npm.changes_url)?.map_or_else(|| registry.clone(), with_slash);
                vec![Source::Npm(Npm { registry, changes, repository })]
            }
            Kind::Cargo => {
                let index = with_slash(cargo::default_index(configured).await?);
                vec![Source::Cargo(Cargo { index, updates: given(&places.watch.cargo.updates_url)?, repository })]
            }
            Kind::Deb => self.suites(configured, places)?,
        })
    }

    fn suites(&self, configured: Option<&str>, places: &Places) -> Result<Vec<Source>, SourceError> {
        let deb = &places.watch.deb;
        let given = configured.map(|text| address::parse(text, "the configuration")).transpose()?;
        let (archive, usual, keyring) = match (given, &deb.keyring) {
            (Some(archive), Some(keyring)) => (archive, None, keyring.clone()),
            (given, keyring) => {
                let usual = Archive::of_this_machine()?;
                (given.unwrap_or(usual.mirror), Some(usual.suites), keyring.clone().unwrap_or(usual.keyring))
            }
        };
        let suites = if deb.suites.is_empty() { usual.unwrap_or_else(|| vec!["stable".to_owned()]) } else { deb.suites.clone() };
        let components = if deb.components.is_empty() { vec!["main".to_owned()] } else { deb.components.clone() };
        let architectures = if deb.architectures.is_empty() {
            vec![own_architecture().ok_or(SourceError::Architecture)?]
        } else {
            deb.architectures.clone()
        };
        let debian = Debian {
            archive: with_slash(archive),
            suite: String::new(),
            components,
            architectures,
            keyring,
            namespace: deb.namespace.clone().unwrap_or_else(|| "debian".to_owned()),
            repository: self.repository.clone(),
            listed: self.list.keys().cloned().collect(),
            extent: if self.follow == Follow::Feed { Extent::All } else { Extent::Listed },
        };
        Ok(suites.into_iter().map(|suite| Source::Debian(Debian { suite, ..debian.clone() })).collect())
    }

    /// What the machine of a source is told.
    pub fn settings(&self, watch: &WatchConfig, seed: u64) -> Settings {
        let every: Duration = watch.every();
        let feed = match (self.kind, self.follow) {
            (Kind::Deb, Follow::Feed) => Feed::WholeIndex,
            (Kind::Deb, Follow::List) => Feed::IndexOfList,
            (_, Follow::List) => Feed::None,
            (Kind::Cargo, Follow::Feed) => Feed::Window,
            (Kind::Pypi | Kind::Npm, Follow::Feed) => Feed::Serial,
        };
        Settings { feed, list: self.list.clone(), backlog: watch.backlog, every, seed }
    }
}

impl Source {
    /// What it is, in words that people know.
    pub fn watched(&self) -> Watched {
        let (kind, address, suite): (_, &Url, _) = match self {
            Self::Pypi(pypi) => (Kind::Pypi, &pypi.index, None),
            Self::Npm(npm) => (Kind::Npm, &npm.registry, None),
            Self::Cargo(cargo) => (Kind::Cargo, &cargo.index, None),
            Self::Debian(debian) => (Kind::Deb, &debian.archive, Some(debian.suite.clone())),
        };
        Watched { kind: kind.as_str().to_owned(), address: address.to_string(), suite }
    }

    /// What a feed has behind a place.
    pub async fn poll(&self, wire: &Wire, since: Option<&Position>) -> Result<Page, Problem> {
        match self {
            Self::Pypi(pypi) => pypi.poll(wire, since).await,
            Self::Npm(npm) => npm.poll(wire, since).await,
            Self::Cargo(cargo) => cargo.poll(wire, since).await,
            Self::Debian(debian) => debian.poll(wire, since).await,
        }
    }

    /// What a package's page lists, and what the page is known by; `None` when it is unchanged.
    pub async fn look(
        &self,
        wire: &Wire,
        package: &Purl,
        detail: Detail,
        validator: Option<String>,
    ) -> Result<Option<(Listing, Option<String>)>, Problem> {
        // When everything may be news, the page has to be there whole.
        let validator = validator.filter(|_| detail == Detail::Brief);
        let times = if detail == Detail::Full { Times::Needed } else { Times::Unneeded };
        match self {
            Self::Pypi(pypi) => pypi.look(wire, package, validator).await,
            Self::Npm(npm) => npm.look(wire, package, validator, times).await,
            Self::Cargo(cargo) => cargo.look(wire, package, validator).await,
            Self::Debian(_) => Err(Problem::malformed("a Debian archive has no pages of packages")),
        }
    }
}

/// This machine's name for itself in Debian's words.
fn own_architecture() -> Option<String> {
    let name = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "i386",
        "riscv64" => "riscv64",
        "s390x" => "s390x",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64el",
        "arm" => "armhf",
        _ => return None,
    };
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_watch_list_is_sorted_by_registry() {
        let packages = [
            "pkg:npm/left-pad",
            "pkg:pypi/click@8.1.8",
            "pkg:pypi/Click@8.1.08",
            "pkg:pypi/a?repository_url=http://registry.example/s",
            "pkg:golang/x@1",
        ];
        let watch =
            WatchConfig { packages: packages.map(|text| text.parse().unwrap()).to_vec(), feeds: vec![Kind::Npm], ..WatchConfig::default() };
        let plans = plans(&watch);
        let told: Vec<_> = plans.iter().map(|plan| (plan.kind, plan.repository.is_some(), plan.list.len(), plan.follow)).collect();
        assert_eq!(told, [(Kind::Pypi, false, 1, Follow::List), (Kind::Pypi, true, 1, Follow::List), (Kind::Npm, false, 1, Follow::Feed)]);
        assert_eq!(plans[0].list.values().next(), Some(&Wanted::Versions(["8.1.8".to_owned()].into())));
    }
}
