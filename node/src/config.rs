//! The configuration: one TOML file, one struct a concern, unknown keys refused.
//!
//! Relative paths are relative to the file's own folder. Secrets are paths to files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_gossip::{Multiaddr, Reach};
use quorate_proto::commitment::SEEN_LISTED_MAX;
use quorate_proto::hold::Terms;
use quorate_tally::Policy;
use serde::Deserialize;

use crate::cache::Reuse;
use crate::ecosystem::ToolchainUse;
use crate::pipeline::{DebianUse, EngineConfig};
use crate::registry::deb::address::ArchiveSettings;
use crate::resolve::git::{Direct, GitAccess, Mirror, SourceKeys};
use crate::sandbox;
pub use crate::watch::settings::WatchConfig;
pub use crate::witness::WitnessConfig;

/// Longest `commit.deadline_seconds`: a promise is to reveal within twice that, and at most a day.
const COMMIT_SECONDS_MAX: u64 = 43_200;

/// All of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The folder of feeds, queue, evidence and `ready.json`. One running node each.
    pub data_dir: PathBuf,
    /// Who this is.
    pub node: NodeConfig,
    /// Peers.
    #[serde(default)]
    pub mesh: MeshSection,
    /// Where results are handed in besides the mesh.
    #[serde(default)]
    pub coordinator: CoordinatorConfig,
    /// How results are held back until others have one.
    #[serde(default)]
    pub commit: CommitConfig,
    /// How builds run.
    #[serde(default)]
    pub build: BuildConfig,
    /// Registries by ecosystem.
    #[serde(default)]
    pub registry: RegistryConfig,
    /// Where sources are.
    #[serde(default)]
    pub source: SourceConfig,
    /// How sandboxes are made.
    #[serde(default)]
    pub sandbox: sandbox::Config,
    /// What is rebuilt without being asked for.
    #[serde(default)]
    pub watch: WatchConfig,
    /// Cosigning checkpoints. Default: the node is no witness.
    pub witness: Option<WitnessConfig>,
    /// What one build command may use up.
    #[serde(default)]
    pub limits: LimitsConfig,
}

/// `[node]`: who this is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The node's secret key file, mode 600. Made by `quorate-node key init`.
    pub key: PathBuf,
    /// The node's certificate, made by `quorate-node operator certify`. Read again when it changes;
    /// outside of its validity nothing is signed.
    pub certificate: PathBuf,
    /// The policy file whose operators are enrolled. Others' items are not taken.
    pub policy: PathBuf,
}

/// `[mesh]`: peers.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeshSection {
    /// Multiaddresses to listen on. Default: every interface, a port that the system chooses, QUIC and TCP.
    pub listen: Vec<Multiaddr>,
    /// Multiaddresses to dial, for ever. Default: none; then the node waits to be found.
    pub bootstrap: Vec<Multiaddr>,
    /// Up to how many connections peers that were heard of are dialled. Default 24. Fewer than 6 make gossip slow and
    /// the node easy to surround.
    pub peers_wanted: usize,
    /// Multiaddresses under which others reach this node and which it cannot know itself, such as a forwarded port.
    /// Default: none; what listens and what others confirm is told.
    pub external: Vec<Multiaddr>,
    /// Whether this node can be dialled from outside: `automatic` (default) finds out, `open`, `behind`: then it is
    /// reached through relays.
    pub reach: MeshReach,
    /// Whether this node carries connections for nodes that cannot be dialled. Default: no. Only for a public address: it is
    /// taken to be `open`.
    pub relay: bool,
    /// Incoming connections at a time. Default 256.
    pub connections_max: u32,
    /// Above this resident size no new connection is made. Default 2 GiB.
    pub memory_bytes_max: usize,
}

/// Whether a node can be dialled from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MeshReach {
    /// Found out with the help of relays.
    #[default]
    Automatic,
    /// Yes.
    Open,
    /// No: it is behind address translation.
    Behind,
}

impl From<MeshReach> for Reach {
    fn from(reach: MeshReach) -> Self {
        match reach {
            MeshReach::Automatic => Self::Automatic,
            MeshReach::Open => Self::Open,
            MeshReach::Behind => Self::Behind,
        }
    }
}

/// `[coordinator]`: where results are handed in besides the mesh.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoordinatorConfig {
    /// The gRPC address, such as `http://127.0.0.1:7878`. Default: none; results travel over the mesh alone.
    pub submit: Option<String>,
}

/// `[commit]`: how results are held back until others have one. Where the policy has one operator, nothing is.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CommitConfig {
    /// Whether the node commits to results before it reveals them. Default yes. Votes of a node that does not are
    /// followers': policies may ask for more.
    pub enabled: bool,
    /// How many operators' commitments, the own one among them, are enough to reveal. Default: the policy's
    /// threshold. Fewer, and others may not have seen enough to vouch for this node.
    pub operators: Option<usize>,
    /// Seconds until a result is revealed however few have committed. Default 600; at most 43,200. Too short, and
    /// slower builders are never waited for; longer, and a verdict waits for those who will never build.
    pub deadline_seconds: u64,
    /// Seconds between the last commitment and the revelation once there are enough. Default 2: as long as an entry
    /// takes to reach everybody.
    pub settle_seconds: u64,
}

/// `[build]`: how builds run.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BuildConfig {
    /// Builds at a time. Default 1.
    pub jobs: usize,
    /// The interpreter that builds run on. Default `python3`.
    pub python: PathBuf,
    /// Where builds lie while they run. Default: `work` in the data folder.
    pub work_dir: Option<PathBuf>,
    /// Where downloads are kept; nodes on one machine may share it. Default: `cache` in the data folder.
    pub cache_dir: Option<PathBuf>,
    /// A folder of reviewed definitions, one YAML file each. Default: none are used.
    pub definitions: Option<PathBuf>,
    /// Build tools: `exact` (default) brings in the very versions, `machine` takes what is installed.
    pub toolchains: Toolchains,
}

/// Which build tools may be brought in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Toolchains {
    /// The very version that made the artifact, where it can be had.
    #[default]
    Exact,
    /// Only what this machine has.
    Machine,
}

/// `[registry]`: registries by ecosystem.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistryConfig {
    /// `[registry.pypi]`: the simple index. Default: what pip is configured to use.
    pub pypi: RegistryAddress,
    /// `[registry.cargo]`: the sparse index. Default: what cargo is configured to use.
    pub cargo: RegistryAddress,
    /// `[registry.npm]`: the registry. Default: what npm is configured to use.
    pub npm: RegistryAddress,
    /// `[registry.deb]`: the archive. Default: what apt is configured to use.
    pub deb: DebConfig,
}

/// `[registry.deb]`: Debian's archive.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DebConfig {
    /// Its base address, with `dists` and `pool` below it.
    pub index_url: Option<String>,
    /// The keys that may sign it, and no others. Default: Debian's own.
    pub keyring: Option<PathBuf>,
    /// The suites that are searched for a package URL without `distro`, in this order. Default: this machine's
    /// and Debian's others.
    pub suites: Vec<String>,
    /// The suite of apt's own archive that builds take place in, where `index_url` is no whole archive. Default:
    /// none; builds take place in the suite that is searched.
    pub base: Option<String>,
    /// A folder with `.buildinfo` files. Default: none; environments then have the versions of today.
    pub buildinfo_dir: Option<PathBuf>,
}

impl DebConfig {
    fn settings(&self) -> ArchiveSettings {
        ArchiveSettings {
            keyring: self.keyring.clone(),
            suites: self.suites.clone(),
            base: self.base.clone(),
            buildinfo_dir: self.buildinfo_dir.clone(),
        }
    }
}

/// `[registry.…]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistryAddress {
    /// Its base address.
    pub index_url: Option<String>,
}

impl RegistryConfig {
    /// The base addresses that are configured, by package URL type.
    pub fn by_type(&self) -> BTreeMap<String, String> {
        let (pypi, cargo, npm) = (&self.pypi.index_url, &self.cargo.index_url, &self.npm.index_url);
        let all = [("pypi", pypi), ("cargo", cargo), ("npm", npm), ("deb", &self.deb.index_url)];
        all.into_iter().filter_map(|(kind, url)| Some((kind.to_owned(), url.clone()?))).collect()
    }
}

/// `[source]`: where sources are.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceConfig {
    /// `PREFIX=TEMPLATE`: repositories under the prefix are at the template, with `{owner}` and `{name}`.
    pub git_mirrors: Vec<String>,
    /// Addresses without a mirror: `never` (default) or `clone`.
    pub git_direct: GitDirect,
    /// An allowed-signers file of ssh-keygen, for signatures of tags and commits. Without it they are
    /// recorded with the key that they name, and nothing is said of their truth.
    pub git_allowed_signers: Option<PathBuf>,
    /// A keyring of gpgv, for the same.
    pub git_keyring: Option<PathBuf>,
    /// Debian's source archives: `off`, or `this-machine` (default).
    pub debian: DebianSource,
}

/// What is done with addresses that have no mirror.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GitDirect {
    /// Nothing.
    #[default]
    Never,
    /// They are cloned from their forge.
    Clone,
}

/// Whether Debian's source archives are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DebianSource {
    /// No.
    Off,
    /// From the mirror that this machine uses.
    #[default]
    ThisMachine,
}

/// `[limits]`: what one build command may use up.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Seconds from start to kill. Default 1800.
    pub wall_seconds: u64,
    /// Memory of all its processes. Default 4 GiB.
    pub memory_bytes: u64,
    /// Processes and threads at once. Default 512.
    pub process_count_max: u64,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration `{path}`")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML of this shape.
    #[error("configuration `{path}`")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: toml::de::Error,
    },
    /// A value that cannot work.
    #[error("configuration: `{key}`: {reason}")]
    Value {
        /// Which key.
        key: &'static str,
        /// Why.
        reason: String,
    },
}

impl Default for MeshSection {
    fn default() -> Self {
        let everywhere = ["/ip4/0.0.0.0/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/0"];
        Self {
            listen: everywhere.iter().filter_map(|address| address.parse().ok()).collect(),
            bootstrap: Vec::new(),
            peers_wanted: 24,
            external: Vec::new(),
            reach: MeshReach::Automatic,
            relay: false,
            connections_max: 256,
            memory_bytes_max: 2 << 30,
        }
    }
}

impl Default for CommitConfig {
    fn default() -> Self {
        Self { enabled: true, operators: None, deadline_seconds: 600, settle_seconds: 2 }
    }
}

impl CommitConfig {
    /// How the node holds back under its policy; nothing if it does not.
    pub fn terms(&self, policy: &Policy) -> Option<Terms> {
        let operators = self.operators.unwrap_or_else(|| policy.threshold()).min(policy.enrolled().len());
        let others = u32::try_from(operators.saturating_sub(1).min(SEEN_LISTED_MAX)).unwrap_or(u32::MAX);
        let (hold, settle) = (Duration::from_secs(self.deadline_seconds), Duration::from_secs(self.settle_seconds));
        (self.enabled && policy.enrolled().len() > 1).then_some(Terms { enough: others, hold, settle })
    }
}

impl Default for BuildConfig {
    fn default() -> Self {
        Self { jobs: 1, python: "python3".into(), work_dir: None, cache_dir: None, definitions: None, toolchains: Toolchains::Exact }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        let limits = sandbox::Limits::default();
        Self { wall_seconds: limits.wall.as_secs(), memory_bytes: limits.memory_bytes, process_count_max: limits.process_count_max }
    }
}

impl Config {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Io { path: path.to_owned(), source })?;
        let base = path.parent().unwrap_or(Path::new(""));
        let base = fs::canonicalize(if base.as_os_str().is_empty() { Path::new(".") } else { base });
        let base = base.map_err(|source| ConfigError::Io { path: path.to_owned(), source })?;
        let config: Self = toml::from_str(&text).map_err(|source| ConfigError::Malformed { path: path.to_owned(), source })?;
        config.under(&base).checked()
    }

    fn under(mut self, base: &Path) -> Self {
        let paths = [&mut self.data_dir, &mut self.node.key, &mut self.node.certificate, &mut self.node.policy];
        let optional = [
            &mut self.build.work_dir,
            &mut self.build.cache_dir,
            &mut self.build.definitions,
            &mut self.source.git_allowed_signers,
            &mut self.source.git_keyring,
        ];
        let deb = &mut self.registry.deb;
        let witness_key = self.witness.as_mut().and_then(|witness| witness.key.as_mut());
        let more = optional.into_iter().chain([&mut deb.keyring, &mut deb.buildinfo_dir, &mut self.watch.deb.keyring]).flatten();
        paths.into_iter().chain(more).chain(witness_key).for_each(|path| *path = base.join(&*path));
        self
    }

    /// Refuses what would fail later, or do something that nobody meant.
    fn checked(self) -> Result<Self, ConfigError> {
        let refuse = |key, reason: String| Err(ConfigError::Value { key, reason });
        if self.build.jobs == 0 {
            return refuse("build.jobs", "at least one build at a time".to_owned());
        }
        if self.mesh.relay && self.mesh.reach == MeshReach::Behind {
            return refuse("mesh.relay", "a node that cannot be dialled cannot carry connections for others".to_owned());
        }
        if !(1..=COMMIT_SECONDS_MAX).contains(&self.commit.deadline_seconds) {
            return refuse("commit.deadline_seconds", format!("1 to {COMMIT_SECONDS_MAX}"));
        }
        if self.commit.operators == Some(0) {
            return refuse("commit.operators", "the own commitment is one".to_owned());
        }
        if let Err((key, reason)) = self.watch.check() {
            return refuse(key, reason);
        }
        if let Some(Err(error)) = self.coordinator.submit.as_ref().map(|address| address.parse::<tonic::transport::Uri>()) {
            return refuse("coordinator.submit", error.to_string());
        }
        self.mirrors()?;
        Ok(self)
    }

    fn mirrors(&self) -> Result<Vec<Mirror>, ConfigError> {
        let parse = |text: &String| {
            text.parse()
                .map_err(|e: crate::resolve::git::MirrorError| ConfigError::Value { key: "source.git_mirrors", reason: e.to_string() })
        };
        self.source.git_mirrors.iter().map(parse).collect()
    }

    fn source_keys(&self) -> SourceKeys {
        SourceKeys { allowed_signers: self.source.git_allowed_signers.clone(), keyring: self.source.git_keyring.clone() }
    }

    /// What the rebuild engine is told.
    pub fn engine(&self) -> Result<EngineConfig, ConfigError> {
        let direct = match self.source.git_direct {
            GitDirect::Never => Direct::Never,
            GitDirect::Clone => Direct::Clone,
        };
        let debian = match self.source.debian {
            DebianSource::Off => DebianUse::Off,
            DebianSource::ThisMachine => DebianUse::OfThisMachine,
        };
        let limits = sandbox::Limits {
            wall: Duration::from_secs(self.limits.wall_seconds),
            memory_bytes: self.limits.memory_bytes,
            process_count_max: self.limits.process_count_max,
            ..sandbox::Limits::default()
        };
        Ok(EngineConfig {
            work_dir: self.build.work_dir.clone().unwrap_or_else(|| self.data_dir.join("work")),
            cache_dir: self.build.cache_dir.clone().unwrap_or_else(|| self.data_dir.join("cache")),
            reuse: Reuse::Kept,
            registries: self.registry.by_type(),
            deb: self.registry.deb.settings(),
            toolchains: match self.build.toolchains {
                Toolchains::Exact => ToolchainUse::Exact,
                Toolchains::Machine => ToolchainUse::Machine,
            },
            toolchain_wait: Some(crate::toolchain::WAIT),
            git: GitAccess { mirrors: self.mirrors()?, direct, keys: self.source_keys(), reuse: Reuse::Kept },
            debian,
            python: self.build.python.clone(),
            definitions: self.build.definitions.clone(),
            sandbox: self.sandbox.clone(),
            limits,
            secrets: vec![self.node.key.clone()],
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const SMALLEST: &str = "data_dir = \"data\"\n[node]\nkey = \"node.key\"\ncertificate = \"node.cert\"\npolicy = \"policy.toml\"\n";

    fn load(text: &str) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        fs::write(&path, text).unwrap();
        Config::load(&path)
    }

    #[test]
    fn the_smallest_configuration_has_defaults_and_paths_beside_itself() {
        let config = load(SMALLEST).unwrap();
        assert_eq!(config.mesh.listen.len(), 2);
        assert_eq!(config.build.jobs, 1);
        assert!(config.data_dir.is_absolute() && config.data_dir.ends_with("data"));
        assert!(config.engine().unwrap().work_dir.ends_with("data/work"));
    }

    #[test]
    fn unknown_keys_and_values_that_cannot_work_are_refused() {
        assert!(matches!(load(&format!("colour = 1\n{SMALLEST}")), Err(ConfigError::Malformed { .. })));
        for (section, key) in [
            ("[build]\njobs = 0", "build.jobs"),
            ("[commit]\ndeadline_seconds = 0", "commit.deadline_seconds"),
            ("[commit]\ndeadline_seconds = 43201", "commit.deadline_seconds"),
            ("[commit]\noperators = 0", "commit.operators"),
            ("[watch]\npackages = [\"pkg:golang/x\"]", "watch.packages"),
            ("[watch]\nevery_seconds = 0", "watch.every_seconds"),
            ("[watch.deb]\nsuites = [\"../x\"]", "watch.deb"),
            ("[source]\ngit_mirrors = [\"nothing\"]", "source.git_mirrors"),
            ("[coordinator]\nsubmit = \"http://[\"", "coordinator.submit"),
            ("[mesh]\nrelay = true\nreach = \"behind\"", "mesh.relay"),
        ] {
            let refused = load(&format!("{SMALLEST}{section}\n"));
            assert!(matches!(refused, Err(ConfigError::Value { key: k, .. }) if k == key), "{section}");
        }
        assert!(load(&format!("{SMALLEST}[mesh]\nlisten = [\"127.0.0.1:1\"]\n")).is_err());
    }
}
