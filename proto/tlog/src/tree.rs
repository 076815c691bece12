//! The appender: from a tree and new leaf hashes to the next tree and the tiles to write.
//!
//! A [`Tree`] holds its size and the hashes of the right edge's partial tiles, at most 255 a tile
//! level, and never reads the rest. Appending does not change it: the next tree comes back beside
//! the tiles, and the caller puts it in place once they and the checkpoint are durable.

use crate::hash::{Hash, empty_root};
use crate::merkle::{TREE_SIZE_MAX, TreeHead, root_over};
use crate::tile::{ReadError, TILE_HEIGHT, TILE_WIDTH, TilePath, TileReader, TileWidth};

/// A tree that can grow.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Tree {
    size: u64,
    /// For each tile level the hashes of its partial tile, possibly none.
    edge: Vec<Vec<Hash>>,
}

/// What an append comes to. Nothing of it is in force before the caller makes it so.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Appended {
    /// The tree with the new leaves.
    pub tree: Tree,
    /// Full tiles that were completed and the right edge's new partial tiles, ordered by path.
    pub tiles: Vec<TileWrite>,
}

/// A tile and its content. A path, once published, never gets other content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TileWrite {
    /// Where it belongs.
    pub path: TilePath,
    /// Its hashes, 32 bytes each.
    pub bytes: Vec<u8>,
}

/// The tree cannot hold that many leaves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("appending {count} leaves to a tree of size {size} passes the limit {limit}")]
pub struct TreeFull {
    /// Leaves there are.
    pub size: u64,
    /// Leaves to add.
    pub count: usize,
    /// Largest size allowed.
    pub limit: u64,
}

/// Why a tree could not be taken up again. Fatal: the log's own state is in doubt.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError<E: std::error::Error + 'static> {
    /// A size beyond [`TREE_SIZE_MAX`].
    #[error("tree size {got} is over the limit {limit}")]
    TooLarge {
        /// Size asked for.
        got: u64,
        /// Largest size allowed.
        limit: u64,
    },
    /// A tile of the right edge could not be had.
    #[error("a tile of the right edge is missing")]
    Read(#[from] ReadError<E>),
    /// The tiles belong to another tree.
    #[error("the tiles at size {size} give root {got}, not {want}")]
    RootMismatch {
        /// Size of both.
        size: u64,
        /// Root of the tiles.
        got: Hash,
        /// Root of the head.
        want: Hash,
    },
}

impl Tree {
    /// A tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree of `head`, from the right edge's tiles, checked against the head's root.
    pub fn resume<R: TileReader>(head: &TreeHead, reader: &R) -> Result<Self, ResumeError<R::Error>> {
        if head.size > TREE_SIZE_MAX {
            return Err(ResumeError::TooLarge { got: head.size, limit: TREE_SIZE_MAX });
        }
        let mut edge = Vec::new();
        for level in 0.. {
            let count = row_count(head.size, level);
            if count == 0 {
                break;
            }
            let last = TilePath::in_tree(level, count / u64::from(TILE_WIDTH), head.size);
            edge.push(last.map_or(Ok(Vec::new()), |path| path.read(reader))?);
        }
        let tree = Self { size: head.size, edge };
        tree.expect_root(head)?;
        Ok(tree)
    }

    /// Number of leaves.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Size and root.
    pub fn head(&self) -> TreeHead {
        TreeHead { size: self.size, root: self.root() }
    }

    /// The RFC 6962 root.
    pub fn root(&self) -> Hash {
        // What the lower levels come to is the unfinished last subtree of the level above.
        let mut root = None;
        for row in self.edge.iter().filter(|row| !row.is_empty()) {
            let hashes: Vec<Hash> = row.iter().copied().chain(root).collect();
            root = Some(root_over(&hashes));
        }
        root.unwrap_or_else(empty_root)
    }

    /// The tree with `leaves` added, and the tiles that this takes. No leaves, no tiles.
    pub fn append(&self, leaves: &[Hash]) -> Result<Appended, TreeFull> {
        let mut tree = Self { size: self.grown_by(leaves.len())?, edge: self.edge.clone() };
        let mut tiles = Vec::new();
        let mut rising = leaves.to_vec();
        for level in 0.. {
            if rising.is_empty() {
                break;
            }
            if tree.edge.len() == usize::from(level) {
                tree.edge.push(Vec::new());
            }
            let row = &mut tree.edge[usize::from(level)];
            row.append(&mut rising);
            let first_index = row_count(self.size, level) / u64::from(TILE_WIDTH);
            rising = cut_tiles(row, level, first_index, &mut tiles);
        }
        Ok(Appended { tree, tiles })
    }

    fn grown_by(&self, count: usize) -> Result<u64, TreeFull> {
        u64::try_from(count).ok().and_then(|more| self.size.checked_add(more)).filter(|size| *size <= TREE_SIZE_MAX).ok_or(TreeFull {
            size: self.size,
            count,
            limit: TREE_SIZE_MAX,
        })
    }

    fn expect_root<E: std::error::Error>(&self, head: &TreeHead) -> Result<(), ResumeError<E>> {
        let got = self.root();
        if got == head.root {
            return Ok(());
        }
        Err(ResumeError::RootMismatch { size: head.size, got, want: head.root })
    }
}

/// Hashes on tile level `level` of a tree of `size` leaves.
fn row_count(size: u64, level: u8) -> u64 {
    size.checked_shr(u32::from(level) * TILE_HEIGHT).unwrap_or(0)
}

/// Writes `row` out as tiles, leaves its partial tile in it, and returns the full tiles' roots.
// SPEC tlog-tiles: a partial tile MUST NOT be hashed into a tile at the level above.
fn cut_tiles(row: &mut Vec<Hash>, level: u8, first_index: u64, tiles: &mut Vec<TileWrite>) -> Vec<Hash> {
    let mut roots = Vec::new();
    for (index, hashes) in (first_index..).zip(row.chunks(usize::from(TILE_WIDTH))) {
        tiles.push(tile_write(level, index, hashes));
        if hashes.len() == usize::from(TILE_WIDTH) {
            roots.push(root_over(hashes));
        }
    }
    row.drain(..roots.len() * usize::from(TILE_WIDTH));
    roots
}

fn tile_write(level: u8, index: u64, hashes: &[Hash]) -> TileWrite {
    let path = u16::try_from(hashes.len())
        .ok()
        .and_then(|width| TileWidth::new(width).ok())
        .and_then(|width| TilePath::new(level, index, width).ok())
        .expect("a chunk has 1 to 256 hashes, and 64-bit sizes end below tile level 8");
    let bytes = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
    TileWrite { path, bytes }
}
