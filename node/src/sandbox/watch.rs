//! The watchdogs: memory where no control group bounds it, and the growth of the read-write binds always.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::{cgroup, tree};

const MEMORY_PERIOD: Duration = Duration::from_millis(100);
const DISK_PERIOD: Duration = Duration::from_millis(250);
/// A look at the disk takes at most this share of one core.
const DISK_SHARE: u32 = 20;

/// An empty file costs the file system an inode, and a mount has fewer of them than of bytes.
const INODE_BYTES: u64 = 4096;

/// Returns once the run is over its memory.
pub(super) async fn memory(root: u32, cgroup: &cgroup::Run, max: u64) {
    // Files in memory that no process maps belong to nobody: they are seen in the machine's total alone. What
    // others put there meanwhile counts too; too strict beats blind.
    let before = tree::shared_bytes();
    loop {
        sleep(MEMORY_PERIOD).await;
        let over = if cgroup.memory_force().is_some() {
            cgroup.memory_was_exceeded()
        } else {
            let used = move || tree::memory_bytes(&tree::members(root)).max(tree::shared_bytes().saturating_sub(before));
            spawn_blocking(used).await.is_ok_and(|used| used > max)
        };
        if over {
            return;
        }
    }
}

/// Read-write binds, and what they held before the run.
#[derive(Debug)]
pub(super) struct Disk {
    dirs: Vec<PathBuf>,
    devices: HashSet<u64>,
    before: Used,
    growth_max: u64,
}

#[derive(Clone, Copy, Debug)]
struct Used {
    /// What a walk finds.
    files: u64,
    /// What the file systems say; other writers are in it.
    whole: u64,
    /// False when a folder could not be read, as a command can arrange.
    is_complete: bool,
}

impl Disk {
    /// Takes stock. Blocks.
    pub(super) fn before(dirs: Vec<PathBuf>, growth_max: u64) -> Self {
        let devices = dirs.iter().filter_map(|dir| fs::metadata(dir).ok()).map(|data| data.dev()).collect();
        Self { before: used(&dirs), dirs, devices, growth_max }
    }

    /// Whether the binds grew past the limit. Blocks.
    pub(super) fn is_over(&self, processes: &[u32]) -> bool {
        if self.dirs.is_empty() {
            return false;
        }
        let now = used(&self.dirs);
        let unlinked = tree::unlinked_bytes(processes, &self.devices);
        let growth = now.files.saturating_sub(self.before.files).saturating_add(unlinked);
        // What cannot be walked is judged by the file system as a whole: too strict beats blind.
        let blind = !now.is_complete && now.whole.saturating_sub(self.before.whole) > self.growth_max;
        growth > self.growth_max || blind
    }
}

/// Returns once the binds are over their growth.
pub(super) async fn disk(root: u32, disk: Arc<Disk>) {
    if disk.dirs.is_empty() {
        return std::future::pending().await;
    }
    loop {
        let disk = Arc::clone(&disk);
        let look = move || {
            let start = Instant::now();
            (disk.is_over(&tree::members(root)), start.elapsed())
        };
        match spawn_blocking(look).await {
            Ok((true, _)) => return,
            Ok((false, took)) => sleep(DISK_PERIOD.max(took * DISK_SHARE)).await,
            Err(_) => sleep(DISK_PERIOD).await,
        }
    }
}

fn used(dirs: &[PathBuf]) -> Used {
    let mut total = Used { files: 0, whole: 0, is_complete: true };
    for dir in dirs {
        walk(dir, &mut total);
        if let Ok(system) = rustix::fs::statvfs(dir) {
            total.whole += (system.f_blocks - system.f_bfree) * system.f_frsize;
        }
    }
    total
}

fn walk(dir: &Path, total: &mut Used) {
    let mut links = HashSet::new();
    let mut rest = vec![dir.to_owned()];
    while let Some(dir) = rest.pop() {
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) => {
                // A folder that went away between two looks is no blind spot.
                total.is_complete &= matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
                continue;
            }
        };
        for entry in entries.flatten() {
            let Ok(data) = entry.metadata() else { continue };
            if data.is_dir() {
                rest.push(entry.path());
            }
            if data.is_dir() || data.nlink() < 2 || links.insert((data.dev(), data.ino())) {
                total.files += (data.blocks() * 512).max(INODE_BYTES);
            }
        }
    }
}
