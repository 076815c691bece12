//! The log on disk: grows the tree by a batch and publishes what follows.
//!
//! Decides which files a batch comes to and in which order they appear: bundles and tiles first, the
//! checkpoint last. When it is right to do so is the commit rule's (`writer.rs`).

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use quorate_tlog::bundle::{BundleWrite, append_entries};
use quorate_tlog::tile::TILE_WIDTH;
use quorate_tlog::{BundlePath, Checkpoint, Entry, EntryBundle, Origin, Signer, TilePath, TileReader as _, Tree, TreeHead};

use super::files::{Disk, Paths, Point};
use super::leaves::{LeafReader, Published};
use super::{StoreError, stage};

/// The tree and its right edge.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    tree: Tree,
    edge: Option<Arc<EntryBundle>>,
}

/// A batch that is in the tree, and the files that say so. Nothing of it is in force yet.
#[derive(Debug)]
pub(crate) struct Grown {
    pub log: Log,
    pub note: Bytes,
    files: Vec<(String, Vec<u8>)>,
}

/// Who signs checkpoints.
pub struct LogKey {
    /// The origin line.
    pub origin: Origin,
    /// Signs; its name is the origin.
    pub signer: Signer,
}

impl Log {
    /// Takes up the log at `head`, from its files.
    pub(crate) fn resume(head: &TreeHead, reader: &LeafReader) -> Result<Self, StoreError> {
        let tree = Tree::resume(head, reader).map_err(|error| StoreError::Resume(error.to_string()))?;
        let width = head.size % u64::from(TILE_WIDTH);
        let edge = if width == 0 { None } else { Some(Arc::new(edge_bundle(head.size, reader)?)) };
        Ok(Self { tree, edge })
    }

    pub(crate) fn head(&self) -> TreeHead {
        self.tree.head()
    }

    pub(crate) fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The log with `leaves` added, and the checkpoint for it. Deterministic: the same leaves at the
    /// same place always come to the same bytes.
    pub(crate) fn grow(&self, leaves: &[Entry], key: &LogKey) -> Result<Grown, StoreError> {
        let hashes: Vec<_> = leaves.iter().map(Entry::leaf_hash).collect();
        let appended = self.tree.append(&hashes).map_err(|_| StoreError::Full)?;
        let bundles = append_entries(self.tree.size(), self.edge.as_deref(), leaves).map_err(StoreError::Entry)?;
        let edge = edge_of(&bundles)?;
        let note = sign(key, appended.tree.head())?;
        let mut files: Vec<_> = bundles.into_iter().map(|write| (write.path.path(), write.bytes)).collect();
        files.extend(appended.tiles.into_iter().map(|tile| (tile.path.path(), tile.bytes)));
        Ok(Grown { log: Self { tree: appended.tree, edge }, note, files })
    }

    pub(crate) fn published(&self, note: Bytes) -> Published {
        Published { head: self.head(), note, edge: self.edge.clone() }
    }
}

/// Signs the checkpoint of `head`.
pub(crate) fn sign(key: &LogKey, head: TreeHead) -> Result<Bytes, StoreError> {
    let checkpoint = Checkpoint::new(key.origin.clone(), head).map_err(StoreError::Checkpoint)?;
    let note = checkpoint.sign(&key.signer).map_err(StoreError::Checkpoint)?;
    Ok(Bytes::from(note.to_string()))
}

fn edge_of(bundles: &[BundleWrite]) -> Result<Option<Arc<EntryBundle>>, StoreError> {
    match bundles.last() {
        Some(last) if !last.path.width().is_full() => Ok(Some(Arc::new(EntryBundle::parse(&last.bytes).map_err(StoreError::Entry)?))),
        _ => Ok(None),
    }
}

fn edge_bundle(size: u64, reader: &LeafReader) -> Result<EntryBundle, StoreError> {
    let path = BundlePath::in_tree(size / u64::from(TILE_WIDTH), size).ok_or(StoreError::Full)?;
    let failed = StoreError::io("reading the last entry bundle");
    let bundle = reader.bundle_on_disk(&path).map_err(failed)?;
    // The tiles were checked against the root; the entries are checked against the tiles.
    let tile = TilePath::in_tree(0, path.index(), size).ok_or(StoreError::Full)?;
    let hashes = reader.read_tile(&tile).map_err(StoreError::io("reading the last tile"))?;
    let own: Vec<u8> = bundle.leaf_hashes().iter().flat_map(|hash| *hash.as_bytes()).collect();
    if own == hashes { Ok(bundle) } else { Err(StoreError::Resume("the last entry bundle does not match its tile".to_owned())) }
}

/// Publishes batches, and settles them: files that were written without a sync are synced, and then
/// the stage files that could bring them back are removed.
#[derive(Debug, Default)]
pub(crate) struct Publisher {
    unsettled_files: Vec<PathBuf>,
    unsettled_stages: Vec<u64>,
    unsettled_bytes: u64,
    /// The partial tiles and bundles of the last checkpoint, by what they are a part of.
    partials: BTreeMap<String, PathBuf>,
    /// Partial files that wider ones have replaced. They go once the wider ones are durable.
    replaced: Vec<PathBuf>,
}

/// Settle at least this often, to bound what a restart has to read.
const UNSETTLED_STAGES_MAX: usize = 64;
const UNSETTLED_BYTES_MAX: u64 = 64 * 1024 * 1024;

impl Publisher {
    /// Writes a grown log's files, the checkpoint last.
    pub(crate) fn publish(&mut self, disk: &Disk, paths: &Paths, start: u64, grown: &Grown) -> io::Result<()> {
        self.publish_tiles(disk, paths, start, grown)?;
        disk.write_atomic(Point::Publish, &paths.newest_checkpoint(), &grown.note)
    }

    /// Writes a grown log's bundles and tiles.
    pub(crate) fn publish_tiles(&mut self, disk: &Disk, paths: &Paths, start: u64, grown: &Grown) -> io::Result<()> {
        self.unsettled_stages.push(start);
        for (name, bytes) in &grown.files {
            let path = paths.log().join(name);
            disk.write_atomic(Point::Publish, &path, bytes)?;
            self.unsettled_bytes += bytes.len() as u64;
            let base = name.split(".p/").next().unwrap_or(name).to_owned();
            self.replaced.extend(self.partials.remove(&base).filter(|old| *old != path));
            if name.contains(".p/") {
                self.partials.insert(base, path.clone());
            }
            self.unsettled_files.push(path);
        }
        Ok(())
    }

    /// A publisher of a log that was just taken up at `size`.
    pub(crate) fn at(size: u64, paths: &Paths) -> Self {
        let tiles = (0..8).filter_map(|level| {
            let index = size.checked_shr(u32::from(level) * 8)? / u64::from(TILE_WIDTH);
            TilePath::in_tree(level, index, size).map(|path| path.path())
        });
        let bundle = BundlePath::in_tree(size / u64::from(TILE_WIDTH), size).map(|path| path.path());
        let partials = tiles.chain(bundle).filter_map(|name| Some((name.split_once(".p/")?.0.to_owned(), paths.log().join(&name))));
        Self { partials: partials.collect(), ..Self::default() }
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.unsettled_stages.is_empty()
    }

    pub(crate) fn must_settle(&self) -> bool {
        self.unsettled_stages.len() >= UNSETTLED_STAGES_MAX || self.unsettled_bytes >= UNSETTLED_BYTES_MAX
    }

    /// Makes what was published durable.
    pub(crate) fn sync(&mut self, disk: &Disk, paths: &Paths) -> io::Result<()> {
        if self.is_settled() {
            return Ok(());
        }
        self.unsettled_files.push(paths.newest_checkpoint());
        self.unsettled_files.sort();
        self.unsettled_files.dedup();
        disk.sync(&self.unsettled_files, paths.root())
    }

    /// Removes the stage files of what is durable elsewhere by now.
    pub(crate) fn release(&mut self, paths: &Paths) -> io::Result<()> {
        stage::remove(paths, &self.unsettled_stages)?;
        // Readers fall back to the wider file; a leftover would only take up room.
        for old in &self.replaced {
            let _ = std::fs::remove_file(old);
        }
        *self = Self { partials: std::mem::take(&mut self.partials), ..Self::default() };
        Ok(())
    }
}
