//! The history beside a verdict: how the other releases of its package fared, as of a size of the log.
//!
//! The index keeps the verdicts in force; the tally logs each round of them before it begins the next, so that those in
//! force are those before the size that a round reads. Where a batch failed in between they are not yet: the round is
//! then to be tried again.

use quorate_tally::history::VERDICTS_MAX;
use quorate_tally::{History, Verdict};

use super::index::Order;
use super::{Store, StoreError, rows};

impl Store {
    /// The history beside `verdict`, from the verdicts that stand in the log before `log_size`. Complexity: O(1), as at
    /// most [`VERDICTS_MAX`] rows are read.
    pub(crate) fn history(&self, verdict: &Verdict, log_size: u64) -> Result<History, StoreError> {
        let mut newest = Vec::new();
        for row in self.index.scan(&rows::history_prefix(&verdict.artifact.slot.package), Order::Ascending).take(VERDICTS_MAX) {
            let (key, value) = row?;
            let leaf = rows::listed_leaf(&key)?;
            if leaf >= log_size {
                return Err(StoreError::Unpublished(leaf));
            }
            newest.push(rows::read_past(&value)?);
        }
        Ok(History::of(verdict, newest))
    }
}
