//! The machine's own tools as a build environment: which Python, and an inventory with a digest.
//!
//! The inventory leaves out what does not take part in builds (kernel, host name, hardware), so that two
//! machines with the same packages have the same digest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use quorate_proto::Digest;
use quorate_proto::result::{Environment, EnvironmentClass};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Inventory<'a> {
    schema_version: u32,
    class: &'a str,
    system: BTreeMap<String, String>,
    python: BTreeMap<&'a str, String>,
    packages: BTreeMap<String, String>,
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
        let inventory = Inventory {
            schema_version: 1,
            class: "host",
            system: system(),
            python: [("version", python.version.clone()), ("pip", python.pip.clone()), ("digest", executable_digest(&python))].into(),
            packages: packages().await,
        };
        let inventory = serde_json::to_vec(&inventory).expect("maps of text always serialise");
        let environment = Environment { class: EnvironmentClass::Host, digest: Digest::of(&inventory) };
        Ok(Self { python, environment, inventory })
    }
}

fn executable_digest(python: &Python) -> String {
    digest_of_file(&python.executable).map(|(digest, _)| digest.to_string()).unwrap_or_default()
}

fn system() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let known = text.lines().filter_map(|line| line.split_once('=')).filter(|(key, _)| ["ID", "VERSION_ID"].contains(key));
    let mut system: BTreeMap<_, _> = known.map(|(key, value)| (key.to_lowercase(), value.trim_matches('"').to_owned())).collect();
    system.insert("architecture".to_owned(), std::env::consts::ARCH.to_owned());
    system
}

/// Every installed package with its version; empty where the system is not Debian's.
async fn packages() -> BTreeMap<String, String> {
    let mut command = Command::new("dpkg-query");
    command.args(["--show", "--showformat", "${db:Status-Abbrev}\t${binary:Package}\t${Version}\n"]);
    let text = output(&mut command, Path::new("dpkg-query")).await.unwrap_or_default();
    let installed = text.lines().filter_map(|line| {
        let mut fields = line.split('\t');
        let (status, name, version) = (fields.next()?, fields.next()?, fields.next()?);
        status.starts_with("ii").then(|| (name.to_owned(), version.to_owned()))
    });
    installed.collect()
}

async fn output(command: &mut Command, program: &Path) -> Result<String, EnvironmentError> {
    let program = program.display().to_string();
    let run = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = run.map_err(|source| EnvironmentError::Run { program: program.clone(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().chars().take(300).collect();
    Err(EnvironmentError::Failed { program, message })
}
