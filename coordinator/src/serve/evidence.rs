//! Routes that hand out exact bytes: evidence, the policy, the log's files; and what operators watch.

use std::io;

use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use prometheus_client::encoding::text::encode_registry;
use quorate_tlog::{BundlePath, TilePath};

use super::json;
use super::{ApiError, App};
use crate::store::leaves::LeafReader;
use crate::store::{Store, StoreError};

const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const AN_HOUR: HeaderValue = HeaderValue::from_static("public, max-age=3600");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

pub(super) async fn blob(State(app): State<App>, Path(text): Path<String>) -> Result<Response, ApiError> {
    let digest = json::digest(&text)?;
    let read = |source| StoreError::Io { activity: "reading a file", source };
    let bytes = app.read(move |store: &Store| store.blob(&digest).map_err(read)).await?;
    let bytes = bytes.ok_or_else(|| ApiError::not_found("this file is not held, or no result names it"))?;
    Ok(([(header::CONTENT_TYPE, BYTES), (header::CACHE_CONTROL, IMMUTABLE)], bytes).into_response())
}

pub(super) async fn policy(State(app): State<App>) -> Response {
    ([(header::CONTENT_TYPE, "application/toml")], app.policy_bytes.clone()).into_response()
}

pub(super) async fn checkpoint(State(app): State<App>) -> Result<Response, ApiError> {
    let note = app.store().log().shown().note;
    if note.is_empty() {
        return Err(ApiError::not_found("the witnesses have not cosigned a checkpoint yet"));
    }
    Ok(([(header::CONTENT_TYPE, TEXT), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], note).into_response())
}

pub(super) async fn tile(State(app): State<App>, Path(path): Path<String>) -> Result<Response, ApiError> {
    let path = format!("tile/{path}");
    let cached = if path.contains(".p/") { AN_HOUR } else { IMMUTABLE };
    let bytes = app.read(move |store| Ok(log_file(store.log(), &path))).await??;
    Ok(([(header::CONTENT_TYPE, BYTES), (header::CACHE_CONTROL, cached)], bytes).into_response())
}

/// A tile or entry bundle by its C2SP path.
pub(super) fn log_file(log: &LeafReader, path: &str) -> Result<Vec<u8>, ApiError> {
    let malformed = |error: quorate_tlog::tile::TileError| ApiError::new(StatusCode::BAD_REQUEST, "malformed-path", error.to_string());
    let bytes = if path.starts_with("tile/entries/") {
        log.bundle(&path.parse::<BundlePath>().map_err(malformed)?)
    } else {
        log.tile(&path.parse::<TilePath>().map_err(malformed)?)
    };
    bytes.map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            return ApiError::not_found("the log is not that large");
        }
        tracing::error!(error = &error as &dyn std::error::Error, path, "reading the log failed");
        ApiError::internal()
    })
}

pub(super) async fn metrics(State(app): State<App>) -> Result<Response, ApiError> {
    let mut text = String::new();
    encode_registry(&mut text, &app.registry).map_err(|_| ApiError::internal())?;
    if let Some(mesh) = app.mesh.get() {
        text.push_str(&mesh.prometheus());
    }
    text.push_str("# EOF\n");
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// Alive as long as it answers: the writer's end stops the process.
pub(super) async fn healthz() -> &'static str {
    "ok"
}
