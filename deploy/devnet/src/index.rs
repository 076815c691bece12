//! A small package index on loopback, as a private registry would be: the simple JSON API
//! (PEP 691, PEP 700) over files in memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use quorate_proto::Digest;
use serde_json::json;
use tokio::net::TcpListener;

/// One published file.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    /// The project, normalised.
    pub project: String,
    /// The file's name.
    pub file: String,
    /// Its bytes.
    pub content: Vec<u8>,
    /// When it was uploaded, RFC 3339.
    pub uploaded: String,
}

type Files = Arc<BTreeMap<String, Published>>;

/// Serves `files` until the process ends; answers the address of the simple index.
pub(crate) async fn serve(files: Vec<Published>) -> anyhow::Result<String> {
    let files: Files = Arc::new(files.into_iter().map(|published| (published.file.clone(), published)).collect());
    let routes = Router::new().route("/simple/{project}/", get(project)).route("/files/{file}", get(file)).with_state(files);
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.context("listening for the small index")?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(format!("http://{address}/simple"))
}

async fn project(State(files): State<Files>, Path(project): Path<String>) -> impl IntoResponse {
    let listed: Vec<_> = files
        .values()
        .filter(|published| published.project == project)
        .map(|published| {
            json!({
                "filename": published.file,
                "url": format!("../../files/{}", published.file),
                "hashes": { "sha256": Digest::of(&published.content).to_hex() },
                "size": published.content.len(),
                "upload-time": published.uploaded,
                "yanked": false,
            })
        })
        .collect();
    if listed.is_empty() {
        return (StatusCode::NOT_FOUND, "no such project").into_response();
    }
    let body = json!({ "meta": { "api-version": "1.1" }, "name": project, "files": listed }).to_string();
    ([(header::CONTENT_TYPE, "application/vnd.pypi.simple.v1+json")], body).into_response()
}

async fn file(State(files): State<Files>, Path(file): Path<String>) -> impl IntoResponse {
    files.get(&file).map_or_else(|| StatusCode::NOT_FOUND.into_response(), |published| published.content.clone().into_response())
}
