//! Debian archives: a suite's `InRelease` with its signature checked, and `Packages` by the digests in it.
//!
//! What is not signed by a key of the keyring, is older than what was accepted before (the machine sees to
//! that), or has passed its `Valid-Until`, is not believed.

pub mod index;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::SystemTime;

use quorate_proto::{Digest, Purl, Timestamp};
use tokio::process::Command;
use tokio::task::spawn_blocking;
use url::Url;

use super::listing::{Artifact, Listing, Page, Position, Rest};
use super::problem::{Kind, Problem};
use super::wire::{Ask, Wire};
use index::{Named, Release};

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
        let release = index::release(&text).map_err(|reason| Problem::malformed(format!("{url}: {reason}")))?;
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

    async fn packages(&self, wire: &Wire, release: &Release) -> Result<Vec<(Purl, Listing)>, Problem> {
        let mut found: BTreeMap<Purl, Listing> = BTreeMap::new();
        for component in &self.components {
            for architecture in &self.architectures {
                let folder = format!("{component}/binary-{architecture}");
                let named = index::choose(release, &folder)
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
    async fn index(&self, wire: &Wire, release: &Release, folder: &str, named: &Named) -> Result<Vec<u8>, Problem> {
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
        let text = index::unpack(bytes, name).map_err(|reason| Problem::malformed(format!("{name} of {}: {reason}", self.suite)))?;
        let stanzas = index::packages(&text, &self.namespace, self.repository.as_deref());
        let mut all = Vec::new();
        for artifact in stanzas.map_err(|reason| Problem::malformed(format!("{name} of {}: {reason}", self.suite)))? {
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

/// The text that the signature covers, and nothing around it.
async fn signed_text(bytes: &[u8], keyring: &Path, url: &Url) -> Result<String, Problem> {
    let here = |error: std::io::Error| Problem::new(Kind::Disk, format!("checking the signature of {url}: {error}"));
    let mut file = tempfile::NamedTempFile::new().map_err(here)?;
    file.write_all(bytes).map_err(here)?;
    let mut command = Command::new("gpgv");
    command.arg("--keyring").arg(keyring).args(["--output", "-"]).arg(file.path());
    let output = command.env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true).output().await.map_err(here)?;
    if output.status.success() {
        return String::from_utf8(output.stdout).map_err(|_| Problem::malformed(format!("{url} is not UTF-8")));
    }
    let said: String = String::from_utf8_lossy(&output.stderr).trim().chars().take(300).collect();
    Err(Problem::new(Kind::Untrusted, format!("{url} is not signed by a key of {}: {said}", keyring.display())))
}
