//! Candidates from git, for every ecosystem alike: which commits of a repository may be the source of a
//! release, best first.
//!
//! The rungs, the strongest first: the commit that the publisher names, tags of the version in all their
//! forms, the history of the manifest, and the published contents. A rung is climbed only while the ones
//! before it left published files unexplained. Every candidate is checked against its manifests
//! ([`package`]) and ordered by how many published members stand in it byte for byte ([`order`]), all
//! before anything is built. How it was found, and on what evidence, becomes part of the result.
//!
//! Knows nothing of archives, registries or builds.

pub mod miss;
pub mod order;
pub mod package;
pub mod place;
pub mod signature;
pub mod tags;
pub mod version;

mod content;
mod history;
mod lacks;
mod looks;
mod seen;

use std::path::PathBuf;
use std::sync::Arc;

use quorate_proto::Timestamp;
use quorate_proto::result::{FoundBy, SOURCE_EVIDENCE_CHARS_MAX, SignedObject, Source, SourceKind};

use super::{Candidate, Material, ResolveError};
use crate::cache::{Cache, Reuse};
use crate::definition::{Field, Settings};
use crate::source::commit_id::is_commit;
use crate::source::git::{GitError, Tag};
use looks::{Look, Looks};
pub use miss::{Miss, Misses};
pub use order::{PublishedMember, blob_id};
pub use package::{ManifestRule, Named};
use place::Ground;
pub use place::{Direct, Mirror, MirrorError};
pub use signature::SourceKeys;
pub use version::VersionRule;

/// Most repositories that are looked at for one release.
const REPOSITORIES_MAX: usize = 3;
/// Most commits of a repository that become candidates.
const CANDIDATES_MAX: usize = 4;
/// Most commits of the manifest's history, or found by content, that are looked at.
const FOUND_MAX: usize = 8;
/// Most rounds of looking for contents.
const CONTENT_ROUNDS_MAX: usize = 3;
/// Most published members that are compared.
pub const MEMBERS_MAX: usize = 5_000;

/// How repositories are reached, and whose signatures are known.
#[derive(Clone, Debug, Default)]
pub struct GitAccess {
    /// What stands in for addresses with a prefix; the longest prefix wins.
    pub mirrors: Vec<Mirror>,
    /// Whether an address with no mirror is cloned from its forge.
    pub direct: Direct,
    /// Keys that bear out signatures of tags and commits.
    pub keys: SourceKeys,
    /// Whether what a forge was seen to list may stand for what it lists.
    pub reuse: Reuse,
}

/// What is looked for, in words that every ecosystem has.
#[derive(Clone)]
pub struct Wanted<'a> {
    /// Addresses that may be the repository, best first: `https://forge/owner/name`.
    pub repositories: &'a [String],
    /// The folder in the repository that the publisher names, if any.
    pub directory: Option<&'a str>,
    /// The commit that the publisher names, if any.
    pub commit: Option<&'a str>,
    /// The name as manifests have it, then as tags may spell it besides: `@scope/name`, `name`.
    pub names: Vec<String>,
    /// The version, in the ecosystem's spelling.
    pub version: String,
    /// When the artifact was published.
    pub published_at: Option<Timestamp>,
    /// Members of the published archive that may come from the repository as they are, at most
    /// [`MEMBERS_MAX`].
    pub members: Vec<PublishedMember>,
    /// How versions are spelled.
    pub versions: VersionRule,
    /// How manifests are read.
    pub manifest: &'a dyn ManifestRule,
    /// What a reviewed definition sets instead.
    pub settings: &'a Settings,
}

impl Wanted<'_> {
    /// Whether `name` is the wanted package's own.
    pub fn is_named(&self, name: &str) -> bool {
        self.names.first().is_none_or(|own| self.versions.is_same_name(own, name))
    }
}

impl GitAccess {
    /// Commits that may be the source, best first, from the first repository that has any. Repositories move, and
    /// old releases go on naming the old address: where none that this one names has the source, `later` is asked
    /// for those that later releases name.
    pub async fn candidates_or_later(
        &self,
        wanted: &Wanted<'_>,
        later: impl Future<Output = Vec<String>>,
        cache: &Cache,
    ) -> Result<Vec<Candidate>, ResolveError> {
        let mut misses = match self.candidates(wanted, cache).await {
            Err(ResolveError::Missing(Misses(misses))) if !wanted.settings.contains_key(&Field::Repository) => misses,
            other => return other,
        };
        let is_new = |address: &String| wanted.repositories.iter().all(|own| !own.eq_ignore_ascii_case(address));
        let later: Vec<_> = later.await.into_iter().filter(is_new).collect();
        match self.candidates_among(&later, wanted, cache).await {
            Err(ResolveError::Missing(Misses(more))) => {
                misses.extend(more);
                Err(ResolveError::Missing(Misses(misses)))
            }
            other => other,
        }
    }

    /// Commits that may be the source, best first, from the first repository named by the release that has any.
    pub async fn candidates(&self, wanted: &Wanted<'_>, cache: &Cache) -> Result<Vec<Candidate>, ResolveError> {
        let own = wanted.settings.get(&Field::Repository).map(std::slice::from_ref);
        match self.candidates_among(own.unwrap_or(wanted.repositories), wanted, cache).await {
            Err(ResolveError::Missing(Misses(misses))) if misses.is_empty() => Err(Miss::NoAddress.into()),
            other => other,
        }
    }

    async fn candidates_among(&self, addresses: &[String], wanted: &Wanted<'_>, cache: &Cache) -> Result<Vec<Candidate>, ResolveError> {
        let mut wanted = wanted.clone();
        if let Some(directory) = wanted.settings.get(&Field::Directory) {
            wanted.directory = Some(directory);
        }
        let mut misses = Vec::new();
        let mut other = None;
        for address in addresses.iter().take(REPOSITORIES_MAX) {
            match self.candidates_at(address, &wanted, cache).await {
                Ok(candidates) => return Ok(candidates),
                Err(ResolveError::Missing(Misses(more))) => misses.extend(more),
                // What may pass hides whether there is anything.
                Err(error) => other = other.filter(ResolveError::is_passing).or(Some(error)),
            }
        }
        Err(other.unwrap_or(ResolveError::Missing(Misses(misses))))
    }

    async fn candidates_at(&self, address: &str, wanted: &Wanted<'_>, cache: &Cache) -> Result<Vec<Candidate>, ResolveError> {
        let ground = self.ground(address, wanted, cache).await?;
        let looks = Looks::new(ground.repository.clone(), wanted);
        let mut climb = Climb { ground, looks, found: Vec::new(), misses: Vec::new() };
        climb.climb().await?;
        climb.candidates(&self.keys).await
    }
}

/// A commit that may be the source.
struct Found {
    look: Arc<Look>,
    by: FoundBy,
    tag: Option<Tag>,
}

/// The way up, in one repository.
struct Climb<'a> {
    ground: Ground,
    looks: Looks<'a>,
    found: Vec<Found>,
    misses: Vec<Miss>,
}

impl Climb<'_> {
    async fn climb(&mut self) -> Result<(), ResolveError> {
        if let Some(commit) = self.looks.wanted.settings.get(&Field::Commit) {
            return self.named(&commit.clone(), FoundBy::Definition).await;
        }
        if let Some(commit) = self.looks.wanted.commit.map(str::to_owned) {
            self.named(&commit, FoundBy::PublisherCommit).await?;
        }
        self.tagged().await?;
        if self.is_settled() {
            return Ok(());
        }
        self.ground.whole().await?;
        let found = history::commits(&mut self.looks).await;
        self.take(found, FoundBy::ManifestHistory, "the history of its manifests").await?;
        // What one round finds shows the next one what is still to be explained.
        for _ in 0..CONTENT_ROUNDS_MAX {
            let best = self.best().map(|found| Arc::clone(&found.look));
            if self.is_settled() {
                break;
            }
            let found = content::commits(&mut self.looks, best.as_ref().map(|look| &look.fit)).await;
            self.take(found, FoundBy::Content, "its contents").await?;
            if self.best().map(|found| found.look.fit.matched) == best.map(|look| look.fit.matched) {
                break;
            }
        }
        Ok(())
    }

    /// The first rung: the commit that the publisher, or a reviewer, names.
    async fn named(&mut self, commit: &str, by: FoundBy) -> Result<(), ResolveError> {
        let look = if is_commit(commit) { self.look(commit).await? } else { None };
        let Some(look) = look else {
            self.misses.push(Miss::MissingCommit { address: self.ground.address.clone(), commit: commit.chars().take(100).collect() });
            return Ok(());
        };
        match &look.package {
            Ok(_) => self.add(look, by, None),
            Err(why) => self.misses.push(Miss::WrongCommit { commit: commit.to_owned(), why: why.to_string() }),
        }
        Ok(())
    }

    /// The second rung: tags of the version.
    async fn tagged(&mut self) -> Result<(), ResolveError> {
        for tag in self.ground.tags.clone() {
            let look = self.look(&tag.commit).await?;
            match look.as_ref().map(|look| (&look.package, look)) {
                Some((Ok(_), look)) => self.add(Arc::clone(look), FoundBy::Tag, Some(tag)),
                Some((Err(why), _)) => self.misses.push(Miss::MovedTag { tag: tag.name, why: why.to_string() }),
                None => self.misses.push(Miss::MovedTag { tag: tag.name, why: "leads to no commit".to_owned() }),
            }
        }
        Ok(())
    }

    /// Takes in what a search found. A search that is given up costs its rung, not those before it.
    async fn take(&mut self, found: Result<Vec<String>, GitError>, by: FoundBy, what: &str) -> Result<(), ResolveError> {
        let found = match found {
            Ok(found) => found,
            Err(GitError::TooLong { .. } | GitError::TooLarge { .. }) => {
                self.misses.push(Miss::TooLong { address: self.ground.address.clone(), why: what.to_owned() });
                return Ok(());
            }
            Err(error) => return Err(miss::of(&self.ground.address, error)),
        };
        for id in found.into_iter().take(FOUND_MAX) {
            let Some(look) = self.look(&id).await? else { continue };
            // What is found by its contents alone must say that it is the release, or look like it.
            let is_it = look.package.as_ref().is_ok_and(|package| {
                by != FoundBy::Content || package.sureness == package::Sureness::NameAndVersion || look.fit.is_telling()
            });
            if is_it {
                self.add(look, by, None);
            }
        }
        Ok(())
    }

    /// Looks at a commit; `None` where the repository has none of that name.
    async fn look(&mut self, commit: &str) -> Result<Option<Arc<Look>>, ResolveError> {
        match self.looks.at(commit).await {
            Ok(look) => Ok(Some(look)),
            Err(GitError::Failed { .. }) => Ok(None),
            Err(error) => Err(miss::of(&self.ground.address, error)),
        }
    }

    /// One commit is one candidate, found in the strongest way.
    fn add(&mut self, look: Arc<Look>, by: FoundBy, tag: Option<Tag>) {
        match self.found.iter_mut().find(|found| found.look.commit.id == look.commit.id) {
            Some(known) => known.tag = known.tag.take().or(tag),
            None => self.found.push(Found { look, by, tag }),
        }
    }

    fn best(&self) -> Option<&Found> {
        self.found.iter().max_by_key(|found| (found.look.fit.matched, std::cmp::Reverse(found.by)))
    }

    /// Whether the best commit so far explains every published file whose path it has.
    fn is_settled(&self) -> bool {
        self.best().is_some_and(|best| best.look.fit.is_whole())
    }

    async fn candidates(mut self, keys: &SourceKeys) -> Result<Vec<Candidate>, ResolveError> {
        if self.found.is_empty() {
            let wanted = self.looks.wanted;
            self.misses.push(Miss::NoCommit { address: self.ground.address, version: wanted.version.clone() });
            return Err(ResolveError::Missing(Misses(self.misses)));
        }
        let published = self.looks.wanted.published_at.map(Timestamp::unix_seconds);
        let is_younger = |found: &Found| published.is_some_and(|at| found.look.commit.committed_at > at.saturating_add(86_400));
        let best = self.best().map_or((0, 0), |best| (best.look.fit.matched, best.look.fit.slack()));
        // What fits clearly worse comes later; else the stronger find comes first.
        let shortfall = |found: &Found| if found.look.fit.matched + best.1 >= best.0 { 0 } else { best.0 - found.look.fit.matched };
        let sureness = |found: &Found| found.look.package.as_ref().map(|package| package.sureness).ok();
        let matched = |found: &Found| std::cmp::Reverse(found.look.fit.matched);
        self.found.sort_by_key(|found| (shortfall(found), is_younger(found), found.by, matched(found), sureness(found)));
        self.found.truncate(CANDIDATES_MAX);
        let mut candidates = Vec::new();
        for found in &self.found {
            candidates.push(self.candidate(found, is_younger(found), keys).await.map_err(|error| miss::of(&self.ground.address, error))?);
        }
        Ok(candidates)
    }

    async fn candidate(&self, found: &Found, is_younger: bool, keys: &SourceKeys) -> Result<Candidate, GitError> {
        let (repository, commit) = (&self.ground.repository, &found.look.commit);
        let tag_object = found.tag.as_ref().filter(|tag| tag.object != commit.id).map(|tag| tag.object.as_str());
        let mut signature = None;
        for (id, object) in [(tag_object, SignedObject::Tag), (Some(commit.id.as_str()), SignedObject::Commit)] {
            if let (None, Some(id)) = (&signature, id) {
                signature = signature::of(repository, id, object, keys).await?;
            }
        }
        let directory = found.look.package.as_ref().map(|package| package.directory.clone()).ok();
        let source = Source {
            kind: SourceKind::Git,
            uri: self.ground.address.clone(),
            commit: Some(commit.id.clone()),
            tree: Some(commit.tree.clone()),
            reference: found.tag.as_ref().map(|tag| format!("refs/tags/{}", tag.name)),
            directory: directory.clone().filter(|directory| !directory.is_empty()),
            digest: None,
            found_by: found.by,
            evidence: self.evidence(found, is_younger, tag_object),
            signature,
        };
        let material = Material::Commit { repository: repository.clone(), commit: commit.id.clone() };
        let lacks = lacks::of(repository, &commit.id).await?;
        let directory = directory.map(PathBuf::from);
        Ok(Candidate { source, material, time: Some(commit.committed_at), fetched_from: None, directory, lacks })
    }

    /// Whether only a later release names the repository.
    fn is_later(&self) -> bool {
        let wanted = self.looks.wanted;
        !wanted.repositories.contains(&self.ground.address) && !wanted.settings.contains_key(&Field::Repository)
    }

    fn evidence(&self, found: &Found, is_younger: bool, tag_object: Option<&str>) -> Option<String> {
        let is_found_otherwise = !matches!(found.by, FoundBy::PublisherCommit | FoundBy::Tag);
        let against = self.misses.iter().filter(|miss| is_found_otherwise && !matches!(miss, Miss::NoAddress)).map(ToString::to_string);
        let words = [
            found.look.fit.words(),
            tag_object.map(|id| format!("tag object {id}")),
            is_younger.then(|| "the commit is younger than the published file".to_owned()),
            self.ground.moved.as_ref().map(|to| format!("the repository is now {to}")),
            self.is_later().then(|| "a later release names the repository, this one does not".to_owned()),
        ];
        let words: Vec<_> = words.into_iter().flatten().chain(against).collect();
        Some(words.join("; ").chars().take(SOURCE_EVIDENCE_CHARS_MAX).collect::<String>()).filter(|text| !text.is_empty())
    }
}
