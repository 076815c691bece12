//! What a trial's build left in its workshop and nobody publishes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use quorate_normalize::{Limits, content_digests};
use quorate_proto::Digest;
use quorate_proto::build_witness::Intermediates;

use super::{ARTIFACT_BYTES_MAX, Engine};
use crate::ecosystem::Given;
use crate::intermediates::{Before, Unrecorded};
use crate::rebuild::Built;
use crate::release::Release;
use crate::workshop::Workshop;

/// Files of these kinds in the source tree are packages made beside the one that was asked for: they are published
/// as artifacts of their own.
const PACKAGES: [&str; 3] = ["deb", "udeb", "ddeb"];

/// The workshop before a build, if it is given what it needs `now`. None is no failure: it costs the build its witness.
pub(super) async fn before(workshop: &Workshop, given: Given, now: Given) -> Option<Before> {
    if given != now {
        return None;
    }
    let folder = workshop.folder().to_owned();
    let before = tokio::task::spawn_blocking(move || Before::look(&folder)).await.ok()?;
    before.inspect_err(|error| tracing::debug!(%error, "no intermediates")).ok()
}

impl Engine {
    /// What the build of `built` left that is in no archive.
    pub(super) async fn left<F>(
        &self,
        before: Option<Before>,
        workshop: &Workshop,
        release: &Release<F>,
        built: &Built,
    ) -> Option<Intermediates> {
        let before = before?;
        let archives = [Some(release.path.clone()), self.cache().get(built.digest)];
        let (folder, name) = (workshop.folder().to_owned(), release.file.to_string());
        let task = tokio::task::spawn_blocking(move || {
            before.left(&folder, || {
                let archives = archives.into_iter().flatten().map(|path| (path, name.clone()));
                published(archives.chain(packages(&folder.join("src"))))
            })
        });
        task.await.ok()?.inspect_err(|error| tracing::debug!(%error, "no intermediates")).ok()
    }
}

/// Packages in a folder, by path and name.
fn packages(folder: &Path) -> Vec<(PathBuf, String)> {
    let paths = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_package = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        let is_plain = |data: fs::Metadata| data.is_file() && data.len() <= ARTIFACT_BYTES_MAX;
        ending.is_some_and(|ending| PACKAGES.contains(&ending)) && path.symlink_metadata().is_ok_and(is_plain)
    };
    paths.filter(is_package).filter_map(|path| Some((path.clone(), path.file_name()?.to_str()?.to_owned()))).collect()
}

/// Digests of archives and of all that is in them.
fn published(archives: impl Iterator<Item = (PathBuf, String)>) -> Result<BTreeSet<Digest>, Unrecorded> {
    let mut all = BTreeSet::new();
    for (path, name) in archives {
        let unreadable = |source: io::Error| Unrecorded::Unreadable { path: path.clone(), source };
        let bytes = fs::read(&path).map_err(unreadable)?;
        all.insert(Digest::of(&bytes));
        all.extend(content_digests(&bytes, &name, &Limits::default())?);
    }
    Ok(all)
}
