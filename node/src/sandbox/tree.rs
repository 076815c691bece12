//! The processes of a run as the host sees them: all descendants of bubblewrap's process. Orphans inside
//! fall to process 1 of the sandbox, so none leaves the tree.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;

/// All processes below `root`, and itself.
pub(super) fn members(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok())
            && let Some(parent) = parent(process)
        {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(process) = found.get(next) {
        found.extend(children.remove(process).unwrap_or_default());
        next += 1;
    }
    found
}

/// Anonymous and shared memory of these processes, in bytes. Pages shared after a fork count for each, so
/// this errs towards too much; mapped files are left out.
pub(super) fn memory_bytes(processes: &[u32]) -> u64 {
    let resident = |process: &u32| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        status
            .lines()
            .filter_map(|line| line.strip_prefix("RssAnon:").or_else(|| line.strip_prefix("RssShmem:")))
            .filter_map(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
            .sum::<u64>()
    };
    processes.iter().map(resident).sum::<u64>() * 1024
}

/// Memory of the whole machine that holds files: every tmpfs, nameless memory files, System V segments.
pub(super) fn shared_bytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Shmem:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Bytes on the given devices in files that these processes hold open and that no folder names any more.
pub(super) fn unlinked_bytes(processes: &[u32], devices: &HashSet<u64>) -> u64 {
    let mut seen = HashSet::new();
    let mut bytes = 0;
    for process in processes {
        for entry in fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten() {
            if let Ok(data) = fs::metadata(entry.path())
                && data.nlink() == 0
                && devices.contains(&data.dev())
                && seen.insert((data.dev(), data.ino()))
            {
                bytes += data.blocks() * 512;
            }
        }
    }
    bytes
}

/// Field 4 of `stat`; the name in field 2 may hold anything, so it is skipped from its last bracket.
fn parent(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
