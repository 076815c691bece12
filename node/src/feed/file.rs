//! One feed in one file: append, read, recover. Knows the chain, not the signatures.
//!
//! `docs/spec/feed.md`, section "Feed files".

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use quorate_proto::dsse::Envelope;
use quorate_proto::entry::EntryStatement;
use quorate_proto::feed::{FeedHead, FeedPosition, FeedStep};
use quorate_proto::result::RESULT_ENVELOPE_BYTES_MAX;
use quorate_proto::verified::FeedItem;
use quorate_proto::{Digest, NodeId};

use super::record::{self, MAGIC};
use crate::durable;

/// A feed whose entries `0..next` are durable.
#[derive(Debug)]
pub(super) struct FeedFile {
    path: PathBuf,
    node: NodeId,
    head: FeedHead,
    entries: Vec<Entry>,
    /// Bytes of the file that count.
    length: u64,
    /// A write failed and could not be undone: what the file holds is in doubt until it is read again.
    in_doubt: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    digest: Digest,
    offset: u64,
    length: usize,
}

/// What a feed file is that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FeedFileError {
    /// The disk failed.
    #[error("feed file `{path}`")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A whole, undamaged record that does not continue the chain.
    #[error("feed file `{path}`: entry {sequence} does not continue the chain: {reason}")]
    Broken {
        /// Which file.
        path: PathBuf,
        /// Which entry.
        sequence: u64,
        /// What is wrong.
        reason: String,
    },
    /// An earlier write failed and could not be undone.
    #[error("feed file `{path}` is in doubt since a write failed; restart to read it again")]
    InDoubt {
        /// Which file.
        path: PathBuf,
    },
}

/// What reading a file brought.
pub(super) struct Opened {
    pub(super) file: FeedFile,
    /// Every entry's statement, in order.
    pub(super) entries: Vec<EntryStatement>,
    /// Bytes behind the last whole record: a record that was never finished, or damage.
    pub(super) tail_bytes: u64,
}

/// Entries that fit behind a feed, verified by the caller and not yet durable.
pub(super) struct Batch {
    head: FeedHead,
    entries: Vec<Entry>,
    bytes: Vec<u8>,
}

impl FeedFile {
    /// Reads the file, if there is one; changes nothing.
    pub(super) fn read(path: &Path, node: NodeId) -> Result<Opened, FeedFileError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(FeedFileError::Io { path: path.to_owned(), source }),
        };
        let (found, good) = record::scan(&bytes);
        let mut file = Self { length: good as u64, ..Self::empty(path.to_owned(), node) };
        let mut entries = Vec::with_capacity(found.len());
        for record in found {
            let broken = |reason: String| FeedFileError::Broken { path: path.to_owned(), sequence: file.head.next(), reason };
            let (digest, entry) = parse(record.content).map_err(broken)?;
            let position = entry.position();
            let FeedStep::Append(head) = file.head.step(&position, digest) else {
                return Err(broken(format!("it says that it has sequence {}", position.sequence)));
            };
            if position.node != node {
                return Err(broken(format!("it is of node {}", position.node)));
            }
            file.entries.push(Entry { digest, offset: record.offset as u64, length: record.content.len() });
            file.head = head;
            entries.push(entry);
        }
        Ok(Opened { file, entries, tail_bytes: (bytes.len() - good) as u64 })
    }

    /// A feed of which nothing is held yet. The file is made with the first entry.
    pub(super) fn empty(path: PathBuf, node: NodeId) -> Self {
        Self { path, node, head: FeedHead::default(), entries: Vec::new(), length: 0, in_doubt: false }
    }

    /// Cuts off what lies behind the last whole record.
    pub(super) fn cut_tail(&self) -> Result<(), FeedFileError> {
        let file = OpenOptions::new().write(true).open(&self.path).map_err(|e| self.io(e))?;
        file.set_len(self.length).and_then(|()| file.sync_all()).map_err(|e| self.io(e))
    }

    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    pub(super) fn head(&self) -> FeedHead {
        self.head
    }

    /// Digest of the envelope at `sequence`.
    pub(super) fn digest(&self, sequence: u64) -> Option<Digest> {
        self.entries.get(usize::try_from(sequence).ok()?).map(|entry| entry.digest)
    }

    /// Consecutive entries from `from` on, of at most `bytes_max` encoded bytes in sum.
    pub(super) fn items(&self, from: u64, bytes_max: usize) -> Result<Vec<FeedItem>, FeedFileError> {
        let start = usize::try_from(from).unwrap_or(usize::MAX).min(self.entries.len());
        let mut left = bytes_max;
        let wanted = self.entries[start..].iter().take_while(|entry| {
            let fits = left.checked_sub(entry.length);
            left = fits.unwrap_or(0);
            fits.is_some()
        });
        let wanted: Vec<&Entry> = wanted.collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let file = File::open(&self.path).map_err(|e| self.io(e))?;
        wanted.into_iter().map(|entry| self.item(&file, entry)).collect()
    }

    fn item(&self, file: &File, entry: &Entry) -> Result<FeedItem, FeedFileError> {
        let mut content = vec![0; entry.length];
        file.read_exact_at(&mut content, entry.offset).map_err(|e| self.io(e))?;
        let item = FeedItem::decode(&content).ok().filter(|item| Digest::of(&item.envelope) == entry.digest);
        item.ok_or_else(|| self.io(io::Error::new(io::ErrorKind::InvalidData, "an entry has changed on disk")))
    }

    /// An empty batch behind this feed.
    pub(super) fn batch(&self) -> Batch {
        Batch { head: self.head, entries: Vec::new(), bytes: Vec::new() }
    }

    /// Makes the batch durable: when this returns well, it stays. When it returns an error, either
    /// nothing of it counts, or the file is in doubt and takes nothing more until it is read again.
    pub(super) fn append(&mut self, batch: Batch) -> Result<(), FeedFileError> {
        if self.in_doubt {
            return Err(FeedFileError::InDoubt { path: self.path.clone() });
        }
        self.in_doubt = true;
        let begin = self.begin().map_err(|e| self.io(e))?;
        if let Err(error) = self.write(&begin.file, begin.at, &batch.bytes) {
            let undone = begin.file.set_len(self.length).and_then(|()| begin.file.sync_all());
            self.in_doubt = undone.is_err();
            return Err(self.io(error));
        }
        let moved = |entry: Entry| Entry { offset: begin.at + entry.offset, ..entry };
        self.entries.extend(batch.entries.into_iter().map(moved));
        self.length = begin.at + batch.bytes.len() as u64;
        self.head = batch.head;
        self.in_doubt = false;
        Ok(())
    }

    /// Opens the file for appending; a new one gets its magic and its name made durable.
    fn begin(&self) -> io::Result<Begin> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&self.path)?;
        if self.length > 0 {
            return Ok(Begin { file, at: self.length });
        }
        file.set_len(0)?;
        file.write_all_at(MAGIC, 0)?;
        file.sync_all()?;
        durable::sync_dir(self.path.parent().unwrap_or(Path::new(".")))?;
        Ok(Begin { file, at: MAGIC.len() as u64 })
    }

    #[expect(clippy::unused_self, reason = "reads as a step of `append`")]
    fn write(&self, mut file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
        file.seek(SeekFrom::Start(at))?;
        file.write_all(bytes)?;
        file.sync_data()
    }

    fn io(&self, source: io::Error) -> FeedFileError {
        FeedFileError::Io { path: self.path.clone(), source }
    }
}

struct Begin {
    file: File,
    at: u64,
}

impl Batch {
    /// What an entry is to the feed with this batch behind it.
    pub(super) fn step(&self, position: &FeedPosition, digest: Digest) -> FeedStep {
        self.head.step(position, digest)
    }

    /// Digest of the batch's entry at `sequence`, if that is one of the batch.
    pub(super) fn digest(&self, sequence: u64) -> Option<Digest> {
        let first = self.head.next() - self.entries.len() as u64;
        let index = usize::try_from(sequence.checked_sub(first)?).ok()?;
        self.entries.get(index).map(|entry| entry.digest)
    }

    /// Adds an entry that fits, with the head that its step gave.
    pub(super) fn push(&mut self, item: &FeedItem, digest: Digest, head: FeedHead) {
        let content = item.encode();
        let record = record::encode(&content);
        let offset = (self.bytes.len() + record.len() - content.len()) as u64;
        self.entries.push(Entry { digest, offset, length: content.len() });
        self.bytes.extend(record);
        self.head = head;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn parse(content: &[u8]) -> Result<(Digest, EntryStatement), String> {
    let item = FeedItem::decode(content).map_err(|e| e.to_string())?;
    let envelope = Envelope::parse(&item.envelope, RESULT_ENVELOPE_BYTES_MAX).map_err(|e| e.to_string())?;
    let entry = EntryStatement::parse(envelope.payload()).map_err(|e| e.to_string())?;
    Ok((envelope.digest(), entry))
}
