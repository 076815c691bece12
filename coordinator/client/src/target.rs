//! What a command is about: a file, a release or whole package, or a digest.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use quorate_proto::{Digest, Purl};
use sha2::{Digest as _, Sha256};

/// A target as it stands on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `pkg:…`
    Package(Purl),
    /// `sha256:…`
    Digest(Digest),
    /// Anything else is the path of a file.
    File(PathBuf),
    /// Began like a package URL or a digest, and is none; the reason.
    Malformed(String),
}

/// The SHA-256 of a file, read in pieces.
pub(crate) fn digest_of_file(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(Digest::from_bytes(hasher.finalize().into())),
            Ok(count) => hasher.update(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl FromStr for Target {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let malformed = |reason: &dyn std::fmt::Display| Self::Malformed(reason.to_string());
        Ok(if text.starts_with("pkg:") {
            text.parse().map_or_else(|error| malformed(&error), Self::Package)
        } else if text.starts_with("sha256:") {
            text.parse().map_or_else(|error| malformed(&error), Self::Digest)
        } else {
            Self::File(PathBuf::from(text))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_decide_and_a_broken_prefix_is_never_a_file() {
        assert!(matches!("pkg:pypi/click@8.1.8".parse(), Ok(Target::Package(_))));
        assert!(matches!("click.whl".parse(), Ok(Target::File(_))));
        assert!(matches!("sha256:12".parse(), Ok(Target::Malformed(_))));
        assert!(matches!("pkg:".parse(), Ok(Target::Malformed(_))));
    }
}
