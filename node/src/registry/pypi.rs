//! A Python package index, read through the simple repository API in JSON (PEP 691, PEP 700).

pub mod address;
pub mod file_name;
pub mod simple;

use url::Url;

use super::{Download, Http, RegistryError};
use crate::cache::{Cache, Currency};
use file_name::ProjectName;
pub use simple::{Project, PublishedFile};

/// Largest index page of one project, in bytes; the largest known has about 40 MiB.
pub const INDEX_BYTES_MAX: u64 = 128 << 20;

/// What is asked for, in order of preference: JSON alone, because upload times are only there.
const ACCEPT_JSON: &str = "application/vnd.pypi.simple.v1+json";

/// One index.
#[derive(Clone, Debug)]
pub struct Registry {
    http: Http,
    index: Url,
}

impl Registry {
    /// The index at `index`, the base address of its simple API.
    pub fn new(http: Http, index: Url) -> Self {
        Self { http, index: super::with_slash(index) }
    }

    /// The base address, ending in a slash.
    pub fn index(&self) -> &Url {
        &self.index
    }

    /// What the index lists for a project.
    pub async fn project(&self, name: &ProjectName, currency: Currency) -> Result<Project, RegistryError> {
        let url = self.page(name)?;
        let body = self.http.bytes(&url, ACCEPT_JSON, currency, INDEX_BYTES_MAX).await?;
        match simple::parse(&body.bytes, &body.url) {
            Ok(project) => Ok(project),
            Err(reason) => Err(self.http.unreadable(url, ACCEPT_JSON, reason).await),
        }
    }

    /// Forgets the copy of a project's page: it lists what is not there any more.
    pub async fn forget(&self, name: &ProjectName) {
        if let Ok(url) = self.page(name) {
            self.http.forget(&url, ACCEPT_JSON).await;
        }
    }

    fn page(&self, name: &ProjectName) -> Result<Url, RegistryError> {
        self.index.join(&format!("{name}/")).map_err(|error| RegistryError::Malformed {
            url: Box::new(self.index.clone()),
            reason: format!("no project address for `{name}`: {error}"),
        })
    }

    /// Brings a file, checked against the index where it names a digest.
    pub async fn download(&self, file: &PublishedFile, limit: u64, cache: &Cache) -> Result<Download, RegistryError> {
        self.http.download(&file.url, file.sha256, limit, cache).await
    }
}
