//! The recording proxy in front of a Debian archive.
//!
//! A build sees the suites that it is given and nothing besides: their signed release files, the one index of
//! packages that each has for this machine, and the pool files that those list. Every byte is checked against
//! the signed digests before it is handed out. The artifact that is being rebuilt is shown like any other: some
//! packages need themselves to be built, and the build itself sees no package file at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use quorate_proto::Digest;
use url::Url;

use super::{FetchedFile, Recorder, ServeError, stream_of};
use crate::cache::Cache;
use crate::registry::deb::index::Binary;
use crate::registry::{Http, RegistryError};
use crate::release::deb::{OpenSuite, file_name, package_url};

/// The archives that one build sees, by their number.
#[derive(Clone, Debug)]
pub struct OpenSuites {
    /// Each at `/NUMBER/`.
    pub all: Vec<OpenSuite>,
    /// The client.
    pub http: Http,
    /// Where downloads are kept.
    pub cache: Cache,
}

#[derive(Debug)]
struct Shared {
    suites: OpenSuites,
    /// By suite: the places in its list of packages, by path.
    pool: Vec<BTreeMap<String, usize>>,
    recorder: Recorder,
}

/// What a path names.
enum Thing<'a> {
    Release(&'a OpenSuite),
    Index(&'a OpenSuite),
    Pool(&'a OpenSuite, &'a Binary),
}

impl OpenSuites {
    /// What a proxy serves of it.
    pub fn routes(self, recorder: Recorder) -> Router {
        let pool = self.all.iter().map(places).collect();
        let shared = Arc::new(Shared { suites: self, pool, recorder });
        Router::new().route("/{number}/{*path}", get(serve)).with_state(shared)
    }
}

fn places(opened: &OpenSuite) -> BTreeMap<String, usize> {
    opened.packages.iter().enumerate().map(|(place, binary)| (binary.path.clone(), place)).collect()
}

impl Shared {
    fn thing(&self, number: usize, path: &str) -> Option<Thing<'_>> {
        let opened = self.suites.all.get(number)?;
        if let Some(place) = self.pool.get(number)?.get(path) {
            return Some(Thing::Pool(opened, opened.packages.get(*place)?));
        }
        let path = path.strip_prefix("dists/")?.strip_prefix(&opened.suite.name)?.strip_prefix('/')?;
        let folder = opened.index.rsplit_once('/').map_or("", |(folder, _)| folder);
        match path {
            "InRelease" => Some(Thing::Release(opened)),
            path if path == opened.index || path == format!("{folder}/by-hash/SHA256/{}", opened.digest.to_hex()) => {
                Some(Thing::Index(opened))
            }
            _ => None,
        }
    }

    async fn bring(&self, number: usize, thing: &Thing<'_>) -> Result<Response, ServeError> {
        match thing {
            Thing::Release(opened) => {
                let bytes = opened.signed.bytes.clone();
                let fetched = of_suite(opened, "InRelease", opened.signed.url.clone(), Digest::of(&bytes), bytes.len() as u64)?;
                self.recorder.hand_out(&format!("{number}/InRelease"), fetched)?;
                Ok(bytes.into_response())
            }
            Thing::Index(opened) => {
                let url = opened.suite.address(&format!("dists/{}/{}", opened.suite.name, opened.index))?;
                let fetched = |size| of_suite(opened, "Packages.xz", url.clone(), opened.digest, size);
                self.file(&format!("{number}/Packages.xz"), &url, opened.digest, fetched).await
            }
            Thing::Pool(opened, binary) => {
                let url = opened.suite.address(&binary.path)?;
                let fetched = |size_bytes| {
                    Ok(FetchedFile {
                        name: file_name(binary).parse().map_err(|_| not_found(&url))?,
                        project: binary.package.clone(),
                        version: binary.version.clone(),
                        uri: package_url(&binary.package, &binary.version, &binary.architecture),
                        url: url.clone(),
                        digest: binary.digest,
                        size_bytes,
                    })
                };
                self.file(&format!("{number}/{}", binary.path), &url, binary.digest, fetched).await
            }
        }
    }

    async fn file(
        &self,
        key: &str,
        url: &Url,
        digest: Digest,
        fetched: impl FnOnce(u64) -> Result<FetchedFile, ServeError>,
    ) -> Result<Response, ServeError> {
        let path = self.recorder.bring(url, digest, &self.suites.http, &self.suites.cache).await?;
        let file = tokio::fs::File::open(&path).await?;
        let size_bytes = file.metadata().await?.len();
        self.recorder.hand_out(key, fetched(size_bytes)?)?;
        let headers = [(header::CONTENT_TYPE, "application/octet-stream".to_owned()), (header::CONTENT_LENGTH, size_bytes.to_string())];
        Ok((headers, stream_of(file)).into_response())
    }
}

/// A file of a suite itself: it has no version, and is no tool.
fn of_suite(opened: &OpenSuite, name: &str, url: Url, digest: Digest, size_bytes: u64) -> Result<FetchedFile, ServeError> {
    let name = name.parse().map_err(|_| not_found(&url))?;
    let project = format!("debian-archive {}", opened.suite.name);
    Ok(FetchedFile { name, project, version: String::new(), uri: url.to_string(), url, digest, size_bytes })
}

fn not_found(url: &Url) -> RegistryError {
    RegistryError::NotFound { url: Box::new(url.clone()), status: 404 }
}

async fn serve(State(shared): State<Arc<Shared>>, UrlPath((number, path)): UrlPath<(usize, String)>) -> Response {
    let Some(thing) = shared.thing(number, &path) else { return StatusCode::NOT_FOUND.into_response() };
    match shared.bring(number, &thing).await {
        Ok(response) => response,
        Err(error) => shared.recorder.failed(&path, &error),
    }
}
