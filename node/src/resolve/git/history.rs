//! The history of the manifest: which commits set the wanted version, and up to which one it stood.

use std::time::Duration;

use super::looks::Looks;
use super::version::VersionRule;
use crate::source::git::{GitError, Logged};

/// Longest that one search through a history may take.
pub(super) const SEARCH_MAX: Duration = Duration::from_secs(90);
/// How far the clocks of committers and registries may lie apart.
pub(super) const CLOCKS_APART: Duration = Duration::from_hours(1);
/// Most commits that touch the version and are looked at.
const COMMITS_MAX: &str = "--max-count=24";

/// Where a search begins: what the project itself has made a branch or a tag of. Snapshots of forges hold every
/// stranger's proposal too, under other names.
const OWN: [&str; 3] = ["--branches", "--remotes", "--tags"];

/// Files besides manifests that hold a Python version which the manifest reads at build time.
const PYTHON_VERSION_FILES: [&str; 4] = ["__init__.py", "__about__.py", "_version.py", "version.py"];

/// Arguments that bound a search to what was there when the release was made. There is no lower bound:
/// registries copied from others carry the time of the copy, which may be years too late.
pub(super) fn bounds(looks: &Looks<'_>) -> Vec<String> {
    let mut bounds: Vec<String> = OWN.iter().chain(&["--full-history"]).map(ToString::to_string).collect();
    if let Some(published) = looks.wanted.published_at {
        bounds.push(format!("--until={}", git_date(published.plus(CLOCKS_APART).unix_seconds())));
    }
    bounds
}

/// Git reads small numbers as days or years; with this sign it reads seconds.
fn git_date(seconds: i64) -> String {
    format!("@{}", seconds.max(100_000_000))
}

/// Commits at which the wanted version stood: the last one before the release, then those that set it.
pub(super) async fn commits(looks: &mut Looks<'_>) -> Result<Vec<String>, GitError> {
    let touched = touching(looks).await?;
    let (mut last, mut first) = (Vec::new(), Vec::new());
    for commit in &touched {
        let before = match &commit.parent {
            Some(parent) if looks.holds(parent).await? => Some(parent.clone()),
            _ => None,
        };
        match (looks.holds(&commit.id).await?, before) {
            (true, None) => first.push(commit.id.clone()),
            (false, Some(parent)) => last.push(parent),
            // The manifest leaves its version open: both sides may be of it.
            (true, Some(parent)) => {
                first.push(commit.id.clone());
                last.push(parent);
            }
            (false, None) => {}
        }
    }
    if let Some(newest) = last_descendant(looks, &first).await?
        && looks.holds(&newest).await?
    {
        last.insert(0, newest);
    }
    last.extend(first);
    let mut seen = std::collections::BTreeSet::new();
    last.retain(|id| seen.insert(id.clone()));
    Ok(last)
}

/// Commits that add or remove the version's text in a manifest.
async fn touching(looks: &Looks<'_>) -> Result<Vec<Logged>, GitError> {
    let mut args = bounds(looks);
    args.extend([COMMITS_MAX.to_owned(), format!("-S{}", looks.wanted.version), "--".to_owned()]);
    args.extend(looks.wanted.manifest.files().iter().map(|file| format!(":(glob)**/{file}")));
    if looks.wanted.versions == VersionRule::Pep440 {
        args.extend(PYTHON_VERSION_FILES.iter().map(|file| format!(":(glob)**/{file}")));
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    looks.repository.log(&args, SEARCH_MAX.min(looks.left())).await
}

/// The newest commit before the release.
pub(super) async fn newest(looks: &Looks<'_>) -> Result<Option<String>, GitError> {
    let Some(published) = looks.wanted.published_at else { return Ok(None) };
    let until = format!("--until={}", git_date(published.unix_seconds()));
    let args = [&OWN[..], &["--max-count=1", &until]].concat();
    Ok(looks.repository.log(&args, SEARCH_MAX.min(looks.left())).await?.pop().map(|commit| commit.id))
}

/// The newest commit before the release that comes after the one which set the version last.
async fn last_descendant(looks: &Looks<'_>, first: &[String]) -> Result<Option<String>, GitError> {
    let (Some(set), Some(published)) = (first.first(), looks.wanted.published_at) else { return Ok(None) };
    let (until, not) = (format!("--until={}", git_date(published.unix_seconds())), format!("^{set}"));
    let args = [&OWN[..], &["--ancestry-path", "--max-count=1", &until, &not]].concat();
    Ok(looks.repository.log(&args, SEARCH_MAX.min(looks.left())).await?.pop().map(|commit| commit.id))
}
