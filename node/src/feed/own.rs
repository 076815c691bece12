//! What guards the node's own feed against using a sequence number twice.
//!
//! Three files beside the feed. The *lock* lets one process in. The *mark* says how many entries may
//! have been published: it is made with the key, raised after an entry is durable and before anybody
//! hears of it. A feed shorter than its mark, or without one, has lost something: the node does not
//! sign. The *halt* says that another history of this key was seen; it never goes away.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::HEXLOWER;
use quorate_proto::NodeId;
use rustix::fs::{FlockOperation, flock};

use super::FeedError;
use crate::durable;

/// The files of one node's own feed.
#[derive(Clone, Debug)]
pub(super) struct OwnFiles {
    mark: PathBuf,
    halt: PathBuf,
}

/// The folder of feed files.
pub(super) fn feeds_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("feeds")
}

/// The file name of a node's feed, without its ending.
pub(super) fn stem(node: &NodeId) -> String {
    HEXLOWER.encode(node.as_bytes())
}

/// How often, and how long in between, a lock is tried: a child of the process that held it keeps it alive
/// from its fork to its exec.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Takes the data folder for this process, until the file is dropped.
pub(super) fn lock(data_dir: &Path) -> Result<File, FeedError> {
    let path = data_dir.join("lock");
    let failed = |source| FeedError::Io { path: path.clone(), source };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    for _ in 0..LOCK_TRIES {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(LOCK_PAUSE),
            Err(error) => return Err(failed(error.into())),
        }
    }
    Err(FeedError::Locked { path })
}

/// Begins the feed of a key that has signed nothing: makes its mark. Fails when there is one.
pub fn begin(data_dir: &Path, node: &NodeId) -> Result<(), FeedError> {
    let dir = feeds_dir(data_dir);
    fs::create_dir_all(&dir).map_err(|source| FeedError::Io { path: dir.clone(), source })?;
    let mark = OwnFiles::new(data_dir, node).mark;
    durable::create(&mark, b"0\n", 0o644).map_err(|source| FeedError::Io { path: mark, source })
}

impl OwnFiles {
    pub(super) fn new(data_dir: &Path, node: &NodeId) -> Self {
        let dir = feeds_dir(data_dir);
        Self { mark: dir.join(format!("{}.mark", stem(node))), halt: dir.join(format!("{}.halt", stem(node))) }
    }

    /// How many entries may have been published; nothing when the feed was never begun here.
    pub(super) fn published(&self) -> Result<Option<u64>, FeedError> {
        let text = read(&self.mark)?;
        let parse = |text: String| text.trim_end().parse().map_err(|_| FeedError::Mark { path: self.mark.clone() });
        text.map(parse).transpose()
    }

    /// Says, durably, that the first `next` entries may be published from now on.
    pub(super) fn publish(&self, next: u64) -> Result<(), FeedError> {
        durable::replace(&self.mark, format!("{next}\n").as_bytes()).map_err(|source| FeedError::Io { path: self.mark.clone(), source })
    }

    /// Why this key must not sign any more, if it must not.
    pub(super) fn halted(&self) -> Result<Option<String>, FeedError> {
        Ok(read(&self.halt)?.map(|text| text.trim_end().to_owned()))
    }

    /// Ends this feed for good.
    pub(super) fn halt(&self, reason: &str) -> Result<(), FeedError> {
        durable::replace(&self.halt, format!("{reason}\n").as_bytes()).map_err(|source| FeedError::Io { path: self.halt.clone(), source })
    }
}

fn read(path: &Path) -> Result<Option<String>, FeedError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FeedError::Io { path: path.to_owned(), source }),
    }
}
