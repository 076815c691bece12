//! The recording proxy: the one way out of the fetch phase, on a unix socket.
//!
//! What a registry looked like before a moment is each ecosystem's own business, one file each; here stands
//! what they share: every file that is handed out is recorded with its digest, what one build may ask for is
//! bounded as a whole, and a registry that fails is answered with 502 and remembered: it must not look like
//! "no such version". A file is handed out only after its bytes were checked against its index.

pub mod cargo;
pub mod deb;
pub mod npm;
pub mod pypi;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use futures::stream;
use quorate_proto::{Digest, FileName};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;
use url::Url;

use crate::cache::Cache;
use crate::registry::{Http, RegistryError};
use crate::traffic;
use crate::workshop::clip;

/// Largest file that a build may fetch.
pub const FILE_BYTES_MAX: u64 = 1 << 30;
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

/// A file that was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedFile {
    /// Its name.
    pub name: FileName,
    /// The project, in its registry's spelling.
    pub project: String,
    /// The version.
    pub version: String,
    /// The release as a package URL; the address where there is none.
    pub uri: String,
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
    /// Files that were handed out, by the proxy's own name for each.
    pub files: BTreeMap<String, FetchedFile>,
    /// Projects that were asked for.
    pub asked: BTreeSet<String>,
    /// The first failure of each project that had one.
    pub failures: BTreeMap<String, Failed>,
    /// Projects that could not be filtered by time.
    pub unfiltered: BTreeSet<String>,
}

/// A running proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    socket: PathBuf,
    recorder: Recorder,
    task: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

/// Where the handlers of a proxy write down what they do, and are told to stop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pages: Semaphore,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    served: Served,
    offered: usize,
    bytes: u64,
    named_bytes: usize,
}

/// Why something is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The registry's fault.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The disk.
    #[error("reading a cached file")]
    Disk(#[from] io::Error),
    /// The build's fault.
    #[error("the build asks for more than {limit} {what}")]
    Budget {
        /// Of what.
        what: &'static str,
        /// How much it may.
        limit: u64,
    },
}

impl Proxy {
    /// Starts serving on a socket of its own what `routes` makes.
    pub fn start(routes: impl FnOnce(Recorder) -> Router) -> io::Result<Self> {
        // A short path: the address of a unix socket has at most 107 bytes.
        let folder = tempfile::Builder::new().prefix("quorate-").tempdir()?;
        let socket = folder.path().join("index");
        let listener = UnixListener::bind(&socket)?;
        let recorder = Recorder { shared: Arc::new(Shared { pages: Semaphore::new(PAGES_AT_ONCE), log: Mutex::default() }) };
        let count = traffic::current();
        let counted = middleware::from_fn(move |request: Request, next: Next| traffic::within(count.clone(), next.run(request)));
        let routes = routes(recorder.clone()).layer(counted);
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                tracing::warn!(%error, "the build proxy stopped");
            }
        });
        Ok(Self { socket, recorder, task, _folder: folder })
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What it did until now.
    pub fn served(&self) -> Served {
        self.recorder.log().served.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Recorder {
    fn log(&self) -> MutexGuard<'_, Log> {
        // A panic elsewhere leaves no half-made entry: entries are added whole.
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A build asks for a project. Hold the permit while its page is in memory.
    pub async fn ask(&self, project: &str) -> Result<SemaphorePermit<'_>, ServeError> {
        self.log().ask(project)?;
        Ok(self.shared.pages.acquire().await.map_err(io::Error::other)?)
    }

    /// A page that lists so many files is shown.
    pub fn offer(&self, project: &str, files: usize, is_filtered: bool) -> Result<(), ServeError> {
        self.log().offer(project, files, is_filtered)
    }

    /// How many bytes a build may still fetch.
    pub fn bytes_left(&self) -> u64 {
        FILES_BYTES_MAX.saturating_sub(self.log().bytes).min(FILE_BYTES_MAX)
    }

    /// A file is about to be handed out under the name `key`.
    pub fn hand_out(&self, key: &str, fetched: FetchedFile) -> Result<(), ServeError> {
        self.log().hand_out(key, fetched)
    }

    /// Remembers a failure, and answers it. The build is told nothing of why: the words may hold answers of
    /// hosts that it cannot reach.
    pub fn failed(&self, project: &str, error: &ServeError) -> Response {
        let mut reason = describe(error);
        clip(&mut reason, FAILURE_BYTES_MAX);
        let failed = Failed { reason, is_passing: error.is_passing() };
        self.log().served.failures.entry(project.to_owned()).or_insert(failed);
        error.status().into_response()
    }

    /// Brings a file of a known SHA-256 from the cache, else from `url`.
    pub async fn bring(&self, url: &Url, digest: Digest, http: &Http, cache: &Cache) -> Result<PathBuf, ServeError> {
        Ok(http.download(url, Some(digest), self.bytes_left(), cache).await?.path)
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
    fn ask(&mut self, project: &str) -> Result<(), ServeError> {
        if self.served.asked.len() >= PROJECTS_MAX && !self.served.asked.contains(project) {
            return Err(ServeError::Budget { what: "projects", limit: PROJECTS_MAX as u64 });
        }
        self.served.asked.insert(project.to_owned());
        Ok(())
    }

    fn offer(&mut self, project: &str, files: usize, is_filtered: bool) -> Result<(), ServeError> {
        if self.offered + files > OFFERED_MAX {
            return Err(ServeError::Budget { what: "listed files", limit: OFFERED_MAX as u64 });
        }
        if !is_filtered {
            self.served.unfiltered.insert(project.to_owned());
        }
        self.offered += files;
        Ok(())
    }

    fn hand_out(&mut self, key: &str, fetched: FetchedFile) -> Result<(), ServeError> {
        if self.served.files.get(key).is_some_and(|before| before.digest == fetched.digest) {
            return Ok(());
        }
        let budget = |what, limit| Err(ServeError::Budget { what, limit });
        let bytes = self.bytes.saturating_add(fetched.size_bytes);
        let named_bytes =
            self.named_bytes + fetched.url.as_str().len() + 3 * fetched.name.as_str().len() + fetched.uri.len() + NAMED_BYTES_EACH;
        if self.served.files.contains_key(key) {
            return budget("files of one name", 1);
        } else if self.served.files.len() >= FILES_MAX {
            return budget("files", FILES_MAX as u64);
        } else if bytes > FILES_BYTES_MAX {
            return budget("bytes", FILES_BYTES_MAX);
        } else if named_bytes > NAMED_BYTES_MAX {
            return budget("bytes of names and addresses", NAMED_BYTES_MAX as u64);
        }
        (self.bytes, self.named_bytes) = (bytes, named_bytes);
        self.served.files.insert(key.to_owned(), fetched);
        Ok(())
    }
}

/// The bytes of a file as an answer.
pub fn stream_of(file: tokio::fs::File) -> Body {
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
        FetchedFile { name, project: "a".to_owned(), version: at.to_string(), uri: String::new(), url, digest, size_bytes }
    }

    #[test]
    fn a_build_that_fetches_without_end_is_told_to_stop() {
        for (size_bytes, address_bytes) in [(1, 10), (1 << 30, 10), (1, 2000)] {
            let mut log = Log::default();
            let count = (0..3000).take_while(|at| log.hand_out(&at.to_string(), fetched(*at, size_bytes, address_bytes)).is_ok()).count();
            assert!((4..=FILES_MAX).contains(&count), "{count}");
            assert!(log.hand_out("0", fetched(0, size_bytes, address_bytes)).is_ok(), "the same again costs nothing");
        }
        let mut log = Log::default();
        let asked = (0..3000).take_while(|at| log.ask(&format!("a{at}")).is_ok()).count();
        assert_eq!(asked, PROJECTS_MAX);
    }
}
