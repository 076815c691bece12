//! An npm registry: package documents and tarballs.
//!
//! Mirrors strip fields and some state times of their own: everything but names, versions and a tarball's
//! address is optional here, and bytes are believed only after the checksums of the document fit.

pub mod address;
pub mod integrity;
pub mod name;
pub mod packument;

use std::path::Path;

use url::Url;

use super::{Download, Http, RegistryError};
use crate::cache::{Cache, Currency};
use integrity::Integrity;
pub use name::PackageName;
pub use packument::{Entry, Packument};
use quorate_proto::Digest;

/// Largest package document, in bytes.
pub const PACKUMENT_BYTES_MAX: u64 = 96 << 20;

/// The whole document: the abbreviated one has no times.
const ACCEPT: &str = "application/json";

/// One registry.
#[derive(Clone, Debug)]
pub struct Registry {
    http: Http,
    base: Url,
}

impl Registry {
    /// The registry at `base`.
    pub fn new(http: Http, base: Url) -> Self {
        Self { http, base: super::with_slash(base) }
    }

    /// The base address, ending in a slash.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// The client.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// What the registry says of a package.
    pub async fn packument(&self, name: &PackageName, currency: Currency) -> Result<Packument, RegistryError> {
        let url = self.join(&name.encoded())?;
        let body = self.http.bytes(&url, ACCEPT, currency, PACKUMENT_BYTES_MAX).await?;
        let parsed = tokio::task::spawn_blocking(move || packument::parse(&body.bytes, &body.url)).await;
        let parsed = parsed.unwrap_or_else(|error| Err(error.to_string()));
        match parsed {
            Ok(packument) => Ok(packument),
            Err(reason) => Err(self.http.unreadable(url, ACCEPT, reason).await),
        }
    }

    /// Where registries serve tarballs.
    pub fn usual_tarball(&self, name: &PackageName, file: &str) -> Result<Url, RegistryError> {
        self.join(&format!("{name}/-/{file}"))
    }

    /// Brings a tarball: from the cache where this user noted which file its checksum led to, else from `url`;
    /// checked against every checksum that is stated of it either way.
    pub async fn download(&self, url: &Url, integrity: &Integrity, limit: u64, cache: &Cache) -> Result<Download, RegistryError> {
        let note = integrity.key().map(|key| format!("npm-{key}"));
        if let Some(note) = &note
            && let Some(held) = self.held(note, cache).await
            && held.size_bytes <= limit
            && matches!(broken(&held.path, integrity.clone()).await, Ok(None))
        {
            return Ok(held);
        }
        let download = self.http.download(url, None, limit, cache).await?;
        let disk = |source| RegistryError::Disk { url: Box::new(url.clone()), source };
        if let Some(algorithm) = broken(&download.path, integrity.clone()).await.map_err(disk)? {
            let Download { digest: got, size_bytes, .. } = download;
            return Err(RegistryError::Integrity { url: Box::new(url.clone()), algorithm, got, size_bytes });
        }
        if let Some(note) = note {
            cache.put_derived(&note, download.digest.to_hex().as_bytes()).map_err(disk)?;
        }
        Ok(download)
    }

    async fn held(&self, note: &str, cache: &Cache) -> Option<Download> {
        let digest = Digest::from_hex(&cache.own_derived(note)?).ok()?;
        self.http.held(digest, cache).await
    }

    fn join(&self, path: &str) -> Result<Url, RegistryError> {
        let joined = self.base.join(path).ok().filter(|url| url.as_str().starts_with(self.base.as_str()));
        joined.ok_or_else(|| RegistryError::Malformed { url: Box::new(self.base.clone()), reason: format!("no address for `{path}`") })
    }
}

/// The first promise of an index that a file's bytes break, strongest first.
async fn broken(path: &Path, integrity: Integrity) -> std::io::Result<Option<&'static str>> {
    let path = path.to_owned();
    let verified = tokio::task::spawn_blocking(move || integrity.verify(std::fs::File::open(path)?)).await;
    verified.map_err(std::io::Error::other)?
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn addresses_stay_below_the_registry() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let registry = Registry::new(Http::new().unwrap(), "http://registry.example/npm".parse().unwrap());
        let scoped: PackageName = "@scope/name".parse().unwrap();
        assert_eq!(registry.join(&scoped.encoded()).unwrap().as_str(), "http://registry.example/npm/@scope%2Fname");
        assert_eq!(
            registry.usual_tarball(&scoped, "name-1.0.0.tgz").unwrap().as_str(),
            "http://registry.example/npm/@scope/name/-/name-1.0.0.tgz"
        );
        for path in ["../x", "/x", "http://other.example/", "//other.example/x"] {
            assert!(registry.join(path).is_err(), "{path}");
        }
    }
}
