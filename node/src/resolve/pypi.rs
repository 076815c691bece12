//! Sources of Python packages besides repositories: the published source distribution.

use quorate_proto::result::{FoundBy, Source, SourceKind};

use super::{Candidate, Material, ResolveError, SOURCE_BYTES_MAX};
use crate::cache::Cache;
use crate::registry::Http;
use crate::release::Release;
use crate::release::pypi::{Facts, Target};

/// The source distribution that stands beside a wheel in the index.
pub async fn published(release: &Release<Facts>, http: &Http, cache: &Cache) -> Result<Vec<Candidate>, ResolveError> {
    if release.facts.target == Target::SourceDistribution {
        return Err(ResolveError::None("a source distribution is no source of itself".to_owned()));
    }
    let none = || ResolveError::None("the index lists no source distribution of this version".to_owned());
    let file = release.facts.source_distribution.as_ref().ok_or_else(none)?;
    let download = http.download(&file.url, file.sha256, SOURCE_BYTES_MAX, cache).await?;
    let source = Source {
        kind: SourceKind::SourceDistribution,
        uri: file.url.to_string(),
        commit: None,
        tree: None,
        reference: None,
        directory: None,
        digest: Some(download.digest),
        found_by: FoundBy::Index,
    };
    let material = Material::Archive { path: download.path, name: file.name.to_string() };
    Ok(vec![Candidate { source, material, time: None, fetched_from: None }])
}
