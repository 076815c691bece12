//! Where the source of a release may be: an ordered ladder of candidates, strongest first.
//!
//! Rungs: the project's repository, a signed Debian source archive, the published source distribution. Each
//! ecosystem climbs those that it has, one file each below this one. A rung is climbed only when the ones before it were not enough, and each candidate is checked cheaply (right package,
//! right version) before anything is built from it. *How* it was found is part of the result.

pub mod apt;
pub mod cargo;
pub mod deb;
pub mod debian;
pub mod git;
pub mod npm;
pub mod pypi;
pub mod sources_index;

use std::path::{Path, PathBuf};

use quorate_proto::FileName;
use quorate_proto::result::Source;

use crate::source::git::{GitError, Repository};
use crate::source::manifest::ManifestError;
use crate::source::unpack::{self, UnpackError};
pub use debian::Debian;
pub use git::GitAccess;

/// Largest source archive that is taken, in bytes.
pub const SOURCE_BYTES_MAX: u64 = 512 << 20;

/// Where a source may be, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// A commit of the project's repository.
    Git,
    /// A Debian source archive.
    Debian,
    /// A source that the registry itself publishes beside the artifact: a source distribution, a signed source
    /// package.
    Index,
}

impl Rung {
    /// A few words for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Git => "git",
            Self::Debian => "Debian source archive",
            Self::Index => "published source",
        }
    }
}

/// A possible source.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What the result will say of it.
    pub source: Source,
    /// Where its files are.
    pub material: Material,
    /// Its own time in Unix seconds, where it has one.
    pub time: Option<i64>,
    /// The address that its bytes came from, where that is not the source's own.
    pub fetched_from: Option<String>,
    /// The package's folder in the source, where finding it has shown it; empty for the top.
    pub directory: Option<PathBuf>,
    /// What the source only points to.
    pub lacks: Vec<Lack>,
}

/// Something that a source points to and that is not in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// The repository's own name for another one, at this path.
    #[error("submodule {0} is missing")]
    Submodule(String),
    /// A file whose content lies in large-file storage.
    #[error("large-file content of {0} is missing")]
    LargeFile(String),
    /// A file whose content the repository does not have.
    #[error("the repository lacks the content of {0}")]
    Content(String),
}

/// Where a candidate's files are.
#[derive(Clone, Debug)]
pub enum Material {
    /// A commit of a repository on this machine.
    Commit {
        /// The repository.
        repository: Repository,
        /// The commit.
        commit: String,
    },
    /// An archive on this machine.
    Archive {
        /// Where it lies.
        path: PathBuf,
        /// Its name, which tells the compression.
        name: String,
    },
    /// Files of one source, by their names: the build itself puts them together.
    Files(Vec<(FileName, PathBuf)>),
}

/// A candidate whose files lie in a folder.
#[derive(Clone, Debug)]
pub struct LaidOut<M> {
    /// The folder of the package inside the tree; empty for the tree itself.
    pub folder: PathBuf,
    /// What the tree says about the package.
    pub manifest: M,
    /// The candidate's time in Unix seconds, where it has one.
    pub time: Option<i64>,
}

/// Why a rung or a candidate gives nothing.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// There is none, for a reason that is worth a line.
    #[error("{0}")]
    None(String),
    /// Repositories give none, each for a reason that has a name.
    #[error(transparent)]
    Missing(git::Misses),
    /// A download failed.
    #[error("source download")]
    Registry(#[from] crate::registry::RegistryError),
    /// Git failed.
    #[error("source repository")]
    Git(#[from] GitError),
    /// An archive could not be unpacked.
    #[error("source archive")]
    Unpack(#[from] UnpackError),
    /// The source is of something else.
    #[error("source check")]
    Manifest(#[from] ManifestError),
    /// A signed index could not be trusted or used.
    #[error("source index")]
    Debian(#[from] debian::DebianError),
    /// The disk.
    #[error("preparing the source")]
    Disk(#[from] std::io::Error),
}

impl ResolveError {
    /// Whether the world or this machine is at fault, so that it says nothing about the release.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Registry(error) => error.is_passing(),
            Self::Git(error) => error.is_passing(),
            Self::Unpack(error) => error.is_ours(),
            Self::Manifest(ManifestError::Io(_, error)) => unpack::is_ours(error),
            Self::Disk(_) => true,
            Self::None(_) | Self::Missing(_) | Self::Manifest(_) | Self::Debian(_) => false,
        }
    }

    /// Of two errors the one that says more: what may pass hides whether there is anything.
    pub(crate) fn or(self, other: Self) -> Self {
        if other.is_passing() && !self.is_passing() { other } else { self }
    }
}

impl Candidate {
    /// Puts the candidate's files into the empty folder `into`; gives the candidate's own time, where it has one.
    pub async fn lay_out(&self, into: &Path) -> Result<Option<i64>, ResolveError> {
        match &self.material {
            Material::Commit { repository, commit } => {
                repository.export(commit, into).await?;
                Ok(self.time)
            }
            Material::Archive { path, name } => {
                let (path, name, into) = (path.clone(), name.clone(), into.to_owned());
                let unpacked = tokio::task::spawn_blocking(move || unpack::unpack(&path, &name, &into)).await;
                Ok(self.time.or(unpacked.map_err(std::io::Error::other)??.newest))
            }
            Material::Files(files) => {
                let copies = files.iter().map(|(name, path)| (path.clone(), into.join(name.as_str()))).collect::<Vec<_>>();
                let copy = move || copies.iter().try_for_each(|(from, to)| std::fs::copy(from, to).map(|_| ()));
                tokio::task::spawn_blocking(copy).await.map_err(std::io::Error::other)??;
                Ok(self.time)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_told_from_what_is_so() {
        let none = || ResolveError::None("none".to_owned());
        let full = || ResolveError::Disk(rustix::io::Errno::NOSPC.into());
        let broken = ResolveError::Unpack(UnpackError::Io(std::io::Error::other("corrupt")));
        assert!(full().is_passing() && none().or(full()).is_passing() && full().or(none()).is_passing());
        assert!(!none().is_passing() && !broken.is_passing() && !none().or(broken).is_passing());
    }
}
