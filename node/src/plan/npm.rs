//! How an npm package is built: which node and npm, what is installed, which scripts run. Pure.
//!
//! What packing runs by itself is run; what only publishing runs is left out but for the building in it. What
//! the build is told that the source does not say becomes an [`Assist`].

pub mod era;
pub mod scripts;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use quorate_proto::Timestamp;
use quorate_proto::result::{Assist, Outcome, Phase};

use super::assist;
use crate::ecosystem::{ToolchainUse, Tried};
use crate::release::npm::Facts;
use crate::source::npm::Project;
use crate::source::npm::lock::{LockKind, Pins};
use crate::workshop::SOURCE;
use scripts::{Step, steps};

/// Most toolchains that are tried when nothing has to be built, and when something has.
const PACKED_MAX: usize = 4;
const BUILT_MAX: usize = 3;

/// One way of trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Which toolchain, by its place in the order of likelihood.
    pub rank: usize,
    /// What the registry looks like while requirements are installed.
    pub view: View,
}

/// What the registry looks like while requirements are installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// As it was before the artifact was published.
    AsOfPublication,
    /// As it is today, but for what the lock file pins: registries may state times that are not of publication.
    Today,
    /// As it is today, and only what the scripts call is installed: a requirement that nobody calls may need the very
    /// artifact.
    TodayNeeded,
}

/// What is done with a candidate, whatever the toolchain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The folder of the package inside the source tree.
    pub folder: PathBuf,
    /// What is installed, if anything.
    pub install: Option<Install>,
    /// What runs before packing.
    pub steps: Vec<Step>,
    /// The version to set, where the manifest has only a placeholder.
    pub version: Option<String>,
    /// Registries are seen as they were before this.
    pub cutoff: Option<Timestamp>,
    /// What the build is told that the source does not say.
    pub assists: Vec<Assist>,
}

/// What is installed before the scripts run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    /// The folder where it is installed, inside the source tree.
    pub root: PathBuf,
    /// What pins it.
    pub by: InstalledBy,
    /// Exact versions.
    pub pins: Pins,
    /// These alone, as `name@version`; everything when empty.
    pub only: Vec<String>,
}

/// What pins what is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstalledBy {
    /// npm's own lock file.
    Lock,
    /// The lock file of another tool: npm sees only the versions in it.
    ForeignLock(LockKind),
    /// Nothing but the time.
    Time,
}

impl Install {
    /// The lock file of another tool that must not be seen by npm, which would write it anew.
    pub fn hidden(&self) -> Option<&'static str> {
        match self.by {
            InstalledBy::ForeignLock(kind) => Some(kind.file()),
            InstalledBy::Lock | InstalledBy::Time => None,
        }
    }
}

/// Works out what is done with a candidate.
pub fn work(
    facts: &Facts,
    project: &Project,
    folder: &Path,
    present: &BTreeSet<String>,
    published_at: Option<Timestamp>,
    view: View,
) -> Work {
    let mut assists = Vec::new();
    let missing: Vec<_> = facts.archive.members.keys().filter(|path| !present.contains(*path)).map(String::as_str).collect();
    let steps = steps(&project.manifest, &missing, &mut assists);
    let only = if view == View::TodayNeeded { scripts::called_packages(&project.manifest, &steps) } else { Vec::new() };
    let install = (!steps.is_empty()).then(|| Install { only, ..install(project, &mut assists) });
    let version = project.is_placeholder.then(|| facts.version.to_string());
    if let Some(version) = &version {
        assists.push(assist("version", version, "the source's manifest has a placeholder that is replaced at release"));
    }
    let cutoff = match view {
        View::AsOfPublication => published_at,
        View::Today | View::TodayNeeded => None,
    };
    if let Some(install) = install.as_ref().filter(|install| !install.only.is_empty()) {
        assists.push(assist(
            "called-packages",
            &install.only.join(" "),
            "not all that the source requires could be had: only what scripts call is there",
        ));
    }
    if view != View::AsOfPublication && install.is_some() {
        assists.push(assist("newest-build-tools", "today's", "what the build needs could not be had as of the publication"));
    }
    Work { folder: folder.to_owned(), install, steps, version, cutoff, assists }
}

fn install(project: &Project, assists: &mut Vec<Assist>) -> Install {
    let (by, pins) = match &project.lock {
        Some(lock) if lock.kind.is_npms() => (InstalledBy::Lock, lock.pins.clone()),
        Some(lock) => {
            assists.push(assist("foreign-lock", lock.kind.file(), "npm installs what another tool's lock file pins"));
            (InstalledBy::ForeignLock(lock.kind), lock.pins.clone())
        }
        None => (InstalledBy::Time, Pins::default()),
    };
    Install { root: project.root.clone(), by, pins, only: Vec::new() }
}

/// What is tried next with one candidate.
pub fn next_attempt(tried: &[Tried<Attempt>], facts: &Facts, toolchains: ToolchainUse) -> Option<Attempt> {
    let Some(Tried { attempt: last, outcome, .. }) = tried.last() else { return Some(Attempt { rank: 0, view: View::AsOfPublication }) };
    let is_built = scripts::is_built(&facts.archive.manifest);
    let ranks = match toolchains {
        ToolchainUse::Machine => 1,
        ToolchainUse::Exact if is_built => BUILT_MAX,
        ToolchainUse::Exact => PACKED_MAX,
    };
    let next = Some(Attempt { rank: last.rank + 1, ..*last }).filter(|next| next.rank < ranks);
    match outcome {
        Outcome::BuildFailed { phase: Phase::Fetch, summary }
            if last.view == View::AsOfPublication && summary.starts_with("ended with code") =>
        {
            Some(Attempt { view: View::Today, ..*last })
        }
        Outcome::BuildFailed { phase: Phase::Fetch, summary } if last.view == View::Today && summary.starts_with("ended with code") => {
            Some(Attempt { view: View::TodayNeeded, ..*last })
        }
        Outcome::BuildFailed { phase: Phase::Build, summary } if summary.starts_with("ended with code") => next,
        // The order of members depends on npm; where times are real, no tar can be the same.
        Outcome::Equivalent { level: quorate_proto::comparison::Level::Normal, .. } if facts.archive.has_npm_times => next,
        Outcome::Different { .. } => next,
        _ => None,
    }
}

/// The package's folder inside the sandbox.
pub fn inside(folder: &Path) -> String {
    let folder = folder.to_string_lossy();
    if folder.is_empty() { SOURCE.to_owned() } else { format!("{SOURCE}/{folder}") }
}
