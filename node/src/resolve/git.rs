//! Candidates from git: the repository that the published file names, at a tag of its version.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_proto::result::{FoundBy, Source, SourceKind};

use super::{Candidate, Material, ResolveError, tags};
use crate::cache::Cache;
use crate::release::Release;
use crate::release::pypi::Facts;
use crate::source::git::{self, Repository, Tag};

/// Most repositories that are looked at for one release.
const REPOSITORIES_MAX: usize = 3;
/// Most tags of a repository that become candidates.
const TAGS_MAX: usize = 3;
/// Most bytes of a tag's name.
const TAG_BYTES_MAX: usize = 255;

/// How repositories are reached.
#[derive(Clone, Debug, Default)]
pub struct GitAccess {
    /// What stands in for addresses with a prefix; the longest prefix wins.
    pub mirrors: Vec<Mirror>,
    /// Whether an address with no mirror is cloned from its forge.
    pub direct: Direct,
}

/// Whether forges are asked themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direct {
    /// Only mirrors are used.
    #[default]
    Never,
    /// An address with no mirror is cloned.
    Clone,
}

/// A rule that maps repository addresses to another place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The beginning of the addresses, such as `https://github.com/`.
    pub prefix: String,
    /// A folder or an address with `{owner}` and `{name}` in it.
    pub template: String,
}

/// A text that is no mirror rule.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("mirror rule `{0}` is not PREFIX=TEMPLATE")]
pub struct MirrorError(String);

impl std::str::FromStr for Mirror {
    type Err = MirrorError;

    fn from_str(text: &str) -> Result<Self, MirrorError> {
        match text.split_once('=') {
            Some((prefix, template)) if !prefix.is_empty() && !template.is_empty() => {
                Ok(Self { prefix: prefix.to_owned(), template: template.to_owned() })
            }
            _ => Err(MirrorError(text.to_owned())),
        }
    }
}

/// Where a repository is to be had.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Folder(PathBuf),
    Forge(String),
}

impl GitAccess {
    fn place(&self, address: &str) -> Option<Place> {
        let fits = self.mirrors.iter().filter(|mirror| address.starts_with(&mirror.prefix));
        let Some(mirror) = fits.max_by_key(|mirror| mirror.prefix.len()) else {
            return (self.direct == Direct::Clone).then(|| Place::Forge(address.to_owned()));
        };
        let mut path = address[mirror.prefix.len()..].trim_matches('/').rsplit('/');
        let name = path.next()?;
        // The prefix itself may end in the owner.
        let owner = path.next().or_else(|| mirror.prefix.trim_end_matches('/').rsplit('/').next())?;
        let place = mirror.template.replace("{owner}", owner).replace("{name}", name);
        let is_address = place.starts_with("https://") || place.starts_with("http://");
        Some(if is_address { Place::Forge(place) } else { Place::Folder(PathBuf::from(place)) })
    }

    /// The commits of this release, best first.
    pub async fn candidates(&self, release: &Release<Facts>, cache: &Cache) -> Result<Vec<Candidate>, ResolveError> {
        let mut reason = ResolveError::None("the published file names no repository".to_owned());
        for address in release.facts.metadata.repositories.iter().take(REPOSITORIES_MAX) {
            let found = match self.place(address) {
                None => Err(ResolveError::None(format!("no mirror for {address}"))),
                Some(Place::Folder(folder)) => local(address, &folder, release).await,
                Some(Place::Forge(forge)) => remote(address, &forge, release, cache).await,
            };
            match found {
                Ok(candidates) if !candidates.is_empty() => return Ok(candidates),
                Ok(_) => reason = ResolveError::None(format!("{address} has no tag of version {}", release.facts.version)).or(reason),
                Err(error) => reason = error.or(reason),
            }
        }
        Err(reason)
    }
}

async fn local(address: &str, folder: &Path, release: &Release<Facts>) -> Result<Vec<Candidate>, ResolveError> {
    let none = || ResolveError::None(format!("no repository for {address} at {}", folder.display()));
    let repository = Repository::open(folder).ok_or_else(none)?;
    let mut candidates = Vec::new();
    for tag in chosen(&repository.tags().await?, release) {
        candidates.push(candidate(address, &tag.name, repository.clone(), None).await?);
    }
    Ok(candidates)
}

async fn remote(address: &str, forge: &str, release: &Release<Facts>, cache: &Cache) -> Result<Vec<Candidate>, ResolveError> {
    let mut candidates = Vec::new();
    for tag in chosen(&git::remote_tags(forge).await?, release) {
        let scratch = Arc::new(tempfile::tempdir_in(cache.derived(""))?);
        let repository = git::fetch_tag(forge, &tag.name, scratch.path()).await?;
        candidates.push(candidate(address, &tag.name, repository, Some(scratch)).await?);
    }
    Ok(candidates)
}

fn chosen<'a>(all: &'a [Tag], release: &Release<Facts>) -> Vec<&'a Tag> {
    let names = tags::matching(all.iter().map(|tag| tag.name.as_str()), release.package.name(), &release.facts.version);
    let mut chosen: Vec<&Tag> = Vec::new();
    for name in names {
        let Some(tag) = all.iter().find(|tag| tag.name == name) else { continue };
        if tag.name.len() <= TAG_BYTES_MAX && chosen.len() < TAGS_MAX && chosen.iter().all(|other| other.commit != tag.commit) {
            chosen.push(tag);
        }
    }
    chosen
}

async fn candidate(
    address: &str,
    tag: &str,
    repository: Repository,
    scratch: Option<Arc<tempfile::TempDir>>,
) -> Result<Candidate, ResolveError> {
    let reference = format!("refs/tags/{tag}");
    let commit = repository.commit(&reference).await?;
    let source = Source {
        kind: SourceKind::Git,
        uri: address.to_owned(),
        commit: Some(commit.id.clone()),
        tree: Some(commit.tree),
        reference: Some(reference),
        directory: None,
        digest: None,
        found_by: FoundBy::Tag,
    };
    let material = Material::Commit { repository, commit: commit.id, scratch };
    Ok(Candidate { source, material, time: Some(commit.committed_at), fetched_from: None })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_longest_prefix_names_the_place() {
        let access = GitAccess {
            mirrors: ["https://github.com/=/mirrors/{owner}+{name}/repo", "https://github.com/pallets/=https://git.example/{owner}/{name}"]
                .map(|rule| rule.parse().unwrap())
                .into(),
            direct: Direct::Never,
        };
        assert_eq!(access.place("https://github.com/o/n"), Some(Place::Folder("/mirrors/o+n/repo".into())));
        assert_eq!(access.place("https://github.com/pallets/click"), Some(Place::Forge("https://git.example/pallets/click".into())));
        assert_eq!(access.place("https://gitlab.com/o/n"), None);
        let access = GitAccess { direct: Direct::Clone, ..access };
        assert_eq!(access.place("https://gitlab.com/o/n"), Some(Place::Forge("https://gitlab.com/o/n".into())));
    }

    #[test]
    fn a_rule_without_a_template_is_refused() {
        assert!("https://github.com/".parse::<Mirror>().is_err());
        assert!("=x".parse::<Mirror>().is_err());
    }
}
