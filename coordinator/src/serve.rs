//! What the world sees: HTTP/JSON, the log's files, the dashboard and gRPC on one port.
//!
//! Decides routes, limits and headers. Every answer is read from the store as of one checkpoint, off
//! the async threads. `docs/spec/http-api.md`.

mod artifacts;
mod declarations;
mod error;
mod evidence;
mod grpc;
mod json;
mod lists;
mod operators;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use prometheus_client::registry::Registry;
use quorate_gossip::Counters;
use quorate_listen::Shares;
use quorate_proto::declaration::DECLARATION_BYTES_MAX;
use quorate_tally::Policy;
use tokio::sync::Semaphore;

pub use error::ApiError;
pub(crate) use json::{SlotQuery, pick};

use crate::dashboard;
use crate::ingest::Ingest;
use crate::store::{Store, StoreError};
use crate::views::Views;

/// Largest query string, in bytes.
const QUERY_BYTES_MAX: usize = 4_096;

/// Everything that answers are made of.
pub struct Site {
    /// Takes submissions in, and leads to the store.
    pub ingest: Ingest,
    /// Rendered answers.
    pub views: Arc<Views>,
    /// The policy that verdicts are made under.
    pub policy: Arc<Policy>,
    /// Its exact bytes.
    pub policy_bytes: Bytes,
    /// The log's verifier key.
    pub vkey: String,
    /// The counters.
    pub registry: Registry,
    /// The mesh's counters, once it runs.
    pub mesh: OnceLock<Counters>,
    /// How long an answer may take.
    pub request_timeout: Duration,
    /// What is done at once for anybody.
    pub limits: Limits,
}

/// Reads of the store at once: far below the threads that tokio blocks on, which ingest needs too.
const READS_MAX: usize = 64;

/// gRPC calls that are answered at once. Each holds its request in memory, up to 8 MiB.
const CALLS_MAX: usize = 64;

/// Bytes of memory for gRPC calls that arrive, or are whole and wait to be answered.
const ARRIVING_BYTES_MAX: usize = 512 << 20;

/// What is done at once for anybody who asks.
#[derive(Debug)]
pub struct Limits {
    reads: Arc<Semaphore>,
    calls: Semaphore,
    arriving: Shares,
}

impl Default for Limits {
    fn default() -> Self {
        let reads = Arc::new(Semaphore::new(READS_MAX));
        Self { reads, calls: Semaphore::new(CALLS_MAX), arriving: Shares::new(ARRIVING_BYTES_MAX) }
    }
}

/// Shared by all handlers.
pub type App = Arc<Site>;

impl Site {
    /// The store.
    pub fn store(&self) -> &Arc<Store> {
        self.ingest.store()
    }

    /// Reads from the store without blocking the runtime.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let permit = Arc::clone(&self.limits.reads).try_acquire_owned().map_err(|_| ApiError::unavailable())?;
        let store = Arc::clone(self.store());
        // Whoever stops waiting does not stop the read: it keeps its permit to its end.
        let answer = tokio::task::spawn_blocking(move || {
            let answer = read(&store);
            drop(permit);
            answer
        })
        .await;
        answer.map_err(|_| ApiError::internal())?.map_err(ApiError::from)
    }
}

/// All routes.
pub fn router(app: &App) -> Router {
    let pages = Router::new()
        .route("/", get(dashboard::home))
        .route("/artifact/{digest}", get(dashboard::artifact))
        .route("/operators", get(dashboard::operators));
    let api = Router::new()
        .route("/api/v1/verdicts", get(lists::verdicts))
        .route("/api/v1/artifacts/{digest}", get(artifacts::artifacts))
        .route("/api/v1/artifacts/{digest}/verdict", get(artifacts::verdict))
        .route("/api/v1/artifacts/{digest}/results", get(artifacts::results))
        .route("/api/v1/artifacts/{digest}/bundle", get(artifacts::bundle))
        .route("/api/v1/packages", get(artifacts::packages))
        .route("/api/v1/affected", get(lists::affected))
        .route("/api/v1/operators", get(operators::operators))
        .route("/api/v1/drills", get(operators::drills))
        .route("/api/v1/declarations", get(declarations::list).post(declarations::declare))
        .layer(DefaultBodyLimit::max(DECLARATION_BYTES_MAX))
        .route("/api/v1/blobs/{digest}", get(evidence::blob))
        .route("/api/v1/policy", get(evidence::policy))
        .route("/checkpoint", get(evidence::checkpoint))
        .route("/tile/{*path}", get(evidence::tile))
        .route("/metrics", get(evidence::metrics))
        .route("/healthz", get(evidence::healthz))
        .fallback(async || ApiError::not_found("there is nothing at this address"));
    let refused = async || ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "this address is read with GET");
    let read = api.merge(pages).method_not_allowed_fallback(refused);
    read.layer(from_fn_with_state(Arc::clone(app), limit)).with_state(Arc::clone(app)).merge(grpc::routes(app))
}

/// Limits every request and hardens every answer.
async fn limit(State(app): State<App>, request: Request, next: Next) -> Response {
    if request.uri().query().is_some_and(|query| query.len() > QUERY_BYTES_MAX) {
        return ApiError::new(StatusCode::URI_TOO_LONG, "oversized", "the query is longer than 4,096 bytes").into_response();
    }
    let answer = tokio::time::timeout(app.request_timeout, next.run(request)).await;
    let mut response = answer.unwrap_or_else(|_| {
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the answer took too long: narrow the question").into_response()
    });
    let headers = response.headers_mut();
    for (name, value) in HARDENING {
        headers.entry(name).or_insert(value);
    }
    response
}

/// Pages set their own Content-Security-Policy; everything else is data and may load nothing.
const HARDENING: [(HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::daemon::{Core, Parts};
    use quorate_proto::SecretKey;

    #[tokio::test(flavor = "multi_thread")]
    async fn readers_that_hold_every_place_cost_other_readers_and_never_ingest() {
        // 512 threads are tokio's default.
        assert!(Limits::default().reads.available_permits() <= 512 / 4);
        let folder = tempfile::tempdir().unwrap();
        let key = SecretKey::from_seed(&[7; 32]);
        let parts = Parts {
            data_dir: folder.path().to_path_buf(),
            origin: "quorate.example/test".into(),
            log_key: SecretKey::from_seed(&key.seed()),
            policy: format!("version = 1\nthreshold = 1\n[[operator]]\nname = \"alpha\"\nkey = \"{}\"\n", key.operator_id()).into_bytes(),
            statement_key: key,
            request_timeout: Duration::from_secs(10),
            witnesses: None,
        };
        let core = tokio::task::spawn_blocking(move || Core::start(parts)).await.unwrap().unwrap();
        let places = u32::try_from(READS_MAX).unwrap();
        let all = Arc::clone(&core.app.limits.reads).try_acquire_many_owned(places).unwrap();
        let refused = core.app.read(|_| Ok(())).await.unwrap_err();
        assert_eq!(refused, ApiError::unavailable());
        assert_eq!(tonic::Status::from(refused).code(), tonic::Code::Unavailable);
        assert_eq!(core.app.ingest.keep_blobs(vec![b"nobody names this".to_vec()]).await, Ok(vec![None]));
        drop(all);
        assert_eq!(core.app.read(|_| Ok(7)).await, Ok(7));
        tokio::task::spawn_blocking(move || core.stop()).await.unwrap();
    }
}
