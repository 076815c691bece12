//! A Python package index, read through the simple repository API in JSON (PEP 691, PEP 700).
//!
//! Decides nothing about releases: it lists what an index says and brings files whose bytes are
//! checked against the index while they stream. Which index is asked is [`address`]'s business.

pub mod address;
pub mod file_name;
pub mod http;
pub mod simple;

use quorate_proto::Digest;
use url::Url;

use crate::cache::Cache;
use file_name::ProjectName;
pub use http::{Body, Download, Http};
pub use simple::{Project, PublishedFile};

/// Largest index page of one project, in bytes; the largest known has about 40 MiB.
pub const INDEX_BYTES_MAX: u64 = 128 << 20;

/// What is asked for, in order of preference: JSON alone, because upload times are only there.
const ACCEPT_JSON: &str = "application/vnd.pypi.simple.v1+json";

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
            Self::NotFound { .. } | Self::Truncated { .. } | Self::TooLarge { .. } | Self::Checksum { .. } | Self::Malformed { .. } => {
                false
            }
        }
    }
}

/// One index.
#[derive(Clone, Debug)]
pub struct Registry {
    http: Http,
    index: Url,
}

impl Registry {
    /// The index at `index`, the base address of its simple API.
    pub fn new(http: Http, index: Url) -> Self {
        Self { http, index: with_slash(index) }
    }

    /// The base address, ending in a slash.
    pub fn index(&self) -> &Url {
        &self.index
    }

    /// What the index lists for a project.
    pub async fn project(&self, name: &ProjectName) -> Result<Project, RegistryError> {
        let url = self.index.join(&format!("{name}/")).map_err(|error| RegistryError::Malformed {
            url: Box::new(self.index.clone()),
            reason: format!("no project address for `{name}`: {error}"),
        })?;
        let body = self.http.bytes(&url, ACCEPT_JSON, INDEX_BYTES_MAX).await?;
        simple::parse(&body.bytes, &body.url).map_err(|reason| RegistryError::Malformed { url: Box::new(url), reason })
    }

    /// Brings a file, checked against the index where it names a digest.
    pub async fn download(&self, file: &PublishedFile, limit: u64, cache: &Cache) -> Result<Download, RegistryError> {
        self.http.download(&file.url, file.sha256, limit, cache).await
    }
}

fn with_slash(mut index: Url) -> Url {
    if !index.path().ends_with('/') {
        let path = format!("{}/", index.path());
        index.set_path(&path);
    }
    index
}
