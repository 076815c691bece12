//! C2SP tlog-tiles entry bundles: up to 256 entries, each behind a big-endian 16-bit length.
//!
//! Knows how long an entry may be, not what it says.

use crate::hash::{Hash, leaf_hash};
use crate::tile::{BundlePath, TILE_WIDTH, TileWidth};

/// The longest entry: what a 16-bit length can say.
pub const ENTRY_BYTES_MAX: usize = 65_535;

/// The longest bundle: 256 of the longest entries with their lengths.
pub const BUNDLE_BYTES_MAX: usize = 256 * (LENGTH_BYTES + ENTRY_BYTES_MAX);

const LENGTH_BYTES: usize = 2;

/// One log entry: for this log, the exact bytes of an envelope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry(Vec<u8>);

/// The entries of one bundle: 1 to 256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryBundle(Vec<Entry>);

/// A bundle and its content. A path, once published, never gets other content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleWrite {
    /// Where it belongs.
    pub path: BundlePath,
    /// Its encoding.
    pub bytes: Vec<u8>,
}

/// Why bytes are no entry or no bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// An entry longer than its length field can say.
    #[error("entry has {got} bytes, limit {limit}")]
    EntryTooLong {
        /// Bytes seen.
        got: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Longer than 256 of the longest entries.
    #[error("bundle has {got} bytes, limit {limit}")]
    TooLong {
        /// Bytes seen.
        got: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// No entries, or more than 256.
    #[error("bundle has {got} entries, not 1 to {limit}")]
    Count {
        /// Entries seen.
        got: usize,
        /// Entries allowed.
        limit: usize,
    },
    /// A length or an entry that the bytes break off in.
    #[error("bundle breaks off in the entry at byte {offset}")]
    Truncated {
        /// Where that entry's length starts.
        offset: usize,
    },
    /// The partial bundle at hand is not the one that the log's size asks for.
    #[error("the last bundle holds {got} entries, but the log's size asks for {want}")]
    PartialWidth {
        /// Entries in the bundle at hand.
        got: usize,
        /// Entries that the size asks for.
        want: u64,
    },
}

impl Entry {
    /// An entry of at most [`ENTRY_BYTES_MAX`] bytes.
    pub fn new(bytes: Vec<u8>) -> Result<Self, BundleError> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(BundleError::EntryTooLong { got: bytes.len(), limit: ENTRY_BYTES_MAX });
        }
        Ok(Self(bytes))
    }

    /// The entry's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The hash that the tree holds for it.
    pub fn leaf_hash(&self) -> Hash {
        leaf_hash(&self.0)
    }

    fn encode_into(&self, bytes: &mut Vec<u8>) {
        let length = u16::try_from(self.0.len()).expect("an entry is at most 65,535 bytes");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&self.0);
    }
}

impl EntryBundle {
    /// A bundle of 1 to 256 entries.
    pub fn new(entries: Vec<Entry>) -> Result<Self, BundleError> {
        let got = entries.len();
        let limit = usize::from(TILE_WIDTH);
        if got == 0 || got > limit {
            return Err(BundleError::Count { got, limit });
        }
        Ok(Self(entries))
    }

    /// Reads a whole bundle, full or partial; every byte must belong to an entry.
    // SPEC tlog-tiles: entry bundles are sequences of big-endian uint16 length-prefixed entries.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > BUNDLE_BYTES_MAX {
            return Err(BundleError::TooLong { got: bytes.len(), limit: BUNDLE_BYTES_MAX });
        }
        let mut entries = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            if entries.len() == usize::from(TILE_WIDTH) {
                return Err(BundleError::Count { got: entries.len() + 1, limit: entries.len() });
            }
            let offset = bytes.len() - rest.len();
            let (entry, after) = split_entry(rest).ok_or(BundleError::Truncated { offset })?;
            entries.push(Entry(entry.to_vec()));
            rest = after;
        }
        Self::new(entries)
    }

    /// The bundle's bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode_entries(self.0.iter())
    }

    /// The entries, in log order.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// The hashes of the level 0 tile that belongs to this bundle.
    pub fn leaf_hashes(&self) -> Vec<Hash> {
        self.0.iter().map(Entry::leaf_hash).collect()
    }
}

/// The bundles to write when `entries` follow the `size` entries of a log whose last bundle, if it
/// is a partial one, is `partial`. No entries, no bundles.
pub fn append_entries(size: u64, partial: Option<&EntryBundle>, entries: &[Entry]) -> Result<Vec<BundleWrite>, BundleError> {
    let held = partial.map_or(&[][..], EntryBundle::entries);
    let want = size % u64::from(TILE_WIDTH);
    if u64::try_from(held.len()) != Ok(want) {
        return Err(BundleError::PartialWidth { got: held.len(), want });
    }
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let all: Vec<&Entry> = held.iter().chain(entries).collect();
    let writes = (size / u64::from(TILE_WIDTH)..).zip(all.chunks(usize::from(TILE_WIDTH)));
    Ok(writes.map(|(index, entries)| bundle_write(index, entries)).collect())
}

fn bundle_write(index: u64, entries: &[&Entry]) -> BundleWrite {
    let width = u16::try_from(entries.len()).ok().and_then(|width| TileWidth::new(width).ok()).expect("a chunk has 1 to 256 entries");
    BundleWrite { path: BundlePath::new(index, width), bytes: encode_entries(entries.iter().copied()) }
}

fn encode_entries<'e>(entries: impl Iterator<Item = &'e Entry> + Clone) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.clone().map(|entry| LENGTH_BYTES + entry.0.len()).sum());
    for entry in entries {
        entry.encode_into(&mut bytes);
    }
    bytes
}

fn split_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn entry(bytes: &[u8]) -> Entry {
        Entry::new(bytes.to_vec()).unwrap()
    }

    #[test]
    fn bundles_are_big_endian_uint16_length_prefixed_entries() {
        let bundle = EntryBundle::new(vec![entry(b"ab"), entry(b""), entry(&[9; 258])]).unwrap();
        let bytes = bundle.encode();
        assert_eq!(&bytes[..8], b"\x00\x02ab\x00\x00\x01\x02");
        assert_eq!(EntryBundle::parse(&bytes).unwrap(), bundle);
        assert_eq!(bundle.leaf_hashes()[0], leaf_hash(b"ab"));
    }

    #[test]
    fn a_truncated_bundle_is_refused_at_every_byte_but_between_entries() {
        let bytes = b"\x00\x02ab\x00\x03cde";
        for cut in 1..bytes.len() {
            let parsed = EntryBundle::parse(&bytes[..cut]);
            let offset = if cut < 4 { 0 } else { 4 };
            let expected = if cut == 4 { EntryBundle::new(vec![entry(b"ab")]) } else { Err(BundleError::Truncated { offset }) };
            assert_eq!(parsed, expected, "cut at {cut}");
        }
    }

    #[test]
    fn sizes_and_counts_over_the_limit_are_refused_with_got_and_limit() {
        assert_eq!(Entry::new(vec![0; 65_536]), Err(BundleError::EntryTooLong { got: 65_536, limit: 65_535 }));
        assert_eq!(EntryBundle::parse(&[]), Err(BundleError::Count { got: 0, limit: 256 }));
        assert_eq!(EntryBundle::parse(&[0; 257 * 2]), Err(BundleError::Count { got: 257, limit: 256 }));
        assert_eq!(
            EntryBundle::parse(&vec![0; BUNDLE_BYTES_MAX + 1]),
            Err(BundleError::TooLong { got: BUNDLE_BYTES_MAX + 1, limit: BUNDLE_BYTES_MAX })
        );
    }

    #[test]
    fn the_longest_bundle_round_trips() {
        let bundle = EntryBundle::new(vec![entry(&vec![7; ENTRY_BYTES_MAX]); 256]).unwrap();
        let bytes = bundle.encode();
        assert_eq!(bytes.len(), BUNDLE_BYTES_MAX);
        assert_eq!(EntryBundle::parse(&bytes).unwrap(), bundle);
    }

    #[test]
    fn entries_fill_the_partial_bundle_first() {
        let held = EntryBundle::new(vec![entry(b"old"); 255]).unwrap();
        let more = [entry(b"fills"), entry(b"starts")];
        let writes = append_entries(511, Some(&held), &more).unwrap();
        let paths: Vec<String> = writes.iter().map(|write| write.path.path()).collect();
        assert_eq!(paths, ["tile/entries/001", "tile/entries/002.p/1"]);
        assert_eq!(writes[1].bytes, b"\x00\x06starts");
        assert_eq!(append_entries(511, Some(&held), &[]).unwrap(), []);
        assert_eq!(append_entries(510, Some(&held), &more), Err(BundleError::PartialWidth { got: 255, want: 254 }));
    }
}
