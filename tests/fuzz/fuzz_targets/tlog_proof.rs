//! Proofs: no panic, neither in reading nor in verifying, and what is read is written back byte for
//! byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_tlog::{Checkpoint, TlogProof, leaf_hash};

fuzz_target!(|bytes: &[u8]| {
    let Ok(proof) = TlogProof::parse(bytes) else {
        return;
    };
    assert_eq!(proof.to_string().as_bytes(), bytes);
    // Past the signature, which no fuzzer finds.
    if let Ok(checkpoint) = Checkpoint::parse(proof.checkpoint().unverified_text()) {
        let _ = proof.inclusion().verify(&leaf_hash(b""), checkpoint.head());
    }
});
