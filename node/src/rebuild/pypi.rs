//! Builds a wheel or a source distribution with the backend that the source names.

pub mod backend;

use std::io;
use std::path::PathBuf;

use quorate_proto::result::Phase;

use super::{BUILT_BYTES_MAX, Built, blocking, take_in};
use crate::cache::Cache;
use crate::plan::pypi::{BuildPlan, Route};
use crate::release::pypi::Target;
use crate::source::unpack::{self, UnpackError, is_ours};
use crate::workshop::{BuildError, Failure, Workshop};
use backend::Hook;

/// Runs a planned build whose inputs are in place.
pub async fn rebuild(workshop: &Workshop, plan: &BuildPlan, cache: &Cache) -> Result<Built, BuildError> {
    match (plan.target, plan.route) {
        (Target::SourceDistribution, _) => step(workshop, plan, Hook::Sdist, cache).await,
        (Target::Wheel, Route::Direct | Route::FlitCommand | Route::IntoDist) => step(workshop, plan, Hook::Wheel, cache).await,
        (Target::Wheel, Route::ThroughSourceDistribution) => {
            let sdist = step(workshop, plan, Hook::Sdist, cache).await?;
            let from_sdist = BuildPlan { folder: PathBuf::new(), ..plan.clone() };
            lay_out_again(workshop, &sdist, cache).await?;
            let wheel = step(workshop, &from_sdist, Hook::Wheel, cache).await?;
            Ok(Built { violations: [sdist.violations, wheel.violations].concat(), ..wheel })
        }
    }
}

async fn step(workshop: &Workshop, plan: &BuildPlan, hook: Hook, cache: &Cache) -> Result<Built, BuildError> {
    let answer = backend::build(workshop, plan, hook).await?;
    let (out, cache) = (workshop.out(), cache.clone());
    let limit = workshop.limits().file_bytes_max.min(BUILT_BYTES_MAX);
    blocking(move || take_in(&out, answer.value, &cache, answer.violations, limit)).await
}

async fn lay_out_again(workshop: &Workshop, sdist: &Built, cache: &Cache) -> Result<(), BuildError> {
    let source = workshop.replace_source().map_err(BuildError::Disk)?;
    let (cache, digest, name) = (cache.clone(), sdist.digest, sdist.name.clone());
    blocking(move || {
        let path = cache.get(digest).ok_or_else(|| BuildError::Disk(io::ErrorKind::NotFound.into()))?;
        unpack::unpack(&path, name.as_str(), &source).map(|_| ()).map_err(|error| match error {
            UnpackError::Io(error) if is_ours(&error) => BuildError::Disk(error),
            error => BuildError::Failed(Failure::found(Phase::Build, format!("the source distribution: {error}"))),
        })
    })
    .await?;
    workshop.hand_over().map_err(BuildError::Sandbox)
}
