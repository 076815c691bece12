//! The source of a Debian package: the source package that the signed `Sources` index names.

use quorate_proto::FileName;
use quorate_proto::result::{FoundBy, Source, SourceKind};

use super::{Candidate, Material, ResolveError, SOURCE_BYTES_MAX};
use crate::cache::Cache;
use crate::registry::Http;
use crate::registry::deb::index::{self, SourcePackage};
use crate::registry::deb::{OF_THE_HOUR, Suite};
use crate::release::Release;
use crate::release::deb::{Facts, package_url};

/// The index of source packages.
const SOURCES: &str = "main/source/Sources.xz";

/// The source package, from the suite that the artifact is in or from the one before it.
pub async fn candidates(release: &Release<Facts>, http: &Http, cache: &Cache) -> Result<Vec<Candidate>, ResolveError> {
    let facts = &release.facts;
    for suite in facts.suites.iter().rev() {
        let signed = suite.signed(http, OF_THE_HOUR).await?;
        let (_, path) = suite.index(&signed, SOURCES, http, cache).await?;
        let (name, version) = (facts.binary.source.clone(), facts.binary.source_version.clone());
        let found = tokio::task::spawn_blocking(move || index::source(&path, &name, &version)).await;
        if let Some(package) = found.map_err(std::io::Error::other)?.map_err(unreadable)? {
            return Ok(vec![candidate(suite, &package, http, cache).await?]);
        }
    }
    let searched: Vec<_> = facts.suites.iter().map(|suite| suite.name.as_str()).collect();
    let (name, version) = (&facts.binary.source, &facts.binary.source_version);
    Err(ResolveError::None(format!("no source package {name} {version} in {}", searched.join(" and "))))
}

/// What is wrong with the text of an index is not this machine's fault.
fn unreadable(error: std::io::Error) -> ResolveError {
    match error.kind() {
        std::io::ErrorKind::Other | std::io::ErrorKind::InvalidData => ResolveError::None(format!("{SOURCES} cannot be read: {error}")),
        _ => ResolveError::Disk(error),
    }
}

async fn candidate(suite: &Suite, package: &SourcePackage, http: &Http, cache: &Cache) -> Result<Candidate, ResolveError> {
    let none = |what: &str| ResolveError::None(format!("the source package {} {} {what}", package.source, package.version));
    let dsc = package.dsc().ok_or_else(|| none("has no .dsc"))?;
    if package.files.iter().map(|file| file.size_bytes).fold(0, u64::saturating_add) > SOURCE_BYTES_MAX {
        return Err(none(&format!("has more than {SOURCE_BYTES_MAX} bytes")));
    }
    let mut files = Vec::new();
    for file in &package.files {
        let path = if let Some(path) = cache.get(file.digest) {
            path
        } else {
            let url = suite.address(&format!("{}/{}", package.directory, file.name))?;
            http.download(&url, Some(file.digest), file.size_bytes.max(1), cache).await?.path
        };
        files.push((file.name.parse::<FileName>().map_err(|error| none(&error.to_string()))?, path));
    }
    let source = Source {
        kind: SourceKind::SourceArchive,
        uri: package_url(&package.source, &package.version, "source"),
        commit: None,
        tree: None,
        reference: None,
        directory: None,
        digest: Some(dsc.digest),
        found_by: FoundBy::Archive,
        evidence: None,
        signature: None,
    };
    let fetched_from = suite.address(&format!("{}/{}", package.directory, dsc.name))?.to_string();
    let material = Material::Files(files);
    Ok(Candidate { source, material, time: None, fetched_from: Some(fetched_from), directory: None, lacks: Vec::new() })
}
