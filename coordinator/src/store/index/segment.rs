//! One file of rows in the order of their keys: written once, never changed.
//!
//! `docs/spec/coordinator-storage.md`, section "Index".

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use super::filter::{Filter, hash_of};
use super::{IndexError, Order};

const MAGIC: &[u8; 15] = b"quorate-rows/1\n";

/// Rows are read in blocks of at most so many bytes, unless a single row is larger.
const BLOCK_BYTES: usize = 4096;

/// The two lengths before a row.
const LENGTHS_BYTES: usize = 4;

/// In the place of a value's length: the row is removed.
const REMOVED: u16 = u16::MAX;

/// Where the list of blocks begins (8), where the filter begins (8), CRC-32 of both and of these numbers (4).
const TRAILER_BYTES: usize = 20;

/// Key and value, or that there is none any more.
pub(super) type Entry = (Vec<u8>, Option<Vec<u8>>);

type EntryRef<'b> = (&'b [u8], Option<&'b [u8]>);

/// An open file of rows.
#[derive(Debug)]
pub(super) struct Segment {
    number: u64,
    file: File,
    blocks: Vec<Block>,
    filter: Filter,
    /// Where the blocks end.
    bytes: u64,
}

/// No row of the block is below its fence, all rows of the block before are.
#[derive(Debug)]
struct Block {
    fence: Box<[u8]>,
    at: u64,
    length: u32,
    crc: u32,
}

impl Segment {
    /// Opens a file: reads where its blocks are, and none of them.
    pub(super) fn open(path: &Path, number: u64) -> Result<Self, IndexError> {
        let file = File::open(path).map_err(IndexError::Io)?;
        let length = file.metadata().map_err(IndexError::Io)?.len();
        let malformed = || IndexError::Row("segment");
        let trailer_at = length.checked_sub(TRAILER_BYTES as u64).ok_or_else(malformed)?;
        let trailer = read_at(&file, trailer_at, TRAILER_BYTES)?;
        let (numbers, crc) = trailer.split_last_chunk::<4>().ok_or_else(malformed)?;
        let &[blocks_at, filter_at] = numbers.as_chunks::<8>().0 else { return Err(malformed()) };
        let [blocks_at, filter_at] = [blocks_at, filter_at].map(u64::from_be_bytes);
        if !(MAGIC.len() as u64..=filter_at).contains(&blocks_at) || filter_at > trailer_at {
            return Err(malformed());
        }
        let lists = read_at(&file, blocks_at, usize::try_from(length - 4 - blocks_at).map_err(|_| malformed())?)?;
        if crc32fast::hash(&lists) != u32::from_be_bytes(*crc) {
            return Err(malformed());
        }
        let (lists, _) = lists.split_at(lists.len() - (TRAILER_BYTES - 4));
        let (blocks, filter) = lists.split_at(usize::try_from(filter_at - blocks_at).map_err(|_| malformed())?);
        let blocks = read_blocks(blocks).ok_or_else(malformed)?;
        Ok(Self { number, file, blocks, filter: Filter::from_bytes(filter), bytes: blocks_at })
    }

    /// Its name.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// How much of the disk it takes, more or less.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What it says of a key; none if nothing.
    pub(super) fn get(&self, key: &[u8], hash: u64) -> Result<Option<Entry>, IndexError> {
        if !self.filter.may_hold(hash) {
            return Ok(None);
        }
        let Some(block) = self.block_of(key) else { return Ok(None) };
        for row in rows_in(&self.read(block)?) {
            let (held, value) = row?;
            if held >= key {
                return Ok((held == key).then(|| (held.to_vec(), value.map(<[u8]>::to_vec))));
            }
        }
        Ok(None)
    }

    /// What it says of keys in `from .. to`.
    pub(super) fn range(
        self: Arc<Self>,
        from: Vec<u8>,
        to: Option<Vec<u8>>,
        order: Order,
    ) -> impl Iterator<Item = Result<Entry, IndexError>> + use<> {
        let mut blocks = self.blocks_between(&from, to.as_deref());
        let mut rows = Vec::new().into_iter();
        std::iter::from_fn(move || {
            loop {
                if let Some(row) = rows.next() {
                    return Some(Ok(row));
                }
                let block = match order {
                    Order::Ascending => blocks.next()?,
                    Order::Descending => blocks.next_back()?,
                };
                match self.read(block).and_then(|bytes| cut_out(&bytes, &from, to.as_deref(), order)) {
                    Ok(found) => rows = found.into_iter(),
                    Err(error) => {
                        blocks = 0..0;
                        return Some(Err(error));
                    }
                }
            }
        })
    }

    fn blocks_between(&self, from: &[u8], to: Option<&[u8]>) -> Range<usize> {
        let end = to.map_or(self.blocks.len(), |to| self.blocks.partition_point(|block| *block.fence < *to));
        self.block_of(from).unwrap_or(0)..end
    }

    /// The block that a key belongs to; none in an empty file.
    fn block_of(&self, key: &[u8]) -> Option<usize> {
        self.blocks.partition_point(|block| *block.fence <= *key).checked_sub(1)
    }

    fn read(&self, block: usize) -> Result<Vec<u8>, IndexError> {
        let block = &self.blocks[block];
        let bytes = read_at(&self.file, block.at, block.length as usize)?;
        if crc32fast::hash(&bytes) == block.crc { Ok(bytes) } else { Err(IndexError::Row("segment")) }
    }
}

fn read_at(file: &File, at: u64, length: usize) -> Result<Vec<u8>, IndexError> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, at).map_err(IndexError::Io)?;
    Ok(bytes)
}

/// Writes a file of rows that come in the order of their keys.
pub(super) struct Builder {
    out: BufWriter<File>,
    at: u64,
    fence: Vec<u8>,
    block: Vec<u8>,
    last: Vec<u8>,
    blocks: Vec<Block>,
    hashes: Vec<u64>,
}

impl Builder {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut out = BufWriter::with_capacity(1 << 18, File::create(path)?);
        out.write_all(MAGIC)?;
        Ok(Self {
            out,
            at: MAGIC.len() as u64,
            fence: Vec::new(),
            block: Vec::with_capacity(BLOCK_BYTES),
            last: Vec::new(),
            blocks: Vec::new(),
            hashes: Vec::new(),
        })
    }

    pub(super) fn push(&mut self, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
        let bytes = value.unwrap_or_default();
        if !self.block.is_empty() && self.block.len() + LENGTHS_BYTES + key.len() + bytes.len() > BLOCK_BYTES {
            self.cut()?;
            self.fence = fence_between(&self.last, key).to_vec();
        }
        let length = |bytes: &[u8]| u16::try_from(bytes.len()).expect("keys and values are bounded where they are put together");
        self.block.extend_from_slice(&length(key).to_be_bytes());
        self.block.extend_from_slice(&value.map_or(REMOVED, length).to_be_bytes());
        self.block.extend_from_slice(key);
        self.block.extend_from_slice(bytes);
        self.hashes.push(hash_of(key));
        self.last.clear();
        self.last.extend_from_slice(key);
        Ok(())
    }

    fn cut(&mut self) -> io::Result<()> {
        let length = u32::try_from(self.block.len()).expect("a block is little more than a row");
        let fence = std::mem::take(&mut self.fence).into();
        self.blocks.push(Block { fence, at: self.at, length, crc: crc32fast::hash(&self.block) });
        self.out.write_all(&self.block)?;
        self.at += u64::from(length);
        self.block.clear();
        Ok(())
    }

    /// Returns once all of it is on disk; the file's name need not be.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if !self.block.is_empty() {
            self.cut()?;
        }
        let mut lists = Vec::new();
        for block in &self.blocks {
            let length = u16::try_from(block.fence.len()).expect("a fence is the beginning of a key");
            lists.extend_from_slice(&length.to_be_bytes());
            lists.extend_from_slice(&block.fence);
            lists.extend_from_slice(&block.length.to_be_bytes());
            lists.extend_from_slice(&block.crc.to_be_bytes());
        }
        let filter_at = self.at + lists.len() as u64;
        lists.extend_from_slice(Filter::of(&self.hashes).as_bytes());
        lists.extend_from_slice(&self.at.to_be_bytes());
        lists.extend_from_slice(&filter_at.to_be_bytes());
        let crc = crc32fast::hash(&lists);
        lists.extend_from_slice(&crc.to_be_bytes());
        self.out.write_all(&lists)?;
        self.out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }
}

/// For each block: its fence behind its length (2), its length (4), its CRC-32 (4).
fn read_blocks(mut bytes: &[u8]) -> Option<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut at = MAGIC.len() as u64;
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (fence, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (crc, rest) = rest.split_first_chunk::<4>()?;
        let (length, crc) = (u32::from_be_bytes(*length), u32::from_be_bytes(*crc));
        blocks.push(Block { fence: fence.into(), at, length, crc });
        at += u64::from(length);
        bytes = rest;
    }
    Some(blocks)
}

/// The rows of a block: key's length, value's length, key, value.
fn rows_in(block: &[u8]) -> impl Iterator<Item = Result<EntryRef<'_>, IndexError>> {
    let mut rest = block;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let row = split_row(rest);
        rest = row.map_or(&[][..], |(_, rest)| rest);
        Some(row.map(|(row, _)| row).ok_or(IndexError::Row("segment")))
    })
}

fn split_row(bytes: &[u8]) -> Option<(EntryRef<'_>, &[u8])> {
    let ([a, b, c, d], rest) = bytes.split_first_chunk::<LENGTHS_BYTES>()?;
    let (key, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([*a, *b])))?;
    match u16::from_be_bytes([*c, *d]) {
        REMOVED => Some(((key, None), rest)),
        length => rest.split_at_checked(usize::from(length)).map(|(value, rest)| ((key, Some(value)), rest)),
    }
}

/// The rows of a block with keys in `from .. to`.
fn cut_out(block: &[u8], from: &[u8], to: Option<&[u8]>, order: Order) -> Result<Vec<Entry>, IndexError> {
    let outside = |key: &[u8]| key < from || to.is_some_and(|to| key >= to);
    let rows = rows_in(block).filter(|row| !row.as_ref().is_ok_and(|(key, _)| outside(key)));
    let rows = rows.map(|row| row.map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec))));
    let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
    if order == Order::Descending {
        rows.reverse();
    }
    Ok(rows)
}

/// The shortest beginning of `key` that is above `last`.
fn fence_between<'k>(last: &[u8], key: &'k [u8]) -> &'k [u8] {
    let common = last.iter().zip(key).take_while(|(a, b)| a == b).count();
    &key[..(common + 1).min(key.len())]
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_file_with_a_flipped_bit_is_refused_when_it_is_opened_or_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1");
        let mut builder = Builder::create(&path).unwrap();
        for number in 0..300_u32 {
            builder.push(&number.to_be_bytes(), (number % 3 != 0).then_some(&[7; 40])).unwrap();
        }
        builder.finish().unwrap();
        let all = |path: &Path| -> Result<Vec<Entry>, IndexError> {
            Arc::new(Segment::open(path, 1)?).range(Vec::new(), None, Order::Ascending).collect()
        };
        assert_eq!(all(&path).unwrap().len(), 300);
        let bytes = std::fs::read(&path).unwrap();
        for at in (MAGIC.len()..bytes.len()).step_by(97) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            std::fs::write(&path, damaged).unwrap();
            assert!(all(&path).is_err(), "bit flipped at {at}");
        }
        for length in (0..bytes.len()).step_by(101) {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(all(&path).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn a_block_that_is_cut_is_an_error_and_no_panic() {
        let block = [0, 3, 0, 5, b'k', b'e', b'y', b'v', b'a', b'l', b'u', b'e'];
        assert_eq!(rows_in(&block).count(), 1);
        for cut in 1..block.len() {
            assert!(rows_in(&block[..cut]).any(|row| row.is_err()), "cut at {cut}");
        }
    }
}
