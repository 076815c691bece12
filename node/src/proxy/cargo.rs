//! The time machine for crate indexes, over cargo's sparse protocol.
//!
//! Versions that were published at or after the moment do not exist; what is yanked today was not yanked
//! then. Nothing of the release that is being rebuilt exists at any moment.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use quorate_proto::{Digest, Timestamp};
use semver::Version;

use super::{FetchedFile, Recorder, ServeError, stream_of};
use crate::cache::{Cache, Currency};
use crate::registry::cargo::{CrateName, Line, Registry, is_same};
use crate::registry::{Http, RegistryError};

/// A crate index as it was before a moment. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TimeMachine {
    /// The registry.
    pub registry: Arc<Registry>,
    /// The moment; versions published at or after it do not exist.
    pub cutoff: Option<Timestamp>,
    /// What a build must not see, whatever the moment.
    pub withheld: Option<Withheld>,
    /// The client.
    pub http: Http,
    /// Where downloads are kept.
    pub cache: Cache,
}

/// The crate that is being rebuilt: a build that could fetch it would prove nothing.
#[derive(Clone, Debug)]
pub struct Withheld {
    /// Its name: it is not shown at the version or a later one, nor from its publication on.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// Its digest, which is not shown under any name.
    pub digest: Digest,
    /// When it was published.
    pub published_at: Option<Timestamp>,
}

/// A page of the index as it was.
#[derive(Clone, Debug)]
pub struct Page {
    /// What cargo reads.
    pub text: String,
    /// The page as a file that is handed out.
    pub fetched: FetchedFile,
    /// Crates that the newest version of each compatible line depends on: those are what cargo takes.
    pub dependencies: Vec<CrateName>,
    /// Whether every version has a time.
    pub is_filtered: bool,
}

#[derive(Debug)]
struct Shared {
    machine: TimeMachine,
    recorder: Recorder,
}

impl TimeMachine {
    /// The index as it is, with nothing withheld: for building tools.
    pub fn of_today(registry: Registry, http: Http, cache: Cache) -> Self {
        Self { registry: Arc::new(registry), cutoff: None, withheld: None, http, cache }
    }

    /// What a proxy serves of it.
    pub fn routes(self, recorder: Recorder) -> Router {
        let shared = Arc::new(Shared { machine: self, recorder });
        Router::new()
            .route("/index/config.json", get(config))
            .route("/index/{a}/{b}", get(short_page))
            .route("/index/{a}/{b}/{c}", get(page))
            .route("/crates/{name}/{version}/download", get(file))
            .with_state(shared)
    }

    /// What a crate's page said; `None` where it was not there.
    pub async fn page(&self, name: &CrateName) -> Result<Option<Page>, RegistryError> {
        let lines = match self.lines(name).await {
            Ok(lines) => lines,
            Err(RegistryError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let visible: Vec<_> = lines.iter().filter(|line| self.shows(line)).collect();
        if visible.is_empty() {
            return Ok(None);
        }
        let text = visible.iter().map(|line| line.unyanked() + "\n").collect::<String>();
        let url = self.registry.index().join(&name.index_path());
        let malformed = |reason: String| RegistryError::Malformed { url: Box::new(self.registry.index().clone()), reason };
        let fetched = FetchedFile {
            name: format!("index-{name}.txt").parse().map_err(|_| malformed(format!("{name} makes no file name")))?,
            project: name.to_string(),
            version: String::new(),
            uri: format!("pkg:cargo/{name}"),
            url: url.map_err(|error| malformed(error.to_string()))?,
            digest: Digest::of(text.as_bytes()),
            size_bytes: text.len() as u64,
        };
        let is_filtered = self.cutoff.is_none() || visible.iter().all(|line| line.published_at.is_some());
        let dependencies = newest(&visible).into_iter().flat_map(|line| line.dependencies.iter().cloned()).collect();
        Ok(Some(Page { text, fetched, dependencies, is_filtered }))
    }

    /// The page as it was; as it is now where a version has no time, so that a copy cannot tell what was there.
    async fn lines(&self, name: &CrateName) -> Result<Vec<Line>, RegistryError> {
        let lines = self.registry.lines(name, Currency::before(self.cutoff)).await?;
        let tells = self.cutoff.is_none() || lines.iter().all(|line| line.published_at.is_some());
        if tells { Ok(lines) } else { self.registry.lines(name, Currency::Now).await }
    }

    fn shows(&self, line: &Line) -> bool {
        let is_before = |until: Option<Timestamp>| until.is_none_or(|until| line.published_at.is_none_or(|time| time < until));
        let is_withheld = self.withheld.as_ref().is_some_and(|withheld| {
            let is_it = is_same(&line.name, &withheld.name);
            line.checksum == withheld.digest || is_it && (line.version >= withheld.version || !is_before(withheld.published_at))
        });
        is_before(self.cutoff) && !is_withheld
    }
}

/// The newest version of each line of compatible ones.
fn newest<'a>(lines: &[&'a Line]) -> Vec<&'a Line> {
    let mut newest: std::collections::BTreeMap<(u64, u64, u64), &Line> = std::collections::BTreeMap::new();
    for line in lines {
        let compatible = match &line.version {
            Version { major: 0, minor: 0, patch, .. } => (0, 0, *patch),
            Version { major: 0, minor, .. } => (0, *minor, 0),
            version => (version.major, 0, 0),
        };
        let best = newest.entry(compatible).or_insert(line);
        if best.version < line.version {
            *best = line;
        }
    }
    newest.into_values().collect()
}

async fn config(header: axum::http::HeaderMap) -> Response {
    // Downloads come from where the index was asked for: the port inside is the sandbox's business.
    let host = header.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1");
    axum::Json(serde_json::json!({ "dl": format!("http://{host}/crates") })).into_response()
}

async fn short_page(shared: State<Arc<Shared>>, UrlPath((_, name)): UrlPath<(String, String)>) -> Response {
    show(&shared, &name).await
}

async fn page(shared: State<Arc<Shared>>, UrlPath((_, _, name)): UrlPath<(String, String, String)>) -> Response {
    show(&shared, &name).await
}

async fn show(shared: &Shared, name: &str) -> Response {
    let Ok(name) = name.parse::<CrateName>() else { return StatusCode::NOT_FOUND.into_response() };
    match look(shared, &name).await {
        Ok(Some(text)) => ([(header::CONTENT_TYPE, "text/plain")], text).into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => shared.recorder.failed(name.as_str(), &error),
    }
}

async fn look(shared: &Shared, name: &CrateName) -> Result<Option<String>, ServeError> {
    let _permit = shared.recorder.ask(name.as_str()).await?;
    let Some(page) = shared.machine.page(name).await? else { return Ok(None) };
    shared.recorder.offer(name.as_str(), page.text.lines().count(), page.is_filtered)?;
    shared.recorder.hand_out(&format!("index/{name}"), page.fetched)?;
    Ok(Some(page.text))
}

async fn file(State(shared): State<Arc<Shared>>, UrlPath((name, version)): UrlPath<(String, String)>) -> Response {
    let parsed = (name.parse::<CrateName>(), Version::parse(&version));
    let (Ok(name), Ok(version)) = parsed else { return StatusCode::NOT_FOUND.into_response() };
    match bring(&shared, &name, &version).await {
        Ok(Some(body)) => ([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => shared.recorder.failed(name.as_str(), &error),
    }
}

async fn bring(shared: &Shared, name: &CrateName, version: &Version) -> Result<Option<Body>, ServeError> {
    let machine = &shared.machine;
    let lines = machine.lines(name).await?;
    let Some(line) = lines.iter().find(|line| line.version == *version && machine.shows(line)) else { return Ok(None) };
    let url = machine.registry.address(line).await?;
    let path = shared.recorder.bring(&url, line.checksum, &machine.http, &machine.cache).await?;
    let opened = tokio::fs::File::open(&path).await?;
    let size_bytes = opened.metadata().await?.len();
    let Some(file) = line.file_name() else { return Ok(None) };
    let (key, uri) = (file.to_string(), format!("pkg:cargo/{name}@{version}"));
    let (project, version, digest) = (line.name.clone(), version.to_string(), line.checksum);
    shared.recorder.hand_out(&key, FetchedFile { name: file, project, version, uri, url, digest, size_bytes })?;
    Ok(Some(stream_of(opened)))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::registry::cargo::parse;

    fn machine(cutoff: &str) -> TimeMachine {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let http = Http::new().unwrap();
        let withheld = Withheld {
            name: "Demo-x".to_owned(),
            version: Version::new(1, 1, 0),
            digest: Digest::of(b"it"),
            published_at: Some("2024-01-02T00:00:00Z".parse().unwrap()),
        };
        TimeMachine {
            registry: Arc::new(Registry::new(http.clone(), "http://127.0.0.1:9/".parse().unwrap())),
            cutoff: Some(cutoff.parse().unwrap()),
            withheld: Some(withheld),
            http,
            cache: Cache::open(folder.path()).unwrap(),
        }
    }

    fn shown(cutoff: &str, name: &str, version: &str, published: &str, digest: Digest) -> bool {
        let text = format!(r#"{{"name":"{name}","vers":"{version}","cksum":"{}","pubtime":"{published}","yanked":true}}"#, digest.to_hex());
        machine(cutoff).shows(&parse(text.as_bytes(), &name.parse().unwrap()).unwrap()[0])
    }

    #[test]
    fn what_was_published_at_the_moment_or_later_does_not_exist() {
        let other = Digest::of(b"other");
        let noon = "2024-01-02T12:00:00Z";
        assert!(shown(noon, "serde", "1.0.0", "2024-01-02T11:59:59Z", other));
        assert!(!shown(noon, "serde", "1.0.0", noon, other));
        assert!(!shown(noon, "serde", "1.0.0", "2024-02-01T00:00:00Z", other));
    }

    #[test]
    fn the_crate_itself_and_what_came_after_it_is_withheld() {
        let late = "2030-01-01T00:00:00Z";
        let other = Digest::of(b"other");
        assert!(shown(late, "demo_x", "1.0.0", "2024-01-01T00:00:00Z", other));
        assert!(!shown(late, "demo_x", "1.1.0", "2024-01-01T00:00:00Z", other));
        assert!(!shown(late, "demo_x", "1.2.0", "2024-01-01T00:00:00Z", other));
        assert!(!shown(late, "demo_x", "1.0.9", "2024-01-02T00:00:00Z", other));
        assert!(!shown(late, "copy", "1.0.0", "2020-01-01T00:00:00Z", Digest::of(b"it")));
    }
}
