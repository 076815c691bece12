//! Signed notes and verifier keys: no panic, and what is read is written back byte for byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_tlog::{SignedNote, Signer, VerifierKey};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(note) = SignedNote::parse(bytes) {
        assert_eq!(note.to_string().as_bytes(), bytes);
        let name = note.signatures()[0].name().clone();
        let signer = Signer::from_seed(name, &[1; 32]);
        let _ = note.open(std::slice::from_ref(signer.verifier()));
    }
    if let Some(key) = str::from_utf8(bytes).ok().and_then(|text| text.parse::<VerifierKey>().ok()) {
        assert_eq!(key.to_string().as_bytes(), bytes);
    }
});
