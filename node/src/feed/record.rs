//! How an entry lies in a feed file: `docs/spec/feed.md`, section "Feed files".
//!
//! A file is [`MAGIC`] and then records; a record is the length of its content and the CRC-32 of
//! length and content, both four bytes little-endian, and the content: an encoded `FeedItem`.

use quorate_proto::wire::FEED_ITEM_BYTES_MAX;

/// The first bytes of a feed file.
pub const MAGIC: &[u8; 8] = b"QFEED/1\n";

/// Length and checksum before each content.
const HEADER_BYTES: usize = 8;

/// The record of `content`.
pub fn encode(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("items are at most 64 KiB").to_le_bytes();
    let mut record = Vec::with_capacity(HEADER_BYTES + content.len());
    record.extend(length);
    record.extend(checksum(length, content).to_le_bytes());
    record.extend(content);
    record
}

/// A whole record found in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// Where its content begins.
    pub offset: usize,
    /// Its content.
    pub content: &'a [u8],
}

/// The whole records of a file, and how many bytes they and the magic take. What lies behind is a
/// record that was never finished, or damage.
pub fn scan(file: &[u8]) -> (Vec<Found<'_>>, usize) {
    let mut found = Vec::new();
    if !file.starts_with(MAGIC) {
        return (found, 0);
    }
    let mut at = MAGIC.len();
    while let Some(content) = content_at(file, at) {
        found.push(Found { offset: at + HEADER_BYTES, content });
        at += HEADER_BYTES + content.len();
    }
    (found, at)
}

fn content_at(file: &[u8], at: usize) -> Option<&[u8]> {
    let header = file.get(at..at + HEADER_BYTES)?;
    let length: [u8; 4] = header[..4].try_into().ok()?;
    let expected = u32::from_le_bytes(header[4..].try_into().ok()?);
    let bytes = usize::try_from(u32::from_le_bytes(length)).ok().filter(|bytes| (1..=FEED_ITEM_BYTES_MAX).contains(bytes))?;
    let content = file.get(at + HEADER_BYTES..at + HEADER_BYTES + bytes)?;
    (checksum(length, content) == expected).then_some(content)
}

fn checksum(length: [u8; 4], content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(content);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn file(contents: &[Vec<u8>]) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        for content in contents {
            file.extend(encode(content));
        }
        file
    }

    proptest! {
        #[test]
        fn records_round_trip(contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6)) {
            let file = file(&contents);
            let (found, good) = scan(&file);
            prop_assert_eq!(good, file.len());
            prop_assert_eq!(found.iter().map(|f| f.content.to_vec()).collect::<Vec<_>>(), contents);
        }

        #[test]
        fn a_file_cut_anywhere_yields_the_whole_records_before_the_cut(cut: prop::sample::Index) {
            let contents: Vec<Vec<u8>> = vec![vec![1; 5], vec![2; 30], vec![3; 1]];
            let whole = file(&contents);
            let cut = cut.index(whole.len());
            let (found, good) = scan(&whole[..cut]);
            prop_assert!(good <= cut);
            prop_assert_eq!(found.iter().map(|f| f.content.to_vec()).collect::<Vec<_>>(), &contents[..found.len()]);
        }

        #[test]
        fn a_flipped_bit_hides_its_record(at: prop::sample::Index, bit in 0_u8..8) {
            let contents: Vec<Vec<u8>> = vec![vec![1; 5], vec![2; 30]];
            let mut bytes = file(&contents);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let (found, _) = scan(&bytes);
            prop_assert!(found.len() < 2);
        }

        #[test]
        fn foreign_bytes_never_panic(mut bytes: Vec<u8>) {
            let _ = scan(&bytes);
            bytes.splice(0..0, *MAGIC);
            let _ = scan(&bytes);
        }
    }

    #[test]
    fn the_layout_is_as_the_spec_shows_it() {
        let bytes = file(&[b"abc".to_vec()]);
        assert_eq!(bytes[..12], *b"QFEED/1\n\x03\0\0\0");
        assert_eq!(u32::from_le_bytes(bytes[12..16].try_into().unwrap()), crc32fast::hash(b"\x03\0\0\0abc"));
        assert_eq!(&bytes[16..], b"abc");
    }
}
