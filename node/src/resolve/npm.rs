//! Sources of npm packages: a release in the words of the git ladder (its names, its manifests, its published
//! members), and Debian's `node-*` archives.

use std::io::Read as _;
use std::path::Path;

use super::debian::Sought;
use super::git::{MEMBERS_MAX, ManifestRule, Named, PublishedMember, VersionRule, Wanted};
use super::sources_index::Family;
use super::{Candidate, Debian, ResolveError};
use crate::cache::Cache;
use crate::registry::Http;
use crate::registry::npm::packument::{version, word};
use crate::release::Release;
use crate::release::npm::{Facts, manifest};
use crate::source::unpack;

/// Most bytes of one member, and of all that are named together.
const MEMBER_BYTES_MAX: u64 = 16 << 20;
const MEMBERS_BYTES_MAX: u64 = 256 << 20;

/// What the git ladder looks for.
pub async fn wanted(release: &Release<Facts>) -> Wanted<'_> {
    let path = release.path.clone();
    // A file that cannot be read has no members: candidates are then ordered by how they were found alone.
    let members = tokio::task::spawn_blocking(move || members(&path)).await.ok().flatten().unwrap_or_default();
    let Facts { name, version, repositories, directory, git_head, .. } = &release.facts;
    let mut names = vec![name.to_string()];
    for other in [name.bare().to_owned(), name.flat()] {
        if !names.contains(&other) {
            names.push(other);
        }
    }
    Wanted {
        repositories,
        directory: directory.as_deref(),
        commit: git_head.as_deref(),
        names,
        version: version.to_string(),
        published_at: release.registry.published_at,
        settings: &release.settings,
        members,
        versions: VersionRule::Semver,
        manifest: &NpmManifest,
    }
}

fn members(path: &Path) -> Option<Vec<PublishedMember>> {
    let mut members = Vec::new();
    let mut left = MEMBERS_BYTES_MAX;
    let walked = unpack::walk(path, "published.tgz", |entry| {
        let size = entry.size();
        let inside = unpack::below_top(&entry.path()?);
        let wanted = entry.header().entry_type().is_file() && members.len() < MEMBERS_MAX && size <= MEMBER_BYTES_MAX.min(left);
        if let Some(inside) = inside.filter(|_| wanted) {
            left -= size;
            let mut content = Vec::new();
            entry.take(MEMBER_BYTES_MAX).read_to_end(&mut content)?;
            let executable = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
            members.push(PublishedMember::of(inside.to_string_lossy(), &content, executable));
        }
        Ok(())
    });
    walked.ok()?;
    Some(members)
}

/// Reads `package.json`.
#[derive(Clone, Copy, Debug)]
pub struct NpmManifest;

impl ManifestRule for NpmManifest {
    fn files(&self) -> &[&str] {
        &["package.json"]
    }

    fn read(&self, _file: &str, bytes: &[u8], _workspace: Option<&[u8]>) -> Option<Named> {
        let manifest = manifest(bytes);
        let text = |key: &str| word(&manifest[key]).map(str::to_owned);
        text("name").map(|name| Named { name: Some(name), version: text("version") })
    }
}

/// Debian's archives of the release.
pub async fn archived(debian: &Debian, release: &Release<Facts>, http: &Http, cache: &Cache) -> Result<Vec<Candidate>, ResolveError> {
    let wanted = release.facts.version.clone();
    let is_version = |text: &str| version(&text.replace('~', "-")).is_some_and(|upstream| upstream == wanted);
    let sought = Sought {
        family: Family::Node,
        name: release.facts.name.as_str(),
        version: &wanted.to_string(),
        is_version: &is_version,
        source_distribution: None,
        own: None,
    };
    debian.candidates(&sought, http, cache).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_its_package_unless_it_is_none() {
        let read = |text: &str| NpmManifest.read("package.json", text.as_bytes(), None);
        let named = Named { name: Some("@s/a".to_owned()), version: Some("1.0.0".to_owned()) };
        assert_eq!(read(r#"{"name":"@s/a","version":"1.0.0"}"#), Some(named));
        assert_eq!(read(r#"{"name":"a"}"#).and_then(|named| named.version), None);
        for text in ["{}", "[]", "", r#"{"name":7}"#] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
