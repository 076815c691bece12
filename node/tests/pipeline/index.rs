//! A small package index on loopback that serves true pages and, where it is told to, untrue files.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use quorate_node::registry::pypi::file_name::Distribution;
use quorate_proto::Digest;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::counted::Counted;

/// When every file of the release was uploaded.
pub(crate) const UPLOADED: &str = "2024-06-01T00:00:00Z";

/// How a listed file is served.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// As it is.
    Bytes(Vec<u8>),
    /// 404.
    Missing(Vec<u8>),
    /// 500.
    Failing(Vec<u8>),
    /// The whole length announced, half of it sent.
    Half(Vec<u8>),
    /// Other bytes of the same length.
    OtherBytes(Vec<u8>),
    /// As it is, once; then it was never there.
    Once(Vec<u8>),
    /// As it is, once; then other bytes of the same length under the same checksum.
    Turning(Vec<u8>),
    /// As it is, with this as its size on the page.
    Sized(Vec<u8>, Value),
}

/// An index, and its address once it is started.
pub(crate) struct Index {
    files: Vec<(String, String, Answer)>,
    address: Option<std::net::SocketAddr>,
    /// What it is asked for.
    pub(crate) counted: Counted,
}

impl Index {
    pub(crate) fn new(files: Vec<(&str, Answer)>) -> Self {
        let files = files.into_iter().map(|(name, answer)| (name.to_owned(), UPLOADED.to_owned(), answer)).collect();
        Self { files, address: None, counted: Counted::default() }
    }

    pub(crate) async fn serve(files: Vec<(&str, Answer)>) -> Self {
        Self::new(files).start().await
    }

    pub(crate) fn add(&mut self, name: &str, uploaded: &str, answer: Answer) {
        self.files.push((name.to_owned(), uploaded.to_owned(), answer));
    }

    pub(crate) async fn start(mut self) -> Self {
        let mut files = BTreeMap::new();
        for (name, uploaded, answer) in &self.files {
            let url = match answer {
                Answer::Half(bytes) => format!("http://{}/{name}", halves(bytes.clone()).await),
                _ => format!("../../files/{name}"),
            };
            files.insert(name.clone(), Listed { uploaded: uploaded.clone(), url, answer: answer.clone(), served: AtomicUsize::new(0) });
        }
        let router = Router::new().route("/simple/{project}/", get(page)).route("/files/{name}", get(file)).with_state(Arc::new(files));
        self.address = Some(listen(self.counted.layer(router)).await);
        self
    }

    /// An index that answers everything with 500.
    pub(crate) async fn failing() -> Self {
        let router = Router::new().fallback(|| async { StatusCode::INTERNAL_SERVER_ERROR });
        Self { files: Vec::new(), address: Some(listen(router).await), counted: Counted::default() }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/simple", self.address.unwrap())
    }
}

async fn listen(router: Router) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Announces all of `bytes` and hangs up after half of them, by hand: a real server flushes nothing when
/// a body breaks early.
async fn halves(bytes: Vec<u8>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len());
            let _ = stream.write_all(&[head.as_bytes(), &bytes[..bytes.len() / 2]].concat()).await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

type Files = Arc<BTreeMap<String, Listed>>;

struct Listed {
    uploaded: String,
    url: String,
    answer: Answer,
    served: AtomicUsize,
}

impl Listed {
    fn is_gone(&self) -> bool {
        matches!(self.answer, Answer::Once(_)) && self.served.load(Ordering::SeqCst) > 0
    }
}

fn content(answer: &Answer) -> &Vec<u8> {
    match answer {
        Answer::Bytes(bytes)
        | Answer::Missing(bytes)
        | Answer::Failing(bytes)
        | Answer::Half(bytes)
        | Answer::OtherBytes(bytes)
        | Answer::Once(bytes)
        | Answer::Turning(bytes)
        | Answer::Sized(bytes, _) => bytes,
    }
}

async fn page(State(files): State<Files>, Path(project): Path<String>) -> Response {
    let listed = files.iter().filter(|(_, listed)| !listed.is_gone());
    let of_project = listed.filter(|(name, _)| Distribution::parse(&name.parse().unwrap()).unwrap().project == project);
    let entry = |(name, listed): (&String, &Listed)| {
        let bytes = content(&listed.answer);
        let size = if let Answer::Sized(_, size) = &listed.answer { size.clone() } else { json!(bytes.len()) };
        json!({
            "filename": name, "url": listed.url, "size": size, "upload-time": listed.uploaded,
            "hashes": { "sha256": Digest::of(bytes).to_hex() }, "yanked": true,
        })
    };
    let entries: Vec<_> = of_project.map(entry).collect();
    if entries.is_empty() {
        return StatusCode::NOT_FOUND.into_response();
    }
    let page = json!({ "meta": { "api-version": "1.1" }, "name": project, "files": entries });
    ([(header::CONTENT_TYPE, "application/vnd.pypi.simple.v1+json")], page.to_string()).into_response()
}

async fn file(State(files): State<Files>, Path(name): Path<String>) -> Response {
    let Some(listed) = files.get(&name) else { return StatusCode::NOT_FOUND.into_response() };
    match (&listed.answer, listed.served.fetch_add(1, Ordering::SeqCst)) {
        // Halves are listed at an address of their own.
        (Answer::Missing(_) | Answer::Half(_), _) | (Answer::Once(_), 1..) => StatusCode::NOT_FOUND.into_response(),
        (Answer::Failing(_), _) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        (Answer::OtherBytes(bytes), _) | (Answer::Turning(bytes), 1..) => vec![b'x'; bytes.len()].into_response(),
        (Answer::Bytes(bytes) | Answer::Sized(bytes, _) | Answer::Once(bytes) | Answer::Turning(bytes), _) => bytes.clone().into_response(),
    }
}
