#![expect(clippy::unwrap_used, reason = "tests")]
use std::convert::Infallible;
use std::io;

use proptest::prelude::*;

use super::*;
use crate::hash::leaf_hash;
use crate::merkle::{ConsistencyProof, TreeView};
use crate::note::Signer;
use crate::tile::MemoryTiles;
use crate::tree::Tree;

fn log() -> Signer {
    Signer::from_seed("log.example".parse().unwrap(), &[1; 32])
}

fn cosigner() -> Cosigner {
    Cosigner::from_seed("witness.example".parse().unwrap(), &[2; 32])
}

fn witness() -> Witness {
    Witness::new(cosigner(), &[log().verifier().clone()]).unwrap()
}

/// A request from `old` to `new` leaves of a history.
fn request(history: &str, old: u64, new: u64) -> AddCheckpoint {
    let leaves: Vec<_> = (0..new).map(|n| leaf_hash(format!("{history}{n}").as_bytes())).collect();
    let appended = Tree::new().append(&leaves).unwrap();
    let mut tiles = MemoryTiles::default();
    for write in appended.tiles {
        tiles.0.insert(write.path, write.bytes);
    }
    let head = appended.tree.head();
    let checkpoint = Checkpoint::new("log.example".parse().unwrap(), head).unwrap();
    let view = TreeView::new(head, &tiles).unwrap();
    let proof = view.consistency(old.min(new)).unwrap().1;
    AddCheckpoint::new(old, proof, checkpoint.sign(&log()).unwrap())
}

fn add(witness: &mut Witness, request: &AddCheckpoint) -> Result<NoteSignature, WitnessError<Infallible>> {
    witness.add_checkpoint(request, 1_700_000_000, |_| Ok(()))
}

fn status(witness: &mut Witness, request: &AddCheckpoint) -> u16 {
    add(witness, request).map_or_else(|error| error.status(), |_| 200)
}

fn resigned(request: &AddCheckpoint, text: String, signer: &Signer) -> AddCheckpoint {
    AddCheckpoint::new(request.old_size(), request.proof().clone(), SignedNote::sign(text, signer).unwrap())
}

#[test]
fn a_consistent_successor_is_cosigned() {
    let mut witness = witness();
    for (old, new) in [(0, 5), (5, 5), (5, 300), (300, 301)] {
        let request = request("a", old, new);
        let line = add(&mut witness, &request).unwrap();
        let cosigned = request.note().clone().with_signature(line).unwrap();
        let found = cosigned.cosignatures(&[cosigner().verifier().clone()]).unwrap();
        assert_eq!((found.len(), found[0].timestamp()), (1, 1_700_000_000));
    }
}

#[test]
fn statuses_are_those_of_the_spec() {
    let mut witness = witness();
    add(&mut witness, &request("a", 0, 5)).unwrap();
    let good = request("a", 5, 300);
    let text = good.note().unverified_text().to_owned();
    let stranger = Signer::from_seed("log.example".parse().unwrap(), &[9; 32]);
    let elsewhere = Signer::from_seed("other.example".parse().unwrap(), &[9; 32]);

    // Unknown origin, whoever signs it.
    assert_eq!(status(&mut witness, &resigned(&good, text.replace("log.example", "other.example"), &elsewhere)), 404);
    assert_eq!(status(&mut witness, &resigned(&good, text.replace("log.example", "other.example"), &log())), 404);
    // No signature by a trusted key, and one that does not hold.
    assert_eq!(status(&mut witness, &resigned(&good, text.clone(), &stranger)), 403);
    let line = request("b", 5, 300).note().signatures()[0].clone();
    let forged = SignedNote::sign(text.clone(), &stranger).unwrap().with_signature(line).unwrap();
    assert_eq!(status(&mut witness, &AddCheckpoint::new(5, good.proof().clone(), forged)), 403);
    // Signed, and no checkpoint.
    assert_eq!(status(&mut witness, &resigned(&good, "log.example\nfive\n".into(), &log())), 400);
    // Old size over the checkpoint's: before the comparison with what was cosigned.
    assert_eq!(status(&mut witness, &request("a", 301, 300)), 400);
    // Another old size than the last cosigned one.
    for (old, new) in [(0, 300), (4, 300), (6, 300), (0, 0), (4, 4)] {
        let refused = add(&mut witness, &request("a", old, new)).unwrap_err();
        assert!(matches!(refused, WitnessError::Conflict { size: 5 }), "{old} {new}: {refused}");
        assert_eq!(refused.status(), 409);
    }
    // Another history, of a larger tree and of the same size.
    assert_eq!(status(&mut witness, &request("b", 5, 300)), 422);
    assert_eq!(status(&mut witness, &request("b", 5, 5)), 422);
    // A proof where none belongs.
    let mut proof = ConsistencyProof { path: vec![leaf_hash(b"x")] };
    assert_eq!(status(&mut witness, &AddCheckpoint::new(5, proof.clone(), request("a", 5, 5).note().clone())), 422);
    proof.path.clear();
    assert_eq!(status(&mut witness, &AddCheckpoint::new(5, proof, good.note().clone())), 422);
    assert_eq!(status(&mut witness, &good), 200);
}

#[test]
fn the_first_request_starts_from_zero_without_a_proof() {
    let with_proof = AddCheckpoint::new(0, ConsistencyProof { path: vec![leaf_hash(b"x")] }, request("a", 0, 5).note().clone());
    assert_eq!(status(&mut witness(), &with_proof), 422);
    assert_eq!(status(&mut witness(), &request("a", 3, 5)), 409);
    assert_eq!(status(&mut witness(), &request("a", 0, 0)), 200);
    let root = leaf_hash(b"not empty");
    let text = format!("log.example\n0\n{root}\n");
    assert_eq!(status(&mut witness(), &resigned(&request("a", 0, 0), text, &log())), 422);
}

#[test]
fn nothing_is_cosigned_that_is_not_durable() {
    let mut witness = witness();
    let failed = witness.add_checkpoint(&request("a", 0, 5), 1, |_| Err(io::Error::other("disk")));
    assert!(matches!(failed, Err(WitnessError::Persist(_))));
    assert_eq!(status(&mut witness, &request("b", 0, 4)), 200, "the state is the old one");
    let mut clockless = Witness::new(cosigner(), &[log().verifier().clone()]).unwrap();
    let refused = clockless.add_checkpoint::<Infallible>(&request("a", 0, 5), 0, |_| unreachable!("nothing to persist"));
    assert!(matches!(refused, Err(WitnessError::Clock(_))));
}

#[test]
fn what_is_kept_is_enough_to_go_on_and_nothing_else_is_believed() {
    let mut first = witness();
    let origin: Origin = "log.example".parse().unwrap();
    let mut kept = Vec::new();
    let stranger = Signer::from_seed("stranger".parse().unwrap(), &[9; 32]);
    let asked = request("a", 0, 5);
    let asked = AddCheckpoint::new(0, asked.proof().clone(), asked.note().clone().cosign(&stranger).unwrap());
    first
        .add_checkpoint::<Infallible>(&asked, 1, |record| {
            kept = record.to_bytes();
            Ok(())
        })
        .unwrap();
    assert_eq!(SignedNote::parse(&kept).unwrap().signatures().len(), 2, "the log's and its own, no others");
    assert_eq!(first.by_origin_hash(&origin_hash(&origin)).unwrap().to_bytes(), kept);

    let mut second = witness();
    second.resume(&origin, &kept).unwrap();
    assert_eq!(status(&mut second, &request("b", 5, 9)), 422);
    assert_eq!(status(&mut second, &request("a", 5, 9)), 200);

    let uncosigned = request("a", 0, 5).note().to_string();
    assert_eq!(witness().resume(&origin, uncosigned.as_bytes()), Err(ResumeError::NotCosigned));
    assert!(witness().resume(&"other.example".parse().unwrap(), &kept).is_err());
    assert!(witness().resume(&origin, &kept[..kept.len() - 5]).is_err());
}

#[test]
fn a_second_root_for_a_size_is_evidence_however_it_is_asked_for() {
    let mut witness = witness();
    add(&mut witness, &request("a", 0, 5)).unwrap();
    for old in [0, 3, 5] {
        let asked = request("b", old, 5);
        assert!(add(&mut witness, &asked).is_err());
        let evidence = witness.contradiction(&asked).unwrap();
        assert_eq!(evidence.verify(log().verifier()).unwrap().size, 5);
    }
    assert_eq!(witness.contradiction(&request("a", 5, 5)), None);
    assert_eq!(witness.contradiction(&request("b", 5, 6)), None);
    let forged = resigned(
        &request("b", 5, 5),
        request("b", 5, 5).note().unverified_text().to_owned(),
        &Signer::from_seed("log.example".parse().unwrap(), &[9; 32]),
    );
    assert_eq!(witness.contradiction(&forged), None);
}

#[test]
fn malformed_requests_are_refused() {
    let good = request("a", 5, 300).to_string();
    assert_eq!(AddCheckpoint::parse(good.as_bytes()).unwrap().to_string(), good);
    let hash = good.lines().nth(1).unwrap();
    let table = [
        ("", RequestError::OldSize),
        ("old 5", RequestError::OldSize),
        (&good.replacen("old 5", "old 05", 1), RequestError::OldSize),
        (&good.replacen("old 5", "old  5", 1), RequestError::OldSize),
        (&good.replacen("old 5", "new 5", 1), RequestError::OldSize),
        (&good.replacen("old 5", "old 5\r", 1), RequestError::OldSize),
        ("old 5\n", RequestError::Truncated),
        (&good.replacen("old 5\n", &format!("old 5\n{}", format!("{hash}\n").repeat(63)), 1), RequestError::ProofTooLong { limit: 63 }),
        (&"x".repeat(REQUEST_BYTES_MAX + 1), RequestError::TooLong { got: REQUEST_BYTES_MAX + 1, limit: REQUEST_BYTES_MAX }),
        ("old 5\n\n", RequestError::Note(NoteError::NoSignatures)),
    ];
    for (text, error) in table {
        assert_eq!(AddCheckpoint::parse(text.as_bytes()), Err(error), "{text:.80}");
    }
    let broken = good.replacen(hash, "AAAA", 1);
    assert!(matches!(AddCheckpoint::parse(broken.as_bytes()), Err(RequestError::ProofHash { line: 0, .. })));
}

/// How many of `witnesses` follow which of two histories, in any order of asking.
fn follow(asked: &[(usize, bool)], count: usize, dishonest: usize) -> [usize; 2] {
    let mut witnesses: Vec<_> = (0..count).map(|_| witness()).collect();
    let mut quorums = [std::collections::BTreeSet::new(), std::collections::BTreeSet::new()];
    for (to, other) in asked {
        let to = to % count;
        // A dishonest witness cosigns whatever it is shown.
        let history = if *other { "b" } else { "a" };
        if to < dishonest
            || add(&mut witnesses[to], &request(history, 0, 7)).is_ok()
            || add(&mut witnesses[to], &request(history, 7, 7)).is_ok()
        {
            quorums[usize::from(*other)].insert(to);
        }
    }
    [quorums[0].len(), quorums[1].len()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// N witnesses of which f lie: no two histories both get more than (N + f) / 2 cosignatures.
    #[test]
    fn two_coordinators_with_one_key_never_both_reach_a_quorum(
        count in 1_usize..7,
        dishonest in 0_usize..7,
        asked in prop::collection::vec((any::<usize>(), any::<bool>()), 0..30),
    ) {
        let dishonest = dishonest.min(count);
        let [one, other] = follow(&asked, count, dishonest);
        let more = |cosigned: usize| 2 * cosigned > count + dishonest;
        prop_assert!(!(more(one) && more(other)), "{one} and {other} of {count}, {dishonest} of them dishonest");
    }

    #[test]
    fn no_order_of_requests_makes_a_witness_sign_two_roots_for_one_size(
        steps in prop::collection::vec((any::<bool>(), 0_u64..9, 0_u64..9), 1..40),
    ) {
        let mut witness = witness();
        let mut signed = BTreeMap::new();
        let mut last = 0;
        for (other, old, new) in steps {
            let asked = request(if other { "b" } else { "a" }, old, new);
            if add(&mut witness, &asked).is_ok() {
                let text = asked.note().unverified_text().to_owned();
                prop_assert!(new >= last, "never a smaller tree");
                prop_assert_eq!(signed.entry(new).or_insert_with(|| text.clone()), &text);
                last = new;
            }
        }
    }
}
