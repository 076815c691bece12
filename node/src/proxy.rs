//! The registry time machine: an index on a unix socket that shows registries as they were before a
//! moment, and records every file that it hands out.
//!
//! Files that were published at or after the moment do not exist; what is yanked today was not yanked
//! then. A file is handed out only after its bytes were checked against its index. A registry that fails
//! is answered with 502 and remembered: it must not look like "no such version".

mod page;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::stream;
use quorate_proto::{Digest, FileName, Timestamp};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use url::Url;

use crate::cache::Cache;
use crate::registry::file_name::{Distribution, normal_name};
use crate::registry::{Project, PublishedFile, Registry, RegistryError};

/// Largest file that a build may fetch.
const FILE_BYTES_MAX: u64 = 1 << 30;
const CHUNK_BYTES: usize = 64 << 10;

/// Registries as they were before a moment.
#[derive(Clone, Debug)]
pub struct TimeMachine {
    /// The registries, in order: the first that knows a project answers for it alone.
    pub registries: Vec<Registry>,
    /// The moment; files published at or after it do not exist.
    pub cutoff: Option<Timestamp>,
    /// Where downloads are kept.
    pub cache: Cache,
}

/// A file that was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedFile {
    /// Its name.
    pub name: FileName,
    /// The project, normalised.
    pub project: String,
    /// The version.
    pub version: String,
    /// Where the node had it from.
    pub url: Url,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Its size.
    pub size_bytes: u64,
}

/// What a proxy did.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// Files that were handed out, by name.
    pub files: BTreeMap<FileName, FetchedFile>,
    /// Registry failures, in the order in which they happened.
    pub failures: Vec<String>,
    /// Projects whose registry states no upload times, so that nothing could be filtered.
    pub unfiltered: Vec<String>,
}

/// A running proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    socket: PathBuf,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

#[derive(Debug)]
struct Shared {
    machine: TimeMachine,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    offered: BTreeMap<Digest, PublishedFile>,
    served: Served,
}

impl Proxy {
    /// Starts serving on a socket of its own.
    pub fn start(machine: TimeMachine) -> io::Result<Self> {
        // A short path: the address of a unix socket has at most 107 bytes.
        let folder = tempfile::Builder::new().prefix("quorate-").tempdir()?;
        let socket = folder.path().join("index");
        let listener = UnixListener::bind(&socket)?;
        let shared = Arc::new(Shared { machine, log: Mutex::default() });
        let router = Router::new()
            .route("/simple/{project}/", get(project))
            .route("/files/{digest}/{name}", get(file))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "the build proxy stopped");
            }
        });
        Ok(Self { socket, shared, task, _folder: folder })
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Stops it and says what it did.
    pub fn finish(self) -> Served {
        std::mem::take(&mut self.shared.log().served)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        // A panic elsewhere leaves no half-made entry: entries are added whole.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first registry that knows the project answers for it alone: mixing two would let one of them
    /// slip files into a project of the other.
    async fn project(&self, name: &str) -> Result<Option<Project>, RegistryError> {
        for registry in &self.machine.registries {
            match registry.project(name).await {
                Ok(project) => return Ok(Some(project)),
                Err(RegistryError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn failed(&self, error: &dyn std::error::Error) -> Response {
        let text = describe(error);
        self.log().served.failures.push(text.clone());
        (StatusCode::BAD_GATEWAY, text).into_response()
    }
}

async fn project(State(shared): State<Arc<Shared>>, UrlPath(name): UrlPath<String>, headers: HeaderMap) -> Response {
    let name = normal_name(&name);
    let known = match shared.project(&name).await {
        Ok(Some(project)) => project,
        Ok(None) => return StatusCode::NOT_FOUND.into_response(),
        Err(error) => return shared.failed(&error),
    };
    let visible = page::visible(&known, shared.machine.cutoff);
    let mut log = shared.log();
    if visible.unfiltered && !log.served.unfiltered.contains(&name) {
        log.served.unfiltered.push(name.clone());
    }
    let offered = visible.files.iter().filter_map(|file| Some((file.sha256?, (*file).clone())));
    log.offered.extend(offered);
    drop(log);
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    page::render(&name, &visible.files, accept).into_response()
}

async fn file(State(shared): State<Arc<Shared>>, UrlPath((digest, name)): UrlPath<(String, String)>) -> Response {
    let offered = Digest::from_hex(&digest).ok().and_then(|digest| shared.log().offered.get(&digest).cloned());
    let Some(file) = offered.filter(|file| file.name.as_str() == name) else { return StatusCode::NOT_FOUND.into_response() };
    match bring(&shared, &file).await {
        Ok(body) => ([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response(),
        Err(error) => shared.failed(&*error),
    }
}

async fn bring(shared: &Shared, file: &PublishedFile) -> Result<Body, Box<dyn std::error::Error + Send + Sync>> {
    let digest = file.sha256.ok_or("a file without a digest was offered")?;
    let cache = &shared.machine.cache;
    let path = if let Some(path) = cache.get(digest) {
        path
    } else {
        let registry = shared.machine.registries.first().ok_or("no registry")?;
        registry.download(file, FILE_BYTES_MAX, cache).await?.path
    };
    let opened = tokio::fs::File::open(&path).await?;
    let size_bytes = opened.metadata().await?.len();
    let distribution = Distribution::parse(&file.name);
    let fetched = FetchedFile {
        name: file.name.clone(),
        project: distribution.as_ref().map(|d| d.project.clone()).unwrap_or_default(),
        version: distribution.map(|d| d.version.to_string()).unwrap_or_default(),
        url: file.url.clone(),
        digest,
        size_bytes,
    };
    shared.log().served.files.insert(file.name.clone(), fetched);
    Ok(stream_of(opened))
}

fn stream_of(file: tokio::fs::File) -> Body {
    Body::from_stream(stream::try_unfold(file, |mut file| async move {
        let mut chunk = vec![0; CHUNK_BYTES];
        let count = file.read(&mut chunk).await?;
        chunk.truncate(count);
        Ok::<_, io::Error>((count > 0).then_some((chunk, file)))
    }))
}

/// An error with its causes, in one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
