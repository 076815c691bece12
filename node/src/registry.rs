//! Package registries, as they are read: one file an ecosystem.
//!
//! Decides nothing about releases: a registry lists what its pages say, and files are checked against them
//! while they stream. Which registry is asked is [`address`]'s business.

pub mod address;
pub mod cargo;
pub mod date;
pub mod deb;
mod document;
pub mod http;
pub mod npm;
pub mod pypi;

use quorate_proto::Digest;
use url::Url;

pub use http::{Body, Download, Http};

/// Something that a registry did wrong, or that kept it out of reach.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It says that there is no such thing.
    #[error("{url} does not exist (status {status})")]
    NotFound {
        /// What was asked for.
        url: Box<Url>,
        /// 404 or 410.
        status: u16,
    },
    /// It answered with a failure.
    #[error("{url} answered with status {status}")]
    Status {
        /// What was asked for.
        url: Box<Url>,
        /// The HTTP status.
        status: u16,
    },
    /// No answer.
    #[error("{url} cannot be reached")]
    Unreachable {
        /// What was asked for.
        url: Box<Url>,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// The answer ended too early.
    #[error("{url} ended after {got} bytes")]
    Truncated {
        /// What was asked for.
        url: Box<Url>,
        /// Bytes that arrived.
        got: u64,
    },
    /// The answer is larger than is taken.
    #[error("{url} has more than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        url: Box<Url>,
        /// Bytes accepted.
        limit: u64,
    },
    /// Other bytes than the index promises.
    #[error("{url} has digest {got}, its index says {expected}")]
    Checksum {
        /// What was asked for.
        url: Box<Url>,
        /// The index's word.
        expected: Digest,
        /// What arrived.
        got: Digest,
    },
    /// Other bytes than the index promises, by a digest that is not SHA-256.
    #[error("{url} has digest {got}, and is not the file that its index promises by {algorithm}")]
    Integrity {
        /// What was asked for.
        url: Box<Url>,
        /// The digest that does not fit.
        algorithm: &'static str,
        /// SHA-256 of what arrived.
        got: Digest,
        /// How much arrived, in bytes.
        size_bytes: u64,
    },
    /// An answer that cannot be read.
    #[error("{url} cannot be read: {reason}")]
    Malformed {
        /// What was asked for.
        url: Box<Url>,
        /// What is wrong with it.
        reason: String,
    },
    /// The disk.
    #[error("keeping {url} failed")]
    Disk {
        /// What was asked for.
        url: Box<Url>,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

impl RegistryError {
    /// Whether the same request may succeed later although nothing was published in between.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Status { status, .. } => *status >= 500 || *status == 429,
            Self::Unreachable { .. } | Self::Disk { .. } => true,
            Self::NotFound { .. }
            | Self::Truncated { .. }
            | Self::TooLarge { .. }
            | Self::Checksum { .. }
            | Self::Integrity { .. }
            | Self::Malformed { .. } => false,
        }
    }

    /// What was served in the place of a file whose promised bytes no SHA-256 names: its digest and its size.
    pub fn served(&self) -> Option<(Digest, u64)> {
        match self {
            Self::Integrity { got, size_bytes, .. } => Some((*got, *size_bytes)),
            _ => None,
        }
    }
}

/// A base address that paths can be joined to.
pub(crate) fn with_slash(mut base: Url) -> Url {
    if !base.path().ends_with('/') {
        let path = format!("{}/", base.path());
        base.set_path(&path);
    }
    base
}
