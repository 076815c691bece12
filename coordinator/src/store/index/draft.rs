//! Rows that are being put together for one transaction, readable before they are written.

use std::collections::{BTreeMap, HashMap};

use super::{Index, IndexError, VALUE_BYTES_MAX};

/// Posting lists are cut into values of this size: a batch rewrites the last one only.
const POSTING_BYTES: usize = 1024;

/// Length of the chunk number behind a posting list's prefix.
pub(crate) const CHUNK_NUMBER_BYTES: usize = 4;

/// Rows to be written together. Reads see them.
pub(crate) struct IndexDraft<'i> {
    index: &'i Index,
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    tails: HashMap<Vec<u8>, u32>,
}

impl<'i> IndexDraft<'i> {
    pub(crate) fn new(index: &'i Index) -> Self {
        Self { index, writes: BTreeMap::new(), tails: HashMap::new() }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        match self.writes.get(key) {
            Some(written) => Ok(written.clone()),
            None => self.index.get(key),
        }
    }

    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool, IndexError> {
        match self.writes.get(key) {
            Some(written) => Ok(written.is_some()),
            None => self.index.contains(key),
        }
    }

    pub(crate) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        debug_assert!(value.len() <= VALUE_BYTES_MAX, "sled leaks large values");
        self.writes.insert(key, Some(value));
    }

    pub(crate) fn remove(&mut self, key: Vec<u8>) {
        self.writes.insert(key, None);
    }

    /// Adds `entry`, which has one length for the whole list, to the posting list `prefix`.
    pub(crate) fn append(&mut self, prefix: Vec<u8>, entry: &[u8]) -> Result<(), IndexError> {
        let chunk = match self.tails.get(&prefix) {
            Some(chunk) => *chunk,
            None => self.last_chunk(&prefix)?,
        };
        let key = chunk_key(&prefix, chunk);
        if !self.writes.contains_key(&key) {
            let held = self.index.get(&key)?.unwrap_or_default();
            self.writes.insert(key.clone(), Some(held));
        }
        let value = self.writes.get_mut(&key).and_then(Option::as_mut).ok_or(IndexError::Row("posting"))?;
        if value.len() + entry.len() <= POSTING_BYTES {
            value.extend_from_slice(entry);
            self.tails.insert(prefix, chunk);
        } else {
            self.put(chunk_key(&prefix, chunk + 1), entry.to_vec());
            self.tails.insert(prefix, chunk + 1);
        }
        Ok(())
    }

    /// Most lists have one chunk, and a look-up costs a fraction of a scan.
    fn last_chunk(&self, prefix: &[u8]) -> Result<u32, IndexError> {
        let first = self.index.get(&chunk_key(prefix, 0))?;
        if first.is_none_or(|held| held.len() <= POSTING_BYTES / 2) {
            return Ok(0);
        }
        let Some(last) = self.index.scan(prefix).next_back() else {
            return Ok(0);
        };
        let (key, _) = last?;
        let number = key.last_chunk::<CHUNK_NUMBER_BYTES>().ok_or(IndexError::Row("posting"))?;
        Ok(u32::from_be_bytes(*number))
    }

    /// The rows for sled.
    pub(crate) fn into_batch(self) -> sled::Batch {
        let mut batch = sled::Batch::default();
        for (key, value) in self.writes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        batch
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

fn chunk_key(prefix: &[u8], chunk: u32) -> Vec<u8> {
    [prefix, &chunk.to_be_bytes()].concat()
}
