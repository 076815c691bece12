//! Process 1 of the sandbox: starts the command, reaps, relays, observes, reports. Plain threads, no runtime.
//!
//! It is process 1 because the kernel drops every signal that its own namespace sends it, and it makes
//! itself non-dumpable because the command runs as the same user: so it can be neither killed, traced nor
//! read from inside. Its report goes out on descriptor 0, a socket that no other process inside holds.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use rustix::process::{DumpableBehavior, Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus};
use serde::{Deserialize, Serialize};

use super::counters::Counters;
use super::{SUBCOMMAND, launch, relay};

/// Process 1's own threads and the relay's, which share the user's count with the command.
pub(super) const OWN_TASKS: u64 = 8 + relay::CONNECTIONS_MAX as u64 * 2;
/// Exit code of a stage that failed before the command could start.
const SETUP_FAILED: u8 = 125;

/// What process 1 is told, as JSON in its argument list. Nothing in it is secret from the command.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct InitSpec {
    pub(super) relay: Option<RelaySpec>,
    pub(super) process_count_max: u64,
    pub(super) file_bytes_max: u64,
}

/// Where the relay listens and what it connects to.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RelaySpec {
    pub(super) socket: PathBuf,
    pub(super) port: u16,
}

/// One line of the report.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// The sandbox stands; the command is started next.
    Ready,
    /// The command could not be executed.
    NotStarted {
        /// Why.
        reason: String,
    },
    /// The command and all it left behind are gone.
    Ended {
        /// How it ended.
        ended: Ended,
        /// What it tried on the network.
        network: Counters,
    },
}

impl Report {
    /// The lines of a report. What is none is passed over.
    pub fn read(text: &[u8]) -> Vec<Self> {
        text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }

    /// This as a line.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("numbers and text always serialise");
        line.push(b'\n');
        line
    }
}

/// How the command itself ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// Runs a sandbox stage when this process was started as one. Call it first thing in `main`, before any
/// runtime, thread or argument parser: a stage must stay small and single-threaded.
pub fn intercept() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    (args.next()? == SUBCOMMAND).then(|| sandbox_init(args))
}

/// The body of the hidden subcommand: `launch` on the host, `init SPEC PROGRAM…` as process 1 inside.
pub fn sandbox_init(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let stage = args.next().unwrap_or_default();
    let outcome = match stage.to_str() {
        Some("launch") => Err(launch::launch()),
        Some("init") => init(args),
        _ => Err(io::Error::other("this subcommand is started by the sandbox only")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error is the run's log: the host shows it when the sandbox could not be set up.
            let _ = writeln!(io::stderr(), "sandbox {}: {error}", stage.display());
            ExitCode::from(SETUP_FAILED)
        }
    }
}

fn init(mut args: impl Iterator<Item = OsString>) -> io::Result<()> {
    let spec = args.next().ok_or_else(|| io::Error::other("no specification"))?;
    let spec: InitSpec = serde_json::from_slice(spec.as_encoded_bytes())?;
    let program = args.next().ok_or_else(|| io::Error::other("no program"))?;
    if std::process::id() != 1 {
        return Err(io::Error::other("not process 1 of a sandbox"));
    }
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    limit(&spec)?;
    if let Some(relay) = &spec.relay {
        relay::start(relay)?;
    }
    let before = Counters::read()?;
    report(&Report::Ready)?;
    let child = match Command::new(&program).args(args).stdin(Stdio::null()).spawn() {
        Ok(child) => child,
        Err(error) => return report(&Report::NotStarted { reason: error.to_string() }),
    };
    // The kernel's choice under memory pressure should be the command, never the observer.
    let _ = std::fs::write(format!("/proc/{}/oom_score_adj", child.id()), "500");
    std::thread::Builder::new().spawn(stop_on_request)?;
    let ended = reap(child.id())?;
    report(&Report::Ended { ended, network: Counters::read()?.since(before) })
}

/// Counted from here on per namespace (Linux 5.14 and later), so the host user's other processes are not in it.
fn limit(spec: &InitSpec) -> io::Result<()> {
    let limits = [(Resource::Nproc, spec.process_count_max + OWN_TASKS), (Resource::Fsize, spec.file_bytes_max), (Resource::Core, 0)];
    for (resource, value) in limits {
        let ceiling = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let value = Some(value.min(ceiling));
        rustix::process::setrlimit(resource, Rlimit { current: value, maximum: value })?;
    }
    Ok(())
}

/// Waits for the command, ends what it left running, and reaps all of it.
fn reap(main: u32) -> io::Result<Ended> {
    let mut ended = None;
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get().cast_unsigned() == main => {
                ended = classify(status).or(ended);
                kill_all();
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CHILD) => break,
            Err(error) => return Err(error.into()),
        }
    }
    ended.ok_or_else(|| io::Error::other("the command was never reaped"))
}

fn classify(status: WaitStatus) -> Option<Ended> {
    status.exit_status().map(Ended::Code).or_else(|| status.terminating_signal().map(Ended::Signal))
}

/// Kills everything inside but this process, in one call that no fork can outrun.
fn kill_all() {
    // The group of "1" is, negated, the -1 that means everybody; the kernel spares the caller and process 1.
    let _ = rustix::process::kill_process_group(Pid::INIT, Signal::KILL);
}

/// The host says stop by any byte, and by its own death (end of file). `reap` then sees the command end.
fn stop_on_request() {
    let mut byte = [0];
    while let Err(rustix::io::Errno::INTR) = rustix::io::read(io::stdin().as_fd(), &mut byte) {}
    kill_all();
}

fn report(line: &Report) -> io::Result<()> {
    let bytes = line.to_line();
    let stdin = io::stdin();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        match rustix::io::write(stdin.as_fd(), rest) {
            Ok(count) => rest = &rest[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
