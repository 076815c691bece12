//! The folder of one build, and commands that run in it inside of the sandbox.
//!
//! Inside, paths are the same for every build on every machine: `/build/src`, `/build/tools`, `/build/out`.
//! Nothing of the caller's environment is passed on.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use quorate_proto::result::Phase;

use crate::sandbox::{self, Bind, Command, Exit, Finished, Limits, Mode, Network, Root, Sandbox, SandboxError, Violation};

/// The source tree, inside.
pub const SOURCE: &str = "/build/src";
/// What was fetched for the build, inside: a virtual environment, a package cache.
pub const TOOLS: &str = "/build/tools";
/// Where builds put what they make, inside.
pub const OUT: &str = "/build/out";

/// Most characters of a build's words that go into a result.
const SUMMARY_CHARS_MAX: usize = 1200;
/// Most lines of them.
const SUMMARY_LINES_MAX: usize = 12;

/// What every build of a node shares.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The sandbox.
    pub sandbox: Sandbox,
    /// What one command may use up.
    pub limits: Limits,
    /// Paths where decoys stand in for the node's secrets.
    pub decoys: Vec<PathBuf>,
}

/// The folder of one build.
#[derive(Debug)]
pub struct Workshop {
    folder: tempfile::TempDir,
    tools: Tools,
}

/// One command in a workshop.
#[derive(Debug)]
pub struct Task {
    /// The program, inside, and its arguments.
    pub argv: Vec<String>,
    /// Variables besides the fixed ones.
    pub variables: BTreeMap<String, String>,
    /// What it can reach.
    pub network: Network,
    /// Folders of this machine, such as toolchains, that it may read in the same place.
    pub folders: Vec<PathBuf>,
    /// Whether it may change what was fetched.
    pub tools: Mode,
}

/// Where a command runs.
#[derive(Clone, Debug)]
pub struct Place {
    /// The system that it sees.
    pub root: Root,
    /// Where it sees the source tree; it starts there.
    pub source: PathBuf,
}

/// A build that did not come to an end, in the words of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where it stopped.
    pub phase: Phase,
    /// Why, in a few lines.
    pub summary: String,
    /// What it tried and may not.
    pub violations: Vec<String>,
}

/// A plan, a fetch or a build that gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The build is at fault.
    #[error("{}", .0.summary)]
    Failed(Failure),
    /// A registry failed; the same may work later.
    #[error("registry failed while build requirements were fetched: {0}")]
    Registry(String),
    /// The sandbox is at fault.
    #[error("sandbox")]
    Sandbox(#[from] SandboxError),
    /// The machine is at fault.
    #[error("keeping what a build needs or makes")]
    Disk(#[from] io::Error),
}

impl From<Failure> for BuildError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Workshop {
    /// An empty workshop below `work_dir`.
    pub fn new(work_dir: &Path, tools: Tools) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("build-").tempdir_in(work_dir)?;
        for part in ["src", "tools", "out"] {
            fs::create_dir(folder.path().join(part))?;
        }
        Ok(Self { folder, tools })
    }

    /// The folder itself, on the host.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The source tree, on the host.
    pub fn source(&self) -> PathBuf {
        self.folder.path().join("src")
    }

    /// What was made, on the host.
    pub fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// What was fetched, on the host.
    pub fn tools(&self) -> PathBuf {
        self.folder.path().join("tools")
    }

    /// What one command may use up.
    pub fn limits(&self) -> &Limits {
        &self.tools.limits
    }

    /// Puts the source tree aside and leaves an empty one in its place.
    pub fn replace_source(&self) -> io::Result<PathBuf> {
        fs::rename(self.source(), self.folder.path().join("src-before"))?;
        fs::create_dir(self.source())?;
        Ok(self.source())
    }

    /// Lets builds write where they may. Call it after filling a folder.
    pub fn hand_over(&self) -> Result<(), SandboxError> {
        ["src", "tools", "out"].iter().try_for_each(|part| self.tools.sandbox.prepare_writable(&self.folder.path().join(part)))
    }

    /// Runs a command to its end, with this machine's own tools.
    pub async fn run(&self, task: Task) -> Result<Finished, SandboxError> {
        self.run_in(task, &Place { root: Root::Host, source: SOURCE.into() }).await
    }

    /// Runs a command to its end in another system, or with the source tree in another place.
    pub async fn run_in(&self, task: Task, place: &Place) -> Result<Finished, SandboxError> {
        let source = &place.source;
        let part = |name: &str, inside: &Path, mode| Bind { host: self.folder.path().join(name), inside: inside.into(), mode };
        let mut binds: Vec<_> = task.folders.iter().map(Bind::same_place).collect();
        binds.extend([
            part("src", source, Mode::ReadWrite),
            part("tools", Path::new(TOOLS), task.tools),
            part("out", Path::new(OUT), Mode::ReadWrite),
        ]);
        let mut env = fixed_variables();
        env.extend(task.variables);
        let command = Command {
            root: place.root.clone(),
            argv: task.argv,
            env,
            cwd: source.clone(),
            binds,
            network: task.network,
            limits: self.tools.limits.clone(),
            decoys: self.tools.decoys.clone(),
            log: None,
        };
        self.tools.sandbox.run(&command).await
    }
}

impl Drop for Workshop {
    /// Before the folder's own removal, which a build can make fail.
    fn drop(&mut self) {
        if let Err(error) = sandbox::remove_tree(self.folder.path()) {
            tracing::warn!(folder = %self.folder.path().display(), %error, "a build's folder could not be removed");
        }
    }
}

impl Failure {
    /// A failure that the node itself found.
    pub fn found(phase: Phase, summary: impl Into<String>) -> Self {
        Self { phase, summary: shortened(&summary.into()), violations: Vec::new() }
    }

    /// A command that ended otherwise than with code 0.
    pub fn of(phase: Phase, finished: &Finished, limits: &Limits) -> Self {
        let how = match finished.exit {
            Exit::Code(code) => format!("ended with code {code}"),
            Exit::Signal(signal) => format!("ended by signal {signal}"),
            Exit::TimedOut => format!("stopped after {} seconds", limits.wall.as_secs()),
            Exit::MemoryExceeded => format!("stopped at {} bytes of memory", limits.memory_bytes),
            Exit::OutputExceeded => format!("stopped at {} bytes of output", limits.output_bytes_max),
            Exit::DiskExceeded => format!("stopped at {} bytes on disk", limits.disk_bytes_max),
        };
        let summary = shortened(&format!("{how}\n{}", tail(&finished.log_tail)));
        Self { phase, summary, violations: violations(finished) }
    }
}

/// What a run tried and may not, in words that a result carries.
pub fn violations(finished: &Finished) -> Vec<String> {
    let words = |violation: &Violation| match violation {
        Violation::Network { unroutable, refused_datagrams } => {
            format!("network: {unroutable} packets to outside, {refused_datagrams} look-ups")
        }
        Violation::KeyRead { .. } => "key-read: the file in the place of the node's key was opened".to_owned(),
        Violation::ReportMissing => "report-missing: the observer inside was silenced".to_owned(),
    };
    finished.violations.iter().map(words).collect()
}

fn fixed_variables() -> BTreeMap<String, String> {
    let path = format!("{TOOLS}/bin:/usr/local/bin:/usr/bin:/bin");
    [("PATH", path.as_str()), ("LC_ALL", "C.UTF-8"), ("TZ", "UTC")].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(SUMMARY_LINES_MAX)..].join("\n")
}

/// Cuts a text to `bytes_max` bytes, saying so.
pub(crate) fn clip(text: &mut String, bytes_max: usize) {
    const CUT: &str = " …";
    if text.len() > bytes_max {
        let at = (0..=bytes_max.saturating_sub(CUT.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(at);
        text.push_str(CUT);
    }
}

/// Bounded, and free of control characters that could paint a terminal.
fn shortened(text: &str) -> String {
    let clean: String = text.trim().chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
    match clean.char_indices().nth(SUMMARY_CHARS_MAX) {
        Some((at, _)) => format!("{} …", &clean[..at]),
        None => clean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_short_and_cannot_paint_a_terminal() {
        let mut wide = "é".repeat(100);
        clip(&mut wide, 50);
        assert!(wide.len() <= 50 && wide.ends_with("é …"), "{wide}");
        let failure = Failure::found(Phase::Plan, format!("\u{1b}[31m{}", "x".repeat(5000)));
        assert!(failure.summary.chars().count() <= SUMMARY_CHARS_MAX + 2);
        assert!(!failure.summary.contains('\u{1b}'));
    }
}
