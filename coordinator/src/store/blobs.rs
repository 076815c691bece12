//! Evidence: provenances, reports of differences and environment inventories, by SHA-256.
//!
//! A file is taken only if a result in the log names it; a provenance only if the node that signed the
//! result signed it too. It is durable before it is indexed.

use std::fs;
use std::io;
use std::sync::atomic::Ordering;

use quorate_proto::dsse::{DsseError, Envelope};
use quorate_proto::provenance::{BLOB_BYTES_MAX, Provenance};
use quorate_proto::statement::Statement;
use quorate_proto::{Digest, NodeId};

use super::files::Point;
use super::index::{IndexDraft, IndexError, Order};
use super::rows::{self, Role};
use super::{Store, StoreError, Writer, terms};

/// Results of one node that may name one file as their provenance; an honest one is named once.
const NAMINGS_OF_A_NODE_MAX: usize = 64;

/// Namings of one file by whichever nodes that are looked through: each costs a hash.
const NAMINGS_READ_MAX: usize = 65_536;

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
    /// Who names it as a provenance.
    node: Option<NodeId>,
    indexed: bool,
}

/// What a look at the index says about a file before it is handed to the writer.
#[derive(Debug)]
pub(crate) enum Glance {
    /// It is held, and nothing waits for it.
    Held(Digest),
    /// The writer has to see it.
    Wanted,
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

    /// Files that results name and that are not held. Each call begins elsewhere, so that names of files
    /// that nobody has never keep the others from being asked for.
    pub fn wanted_blobs(&self, limit: usize) -> Result<Vec<Digest>, StoreError> {
        /// 2⁶⁴ over the golden ratio: its multiples are spread evenly over the keys.
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let turn = self.wanted_turn.fetch_add(STEP, Ordering::Relaxed);
        let middle = [rows::WANTED_PREFIX, &turn.to_be_bytes()].concat();
        let end = [rows::WANTED_PREFIX, &[0xff; 33]].concat();
        let behind = self.index.range(middle.clone(), end, Order::Ascending);
        let before = self.index.range(rows::WANTED_PREFIX.to_vec(), middle, Order::Ascending);
        behind.chain(before).take(limit).map(|row| Ok(rows::digest_at_end(&row?.0)?)).collect()
    }

    /// What can be said of a file without the writer, so that files that nobody names cost it nothing.
    pub(crate) fn glance(&self, bytes: &[u8]) -> Result<Glance, BlobRefused> {
        if bytes.len() > BLOB_BYTES_MAX {
            return Err(BlobRefused::TooLarge(bytes.len()));
        }
        let digest = Digest::of(bytes);
        if self.index.scan(&rows::naming_prefix(digest), Order::Ascending).next().is_none() {
            return Err(BlobRefused::Unnamed(digest));
        }
        let waited_for = self.index.contains(&rows::wanted(digest)).map_err(StoreError::from)?;
        Ok(if !waited_for && self.holds_blob(&digest) { Glance::Held(digest) } else { Glance::Wanted })
    }

    /// Who names a file. As a report and as an environment it is named once, whoever did so; its namings
    /// as a provenance are those of the node that signed it, so that others cannot crowd them out.
    fn namings(&self, digest: Digest, bytes: &[u8]) -> Result<Vec<Naming>, StoreError> {
        let mut namings = Vec::new();
        for role in [Role::Report, Role::Environment] {
            let key = rows::role_naming(digest, role);
            if let Some(value) = self.index.get(&key)? {
                namings.push(read_naming(key, &value)?);
            }
        }
        let Ok(envelope) = Envelope::parse(bytes, BLOB_BYTES_MAX) else { return Ok(namings) };
        let mut author = None;
        let mut own = 0;
        for row in
            self.index.range(rows::naming(digest, 0), rows::role_naming(digest, Role::Environment), Order::Ascending).take(NAMINGS_READ_MAX)
        {
            let (key, value) = row?;
            let naming = read_naming(key, &value)?;
            if author != naming.node {
                match naming.node.map(|node| envelope.verify(&node)) {
                    Some(Ok(())) => author = naming.node,
                    // Another node's naming: told by the key id alone.
                    Some(Err(DsseError::KeyId { .. })) => continue,
                    // A forged signature costs one check, however often its node names the file.
                    _ => break,
                }
            }
            own += 1;
            namings.push(naming);
            if own == NAMINGS_OF_A_NODE_MAX {
                break;
            }
        }
        Ok(namings)
    }

    /// Takes a file in. Rows are left in `rows` for the writer; the file is durable when this returns.
    fn keep_blob(&self, bytes: &[u8], rows: &mut IndexDraft<'_>) -> Result<Digest, BlobRefused> {
        if bytes.len() > BLOB_BYTES_MAX {
            return Err(BlobRefused::TooLarge(bytes.len()));
        }
        let digest = Digest::of(bytes);
        if self.index.scan(&rows::naming_prefix(digest), Order::Ascending).next().is_none() {
            return Err(BlobRefused::Unnamed(digest));
        }
        let namings = self.namings(digest, bytes)?;
        let mut holds = false;
        for naming in namings.iter().filter(|naming| !naming.indexed) {
            holds |= Self::index_naming(digest, naming, bytes, rows)?;
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
    fn index_naming(digest: Digest, naming: &Naming, bytes: &[u8], rows: &mut IndexDraft<'_>) -> Result<bool, StoreError> {
        match naming.role {
            Role::Report => {}
            Role::Environment => terms::index_inventory(rows, digest, bytes),
            Role::Provenance => match provenance_in(bytes) {
                Some(provenance) => terms::index_provenance(rows, naming.leaf, &provenance)?,
                None => return Ok(false),
            },
        }
        rows.put(naming.key.clone(), rows::naming_value(naming.role, naming.node, true));
        Ok(true)
    }
}

fn read_naming(key: Vec<u8>, value: &[u8]) -> Result<Naming, StoreError> {
    let malformed = || IndexError::Row("naming");
    let leaf = u64::from_be_bytes(*key.last_chunk::<8>().ok_or_else(malformed)?);
    let (role, indexed) = (Role::read(value)?, value.get(1) == Some(&1));
    let node = if role == Role::Provenance { Some(rows::node_at_end(value)?) } else { None };
    Ok(Naming { key, leaf, role, node, indexed })
}

/// The provenance in an envelope that [`Store::namings`] found to be signed by who names it.
fn provenance_in(bytes: &[u8]) -> Option<Provenance> {
    let envelope = Envelope::parse(bytes, BLOB_BYTES_MAX).ok()?;
    Statement::<Provenance>::parse(envelope.payload()).ok().map(|statement| statement.predicate)
}

impl Writer {
    /// Takes files in: durable, then indexed. One outcome a file.
    pub(crate) fn keep_blobs(&self, blobs: &[Vec<u8>]) -> Vec<Result<Digest, BlobRefused>> {
        let mut rows = IndexDraft::new(&self.store.index);
        let mut outcomes = Vec::with_capacity(blobs.len());
        for bytes in blobs {
            outcomes.push(self.store.keep_blob(bytes, &mut rows));
        }
        if !rows.is_empty() {
            // They follow from the file, which is durable, and from its name among those that are wanted.
            self.store.index.add(rows.into_rows());
        }
        outcomes
    }

    /// Indexes files that are on disk and wanted all the same: after a rebuild, and after a crash between
    /// the file and its index rows.
    pub fn adopt_blobs(&mut self) -> Result<usize, StoreError> {
        let mut adopted = 0;
        for digest in self.store.wanted_blobs(usize::MAX)? {
            let held = self.store.blob(&digest).map_err(StoreError::io("reading a file"))?;
            if let Some(bytes) = held.filter(|bytes| Digest::of(bytes) == digest) {
                adopted += self.keep_blobs(&[bytes]).iter().filter(|outcome| outcome.is_ok()).count();
                self.settle_if_due()?;
            }
        }
        Ok(adopted)
    }
}
