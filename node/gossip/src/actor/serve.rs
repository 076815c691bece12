//! Answers to the sync requests of peers.

use std::sync::Arc;

use libp2p::PeerId;
use libp2p::request_response::ResponseChannel;
use quorate_proto::wire::{SYNC_BYTES_MAX, SyncRequest, SyncResponse};

use super::Actor;
use crate::counters::Place;
use crate::store::FeedStore;

/// Bytes of entries in one answer. Smaller than the limit, so that a slow peer gets something in time.
const ENTRIES_BYTES_MAX: usize = 1 << 20;

/// A finished answer, on its way to the swarm.
#[derive(Debug)]
pub(super) struct Reply {
    channel: ResponseChannel<Vec<u8>>,
    frame: Vec<u8>,
}

impl<S: FeedStore> Actor<S> {
    /// A request that is over the limits is dropped: the peer sees a failed stream and asks again later.
    pub(super) fn on_request(&mut self, peer: PeerId, frame: &[u8], channel: ResponseChannel<Vec<u8>>) {
        let now = self.now();
        if !self.requests.admit(peer, now) {
            self.counters.count(Place::Serve, "rate-limited");
            return;
        }
        let Ok(request) = SyncRequest::decode(frame) else {
            self.counters.count(Place::Serve, "malformed");
            return;
        };
        let Ok(permit) = Arc::clone(&self.serving).try_acquire_owned() else {
            self.counters.count(Place::Serve, "busy");
            return;
        };
        self.counters.count(Place::Serve, name_of(&request));
        let (store, reply) = (Arc::clone(&self.store), self.channels.reply.clone());
        tokio::spawn(async move {
            let frame = answer(store.as_ref(), request).await.encode();
            drop(permit);
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

async fn answer<S: FeedStore>(store: &S, request: SyncRequest) -> SyncResponse {
    match request {
        SyncRequest::Heads => SyncResponse::Heads(store.heads().await),
        SyncRequest::Entries { node, from } => SyncResponse::Entries(store.entries(node, from, ENTRIES_BYTES_MAX).await),
        SyncRequest::Blob(digest) => SyncResponse::Blob(store.blob(digest).await),
    }
}

fn name_of(request: &SyncRequest) -> &'static str {
    match request {
        SyncRequest::Heads => "heads",
        SyncRequest::Entries { .. } => "entries",
        SyncRequest::Blob(_) => "blob",
    }
}
