//! Packs an npm package, after the scripts that make what is packed.

pub mod bench;
pub mod replay;

use std::fs;
use std::path::Path;

use quorate_proto::FileName;
use quorate_proto::result::Phase;

use super::{BUILT_BYTES_MAX, Built, blocking, take_in};
use crate::cache::Cache;
use crate::fetch::npm::KEPT;
use crate::plan::npm::packer::Packer;
use crate::plan::npm::scripts::Owner;
use crate::plan::npm::{Work, inside};
use crate::sandbox::{Exit, Mode, Network};
use crate::workshop::{BuildError, Failure, OUT, TOOLS, Workshop, violations};
use bench::{Bench, Equipment};

/// Runs a command in a folder.
const IN_FOLDER: &str = "umask 022; cd \"$1\" && shift && exec \"$@\"";

/// Writes a commit to the end of a manifest, as tools do that publish from a workspace.
const STAMP: &str = "\
const fs = require('fs'), [file, commit] = process.argv.slice(1);
const text = fs.readFileSync(file, 'utf8'), end = text.lastIndexOf('}');
const indent = (/^([ \\t]+)\"/m.exec(text) || ['', '  '])[1];
fs.writeFileSync(file, text.slice(0, end).replace(/\\s+$/, '') + ',\\n' + indent + '\"gitHead\": ' + JSON.stringify(commit) + '\\n}\\n');
";

/// Runs the scripts and packs, all without any network.
pub async fn rebuild(workshop: &Workshop, bench: &Bench, work: &Work, cache: &Cache) -> Result<Built, BuildError> {
    let (folder, root) = (inside(&work.folder), inside(&work.root));
    let mut seen = Vec::new();
    if let Some(version) = &work.version {
        let args = ["version", "--no-git-tag-version", "--allow-same-version", "--ignore-scripts", version];
        run(workshop, bench, &bench.build, &folder, &args, &mut seen).await?;
    }
    for step in &work.steps {
        let place = match step.of {
            Owner::Package => &folder,
            Owner::Workspace => &root,
        };
        run(workshop, bench, &bench.build, place, &["run", &step.script], &mut seen).await?;
    }
    if !work.kept.is_empty() {
        let copy = ["cp", "-R", "--remove-destination", "--", &format!("{TOOLS}/{KEPT}/."), &folder].map(str::to_owned).into();
        command(workshop, bench, &bench.pack, copy, &mut seen).await?;
    }
    if !work.licences.is_empty() {
        let mut copy: Vec<String> = ["cp", "-n", "-t", &folder, "--"].map(str::to_owned).into();
        copy.extend(work.licences.iter().map(|name| format!("{root}/{name}")));
        command(workshop, bench, &bench.pack, copy, &mut seen).await?;
    }
    if let Some(commit) = &work.stamp {
        let node = bench.pack.node.display().to_string();
        let argv = [node.as_str(), "-e", STAMP, &format!("{folder}/package.json"), commit].map(str::to_owned).into();
        command(workshop, bench, &bench.pack, argv, &mut seen).await?;
    }
    match work.packer {
        Packer::Npm => run(workshop, bench, &bench.pack, OUT, &["pack", &folder, "--ignore-scripts"], &mut seen).await?,
        Packer::Pnpm(_) => {
            let args = ["pack", "--pack-destination", OUT, "--config.ignore-scripts=true"];
            run(workshop, bench, &bench.pack, &folder, &args, &mut seen).await?;
        }
    }
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
    words: &[&str],
    seen: &mut Vec<String>,
) -> Result<(), BuildError> {
    let mut argv: Vec<String> = ["sh", "-c", IN_FOLDER, "sh", folder].map(str::to_owned).into();
    argv.extend(with.npm_command());
    argv.extend(words.iter().map(ToString::to_string));
    command(workshop, bench, with, argv, seen).await
}

async fn command(
    workshop: &Workshop,
    bench: &Bench,
    with: &Equipment,
    argv: Vec<String>,
    seen: &mut Vec<String>,
) -> Result<(), BuildError> {
    let finished = workshop.run(bench.task(with, argv, Network::None, Mode::ReadOnly)).await?;
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
