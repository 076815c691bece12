//! What a build leaves in its workspace and nobody publishes: the material of a
//! [build witness](quorate_proto::build_witness).
//!
//! Before a build the workspace is read once; after it, every regular file that was not there, or has another
//! content, is an intermediate, unless its bytes are in the source or in the archive on either side, or a rule of
//! [`is_left_out`] passes over it. Decides what counts; knows no salt, no task and no statement. A workspace that
//! cannot be read, or is past a bound, has no intermediates: they are never why a result is not signed.
//! Implements `docs/spec/build-witness.md`, section "Intermediates".

mod keep;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use quorate_normalize::LimitError;
use quorate_proto::Digest;
use quorate_proto::build_witness::{Intermediate, Intermediates, IntermediatesError};
use sha2::{Digest as _, Sha256};

use crate::sandbox::open_output;
pub use keep::{Kept, KeptError};

/// The folders of a workspace that a build writes to. What was fetched for it is nobody's secret.
const FOLDERS: [&str; 3] = ["src", "src-before", "out"];
/// Most files that are looked at.
const FILES_MAX: usize = 300_000;
/// Most bytes that are read, before and after a build each.
const BYTES_MAX: u64 = 4 << 30;
/// Deepest folder that is looked into.
const DEPTH_MAX: usize = 64;
/// Shorter files can be guessed.
const CONTENT_BYTES_MIN: u64 = 32;

/// Folders that are not looked into: what version control keeps, what a package manager unpacked, caches.
const FOLDERS_LEFT_OUT: [&str; 7] = [".git", ".hg", ".svn", "node_modules", "__pycache__", ".cache", "autom4te.cache"];
/// Endings of files that carry the time, the machine or the order of processes, or checksums of such files.
const ENDINGS_LEFT_OUT: [&str; 6] = [".pyc", ".pyo", ".log", ".buildinfo", ".changes", "autoreconf.after"];
/// Files of the node's own making, and what every cargo writes into its target folder.
const FILES_LEFT_OUT: [&str; 3] = ["out/answer.json", "out/target/CACHEDIR.TAG", "out/target/.rustc_info.json"];

/// A workspace before a build.
#[derive(Debug)]
pub struct Before {
    contents: HashSet<Digest>,
    untouched: HashMap<PathBuf, Stamp>,
}

/// What no build can change of a file without its change showing: the kernel sets the last of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size_bytes: u64,
    changed: (i64, i64),
}

/// Why there are no intermediates.
#[derive(Debug, thiserror::Error)]
pub enum Unrecorded {
    /// None, or too many.
    #[error(transparent)]
    Intermediates(#[from] IntermediatesError),
    /// More files, bytes or folders in folders than are looked at.
    #[error("the workspace has more {quantity} than {limit}")]
    Bound {
        /// Of what.
        quantity: &'static str,
        /// How many are looked at.
        limit: u64,
    },
    /// A file or folder cannot be read.
    #[error("`{path}` in the workspace cannot be read")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An archive whose contents are to be left out goes past a limit.
    #[error("an archive goes past a limit")]
    Archive(#[from] LimitError),
}

impl Before {
    /// Reads a workspace before a build. Blocks.
    pub fn look(workspace: &Path) -> Result<Self, Unrecorded> {
        let mut before = Self { contents: HashSet::new(), untouched: HashMap::new() };
        let mut reader = Reader::new(workspace);
        for (path, stamp) in files(workspace)? {
            before.contents.insert(reader.digest(&path)?);
            before.untouched.insert(path, stamp);
        }
        Ok(before)
    }

    /// What a build has made since. `published` gives the digests of what is in the archive, on either side; it is
    /// asked for only when something else was made. Blocks.
    pub fn left(
        self,
        workspace: &Path,
        published: impl FnOnce() -> Result<BTreeSet<Digest>, Unrecorded>,
    ) -> Result<Intermediates, Unrecorded> {
        let mut reader = Reader::new(workspace);
        let mut made = Vec::new();
        for (path, stamp) in files(workspace)? {
            if self.untouched.get(&path) == Some(&stamp) || stamp.size_bytes < CONTENT_BYTES_MIN {
                continue;
            }
            let content = reader.digest(&path)?;
            if !self.contents.contains(&content) {
                made.push((path, content));
            }
        }
        if made.is_empty() {
            return Err(IntermediatesError::None.into());
        }
        let published = published()?;
        made.retain(|(_, content)| !published.contains(content));
        for (path, content) in &made {
            tracing::trace!(path = %path.display(), content = %content, "intermediate");
        }
        Ok(Intermediates::new(made.iter().map(|(path, content)| Intermediate::of(path.as_os_str().as_bytes(), content)))?)
    }
}

/// Whether a file says nothing about the work, by its path in the workspace: these are the same for everybody who
/// has the tools, or another one each time.
fn is_left_out(path: &Path) -> bool {
    let folder = |part: &std::path::Component<'_>| FOLDERS_LEFT_OUT.iter().any(|name| part.as_os_str() == *name);
    let name = path.file_name().map(OsStrExt::as_bytes).unwrap_or_default();
    path.components().any(|part| folder(&part))
        || ENDINGS_LEFT_OUT.iter().any(|ending| name.ends_with(ending.as_bytes()))
        || FILES_LEFT_OUT.iter().any(|file| path == Path::new(file))
}

/// The regular files of a workspace that are not left out, by their paths in it. Links are not followed.
fn files(workspace: &Path) -> Result<Vec<(PathBuf, Stamp)>, Unrecorded> {
    let mut found = Vec::new();
    let mut folders: Vec<_> = FOLDERS.iter().map(PathBuf::from).filter(|folder| workspace.join(folder).is_dir()).collect();
    while let Some(folder) = folders.pop() {
        let unreadable = |source| Unrecorded::Unreadable { path: folder.clone(), source };
        if folder.components().count() > DEPTH_MAX {
            return Err(Unrecorded::Bound { quantity: "folders in folders", limit: DEPTH_MAX as u64 });
        }
        for entry in fs::read_dir(workspace.join(&folder)).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let path = folder.join(entry.file_name());
            let kind = entry.file_type().map_err(unreadable)?;
            if is_left_out(&path) {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let stamp = Stamp::of(&entry.metadata().map_err(unreadable)?);
                found.push((path, stamp));
            }
        }
        if found.len() + folders.len() > FILES_MAX {
            return Err(Unrecorded::Bound { quantity: "files", limit: FILES_MAX as u64 });
        }
    }
    Ok(found)
}

impl Stamp {
    fn of(data: &fs::Metadata) -> Self {
        Self { inode: data.ino(), size_bytes: data.size(), changed: (data.ctime(), data.ctime_nsec()) }
    }
}

/// Hashes files of a workspace, so many bytes and no more.
struct Reader<'a> {
    workspace: &'a Path,
    left_bytes: u64,
    chunk: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn new(workspace: &'a Path) -> Self {
        Self { workspace, left_bytes: BYTES_MAX, chunk: vec![0; 128 << 10] }
    }

    fn digest(&mut self, path: &Path) -> Result<Digest, Unrecorded> {
        let unreadable = |source| Unrecorded::Unreadable { path: path.to_owned(), source };
        let mut file = open_output(self.workspace, path).map_err(unreadable)?;
        let mut hash = Sha256::new();
        loop {
            let count = file.read(&mut self.chunk).map_err(unreadable)?;
            if count == 0 {
                return Ok(Digest::from_bytes(hash.finalize().into()));
            }
            let bound = Unrecorded::Bound { quantity: "bytes", limit: BYTES_MAX };
            self.left_bytes = self.left_bytes.checked_sub(count as u64).ok_or(bound)?;
            hash.update(&self.chunk[..count]);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    struct Bench(tempfile::TempDir);

    impl Bench {
        fn new() -> Self {
            let bench = Self(tempfile::tempdir().unwrap());
            bench.write("src/lib.py", "the source, which everybody can have");
            bench.write("out/.keep", "");
            bench
        }

        fn write(&self, path: &str, content: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }

        fn left(&self, before: Before, published: &[&str]) -> Result<Intermediates, Unrecorded> {
            let published = published.iter().map(|content| Digest::of(content.as_bytes())).collect();
            before.left(self.0.path(), || Ok(published))
        }
    }

    const OBJECT: &str = "an object file that no archive ever holds";
    const MEMBER: &str = "a generated member of the published archive";

    fn expected(path: &str, content: &str) -> Intermediates {
        Intermediates::new([Intermediate::of(path.as_bytes(), &Digest::of(content.as_bytes()))]).unwrap()
    }

    #[test]
    fn what_a_build_made_and_nobody_publishes_is_recorded_by_its_path_in_the_workspace() {
        let bench = Bench::new();
        let before = Before::look(bench.0.path()).unwrap();
        bench.write("src/build/lib/lib.py", "the source, which everybody can have");
        bench.write("src/build/generated.py", MEMBER);
        bench.write("src/build/lib.o", OBJECT);
        assert_eq!(bench.left(before, &[MEMBER]).unwrap(), expected("src/build/lib.o", OBJECT));
    }

    #[test]
    fn two_workspaces_in_two_places_give_the_same() {
        let left = || {
            let bench = Bench::new();
            let before = Before::look(bench.0.path()).unwrap();
            bench.write("src/build/lib.o", OBJECT);
            bench.left(before, &[]).unwrap()
        };
        assert_eq!(left(), left());
    }

    #[test]
    fn a_source_that_the_build_changed_is_an_intermediate_and_one_that_it_moved_is_none() {
        let bench = Bench::new();
        bench.write("src/version.py", "version = 'unknown until it is built'");
        let before = Before::look(bench.0.path()).unwrap();
        bench.write("src/version.py", "version = '1.0, as the build found it'");
        fs::rename(bench.0.path().join("src/lib.py"), bench.0.path().join("src/moved.py")).unwrap();
        fs::rename(bench.0.path().join("src"), bench.0.path().join("src-before")).unwrap();
        let left = bench.left(before, &[]).unwrap();
        assert_eq!(left, expected("src-before/version.py", "version = '1.0, as the build found it'"));
    }

    #[test]
    fn a_build_that_only_packs_leaves_nothing_and_the_archive_is_not_opened_for_it() {
        let bench = Bench::new();
        let before = Before::look(bench.0.path()).unwrap();
        bench.write("src/short", "guessed");
        bench.write("src/__pycache__/lib.cpython-311.pyc", OBJECT);
        bench.write("src/node_modules/left/index.js", OBJECT);
        bench.write("src/.git/index", OBJECT);
        bench.write("out/answer.json", "\"a-name-that-is-longer-than-the-bound-1.0.whl\"");
        bench.write("src/a_1_amd64.buildinfo", OBJECT);
        let left = before.left(bench.0.path(), || panic!("not asked for"));
        assert!(matches!(left, Err(Unrecorded::Intermediates(IntermediatesError::None))));
    }

    #[test]
    fn a_build_that_links_to_the_nodes_key_or_digs_without_end_is_not_followed() {
        let bench = Bench::new();
        let before = Before::look(bench.0.path()).unwrap();
        let secret = tempfile::tempdir().unwrap();
        fs::write(secret.path().join("key"), OBJECT).unwrap();
        std::os::unix::fs::symlink(secret.path(), bench.0.path().join("src/folder")).unwrap();
        std::os::unix::fs::symlink(secret.path().join("key"), bench.0.path().join("src/file")).unwrap();
        assert!(matches!(bench.left(before, &[]), Err(Unrecorded::Intermediates(IntermediatesError::None))));
        let before = Before::look(bench.0.path()).unwrap();
        bench.write(&format!("src/{}x", "d/".repeat(DEPTH_MAX + 1)), OBJECT);
        assert!(matches!(bench.left(before, &[]), Err(Unrecorded::Bound { .. })));
    }
}
