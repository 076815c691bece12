//! The sled index: what makes look-ups fast. Never the truth: all of it can be rebuilt from the log.
//!
//! Decides how sled is opened and written. Refuses to know what the rows mean (`rows.rs`).
//! Rows of the latest batches are *fresh*: they are in memory only, and follow from stage files that are still
//! there. From time to time they are *frozen*, and *folded* into a file of their own while new ones gather. Sled
//! knows which files count, and the checkpoint. Readers see all rows as one.
//! There is one writer and one who folds, and no async task calls in here.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use super::files::{Disk, Point};
use key::RowKey;
use scan::behind;
use segments::Segments;

mod draft;
mod filter;
mod key;
mod merge;
mod scan;
mod segment;
mod segments;

pub(crate) use draft::IndexDraft;
pub(crate) use scan::{Order, Scan};

/// Largest value of a row.
pub(crate) const VALUE_BYTES_MAX: usize = 4096;

/// Memory that sled may use: it holds a few short values.
const CACHE_BYTES: u64 = 1024 * 1024;

/// How long sled may take to let go of its file.
const LET_GO_WITHIN: Duration = Duration::from_secs(2);
const LET_GO_STEP: Duration = Duration::from_millis(5);

/// Where the signed checkpoint stands. The compare-and-swap is on this key.
const CHECKPOINT_KEY: &[u8] = b"m/checkpoint";

/// Size of the log up to which rows are folded. What follows from later leaves is fresh.
const FOLDED_KEY: &[u8] = b"m/folded";

/// Set once an index is complete; an interrupted rebuild has none.
const FORMAT_KEY: &[u8] = b"m/format";
const FORMAT: &[u8] = b"quorate-index/7";

/// Key and value.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

/// What is put in the place of rows; none removes one.
pub(crate) type Rows = BTreeMap<RowKey, Option<Vec<u8>>>;

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
    segments: Arc<Segments>,
    layers: Arc<RwLock<Layers>>,
}

/// Rows in memory.
#[derive(Debug, Default)]
struct Layers {
    /// Those of the latest batches.
    fresh: Rows,
    /// Those that are being folded. Fresh ones of the same keys count.
    frozen: Arc<Rows>,
}

impl Index {
    /// The open ladder: open; else without its snapshot; else a new one beside the old.
    pub(crate) fn open(path: &Path) -> Result<(Self, Rung), IndexError> {
        let existed = path.exists();
        match open_caught(path) {
            Ok(index) if index.is_complete()? => return Ok((index.tidied()?, Rung::Whole)),
            Ok(index) => drop(index),
            Err(reason) if existed => {
                tracing::warn!(%reason, "the index does not open; trying without its snapshot");
                if move_snapshots_aside(path).map_err(IndexError::Io)?
                    && let Ok(index) = open_caught(path)
                    && index.is_complete()?
                {
                    return Ok((index.tidied()?, Rung::WithoutSnapshot));
                }
            }
            Err(reason) => tracing::warn!(%reason, "the index cannot be made"),
        }
        if path.exists() {
            move_aside(path).map_err(IndexError::Io)?;
        }
        let database = configuration(path).open().map_err(IndexError::Sled)?;
        Ok((Self::over(database, path)?.tidied()?, Rung::Rebuild))
    }

    fn over(database: sled::Db, path: &Path) -> Result<Self, IndexError> {
        let segments = Segments::open(path.join("rows"), &database)?;
        Ok(Self { segments: Arc::new(segments), database, layers: Arc::default() })
    }

    /// Without the files that do not count.
    fn tidied(self) -> Result<Self, IndexError> {
        self.segments.remove_leftovers().map_err(IndexError::Io)?;
        Ok(self)
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
        Ok(self.own(FORMAT_KEY)?.as_deref() == Some(FORMAT))
    }

    /// The committed checkpoint; empty before the first.
    pub(crate) fn checkpoint(&self) -> Result<Vec<u8>, IndexError> {
        Ok(self.own(CHECKPOINT_KEY)?.unwrap_or_default())
    }

    /// Size of the log up to which rows are on disk.
    pub(crate) fn folded(&self) -> Result<u64, IndexError> {
        let Some(value) = self.own(FOLDED_KEY)? else { return Ok(0) };
        value.try_into().map(u64::from_be_bytes).map_err(|_| IndexError::Row("folded"))
    }

    /// A value that is no row, but about all rows.
    fn own(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        Ok(self.database.get(key).map_err(IndexError::Sled)?.map(|value| value.to_vec()))
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        let layers = scan::read(&self.layers);
        let row = RowKey::from(key);
        if let Some(held) = layers.fresh.get(&row).or_else(|| layers.frozen.get(&row)) {
            return Ok(held.clone());
        }
        self.segments.get(key)
    }

    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool, IndexError> {
        Ok(self.get(key)?.is_some())
    }

    /// Rows whose keys begin with `prefix`.
    pub(crate) fn scan(&self, prefix: &[u8], order: Order) -> Scan {
        self.look(prefix.to_vec(), behind(prefix), order)
    }

    /// Rows with keys in `from .. to`.
    pub(crate) fn range(&self, from: Vec<u8>, to: Vec<u8>, order: Order) -> Scan {
        self.look(from, Some(to), order)
    }

    fn look(&self, from: Vec<u8>, to: Option<Vec<u8>>, order: Order) -> Scan {
        Scan::new(Arc::clone(&self.segments), Arc::clone(&self.layers), from, to, order)
    }

    /// The second durable write of a batch: puts the checkpoint `new` in the place of `old`, or changes nothing.
    /// The rows follow from the stage file; they can be seen from here on.
    pub(crate) fn commit(&self, disk: &Disk, old: &[u8], new: &[u8], rows: Rows) -> Result<(), CommitError> {
        disk.at(Point::Commit, || {
            self.swap_checkpoint(old, new).map_err(io::Error::other)?;
            self.database.flush().map(drop).map_err(io::Error::other)
        })
        .map_err(CommitError)?;
        self.add(rows);
        Ok(())
    }

    /// The folder's lock makes this the only writer, so looking and then writing is a compare-and-swap.
    fn swap_checkpoint(&self, old: &[u8], new: &[u8]) -> Result<(), IndexError> {
        if self.checkpoint()? != old {
            return Err(IndexError::CheckpointMoved);
        }
        self.database.insert(CHECKPOINT_KEY, new).map(drop).map_err(IndexError::Sled)
    }

    /// Adds fresh rows. They have to follow from files that stay until they are folded.
    pub(crate) fn add(&self, rows: Rows) {
        self.layers.write().unwrap_or_else(PoisonError::into_inner).fresh.extend(rows);
    }

    /// How many fresh rows there are.
    pub(crate) fn fresh_rows(&self) -> usize {
        scan::read(&self.layers).fresh.len()
    }

    /// Whether all rows are on disk.
    pub(crate) fn is_folded(&self) -> bool {
        let layers = scan::read(&self.layers);
        layers.fresh.is_empty() && layers.frozen.is_empty()
    }

    /// Sets the fresh rows aside, for [`Self::fold`]. Those that an earlier fold has failed with are among them.
    pub(crate) fn freeze(&self) {
        let mut layers = self.layers.write().unwrap_or_else(PoisonError::into_inner);
        let fresh = std::mem::take(&mut layers.fresh);
        if layers.frozen.is_empty() {
            layers.frozen = Arc::new(fresh);
        } else {
            Arc::make_mut(&mut layers.frozen).extend(fresh);
        }
    }

    /// Makes the frozen rows durable: those of all leaves before `size`. They reach the disk together with that
    /// number, or none does.
    pub(crate) fn fold(&self, disk: &Disk, size: u64) -> Result<(), CommitError> {
        let frozen = Arc::clone(&scan::read(&self.layers).frozen);
        let files = disk.at(Point::Fold, || self.segments.fold(&frozen, size).map_err(io::Error::other)).map_err(CommitError)?;
        self.segments.show(files);
        let folded = std::mem::take(&mut self.layers.write().unwrap_or_else(PoisonError::into_inner).frozen);
        drop(folded);
        Ok(())
    }

    /// Merges files of rows where there are many of one size.
    pub(crate) fn merge(&self) -> Result<(), IndexError> {
        self.segments.merge()
    }

    /// Declares a rebuilt index, whose rows are folded, complete up to the checkpoint `note`.
    pub(crate) fn complete(&self, note: &[u8]) -> Result<(), IndexError> {
        let mut batch = sled::Batch::default();
        batch.insert(FORMAT_KEY, FORMAT);
        if !note.is_empty() {
            batch.insert(CHECKPOINT_KEY, note);
        }
        self.database.apply_batch(batch).map_err(IndexError::Sled)?;
        self.database.flush().map(drop).map_err(IndexError::Sled)
    }
}

/// The index transaction failed, or its outcome is unknown.
#[derive(Debug, thiserror::Error)]
#[error("index transaction")]
pub struct CommitError(#[source] io::Error);

fn configuration(path: &Path) -> sled::Config {
    sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(None)
}

/// Sled 0.34 panics on some damaged files instead of failing, and lets go of its file a moment after its last handle is
/// gone. Others are kept out by the folder's lock.
fn open_caught(path: &Path) -> Result<Index, String> {
    let until = Instant::now() + LET_GO_WITHIN;
    loop {
        match catch_unwind(AssertUnwindSafe(|| configuration(path).open())) {
            Ok(Err(sled::Error::Io(error))) if is_held(&error) && Instant::now() < until => thread::sleep(LET_GO_STEP),
            Ok(Ok(database)) => return Index::over(database, path).map_err(|error| error.to_string()),
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("sled panicked".to_owned()),
        }
    }
}

/// Sled says so in words alone.
fn is_held(error: &io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
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

    fn row(key: &[u8], value: Vec<u8>) -> Rows {
        Rows::from([(key.into(), Some(value))])
    }

    fn filled(path: &Path) {
        let (index, rung) = Index::open(path).unwrap();
        assert_eq!(rung, Rung::Rebuild);
        for n in 0..2_000_u32 {
            index.add(row(&n.to_be_bytes(), vec![7; 600]));
            if n % 50 == 49 {
                index.freeze();
                index.fold(&Disk::default(), u64::from(n)).unwrap();
            }
        }
        index.complete(b"").unwrap();
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
        index.commit(&disk, b"", b"one", row(b"row", b"x".to_vec())).unwrap();
        assert!(index.commit(&disk, b"", b"two", row(b"other", b"x".to_vec())).is_err());
        assert_eq!(index.get(b"other").unwrap(), None);
        assert_eq!(index.checkpoint().unwrap(), b"one");
    }

    #[test]
    fn fresh_and_folded_rows_are_read_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let (index, _) = Index::open(&folder.path().join("index")).unwrap();
        let key = |n: u32| [b"k/".as_slice(), &n.to_be_bytes()].concat();
        index.add((0..2_000).map(|n| (key(n).into(), Some(b"old".to_vec()))).collect());
        index.freeze();
        index.fold(&Disk::default(), 1).unwrap();
        index.add((0..2_000).step_by(3).map(|n| (key(n).into(), Some(b"new".to_vec()))).collect());
        index.add((0..2_000).step_by(5).map(|n| (key(n).into(), None)).collect());
        let expected: Vec<Row> =
            (0..2_000).filter(|n| n % 5 != 0).map(|n| (key(n), if n % 3 == 0 { b"new".to_vec() } else { b"old".to_vec() })).collect();
        let backwards: Vec<Row> = expected.iter().rev().cloned().collect();
        for folded in 0..2 {
            let rows = |order| index.scan(b"k/", order).collect::<Result<Vec<_>, _>>().unwrap();
            assert_eq!((rows(Order::Ascending), rows(Order::Descending)), (expected.clone(), backwards.clone()));
            assert_eq!(index.get(&key(5)).unwrap(), None);
            assert_eq!((index.get(&key(6)).unwrap(), index.folded().unwrap()), (Some(b"new".to_vec()), 1 + folded));
            index.freeze();
            index.fold(&Disk::default(), 2).unwrap();
            assert_eq!(index.fresh_rows(), 0);
        }
    }

    #[test]
    fn a_fold_in_the_middle_of_a_scan_hides_no_row() {
        let folder = tempfile::tempdir().unwrap();
        let (index, _) = Index::open(&folder.path().join("index")).unwrap();
        let key = |n: u32| [b"k/".as_slice(), &n.to_be_bytes()].concat();
        for order in [Order::Ascending, Order::Descending] {
            index.add((0..1_000).map(|n| (key(n).into(), Some(vec![1; 100]))).collect());
            let mut scan = index.scan(b"k/", order);
            let first = scan.by_ref().take(5).count();
            index.freeze();
            let second = scan.by_ref().take(30).count();
            index.fold(&Disk::default(), 1).unwrap();
            index.merge().unwrap();
            assert_eq!(first + second + scan.count(), 1_000);
        }
    }
}
