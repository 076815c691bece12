//! The time machine for Python package indexes, over the simple repository API.
//!
//! Files that were published at or after the moment do not exist; what is yanked today was not yanked then.
//! Nothing of the release that is being rebuilt exists at any moment.

pub mod page;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use pep440_rs::Version;
use quorate_proto::{Digest, Purl, Timestamp};

use super::{FetchedFile, Recorder, ServeError, stream_of};
use crate::cache::{Cache, Currency};
use crate::registry::pypi::file_name::{Distribution, ProjectName};
use crate::registry::pypi::{Project, PublishedFile, Registry};
use crate::registry::{Http, RegistryError};

/// Package indexes as they were before a moment.
#[derive(Clone, Debug)]
pub struct TimeMachine {
    /// The registries, in order: the first that knows a project answers for it alone.
    pub registries: Vec<Registry>,
    /// The moment; files published at or after it do not exist.
    pub cutoff: Option<Timestamp>,
    /// What a build must not see, whatever the moment.
    pub withheld: Withheld,
    /// The client.
    pub http: Http,
    /// Where downloads are kept.
    pub cache: Cache,
}

/// The artifact that is being rebuilt: a build that could fetch it would prove nothing.
#[derive(Clone, Debug)]
pub struct Withheld {
    /// Its project: no file of it is shown at the version or a later one, nor from its upload on.
    pub project: ProjectName,
    /// Its version.
    pub version: Version,
    /// Its digest, which is not shown under any name.
    pub digest: Digest,
    /// When it was uploaded.
    pub uploaded_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Shared {
    machine: TimeMachine,
    recorder: Recorder,
    offered: Mutex<BTreeMap<Digest, (ProjectName, PublishedFile)>>,
}

impl TimeMachine {
    /// What a proxy serves of it.
    pub fn routes(self, recorder: Recorder) -> Router {
        let shared = Arc::new(Shared { machine: self, recorder, offered: Mutex::default() });
        Router::new().route("/simple/{project}/", get(project)).route("/files/{digest}/{name}", get(file)).with_state(shared)
    }
}

impl Shared {
    /// The first registry that knows the project answers for it alone: mixing two would let one of them
    /// slip files into a project of the other.
    async fn project(&self, name: &ProjectName) -> Result<Option<Project>, ServeError> {
        let _permit = self.recorder.ask(name.as_str()).await?;
        for registry in &self.machine.registries {
            match self.then(registry, name).await {
                Ok(project) => return Ok(Some(project)),
                Err(RegistryError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// The page as it was; as it is now where it states no times, so that a copy cannot tell what was there.
    async fn then(&self, registry: &Registry, name: &ProjectName) -> Result<Project, RegistryError> {
        let project = registry.project(name, Currency::before(self.machine.cutoff)).await?;
        let tells = self.machine.cutoff.is_none() || project.files.iter().any(|file| file.uploaded_at.is_some());
        if tells { Ok(project) } else { registry.project(name, Currency::Now).await }
    }

    fn offer(&self, name: &ProjectName, visible: &page::Visible<'_>) -> Result<(), ServeError> {
        self.recorder.offer(name.as_str(), visible.files.len(), !visible.unfiltered)?;
        let offered = visible.files.iter().filter_map(|file| Some((file.sha256?, (name.clone(), (*file).clone()))));
        self.offered.lock().unwrap_or_else(PoisonError::into_inner).extend(offered);
        Ok(())
    }

    fn offered(&self, digest: Digest) -> Option<(ProjectName, PublishedFile)> {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned()
    }
}

async fn project(State(shared): State<Arc<Shared>>, UrlPath(name): UrlPath<String>, headers: HeaderMap) -> Response {
    let Ok(name) = name.parse::<ProjectName>() else { return StatusCode::NOT_FOUND.into_response() };
    let known = match shared.project(&name).await {
        Ok(Some(project)) => project,
        Ok(None) => return StatusCode::NOT_FOUND.into_response(),
        Err(error) => return shared.recorder.failed(name.as_str(), &error),
    };
    let visible = page::visible(&name, &known, shared.machine.cutoff, &shared.machine.withheld);
    if let Err(error) = shared.offer(&name, &visible) {
        return shared.recorder.failed(name.as_str(), &error);
    }
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    page::render(name.as_str(), &visible.files, accept).into_response()
}

async fn file(State(shared): State<Arc<Shared>>, UrlPath((digest, name)): UrlPath<(String, String)>) -> Response {
    let digest = Digest::from_hex(&digest).ok();
    let offered = digest.and_then(|digest| Some((digest, shared.offered(digest)?)));
    let Some((digest, (project, file))) = offered.filter(|(_, (_, file))| file.name.as_str() == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match bring(&shared, &file, digest).await {
        Ok(body) => ([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response(),
        Err(error) => {
            if matches!(error, ServeError::Registry(RegistryError::NotFound { .. })) {
                futures::future::join_all(shared.machine.registries.iter().map(|registry| registry.forget(&project))).await;
            }
            shared.recorder.failed(project.as_str(), &error)
        }
    }
}

async fn bring(shared: &Shared, file: &PublishedFile, digest: Digest) -> Result<Body, ServeError> {
    let path = shared.recorder.bring(&file.url, digest, &shared.machine.http, &shared.machine.cache).await?;
    let opened = tokio::fs::File::open(&path).await?;
    let size_bytes = opened.metadata().await?.len();
    let distribution = Distribution::parse(&file.name);
    let project = distribution.as_ref().map(|d| d.project.clone()).unwrap_or_default();
    let version = distribution.map(|d| d.version.to_string()).unwrap_or_default();
    let uri = Purl::pypi(&project, &version).map_or_else(|_| file.url.to_string(), |purl| purl.to_string());
    let fetched = FetchedFile { name: file.name.clone(), project, version, uri, url: file.url.clone(), digest, size_bytes };
    shared.recorder.hand_out(file.name.as_str(), fetched)?;
    Ok(stream_of(opened))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::proxy::Proxy;

    #[tokio::test]
    async fn a_project_name_that_is_an_address_is_not_fetched() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let _ = rustls::crypto::ring::default_provider().install_default();
        let inner = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let secret = inner.local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let index = "http://127.0.0.1:9/simple".parse().unwrap();
        let machine = TimeMachine {
            registries: vec![Registry::new(Http::new().unwrap(), index)],
            cutoff: None,
            withheld: Withheld {
                project: "demo".parse().unwrap(),
                version: "1".parse().unwrap(),
                digest: Digest::of(b""),
                uploaded_at: None,
            },
            http: Http::new().unwrap(),
            cache: Cache::open(folder.path()).unwrap(),
        };
        let proxy = Proxy::start(|recorder| machine.routes(recorder)).unwrap();
        for name in [format!("http:%2F%2F{secret}%2Fx"), format!("%2F%2F{secret}"), "..".to_owned(), "%2e%2e%2fx".to_owned()] {
            let mut stream = tokio::net::UnixStream::connect(proxy.socket()).await.unwrap();
            let request = format!("GET /simple/{name}/ HTTP/1.1\r\nhost: index\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 404"), "{name}: {answer}");
        }
        assert!(proxy.served().asked.is_empty() && proxy.served().failures.is_empty());
        drop(inner);
    }
}
