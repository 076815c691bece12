//! The one task that hands items to the store: in batches, behind two bounded queues, one of them for strangers.

use std::sync::Arc;

use libp2p::PeerId;
use libp2p::gossipsub::MessageId;
use quorate_proto::certificate::{CERTIFICATE_BYTES_MAX, NodeCertificate};
use quorate_proto::dsse::Envelope;
use quorate_proto::entry::EntryStatement;
use quorate_proto::result::RESULT_ENVELOPE_BYTES_MAX;
use quorate_proto::statement::Statement;
use quorate_proto::verified::FeedItem;
use quorate_proto::{NodeId, OperatorId};
use tokio::sync::mpsc;

use crate::standing::Turn;
use crate::store::{Accepted, FeedStore};
use crate::sync::AskId;

/// Deliveries that wait for the store, in each queue. When it is full, gossip frames are ignored and sync answers
/// dropped: both come again.
const DELIVERIES_MAX: usize = 256;

/// Items that the store gets at a time: what shares one flush to disk.
const BATCH_ITEMS_MAX: usize = 256;

/// The same of what strangers bring: how long those wait that are heard first.
const STRANGERS_ITEMS_MAX: usize = 32;

/// Where deliveries are put.
pub(crate) struct Deliveries {
    first: mpsc::Sender<Delivery>,
    second: mpsc::Sender<Delivery>,
}

/// Where they are taken from.
pub(crate) struct Waiting {
    first: mpsc::Receiver<Delivery>,
    second: mpsc::Receiver<Delivery>,
}

/// What the store said waits for the actor in a channel of this kind.
pub(crate) fn verdicts() -> (mpsc::Sender<Judged>, mpsc::Receiver<Judged>) {
    mpsc::channel(DELIVERIES_MAX)
}

/// The queues before the store.
pub(crate) fn queues() -> (Deliveries, Waiting) {
    let ((first, heard_first), (second, heard_second)) = (mpsc::channel(DELIVERIES_MAX), mpsc::channel(DELIVERIES_MAX));
    (Deliveries { first, second }, Waiting { first: heard_first, second: heard_second })
}

impl Deliveries {
    /// Puts a delivery into its queue; gives it back when that is full.
    pub(crate) fn put(&self, turn: Turn, delivery: Delivery) -> Option<Delivery> {
        let queue = match turn {
            Turn::First => &self.first,
            Turn::Second => &self.second,
        };
        queue.try_send(delivery).err().map(mpsc::error::TrySendError::into_inner)
    }
}

impl Waiting {
    /// Waits for the next ones; none when nobody is left to bring any.
    async fn next(&mut self) -> Vec<Delivery> {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        tokio::select! {
            biased;
            _ = self.first.recv_many(&mut first, BATCH_ITEMS_MAX) => first,
            _ = self.second.recv_many(&mut second, STRANGERS_ITEMS_MAX) => second,
        }
    }
}

/// Something that the store is to judge.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// One item from gossip.
    Frame { source: PeerId, id: MessageId, item: FeedItem },
    /// The items of a sync answer.
    Answer { peer: PeerId, id: AskId, items: Vec<FeedItem> },
}

/// What the store said.
#[derive(Debug)]
pub(crate) enum Judged {
    /// Of a gossiped item. `node` stands beside verified items that did not fit, `operator` beside those that would
    /// be passed on.
    Frame { source: PeerId, id: MessageId, outcome: Accepted, node: Option<NodeId>, operator: Option<OperatorId> },
    /// Of a sync answer.
    Answer { peer: PeerId, id: AskId, outcomes: Vec<Accepted> },
}

/// Works until either channel closes.
pub(crate) async fn run<S: FeedStore>(store: Arc<S>, mut waiting: Waiting, judged: mpsc::Sender<Judged>) {
    loop {
        let batch = waiting.next().await;
        if batch.is_empty() {
            return;
        }
        for delivery in judge(store.as_ref(), batch).await {
            if judged.send(delivery).await.is_err() {
                return;
            }
        }
    }
}

async fn judge<S: FeedStore>(store: &S, batch: Vec<Delivery>) -> Vec<Judged> {
    let items: Vec<FeedItem> = batch.iter().flat_map(Delivery::items).cloned().collect();
    let count = items.len();
    let mut outcomes = store.accept(items).await;
    // A store that breaks its contract must not shift outcomes onto other items.
    if outcomes.len() != count {
        outcomes = vec![Accepted::Unavailable; count];
    }
    let mut outcomes = outcomes.into_iter();
    batch.into_iter().map(|delivery| delivery.judged(&mut outcomes)).collect()
}

impl Delivery {
    fn items(&self) -> &[FeedItem] {
        match self {
            Self::Frame { item, .. } => std::slice::from_ref(item),
            Self::Answer { items, .. } => items,
        }
    }

    fn judged(self, outcomes: &mut impl Iterator<Item = Accepted>) -> Judged {
        match self {
            Self::Frame { source, id, item } => {
                let outcome = outcomes.next().unwrap_or(Accepted::Unavailable);
                let node = needs_node(outcome).then(|| node_of(&item)).flatten();
                let operator = is_verified(outcome).then(|| operator_of(&item)).flatten();
                Judged::Frame { source, id, outcome, node, operator }
            }
            Self::Answer { peer, id, items } => Judged::Answer { peer, id, outcomes: outcomes.take(items.len()).collect() },
        }
    }
}

fn needs_node(outcome: Accepted) -> bool {
    matches!(outcome, Accepted::Gap { .. } | Accepted::Rejected(crate::store::reason::FORK))
}

fn is_verified(outcome: Accepted) -> bool {
    matches!(outcome, Accepted::New | Accepted::Gap { .. } | Accepted::Equivocation)
}

/// Who answers for an item, by its certificate, which the store has verified.
fn operator_of(item: &FeedItem) -> Option<OperatorId> {
    let envelope = Envelope::parse(&item.certificate, CERTIFICATE_BYTES_MAX).ok()?;
    Some(Statement::<NodeCertificate>::parse(envelope.payload()).ok()?.predicate.operator)
}

/// Whose feed an item belongs to, by its own word: meaningful once the store has verified it.
fn node_of(item: &FeedItem) -> Option<NodeId> {
    let envelope = Envelope::parse(&item.envelope, RESULT_ENVELOPE_BYTES_MAX).ok()?;
    let entry = EntryStatement::parse(envelope.payload()).ok()?;
    Some(entry.position().node)
}
