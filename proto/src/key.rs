//! Ed25519 keys: who signs ([`NodeId`]) and who answers for it ([`OperatorId`]); who declares something ([`SignerId`]).
//!
//! An identifier *is* the raw public key, so that a signature can be checked with nothing else at
//! hand. Text form `ed25519:<64 hex digits>`. DSSE key ids are the hex SHA-256 of the raw key.
//! Signatures are checked with `verify_strict` only: batch verification accepts other signatures
//! and never decides.

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Digest, text};

/// A node's public key. Many nodes may belong to one operator.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 32]);

/// An operator's public root key: the one who votes. A quorum counts operators, never nodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperatorId([u8; 32]);

/// The public key of whoever signs a [declaration](crate::declaration): a person's, or an operator's root key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignerId([u8; 32]);

/// A secret Ed25519 key of a node, an operator or a coordinator. Wiped from memory on drop.
pub struct SecretKey(SigningKey);

/// A public key that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// Not the text form of a key.
    #[error("malformed key `{0}`: expected `ed25519:` and 64 lower-case hex digits")]
    Malformed(String),
    /// 32 bytes that are no point on the curve, or one of small order.
    #[error("key `{0}` is not a usable Ed25519 public key")]
    Unusable(String),
}

/// A signature that does not belong to this key and message.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("signature does not verify")]
pub struct SignatureError;

impl SecretKey {
    /// The key of a 32-byte RFC 8032 seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed, to be written to a file that only its owner can read.
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Signs `message`; deterministic by RFC 8032.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// The public key as a node's identity.
    pub fn node_id(&self) -> NodeId {
        NodeId(self.0.verifying_key().to_bytes())
    }

    /// The public key as an operator's identity.
    pub fn operator_id(&self) -> OperatorId {
        OperatorId(self.0.verifying_key().to_bytes())
    }

    /// The public key as that of a signer of declarations.
    pub fn signer_id(&self) -> SignerId {
        SignerId(self.0.verifying_key().to_bytes())
    }
}

/// An operator declares with its root key.
impl From<OperatorId> for SignerId {
    fn from(operator: OperatorId) -> Self {
        Self(operator.0)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.node_id())
    }
}

/// What [`NodeId`], [`OperatorId`] and [`SignerId`] have in common for signatures.
pub trait PublicKey {
    /// The 32 raw bytes.
    fn key_bytes(&self) -> &[u8; 32];

    /// The DSSE key id: SHA-256 of the raw key, in hex.
    fn key_id(&self) -> String {
        Digest::of(self.key_bytes()).to_hex()
    }

    /// Whether this is the key's DSSE key id.
    fn has_key_id(&self, key_id: &str) -> bool {
        unpacked(self.key_bytes(), |known| known.key_id == key_id).unwrap_or_else(|| self.key_id() == key_id)
    }

    /// Checks a signature with `verify_strict`.
    fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), SignatureError> {
        let check = |known: &Unpacked| known.point.verify_strict(message, &Signature::from_bytes(signature));
        unpacked(self.key_bytes(), check).ok_or(SignatureError)?.map_err(|_| SignatureError)
    }
}

fn usable(bytes: [u8; 32]) -> Result<[u8; 32], KeyError> {
    unpacked(&bytes, |_| bytes).ok_or_else(|| KeyError::Unusable(HEXLOWER.encode(&bytes)))
}

/// Keys that a thread remembers.
const UNPACKED_KEPT: usize = 16;

/// A usable key, and what follows from it.
struct Unpacked {
    point: VerifyingKey,
    key_id: String,
}

thread_local! {
    /// Usable keys, the latest first: finding the point costs a tenth of a signature, and whoever reads a feed
    /// meets the same few keys in every entry. Changes how long an answer takes, never the answer.
    static UNPACKED: RefCell<Vec<Unpacked>> = const { RefCell::new(Vec::new()) };
}

/// What `read` says of a key; none if the key is unusable.
fn unpacked<T>(bytes: &[u8; 32], read: impl FnOnce(&Unpacked) -> T) -> Option<T> {
    UNPACKED.with_borrow_mut(|kept| {
        if let Some(at) = kept.iter().position(|known| known.point.as_bytes() == bytes) {
            kept[..=at].rotate_right(1);
        } else {
            let point = VerifyingKey::from_bytes(bytes).ok().filter(|point| !point.is_weak())?;
            kept.truncate(UNPACKED_KEPT - 1);
            kept.insert(0, Unpacked { point, key_id: Digest::of(bytes).to_hex() });
        }
        kept.first().map(read)
    })
}

macro_rules! public_key {
    ($type:ident) => {
        impl $type {
            /// Takes 32 raw bytes if they are a usable key.
            pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, KeyError> {
                usable(bytes).map(Self)
            }

            /// The 32 raw bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl PublicKey for $type {
            fn key_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "ed25519:{}", HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $type {
            type Err = KeyError;

            fn from_str(text: &str) -> Result<Self, KeyError> {
                let malformed = || KeyError::Malformed(text.chars().take(100).collect());
                let hex = text.strip_prefix("ed25519:").ok_or_else(malformed)?;
                Self::from_bytes(text::bytes_of_hex(hex).ok_or_else(malformed)?)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                text::parse(deserializer)
            }
        }
    };
}

public_key!(NodeId);
public_key!(OperatorId);
public_key!(SignerId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_verifies_under_its_key_and_message_only() {
        let key = SecretKey::from_seed(&[7; 32]);
        let signature = key.sign(b"message");
        assert_eq!(key.node_id().verify(b"message", &signature), Ok(()));
        assert!(key.node_id().verify(b"massage", &signature).is_err());
        assert!(SecretKey::from_seed(&[8; 32]).node_id().verify(b"message", &signature).is_err());
    }

    #[test]
    fn a_key_of_small_order_is_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert!(matches!(NodeId::from_bytes(identity), Err(KeyError::Unusable(_))));
    }

    #[test]
    fn text_form_round_trips() {
        let id = SecretKey::from_seed(&[7; 32]).operator_id();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("ed25519:00".parse::<OperatorId>().is_err());
    }
}
