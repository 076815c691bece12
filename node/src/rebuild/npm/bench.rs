//! What every command of an npm build is started with: programs, variables, folders. Pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use quorate_proto::result::Tool;

use crate::proxy::npm::PORT;
use crate::sandbox::{Mode, Network};
use crate::workshop::{TOOLS, Task};

/// A node and an npm, or another package manager, on this machine, at the same place inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equipment {
    /// The runtime's program.
    pub node: PathBuf,
    /// The package manager's script.
    pub npm: PathBuf,
    /// Folders outside of `/usr` that they lie in.
    pub folders: Vec<PathBuf>,
    /// Both of them, as a result names them.
    pub tools: Vec<Tool>,
}

/// What a build runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bench {
    /// What installs and runs scripts.
    pub build: Equipment,
    /// What packs.
    pub pack: Equipment,
}

impl Equipment {
    /// The beginning of a command line that runs npm.
    pub fn npm_command(&self) -> [String; 2] {
        [&self.node, &self.npm].map(|path| path.display().to_string())
    }
}

impl Bench {
    /// A command with what it may see.
    pub fn task(&self, with: &Equipment, argv: Vec<String>, network: Network, tools: Mode) -> Task {
        let mut folders: Vec<_> = self.build.folders.iter().chain(&self.pack.folders).cloned().collect();
        folders.sort();
        folders.dedup();
        Task { argv, variables: variables(with), network, folders, tools }
    }
}

/// What keeps npm to itself and its output the same.
fn variables(with: &Equipment) -> BTreeMap<String, String> {
    let own = with.node.parent().unwrap_or(Path::new("/usr/bin")).display();
    let fixed = [
        ("npm_config_registry", format!("http://127.0.0.1:{PORT}/")),
        ("npm_config_cache", "/tmp/npm-cache".to_owned()),
        ("npm_config_userconfig", format!("{TOOLS}/npmrc")),
        ("npm_config_globalconfig", format!("{TOOLS}/npmrc-global")),
        ("npm_config_prefix", "/tmp/npm-prefix".to_owned()),
        ("npm_config_update_notifier", "false".to_owned()),
        ("npm_config_audit", "false".to_owned()),
        ("npm_config_fund", "false".to_owned()),
        ("npm_config_progress", "false".to_owned()),
        ("npm_config_loglevel", "error".to_owned()),
        ("npm_config_fetch_retries", "1".to_owned()),
        ("npm_config_maxsockets", "8".to_owned()),
        ("npm_config_replace_registry_host", "always".to_owned()),
        ("NO_UPDATE_NOTIFIER", "1".to_owned()),
        ("HUSKY", "0".to_owned()),
        ("COREPACK_ENABLE_DOWNLOAD_PROMPT", "0".to_owned()),
        // pnpm would fetch the version of itself that the source asks for.
        ("npm_config_manage_package_manager_versions", "false".to_owned()),
        ("npm_config_package_manager_strict", "false".to_owned()),
        ("PATH", format!("{TOOLS}/bin:{own}:/usr/local/bin:/usr/bin:/bin")),
    ];
    fixed.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
