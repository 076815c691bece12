//! HTTP with limits: size, time and redirects are bounded, and passing failures are tried again.
//!
//! What is held already is not fetched again: a file by its digest, which is reckoned anew each time; a document
//! as long as its copy may stand for what is wanted of it ([`Currency`]), or where its server says that it has
//! not changed (`ETag`, `Last-Modified`).

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use quorate_proto::{Digest, Timestamp};
use reqwest::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH};
use reqwest::{Client, Response, redirect};
use tokio::task::spawn_blocking;
use url::Url;

use super::RegistryError;
use super::document::{self, Copies, Document, Validators};
use crate::cache::{Arrived, Cache, Currency, Reuse};
use crate::traffic;

const CONNECT_MAX: Duration = Duration::from_secs(20);
/// Longest silence in an answer.
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// Longest whole answer.
const ANSWER_MAX: Duration = Duration::from_mins(30);
const REDIRECTS_MAX: usize = 5;
const NOT_MODIFIED: u16 = 304;
/// Pauses before the second and the third try.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

/// A client. Cheap to clone. Proxies and certificates come from the usual environment variables.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
    copies: Option<Copies>,
}

/// A small answer.
#[derive(Clone, Debug)]
pub struct Body {
    /// Where it came from in the end: relative addresses in it refer to this.
    pub url: Url,
    /// Its bytes.
    pub bytes: Bytes,
}

/// A file that has been brought into the cache.
#[derive(Clone, Debug)]
pub struct Download {
    /// Where it lies.
    pub path: PathBuf,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Its size.
    pub size_bytes: u64,
}

/// What came of one request for a document.
enum Answered {
    Content(Body, Validators),
    Unchanged,
}

impl Http {
    /// A client for registries and archives that keeps no documents.
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .user_agent(concat!("quorate-node/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_MAX)
            .read_timeout(SILENCE_MAX)
            .timeout(ANSWER_MAX)
            .redirect(redirect::Policy::limited(REDIRECTS_MAX))
            .build()?;
        Ok(Self { client, copies: None })
    }

    /// The same one with documents that are kept in `cache`.
    #[must_use]
    pub fn keeping(self, cache: Cache, reuse: Reuse) -> Self {
        Self { copies: Some(Copies::new(cache, reuse)), ..self }
    }

    /// Reads a small answer whole, or takes the copy that may stand for it.
    pub async fn bytes(&self, url: &Url, accept: &str, currency: Currency, limit: u64) -> Result<Body, RegistryError> {
        let of = document::name(url, accept);
        let held = self.on_copies(move |copies| copies.get(of)).await.flatten();
        let now = Timestamp::from(SystemTime::now());
        if let (Some(copies), Some(held)) = (&self.copies, &held)
            && copies.serves(held, currency, now)
        {
            return limited(held.clone().answer(url)?, url, limit);
        }
        let answered = self.asked(url, accept, held.as_ref().and_then(Document::validators), limit).await;
        let document = match (answered, held) {
            (Ok(Answered::Content(body, validators)), _) => Document::new(of, &body, validators, now),
            (Ok(Answered::Unchanged), Some(held)) => held.confirmed(now),
            (Ok(Answered::Unchanged), None) => return Err(RegistryError::Status { url: boxed(url), status: NOT_MODIFIED }),
            (Err(RegistryError::NotFound { status, .. }), _) => Document::absent(of, url, status, now),
            (Err(error), _) => return Err(error),
        };
        let kept = document.clone();
        self.on_copies(move |copies| copies.put(&kept)).await;
        limited(document.answer(url)?, url, limit)
    }

    /// Forgets the copy of a document that turned out to be no good: what is wrong today may be mended soon.
    pub async fn forget(&self, url: &Url, accept: &str) {
        let of = document::name(url, accept);
        self.on_copies(move |copies| copies.forget(of)).await;
    }

    /// What is said of a document that cannot be read. Its copy is forgotten: it would be no better next time.
    pub async fn unreadable(&self, url: Url, accept: &str, reason: String) -> RegistryError {
        self.forget(&url, accept).await;
        RegistryError::Malformed { url: Box::new(url), reason }
    }

    /// A file that is held already and may be used.
    pub async fn held(&self, digest: Digest, cache: &Cache) -> Option<Download> {
        let (copies, cache) = (self.copies.clone(), cache.clone());
        let look = move || {
            let (path, size_bytes) = cache.get_sized(digest)?;
            let written_at = path.metadata().and_then(|meta| meta.modified()).ok()?;
            let is_taken = copies.is_none_or(|copies| copies.takes_file(written_at));
            is_taken.then_some(Download { path, digest, size_bytes })
        };
        spawn_blocking(look).await.ok().flatten()
    }

    /// Brings a file that is not held yet into the cache; nothing is kept if its digest is not `expected`.
    pub async fn download(&self, url: &Url, expected: Option<Digest>, limit: u64, cache: &Cache) -> Result<Download, RegistryError> {
        if let Some(expected) = expected
            && let Some(held) = self.held(expected, cache).await
        {
            return if held.size_bytes > limit { Err(RegistryError::TooLarge { url: boxed(url), limit }) } else { Ok(held) };
        }
        let mut tries = PAUSES.iter();
        let arrived = loop {
            match (self.download_once(url, limit, cache).await, tries.next()) {
                (Err(error), Some(pause)) if error.is_passing() || matches!(error, RegistryError::Truncated { .. }) => {
                    tokio::time::sleep(*pause).await;
                }
                (answer, _) => break answer?,
            }
        };
        let (digest, size_bytes) = (arrived.digest, arrived.size_bytes);
        if let Some(expected) = expected.filter(|expected| *expected != digest) {
            return Err(RegistryError::Checksum { url: boxed(url), expected, got: digest });
        }
        let path = cache.keep(arrived).map_err(disk(url))?;
        Ok(Download { path, digest, size_bytes })
    }

    /// Work with copies, off the runtime's own threads: documents can have many megabytes.
    async fn on_copies<T: Send + 'static>(&self, work: impl FnOnce(&Copies) -> T + Send + 'static) -> Option<T> {
        let copies = self.copies.clone()?;
        spawn_blocking(move || work(&copies)).await.ok()
    }

    async fn asked(&self, url: &Url, accept: &str, validators: Option<&Validators>, limit: u64) -> Result<Answered, RegistryError> {
        let mut tries = PAUSES.iter();
        loop {
            match (self.asked_once(url, accept, validators, limit).await, tries.next()) {
                (Err(error), Some(pause)) if error.is_passing() => tokio::time::sleep(*pause).await,
                (answer, _) => return answer,
            }
        }
    }

    async fn asked_once(&self, url: &Url, accept: &str, validators: Option<&Validators>, limit: u64) -> Result<Answered, RegistryError> {
        let response = self.send(url, accept, validators, limit).await?;
        if response.status().as_u16() == NOT_MODIFIED {
            traffic::unchanged();
            return Ok(Answered::Unchanged);
        }
        let (last, validators) = (response.url().clone(), Validators::of(response.headers()));
        let mut bytes = Vec::new();
        stream(response, url, limit, |chunk| {
            bytes.extend_from_slice(chunk);
            Ok(())
        })
        .await?;
        Ok(Answered::Content(Body { url: last, bytes: bytes.into() }, validators))
    }

    async fn download_once(&self, url: &Url, limit: u64, cache: &Cache) -> Result<Arrived, RegistryError> {
        let response = self.send(url, "*/*", None, limit).await?;
        let mut incoming = cache.incoming().map_err(disk(url))?;
        stream(response, url, limit, |chunk| incoming.write(chunk).map_err(disk(url))).await?;
        incoming.finish().map_err(disk(url))
    }

    async fn send(&self, url: &Url, accept: &str, validators: Option<&Validators>, limit: u64) -> Result<Response, RegistryError> {
        let mut request = self.client.get(url.clone()).header("accept", accept);
        let Validators { etag, last_modified } = validators.cloned().unwrap_or_default();
        for (name, value) in [(IF_NONE_MATCH, etag), (IF_MODIFIED_SINCE, last_modified)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        traffic::request();
        let response = request.send().await.map_err(|source| RegistryError::Unreachable { url: boxed(url), source })?;
        let status = response.status();
        match status.as_u16() {
            NOT_MODIFIED if validators.is_some() => Ok(response),
            404 | 410 => Err(RegistryError::NotFound { url: boxed(url), status: status.as_u16() }),
            _ if !status.is_success() => Err(RegistryError::Status { url: boxed(url), status: status.as_u16() }),
            _ if response.content_length().is_some_and(|length| length > limit) => Err(RegistryError::TooLarge { url: boxed(url), limit }),
            _ => Ok(response),
        }
    }
}

async fn stream(
    mut response: Response,
    url: &Url,
    limit: u64,
    mut take: impl FnMut(&[u8]) -> Result<(), RegistryError>,
) -> Result<(), RegistryError> {
    let mut got = 0;
    loop {
        // An answer that breaks off is the registry's own doing: the connection stood and a status had come.
        let chunk = response.chunk().await.map_err(|_| RegistryError::Truncated { url: boxed(url), got })?;
        let Some(chunk) = chunk else { return Ok(()) };
        got += chunk.len() as u64;
        traffic::bytes(chunk.len() as u64);
        if got > limit {
            return Err(RegistryError::TooLarge { url: boxed(url), limit });
        }
        take(&chunk)?;
    }
}

/// A copy may be of a time when more was taken.
fn limited(body: Body, url: &Url, limit: u64) -> Result<Body, RegistryError> {
    if body.bytes.len() as u64 > limit { Err(RegistryError::TooLarge { url: boxed(url), limit }) } else { Ok(body) }
}

fn disk(url: &Url) -> impl FnOnce(std::io::Error) -> RegistryError + use<> {
    let url = boxed(url);
    move |source| RegistryError::Disk { url, source }
}

fn boxed(url: &Url) -> Box<Url> {
    Box::new(url.clone())
}
