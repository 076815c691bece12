//! This machine's own node and npm.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use quorate_proto::result::Tool;
use tokio::process::Command;

use crate::rebuild::npm::bench::Equipment;
use crate::sandbox::find_in_path;
use crate::workshop::{BuildError, Failure};
use quorate_proto::result::Phase;

/// What `node` and `npm` in the path are, behind links.
pub async fn machine() -> Result<Equipment, BuildError> {
    let [node, npm] = [program("node")?, program("npm")?];
    let versions = [said(&node, &[]).await, said(&node, &[&npm]).await];
    let names = ["node", "npm"].into_iter().zip(versions);
    let tools =
        names.map(|(name, version)| Tool { name: name.to_owned(), version: version.trim_start_matches('v').to_owned(), digest: None });
    let outside = |path: &PathBuf| !path.starts_with("/usr");
    let root = |path: &Path| path.parent().and_then(Path::parent).map(Path::to_owned);
    let folders = [&node, &npm].into_iter().filter_map(|path| root(path)).filter(outside).collect();
    Ok(Equipment { node, npm, folders, tools: tools.collect() })
}

fn program(name: &str) -> Result<PathBuf, BuildError> {
    let found = find_in_path(name).and_then(|path| path.canonicalize().ok());
    found.ok_or_else(|| Failure::found(Phase::Plan, format!("this machine has no {name} in its path")).into())
}

async fn said(node: &Path, script: &[&Path]) -> String {
    let mut command = Command::new(node);
    command.args(script).arg("--version").current_dir("/").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().chars().take(40).collect()
}
