//! Rows that are being put together for one batch, readable before they are in force.

use std::collections::HashMap;

use super::key::RowKey;
use super::{Index, IndexError, Order, Rows, VALUE_BYTES_MAX};

/// Posting lists are cut into values of this size: a batch rewrites the last one only.
const POSTING_BYTES: usize = 1024;

/// Length of the chunk number behind a posting list's prefix.
pub(crate) const CHUNK_NUMBER_BYTES: usize = 4;

/// Rows to be written together. Reads see them.
pub(crate) struct IndexDraft<'i> {
    index: &'i Index,
    writes: Rows,
    /// The posting lists that grow, by prefix: each one's last chunk.
    tails: HashMap<Vec<u8>, Tail>,
}

struct Tail {
    chunk: u32,
    value: Vec<u8>,
}

impl<'i> IndexDraft<'i> {
    pub(crate) fn new(index: &'i Index) -> Self {
        Self { index, writes: Rows::new(), tails: HashMap::new() }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        match self.writes.get(&RowKey::from(key)) {
            Some(written) => Ok(written.clone()),
            None => self.index.get(key),
        }
    }

    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool, IndexError> {
        match self.writes.get(&RowKey::from(key)) {
            Some(written) => Ok(written.is_some()),
            None => self.index.contains(key),
        }
    }

    pub(crate) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        debug_assert!(value.len() <= VALUE_BYTES_MAX, "no row is longer than a block");
        self.writes.insert(key.into(), Some(value));
    }

    pub(crate) fn remove(&mut self, key: Vec<u8>) {
        self.writes.insert(key.into(), None);
    }

    /// Adds `bytes` to the end of a row, which may not be there yet.
    pub(crate) fn extend(&mut self, key: Vec<u8>, bytes: &[u8]) -> Result<(), IndexError> {
        let key = RowKey::from(key);
        if let Some(Some(value)) = self.writes.get_mut(&key) {
            value.extend_from_slice(bytes);
            return Ok(());
        }
        let mut value = self.get(&key)?.unwrap_or_default();
        value.extend_from_slice(bytes);
        self.writes.insert(key, Some(value));
        Ok(())
    }

    /// Adds `entry`, which has one length for the whole list, to the posting list `prefix`. Whoever reads the
    /// draft does not see it there.
    pub(crate) fn append(&mut self, prefix: &[u8], entry: &[u8]) -> Result<(), IndexError> {
        let tail = if let Some(tail) = self.tails.get_mut(prefix) {
            tail
        } else {
            let tail = self.tail(prefix)?;
            self.tails.entry(prefix.to_vec()).or_insert(tail)
        };
        if tail.value.len() + entry.len() > POSTING_BYTES {
            let full = std::mem::take(&mut tail.value);
            self.writes.insert(chunk_key(prefix, tail.chunk).into(), Some(full));
            tail.chunk += 1;
        }
        tail.value.extend_from_slice(entry);
        Ok(())
    }

    /// The last chunk of a list. Most have one only, and a look-up costs a fraction of a scan.
    fn tail(&self, prefix: &[u8]) -> Result<Tail, IndexError> {
        match self.index.get(&chunk_key(prefix, 0))? {
            None => return Ok(Tail { chunk: 0, value: Vec::new() }),
            Some(value) if value.len() <= POSTING_BYTES / 2 => return Ok(Tail { chunk: 0, value }),
            Some(_) => {}
        }
        let last = self.index.scan(prefix, Order::Descending).next().ok_or(IndexError::Row("posting"))?;
        let (key, value) = last?;
        let number = key.last_chunk::<CHUNK_NUMBER_BYTES>().ok_or(IndexError::Row("posting"))?;
        Ok(Tail { chunk: u32::from_be_bytes(*number), value })
    }

    /// The rows for the index.
    pub(crate) fn into_rows(mut self) -> Rows {
        let tails = self.tails.into_iter().map(|(prefix, tail)| (chunk_key(&prefix, tail.chunk).into(), Some(tail.value)));
        self.writes.extend(tails);
        self.writes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.tails.is_empty()
    }
}

fn chunk_key(prefix: &[u8], chunk: u32) -> Vec<u8> {
    [prefix, &chunk.to_be_bytes()].concat()
}
