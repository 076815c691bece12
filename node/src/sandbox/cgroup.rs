//! Control groups for memory and process counts, version 1 or 2, where this process may make them.
//!
//! Version 1 groups are made below our own. Version 2 allows no processes beside children with controllers,
//! so our own group is tried first and then its parent, which is ours under a delegated unit.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Limits;
use super::init::OWN_TASKS;

const ROOT: &str = "/sys/fs/cgroup";
/// Groups are `quorate-<process>-<number>`, so that leftovers of a killed node can be told and removed.
const PREFIX: &str = "quorate-";

/// A killed run has left its groups within milliseconds; after this long something is wrong with the kernel.
const REMOVAL_TRIES: u32 = 300;
const REMOVAL_PAUSE: Duration = Duration::from_millis(10);

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Where groups can be made on this machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Cgroups {
    memory: Option<Parent>,
    pids: Option<Parent>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Parent {
    dir: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Cgroups {
    /// Finds usable parents by making and removing a group, and removes what dead nodes left.
    pub(super) fn detect() -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let found = Self { memory: Parent::find(&own, "memory"), pids: Parent::find(&own, "pids") };
        for parent in [&found.memory, &found.pids].into_iter().flatten() {
            sweep(&parent.dir);
        }
        found
    }

    /// Makes the groups of one run. A group that cannot be made is left out: the report says so.
    pub(super) fn create(&self, limits: &Limits) -> Run {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let mut run = Run { memory: None, pids: None };
        if let Some(parent) = &self.memory {
            let dir = parent.dir.join(&name);
            if parent.limit_memory(&dir, limits.memory_bytes).is_ok() {
                run.memory = Some(Group { dir, version: parent.version });
            } else {
                let _ = fs::remove_dir(&dir);
            }
        }
        if let Some(parent) = &self.pids {
            let dir = parent.dir.join(&name);
            let max = (limits.process_count_max + OWN_TASKS).to_string();
            if make(&dir).and_then(|()| fs::write(dir.join("pids.max"), max)).is_ok() {
                run.pids = Some(Group { dir, version: parent.version });
            } else if run.memory.as_ref().is_none_or(|memory| memory.dir != dir) {
                let _ = fs::remove_dir(&dir);
            }
        }
        run
    }
}

impl Parent {
    fn find(own: &str, controller: &str) -> Option<Self> {
        let mut lines = own.lines().filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            Some((fields.next()?, fields.next()?.trim_start_matches('/')))
        });
        let one = lines.clone().find(|(names, _)| names.split(',').any(|name| name == controller));
        if let Some((names, path)) = one {
            let mount = [controller, names].into_iter().map(|name| Path::new(ROOT).join(name)).find(|dir| dir.is_dir())?;
            return [mount.join(path), mount]
                .into_iter()
                .map(|dir| Self { dir, version: Version::One })
                .find(|parent| parent.works(controller));
        }
        let (_, path) = lines.find(|(names, _)| names.is_empty())?;
        let own = Path::new(ROOT).join(path);
        let above = own.parent().filter(|above| above.starts_with(ROOT)).map(Path::to_owned);
        [Some(own), above].into_iter().flatten().map(|dir| Self { dir, version: Version::Two }).find(|parent| parent.works(controller))
    }

    fn works(&self, controller: &str) -> bool {
        if self.version == Version::Two {
            // Refused when it is on already, or by the rule about inner processes; the probe tells.
            let _ = fs::write(self.dir.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        let file = match (controller, self.version) {
            ("memory", Version::One) => "memory.limit_in_bytes",
            ("memory", Version::Two) => "memory.max",
            _ => "pids.max",
        };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let probe = self.dir.join(format!("{PREFIX}{}-{number}", std::process::id()));
        let works = fs::create_dir(&probe).is_ok()
            && fs::OpenOptions::new().write(true).open(probe.join(file)).is_ok()
            && fs::OpenOptions::new().write(true).open(probe.join("cgroup.procs")).is_ok()
            && fs::OpenOptions::new().write(true).open(self.dir.join("cgroup.procs")).is_ok();
        let _ = fs::remove_dir(&probe);
        works
    }

    fn limit_memory(&self, dir: &Path, bytes: u64) -> io::Result<()> {
        make(dir)?;
        let bytes = bytes.to_string();
        match self.version {
            Version::One => {
                fs::write(dir.join("memory.limit_in_bytes"), &bytes)?;
                // Absent where swap is not accounted; then only resident memory is bounded.
                let _ = fs::write(dir.join("memory.memsw.limit_in_bytes"), &bytes);
            }
            Version::Two => {
                fs::write(dir.join("memory.max"), &bytes)?;
                let _ = fs::write(dir.join("memory.swap.max"), "0");
            }
        }
        Ok(())
    }
}

/// The groups of one run; removed with it.
#[derive(Debug)]
pub(super) struct Run {
    memory: Option<Group>,
    pids: Option<Group>,
}

#[derive(Debug)]
struct Group {
    dir: PathBuf,
    version: Version,
}

impl Group {
    fn version_name(&self) -> &'static str {
        match self.version {
            Version::One => "cgroup-v1",
            Version::Two => "cgroup-v2",
        }
    }
}

impl Run {
    /// The files that the first stage enters.
    pub(super) fn procs(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = self.groups().map(|group| group.dir.join("cgroup.procs")).collect();
        files.dedup();
        files
    }

    /// How memory is bounded, when it is.
    pub(super) fn memory_force(&self) -> Option<&'static str> {
        self.memory.as_ref().map(Group::version_name)
    }

    /// How the number of processes is bounded, when it is.
    pub(super) fn pids_force(&self) -> Option<&'static str> {
        self.pids.as_ref().map(Group::version_name)
    }

    /// True once the kernel killed a process of the run for memory.
    pub(super) fn memory_was_exceeded(&self) -> bool {
        let Some(group) = &self.memory else { return false };
        let file = match group.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        fs::read_to_string(group.dir.join(file))
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.strip_prefix("oom_kill "))
            .any(|count| count.trim() != "0")
    }

    /// Removes the groups; false while a process is still leaving them.
    pub(super) fn remove(&self) -> bool {
        let left = self.groups().filter(|group| fs::remove_dir(&group.dir).is_err() && group.dir.exists());
        left.count() == 0
    }

    fn groups(&self) -> impl Iterator<Item = &Group> {
        self.memory.iter().chain(&self.pids)
    }
}

impl Drop for Run {
    /// A dropped run was killed a moment ago: its processes may still be leaving.
    fn drop(&mut self) {
        if self.remove() {
            return;
        }
        let left = Self { memory: self.memory.take(), pids: self.pids.take() };
        let sweeper = move || {
            let left = std::mem::ManuallyDrop::new(left);
            for _ in 0..REMOVAL_TRIES {
                std::thread::sleep(REMOVAL_PAUSE);
                if left.remove() {
                    return;
                }
            }
        };
        // Without a thread the folder waits for the next `detect`.
        let _ = std::thread::Builder::new().name("sandbox-sweeper".into()).spawn(sweeper);
    }
}

/// Both controllers share one folder in version 2.
fn make(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome,
    }
}

fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-')).map(|(id, _)| id);
        if process.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}
