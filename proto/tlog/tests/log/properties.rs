//! Properties: agreement with the naive model, and that nothing else verifies.

use std::collections::BTreeMap;

use proptest::prelude::*;
use quorate_tlog::merkle::{MerkleError, ViewError, consistency_tiles, inclusion_tiles, root_over};
use quorate_tlog::tree::ResumeError;
use quorate_tlog::{ConsistencyProof, InclusionProof, MemoryTiles, TilePath, Tree, TreeHead, TreeView, leaf_hash};

use crate::model;

/// Sizes that are small, around tile borders, or of two full tile levels and a bit.
fn size() -> impl Strategy<Value = u64> {
    prop_oneof![
        12 => 1_u64..40,
        10 => 250_u64..262,
        6 => 500_u64..1100,
        1 => 65_530_u64..65_541,
    ]
}

/// A size and a number below it.
fn size_and_index() -> impl Strategy<Value = (u64, u64)> {
    size().prop_flat_map(|size| (Just(size), 0..size))
}

fn only(tiles: &MemoryTiles, paths: impl IntoIterator<Item = TilePath>) -> MemoryTiles {
    MemoryTiles(paths.into_iter().map(|path| (path, tiles.0[&path].clone())).collect())
}

#[test]
fn roots_and_proofs_of_all_small_trees_agree_with_rfc_6962() {
    for size in 1..=33_u64 {
        let leaves = model::leaves(size);
        let (tree, tiles) = model::grow(&leaves, &[]);
        assert_eq!(tree.head(), model::head(&leaves), "size {size}");
        let view = TreeView::new(tree.head(), &tiles).unwrap();
        for index in 0..size {
            let (leaf, proof) = view.inclusion(index).unwrap();
            assert_eq!(leaf, leaves[index as usize]);
            assert_eq!(proof.path, model::path(index as usize, &leaves));
        }
        for old in 1..size {
            let (head, proof) = view.consistency(old).unwrap();
            assert_eq!(head, model::head(&leaves[..old as usize]));
            assert_eq!(proof.path, model::consistency(old as usize, &leaves));
        }
    }
}

#[test]
fn a_proof_holds_at_its_own_index_and_at_no_other() {
    for size in 1..=20_u64 {
        let leaves = model::leaves(size);
        let head = model::head(&leaves);
        for index in 0..size {
            let path = model::path(index as usize, &leaves);
            for claimed in 0..size + 2 {
                let proof = InclusionProof { index: claimed, path: path.clone() };
                let holds = proof.verify(&leaves[index as usize], &head).is_ok();
                assert_eq!(holds, claimed == index, "{index} as {claimed} of {size}");
            }
        }
    }
}

#[test]
fn a_consistency_proof_holds_between_its_own_sizes_and_no_others() {
    let leaves = model::leaves(20);
    let heads: Vec<TreeHead> = (0..=20).map(|n| model::head(&leaves[..n])).collect();
    for new in 1..=20_usize {
        for old in 1..new {
            let proof = ConsistencyProof { path: model::consistency(old, &leaves[..new]) };
            proof.verify(&heads[old], &heads[new]).unwrap();
            for other in 1..=20 {
                let wrong_old = TreeHead { size: other as u64, root: heads[old].root };
                let wrong_root = TreeHead { size: old as u64, root: heads[other].root };
                if other != old {
                    assert!(proof.verify(&wrong_old, &heads[new]).is_err());
                    assert!(proof.verify(&wrong_root, &heads[new]).is_err());
                }
                if other != new {
                    assert!(proof.verify(&heads[old], &heads[other]).is_err());
                }
            }
        }
    }
}

#[test]
fn consistency_with_nothing_and_with_itself_needs_no_hashes() {
    let head = model::head(&model::leaves(5));
    let (none, one) = (ConsistencyProof { path: vec![] }, ConsistencyProof { path: vec![head.root] });
    assert_eq!(none.verify(&TreeHead::empty(), &head), Ok(()));
    assert_eq!(none.verify(&head, &head), Ok(()));
    assert!(one.verify(&TreeHead::empty(), &head).is_err());
    assert!(one.verify(&head, &head).is_err());
    let false_empty = TreeHead { size: 0, root: head.root };
    assert!(none.verify(&false_empty, &head).is_err());
    assert!(matches!(none.verify(&head, &TreeHead::empty()), Err(MerkleError::SizeOrder { .. })));
    let fork = TreeHead { size: 5, root: leaf_hash(b"fork") };
    assert!(none.verify(&head, &fork).is_err());
}

#[test]
fn verification_survives_the_largest_sizes() {
    let root = leaf_hash(b"");
    let proof = InclusionProof { index: u64::MAX - 1, path: vec![root; 64] };
    let head = TreeHead { size: u64::MAX, root };
    assert!(proof.verify(&root, &head).is_err());
    let proof = ConsistencyProof { path: vec![root; 64] };
    for size in [1, 2, 1 << 63, u64::MAX - 1] {
        let old = TreeHead { size, root };
        assert!(proof.verify(&old, &head).is_err());
    }
    assert!(TreeView::new(head, &MemoryTiles::default()).is_err());
}

#[test]
fn a_rotten_tile_gives_an_error_and_never_a_proof() {
    let leaves = model::leaves(300);
    let (tree, tiles) = model::grow(&leaves, &[]);
    for path in tiles.0.keys() {
        let mut rotten = tiles.clone();
        rotten.0.get_mut(path).unwrap()[40 % (usize::from(path.width().get()) * 32)] ^= 1;
        let view = TreeView::new(tree.head(), &rotten).unwrap();
        let outcomes = [0, 1, 2, 255, 256, 299].map(|index| view.inclusion(index));
        assert!(outcomes.iter().any(Result::is_err), "{path}");
        for (leaf, proof) in outcomes.into_iter().flatten() {
            proof.verify(&leaf, &tree.head()).unwrap();
            assert_eq!(leaf, leaves[proof.index as usize]);
        }
        let resumed = Tree::resume(&tree.head(), &rotten);
        let on_edge = !path.width().is_full();
        assert_eq!(resumed.is_err(), on_edge, "{path}");
    }
}

#[test]
fn a_missing_tile_or_leaf_is_named() {
    let (tree, tiles) = model::grow(&model::leaves(5), &[]);
    let nothing = MemoryTiles::default();
    let view = TreeView::new(tree.head(), &nothing).unwrap();
    assert!(matches!(view.inclusion(0), Err(ViewError::Read(_))));
    let view = TreeView::new(tree.head(), &tiles).unwrap();
    assert!(matches!(view.inclusion(5), Err(ViewError::Merkle(MerkleError::IndexOutOfTree { index: 5, size: 5 }))));
    assert!(matches!(view.consistency(6), Err(ViewError::Merkle(MerkleError::SizeOrder { .. }))));
    let wrong = TreeHead { size: 5, root: leaf_hash(b"wrong") };
    assert!(matches!(Tree::resume(&wrong, &tiles), Err(ResumeError::RootMismatch { size: 5, .. })));
}

#[test]
fn appending_nothing_writes_nothing() {
    let (tree, _) = model::grow(&model::leaves(5), &[]);
    let appended = tree.append(&[]).unwrap();
    assert_eq!(appended.tree, tree);
    assert_eq!(appended.tiles, []);
    assert_eq!(Tree::new().head(), TreeHead::empty());
    let resumed = Tree::resume(&TreeHead::empty(), &MemoryTiles::default()).unwrap();
    assert_eq!(resumed, Tree::new());
}

#[test]
fn a_partial_tile_is_not_hashed_into_the_level_above() {
    let written = |size| {
        let (_, tiles) = model::grow(&model::leaves(size), &[]);
        tiles.0.keys().map(TilePath::path).collect::<Vec<_>>()
    };
    assert_eq!(written(255), ["tile/0/000.p/255"]);
    assert_eq!(written(256), ["tile/0/000", "tile/1/000.p/1"]);
    let of_257 = ["tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1"];
    assert_eq!(written(257), of_257);
}

#[test]
fn seventy_thousand_leaves_give_the_tiles_that_the_spec_counts() {
    let (_, tiles) = model::grow(&model::leaves(70_000), &[]);
    let mut widths = BTreeMap::new();
    for path in tiles.0.keys() {
        *widths.entry((path.level(), path.width().get())).or_insert(0) += 1;
    }
    let expected = [((0, 112), 1), ((0, 256), 273), ((1, 17), 1), ((1, 256), 1), ((2, 1), 1)];
    assert_eq!(widths, BTreeMap::from(expected));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn roots_agree_with_the_model(size in size()) {
        let leaves = model::leaves(size);
        let (tree, tiles) = model::grow(&leaves, &[]);
        let root = model::root(&leaves);
        prop_assert_eq!(tree.root(), root);
        prop_assert_eq!(root_over(&leaves), root);
        let view = TreeView::new(tree.head(), &tiles).unwrap();
        prop_assert_eq!(view.root_at(size).unwrap(), root);
    }

    #[test]
    fn inclusion_agrees_with_the_model_and_reads_only_its_tiles((size, index) in size_and_index()) {
        let leaves = model::leaves(size);
        let (tree, tiles) = model::grow(&leaves, &[]);
        let needed = only(&tiles, inclusion_tiles(index, size));
        let view = TreeView::new(tree.head(), &needed).unwrap();
        let (leaf, proof) = view.inclusion(index).unwrap();
        let position = usize::try_from(index).unwrap();
        prop_assert_eq!(leaf, leaves[position]);
        prop_assert_eq!(&proof.path, &model::path(position, &leaves));
        prop_assert!(proof.verify(&leaf, &tree.head()).is_ok());
    }

    #[test]
    fn consistency_agrees_with_the_model_and_reads_only_its_tiles(
        (new, old) in size_and_index()
    ) {
        let leaves = model::leaves(new);
        let (tree, tiles) = model::grow(&leaves, &[]);
        let needed = only(&tiles, consistency_tiles(old, new));
        let view = TreeView::new(tree.head(), &needed).unwrap();
        let (head, proof) = view.consistency(old).unwrap();
        let old = usize::try_from(old).unwrap();
        prop_assert_eq!(head, model::head(&leaves[..old]));
        let expected = if old == 0 { vec![] } else { model::consistency(old, &leaves) };
        prop_assert_eq!(&proof.path, &expected);
        prop_assert!(proof.verify(&head, &tree.head()).is_ok());
    }

    #[test]
    fn a_changed_leaf_root_or_path_fails(
        (size, index) in size_and_index(),
        at in any::<prop::sample::Index>(),
    ) {
        let leaves = model::leaves(size);
        let head = model::head(&leaves);
        let position = usize::try_from(index).unwrap();
        let proof = InclusionProof { index, path: model::path(position, &leaves) };
        let leaf = leaves[position];
        let other = leaf_hash(b"other");
        prop_assert!(proof.verify(&leaf, &head).is_ok());
        prop_assert!(proof.verify(&other, &head).is_err());
        let other_head = TreeHead { root: other, ..head };
        prop_assert!(proof.verify(&leaf, &other_head).is_err());
        if !proof.path.is_empty() {
            let mut changed = proof.clone();
            changed.path[at.index(proof.path.len())] = other;
            prop_assert!(changed.verify(&leaf, &head).is_err());
            changed.path.pop();
            prop_assert!(changed.verify(&leaf, &head).is_err());
        }
    }

    #[test]
    fn a_changed_consistency_path_fails(
        (new, old) in size_and_index().prop_filter("has a path", |(_, old)| *old > 0),
        at in any::<prop::sample::Index>(),
    ) {
        let leaves = model::leaves(new);
        let old = usize::try_from(old).unwrap();
        let (old_head, new_head) = (model::head(&leaves[..old]), model::head(&leaves));
        let mut proof = ConsistencyProof { path: model::consistency(old, &leaves) };
        prop_assert!(proof.verify(&old_head, &new_head).is_ok());
        let length = proof.path.len();
        proof.path[at.index(length)] = leaf_hash(b"other");
        prop_assert!(proof.verify(&old_head, &new_head).is_err());
        proof.path.pop();
        prop_assert!(proof.verify(&old_head, &new_head).is_err());
    }

    #[test]
    fn batches_of_any_split_give_the_same_tree_and_tiles(
        size in size(),
        batches in prop::collection::vec(0_usize..700, 0..12),
    ) {
        let leaves = model::leaves(size);
        let (once, tiles_once) = model::grow(&leaves, &[]);
        let (split, tiles_split) = model::grow(&leaves, &batches);
        prop_assert_eq!(&split, &once);
        for (path, bytes) in &tiles_once.0 {
            prop_assert_eq!(tiles_split.0.get(path), Some(bytes), "{}", path);
        }
        // What the split log has besides are partial tiles of the sizes in between.
        for path in tiles_split.0.keys() {
            prop_assert!(tiles_once.0.contains_key(path) || !path.width().is_full());
        }
    }

    #[test]
    fn a_tree_resumed_from_its_tiles_grows_as_if_never_stopped(
        size in size(),
        more in 0_u64..600,
        partial_tiles in prop_oneof![Just(Partial::Kept), Just(Partial::ReplacedByFull)],
    ) {
        let leaves = model::leaves(size + more);
        let (before, after) = leaves.split_at(usize::try_from(size).unwrap());
        let (tree, mut tiles) = model::grow(before, &[]);
        if partial_tiles == Partial::ReplacedByFull {
            for (path, bytes) in &mut tiles.0 {
                if !path.width().is_full() {
                    bytes.resize(8192, 0xaa);
                }
            }
        }
        let resumed = Tree::resume(&tree.head(), &tiles).unwrap();
        prop_assert_eq!(&resumed, &tree);
        let appended = resumed.append(after).unwrap();
        prop_assert_eq!(&appended, &tree.append(after).unwrap());
        prop_assert_eq!(appended.tree.root(), model::root(&leaves));
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Partial {
    Kept,
    ReplacedByFull,
}
