//! Feeds on disk: the node's own and everybody else's, so that any peer can serve a late joiner.
//!
//! Implements `docs/spec/feed.md`. In scope: durable append, recovery, never using a sequence number
//! twice, proofs of equivocation, which files results name. Out of scope: how items travel.
//!
//! Everything here blocks; the mesh reaches it through [`FeedStore`](quorate_gossip::FeedStore), which
//! moves the work off the runtime's threads.

mod door;
mod file;
mod holds;
mod intake;
mod own;
mod proofs;
pub mod record;
mod store;
#[cfg(test)]
mod tests;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use data_encoding::HEXLOWER;
use quorate_gossip::Accepted;
use quorate_gossip::wanted::Wanted;
use quorate_proto::claims::Claims;
use quorate_proto::entry::{EntryStatement, VerifiedEntry};
use quorate_proto::feed::{EquivocationProof, FeedPosition, FeedStep};
use quorate_proto::verified::FeedItem;
use quorate_proto::witness_check::Claim;
use quorate_proto::{ArtifactId, NodeId, OperatorId, TaskId, Timestamp};
use tokio::sync::watch;

use crate::blob::{BlobError, BlobStore};
use crate::durable;
use door::Door;
use file::FeedFile;
pub use file::FeedFileError;
use holds::Holds;
pub use holds::{Due, Promised, Step};
use own::OwnFiles;
pub use own::begin;
use proofs::Proofs;

/// All feeds of a data folder. Clones share one state; the folder is locked while any lives.
#[derive(Clone, Debug)]
pub struct Feeds(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    data_dir: PathBuf,
    own: NodeId,
    own_files: OwnFiles,
    door: Door,
    blobs: BlobStore,
    state: Mutex<State>,
    began: Instant,
    halted: watch::Sender<Option<String>>,
    _lock: File,
}

#[derive(Debug)]
struct State {
    feeds: BTreeMap<NodeId, FeedFile>,
    proofs: Proofs,
    wanted: Wanted,
    /// What the own feed holds a result for: a file whose bytes have changed is another artifact.
    signed: BTreeSet<ArtifactId>,
    holds: Holds,
    claims: Claims,
}

/// Whose own feed a folder holds.
#[derive(Clone, Copy, Debug)]
pub struct Own {
    /// The node.
    pub node: NodeId,
    /// Who answers for it.
    pub operator: OperatorId,
}

/// Why feeds cannot be opened or the own one not be continued. None of these is a peer's fault.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Another process uses the folder.
    #[error("`{path}` is held by another process")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The own feed was never begun here.
    #[error("the feed of {node} is not in this folder: a key whose feed is lost must not sign again; make a new key")]
    NotBegun {
        /// The node.
        node: NodeId,
    },
    /// The own feed has lost entries that may have been published.
    #[error("own feed holds {held} entries, but {published} may have been published: restore the file, or make a new key")]
    Lost {
        /// Entries found.
        held: u64,
        /// Entries that may have been published.
        published: u64,
    },
    /// Another history of the own key was seen.
    #[error("this key must not sign any more: {reason}; make a new key")]
    Halted {
        /// What was seen.
        reason: String,
    },
    /// The mark is no number.
    #[error("`{path}` is damaged: expected a number")]
    Mark {
        /// The mark file.
        path: PathBuf,
    },
    /// The system gave no random bytes to hide a commitment with.
    #[error("no random bytes: {0}")]
    Random(String),
    /// The own entry would not count at peers.
    #[error("own entry would be rejected: {0}")]
    Refused(&'static str),
    /// A feed file cannot be used.
    #[error(transparent)]
    File(#[from] FeedFileError),
    /// The content store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The disk failed.
    #[error("`{path}`")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Feeds {
    /// Locks the folder, reads every feed, cuts off what was never finished, and refuses when the own
    /// feed is not what it was.
    pub fn open(data_dir: &Path, own: Own, enrolled: BTreeSet<OperatorId>, blobs: BlobStore) -> Result<Self, FeedError> {
        let Own { node: own, operator } = own;
        let dir = own::feeds_dir(data_dir);
        fs::create_dir_all(&dir).map_err(|source| FeedError::Io { path: dir.clone(), source })?;
        let lock = own::lock(data_dir)?;
        durable::sweep(&dir).map_err(|source| FeedError::Io { path: dir.clone(), source })?;
        let own_files = OwnFiles::new(data_dir, &own);
        if let Some(reason) = own_files.halted()? {
            return Err(FeedError::Halted { reason });
        }
        let mut state = State {
            feeds: BTreeMap::new(),
            proofs: Proofs::open(data_dir, &enrolled)?,
            wanted: Wanted::default(),
            signed: BTreeSet::new(),
            holds: Holds::open(data_dir, operator, own)?,
            claims: Claims::new(own, operator),
        };
        state.load_own(&dir, own, &own_files)?;
        state.load_others(&dir, own)?;
        state.holds.loaded();
        state.wanted.retain(|digest| !blobs.has(digest));
        let inner = Inner {
            data_dir: data_dir.to_owned(),
            own,
            own_files,
            door: Door::new(enrolled),
            blobs,
            state: Mutex::new(state),
            began: Instant::now(),
            halted: watch::Sender::new(None),
            _lock: lock,
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Signs the next own entry: `make` gets its place and returns the item, having made durable what it names. When this returns well the
    /// entry is durable and may be published; when it fails, nobody may hear of the entry.
    pub fn sign(&self, make: impl FnOnce(FeedPosition) -> Result<FeedItem, FeedError>) -> Result<FeedItem, FeedError> {
        let inner = &*self.0;
        let mut state = inner.lock();
        if let Some(reason) = inner.halted.borrow().clone() {
            return Err(FeedError::Halted { reason });
        }
        let feed = state.feed(inner, inner.own);
        let position = feed.head().position(inner.own);
        let item = make(position)?;
        let verified = inner.verify_own(&item, &position)?;
        let mut batch = feed.batch();
        let FeedStep::Append(head) = batch.step(&position, verified.digest()) else {
            return Err(FeedError::Refused("broken-chain"));
        };
        batch.push(&item, verified.digest(), head);
        feed.append(batch)?;
        // From here on the entry exists; the mark comes before anybody hears of it.
        inner.own_files.publish(head.next())?;
        state.signed.extend(verified.result().map(|result| result.artifact().clone()));
        state.claims.saw(&verified);
        state.holds.saw(&verified, now())?;
        Ok(item)
    }

    /// Whether an entry that `make` returns for the next place would be signed and taken: the errors of [`Self::sign`],
    /// and nothing is written.
    pub fn rehearse(&self, make: impl FnOnce(FeedPosition) -> Result<FeedItem, FeedError>) -> Result<(), FeedError> {
        let inner = &*self.0;
        let position = inner.lock().feed(inner, inner.own).head().position(inner.own);
        inner.verify_own(&make(position)?, &position).map(drop)
    }

    /// What comes next for a result that is ready to be signed: a commitment to it, time, or its signature. Durable
    /// before it is told.
    pub fn step(&self, due: &Due<'_>) -> Result<Step, FeedError> {
        self.0.lock().holds.step(due, now())
    }

    /// Whether there may be something to do about a task whose [`Self::step`] was to wait until a time.
    pub fn is_due(&self, task: &TaskId, until: Timestamp, settle: Duration) -> bool {
        self.0.lock().holds.is_due(task, until, settle, now())
    }

    /// Others' build witnesses that are to be held against own builds, the longest waiting first.
    pub fn claims(&self, count_max: usize) -> Vec<Claim> {
        self.0.lock().claims.ready(count_max)
    }

    /// Leaves a claim unchecked: there is nothing to hold it against.
    pub fn forget(&self, claim: &Claim) {
        self.0.lock().claims.forget(claim);
    }

    /// Whether the own feed holds a result for this very file. Waits while an entry is being written.
    pub fn has_signed(&self, artifact: &ArtifactId) -> bool {
        self.0.lock().signed.contains(artifact)
    }

    /// Everything that the own feed holds a result for. Waits while an entry is being written.
    pub fn signed(&self) -> BTreeSet<ArtifactId> {
        self.0.lock().signed.clone()
    }

    /// The proofs of equivocation that are kept.
    pub fn equivocations(&self) -> Vec<EquivocationProof> {
        self.0.lock().proofs.all()
    }

    /// Becomes a reason when another history of the own key is seen: then the node has to stop.
    pub fn halted(&self) -> watch::Receiver<Option<String>> {
        self.0.halted.subscribe()
    }

    /// Consecutive own entries from `from` on.
    pub fn own_items(&self, from: u64, bytes_max: usize) -> Result<Vec<FeedItem>, FeedError> {
        self.0.items(self.0.own, from, bytes_max)
    }

    /// The folder of content-addressed files.
    pub fn blobs(&self) -> &BlobStore {
        &self.0.blobs
    }

    /// Verifies items and makes durable what fits; one outcome an item. `now` bounds signing times.
    pub fn take_in(&self, items: &[FeedItem], now: Timestamp) -> Vec<Accepted> {
        intake::take_in(&self.0, items, now)
    }
}

/// The nodes whose feeds were begun in this folder: the node's own.
pub fn begun(data_dir: &Path) -> Result<Vec<NodeId>, FeedError> {
    let dir = own::feeds_dir(data_dir);
    let failed = |source| FeedError::Io { path: dir.clone(), source };
    let mut nodes = Vec::new();
    for entry in fs::read_dir(&dir).map_err(failed)? {
        nodes.extend(node_of(&entry.map_err(failed)?.path(), ".mark"));
    }
    Ok(nodes)
}

/// Reads a feed of a folder without locking or changing it: each entry's statement, in order.
pub fn read(data_dir: &Path, node: NodeId) -> Result<Vec<EntryStatement>, FeedError> {
    let path = own::feeds_dir(data_dir).join(format!("{}.feed", own::stem(&node)));
    Ok(FeedFile::read(&path, node)?.entries)
}

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

impl State {
    fn load_own(&mut self, dir: &Path, own: NodeId, files: &OwnFiles) -> Result<(), FeedError> {
        let published = files.published()?.ok_or(FeedError::NotBegun { node: own })?;
        let opened = FeedFile::read(&dir.join(format!("{}.feed", own::stem(&own))), own)?;
        let held = opened.file.head().next();
        if held < published {
            return Err(FeedError::Lost { held, published });
        }
        if opened.tail_bytes > 0 {
            tracing::warn!(bytes = opened.tail_bytes, held, "own feed: an entry that was never finished, nor published, is cut off");
            opened.file.cut_tail()?;
        }
        if held != published {
            files.publish(held)?;
        }
        for entry in &opened.entries {
            if let EntryStatement::Result(statement) = entry {
                self.signed.insert(statement.artifact());
            }
        }
        self.take_up(opened)
    }

    /// Whatever follows from the entries of a feed that was read.
    fn take_up(&mut self, opened: file::Opened) -> Result<(), FeedError> {
        let node = opened.file.node();
        for (sequence, entry) in (0..).zip(&opened.entries) {
            self.wanted.extend(node, entry.evidence());
            let digest = opened.file.digest(sequence).expect("every entry that was read has a digest");
            self.holds.load(entry, digest)?;
            self.claims.load(entry, digest);
        }
        self.feeds.insert(node, opened.file);
        Ok(())
    }

    /// Of others' feeds whatever is whole is kept; the rest comes again from peers.
    fn load_others(&mut self, dir: &Path, own: NodeId) -> Result<(), FeedError> {
        let failed = |source| FeedError::Io { path: dir.to_owned(), source };
        for entry in fs::read_dir(dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let Some(node) = node_of(&path, ".feed").filter(|node| *node != own) else { continue };
            match FeedFile::read(&path, node) {
                Ok(opened) => self.take_other(opened)?,
                Err(error @ FeedFileError::Broken { .. }) => {
                    tracing::warn!(%node, %error, "feed of another node is broken on disk; it is put aside and fetched again");
                    fs::rename(&path, path.with_extension("broken")).map_err(failed)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn take_other(&mut self, opened: file::Opened) -> Result<(), FeedError> {
        if opened.tail_bytes > 0 {
            let held = opened.file.head().next();
            tracing::warn!(node = %opened.file.node(), held, bytes = opened.tail_bytes, "feed: damaged end is cut off and fetched again");
            opened.file.cut_tail()?;
        }
        self.take_up(opened)
    }

    fn feed(&mut self, inner: &Inner, node: NodeId) -> &mut FeedFile {
        self.feeds.entry(node).or_insert_with(|| {
            let path = own::feeds_dir(&inner.data_dir).join(format!("{}.feed", own::stem(&node)));
            FeedFile::empty(path, node)
        })
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An own entry goes through the same checks as everybody's, whoever is enrolled.
    fn verify_own(&self, item: &FeedItem, position: &FeedPosition) -> Result<VerifiedEntry, FeedError> {
        let own = self.door.verify(item, now()).map_err(FeedError::Refused)?;
        if own.position() == *position { Ok(own) } else { Err(FeedError::Refused("foreign-feed")) }
    }

    fn items(&self, node: NodeId, from: u64, bytes_max: usize) -> Result<Vec<FeedItem>, FeedError> {
        let state = self.lock();
        Ok(state.feeds.get(&node).map(|feed| feed.items(from, bytes_max)).transpose()?.unwrap_or_default())
    }
}

/// The node whose file this is, by its name.
fn node_of(path: &Path, ending: &str) -> Option<NodeId> {
    let hex = path.file_name()?.to_str()?.strip_suffix(ending)?;
    NodeId::from_bytes(HEXLOWER.decode(hex.as_bytes()).ok()?.try_into().ok()?).ok()
}
