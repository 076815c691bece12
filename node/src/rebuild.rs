//! Builds the target in the sandbox, without any network, and takes in the one file that was made.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use quorate_proto::result::Phase;
use quorate_proto::{Digest, FileName};

use crate::backend::{self, Hook, HookError};
use crate::cache::Cache;
use crate::pipeline::ARTIFACT_BYTES_MAX;
use crate::plan::{BuildPlan, Route};
use crate::release::Target;
use crate::sandbox::SandboxError;
use crate::source::tree;
use crate::source::unpack::{self, UnpackError, is_ours};
use crate::workshop::{Failure, Workshop};

/// Largest file that a build may make, in bytes: nothing larger is compared with anything.
pub const BUILT_BYTES_MAX: u64 = ARTIFACT_BYTES_MAX + (64 << 20);

/// A build that this machine could not run or whose file it could not keep.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The sandbox.
    #[error("sandbox")]
    Sandbox(#[from] SandboxError),
    /// The disk.
    #[error("keeping what was built")]
    Disk(#[source] io::Error),
}

/// How a build ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildOutcome {
    /// A file was made.
    Built(Built),
    /// None was made.
    Failed(Failure),
}

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

/// Runs a planned build whose inputs are in place.
pub async fn rebuild(workshop: &Workshop, plan: &BuildPlan, cache: &Cache) -> Result<BuildOutcome, HostError> {
    match attempt(workshop, plan, cache).await {
        Ok(built) => Ok(BuildOutcome::Built(built)),
        Err(HookError::Failed(failure)) => Ok(BuildOutcome::Failed(failure)),
        Err(HookError::Sandbox(error)) => Err(HostError::Sandbox(error)),
        Err(HookError::Disk(error)) => Err(HostError::Disk(error)),
    }
}

async fn attempt(workshop: &Workshop, plan: &BuildPlan, cache: &Cache) -> Result<Built, HookError> {
    match (plan.target, plan.route) {
        (Target::SourceDistribution, _) => step(workshop, plan, Hook::Sdist, cache).await,
        (Target::Wheel, Route::Direct) => step(workshop, plan, Hook::Wheel, cache).await,
        (Target::Wheel, Route::ThroughSourceDistribution) => {
            let sdist = step(workshop, plan, Hook::Sdist, cache).await?;
            let from_sdist = BuildPlan { folder: PathBuf::new(), ..plan.clone() };
            lay_out_again(workshop, &sdist, cache).await?;
            let wheel = step(workshop, &from_sdist, Hook::Wheel, cache).await?;
            Ok(Built { violations: [sdist.violations, wheel.violations].concat(), ..wheel })
        }
    }
}

async fn step(workshop: &Workshop, plan: &BuildPlan, hook: Hook, cache: &Cache) -> Result<Built, HookError> {
    let answer = backend::build(workshop, plan, hook).await?;
    let (out, cache) = (workshop.out(), cache.clone());
    let limit = workshop.limits().file_bytes_max.min(BUILT_BYTES_MAX);
    blocking(move || take_in(&out, answer.value, &cache, answer.violations, limit)).await
}

async fn lay_out_again(workshop: &Workshop, sdist: &Built, cache: &Cache) -> Result<(), HookError> {
    let source = workshop.replace_source().map_err(HookError::Disk)?;
    let (cache, digest, name) = (cache.clone(), sdist.digest, sdist.name.clone());
    blocking(move || {
        let path = cache.get(digest).ok_or_else(|| HookError::Disk(io::ErrorKind::NotFound.into()))?;
        unpack::unpack(&path, name.as_str(), &source).map(|_| ()).map_err(|error| match error {
            UnpackError::Io(error) if is_ours(&error) => HookError::Disk(error),
            error => HookError::Failed(Failure::found(Phase::Build, format!("the source distribution: {error}"))),
        })
    })
    .await?;
    workshop.hand_over().map_err(HookError::Sandbox)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, HookError> + Send + 'static) -> Result<T, HookError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| HookError::Disk(io::Error::other(error)))?
}

/// The build could have left anything in its folder: the file is opened without following links.
fn take_in(out: &Path, name: FileName, cache: &Cache, violations: Vec<String>, limit: u64) -> Result<Built, HookError> {
    let failed = |message: String| HookError::Failed(Failure { violations: violations.clone(), ..Failure::found(Phase::Build, message) });
    let unreadable = |error: io::Error| if is_ours(&error) { HookError::Disk(error) } else { failed(format!("taking in {name}: {error}")) };
    let file = tree::open(out, name.as_str().as_ref()).map_err(unreadable)?;
    let mut file = file.ok_or_else(|| failed(format!("the backend names {name} and made no such file")))?;
    let mut incoming = cache.incoming().map_err(HookError::Disk)?;
    let mut chunk = vec![0; 128 << 10];
    loop {
        let count = file.read(&mut chunk).map_err(unreadable)?;
        if count == 0 {
            break;
        }
        incoming.write(&chunk[..count]).map_err(HookError::Disk)?;
        if incoming.size_bytes() > limit {
            return Err(failed(format!("{name} has more than {limit} bytes")));
        }
    }
    let arrived = incoming.finish().map_err(HookError::Disk)?;
    let (digest, size_bytes) = (arrived.digest, arrived.size_bytes);
    cache.keep(arrived).map_err(HookError::Disk)?;
    Ok(Built { name, digest, size_bytes, violations })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn taken(made: &[u8], limit: u64, break_cache: impl FnOnce(&Path)) -> Result<Built, HookError> {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().join("cache")).unwrap();
        std::fs::write(folder.path().join("a.whl"), made).unwrap();
        break_cache(&folder.path().join("cache"));
        take_in(folder.path(), "a.whl".parse().unwrap(), &cache, vec!["seen".to_owned()], limit)
    }

    #[test]
    fn a_file_past_the_limit_is_a_failed_build_that_keeps_its_violations() {
        assert_eq!(taken(b"1234", 4, |_| ()).unwrap().size_bytes, 4);
        let Err(HookError::Failed(failure)) = taken(b"12345", 4, |_| ()) else { panic!() };
        assert_eq!(failure.violations, ["seen"]);
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_no_failed_build() {
        let broken = |cache: &Path| std::fs::remove_dir_all(cache).unwrap();
        assert!(matches!(taken(b"1234", 4, broken), Err(HookError::Disk(_))));
    }
}
