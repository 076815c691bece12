//! Reading rows in order out of all places where they stand: fresh and frozen ones in memory, the others in files.

use std::ops::Bound;
use std::sync::{Arc, RwLock, RwLockReadGuard};

use super::key::RowKey;
use super::merge::{Merged, Source};
use super::segments::Segments;
use super::{IndexError, Layers, Row, Rows};

/// Rows that the first look takes; each further one takes [`GROWTH`] times as many, up to [`LOOK_ROWS_MAX`].
/// Most who scan want a few rows, some want all.
const LOOK_ROWS: usize = 8;
const GROWTH: usize = 8;
const LOOK_ROWS_MAX: usize = 512;

/// Which end a scan begins at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Smallest key first.
    Ascending,
    /// Largest key first.
    Descending,
}

/// Rows with keys in a range, some at a time: between two looks the writer goes on.
pub(crate) struct Scan {
    segments: Arc<Segments>,
    layers: Arc<RwLock<Layers>>,
    from: Vec<u8>,
    /// Behind the range; none means that it has no end.
    to: Option<Vec<u8>>,
    order: Order,
    found: std::vec::IntoIter<Row>,
    looks: u32,
    ended: bool,
}

impl Iterator for Scan {
    type Item = Result<Row, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(row) = self.found.next() {
            return Some(Ok(row));
        }
        if self.ended {
            return None;
        }
        match self.look() {
            Ok(rows) => self.found = rows.into_iter(),
            Err(error) => {
                self.ended = true;
                return Some(Err(error));
            }
        }
        self.found.next().map(Ok)
    }
}

impl Scan {
    pub(super) fn new(segments: Arc<Segments>, layers: Arc<RwLock<Layers>>, from: Vec<u8>, to: Option<Vec<u8>>, order: Order) -> Self {
        Self { segments, layers, from, to, order, found: Vec::new().into_iter(), looks: 0, ended: false }
    }

    fn look(&mut self) -> Result<Vec<Row>, IndexError> {
        let limit = LOOK_ROWS.saturating_mul(GROWTH.saturating_pow(self.looks)).min(LOOK_ROWS_MAX);
        self.looks += 1;
        let rows = self.merged(limit)?;
        self.ended = rows.len() < limit;
        if let Some((last, _)) = rows.last() {
            match self.order {
                Order::Ascending => self.from = [last.as_slice(), &[0]].concat(),
                Order::Descending => self.to = Some(last.clone()),
            }
        }
        Ok(rows)
    }

    /// Up to `limit` rows. Whoever holds the lock sees each row in one place at least: a fold lets files be seen
    /// first, and drops the rows in memory when nobody looks.
    fn merged(&self, limit: usize) -> Result<Vec<Row>, IndexError> {
        if self.to.as_ref().is_some_and(|to| *to <= self.from) {
            return Ok(Vec::new());
        }
        let layers = read(&self.layers);
        let files = self.segments.files();
        let on_disk =
            files.iter().map(|file| -> Source<'_> { Box::new(Arc::clone(file).range(self.from.clone(), self.to.clone(), self.order)) });
        let sources = [self.in_memory(&layers.fresh), self.in_memory(&layers.frozen)].into_iter().chain(on_disk);
        let rows = Merged::new(sources, self.order)?.filter_map(|row| row.map(|(key, value)| Some((key, value?))).transpose());
        rows.take(limit).collect()
    }

    fn in_memory<'r>(&self, rows: &'r Rows) -> Source<'r> {
        let to = self.to.as_deref().map_or(Bound::Unbounded, |to| Bound::Excluded(RowKey::from(to)));
        let range = rows.range((Bound::Included(RowKey::from(self.from.as_slice())), to));
        let range = range.map(|(key, value)| Ok((key.to_vec(), value.clone())));
        match self.order {
            Order::Ascending => Box::new(range),
            Order::Descending => Box::new(range.rev()),
        }
    }
}

pub(super) fn read(layers: &RwLock<Layers>) -> RwLockReadGuard<'_, Layers> {
    // Nothing under this lock can panic half-way through a change.
    layers.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The first key behind all that begin with `prefix`; none if there is no such key.
pub(super) fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}
