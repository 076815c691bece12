//! The Rust toolchains that this machine came with: what is in `PATH`, and what rustup has.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use quorate_proto::result::Tool;
use semver::Version;
use tokio::process::Command;

use super::{Cargo, ToolchainError, tool};
use crate::cache::digest_of_file;

const ANSWER_MAX: Duration = Duration::from_secs(30);
const TOOLCHAINS_MAX: usize = 64;

/// One installed toolchain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The version of its cargo.
    pub version: Version,
    /// The version of its rustc.
    pub rustc_version: String,
    /// Its folder.
    pub sysroot: PathBuf,
}

impl Installed {
    /// Its cargo, as builds run it.
    pub fn cargo(&self) -> Result<Cargo, ToolchainError> {
        let program = self.sysroot.join("bin/cargo");
        Ok(Cargo {
            version: self.version.clone(),
            tools: vec![tool("cargo", &self.version.to_string(), digest_of_file(&program)?.0), self.rustc()?],
            folders: self.folders(),
            path: vec![self.sysroot.join("bin")],
            program,
            provenance: None,
        })
    }

    /// Folders outside of `/usr` that it needs.
    pub fn folders(&self) -> Vec<PathBuf> {
        if self.sysroot.starts_with("/usr") { Vec::new() } else { vec![self.sysroot.clone()] }
    }

    /// Its compiler.
    pub fn rustc(&self) -> Result<Tool, ToolchainError> {
        Ok(tool("rustc", &self.rustc_version, digest_of_file(&self.sysroot.join("bin/rustc"))?.0))
    }
}

/// What is in `PATH` first, then what rustup has.
pub async fn installed() -> Vec<Installed> {
    let mut folders: Vec<PathBuf> = Vec::new();
    folders.extend(answer("rustc", &["--print", "sysroot"]).await.map(|text| PathBuf::from(text.trim())));
    let listed = answer("rustup", &["toolchain", "list", "-v"]).await.unwrap_or_default();
    folders.extend(listed.lines().filter_map(|line| Some(PathBuf::from(&line[line.find('/')?..]))));
    let mut found: Vec<Installed> = Vec::new();
    for folder in folders.into_iter().take(TOOLCHAINS_MAX) {
        // A linked toolchain is another name of the same folder.
        let Ok(sysroot) = folder.canonicalize() else { continue };
        if found.iter().any(|own| own.sysroot == sysroot) {
            continue;
        }
        found.extend(look(&sysroot).await);
    }
    found
}

async fn look(sysroot: &Path) -> Option<Installed> {
    let version = |text: &str| text.split_whitespace().nth(1).map(str::to_owned);
    let cargo = answer(sysroot.join("bin/cargo").to_str()?, &["--version"]).await?;
    let rustc = answer(sysroot.join("bin/rustc").to_str()?, &["--version"]).await?;
    Some(Installed { version: Version::parse(&version(&cargo)?).ok()?, rustc_version: version(&rustc)?, sysroot: sysroot.to_owned() })
}

async fn answer(program: &str, args: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    // A folder without a `rust-toolchain.toml`: it is this machine that is asked, not a project.
    command.args(args).current_dir("/").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(ANSWER_MAX, command.output()).await.ok()?.ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}
