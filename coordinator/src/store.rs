//! The store: the log as plain files, an index beside it, and content-addressed evidence.
//!
//! In scope: the commit rule, recovery, look-ups. `docs/spec/coordinator-storage.md`.
//! Out of scope: whether an item counts (`door.rs`), when batches are cut (`ingest.rs`), verdicts.
//! Everything in here blocks: async tasks call it through `spawn_blocking`.
//!
//! Reading order: [`files`], [`stage`], [`leaf`], `log`, [`index`], [`rows`], [`batch`], [`writer`],
//! `read`, `blobs`.

pub mod batch;
pub mod files;
pub mod index;
pub mod leaf;
pub mod leaves;
pub mod rows;
pub mod stage;
pub mod writer;

mod affected;
mod blobs;
mod budget;
mod declarations;
mod drills;
mod history;
mod inspect;
mod log;
mod marks;
mod read;
mod recover;
mod terms;

#[cfg(test)]
mod faults;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use quorate_proto::entry::{VerifiedCheck, VerifiedCommitment};
use quorate_proto::feed::EquivocationProof;
use quorate_proto::verified::VerifiedStatement;
use quorate_tally::{Declarations, Drills};
use quorate_tlog::bundle::BundleError;
use quorate_tlog::checkpoint::CheckpointError;
use quorate_tlog::{Checkpoint, VerifierKey};

use crate::cache::Bounded;
pub use affected::{Affected, AffectedQuery, EmptyQuery};
pub use batch::{Admitted, Census, SignedVerdict};
pub use blobs::BlobRefused;
pub(crate) use blobs::Glance;
pub use budget::Budget;
pub use drills::KeepError;
pub(crate) use drills::prepare as prepare_drills;
pub use files::DurableWrites;
use files::{Disk, Paths, Point};
use index::{CommitError, Index, IndexError};
pub use inspect::Inspection;
use leaf::LeafError;
use leaves::{LeafReader, Shown};
pub use log::LogKey;
pub use marks::StoredMark;
pub use read::{NodeSummary, SlotResults, VerdictFilter, VerdictPage, VerdictView};
use stage::StageError;
pub use writer::Writer;

/// Verified statements that are kept for tallies and pages: about 5 KiB each, and up to twice as many. What
/// comes in at a usual pace is tallied without being verified once more.
const STATEMENTS_KEPT: usize = 4_096;

/// Verified commitments that are kept for tallies: less than 1 KiB each.
const COMMITMENTS_KEPT: usize = 4_096;

/// Verified checks of build witnesses that are kept for tallies: less than 1 KiB each.
const CHECKS_KEPT: usize = 4_096;

/// The store fails. All of these are *fatal* for the batch under way: take the store up again.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system failed.
    #[error("{activity}")]
    Io {
        /// What was being done.
        activity: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The index failed.
    #[error("index")]
    Index(#[from] IndexError),
    /// The index transaction failed, or its outcome is unknown.
    #[error("committing a batch")]
    Commit(#[from] CommitError),
    /// A stage file is damaged.
    #[error("stage")]
    Stage(#[from] StageError),
    /// A leaf that should not be there.
    #[error("leaf")]
    Leaf(#[from] LeafError),
    /// A leaf that no log entry can hold, or a damaged bundle.
    #[error("log entry")]
    Entry(#[source] BundleError),
    /// A checkpoint that cannot be signed or believed.
    #[error("checkpoint")]
    Checkpoint(#[source] CheckpointError),
    /// The log's files do not go together.
    #[error("the log cannot be taken up: {0}")]
    Resume(String),
    /// The log is full.
    #[error("the log is full")]
    Full,
    /// A verdict that counts for the history of a package is committed and not yet published.
    #[error("entry {0} is not published yet")]
    Unpublished(u64),
    /// Another process has the data directory.
    #[error("`{}` is in use by another process", .0.display())]
    Locked(PathBuf),
}

/// What everybody reads. One process writes to it, through its [`Writer`].
pub struct Store {
    paths: Paths,
    disk: Disk,
    index: Index,
    reader: LeafReader,
    statements: Bounded<u64, Arc<VerifiedStatement>>,
    commitments: Bounded<u64, Arc<VerifiedCommitment>>,
    checks: Bounded<u64, Arc<VerifiedCheck>>,
    census: Mutex<Census>,
    equivocations: RwLock<Arc<Vec<EquivocationProof>>>,
    drills: RwLock<Arc<Drills>>,
    declarations: RwLock<Arc<Declarations>>,
    wanted_turn: AtomicU64,
    _lock: File,
}

impl StoreError {
    /// The error with all its causes, in one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }

    fn io(activity: &'static str) -> impl Fn(io::Error) -> Self + Copy {
        move |source| Self::Io { activity, source }
    }
}

impl Store {
    /// The published log.
    pub fn log(&self) -> &LeafReader {
        &self.reader
    }

    /// Publishes a checkpoint that enough witnesses have cosigned, unless a larger one is published. The file
    /// is written first: what was handed out once can be read after a restart.
    pub(crate) fn show(&self, shown: Shown) -> Result<(), StoreError> {
        if shown.head.size < self.reader.shown().head.size {
            return Ok(());
        }
        let written = self.disk.write_atomic(Point::Show, &self.paths.checkpoint(), &shown.note);
        written.map_err(StoreError::io("writing the checkpoint"))?;
        self.reader.show(shown);
        Ok(())
    }

    /// Takes up the checkpoint that was published last. One that cannot be read was lost with the power.
    fn resume_shown(&self, log: &VerifierKey) {
        let Ok(note) = std::fs::read(self.paths.checkpoint()) else { return };
        if let Ok(checkpoint) = Checkpoint::open(&note, log) {
            self.reader.show(Shown { head: *checkpoint.head(), note: note.into() });
        }
    }

    /// Names of the files.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// How often this process has made something durable.
    pub fn durable_writes(&self) -> DurableWrites {
        self.disk.durable_writes()
    }

    /// How many artifacts are in which state.
    pub fn census(&self) -> Census {
        self.lock_census().clone()
    }

    /// Every proof that a node signed two histories.
    pub fn equivocations(&self) -> Arc<Vec<EquivocationProof>> {
        Arc::clone(&self.equivocations.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn lock_census(&self) -> MutexGuard<'_, Census> {
        self.census.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
