//! C2SP tlog-witness: what a witness decides about a checkpoint that it is asked to cosign.
//!
//! A machine: [`Witness`] holds the last checkpoint that it cosigned for each log, and
//! [`Witness::add_checkpoint`] moves it on. A cosignature comes out only after `persist` has returned, so
//! none can leave before the state that forbids its contradiction is durable. Knows no socket, file or clock.

mod request;

use std::collections::BTreeMap;

pub use request::{AddCheckpoint, REQUEST_BYTES_MAX, RequestError};
use sha2::{Digest as _, Sha256};

use crate::checkpoint::{Checkpoint, CheckpointError, Origin};
use crate::cosignature::{BadTimestamp, Cosigner};
use crate::equivocation::LogEquivocation;
use crate::merkle::{MerkleError, TreeHead};
use crate::note::{NoteError, NoteSignature, SignedNote, VerifierKey};

/// A witness: its key, the logs that it knows, and the last checkpoint that it cosigned for each.
#[derive(Debug)]
pub struct Witness {
    cosigner: Cosigner,
    logs: BTreeMap<Origin, Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    keys: Vec<VerifierKey>,
    record: Option<Record>,
}

/// The last checkpoint that was cosigned for a log, with the log's signature and the witness's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    checkpoint: Checkpoint,
    note: SignedNote,
}

/// Why a checkpoint is not cosigned. `E` is why the state could not be made durable.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError<E: std::error::Error + 'static> {
    /// The log is not one of those that this witness knows.
    #[error("log `{0}` is not known here")]
    UnknownOrigin(String),
    /// No signature by a key of that log, or one that does not hold.
    #[error("checkpoint is not signed by its log")]
    Signature(#[source] NoteError),
    /// Signed, and no checkpoint.
    #[error("note is no checkpoint")]
    Checkpoint(#[source] CheckpointError),
    /// The old tree is larger than the new one.
    #[error("old size {old} is over the checkpoint's size {size}")]
    OldSize {
        /// Old size in the request.
        old: u64,
        /// Size of the checkpoint.
        size: u64,
    },
    /// The old size is not that of the last checkpoint that was cosigned.
    #[error("last cosigned size is {size}")]
    Conflict {
        /// That size; zero if there is none.
        size: u64,
    },
    /// The tree is not shown to be an extension of the one that was cosigned last.
    #[error("checkpoint is not consistent with the last cosigned one")]
    Inconsistent(#[source] MerkleError),
    /// The clock says what no cosignature can.
    #[error("clock")]
    Clock(#[from] BadTimestamp),
    /// The state could not be made durable. Nothing was cosigned.
    #[error("state is not durable")]
    Persist(#[source] E),
}

/// Why a witness cannot be set up, or cannot go on from what was kept. Fatal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError {
    /// A log key's name is no origin.
    #[error("key name `{0}` is no origin")]
    Origin(String),
    /// Of a log that this witness does not know.
    #[error("record is of another log than `{0}`")]
    Origins(Origin),
    /// Not a checkpoint of that log.
    #[error("record is no checkpoint of its log")]
    Checkpoint(#[from] CheckpointError),
    /// Without a cosignature of this witness.
    #[error("record is not cosigned by this witness")]
    NotCosigned,
}

impl Witness {
    /// A witness that has seen nothing yet of `logs`. The name of each key is its log's origin; a log may
    /// have several keys.
    pub fn new(cosigner: Cosigner, logs: &[VerifierKey]) -> Result<Self, ResumeError> {
        let mut watched: BTreeMap<Origin, Watched> = BTreeMap::new();
        for key in logs {
            let origin = key.name().as_str().parse().map_err(|_| ResumeError::Origin(key.name().to_string()))?;
            let log = watched.entry(origin).or_default();
            if !log.keys.contains(key) {
                log.keys.push(key.clone());
            }
        }
        Ok(Self { cosigner, logs: watched })
    }

    /// Takes up what was kept for `origin`. Only what this witness has cosigned itself is believed.
    pub fn resume(&mut self, origin: &Origin, kept: &[u8]) -> Result<(), ResumeError> {
        let log = self.logs.get_mut(origin).ok_or_else(|| ResumeError::Origins(origin.clone()))?;
        let note = SignedNote::parse(kept).map_err(CheckpointError::Note)?;
        let opened = note.open(&log.keys).map_err(CheckpointError::Note)?;
        let checkpoint = Checkpoint::parse(opened.text())?;
        if checkpoint.origin() != origin {
            return Err(ResumeError::Origins(origin.clone()));
        }
        match note.cosignatures(std::slice::from_ref(self.cosigner.verifier())) {
            Ok(own) if !own.is_empty() => {}
            _ => return Err(ResumeError::NotCosigned),
        }
        log.record = Some(Record { checkpoint, note });
        Ok(())
    }

    /// Who this is.
    pub const fn cosigner(&self) -> &Cosigner {
        &self.cosigner
    }

    /// The logs that it knows.
    pub fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.logs.keys()
    }

    /// The last checkpoint that was cosigned for the log whose origin has this lower-case hex SHA-256.
    pub fn by_origin_hash(&self, hash: &str) -> Option<&Record> {
        self.logs.iter().find(|(origin, _)| origin_hash(origin) == hash)?.1.record.as_ref()
    }

    /// Cosigns the checkpoint if it is a consistent successor of the last one. `persist` is called with the
    /// new state, and the cosignature is handed out only if it succeeds. `now` is in seconds since the Epoch.
    // SPEC tlog-witness: checking the old size and persisting the new checkpoint must be atomic: `&mut`.
    pub fn add_checkpoint<E: std::error::Error + 'static>(
        &mut self,
        request: &AddCheckpoint,
        now: u64,
        persist: impl FnOnce(&Record) -> Result<(), E>,
    ) -> Result<NoteSignature, WitnessError<E>> {
        let (log, checkpoint) = self.check(request)?;
        let line = self.cosigner.cosign(&checkpoint.to_string(), now)?;
        let note = request.note().clone().only_of(&log.keys).with_signature(line.clone());
        let record = Record { note: note.map_err(WitnessError::Signature)?, checkpoint };
        // SPEC tlog-witness: the witness MUST persist the new checkpoint before responding.
        persist(&record).map_err(WitnessError::Persist)?;
        let origin = record.checkpoint.origin().clone();
        self.logs.entry(origin).or_default().record = Some(record);
        Ok(line)
    }

    /// The checks, in the order that the statuses have in the specification.
    fn check<E: std::error::Error>(&self, request: &AddCheckpoint) -> Result<(&Watched, Checkpoint), WitnessError<E>> {
        let (log, opened) = self.open(request)?;
        let checkpoint = opened.map_err(WitnessError::Checkpoint)?;
        // SPEC tlog-witness: the old size MUST be equal to or lower than the checkpoint size.
        let (old, size) = (request.old_size(), checkpoint.size());
        if old > size {
            return Err(WitnessError::OldSize { old, size });
        }
        // SPEC tlog-witness: the old size MUST match that of the latest checkpoint it cosigned, or zero.
        let last = log.record.as_ref().map_or_else(TreeHead::empty, |record| *record.checkpoint.head());
        if old != last.size {
            return Err(WitnessError::Conflict { size: last.size });
        }
        // SPEC tlog-witness: with an old size of zero the proof MUST be empty; equal sizes MUST have
        // identical roots; otherwise the proof MUST verify.
        request.proof().verify(&last, checkpoint.head()).map_err(WitnessError::Inconsistent)?;
        Ok((log, checkpoint))
    }

    fn open<E: std::error::Error>(
        &self,
        request: &AddCheckpoint,
    ) -> Result<(&Watched, Result<Checkpoint, CheckpointError>), WitnessError<E>> {
        // SPEC tlog-witness: unknown origin, 404; no valid signature of a trusted key, 403.
        let origin = request.note().unverified_origin();
        let unknown = || WitnessError::UnknownOrigin(origin.to_owned());
        let log = origin.parse().ok().and_then(|origin: Origin| self.logs.get(&origin)).ok_or_else(unknown)?;
        request.note().open(&log.keys).map_err(WitnessError::Signature)?;
        Ok((log, Checkpoint::parse(request.note().unverified_text())))
    }

    /// Whether the log has signed a contradiction of what was cosigned last: another root for that size.
    /// To be asked when a request was refused; the proof convicts the log whatever the request was.
    // SPEC tlog-witness: the witness MAY log the request, as it might be proof of log misbehavior.
    pub fn contradiction(&self, request: &AddCheckpoint) -> Option<LogEquivocation> {
        let (log, checkpoint) = self.open::<std::convert::Infallible>(request).ok()?;
        let (record, checkpoint) = (log.record.as_ref()?, checkpoint.ok()?);
        let differs = checkpoint.size() == record.checkpoint.size() && checkpoint.root() != record.checkpoint.root();
        differs.then(|| LogEquivocation::of_one_size(record.note.clone(), request.note().clone()).only_of(&log.keys))
    }
}

impl Record {
    /// What it says.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Checkpoint, the log's signatures and the witness's cosignature: what is kept, and what is served to
    /// monitors.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.note.to_string().into_bytes()
    }
}

impl<E: std::error::Error> WitnessError<E> {
    /// The HTTP status that says so.
    pub fn status(&self) -> u16 {
        match self {
            Self::Signature(_) => 403,
            Self::UnknownOrigin(_) => 404,
            Self::Conflict { .. } => 409,
            // SPEC tlog-witness: a checkpoint of size zero MUST have the root hash of the empty tree, 422.
            Self::Inconsistent(_) | Self::Checkpoint(CheckpointError::EmptyTreeRoot { .. }) => 422,
            Self::OldSize { .. } | Self::Checkpoint(_) => 400,
            Self::Clock(_) | Self::Persist(_) => 500,
        }
    }
}

/// What a log is called in a monitoring prefix: the lower-case hex SHA-256 of its origin.
pub fn origin_hash(origin: &Origin) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(origin.as_str()))
}

#[cfg(test)]
mod tests;
