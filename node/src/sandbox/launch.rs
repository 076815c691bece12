//! The host-side first stage of a run, in a process of its own that becomes bubblewrap.
//!
//! It does what must happen between fork and exec, which a library without `unsafe` cannot do in the parent:
//! joins the run's control groups, makes root-only host paths reachable for the build user in a private
//! mount namespace, sets the umask, and drops to the build user.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags};
use serde::{Deserialize, Serialize};

use super::BuildUser;
use super::argv::Arg;

/// A folder that every Linux has and that anybody may traverse. It is covered in our private namespace only.
const STAGE: &str = "/tmp";
/// Longest accepted specification: arguments cannot be longer than the kernel's own bound anyway.
const SPEC_BYTES_MAX: u32 = 8 << 20;

/// All that the first stage is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LaunchSpec {
    pub(super) bwrap: PathBuf,
    pub(super) args: Vec<Arg>,
    /// `cgroup.procs` files to enter.
    pub(super) cgroup_procs: Vec<PathBuf>,
    /// The user to drop to; absent when the node is an ordinary user.
    pub(super) build_user: Option<BuildUser>,
}

/// The wire form of a specification: length, then JSON. Prefixed so that the reader takes not one byte more.
pub(super) fn encode(spec: &LaunchSpec) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(spec)?;
    let length = u32::try_from(body.len()).ok().filter(|length| *length <= SPEC_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::other("sandbox specification is too long"))?;
    Ok([&length.to_le_bytes()[..], &body].concat())
}

/// Reads the specification from standard input and becomes bubblewrap. Returns only on failure.
pub(super) fn launch() -> io::Error {
    match close_inherited().and_then(|()| read_spec()).and_then(prepare) {
        Ok(mut command) => command.exec(),
        Err(error) => error,
    }
}

/// Whatever the node itself inherited (a job server, a lock, an open folder) ends here: bubblewrap would hand
/// it on to the command.
fn close_inherited() -> io::Result<()> {
    let listed: Vec<i32> = std::fs::read_dir("/proc/self/fd")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    // The listing's own descriptor is in the list and closed already; that one error is expected.
    for descriptor in listed.into_iter().filter(|descriptor| *descriptor > 2) {
        let _ = nix::unistd::close(descriptor);
    }
    Ok(())
}

fn read_spec() -> io::Result<LaunchSpec> {
    let mut length = [0; 4];
    read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > SPEC_BYTES_MAX {
        return Err(io::Error::other("sandbox specification is too long"));
    }
    let mut body = vec![0; length as usize];
    read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

/// Reads standard input without the standard library's buffer, which would swallow process 1's messages.
fn read_exact(mut rest: &mut [u8]) -> io::Result<()> {
    let stdin = io::stdin();
    while !rest.is_empty() {
        match rustix::io::read(stdin.as_fd(), &mut *rest)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => rest = &mut rest[count..],
        }
    }
    Ok(())
}

fn prepare(spec: LaunchSpec) -> io::Result<std::process::Command> {
    for path in &spec.cgroup_procs {
        let mut procs = OpenOptions::new().write(true).open(path).map_err(at(path))?;
        procs.write_all(b"0").map_err(at(path))?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let mut command = std::process::Command::new(&spec.bwrap);
    command.env_clear().current_dir("/");
    let mut stage = Stage { dir: STAGE.into(), count: 0 };
    let staged = if spec.build_user.is_some() { stage.fill(&spec.args)? } else { BTreeMap::new() };
    let reachable = |path: PathBuf| staged.get(&path).cloned().unwrap_or(path);
    for arg in spec.args {
        match arg {
            Arg::Text(text) => command.arg(text),
            Arg::Source(path) => command.arg(reachable(path)),
            Arg::Below(path, below) => command.arg(reachable(path).join(below)),
            Arg::Data(bytes) => command.arg(inherited(&bytes)?.as_raw_fd().to_string()),
        };
    }
    if let Some(user) = spec.build_user {
        // The standard library empties the list of supplementary groups as well when root sets a user.
        command.uid(user.uid).gid(user.gid);
    }
    Ok(command)
}

/// Bind mounts of the sources in a mount namespace of this process, where the build user can reach them.
struct Stage {
    dir: PathBuf,
    count: usize,
}

impl Stage {
    /// Where each source is reachable now.
    fn fill(&mut self, args: &[Arg]) -> io::Result<BTreeMap<PathBuf, PathBuf>> {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
        rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        // Opened in this namespace, because mounts of another cannot be bound, and before anything is
        // covered, because a source may well lie under the stage.
        let mut sources = BTreeMap::new();
        for arg in args {
            if let Arg::Source(path) | Arg::Below(path, _) = arg
                && !sources.contains_key(path)
            {
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                let source = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| at(path)(e.into()))?;
                sources.insert(path.clone(), source);
            }
        }
        rustix::mount::mount("quorate", &self.dir, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=0755")?;
        sources.into_iter().map(|(path, source)| Ok((path, self.mount(&source)?))).collect()
    }

    fn mount(&mut self, source: &OwnedFd) -> io::Result<PathBuf> {
        let target = self.dir.join(self.count.to_string());
        self.count += 1;
        let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(source)?.st_mode);
        if kind == rustix::fs::FileType::Directory {
            std::fs::create_dir(&target)?;
        } else {
            File::create(&target)?;
        }
        rustix::mount::mount_bind_recursive(format!("/proc/self/fd/{}", source.as_raw_fd()), &target)?;
        Ok(target)
    }
}

/// A memory file that bubblewrap inherits; it reads it to the end and closes it.
fn inherited(bytes: &[u8]) -> io::Result<&'static OwnedFd> {
    let fd = rustix::fs::memfd_create("quorate", MemfdFlags::empty())?;
    let mut file = File::from(fd);
    file.write_all(bytes)?;
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
    // Kept open on purpose: this process is about to become bubblewrap.
    Ok(Box::leak(Box::new(file.into())))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    let path = path.display().to_string();
    move |error| io::Error::new(error.kind(), format!("{path}: {error}"))
}
