//! The commit rule: stage → durable → sign → compare-and-swap checkpoint → publish.
//!
//! Two durable writes a batch: the stage file, and the signed checkpoint in the index. Only then is
//! anything acknowledged; only after that is it published. The index rows are folded into pages later,
//! before their stage file goes. A failure in between leaves the outcome in doubt, and [`Writer::recover`] settles it from what is on disk: the
//! same functions that a start runs. `docs/spec/coordinator-storage.md`, section "Commit rule".

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;

use bytes::Bytes;
use quorate_proto::feed::EquivocationProof;
use quorate_proto::{Digest, OperatorId};
use quorate_tlog::{Entry, TreeHead};
use rustix::fs::{FlockOperation, flock};

use super::batch::{Batch, Census, Effects, Ledger};
use super::files::{Disk, Paths};
use super::index::{Index, IndexError, Order, Rows, Rung};
use super::leaves::LeafReader;
use super::log::{Grown, Log, LogKey, Publisher};
use super::rows::{self, SlotKey, VerdictRow};
use super::stage::Stage;
use super::{CHECKS_KEPT, COMMITMENTS_KEPT, STATEMENTS_KEPT, Store, StoreError};
use crate::cache::Bounded;

/// Fresh rows that are folded at the latest: about 200 bytes of memory each.
pub(super) const FRESH_ROWS_MAX: usize = 131_072;

/// The one who writes.
pub struct Writer {
    pub(super) store: Arc<Store>,
    pub(super) key: LogKey,
    pub(super) ledger: Ledger,
    pub(super) log: Log,
    pub(super) note: Bytes,
    pub(super) publisher: Publisher,
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
            wanted_turn: AtomicU64::new(0),
            _lock: lock,
        });
        let log = Log::resume(&TreeHead::empty(), store.log())?;
        let mut writer = Self { store, key, ledger: Ledger::default(), log, note: Bytes::new(), publisher: Publisher::default() };
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
        let head = self.log.head();
        let stage = Stage { start: head.size, root: head.root, leaves };
        stage.write(&self.store.disk, &self.store.paths).map_err(StoreError::io("staging a batch"))?;
        self.finish(&stage, rows, effects)
    }

    /// The second half of a commit, and all of it where recovery finds a stage file.
    pub(super) fn finish(&mut self, stage: &Stage, rows: Rows, effects: Effects) -> Result<Durable, StoreError> {
        let grown = self.log.grow(&stage.leaves, &self.key)?;
        self.store.index.commit(&self.store.disk, &self.note, &grown.note, rows)?;
        self.note = grown.note.clone();
        self.log = grown.log.clone();
        self.ledger.nodes.extend(effects.nodes.iter().map(|(node, state)| (*node, state.clone())));
        Ok(Durable { start: stage.start, grown: Some(grown), effects })
    }

    /// Shows a durable batch to the world.
    pub(crate) fn publish(&mut self, durable: Durable) -> Result<Effects, StoreError> {
        let mut effects = durable.effects;
        let drilled = self.learn_drills(effects.drills.iter().map(|(leaf, envelope)| (*leaf, envelope.as_slice())))?;
        for (slot, leaf) in drilled {
            effects.dirty.entry(slot).or_insert(leaf);
        }
        if let Some(grown) = &durable.grown {
            let published = self.publisher.publish(&self.store.disk, &self.store.paths, durable.start, grown);
            published.map_err(StoreError::io("publishing a batch"))?;
            self.store.reader.publish(self.log.published(self.note.clone()));
        }
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
        self.settle_if_due()?;
        Ok(effects)
    }

    fn count(&self, before: Option<VerdictRow>, now: VerdictRow) {
        let mut census = self.store.lock_census();
        if let Some(before) = before {
            census.remove(before.state, before.flags);
        }
        census.add(now.state, now.flags);
    }

    /// Settles when it cannot wait until there is nothing else to do.
    pub(crate) fn settle_if_due(&mut self) -> Result<(), StoreError> {
        if self.publisher.must_settle() || self.store.index.fresh_rows() >= FRESH_ROWS_MAX {
            return self.settle();
        }
        Ok(())
    }

    /// Syncs what was published, folds what is fresh, and removes the stage files that this makes needless.
    /// Called when there is nothing else to do.
    pub(crate) fn settle(&mut self) -> Result<(), StoreError> {
        if self.publisher.is_settled() && self.store.index.fresh_rows() == 0 {
            return Ok(());
        }
        // One waits for the disk while the other computes. If only one of them succeeds, stage files still say all.
        let (store, size, publisher) = (&self.store, self.log.size(), &mut self.publisher);
        let (synced, folded) = thread::scope(|scope| {
            let syncing = scope.spawn(|| publisher.sync(&store.disk, &store.paths));
            let folded = store.index.fold(&store.disk, size);
            (syncing.join().unwrap_or_else(|_| Err(io::Error::other("the thread that syncs panicked"))), folded)
        });
        synced.map_err(StoreError::io("settling published files"))?;
        folded?;
        self.publisher.release(&self.store.paths).map_err(StoreError::io("removing settled stage files"))
    }

    /// Logs a policy if it is not in the log.
    pub fn log_policy(&mut self, policy: &[u8]) -> Result<(), StoreError> {
        let mut batch = self.batch();
        batch.policy(policy)?;
        if batch.is_empty() {
            return Ok(());
        }
        let parts = batch.into_parts();
        let durable = self.commit(parts)?;
        self.publish(durable).map(drop)
    }

    /// Slots whose results may not be in a verdict under `policy` yet, each with the first such leaf.
    pub fn untallied(&self, policy: Digest) -> Result<BTreeMap<SlotKey, u64>, StoreError> {
        let row = self.store.index.get(rows::TALLIED_KEY)?;
        let from = row.and_then(|value| rows::read_tallied(&value, policy)).unwrap_or(0);
        let mut slots = BTreeMap::new();
        for leaf in from..self.log.size() {
            if let Some(slot) = self.store.slot_of_leaf(leaf)? {
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
            for row in self.store.index.scan(&rows::operator_slots_prefix(*operator), Order::Ascending) {
                slots.extend(rows::slots_in(&row?.1)?.map(|slot| (slot, last)));
            }
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

pub(super) fn lock(paths: &Paths) -> Result<File, StoreError> {
    let open = File::options().create(true).truncate(false).write(true).open(paths.lock());
    let file = open.map_err(StoreError::io("opening the lock file"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::Locked(paths.root().to_path_buf())),
        Err(error) => Err(StoreError::Io { activity: "locking the data directory", source: io::Error::from(error) }),
    }
}
