//! Packs a crate with `cargo package`, which runs no code of the package.

use std::path::PathBuf;

use quorate_proto::FileName;
use quorate_proto::result::Phase;

use super::{BUILT_BYTES_MAX, Built, blocking, take_in};
use crate::cache::Cache;
use crate::fetch::cargo::{package_offline, variables};
use crate::plan::cargo::BuildPlan;
use crate::sandbox::{Exit, Mode, Network};
use crate::workshop::{BuildError, Failure, Task, Workshop, violations};

/// Where cargo puts the file, below its target folder.
const PACKED: &str = "target/package";

/// Packs a crate whose inputs are in place.
pub async fn rebuild(workshop: &Workshop, plan: &BuildPlan, file: &FileName, cache: &Cache) -> Result<Built, BuildError> {
    let task = Task {
        argv: package_offline(plan),
        variables: variables(plan),
        network: Network::None,
        folders: plan.cargo.folders.clone(),
        tools: Mode::ReadWrite,
    };
    let finished = workshop.run(task).await?;
    if finished.exit != Exit::Code(0) {
        return Err(Failure::of(Phase::Build, &finished, workshop.limits()).into());
    }
    let (out, cache, name): (PathBuf, _, _) = (workshop.out().join(PACKED), cache.clone(), file.clone());
    let limit = workshop.limits().file_bytes_max.min(BUILT_BYTES_MAX);
    let seen = violations(&finished);
    blocking(move || take_in(&out, name, &cache, seen, limit)).await
}
