//! SHA-256 digests as identifiers.
//!
//! Text form `sha256:<64 lower-case hex digits>`; all 32 bytes are always kept, because a
//! shortened digest used as a key is a collision somebody else gets to choose.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::text;

/// SHA-256 of some exact bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// SHA-256 of an archive's normal form. Another type than [`Digest`], so that equal normal forms
/// can never be mistaken for equal bytes. Text form `nf1:<hex>`, where 1 is the profile's version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NormalDigest([u8; 32]);

/// A digest that is not in its text form.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("malformed digest `{text}`: expected `{prefix}` and 64 lower-case hex digits")]
pub struct DigestError {
    text: String,
    prefix: &'static str,
}

impl Digest {
    /// Hashes `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Wraps a hash that was computed elsewhere, for example while streaming.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hex digits with no prefix, as in-toto digest sets and registries write them.
    pub fn to_hex(&self) -> String {
        HEXLOWER.encode(&self.0)
    }

    /// Reads 64 lower-case hex digits with no prefix.
    pub fn from_hex(hex: &str) -> Result<Self, DigestError> {
        parse_hex(hex, hex, "").map(Self)
    }
}

impl NormalDigest {
    /// Wraps the hash of a canonical member listing.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

fn parse_hex(hex: &str, given: &str, prefix: &'static str) -> Result<[u8; 32], DigestError> {
    text::bytes_of_hex(hex).ok_or_else(|| DigestError { text: given.chars().take(100).collect(), prefix })
}

macro_rules! text_form {
    ($type:ident, $prefix:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $type {
            type Err = DigestError;

            fn from_str(text: &str) -> Result<Self, DigestError> {
                let hex = text.strip_prefix($prefix).unwrap_or("");
                parse_hex(hex, text, $prefix).map(Self)
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

text_form!(Digest, "sha256:");
text_form!(NormalDigest, "nf1:");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string(), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }

    #[test]
    fn shortened_upper_case_and_foreign_forms_are_refused() {
        let hex = Digest::of(b"abc").to_hex();
        for text in [&hex, &format!("sha256:{}", &hex[..40]), &format!("sha256:{}", hex.to_uppercase()), "nf1:00"] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
        assert!(format!("sha256:{hex}").parse::<NormalDigest>().is_err());
    }
}
