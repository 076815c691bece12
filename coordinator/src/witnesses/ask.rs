//! One witness, as its client sees it: `POST <prefix>/add-checkpoint`, and what its answers mean.

use std::sync::Arc;
use std::time::Duration;

use quorate_tlog::merkle::TreeHead;
use quorate_tlog::policy::Witness;
use quorate_tlog::{AddCheckpoint, CosignerKey, NoteSignature, SignedNote, TreeView};
use reqwest::Client;

use super::WitnessesError;
use crate::store::Store;
use crate::store::leaves::Published;

/// The longest answer that is read: a few signature lines.
const ANSWER_BYTES_MAX: usize = 32 * 1024;

/// Questions for one checkpoint: the first, one from the size that the witness names, and one more.
const QUESTIONS_MAX: usize = 3;

/// A witness and the size that it is thought to stand at.
#[derive(Debug)]
pub(super) struct Asked {
    name: String,
    key: CosignerKey,
    url: String,
    client: Client,
    size: u64,
}

/// What a witness says to one question.
enum Answer {
    Cosigned(NoteSignature),
    /// It stands at another size.
    Stands(u64),
    Refused(&'static str),
}

impl Asked {
    /// A witness that can be asked; none where it has no address.
    pub(super) fn new(witness: &Witness, timeout: Duration) -> Result<Option<Self>, WitnessesError> {
        let Some(url) = &witness.url else { return Ok(None) };
        let text = String::from_utf8_lossy(url).trim_end_matches('/').to_owned();
        let parsed = reqwest::Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let parsed = parsed.ok_or_else(|| WitnessesError::Address(text.clone()))?;
        let client = match client(&parsed, timeout).build() {
            // A fresh machine has no CA certificates, and plain HTTP needs none.
            Err(_) if parsed.scheme() == "http" => client(&parsed, timeout).tls_certs_only([]).build(),
            client => client,
        };
        let client = client.map_err(WitnessesError::Client)?;
        let (name, key) = (witness.name.to_string(), witness.key.clone());
        Ok(Some(Self { name, key, url: format!("{text}/add-checkpoint"), client, size: 0 }))
    }

    /// Asks for a cosignature on `newest`. What became of it, in one word of a closed list, and the line.
    pub(super) async fn cosign(&mut self, store: &Arc<Store>, newest: &Arc<Published>) -> (&'static str, Option<NoteSignature>) {
        for _ in 0..QUESTIONS_MAX {
            match self.question(store, newest).await {
                Answer::Cosigned(line) => {
                    self.size = newest.head.size;
                    return ("cosigned", Some(line));
                }
                Answer::Stands(size) if size > newest.head.size => {
                    // It has cosigned for our key what we have not signed, or have lost.
                    tracing::error!(witness = self.name, size, ours = newest.head.size, "a witness has seen a larger tree of this log");
                    return ("ahead", None);
                }
                Answer::Stands(size) => self.size = size,
                Answer::Refused(why) => {
                    tracing::warn!(witness = self.name, why, size = newest.head.size, "a witness has not cosigned");
                    return (why, None);
                }
            }
        }
        ("conflict", None)
    }

    async fn question(&self, store: &Arc<Store>, newest: &Arc<Published>) -> Answer {
        let old = self.size.min(newest.head.size);
        let (reading, head, note) = (Arc::clone(store), newest.head, newest.note.clone());
        let request = tokio::task::spawn_blocking(move || request(&reading, head, &note, old)).await;
        let Ok(Some(request)) = request else { return Answer::Refused("no-proof") };
        let sent = self.client.post(&self.url).body(request.to_string()).send().await;
        let Ok(response) = sent else { return Answer::Refused("unreachable") };
        let status = response.status().as_u16();
        let Some(body) = body(response).await else { return Answer::Refused("unreadable") };
        match status {
            200 => self.cosignature(request.note(), &body).map_or(Answer::Refused("bad-cosignature"), Answer::Cosigned),
            // SPEC tlog-witness: 409 has the size of the latest cosigned checkpoint, followed by a newline.
            409 => body.trim_end_matches('\n').parse().map_or(Answer::Refused("unreadable"), Answer::Stands),
            403 | 404 => Answer::Refused("unknown-log"),
            422 => Answer::Refused("inconsistent"),
            _ => Answer::Refused("failed"),
        }
    }

    /// The line that is this witness's and holds. Others are ignored.
    // SPEC tlog-witness: the client MUST ignore any cosignatures from unknown keys.
    fn cosignature(&self, note: &SignedNote, body: &str) -> Option<NoteSignature> {
        let lines = NoteSignature::parse_lines(body).ok()?;
        let line = lines.into_iter().find(|line| self.key.claims(line))?;
        let cosigned = note.clone().with_signature(line.clone()).ok()?;
        cosigned.cosignatures(std::slice::from_ref(&self.key)).is_ok().then_some(line)
    }
}

/// Blocks: the proof is read from tiles.
fn request(store: &Store, head: TreeHead, note: &[u8], old: u64) -> Option<AddCheckpoint> {
    let (_, proof) = TreeView::new(head, store.log()).ok()?.consistency(old).ok()?;
    Some(AddCheckpoint::new(old, proof, SignedNote::parse(note).ok()?))
}

async fn body(mut response: reqwest::Response) -> Option<String> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.ok()? {
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            return None;
        }
        body.extend_from_slice(&piece);
    }
    String::from_utf8(body).ok()
}

/// Limits, and no proxy of the environment where it could not reach: this machine's loopback.
fn client(url: &reqwest::Url, timeout: Duration) -> reqwest::ClientBuilder {
    let builder = Client::builder()
        .user_agent(concat!("quorate-coordinator/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .timeout(timeout);
    let loopback = url.host_str().is_some_and(|host| host == "localhost" || host == "[::1]" || host.starts_with("127."));
    if loopback { builder.no_proxy() } else { builder }
}
