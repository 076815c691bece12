//! An operator's own results: is everything that its node signed in the log, and is nothing there that it did not sign?
//!
//! A feed file (`docs/spec/feed.md`, section 4) says what was signed; a key alone can only tell of gaps. An entry that
//! is missing may be on its way. One that is another, or that the feed does not have, was signed by somebody else with
//! the node's key, or the feed is an old copy: both are worth being told.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, bail};
use quorate_proto::dsse::Envelope;
use quorate_proto::feed::FeedPosition;
use quorate_proto::result::RESULT_ENVELOPE_BYTES_MAX;
use quorate_proto::verified::FeedItem;
use quorate_proto::wire::FEED_ITEM_BYTES_MAX;
use quorate_proto::{Digest, NodeId};
use serde::{Deserialize, Serialize};

use super::audit::Audit;
use crate::text::plain;

/// What a feed file begins with.
const MAGIC: &[u8] = b"QFEED/1\n";

/// Missing entries that are named; all are counted.
const NAMED_MAX: usize = 20;

/// What is looked for.
#[derive(Clone, Debug)]
pub(crate) enum Own {
    /// All that this node signed, by the log's own account.
    Node(NodeId),
    /// All in this feed file.
    Feed(PathBuf),
}

/// What was found; its JSON is `docs/spec/cli.md`'s.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Looked {
    from: String,
    node: Option<NodeId>,
    held: u64,
    logged: u64,
    pub(super) missing_count: u64,
    missing: Vec<u64>,
    #[serde(skip)]
    pub(super) contradictions: Vec<String>,
}

/// The member of every statement in a feed that says where it stands.
#[derive(Deserialize)]
struct Placed {
    predicate: PlacedPredicate,
}

#[derive(Deserialize)]
struct PlacedPredicate {
    feed: FeedPosition,
}

impl FromStr for Own {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.parse().map_or_else(|_| Self::Feed(PathBuf::from(text)), Self::Node))
    }
}

impl Own {
    /// Looks for it in what was read of the log.
    pub(super) fn find_in(&self, audit: &Audit) -> anyhow::Result<Looked> {
        match self {
            Self::Node(node) => Ok(gaps(*node, audit)),
            Self::Feed(path) => {
                let entries = read(path).with_context(|| format!("reading feed `{}`", path.display()))?;
                Ok(compare(path.display().to_string(), &entries, audit))
            }
        }
    }
}

/// What lacks up to the last entry of a node that is in the log.
fn gaps(node: NodeId, audit: &Audit) -> Looked {
    let mut looked = Looked::new(node.to_string(), Some(node));
    let mut next = 0;
    for sequence in audit.sequences(node) {
        (next..sequence).for_each(|missing| looked.miss(missing));
        next = sequence + 1;
        looked.logged += 1;
    }
    looked.held = next;
    if next == 0 {
        looked.miss(0);
    }
    looked
}

fn compare(from: String, entries: &[(FeedPosition, Digest)], audit: &Audit) -> Looked {
    let node = entries.first().map(|(position, _)| position.node);
    let mut looked = Looked::new(from, node);
    looked.held = entries.len() as u64;
    for (position, digest) in entries {
        match audit.at(position.node, position.sequence) {
            None => looked.miss(position.sequence),
            Some(logged) if logged == *digest => looked.logged += 1,
            Some(_) => looked.contradictions.push(format!("entry {} of {} is another one in the log", position.sequence, position.node)),
        }
    }
    if let Some(node) = node {
        let end = entries.len() as u64;
        let foreign = audit.sequences(node).filter(|sequence| *sequence >= end);
        looked.contradictions.extend(foreign.map(|sequence| format!("the log has entry {sequence} of {node}, which the feed has not")));
    }
    looked
}

/// Places and digests of a feed file's entries, to the first record that is not whole: the node may be writing it.
fn read(path: &Path) -> anyhow::Result<Vec<(FeedPosition, Digest)>> {
    let bytes = std::fs::read(path)?;
    let mut rest = bytes.strip_prefix(MAGIC).context("this is no feed file")?;
    let mut entries = Vec::new();
    while let Some((head, behind)) = rest.split_at_checked(8) {
        let length = u32::from_le_bytes(head[..4].try_into().expect("four of eight bytes")) as usize;
        if length > FEED_ITEM_BYTES_MAX {
            bail!("record {} has {length} bytes", entries.len());
        }
        let Some((content, behind)) = behind.split_at_checked(length) else { break };
        let item = FeedItem::decode(content).with_context(|| format!("record {}", entries.len()))?;
        let envelope = Envelope::parse(&item.envelope, RESULT_ENVELOPE_BYTES_MAX).with_context(|| format!("record {}", entries.len()))?;
        let placed: Placed = serde_json::from_slice(envelope.payload()).with_context(|| format!("record {}", entries.len()))?;
        entries.push((placed.predicate.feed, Digest::of(&item.envelope)));
        rest = behind;
    }
    Ok(entries)
}

impl Looked {
    fn new(from: String, node: Option<NodeId>) -> Self {
        Self { from, node, held: 0, logged: 0, missing_count: 0, missing: Vec::new(), contradictions: Vec::new() }
    }

    fn miss(&mut self, sequence: u64) {
        self.missing_count += 1;
        if self.missing.len() < NAMED_MAX {
            self.missing.push(sequence);
        }
    }

    /// One line for people.
    pub(super) fn words(&self) -> String {
        let mut text = format!("own {}: {} of {} in the log", plain(&self.from), self.logged, self.held);
        if self.missing_count > 0 {
            let named: Vec<_> = self.missing.iter().map(u64::to_string).collect();
            let more = if self.missing_count > named.len() as u64 { ", …" } else { "" };
            let _ = write!(text, "; {} MISSING: {}{more}", self.missing_count, named.join(", "));
        }
        text
    }
}
