//! Evidence: provenances, reports of differences and environment inventories, by SHA-256.
//!
//! A file is taken only if a result in the log names it; a provenance only if the node that signed the
//! result signed it too. It is durable before it is indexed.

use std::fs;
use std::io;

use quorate_proto::Digest;
use quorate_proto::dsse::Envelope;
use quorate_proto::provenance::{BLOB_BYTES_MAX, Provenance};
use quorate_proto::statement::Statement;

use super::files::Point;
use super::index::{IndexDraft, IndexError};
use super::rows::{self, Role};
use super::{Store, StoreError, Writer, terms};

/// Results that may name one file as their provenance; an honest one is named once.
const NAMINGS_MAX: usize = 64;

/// A file that is not taken.
#[derive(Debug, thiserror::Error)]
pub enum BlobRefused {
    /// Too large.
    #[error("file of {0} bytes, limit {BLOB_BYTES_MAX}")]
    TooLarge(usize),
    /// No result in the log names it.
    #[error("no known result names {0}")]
    Unnamed(Digest),
    /// Named as a provenance, but not one that the node of a result signed.
    #[error("{0} is not a provenance by the node that names it")]
    ForeignProvenance(Digest),
    /// The store failed.
    #[error("store")]
    Store(#[from] StoreError),
}

impl BlobRefused {
    /// The name for counters.
    pub fn name(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "oversized-blob",
            Self::Unnamed(_) => "unnamed-blob",
            Self::ForeignProvenance(_) => "foreign-provenance",
            Self::Store(_) => "unavailable",
        }
    }
}

struct Naming {
    key: Vec<u8>,
    leaf: u64,
    role: Role,
    indexed: bool,
}

impl Store {
    /// The bytes of a file, if it is held.
    pub fn blob(&self, digest: &Digest) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.paths.blob(digest)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a file is held.
    pub fn holds_blob(&self, digest: &Digest) -> bool {
        self.paths.blob(digest).is_file()
    }

    /// Files that results name and that are not held.
    pub fn wanted_blobs(&self, limit: usize) -> Result<Vec<Digest>, StoreError> {
        let rows = self.index.scan(rows::WANTED_PREFIX).take(limit);
        rows.map(|row| Ok(rows::digest_at_end(&row?.0)?)).collect()
    }

    fn namings(&self, digest: Digest) -> Result<Vec<Naming>, StoreError> {
        let rows = self.index.scan(&rows::naming_prefix(digest)).take(NAMINGS_MAX);
        rows.map(|row| {
            let (key, value) = row?;
            let number = key.last_chunk::<8>().ok_or(IndexError::Row("naming"))?;
            Ok(Naming { leaf: u64::from_be_bytes(*number), role: Role::read(&value)?, indexed: value.len() > 1, key })
        })
        .collect()
    }

    /// Takes a file in. Rows are left in `rows` for the writer; the file is durable when this returns.
    fn keep_blob(&self, bytes: &[u8], rows: &mut IndexDraft<'_>) -> Result<Digest, BlobRefused> {
        if bytes.len() > BLOB_BYTES_MAX {
            return Err(BlobRefused::TooLarge(bytes.len()));
        }
        let digest = Digest::of(bytes);
        let namings = self.namings(digest)?;
        if namings.is_empty() {
            return Err(BlobRefused::Unnamed(digest));
        }
        let mut holds = false;
        for naming in namings.iter().filter(|naming| !naming.indexed) {
            holds |= self.index_naming(digest, naming, bytes, rows)?;
        }
        if !holds && !namings.iter().any(|naming| naming.indexed) {
            return Err(BlobRefused::ForeignProvenance(digest));
        }
        if !self.holds_blob(&digest) {
            let written = self.disk.write_durable(Point::Blob, &self.paths.blob(&digest), bytes);
            written.map_err(StoreError::io("keeping a file"))?;
        }
        rows.remove(rows::wanted(digest));
        Ok(digest)
    }

    /// Whether the file is what it is named for.
    fn index_naming(&self, digest: Digest, naming: &Naming, bytes: &[u8], rows: &mut IndexDraft<'_>) -> Result<bool, StoreError> {
        match naming.role {
            Role::Report => {}
            Role::Environment => terms::index_inventory(rows, digest, bytes),
            Role::Provenance => match self.provenance_of(naming.leaf, bytes)? {
                Some(provenance) => terms::index_provenance(rows, naming.leaf, &provenance)?,
                None => return Ok(false),
            },
        }
        rows.put(naming.key.clone(), vec![naming.role.byte(), 1]);
        Ok(true)
    }

    /// The provenance in `bytes`, if the node of the result at `leaf` signed it.
    fn provenance_of(&self, leaf: u64, bytes: &[u8]) -> Result<Option<Provenance>, StoreError> {
        let Some(result) = self.statement_at(leaf)? else { return Ok(None) };
        let Ok(envelope) = Envelope::parse(bytes, BLOB_BYTES_MAX) else { return Ok(None) };
        if envelope.verify(&result.node()).is_err() {
            return Ok(None);
        }
        Ok(Statement::<Provenance>::parse(envelope.payload()).ok().map(|statement| statement.predicate))
    }
}

impl Writer {
    /// Takes files in: durable, then indexed. One outcome a file.
    pub(crate) fn keep_blobs(&self, blobs: &[Vec<u8>]) -> Result<Vec<Result<Digest, BlobRefused>>, StoreError> {
        let mut rows = IndexDraft::new(&self.store.index);
        let mut outcomes = Vec::with_capacity(blobs.len());
        for bytes in blobs {
            outcomes.push(self.store.keep_blob(bytes, &mut rows));
        }
        if !rows.is_empty() {
            self.store.index.write(rows.into_batch())?;
        }
        Ok(outcomes)
    }

    /// Indexes files that are on disk and wanted all the same: after a rebuild, and after a crash between
    /// the file and its index rows.
    pub fn adopt_blobs(&self) -> Result<usize, StoreError> {
        let mut adopted = 0;
        for digest in self.store.wanted_blobs(usize::MAX)? {
            let held = self.store.blob(&digest).map_err(StoreError::io("reading a file"))?;
            if let Some(bytes) = held.filter(|bytes| Digest::of(bytes) == digest) {
                adopted += self.keep_blobs(&[bytes])?.iter().filter(|outcome| outcome.is_ok()).count();
            }
        }
        Ok(adopted)
    }
}
