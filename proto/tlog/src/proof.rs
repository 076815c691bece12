//! C2SP tlog-proof: one entry's inclusion in one signed tree, as a text that needs no server.
//!
//! Checks that the log says so, and that the witnesses of a consumer's policy have seen it say so.

use std::fmt;

use data_encoding::BASE64;

use crate::base64;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::decimal;
use crate::hash::{Hash, HashError, leaf_hash};
use crate::merkle::{InclusionProof, MerkleError, PATH_HASHES_MAX};
use crate::note::{NOTE_BYTES_MAX, NoteError, SignedNote, VerifierKey};
use crate::policy::{Accepted, PolicyError, TlogPolicy};

/// The longest extra data, before base64.
pub const EXTRA_BYTES_MAX: usize = 64 * 1024;

/// The longest proof that is parsed: the longest note, extra data, path, and header.
pub const PROOF_BYTES_MAX: usize = NOTE_BYTES_MAX + EXTRA_BYTES_MAX / 3 * 4 + 4096;

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// A proof as received or just made. It says nothing before [`TlogProof::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    extra: Vec<u8>,
    inclusion: InclusionProof,
    checkpoint: SignedNote,
}

/// Why a text is no proof, or proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Longer than [`PROOF_BYTES_MAX`].
    #[error("proof has {got} bytes, limit {limit}")]
    TooLong {
        /// Bytes seen.
        got: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not UTF-8.
    #[error("proof is not UTF-8 from byte {offset} on")]
    NotUtf8 {
        /// First bad byte.
        offset: usize,
    },
    /// Ends before the empty line that the checkpoint follows.
    #[error("proof breaks off before its checkpoint")]
    Truncated,
    /// The first line is another.
    #[error("proof does not start with the line {HEADER}")]
    Header,
    /// Extra data that is empty or not canonical base64.
    #[error("extra line is not canonical base64 of at least one byte")]
    Extra,
    /// More extra data than allowed.
    #[error("extra data has {got} bytes, limit {limit}")]
    ExtraTooLong {
        /// Bytes seen.
        got: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// No canonical index line.
    #[error("proof has no line `index <decimal>`")]
    Index,
    /// More path lines than any tree needs.
    #[error("proof has more than {limit} path hashes")]
    PathTooLong {
        /// Hashes allowed.
        limit: usize,
    },
    /// A path line that is no hash.
    #[error("path line {line} is not a hash")]
    PathHash {
        /// Zero-based number of the line in the path.
        line: usize,
        /// Why not.
        #[source]
        source: HashError,
    },
    /// What follows the empty line is no signed note.
    #[error("proof has no signed checkpoint")]
    Note(#[source] NoteError),
    /// The checkpoint is not this log's.
    #[error("checkpoint of the proof does not hold")]
    Checkpoint(#[source] CheckpointError),
    /// The policy does not accept the checkpoint.
    #[error("checkpoint of the proof is not accepted")]
    Policy(#[source] PolicyError),
    /// The entry is not in the checkpoint's tree at that index.
    #[error("inclusion proof does not hold")]
    Inclusion(#[source] MerkleError),
}

impl TlogProof {
    /// A proof out of its parts, which are not checked against each other.
    pub fn new(inclusion: InclusionProof, checkpoint: SignedNote) -> Result<Self, ProofError> {
        if inclusion.path.len() > PATH_HASHES_MAX {
            return Err(ProofError::PathTooLong { limit: PATH_HASHES_MAX });
        }
        Ok(Self { extra: Vec::new(), inclusion, checkpoint })
    }

    /// The proof with extra data; none at all if `extra` is empty.
    pub fn with_extra(mut self, extra: Vec<u8>) -> Result<Self, ProofError> {
        check_extra_length(extra.len())?;
        self.extra = extra;
        Ok(self)
    }

    /// Reads a proof; believes nothing of it.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        if bytes.len() > PROOF_BYTES_MAX {
            return Err(ProofError::TooLong { got: bytes.len(), limit: PROOF_BYTES_MAX });
        }
        let text = str::from_utf8(bytes).map_err(|error| ProofError::NotUtf8 { offset: error.valid_up_to() })?;
        // SPEC tlog-proof: the first line MUST be the string `c2sp.org/tlog-proof@v1`.
        let (header, rest) = split_line(text)?;
        if header != HEADER {
            return Err(ProofError::Header);
        }
        let (extra, rest) = parse_extra(rest)?;
        let (index, rest) = parse_index(rest)?;
        let (path, rest) = parse_path(rest)?;
        // SPEC tlog-proof: after the path and an empty line the checkpoint is included verbatim.
        Ok(Self {
            extra,
            inclusion: InclusionProof { index, path },
            checkpoint: SignedNote::parse(rest.as_bytes()).map_err(ProofError::Note)?,
        })
    }

    /// Checks that `entry` is in the tree of a checkpoint that `log` signed, and returns that
    /// checkpoint. The key's name is the only acceptable origin.
    // SPEC tlog-proof: check origin and log signature, and that the inclusion proof binds the leaf
    // hash to the signed root.
    pub fn verify(&self, entry: &[u8], log: &VerifierKey) -> Result<Checkpoint, ProofError> {
        let checkpoint = Checkpoint::from_note(&self.checkpoint, log).map_err(ProofError::Checkpoint)?;
        self.inclusion.verify(&leaf_hash(entry), checkpoint.head()).map_err(ProofError::Inclusion)?;
        Ok(checkpoint)
    }

    /// Checks that `entry` is in the tree of a checkpoint that one of the policy's logs has signed and a
    /// quorum of its witnesses has cosigned.
    // SPEC tlog-proof: verify all cosignatures for witnesses known to the verifier.
    pub fn verify_under(&self, entry: &[u8], policy: &TlogPolicy) -> Result<Accepted, ProofError> {
        let accepted = policy.accept(&self.checkpoint).map_err(ProofError::Policy)?;
        self.inclusion.verify(&leaf_hash(entry), accepted.checkpoint.head()).map_err(ProofError::Inclusion)?;
        Ok(accepted)
    }

    /// Index and path.
    pub const fn inclusion(&self) -> &InclusionProof {
        &self.inclusion
    }

    /// The checkpoint with all its signatures.
    pub const fn checkpoint(&self) -> &SignedNote {
        &self.checkpoint
    }

    /// Data that came with the proof and that nothing in it vouches for.
    // SPEC tlog-proof: applications MUST NOT implicitly trust the extra data.
    pub fn unauthenticated_extra(&self) -> &[u8] {
        &self.extra
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if !self.extra.is_empty() {
            writeln!(f, "extra {}", BASE64.encode(&self.extra))?;
        }
        writeln!(f, "index {}", self.inclusion.index)?;
        for hash in &self.inclusion.path {
            writeln!(f, "{hash}")?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

fn split_line(text: &str) -> Result<(&str, &str), ProofError> {
    text.split_once('\n').ok_or(ProofError::Truncated)
}

fn check_extra_length(got: usize) -> Result<(), ProofError> {
    let limit = EXTRA_BYTES_MAX;
    if got > limit {
        return Err(ProofError::ExtraTooLong { got, limit });
    }
    Ok(())
}

// SPEC tlog-proof: if no extra data is present, this line is omitted.
fn parse_extra(text: &str) -> Result<(Vec<u8>, &str), ProofError> {
    let Some(text) = text.strip_prefix("extra ") else {
        return Ok((Vec::new(), text));
    };
    let (encoded, rest) = split_line(text)?;
    match base64::decode(encoded) {
        Some(extra) if !extra.is_empty() => {
            check_extra_length(extra.len())?;
            Ok((extra, rest))
        }
        _ => Err(ProofError::Extra),
    }
}

// SPEC tlog-proof: the next line MUST start with `index` followed by a space and the zero-based
// index, an ASCII decimal with no leading zeroes.
fn parse_index(text: &str) -> Result<(u64, &str), ProofError> {
    let (line, rest) = split_line(text)?;
    let index = line.strip_prefix("index ").and_then(decimal::parse);
    Ok((index.ok_or(ProofError::Index)?, rest))
}

fn parse_path(text: &str) -> Result<(Vec<Hash>, &str), ProofError> {
    let mut path = Vec::new();
    let mut rest = text;
    loop {
        let (line, after) = split_line(rest)?;
        rest = after;
        if line.is_empty() {
            return Ok((path, rest));
        }
        if path.len() == PATH_HASHES_MAX {
            return Err(ProofError::PathTooLong { limit: PATH_HASHES_MAX });
        }
        let hash = line.parse().map_err(|source| ProofError::PathHash { line: path.len(), source })?;
        path.push(hash);
    }
}

#[cfg(test)]
mod tests;
