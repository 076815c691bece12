//! RFC 6962 proofs: which subtrees a proof consists of, and whether a proof holds.
//!
//! Making proofs out of tiles is in `merkle/view.rs`. Nothing here knows signatures: a
//! [`TreeHead`] is as trustworthy as where it came from.

mod view;

use std::ops::Range;

pub use view::{TreeView, ViewError, consistency_tiles, inclusion_tiles};

use crate::hash::{Hash, empty_root, node_hash};

/// The largest tree that is dealt with: other implementations hold sizes in signed 64-bit numbers.
pub const TREE_SIZE_MAX: u64 = u64::MAX >> 1;

/// The longest path that a tree within [`TREE_SIZE_MAX`] can need.
pub const PATH_HASHES_MAX: usize = 64;

/// A tree's size and its root at that size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// Number of leaves.
    pub size: u64,
    /// Root hash over them.
    pub root: Hash,
}

/// The audit path of one leaf (RFC 6962, section 2.1.1), from its sibling up to the root's child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    /// Zero-based number of the leaf.
    pub index: u64,
    /// Sibling hashes, lowest first.
    pub path: Vec<Hash>,
}

/// That one tree is a prefix of another (RFC 6962, section 2.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyProof {
    /// Subtree hashes, lowest first.
    pub path: Vec<Hash>,
}

/// Why a proof does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MerkleError {
    /// There is no such leaf.
    #[error("leaf {index} is not in a tree of size {size}")]
    IndexOutOfTree {
        /// Leaf asked for.
        index: u64,
        /// Leaves there are.
        size: u64,
    },
    /// The older tree is the larger one.
    #[error("a tree of size {old_size} cannot be a prefix of one of size {new_size}")]
    SizeOrder {
        /// Size of the older tree.
        old_size: u64,
        /// Size of the newer tree.
        new_size: u64,
    },
    /// Indices and sizes fix the number of hashes; this is another.
    #[error("proof has {got} hashes, not {want}")]
    PathLength {
        /// Hashes seen.
        got: usize,
        /// Hashes that the sizes ask for.
        want: usize,
    },
    /// The path leads to another root.
    #[error("proof leads to root {got}, not {want}")]
    RootMismatch {
        /// Root that the path leads to.
        got: Hash,
        /// Root of the tree head.
        want: Hash,
    },
}

/// The RFC 6962 root over leaf hashes that are all at hand. Where they are not: [`crate::Tree`].
pub fn root_over(leaves: &[Hash]) -> Hash {
    let mut row = leaves.to_vec();
    while row.len() > 1 {
        row = row.chunks(2).map(join_pair).collect();
    }
    row.first().copied().unwrap_or_else(empty_root)
}

/// A last hash without a partner rises as it is: its subtree is the smaller right one further up.
fn join_pair(pair: &[Hash]) -> Hash {
    match pair {
        [left, right] => node_hash(left, right),
        lone => lone[0],
    }
}

impl TreeHead {
    /// The head of a tree without leaves.
    pub fn empty() -> Self {
        Self { size: 0, root: empty_root() }
    }
}

impl InclusionProof {
    /// Checks that `leaf` is number `self.index` in the tree of `head`.
    pub fn verify(&self, leaf: &Hash, head: &TreeHead) -> Result<(), MerkleError> {
        if self.index >= head.size {
            return Err(MerkleError::IndexOutOfTree { index: self.index, size: head.size });
        }
        let shape = PathShape::between(self.index, head.size - 1);
        let (inner, border) = shape.split(&self.path)?;
        let root = climb(*leaf, self.index, inner);
        expect_root(climb_right_edge(root, border), head)
    }
}

impl ConsistencyProof {
    /// Checks that the tree of `old` is a prefix of the tree of `new`.
    pub fn verify(&self, old: &TreeHead, new: &TreeHead) -> Result<(), MerkleError> {
        if old.size > new.size {
            return Err(MerkleError::SizeOrder { old_size: old.size, new_size: new.size });
        }
        if old.size == 0 {
            expect_length(&self.path, 0)?;
            return expect_root(empty_root(), old);
        }
        if old.size == new.size {
            expect_length(&self.path, 0)?;
            return expect_root(old.root, new);
        }
        self.verify_growth(old, new)
    }

    /// `0 < old.size < new.size`.
    fn verify_growth(&self, old: &TreeHead, new: &TreeHead) -> Result<(), MerkleError> {
        let last = old.size - 1;
        // The old tree's lowest right-edge subtree is complete: both climbs start at its hash.
        let seed_level = old.size.trailing_zeros();
        let mut shape = PathShape::between(last, new.size - 1);
        shape.inner -= seed_level as usize;

        // That hash is the old root itself if the old tree is perfect, else the first of the path.
        let (seed, path) = match self.path.split_first() {
            _ if old.size.is_power_of_two() => (old.root, self.path.as_slice()),
            Some((seed, path)) => (*seed, path),
            None => {
                return Err(MerkleError::PathLength { got: 0, want: shape.len() + 1 });
            }
        };
        let (inner, border) = shape.split(path)?;
        let position = last >> seed_level;

        let old_root = climb_left_siblings(seed, position, inner);
        expect_root(climb_right_edge(old_root, border), old)?;
        let new_root = climb(seed, position, inner);
        expect_root(climb_right_edge(new_root, border), new)
    }
}

/// How many siblings a path has below and above the point where it joins the tree's right edge.
struct PathShape {
    inner: usize,
    border: usize,
}

impl PathShape {
    /// The shape of the path of leaf `index` in a tree whose last leaf is `last`.
    fn between(index: u64, last: u64) -> Self {
        let inner = u64::BITS - (index ^ last).leading_zeros();
        let above = index.checked_shr(inner).unwrap_or(0);
        Self { inner: inner as usize, border: above.count_ones() as usize }
    }

    fn len(&self) -> usize {
        self.inner + self.border
    }

    fn split<'p>(&self, path: &'p [Hash]) -> Result<(&'p [Hash], &'p [Hash]), MerkleError> {
        expect_length(path, self.len())?;
        Ok(path.split_at(self.inner))
    }
}

/// Up from `hash` with a sibling on every level; bit `n` of `position` says on which side.
fn climb(hash: Hash, position: u64, siblings: &[Hash]) -> Hash {
    let mut position = position;
    siblings.iter().fold(hash, |hash, sibling| {
        let is_left = position & 1 == 0;
        position >>= 1;
        if is_left { node_hash(&hash, sibling) } else { node_hash(sibling, &hash) }
    })
}

/// As [`climb`], but in the older tree, where nothing stands to the right yet.
fn climb_left_siblings(hash: Hash, position: u64, siblings: &[Hash]) -> Hash {
    let mut position = position;
    siblings.iter().fold(hash, |hash, sibling| {
        let is_left = position & 1 == 0;
        position >>= 1;
        if is_left { hash } else { node_hash(sibling, &hash) }
    })
}

fn climb_right_edge(hash: Hash, siblings: &[Hash]) -> Hash {
    siblings.iter().fold(hash, |hash, sibling| node_hash(sibling, &hash))
}

fn expect_length(path: &[Hash], want: usize) -> Result<(), MerkleError> {
    let got = path.len();
    if got == want { Ok(()) } else { Err(MerkleError::PathLength { got, want }) }
}

fn expect_root(got: Hash, head: &TreeHead) -> Result<(), MerkleError> {
    let want = head.root;
    if got == want { Ok(()) } else { Err(MerkleError::RootMismatch { got, want }) }
}

/// The leaf ranges whose hashes are the audit path of leaf `index`, lowest first: RFC 6962's
/// recursion, `index < size`, unrolled from the root down and turned round.
fn inclusion_ranges(index: u64, size: u64) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split_point(end - start);
        if index < middle {
            ranges.push(middle..end);
            end = middle;
        } else {
            ranges.push(start..middle);
            start = middle;
        }
    }
    ranges.reverse();
    ranges
}

/// The same for the consistency of size `old` with size `new`, `0 < old < new`.
fn consistency_ranges(old: u64, new: u64) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    let (mut start, mut end) = (0, new);
    while end != old {
        let middle = start + split_point(end - start);
        if old <= middle {
            ranges.push(middle..end);
            end = middle;
        } else {
            ranges.push(start..middle);
            start = middle;
        }
    }
    // What is left is a subtree of the old tree; if it is the whole of it, the verifier has it.
    if start > 0 {
        ranges.push(start..end);
    }
    ranges.reverse();
    ranges
}

/// The largest power of two below `size`, which is at least 2.
fn split_point(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}
