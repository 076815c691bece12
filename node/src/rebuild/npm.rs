//! Packs an npm package, after the scripts that make what is packed.

pub mod bench;
pub mod replay;

use std::fs;
use std::path::Path;

use quorate_proto::FileName;
use quorate_proto::result::Phase;

use super::{BUILT_BYTES_MAX, Built, blocking, take_in};
use crate::cache::Cache;
use crate::plan::npm::{Work, inside};
use crate::sandbox::{Exit, Mode, Network};
use crate::workshop::{BuildError, Failure, OUT, Workshop, violations};
use bench::{Bench, Equipment};

/// Runs a command in a folder.
const IN_FOLDER: &str = "umask 022; cd \"$1\" && shift && exec \"$@\"";

/// Runs the scripts and packs, all without any network.
pub async fn rebuild(workshop: &Workshop, bench: &Bench, work: &Work, cache: &Cache) -> Result<Built, BuildError> {
    let folder = inside(&work.folder);
    let mut seen = Vec::new();
    if let Some(version) = &work.version {
        let args = ["version", "--no-git-tag-version", "--allow-same-version", "--ignore-scripts", version];
        run(workshop, bench, &bench.build, &folder, &args, &mut seen).await?;
    }
    for step in &work.steps {
        run(workshop, bench, &bench.build, &folder, &["run", &step.script], &mut seen).await?;
    }
    run(workshop, bench, &bench.pack, OUT, &["pack", &folder, "--ignore-scripts"], &mut seen).await?;
    let (out, cache) = (workshop.out(), cache.clone());
    let limit = workshop.limits().file_bytes_max.min(BUILT_BYTES_MAX);
    blocking(move || {
        let failed = |message: &str| BuildError::Failed(Failure { violations: seen.clone(), ..Failure::found(Phase::Build, message) });
        let name = made(&out).ok_or_else(|| failed("packing made no one tarball"))?;
        take_in(&out, name, &cache, seen, limit)
    })
    .await
}

async fn run(
    workshop: &Workshop,
    bench: &Bench,
    with: &Equipment,
    folder: &str,
    args: &[&str],
    seen: &mut Vec<String>,
) -> Result<(), BuildError> {
    let mut command: Vec<String> = ["sh", "-c", IN_FOLDER, "sh", folder].map(str::to_owned).into();
    command.extend(with.npm_command());
    command.extend(args.iter().map(ToString::to_string));
    let finished = workshop.run(bench.task(with, command, Network::None, Mode::ReadOnly)).await?;
    if finished.exit == Exit::Code(0) {
        seen.extend(violations(&finished));
        return Ok(());
    }
    let mut failure = Failure::of(Phase::Build, &finished, workshop.limits());
    failure.violations.splice(0..0, seen.drain(..));
    Err(failure.into())
}

/// The one tarball in a folder.
fn made(out: &Path) -> Option<FileName> {
    let names = fs::read_dir(out).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut tarballs = names.filter(|name| Path::new(name).extension().is_some_and(|ending| ending == "tgz"));
    let first = tarballs.next()?;
    tarballs.next().is_none().then(|| first.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn two_tarballs_are_none() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(made(folder.path()), None);
        fs::write(folder.path().join("a-1.0.0.tgz"), "").unwrap();
        fs::write(folder.path().join("log"), "").unwrap();
        assert_eq!(made(folder.path()).unwrap().as_str(), "a-1.0.0.tgz");
        fs::write(folder.path().join("b-1.0.0.tgz"), "").unwrap();
        assert_eq!(made(folder.path()), None);
    }
}
