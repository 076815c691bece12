//! The time machine for npm registries.
//!
//! Versions that were published at or after the moment do not exist, and `dist-tags` are what they must have
//! been. What the source's lock file pins exists whatever the registry says of its time: mirrors state times
//! of their own, and a checksum in the source is older than the artifact. Nothing of the release that is being
//! rebuilt exists at any moment.

mod view;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use quorate_proto::{Digest, FileName, Timestamp};
use semver::Version;
use url::Url;

use super::{FetchedFile, Recorder, ServeError, stream_of};
use crate::cache::{Cache, Currency};
use crate::registry::npm::integrity::Integrity;
use crate::registry::npm::{PackageName, Packument, Registry, packument};
use crate::registry::{Download, RegistryError};
use crate::source::npm::lock::Pins;
use view::visible;

/// The proxy's port inside.
pub const PORT: u16 = 4873;
/// Longest path that is answered.
const PATH_BYTES_MAX: usize = 1024;

/// A registry as it was before a moment.
#[derive(Clone, Debug)]
pub struct TimeMachine {
    /// The registry.
    pub registry: Registry,
    /// The moment; versions published at or after it do not exist.
    pub cutoff: Option<Timestamp>,
    /// What the source's lock file pins.
    pub pins: Pins,
    /// Which of a package's versions exist.
    pub scope: Scope,
    /// What a build must not see, whatever the moment.
    pub withheld: Withheld,
    /// Where downloads are kept.
    pub cache: Cache,
}

/// Which versions of a pinned package exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The pinned ones and those before the moment.
    All,
    /// The pinned ones alone: the installer cannot read the lock file itself.
    Pinned,
}

/// The artifact that is being rebuilt: a build that could fetch it would prove nothing.
#[derive(Clone, Debug)]
pub struct Withheld {
    /// Its package: nothing of it is shown at the version or a later one, whatever the moment.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// Its digest, which is not served under any name.
    pub digest: Digest,
}

#[derive(Debug)]
struct Shared {
    machine: TimeMachine,
    recorder: Recorder,
}

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Package(PackageName),
    Tarball(PackageName, String),
}

/// A tarball that may be handed out.
struct Offer {
    url: Url,
    integrity: Integrity,
}

impl TimeMachine {
    /// What a proxy serves of it.
    pub fn routes(self, recorder: Recorder) -> Router {
        Router::new().fallback(get(answer)).with_state(Arc::new(Shared { machine: self, recorder }))
    }
}

impl Withheld {
    fn hides(&self, name: &PackageName, version: &Version) -> bool {
        *name == self.name && *version >= self.version
    }
}

async fn answer(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    match asked(uri.path()) {
        Some(Asked::Package(name)) => match shared.package(&name).await {
            Ok(Some(page)) => ([(header::CONTENT_TYPE, "application/json")], page).into_response(),
            Ok(None) => StatusCode::NOT_FOUND.into_response(),
            Err(error) => shared.recorder.failed(name.as_str(), &error),
        },
        Some(Asked::Tarball(name, version)) => match shared.tarball(&name, &version).await {
            Ok(Some(answer)) => answer,
            Ok(None) => StatusCode::NOT_FOUND.into_response(),
            Err(error) => shared.recorder.failed(name.as_str(), &error),
        },
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// `/name`, `/@scope%2Fname`, `/name/-/name-1.0.0.tgz`.
fn asked(path: &str) -> Option<Asked> {
    let path = path.strip_prefix('/').filter(|path| path.len() <= PATH_BYTES_MAX)?;
    let path = path.replace("%2f", "/").replace("%2F", "/").replace("%40", "@");
    let Some((name, file)) = path.split_once("/-/") else { return path.parse().ok().map(Asked::Package) };
    let name: PackageName = name.parse().ok()?;
    let file = file.replace("%2B", "+").replace("%2b", "+");
    let version = file.strip_prefix(name.bare())?.strip_prefix('-')?.strip_suffix(".tgz")?;
    let version = packument::version(version)?.to_string();
    Some(Asked::Tarball(name, version))
}

impl Shared {
    async fn package(&self, name: &PackageName) -> Result<Option<String>, ServeError> {
        let _permit = self.recorder.ask(name.as_str()).await?;
        let Some(packument) = self.known(name).await? else { return Ok(None) };
        let visible = visible(name, &packument, &self.machine);
        self.recorder.offer(name.as_str(), visible.versions.len(), !visible.is_unfiltered)?;
        Ok(Some(view::render(name, &packument, &visible)))
    }

    /// The document as it was; as it is now where a copy of it cannot tell what was there.
    async fn known(&self, name: &PackageName) -> Result<Option<Packument>, ServeError> {
        let machine = &self.machine;
        let then = self.document(name, Currency::before(machine.cutoff)).await?;
        let tells = |packument: &Packument| {
            let is_pinned = |version| packument.versions.contains_key(version);
            !packument.times.is_empty() && machine.pins.get(name).is_none_or(|pins| pins.keys().all(is_pinned))
        };
        match then {
            Some(packument) if machine.cutoff.is_some() && !tells(&packument) => self.document(name, Currency::Now).await,
            then => Ok(then),
        }
    }

    async fn document(&self, name: &PackageName, currency: Currency) -> Result<Option<Packument>, ServeError> {
        match self.machine.registry.packument(name, currency).await {
            Ok(packument) => Ok(Some(packument)),
            Err(RegistryError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn tarball(&self, name: &PackageName, version: &str) -> Result<Option<Response>, ServeError> {
        let machine = &self.machine;
        if packument::version(version).is_none_or(|version| machine.withheld.hides(name, &version)) {
            return Ok(None);
        }
        if let Some(offer) = self.pinned(name, version)? {
            match self.bring(name, version, &offer).await {
                Err(ServeError::Registry(RegistryError::NotFound { .. })) => {}
                brought => return brought,
            }
        }
        let packument = {
            let _permit = self.recorder.ask(name.as_str()).await?;
            self.known(name).await?
        };
        let Some(packument) = packument else { return Ok(None) };
        let is_visible = visible(name, &packument, machine).versions.contains(&version);
        let entry = packument.versions.get(version).filter(|_| is_visible);
        let Some((entry, url)) = entry.and_then(|entry| Some((entry, packument.tarball(entry)?))) else { return Ok(None) };
        self.bring(name, version, &Offer { url, integrity: entry.integrity() }).await
    }

    /// What the lock file pins with a checksum needs no package document.
    fn pinned(&self, name: &PackageName, version: &str) -> Result<Option<Offer>, ServeError> {
        let pin = self.machine.pins.get(name).and_then(|versions| versions.get(version)?.as_deref());
        let Some(integrity) = pin.map(|text| Integrity::parse(text, None)).filter(|integrity| !integrity.is_empty()) else {
            return Ok(None);
        };
        let url = self.machine.registry.usual_tarball(name, &format!("{}-{version}.tgz", name.bare()))?;
        Ok(Some(Offer { url, integrity }))
    }

    async fn bring(&self, name: &PackageName, version: &str, offer: &Offer) -> Result<Option<Response>, ServeError> {
        let machine = &self.machine;
        if offer.integrity.is_empty() {
            return Ok(None);
        }
        let download = machine.registry.download(&offer.url, &offer.integrity, self.recorder.bytes_left(), &machine.cache).await?;
        let Download { path, digest, size_bytes } = download;
        let file: Option<FileName> = format!("{}-{version}.tgz", name.flat()).parse().ok();
        let Some(file) = file.filter(|_| digest != machine.withheld.digest) else { return Ok(None) };
        let opened = tokio::fs::File::open(&path).await?;
        let uri = name.purl(version).map_or_else(|| offer.url.to_string(), |purl| purl.to_string());
        let project = name.to_string();
        let fetched = FetchedFile { name: file, project, version: version.to_owned(), uri, url: offer.url.clone(), digest, size_bytes };
        self.recorder.hand_out(&format!("{name}@{version}"), fetched)?;
        Ok(Some(([(header::CONTENT_TYPE, "application/octet-stream")], stream_of(opened)).into_response()))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_path_asks_for_a_package_or_one_of_its_tarballs() {
        let name = |text: &str| text.parse::<PackageName>().unwrap();
        assert_eq!(asked("/a"), Some(Asked::Package(name("a"))));
        for path in ["/@s%2fa", "/@s%2Fa", "/%40s%2Fa", "/@s/a"] {
            assert_eq!(asked(path), Some(Asked::Package(name("@s/a"))), "{path}");
        }
        assert_eq!(asked("/@s/a/-/a-1.0.0-rc.1.tgz"), Some(Asked::Tarball(name("@s/a"), "1.0.0-rc.1".to_owned())));
        for path in ["/", "/-/npm/v1/security/audits", "/a/-/b-1.0.0.tgz", "/a/-/a-x.tgz", "/http://x/y", "/../x", "/a/latest", "/a%00"] {
            assert_eq!(asked(path), None, "{path}");
        }
    }
}
