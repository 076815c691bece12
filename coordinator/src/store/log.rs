//! The log on disk: grows the tree by a batch and publishes what follows.
//!
//! Decides which files a batch comes to and in which order they appear: bundles and tiles first, the
//! checkpoint last. When it is right to do so is the commit rule's (`writer.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use quorate_tlog::bundle::{BundleWrite, append_entries};
use quorate_tlog::tile::TILE_WIDTH;
use quorate_tlog::{BundlePath, Checkpoint, EntryBundle, Origin, Signer, TilePath, TileReader as _, Tree, TreeHead};

use super::StoreError;
use super::files::{Disk, Paths, Point};
use super::leaves::{LeafReader, Published};
use super::stage::{self, Stage};

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

    /// The log with a batch added, and the checkpoint for it. Deterministic: the same leaves at the
    /// same place always come to the same bytes.
    pub(crate) fn grow(&self, stage: &Stage, key: &LogKey) -> Result<Grown, StoreError> {
        let appended = self.tree.append(stage.hashes()).map_err(|_| StoreError::Full)?;
        let bundles = append_entries(self.tree.size(), self.edge.as_deref(), stage.leaves()).map_err(StoreError::Entry)?;
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

/// Publishes batches, and remembers what has to be settled.
#[derive(Debug, Default)]
pub(crate) struct Publisher {
    unsettled: Unsettled,
    /// The partial tiles and bundles of the last checkpoint, by what they are a part of.
    partials: BTreeMap<String, PathBuf>,
}

/// What was published and not settled: files that were written without a sync are synced, and then the stage files
/// that could bring them back are removed.
#[derive(Debug, Default)]
pub(crate) struct Unsettled {
    files: Vec<PathBuf>,
    stages: Vec<u64>,
    bytes: u64,
    /// Partial files that wider ones have replaced. They go once the wider ones are durable.
    replaced: Vec<PathBuf>,
}

/// Settle at least this often, to bound what a restart has to read.
const UNSETTLED_STAGES: u64 = 64;
const UNSETTLED_BYTES: u64 = 64 * 1024 * 1024;

impl Publisher {
    /// Writes the files of batches that follow one another, each with its start, the checkpoint last.
    pub(crate) fn publish(&mut self, disk: &Disk, paths: &Paths, batches: &[(u64, &Grown)]) -> io::Result<()> {
        self.publish_tiles(disk, paths, batches)?;
        let Some((_, last)) = batches.last() else { return Ok(()) };
        disk.write_atomic(Point::Publish, &paths.newest_checkpoint(), &last.note)
    }

    /// Writes bundles and tiles. What a later batch has made wider is not written at all.
    pub(crate) fn publish_tiles(&mut self, disk: &Disk, paths: &Paths, batches: &[(u64, &Grown)]) -> io::Result<()> {
        self.unsettled.stages.extend(batches.iter().map(|(start, _)| start));
        let mut widest = BTreeMap::new();
        for (name, bytes) in batches.iter().flat_map(|(_, grown)| &grown.files) {
            let base = name.split(".p/").next().unwrap_or(name);
            widest.insert(base, (name, bytes));
        }
        for (base, (name, bytes)) in widest {
            let path = paths.log().join(name);
            disk.write_atomic(Point::Publish, &path, bytes)?;
            self.unsettled.bytes += bytes.len() as u64;
            self.unsettled.replaced.extend(self.partials.remove(base).filter(|old| *old != path));
            if name.contains(".p/") {
                self.partials.insert(base.to_owned(), path.clone());
            }
            self.unsettled.files.push(path);
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

    /// Whether nothing is left to settle.
    pub(crate) fn is_settled(&self) -> bool {
        self.unsettled.stages.is_empty()
    }

    /// How much there is to settle, in percent of what a restart should have to read.
    pub(crate) fn fullness_percent(&self) -> u64 {
        let stages = 100 * self.unsettled.stages.len() as u64 / UNSETTLED_STAGES;
        stages.max(100 * self.unsettled.bytes / UNSETTLED_BYTES)
    }

    /// Hands out what is to be settled.
    pub(crate) fn take_unsettled(&mut self) -> Unsettled {
        std::mem::take(&mut self.unsettled)
    }
}

impl Unsettled {
    /// Makes what was published durable.
    pub(crate) fn sync(&mut self, disk: &Disk, paths: &Paths) -> io::Result<()> {
        if self.stages.is_empty() {
            return Ok(());
        }
        self.files.push(paths.newest_checkpoint());
        self.files.sort();
        self.files.dedup();
        // What goes anyway need not be on disk.
        let replaced: BTreeSet<_> = self.replaced.iter().collect();
        self.files.retain(|path| !replaced.contains(path));
        disk.sync(&self.files, paths.root())
    }

    /// Removes the stage files of what is durable elsewhere by now.
    pub(crate) fn release(self, disk: &Disk, paths: &Paths) -> io::Result<()> {
        stage::retire(disk, paths, &self.stages)?;
        // Readers fall back to the wider file; a leftover would only take up room.
        for old in &self.replaced {
            let _ = std::fs::remove_file(old);
        }
        Ok(())
    }
}
