//! RFC 6962, section 2.1, word for word and as slow as that: the definition that the real code must
//! agree with.

use std::sync::LazyLock;

use quorate_tlog::hash::empty_root;
use quorate_tlog::{Hash, MemoryTiles, Tree, TreeHead, leaf_hash, node_hash};

/// Entry `index` of every test log; the vectors say the same.
pub(crate) fn entry(index: u64) -> Vec<u8> {
    format!("quorate test entry {index}").into_bytes()
}

pub(crate) fn leaves(count: u64) -> Vec<Hash> {
    static LEAVES: LazyLock<Vec<Hash>> = LazyLock::new(|| (0..70_000).map(|i| leaf_hash(&entry(i))).collect());
    let count = usize::try_from(count).expect("test trees are small");
    LEAVES[..count].to_vec()
}

/// `MTH(D[n])`.
pub(crate) fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

pub(crate) fn head(leaves: &[Hash]) -> TreeHead {
    TreeHead { size: leaves.len() as u64, root: root(leaves) }
}

/// `PATH(m, D[n])`.
pub(crate) fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    if index < left.len() {
        [path(index, left), vec![root(right)]].concat()
    } else {
        [path(index - left.len(), right), vec![root(left)]].concat()
    }
}

/// `PROOF(m, D[n])` for `0 < m < n`.
pub(crate) fn consistency(old: usize, leaves: &[Hash]) -> Vec<Hash> {
    subproof(old, leaves, Known::Yes)
}

/// Whether the verifier has the hash of the whole subtree as the old root.
#[derive(Clone, Copy)]
enum Known {
    Yes,
    No,
}

fn subproof(old: usize, leaves: &[Hash], known: Known) -> Vec<Hash> {
    if old == leaves.len() {
        return match known {
            Known::Yes => Vec::new(),
            Known::No => vec![root(leaves)],
        };
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    if old <= left.len() {
        [subproof(old, left, known), vec![root(right)]].concat()
    } else {
        let rest = subproof(old - left.len(), right, Known::No);
        [rest, vec![root(left)]].concat()
    }
}

fn split(count: usize) -> usize {
    count.next_power_of_two() / 2
}

/// A log appended in batches of the given sizes, and everything that was ever written for it.
pub(crate) fn grow(leaves: &[Hash], batches: &[usize]) -> (Tree, MemoryTiles) {
    let (mut tree, mut tiles) = (Tree::new(), MemoryTiles::default());
    let mut rest = leaves;
    for batch in batches.iter().copied().chain([leaves.len()]) {
        let (now, later) = rest.split_at(batch.min(rest.len()));
        let appended = tree.append(now).expect("test trees are small");
        for write in appended.tiles {
            let before = tiles.0.insert(write.path, write.bytes.clone());
            assert!(before.is_none_or(|bytes| bytes == write.bytes), "{} got other content", write.path);
        }
        (tree, rest) = (appended.tree, later);
    }
    (tree, tiles)
}
