//! Several lists of rows, each in one order, read as one: of rows with one key, that of the newest list counts.

use super::segment::Entry;
use super::{IndexError, Order};

/// A list of rows.
pub(super) type Source<'s> = Box<dyn Iterator<Item = Result<Entry, IndexError>> + 's>;

/// The lists, the newest first, and the next row of each.
pub(super) struct Merged<'s> {
    sources: Vec<(Option<Entry>, Source<'s>)>,
    order: Order,
}

impl<'s> Merged<'s> {
    pub(super) fn new(sources: impl Iterator<Item = Source<'s>>, order: Order) -> Result<Self, IndexError> {
        let begin = |mut source: Source<'s>| Ok((source.next().transpose()?, source));
        Ok(Self { sources: sources.map(begin).collect::<Result<_, IndexError>>()?, order })
    }

    /// The source whose row is next, the newest of those.
    fn first(&self) -> Option<usize> {
        let mut first: Option<(usize, &[u8])> = None;
        for (at, (head, _)) in self.sources.iter().enumerate() {
            let Some((key, _)) = head else { continue };
            if first.is_none_or(|(_, held)| comes_before(self.order, key, held)) {
                first = Some((at, key));
            }
        }
        first.map(|(at, _)| at)
    }

    fn take(&mut self, at: usize) -> Result<Option<Entry>, IndexError> {
        let (head, source) = &mut self.sources[at];
        Ok(std::mem::replace(head, source.next().transpose()?))
    }
}

impl Iterator for Merged<'_> {
    type Item = Result<Entry, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.first()?;
        let mut next = || {
            let row = self.take(first)?;
            for older in first + 1..self.sources.len() {
                let is_same = matches!((&self.sources[older].0, &row), (Some((a, _)), Some((b, _))) if a == b);
                if is_same {
                    self.take(older)?;
                }
            }
            Ok(row)
        };
        let row = next().transpose();
        if row.as_ref().is_some_and(Result::is_err) {
            self.sources.clear();
        }
        row
    }
}

fn comes_before(order: Order, a: &[u8], b: &[u8]) -> bool {
    match order {
        Order::Ascending => a < b,
        Order::Descending => a > b,
    }
}
