//! Reading rows in order out of both places where they stand: fresh ones in memory, the others in pages.

use std::ops::Bound;
use std::sync::{Arc, RwLock, RwLockReadGuard};

use super::key::RowKey;
use super::pages::Pages;
use super::{IndexError, Row, Rows};

/// Rows that the first look takes; each further one takes [`GROWTH`] times as many, up to [`LOOK_ROWS_MAX`].
/// Most who scan want a few rows, some want all.
const LOOK_ROWS: usize = 8;
const GROWTH: usize = 8;
const LOOK_ROWS_MAX: usize = 512;

/// A fresh row: its key, and its value unless it is removed.
type Fresh<'a> = (&'a RowKey, &'a Option<Vec<u8>>);

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
    pages: Pages,
    fresh: Arc<RwLock<Rows>>,
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
    pub(super) fn new(pages: Pages, fresh: Arc<RwLock<Rows>>, from: Vec<u8>, to: Option<Vec<u8>>, order: Order) -> Self {
        Self { pages, fresh, from, to, order, found: Vec::new().into_iter(), looks: 0, ended: false }
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

    /// Up to `limit` rows. Whoever holds the lock sees each row in one of the two places or in both: a fold
    /// writes pages first, and clears the fresh rows when nobody looks.
    fn merged(&self, limit: usize) -> Result<Vec<Row>, IndexError> {
        if self.to.as_ref().is_some_and(|to| *to <= self.from) {
            return Ok(Vec::new());
        }
        let fresh = read(&self.fresh);
        let to = self.to.as_deref().map_or(Bound::Unbounded, |to| Bound::Excluded(RowKey::from(to)));
        let range = fresh.range((Bound::Included(RowKey::from(self.from.as_slice())), to));
        let mut fresh: Box<dyn Iterator<Item = Fresh<'_>>> = match self.order {
            Order::Ascending => Box::new(range),
            Order::Descending => Box::new(range.rev()),
        };
        let mut held = self.pages.range(&self.from, self.to.as_deref(), self.order)?;
        let (mut next_fresh, mut next_held) = (fresh.next(), held.next().transpose()?);
        let mut rows: Vec<Row> = Vec::new();
        while rows.len() < limit {
            let fresh_comes = match (&next_fresh, &next_held) {
                (None, None) => break,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some((new, _)), Some((old, _))) => ***new == **old || self.comes_before(new, old),
            };
            if !fresh_comes {
                let Some(row) = std::mem::replace(&mut next_held, held.next().transpose()?) else { break };
                // A page that was cut in two meanwhile may be met whole and once more in part.
                if rows.last().is_none_or(|(last, _)| self.comes_before(last, &row.0)) {
                    rows.push(row);
                }
                continue;
            }
            let Some((key, value)) = std::mem::replace(&mut next_fresh, fresh.next()) else { break };
            while next_held.as_ref().is_some_and(|(old, _)| !self.comes_before(key, old)) {
                next_held = held.next().transpose()?;
            }
            rows.extend(value.as_ref().map(|value| (key.to_vec(), value.clone())));
        }
        Ok(rows)
    }

    fn comes_before(&self, a: &[u8], b: &[u8]) -> bool {
        match self.order {
            Order::Ascending => a < b,
            Order::Descending => a > b,
        }
    }
}

pub(super) fn read(fresh: &RwLock<Rows>) -> RwLockReadGuard<'_, Rows> {
    // Nothing under this lock can panic half-way through a change.
    fresh.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The first key behind all that begin with `prefix`; none if there is no such key.
pub(super) fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}
