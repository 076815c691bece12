//! The rows on disk: a few files, each with rows in the order of their keys. Rows of a newer one count.
//!
//! Many rows at once are put into one new file, whose cost does not depend on how many there are already. Which
//! files count stands in sled, so that a new one counts together with the size of the log that it goes up to.
//! When several files of about one size have come together they are merged into one: a row is written again each
//! time that the whole has grown fourfold.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::filter::hash_of;
use super::merge::{Merged, Source};
use super::segment::{Builder, Segment};
use super::{FOLDED_KEY, IndexError, Order, Rows};
use crate::store::files::sync_folder;

/// The numbers of the files that count, the newest first.
const SEGMENTS_KEY: &[u8] = b"m/rows";

/// So many files of one size become one.
const FILES_OF_ONE_SIZE: usize = 4;

/// What is smaller than this is of one size.
const SMALL_BYTES: u64 = 8 * 1024 * 1024;

/// Files that count, the newest first.
pub(super) type Files = Arc<Vec<Arc<Segment>>>;

/// The files of an open index.
#[derive(Debug)]
pub(super) struct Segments {
    folder: PathBuf,
    database: sled::Db,
    files: RwLock<Files>,
    next: AtomicU64,
    /// Held by whoever changes which files count.
    changing: Mutex<()>,
}

impl Segments {
    /// Opens the files that count.
    pub(super) fn open(folder: PathBuf, database: &sled::Db) -> Result<Self, IndexError> {
        let list = database.get(SEGMENTS_KEY).map_err(IndexError::Sled)?.unwrap_or_default();
        let (numbers, []) = list.as_chunks::<8>() else { return Err(IndexError::Row("segments")) };
        let open = |number: u64| Segment::open(&folder.join(number.to_string()), number).map(Arc::new);
        let files = numbers.iter().map(|number| open(u64::from_be_bytes(*number))).collect::<Result<Vec<_>, _>>()?;
        let next = files.iter().map(|file| file.number() + 1).max().unwrap_or(0);
        Ok(Self {
            folder,
            database: database.clone(),
            files: RwLock::new(Arc::new(files)),
            next: AtomicU64::new(next),
            changing: Mutex::new(()),
        })
    }

    /// Removes files that do not count: leftovers of a merge or a fold that was interrupted.
    pub(super) fn remove_leftovers(&self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let counting: BTreeSet<_> = self.files().iter().map(|file| file.number().to_string()).collect();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if !counting.contains(&*entry.file_name().to_string_lossy()) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// The files that count now.
    pub(super) fn files(&self) -> Files {
        Arc::clone(&self.files.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The row of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        let hash = hash_of(key);
        for file in self.files().iter() {
            if let Some((_, said)) = file.get(key, hash)? {
                return Ok(said);
            }
        }
        Ok(None)
    }

    /// Writes rows into a new file and makes it count, together with `folded`. Readers see it once [`Self::show`]
    /// is called.
    pub(super) fn fold(&self, rows: &Rows, folded: u64) -> Result<Files, IndexError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut files = Vec::clone(&self.files());
        if !rows.is_empty() {
            let rows = rows.iter().map(|(key, value)| Ok((&**key, value.as_deref())));
            files.insert(0, self.write(rows)?);
        }
        self.declare(&files, Some(folded))?;
        Ok(Arc::new(files))
    }

    /// Lets readers see what counts.
    pub(super) fn show(&self, files: Files) {
        *self.files.write().unwrap_or_else(PoisonError::into_inner) = files;
    }

    /// Merges files until no [`FILES_OF_ONE_SIZE`] of one size are left.
    pub(super) fn merge(&self) -> Result<(), IndexError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(count) = due(&self.files().iter().map(|file| file.bytes()).collect::<Vec<_>>()) {
            let files = self.files();
            let (merging, older) = files.split_at(count);
            let sources = merging.iter().map(|file| -> Source<'_> { Box::new(Arc::clone(file).range(Vec::new(), None, Order::Ascending)) });
            // Below the oldest file there is nothing that a removal would hide.
            let rows = Merged::new(sources, Order::Ascending)?
                .filter(|row| !older.is_empty() || row.as_ref().map_or(true, |(_, value)| value.is_some()));
            let merged = self.write(rows)?;
            let files: Vec<_> = std::iter::once(merged).chain(older.iter().cloned()).collect();
            self.declare(&files, None)?;
            self.show(Arc::new(files));
            // Whoever reads in them holds them open.
            merging.iter().try_for_each(|file| fs::remove_file(self.path(file.number()))).map_err(IndexError::Io)?;
        }
        Ok(())
    }

    fn write<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        rows: impl Iterator<Item = Result<(K, Option<V>), IndexError>>,
    ) -> Result<Arc<Segment>, IndexError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.path(number);
        let mut builder = Builder::create(&path).map_err(IndexError::Io)?;
        for row in rows {
            let (key, value) = row?;
            builder.push(key.as_ref(), value.as_ref().map(AsRef::as_ref)).map_err(IndexError::Io)?;
        }
        builder.finish().and_then(|()| sync_folder(&self.folder)).map_err(IndexError::Io)?;
        Segment::open(&path, number).map(Arc::new)
    }

    /// From here on these files count, whatever happens.
    fn declare(&self, files: &[Arc<Segment>], folded: Option<u64>) -> Result<(), IndexError> {
        let mut batch = sled::Batch::default();
        let numbers: Vec<u8> = files.iter().flat_map(|file| file.number().to_be_bytes()).collect();
        batch.insert(SEGMENTS_KEY, numbers);
        if let Some(folded) = folded {
            batch.insert(FOLDED_KEY, &folded.to_be_bytes());
        }
        self.database.apply_batch(batch).map_err(IndexError::Sled)?;
        self.database.flush().map(drop).map_err(IndexError::Sled)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(number.to_string())
    }
}

/// How many of the newest files are to become one.
fn due(bytes: &[u64]) -> Option<usize> {
    let size = |bytes: u64| (bytes / SMALL_BYTES).max(1).ilog(FILES_OF_ONE_SIZE as u64);
    let mut count = 0;
    let mut due = None;
    for at in 0..bytes.len() {
        let is_larger = at > 0 && size(bytes[at]) > size(bytes[at - 1]);
        count = if is_larger { 1 } else { count + 1 };
        if count >= FILES_OF_ONE_SIZE {
            due = Some(at + 1);
        }
    }
    due
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn segments(folder: &std::path::Path) -> Segments {
        let database = sled::Config::new().temporary(true).flush_every_ms(None).open().unwrap();
        let segments = Segments::open(folder.to_path_buf(), &database).unwrap();
        segments.remove_leftovers().unwrap();
        segments
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..4),
            prop::collection::vec(0..2_u8, 0..12),
            prop::collection::vec(Just(0xff), 0..4)
        ]
    }

    fn change() -> impl Strategy<Value = (Vec<u8>, Option<Vec<u8>>)> {
        let value = prop::option::weighted(0.7, (any::<u8>(), 0..1_500_usize).prop_map(|(byte, length)| vec![byte; length]));
        (key(), value)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn files_say_what_a_sorted_map_says(
            folds in prop::collection::vec(prop::collection::vec(change(), 1..40), 1..9),
            asked in prop::collection::vec((key(), prop::option::of(key())), 1..8),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let (segments, mut model) = (segments(folder.path()), BTreeMap::new());
            for fold in folds {
                let rows: Rows = fold.into_iter().map(|(key, value)| (key.into(), value)).collect();
                segments.show(segments.fold(&rows, 1).unwrap());
                segments.merge().unwrap();
                for (key, value) in rows {
                    match value {
                        Some(value) => model.insert(key.to_vec(), value),
                        None => model.remove(&*key),
                    };
                }
            }
            prop_assert!(segments.files().len() < FILES_OF_ONE_SIZE);
            let again = Segments::open(segments.folder.clone(), &segments.database).unwrap();
            for (from, to) in asked {
                prop_assert_eq!(again.get(&from).unwrap(), model.get(&from).cloned());
                let mut expected: Vec<_> = model.iter().filter(|(key, _)| **key >= from && to.as_ref().is_none_or(|to| *key < to)).collect();
                let found = |order| {
                    let files = again.files();
                    let sources = files.iter().map(|file| -> Source<'_> { Box::new(Arc::clone(file).range(from.clone(), to.clone(), order)) });
                    let rows = Merged::new(sources, order).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
                    rows.into_iter().filter_map(|(key, value)| Some((key, value?))).collect::<Vec<_>>()
                };
                prop_assert!(found(Order::Ascending).iter().map(|(key, value)| (key, value)).eq(expected.iter().copied()));
                expected.reverse();
                prop_assert!(found(Order::Descending).iter().map(|(key, value)| (key, value)).eq(expected));
            }
        }
    }

    #[test]
    fn files_are_merged_when_four_of_one_size_have_come_together() {
        let mib = |sizes: &[u64]| due(&sizes.iter().map(|size| size << 20).collect::<Vec<_>>());
        assert_eq!(mib(&[]), None);
        assert_eq!(mib(&[5, 5, 5]), None);
        assert_eq!(mib(&[5, 1, 5, 9]), Some(4));
        assert_eq!(mib(&[5, 5, 40, 40, 40]), None);
        assert_eq!(mib(&[5, 40, 40, 40, 40, 300]), Some(5));
        assert_eq!(mib(&[5, 5, 5, 5, 40, 40, 300]), Some(4));
    }

    #[test]
    fn what_an_interrupted_merge_left_behind_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let segments = segments(folder.path());
        segments.show(segments.fold(&Rows::from([(b"k".as_slice().into(), Some(Vec::new()))]), 1).unwrap());
        fs::write(folder.path().join("7"), b"half a file").unwrap();
        let again = Segments::open(segments.folder.clone(), &segments.database).unwrap();
        again.remove_leftovers().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(again.get(b"k").unwrap(), Some(Vec::new()));
    }
}
