//! Debian archives: a suite's `InRelease` with its signature checked, and `Packages` by the digests in it.
//!
//! What is not signed by a key of the keyring, is older than what was accepted before (the machine sees to
//! that), or has passed its `Valid-Until`, is not believed.

use std::collections::BTreeMap;
use std::io::{BufRead, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use quorate_proto::{Digest, Purl, Timestamp};
use tokio::task::spawn_blocking;
use url::Url;

use super::listing::{Artifact, Currency, Listing, Page, Position, Rest};
use super::problem::{Kind, Problem};
use super::wire::{Ask, Wire};
use crate::registry::deb::index::{self, Binary};
use crate::registry::deb::release::{Named, ReleaseFile};
use crate::registry::deb::signature::{self, SignatureError};

const IN_RELEASE_BYTES_MAX: u64 = 8 << 20;

/// One suite of an archive.
#[derive(Clone, Debug)]
pub struct Debian {
    /// The archive's base address, ending in a slash.
    pub archive: Url,
    /// The suite.
    pub suite: String,
    /// Components.
    pub components: Vec<String>,
    /// Architectures.
    pub architectures: Vec<String>,
    /// The keys that may sign it.
    pub keyring: PathBuf,
    /// Namespace of package URLs.
    pub namespace: String,
    /// Set when package URLs name this archive.
    pub repository: Option<String>,
    /// Listed packages; `None` when all are followed besides.
    pub listed: Vec<Purl>,
    /// Whether packages that are not listed are taken too.
    pub extent: Extent,
}

/// How much of an index is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    All,
    /// Listed packages.
    Listed,
}

impl Debian {
    /// What the suite holds now, unless it is what it held at `since`.
    pub async fn poll(&self, wire: &Wire, since: Option<&Position>) -> Result<Page, Problem> {
        let url = self.address(&format!("dists/{}/InRelease", self.suite))?;
        let body = wire.body(&Ask::get(url.clone(), "*/*", IN_RELEASE_BYTES_MAX)).await?;
        let text = signed_text(&body.bytes, &self.keyring, &url).await?;
        let release = ReleaseFile::parse(&text).map_err(|reason| Problem::malformed(format!("{url}: {reason}")))?;
        let now = Timestamp::from(SystemTime::now());
        if let Some(until) = release.valid_until.filter(|until| *until < now) {
            return Err(Problem::new(Kind::Untrusted, format!("{url} was valid until {until}")));
        }
        let date = u64::try_from(release.date.unix_seconds()).unwrap_or(0);
        let next = Position { number: date, token: Digest::of(text.as_bytes()).to_hex() };
        // An older one is not read: the machine refuses it by its date.
        let is_known = since.is_some_and(|since| since.token == next.token || since.number > next.number);
        let found = if is_known { Vec::new() } else { self.packages(wire, &release).await? };
        Ok(Page { head: Some(next.clone()), oldest: None, changes: Vec::new(), found, next, rest: Rest::Nothing })
    }

    async fn packages(&self, wire: &Wire, release: &ReleaseFile) -> Result<Vec<(Purl, Listing)>, Problem> {
        let mut found: BTreeMap<Purl, Listing> = BTreeMap::new();
        for component in &self.components {
            for architecture in &self.architectures {
                let folder = format!("{component}/binary-{architecture}");
                let named = release
                    .packages(&folder)
                    .ok_or_else(|| Problem::malformed(format!("suite {} lists no {folder}/Packages that can be read", self.suite)))?;
                let bytes = self.index(wire, release, &folder, &named).await?;
                let (this, named) = (self.clone(), named.name.clone());
                let read = spawn_blocking(move || this.read(&bytes, &named)).await;
                for (package, artifact) in read.map_err(|error| Problem::new(Kind::Passing, error.to_string()))?? {
                    found.entry(package).or_default().artifacts.push(artifact);
                }
            }
        }
        Ok(found.into_iter().collect())
    }

    /// By its digest, which cannot change under us, where the archive keeps such names.
    async fn index(&self, wire: &Wire, release: &ReleaseFile, folder: &str, named: &Named) -> Result<Vec<u8>, Problem> {
        let dists = format!("dists/{}/{folder}", self.suite);
        if release.has_hashes {
            let url = self.address(&format!("{dists}/by-hash/SHA256/{}", named.digest.to_hex()))?;
            match wire.file(url, named.size_bytes, named.digest).await {
                Err(problem) if problem.kind == Kind::Absent => {}
                answer => return answer,
            }
        }
        wire.file(self.address(&format!("{dists}/{}", named.name))?, named.size_bytes, named.digest).await
    }

    fn read(&self, bytes: &[u8], name: &str) -> Result<Vec<(Purl, Artifact)>, Problem> {
        let listed = artifacts(index::unpacked(bytes, name), &self.namespace, self.repository.as_deref());
        let mut all = Vec::new();
        for artifact in listed.map_err(|reason| Problem::malformed(format!("{name} of {}: {reason}", self.suite)))? {
            let own = artifact.package.without_version();
            let before = all.len();
            all.extend(self.listed.iter().filter(|listed| is_of(listed, &own)).map(|listed| (listed.clone(), artifact.clone())));
            if all.len() == before && self.extent == Extent::All {
                all.push((own, artifact));
            }
        }
        Ok(all)
    }

    fn address(&self, path: &str) -> Result<Url, Problem> {
        self.archive.join(path).map_err(|error| Problem::malformed(format!("{}: {error}", self.archive)))
    }
}

/// Whether a listed package is meant: its architecture counts where it is named.
fn is_of(listed: &Purl, own: &Purl) -> bool {
    let same = |key: &str| listed.qualifier(key).is_none_or(|value| own.qualifier(key) == Some(value));
    listed.name() == own.name() && listed.namespace() == own.namespace() && same("arch")
}

/// The files that a `Packages` index lists. An index that cannot be read whole is refused.
pub fn artifacts(text: impl BufRead, namespace: &str, repository: Option<&str>) -> Result<Vec<Artifact>, String> {
    let binaries = index::all_in(text).map_err(|error| error.to_string())?;
    let artifact = |binary: &Binary| {
        artifact(binary, namespace, repository).ok_or_else(|| format!("{:.200} {:.200} is no package", binary.package, binary.version))
    };
    binaries.iter().map(artifact).collect()
}

fn artifact(binary: &Binary, namespace: &str, repository: Option<&str>) -> Option<Artifact> {
    let Binary { package: name, version, architecture, path, digest, .. } = binary;
    let is_word = |text: &String| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.:~_".contains(&b));
    if ![name, version, architecture].into_iter().all(is_word) {
        return None;
    }
    let version = version.replace('+', "%2B").replace(':', "%3A").replace('~', "%7E");
    let package: Purl = format!("pkg:deb/{namespace}/{}@{version}?arch={architecture}", name.replace('+', "%2B")).parse().ok()?;
    Some(Artifact {
        package: repository.map_or(package.clone(), |url| package.in_repository(url)),
        file: path.rsplit('/').next()?.parse().ok()?,
        checksum: format!("sha256:{}", digest.to_hex()),
        published_at: None,
        currency: Currency::Current,
    })
}

/// The text that the signature covers, and nothing around it.
async fn signed_text(bytes: &[u8], keyring: &Path, url: &Url) -> Result<String, Problem> {
    let here = |error: std::io::Error| Problem::new(Kind::Disk, format!("checking the signature of {url}: {error}"));
    let mut file = tempfile::NamedTempFile::new().map_err(here)?;
    file.write_all(bytes).map_err(here)?;
    signature::signed_text(file.path(), keyring).await.map_err(|error| match error {
        SignatureError::Host(error) => here(error),
        SignatureError::NotText => Problem::malformed(format!("{url}: {error}")),
        SignatureError::Unsigned { .. } => Problem::new(Kind::Untrusted, format!("{url}: {error}")),
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_index_lists_one_file_a_package_version_and_architecture() {
        let hex = Digest::of(b"x").to_hex();
        let stanza = |name: &str| {
            format!(
                "Package: {name}\nVersion: 1:2.0+b1~x\nArchitecture: all\nDescription: d\n more: text\nFilename: pool/main/d/demo_2.0_all.deb\nSize: 7\nSHA256: {hex}\n\n"
            )
        };
        let all = artifacts((stanza("demo") + &stanza("g++")).as_bytes(), "debian", None).unwrap();
        assert_eq!(all[0].package.version(), Some("1:2.0+b1~x"));
        assert_eq!((all[0].package.qualifier("arch"), all[0].file.as_str()), (Some("all"), "demo_2.0_all.deb"));
        assert_eq!(all[1].package.name(), "g++");
        for wrong in [stanza("demo").replace("SHA256", "SHA1"), stanza("a b"), stanza("demo").replace(&hex, "00")] {
            assert!(artifacts(wrong.as_bytes(), "debian", None).is_err(), "{wrong}");
        }
    }
}
