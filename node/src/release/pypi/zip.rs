//! Reads a zip's central directory: enough to learn facts from a wheel, never to judge it.
//!
//! Judging, with the lint of local headers against the directory, is the comparison's business.

use std::io::Read as _;

/// One entry of the central directory.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Date and time in MS-DOS form: the date in the upper half.
    pub(super) dos_time: u32,
    method: u16,
    compressed: usize,
    header_at: usize,
}

const END: u32 = 0x0605_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const ENTRIES_MAX: usize = 100_000;
const MEMBER_BYTES_MAX: u64 = 8 << 20;

/// Every entry of the directory.
pub(super) fn entries(zip: &[u8]) -> Option<Vec<Entry>> {
    let tail_at = zip.len().saturating_sub(22 + 0xffff);
    let end = (tail_at..=zip.len().checked_sub(22)?).rev().find(|at| u32_at(zip, *at) == Some(END))?;
    let count = usize::from(u16_at(zip, end + 10)?);
    let mut at = usize::try_from(u32_at(zip, end + 16)?).ok()?;
    if count > ENTRIES_MAX {
        return None;
    }
    let mut entries = Vec::new();
    for _ in 0..count {
        if u32_at(zip, at)? != CENTRAL {
            return None;
        }
        let [name, extra, comment] = [28, 30, 32].map(|field| u16_at(zip, at + field).map(usize::from));
        let name_end = at.checked_add(46)?.checked_add(name?)?;
        entries.push(Entry {
            name: String::from_utf8_lossy(zip.get(at + 46..name_end)?).into_owned(),
            dos_time: u32_at(zip, at + 12)?,
            method: u16_at(zip, at + 10)?,
            compressed: usize::try_from(u32_at(zip, at + 20)?).ok()?,
            header_at: usize::try_from(u32_at(zip, at + 42)?).ok()?,
        });
        at = name_end + extra? + comment?;
    }
    Some(entries)
}

/// The content of an entry, if it is small and plainly stored or deflated.
pub(super) fn content(zip: &[u8], entry: &Entry) -> Option<Vec<u8>> {
    let [name, extra] = [26, 28].map(|field| u16_at(zip, entry.header_at.checked_add(field)?).map(usize::from));
    let begin = entry.header_at.checked_add(30)?.checked_add(name?)?.checked_add(extra?)?;
    let bytes = zip.get(begin..begin.checked_add(entry.compressed)?)?;
    let mut content = Vec::new();
    match entry.method {
        0 => content.extend_from_slice(bytes),
        8 => {
            flate2::read::DeflateDecoder::new(bytes).take(MEMBER_BYTES_MAX).read_to_end(&mut content).ok()?;
        }
        _ => return None,
    }
    Some(content)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}
