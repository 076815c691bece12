//! What own builds left, kept for as long as others' witnesses of the same tasks may arrive.
//!
//! `intermediates/<task hex>.<environment class>` in the data folder: [`MAGIC`], the CRC-32 of what follows
//! (ISO-HDLC, four bytes, little-endian), and the digests, sorted, 32 bytes each. Readable by the node alone: told
//! to others, they would let everybody say that they had built. A damaged file counts as absent.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use quorate_proto::build_witness::{INTERMEDIATES_MAX, Intermediate, Intermediates};
use quorate_proto::result::EnvironmentClass;
use quorate_proto::{Digest, TaskId};

use crate::durable;

/// The first bytes of a file.
const MAGIC: &[u8; 8] = b"QINTER1\n";
/// Most bytes of all files together; the oldest go first. A checker without its own intermediates checks nothing,
/// and nothing else is lost.
const BYTES_MAX: u64 = 1 << 30;
/// How much is left when the oldest have gone.
const BYTES_LEFT: u64 = BYTES_MAX / 10 * 9;

/// The folder. Clones share one count of its bytes.
#[derive(Clone, Debug)]
pub struct Kept {
    dir: PathBuf,
    held_bytes: Arc<Mutex<u64>>,
    bytes_max: u64,
}

/// A file that cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error("intermediates `{path}`")]
pub struct KeptError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl Kept {
    /// Opens the folder below a data folder, making it where it is missing.
    pub fn open(data_dir: &Path) -> Result<Self, KeptError> {
        let dir = data_dir.join("intermediates");
        let opened = || {
            fs::create_dir_all(&dir)?;
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
            durable::sweep(&dir)?;
            Ok(files(&dir)?.iter().map(|(_, size_bytes, _)| size_bytes).sum())
        };
        let held_bytes = opened().map_err(|source| KeptError { path: dir.clone(), source })?;
        Ok(Self { dir, held_bytes: Arc::new(Mutex::new(held_bytes)), bytes_max: BYTES_MAX })
    }

    /// Keeps what a build left, durably, in place of what an earlier one of the same task left.
    pub fn put(&self, task: &TaskId, class: EnvironmentClass, left: &Intermediates) -> Result<(), KeptError> {
        let path = self.path(task, class);
        let failed = |source| KeptError { path: path.clone(), source };
        let bytes = encode(left);
        let mut held_bytes = self.held_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        durable::replace(&path, &bytes).map_err(failed)?;
        // What it replaced is counted until the next look at the folder, which then finds less.
        *held_bytes += bytes.len() as u64;
        if *held_bytes > self.bytes_max {
            *held_bytes = self.prune(&path).map_err(failed)?;
        }
        Ok(())
    }

    /// What an own build left, if it is kept.
    pub fn get(&self, task: &TaskId, class: EnvironmentClass) -> Result<Option<Intermediates>, KeptError> {
        let path = self.path(task, class);
        match fs::read(&path) {
            Ok(bytes) => Ok(decode(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(KeptError { path, source }),
        }
    }

    fn path(&self, task: &TaskId, class: EnvironmentClass) -> PathBuf {
        let class = match class {
            EnvironmentClass::Host => "host",
            EnvironmentClass::Rootfs => "rootfs",
        };
        self.dir.join(format!("{}.{class}", task.to_hex()))
    }

    /// Removes the oldest files until the rest has room, and says what is left. `newest` stays.
    fn prune(&self, newest: &Path) -> io::Result<u64> {
        let mut all = files(&self.dir)?;
        all.sort_by_key(|(_, _, modified)| *modified);
        let mut held_bytes = all.iter().map(|(_, size_bytes, _)| size_bytes).sum();
        for (path, size_bytes, _) in all.iter().filter(|(path, ..)| path != newest) {
            if held_bytes <= BYTES_LEFT.min(self.bytes_max) {
                break;
            }
            fs::remove_file(path)?;
            held_bytes -= size_bytes;
        }
        Ok(held_bytes)
    }
}

fn files(dir: &Path) -> io::Result<Vec<(PathBuf, u64, SystemTime)>> {
    let look = |entry: io::Result<fs::DirEntry>| {
        let entry = entry?;
        let data = entry.metadata()?;
        Ok((entry.path(), data.len(), data.modified()?))
    };
    fs::read_dir(dir)?.map(look).collect()
}

fn encode(left: &Intermediates) -> Vec<u8> {
    let digests: Vec<u8> = left.as_slice().iter().flat_map(|one| *one.digest().as_bytes()).collect();
    let sum = crc32fast::hash(&digests).to_le_bytes();
    [MAGIC.as_slice(), &sum, &digests].concat()
}

fn decode(bytes: &[u8]) -> Option<Intermediates> {
    let (sum, digests) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
    let (digests, rest) = digests.as_chunks::<32>();
    let is_whole = rest.is_empty() && digests.len() <= INTERMEDIATES_MAX && digests.is_sorted_by(|one, next| one < next);
    if !is_whole || crc32fast::hash(digests.as_flattened()) != u32::from_le_bytes(*sum) {
        return None;
    }
    Intermediates::new(digests.iter().map(|digest| Intermediate::from_digest(Digest::from_bytes(*digest)))).ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use quorate_proto::ArtifactSlot;

    const CLASS: EnvironmentClass = EnvironmentClass::Host;

    fn task(version: usize) -> TaskId {
        let package = format!("pkg:pypi/a@{version}").parse().unwrap();
        TaskId::of(&ArtifactSlot { package, file: "a.whl".parse().unwrap() })
    }

    fn left(count: u8) -> Intermediates {
        Intermediates::new((0..count).map(|n| Intermediate::of(&[n], &Digest::of(&[n])))).unwrap()
    }

    #[test]
    fn what_is_kept_is_there_after_a_restart_and_for_its_own_task_and_class_only() {
        let dir = tempfile::tempdir().unwrap();
        Kept::open(dir.path()).unwrap().put(&task(1), CLASS, &left(40)).unwrap();
        let kept = Kept::open(dir.path()).unwrap();
        assert_eq!(kept.get(&task(1), CLASS).unwrap(), Some(left(40)));
        assert_eq!(kept.get(&task(1), EnvironmentClass::Rootfs).unwrap(), None);
        assert_eq!(kept.get(&task(2), CLASS).unwrap(), None);
        kept.put(&task(1), CLASS, &left(3)).unwrap();
        assert_eq!(kept.get(&task(1), CLASS).unwrap(), Some(left(3)));
        let mode = fs::metadata(dir.path().join("intermediates")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "told to others, they are worth nothing");
    }

    /// Rows "failed" and "damage" of the fault table.
    #[test]
    fn a_file_that_is_cut_or_changed_anywhere_counts_as_absent() {
        let whole = encode(&left(5));
        assert_eq!(decode(&whole), Some(left(5)));
        for cut in 0..whole.len() {
            assert_eq!(decode(&whole[..cut]), None, "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            assert_eq!(decode(&damaged), None, "changed at {at}");
        }
        let unfinished = tempfile::tempdir().unwrap();
        let kept = Kept::open(unfinished.path()).unwrap();
        fs::write(kept.dir.join(format!("{}1-1", durable::UNFINISHED)), &whole).unwrap();
        drop(kept);
        assert_eq!(*Kept::open(unfinished.path()).unwrap().held_bytes.lock().unwrap(), 0);
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept { bytes_max: 5_000, ..Kept::open(dir.path()).unwrap() };
        for version in 0..10 {
            kept.put(&task(version), CLASS, &left(40)).unwrap();
            let old = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(version as u64);
            fs::File::options().write(true).open(kept.path(&task(version), CLASS)).unwrap().set_modified(old).unwrap();
        }
        let held: Vec<bool> = (0..10).map(|version| kept.get(&task(version), CLASS).unwrap().is_some()).collect();
        assert!(held[9] && !held[0] && held.is_sorted(), "{held:?}");
        assert!(files(&kept.dir).unwrap().iter().map(|(_, size, _)| size).sum::<u64>() <= 5_000);
    }
}
