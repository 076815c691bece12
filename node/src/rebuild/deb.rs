//! Builds a Debian package with `dpkg-buildpackage`, as Debian's own builders do.

use std::collections::BTreeMap;
use std::io;

use quorate_proto::FileName;
use quorate_proto::result::Phase;

use super::{BUILT_BYTES_MAX, Built, blocking, take_in};
use crate::cache::Cache;
use crate::plan::deb::{BuildPlan, PLACE};
use crate::sandbox::{Exit, Mode, Network, Root};
use crate::workshop::{BuildError, Failure, Place, Task, Workshop, violations};

/// What a builder of Debian has in its environment; `dpkg-buildpackage` sets `SOURCE_DATE_EPOCH` by the
/// changelog. A home that does not exist keeps builds from reading or leaving anything there.
const VARIABLES: &[(&str, &str)] = &[
    ("DEBIAN_FRONTEND", "noninteractive"),
    // In a namespace of one user a change of owner is invalid, not forbidden, and fakeroot forgives only that.
    ("FAKEROOTDONTTRYCHOWN", "1"),
    ("HOME", "/sbuild-nonexistent"),
    ("LANG", "C.UTF-8"),
    ("LC_ALL", "C.UTF-8"),
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/games"),
    ("SHELL", "/bin/sh"),
    ("TZ", "UTC"),
];

/// Builds in the root that the fetch phase made.
pub async fn rebuild(workshop: &Workshop, plan: &BuildPlan, file: &FileName, cache: &Cache) -> Result<Built, BuildError> {
    let root = plan.root.get().ok_or_else(|| io::Error::other("the root was not made"))?;
    let place = Place { root: Root::Folder(root.folder.clone()), source: PLACE.into() };
    let argv = ["env", "--chdir", &plan.folder, "dpkg-buildpackage", &format!("--build={}", plan.build), "-us", "-uc"];
    let variables: BTreeMap<_, _> = VARIABLES.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let argv = argv.map(str::to_owned).into();
    let task = Task { argv, variables, network: Network::None, folders: Vec::new(), tools: Mode::ReadOnly };
    let finished = workshop.run_in(task, &place).await?;
    if finished.exit != Exit::Code(0) {
        return Err(Failure::of(Phase::Build, &finished, workshop.limits()).into());
    }
    let (out, file, cache) = (workshop.source(), file.clone(), cache.clone());
    let limit = workshop.limits().file_bytes_max.min(BUILT_BYTES_MAX);
    blocking(move || take_in(&out, file, &cache, violations(&finished), limit)).await
}
