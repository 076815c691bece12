//! The proof that a log has shown two views: two checkpoints, signed by one key, that no append-only log
//! can both have. Anybody with the log's key can check it; nobody needs the log.
//!
//! Of one size the two notes are enough. Of two sizes a consistency proof is added that leads from *another*
//! root at the smaller size to the larger tree: then the larger tree begins otherwise than the smaller
//! checkpoint says. `docs/spec/witness.md`, section "Two views".

use std::fmt;

use data_encoding::BASE64;

use crate::base64;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::hash::{Hash, HashError};
use crate::merkle::{ConsistencyProof, MerkleError, PATH_HASHES_MAX, TreeHead, TreeView, ViewError};
use crate::note::{NOTE_BYTES_MAX, NoteError, SignedNote, VerifierKey};
use crate::tile::TileReader;

/// The longest proof that is parsed: two notes in base64, and a path.
pub const EQUIVOCATION_BYTES_MAX: usize = 2 * (NOTE_BYTES_MAX.div_ceil(3) * 4) + 4096;

const HEADER: &str = "quorate-log-equivocation/v1";

/// Two views of a log. It says nothing before [`LogEquivocation::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEquivocation {
    smaller: SignedNote,
    larger: SignedNote,
    beginning: Option<Beginning>,
}

/// How the larger tree begins.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Beginning {
    root: Hash,
    proof: ConsistencyProof,
}

/// What two views contradict each other in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The smaller of the two sizes; both, if they are equal.
    pub size: u64,
    /// The root that one checkpoint has at that size.
    pub root: Hash,
    /// The root that the other one has there.
    pub other: Hash,
}

/// Why bytes are no such proof, or prove nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EquivocationError {
    /// Longer than [`EQUIVOCATION_BYTES_MAX`].
    #[error("proof has {got} bytes, limit {limit}")]
    TooLong {
        /// Bytes seen.
        got: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A line is missing, or another than it must be.
    #[error("proof has no line `{0}` where it must be")]
    Line(&'static str),
    /// A line that is no hash.
    #[error("a hash of the proof is malformed")]
    Hash(#[from] HashError),
    /// More hashes than any tree needs.
    #[error("proof has more than {limit} path hashes")]
    PathTooLong {
        /// Hashes allowed.
        limit: usize,
    },
    /// One of the two is no signed note.
    #[error("one of the two views is no signed note")]
    Note(#[from] NoteError),
    /// One of the two is not this log's.
    #[error("one of the two views is not the log's")]
    Checkpoint(#[from] CheckpointError),
    /// The larger tree is not shown to begin as the proof says.
    #[error("the larger tree does not begin as the proof says")]
    Merkle(#[from] MerkleError),
    /// The two go together.
    #[error("the two views do not contradict each other")]
    Consistent,
}

/// Why it could not be found out whether two checkpoints go together.
#[derive(Debug, thiserror::Error)]
pub enum CompareError<E: std::error::Error + 'static> {
    /// One of the two is not this log's.
    #[error("one of the two views is not the log's")]
    Checkpoint(#[from] CheckpointError),
    /// The tiles of the larger tree could not be had, or are not its tiles.
    #[error("the larger tree cannot be read")]
    View(#[from] ViewError<E>),
}

impl LogEquivocation {
    /// Two notes of one size, which are not checked.
    pub const fn of_one_size(first: SignedNote, second: SignedNote) -> Self {
        Self { smaller: first, larger: second, beginning: None }
    }

    /// Two notes, of which the larger one's tree is said to begin with `root`. Nothing is checked.
    pub const fn of_two_sizes(smaller: SignedNote, larger: SignedNote, root: Hash, proof: ConsistencyProof) -> Self {
        Self { smaller, larger, beginning: Some(Beginning { root, proof }) }
    }

    /// Compares two checkpoints of a log; `reader` has the tiles of the larger one. `None`: they go together.
    pub fn find<R: TileReader>(
        log: &VerifierKey,
        first: &SignedNote,
        second: &SignedNote,
        reader: &R,
    ) -> Result<Option<Self>, CompareError<R::Error>> {
        let heads = [first, second].map(|note| Checkpoint::from_note(note, log).map(|checkpoint| *checkpoint.head()));
        let [one, other] = heads;
        let ((small, smaller), (large, larger)) = match (one?, other?) {
            (one, other) if one.size <= other.size => ((one, first), (other, second)),
            (one, other) => ((other, second), (one, first)),
        };
        if small.size == large.size {
            return Ok((small.root != large.root).then(|| Self::of_one_size(smaller.clone(), larger.clone())));
        }
        let (beginning, proof) = TreeView::new(large, reader)?.consistency(small.size)?;
        if beginning.root == small.root {
            return Ok(None);
        }
        let beginning = Some(Beginning { root: beginning.root, proof });
        Ok(Some(Self { smaller: smaller.clone(), larger: larger.clone(), beginning }))
    }

    /// Checks that the log's key has signed both, and that they contradict each other.
    pub fn verify(&self, log: &VerifierKey) -> Result<Contradiction, EquivocationError> {
        let small = *Checkpoint::from_note(&self.smaller, log)?.head();
        let large = *Checkpoint::from_note(&self.larger, log)?.head();
        let other = match &self.beginning {
            None if small.size == large.size => large.root,
            None => return Err(EquivocationError::Line("root")),
            Some(beginning) => {
                beginning.proof.verify(&TreeHead { size: small.size, root: beginning.root }, &large)?;
                beginning.root
            }
        };
        if other == small.root {
            return Err(EquivocationError::Consistent);
        }
        Ok(Contradiction { size: small.size, root: small.root, other })
    }

    /// The proof with the signatures of these keys alone.
    #[must_use]
    pub fn only_of(self, keys: &[VerifierKey]) -> Self {
        Self { smaller: self.smaller.only_of(keys), larger: self.larger.only_of(keys), ..self }
    }

    /// The two notes.
    pub const fn notes(&self) -> [&SignedNote; 2] {
        [&self.smaller, &self.larger]
    }

    /// Reads a proof; believes nothing of it.
    pub fn parse(bytes: &[u8]) -> Result<Self, EquivocationError> {
        let (got, limit) = (bytes.len(), EQUIVOCATION_BYTES_MAX);
        if got > limit {
            return Err(EquivocationError::TooLong { got, limit });
        }
        let text = str::from_utf8(bytes).map_err(|_| EquivocationError::Line(HEADER))?;
        let text = text.strip_suffix('\n').ok_or(EquivocationError::Line(HEADER))?;
        let mut lines = text.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(EquivocationError::Line(HEADER));
        }
        let smaller = parse_note(lines.next(), "smaller ")?;
        let larger = parse_note(lines.next(), "larger ")?;
        let beginning = match lines.next() {
            None => None,
            Some(root) => {
                let root = root.strip_prefix("root ").ok_or(EquivocationError::Line("root"))?.parse()?;
                let path: Vec<Hash> = lines.by_ref().take(PATH_HASHES_MAX).map(str::parse).collect::<Result<_, _>>()?;
                Some(Beginning { root, proof: ConsistencyProof { path } })
            }
        };
        match lines.next() {
            None => Ok(Self { smaller, larger, beginning }),
            Some(_) => Err(EquivocationError::PathTooLong { limit: PATH_HASHES_MAX }),
        }
    }
}

impl fmt::Display for LogEquivocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = |note: &SignedNote| BASE64.encode(note.to_string().as_bytes());
        writeln!(f, "{HEADER}\nsmaller {}\nlarger {}", encoded(&self.smaller), encoded(&self.larger))?;
        let Some(beginning) = &self.beginning else { return Ok(()) };
        writeln!(f, "root {}", beginning.root)?;
        beginning.proof.path.iter().try_for_each(|hash| writeln!(f, "{hash}"))
    }
}

fn parse_note(line: Option<&str>, name: &'static str) -> Result<SignedNote, EquivocationError> {
    let encoded = line.and_then(|line| line.strip_prefix(name)).ok_or(EquivocationError::Line(name))?;
    let bytes = base64::decode(encoded).ok_or(EquivocationError::Line(name))?;
    Ok(SignedNote::parse(&bytes)?)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::hash::leaf_hash;
    use crate::note::Signer;
    use crate::tile::MemoryTiles;
    use crate::tree::Tree;

    fn signer() -> Signer {
        Signer::from_seed("log.example".parse().unwrap(), &[1; 32])
    }

    /// A tree of `size` leaves, all of them different from `from` on if `fork` says so.
    fn tree(size: u64, fork: &str, from: u64) -> (SignedNote, MemoryTiles) {
        let leaves: Vec<_> = (0..size).map(|n| leaf_hash(format!("{n}{}", if n >= from { fork } else { "" }).as_bytes())).collect();
        let appended = Tree::new().append(&leaves).unwrap();
        let mut tiles = MemoryTiles::default();
        for write in appended.tiles {
            tiles.0.insert(write.path, write.bytes);
        }
        let checkpoint = Checkpoint::new("log.example".parse().unwrap(), appended.tree.head()).unwrap();
        (checkpoint.sign(&signer()).unwrap(), tiles)
    }

    fn found(first: &SignedNote, second: &SignedNote, tiles: &MemoryTiles) -> Option<LogEquivocation> {
        LogEquivocation::find(signer().verifier(), first, second, tiles).unwrap()
    }

    #[test]
    fn two_histories_convict_a_log_whatever_their_sizes_are() {
        for (small, large, from) in [(5, 5, 4), (5, 5, 0), (5, 300, 2), (256, 300, 255), (300, 301, 0), (1, 2, 0)] {
            let (smaller, _) = tree(small, "", 0);
            let (larger, tiles) = tree(large, "other", from);
            let proof = found(&larger, &smaller, &tiles).unwrap();
            let read = LogEquivocation::parse(proof.to_string().as_bytes()).unwrap();
            assert_eq!(read, proof);
            assert_eq!(read.verify(signer().verifier()).unwrap().size, small);
        }
    }

    #[test]
    fn no_proof_convicts_a_log_that_has_one_history() {
        for (small, large) in [(0, 5), (5, 5), (5, 300), (256, 300)] {
            let (smaller, _) = tree(small, "", 0);
            let (larger, tiles) = tree(large, "", 0);
            assert_eq!(found(&smaller, &larger, &tiles), None);
            let forged = LogEquivocation::of_one_size(smaller.clone(), larger.clone());
            assert!(forged.verify(signer().verifier()).is_err());
            let (head, proof) =
                TreeView::new(*Checkpoint::open(larger.to_string().as_bytes(), signer().verifier()).unwrap().head(), &tiles)
                    .unwrap()
                    .consistency(small)
                    .unwrap();
            let honest = |root| LogEquivocation {
                smaller: smaller.clone(),
                larger: larger.clone(),
                beginning: Some(Beginning { root, proof: proof.clone() }),
            };
            assert_eq!(honest(head.root).verify(signer().verifier()), Err(EquivocationError::Consistent));
            assert!(honest(leaf_hash(b"invented")).verify(signer().verifier()).is_err());
        }
    }

    #[test]
    fn two_logs_or_two_keys_are_no_equivocation() {
        let (one, tiles) = tree(5, "", 0);
        let (other, _) = tree(5, "other", 0);
        let proof = found(&one, &other, &tiles).unwrap();
        let stranger = Signer::from_seed("log.example".parse().unwrap(), &[2; 32]);
        assert!(proof.verify(stranger.verifier()).is_err());
        let resigned = SignedNote::sign(other.unverified_text().to_owned(), &stranger).unwrap();
        assert!(LogEquivocation::of_one_size(one, resigned).verify(signer().verifier()).is_err());
    }

    #[test]
    fn a_damaged_proof_is_refused() {
        let (one, _) = tree(5, "", 0);
        let (other, tiles) = tree(300, "other", 0);
        let text = found(&one, &other, &tiles).unwrap().to_string();
        for cut in [0, 10, 40, text.len() - 1] {
            assert!(LogEquivocation::parse(&text.as_bytes()[..cut]).is_err(), "{cut}");
        }
        let hash = text.lines().last().unwrap();
        let long = format!("{text}{}", format!("{hash}\n").repeat(65));
        assert_eq!(LogEquivocation::parse(long.as_bytes()), Err(EquivocationError::PathTooLong { limit: 64 }));
        let shorter = text.replace(&format!("{hash}\n"), "");
        assert!(LogEquivocation::parse(shorter.as_bytes()).unwrap().verify(signer().verifier()).is_err());
    }
}
