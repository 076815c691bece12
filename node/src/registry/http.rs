//! HTTP with limits: size, time and redirects are bounded, and passing failures are tried again.

use std::path::PathBuf;
use std::time::Duration;

use quorate_proto::Digest;
use reqwest::{Client, Response, redirect};
use url::Url;

use super::RegistryError;
use crate::cache::{Arrived, Cache};

const CONNECT_MAX: Duration = Duration::from_secs(20);
/// Longest silence in an answer.
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// Longest whole answer.
const ANSWER_MAX: Duration = Duration::from_mins(30);
const REDIRECTS_MAX: usize = 5;
/// Pauses before the second and the third try.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

/// A client. Cheap to clone. Proxies and certificates come from the usual environment variables.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
}

/// A small answer.
#[derive(Clone, Debug)]
pub struct Body {
    /// Where it came from in the end: relative addresses in it refer to this.
    pub url: Url,
    /// Its bytes.
    pub bytes: Vec<u8>,
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

impl Http {
    /// A client for registries and archives.
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .user_agent(concat!("quorate-node/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_MAX)
            .read_timeout(SILENCE_MAX)
            .timeout(ANSWER_MAX)
            .redirect(redirect::Policy::limited(REDIRECTS_MAX))
            .build()?;
        Ok(Self { client })
    }

    /// Reads a small answer whole.
    pub async fn bytes(&self, url: &Url, accept: &str, limit: u64) -> Result<Body, RegistryError> {
        let mut tries = PAUSES.iter();
        loop {
            match (self.bytes_once(url, accept, limit).await, tries.next()) {
                (Err(error), Some(pause)) if error.is_passing() => tokio::time::sleep(*pause).await,
                (answer, _) => return answer,
            }
        }
    }

    /// Streams a file into the cache; nothing is kept if its digest is not `expected`.
    pub async fn download(&self, url: &Url, expected: Option<Digest>, limit: u64, cache: &Cache) -> Result<Download, RegistryError> {
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

    async fn bytes_once(&self, url: &Url, accept: &str, limit: u64) -> Result<Body, RegistryError> {
        let response = self.send(url, accept, limit).await?;
        let last = response.url().clone();
        let mut bytes = Vec::new();
        stream(response, url, limit, |chunk| {
            bytes.extend_from_slice(chunk);
            Ok(())
        })
        .await?;
        Ok(Body { url: last, bytes })
    }

    async fn download_once(&self, url: &Url, limit: u64, cache: &Cache) -> Result<Arrived, RegistryError> {
        let response = self.send(url, "*/*", limit).await?;
        let mut incoming = cache.incoming().map_err(disk(url))?;
        stream(response, url, limit, |chunk| incoming.write(chunk).map_err(disk(url))).await?;
        incoming.finish().map_err(disk(url))
    }

    async fn send(&self, url: &Url, accept: &str, limit: u64) -> Result<Response, RegistryError> {
        let request = self.client.get(url.clone()).header("accept", accept);
        let response = request.send().await.map_err(|source| RegistryError::Unreachable { url: boxed(url), source })?;
        let status = response.status();
        match status.as_u16() {
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
        if got > limit {
            return Err(RegistryError::TooLarge { url: boxed(url), limit });
        }
        take(&chunk)?;
    }
}

fn disk(url: &Url) -> impl FnOnce(std::io::Error) -> RegistryError + use<> {
    let url = boxed(url);
    move |source| RegistryError::Disk { url, source }
}

fn boxed(url: &Url) -> Box<Url> {
    Box::new(url.clone())
}
