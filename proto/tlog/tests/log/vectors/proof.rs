//! `tlog-proof.json`: whole proofs, accepted and refused.

use quorate_tlog::{Checkpoint, Signer, TlogProof, TreeView};
use serde::Serialize;

use crate::model;

const ORIGIN: &str = "log.example/quorate";

#[derive(Serialize)]
struct Vectors {
    format: &'static str,
    about: &'static str,
    vkey: String,
    seed_hex: String,
    accepted: Vec<AcceptedCase>,
    rejected: Vec<RejectedCase>,
}

#[derive(Serialize)]
struct AcceptedCase {
    entry: String,
    index: u64,
    size: u64,
    root: String,
    extra_hex: String,
    proof: String,
}

#[derive(Serialize)]
struct RejectedCase {
    why: &'static str,
    entry: String,
    proof: String,
}

#[test]
fn tlog_proof_json_is_what_the_code_makes() {
    let vectors = Vectors {
        format: "quorate-tlog-proof/1",
        about: "Each accepted proof shows the ASCII bytes of entry to be number index in the log \
            of vkey, whose name is the only acceptable origin; no rejected one shows that of its \
            entry. The log is that of tlog-tree.json.",
        vkey: log().verifier().to_string(),
        seed_hex: super::seed_hex(1),
        accepted: accepted(),
        rejected: rejected(),
    };
    super::check("tlog-proof.json", &vectors);
}

fn log() -> Signer {
    Signer::from_seed(ORIGIN.parse().expect("a key name"), &[1; 32])
}

fn entry(index: u64) -> String {
    String::from_utf8(model::entry(index)).expect("ASCII")
}

fn proof(index: u64, size: u64) -> TlogProof {
    let (tree, tiles) = model::grow(&model::leaves(size), &[]);
    let view = TreeView::new(tree.head(), &tiles).expect("a small tree");
    let (_, inclusion) = view.inclusion(index).expect("the leaf is there");
    let origin = ORIGIN.parse().expect("an origin");
    let checkpoint = Checkpoint::new(origin, tree.head()).expect("a head");
    let note = checkpoint.sign(&log()).expect("the origin's key");
    TlogProof::new(inclusion, note).expect("a short path")
}

fn accepted() -> Vec<AcceptedCase> {
    let extra = proof(3, 5).with_extra(b"context".to_vec()).expect("little");
    let plain = [(0, 1), (3, 5), (4, 5), (256, 257), (12_345, 70_000)];
    let proofs = plain.map(|(index, size)| proof(index, size));
    let proofs = proofs.into_iter().chain([extra]);
    proofs.map(|proof| accepted_case(&proof)).collect()
}

fn accepted_case(proof: &TlogProof) -> AcceptedCase {
    let index = proof.inclusion().index;
    let text = proof.to_string();
    let parsed = TlogProof::parse(text.as_bytes()).expect("vectors are read");
    assert_eq!(parsed, *proof);
    let checkpoint = parsed.verify(entry(index).as_bytes(), log().verifier()).expect("vectors verify");
    AcceptedCase {
        entry: entry(index),
        index,
        size: checkpoint.size(),
        root: checkpoint.root().to_string(),
        extra_hex: data_encoding::HEXLOWER.encode(proof.unauthenticated_extra()),
        proof: text,
    }
}

fn rejected() -> Vec<RejectedCase> {
    let good = proof(3, 5).to_string();
    let smaller = proof(3, 4).to_string();
    let first_hash = good.lines().nth(2).expect("a path").to_owned();
    let (_, small_checkpoint) = smaller.split_once("\n\n").expect("a checkpoint");
    let (path, _) = good.split_once("\n\n").expect("a path");
    let cases = [
        ("another version", good.replace("@v1", "@v2")),
        ("another index", good.replace("index 3", "index 2")),
        ("an index beyond the tree", good.replace("index 3", "index 5")),
        ("an index with a leading zero", good.replace("index 3", "index 03")),
        ("no index", good.replace("index 3\n", "")),
        ("an empty extra line", good.replace("index", "extra \nindex")),
        ("extra data that is not base64", good.replace("index", "extra ?\nindex")),
        ("extra data after the index", good.replace("index 3\n", "index 3\nextra YQ==\n")),
        ("a path hash short", good.replace(&format!("{first_hash}\n"), "")),
        ("a path hash twice", good.replace(&first_hash, &format!("{first_hash}\n{first_hash}"))),
        ("the checkpoint of another size", format!("{path}\n\n{small_checkpoint}")),
        ("another size under the same signature", good.replace("quorate\n5\n", "quorate\n6\n")),
        ("no checkpoint", format!("{path}\n\n")),
        ("carriage returns", good.replace('\n', "\r\n")),
    ];
    let mut rejected: Vec<RejectedCase> = cases.map(|(why, proof)| RejectedCase { why, entry: entry(3), proof }).into();
    rejected.push(RejectedCase { why: "another entry", entry: entry(4), proof: good });
    for case in &rejected {
        assert!(!verifies(case), "{}", case.why);
    }
    rejected
}

fn verifies(case: &RejectedCase) -> bool {
    TlogProof::parse(case.proof.as_bytes()).and_then(|proof| proof.verify(case.entry.as_bytes(), log().verifier())).is_ok()
}
