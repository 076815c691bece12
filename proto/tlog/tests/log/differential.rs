//! Random trees, proofs and notes before other people's code and ours: the same roots and proofs, and whatever is broken
//! in them is accepted by all or refused by all. Oracles: `ct-merkle`, `tlog_tiles`, `signed_note`.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof as TheirConsistency, InclusionProof as TheirInclusion, RootHash};
use proptest::prelude::*;
use quorate_tlog::{Checkpoint, ConsistencyProof, Hash, InclusionProof, SignedNote, Signer, TreeHead, TreeView, leaf_hash};
use sha2::Sha256;
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{Checkpoint as ForeignCheckpoint, Hash as ForeignHash, check_record, check_tree};

use crate::model;

/// What is done to a proof.
#[derive(Clone, Debug)]
enum Change {
    Nothing,
    Bit(usize),
    Drop(usize),
    Twice(usize),
    Swap(usize, usize),
    Append([u8; 32]),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        Just(Change::Nothing),
        any::<usize>().prop_map(Change::Bit),
        any::<usize>().prop_map(Change::Drop),
        any::<usize>().prop_map(Change::Twice),
        any::<(usize, usize)>().prop_map(|(a, b)| Change::Swap(a, b)),
        any::<[u8; 32]>().prop_map(Change::Append),
    ]
}

impl Change {
    fn applied(&self, path: &[Hash]) -> Vec<Hash> {
        let (mut path, count) = (path.to_vec(), path.len().max(1));
        match self {
            Self::Append(hash) => path.push(Hash::from_bytes(*hash)),
            Self::Nothing => {}
            _ if path.is_empty() => {}
            Self::Bit(at) => {
                let mut bytes = *path[at / 256 % count].as_bytes();
                bytes[at / 8 % 32] ^= 1 << (at % 8);
                path[at / 256 % count] = Hash::from_bytes(bytes);
            }
            Self::Drop(at) => {
                path.remove(at % count);
            }
            Self::Twice(at) => path.insert(at % count, path[at % count]),
            Self::Swap(a, b) => path.swap(a % count, b % count),
        }
        path
    }
}

/// Sizes around powers of two and tile borders, and a place below.
fn size_and_place() -> impl Strategy<Value = (u64, u64)> {
    let size = prop_oneof![8 => 2_u64..70, 2 => 250_u64..262, 1 => 500_u64..520];
    size.prop_flat_map(|size| (Just(size), 0..size))
}

fn theirs(size: u64) -> MemoryBackedTree<Sha256, Vec<u8>> {
    let mut tree = MemoryBackedTree::new();
    (0..size).for_each(|index| tree.push(model::entry(index)));
    tree
}

fn bytes(path: &[Hash]) -> Vec<u8> {
    path.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

fn foreign(path: &[Hash]) -> Vec<ForeignHash> {
    path.iter().map(|hash| ForeignHash(*hash.as_bytes())).collect()
}

fn their_root(root: &Hash, size: u64) -> RootHash<Sha256> {
    RootHash::new((*root.as_bytes()).into(), size)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn ct_merkle_has_the_same_roots_and_proofs((size, place) in size_and_place()) {
        let (tree, tiles) = model::grow(&model::leaves(size), &[3, 200]);
        let other = theirs(size);
        prop_assert_eq!(other.root(), their_root(&tree.root(), size));
        let view = TreeView::new(tree.head(), &tiles).unwrap();
        let (_, proof) = view.inclusion(place).unwrap();
        prop_assert_eq!(other.prove_inclusion(place as usize).as_bytes().to_vec(), bytes(&proof.path));
        if place > 0 {
            let (_, proof) = view.consistency(place).unwrap();
            prop_assert_eq!(other.prove_consistency((size - place) as usize).as_bytes().to_vec(), bytes(&proof.path));
        }
    }

    #[test]
    fn an_inclusion_proof_is_accepted_by_all_or_by_none(
        (size, place) in size_and_place(), change in change(), claimed in 0_u64..80, claims in any::<bool>(), grown in 0_u64..3,
    ) {
        let leaves = model::leaves(size);
        let (tree, tiles) = model::grow(&leaves, &[]);
        let (leaf, proof) = TreeView::new(tree.head(), &tiles).unwrap().inclusion(place).unwrap();
        let index = if claims { claimed } else { place };
        let head = TreeHead { size: size + grown / 2, root: tree.root() };
        let path = change.applied(&proof.path);

        let ours = InclusionProof { index, path: path.clone() }.verify(&leaf, &head).is_ok();
        let ct = TheirInclusion::try_from_bytes(bytes(&path)).unwrap();
        let ct = their_root(&head.root, head.size).verify_inclusion(&model::entry(place), index, &ct).is_ok();
        let tiles = check_record(&foreign(&path), head.size, ForeignHash(*head.root.as_bytes()), index, ForeignHash(*leaf.as_bytes()));
        prop_assert_eq!((ours, ours), (ct, tiles.is_ok()), "{:?} at {} of {:?}", change, index, head);
        prop_assert_eq!(leaf, leaf_hash(&model::entry(place)));
    }

    #[test]
    fn a_consistency_proof_is_accepted_by_all_or_by_none(
        (size, place) in size_and_place(), change in change(), moved in 0_u64..3, grown in 0_u64..3, other_root in any::<bool>(),
    ) {
        let leaves = model::leaves(size);
        let (tree, tiles) = model::grow(&leaves, &[]);
        let place = place.max(1);
        let (old, proof) = TreeView::new(tree.head(), &tiles).unwrap().consistency(place).unwrap();
        let new = TreeHead { size: size + grown / 2, root: tree.root() };
        // Neither oracle takes an old tree that is not smaller.
        let old_size = (place + moved / 2).min(new.size - 1);
        let old = TreeHead { size: old_size, root: if other_root { tree.root() } else { old.root } };
        let path = change.applied(&proof.path);

        let ours = ConsistencyProof { path: path.clone() }.verify(&old, &new).is_ok();
        let ct = TheirConsistency::try_from_bytes(bytes(&path)).unwrap();
        let ct = their_root(&new.root, new.size).verify_consistency(&their_root(&old.root, old.size), &ct).is_ok();
        let (new_root, old_root) = (ForeignHash(*new.root.as_bytes()), ForeignHash(*old.root.as_bytes()));
        let tiles = check_tree(&foreign(&path), new.size, new_root, old.size, old_root);
        prop_assert_eq!((ours, ours), (ct, tiles.is_ok()), "{:?} from {:?} to {:?}", change, old, new);
    }

    #[test]
    fn a_note_is_opened_by_both_or_by_neither(
        size in 0_u64..1000, at in any::<usize>(), byte in any::<u8>(), cut in any::<usize>(), kind in 0_u8..4,
    ) {
        let log = Signer::from_seed("log.example/quorate".parse().unwrap(), &[3; 32]);
        let other = Signer::from_seed("other.example".parse().unwrap(), &[4; 32]);
        let (tree, _) = model::grow(&model::leaves(size), &[]);
        let checkpoint = Checkpoint::new("log.example/quorate".parse().unwrap(), tree.head()).unwrap();
        let note = checkpoint.sign(&log).unwrap().cosign(&other).unwrap();
        let mut bytes = note.to_string().into_bytes();
        let place = at % bytes.len();
        match kind {
            0 => bytes[place] = byte,
            1 => bytes.truncate(cut % bytes.len()),
            2 => {
                bytes.remove(place);
            }
            _ => bytes.insert(place, byte),
        }
        let opened = SignedNote::parse(&bytes).ok().and_then(|note| note.open(std::slice::from_ref(log.verifier())).ok());
        let verifier = StandardVerifier::new(&log.verifier().to_string()).unwrap();
        let known = VerifierList::new(vec![Box::new(verifier)]);
        let theirs = Note::from_bytes(&bytes).ok().filter(|note| note.verify(&known).is_ok_and(|(by_known, _)| !by_known.is_empty()));
        prop_assert_eq!(opened.is_some(), theirs.is_some(), "{}", String::from_utf8_lossy(&bytes));
        if let (Some(ours), Some(theirs)) = (opened, theirs) {
            prop_assert_eq!(ours.text().as_bytes(), theirs.text());
            let (ours, theirs) = (Checkpoint::parse(ours.text()), ForeignCheckpoint::from_bytes(theirs.text()));
            prop_assert_eq!(ours.map(|checkpoint| checkpoint.size()).ok(), theirs.map(|checkpoint| checkpoint.size()).ok());
        }
    }

    #[test]
    fn a_checkpoints_text_is_read_by_both_or_by_neither(size in 0_u64..70_000, at in any::<usize>(), byte in 0_u8..128, kind in 0_u8..3) {
        let root = quorate_tlog::leaf_hash(&size.to_be_bytes());
        let mut text = format!("log.example/quorate\n{size}\n{root}\n").into_bytes();
        let place = at % text.len();
        match kind {
            0 => text[place] = byte,
            1 => {
                text.remove(place);
            }
            _ => text.insert(place, byte),
        }
        let text = String::from_utf8(text).unwrap();
        let (ours, theirs) = (Checkpoint::parse(&text), ForeignCheckpoint::from_bytes(text.as_bytes()));
        let ours = ours.ok().map(|read| (read.size(), *read.root().as_bytes()));
        let theirs = theirs.ok().map(|read| (read.size(), read.hash().0));
        // Ours takes no control characters, of which no note has any.
        let in_no_note = text.contains(|c| c < ' ' && c != '\n');
        prop_assert!(ours == theirs || (ours.is_none() && in_no_note), "{:?}: {:?} {:?}", text, ours, theirs);
    }
}
