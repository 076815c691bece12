//! Answers to the sync requests of peers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use libp2p::PeerId;
use libp2p::request_response::{InboundRequestId, ResponseChannel};
use quorate_proto::wire::{SYNC_BYTES_MAX, SyncRequest, SyncResponse, heads_digest, notices_digest};

use super::Actor;
use crate::behaviour::REQUEST_TIMEOUT;
use crate::counters::Place;
use crate::penalty::Offence;
use crate::store::FeedStore;
use crate::sync::HEADS_EVERY;

/// Bytes of entries in one answer. Smaller than the limit, so that a slow peer gets something in time.
const ENTRIES_BYTES_MAX: usize = 1 << 20;

/// Requests that are being answered at a time, over all peers, until the answer is sent: at most 4 MiB
/// each. What comes when all are taken is dropped, and asked again.
const SERVING_MAX: usize = 32;

/// Those of one peer. An honest one has one question under way, and perhaps one that it gave up; one that
/// asks and does not read keeps no more than this from others.
const SERVING_PER_PEER_MAX: usize = 4;

/// After this time an answer is sent or has failed, and the swarm has said so.
const SERVED_WITHIN: Duration = REQUEST_TIMEOUT.saturating_mul(3);

/// The requests that hold an answer, or will.
#[derive(Debug, Default)]
pub(super) struct Serving(HashMap<InboundRequestId, (PeerId, Duration)>);

impl Serving {
    /// Takes a place for the request, if there is one for this peer.
    fn begin(&mut self, id: InboundRequestId, peer: PeerId, now: Duration) -> bool {
        let own = self.0.values().filter(|(other, _)| *other == peer).count();
        let admitted = self.0.len() < SERVING_MAX && own < SERVING_PER_PEER_MAX;
        if admitted {
            self.0.insert(id, (peer, now));
        }
        admitted
    }

    /// The answer has left, or never will.
    pub(super) fn end(&mut self, id: InboundRequestId) {
        self.0.remove(&id);
    }

    /// Gives places back whose end was never told.
    pub(super) fn forget_old(&mut self, now: Duration) {
        self.0.retain(|_, (_, since)| now.saturating_sub(*since) < SERVED_WITHIN);
    }
}

/// A finished answer, on its way to the swarm.
#[derive(Debug)]
pub(super) struct Reply {
    channel: ResponseChannel<Vec<u8>>,
    frame: Vec<u8>,
}

impl<S: FeedStore> Actor<S> {
    /// A request that is over the limits is dropped: the peer sees a failed stream and asks again later.
    pub(super) fn on_request(&mut self, peer: PeerId, id: InboundRequestId, frame: &[u8], channel: ResponseChannel<Vec<u8>>) {
        let now = self.now();
        if !self.requests.admit(peer, now) {
            self.counters.count(Place::Serve, "rate-limited");
            return;
        }
        let Ok(request) = SyncRequest::decode(frame) else {
            self.counters.count(Place::Serve, "malformed");
            self.punish(peer, Offence::Malformed);
            return;
        };
        if !self.serving.begin(id, peer, now) {
            self.counters.count(Place::Serve, "busy");
            return;
        }
        self.counters.count(Place::Serve, name_of(&request));
        if request == SyncRequest::Peers {
            let frame = SyncResponse::Peers(self.records_for(&peer)).encode();
            return self.on_reply(Reply { channel, frame });
        }
        let (store, reply) = (Arc::clone(&self.store), self.channels.reply.clone());
        let turn = now.as_secs() / HEADS_EVERY.as_secs();
        tokio::spawn(async move {
            let frame = answer(store.as_ref(), request, turn).await.encode();
            let _ = reply.send(Reply { channel, frame }).await;
        });
    }

    pub(super) fn on_reply(&mut self, reply: Reply) {
        if reply.frame.len() > SYNC_BYTES_MAX {
            self.counters.count(Place::Serve, "oversized-answer");
            return;
        }
        if self.swarm.behaviour_mut().sync.send_response(reply.channel, reply.frame).is_err() {
            self.counters.count(Place::Serve, "peer-gone");
        }
    }
}

/// `turn` counts up about as often as a peer asks.
async fn answer<S: FeedStore>(store: &S, request: SyncRequest, turn: u64) -> SyncResponse {
    match request {
        SyncRequest::Heads { known } => {
            let heads = store.heads().await;
            if known == Some(heads_digest(heads.iter().copied())) { SyncResponse::Same } else { SyncResponse::of_heads(heads, turn) }
        }
        SyncRequest::Entries { node, from } => SyncResponse::Entries(store.entries(node, from, ENTRIES_BYTES_MAX).await),
        SyncRequest::Blob(digest) => SyncResponse::Blob(store.blob(digest).await),
        SyncRequest::Notices { known } => {
            let told = store.notices().await;
            if known == Some(notices_digest(&told)) { SyncResponse::Same } else { SyncResponse::of_notices(told) }
        }
        SyncRequest::Beginning(wanted) => SyncResponse::Beginning(store.beginning(wanted).await),
        // Answered by the actor, which has the book.
        SyncRequest::Peers => SyncResponse::Peers(Vec::new()),
    }
}

fn name_of(request: &SyncRequest) -> &'static str {
    match request {
        SyncRequest::Heads { .. } => "heads",
        SyncRequest::Entries { .. } => "entries",
        SyncRequest::Blob(_) => "blob",
        SyncRequest::Peers => "peers",
        SyncRequest::Notices { .. } => "notices",
        SyncRequest::Beginning(_) => "beginning",
    }
}
