//! What the fuzz targets do, on a smaller scale: no input makes a parser panic, and what is read is
//! written back byte for byte.

use proptest::prelude::*;
use quorate_tlog::{
    AddCheckpoint, BundlePath, Checkpoint, Cosigner, CosignerKey, EntryBundle, InclusionProof, LogEquivocation, SignedNote, Signer,
    TilePath, TlogPolicy, TlogProof, TreeHead, VerifierKey, leaf_hash,
};

fn example() -> String {
    let signer = Signer::from_seed("log".parse().unwrap(), &[1; 32]);
    let head = TreeHead { size: 1, root: leaf_hash(b"entry") };
    let checkpoint = Checkpoint::new("log".parse().unwrap(), head).unwrap();
    let inclusion = InclusionProof { index: 0, path: vec![leaf_hash(b"sibling")] };
    TlogProof::new(inclusion, checkpoint.sign(&signer).unwrap()).unwrap().with_extra(b"extra".to_vec()).unwrap().to_string()
}

/// A policy, a request to a witness and a proof of two views.
fn witnessing() -> [String; 3] {
    let note = SignedNote::parse(example().split_once("\n\n").unwrap().1.as_bytes()).unwrap();
    let key = Cosigner::from_seed("w".parse().unwrap(), &[2; 32]).verifier().to_string();
    let log = Signer::from_seed("log".parse().unwrap(), &[1; 32]).verifier().to_string();
    let policy = format!("log {log} https://log.example\nwitness w {key}\ngroup g any w\nquorum g\n");
    let hash = leaf_hash(b"sibling");
    let request = format!("old 1\n{hash}\n\n{note}");
    let equivocation = format!("{}root {hash}\n{hash}\n", LogEquivocation::of_one_size(note.clone(), note));
    [policy, request, equivocation]
}

fn check(bytes: &[u8]) {
    if let Ok(note) = SignedNote::parse(bytes) {
        assert_eq!(note.to_string().as_bytes(), bytes);
    }
    if let Ok(proof) = TlogProof::parse(bytes) {
        assert_eq!(proof.to_string().as_bytes(), bytes);
    }
    if let Ok(bundle) = EntryBundle::parse(bytes) {
        assert_eq!(bundle.encode(), bytes);
    }
    if let Ok(request) = AddCheckpoint::parse(bytes) {
        assert_eq!(request.to_string().as_bytes(), bytes);
    }
    if let Ok(proof) = LogEquivocation::parse(bytes) {
        assert_eq!(proof.to_string().as_bytes(), bytes);
    }
    if let Ok(policy) = TlogPolicy::parse(bytes) {
        assert_eq!(TlogPolicy::parse(&policy.to_bytes()), Ok(policy));
    }
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    if let Ok(key) = text.parse::<CosignerKey>() {
        assert_eq!(key.to_string(), text);
    }
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.to_string(), text);
    }
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string(), text);
    }
    if let Ok(path) = text.parse::<TilePath>() {
        assert_eq!(path.to_string(), text);
    }
    if let Ok(path) = text.parse::<BundlePath>() {
        assert_eq!(path.to_string(), text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&bytes);
    }

    #[test]
    fn a_damaged_proof_is_refused_or_read_as_it_is(
        start in 0_usize..120,
        at in any::<prop::sample::Index>(),
        with in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        // From somewhere on, so that the note and the checkpoint in it are met as well.
        let mut bytes = example().into_bytes().split_off(start);
        let at = at.index(bytes.len());
        bytes.splice(at..(at + with.len()).min(bytes.len()), with);
        check(&bytes);
    }

    #[test]
    fn a_damaged_policy_request_or_equivocation_is_refused_or_read_as_it_is(
        which in 0_usize..3,
        at in any::<prop::sample::Index>(),
        with in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let mut bytes = witnessing()[which].clone().into_bytes();
        let at = at.index(bytes.len());
        bytes.splice(at..(at + with.len()).min(bytes.len()), with);
        check(&bytes);
    }

    #[test]
    fn tile_like_paths_round_trip_or_are_refused(
        path in "tile/(entries|[0-9]{1,2})/(x?[0-9]{2,4}/?){1,8}(\\.p/[0-9]{0,3})?"
    ) {
        check(path.as_bytes());
    }
}

#[test]
fn the_undamaged_example_is_read() {
    assert!(TlogProof::parse(example().as_bytes()).is_ok());
    let [policy, request, equivocation] = witnessing();
    assert!(TlogPolicy::parse(policy.as_bytes()).is_ok());
    assert!(AddCheckpoint::parse(request.as_bytes()).is_ok());
    assert!(LogEquivocation::parse(equivocation.as_bytes()).is_ok());
}
