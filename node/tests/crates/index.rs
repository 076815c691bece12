//! A small sparse index on loopback.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use quorate_proto::Digest;
use serde_json::json;

use super::counted::Counted;

/// One version of a crate.
#[derive(Clone, Debug)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) published: String,
    pub(crate) dependencies: Vec<String>,
    pub(crate) bytes: Vec<u8>,
}

/// Starts an index and gives its address.
pub(crate) async fn serve(crates: Vec<Crate>, counted: &Counted) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = json!({ "dl": format!("http://{address}/crates") }).to_string();
    let router = Router::new()
        .route("/config.json", get(|| async move { config }))
        .route("/{a}/{b}/{name}", get(page))
        .route("/crates/{name}/{version}/download", get(file))
        .with_state(Arc::new(crates));
    let router = counted.layer(router);
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/")
}

async fn page(State(crates): State<Arc<Vec<Crate>>>, Path((_, _, name)): Path<(String, String, String)>) -> Response {
    let line = |own: &Crate| {
        let dep = |name: &String| json!({ "name": name, "req": "^1", "features": [], "optional": false, "default_features": true, "target": null, "kind": "normal" });
        let deps: Vec<_> = own.dependencies.iter().map(dep).collect();
        let cksum = Digest::of(&own.bytes).to_hex();
        json!({ "name": own.name, "vers": own.version, "deps": deps, "cksum": cksum, "features": {}, "yanked": false, "pubtime": own.published }).to_string() + "\n"
    };
    let lines: String = crates.iter().filter(|own| own.name == name).map(line).collect();
    if lines.is_empty() { StatusCode::NOT_FOUND.into_response() } else { lines.into_response() }
}

async fn file(State(crates): State<Arc<Vec<Crate>>>, Path((name, version)): Path<(String, String)>) -> Response {
    match crates.iter().find(|own| own.name == name && own.version == version) {
        Some(own) => own.bytes.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
