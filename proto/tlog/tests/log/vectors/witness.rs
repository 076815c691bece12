//! `tlog-witness.json`: cosignatures, policies, what a witness answers, and proofs of two views.

use std::convert::Infallible;

use quorate_tlog::{
    AddCheckpoint, Checkpoint, Cosigner, LogEquivocation, MemoryTiles, SignedNote, Signer, TlogPolicy, TlogProof, TreeView, Witness,
    leaf_hash,
};
use serde::Serialize;

use crate::model;

const ORIGIN: &str = "log.example/quorate";
const TIME: u64 = 1_700_000_000;

#[derive(Serialize)]
struct Vectors {
    format: &'static str,
    about: &'static str,
    vkey: String,
    cosigners: Vec<KeyCase>,
    cosigned: Vec<CosignedCase>,
    policies: Vec<PolicyCase>,
    policies_rejected: Vec<RejectedCase>,
    proofs: Vec<ProofCase>,
    witness: Vec<RequestCase>,
    equivocations: Vec<EquivocationCase>,
}

#[derive(Serialize)]
struct KeyCase {
    seed_hex: String,
    name: String,
    key_id_hex: String,
    vkey: String,
}

#[derive(Serialize)]
struct CosignedCase {
    by: String,
    time: u64,
    text: String,
    line: String,
}

#[derive(Serialize)]
struct PolicyCase {
    about: &'static str,
    policy: String,
    accepted: Vec<String>,
    refused: Vec<String>,
}

#[derive(Serialize)]
struct RejectedCase {
    why: &'static str,
    policy: String,
}

#[derive(Serialize)]
struct ProofCase {
    about: &'static str,
    policy: String,
    entry: String,
    proof: String,
    holds: bool,
}

#[derive(Serialize)]
struct RequestCase {
    about: &'static str,
    request: String,
    status: u16,
    body: String,
}

#[derive(Serialize)]
struct EquivocationCase {
    about: &'static str,
    proof: String,
    convicts: bool,
}

#[test]
fn tlog_witness_json_is_what_the_code_makes() {
    let vectors = Vectors {
        format: "quorate-tlog-witness/1",
        about: "Cosigners are Ed25519 keys of the given seeds, the log is that of tlog-tree.json with the key of seed 01…. Each line \
            is by's cosignature of text at time. A policy accepts and refuses the notes below it; rejected policies are none. A \
            proof holds or does not for the ASCII bytes of entry under policy. The requests to the witness of the first \
            cosigner come one after the other, at the same time, with the given answers; body is empty where the specification does \
            not fix it. An equivocation convicts the log or does not.",
        vkey: log().verifier().to_string(),
        cosigners: (2..=4).map(key_case).collect(),
        cosigned: [0, 1, 257].iter().flat_map(|size| [cosigned_case(2, *size, TIME), cosigned_case(3, *size, 1)]).collect(),
        policies: policies(),
        policies_rejected: policies_rejected(),
        proofs: proofs(),
        witness: requests(),
        equivocations: equivocations(),
    };
    super::check("tlog-witness.json", &vectors);
}

fn log() -> Signer {
    Signer::from_seed(ORIGIN.parse().expect("a key name"), &[1; 32])
}

fn cosigner(seed: u8) -> Cosigner {
    Cosigner::from_seed(format!("witness.example/w{}", seed - 1).parse().expect("a key name"), &[seed; 32])
}

fn key_case(seed: u8) -> KeyCase {
    let cosigner = cosigner(seed);
    let key = cosigner.verifier();
    KeyCase { seed_hex: super::seed_hex(seed), name: key.name().to_string(), key_id_hex: key.id().to_string(), vkey: key.to_string() }
}

fn checkpoint(size: u64) -> Checkpoint {
    let (tree, _) = model::grow(&model::leaves(size), &[]);
    Checkpoint::new(ORIGIN.parse().expect("an origin"), tree.head()).expect("a head")
}

/// The tree of other leaves.
fn forked(size: u64) -> (Checkpoint, MemoryTiles) {
    let leaves: Vec<_> = (0..size).map(|n| leaf_hash(format!("another entry {n}").as_bytes())).collect();
    let (tree, tiles) = model::grow(&leaves, &[]);
    (Checkpoint::new(ORIGIN.parse().expect("an origin"), tree.head()).expect("a head"), tiles)
}

fn note(checkpoint: &Checkpoint, cosigned_by: &[u8]) -> SignedNote {
    let signed = checkpoint.sign(&log()).expect("the origin's key");
    let line = |seed: &u8| cosigner(*seed).cosign(&checkpoint.to_string(), TIME).expect("a time");
    cosigned_by.iter().fold(signed, |note, seed| note.with_signature(line(seed)).expect("room"))
}

fn cosigned_case(seed: u8, size: u64, time: u64) -> CosignedCase {
    let text = checkpoint(size).to_string();
    let line = cosigner(seed).cosign(&text, time).expect("a time").to_string();
    CosignedCase { by: cosigner(seed).verifier().to_string(), time, text, line }
}

fn policy(quorum: &str) -> String {
    let witness = |seed: u8| format!("witness w{} {}\n", seed - 1, cosigner(seed).verifier());
    format!("log {}\n{}{}{}{quorum}", log().verifier(), witness(2), witness(3), witness(4))
}

fn policies() -> Vec<PolicyCase> {
    let case = |about, policy: String, enough: &[&[u8]], few: &[&[u8]]| {
        let notes = |sets: &[&[u8]]| sets.iter().map(|set| note(&checkpoint(5), set).to_string()).collect::<Vec<_>>();
        let parsed = TlogPolicy::parse(policy.as_bytes()).expect("a policy");
        let (accepted, refused) = (notes(enough), notes(few));
        let accepts = |note: &String| parsed.accept(&SignedNote::parse(note.as_bytes()).expect("a note")).is_ok();
        assert!(accepted.iter().all(accepts) && !refused.iter().any(accepts), "{about}");
        PolicyCase { about, policy, accepted, refused }
    };
    let nested = "# two of three, one of which is w1\ngroup others any w2 w3\ngroup all-of all w1 others\n\nquorum\tall-of\n";
    vec![
        case("the log alone", policy("quorum none\n"), &[&[], &[2], &[9]], &[]),
        case("one witness", policy("quorum w2\n"), &[&[3], &[2, 3, 9]], &[&[], &[2, 4]]),
        case("two of three", policy("group g 2 w1 w2 w3\nquorum g\n"), &[&[2, 3], &[4, 2], &[2, 3, 4]], &[&[], &[4], &[4, 9]]),
        case("nested", policy(nested), &[&[2, 3], &[2, 4]], &[&[3, 4], &[2], &[2, 9]]),
    ]
}

fn policies_rejected() -> Vec<RejectedCase> {
    let cases = [
        ("no quorum", policy("")),
        ("two quorums", policy("quorum w1\nquorum w1\n")),
        ("no newline at the end", policy("quorum w1")),
        ("a name that is not defined", policy("quorum w9\n")),
        ("a name that is defined later", format!("quorum w1\n{}", policy(""))),
        ("a threshold over the members", policy("group g 3 w1 w2\nquorum g\n")),
        ("a threshold of zero", policy("group g 0 w1 w2\nquorum g\n")),
        ("a member twice", policy("group g 2 w1 w1\nquorum g\n")),
        ("a member of two groups", policy("group g 1 w1\ngroup h 2 w1 w2\nquorum h\n")),
        ("none as a member", policy("group g 1 w1 none\nquorum g\n")),
        ("a witness key twice", policy(&format!("witness again {}\nquorum w1\n", cosigner(2).verifier()))),
        ("a log key as a witness", policy(&format!("witness l {}\nquorum w1\n", log().verifier()))),
        ("a carriage return", policy("quorum w1\r\n")),
    ];
    cases
        .map(|(why, policy)| {
            assert!(TlogPolicy::parse(policy.as_bytes()).is_err(), "{why}");
            RejectedCase { why, policy }
        })
        .into()
}

fn proofs() -> Vec<ProofCase> {
    let policy = policy("group g 2 w1 w2 w3\nquorum g\n");
    let parsed = TlogPolicy::parse(policy.as_bytes()).expect("a policy");
    let (tree, tiles) = model::grow(&model::leaves(257), &[]);
    let (_, inclusion) = TreeView::new(tree.head(), &tiles).expect("small").inclusion(12).expect("a leaf");
    let entry = String::from_utf8(model::entry(12)).expect("ASCII");
    let of = |note: SignedNote| TlogProof::new(inclusion.clone(), note).expect("a short path").to_string();
    let good = of(note(&checkpoint(257), &[2, 4]));
    let last = good.lines().last().expect("a cosignature");
    let cases = [
        ("two cosignatures of three", entry.clone(), good.clone(), true),
        ("and a stranger's", entry.clone(), of(note(&checkpoint(257), &[9, 2, 4])), true),
        ("one cosignature", entry.clone(), good.replace(&format!("{last}\n"), ""), false),
        ("a cut cosignature", entry.clone(), good.replace(last, &last[..last.len() - 8]), false),
        ("the cosignatures of another size", entry.clone(), mixed(&good), false),
        ("another entry", "quorate test entry 13".to_owned(), good.clone(), false),
    ];
    cases
        .map(|(about, entry, proof, holds)| {
            let verified = TlogProof::parse(proof.as_bytes()).and_then(|read| read.verify_under(entry.as_bytes(), &parsed));
            assert_eq!(verified.is_ok(), holds, "{about}");
            ProofCase { about, policy: policy.clone(), entry, proof, holds }
        })
        .into()
}

/// The proof with cosignatures that were made for another checkpoint.
fn mixed(proof: &str) -> String {
    let other = note(&checkpoint(5), &[2, 4]).to_string();
    let count = proof.lines().count();
    let kept: Vec<_> = proof.lines().take(count - 2).chain(other.lines().rev().take(2)).collect();
    format!("{}\n", kept.join("\n"))
}

fn request(old: u64, new: u64) -> AddCheckpoint {
    let (tree, tiles) = model::grow(&model::leaves(new), &[]);
    let (_, proof) = TreeView::new(tree.head(), &tiles).expect("small").consistency(old).expect("a smaller tree");
    AddCheckpoint::new(old, proof, note(&checkpoint(new), &[]))
}

fn requests() -> Vec<RequestCase> {
    let mut witness = Witness::new(cosigner(2), &[log().verifier().clone()]).expect("an origin");
    let good = request(5, 257).to_string();
    let second = AddCheckpoint::new(257, request(257, 257).proof().clone(), note(&forked(257).0, &[]));
    let stranger = Signer::from_seed(ORIGIN.parse().expect("a name"), &[9; 32]);
    let text = checkpoint(257).to_string();
    let by_stranger = AddCheckpoint::new(5, request(5, 257).proof().clone(), SignedNote::sign(text, &stranger).expect("a text"));
    let cases = [
        ("the first checkpoint", request(0, 5).to_string()),
        ("the same again, as a log that rests asks for", request(5, 5).to_string()),
        ("an old size that is not the last cosigned one", request(1, 257).to_string()),
        ("zero, to hear the last cosigned size", request(0, 257).to_string()),
        ("no old size", good.replace("old 5\n", "")),
        ("a leading zero", good.replace("old 5\n", "old 05\n")),
        ("an old size over the checkpoint's", good.replace("old 5\n", "old 258\n")),
        ("another origin", good.replace("\nlog.example/quorate\n", "\nlog.example/other\n")),
        ("another text under the signature", good.replace("\n257\n", "\n258\n")),
        ("no signature of the log's key", by_stranger.to_string()),
        ("a proof hash short", good.replacen(&format!("{}\n", good.lines().nth(1).expect("a hash")), "", 1)),
        ("a consistent successor", good),
        ("another root for the same size", second.to_string()),
        ("a smaller tree", request(5, 5).to_string()),
    ];
    cases.map(|(about, request)| answer(&mut witness, about, request)).into()
}

fn answer(witness: &mut Witness, about: &'static str, request: String) -> RequestCase {
    let Ok(parsed) = AddCheckpoint::parse(request.as_bytes()) else {
        return RequestCase { about, request, status: 400, body: String::new() };
    };
    let (status, body) = match witness.add_checkpoint::<Infallible>(&parsed, TIME, |_| Ok(())) {
        Ok(line) => (200, format!("{line}\n")),
        Err(error) => match error {
            quorate_tlog::witness::WitnessError::Conflict { size } => (error.status(), format!("{size}\n")),
            _ => (error.status(), String::new()),
        },
    };
    RequestCase { about, request, status, body }
}

fn equivocations() -> Vec<EquivocationCase> {
    let key = log();
    let (larger, tiles) = forked(257);
    let same_size = LogEquivocation::of_one_size(note(&checkpoint(257), &[]), note(&larger, &[])).to_string();
    let found = LogEquivocation::find(key.verifier(), &note(&checkpoint(5), &[]), &note(&larger, &[]), &tiles).expect("tiles");
    let two_sizes = found.expect("two histories").to_string();
    let honest = LogEquivocation::of_one_size(note(&checkpoint(257), &[]), note(&checkpoint(257), &[2])).to_string();
    let rootless = two_sizes.split_inclusive('\n').take(3).collect();
    let last = two_sizes.lines().last().expect("a hash");
    let cases = [
        ("two roots for one size", same_size.clone(), true),
        ("another beginning", two_sizes.clone(), true),
        ("one view, cosigned and not", honest, false),
        ("two sizes without a beginning", rootless, false),
        ("a path hash short", two_sizes.replace(&format!("{last}\n"), ""), false),
        ("no header", same_size.split_inclusive('\n').skip(1).collect(), false),
    ];
    cases
        .map(|(about, proof, convicts)| {
            let verified = LogEquivocation::parse(proof.as_bytes()).and_then(|read| read.verify(key.verifier()));
            assert_eq!(verified.is_ok(), convicts, "{about}");
            EquivocationCase { about, proof, convicts }
        })
        .into()
}
