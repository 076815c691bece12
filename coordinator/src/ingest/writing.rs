//! The writer's thread: groups requests into batches, makes them durable, answers, publishes.
//!
//! Decides when a batch is cut, when what is durable is published, and what happens when the store fails: take
//! it up again, once, else stop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use quorate_gossip::Accepted;
use quorate_proto::Digest;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::{Request, Watchers, refuse_blob};
use crate::metrics::Metrics;
use crate::store::batch::Effects;
use crate::store::rows::SlotKey;
use crate::store::writer::Durable;
use crate::store::{StoreError, Writer};
use crate::verdicts::Round;

/// Items that are put into one batch: each waits for the disk three times, however long it is.
const BATCH_ITEMS_MAX: usize = 4_000;

/// How long a batch waits for items that are being checked: twice as long as the batch before took, within these bounds.
/// Each costs the disk's time and some files however long it is, so that under load few large ones leave more time
/// for checking. When no items are being checked it does not wait; and while one batch is being written the next
/// one gathers anyway.
const GROUP_MIN: Duration = Duration::from_millis(5);
const GROUP_MAX: Duration = Duration::from_millis(50);

/// Under load some batches are published together: each publication has partial tiles and a checkpoint that the
/// next one replaces, and it is making and removing files that costs a file system most. Not longer than this
/// after a batch was acknowledged, and not more batches than this: their bundles are in memory.
const PUBLISH_WITHIN: Duration = Duration::from_millis(250);
const PUBLISH_BATCHES: usize = 4;

/// After this much quiet, published files are synced and stage files removed.
const SETTLE_AFTER: Duration = Duration::from_millis(500);

pub(super) struct Actor {
    writer: Writer,
    watchers: Watchers,
    metrics: Metrics,
    runtime: Handle,
    under_way: Arc<AtomicUsize>,
    /// How long the next batch may wait for items.
    group_for: Duration,
    unpublished: Unpublished,
}

/// Batches that are durable and acknowledged, and not yet published.
#[derive(Default)]
struct Unpublished {
    batches: Vec<Durable>,
    since: Option<Instant>,
}

enum Next {
    Request(Request),
    Quiet,
    Closed,
}

impl Actor {
    pub(super) fn new(writer: Writer, watchers: Watchers, metrics: Metrics, runtime: Handle, under_way: Arc<AtomicUsize>) -> Self {
        Self { writer, watchers, metrics, runtime, under_way, group_for: GROUP_MIN, unpublished: Unpublished::default() }
    }

    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Request>) -> Result<(), StoreError> {
        loop {
            match self.next(&mut queue, self.unpublished.left().unwrap_or(SETTLE_AFTER)) {
                Next::Closed => {
                    self.publish()?;
                    return self.writer.settle();
                }
                Next::Quiet if self.unpublished.left().is_some() => self.publish().or_else(|error| self.take_up_again(&error.chain()))?,
                Next::Quiet => self.writer.settle_aside().or_else(|error| self.take_up_again(&error.chain()))?,
                Next::Request(first) => {
                    let batch = self.gather(first, &mut queue);
                    let items: usize = batch.iter().map(weight).sum();
                    self.metrics.batch_items.observe(f64::from(u32::try_from(items).unwrap_or(u32::MAX)));
                    let began = Instant::now();
                    self.write(batch, items).or_else(|error| self.take_up_again(&error.chain()))?;
                    self.group_for = (began.elapsed() * 2).clamp(GROUP_MIN, GROUP_MAX);
                }
            }
        }
    }

    fn next(&self, queue: &mut mpsc::Receiver<Request>, wait: Duration) -> Next {
        match self.runtime.block_on(async { timeout(wait, queue.recv()).await }) {
            Ok(Some(request)) => Next::Request(request),
            Ok(None) => Next::Closed,
            Err(_) => Next::Quiet,
        }
    }

    fn gather(&self, first: Request, queue: &mut mpsc::Receiver<Request>) -> Vec<Request> {
        let until = Instant::now() + self.group_for;
        let mut items = weight(&first);
        let mut batch = vec![first];
        while items < BATCH_ITEMS_MAX {
            let next = match queue.try_recv() {
                Ok(request) => Next::Request(request),
                Err(_) if self.under_way.load(Ordering::Relaxed) <= items => break,
                Err(_) => self.next(queue, until.saturating_duration_since(Instant::now())),
            };
            let Next::Request(request) = next else { break };
            items += weight(&request);
            batch.push(request);
        }
        batch
    }

    /// Decides, commits, acknowledges, publishes or leaves that to the next batch. On an error nobody of this batch
    /// was acknowledged, or all were: their answers are sent between the two.
    fn write(&mut self, requests: Vec<Request>, weight: usize) -> Result<(), StoreError> {
        let began = Instant::now();
        let mut items = Vec::new();
        let mut done = Vec::new();
        let mut blobs = Vec::new();
        let mut drills = Vec::new();
        let mut declarations = Vec::new();
        let mut batch = self.writer.batch();
        for request in requests {
            match request {
                Request::Items(admitted, answer) => {
                    let outcomes = admitted.into_iter().map(|item| batch.offer(item)).collect::<Result<Vec<_>, _>>()?;
                    items.push((outcomes, answer));
                }
                Request::Tallied { round: Round { verdicts, marks, .. }, tallied, done: answer } => {
                    self.metrics.verdicts.inc_by(verdicts.len() as u64);
                    verdicts.into_iter().try_for_each(|verdict| batch.verdict(verdict))?;
                    for changes in marks {
                        batch.marks(changes);
                    }
                    batch.tallied(tallied, self.watchers.policy);
                    done.push(answer);
                }
                Request::Blobs(files, answer) => blobs.push((files, answer)),
                Request::Drill(envelope, answer) => drills.push((batch.drill(envelope)?, answer)),
                Request::Declaration(envelope, answer) => declarations.push((batch.declaration(envelope)?, answer)),
            }
        }
        if batch.is_empty() {
            answer_all(items);
        } else {
            let parts = batch.into_parts();
            let durable = self.writer.commit(parts)?;
            self.metrics.commit_seconds.observe(began.elapsed().as_secs_f64());
            // Before the answers: whoever has one hands in more, or nothing.
            let more_to_come = self.under_way.load(Ordering::Relaxed) > weight;
            answer_all(items);
            if self.unpublished.batches.is_empty() {
                // Before the new size can be seen: no tally may say that it has considered these.
                self.watchers.dirty.hold(durable.start());
            }
            self.unpublished.add(durable);
            if !more_to_come || !done.is_empty() || !drills.is_empty() || !declarations.is_empty() || self.unpublished.is_due() {
                self.publish()?;
            }
        }
        // The tally goes on only once its verdicts can be read.
        for answer in done {
            let _ = answer.send(());
        }
        for (leaf, answer) in drills {
            let _ = answer.send(leaf);
        }
        for (logged, answer) in declarations {
            let _ = answer.send(logged);
        }
        if !blobs.is_empty() {
            // What names them has to be readable.
            self.publish()?;
        }
        blobs.into_iter().try_for_each(|(files, answer)| self.keep(&files, answer))
    }

    /// Shows the world all that is durable.
    fn publish(&mut self) -> Result<(), StoreError> {
        let batches = std::mem::take(&mut self.unpublished).batches;
        if batches.is_empty() {
            return Ok(());
        }
        let effects = self.writer.publish(batches)?;
        self.tell(effects)
    }

    fn keep(&mut self, files: &[Vec<u8>], answer: oneshot::Sender<Vec<Option<Digest>>>) -> Result<(), StoreError> {
        let outcomes = self.writer.keep_blobs(files);
        let taken = outcomes.into_iter().map(|outcome| match outcome {
            Ok(digest) => {
                self.metrics.blobs.inc();
                Some(digest)
            }
            Err(refused) => {
                refuse_blob(&self.metrics, &refused);
                None
            }
        });
        // A caller that went away has no use for the answer.
        let _ = answer.send(taken.collect());
        self.writer.settle_if_due()
    }

    fn tell(&self, effects: Vec<Effects>) -> Result<(), StoreError> {
        let size = self.writer.store().log().published().head.size;
        self.metrics.log_size.set(i64::try_from(size).unwrap_or(i64::MAX));
        let mut dirty = BTreeMap::new();
        for effects in effects {
            for node in &effects.caught {
                tracing::warn!(%node, "equivocation: two histories of one node");
            }
            // Where the operator of such a node has results, votes change.
            let exposed = self.writer.slots_beside(&effects.exposed)?;
            for (slot, leaf) in effects.dirty.into_iter().chain(exposed) {
                dirty.entry(slot).or_insert(leaf);
            }
            let artifacts = effects.statements.iter().map(|(_, statement)| statement.artifact().digest);
            self.watchers.views.forget(artifacts.chain(effects.verdicts.iter().map(|(artifact, ..)| artifact.digest)));
            self.watchers.views.announce(self.writer.store(), &effects.verdicts);
            for (_, entry) in &effects.commitments {
                let commitment = entry.commitment();
                self.watchers.dirty.later(SlotKey::of(&commitment.slot()), commitment.promise.reveal_by);
            }
        }
        self.watchers.dirty.release(dirty);
        Ok(())
    }

    /// What is on disk decides; nobody was told more than is durable.
    fn take_up_again(&mut self, cause: &str) -> Result<(), StoreError> {
        tracing::error!(cause, "a batch failed; taking the store up again");
        self.unpublished = Unpublished::default();
        self.metrics.recoveries.inc();
        self.writer.recover()?;
        self.watchers.views.forget_all();
        // Verdicts of the batch that failed may be in the log now; nobody is told of them one by one.
        self.watchers.views.tell_of_a_gap();
        self.watchers.dirty.release(self.writer.untallied(self.watchers.policy)?);
        Ok(())
    }
}

impl Unpublished {
    fn add(&mut self, durable: Durable) {
        self.batches.push(durable);
        self.since.get_or_insert_with(Instant::now);
    }

    /// How long the oldest may still wait; none if there is none.
    fn left(&self) -> Option<Duration> {
        self.since.map(|since| PUBLISH_WITHIN.saturating_sub(since.elapsed()))
    }

    fn is_due(&self) -> bool {
        self.batches.len() >= PUBLISH_BATCHES || self.left().is_some_and(|left| left.is_zero())
    }
}

fn weight(request: &Request) -> usize {
    match request {
        Request::Items(items, _) => items.len(),
        Request::Tallied { round, .. } => round.verdicts.len(),
        Request::Blobs(blobs, _) => blobs.len(),
        Request::Drill(..) | Request::Declaration(..) => 1,
    }
}

fn answer_all(items: Vec<(Vec<Accepted>, oneshot::Sender<Vec<Accepted>>)>) {
    for (outcomes, answer) in items {
        // A caller that went away will ask again, and be told `Duplicate`.
        let _ = answer.send(outcomes);
    }
}
