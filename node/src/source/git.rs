//! The git command line as the node uses it: repositories on this machine and on forges.
//!
//! How git is run at all stands in [`command`], objects in bulk in [`objects`], forges in [`remote`].

pub mod adopt;
pub mod command;
pub mod objects;
pub mod remote;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::tree;
use command::{Call, words};

pub use command::GitError;
pub use objects::{Entry, EntryKind, Logged};

/// A repository on this machine, by its git directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    git_dir: PathBuf,
}

/// A tag and the commit that it stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// Its name, without `refs/tags/`.
    pub name: String,
    /// The object it names: a tag object, or the commit itself.
    pub object: String,
    /// The object it leads to; a commit unless the repository is odd.
    pub commit: String,
}

/// What a commit says besides its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its name.
    pub id: String,
    /// The name of its tree.
    pub tree: String,
    /// When it was committed, in Unix seconds.
    pub committed_at: i64,
}

impl Repository {
    /// The repository at `path`: a bare one, or a work tree with its `.git` folder.
    pub fn open(path: &Path) -> Option<Self> {
        let inner = path.join(".git");
        let git_dir = if inner.is_dir() { inner } else { path.to_owned() };
        (git_dir.join("HEAD").is_file() && git_dir.join("objects").is_dir()).then_some(Self { git_dir })
    }

    /// Its git directory.
    pub fn path(&self) -> &Path {
        &self.git_dir
    }

    /// Every tag.
    pub async fn tags(&self) -> Result<Vec<Tag>, GitError> {
        let format = "--format=%(refname) %(objectname) %(*objectname)";
        let text = self.git(&["for-each-ref", format, "refs/tags"]).await?;
        Ok(tags_in(&text))
    }

    /// What a commit says; tags are followed.
    pub async fn commit(&self, revision: &str) -> Result<Commit, GitError> {
        let revision = format!("{revision}^{{commit}}");
        let text = self.git(&["show", "-s", "--no-show-signature", "--format=%H %T %ct", "--end-of-options", &revision]).await?;
        let mut words = text.split_whitespace();
        let parsed = (|| Some((words.next()?, words.next()?, words.next()?.parse().ok()?)))();
        let (id, tree, committed_at) =
            parsed.ok_or_else(|| GitError::Failed { command: "show".to_owned(), message: format!("unexpected answer {text:?}") })?;
        Ok(Commit { id: id.to_owned(), tree: tree.to_owned(), committed_at })
    }

    /// Writes a commit's files into the empty folder `into`, but for those whose contents the repository does
    /// not have. Submodules stay empty; no attribute of the
    /// kind that archives apply (`export-ignore`, `export-subst`) has an effect.
    pub async fn export(&self, commit: &str, into: &Path) -> Result<(), GitError> {
        let listing = self.git(&["ls-tree", "-r", "-l", "-z", "--full-tree", "--end-of-options", commit]).await?;
        fits::listing(&listing)?;
        let scratch = tempfile::tempdir().map_err(|source| GitError::Run { command: "read-tree".to_owned(), source })?;
        let index = scratch.path().join("index");
        let envs = [("GIT_INDEX_FILE", index.as_os_str())];
        Call::new(&words(&["read-tree", commit])).within(&self.git_dir).envs(&envs).text().await?;
        let missing = left_out(&listing);
        if !missing.is_empty() {
            let args = words(&["update-index", "-z", "--index-info"]);
            Call::new(&args).within(&self.git_dir).envs(&envs).input(missing.as_bytes()).text().await?;
        }
        let checkout = ["--work-tree".as_ref(), into.as_os_str(), OsStr::new("checkout-index"), "--all".as_ref(), "--quiet".as_ref()];
        Call::new(&checkout).within(&self.git_dir).envs(&envs).text().await?;
        tree::reset_modes(into).map_err(|source| GitError::Run { command: "checkout-index".to_owned(), source })
    }

    async fn git(&self, args: &[&str]) -> Result<String, GitError> {
        Call::new(&words(args)).within(&self.git_dir).text().await
    }
}

/// What takes those entries out of an index whose size git cannot tell, because it does not have them.
fn left_out(listing: &str) -> String {
    let entry = |entry: &str| {
        let (fields, path) = entry.split_once('\t')?;
        let is_missing = fields.split_whitespace().nth(3) == Some("BAD");
        is_missing.then(|| format!("0 {}\t{path}\0", "0".repeat(40)))
    };
    listing.split_terminator('\0').filter_map(entry).collect()
}

/// Whether a tree would be larger than an archive may be.
pub mod fits {
    use super::GitError;
    use crate::source::unpack::{ENTRIES_MAX, UNPACKED_BYTES_MAX};

    fn too_large(what: &'static str, limit: u64) -> GitError {
        GitError::TooLarge { command: "ls-tree".to_owned(), what, limit }
    }

    /// Refuses a tree of too many files.
    pub fn entries(count: usize) -> Result<(), GitError> {
        if count > ENTRIES_MAX { Err(too_large("entries", ENTRIES_MAX as u64)) } else { Ok(()) }
    }

    /// Refuses a tree by its listing with sizes, before any of it is written.
    pub fn listing(listing: &str) -> Result<(), GitError> {
        entries(listing.split_terminator('\0').take(ENTRIES_MAX + 1).count())?;
        // `mode type object size<TAB>path`; a submodule's size is a hyphen.
        let size = |entry: &str| entry.split('\t').next()?.split_whitespace().nth(3)?.parse::<u64>().ok();
        let bytes = listing.split_terminator('\0').filter_map(size).fold(0_u64, u64::saturating_add);
        if bytes > UNPACKED_BYTES_MAX { Err(too_large("bytes", UNPACKED_BYTES_MAX)) } else { Ok(()) }
    }
}

/// The tags in an answer of `for-each-ref --format='%(refname) %(objectname) %(*objectname)'`.
pub fn tags_in(text: &str) -> Vec<Tag> {
    text.lines().filter_map(tag_of_line).collect()
}

fn tag_of_line(line: &str) -> Option<Tag> {
    let mut words = line.split(' ');
    let name = words.next()?.strip_prefix("refs/tags/")?.to_owned();
    let (object, peeled) = (words.next()?, words.next().unwrap_or_default());
    let commit = if peeled.is_empty() { object } else { peeled }.to_owned();
    Some(Tag { name, object: object.to_owned(), commit })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::unpack::{ENTRIES_MAX, UNPACKED_BYTES_MAX};

    #[test]
    fn a_commit_that_is_a_bomb_is_refused_by_its_listing() {
        let blob = |size: &str, name: &str| format!("100644 blob 0000000000000000000000000000000000000000 {size:>7}\t{name}\0");
        assert!(fits::listing(&(blob("12", "a") + &blob("-", "b"))).is_ok());
        let half = (UNPACKED_BYTES_MAX / 2 + 1).to_string();
        let two = blob(&half, "a") + &blob(&half, "a b\tc");
        assert!(matches!(fits::listing(&two), Err(GitError::TooLarge { what: "bytes", .. })));
        let many = blob("1", "a").repeat(ENTRIES_MAX + 1);
        assert!(matches!(fits::listing(&many), Err(GitError::TooLarge { what: "entries", .. })));
    }
}
