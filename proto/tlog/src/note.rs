//! C2SP signed-note: a text and signature lines below it.
//!
//! [`SignedNote`] is what was received, [`OpenedNote`] is what a trusted key vouches for; only
//! [`SignedNote::open`] leads from one to the other. Knows nothing of what the text says.

mod key;

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;

use crate::base64;
pub use key::{KeyError, KeyId, KeyName, Signer, VKEY_BYTES_MAX, VerifierKey};
pub(crate) use key::{point, read_vkey, strictly_signed, write_vkey};

/// The longest note that is parsed: room for the largest text and 64 Ed25519, or 16 post-quantum,
/// signatures.
pub const NOTE_BYTES_MAX: usize = 256 * 1024;

/// The most signatures that a note may carry.
// SPEC signed-note: verifiers SHOULD limit the number of signatures, but MUST accept at least 16.
pub const SIGNATURES_MAX: usize = 64;

const LINE_PREFIX: &str = "\u{2014} ";
const KEY_ID_BYTES: usize = 4;

/// A note as received or just signed. Its text is not to be used before [`SignedNote::open`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// One signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    name: KeyName,
    id: KeyId,
    signature: Vec<u8>,
}

/// A text, and the known keys whose signatures on it hold: at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedNote {
    text: String,
    signers: Vec<VerifierKey>,
}

/// Why bytes are no signed note, or none to be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than [`NOTE_BYTES_MAX`].
    #[error("note has {got} bytes, limit {limit}")]
    TooLong {
        /// Bytes seen.
        got: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not UTF-8.
    #[error("note is not UTF-8 from byte {offset} on")]
    NotUtf8 {
        /// First bad byte.
        offset: usize,
    },
    /// A control character other than a newline.
    #[error("note has a control character at byte {offset}")]
    ControlCharacter {
        /// Where it is.
        offset: usize,
    },
    /// The text does not end in a newline.
    #[error("note text does not end in a newline")]
    TextEnd,
    /// No empty line between text and signatures, or no newline at the end.
    #[error("note has no signatures after an empty line")]
    NoSignatures,
    /// More than [`SIGNATURES_MAX`].
    #[error("note has {got} signatures, limit {limit}")]
    TooManySignatures {
        /// Signatures seen.
        got: usize,
        /// Signatures allowed.
        limit: usize,
    },
    /// A line that is not `— <name> <base64>`.
    #[error("signature line {line} is malformed")]
    SignatureLine {
        /// Zero-based number of the line among the signatures.
        line: usize,
    },
    /// Two different trusted keys have this name and id.
    #[error("two known keys are called {name} {id}")]
    AmbiguousKey {
        /// Their name.
        name: KeyName,
        /// Their id.
        id: KeyId,
    },
    /// A known key's signature does not hold.
    #[error("signature of {name} {id} does not verify")]
    BadSignature {
        /// The key's name.
        name: KeyName,
        /// The key's id.
        id: KeyId,
    },
    /// No signature is by a known key.
    #[error("no signature is by a known key")]
    NoKnownSigner,
}

impl SignedNote {
    /// Signs a text, which must end in a newline.
    pub fn sign(text: String, signer: &Signer) -> Result<Self, NoteError> {
        check_text(&text)?;
        let note = Self { text, signatures: Vec::new() };
        note.cosign(signer)
    }

    /// The note with one more signature line.
    pub fn cosign(mut self, signer: &Signer) -> Result<Self, NoteError> {
        check_signature_count(self.signatures.len() + 1)?;
        let key = signer.verifier();
        self.signatures.push(NoteSignature {
            name: key.name().clone(),
            id: key.id(),
            signature: signer.sign(self.text.as_bytes()).to_vec(),
        });
        check_length(self.to_string().len())?;
        Ok(self)
    }

    /// The note with a signature line that somebody else has made. A line that it has is not added again.
    pub fn with_signature(mut self, signature: NoteSignature) -> Result<Self, NoteError> {
        if self.signatures.contains(&signature) {
            return Ok(self);
        }
        check_signature_count(self.signatures.len() + 1)?;
        self.signatures.push(signature);
        check_length(self.to_string().len())?;
        Ok(self)
    }

    /// The note with only those signature lines that `keep` says.
    #[must_use]
    pub fn retaining(mut self, keep: impl Fn(&NoteSignature) -> bool) -> Self {
        self.signatures.retain(keep);
        self
    }

    /// The note with the first line of each of `keys`, and no other.
    #[must_use]
    pub fn only_of(mut self, keys: &[VerifierKey]) -> Self {
        let mut kept: Vec<NoteSignature> = Vec::new();
        for line in self.signatures {
            let known = keys.iter().any(|key| (key.name(), key.id()) == (&line.name, line.id));
            if known && kept.iter().all(|held| (&held.name, held.id) != (&line.name, line.id)) {
                kept.push(line);
            }
        }
        self.signatures = kept;
        self
    }

    /// Reads a note; believes nothing of it.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        check_length(bytes.len())?;
        // SPEC signed-note: notes MUST be valid UTF-8.
        let note = str::from_utf8(bytes).map_err(|error| NoteError::NotUtf8 { offset: error.valid_up_to() })?;
        check_characters(note)?;
        // SPEC signed-note: text and signatures are separated by the last empty line in the note.
        let separator = note.rfind("\n\n").ok_or(NoteError::NoSignatures)?;
        let (text, signatures) = (&note[..=separator], &note[separator + 2..]);
        Ok(Self { text: text.to_owned(), signatures: parse_signatures(signatures)? })
    }

    /// The text, vouched for by nobody yet.
    pub fn unverified_text(&self) -> &str {
        &self.text
    }

    /// The first line of the text, which names the log in a checkpoint; vouched for by nobody yet.
    pub fn unverified_origin(&self) -> &str {
        self.text.split('\n').next().unwrap_or_default()
    }

    /// The signature lines, by known and unknown keys.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Checks the signatures of `keys`; signatures of other keys change nothing.
    // SPEC signed-note: if no signature from a known key verifies, clients MUST reject the note.
    pub fn open(&self, keys: &[VerifierKey]) -> Result<OpenedNote, NoteError> {
        let mut signers = Vec::new();
        for signature in &self.signatures {
            // SPEC signed-note: verifiers MUST ignore signatures from unknown keys, even if they
            // share a name or ID (but not both) with a known key.
            let Some(key) = signature.known_key(keys)? else {
                continue;
            };
            // SPEC signed-note: if name and ID match a known key, verifiers MUST verify the
            // signature; one that fails SHOULD make them reject the whole note.
            if !key.verifies(self.text.as_bytes(), &signature.signature) {
                return Err(NoteError::BadSignature { name: signature.name.clone(), id: signature.id });
            }
            if !signers.contains(key) {
                signers.push(key.clone());
            }
        }
        if signers.is_empty() {
            return Err(NoteError::NoKnownSigner);
        }
        Ok(OpenedNote { text: self.text.clone(), signers })
    }
}

impl NoteSignature {
    pub(crate) const fn new(name: KeyName, id: KeyId, signature: Vec<u8>) -> Self {
        Self { name, id, signature }
    }

    /// Reads signature lines, as they stand below a note's text: one or more, each ending in a newline.
    pub fn parse_lines(lines: &str) -> Result<Vec<Self>, NoteError> {
        check_length(lines.len())?;
        check_characters(lines)?;
        parse_signatures(lines)
    }

    /// The name that the line claims.
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// The key id that the line claims.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The signature's bytes, in whatever format the key's type has.
    pub fn as_bytes(&self) -> &[u8] {
        &self.signature
    }

    fn known_key<'k>(&self, keys: &'k [VerifierKey]) -> Result<Option<&'k VerifierKey>, NoteError> {
        let mut matching = keys.iter().filter(|key| *key.name() == self.name && key.id() == self.id);
        let first = matching.next();
        if matching.any(|key| Some(key) != first) {
            return Err(NoteError::AmbiguousKey { name: self.name.clone(), id: self.id });
        }
        Ok(first)
    }
}

impl OpenedNote {
    /// The text, newline at its end included.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The known keys that signed it, each once, in the order of their signatures.
    pub fn signers(&self) -> &[VerifierKey] {
        &self.signers
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.id.to_bytes(), self.signature.as_slice()].concat();
        write!(f, "{LINE_PREFIX}{} {}", self.name, BASE64.encode(&bytes))
    }
}

fn check_length(got: usize) -> Result<(), NoteError> {
    let limit = NOTE_BYTES_MAX;
    if got > limit {
        return Err(NoteError::TooLong { got, limit });
    }
    Ok(())
}

fn check_signature_count(got: usize) -> Result<(), NoteError> {
    let limit = SIGNATURES_MAX;
    if got > limit {
        return Err(NoteError::TooManySignatures { got, limit });
    }
    Ok(())
}

// SPEC signed-note: notes MUST NOT contain any ASCII control characters (those below U+0020) other
// than newline.
fn check_characters(note: &str) -> Result<(), NoteError> {
    let bad = |byte: u8| byte < 0x20 && byte != b'\n';
    match note.bytes().position(bad) {
        Some(offset) => Err(NoteError::ControlCharacter { offset }),
        None => Ok(()),
    }
}

fn check_text(text: &str) -> Result<(), NoteError> {
    check_characters(text)?;
    if text.ends_with('\n') { Ok(()) } else { Err(NoteError::TextEnd) }
}

fn parse_signatures(lines: &str) -> Result<Vec<NoteSignature>, NoteError> {
    let lines = lines.strip_suffix('\n').ok_or(NoteError::NoSignatures)?;
    check_signature_count(lines.split('\n').count())?;
    let parse = |(line, text)| parse_signature(text).ok_or(NoteError::SignatureLine { line });
    lines.split('\n').enumerate().map(parse).collect()
}

fn parse_signature(line: &str) -> Option<NoteSignature> {
    let (name, encoded) = line.strip_prefix(LINE_PREFIX)?.split_once(' ')?;
    let name = KeyName::from_str(name).ok()?;
    // SPEC signed-note: signatures are the base64 encoding of 4+n bytes, the first four the key ID.
    let bytes = base64::decode(encoded)?;
    let (id, signature) = bytes.split_first_chunk::<KEY_ID_BYTES>()?;
    if signature.is_empty() {
        return None;
    }
    Some(NoteSignature { name, id: KeyId::from_bytes(*id), signature: signature.to_vec() })
}

#[cfg(test)]
mod tests;
