//! The sled index: what makes look-ups fast. Never the truth: all of it can be rebuilt from the log.
//!
//! Decides how sled is opened and written. Refuses to know what the rows mean (`rows.rs`).
//! Values are at most `VALUE_BYTES_MAX`, there is one writer, and no async task calls in here.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::files::{Disk, Point};

mod draft;

pub(crate) use draft::IndexDraft;

/// Larger values leak files in sled 0.34.
pub(crate) const VALUE_BYTES_MAX: usize = 4096;

/// Memory that sled may use for its pages.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Where the signed checkpoint stands. The compare-and-swap is on this key.
pub(crate) const CHECKPOINT_KEY: &[u8] = b"m/checkpoint";

/// Set once an index is complete; an interrupted rebuild has none.
const FORMAT_KEY: &[u8] = b"m/format";
const FORMAT: &[u8] = b"quorate-index/3";

/// How an index came to be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// It opened.
    Whole,
    /// It opened once the snapshot was moved aside: nothing is lost.
    WithoutSnapshot,
    /// It was moved aside. What is open is empty and has to be rebuilt.
    Rebuild,
}

/// The index fails. Fatal: stop and take it up again.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The file system failed.
    #[error("index folder")]
    Io(#[source] io::Error),
    /// Sled failed.
    #[error("index database")]
    Sled(#[source] sled::Error),
    /// Somebody else has put another checkpoint in place.
    #[error("the checkpoint in the index is not the one that this process put there")]
    CheckpointMoved,
    /// A row that is not what was written.
    #[error("index row {0} is malformed")]
    Row(&'static str),
}

/// An open index. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    database: sled::Db,
}

impl Index {
    /// The open ladder: open; else without its snapshot; else a new one beside the old.
    pub(crate) fn open(path: &Path) -> Result<(Self, Rung), IndexError> {
        let existed = path.exists();
        match open_caught(path) {
            Ok(index) if index.is_complete()? => return Ok((index, Rung::Whole)),
            Ok(index) => drop(index),
            Err(reason) if existed => {
                tracing::warn!(%reason, "the index does not open; trying without its snapshot");
                if move_snapshots_aside(path).map_err(IndexError::Io)?
                    && let Ok(index) = open_caught(path)
                    && index.is_complete()?
                {
                    return Ok((index, Rung::WithoutSnapshot));
                }
            }
            Err(reason) => tracing::warn!(%reason, "the index cannot be made"),
        }
        if path.exists() {
            move_aside(path).map_err(IndexError::Io)?;
        }
        let database = configuration(path).open().map_err(IndexError::Sled)?;
        Ok((Self { database }, Rung::Rebuild))
    }

    /// Opens an index that must be whole, and moves nothing.
    pub(crate) fn open_as_it_is(path: &Path) -> Result<Self, IndexError> {
        match open_caught(path) {
            Ok(index) if index.is_complete()? => Ok(index),
            Ok(_) => Err(IndexError::Row("format")),
            Err(reason) => Err(IndexError::Io(io::Error::other(reason))),
        }
    }

    fn is_complete(&self) -> Result<bool, IndexError> {
        Ok(self.get(FORMAT_KEY)?.as_deref() == Some(FORMAT))
    }

    /// Declares a rebuilt index complete.
    pub(crate) fn complete(&self) -> Result<(), IndexError> {
        self.database.insert(FORMAT_KEY, FORMAT).map_err(IndexError::Sled)?;
        self.database.flush().map_err(IndexError::Sled)?;
        Ok(())
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        Ok(self.database.get(key).map_err(IndexError::Sled)?.map(|value| value.to_vec()))
    }

    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool, IndexError> {
        self.database.contains_key(key).map_err(IndexError::Sled)
    }

    /// Rows whose keys begin with `prefix`, in order; may be read from both ends.
    pub(crate) fn scan(&self, prefix: &[u8]) -> impl DoubleEndedIterator<Item = Result<(Vec<u8>, Vec<u8>), IndexError>> + use<> {
        self.database.scan_prefix(prefix).map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(IndexError::Sled))
    }

    /// Rows with keys in `from .. to`.
    pub(crate) fn range(
        &self,
        from: Vec<u8>,
        to: Vec<u8>,
    ) -> impl DoubleEndedIterator<Item = Result<(Vec<u8>, Vec<u8>), IndexError>> + use<> {
        self.database.range(from..to).map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(IndexError::Sled))
    }

    /// The second durable write of a batch: puts `new` in the place of the checkpoint `old`, together
    /// with the rows, or changes nothing.
    pub(crate) fn commit(&self, disk: &Disk, old: &[u8], new: &[u8], rows: &sled::Batch) -> Result<(), CommitError> {
        disk.at(Point::Commit, || {
            self.swap_checkpoint(old, new, rows).map_err(io::Error::other)?;
            self.database.flush().map(drop).map_err(io::Error::other)
        })
        .map_err(CommitError)
    }

    /// The folder's lock makes this the only writer, so looking and then writing is a compare-and-swap; a
    /// batch is recovered whole or not at all.
    fn swap_checkpoint(&self, old: &[u8], new: &[u8], rows: &sled::Batch) -> Result<(), IndexError> {
        let held = self.database.get(CHECKPOINT_KEY).map_err(IndexError::Sled)?;
        if held.as_deref().unwrap_or_default() != old {
            return Err(IndexError::CheckpointMoved);
        }
        let mut rows = rows.clone();
        rows.insert(CHECKPOINT_KEY, new);
        self.database.apply_batch(rows).map_err(IndexError::Sled)
    }

    /// Writes rows that no leaf goes with, durably.
    pub(crate) fn write(&self, rows: sled::Batch) -> Result<(), IndexError> {
        self.write_unflushed(rows)?;
        self.database.flush().map(drop).map_err(IndexError::Sled)
    }

    /// Writes rows of a rebuild, which [`Self::complete`] makes durable.
    pub(crate) fn write_unflushed(&self, rows: sled::Batch) -> Result<(), IndexError> {
        self.database.apply_batch(rows).map_err(IndexError::Sled)
    }
}

/// The index transaction failed, or its outcome is unknown.
#[derive(Debug, thiserror::Error)]
#[error("index transaction")]
pub struct CommitError(#[source] io::Error);

fn configuration(path: &Path) -> sled::Config {
    sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(None)
}

/// Sled 0.34 panics on some damaged files instead of failing.
fn open_caught(path: &Path) -> Result<Index, String> {
    let path = path.to_path_buf();
    match catch_unwind(AssertUnwindSafe(|| configuration(&path).open())) {
        Ok(Ok(database)) => Ok(Index { database }),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("sled panicked".to_owned()),
    }
}

/// Whether there was a snapshot to move.
fn move_snapshots_aside(path: &Path) -> io::Result<bool> {
    let aside = free_name(path, "snapshots");
    let mut moved = false;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            fs::create_dir_all(&aside)?;
            fs::rename(entry.path(), aside.join(entry.file_name()))?;
            moved = true;
        }
    }
    Ok(moved)
}

fn move_aside(path: &Path) -> io::Result<()> {
    let aside = free_name(path, "damaged");
    tracing::warn!(to = %aside.display(), "moving the index aside; it is rebuilt from the log");
    fs::rename(path, aside)
}

fn free_name(path: &Path, what: &str) -> PathBuf {
    let name = |n: u32| path.with_extension(format!("{what}-{n}"));
    (0..u32::MAX).map(name).find(|candidate| !candidate.exists()).unwrap_or_else(|| name(u32::MAX))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn filled(path: &Path) {
        let (index, rung) = Index::open(path).unwrap();
        assert_eq!(rung, Rung::Rebuild);
        for n in 0..2_000_u32 {
            let mut rows = sled::Batch::default();
            rows.insert(&n.to_be_bytes(), vec![7; 600]);
            index.write(rows).unwrap();
        }
        index.complete().unwrap();
    }

    fn files(path: &Path, prefix: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(prefix)).collect()
    }

    #[test]
    fn a_whole_index_opens_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        filled(&path);
        let (index, rung) = Index::open(&path).unwrap();
        assert_eq!(rung, Rung::Whole);
        assert_eq!(index.get(&7_u32.to_be_bytes()).unwrap().unwrap().len(), 600);
    }

    #[test]
    fn a_damaged_snapshot_costs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        filled(&path);
        for snapshot in files(&path, "snap.") {
            fs::write(snapshot, b"").unwrap();
        }
        fs::write(path.join("snap.00000000000000FF"), b"").unwrap();
        let (index, rung) = Index::open(&path).unwrap();
        assert_ne!(rung, Rung::Rebuild);
        assert_eq!(index.get(&1_999_u32.to_be_bytes()).unwrap().unwrap().len(), 600);
    }

    #[test]
    fn a_cut_database_is_moved_aside_and_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        filled(&path);
        for snapshot in files(&path, "snap.") {
            fs::remove_file(snapshot).unwrap();
        }
        let database = fs::OpenOptions::new().write(true).open(path.join("db")).unwrap();
        database.set_len(40).unwrap();
        fs::write(path.join("conf"), b"no configuration").unwrap();
        let (_, rung) = Index::open(&path).unwrap();
        assert_eq!(rung, Rung::Rebuild);
        assert!(folder.path().join("index.damaged-0").exists());
    }

    #[test]
    fn an_interrupted_rebuild_is_begun_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        drop(Index::open(&path).unwrap());
        assert_eq!(Index::open(&path).unwrap().1, Rung::Rebuild);
    }

    #[test]
    fn a_checkpoint_that_moved_stops_the_commit_and_leaves_no_row() {
        let folder = tempfile::tempdir().unwrap();
        let (index, _) = Index::open(&folder.path().join("index")).unwrap();
        let disk = Disk::default();
        let mut rows = sled::Batch::default();
        rows.insert(b"row", b"x");
        index.commit(&disk, b"", b"one", &rows).unwrap();
        let mut rows = sled::Batch::default();
        rows.insert(b"other", b"x");
        assert!(index.commit(&disk, b"", b"two", &rows).is_err());
        assert_eq!(index.get(b"other").unwrap(), None);
        assert_eq!(index.get(CHECKPOINT_KEY).unwrap().unwrap(), b"one");
    }
}
