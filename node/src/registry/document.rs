//! Copies of registries' documents, with what their server needs to say that they are still true.
//!
//! One file a document and user, below the cache's `derived`: a line about it, then its bytes. A document has
//! no digest that anybody vouches for, so a copy counts only where this user alone could have written it, and
//! where the line fits both the address and the bytes. For what a copy may stand is [`Currency`]'s business.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use quorate_proto::{Digest, Timestamp};
use reqwest::header::{ETAG, HeaderMap, LAST_MODIFIED};
use serde::{Deserialize, Serialize};
use url::Url;

use super::RegistryError;
use super::http::Body;
use crate::cache::{Cache, Currency, Reuse};

/// Longest validator that is kept and sent back.
const VALIDATOR_BYTES_MAX: usize = 1024;
/// Most bytes of all copies together: a build can ask for many large pages. Those that were looked at longest ago
/// go first, and are asked for again when they are wanted.
const COPIES_BYTES_MAX: u64 = 4 << 30;
/// Bytes that may be written before what there is is looked through.
const UNTRIMMED_BYTES_MAX: u64 = 256 << 20;
const PREFIX: &str = "document-";

/// Where copies lie, and whether they are used.
#[derive(Clone, Debug)]
pub(super) struct Copies {
    cache: Cache,
    reuse: Reuse,
    /// What is older than this was not asked for in this run.
    begun_at: Timestamp,
    /// Bytes that were written since copies were trimmed.
    untrimmed_bytes: Arc<AtomicU64>,
}

/// A document's copy.
#[derive(Clone, Debug)]
pub(super) struct Document {
    line: Line,
    bytes: Bytes,
}

/// What is known of a document besides its bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line {
    /// What was asked for: a copy can be renamed by others who may write to the cache.
    of: Digest,
    /// Where it came from in the end.
    url: Url,
    /// The status, if it is not there.
    absent: Option<u16>,
    digest: Digest,
    validators: Validators,
    checked_at: Timestamp,
}

/// What a server can tell an unchanged document by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Validators {
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
}

/// Names a document: one address may answer differently to those who accept other things.
pub(super) fn name(url: &Url, accept: &str) -> Digest {
    Digest::of(format!("{accept}\n{url}").as_bytes())
}

impl Validators {
    /// Those of an answer.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name| {
            let text = headers.get(name).and_then(|value| value.to_str().ok());
            text.filter(|text| text.len() <= VALIDATOR_BYTES_MAX).map(str::to_owned)
        };
        Self { etag: text(ETAG), last_modified: text(LAST_MODIFIED) }
    }

    /// Whether there is anything to ask with.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Document {
    /// A document that has just come.
    pub(super) fn new(of: Digest, body: &Body, validators: Validators, checked_at: Timestamp) -> Self {
        let line = Line { of, url: body.url.clone(), absent: None, digest: Digest::of(&body.bytes), validators, checked_at };
        Self { line, bytes: body.bytes.clone() }
    }

    /// That there is none.
    pub(super) fn absent(of: Digest, url: &Url, status: u16, checked_at: Timestamp) -> Self {
        let (digest, validators) = (Digest::of(b""), Validators::default());
        Self { line: Line { of, url: url.clone(), absent: Some(status), digest, validators, checked_at }, bytes: Bytes::new() }
    }

    /// What to ask with whether it has changed.
    pub(super) fn validators(&self) -> Option<&Validators> {
        Some(&self.line.validators).filter(|validators| self.line.absent.is_none() && !validators.is_empty())
    }

    /// The same document, which was true again at `checked_at`.
    pub(super) fn confirmed(self, checked_at: Timestamp) -> Self {
        Self { line: Line { checked_at, ..self.line }, ..self }
    }

    /// The answer to the question for `url`.
    pub(super) fn answer(self, url: &Url) -> Result<Body, RegistryError> {
        match self.line.absent {
            Some(status) => Err(RegistryError::NotFound { url: Box::new(url.clone()), status }),
            None => Ok(Body { url: self.line.url, bytes: self.bytes }),
        }
    }

    fn from_bytes(bytes: &Bytes, of: Digest) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let line: Line = serde_json::from_slice(&bytes[..end]).ok()?;
        let bytes = bytes.slice(end + 1..);
        (line.of == of && line.digest == Digest::of(&bytes)).then_some(Self { line, bytes })
    }
}

impl Copies {
    pub(super) fn new(cache: Cache, reuse: Reuse) -> Self {
        // The first copy has those of earlier runs looked through.
        let untrimmed_bytes = Arc::new(AtomicU64::new(UNTRIMMED_BYTES_MAX));
        Self { cache, reuse, begun_at: Timestamp::from(SystemTime::now()), untrimmed_bytes }
    }

    /// The copy that there is, if it may be used for anything. Blocks.
    pub(super) fn get(&self, of: Digest) -> Option<Document> {
        let document = Document::from_bytes(&self.cache.own_derived_bytes(&place(of))?.into(), of)?;
        (self.reuse == Reuse::Kept || document.line.checked_at >= self.begun_at).then_some(document)
    }

    /// Keeps a copy. Without it the next one is asked for anew, which is no failure. Blocks.
    pub(super) fn put(&self, document: &Document) {
        let put = serde_json::to_vec(&document.line)
            .map_err(std::io::Error::other)
            .and_then(|line| self.cache.put_own_derived(&place(document.line.of), &[&line, b"\n", &document.bytes]))
            .and_then(|()| self.trim(document.bytes.len() as u64));
        if let Err(error) = put {
            tracing::warn!(%error, url = %document.line.url, "a document could not be kept");
        }
    }

    fn trim(&self, written_bytes: u64) -> std::io::Result<()> {
        if self.untrimmed_bytes.fetch_add(written_bytes, Ordering::Relaxed) + written_bytes < UNTRIMMED_BYTES_MAX {
            return Ok(());
        }
        self.untrimmed_bytes.store(0, Ordering::Relaxed);
        self.cache.trim_derived(PREFIX, COPIES_BYTES_MAX)
    }

    /// Forgets a copy. Blocks.
    pub(super) fn forget(&self, of: Digest) {
        let _ = std::fs::remove_file(self.cache.derived(&place(of)));
    }

    /// Whether `document` serves without asking.
    pub(super) fn serves(&self, document: &Document, currency: Currency, now: Timestamp) -> bool {
        let checked_at = document.line.checked_at;
        match (self.reuse, document.line.absent) {
            // Asked for in this run already.
            (Reuse::Anew, _) => currency != Currency::Now,
            (Reuse::Kept, None) => currency.allows(checked_at, now),
            (Reuse::Kept, Some(_)) => currency.allows_absence(checked_at, now),
        }
    }

    /// Whether a file that was written at `written_at` may be used.
    pub(super) fn takes_file(&self, written_at: SystemTime) -> bool {
        self.reuse == Reuse::Kept || Timestamp::from(written_at) >= self.begun_at
    }
}

fn place(of: Digest) -> String {
    format!("{PREFIX}{}-{}", rustix::process::geteuid().as_raw(), of.to_hex())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_copy_that_was_damaged_or_renamed_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let copies = Copies::new(Cache::open(folder.path()).unwrap(), Reuse::Kept);
        let url: Url = "https://registry.example/simple/demo/".parse().unwrap();
        let (of, other) = (name(&url, "a"), name(&url, "b"));
        let body = Body { url: url.clone(), bytes: Bytes::from_static(b"one\ntwo") };
        let document =
            Document::new(of, &body, Validators { etag: Some("\"1\"".to_owned()), last_modified: None }, Timestamp::from_unix_seconds(5));
        copies.put(&document);
        let held = copies.get(of).unwrap();
        assert_eq!((held.validators(), &held.clone().answer(&url).unwrap().bytes), (document.validators(), &body.bytes));
        let path = |of| copies.cache.derived(&place(of));
        std::fs::copy(path(of), path(other)).unwrap();
        assert!(copies.get(other).is_none());
        let bytes = std::fs::read(path(of)).unwrap();
        std::fs::write(path(of), [&bytes[..bytes.len() - 1], b"x"].concat()).unwrap();
        assert!(copies.get(of).is_none());
        std::fs::write(path(of), &bytes).unwrap();
        assert!(copies.get(of).is_some());
        let anew = Copies::new(copies.cache.clone(), Reuse::Anew);
        assert!(anew.get(of).is_none());
    }
}
