//! DSSE v1 envelopes with one Ed25519 signature, in one canonical encoding.
//!
//! An envelope *is* its bytes: they are what is hashed into feeds and logged as leaves, so one
//! meaning must have one encoding. Canonical form: JSON with no white space and exactly
//! `{"payloadType":…,"payload":…,"signatures":[{"keyid":…,"sig":…}]}` in this order, standard
//! base64 with padding. Anything else is refused. Payload bytes are kept and never re-serialised.

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use crate::key::{PublicKey, SecretKey};
use crate::{Digest, base64};

/// Payload type of every envelope here: an in-toto statement.
pub const IN_TOTO_JSON: &str = "application/vnd.in-toto+json";

/// Length of a signature in base64.
const SIGNATURE_TEXT_BYTES: usize = 88;

/// An envelope that has the canonical form. Its signature is not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    payload: Vec<u8>,
    key_id: String,
    signature: [u8; 64],
    bytes: Vec<u8>,
}

/// Bytes that are no canonical envelope, or a signature that does not verify.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DsseError {
    /// Too large.
    #[error("envelope of {got} bytes, limit {limit}")]
    TooLarge {
        /// Bytes given.
        got: usize,
        /// Bytes accepted.
        limit: usize,
    },
    /// Not the JSON of an envelope with one signature.
    #[error("envelope is malformed: {0}")]
    Malformed(String),
    /// Another encoding than the canonical one.
    #[error("envelope is not in canonical form")]
    NotCanonical,
    /// A payload that is no in-toto statement.
    #[error("envelope has payload type `{0}`, expected `{IN_TOTO_JSON}`")]
    PayloadType(String),
    /// Signed with another key than the expected one.
    #[error("envelope names key id `{got}`, expected `{expected}`")]
    KeyId {
        /// The key id in the envelope.
        got: String,
        /// The key id of the signer that was expected.
        expected: String,
    },
    /// The signature does not verify.
    #[error("envelope signature does not verify")]
    Signature,
}

impl DsseError {
    /// A short stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "oversized",
            Self::Signature | Self::KeyId { .. } => "bad-signature",
            Self::Malformed(_) | Self::NotCanonical | Self::PayloadType(_) => "malformed-envelope",
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Json<'a> {
    payload_type: &'a str,
    payload: &'a str,
    #[serde(borrow)]
    signatures: [JsonSignature<'a>; 1],
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonSignature<'a> {
    keyid: &'a str,
    sig: &'a str,
}

impl Envelope {
    /// Signs `payload`, the bytes of an in-toto statement.
    pub fn sign(payload: Vec<u8>, key: &SecretKey) -> Self {
        let signature = key.sign(&pre_authentication_encoding(IN_TOTO_JSON, &payload));
        Self::assemble(payload, key.node_id().key_id(), signature)
    }

    fn assemble(payload: Vec<u8>, key_id: String, signature: [u8; 64]) -> Self {
        let json = Json {
            payload_type: IN_TOTO_JSON,
            payload: &BASE64.encode(&payload),
            signatures: [JsonSignature { keyid: &key_id, sig: &BASE64.encode(&signature) }],
        };
        let bytes = serde_json::to_vec(&json).expect("strings and arrays always serialise");
        Self { payload, key_id, signature, bytes }
    }

    /// Reads an envelope of at most `limit` bytes.
    pub fn parse(bytes: &[u8], limit: usize) -> Result<Self, DsseError> {
        if bytes.len() > limit {
            return Err(DsseError::TooLarge { got: bytes.len(), limit });
        }
        Self::parse_plain(bytes).map_or_else(|| Self::parse_json(bytes), Ok)
    }

    /// Reads what [`Self::assemble`] writes when the key id needs no escapes, byte for byte. Base64 is read
    /// strictly, so that equal contents have equal texts and nothing has to be written again to compare. None
    /// says that a closer look is needed.
    fn parse_plain(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(br#"{"payloadType":""#)?.strip_prefix(IN_TOTO_JSON.as_bytes())?;
        let rest = rest.strip_prefix(br#"","payload":""#)?.strip_suffix(br#""}]}"#)?;
        // From the end, so that the long payload is looked at once, when it is decoded.
        let (rest, signature) = rest.split_last_chunk::<SIGNATURE_TEXT_BYTES>()?;
        let signature = base64::decode(signature)?.try_into().ok()?;
        let (rest, key_id) = last_text(rest.strip_suffix(br#"","sig":""#)?)?;
        let payload = base64::decode(rest.strip_suffix(br#"","signatures":[{"keyid":"#)?)?;
        Some(Self { payload, key_id: key_id.to_owned(), signature, bytes: bytes.to_vec() })
    }

    fn parse_json(bytes: &[u8]) -> Result<Self, DsseError> {
        let json: Json<'_> = serde_json::from_slice(bytes).map_err(|e| DsseError::Malformed(e.to_string()))?;
        if json.payload_type != IN_TOTO_JSON {
            return Err(DsseError::PayloadType(json.payload_type.chars().take(100).collect()));
        }
        let [JsonSignature { keyid, sig }] = json.signatures;
        let decode = |text: &str, what| BASE64.decode(text.as_bytes()).map_err(|_| DsseError::Malformed(format!("{what} is not base64")));
        let signature = decode(sig, "the signature")?;
        let signature = signature.try_into().map_err(|_| DsseError::Malformed("the signature has not 64 bytes".to_owned()))?;
        let envelope = Self::assemble(decode(json.payload, "the payload")?, keyid.to_owned(), signature);
        if envelope.bytes == bytes { Ok(envelope) } else { Err(DsseError::NotCanonical) }
    }

    /// Checks that `signer` signed this payload.
    pub fn verify(&self, signer: &impl PublicKey) -> Result<(), DsseError> {
        if !signer.has_key_id(&self.key_id) {
            return Err(DsseError::KeyId { got: self.key_id.chars().take(100).collect(), expected: signer.key_id() });
        }
        let message = pre_authentication_encoding(IN_TOTO_JSON, &self.payload);
        signer.verify(&message, &self.signature).map_err(|_| DsseError::Signature)
    }

    /// The exact signed bytes.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The key id that it names; [`Self::verify`] says whether that key signed.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The exact bytes of the envelope.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, when nothing else of it is needed any more.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// SHA-256 of [`Self::bytes`]: the envelope's name in feeds, indexes and bundles.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

/// What stands before the last quotation mark, and the text behind it; none if that is not printable ASCII
/// that JSON writes as it is.
fn last_text(bytes: &[u8]) -> Option<(&[u8], &str)> {
    let quote = bytes.iter().rposition(|byte| *byte == b'"')?;
    let text = &bytes[quote + 1..];
    let is_plain = text.iter().all(|byte| matches!(byte, b' '..=b'~') && *byte != b'\\');
    if is_plain { Some((&bytes[..quote], std::str::from_utf8(text).ok()?)) } else { None }
}

/// PAE of DSSE v1: what is signed.
fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn key() -> SecretKey {
        SecretKey::from_seed(&[3; 32])
    }

    #[test]
    fn what_is_signed_is_the_pre_authentication_encoding_of_dsse_v1() {
        // The example of the DSSE v1 protocol page.
        let message = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world");
        assert_eq!(message, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn another_encoding_of_the_same_envelope_is_refused() {
        let envelope = Envelope::sign(b"{}".to_vec(), &key());
        let spaced = String::from_utf8(envelope.bytes().to_vec()).unwrap().replace("\":", "\": ");
        assert_eq!(Envelope::parse(spaced.as_bytes(), 1000), Err(DsseError::NotCanonical));
    }

    #[test]
    fn an_oversized_envelope_is_refused_before_it_is_parsed() {
        assert_eq!(Envelope::parse(&[b'{'; 11], 10), Err(DsseError::TooLarge { got: 11, limit: 10 }));
    }

    #[test]
    fn another_key_is_named_in_the_error() {
        let envelope = Envelope::sign(b"{}".to_vec(), &key());
        let other = SecretKey::from_seed(&[4; 32]).node_id();
        assert!(matches!(envelope.verify(&other), Err(DsseError::KeyId { .. })));
    }

    /// An envelope that says what `envelope` says, with a payload in padded pieces.
    fn in_pieces(envelope: &Envelope, cut: usize) -> Vec<u8> {
        let (head, tail) = envelope.payload().split_at(cut);
        let text = |payload: &[u8]| BASE64.encode(payload);
        let bytes = String::from_utf8(envelope.bytes().to_vec()).unwrap();
        bytes.replacen(&text(envelope.payload()), &(text(head) + &text(tail)), 1).into_bytes()
    }

    #[test]
    fn a_stranger_cannot_make_a_second_envelope_of_one_signature_by_padding_in_the_middle() {
        let envelope = Envelope::sign(b"{\"hello\":1}".to_vec(), &key());
        for cut in 1..envelope.payload().len() {
            let pieces = in_pieces(&envelope, cut);
            let expected = if cut % 3 == 0 { Ok(envelope.clone()) } else { Err(DsseError::NotCanonical) };
            assert_eq!(Envelope::parse(&pieces, 1000), expected, "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn a_signed_envelope_round_trips_and_verifies(payload: Vec<u8>) {
            let envelope = Envelope::sign(payload, &key());
            prop_assert_eq!(Envelope::parse_plain(envelope.bytes()), Some(envelope.clone()));
            let parsed = Envelope::parse(envelope.bytes(), 1 << 20).unwrap();
            prop_assert_eq!(parsed.verify(&key().node_id()), Ok(()));
            prop_assert_eq!(parsed, envelope);
        }

        #[test]
        fn reading_in_place_says_what_reading_json_says(payload: Vec<u8>, key_id in ".{0,8}", cut: prop::sample::Index, byte: u8) {
            let mut bytes = Envelope::assemble(payload, key_id, [5; 64]).bytes;
            let whole = Envelope::parse_json(&bytes);
            prop_assert_eq!(Envelope::parse(&bytes, 1 << 20), whole);
            let at = cut.index(bytes.len());
            bytes[at] = byte;
            prop_assert_eq!(Envelope::parse(&bytes, 1 << 20), Envelope::parse_json(&bytes));
        }

        #[test]
        fn a_flipped_bit_never_verifies(payload: Vec<u8>, position: prop::sample::Index, bit in 0_u8..8) {
            let mut bytes = Envelope::sign(payload, &key()).bytes().to_vec();
            let at = position.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let verified = Envelope::parse(&bytes, 1 << 20).and_then(|e| e.verify(&key().node_id()));
            prop_assert!(verified.is_err());
        }

        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Envelope::parse(&bytes, 1 << 20);
        }
    }
}
