//! SHA-256 as RFC 6962, section 2.1, uses it: one prefix for leaves, another for inner nodes, so
//! that neither can pass for the other.
//!
//! Knows bytes only; what a leaf says is none of its business.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};
use sha2::{Digest, Sha256};

use crate::base64;

/// Length of a tree hash in bytes.
pub const HASH_BYTES: usize = 32;

/// Length of a hash in base64, the longest text that [`Hash::from_str`] reads.
const HASH_BASE64_BYTES: usize = 44;

const LEAF_PREFIX: u8 = 0x00;
const NODE_PREFIX: u8 = 0x01;

/// A leaf, node or root hash of a tree.
///
/// `Display` and `FromStr` use base64, as checkpoints and proofs do; `{:x}` prints hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; HASH_BYTES]);

/// Why a text or a byte string is no [`struct@Hash`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Longer than any encoded hash.
    #[error("hash text has {got} bytes, limit {limit}")]
    TooLong {
        /// Bytes seen.
        got: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not the canonical encoding of anything.
    #[error("hash is not canonical base64")]
    Encoding,
    /// The right encoding of the wrong number of bytes.
    #[error("hash has {got} bytes, not {HASH_BYTES}")]
    Length {
        /// Bytes seen.
        got: usize,
    },
}

impl Hash {
    /// Wraps a raw SHA-256 value.
    pub const fn from_bytes(bytes: [u8; HASH_BYTES]) -> Self {
        Self(bytes)
    }

    /// The raw value.
    pub const fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }
}

impl TryFrom<&[u8]> for Hash {
    type Error = HashError;

    fn try_from(bytes: &[u8]) -> Result<Self, HashError> {
        let length = HashError::Length { got: bytes.len() };
        bytes.try_into().map(Self).map_err(|_| length)
    }
}

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        if text.len() > HASH_BASE64_BYTES {
            return Err(HashError::TooLong { got: text.len(), limit: HASH_BASE64_BYTES });
        }
        let bytes = base64::decode(text).ok_or(HashError::Encoding)?;
        Self::try_from(bytes.as_slice())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(&self.0))
    }
}

impl fmt::LowerHex for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// `SHA-256(0x00 || entry)`.
// SPEC tlog-tiles: hashing of entries is as in RFC 6962, section 2.1.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([LEAF_PREFIX]);
    hasher.update(entry);
    Hash(hasher.finalize().into())
}

/// `SHA-256(0x01 || left || right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([NODE_PREFIX]);
    hasher.update(left.0);
    hasher.update(right.0);
    Hash(hasher.finalize().into())
}

/// The root of a tree without leaves: the SHA-256 of nothing.
pub fn empty_root() -> Hash {
    Hash(Sha256::digest([]).into())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn hashing_of_entries_is_as_in_rfc_6962() {
        // The known values of Certificate Transparency's reference tree.
        assert_eq!(format!("{:x}", empty_root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(format!("{:x}", leaf_hash(b"")), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        assert_eq!(
            format!("{:x}", node_hash(&leaf_hash(b""), &leaf_hash(&[0]))),
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
        );
    }

    #[test]
    fn an_inner_node_never_passes_for_a_leaf() {
        let (left, right) = (leaf_hash(b"l"), leaf_hash(b"r"));
        let concatenated = [left.as_bytes().as_slice(), right.as_bytes()].concat();
        assert_ne!(node_hash(&left, &right), leaf_hash(&concatenated));
    }

    #[test]
    fn base64_round_trips_and_only_its_canonical_form_is_read() {
        let hash = leaf_hash(b"x");
        let text = hash.to_string();
        assert_eq!(text.parse::<Hash>().unwrap(), hash);

        let trailing_bits = format!("{}B=", &empty_root().to_string()[..42]);
        for bad in ["", "AAAA", &text[..43], &trailing_bits, &format!("{text}\n")] {
            assert!(bad.parse::<Hash>().is_err(), "{bad:?}");
        }
        assert_eq!("A".repeat(45).parse::<Hash>(), Err(HashError::TooLong { got: 45, limit: 44 }));
    }
}
