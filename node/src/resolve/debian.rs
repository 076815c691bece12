//! Candidates from Debian: the original archive of a source package, by a chain of digests that begins
//! with a signature.
//!
//! `Sources.xz` of a signed suite ([`crate::registry::deb`]) → the entry of this package and version →
//! `orig.tar` by SHA-256 → the commit in it, if `git archive` made it.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use quorate_proto::Digest;
use quorate_proto::result::{FoundBy, Source, SourceKind};
use tokio::task::spawn_blocking;
use url::Url;

use super::apt::{self, Archive};
use super::sources_index::{self, Entry, Family, Pristine};
use super::{Candidate, Material, ResolveError, SOURCE_BYTES_MAX};
use crate::cache::Cache;
use crate::registry::Http;
use crate::registry::deb::{OF_THE_HOUR, Suite};
use crate::source::{commit_id::commit_id, unpack};

/// Where Debian's own keys lie on a Debian machine.
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The suites that hold most sources.
pub const SUITES: [&str; 2] = ["trixie", "bookworm"];
/// The index of source packages.
const SOURCES: &str = "main/source/Sources.xz";
const SOURCES_BYTES_MAX: u64 = 1 << 30;

/// Debian's archive, as this node may use it.
#[derive(Clone, Debug)]
pub struct Debian {
    /// The base address of a mirror.
    pub mirror: Url,
    /// The suites that are searched, in this order.
    pub suites: Vec<String>,
    /// The keys that may sign them.
    pub keyring: PathBuf,
}

/// What is looked for in Debian, in words that every ecosystem has.
#[derive(Clone, Copy)]
pub struct Sought<'a> {
    /// How Debian calls packages of the ecosystem.
    pub family: Family,
    /// The name, in the ecosystem's spelling.
    pub name: &'a str,
    /// The version, in the ecosystem's spelling.
    pub version: &'a str,
    /// Whether an upstream version, as Debian spells it, is that one.
    pub is_version: &'a (dyn Fn(&str) -> bool + Send + Sync),
    /// The published source distribution: the same bytes are better called by their own name.
    pub source_distribution: Option<Digest>,
    /// The artifact, where it is itself a source distribution, which is no source of itself.
    pub own: Option<Digest>,
}

/// An index that cannot be trusted or used.
#[derive(Debug, thiserror::Error)]
pub enum DebianError {
    /// No mirror, or no keys.
    #[error("{0}")]
    Absent(String),
}

impl Debian {
    /// The archive that apt uses on this machine, with the suites that hold most sources.
    pub fn of_this_machine() -> Result<Self, DebianError> {
        Self::with(None, SUITES.iter().map(ToString::to_string).collect())
    }

    /// A given mirror, or apt's own, with these suites.
    pub fn with(mirror: Option<Url>, suites: Vec<String>) -> Result<Self, DebianError> {
        let keyring = PathBuf::from(KEYRING);
        if !keyring.exists() {
            return Err(DebianError::Absent(format!("{KEYRING} is missing (package debian-archive-keyring)")));
        }
        let mirror = mirror.or_else(|| mirror_in(Path::new("/etc/apt")));
        let mirror = mirror.ok_or_else(|| DebianError::Absent("apt knows no Debian archive".to_owned()))?;
        Ok(Self { mirror, suites, keyring })
    }

    /// The archives of this release, best first.
    pub async fn candidates(&self, sought: &Sought<'_>, http: &Http, cache: &Cache) -> Result<Vec<Candidate>, ResolveError> {
        let mut found: Vec<(Pristine, Entry)> = Vec::new();
        let mut reason = None;
        for suite in &self.suites {
            match self.entries(suite, http, cache).await {
                Ok(entries) => found.extend(matching(entries, sought)),
                Err(error) => reason = Some(worse(reason, error)),
            }
        }
        found.sort_by_key(|(pristine, _)| *pristine);
        let mut candidates: Vec<Candidate> = Vec::new();
        for (_, entry) in found {
            if candidates.iter().any(|candidate| candidate.source.digest == Some(entry.digest)) {
                continue;
            }
            match self.candidate(&entry, sought, http, cache).await {
                Ok(candidate) => candidates.push(candidate),
                Err(error) => reason = Some(worse(reason, error)),
            }
        }
        let none = || ResolveError::None(format!("Debian has no source archive of version {}", sought.version));
        if candidates.is_empty() { Err(reason.unwrap_or_else(none)) } else { Ok(candidates) }
    }

    async fn entries(&self, suite: &str, http: &Http, cache: &Cache) -> Result<Vec<Entry>, ResolveError> {
        let suite = Suite { archive: self.mirror.clone(), name: suite.to_owned(), keyring: self.keyring.clone() };
        let signed = suite.signed(http, OF_THE_HOUR).await?;
        let Some(expected) = signed.release.digest(SOURCES) else {
            return Err(ResolveError::None(format!("{} lists no {SOURCES}", signed.url)));
        };
        // Not by its own digest, which nobody signed: the text must be this user's own, and name what it was
        // made from, because another user of the cache could rename it.
        let name = format!("sources-3-{}-{}", rustix::process::geteuid().as_raw(), expected.to_hex());
        let held = |cache: &Cache| Some(sources_index::from_text(cache.own_derived(&name)?.strip_prefix(&format!("{expected}\n"))?));
        if let Some(entries) = held(cache) {
            return Ok(entries);
        }
        // Several nodes of one machine would otherwise all unpack the same ten megabytes.
        let lock = {
            let cache = cache.clone();
            let name = name.clone();
            spawn_blocking(move || cache.lock(&name)).await
        };
        let _lock = lock.map_err(std::io::Error::other)??;
        if let Some(entries) = held(cache) {
            return Ok(entries);
        }
        let (_, path) = suite.index(&signed, SOURCES, http, cache).await?;
        let entries = spawn_blocking(move || read_sources(&path)).await.map_err(std::io::Error::other)??;
        cache.put_derived(&name, format!("{expected}\n{}", sources_index::to_text(&entries)).as_bytes())?;
        Ok(entries)
    }

    async fn candidate(&self, entry: &Entry, sought: &Sought<'_>, http: &Http, cache: &Cache) -> Result<Candidate, ResolveError> {
        if sought.own == Some(entry.digest) {
            return Err(ResolveError::None("Debian's archive is the published source distribution itself".to_owned()));
        }
        let url = self.address(&format!("{}/{}", entry.directory, entry.file))?;
        let path = http.download(&url, Some(entry.digest), SOURCE_BYTES_MAX, cache).await?.path;
        let commit = commit_id(unpack::reader(&path, &entry.file)?);
        let found_by = if commit.is_some() { FoundBy::ArchiveCommit } else { FoundBy::Archive };
        let kind = match sought.family {
            Family::Python => kind_of(&path, entry, commit.is_some()).await?,
            Family::Node => SourceKind::SourceArchive,
        };
        if sought.own.is_some() && kind == SourceKind::SourceDistribution {
            return Err(ResolveError::None("Debian's archive is the published source distribution packed anew".to_owned()));
        }
        let version = entry.version.replace('+', "%2B").replace(':', "%3A");
        let source = Source {
            kind,
            uri: format!("pkg:deb/debian/{}@{version}?arch=source", entry.package),
            commit,
            tree: None,
            reference: None,
            directory: None,
            digest: Some(entry.digest),
            found_by,
            evidence: None,
            signature: None,
        };
        let material = Material::Archive { path, name: entry.file.clone() };
        Ok(Candidate { source, material, time: None, fetched_from: Some(url.to_string()), directory: None, lacks: Vec::new() })
    }

    fn address(&self, path: &str) -> Result<Url, DebianError> {
        let text = format!("{}/{path}", self.mirror.as_str().trim_end_matches('/'));
        text.parse().map_err(|_| DebianError::Absent(format!("{text} is no address")))
    }
}

/// An archive that carries a commit was made from it; one with a source distribution's metadata and no commit
/// is the publisher's upload, whatever Debian did to its compression.
async fn kind_of(path: &Path, entry: &Entry, has_commit: bool) -> Result<SourceKind, ResolveError> {
    if has_commit {
        return Ok(SourceKind::SourceArchive);
    }
    let (path, name) = (path.to_owned(), entry.file.clone());
    let is_upload = spawn_blocking(move || unpack::is_source_distribution(&path, &name)).await.map_err(std::io::Error::other)??;
    Ok(if is_upload { SourceKind::SourceDistribution } else { SourceKind::SourceArchive })
}

fn worse(first: Option<ResolveError>, error: ResolveError) -> ResolveError {
    match first {
        Some(first) => first.or(error),
        None => error,
    }
}

/// Entries of this package and version that are another archive than the published source distribution.
fn matching(entries: Vec<Entry>, sought: &Sought<'_>) -> Vec<(Pristine, Entry)> {
    let fits = |entry: Entry| {
        let (version, pristine) = sources_index::upstream(&entry.version);
        let fits =
            entry.is_of(sought.family, sought.name) && (sought.is_version)(&version) && Some(entry.digest) != sought.source_distribution;
        fits.then_some((pristine, entry))
    };
    entries.into_iter().filter_map(fits).collect()
}

fn read_sources(path: &Path) -> std::io::Result<Vec<Entry>> {
    let mut bytes = Vec::new();
    unpack::xz(std::io::BufReader::new(fs::File::open(path)?)).take(SOURCES_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(sources_index::known_entries(&String::from_utf8_lossy(&bytes)))
}

/// The first archive in apt's lists that is signed with Debian's keys or says nothing of keys; security
/// archives hold updates only.
pub fn mirror_in(apt_folder: &Path) -> Option<Url> {
    let archives = archives_in(apt_folder);
    let known: Vec<_> = archives.iter().filter(|archive| !is_security(archive)).collect();
    let chosen =
        known.iter().copied().find(|archive| is_debian(archive)).or_else(|| known.into_iter().find(|archive| archive.signed_by.is_none()));
    address_of(chosen?)
}

/// The archive of security updates in apt's lists.
pub fn security_in(apt_folder: &Path) -> Option<Url> {
    archives_in(apt_folder).iter().find(|archive| is_security(archive) && is_debian(archive)).and_then(address_of)
}

fn archives_in(apt_folder: &Path) -> Vec<Archive> {
    let mut archives = Vec::new();
    let mut files = vec![apt_folder.join("sources.list")];
    files.extend(fs::read_dir(apt_folder.join("sources.list.d")).into_iter().flatten().flatten().map(|entry| entry.path()));
    files.sort();
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_default();
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => archives.extend(apt::archives_in_sources(&text)),
            Some("list") => archives.extend(apt::archives_in_list(&text)),
            _ => {}
        }
    }
    archives
}

fn is_debian(archive: &Archive) -> bool {
    archive.signed_by.as_deref().is_some_and(|key| key.contains("debian-archive"))
}

fn is_security(archive: &Archive) -> bool {
    archive.uri.trim_end_matches('/').ends_with("-security")
}

fn address_of(archive: &Archive) -> Option<Url> {
    archive.uri.parse().ok().filter(|url: &Url| matches!(url.scheme(), "http" | "https"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_machines_own_mirror_is_the_one_signed_by_debian() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sources.list.d")).unwrap();
        fs::write(dir.path().join("sources.list"), "deb http://vendor.example/x stable main\n").unwrap();
        let sources = "URIs: http://debian.example/debian-security\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\nURIs: http://debian.example/debian\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n";
        fs::write(dir.path().join("sources.list.d/debian.sources"), sources).unwrap();
        assert_eq!(mirror_in(dir.path()).unwrap().as_str(), "http://debian.example/debian");
        assert_eq!(security_in(dir.path()).unwrap().as_str(), "http://debian.example/debian-security");
    }
}
