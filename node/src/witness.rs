//! The node as a witness: cosigns checkpoints of the logs it knows over HTTP (C2SP tlog-witness).
//!
//! The decisions are [`quorate_tlog::witness`]'s; this file gives them a socket, a clock and a folder. State
//! is one file a log, the last checkpoint that was cosigned, and it is replaced durably before a cosignature
//! leaves. What convicts a log is kept beside it. `docs/spec/witness.md`, section 4.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Path as UrlPath, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use quorate_listen::{Limits, Shares};
use quorate_proto::Digest;
use quorate_tlog::note::KeyError;
use quorate_tlog::witness::{REQUEST_BYTES_MAX, Record, ResumeError, WitnessError, origin_hash};
use quorate_tlog::{AddCheckpoint, Cosigner, LogEquivocation, Origin, VerifierKey, Witness};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::durable;
use crate::key::{self, KeyFileError};
use crate::logs::Logs;

/// How long a request's body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Requests that arrive at once, or are whole and wait. Each holds as much of its body as has come, at most 260 KiB.
const ARRIVING_MAX: usize = 256;

/// Connections at once: each may bring one that arrives, and is one of the node's descriptors.
const CONNECTIONS_MAX: usize = ARRIVING_MAX;

/// Requests looked at together; more wait.
const REQUESTS_MAX: usize = 32;

/// Proofs kept for a log. One convicts it; a log that signs many must not fill the disk.
const EVIDENCE_MAX: usize = 16;

/// `[witness]`: cosigning checkpoints.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessConfig {
    /// The address to listen on. Port 0: the system chooses, `ready.json` says which.
    pub listen: SocketAddr,
    /// The name that cosignatures carry, such as `alpha.example/witness`.
    pub name: String,
    /// The cosigner's secret key, no other key of the node's. Default: `witness/key` in the data folder, made
    /// at the first start.
    pub key: Option<PathBuf>,
    /// Verifier keys of the logs that are witnessed, besides the one in the policy's `[log]`.
    #[serde(default)]
    pub logs: Vec<String>,
}

/// Where and as whom a node witnesses: what `ready.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// The submission and monitoring prefix.
    pub url: String,
    /// The cosigner's verifier key.
    pub vkey: String,
}

/// Why a node cannot witness. Fatal: to begin anew would be to cosign a second history.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The cosigner's key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A name that no cosignature can carry.
    #[error("witness name `{name}`")]
    Name {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// Not a log's verifier key.
    #[error("log key `{text}`")]
    Log {
        /// Which.
        text: String,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// No log to witness.
    #[error("there is no log to witness: name one in `witness.logs`, or in the policy's `[log]`")]
    NoLog,
    /// A log's key has a name that is no origin.
    #[error("log")]
    Origin(#[source] ResumeError),
    /// Kept state that cannot be gone on from.
    #[error("kept checkpoint `{path}`")]
    Kept {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: ResumeError,
    },
    /// A file or the address.
    #[error("`{what}`")]
    Io {
        /// Which.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A witness that answers.
#[derive(Debug)]
pub struct Serving {
    /// Where and as whom.
    pub listening: Listening,
    task: JoinHandle<()>,
}

/// What requests are answered from.
#[derive(Debug)]
struct Service {
    /// Asked one request at a time: comparing and making durable are one step.
    witness: Mutex<Witness>,
    folder: PathBuf,
    arriving: Shares,
    turns: Semaphore,
    /// Hears of every checkpoint that was cosigned: what the log shows here it must show to everybody.
    logs: Option<Logs>,
}

impl Serving {
    /// Takes up what was kept and begins to answer. `policy_log` is the verifier key in the node's policy; `logs`
    /// hears of what is asked here.
    pub async fn start(config: &WitnessConfig, data_dir: &Path, policy_log: Option<&str>, logs: Option<Logs>) -> Result<Self, StartError> {
        let failed = |what: String| move |source| StartError::Io { what, source };
        let service = Arc::new(Service { logs, ..Service::open(config, &data_dir.join("witness"), policy_log)? });
        let vkey = service.lock().cosigner().verifier().to_string();
        let listener = TcpListener::bind(config.listen).await.map_err(failed(config.listen.to_string()))?;
        let address = listener.local_addr().map_err(failed(config.listen.to_string()))?;
        let listening = Listening { url: format!("http://{address}"), vkey };
        tracing::info!(url = %listening.url, vkey = %listening.vkey, "witness listens");
        let limits = Limits { connections_max: CONNECTIONS_MAX, ..Limits::default() };
        let task = tokio::spawn(quorate_listen::serve(listener, router(service), limits, std::future::pending()));
        Ok(Self { listening, task })
    }

    /// Answers no more.
    pub fn stop(self) {
        self.task.abort();
    }
}

fn router(service: Arc<Service>) -> Router {
    Router::new().route("/add-checkpoint", post(add_checkpoint)).route("/{origin}/checkpoint", get(checkpoint)).with_state(service)
}

async fn add_checkpoint(State(service): State<Arc<Service>>, ConnectInfo(from): ConnectInfo<SocketAddr>, body: Body) -> Response {
    let (share, lost) = service.arriving.take(from.ip(), 1);
    let coming = async {
        let arrived = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, REQUEST_BYTES_MAX)).await;
        let bytes = arrived.ok().and_then(Result::ok).ok_or((StatusCode::BAD_REQUEST, "the request is too long, or too slow\n"))?;
        // Its turn comes when it is whole: slow senders are nobody else's wait.
        let turn = service.turns.acquire().await.map_err(|_| (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"))?;
        Ok::<_, (StatusCode, &str)>((bytes, turn))
    };
    let arrived = tokio::select! {
        arrived = coming => arrived,
        () = lost.told() => Err((StatusCode::SERVICE_UNAVAILABLE, "too many requests are arriving; ask again\n")),
    };
    drop(share);
    let (bytes, _turn) = match arrived {
        Ok(arrived) => arrived,
        Err(refused) => return refused.into_response(),
    };
    let request = match AddCheckpoint::parse(&bytes) {
        Ok(request) => request,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    let asked = Arc::clone(&service);
    let answer = tokio::task::spawn_blocking(move || asked.answer(&request, now())).await;
    answer.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

// SPEC tlog-witness: GET <monitoring prefix>/<origin hash>/checkpoint; 404 if there is none.
async fn checkpoint(State(service): State<Arc<Service>>, UrlPath(origin): UrlPath<String>) -> Response {
    let kept = service.lock().by_origin_hash(&origin).map(Record::to_bytes);
    let text = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    kept.map_or_else(|| StatusCode::NOT_FOUND.into_response(), |kept| (text, kept).into_response())
}

impl Service {
    fn open(config: &WitnessConfig, folder: &Path, policy_log: Option<&str>) -> Result<Self, StartError> {
        let failed = |path: &Path| {
            let what = path.display().to_string();
            move |source| StartError::Io { what, source }
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        let name = config.name.parse().map_err(|source| StartError::Name { name: config.name.clone(), source })?;
        let path = config.key.clone().unwrap_or_else(|| folder.join("key"));
        let key = if path.exists() { key::load(&path)? } else { key::generate(&path)? };
        let log = |text: &str| text.parse::<VerifierKey>().map_err(|source| StartError::Log { text: text.to_owned(), source });
        let logs = config.logs.iter().map(String::as_str).chain(policy_log).map(log).collect::<Result<Vec<_>, _>>()?;
        if logs.is_empty() {
            return Err(StartError::NoLog);
        }
        let mut witness = Witness::new(Cosigner::from_seed(name, &key.seed()), &logs).map_err(StartError::Origin)?;
        for origin in witness.origins().cloned().collect::<Vec<_>>() {
            let log = log_folder(folder, &origin);
            fs::create_dir_all(&log).map_err(failed(&log))?;
            durable::sweep(&log).map_err(failed(&log))?;
            let path = log.join("checkpoint");
            match fs::read(&path) {
                Ok(kept) => witness.resume(&origin, &kept).map_err(|source| StartError::Kept { path, source })?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(&path)(error)),
            }
        }
        durable::sync_dir(folder).map_err(failed(folder))?;
        Ok(Self {
            witness: Mutex::new(witness),
            folder: folder.to_owned(),
            arriving: Shares::new(ARRIVING_MAX),
            turns: Semaphore::new(REQUESTS_MAX),
            logs: None,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Witness> {
        self.witness.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides, keeps, answers. Blocks: an answer that cosigns waits for the disk.
    fn answer(&self, request: &AddCheckpoint, now: u64) -> Response {
        let mut witness = self.lock();
        let cosigned = witness.add_checkpoint(request, now, |record| self.keep(record));
        let contradiction = if cosigned.is_err() { witness.contradiction(request) } else { None };
        drop(witness);
        if let Some(logs) = &self.logs {
            // Refused or not: what its log has signed is a view of it.
            logs.hear(request.note().to_string().as_bytes());
        }
        if let Some(proof) = contradiction {
            self.convict(request, &proof);
        }
        let refused = match cosigned {
            Ok(line) => return format!("{line}\n").into_response(),
            Err(refused) => refused,
        };
        let status = StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        tracing::debug!(%status, error = &refused as &dyn std::error::Error, "a checkpoint was not cosigned");
        match refused {
            // SPEC tlog-witness: the body is the size and a newline, its type `text/x.tlog.size`.
            WitnessError::Conflict { size } => (status, [(header::CONTENT_TYPE, "text/x.tlog.size")], format!("{size}\n")).into_response(),
            WitnessError::Persist(error) => {
                tracing::error!(%error, "a cosigned checkpoint could not be kept; nothing was cosigned");
                status.into_response()
            }
            refused => (status, format!("{refused}\n")).into_response(),
        }
    }

    // SPEC tlog-witness: the witness MUST persist the new checkpoint before responding.
    fn keep(&self, record: &Record) -> io::Result<()> {
        durable::replace(&log_folder(&self.folder, record.checkpoint().origin()).join("checkpoint"), &record.to_bytes())
    }

    fn convict(&self, request: &AddCheckpoint, proof: &LogEquivocation) {
        let origin = request.note().unverified_origin();
        tracing::error!(origin, "a log has signed two histories");
        if let Err(error) = origin.parse().map_or(Ok(()), |origin| self.keep_evidence(&origin, proof)) {
            tracing::error!(%error, "the proof could not be kept");
        }
    }

    fn keep_evidence(&self, origin: &Origin, proof: &LogEquivocation) -> io::Result<()> {
        let (folder, bytes) = (log_folder(&self.folder, origin), proof.to_string().into_bytes());
        let held = fs::read_dir(&folder)?.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("evidence-")).count();
        let path = folder.join(format!("evidence-{}", Digest::of(&bytes).to_hex()));
        if held >= EVIDENCE_MAX || path.exists() {
            return Ok(());
        }
        durable::replace(&path, &bytes)
    }
}

fn log_folder(folder: &Path, origin: &Origin) -> PathBuf {
    folder.join(origin_hash(origin))
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
