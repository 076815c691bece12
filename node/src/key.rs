//! Secret keys as files: 64 hex digits of an Ed25519 seed behind `ed25519-seed:`, readable by the owner alone.
//!
//! A key file that others can read is refused, not warned about. Nothing here prints a secret.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use quorate_proto::SecretKey;

use crate::durable;

const PREFIX: &str = "ed25519-seed:";

/// Bits of a mode that let others in.
const OTHERS: u32 = 0o077;

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read or written.
    #[error("key file `{path}`")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than its owner may read it.
    #[error("key file `{path}` has mode {mode:03o}: others than its owner may read it; expected 600")]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Not a seed.
    #[error("key file `{path}` is malformed: expected `{PREFIX}` and 64 lower-case hex digits")]
    Malformed {
        /// Which.
        path: PathBuf,
    },
    /// The system gave no random bytes.
    #[error("no random bytes: {0}")]
    Random(String),
}

/// Makes a new key and writes it to `path`, which must not exist.
pub fn generate(path: &Path) -> Result<SecretKey, KeyFileError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| KeyFileError::Random(e.to_string()))?;
    let key = SecretKey::from_seed(&seed);
    let text = format!("{PREFIX}{}\n", HEXLOWER.encode(&seed));
    durable::create(path, text.as_bytes(), 0o600).map_err(|source| KeyFileError::Io { path: path.to_owned(), source })?;
    Ok(key)
}

/// Reads the key in `path`.
pub fn load(path: &Path) -> Result<SecretKey, KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(KeyFileError::Exposed { path: path.to_owned(), mode });
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    let seed = text.trim_end().strip_prefix(PREFIX).and_then(|hex| HEXLOWER.decode(hex.as_bytes()).ok());
    let seed: Option<[u8; 32]> = seed.and_then(|seed| seed.try_into().ok());
    seed.map(|seed| SecretKey::from_seed(&seed)).ok_or_else(|| KeyFileError::Malformed { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_generated_key_loads_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        let key = generate(&path).unwrap();
        assert_eq!(load(&path).unwrap().node_id(), key.node_id());
        assert!(matches!(generate(&path), Err(KeyFileError::Io { .. })));
        assert_eq!(load(&path).unwrap().node_id(), key.node_id());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        generate(&path).unwrap();
        for mode in [0o640, 0o604, 0o644, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(load(&path), Err(KeyFileError::Exposed { mode: m, .. }) if m == mode));
        }
    }

    #[test]
    fn a_malformed_key_is_named_by_its_path_and_not_by_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        durable::create(&path, b"ed25519-seed:secret", 0o600).unwrap();
        let error = load(&path).unwrap_err().to_string();
        assert!(error.contains("node.key") && !error.contains("secret"), "{error}");
    }
}
