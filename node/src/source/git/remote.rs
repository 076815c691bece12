//! Repositories on forges: what they have, and a bare copy of as much as is needed.
//!
//! Copies begin with the wanted commits alone; history is fetched only when it is searched. A copy that
//! grows past its bound is given up.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use super::command::{Call, GIT_MAX, GitError, words};
use super::{Repository, Tag};
use crate::traffic;

/// Most bytes of a copied repository.
pub const COPY_BYTES_MAX: u64 = 4 << 30;
/// How often the size of a growing copy is looked at.
const GROWTH_LOOK: Duration = Duration::from_millis(500);
/// Most redirections' worth of trace that is read.
const TRACE_LINES_MAX: usize = 2000;

/// What a forge says of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertised {
    /// Its tags.
    pub tags: Vec<Tag>,
    /// Everything that it lists, as text; equal texts mean that nothing moved.
    pub state: String,
}

/// The branches and tags of a repository on a forge.
pub async fn advertised(url: &str) -> Result<Advertised, GitError> {
    traffic::repository();
    let state = Call::new(&words(&["ls-remote", "--heads", "--tags", "--", url])).reaching_out().text().await?;
    Ok(Advertised { tags: tags_in(&state), state })
}

/// The tags in an answer of `ls-remote`.
pub fn tags_in(state: &str) -> Vec<Tag> {
    let mut tags: BTreeMap<String, Tag> = BTreeMap::new();
    for line in state.lines() {
        let Some((id, name)) = line.split_once("\trefs/tags/") else { continue };
        // An annotated tag is listed twice, the second time with the commit that it stands for.
        let plain = name.trim_end_matches("^{}");
        let tag =
            tags.entry(plain.to_owned()).or_insert_with(|| Tag { name: plain.to_owned(), object: id.to_owned(), commit: String::new() });
        id.clone_into(&mut tag.commit);
    }
    tags.into_values().collect()
}

/// Where a forge sends those who ask for `url`, if it does: the address in its answer, not followed.
pub async fn redirection(url: &str) -> Option<String> {
    traffic::repository();
    let args = words(&["ls-remote", "--heads", "--", url]);
    let trace: [(&str, &OsStr); 2] = [("GIT_TRACE_CURL", "1".as_ref()), ("GIT_TRACE_CURL_NO_DATA", "1".as_ref())];
    let (_, _, said) = Call::new(&args).envs(&trace).reaching_out().ended().await.ok()?;
    target_in(&String::from_utf8_lossy(&said), url)
}

/// The repository that the first redirection in a trace of git leads to, seen from `url`.
pub fn target_in(trace: &str, url: &str) -> Option<String> {
    let header = |line: &str| {
        let at = line.to_ascii_lowercase().find("<= recv header: location: ")?;
        Some(line[at + "<= recv header: location: ".len()..].trim().to_owned())
    };
    let target = trace.lines().take(TRACE_LINES_MAX).find_map(header)?;
    let asked = url::Url::parse(url).ok()?;
    let target = asked.join(&target).ok()?;
    // A server that sends to a file, off TLS, or to somebody's password sends nowhere.
    let is_plain = target.scheme() == "https" || (target.scheme() == "http" && asked.scheme() == "http");
    if !is_plain || !target.username().is_empty() || target.password().is_some() {
        return None;
    }
    let bare = target.as_str().split("/info/refs").next()?.split(['?', '#']).next()?;
    Some(bare.trim_end_matches('/').trim_end_matches(".git").to_owned())
}

/// Makes `folder` an empty bare repository, if it is none yet.
pub async fn begin(folder: &Path) -> Result<Repository, GitError> {
    if let Some(repository) = Repository::open(folder) {
        return Ok(repository);
    }
    let init = [&words(&["init", "--quiet", "--bare", "--template="])[..], &[folder.as_os_str()]].concat();
    Call::new(&init).text().await?;
    Ok(Repository { git_dir: folder.to_owned() })
}

/// How much of a repository is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The named references alone.
    Tips,
    /// All that leads to them as well.
    History,
}

impl Repository {
    /// Copies from `url` what the references or commits in `wanted` lead to.
    pub async fn copy_from(&self, url: &str, wanted: &[String], depth: Depth) -> Result<(), GitError> {
        let is_shallow = self.git_dir.join("shallow").is_file();
        let how = match depth {
            Depth::Tips => "--depth=1",
            Depth::History if is_shallow => "--unshallow",
            Depth::History => "--no-auto-gc",
        };
        let fetch = ["fetch", "--quiet", "--force", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", how, "--", url];
        let args: Vec<&str> = fetch.into_iter().chain(wanted.iter().map(String::as_str)).collect();
        let args = words(&args);
        traffic::repository();
        let fetching = Call::new(&args).within(&self.git_dir).limit(GIT_MAX).reaching_out().text();
        tokio::select! {
            fetched = fetching => fetched.map(drop),
            () = self.outgrown() => Err(GitError::TooLarge { command: "fetch".to_owned(), what: "bytes of history", limit: COPY_BYTES_MAX }),
        }
    }

    /// Ends when the copy is too large.
    async fn outgrown(&self) {
        loop {
            tokio::time::sleep(GROWTH_LOOK).await;
            let folder = self.git_dir.join("objects");
            let size = tokio::task::spawn_blocking(move || size_of(&folder)).await.unwrap_or(0);
            if size > COPY_BYTES_MAX {
                return;
            }
        }
    }
}

fn size_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => size_of(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirection_leads_to_no_file_and_off_no_tls() {
        let target = |url: &str, location: &str| target_in(&format!("x <= Recv header: location: {location}\r\n"), url);
        let asked = "https://forge.example/o/n.git";
        let moved = Some("https://forge.example/o/m".to_owned());
        assert_eq!(target(asked, "/o/m.git/info/refs?service=git-upload-pack"), moved);
        assert_eq!(target("http://forge.example/o/n", "https://forge.example/o/m/info/refs?x"), moved);
        assert!(target("http://forge.example/o/n", "/o/m").is_some());
        for location in [
            "file://forge.example/etc",
            "http://forge.example/o/m",
            "ssh://forge.example/o/m",
            "https://user:secret@forge.example/o/m",
            "x://",
        ] {
            assert_eq!(target(asked, location), None, "{location}");
        }
    }
}
