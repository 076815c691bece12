#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::checkpoint::Checkpoint;
use crate::hash::node_hash;
use crate::merkle::TreeHead;
use crate::note::Signer;

const ENTRIES: [&[u8]; 2] = [b"first", b"second"];

fn signer(name: &str) -> Signer {
    Signer::from_seed(name.parse().unwrap(), &[5; 32])
}

/// Proves `ENTRIES[1]` in a log of two entries.
fn proof() -> TlogProof {
    let [first, second] = ENTRIES.map(leaf_hash);
    let head = TreeHead { size: 2, root: node_hash(&first, &second) };
    let checkpoint = Checkpoint::new("log".parse().unwrap(), head).unwrap();
    let inclusion = InclusionProof { index: 1, path: vec![first] };
    TlogProof::new(inclusion, checkpoint.sign(&signer("log")).unwrap()).unwrap()
}

fn parse(text: &str) -> Result<TlogProof, ProofError> {
    TlogProof::parse(text.as_bytes())
}

#[test]
fn a_proof_round_trips_and_verifies() {
    for proof in [proof(), proof().with_extra(b"context".to_vec()).unwrap()] {
        let parsed = parse(&proof.to_string()).unwrap();
        assert_eq!(parsed, proof);
        let checkpoint = parsed.verify(ENTRIES[1], signer("log").verifier()).unwrap();
        assert_eq!(checkpoint.size(), 2);
    }
}

#[test]
fn a_proof_without_path_lines_has_its_empty_line() {
    let head = TreeHead { size: 1, root: leaf_hash(b"only") };
    let checkpoint = Checkpoint::new("log".parse().unwrap(), head).unwrap();
    let inclusion = InclusionProof { index: 0, path: Vec::new() };
    let proof = TlogProof::new(inclusion, checkpoint.sign(&signer("log")).unwrap()).unwrap();
    let text = proof.to_string();
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nindex 0\n\nlog\n1\n"));
    assert!(parse(&text).unwrap().verify(b"only", signer("log").verifier()).is_ok());
}

#[test]
fn the_first_line_must_be_the_format_and_the_next_the_index() {
    let text = proof().to_string();
    let table = [
        (text.replace("@v1", "@v2"), ProofError::Header),
        (text.replace("@v1", "@v1 "), ProofError::Header),
        (format!("\n{text}"), ProofError::Header),
        (text.replace("index 1", "index 01"), ProofError::Index),
        (text.replace("index 1", "index  1"), ProofError::Index),
        (text.replace("index 1", "index"), ProofError::Index),
        (text.replace("index 1", "Index 1"), ProofError::Index),
        (text.replace("index 1", "index 18446744073709551616"), ProofError::Index),
        (text.replace("index", "extra YQ==\nextra YQ==\nindex"), ProofError::Index),
        (text.replace("index 1\n", ""), ProofError::Index),
    ];
    for (text, error) in table {
        assert_eq!(parse(&text), Err(error), "{text:?}");
    }
}

#[test]
fn extra_data_is_canonical_base64_and_omitted_when_empty() {
    let text = proof().to_string();
    for extra in ["", "YQ", "YR==", "YQ==YQ==", "YQ== ", "!"] {
        let text = text.replace("index", &format!("extra {extra}\nindex"));
        assert_eq!(parse(&text), Err(ProofError::Extra), "{extra:?}");
    }
    assert_eq!(proof().with_extra(Vec::new()).unwrap().to_string(), text);
}

#[test]
fn extra_data_is_not_authenticated() {
    let forged = proof().with_extra(b"trust me".to_vec()).unwrap();
    assert!(forged.verify(ENTRIES[1], signer("log").verifier()).is_ok());
    assert_eq!(forged.unauthenticated_extra(), b"trust me");
}

#[test]
fn a_truncated_proof_is_refused_at_every_byte() {
    let text = proof().with_extra(b"x".to_vec()).unwrap().to_string();
    for cut in 0..text.len() {
        assert!(TlogProof::parse(&text.as_bytes()[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_proof_of_another_entry_index_log_or_path_does_not_hold() {
    let good = proof();
    let key = signer("log").verifier().clone();
    assert!(matches!(good.verify(ENTRIES[0], &key), Err(ProofError::Inclusion(MerkleError::RootMismatch { .. }))));
    let mut moved = good.clone();
    moved.inclusion.index = 2;
    assert!(matches!(moved.verify(ENTRIES[1], &key), Err(ProofError::Inclusion(MerkleError::IndexOutOfTree { .. }))));
    moved.inclusion.index = 0;
    assert!(moved.verify(ENTRIES[1], &key).is_err());
    let mut longer = good.clone();
    longer.inclusion.path.push(leaf_hash(b""));
    assert!(matches!(longer.verify(ENTRIES[1], &key), Err(ProofError::Inclusion(MerkleError::PathLength { got: 2, want: 1 }))));
    assert!(matches!(good.verify(ENTRIES[1], signer("another").verifier()), Err(ProofError::Checkpoint(_))));
}

#[test]
fn oversized_parts_are_refused_with_their_limits() {
    let text = proof().to_string();
    let hash = leaf_hash(b"").to_string();
    let long_path = text.replace("index 1\n", &format!("index 1\n{}", format!("{hash}\n").repeat(64)));
    assert_eq!(parse(&long_path), Err(ProofError::PathTooLong { limit: 64 }));

    let extra = BASE64.encode(&vec![0; EXTRA_BYTES_MAX + 1]);
    assert_eq!(
        parse(&text.replace("index", &format!("extra {extra}\nindex"))),
        Err(ProofError::ExtraTooLong { got: EXTRA_BYTES_MAX + 1, limit: EXTRA_BYTES_MAX })
    );
    let longest = proof().with_extra(vec![0; EXTRA_BYTES_MAX]).unwrap();
    assert_eq!(parse(&longest.to_string()).unwrap(), longest);

    let huge = vec![b'x'; PROOF_BYTES_MAX + 1];
    assert_eq!(TlogProof::parse(&huge), Err(ProofError::TooLong { got: PROOF_BYTES_MAX + 1, limit: PROOF_BYTES_MAX }));
    assert!(matches!(TlogProof::parse(b"c2sp.org/\xff"), Err(ProofError::NotUtf8 { offset: 9 })));
}
