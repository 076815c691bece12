//! The registry time machine: an index on a unix socket that shows registries as they were before a
//! moment, and records every file that it hands out.
//!
//! Files that were published at or after the moment do not exist; what is yanked today was not yanked
//! then. Nothing of the release that is being rebuilt exists at any moment. A file is handed out only after its bytes were checked against its index. A registry that fails
//! is answered with 502 and remembered: it must not look like "no such version".

mod page;

use std::collections::{BTreeMap, BTreeSet};
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
use pep440_rs::Version;
use quorate_proto::{Digest, FileName, Timestamp};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_blocking};
use url::Url;

use crate::cache::Cache;
use crate::registry::file_name::{Distribution, ProjectName};
use crate::registry::{Project, PublishedFile, Registry, RegistryError};
use crate::workshop::clip;

/// Largest file that a build may fetch.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Most bytes of all files that a build may fetch.
const FILES_BYTES_MAX: u64 = 4 << 30;
/// Most files that a build may fetch.
const FILES_MAX: usize = 2000;
/// Most bytes of names and addresses of those: with them the provenance stays below its own limit.
const NAMED_BYTES_MAX: usize = 3 << 19;
/// Bytes that a provenance spends on a file besides its names and its address.
const NAMED_BYTES_EACH: usize = 400;
/// Most projects that a build may ask for, and most files that their pages may list together.
const PROJECTS_MAX: usize = 2000;
const OFFERED_MAX: usize = 200_000;
/// Most project pages that are read at a time.
const PAGES_AT_ONCE: usize = 4;
const FAILURE_BYTES_MAX: usize = 500;
const CHUNK_BYTES: usize = 64 << 10;

/// Registries as they were before a moment.
#[derive(Clone, Debug)]
pub struct TimeMachine {
    /// The registries, in order: the first that knows a project answers for it alone.
    pub registries: Vec<Registry>,
    /// The moment; files published at or after it do not exist.
    pub cutoff: Option<Timestamp>,
    /// What a build must not see, whatever the moment.
    pub withheld: Withheld,
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

/// A project that could not be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Why, in one line.
    pub reason: String,
    /// Whether the same may work later.
    pub is_passing: bool,
}

/// What a proxy did.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// Files that were handed out, by name.
    pub files: BTreeMap<FileName, FetchedFile>,
    /// Projects that were asked for.
    pub asked: BTreeSet<ProjectName>,
    /// The first failure of each project that had one.
    pub failures: BTreeMap<ProjectName, Failed>,
    /// Projects that could not be filtered by time.
    pub unfiltered: BTreeSet<ProjectName>,
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
    pages: Semaphore,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    offered: BTreeMap<Digest, (ProjectName, PublishedFile)>,
    served: Served,
    bytes: u64,
    named_bytes: usize,
}

/// Why something is not served.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("reading a cached file")]
    Disk(#[from] io::Error),
    #[error("the build asks for more than {limit} {what}")]
    Budget { what: &'static str, limit: u64 },
}

impl Proxy {
    /// Starts serving on a socket of its own.
    pub fn start(machine: TimeMachine) -> io::Result<Self> {
        // A short path: the address of a unix socket has at most 107 bytes.
        let folder = tempfile::Builder::new().prefix("quorate-").tempdir()?;
        let socket = folder.path().join("index");
        let listener = UnixListener::bind(&socket)?;
        let shared = Arc::new(Shared { machine, pages: Semaphore::new(PAGES_AT_ONCE), log: Mutex::default() });
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

    /// What it did until now.
    pub fn served(&self) -> Served {
        self.shared.log().served.clone()
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
    async fn project(&self, name: &ProjectName) -> Result<Option<Project>, ServeError> {
        self.log().ask(name)?;
        let _permit = self.pages.acquire().await.map_err(io::Error::other)?;
        for registry in &self.machine.registries {
            match registry.project(name).await {
                Ok(project) => return Ok(Some(project)),
                Err(RegistryError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// The build is told nothing of why: the words may hold answers of hosts that it cannot reach.
    fn failed(&self, project: &ProjectName, error: &ServeError) -> Response {
        let mut reason = describe(error);
        clip(&mut reason, FAILURE_BYTES_MAX);
        let failed = Failed { reason, is_passing: error.is_passing() };
        self.log().served.failures.entry(project.clone()).or_insert(failed);
        error.status().into_response()
    }
}

impl ServeError {
    fn is_passing(&self) -> bool {
        match self {
            Self::Registry(error) => error.is_passing(),
            Self::Disk(_) => true,
            Self::Budget { .. } => false,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Registry(_) | Self::Disk(_) => StatusCode::BAD_GATEWAY,
            Self::Budget { .. } => StatusCode::FORBIDDEN,
        }
    }
}

impl Log {
    fn ask(&mut self, name: &ProjectName) -> Result<(), ServeError> {
        if self.served.asked.len() >= PROJECTS_MAX && !self.served.asked.contains(name) {
            return Err(ServeError::Budget { what: "projects", limit: PROJECTS_MAX as u64 });
        }
        self.served.asked.insert(name.clone());
        Ok(())
    }

    fn offer(&mut self, name: &ProjectName, visible: &page::Visible<'_>) -> Result<(), ServeError> {
        if self.offered.len() + visible.files.len() > OFFERED_MAX {
            return Err(ServeError::Budget { what: "listed files", limit: OFFERED_MAX as u64 });
        }
        if visible.unfiltered {
            self.served.unfiltered.insert(name.clone());
        }
        let offered = visible.files.iter().filter_map(|file| Some((file.sha256?, (name.clone(), (*file).clone()))));
        self.offered.extend(offered);
        Ok(())
    }

    fn hand_out(&mut self, fetched: FetchedFile) -> Result<(), ServeError> {
        if self.served.files.get(&fetched.name).is_some_and(|before| before.digest == fetched.digest) {
            return Ok(());
        }
        let budget = |what, limit| Err(ServeError::Budget { what, limit });
        let bytes = self.bytes.saturating_add(fetched.size_bytes);
        let named_bytes = self.named_bytes + fetched.url.as_str().len() + 3 * fetched.name.as_str().len() + NAMED_BYTES_EACH;
        if self.served.files.contains_key(&fetched.name) {
            return budget("files of one name", 1);
        } else if self.served.files.len() >= FILES_MAX {
            return budget("files", FILES_MAX as u64);
        } else if bytes > FILES_BYTES_MAX {
            return budget("bytes", FILES_BYTES_MAX);
        } else if named_bytes > NAMED_BYTES_MAX {
            return budget("bytes of names and addresses", NAMED_BYTES_MAX as u64);
        }
        (self.bytes, self.named_bytes) = (bytes, named_bytes);
        self.served.files.insert(fetched.name.clone(), fetched);
        Ok(())
    }
}

async fn project(State(shared): State<Arc<Shared>>, UrlPath(name): UrlPath<String>, headers: HeaderMap) -> Response {
    let Ok(name) = name.parse::<ProjectName>() else { return StatusCode::NOT_FOUND.into_response() };
    let known = match shared.project(&name).await {
        Ok(Some(project)) => project,
        Ok(None) => return StatusCode::NOT_FOUND.into_response(),
        Err(error) => return shared.failed(&name, &error),
    };
    let visible = page::visible(&name, &known, shared.machine.cutoff, &shared.machine.withheld);
    let offered = shared.log().offer(&name, &visible);
    if let Err(error) = offered {
        return shared.failed(&name, &error);
    }
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    page::render(name.as_str(), &visible.files, accept).into_response()
}

async fn file(State(shared): State<Arc<Shared>>, UrlPath((digest, name)): UrlPath<(String, String)>) -> Response {
    let digest = Digest::from_hex(&digest).ok();
    let offered = digest.and_then(|digest| Some((digest, shared.log().offered.get(&digest).cloned()?)));
    let Some((digest, (project, file))) = offered.filter(|(_, (_, file))| file.name.as_str() == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match bring(&shared, &file, digest).await {
        Ok(body) => ([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response(),
        Err(error) => shared.failed(&project, &error),
    }
}

async fn bring(shared: &Shared, file: &PublishedFile, digest: Digest) -> Result<Body, ServeError> {
    let cache = shared.machine.cache.clone();
    let held = spawn_blocking(move || cache.get(digest)).await.map_err(io::Error::other)?;
    let path = if let Some(path) = held {
        path
    } else {
        let left = FILES_BYTES_MAX.saturating_sub(shared.log().bytes);
        let registry = shared.machine.registries.first().ok_or_else(|| io::Error::other("no registry"))?;
        registry.download(file, FILE_BYTES_MAX.min(left), &shared.machine.cache).await?.path
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
    shared.log().hand_out(fetched)?;
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn fetched(at: usize, size_bytes: u64, address_bytes: usize) -> FetchedFile {
        let name: FileName = format!("a-{at}.tar.gz").parse().unwrap();
        let url = format!("https://registry.example/{}", "x".repeat(address_bytes)).parse().unwrap();
        let digest = Digest::of(name.as_str().as_bytes());
        FetchedFile { name, project: "a".to_owned(), version: at.to_string(), url, digest, size_bytes }
    }

    #[test]
    fn a_build_that_fetches_without_end_is_told_to_stop() {
        for (size_bytes, address_bytes) in [(1, 10), (1 << 30, 10), (1, 2000)] {
            let mut log = Log::default();
            let count = (0..3000).take_while(|at| log.hand_out(fetched(*at, size_bytes, address_bytes)).is_ok()).count();
            assert!((4..=FILES_MAX).contains(&count), "{count}");
            assert!(log.hand_out(fetched(0, size_bytes, address_bytes)).is_ok(), "the same again costs nothing");
        }
        let mut log = Log::default();
        let asked = (0..3000).take_while(|at| log.ask(&format!("a{at}").parse().unwrap()).is_ok()).count();
        assert_eq!(asked, PROJECTS_MAX);
    }

    #[tokio::test]
    async fn a_project_name_that_is_an_address_is_not_fetched() {
        use tokio::io::AsyncWriteExt as _;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let inner = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let secret = inner.local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let index = "http://127.0.0.1:9/simple".parse().unwrap();
        let machine = TimeMachine {
            registries: vec![Registry::new(crate::registry::Http::new().unwrap(), index)],
            cutoff: None,
            withheld: Withheld {
                project: "demo".parse().unwrap(),
                version: "1".parse().unwrap(),
                digest: Digest::of(b""),
                uploaded_at: None,
            },
            cache: Cache::open(folder.path()).unwrap(),
        };
        let proxy = Proxy::start(machine).unwrap();
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
