//! Builds the target in the sandbox, without any network, and takes in the one file that was made.

use std::io::Read as _;

use quorate_proto::result::Phase;
use quorate_proto::{Digest, FileName};

use crate::backend::{self, Hook, HookError};
use crate::cache::Cache;
use crate::plan::{BuildPlan, Route};
use crate::release::Target;
use crate::sandbox::SandboxError;
use crate::source::{tree, unpack};
use crate::workshop::{Failure, Workshop};

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
pub async fn rebuild(workshop: &Workshop, plan: &BuildPlan, cache: &Cache) -> Result<BuildOutcome, SandboxError> {
    match attempt(workshop, plan, cache).await {
        Ok(built) => Ok(BuildOutcome::Built(built)),
        Err(HookError::Failed(failure)) => Ok(BuildOutcome::Failed(failure)),
        Err(HookError::Sandbox(error)) => Err(error),
    }
}

async fn attempt(workshop: &Workshop, plan: &BuildPlan, cache: &Cache) -> Result<Built, HookError> {
    match (plan.target, plan.route) {
        (Target::SourceDistribution, _) => step(workshop, plan, Hook::Sdist, cache).await,
        (Target::Wheel, Route::Direct) => step(workshop, plan, Hook::Wheel, cache).await,
        (Target::Wheel, Route::ThroughSourceDistribution) => {
            let sdist = step(workshop, plan, Hook::Sdist, cache).await?;
            let from_sdist = BuildPlan { folder: std::path::PathBuf::new(), ..plan.clone() };
            lay_out_again(workshop, &sdist, cache)?;
            let wheel = step(workshop, &from_sdist, Hook::Wheel, cache).await?;
            Ok(Built { violations: [sdist.violations, wheel.violations].concat(), ..wheel })
        }
    }
}

async fn step(workshop: &Workshop, plan: &BuildPlan, hook: Hook, cache: &Cache) -> Result<Built, HookError> {
    let answer = backend::build(workshop, plan, hook).await?;
    take_in(workshop, answer.value, cache, answer.violations)
}

fn lay_out_again(workshop: &Workshop, sdist: &Built, cache: &Cache) -> Result<(), HookError> {
    let failed = |message: String| HookError::Failed(Failure::found(Phase::Build, message));
    let path = cache.get(sdist.digest).ok_or_else(|| failed("the source distribution is gone".to_owned()))?;
    let source = workshop.replace_source().map_err(|error| failed(error.to_string()))?;
    unpack::unpack(&path, sdist.name.as_str(), &source).map_err(|error| failed(format!("the source distribution: {error}")))?;
    workshop.hand_over().map_err(HookError::Sandbox)
}

/// The build could have left anything in its folder: the file is opened without following links.
fn take_in(workshop: &Workshop, name: FileName, cache: &Cache, violations: Vec<String>) -> Result<Built, HookError> {
    let failed = |message: String| HookError::Failed(Failure { violations: violations.clone(), ..Failure::found(Phase::Build, message) });
    let disk = |error: std::io::Error| failed(format!("taking in {name}: {error}"));
    let file = tree::open(&workshop.out(), name.as_str().as_ref()).map_err(disk)?;
    let mut file = file.ok_or_else(|| failed(format!("the backend names {name} and made no such file")))?;
    let limit = workshop.limits().file_bytes_max;
    let mut incoming = cache.incoming().map_err(disk)?;
    let mut chunk = vec![0; 128 << 10];
    loop {
        let count = file.read(&mut chunk).map_err(disk)?;
        if count == 0 {
            break;
        }
        incoming.write(&chunk[..count]).map_err(disk)?;
        if incoming.size_bytes() > limit {
            return Err(failed(format!("{name} has more than {limit} bytes")));
        }
    }
    let arrived = incoming.finish().map_err(disk)?;
    let (digest, size_bytes) = (arrived.digest, arrived.size_bytes);
    cache.keep(arrived).map_err(disk)?;
    Ok(Built { name, digest, size_bytes, violations })
}
