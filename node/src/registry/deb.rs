//! A Debian archive, read by a chain of digests that begins with a signature.
//!
//! `InRelease` (checked by `gpgv` against a keyring) → `Packages.xz` and `Sources.xz` by SHA-256 → pool files
//! by SHA-256. Dates are not checked: mirrors lag, and an old signed index still names true digests. Which
//! archive is asked is [`address`]'s business, what its files say that of [`release`] and [`index`].

pub mod address;
pub mod index;
pub mod release;
pub mod signature;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use quorate_proto::Digest;
use url::Url;

use super::{Http, RegistryError};
use crate::cache::{Cache, Currency};
use release::ReleaseFile;
use signature::{SignatureError, signed_text};

const ACCEPT: &str = "*/*";
const IN_RELEASE_BYTES_MAX: u64 = 8 << 20;
/// Largest compressed index.
const INDEX_BYTES_MAX: u64 = 128 << 20;
/// What an archive said of itself within the last hour will do, unless something is missing there.
pub const OF_THE_HOUR: Currency = Currency::Within(Duration::from_hours(1));

/// One suite of an archive, and the keys that may sign it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suite {
    /// The archive's base address.
    pub archive: Url,
    /// The suite, such as `bookworm-updates`.
    pub name: String,
    /// The keys that may sign it, and no others.
    pub keyring: PathBuf,
}

/// A suite's release file whose signature was checked.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Where it came from.
    pub url: Url,
    /// The file as it was served, signature and all.
    pub bytes: Vec<u8>,
    /// What the signature covers.
    pub release: ReleaseFile,
}

impl Suite {
    /// The address of a path of the archive.
    pub fn address(&self, path: &str) -> Result<Url, RegistryError> {
        let text = format!("{}/{}", self.archive.as_str().trim_end_matches('/'), path.replace('%', "%25"));
        let malformed = |reason: String| RegistryError::Malformed { url: Box::new(self.archive.clone()), reason };
        if path.split('/').any(|part| part.is_empty() || part == "..") {
            return Err(malformed(format!("`{path}` is no path of an archive")));
        }
        text.parse().map_err(|error| malformed(format!("`{path}`: {error}")))
    }

    /// The release file, with its signature checked.
    pub async fn signed(&self, http: &Http, currency: Currency) -> Result<Signed, RegistryError> {
        let url = self.address(&format!("dists/{}/InRelease", self.name))?;
        let bytes = http.bytes(&url, ACCEPT, currency, IN_RELEASE_BYTES_MAX).await?.bytes.to_vec();
        let file = tempfile::NamedTempFile::new().map_err(disk(&url))?;
        fs::write(file.path(), &bytes).map_err(disk(&url))?;
        let malformed = |reason: String| RegistryError::Malformed { url: Box::new(url.clone()), reason };
        let text = signed_text(file.path(), &self.keyring).await.map_err(|error| match error {
            SignatureError::Host(source) => disk(&url)(source),
            error => malformed(error.to_string()),
        });
        match text.and_then(|text| ReleaseFile::parse(&text).map_err(malformed)) {
            Ok(release) => Ok(Signed { url, bytes, release }),
            Err(error) => {
                http.forget(&url, ACCEPT).await;
                Err(error)
            }
        }
    }

    /// An index by the digest that the release file states, such as `main/source/Sources.xz`; from the cache
    /// where it is held. By its digest, which cannot change under us; by its name where a mirror keeps no
    /// digests.
    pub async fn index(&self, signed: &Signed, name: &str, http: &Http, cache: &Cache) -> Result<(Digest, PathBuf), RegistryError> {
        let missing = || RegistryError::Malformed { url: Box::new(signed.url.clone()), reason: format!("it lists no {name}") };
        let digest = signed.release.digest(name).ok_or_else(missing)?;
        if let Some(path) = cache.get(digest) {
            return Ok((digest, path));
        }
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        let url = self.address(&format!("dists/{}/{folder}/by-hash/SHA256/{}", self.name, digest.to_hex()))?;
        let download = match http.download(&url, Some(digest), INDEX_BYTES_MAX, cache).await {
            Err(RegistryError::NotFound { .. }) => {
                let url = self.address(&format!("dists/{}/{name}", self.name))?;
                http.download(&url, Some(digest), INDEX_BYTES_MAX, cache).await
            }
            other => other,
        };
        Ok((digest, download?.path))
    }
}

fn disk(url: &Url) -> impl FnOnce(std::io::Error) -> RegistryError + use<> {
    let url = Box::new(url.clone());
    move |source| RegistryError::Disk { url, source }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_path_that_leaves_the_archive_is_no_address() {
        let suite =
            Suite { archive: "http://debian.example/debian/".parse().unwrap(), name: "bookworm".to_owned(), keyring: PathBuf::new() };
        assert_eq!(suite.address("pool/main/a~1+b.deb").unwrap().as_str(), "http://debian.example/debian/pool/main/a~1+b.deb");
        for path in ["../x", "pool/../../x", "/pool", "pool//x"] {
            assert!(suite.address(path).is_err(), "{path}");
        }
    }
}
