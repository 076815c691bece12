//! The commit rule: stage → durable → sign → compare-and-swap checkpoint → publish.
//!
//! Two durable writes a batch: the stage file, and the signed checkpoint in the index. Only then is
//! anything acknowledged; only after that is it published. The index rows are folded into a file later,
//! before their stage file goes. A failure in between leaves the outcome in doubt, and [`Writer::recover`] settles it from what is on disk: the
//! same functions that a start runs. `docs/spec/coordinator-storage.md`, section "Commit rule".

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use quorate_proto::feed::EquivocationProof;
use quorate_proto::{Digest, OperatorId};
use quorate_tally::{Declarations, Drills};
use quorate_tlog::{Entry, TreeHead};
use rustix::fs::{FlockOperation, flock};

use super::batch::{Batch, Census, Effects, Ledger};
use super::files::{Disk, Paths};
use super::index::{Index, IndexError, Order, Rows, Rung};
use super::leaf::Leaf;
use super::leaves::LeafReader;
use super::log::{Grown, Log, LogKey, Publisher, Unsettled};
use super::rows::{self, SlotKey, VerdictRow};
use super::stage::Stage;
use super::{CHECKS_KEPT, COMMITMENTS_KEPT, STATEMENTS_KEPT, Store, StoreError};
use crate::cache::Bounded;

/// Fresh rows that are folded: about 200 bytes of memory each, and as many again while the fold goes on.
pub(super) const FRESH_ROWS: usize = 131_072;

/// How far settling may fall behind before the writer waits for it, in percent of what makes it due.
const BEHIND_PERCENT: u64 = 200;

/// The one who writes.
pub struct Writer {
    pub(super) store: Arc<Store>,
    pub(super) key: LogKey,
    pub(super) ledger: Ledger,
    pub(super) log: Log,
    pub(super) note: Bytes,
    pub(super) publisher: Publisher,
    /// Settling that goes on beside the writer.
    settling: Option<JoinHandle<Result<(), StoreError>>>,
}

/// A batch that is durable, and may be acknowledged.
#[must_use = "a durable batch has to be published"]
pub(crate) struct Durable {
    start: u64,
    grown: Option<Grown>,
    effects: Effects,
}

impl Durable {
    /// Its first leaf.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }
}

impl Writer {
    /// Locks the data directory and takes the store up, whatever state a crash left it in.
    pub fn open(paths: Paths, key: LogKey) -> Result<(Self, Rung), StoreError> {
        let preparing = StoreError::io("preparing the data directory");
        for folder in [paths.root().to_path_buf(), paths.log(), paths.stage()] {
            fs::create_dir_all(folder).map_err(preparing)?;
        }
        let lock = lock(&paths)?;
        let (index, rung) = Index::open(&paths.index())?;
        let reader = LeafReader::new(&paths);
        let store = Arc::new(Store {
            paths,
            disk: Disk::default(),
            index,
            reader,
            statements: Bounded::new(STATEMENTS_KEPT),
            commitments: Bounded::new(COMMITMENTS_KEPT),
            checks: Bounded::new(CHECKS_KEPT),
            census: Mutex::new(Census::default()),
            equivocations: RwLock::new(Arc::new(Vec::new())),
            drills: RwLock::default(),
            declarations: RwLock::default(),
            wanted_turn: AtomicU64::new(0),
            _lock: lock,
        });
        let log = Log::resume(&TreeHead::empty(), store.log())?;
        let (ledger, publisher) = (Ledger::default(), Publisher::default());
        let mut writer = Self { store, key, ledger, log, note: Bytes::new(), publisher, settling: None };
        if rung == Rung::Rebuild {
            writer.rebuild()?;
        }
        writer.recover()?;
        writer.store.resume_shown(writer.key.signer.verifier());
        Ok((writer, rung))
    }

    /// What everybody reads.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// An empty batch.
    pub(crate) fn batch(&self) -> Batch<'_> {
        Batch::new(&self.ledger, &self.store.index, self.log.size())
    }

    /// Makes a batch durable. After an error its outcome is in doubt: [`Self::recover`].
    pub(crate) fn commit(&mut self, (leaves, rows, effects): (Vec<Entry>, Rows, Effects)) -> Result<Durable, StoreError> {
        if leaves.is_empty() {
            self.store.index.add(rows);
            return Ok(Durable { start: self.log.size(), grown: None, effects });
        }
        let stage = Stage::new(self.log.head(), leaves);
        stage.write(&self.store.disk, &self.store.paths).map_err(StoreError::io("staging a batch"))?;
        self.finish(&stage, rows, effects)
    }

    /// The second half of a commit, and all of it where recovery finds a stage file.
    pub(super) fn finish(&mut self, stage: &Stage, rows: Rows, effects: Effects) -> Result<Durable, StoreError> {
        let grown = self.log.grow(stage, &self.key)?;
        self.store.index.commit(&self.store.disk, &self.note, &grown.note, rows)?;
        self.note = grown.note.clone();
        self.log = grown.log.clone();
        self.ledger.nodes.extend(effects.nodes.iter().map(|(node, state)| (*node, state.clone())));
        Ok(Durable { start: stage.start, grown: Some(grown), effects })
    }

    /// Shows durable batches to the world: all that are not yet published, in their order.
    pub(crate) fn publish(&mut self, mut batches: Vec<Durable>) -> Result<Vec<Effects>, StoreError> {
        for Durable { effects, .. } in &mut batches {
            let told = effects.drills.iter().chain(&effects.declarations);
            for (slot, leaf) in self.learn(told.map(|(leaf, envelope)| (*leaf, envelope.as_slice())))? {
                effects.dirty.entry(slot).or_insert(leaf);
            }
        }
        let grown: Vec<_> = batches.iter().filter_map(|durable| Some((durable.start, durable.grown.as_ref()?))).collect();
        if !grown.is_empty() {
            let published = self.publisher.publish(&self.store.disk, &self.store.paths, &grown);
            published.map_err(StoreError::io("publishing a batch"))?;
            self.store.reader.publish(self.log.published(self.note.clone()));
        }
        let effects = batches.into_iter().map(|durable| self.take_effect(durable.effects)).collect::<Result<_, _>>()?;
        self.settle_if_due()?;
        Ok(effects)
    }

    fn take_effect(&self, mut effects: Effects) -> Result<Effects, StoreError> {
        for (leaf, statement) in &effects.statements {
            self.store.statements.put(*leaf, Arc::clone(statement));
        }
        for (leaf, commitment) in &effects.commitments {
            self.store.commitments.put(*leaf, Arc::clone(commitment));
        }
        for (leaf, check) in &effects.checks {
            self.store.checks.put(*leaf, Arc::clone(check));
        }
        for (_, before, now) in &effects.verdicts {
            self.count(*before, *now);
        }
        if !effects.caught.is_empty() {
            effects.exposed = self.learn_equivocations(effects.caught.iter().map(|node| Ok(rows::equivocation(*node))))?;
        }
        Ok(effects)
    }

    fn count(&self, before: Option<VerdictRow>, now: VerdictRow) {
        let mut census = self.store.lock_census();
        if let Some(before) = before {
            census.remove(before.state, before.flags);
        }
        census.add(now.state, now.flags);
    }

    /// Settles when it cannot wait until there is nothing else to do. An error may be that of an earlier settling.
    pub(crate) fn settle_if_due(&mut self) -> Result<(), StoreError> {
        let rows = 100 * self.store.index.fresh_rows() as u64 / FRESH_ROWS as u64;
        let fullness = rows.max(self.publisher.fullness_percent());
        if fullness < 100 {
            return Ok(());
        }
        if fullness >= BEHIND_PERCENT {
            self.await_settling()?;
        }
        self.settle_aside()
    }

    /// Syncs what was published, folds what is fresh, and removes the stage files that this makes needless.
    pub(crate) fn settle(&mut self) -> Result<(), StoreError> {
        self.await_settling()?;
        self.settle_aside()?;
        self.await_settling()
    }

    /// The same on a thread of its own. Returns at once; nothing new is begun while the last settling goes on.
    pub(crate) fn settle_aside(&mut self) -> Result<(), StoreError> {
        if self.settling.as_ref().is_some_and(|settling| !settling.is_finished()) {
            return Ok(());
        }
        self.await_settling()?;
        if self.publisher.is_settled() && self.store.index.is_folded() {
            return Ok(());
        }
        let (store, unsettled, size) = (Arc::clone(&self.store), self.publisher.take_unsettled(), self.log.size());
        store.index.freeze();
        let begun = thread::Builder::new().name("settling".to_owned()).spawn(move || store.settle(unsettled, size));
        self.settling = Some(begun.map_err(StoreError::io("beginning to settle"))?);
        Ok(())
    }

    /// Waits for the settling that goes on, if one does.
    pub(super) fn await_settling(&mut self) -> Result<(), StoreError> {
        let panicked = |_| StoreError::io("settling")(io::Error::other("the thread panicked"));
        self.settling.take().map_or(Ok(()), |settling| settling.join().map_err(panicked)?)
    }

    /// Logs those policies that are not in the log, as one batch.
    pub fn log_policies(&mut self, policies: &[impl AsRef<[u8]>]) -> Result<(), StoreError> {
        let mut batch = self.batch();
        policies.iter().try_for_each(|policy| batch.policy(policy.as_ref()))?;
        if batch.is_empty() {
            return Ok(());
        }
        let parts = batch.into_parts();
        let durable = self.commit(parts)?;
        self.publish(vec![durable]).map(drop)
    }

    /// Slots whose results may not be in a verdict under `policy` yet, each with the first such leaf.
    pub fn untallied(&self, policy: Digest) -> Result<BTreeMap<SlotKey, u64>, StoreError> {
        let row = self.store.index.get(rows::TALLIED_KEY)?;
        let from = row.and_then(|value| rows::read_tallied(&value, policy)).unwrap_or(0);
        let mut slots = BTreeMap::new();
        let declarations = self.store.declarations();
        for leaf in from..self.log.size() {
            if let Some(declared) = declarations.at(leaf) {
                for slot in self.store.slots_declared(&declarations, declared)? {
                    slots.entry(slot).or_insert(leaf);
                }
            } else if let Some(slot) = self.store.slot_of_leaf(leaf)? {
                slots.entry(slot).or_insert(leaf);
            }
        }
        // A proof found just before a crash is not among those results.
        let exposed = self.store.equivocations().iter().map(EquivocationProof::operator).collect();
        for (slot, leaf) in self.slots_beside(&exposed)? {
            slots.entry(slot).or_insert(leaf);
        }
        Ok(slots)
    }

    /// The slots in which these operators have results, each with the last leaf of the log: what they wait
    /// for is newer than all their results. Complexity: one index row a slot.
    pub(crate) fn slots_beside(&self, operators: &BTreeSet<OperatorId>) -> Result<BTreeMap<SlotKey, u64>, StoreError> {
        let last = self.log.size().saturating_sub(1);
        let mut slots = BTreeMap::new();
        for operator in operators {
            slots.extend(self.store.slots_of_operator(*operator)?.into_iter().map(|slot| (slot, last)));
        }
        Ok(slots)
    }

    /// Takes up steps of drills and declarations among leaves, before their log can be read: whoever tallies up to a size
    /// knows all that stands before it. The slots to be tallied again. Complexity: one look at each leaf.
    pub(super) fn learn<'l>(&self, leaves: impl Iterator<Item = (u64, &'l [u8])>) -> Result<BTreeMap<SlotKey, u64>, StoreError> {
        let (mut drills, mut declarations) = (None, None);
        let mut slots = BTreeMap::new();
        for (leaf, bytes) in leaves {
            match Leaf::read(bytes)? {
                Leaf::Drill => {
                    let known = drills.get_or_insert_with(|| Drills::clone(&self.store.drills()));
                    slots.extend(self.take_drill(known, leaf, bytes)?.map(|slot| (SlotKey::of(&slot), leaf)));
                }
                Leaf::Declaration => {
                    let known = declarations.get_or_insert_with(|| Declarations::clone(&self.store.declarations()));
                    slots.extend(self.take_declaration(known, leaf, bytes)?.into_iter().map(|slot| (slot, leaf)));
                }
                _ => {}
            }
        }
        if let Some(known) = drills {
            self.know_drills(known);
        }
        if let Some(known) = declarations {
            self.know_declarations(known);
        }
        Ok(slots)
    }

    /// Takes up the proofs against operators that had none. One an operator says all: it has no vote, and
    /// however many of its nodes are caught costs no more. Whom it is about.
    fn learn_equivocations(&self, keys: impl Iterator<Item = Result<Vec<u8>, StoreError>>) -> Result<BTreeSet<OperatorId>, StoreError> {
        let mut proofs = Vec::clone(&self.store.equivocations());
        let mut exposed = BTreeSet::new();
        for key in keys {
            let value = self.store.index.get(&key?)?.ok_or(IndexError::Row("equivocation"))?;
            let row = rows::EquivocationRow::read(&value)?;
            let item = |n: usize| self.store.item(row.leaves[n], row.certificates[n]);
            let (first, second) = (item(0)?, item(1)?);
            let operators: BTreeSet<_> = [&first, &second]
                .into_iter()
                .map(|item| super::leaf::certificate(&item.certificate).map(|certificate| certificate.operator()))
                .collect::<Result<_, _>>()?;
            if operators.iter().all(|operator| proofs.iter().any(|proof: &EquivocationProof| proof.operator() == *operator)) {
                continue;
            }
            let proof = EquivocationProof::verify(first, second, &operators).map_err(|error| StoreError::Resume(error.to_string()))?;
            exposed.insert(proof.operator());
            proofs.push(proof);
        }
        if !exposed.is_empty() {
            *self.store.equivocations.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(proofs);
        }
        Ok(exposed)
    }

    pub(super) fn load_equivocations(&self) -> Result<(), StoreError> {
        *self.store.equivocations.write().unwrap_or_else(PoisonError::into_inner) = Arc::default();
        let rows = self.store.index.scan(rows::EQUIVOCATION_PREFIX, Order::Ascending);
        self.learn_equivocations(rows.map(|row| Ok(row?.0))).map(drop)
    }
}

impl Store {
    /// The slots in which an operator has results.
    pub(super) fn slots_of_operator(&self, operator: OperatorId) -> Result<BTreeSet<SlotKey>, StoreError> {
        let mut slots = BTreeSet::new();
        for row in self.index.scan(&rows::operator_slots_prefix(operator), Order::Ascending) {
            slots.extend(rows::slots_in(&row?.1)?);
        }
        Ok(slots)
    }

    /// What the log's size was when the rows were frozen, and what was published up to then. If only a part of it
    /// succeeds, stage files still say all.
    fn settle(&self, mut unsettled: Unsettled, size: u64) -> Result<(), StoreError> {
        unsettled.sync(&self.disk, &self.paths).map_err(StoreError::io("settling published files"))?;
        self.index.fold(&self.disk, size)?;
        unsettled.release(&self.disk, &self.paths).map_err(StoreError::io("removing settled stage files"))?;
        Ok(self.index.merge()?)
    }
}

/// A settling that goes on holds the folder's lock.
impl Drop for Writer {
    fn drop(&mut self) {
        // What it failed with, the next start finds out.
        let _ = self.await_settling();
    }
}

pub(super) fn lock(paths: &Paths) -> Result<File, StoreError> {
    let open = File::options().create(true).truncate(false).write(true).open(paths.lock());
    let file = open.map_err(StoreError::io("opening the lock file"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::Locked(paths.root().to_path_buf())),
        Err(error) => Err(StoreError::Io { activity: "locking the data directory", source: io::Error::from(error) }),
    }
}
