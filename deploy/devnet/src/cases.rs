//! What is put through, and what must come out.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use quorate_proto::{Digest, Purl, Timestamp};
use tokio::process::Command;

use crate::index::Published;
use crate::{backdoor, index, report};

/// A wheel whose upstream tag is in a signed source archive, so that it can be rebuilt without a git host.
const FROM_TAG: [(&str, &str); 2] = [("click", "8.1.8"), ("rich", "13.9.4")];

/// A wheel made by setuptools for which there is no source archive, only the published source distribution.
const FROM_SOURCE_DISTRIBUTION: [(&str, &str); 3] = [("iniconfig", "1.1.1"), ("pycparser", "2.20"), ("pycparser", "2.19")];

/// One release that goes through the network.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// The release.
    pub package: Purl,
    /// The artifact's file name.
    pub file: String,
    /// The artifact's digest.
    pub digest: Digest,
    /// Its size.
    pub size_bytes: usize,
    /// What must come out.
    pub expected: Expected,
}

/// What must come out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// This state.
    State(&'static str),
    /// `suspect`, with this member named by every operator that built, and one operator lying.
    Backdoor {
        /// The member that was added.
        member: String,
    },
    /// Whatever comes out.
    Any,
}

impl Case {
    /// Whether it was tampered with.
    pub(crate) fn is_backdoored(&self) -> bool {
        matches!(self.expected, Expected::Backdoor { .. })
    }
}

impl Expected {
    /// The state, for people.
    pub(crate) fn state(&self) -> &'static str {
        match self {
            Self::State(state) => state,
            Self::Backdoor { .. } => "suspect",
            Self::Any => "any",
        }
    }
}

/// Downloads what is needed with the machine's own pip, and publishes the backdoored wheel on a small
/// index. What the registry does not have is left out, and said.
pub(crate) async fn prepare(dir: &Path, more: &[Purl]) -> anyhow::Result<Vec<Case>> {
    let downloads = dir.join("published");
    let mut cases = Vec::new();
    match first_of(&FROM_TAG, &downloads).await {
        Some((package, wheel)) => {
            let backdoored = publish_with_backdoor(&package, &wheel).await?;
            cases.push(case(package, &wheel, Expected::State("reproduced")).await?);
            cases.push(backdoored);
        }
        None => report::say("SKIPPED: the wheel from its upstream tag and the backdoored one: the registry has none of them"),
    }
    match first_of(&FROM_SOURCE_DISTRIBUTION, &downloads).await {
        Some((package, wheel)) => cases.push(case(package, &wheel, Expected::State("equivalent")).await?),
        None => report::say("SKIPPED: the wheel from its source distribution: the registry has none of them"),
    }
    for package in more {
        let wheel = download(package, &downloads).await?;
        cases.push(case(package.clone(), &wheel, Expected::Any).await?);
    }
    if cases.is_empty() {
        bail!("the registry that pip uses has none of the packages; try `python3 -m pip download --no-deps click==8.1.8`");
    }
    Ok(cases)
}

async fn first_of(candidates: &[(&str, &str)], downloads: &Path) -> Option<(Purl, PathBuf)> {
    for (name, version) in candidates {
        let package = Purl::pypi(name, version).expect("the names above are package names");
        match download(&package, downloads).await {
            Ok(wheel) => return Some((package, wheel)),
            Err(error) => report::say(&format!("{package} cannot be had: {error:#}")),
        }
    }
    None
}

/// The wheel of a release, as pip gets it.
async fn download(package: &Purl, downloads: &Path) -> anyhow::Result<PathBuf> {
    let version = package.version().with_context(|| format!("{package} names no version"))?;
    let folder = downloads.join(format!("{}-{version}", package.name()));
    let output = Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest"])
        .arg(&folder)
        .arg(format!("{}=={version}", package.name()))
        .env_remove("PIP_FIND_LINKS")
        .output()
        .await
        .context("running pip")?;
    if !output.status.success() {
        bail!("pip: {}", String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("failed"));
    }
    let entry = std::fs::read_dir(&folder)?.next().context("pip has downloaded nothing")??;
    Ok(entry.path())
}

async fn case(package: Purl, wheel: &Path, expected: Expected) -> anyhow::Result<Case> {
    let content = tokio::fs::read(wheel).await?;
    let file = file_name(wheel);
    Ok(Case { package, file, digest: Digest::of(&content), size_bytes: content.len(), expected })
}

/// The same wheel with a backdoor, as a private index would serve it.
async fn publish_with_backdoor(package: &Purl, wheel: &Path) -> anyhow::Result<Case> {
    let content = backdoor::add_to(&tokio::fs::read(wheel).await?, package.name())?;
    let now = Timestamp::from(std::time::SystemTime::now()).whole_seconds();
    let published = Published { project: package.name().to_owned(), file: file_name(wheel), content, uploaded: now.to_string() };
    let (digest, size_bytes, file) = (Digest::of(&published.content), published.content.len(), published.file.clone());
    let address = index::serve(vec![published]).await?;
    let expected = Expected::Backdoor { member: format!("{}/{}", package.name(), backdoor::MEMBER) };
    Ok(Case { package: package.clone().in_repository(&address), file, digest, size_bytes, expected })
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
