//! Taking the store up from what is on disk: at a start, and after a failed write.
//!
//! Stage files say what comes next; the index says what is committed; tiles, bundles and `checkpoint`
//! are brought into line. What cannot be brought into line stops the coordinator: it never guesses.

use std::fs;
use std::io;

use bytes::Bytes;
use quorate_tlog::tile::TILE_WIDTH;
use quorate_tlog::{BundlePath, Checkpoint, TilePath, TileReader as _, TreeHead, TreeView};

use super::batch::{Batch, Census, Effects, Ledger, NodeState};
use super::index::{Order, Rows};
use super::log::{Log, Publisher, sign};
use super::rows::{self, NodeRow};
use super::stage::{self, Stage};
use super::writer::{FRESH_ROWS, Writer};
use super::{StoreError, leaf};

use std::sync::Arc;

/// Leaves replayed into the index at a time.
const REBUILD_BUNDLES: u64 = 8;

impl Writer {
    /// Settles what is in doubt. Idempotent.
    pub fn recover(&mut self) -> Result<(), StoreError> {
        // Whatever it came to, what is on disk decides.
        let _ = self.await_settling();
        self.store.disk.forget_spares();
        let stages = stage::read_all(&self.store.paths)?;
        // Fresh rows of this process stay: readers go on meanwhile.
        let held = self.store.index.folded()?.max(self.log.size());
        self.note = Bytes::from(self.store.index.checkpoint()?);
        let committed = self.head_of(&self.note)?;
        let published = self.published_heads()?;
        refuse_lost_history(published.last(), committed.size.max(stages.last().map_or(0, Stage::end)))?;

        let base = stages.first().map_or(committed, |stage| TreeHead { size: stage.start, root: stage.root });
        self.log = Log::resume(&base, self.store.log())?;
        self.publisher = Publisher::at(base.size, &self.store.paths);
        let (done, next): (Vec<_>, Vec<_>) = stages.into_iter().partition(|stage| stage.end() <= committed.size);
        for stage in &done {
            self.republish(stage)?;
        }
        if self.log.head() != committed {
            return Err(StoreError::Resume(format!("stage files lead to size {}, committed is {}", self.log.size(), committed.size)));
        }
        for stage in &done {
            let leaves = (stage.start..).zip(stage.leaves()).map(|(leaf, entry)| (leaf, entry.as_bytes()));
            self.learn(leaves)?;
        }
        self.store.reader.publish(self.log.published(self.note.clone()));
        self.take_up_index(&done, held, committed.size)?;
        self.load_census()?;
        self.load_equivocations()?;
        self.load_drills()?;
        self.load_declarations()?;
        for stage in &next {
            self.commit_staged(stage)?;
        }
        published.into_iter().try_for_each(|head| self.refuse_second_root(head))?;
        self.rewrite_checkpoint()?;
        self.settle()
    }

    /// Derives the rows of committed batches that the index does not have: it has those up to size `held`.
    fn take_up_index(&mut self, done: &[Stage], mut held: u64, committed: u64) -> Result<(), StoreError> {
        self.ledger = self.load_ledger()?;
        for stage in done {
            if stage.start != held {
                continue;
            }
            let (rows, effects) = self.replay(stage)?;
            self.store.index.add(rows);
            self.ledger.nodes.extend(effects.nodes);
            held = stage.end();
        }
        if held == committed {
            return Ok(());
        }
        let advice = "move the folder `index` away, so that it is rebuilt";
        Err(StoreError::Resume(format!("the index has rows up to size {held} of {committed}, and no stage file for the rest: {advice}")))
    }

    fn replay(&self, stage: &Stage) -> Result<(Rows, Effects), StoreError> {
        let mut batch = Batch::new(&self.ledger, &self.store.index, stage.start);
        for leaf in stage.leaves() {
            batch.replay(leaf.clone())?;
        }
        let (_, rows, effects) = batch.into_parts();
        Ok((rows, effects))
    }

    /// What was published once must be a prefix of what is published next.
    fn refuse_second_root(&self, published: TreeHead) -> Result<(), StoreError> {
        let view = TreeView::new(self.log.head(), self.store.log()).map_err(|error| StoreError::Resume(error.to_string()))?;
        let root = view.root_at(published.size).map_err(|error| StoreError::Resume(error.to_string()))?;
        if root == published.root {
            return Ok(());
        }
        Err(StoreError::Resume(format!("the published checkpoint has another root at size {}", published.size)))
    }

    fn head_of(&self, note: &[u8]) -> Result<TreeHead, StoreError> {
        if note.is_empty() {
            return Ok(TreeHead::empty());
        }
        let checkpoint = Checkpoint::open(note, self.key.signer.verifier()).map_err(StoreError::Checkpoint)?;
        Ok(*checkpoint.head())
    }

    /// The published checkpoint and the one that waits for witnesses, the smaller first, if they can be read.
    /// A power cut may have emptied an unsettled one.
    fn published_heads(&self) -> Result<Vec<TreeHead>, StoreError> {
        let mut heads = Vec::new();
        for path in [self.store.paths.checkpoint(), self.store.paths.waiting_checkpoint()] {
            match fs::read(path) {
                Ok(note) => heads.extend(self.head_of(&note).ok().filter(|head| head.size > 0)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io("reading the checkpoint")(error)),
            }
        }
        heads.sort_by_key(|head| head.size);
        Ok(heads)
    }

    /// A committed batch whose files may not have reached the disk.
    fn republish(&mut self, stage: &Stage) -> Result<(), StoreError> {
        self.expect_next(stage)?;
        let grown = self.log.grow(stage, &self.key)?;
        let published = self.publisher.publish_tiles(&self.store.disk, &self.store.paths, &[(stage.start, &grown)]);
        published.map_err(StoreError::io("publishing a batch"))?;
        self.log = grown.log;
        Ok(())
    }

    /// A batch that was staged and not committed: it is what comes next.
    fn commit_staged(&mut self, stage: &Stage) -> Result<(), StoreError> {
        self.expect_next(stage)?;
        let (rows, effects) = self.replay(stage)?;
        let durable = self.finish(stage, rows, effects)?;
        self.publish(vec![durable]).map(drop)
    }

    fn expect_next(&self, stage: &Stage) -> Result<(), StoreError> {
        let head = self.log.head();
        if (stage.start, stage.root) == (head.size, head.root) {
            return Ok(());
        }
        Err(StoreError::Resume(format!("a stage file begins at {}, the log ends at {}", stage.start, head.size)))
    }

    fn rewrite_checkpoint(&mut self) -> Result<(), StoreError> {
        let writing = StoreError::io("writing the checkpoint");
        if self.note.is_empty() {
            // An empty log has a checkpoint too, so that followers can begin at the beginning.
            let note = sign(&self.key, TreeHead::empty())?;
            self.store.reader.publish(self.log.published(note));
            return Ok(());
        }
        let path = self.store.paths.newest_checkpoint();
        if fs::read(&path).is_ok_and(|held| held == self.note) {
            return Ok(());
        }
        self.store.disk.write_durable(super::files::Point::Publish, &path, &self.note).map_err(writing)
    }

    fn load_ledger(&self) -> Result<Ledger, StoreError> {
        let mut ledger = Ledger::default();
        for row in self.store.index.scan(rows::NODE_PREFIX, Order::Ascending) {
            let (key, value) = row?;
            let (node, row) = (rows::node_at_end(&key)?, NodeRow::read(&value)?);
            let bytes = self.store.log().leaf(row.certificate).map_err(StoreError::io("reading a certificate"))?;
            let certificate = Arc::new(leaf::certificate(&bytes)?);
            ledger.nodes.insert(node, NodeState { row, certificate });
        }
        Ok(ledger)
    }

    fn load_census(&self) -> Result<(), StoreError> {
        let mut census = Census::default();
        for row in self.store.index.scan(rows::LISTING_PREFIX, Order::Ascending) {
            let (_, state, flags) = rows::read_listing(&row?.1)?;
            census.add(state, flags);
        }
        *self.store.lock_census() = census;
        Ok(())
    }

    /// Fills an empty index from the log: the last rung of the ladder. Stage files are left to
    /// [`Self::recover`]: to an empty index none of them is committed.
    pub(super) fn rebuild(&mut self) -> Result<(), StoreError> {
        let stages = stage::read_all(&self.store.paths)?;
        let published = self.published_heads()?.pop();
        let first = stages.first().map(|stage| TreeHead { size: stage.start, root: stage.root });
        let head = first.or(published).unwrap_or_else(TreeHead::empty);
        let end = stages.last().map_or(head.size, Stage::end);
        if published.is_some_and(|published| published.size > end) {
            return Err(StoreError::Resume("stage files end before the published checkpoint".to_owned()));
        }
        if head.size == 0 && stages.is_empty() && self.store.paths.log().join("tile").exists() {
            return Err(StoreError::Resume("there are tiles, but no checkpoint and no stage file: restore one of them".to_owned()));
        }
        self.log = Log::resume(&head, self.store.log())?;
        self.store.reader.publish(self.log.published(Bytes::new()));
        let note = if head.size == 0 { Bytes::new() } else { sign(&self.key, head)? };
        self.replay_leaves(&head)?;
        self.store.index.freeze();
        self.store.index.fold(&self.store.disk, head.size)?;
        self.store.index.complete(&note)?;
        Ok(())
    }

    fn replay_leaves(&mut self, head: &TreeHead) -> Result<(), StoreError> {
        let width = u64::from(TILE_WIDTH);
        let bundles = head.size.div_ceil(width);
        let mut ledger = Ledger::default();
        for first in (0..bundles).step_by(usize::try_from(REBUILD_BUNDLES).unwrap_or(1)) {
            let mut batch = Batch::new(&ledger, &self.store.index, first * width);
            for index in first..(first + REBUILD_BUNDLES).min(bundles) {
                for entry in self.checked_bundle(index, head.size)? {
                    batch.replay(entry)?;
                }
            }
            let (_, rows, effects) = batch.into_parts();
            self.store.index.add(rows);
            if self.store.index.fresh_rows() >= FRESH_ROWS {
                self.store.index.freeze();
                self.store.index.fold(&self.store.disk, (first * width).min(head.size))?;
                self.store.index.merge()?;
            }
            ledger.nodes.extend(effects.nodes);
        }
        Ok(())
    }

    /// A bundle whose entries are those that the tree has hashed.
    pub(super) fn checked_bundle(&self, index: u64, size: u64) -> Result<Vec<quorate_tlog::Entry>, StoreError> {
        checked_bundle(self.store.log(), index, size)
    }
}

/// A published checkpoint ahead of all that index and stage files know means that they are older than
/// the log: going on would sign a second history.
fn refuse_lost_history(published: Option<&TreeHead>, known: u64) -> Result<(), StoreError> {
    match published {
        Some(published) if published.size > known => Err(StoreError::Resume(format!(
            "the published checkpoint (size {}) is ahead of the index (size {known}): move the folder `index` away, so that it is rebuilt",
            published.size
        ))),
        _ => Ok(()),
    }
}

/// A bundle whose entries are those that the tree has hashed.
pub(super) fn checked_bundle(log: &super::leaves::LeafReader, index: u64, size: u64) -> Result<Vec<quorate_tlog::Entry>, StoreError> {
    let reading = StoreError::io("reading the log");
    let path = BundlePath::in_tree(index, size).ok_or(StoreError::Full)?;
    let tile = TilePath::in_tree(0, index, size).ok_or(StoreError::Full)?;
    let bundle = log.bundle_on_disk(&path).map_err(reading)?;
    let hashes: Vec<u8> = bundle.leaf_hashes().iter().flat_map(|hash| *hash.as_bytes()).collect();
    if log.read_tile(&tile).map_err(reading)? != hashes {
        return Err(StoreError::Resume(format!("{path} does not match its tile")));
    }
    Ok(bundle.entries().to_vec())
}
