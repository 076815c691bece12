//! The rows on disk: in the order of their keys, packed into pages, each page one value in sled.
//!
//! Sled needs about as long for 40 bytes as for 4 KiB, since it copies the node around them. So rows are
//! put many at a time, and each page that they touch is written once.
//! `docs/spec/coordinator-storage.md`, section "Index".

use sled::IVec;

use super::{IndexError, Order, Row, Rows};

/// What the key of a page begins with. Behind it stands the page's fence: no row of the page is below it,
/// and no row of the page before is at or above it.
const PAGE_PREFIX: &[u8] = b"~";

/// Behind every page's key.
const PAGES_END: &[u8] = b"\x7f";

/// Largest page, unless a single row is larger. Larger values leak files in sled 0.34.
const PAGE_BYTES_MAX: usize = 4096;

/// What a page is filled to when one becomes too large: the next rows that come in between find room.
const PAGE_BYTES_FILL: usize = 3072;

/// The two lengths before a row.
const LENGTHS_BYTES: usize = 4;

/// The pages of an open database.
#[derive(Clone, Debug)]
pub(super) struct Pages {
    database: sled::Db,
}

type RowRef<'p> = (&'p [u8], &'p [u8]);

impl Pages {
    pub(super) fn of(database: &sled::Db) -> Self {
        Self { database: database.clone() }
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        let Some((_, page)) = self.page_of(key)? else { return Ok(None) };
        for row in rows_in(&page) {
            let (held, value) = row?;
            if held >= key {
                return Ok((held == key).then(|| value.to_vec()));
            }
        }
        Ok(None)
    }

    /// Rows with keys in `from .. to`.
    pub(super) fn range(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
    ) -> Result<impl Iterator<Item = Result<Row, IndexError>>, IndexError> {
        let first = self.page_of(from)?.map_or_else(|| page_key(b""), |(key, _)| key.to_vec());
        let end = to.map_or_else(|| PAGES_END.to_vec(), page_key).max(first.clone());
        let mut pages = self.database.range(first..end);
        let (from, to) = (from.to_vec(), to.map(<[u8]>::to_vec));
        let mut rows = Vec::new().into_iter();
        Ok(std::iter::from_fn(move || {
            loop {
                if let Some(row) = rows.next() {
                    return Some(Ok(row));
                }
                let page = match order {
                    Order::Ascending => pages.next()?,
                    Order::Descending => pages.next_back()?,
                };
                match page.map_err(IndexError::Sled).and_then(|(_, page)| cut_out(&page, &from, to.as_deref(), order)) {
                    Ok(found) => rows = found.into_iter(),
                    Err(error) => return Some(Err(error)),
                }
            }
        }))
    }

    /// The pages as they are with these rows. Nothing is written.
    pub(super) fn with(&self, rows: &Rows) -> Result<sled::Batch, IndexError> {
        let mut batch = sled::Batch::default();
        let mut rows = rows.iter().peekable();
        while let Some((key, _)) = rows.peek() {
            let (page_key, page) = self.page_of(key)?.unwrap_or_else(|| (IVec::from(self::page_key(b"")), IVec::default()));
            let next = self.database.range(page_key.to_vec()..PAGES_END.to_vec()).nth(usize::from(!page.is_empty()));
            let next = next.transpose().map_err(IndexError::Sled)?.map(|(key, _)| key[PAGE_PREFIX.len()..].to_vec());
            let mut own = Vec::new();
            while let Some((key, value)) = rows.next_if(|(key, _)| next.as_ref().is_none_or(|next| ***key < **next)) {
                own.push((&**key, value.as_deref()));
            }
            let held = rows_in(&page).collect::<Result<Vec<_>, _>>()?;
            put_pages(&mut batch, page_key, &merge(&held, &own));
        }
        Ok(batch)
    }

    /// The page that a key belongs to, if there is one yet.
    fn page_of(&self, key: &[u8]) -> Result<Option<(IVec, IVec)>, IndexError> {
        self.database.range(page_key(b"")..=page_key(key)).next_back().transpose().map_err(IndexError::Sled)
    }
}

fn page_key(fence: &[u8]) -> Vec<u8> {
    [PAGE_PREFIX, fence].concat()
}

/// The rows of a page: key's length, value's length, key, value.
fn rows_in(page: &[u8]) -> impl Iterator<Item = Result<RowRef<'_>, IndexError>> {
    let mut rest = page;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let row = split_row(rest);
        rest = row.map_or(&[][..], |(_, rest)| rest);
        Some(row.map(|(row, _)| row).ok_or(IndexError::Row("page")))
    })
}

fn split_row(bytes: &[u8]) -> Option<(RowRef<'_>, &[u8])> {
    let ([a, b, c, d], rest) = bytes.split_first_chunk::<LENGTHS_BYTES>()?;
    let (key, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([*a, *b])))?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([*c, *d])))?;
    Some(((key, value), rest))
}

/// The rows of a page with keys in `from .. to`.
fn cut_out(page: &[u8], from: &[u8], to: Option<&[u8]>, order: Order) -> Result<Vec<Row>, IndexError> {
    let outside = |key: &[u8]| key < from || to.is_some_and(|to| key >= to);
    let rows = rows_in(page).filter(|row| !row.as_ref().is_ok_and(|(key, _)| outside(key)));
    let rows = rows.map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())));
    let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
    if order == Order::Descending {
        rows.reverse();
    }
    Ok(rows)
}

/// `held` with `new` put over it. Both are in order.
fn merge<'r>(held: &[RowRef<'r>], new: &[(&'r [u8], Option<&'r [u8]>)]) -> Vec<RowRef<'r>> {
    let mut merged = Vec::with_capacity(held.len() + new.len());
    let mut held = held.iter().copied().peekable();
    for (key, value) in new {
        while let Some(row) = held.next_if(|(other, _)| other < key) {
            merged.push(row);
        }
        held.next_if(|(other, _)| other == key);
        merged.extend(value.map(|value| (*key, value)));
    }
    merged.extend(held);
    merged
}

/// Puts rows where the page `page_key` was: into one page, or into several when they do not fit.
fn put_pages(batch: &mut sled::Batch, page_key: IVec, rows: &[RowRef<'_>]) {
    if rows.is_empty() {
        // What would belong to it belongs to the page before.
        return batch.remove(page_key);
    }
    let bytes_of = |(key, value): &RowRef<'_>| LENGTHS_BYTES + key.len() + value.len();
    let total: usize = rows.iter().map(bytes_of).sum();
    let target = if total <= PAGE_BYTES_MAX { total } else { total.div_ceil(total.div_ceil(PAGE_BYTES_FILL)) };
    let (mut page_key, mut page) = (page_key, Vec::with_capacity(target));
    let mut last: &[u8] = &[];
    for row in rows {
        if !page.is_empty() && (page.len() >= target || page.len() + bytes_of(row) > PAGE_BYTES_MAX) {
            let next = IVec::from(self::page_key(fence_between(last, row.0)));
            batch.insert(std::mem::replace(&mut page_key, next), std::mem::replace(&mut page, Vec::with_capacity(target)));
        }
        put_row(&mut page, *row);
        last = row.0;
    }
    batch.insert(page_key, page);
}

fn put_row(page: &mut Vec<u8>, (key, value): RowRef<'_>) {
    for bytes in [key, value] {
        let length = u16::try_from(bytes.len()).expect("keys and values are bounded where they are put together");
        page.extend_from_slice(&length.to_be_bytes());
    }
    page.extend_from_slice(key);
    page.extend_from_slice(value);
}

/// The shortest beginning of `key` that is above `last`: sled keeps short keys in place.
fn fence_between<'k>(last: &[u8], key: &'k [u8]) -> &'k [u8] {
    let common = last.iter().zip(key).take_while(|(a, b)| a == b).count();
    &key[..(common + 1).min(key.len())]
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn fresh() -> Pages {
        Pages::of(&sled::Config::new().temporary(true).flush_every_ms(None).open().unwrap())
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
        fn pages_say_what_a_sorted_map_says(
            folds in prop::collection::vec(prop::collection::vec(change(), 1..40), 1..6),
            asked in prop::collection::vec((key(), prop::option::of(key())), 1..8),
        ) {
            let (pages, mut model) = (fresh(), BTreeMap::new());
            for fold in folds {
                let rows: Rows = fold.into_iter().map(|(key, value)| (key.into(), value)).collect();
                pages.database.apply_batch(pages.with(&rows).unwrap()).unwrap();
                for (key, value) in rows {
                    match value {
                        Some(value) => model.insert(key.to_vec(), value),
                        None => model.remove(&*key),
                    };
                }
            }
            for page in pages.database.iter() {
                let (_, page) = page.unwrap();
                prop_assert!(page.len() <= PAGE_BYTES_MAX && !page.is_empty());
            }
            for (from, to) in asked {
                prop_assert_eq!(pages.get(&from).unwrap(), model.get(&from).cloned());
                let mut expected: Vec<_> = model.iter().filter(|(key, _)| **key >= from && to.as_ref().is_none_or(|to| *key < to)).collect();
                let found = |order| pages.range(&from, to.as_deref(), order).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
                prop_assert!(found(Order::Ascending).iter().map(|(key, value)| (key, value)).eq(expected.iter().copied()));
                expected.reverse();
                prop_assert!(found(Order::Descending).iter().map(|(key, value)| (key, value)).eq(expected));
            }
        }
    }

    #[test]
    fn a_page_that_is_cut_is_an_error_and_no_panic() {
        let mut page = Vec::new();
        put_row(&mut page, (b"key", b"value"));
        assert_eq!(rows_in(&page).count(), 1);
        for cut in 1..page.len() {
            assert!(rows_in(&page[..cut]).any(|row| row.is_err()), "cut at {cut}");
        }
    }
}
