//! Builds the target in the sandbox, without any network, and takes in the one file that was made: one file
//! an ecosystem.

pub mod cargo;
pub mod deb;
pub mod npm;
pub mod pypi;

use std::io::{self, Read as _};
use std::path::Path;

use quorate_proto::result::Phase;
use quorate_proto::{Digest, FileName};

use crate::cache::Cache;
use crate::pipeline::ARTIFACT_BYTES_MAX;
use crate::source::tree;
use crate::source::unpack::is_ours;
use crate::workshop::{BuildError, Failure};

/// Largest file that a build may make, in bytes: nothing larger is compared with anything.
pub const BUILT_BYTES_MAX: u64 = ARTIFACT_BYTES_MAX + (64 << 20);

/// A file that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Its name.
    pub name: FileName,
    /// SHA-256 of its bytes, by which the cache has it.
    pub digest: Digest,
    /// Its size.
    pub size_bytes: u64,
    /// What the build tried and may not, although it came to an end.
    pub violations: Vec<String>,
}

/// Runs what blocks beside the async tasks.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, BuildError> + Send + 'static) -> Result<T, BuildError> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Takes a file that a build made into the cache. The build could have left anything in its folder: the file is opened without following links.
pub fn take_in(out: &Path, name: FileName, cache: &Cache, violations: Vec<String>, limit: u64) -> Result<Built, BuildError> {
    let failed = |message: String| BuildError::Failed(Failure { violations: violations.clone(), ..Failure::found(Phase::Build, message) });
    let unreadable =
        |error: io::Error| if is_ours(&error) { BuildError::Disk(error) } else { failed(format!("taking in {name}: {error}")) };
    let file = tree::open(out, name.as_str().as_ref()).map_err(unreadable)?;
    let mut file = file.ok_or_else(|| failed(format!("the backend names {name} and made no such file")))?;
    let mut incoming = cache.incoming().map_err(BuildError::Disk)?;
    let mut chunk = vec![0; 128 << 10];
    loop {
        let count = file.read(&mut chunk).map_err(unreadable)?;
        if count == 0 {
            break;
        }
        incoming.write(&chunk[..count]).map_err(BuildError::Disk)?;
        if incoming.size_bytes() > limit {
            return Err(failed(format!("{name} has more than {limit} bytes")));
        }
    }
    let arrived = incoming.finish().map_err(BuildError::Disk)?;
    let (digest, size_bytes) = (arrived.digest, arrived.size_bytes);
    cache.keep(arrived).map_err(BuildError::Disk)?;
    Ok(Built { name, digest, size_bytes, violations })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn taken(made: &[u8], limit: u64, break_cache: impl FnOnce(&Path)) -> Result<Built, BuildError> {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().join("cache")).unwrap();
        std::fs::write(folder.path().join("a.whl"), made).unwrap();
        break_cache(&folder.path().join("cache"));
        take_in(folder.path(), "a.whl".parse().unwrap(), &cache, vec!["seen".to_owned()], limit)
    }

    #[test]
    fn a_file_past_the_limit_is_a_failed_build_that_keeps_its_violations() {
        assert_eq!(taken(b"1234", 4, |_| ()).unwrap().size_bytes, 4);
        let Err(BuildError::Failed(failure)) = taken(b"12345", 4, |_| ()) else { panic!() };
        assert_eq!(failure.violations, ["seen"]);
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_no_failed_build() {
        let broken = |cache: &Path| std::fs::remove_dir_all(cache).unwrap();
        assert!(matches!(taken(b"1234", 4, broken), Err(BuildError::Disk(_))));
    }
}
