//! Toolchains that this machine did not come with, by kind, version and digest: the part that every
//! ecosystem shares. How one is come by is each ecosystem's own business.
//!
//! A toolchain is a folder that appears whole under its version, by an atomic rename, with a word beside it
//! about where it came from. It is hashed again each time it is used: a damaged toolchain is a missing one.
//! Locks order the work of several processes that would otherwise make the same one at once.

pub mod cargo;
pub mod npm;

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use quorate_proto::Digest;
use quorate_proto::result::Tool;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::cache::{Cache, CacheLock, digest_of_file};

/// The word beside a toolchain's folder.
const WORD: &str = "toolchain.json";
/// The folder itself, in that of its version.
const FILES: &str = "files";
const WORD_BYTES_MAX: u64 = 1 << 20;
/// Most files of a toolchain, and how deep they may lie.
const ENTRIES_MAX: usize = 100_000;
const DEPTH_MAX: usize = 64;
/// How long a rebuild waits for a toolchain where nothing bounds its own time: longer than building one takes.
pub const WAIT: Duration = Duration::from_hours(2);
/// Most bytes of a version.
const VERSION_BYTES_MAX: usize = 64;

/// What a toolchain is a version of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Rust's package manager alone.
    Cargo,
    /// The JavaScript runtime.
    Node,
    /// JavaScript's package manager, without a runtime.
    Npm,
    /// Another one, which some packages are packed with.
    Pnpm,
}

/// A toolchain that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// What it is.
    pub kind: Kind,
    /// Which version.
    pub version: String,
    /// Where its files lie.
    pub folder: PathBuf,
    /// The digest of its tree: names, executable bits, link targets and contents.
    pub digest: Digest,
    /// Where it came from.
    pub provenance: Provenance,
}

/// Where a toolchain came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Provenance {
    /// How it was come by.
    pub how: How,
    /// The address or package URL of what it was made from.
    pub uri: String,
    /// SHA-256 of that.
    pub digest: Digest,
    /// What it was built with, if it was built here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub built_with: Vec<Tool>,
    /// Dependencies that its lock file has in another version, with that which was built: `tar 0.4.37`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<String>,
}

/// How a toolchain was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// Unpacked as its makers publish it.
    Unpacked,
    /// Built here from the source that its makers publish.
    Built,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Word {
    kind: Kind,
    version: String,
    digest: Digest,
    provenance: Provenance,
}

/// Toolchains on disk, shared by any number of node processes.
#[derive(Clone, Debug)]
pub struct ToolchainCache {
    dir: PathBuf,
    cache: Cache,
}

/// A toolchain on the way into the cache.
#[derive(Debug)]
pub struct Staging {
    folder: tempfile::TempDir,
}

impl Kind {
    /// Its name in paths and for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cargo => "cargo",
            Self::Node => "node",
            Self::Npm => "npm",
            Self::Pnpm => "pnpm",
        }
    }

    const ALL: [Self; 4] = [Self::Cargo, Self::Node, Self::Npm, Self::Pnpm];
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| format!("`{text}` is none of {}", names()))
    }
}

impl Staging {
    /// The folder to fill.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join(FILES)
    }
}

impl ToolchainCache {
    /// The toolchains of a cache. Nothing is made until one is kept.
    pub fn new(cache: &Cache) -> Self {
        Self { dir: cache.derived("toolchains"), cache: cache.clone() }
    }

    /// The toolchain of a version, if it is held whole. It counts as used.
    pub fn get(&self, kind: Kind, version: &str) -> Option<Toolchain> {
        let toolchain = self.read(kind, version)?;
        if digest_of_tree(&toolchain.folder).ok() != Some(toolchain.digest) {
            tracing::warn!(%kind, version, "a cached toolchain has changed on this machine and is removed");
            let _ = self.remove(kind, version);
            return None;
        }
        let word = File::options().append(true).open(self.place(kind, version)?.join(WORD)).ok()?;
        let _ = word.set_modified(SystemTime::now());
        Some(toolchain)
    }

    /// Begins a toolchain.
    pub fn stage(&self) -> io::Result<Staging> {
        fs::create_dir_all(&self.dir)?;
        let folder = tempfile::Builder::new().prefix(".incoming-").tempdir_in(&self.dir)?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        fs::create_dir(folder.path().join(FILES))?;
        fs::set_permissions(folder.path().join(FILES), Permissions::from_mode(0o755))?;
        Ok(Staging { folder })
    }

    /// Names a staged toolchain by its kind and version, in the place of one that was there.
    pub fn keep(&self, staging: Staging, kind: Kind, version: &str, provenance: Provenance) -> io::Result<Toolchain> {
        let place = self.place(kind, version).ok_or_else(|| io::Error::other(format!("`{version}` is no version")))?;
        let digest = digest_of_tree(&staging.folder())?;
        let word = Word { kind, version: version.to_owned(), digest, provenance };
        fs::write(staging.folder.path().join(WORD), serde_json::to_vec_pretty(&word)?)?;
        fs::create_dir_all(self.dir.join(kind.name()))?;
        self.remove(kind, version)?;
        fs::rename(staging.folder.keep(), &place)?;
        Ok(Toolchain { kind, version: word.version, folder: place.join(FILES), digest, provenance: word.provenance })
    }

    /// Waits until this process alone makes toolchains named `name`. Blocks: not for async tasks.
    pub fn lock(&self, name: &str) -> io::Result<CacheLock> {
        self.cache.lock(&format!("toolchain-{name}"))
    }

    /// Every toolchain that is held, with its size and when it was used last. Nothing is hashed.
    pub fn list(&self) -> Vec<(Toolchain, u64, SystemTime)> {
        let mut all = Vec::new();
        for kind in Kind::ALL {
            let versions = fs::read_dir(self.dir.join(kind.name())).into_iter().flatten().flatten();
            let mut names: Vec<_> = versions.filter_map(|entry| entry.file_name().into_string().ok()).collect();
            names.sort();
            for version in names {
                let Some(toolchain) = self.read(kind, &version) else { continue };
                let used = self.place(kind, &version).and_then(|place| place.join(WORD).metadata().ok()?.modified().ok());
                let size = entries(&toolchain.folder).map(|all| all.iter().map(|entry| entry.size_bytes).sum()).unwrap_or_default();
                all.push((toolchain, size, used.unwrap_or(SystemTime::UNIX_EPOCH)));
            }
        }
        all
    }

    /// Removes toolchains that were not used for `unused`; gives what was removed.
    pub fn prune(&self, unused: Duration, now: SystemTime) -> io::Result<Vec<Toolchain>> {
        let mut removed = Vec::new();
        for (toolchain, _, used) in self.list() {
            if now.duration_since(used).unwrap_or_default() >= unused {
                self.remove(toolchain.kind, &toolchain.version)?;
                removed.push(toolchain);
            }
        }
        Ok(removed)
    }

    /// Aside first, so that nobody sees half of one.
    fn remove(&self, kind: Kind, version: &str) -> io::Result<()> {
        let Some(place) = self.place(kind, version).filter(|place| place.exists()) else { return Ok(()) };
        let aside = tempfile::Builder::new().prefix(".outgoing-").tempdir_in(&self.dir)?;
        fs::rename(place, aside.path().join("old"))?;
        aside.close()
    }

    fn read(&self, kind: Kind, version: &str) -> Option<Toolchain> {
        let place = self.place(kind, version)?;
        let file = place.join(WORD);
        let meta = fs::symlink_metadata(&file).ok()?;
        // What stands here has no digest that anybody else vouches for: this user alone may have written it.
        let is_own = meta.is_file() && meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o022 == 0;
        let word: Word = serde_json::from_slice(&fs::read(file).ok().filter(|_| is_own && meta.len() <= WORD_BYTES_MAX)?).ok()?;
        let is_it = word.kind == kind && word.version == version;
        is_it.then(|| Toolchain {
            kind,
            version: word.version,
            folder: place.join(FILES),
            digest: word.digest,
            provenance: word.provenance,
        })
    }

    fn place(&self, kind: Kind, version: &str) -> Option<PathBuf> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-+_".contains(c);
        let is_version = version.starts_with(|c: char| c.is_ascii_alphanumeric()) && version.chars().all(is_plain);
        (is_version && version.len() <= VERSION_BYTES_MAX).then(|| self.dir.join(kind.name()).join(version))
    }
}

struct Entry {
    path: PathBuf,
    word: String,
    size_bytes: u64,
}

/// Everything below a folder, sorted; contents are not read.
fn entries(root: &Path) -> io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    let mut left = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = left.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let meta = path.symlink_metadata()?;
            let kind = meta.file_type();
            if kind.is_dir() {
                left.push((path.clone(), depth + 1));
            }
            let word = match () {
                () if kind.is_dir() => "folder".to_owned(),
                () if kind.is_symlink() => format!("link {}", fs::read_link(&path)?.display()),
                () if kind.is_file() && meta.mode() & 0o111 != 0 => "program".to_owned(),
                () if kind.is_file() => "file".to_owned(),
                () => return Err(io::Error::other(format!("{} is no file", path.display()))),
            };
            found.push(Entry { path, word, size_bytes: if kind.is_file() { meta.len() } else { 0 } });
            if found.len() > ENTRIES_MAX || depth > DEPTH_MAX {
                return Err(io::Error::other(format!("{} is larger or deeper than a toolchain", root.display())));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// The digest of a folder: names, kinds, executable bits, link targets and contents, sorted by name.
pub fn digest_of_tree(root: &Path) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    for entry in entries(root)? {
        let name = entry.path.strip_prefix(root).map_err(io::Error::other)?;
        let content = match entry.word.as_str() {
            "file" | "program" => digest_of_file(&entry.path)?.0.to_hex(),
            _ => String::new(),
        };
        hasher.update(format!("{}\0{}\0{content}\0", name.display(), entry.word));
    }
    Ok(Digest::from_bytes(hasher.finalize().into()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn kept(cache: &ToolchainCache, version: &str) -> io::Result<Toolchain> {
        let staging = cache.stage()?;
        fs::create_dir(staging.folder().join("bin"))?;
        fs::write(staging.folder().join("bin/cargo"), version)?;
        let provenance = Provenance {
            how: How::Built,
            uri: "pkg:cargo/cargo@0.2.0".to_owned(),
            digest: Digest::of(b""),
            built_with: Vec::new(),
            replaced: Vec::new(),
        };
        cache.keep(staging, Kind::Cargo, version, provenance)
    }

    #[test]
    fn a_toolchain_is_found_by_its_version_until_it_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let cache = ToolchainCache::new(&Cache::open(dir.path()).unwrap());
        assert!(cache.list().is_empty() && cache.get(Kind::Cargo, "1.1.0").is_none());
        let toolchain = kept(&cache, "1.1.0").unwrap();
        assert_eq!(cache.get(Kind::Cargo, "1.1.0"), Some(toolchain.clone()));
        assert_eq!((cache.get(Kind::Node, "1.1.0"), cache.get(Kind::Cargo, "1.1")), (None, None));
        fs::set_permissions(toolchain.folder.join("bin/cargo"), Permissions::from_mode(0o755)).unwrap();
        assert_eq!(cache.get(Kind::Cargo, "1.1.0"), None);
        assert!(cache.list().is_empty());
    }

    #[test]
    fn the_same_version_again_takes_the_place_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let cache = ToolchainCache::new(&Cache::open(dir.path()).unwrap());
        let first = kept(&cache, "1.1.0").unwrap();
        assert_eq!(kept(&cache, "1.1.0").unwrap().digest, first.digest);
        assert_eq!(cache.list().len(), 1);
    }

    #[test]
    fn a_version_is_no_path() {
        let dir = tempfile::tempdir().unwrap();
        let cache = ToolchainCache::new(&Cache::open(dir.path()).unwrap());
        for version in ["", "..", "a/b", ".incoming-x", "1.0\0", "é"] {
            assert!(kept(&cache, version).is_err(), "{version:?}");
        }
    }

    #[test]
    fn what_was_not_used_for_long_is_pruned() {
        let dir = tempfile::tempdir().unwrap();
        let cache = ToolchainCache::new(&Cache::open(dir.path()).unwrap());
        kept(&cache, "1.1.0").unwrap();
        let now = SystemTime::now();
        assert!(cache.prune(Duration::from_hours(1), now).unwrap().is_empty());
        assert_eq!(cache.prune(Duration::from_hours(1), now + Duration::from_hours(2)).unwrap().len(), 1);
        assert!(cache.list().is_empty());
    }
}
