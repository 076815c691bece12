//! C2SP tlog-tiles: where tiles and entry bundles are served, how wide they are in a tree of a
//! given size, and how a tile's bytes are read.
//!
//! Decides names and widths. Refuses to know where tiles are kept: a shell hands them in through
//! [`TileReader`].

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::decimal;
use crate::hash::{HASH_BYTES, Hash};

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;

/// The highest level that a path may name.
pub const TILE_LEVEL_MAX: u8 = 63;

/// Longest path that is parsed: `tile/63/`, seven groups of an index, `.p/255`, and room.
pub const PATH_BYTES_MAX: usize = 64;

/// Tree levels that one tile spans.
pub(crate) const TILE_HEIGHT: u32 = 8;

/// How many hashes or entries a tile or bundle holds: 1 to 256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileWidth(u16);

/// Names a tile of tree hashes: `tile/<L>/<N>[.p/<W>]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    level: u8,
    index: u64,
    width: TileWidth,
}

/// Names a bundle of entries: `tile/entries/<N>[.p/<W>]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundlePath {
    index: u64,
    width: TileWidth,
}

/// Gives the bytes of tiles that the caller knows to exist (they follow from a verified tree size).
///
/// A partial tile may be answered with the full tile that replaced it.
pub trait TileReader {
    /// What can go wrong where the tiles are kept.
    type Error: std::error::Error + 'static;

    /// The bytes of the tile at `path`: 32 for each hash.
    fn read_tile(&self, path: &TilePath) -> Result<Vec<u8>, Self::Error>;
}

/// Tiles in memory: prefetched by an asynchronous client, or a whole small log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryTiles(pub BTreeMap<TilePath, Vec<u8>>);

/// A tile that [`MemoryTiles`] does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not in memory")]
pub struct MissingTile(pub TilePath);

/// Why a path, level or width is none of tlog-tiles.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// Longer than any path.
    #[error("tile path has {got} bytes, limit {limit}")]
    TooLong {
        /// Bytes seen.
        got: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Starts with neither `tile/<L>/` nor `tile/entries/`, whichever was asked for.
    #[error("path does not start as a {expected} path does")]
    Prefix {
        /// What was being read.
        expected: &'static str,
    },
    /// A level beyond the highest, or not a canonical decimal.
    #[error("tile level is not a decimal from 0 to {TILE_LEVEL_MAX}")]
    Level,
    /// An index that is not `x123/x456/789`, or does not fit 64 bits.
    #[error("tile index is not written as groups of three digits")]
    Index,
    /// A width that is no canonical decimal, or out of range.
    #[error("tile width is not a decimal from 1 to its limit")]
    Width,
}

/// Why a tile could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError<E: std::error::Error + 'static> {
    /// The place where the tiles are kept failed.
    #[error("reading {path} failed")]
    Reader {
        /// The tile.
        path: TilePath,
        /// The reader's own reason.
        #[source]
        source: E,
    },
    /// Neither as long as its width says, nor a full tile.
    #[error("{path} has {got} bytes, not {want}")]
    Length {
        /// The tile.
        path: TilePath,
        /// Bytes seen.
        got: usize,
        /// Bytes that the width asks for.
        want: usize,
    },
}

impl TileWidth {
    /// 256, the width of everything but the right edge.
    pub const FULL: Self = Self(TILE_WIDTH);

    /// A width from 1 to 256.
    // SPEC tlog-tiles: empty tiles MUST NOT be served.
    pub fn new(width: u16) -> Result<Self, TileError> {
        if (1..=TILE_WIDTH).contains(&width) { Ok(Self(width)) } else { Err(TileError::Width) }
    }

    /// The width as a number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Whether nothing can be added any more.
    pub const fn is_full(self) -> bool {
        self.0 == TILE_WIDTH
    }

    /// The width of the tile `index` on a level that has `count` hashes; `None` where it is empty.
    fn in_row(index: u64, count: u64) -> Option<Self> {
        let first = index.checked_mul(u64::from(TILE_WIDTH))?;
        let rest = count.checked_sub(first)?.min(u64::from(TILE_WIDTH));
        u16::try_from(rest).ok().and_then(|width| Self::new(width).ok())
    }
}

impl TilePath {
    /// The tile of `width` hashes that is number `index` on tile level `level`.
    pub fn new(level: u8, index: u64, width: TileWidth) -> Result<Self, TileError> {
        if level > TILE_LEVEL_MAX {
            return Err(TileError::Level);
        }
        Ok(Self { level, index, width })
    }

    /// That tile as wide as it is in a tree of `size` leaves; `None` where the tree has none.
    // SPEC tlog-tiles: a partial tile at level l of a tree of size s has floor(s / 256**l) mod 256
    // hashes, and only full tiles count on the level above.
    pub fn in_tree(level: u8, index: u64, size: u64) -> Option<Self> {
        let count = size.checked_shr(u32::from(level) * TILE_HEIGHT).unwrap_or(0);
        let width = TileWidth::in_row(index, count)?;
        Self::new(level, index, width).ok()
    }

    /// The tile level: a hash in it stands for `256^level` leaves.
    pub const fn level(&self) -> u8 {
        self.level
    }

    /// The number of the tile on its level.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes it holds.
    pub const fn width(&self) -> TileWidth {
        self.width
    }

    /// `tile/<L>/<N>[.p/<W>]`, relative to the log's prefix.
    pub fn path(&self) -> String {
        self.to_string()
    }

    /// Reads the tile's hashes through `reader`.
    pub(crate) fn read<R: TileReader>(&self, reader: &R) -> Result<Vec<Hash>, ReadError<R::Error>> {
        let bytes = reader.read_tile(self).map_err(|source| ReadError::Reader { path: *self, source })?;
        let want = usize::from(self.width.get()) * HASH_BYTES;
        // SPEC tlog-tiles: full tiles MUST be exactly 256 hashes wide, or 8,192 bytes.
        let full = usize::from(TILE_WIDTH) * HASH_BYTES;
        if bytes.len() != want && bytes.len() != full {
            return Err(ReadError::Length { path: *self, got: bytes.len(), want });
        }
        let (hashes, _) = bytes[..want].as_chunks::<HASH_BYTES>();
        Ok(hashes.iter().copied().map(Hash::from_bytes).collect())
    }
}

impl BundlePath {
    /// The bundle of `width` entries whose first entry is number `index * 256`.
    pub const fn new(index: u64, width: TileWidth) -> Self {
        Self { index, width }
    }

    /// That bundle as wide as it is in a log of `size` entries; `None` where the log has none.
    pub fn in_tree(index: u64, size: u64) -> Option<Self> {
        TileWidth::in_row(index, size).map(|width| Self { index, width })
    }

    /// The number of the bundle.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// How many entries it holds.
    pub const fn width(&self) -> TileWidth {
        self.width
    }

    /// `tile/entries/<N>[.p/<W>]`, relative to the log's prefix.
    pub fn path(&self) -> String {
        self.to_string()
    }
}

impl TileReader for MemoryTiles {
    type Error = MissingTile;

    fn read_tile(&self, path: &TilePath) -> Result<Vec<u8>, MissingTile> {
        self.0.get(path).cloned().ok_or(MissingTile(*path))
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.level)?;
        write_place(f, self.index, self.width)
    }
}

impl fmt::Display for BundlePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tile/entries/")?;
        write_place(f, self.index, self.width)
    }
}

impl FromStr for TilePath {
    type Err = TileError;

    fn from_str(path: &str) -> Result<Self, TileError> {
        let rest = strip_prefix(path, "tile/", "tile")?;
        let (level, place) = rest.split_once('/').ok_or(TileError::Prefix { expected: "tile" })?;
        // SPEC tlog-tiles: <L> MUST be a decimal ASCII integer between 0 and 63, with no additional
        // leading zeroes.
        let level = decimal::parse(level).and_then(|level| u8::try_from(level).ok()).ok_or(TileError::Level)?;
        let (index, width) = parse_place(place)?;
        Self::new(level, index, width)
    }
}

impl FromStr for BundlePath {
    type Err = TileError;

    fn from_str(path: &str) -> Result<Self, TileError> {
        let (index, width) = parse_place(strip_prefix(path, "tile/entries/", "bundle")?)?;
        Ok(Self { index, width })
    }
}

fn strip_prefix<'p>(path: &'p str, prefix: &str, expected: &'static str) -> Result<&'p str, TileError> {
    if path.len() > PATH_BYTES_MAX {
        return Err(TileError::TooLong { got: path.len(), limit: PATH_BYTES_MAX });
    }
    path.strip_prefix(prefix).ok_or(TileError::Prefix { expected })
}

/// Writes `<N>[.p/<W>]`.
fn write_place(f: &mut fmt::Formatter<'_>, index: u64, width: TileWidth) -> fmt::Result {
    let mut groups = vec![format!("{:03}", index % 1000)];
    let mut rest = index / 1000;
    while rest > 0 {
        groups.push(format!("x{:03}", rest % 1000));
        rest /= 1000;
    }
    groups.reverse();
    f.write_str(&groups.join("/"))?;
    if width.is_full() {
        return Ok(());
    }
    write!(f, ".p/{}", width.get())
}

/// Reads `<N>[.p/<W>]`.
fn parse_place(place: &str) -> Result<(u64, TileWidth), TileError> {
    match place.split_once(".p/") {
        None => Ok((parse_index(place)?, TileWidth::FULL)),
        Some((index, width)) => Ok((parse_index(index)?, parse_partial_width(width)?)),
    }
}

// SPEC tlog-tiles: <W> is a decimal ASCII integer between 1 and 255, with no additional leading
// zeroes.
fn parse_partial_width(text: &str) -> Result<TileWidth, TileError> {
    let width = decimal::parse(text).and_then(|width| u8::try_from(width).ok()).ok_or(TileError::Width)?;
    TileWidth::new(u16::from(width))
}

// SPEC tlog-tiles: <N> MUST be a non-negative integer encoded into zero-padded 3-digit path
// elements; all but the last path element MUST begin with an `x`.
fn parse_index(text: &str) -> Result<u64, TileError> {
    // One name a tile: a leading group of zeros would be a second one.
    if text.starts_with("x000") {
        return Err(TileError::Index);
    }
    let (leading, last) = match text.rsplit_once('/') {
        Some((leading, last)) => (Some(leading), last),
        None => (None, text),
    };
    let mut index = 0;
    for group in leading.into_iter().flat_map(|groups| groups.split('/')) {
        index = push_group(index, group.strip_prefix('x').ok_or(TileError::Index)?)?;
    }
    push_group(index, last)
}

fn push_group(index: u64, group: &str) -> Result<u64, TileError> {
    if group.len() != 3 || !group.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(TileError::Index);
    }
    let digits: u64 = group.parse().map_err(|_| TileError::Index)?;
    index.checked_mul(1000).and_then(|shifted| shifted.checked_add(digits)).ok_or(TileError::Index)
}

#[cfg(test)]
mod tests;
