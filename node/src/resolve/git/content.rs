//! Content search: commits that hold published files byte for byte where the commits found so far do not.
//!
//! A commit found so was chosen because it matches, which proves less than one that the publisher named;
//! the result says so.

use super::history::{SEARCH_MAX, bounds, newest};
use super::looks::Looks;
use super::order::Fit;
use crate::source::git::GitError;

/// Most published files that are searched for.
const FILES_MAX: usize = 4;
/// Most commits that are looked at for one file.
const COMMITS_MAX: &str = "--max-count=12";

/// Commits that fit the published members better than `best`, the best first.
pub(super) async fn commits(looks: &mut Looks<'_>, best: Option<&Fit>) -> Result<Vec<String>, GitError> {
    let mut held: Vec<String> = newest(looks).await?.into_iter().collect();
    for blob in telling(looks, best).await? {
        let mut args = bounds(looks);
        args.extend([COMMITS_MAX.to_owned(), format!("--find-object={blob}")]);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        for commit in looks.repository.log(&args, SEARCH_MAX.min(looks.left())).await? {
            // A commit that adds the file holds it; one that takes it away follows one that holds it.
            held.extend([Some(commit.id), commit.parent].into_iter().flatten());
        }
    }
    let mut found: Vec<(usize, i64, String)> = Vec::new();
    for id in held {
        let look = looks.at(&id).await?;
        let is_better = best.is_none_or(|best| look.fit.matched > best.matched);
        if is_better && look.package.is_ok() && found.iter().all(|(.., known)| *known != id) {
            found.push((look.fit.matched, look.commit.committed_at, id));
        }
    }
    // Nearest to the release; without its time, the first to hold the contents.
    let is_dated = looks.wanted.published_at.is_some();
    found.sort_by_key(|(matched, time, _)| (std::cmp::Reverse(*matched), if is_dated { time.saturating_neg() } else { *time }));
    Ok(found.into_iter().map(|(.., id)| id).collect())
}

/// Published contents that the repository has but the best commit so far has not, the most telling first:
/// those whose path was there with another content.
async fn telling(looks: &Looks<'_>, best: Option<&Fit>) -> Result<Vec<String>, GitError> {
    let ids: Vec<String> = match best {
        Some(best) => best.changed.iter().chain(&best.absent).cloned().collect(),
        None => by_manifest_first(looks),
    };
    let sizes = looks.repository.sizes(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let known = ids.iter().zip(sizes).filter(|(_, size)| size.is_some_and(|size| size > 0));
    Ok(known.map(|(id, _)| id.clone()).take(FILES_MAX).collect())
}

/// A manifest has the version in it, so hardly another commit has the same one.
fn by_manifest_first(looks: &Looks<'_>) -> Vec<String> {
    let files = looks.wanted.manifest.files();
    let is_manifest = |path: &str| files.iter().any(|file| path.rsplit('/').next() == Some(file));
    let mut members: Vec<_> = looks.wanted.members.iter().filter(|member| member.blob != super::order::EMPTY_BLOB).collect();
    members.sort_by_key(|member| !is_manifest(&member.path));
    members.into_iter().map(|member| member.blob.clone()).collect()
}
