//! Roots and proofs out of tiles, for one tree head.
//!
//! Whatever is handed out has been checked against the head: a rotten tile becomes an error, never
//! a proof that fails in somebody else's hands.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::{ConsistencyProof, InclusionProof, MerkleError, TREE_SIZE_MAX, TreeHead, consistency_ranges, inclusion_ranges, root_over};
use crate::hash::{Hash, empty_root, node_hash};
use crate::tile::{ReadError, TILE_HEIGHT, TILE_WIDTH, TilePath, TileReader};

/// A tree of known size and root whose hashes are in tiles.
#[derive(Debug)]
pub struct TreeView<'r, R> {
    head: TreeHead,
    reader: &'r R,
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ViewError<E: std::error::Error + 'static> {
    /// A size beyond [`TREE_SIZE_MAX`].
    #[error("tree size {got} is over the limit {limit}")]
    TooLarge {
        /// Size asked for.
        got: u64,
        /// Largest size allowed.
        limit: u64,
    },
    /// A tile could not be had.
    #[error("a tile of the proof is missing")]
    Read(#[from] ReadError<E>),
    /// The request is out of the tree, or the tiles do not lead to its root.
    #[error("the tiles do not prove it")]
    Merkle(#[from] MerkleError),
}

/// A perfect subtree: the leaves from `index << level` up to, not including, `(index + 1) << level`.
#[derive(Clone, Copy)]
struct Subtree {
    level: u32,
    index: u64,
}

/// The tiles read so far for one proof: the subtrees of a proof share few tiles.
struct Hashes<'r, R> {
    size: u64,
    reader: &'r R,
    tiles: BTreeMap<TilePath, Vec<Hash>>,
}

impl<'r, R: TileReader> TreeView<'r, R> {
    /// Looks at the tree of `head` through `reader`; reads nothing yet.
    pub fn new(head: TreeHead, reader: &'r R) -> Result<Self, ViewError<R::Error>> {
        if head.size > TREE_SIZE_MAX {
            return Err(ViewError::TooLarge { got: head.size, limit: TREE_SIZE_MAX });
        }
        Ok(Self { head, reader })
    }

    /// The root that the tiles give for the first `size` leaves.
    pub fn root_at(&self, size: u64) -> Result<Hash, ViewError<R::Error>> {
        if size > self.head.size {
            return Err(MerkleError::SizeOrder { old_size: size, new_size: self.head.size }.into());
        }
        Ok(self.hashes().range(0..size)?)
    }

    /// The proof that leaf `index` is in the tree, and that leaf's hash.
    pub fn inclusion(&self, index: u64) -> Result<(Hash, InclusionProof), ViewError<R::Error>> {
        let size = self.head.size;
        if index >= size {
            return Err(MerkleError::IndexOutOfTree { index, size }.into());
        }
        let mut hashes = self.hashes();
        let leaf = hashes.range(index..index + 1)?;
        let path = hashes.ranges(inclusion_ranges(index, size))?;
        let proof = InclusionProof { index, path };
        proof.verify(&leaf, &self.head)?;
        Ok((leaf, proof))
    }

    /// The head at `old_size`, and the proof that it is a prefix of this tree.
    pub fn consistency(&self, old_size: u64) -> Result<(TreeHead, ConsistencyProof), ViewError<R::Error>> {
        let old = TreeHead { size: old_size, root: self.root_at(old_size)? };
        let ranges = if old_size == 0 { Vec::new() } else { consistency_ranges(old_size, self.head.size) };
        let path = self.hashes().ranges(ranges)?;
        let proof = ConsistencyProof { path };
        proof.verify(&old, &self.head)?;
        Ok((old, proof))
    }

    fn hashes(&self) -> Hashes<'r, R> {
        Hashes { size: self.head.size, reader: self.reader, tiles: BTreeMap::new() }
    }
}

/// The tiles that [`TreeView::inclusion`] reads, for clients that fetch them beforehand; empty
/// where there is no such leaf.
pub fn inclusion_tiles(index: u64, size: u64) -> BTreeSet<TilePath> {
    if index >= size || size > TREE_SIZE_MAX {
        return BTreeSet::new();
    }
    let mut ranges = inclusion_ranges(index, size);
    ranges.push(index..index + 1);
    tiles_of(ranges, size)
}

/// The tiles that [`TreeView::consistency`] reads; empty where the older tree is the larger one.
pub fn consistency_tiles(old_size: u64, new_size: u64) -> BTreeSet<TilePath> {
    if old_size == 0 || old_size > new_size || new_size > TREE_SIZE_MAX {
        return BTreeSet::new();
    }
    let mut ranges = consistency_ranges(old_size, new_size);
    ranges.push(0..old_size);
    tiles_of(ranges, new_size)
}

fn tiles_of(ranges: Vec<Range<u64>>, size: u64) -> BTreeSet<TilePath> {
    let subtrees = ranges.into_iter().flat_map(subtrees);
    subtrees.filter_map(|subtree| subtree.tile(size)).collect()
}

/// The perfect subtrees of an RFC 6962 range, left to right, each smaller than the one before.
fn subtrees(range: Range<u64>) -> Vec<Subtree> {
    let mut subtrees = Vec::new();
    let mut start = range.start;
    while start < range.end {
        let level = (range.end - start).ilog2();
        subtrees.push(Subtree { level, index: start >> level });
        start += 1 << level;
    }
    subtrees
}

impl Subtree {
    /// Position on its tile level of the first hash that it is made of.
    fn first(self) -> u64 {
        self.index << (self.level % TILE_HEIGHT)
    }

    /// The tile that holds all the hashes it is made of, in a tree of `size` leaves.
    fn tile(self, size: u64) -> Option<TilePath> {
        let level = u8::try_from(self.level / TILE_HEIGHT).ok()?;
        TilePath::in_tree(level, self.first() / u64::from(TILE_WIDTH), size)
    }
}

impl<R: TileReader> Hashes<'_, R> {
    fn ranges(&mut self, ranges: Vec<Range<u64>>) -> Result<Vec<Hash>, ReadError<R::Error>> {
        ranges.into_iter().map(|range| self.range(range)).collect()
    }

    /// The hash over a range of leaves that is within the tree.
    fn range(&mut self, range: Range<u64>) -> Result<Hash, ReadError<R::Error>> {
        let mut hash = None;
        for subtree in subtrees(range).into_iter().rev() {
            let left = self.subtree(subtree)?;
            hash = Some(hash.map_or(left, |right| node_hash(&left, &right)));
        }
        Ok(hash.unwrap_or_else(empty_root))
    }

    fn subtree(&mut self, subtree: Subtree) -> Result<Hash, ReadError<R::Error>> {
        let path = subtree.tile(self.size).expect("ranges of a proof end within the tree");
        if !self.tiles.contains_key(&path) {
            self.tiles.insert(path, path.read(self.reader)?);
        }
        let first = subtree.first() % u64::from(TILE_WIDTH);
        let first = usize::try_from(first).expect("an offset in a tile is below 256");
        let count = 1 << (subtree.level % TILE_HEIGHT);
        Ok(root_over(&self.tiles[&path][first..first + count]))
    }
}
