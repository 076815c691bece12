//! C2SP tlog-cosignature: a witness's timestamped Ed25519 signature on a checkpoint it found consistent.
//!
//! Knows what is signed and how it is written as a line of the note. Whether a witness *may* sign is
//! [`crate::witness`]'s, whose cosignatures are enough [`crate::policy`]'s. ML-DSA-44 (type `0x06`) is
//! not supported: such lines are kept and ignored, such keys refused. Reads no clock.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};

use crate::note::{KeyError, KeyId, KeyName, NoteError, NoteSignature, SignedNote, point, read_vkey, strictly_signed, write_vkey};

/// The latest time that a cosignature can state.
// SPEC tlog-cosignature: timestamp MUST NOT exceed 2^63 - 1.
pub const TIMESTAMP_MAX: u64 = u64::MAX >> 1;

/// The signature type of timestamped Ed25519 cosignatures.
const COSIGNATURE_V1: u8 = 0x04;

/// A witness's public key, in text `<name>+<hex id>+<base64 of 0x04 and the key>`.
#[derive(Clone, PartialEq, Eq)]
pub struct CosignerKey {
    name: KeyName,
    key: VerifyingKey,
}

/// A witness's secret key.
pub struct Cosigner {
    key: SigningKey,
    verifier: CosignerKey,
}

/// A cosignature that holds: who said so, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosignature {
    key: CosignerKey,
    timestamp: u64,
}

/// A time that no cosignature may state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("timestamp {got} is not from 1 to {TIMESTAMP_MAX}")]
pub struct BadTimestamp {
    /// Seconds since the Epoch.
    pub got: u64,
}

impl CosignerKey {
    /// A cosigner of this name for a raw public key; small-order keys are refused.
    pub fn new(name: KeyName, public: &[u8; 32]) -> Result<Self, KeyError> {
        Ok(Self { name, key: point(public)? })
    }

    /// The key's name.
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// The key's id.
    // SPEC tlog-cosignature: key ID = SHA-256(<name> || "\n" || 0x04 || 32-byte public key)[:4].
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.name, COSIGNATURE_V1, self.public())
    }

    /// The raw public key.
    pub fn public(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Whether a line claims to be this key's.
    pub fn claims(&self, line: &NoteSignature) -> bool {
        *line.name() == self.name && line.id() == self.id()
    }

    /// The cosignature in `line`, if it is this key's on `text`.
    fn verify(&self, text: &str, line: &NoteSignature) -> Option<Cosignature> {
        let (timestamp, signature) = line.as_bytes().split_first_chunk()?;
        let timestamp = u64::from_be_bytes(*timestamp);
        let holds = timestamp <= TIMESTAMP_MAX && strictly_signed(&self.key, message(text, timestamp).as_bytes(), signature);
        holds.then(|| Cosignature { key: self.clone(), timestamp })
    }
}

impl Cosigner {
    /// A cosigner from a 32-byte Ed25519 seed.
    pub fn from_seed(name: KeyName, seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let verifier = CosignerKey { name, key: key.verifying_key() };
        Self { key, verifier }
    }

    /// The public half.
    pub const fn verifier(&self) -> &CosignerKey {
        &self.verifier
    }

    /// Signs a checkpoint's text, as of `timestamp`, in seconds since the Epoch. The caller answers for
    /// what it says: that this is the largest consistent tree seen.
    // SPEC tlog-witness: the timestamp MUST NOT be zero.
    pub fn cosign(&self, text: &str, timestamp: u64) -> Result<NoteSignature, BadTimestamp> {
        if !(1..=TIMESTAMP_MAX).contains(&timestamp) {
            return Err(BadTimestamp { got: timestamp });
        }
        let signature = self.key.sign(message(text, timestamp).as_bytes());
        // SPEC tlog-cosignature: the signature is the big-endian timestamp and the Ed25519 signature.
        let bytes = [&timestamp.to_be_bytes()[..], &signature.to_bytes()].concat();
        Ok(NoteSignature::new(self.verifier.name.clone(), self.verifier.id(), bytes))
    }
}

impl Cosignature {
    /// Whose it is.
    pub const fn key(&self) -> &CosignerKey {
        &self.key
    }

    /// As of when, in seconds since the Epoch; the witness's own word.
    pub const fn timestamp(&self) -> u64 {
        self.timestamp
    }
}

impl SignedNote {
    /// The cosignatures of `keys` that are on the note, each key once with its latest; those of other
    /// keys change nothing, one of these keys that does not hold rejects the note.
    // SPEC tlog-cosignature: clients ignore any signature lines that don't match the name and key ID.
    pub fn cosignatures(&self, keys: &[CosignerKey]) -> Result<Vec<Cosignature>, NoteError> {
        let mut found: Vec<Cosignature> = Vec::new();
        for line in self.signatures() {
            let Some(key) = keys.iter().find(|key| key.claims(line)) else { continue };
            if keys.iter().any(|other| other.claims(line) && other != key) {
                return Err(NoteError::AmbiguousKey { name: key.name.clone(), id: line.id() });
            }
            let bad = || NoteError::BadSignature { name: key.name.clone(), id: line.id() };
            let cosignature = key.verify(self.unverified_text(), line).ok_or_else(bad)?;
            match found.iter_mut().find(|held| held.key == *key) {
                Some(held) => held.timestamp = held.timestamp.max(cosignature.timestamp),
                None => found.push(cosignature),
            }
        }
        Ok(found)
    }
}

/// What is signed.
// SPEC tlog-cosignature: the message is a header line, a timestamp line and the whole note body.
fn message(text: &str, timestamp: u64) -> String {
    format!("cosignature/v1\ntime {timestamp}\n{text}")
}

impl FromStr for CosignerKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, public) = read_vkey(text, COSIGNATURE_V1)?;
        Self::new(name, &public)
    }
}

impl fmt::Display for CosignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_vkey(f, &self.name, COSIGNATURE_V1, self.public())
    }
}

impl fmt::Debug for CosignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CosignerKey({self})")
    }
}

impl fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the secret.
        write!(f, "Cosigner({})", self.verifier)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::note::Signer;

    const TEXT: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    fn cosigner(seed: u8) -> Cosigner {
        Cosigner::from_seed(format!("witness.example/w{seed}").parse().unwrap(), &[seed; 32])
    }

    fn note() -> SignedNote {
        SignedNote::sign(TEXT.to_owned(), &Signer::from_seed("example.com/behind-the-sofa".parse().unwrap(), &[1; 32])).unwrap()
    }

    #[test]
    fn the_signed_message_is_that_of_the_spec() {
        let spec = "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        assert_eq!(message(TEXT, 1_679_315_147), spec);
    }

    #[test]
    fn cosignatures_of_known_witnesses_hold_and_those_of_others_are_ignored() {
        let (one, two, stranger) = (cosigner(1), cosigner(2), cosigner(3));
        let mut signed = note();
        for (witness, time) in [(&one, 10), (&stranger, 11), (&two, 12)] {
            signed = signed.with_signature(witness.cosign(TEXT, time).unwrap()).unwrap();
        }
        let read = SignedNote::parse(signed.to_string().as_bytes()).unwrap();
        let known = [two.verifier().clone(), one.verifier().clone()];
        let found = read.cosignatures(&known).unwrap();
        let found: Vec<_> = found.iter().map(|c| (c.key().name().as_str(), c.timestamp())).collect();
        assert_eq!(found, [("witness.example/w1", 10), ("witness.example/w2", 12)]);
        assert_eq!(read.cosignatures(&[]).unwrap(), []);
    }

    #[test]
    fn one_witness_that_cosigns_twice_is_one_witness() {
        let one = cosigner(1);
        let signed = [10, 30, 20].iter().fold(note(), |note, time| note.with_signature(one.cosign(TEXT, *time).unwrap()).unwrap());
        let found = signed.cosignatures(&[one.verifier().clone()]).unwrap();
        assert_eq!((found.len(), found[0].timestamp()), (1, 30));
    }

    #[test]
    fn another_text_another_time_a_cut_or_a_log_signature_is_no_cosignature() {
        let one = cosigner(1);
        let keys = [one.verifier().clone()];
        let line = one.cosign(TEXT, 10).unwrap();
        let with = |bytes: Vec<u8>| note().with_signature(NoteSignature::new(line.name().clone(), line.id(), bytes)).unwrap();
        let good = line.as_bytes().to_vec();
        assert!(with(good.clone()).cosignatures(&keys).is_ok());
        let mut later = good.clone();
        later[7] += 1;
        let plain = Signer::from_seed(line.name().clone(), &[1; 32]).sign(TEXT.as_bytes()).to_vec();
        let zero = [&[0; 8][..], &plain].concat();
        let other = one.cosign("other\n", 10).unwrap().as_bytes().to_vec();
        for bad in [later, good[..71].to_vec(), good[..7].to_vec(), [&good[..], &[0]].concat(), plain, zero, other] {
            assert!(matches!(with(bad).cosignatures(&keys), Err(NoteError::BadSignature { .. })));
        }
    }

    #[test]
    fn a_timestamp_of_zero_or_over_the_limit_is_never_signed() {
        assert!(cosigner(1).cosign(TEXT, 0).is_err());
        assert!(cosigner(1).cosign(TEXT, TIMESTAMP_MAX + 1).is_err());
        assert!(cosigner(1).cosign(TEXT, TIMESTAMP_MAX).is_ok());
    }

    #[test]
    fn a_log_key_is_no_witness_key_and_neither_passes_for_the_other() {
        let key = cosigner(1).verifier().clone();
        assert_eq!(key.to_string().parse::<CosignerKey>().unwrap(), key);
        assert_eq!(key.to_string().parse::<crate::VerifierKey>(), Err(KeyError::Type { got: 4, want: 1 }));
        let log = Signer::from_seed(key.name().clone(), &[1; 32]);
        assert_eq!(log.verifier().to_string().parse::<CosignerKey>(), Err(KeyError::Type { got: 1, want: 4 }));
        assert_ne!(log.verifier().id(), key.id());
    }
}
