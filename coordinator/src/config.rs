//! The configuration file of `quorate-coordinator run`. Every key, its default and what breaks when it
//! is wrong: `coordinator.example.toml`, which a test reads with this very code.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use quorate_gossip::Multiaddr;
use quorate_proto::SecretKey;
use serde::Deserialize;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where everything is kept. One process at a time.
    pub data_dir: PathBuf,
    /// Address of HTTP and gRPC; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The policy that verdicts are made under.
    pub policy: PathBuf,
    /// Signs verdicts; without it the log's key does.
    pub statement_key_file: Option<PathBuf>,
    /// The log.
    pub log: LogConfig,
    /// Witnesses; without them checkpoints are published at once.
    pub witnesses: Option<WitnessSection>,
    /// The mesh; without it results come over gRPC only.
    pub mesh: Option<MeshSection>,
    /// Limits.
    #[serde(default)]
    pub limits: Limits,
}

/// Whose log it is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// The origin line and key name. Never changes once the log has an entry.
    pub origin: String,
    /// The log key's seed, as `init` writes it.
    pub key_file: PathBuf,
}

/// Witnesses.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessSection {
    /// A C2SP `tlog-policy` file: witnesses with their submission prefixes, and the quorum.
    pub policy: PathBuf,
    /// Milliseconds that a witness may take.
    #[serde(default = "witness_timeout")]
    pub timeout_ms: u64,
    /// Seconds after which a log that rests is cosigned again.
    #[serde(default = "recosign_after")]
    pub recosign_seconds: u64,
}

fn witness_timeout() -> u64 {
    5_000
}

fn recosign_after() -> u64 {
    600
}

/// The mesh.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeshSection {
    /// Multiaddresses to listen on.
    pub listen: Vec<String>,
    /// Multiaddresses of peers to begin with.
    #[serde(default)]
    pub bootstrap: Vec<String>,
    /// Up to how many connections peers that were heard of are dialled.
    #[serde(default = "peers_wanted")]
    pub peers_wanted: usize,
    /// Multiaddresses under which others reach it and which it cannot know itself.
    #[serde(default)]
    pub external: Vec<String>,
    /// Whether it carries connections for nodes that cannot be dialled.
    #[serde(default)]
    pub relay: bool,
    /// The transport key's seed; made at the first start if it is not there.
    pub key_file: Option<PathBuf>,
}

fn peers_wanted() -> usize {
    24
}

/// Limits.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Seconds that an HTTP answer may take.
    pub request_seconds: u64,
    /// Connections to HTTP and gRPC at once.
    pub connections_max: usize,
    /// Incoming mesh connections.
    pub mesh_connections_max: u32,
    /// Above this resident size, no new mesh connection is taken.
    pub memory_bytes_max: usize,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read or written.
    #[error("file `{}`", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not TOML of the expected shape.
    #[error("configuration is malformed")]
    Malformed(#[source] Box<toml::de::Error>),
    /// A key that others can read.
    #[error("key file `{}` can be read by others (mode {mode:o}): run `chmod 600`", path.display())]
    KeyMode {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Not a seed.
    #[error("key file `{}` does not hold 64 lower-case hex digits", .0.display())]
    KeyForm(PathBuf),
    /// Not a multiaddress.
    #[error("`{0}` is no multiaddress such as `/ip4/0.0.0.0/udp/4001/quic-v1`")]
    Address(String),
    /// No randomness to be had.
    #[error("the system gives no random bytes")]
    Random(#[source] getrandom::Error),
}

impl Default for Limits {
    fn default() -> Self {
        Self { request_seconds: 10, connections_max: 512, mesh_connections_max: 256, memory_bytes_max: 2 << 30 }
    }
}

impl Config {
    /// Reads a file. Relative paths in it are relative to the folder that it is in.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::File { path: path.to_path_buf(), source })?;
        let mut config: Self = toml::from_str(&text).map_err(|error| ConfigError::Malformed(Box::new(error)))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let mesh_key = config.mesh.as_mut().and_then(|mesh| mesh.key_file.as_mut());
        let paths = [&mut config.data_dir, &mut config.policy, &mut config.log.key_file];
        let witnesses = config.witnesses.as_mut().map(|witnesses| &mut witnesses.policy);
        for relative in paths.into_iter().chain(config.statement_key_file.as_mut()).chain(mesh_key).chain(witnesses) {
            *relative = folder.join(&*relative);
        }
        Ok(config)
    }
}

impl MeshSection {
    /// The addresses, read.
    pub fn addresses(list: &[String]) -> Result<Vec<Multiaddr>, ConfigError> {
        list.iter().map(|text| text.parse().map_err(|_| ConfigError::Address(text.clone()))).collect()
    }
}

/// Reads a key's seed from a file that only its owner can read.
pub fn load_key(path: &Path) -> Result<SecretKey, ConfigError> {
    let failed = |source| ConfigError::File { path: path.to_path_buf(), source };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(ConfigError::KeyMode { path: path.to_path_buf(), mode });
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    let malformed = || ConfigError::KeyForm(path.to_path_buf());
    let seed = HEXLOWER.decode(text.trim_end().as_bytes()).map_err(|_| malformed())?;
    let seed: [u8; 32] = seed.try_into().map_err(|_| malformed())?;
    Ok(SecretKey::from_seed(&seed))
}

/// Draws a new key and writes its seed; never over an existing file.
pub fn make_key(path: &Path) -> Result<SecretKey, ConfigError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let failed = |source| ConfigError::File { path: path.to_path_buf(), source };
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(ConfigError::Random)?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    writeln!(file, "{}", HEXLOWER.encode(&seed)).and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(SecretKey::from_seed(&seed))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_example_is_a_configuration() {
        let example = include_str!("../coordinator.example.toml");
        let config: Config = toml::from_str(example).unwrap();
        assert!(config.mesh.is_some());
        assert!(toml::from_str::<Config>(&format!("unknown = 1\n{example}")).is_err());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.key");
        let made = make_key(&path).unwrap();
        assert_eq!(load_key(&path).unwrap().node_id(), made.node_id());
        assert!(make_key(&path).is_err());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(load_key(&path), Err(ConfigError::KeyMode { .. })));
    }
}
