//! Policies, witness keys, requests to a witness and proofs of two views: no panic, neither in reading nor in
//! deciding, and what is read is written back byte for byte; a policy as one that means the same.
#![no_main]

use std::convert::Infallible;

use libfuzzer_sys::fuzz_target;
use quorate_tlog::{AddCheckpoint, Cosigner, CosignerKey, LogEquivocation, SignedNote, Signer, TlogPolicy, Witness};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = AddCheckpoint::parse(bytes) {
        assert_eq!(request.to_string().as_bytes(), bytes);
        decide(&request);
    }
    if let Ok(proof) = LogEquivocation::parse(bytes) {
        assert_eq!(proof.to_string().as_bytes(), bytes);
        let signer = Signer::from_seed("log.example".parse().expect("a name"), &[1; 32]);
        let _ = proof.verify(signer.verifier());
    }
    if let Ok(policy) = TlogPolicy::parse(bytes) {
        assert!(policy.is_met_by(&policy.counting()));
        assert_eq!(TlogPolicy::parse(&policy.to_bytes()), Ok(policy));
    }
    if let Some(key) = str::from_utf8(bytes).ok().and_then(|text| text.parse::<CosignerKey>().ok()) {
        assert_eq!(key.to_string().as_bytes(), bytes);
    }
});

/// Past the signature, which no fuzzer finds: the same text, signed by the log that it names.
fn decide(request: &AddCheckpoint) {
    let text = request.note().unverified_text();
    let Ok(name) = text.split('\n').next().unwrap_or_default().parse() else { return };
    let signer = Signer::from_seed(name, &[1; 32]);
    let Ok(note) = SignedNote::sign(text.to_owned(), &signer) else { return };
    let cosigner = Cosigner::from_seed("witness.example".parse().expect("a name"), &[2; 32]);
    let Ok(mut witness) = Witness::new(cosigner, &[signer.verifier().clone()]) else { return };
    let request = AddCheckpoint::new(request.old_size(), request.proof().clone(), note);
    let _ = witness.add_checkpoint::<Infallible>(&request, 1, |_| Ok(()));
    let _ = witness.contradiction(&request);
}
