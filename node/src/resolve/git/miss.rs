//! Why a repository gives no source: every reason has a name.

use super::super::ResolveError;
use crate::source::git::GitError;

/// Why a repository gives no source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Miss {
    /// Nothing names a repository.
    #[error("no-address: the published file names no repository")]
    NoAddress,
    /// Neither a mirror nor leave to ask the forge.
    #[error("no-mirror: no mirror for {0}")]
    NoMirror(String),
    /// There is no repository at this address.
    #[error("no-repository: there is none at {0}")]
    NoRepository(String),
    /// It is not for everybody to read, or does not exist: forges do not tell which.
    #[error("needs-password: {0} asks for a password")]
    NeedsPassword(String),
    /// It has no commits.
    #[error("empty-repository: {0} has no commits")]
    Empty(String),
    /// It was moved to where nobody asked to go.
    #[error("moved-repository: {address} sends to {to}, which is not followed")]
    Moved {
        /// The address that was asked.
        address: String,
        /// Where it sends.
        to: String,
    },
    /// The publisher's commit is not there.
    #[error("missing-commit: {address} has no commit {commit}, which the publisher names")]
    MissingCommit {
        /// The repository.
        address: String,
        /// The commit.
        commit: String,
    },
    /// The publisher's commit is of something else.
    #[error("wrong-commit: commit {commit}, which the publisher names, {why}")]
    WrongCommit {
        /// The commit.
        commit: String,
        /// What speaks against it.
        why: String,
    },
    /// A tag of this version leads to something else.
    #[error("moved-tag: tag {tag} {why}: it was moved, or set wrongly")]
    MovedTag {
        /// The tag.
        tag: String,
        /// What speaks against it.
        why: String,
    },
    /// No commit of this version was found by any means.
    #[error("no-commit: {address} has no commit of version {version} that could be found")]
    NoCommit {
        /// The repository.
        address: String,
        /// The version.
        version: String,
    },
    /// A search was given up.
    #[error("search-too-long: {address} is too large to be searched: {why}")]
    TooLong {
        /// The repository.
        address: String,
        /// Which search.
        why: String,
    },
    /// Git could not read it.
    #[error("unreadable-repository: {address}: {why}")]
    Unreadable {
        /// The repository.
        address: String,
        /// What git said.
        why: String,
    },
}

/// All reasons in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct Misses(pub Vec<Miss>);

/// What forges say of repositories that are not there.
const ABSENT: [&str; 5] =
    ["not found", "does not exist", "does not appear to be a git repository", "returned error: 404", "returned error: 410"];
/// What forges and git say where a password would be needed.
const LOCKED: [&str; 5] =
    ["could not read Username", "could not read Password", "Authentication failed", "returned error: 401", "returned error: 403"];

/// What git's failure says of a repository; what may pass says nothing of it.
pub(super) fn of(address: &str, error: GitError) -> ResolveError {
    if error.is_passing() {
        return error.into();
    }
    let address = address.to_owned();
    let said = error.to_string();
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let miss = if has(&LOCKED) {
        Miss::NeedsPassword(address)
    } else if has(&ABSENT) {
        Miss::NoRepository(address)
    } else {
        Miss::Unreadable { address, why: said }
    };
    miss.into()
}

impl From<Miss> for ResolveError {
    fn from(miss: Miss) -> Self {
        Self::Missing(Misses(vec![miss]))
    }
}
