//! Reading the published log: leaves out of entry bundles, hashes out of tiles, at one checkpoint.
//!
//! A partial tile or bundle of a smaller size is the beginning of a wider one, so what was replaced on
//! disk is still readable.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use quorate_tlog::tile::TILE_WIDTH;
use quorate_tlog::{BundlePath, EntryBundle, TilePath, TileReader, TileWidth, TreeHead};
use tokio::sync::watch;

use super::files::{Paths, Publication};
use crate::cache::Bounded;

/// Bundles whose entry offsets are remembered: 1 KiB each.
const OFFSETS_KEPT: usize = 2_048;

/// A durable checkpoint and all below it, as readers of the index see it.
#[derive(Clone, Debug)]
pub struct Published {
    /// Size and root.
    pub head: TreeHead,
    /// The signed checkpoint.
    pub note: Bytes,
    /// The last bundle, if it is a partial one.
    pub(crate) edge: Option<Arc<EntryBundle>>,
}

/// The checkpoint that is handed out: that of [`Published`], or the last one that a quorum has cosigned.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Size and root.
    pub head: TreeHead,
    /// The signed checkpoint with its cosignatures; empty before the first.
    pub note: Bytes,
}

/// Reads what is published.
#[derive(Debug)]
pub struct LeafReader {
    folder: PathBuf,
    published: watch::Sender<Arc<Published>>,
    /// Where checkpoints wait for witnesses: the last one that had enough.
    witnessed: Option<watch::Sender<Shown>>,
    /// Ends of the entries of full bundles.
    offsets: Bounded<u64, Arc<Vec<u32>>>,
}

impl LeafReader {
    pub(crate) fn new(paths: &Paths) -> Self {
        let nothing = Published { head: TreeHead::empty(), note: Bytes::new(), edge: None };
        let unseen = || watch::Sender::new(Shown { head: TreeHead::empty(), note: Bytes::new() });
        Self {
            folder: paths.log(),
            published: watch::Sender::new(Arc::new(nothing)),
            witnessed: (paths.publication() == Publication::Witnessed).then(unseen),
            offsets: Bounded::new(OFFSETS_KEPT),
        }
    }

    /// The latest durable checkpoint. What is handed out as *the* checkpoint is [`Self::shown`].
    pub fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published.borrow())
    }

    /// Tells of every later [`Self::published`].
    pub fn follow(&self) -> watch::Receiver<Arc<Published>> {
        self.published.subscribe()
    }

    /// Tells of every later checkpoint that enough witnesses have cosigned; nothing where none are asked.
    pub fn follow_witnessed(&self) -> Option<watch::Receiver<Shown>> {
        self.witnessed.as_ref().map(watch::Sender::subscribe)
    }

    pub(crate) fn publish(&self, published: Published) {
        self.published.send_replace(Arc::new(published));
    }

    /// The checkpoint that is handed out.
    pub fn shown(&self) -> Shown {
        if let Some(witnessed) = &self.witnessed {
            return witnessed.borrow().clone();
        }
        let published = self.published();
        Shown { head: published.head, note: published.note.clone() }
    }

    /// Hands out a checkpoint that enough witnesses have cosigned; whether it does: never a smaller one.
    pub(crate) fn show(&self, shown: Shown) -> bool {
        let Some(witnessed) = &self.witnessed else { return false };
        witnessed.send_if_modified(|before| {
            let grows = shown.head.size >= before.head.size;
            if grows {
                *before = shown;
            }
            grows
        })
    }

    /// The bytes of a published leaf. Complexity: one read once the bundle's offsets are known.
    pub fn leaf(&self, index: u64) -> io::Result<Vec<u8>> {
        let published = self.published();
        let width = u64::from(TILE_WIDTH);
        if index >= published.head.size {
            return Err(missing(format!("leaf {index} of {}", published.head.size)));
        }
        let (bundle, entry) = (index / width, usize::try_from(index % width).map_err(io::Error::other)?);
        if bundle == published.head.size / width {
            let entries = published.edge.as_ref().map_or(&[][..], |edge| edge.entries());
            return entries.get(entry).map(|entry| entry.as_bytes().to_vec()).ok_or_else(|| missing(format!("leaf {index}")));
        }
        self.leaf_of_full_bundle(bundle, entry)
    }

    fn leaf_of_full_bundle(&self, bundle: u64, entry: usize) -> io::Result<Vec<u8>> {
        let path = self.folder.join(BundlePath::new(bundle, TileWidth::FULL).path());
        let ends = match self.offsets.get(&bundle) {
            Some(ends) => ends,
            None => self.offsets_of(bundle, &path)?,
        };
        let start = if entry == 0 { 0 } else { ends[entry - 1] } + 2;
        let mut bytes = vec![0; usize::try_from(ends[entry] - start).map_err(io::Error::other)?];
        File::open(path)?.read_exact_at(&mut bytes, u64::from(start))?;
        Ok(bytes)
    }

    fn offsets_of(&self, bundle: u64, path: &Path) -> io::Result<Arc<Vec<u32>>> {
        let parsed = EntryBundle::parse(&fs::read(path)?).map_err(io::Error::other)?;
        let mut end = 0;
        let mut ends = Vec::with_capacity(parsed.entries().len());
        for entry in parsed.entries() {
            end += 2 + u32::try_from(entry.as_bytes().len()).map_err(io::Error::other)?;
            ends.push(end);
        }
        if ends.len() != usize::from(TILE_WIDTH) {
            return Err(io::Error::other(format!("bundle {bundle} has {} entries", ends.len())));
        }
        let ends = Arc::new(ends);
        self.offsets.put(bundle, Arc::clone(&ends));
        Ok(ends)
    }

    /// The bytes of a published tile, cut to the width that is asked for.
    pub fn tile(&self, path: &TilePath) -> io::Result<Vec<u8>> {
        let size = self.published().head.size;
        let held = TilePath::in_tree(path.level(), path.index(), size).filter(|held| held.width() >= path.width());
        held.ok_or_else(|| missing(path.path()))?;
        self.read_tile(path)
    }

    /// The bytes of a published entry bundle, cut to the width that is asked for.
    pub fn bundle(&self, path: &BundlePath) -> io::Result<Vec<u8>> {
        let size = self.published().head.size;
        let held = BundlePath::in_tree(path.index(), size).filter(|held| held.width() >= path.width());
        held.ok_or_else(|| missing(path.path()))?;
        if path.width().is_full() {
            return fs::read(self.folder.join(path.path()));
        }
        self.bundle_on_disk(path).map(|bundle| bundle.encode())
    }

    /// A bundle whether it is published or not, cut to the width that is asked for.
    pub(crate) fn bundle_on_disk(&self, path: &BundlePath) -> io::Result<EntryBundle> {
        let bytes = self.read_widest(&path.path(), path.width().is_full())?;
        let mut entries = EntryBundle::parse(&bytes).map_err(io::Error::other)?.entries().to_vec();
        entries.truncate(usize::from(path.width().get()));
        EntryBundle::new(entries).map_err(io::Error::other)
    }

    /// A file of the log or, when it was replaced meanwhile, the wider one that replaced it.
    fn read_widest(&self, name: &str, full: bool) -> io::Result<Vec<u8>> {
        match fs::read(self.folder.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !full => {}
            other => return other,
        }
        let base = name.split(".p/").next().unwrap_or(name);
        let partials = self.folder.join(format!("{base}.p"));
        for _ in 0..3 {
            match fs::read(self.folder.join(base)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => return other,
            }
            if let Some(widest) = widest_in(&partials)?
                && let Ok(bytes) = fs::read(partials.join(widest.to_string()))
            {
                return Ok(bytes);
            }
        }
        Err(missing(name.to_owned()))
    }
}

impl TileReader for LeafReader {
    type Error = io::Error;

    fn read_tile(&self, path: &TilePath) -> io::Result<Vec<u8>> {
        let mut bytes = self.read_widest(&path.path(), path.width().is_full())?;
        bytes.truncate(usize::from(path.width().get()) * quorate_tlog::hash::HASH_BYTES);
        Ok(bytes)
    }
}

fn widest_in(folder: &Path) -> io::Result<Option<u16>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut widest = None;
    for entry in entries {
        let width = entry?.file_name().to_string_lossy().parse::<u16>().ok();
        widest = widest.max(width);
    }
    Ok(widest)
}

fn missing(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, what)
}
