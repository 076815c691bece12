//! The body of `add-checkpoint`.

use std::fmt;

use crate::decimal;
use crate::hash::{Hash, HashError};
use crate::merkle::ConsistencyProof;
use crate::note::{NOTE_BYTES_MAX, NoteError, SignedNote};

/// The most hashes in a request.
// SPEC tlog-witness: the client MUST NOT send more than 63 consistency proof lines.
const PROOF_LINES_MAX: usize = 63;

/// The longest request that is parsed: the longest note, the longest proof, and a size.
pub const REQUEST_BYTES_MAX: usize = NOTE_BYTES_MAX + 4096;

/// A request to cosign a checkpoint. Believed in nothing yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    old_size: u64,
    proof: ConsistencyProof,
    note: SignedNote,
}

/// Why bytes are no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Longer than [`REQUEST_BYTES_MAX`].
    #[error("request has {got} bytes, limit {limit}")]
    TooLong {
        /// Bytes seen.
        got: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not UTF-8.
    #[error("request is not UTF-8")]
    NotUtf8,
    /// The first line is not `old <decimal>`.
    #[error("request has no line `old <decimal>`")]
    OldSize,
    /// No empty line before the checkpoint.
    #[error("request breaks off before its checkpoint")]
    Truncated,
    /// More than 63 hashes.
    #[error("request has more than {limit} proof lines")]
    ProofTooLong {
        /// Hashes allowed.
        limit: usize,
    },
    /// A proof line that is no hash.
    #[error("proof line {line} is not a hash")]
    ProofHash {
        /// Zero-based number of the line in the proof.
        line: usize,
        /// Why not.
        #[source]
        source: HashError,
    },
    /// What follows the empty line is no signed note.
    #[error("request has no signed checkpoint")]
    Note(#[source] NoteError),
}

impl AddCheckpoint {
    /// A request out of its parts.
    pub const fn new(old_size: u64, proof: ConsistencyProof, note: SignedNote) -> Self {
        Self { old_size, proof, note }
    }

    /// Reads a request; believes nothing of it.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        if bytes.len() > REQUEST_BYTES_MAX {
            return Err(RequestError::TooLong { got: bytes.len(), limit: REQUEST_BYTES_MAX });
        }
        let text = str::from_utf8(bytes).map_err(|_| RequestError::NotUtf8)?;
        // SPEC tlog-witness: the string `old`, a single space, and the size as a canonical decimal.
        let (old, rest) = text.split_once('\n').ok_or(RequestError::OldSize)?;
        let old_size = old.strip_prefix("old ").and_then(decimal::parse).ok_or(RequestError::OldSize)?;
        let (path, rest) = parse_path(rest)?;
        let note = SignedNote::parse(rest.as_bytes()).map_err(RequestError::Note)?;
        Ok(Self { old_size, proof: ConsistencyProof { path }, note })
    }

    /// The size that the proof starts from.
    pub const fn old_size(&self) -> u64 {
        self.old_size
    }

    /// The proof.
    pub const fn proof(&self) -> &ConsistencyProof {
        &self.proof
    }

    /// The checkpoint with its signatures.
    pub const fn note(&self) -> &SignedNote {
        &self.note
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        self.proof.path.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.note)
    }
}

fn parse_path(text: &str) -> Result<(Vec<Hash>, &str), RequestError> {
    let mut path = Vec::new();
    let mut rest = text;
    loop {
        let (line, after) = rest.split_once('\n').ok_or(RequestError::Truncated)?;
        rest = after;
        if line.is_empty() {
            return Ok((path, rest));
        }
        if path.len() == PROOF_LINES_MAX {
            return Err(RequestError::ProofTooLong { limit: PROOF_LINES_MAX });
        }
        path.push(line.parse().map_err(|source| RequestError::ProofHash { line: path.len(), source })?);
    }
}
