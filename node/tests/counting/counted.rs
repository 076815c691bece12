//! A registry that writes down what it is asked for, knows its documents by `ETag`, and can change its mind.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use quorate_proto::Digest;

/// What a registry was asked for, and what it says differently from now on. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    asked: Arc<Mutex<Vec<(String, u16)>>>,
    edits: Arc<Mutex<Vec<(String, String, String)>>>,
}

impl Counted {
    /// The registry with everything written down.
    pub(crate) fn layer(&self, router: Router) -> Router {
        let counted = self.clone();
        router.layer(from_fn(move |request: Request, next: Next| {
            let counted = counted.clone();
            async move { counted.answer(request, next).await }
        }))
    }

    /// What was asked for since the last time, in order, with the status that was given.
    pub(crate) fn asked(&self) -> Vec<(String, u16)> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// From now on `to` stands in the place of `from` in what is served at `path`.
    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) {
        self.edits.lock().unwrap().push((path.to_owned(), from.to_owned(), to.to_owned()));
    }

    async fn answer(&self, request: Request, next: Next) -> Response {
        let path = request.uri().path().to_owned();
        let wanted = request.headers().get(header::IF_NONE_MATCH).cloned();
        let response = self.with_tag(&path, wanted, next.run(request).await).await;
        self.asked.lock().unwrap().push((path, response.status().as_u16()));
        response
    }

    async fn with_tag(&self, path: &str, wanted: Option<HeaderValue>, response: Response) -> Response {
        if !response.status().is_success() {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        let mut bytes = to_bytes(body, usize::MAX).await.unwrap().to_vec();
        for (_, from, to) in self.edits.lock().unwrap().iter().filter(|(edited, ..)| edited == path) {
            bytes = String::from_utf8(bytes).unwrap().replace(from, to).into_bytes();
        }
        let tag: HeaderValue = format!("\"{}\"", Digest::of(&bytes).to_hex()).parse().unwrap();
        if wanted.as_ref() == Some(&tag) {
            return StatusCode::NOT_MODIFIED.into_response();
        }
        parts.headers.insert(header::ETAG, tag);
        parts.headers.remove(header::CONTENT_LENGTH);
        Response::from_parts(parts, Body::from(bytes))
    }
}

/// Damages every file that a cache holds by its digest, each in another way; says how many there were.
pub(crate) fn damage(cache: &std::path::Path) -> usize {
    let mut files: Vec<_> = std::fs::read_dir(cache.join("sha256")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for (at, path) in files.iter().enumerate() {
        let mut bytes = std::fs::read(path).unwrap();
        match at % 3 {
            0 => *bytes.last_mut().unwrap() ^= 1,
            1 => bytes.push(0),
            _ => drop(bytes.pop()),
        }
        std::fs::write(path, bytes).unwrap();
    }
    files.len()
}
