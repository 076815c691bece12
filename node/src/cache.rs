//! Downloads by digest, on disk, shared by any number of node processes.
//!
//! A file appears under its name only once it is whole and its digest is known, by an atomic rename, and
//! is hashed again each time it is used: a damaged file is a missing file. Locks order the work of
//! several processes that would otherwise derive the same thing at once.

pub mod currency;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use quorate_proto::Digest;
use rustix::fs::FlockOperation;
use sha2::{Digest as _, Sha256};

pub use currency::{Currency, Reuse};

/// A folder of files named by their digests.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// A file on the way into the cache.
#[derive(Debug)]
pub struct Incoming {
    file: tempfile::NamedTempFile,
    hasher: Sha256,
    size_bytes: u64,
}

/// A file that is wholly written but not yet named.
#[derive(Debug)]
pub struct Arrived {
    file: tempfile::NamedTempFile,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Its size.
    pub size_bytes: u64,
}

/// A lock held across processes until it is dropped.
#[derive(Debug)]
pub struct CacheLock {
    _file: File,
}

impl Cache {
    /// Opens the cache at `root`, making its folders.
    pub fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        for folder in ["sha256", "incoming", "derived", "locks"] {
            fs::create_dir_all(root.join(folder))?;
        }
        Ok(Self { root })
    }

    /// The file with this digest, if it is held whole.
    pub fn get(&self, digest: Digest) -> Option<PathBuf> {
        self.get_sized(digest).map(|(path, _)| path)
    }

    /// The same with its size.
    pub fn get_sized(&self, digest: Digest) -> Option<(PathBuf, u64)> {
        let path = self.path(digest);
        match digest_of_file(&path) {
            Ok((got, size_bytes)) if got == digest => Some((path, size_bytes)),
            Ok(_) => {
                tracing::warn!(%digest, "a cached file was damaged on this machine and is removed");
                let _ = fs::remove_file(&path);
                None
            }
            Err(_) => None,
        }
    }

    /// Begins a file.
    pub fn incoming(&self) -> io::Result<Incoming> {
        let file = tempfile::NamedTempFile::new_in(self.root.join("incoming"))?;
        Ok(Incoming { file, hasher: Sha256::new(), size_bytes: 0 })
    }

    /// Takes in some bytes and says where they are.
    pub fn put(&self, bytes: &[u8]) -> io::Result<(Digest, PathBuf)> {
        let mut incoming = self.incoming()?;
        incoming.write(bytes)?;
        let arrived = incoming.finish()?;
        Ok((arrived.digest, self.keep(arrived)?))
    }

    /// Names a file by its digest.
    pub fn keep(&self, arrived: Arrived) -> io::Result<PathBuf> {
        let path = self.path(arrived.digest);
        place(arrived.file, &path)?;
        Ok(path)
    }

    /// Something made from cached files, by a name that the caller keeps unique.
    pub fn derived(&self, name: &str) -> PathBuf {
        self.root.join("derived").join(name)
    }

    /// The text of something derived, if this user alone could have written it: what is derived has no
    /// digest that anybody vouches for.
    pub fn own_derived(&self, name: &str) -> Option<String> {
        String::from_utf8(self.own_derived_bytes(name)?).ok()
    }

    /// The same for what is no text.
    pub fn own_derived_bytes(&self, name: &str) -> Option<Vec<u8>> {
        use rustix::fs::{Mode, OFlags};
        use std::os::unix::fs::MetadataExt as _;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::open(self.derived(name), flags, Mode::empty()).ok()?);
        let meta = file.metadata().ok()?;
        let is_own = meta.is_file() && meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o022 == 0;
        let mut bytes = Vec::new();
        is_own.then(|| file.read_to_end(&mut bytes)).and_then(Result::ok)?;
        Some(bytes)
    }

    /// Writes something derived, whole or not at all.
    pub fn put_derived(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let mut file = tempfile::NamedTempFile::new_in(self.root.join("incoming"))?;
        file.write_all(bytes)?;
        let path = self.derived(name);
        place(file, &path)?;
        Ok(path)
    }

    /// Writes something derived that nobody but this user reads.
    pub fn put_own_derived(&self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        // A temporary file is its user's alone, and stays so.
        let mut file = tempfile::NamedTempFile::new_in(self.root.join("incoming"))?;
        parts.iter().try_for_each(|part| file.write_all(part))?;
        file.persist(self.derived(name)).map_err(|error| error.error)?;
        Ok(())
    }

    /// Removes of the derived files whose names begin with `prefix` those that were written longest ago, until the
    /// others have at most `bytes_max` together.
    pub fn trim_derived(&self, prefix: &str, bytes_max: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.derived(""))? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                // Another process may have removed it meanwhile.
                let Ok(meta) = entry.metadata() else { continue };
                files.push((meta.modified()?, meta.len(), entry.path()));
            }
        }
        files.sort_by(|a, b| b.cmp(a));
        let mut bytes = 0;
        for (_, size_bytes, path) in files {
            bytes += size_bytes;
            if bytes > bytes_max {
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }

    /// Waits until this process alone holds the lock `name`. Blocks: not for async tasks.
    pub fn lock(&self, name: &str) -> io::Result<CacheLock> {
        let file = File::create(self.root.join("locks").join(name))?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        Ok(CacheLock { _file: file })
    }

    /// Waits until nobody holds the lock `name` alone, and shares it with others. Blocks: not for async tasks.
    pub fn lock_shared(&self, name: &str) -> io::Result<CacheLock> {
        let file = File::create(self.root.join("locks").join(name))?;
        rustix::fs::flock(&file, FlockOperation::LockShared)?;
        file.set_modified(std::time::SystemTime::now())?;
        Ok(CacheLock { _file: file })
    }

    /// The lock `name` for this process alone, unless anybody has it. The time of the last use stays.
    pub fn try_lock(&self, name: &str) -> io::Result<Option<CacheLock>> {
        let file = File::options().write(true).create(true).truncate(false).open(self.root.join("locks").join(name))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(CacheLock { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// When the lock `name` was last taken with [`Cache::lock_shared`]; long ago if never.
    pub fn locked_at(&self, name: &str) -> std::time::SystemTime {
        let modified = fs::metadata(self.root.join("locks").join(name)).and_then(|data| data.modified());
        modified.unwrap_or(std::time::SystemTime::UNIX_EPOCH)
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.root.join("sha256").join(digest.to_hex())
    }
}

impl Incoming {
    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.size_bytes += bytes.len() as u64;
        Ok(())
    }

    /// How much was written.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Ends the file.
    pub fn finish(mut self) -> io::Result<Arrived> {
        self.file.flush()?;
        let digest = Digest::from_bytes(self.hasher.finalize().into());
        Ok(Arrived { file: self.file, digest, size_bytes: self.size_bytes })
    }
}

fn place(file: tempfile::NamedTempFile, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644))?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Digest and size of a file.
pub fn digest_of_file(path: &Path) -> io::Result<(Digest, u64)> {
    digest_of(File::open(path)?)
}

/// The digest of all that can be read, and how much that is.
pub fn digest_of(mut content: impl Read) -> io::Result<(Digest, u64)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    let mut size_bytes = 0;
    loop {
        let count = content.read(&mut buffer)?;
        if count == 0 {
            return Ok((Digest::from_bytes(hasher.finalize().into()), size_bytes));
        }
        hasher.update(&buffer[..count]);
        size_bytes += count as u64;
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_damaged_file_is_a_missing_file() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let (digest, path) = cache.put(b"content").unwrap();
        assert_eq!(cache.get(digest).as_deref(), Some(path.as_path()));
        fs::write(&path, b"contend").unwrap();
        assert_eq!(cache.get(digest), None);
        assert!(!path.exists());
    }

    #[test]
    fn what_was_derived_longest_ago_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        for (age_seconds, name) in ["document-new", "document-old", "other"].iter().enumerate() {
            cache.put_own_derived(name, &[b"te", b"xt"]).unwrap();
            let then = std::time::SystemTime::now() - std::time::Duration::from_secs(age_seconds as u64);
            File::options().write(true).open(cache.derived(name)).unwrap().set_modified(then).unwrap();
        }
        cache.trim_derived("document-", 7).unwrap();
        let texts = ["document-new", "document-old", "other"].map(|name| cache.own_derived(name).is_some());
        assert_eq!(texts, [true, false, true]);
    }

    #[test]
    fn a_derived_text_that_another_user_could_have_written_is_not_used() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let path = cache.put_derived("a", b"text").unwrap();
        assert_eq!(cache.own_derived("a").as_deref(), Some("text"));
        std::os::unix::fs::symlink(&path, cache.derived("b")).unwrap();
        assert_eq!(cache.own_derived("b"), None);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(cache.own_derived("a"), None);
    }
}
