//! Looks at commits: each one once, whichever rung comes upon it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Wanted;
use super::order::{self, Fit};
use super::package::{self, Contradiction, Package};
use crate::source::git::{Commit, GitError, Repository};

/// Longest that one repository is searched.
const SEARCH_MAX: Duration = Duration::from_mins(4);

/// What a look at one commit shows.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) commit: Commit,
    /// The wanted package in it, or what speaks against it.
    pub(super) package: Result<Package, Contradiction>,
    pub(super) fit: Fit,
}

/// A repository, what is wanted of it, and what was seen so far.
pub(super) struct Looks<'a> {
    pub(super) repository: Repository,
    pub(super) wanted: &'a Wanted<'a>,
    seen: BTreeMap<String, Arc<Look>>,
    until: Instant,
}

impl<'a> Looks<'a> {
    pub(super) fn new(repository: Repository, wanted: &'a Wanted<'a>) -> Self {
        Self { repository, wanted, seen: BTreeMap::new(), until: Instant::now() + SEARCH_MAX }
    }

    /// Looks at the commit that a revision leads to.
    pub(super) async fn at(&mut self, revision: &str) -> Result<Arc<Look>, GitError> {
        if let Some(look) = self.seen.get(revision) {
            return Ok(Arc::clone(look));
        }
        if self.left().is_zero() {
            return Err(GitError::TooLong { command: "search".to_owned(), limit: SEARCH_MAX });
        }
        let commit = self.repository.commit(revision).await?;
        let entries = self.repository.entries(&commit.id).await?;
        let package = package::find(&self.repository, &entries, self.wanted).await?;
        let directory = package.as_ref().map_or("", |package| &package.directory);
        let look = Arc::new(Look { fit: order::fit(&self.wanted.members, &entries, directory), package, commit });
        for name in [revision.to_owned(), look.commit.id.clone()] {
            self.seen.insert(name, Arc::clone(&look));
        }
        Ok(look)
    }

    /// The time that is left for searching.
    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Whether a commit is of the wanted package and version.
    pub(super) async fn holds(&mut self, revision: &str) -> Result<bool, GitError> {
        Ok(self.at(revision).await?.package.is_ok())
    }
}
