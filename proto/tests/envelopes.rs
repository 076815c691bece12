//! Random envelopes before other people's code and ours. `dsse` reads and checks them, with `ring`'s signatures.
//!
//! Ours takes one encoding of an envelope only, so it may refuse what the other reads; never the other way round. Of
//! envelopes in that encoding both accept the same.
#![expect(clippy::unwrap_used, reason = "tests")]

use dsse::{Envelope as Foreign, Verifier};
use proptest::prelude::*;
use quorate_proto::SecretKey;
use quorate_proto::dsse::{Envelope, IN_TOTO_JSON};
use quorate_proto::key::{NodeId, PublicKey as _};
use ring::signature::{ED25519, UnparsedPublicKey};

/// A key as the other code sees it.
struct Key(NodeId);

impl Verifier for Key {
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0.key_bytes()).verify(message, signature).is_ok()
    }
}

/// What the other code reads from bytes that this key has signed.
fn theirs(bytes: &[u8], key: NodeId) -> Option<(String, Vec<u8>)> {
    let envelope = Foreign::from_json(bytes).ok()?;
    let verified = dsse::verify(&envelope, &[&Key(key)], 1).ok()?;
    Some((verified.payload_type, verified.payload))
}

fn ours(bytes: &[u8], key: NodeId) -> Option<Vec<u8>> {
    let envelope = Envelope::parse(bytes, 1 << 20).ok()?;
    envelope.verify(&key).ok()?;
    Some(envelope.payload().to_vec())
}

proptest! {
    #[test]
    fn what_we_sign_is_accepted_by_both(payload in prop::collection::vec(any::<u8>(), 0..300), seed in any::<[u8; 32]>()) {
        let key = SecretKey::from_seed(&seed);
        let envelope = Envelope::sign(payload.clone(), &key);
        prop_assert_eq!(theirs(envelope.bytes(), key.node_id()), Some((IN_TOTO_JSON.to_owned(), payload.clone())));
        prop_assert_eq!(ours(envelope.bytes(), key.node_id()), Some(payload));
    }

    #[test]
    fn an_envelope_with_other_contents_is_refused_by_both(
        payload in prop::collection::vec(any::<u8>(), 1..100), seed in any::<[u8; 32]>(), at in any::<usize>(), part in 0_u8..4,
    ) {
        // The parts of two envelopes, put together in the one encoding: at most one of them is the other's.
        let (key, stranger) = (SecretKey::from_seed(&seed), SecretKey::from_seed(&[7; 32]));
        let mut changed = payload.clone();
        changed[at % payload.len()] ^= 1 << (at % 8);
        let honest = Envelope::sign(payload.clone(), &key);
        let other = Envelope::sign(if part == 1 { changed } else { payload }, if part == 2 { &stranger } else { &key });
        let text = |envelope: &Envelope| String::from_utf8(envelope.bytes().to_vec()).unwrap();
        let (honest_text, other_text) = (text(&honest), text(&other));
        let signature = |text: &str| text.split("\"sig\":\"").nth(1).unwrap().to_owned();
        let mixed = match part {
            3 => honest_text.replacen("in-toto+json", "in-toto+yaml", 1),
            _ => honest_text.replacen(&signature(&honest_text), &signature(&other_text), 1),
        };
        let accepted = ours(mixed.as_bytes(), key.node_id()).is_some();
        prop_assert_eq!(accepted, theirs(mixed.as_bytes(), key.node_id()).is_some());
        prop_assert_eq!(accepted, part == 0);
    }

    #[test]
    fn whatever_we_accept_they_accept(
        payload in prop::collection::vec(any::<u8>(), 0..60), seed in any::<[u8; 32]>(), at in any::<usize>(), byte in any::<u8>(),
        kind in 0_u8..3,
    ) {
        let key = SecretKey::from_seed(&seed);
        let mut bytes = Envelope::sign(payload.clone(), &key).bytes().to_vec();
        let place = at % bytes.len();
        match kind {
            0 => bytes[place] = byte,
            1 => {
                bytes.remove(place);
            }
            _ => bytes.insert(place, byte),
        }
        if let Some(read) = ours(&bytes, key.node_id()) {
            prop_assert_eq!(&read, &payload);
            prop_assert_eq!(theirs(&bytes, key.node_id()), Some((IN_TOTO_JSON.to_owned(), read)));
        }
        if let Some((kind, read)) = theirs(&bytes, key.node_id()) {
            prop_assert_eq!((kind.as_str(), read), (IN_TOTO_JSON, payload), "the contents are what was signed");
        }
    }
}
