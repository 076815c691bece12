//! The writer's actor: one thread owns the [`Writer`], groups what arrives into batches, and answers
//! once a batch is durable.
//!
//! Callers hold an [`Ingest`] handle; each request carries its `oneshot`. What is put into one batch, and what
//! happens when the store fails, is the actor's ([`writing`]).

mod writing;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use quorate_gossip::Accepted;
use quorate_proto::verified::FeedItem;
use quorate_proto::{Digest, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::door::{Door, Refused};
use crate::metrics::Metrics;
use crate::store::{Admitted, BlobRefused, Glance, Store, StoreError, Writer};
use crate::verdicts::{Dirty, Round};
use crate::views::Views;
use writing::Actor;

/// Items that go to the writer together: about as many as it takes in while as many others are checked.
const SHARE_ITEMS: usize = 128;

/// Requests waiting for the writer. When it is full, callers wait: back pressure reaches the peers.
const REQUESTS_MAX: usize = 256;

/// The store cannot take anything in right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store is unavailable; try again")]
pub struct Unavailable;

/// A share that was checked, and whose admitted items are with the writer.
struct Placed {
    /// For each item why it was not admitted.
    refused: Vec<Option<Refused>>,
    answered: oneshot::Receiver<Vec<Accepted>>,
}

impl Placed {
    /// Waits until what is accepted is durable. One outcome an item.
    async fn outcomes(self) -> Result<Vec<Accepted>, Unavailable> {
        let any = self.refused.iter().any(Option::is_none);
        let mut accepted = if any { self.answered.await.map_err(|_| Unavailable)? } else { Vec::new() }.into_iter();
        let outcome = |refused: Option<Refused>| match refused {
            Some(refused) => Some(Accepted::Rejected(refused.name)),
            None => accepted.next(),
        };
        self.refused.into_iter().map(outcome).collect::<Option<_>>().ok_or(Unavailable)
    }
}

fn shares(items: Vec<FeedItem>) -> impl Iterator<Item = Vec<FeedItem>> {
    let mut items = items.into_iter();
    std::iter::from_fn(move || Some(items.by_ref().take(SHARE_ITEMS).collect()).filter(|share: &Vec<_>| !share.is_empty()))
}

/// Hands what was admitted to the writer. Blocks while too much is waiting there.
fn place(share: Vec<Result<Admitted, Refused>>, requests: &mpsc::Sender<Request>) -> Result<Placed, Unavailable> {
    let mut refused = Vec::with_capacity(share.len());
    let mut admitted = Vec::with_capacity(share.len());
    for checked in share {
        refused.push(checked.map(|item| admitted.push(item)).err());
    }
    let (answer, answered) = oneshot::channel();
    if !admitted.is_empty() {
        requests.blocking_send(Request::Items(admitted, answer)).map_err(|_| Unavailable)?;
    }
    Ok(Placed { refused, answered })
}

enum Request {
    Items(Vec<Admitted>, oneshot::Sender<Vec<Accepted>>),
    Tallied { round: Round, tallied: u64, done: oneshot::Sender<()> },
    Blobs(Vec<Vec<u8>>, oneshot::Sender<Vec<Option<Digest>>>),
    Drill(Vec<u8>, oneshot::Sender<u64>),
    Declaration(Vec<u8>, oneshot::Sender<(u64, Accepted)>),
}

/// The handle. Cheap to clone.
#[derive(Clone)]
pub struct Ingest {
    requests: mpsc::Sender<Request>,
    door: Arc<Door>,
    /// One permit a core: checking signatures is all computation. Whoever catches up waits for others that do, so that
    /// not all of them are checked at the same time and then wait for the disk at the same time.
    long: Arc<Semaphore>,
    /// As many again for submissions of a single share, which wait for nobody who catches up.
    short: Arc<Semaphore>,
    /// Items that were handed in and not answered.
    under_way: Arc<AtomicUsize>,
    metrics: Metrics,
    store: Arc<Store>,
}

/// What the writer tells others after a batch.
pub struct Watchers {
    /// Slots to be tallied.
    pub dirty: Arc<Dirty>,
    /// Rendered answers and the stream of verdicts.
    pub views: Arc<Views>,
    /// The policy that verdicts are made under.
    pub policy: Digest,
}

impl Ingest {
    /// Starts the writer's thread. It ends when the last handle is gone; an error says that the store
    /// is in doubt and the process should stop.
    pub fn start(
        writer: Writer,
        door: Arc<Door>,
        watchers: Watchers,
        metrics: Metrics,
    ) -> std::io::Result<(Self, oneshot::Receiver<Result<(), StoreError>>)> {
        let (requests, queue) = mpsc::channel(REQUESTS_MAX);
        let (finished, ended) = oneshot::channel();
        let store = Arc::clone(writer.store());
        let under_way = Arc::new(AtomicUsize::new(0));
        let actor = Actor::new(writer, watchers, metrics.clone(), Handle::current(), Arc::clone(&under_way));
        thread::Builder::new().name("writer".to_owned()).spawn(move || {
            let _ = finished.send(actor.run(queue));
        })?;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let [long, short] = [(); 2].map(|()| Arc::new(Semaphore::new(cores)));
        Ok((Self { requests, door, long, short, under_way, metrics, store }, ended))
    }

    /// What everybody reads.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Checks items and makes durable what fits. One outcome an item, in their order.
    pub async fn accept(&self, items: Vec<FeedItem>) -> Vec<Accepted> {
        let count = items.len();
        let _under_way = UnderWay::begin(&self.under_way, count);
        let outcomes = self.try_accept(items).await.unwrap_or_else(|Unavailable| vec![Accepted::Unavailable; count]);
        let new = outcomes.iter().filter(|outcome| **outcome == Accepted::New).count();
        self.metrics.items_of("new", new as u64);
        for outcome in &outcomes {
            self.count(outcome);
        }
        outcomes
    }

    /// One submission is checked on one core, share by share, and its shares are with the writer in their order.
    async fn try_accept(&self, items: Vec<FeedItem>) -> Result<Vec<Accepted>, Unavailable> {
        let turn = self.turn(items.len()).await?;
        let now = Timestamp::from(std::time::SystemTime::now());
        let (door, requests) = (Arc::clone(&self.door), self.requests.clone());
        let check = move || {
            let _turn = turn;
            shares(items).map(|share| place(door.check_all(share, now), &requests)).collect::<Result<Vec<_>, _>>()
        };
        let placed = tokio::task::spawn_blocking(check).await.map_err(|_| Unavailable)??;
        let mut outcomes = Vec::new();
        for share in placed {
            outcomes.extend(share.outcomes().await?);
        }
        Ok(outcomes)
    }

    async fn turn(&self, items: usize) -> Result<OwnedSemaphorePermit, Unavailable> {
        let turns = if items <= SHARE_ITEMS { &self.short } else { &self.long };
        Arc::clone(turns).acquire_owned().await.map_err(|_| Unavailable)
    }

    /// Whether more items are waiting than one core checks at once: the tally lets them pass, since durability comes
    /// before verdicts.
    pub(crate) fn is_busy(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > SHARE_ITEMS
    }

    /// Logs verdicts. Blocks; for the tally's thread.
    pub(crate) fn log_round(&self, round: Round, tallied: u64) -> Result<(), Unavailable> {
        let (done, logged) = oneshot::channel();
        self.requests.blocking_send(Request::Tallied { round, tallied, done }).map_err(|_| Unavailable)?;
        logged.blocking_recv().map_err(|_| Unavailable)
    }

    /// Logs a step of a drill. Its leaf, once it can be read.
    pub(crate) async fn log_drill(&self, envelope: Vec<u8>) -> Result<u64, Unavailable> {
        let (done, logged) = oneshot::channel();
        self.requests.send(Request::Drill(envelope, done)).await.map_err(|_| Unavailable)?;
        logged.await.map_err(|_| Unavailable)
    }

    /// Logs a declaration that came through the door, once. Its leaf, once it can be read, and whether it is new.
    pub(crate) async fn log_declaration(&self, envelope: Vec<u8>) -> Result<(u64, Accepted), Unavailable> {
        let (done, logged) = oneshot::channel();
        self.requests.send(Request::Declaration(envelope, done)).await.map_err(|_| Unavailable)?;
        logged.await.map_err(|_| Unavailable)
    }

    /// Takes evidence files in. For each the digest if it was taken. Files that nobody names, and those
    /// that are held already, never reach the writer.
    pub async fn keep_blobs(&self, blobs: Vec<Vec<u8>>) -> Result<Vec<Option<Digest>>, Unavailable> {
        let mut outcomes = Vec::with_capacity(blobs.len());
        let mut wanted = Vec::new();
        for (blob, glance) in self.glance(blobs).await? {
            match glance {
                Ok(Glance::Wanted) => {
                    wanted.push(blob);
                    outcomes.push(None);
                }
                Ok(Glance::Held(digest)) => outcomes.push(Some(Some(digest))),
                Err(refused) => {
                    refuse_blob(&self.metrics, &refused);
                    outcomes.push(Some(None));
                }
            }
        }
        let mut kept = if wanted.is_empty() { Vec::new() } else { self.keep(wanted).await? }.into_iter();
        outcomes.into_iter().map(|outcome| outcome.or_else(|| kept.next()).ok_or(Unavailable)).collect()
    }

    async fn glance(&self, blobs: Vec<Vec<u8>>) -> Result<Vec<(Vec<u8>, Result<Glance, BlobRefused>)>, Unavailable> {
        let _turn = self.turn(1).await?;
        let store = Arc::clone(&self.store);
        let look = move || blobs.into_iter().map(|blob| (store.glance(&blob), blob)).map(|(glance, blob)| (blob, glance)).collect();
        tokio::task::spawn_blocking(look).await.map_err(|_| Unavailable)
    }

    async fn keep(&self, blobs: Vec<Vec<u8>>) -> Result<Vec<Option<Digest>>, Unavailable> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request::Blobs(blobs, answer)).await.map_err(|_| Unavailable)?;
        answered.await.map_err(|_| Unavailable)
    }

    fn count(&self, outcome: &Accepted) {
        match outcome {
            // Nearly all are: they are counted together.
            Accepted::New => {}
            Accepted::Duplicate => self.metrics.item("duplicate"),
            Accepted::Gap { .. } => self.metrics.reject("gap"),
            Accepted::Equivocation => self.metrics.reject("equivocation"),
            Accepted::Rejected(reason) => self.metrics.reject(reason),
            Accepted::Unavailable => self.metrics.item("unavailable"),
        }
    }
}

/// Items that are under way until this is dropped.
struct UnderWay {
    counter: Arc<AtomicUsize>,
    items: usize,
}

impl UnderWay {
    fn begin(counter: &Arc<AtomicUsize>, items: usize) -> Self {
        counter.fetch_add(items, Ordering::Relaxed);
        Self { counter: Arc::clone(counter), items }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.counter.fetch_sub(self.items, Ordering::Relaxed);
    }
}

fn refuse_blob(metrics: &Metrics, refused: &BlobRefused) {
    metrics.reject(refused.name());
    tracing::debug!(%refused, "evidence refused");
}
