//! Names, ids and Ed25519 keys of signed notes. Keys come in as bytes: nothing is drawn here.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::base64;

/// The longest verifier key that is parsed.
pub const VKEY_BYTES_MAX: usize = 2048;

/// The longest key name.
const NAME_BYTES_MAX: usize = 1024;

/// The signature type of plain Ed25519 signatures.
const ED25519: u8 = 0x01;

/// The name of a note key: not empty, without Unicode spaces, control characters and plus signs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

/// The short id of a note key. Tells keys of one name apart; proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(u32);

/// A public Ed25519 note key, in text `<name>+<hex id>+<base64 of 0x01 and the key>`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    key: VerifyingKey,
}

/// A secret Ed25519 note key.
pub struct Signer {
    key: SigningKey,
    verifier: VerifierKey,
}

/// Why a text is no key name or no verifier key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Longer than [`VKEY_BYTES_MAX`], or a name over its limit.
    #[error("key text has {got} bytes, limit {limit}")]
    TooLong {
        /// Bytes seen.
        got: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A name without characters.
    #[error("key name is empty")]
    NameEmpty,
    /// A space, a control character or a plus sign in a name.
    #[error("key name has a {character:?}")]
    NameCharacter {
        /// The first such character.
        character: char,
    },
    /// Not three parts between plus signs.
    #[error("verifier key is not `name+id+key`")]
    Parts,
    /// The id is not eight lower-case hexadecimal digits.
    #[error("key id is not eight lower-case hexadecimal digits")]
    IdEncoding,
    /// The key is not canonical base64.
    #[error("key is not canonical base64")]
    KeyEncoding,
    /// A key of another signature type than the one that is needed here.
    #[error("signature type is {got:#04x}, not {want:#04x}")]
    Type {
        /// The type byte.
        got: u8,
        /// The type byte that is needed.
        want: u8,
    },
    /// Not a type byte and 32 bytes.
    #[error("key has {got} bytes with its type, not 33")]
    KeyLength {
        /// Bytes seen.
        got: usize,
    },
    /// Not a point on the curve, or one of small order, for which anybody can sign.
    #[error("key is no usable point on the curve")]
    Point,
    /// The id is not the hash of name and key.
    #[error("key id is {got}, but name and key give {want}")]
    IdMismatch {
        /// Id in the text.
        got: KeyId,
        /// Id of name and key.
        want: KeyId,
    },
}

impl KeyName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl KeyId {
    // SPEC signed-note: key ID = SHA-256(key name || 0x0A || signature type || public key)[:4].
    pub(crate) fn of(name: &KeyName, kind: u8, public: &[u8; 32]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(name.as_str());
        hasher.update([b'\n', kind]);
        hasher.update(public);
        let [a, b, c, d, ..] = <[u8; 32]>::from(hasher.finalize());
        Self::from_bytes([a, b, c, d])
    }

    pub(crate) const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_be_bytes(bytes))
    }

    pub(crate) const fn to_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }
}

impl VerifierKey {
    /// A verifier of this name for a raw public key; small-order keys are refused.
    pub fn new(name: KeyName, public: &[u8; 32]) -> Result<Self, KeyError> {
        Ok(Self { name, key: point(public)? })
    }

    /// The key's name.
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.name, ED25519, self.public())
    }

    /// The raw public key.
    pub fn public(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Whether `signature` is this key's on `text`, by the strict predicate.
    pub(crate) fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        strictly_signed(&self.key, text, signature)
    }
}

impl Signer {
    /// A signer from a 32-byte Ed25519 seed.
    pub fn from_seed(name: KeyName, seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let verifier = VerifierKey { name, key: key.verifying_key() };
        Self { key, verifier }
    }

    /// The public half.
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    pub(crate) fn sign(&self, text: &[u8]) -> [u8; 64] {
        self.key.sign(text).to_bytes()
    }
}

impl FromStr for KeyName {
    type Err = KeyError;

    // SPEC signed-note: key names MUST be non-empty and MUST NOT contain any Unicode spaces or plus
    // (U+002B) characters.
    fn from_str(name: &str) -> Result<Self, KeyError> {
        check_length(name, NAME_BYTES_MAX)?;
        if name.is_empty() {
            return Err(KeyError::NameEmpty);
        }
        let bad = |c: &char| *c == '+' || c.is_whitespace() || *c < ' ';
        match name.chars().find(bad) {
            Some(character) => Err(KeyError::NameCharacter { character }),
            None => Ok(Self(name.to_owned())),
        }
    }
}

impl FromStr for KeyId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| KeyError::IdEncoding)?;
        let bytes = bytes.try_into().map_err(|_| KeyError::IdEncoding)?;
        Ok(Self::from_bytes(bytes))
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, public) = read_vkey(text, ED25519)?;
        Self::new(name, &public)
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_vkey(f, &self.name, ED25519, self.public())
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the secret.
        write!(f, "Signer({})", self.verifier)
    }
}

/// The name and the raw key of a text `<name>+<hex id>+<base64 of the type and the key>`.
pub(crate) fn read_vkey(text: &str, kind: u8) -> Result<(KeyName, [u8; 32]), KeyError> {
    check_length(text, VKEY_BYTES_MAX)?;
    // The base64 part may have plus signs of its own.
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(KeyError::Parts);
    };
    let (name, public) = (name.parse()?, decode_key(key, kind)?);
    point(&public)?;
    // SPEC signed-note: the key name and ID MUST match those used in the signatures.
    let (got, want) = (id.parse()?, KeyId::of(&name, kind, &public));
    if got != want {
        return Err(KeyError::IdMismatch { got, want });
    }
    Ok((name, public))
}

/// Writes what [`read_vkey`] reads.
pub(crate) fn write_vkey(f: &mut fmt::Formatter<'_>, name: &KeyName, kind: u8, public: &[u8; 32]) -> fmt::Result {
    let typed = [&[kind], public.as_slice()].concat();
    write!(f, "{name}+{}+{}", KeyId::of(name, kind, public), BASE64.encode(&typed))
}

/// A usable point on the curve; for one of small order anybody can sign.
pub(crate) fn point(public: &[u8; 32]) -> Result<VerifyingKey, KeyError> {
    match VerifyingKey::from_bytes(public) {
        Ok(key) if !key.is_weak() => Ok(key),
        _ => Err(KeyError::Point),
    }
}

/// Whether `signature` is this key's on `text`, by the strict predicate.
pub(crate) fn strictly_signed(key: &VerifyingKey, text: &[u8], signature: &[u8]) -> bool {
    Signature::from_slice(signature).and_then(|signature| key.verify_strict(text, &signature)).is_ok()
}

fn check_length(text: &str, limit: usize) -> Result<(), KeyError> {
    let got = text.len();
    if got > limit {
        return Err(KeyError::TooLong { got, limit });
    }
    Ok(())
}

fn decode_key(text: &str, want: u8) -> Result<[u8; 32], KeyError> {
    let typed = base64::decode(text).ok_or(KeyError::KeyEncoding)?;
    let length = KeyError::KeyLength { got: typed.len() };
    match typed.split_first() {
        Some((&got, key)) if got == want => key.try_into().map_err(|_| length),
        Some((&got, _)) => Err(KeyError::Type { got, want }),
        None => Err(length),
    }
}
