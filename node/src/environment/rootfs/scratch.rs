//! Where a root is put together: in memory where there is plenty. A package manager waits for the disk after each
//! package, and all that it waits for is thrown away once the root is packed.
//!
//! A folder is held by a lock for as long as it is in use: what a killed process left in memory, the next root
//! removes.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, StatVfsMountFlags, flock, statvfs};

use crate::sandbox::remove_tree;

/// The system's own memory for files.
const MEMORY: &str = "/dev/shm";
const PREFIX: &str = "quorate-root-";
/// What there must be room for. A root has half a gigabyte, with many build requirements two; one that is still
/// larger is made on the disk after all.
const ENOUGH: Room = Room { files_bytes: 4 << 30, memory_bytes: 8 << 30 };

/// A folder that goes when this does.
#[derive(Debug)]
pub(super) struct Scratch {
    folder: PathBuf,
    _in_use: File,
}

/// How much there is.
struct Room {
    /// For files.
    files_bytes: u64,
    /// Of memory, which builds need as well.
    memory_bytes: u64,
}

impl Scratch {
    /// A folder in memory; nothing where there is too little of it.
    pub(super) fn in_memory() -> Option<Self> {
        Self::below(Path::new(MEMORY), &ENOUGH)
    }

    fn below(parent: &Path, enough: &Room) -> Option<Self> {
        sweep(parent).inspect_err(|error| tracing::warn!(%error, "roots that were never finished keep memory")).ok()?;
        let room = room(parent)?;
        if room.files_bytes < enough.files_bytes || room.memory_bytes < enough.memory_bytes {
            return None;
        }
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent).ok()?.keep();
        let in_use = hold(&folder).filter(|_| folder.exists())?;
        // The new system's users are others than this one, and have to pass.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o711)).ok()?;
        Some(Self { folder, _in_use: in_use })
    }

    pub(super) fn path(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.folder) {
            tracing::warn!(%error, folder = %self.folder.display(), "half a root stays in memory");
        }
    }
}

/// The lock of a folder, unless somebody has it.
fn hold(folder: &Path) -> Option<File> {
    let file = File::open(folder).ok()?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok().map(|()| file)
}

/// Removes what this user's killed processes left.
fn sweep(parent: &Path) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(parent)? {
        let folder = entry?.path();
        let is_ours = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        if !is_ours || !fs::symlink_metadata(&folder).is_ok_and(|meta| meta.is_dir() && meta.uid() == own) {
            continue;
        }
        if let Some(_left) = hold(&folder) {
            remove_tree(&folder)?;
        }
    }
    Ok(())
}

/// What there is; nothing where programs cannot be run, which packages' own scripts are.
fn room(parent: &Path) -> Option<Room> {
    let system = statvfs(parent).ok().filter(|system| !system.f_flag.contains(StatVfsMountFlags::NOEXEC))?;
    let memory = fs::read_to_string("/proc/meminfo").ok()?;
    let available = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?.trim().strip_suffix(" kB")?;
    Some(Room { files_bytes: system.f_bavail.saturating_mul(system.f_frsize), memory_bytes: available.parse::<u64>().ok()? << 10 })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_a_killed_process_left_goes_and_what_is_in_use_stays() {
        let dir = tempfile::tempdir().unwrap();
        let some = Room { files_bytes: 1, memory_bytes: 1 };
        let first = Scratch::below(dir.path(), &some).unwrap();
        fs::create_dir_all(first.path().join("root/etc")).unwrap();
        let [left, other] = ["quorate-root-left", "other"].map(|name| dir.path().join(name));
        fs::create_dir_all(left.join("root/etc")).unwrap();
        fs::create_dir(&other).unwrap();
        let second = Scratch::below(dir.path(), &some).unwrap();
        assert!(!left.exists() && other.exists() && first.path().join("root/etc").exists() && second.path().exists());
        drop((first, second));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn where_memory_is_short_the_disk_is_used() {
        let dir = tempfile::tempdir().unwrap();
        for enough in [Room { files_bytes: u64::MAX, memory_bytes: 1 }, Room { files_bytes: 1, memory_bytes: u64::MAX }] {
            assert!(Scratch::below(dir.path(), &enough).is_none());
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
