//! How an npm package is built: which node and npm, what is installed, which scripts run. Pure.
//!
//! What packing runs by itself is run; what only publishing runs is left out but for the building in it. What
//! the build is told that the source does not say becomes an [`Assist`].

pub mod era;
pub mod packer;
pub mod scripts;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use quorate_proto::Timestamp;
use quorate_proto::comparison::DifferenceClass;
use quorate_proto::result::{Assist, Outcome, Phase};

use super::assist;
use crate::ecosystem::{ToolchainUse, Tried};
use crate::release::npm::Facts;
use crate::source::npm::Project;
use crate::source::npm::lock::{LockKind, Pins};
use crate::workshop::SOURCE;
use packer::{Packer, stamp};
use scripts::{Owner, Step, steps};

/// Most toolchains that are tried when nothing has to be built, and when something has.
const PACKED_MAX: usize = 4;
const BUILT_MAX: usize = 3;
/// Most requirements that are named as left out.
const ADDRESSED_MAX: usize = 20;

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
    /// As it is today, and of what the package itself requires the lowest version is installed that it allows: publishers
    /// raise the requirements that they build with, and registries may not tell which versions there were.
    TodayLowest,
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
    /// Files of the workspace that are packed with the package.
    pub licences: Vec<String>,
    /// Files of the source that were published as they stand in it: they are packed so, whatever the scripts do to them.
    pub kept: Vec<String>,
    /// The commit that is written into the manifest, if one is.
    pub stamp: Option<String>,
    /// What packs.
    pub packer: Packer,
    /// The folder of the workspace, or of what stands for it.
    pub root: PathBuf,
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
    /// Whether of each direct requirement the lowest version is installed.
    pub is_lowest: bool,
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

/// Published files that the source holds, by their paths in the package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// All of them.
    pub all: BTreeSet<String>,
    /// Those whose content was published as it is.
    pub same: BTreeSet<String>,
}

/// What is known besides the project and the published file.
#[derive(Clone, Debug)]
pub struct Told<'a> {
    /// Published files that the source holds.
    pub held: &'a Held,
    /// The commit that is built.
    pub commit: Option<&'a str>,
    /// What packs.
    pub packer: Packer,
    /// When the artifact was published.
    pub published_at: Option<Timestamp>,
    /// What the registry looks like.
    pub view: View,
}

/// Works out what is done with a candidate.
pub fn work(facts: &Facts, project: &Project, folder: &Path, told: Told<'_>) -> Work {
    let mut assists = Vec::new();
    let absent = facts.archive.members.keys().filter(|path| !told.held.all.contains(*path)).map(String::as_str);
    let (licences, missing): (Vec<_>, Vec<_>) = absent.partition(|path| project.licences.iter().any(|licence| licence == path));
    let mut steps = steps(&project.manifest, &missing, &mut assists);
    if let Some(workspace) = project.workspace.as_ref().filter(|_| steps.is_empty() && !missing.is_empty()) {
        steps = scripts::steps_of_workspace(workspace, &missing, &mut assists);
    }
    for name in &licences {
        assists.push(assist("workspace-licence", name, "tools that publish from a workspace copy it into a package that has none"));
    }
    let install = (!steps.is_empty()).then(|| install(project, &steps, told.view, &mut assists));
    let version = project.is_placeholder.then(|| facts.version.to_string());
    if let Some(version) = &version {
        assists.push(assist("version", version, "the source's manifest has a placeholder that is replaced at release"));
    }
    let stamp = stamp(&facts.archive, project, told.commit);
    if let Some(commit) = &stamp {
        assists.push(assist("git-head", commit, "the published manifest names a commit, which the source's does not"));
    }
    Work {
        folder: folder.to_owned(),
        kept: if steps.is_empty() { Vec::new() } else { told.held.same.iter().cloned().collect() },
        install,
        steps,
        version,
        licences: licences.into_iter().map(str::to_owned).collect(),
        stamp,
        packer: told.packer,
        root: project.root.clone(),
        cutoff: told.published_at.filter(|_| told.view == View::AsOfPublication),
        assists,
    }
}

fn install(project: &Project, steps: &[Step], view: View, assists: &mut Vec<Assist>) -> Install {
    let addressed: BTreeSet<_> =
        [Some(&project.manifest), project.workspace.as_ref()].into_iter().flatten().flat_map(scripts::addressed).collect();
    if !addressed.is_empty() {
        let names = addressed.into_iter().take(ADDRESSED_MAX).collect::<Vec<_>>().join(" ");
        assists.push(assist("left-out-requirements", &names, "they come from addresses, which no registry answers for"));
    }
    let (by, pins) = match &project.lock {
        Some(lock) if lock.kind.is_npms() => (InstalledBy::Lock, lock.pins.clone()),
        Some(lock) => {
            assists.push(assist("foreign-lock", lock.kind.file(), "npm installs what another tool's lock file pins"));
            (InstalledBy::ForeignLock(lock.kind), lock.pins.clone())
        }
        None => (InstalledBy::Time, Pins::default()),
    };
    let owner = project.workspace.as_ref().filter(|_| steps.iter().any(|step| step.of == Owner::Workspace));
    let only = match view {
        View::TodayNeeded => scripts::called_packages(owner.unwrap_or(&project.manifest), steps),
        View::AsOfPublication | View::Today | View::TodayLowest => Vec::new(),
    };
    if !only.is_empty() {
        let reason = "not all that the source requires could be had: only what scripts call is there";
        assists.push(assist("called-packages", &only.join(" "), reason));
    }
    if view == View::TodayLowest {
        let reason = "what the build needs could not be had as of the publication, and the newest made other contents";
        assists.push(assist("lowest-build-tools", "the lowest that the source allows", reason));
    } else if view != View::AsOfPublication {
        assists.push(assist("newest-build-tools", "today's", "what the build needs could not be had as of the publication"));
    }
    Install { root: project.root.clone(), by, pins, only, is_lowest: view == View::TodayLowest }
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
        Outcome::BuildFailed { .. } if last.view == View::TodayLowest => None,
        Outcome::BuildFailed { phase: Phase::Build, summary } if summary.starts_with("ended with code") => next,
        // The order of members depends on npm; where times are real, no tar can be the same.
        Outcome::Equivalent { level: quorate_proto::comparison::Level::Normal, .. } if facts.archive.has_npm_times => next,
        // Where the files are the right ones, another npm packs no others, and the same tools make the same contents.
        Outcome::Different { .. } if is_built && differs_in_contents_alone(outcome) => {
            (last.view == View::Today).then_some(Attempt { view: View::TodayLowest, ..*last })
        }
        Outcome::Different { .. } => next,
        _ => None,
    }
}

fn differs_in_contents_alone(outcome: &Outcome) -> bool {
    let Outcome::Different { differences, .. } = outcome else { return false };
    let is_listed = usize::try_from(differences.count).is_ok_and(|count| count == differences.members.len());
    is_listed && differences.members.iter().all(|difference| difference.class == DifferenceClass::Content)
}

/// The package's folder inside the sandbox.
pub fn inside(folder: &Path) -> String {
    let folder = folder.to_string_lossy();
    if folder.is_empty() { SOURCE.to_owned() } else { format!("{SOURCE}/{folder}") }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::release::npm::Archive;
    use quorate_proto::Digest;
    use quorate_proto::comparison::{Difference, Executable};
    use quorate_proto::result::{DifferenceList, RebuiltFile};

    fn differs(class: DifferenceClass) -> Outcome {
        let member = "package/dist/index.js".to_owned();
        Outcome::Different {
            rebuilt: RebuiltFile { digest: Digest::of(b""), size_bytes: 0, normal: None },
            published_normal: None,
            differences: DifferenceList {
                count: 1,
                members: vec![Difference { member, class, executable: Executable::Data, published: None, rebuilt: None }],
                report: None,
            },
        }
    }

    fn next(view: View, outcome: Outcome) -> Option<(usize, View)> {
        let facts = Facts {
            name: "demo".parse().unwrap(),
            version: semver::Version::new(1, 0, 0),
            git_head: None,
            npm_version: None,
            node_version: None,
            repositories: Vec::new(),
            later_repository: None,
            directory: None,
            archive: Archive { manifest: serde_json::json!({ "scripts": { "build": "tsc" } }), ..Archive::default() },
        };
        let tried = [Tried { attempt: Attempt { rank: 0, view }, outcome, is_toolless: false }];
        next_attempt(&tried, &facts, ToolchainUse::Exact).map(|attempt| (attempt.rank, attempt.view))
    }

    #[test]
    fn other_contents_of_the_right_files_are_not_built_again_with_another_npm() {
        assert_eq!(next(View::AsOfPublication, differs(DifferenceClass::Content)), None);
        assert_eq!(next(View::Today, differs(DifferenceClass::Content)), Some((0, View::TodayLowest)));
        assert_eq!(next(View::TodayLowest, differs(DifferenceClass::Content)), None);
        assert_eq!(next(View::Today, differs(DifferenceClass::OnlyRebuilt)), Some((1, View::Today)));
    }
}
