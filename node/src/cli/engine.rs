//! Options of every subcommand that rebuilds by itself.

use std::path::{Path, PathBuf};

use quorate_node::cache::Reuse;
use quorate_node::ecosystem::ToolchainUse;
use quorate_node::pipeline::{DebianUse, EngineConfig, KINDS};
use quorate_node::registry::deb::address::ArchiveSettings;
use quorate_node::resolve::GitAccess;
use quorate_node::resolve::git::{Direct, Mirror};
use quorate_node::sandbox;

#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line by itself")]
pub(crate) struct EngineArgs {
    /// Where repositories are to be had: `https://github.com/=/mirrors/{owner}+{name}/repo`.
    #[arg(long, value_name = "PREFIX=TEMPLATE")]
    git_mirror: Vec<Mirror>,
    /// Clone repositories that have no mirror from their forge.
    #[arg(long)]
    git_direct: bool,
    /// A registry for a package URL type, such as `npm=http://127.0.0.1:4873/`; the machine's own package
    /// clients are asked for the others.
    #[arg(long, value_name = "TYPE=URL", value_parser = typed)]
    registry: Vec<(String, String)>,
    /// A folder of reviewed definitions, one YAML file each.
    #[arg(long, value_name = "DIR")]
    definitions: Option<PathBuf>,
    /// A folder with `.buildinfo` files of Debian packages; their versions are used where they can be had.
    #[arg(long, value_name = "DIR")]
    buildinfo_dir: Option<PathBuf>,
    /// Build with this machine's tools alone: no other cargo, npm or node is brought in.
    #[arg(long)]
    machine_toolchains: bool,
    /// Do not look for source archives in Debian.
    #[arg(long)]
    no_debian: bool,
    /// The interpreter that builds run on.
    #[arg(long, value_name = "PYTHON", default_value = "python3")]
    python: PathBuf,
    /// Where downloads are kept; the user's cache folder when absent.
    #[arg(long, value_name = "DIR", env = "QUORATE_CACHE_DIR")]
    cache_dir: Option<PathBuf>,
    /// Ask for every document, published file and build requirement anew, whatever the cache holds. Without it a
    /// file of a known digest is not fetched again, and a document as its server says that it has changed.
    #[arg(long)]
    refresh: bool,
}

impl EngineArgs {
    /// The engine that they describe, with its builds below `scratch`.
    pub(crate) fn config(&self, scratch: &Path) -> EngineConfig {
        let cache_dir = self.cache_dir.clone().or_else(super::cache_home);
        EngineConfig {
            work_dir: scratch.join("work"),
            cache_dir: cache_dir.unwrap_or_else(|| scratch.join("cache")),
            reuse: if self.refresh { Reuse::Anew } else { Reuse::Kept },
            registries: self.registry.iter().cloned().collect(),
            deb: ArchiveSettings { buildinfo_dir: self.buildinfo_dir.clone(), ..ArchiveSettings::default() },
            toolchains: if self.machine_toolchains { ToolchainUse::Machine } else { ToolchainUse::Exact },
            toolchain_wait: Some(quorate_node::toolchain::WAIT),
            git: GitAccess {
                mirrors: self.git_mirror.clone(),
                direct: if self.git_direct { Direct::Clone } else { Direct::Never },
                ..GitAccess::default()
            },
            debian: if self.no_debian { DebianUse::Off } else { DebianUse::OfThisMachine },
            python: self.python.clone(),
            definitions: self.definitions.clone(),
            sandbox: sandbox::Config::default(),
            limits: sandbox::Limits::default(),
            secrets: Vec::new(),
        }
    }
}

fn typed(text: &str) -> Result<(String, String), String> {
    let known = |kind: &str| KINDS.contains(&kind);
    let pair = text.split_once('=').filter(|(kind, _)| known(kind));
    let (kind, url) = pair.ok_or_else(|| format!("TYPE=URL, with one of {}", KINDS.join(", ")))?;
    Ok((kind.to_owned(), url.to_owned()))
}
