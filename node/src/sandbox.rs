//! The build sandbox: runs one untrusted command with a read-only system, no network and hard limits,
//! and says truthfully how it ended and what it tried (DESIGN §6).
//!
//! In scope: namespaces and mounts (by bubblewrap, driven by our own argument list), the drop to a build
//! user, limits on memory, processes, output, files, disk and wall time, and the observation of network
//! attempts and of reads of the node's key. Out of scope: what is built, where its inputs come from, and
//! what a violation means for a result: that is the pipeline's business.
//!
//! A run is three processes, each the successor or child of the one before:
//! `sandbox-init launch` (host side: joins the cgroups, stages the mounts, drops to the build user) becomes
//! `bwrap` (builds the namespaces), whose child is `sandbox-init init` (process 1 inside: relay, reaper and
//! observer), which starts the command. Nothing inside can signal, trace or outlive process 1.

mod argv;
mod cgroup;
mod counters;
mod decoy;
mod init;
mod launch;
mod log;
mod output;
mod relay;
mod removal;
mod root;
mod run;
mod seccomp;
mod tree;
mod watch;
mod writable;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use counters::Counters;
pub use init::{Ended, Report, intercept, sandbox_init};
pub use output::open_output;
pub use removal::remove_tree;

/// Where the user's home is inside; private to the run and gone after it.
pub const HOME: &str = "/home/build";
/// The name of the hidden subcommand that `launch` and `init` run under.
pub const SUBCOMMAND: &str = "sandbox-init";

/// How sandboxes are made on this machine.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The bubblewrap binary; looked up in `PATH` when absent.
    pub bwrap: Option<PathBuf>,
    /// The binary that answers to `sandbox-init`; the running one when absent.
    pub init_binary: Option<PathBuf>,
    /// The user that builds run as when the node runs as root. Must not be 0.
    pub build_uid: u32,
    /// The group that builds run as when the node runs as root. Must not be 0.
    pub build_gid: u32,
    /// Whether control groups are tried before the watchdog.
    pub cgroups: CgroupUse,
}

impl Default for Config {
    fn default() -> Self {
        Self { bwrap: None, init_binary: None, build_uid: 65534, build_gid: 65534, cgroups: CgroupUse::Auto }
    }
}

/// Whether control groups are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CgroupUse {
    /// Use them where this process may write them.
    #[default]
    Auto,
    /// Never: the watchdog and resource limits stand alone.
    Never,
}

/// One command to run, with everything it may see.
#[derive(Clone, Debug)]
pub struct Command {
    /// The system that the command sees.
    pub root: Root,
    /// The program, by its path inside, and its arguments. Never empty.
    pub argv: Vec<String>,
    /// Variables besides the fixed `HOME`, `LANG`, `PATH`, `TMPDIR`, `TZ`, `USER`; these win.
    pub env: BTreeMap<String, String>,
    /// The working directory, inside.
    pub cwd: PathBuf,
    /// What of the host is shown inside, mounted in this order.
    pub binds: Vec<Bind>,
    /// What the command can reach.
    pub network: Network,
    /// What it may use up.
    pub limits: Limits,
    /// Paths inside where a decoy file stands in for a secret of the host, such as the node's key.
    pub decoys: Vec<PathBuf>,
    /// Host file that takes standard output and error, up to the output limit.
    pub log: Option<PathBuf>,
}

/// The system that a command sees: its `/usr`, `/etc` and the rest, always read-only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Root {
    /// The tools of this machine, without its configuration and data.
    #[default]
    Host,
    /// The system that lies in this folder, such as an unpacked Debian root; an absolute path. Its `/dev`,
    /// `/home`, `/proc`, `/run`, `/sys` and `/tmp` are not shown: those are the sandbox's own, as always.
    Folder(PathBuf),
}

/// One host path shown inside.
#[derive(Clone, Debug)]
pub struct Bind {
    /// The file, folder or socket on the host; it must exist.
    pub host: PathBuf,
    /// Where it appears; absolute.
    pub inside: PathBuf,
    /// Whether it can be changed from inside.
    pub mode: Mode,
}

impl Bind {
    /// Shows `path` at the same place inside, read-only: for interpreters outside `/usr`.
    pub fn same_place(path: impl Into<PathBuf>) -> Self {
        let host = path.into();
        Self { inside: host.clone(), host, mode: Mode::ReadOnly }
    }
}

/// Whether a bind can be changed from inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Reads only.
    ReadOnly,
    /// Writes reach the host; the disk limit counts them. See [`Sandbox::prepare_writable`].
    ReadWrite,
}

/// What the command can reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// Nothing: an empty network namespace.
    None,
    /// An empty network namespace in which `127.0.0.1:port` is relayed to a unix socket of the host.
    Proxy {
        /// The socket on the host that the node's recording proxy listens on.
        socket: PathBuf,
        /// The port inside.
        port: u16,
    },
}

/// What a command may use up. All are hard.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From start to kill.
    pub wall: Duration,
    /// Memory of all processes together.
    pub memory_bytes: u64,
    /// Processes and threads alive at once.
    pub process_count_max: u64,
    /// Bytes of standard output and error together.
    pub output_bytes_max: u64,
    /// Size of any one file.
    pub file_bytes_max: u64,
    /// Growth of all read-write binds together; also the size of the private `/tmp` and home, each at most
    /// half of `memory_bytes` because they live in memory.
    pub disk_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall: Duration::from_mins(30),
            memory_bytes: 4 << 30,
            process_count_max: 512,
            output_bytes_max: 64 << 20,
            file_bytes_max: 2 << 30,
            disk_bytes_max: 8 << 30,
        }
    }
}

/// A run that was started, and how it ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finished {
    /// How it ended.
    pub exit: Exit,
    /// The last 64 KiB of standard output and error, made valid UTF-8.
    pub log_tail: String,
    /// Wall time, the sandbox's own included.
    pub seconds: f64,
    /// What was tried and is forbidden; empty is clean.
    pub violations: Vec<Violation>,
    /// Which limits and filters were enforced, and by what, such as `memory:cgroup-v1`.
    pub limits_in_force: Vec<String>,
}

impl Finished {
    /// True when the command ended with code 0 and tried nothing forbidden.
    pub fn is_clean_success(&self) -> bool {
        self.exit == Exit::Code(0) && self.violations.is_empty()
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// It exited.
    Code(i32),
    /// A signal ended it that the sandbox did not send.
    Signal(i32),
    /// Killed at the wall-time limit.
    TimedOut,
    /// Killed at the memory limit.
    MemoryExceeded,
    /// Killed at the output limit.
    OutputExceeded,
    /// Killed at the disk limit.
    DiskExceeded,
}

/// Something forbidden that was seen to be tried. None of them succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Violation {
    /// The kernel's counters of the run's own network namespace moved.
    Network {
        /// Packets and connections to addresses outside this machine.
        unroutable: u64,
        /// Datagrams to a local port where nobody listens: what a name look-up without a resolver does.
        refused_datagrams: u64,
    },
    /// The decoy that stands where the node keeps a secret was opened.
    KeyRead {
        /// The path inside.
        path: PathBuf,
    },
    /// The observer inside gave no final report although nothing on the host stopped it.
    ReportMissing,
}

/// Why a command could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Bubblewrap is not installed.
    #[error("bubblewrap (bwrap) is not in PATH")]
    NoBubblewrap,
    /// The configured build user would be root.
    #[error("build user {uid}:{gid} must be neither user 0 nor group 0")]
    RootBuildUser {
        /// Configured user.
        uid: u32,
        /// Configured group.
        gid: u32,
    },
    /// The command itself is malformed.
    #[error("sandbox command refused: {reason}")]
    BadCommand {
        /// What is wrong with it.
        reason: String,
    },
    /// A host-side step failed.
    #[error("{activity} failed")]
    Host {
        /// The step.
        activity: String,
        /// Its cause.
        #[source]
        source: std::io::Error,
    },
    /// The namespaces or mounts could not be made; the machine or a bind is at fault, not the command.
    #[error("sandbox could not be set up: {log_tail}")]
    Setup {
        /// What bubblewrap said.
        log_tail: String,
    },
    /// The sandbox stood but the program could not be executed.
    #[error("program {program} could not be started in the sandbox: {reason}")]
    NotStarted {
        /// The program, by its path inside.
        program: String,
        /// The system's words.
        reason: String,
    },
}

impl SandboxError {
    fn host(activity: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let activity = activity.into();
        move |source| Self::Host { activity, source }
    }
}

/// A machine on which sandboxes can be run: what [`Sandbox::detect`] found.
#[derive(Clone, Debug)]
pub struct Sandbox {
    bwrap: PathBuf,
    init_binary: PathBuf,
    /// Set when this process is root.
    build_user: Option<BuildUser>,
    cgroups: cgroup::Cgroups,
}

/// The host user and group that builds run as.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct BuildUser {
    uid: u32,
    gid: u32,
}

impl Sandbox {
    /// Finds bubblewrap, our own binary, the build user and the usable control groups. Runs nothing.
    pub fn detect(config: &Config) -> Result<Self, SandboxError> {
        let (uid, gid) = (config.build_uid, config.build_gid);
        if uid == 0 || gid == 0 {
            return Err(SandboxError::RootBuildUser { uid, gid });
        }
        let bwrap = match &config.bwrap {
            Some(path) => path.clone(),
            None => find_in_path("bwrap").ok_or(SandboxError::NoBubblewrap)?,
        };
        let init_binary = match &config.init_binary {
            Some(path) => path.clone(),
            None => std::env::current_exe().map_err(SandboxError::host("finding our own binary"))?,
        };
        let is_root = rustix::process::geteuid().is_root();
        Ok(Self {
            bwrap,
            init_binary,
            build_user: is_root.then_some(BuildUser { uid, gid }),
            cgroups: match config.cgroups {
                CgroupUse::Auto => cgroup::Cgroups::detect(),
                CgroupUse::Never => cgroup::Cgroups::default(),
            },
        })
    }

    /// Gives everything under `dir` to the build user, so that a read-write bind of it can be written.
    /// Links are not followed. Does nothing when the node is an ordinary user.
    pub fn prepare_writable(&self, dir: &Path) -> Result<(), SandboxError> {
        match self.build_user {
            Some(user) => writable::give_to(user, dir).map_err(SandboxError::host(format!("giving {} to the build user", dir.display()))),
            None => Ok(()),
        }
    }
}

pub(crate) fn find_in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|candidate| rustix::fs::access(candidate, rustix::fs::Access::EXEC_OK).is_ok() && candidate.is_file())
}
