//! Build environments: the machine's own tools, or a Debian root, each with an inventory and its digest.
//!
//! In scope: finding the machine's Python, making roots, listing what is installed, and saying what differs
//! between two lists. Out of scope: running anything in an environment, which is the sandbox's business, and
//! toolchains that a build brings along, which its result names one by one.

mod difference;
mod inventory;
pub mod npm;
mod rootfs;
mod shelf;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use quorate_proto::result::{Environment, EnvironmentClass};
use serde::Deserialize;
use tokio::process::Command;

pub use self::difference::{Change, Difference, Item, Part, PartKind};
pub use self::inventory::{Inventory, InventoryError, InventoryTool, Package, installed};
pub use self::rootfs::{Rootfs, RootfsError, RootfsSpec};
use crate::cache::digest_of_file;

/// The Python that builds run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    /// The interpreter itself, behind shims and links.
    pub executable: PathBuf,
    /// Folders outside of `/usr` that it needs.
    pub folders: Vec<PathBuf>,
    /// Its version.
    pub version: String,
    /// The version of its pip.
    pub pip: String,
}

/// A machine's tools.
#[derive(Clone, Debug)]
pub struct Host {
    /// The Python that builds run on.
    pub python: Python,
    /// What a result says of the environment.
    pub environment: Environment,
    /// The inventory: canonical JSON whose digest is the environment's.
    pub inventory: Vec<u8>,
}

/// A machine that cannot build.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// A program could not be asked.
    #[error("`{program}` could not be run")]
    Run {
        /// The program.
        program: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A program's answer was not understood.
    #[error("`{program}` failed: {message}")]
    Failed {
        /// The program.
        program: String,
        /// What it said.
        message: String,
    },
}

#[derive(Deserialize)]
struct PythonAnswer {
    executable: PathBuf,
    prefixes: Vec<PathBuf>,
    pip: Option<String>,
    version: String,
}

/// Asks the interpreter itself: a shim would need its manager, which is not in the sandbox.
const ASK_PYTHON: &str = "import json, os, sys
try:
    from importlib.metadata import version
    pip = version('pip')
except Exception:
    pip = None
executable = os.path.realpath(getattr(sys, '_base_executable', None) or sys.executable)
print(json.dumps({'executable': executable, 'prefixes': [sys.base_prefix, sys.base_exec_prefix], 'pip': pip, 'version': '%d.%d.%d' % sys.version_info[:3]}))";

impl Python {
    /// Finds out what is behind the command `python`.
    pub async fn detect(python: &Path) -> Result<Self, EnvironmentError> {
        let answer = output(Command::new(python).args(["-I", "-c", ASK_PYTHON]), python).await?;
        let failed = |message: String| EnvironmentError::Failed { program: python.display().to_string(), message };
        let answer: PythonAnswer = serde_json::from_str(&answer).map_err(|error| failed(error.to_string()))?;
        let pip = answer.pip.ok_or_else(|| failed("it has no pip (package python3-pip)".to_owned()))?;
        let outside = |path: &PathBuf| !path.starts_with("/usr") && path.components().count() > 2;
        let mut folders: Vec<_> = answer.prefixes.into_iter().filter(outside).collect();
        folders.sort();
        folders.dedup();
        Ok(Self { executable: answer.executable, folders, version: answer.version, pip })
    }
}

impl Host {
    /// Takes the inventory of this machine.
    pub async fn detect(python: &Path) -> Result<Self, EnvironmentError> {
        let python = Python::detect(python).await?;
        let tool = |name: &str, version: &str, digest| InventoryTool { name: name.to_owned(), version: version.to_owned(), digest };
        let digest = digest_of_file(&python.executable).map(|(digest, _)| digest).ok();
        let tools = vec![tool("pip", &python.pip, None), tool("python", &python.version, digest)];
        let root = Path::new("/");
        // Empty where the system is not Debian's.
        let packages = inventory::packages(root).await.unwrap_or_default();
        let inventory = Inventory::new(EnvironmentClass::Host, inventory::system(root), packages, tools);
        let (environment, inventory) = (inventory.environment(), inventory.to_bytes());
        Ok(Self { python, environment, inventory })
    }
}

async fn output(command: &mut Command, program: &Path) -> Result<String, EnvironmentError> {
    let program = program.display().to_string();
    let run = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = run.map_err(|source| EnvironmentError::Run { program: program.clone(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(EnvironmentError::Failed { program, message: clipped_tail(&String::from_utf8_lossy(&output.stderr)) })
}

/// The last lines of what a program said, in a few hundred characters.
fn clipped_tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(4)..].join("; ");
    last.chars().filter(|c| !c.is_control()).take(600).collect()
}
