//! The feeds as the mesh sees them: the blocking work is moved off the runtime's threads. Even a short
//! question is blocking work, because entries are flushed to disk under the one lock.

use quorate_gossip::store::WANTED_MAX;
use quorate_gossip::{Accepted, FeedStore};
use quorate_proto::feed::FeedHead;
use quorate_proto::verified::FeedItem;
use quorate_proto::{Digest, NodeId, Timestamp};

use super::Feeds;

impl FeedStore for Feeds {
    async fn heads(&self) -> Vec<(NodeId, FeedHead)> {
        self.blocking(Self::heads_held).await.unwrap_or_default()
    }

    async fn entries(&self, node: NodeId, from: u64, bytes_max: usize) -> Vec<FeedItem> {
        self.blocking(move |feeds| feeds.0.items(node, from, bytes_max).map_err(log).ok()).await.flatten().unwrap_or_default()
    }

    async fn blob(&self, digest: Digest) -> Option<Vec<u8>> {
        self.blocking(move |feeds| feeds.blobs().get(digest).map_err(log).ok().flatten()).await.flatten()
    }

    async fn accept(&self, items: Vec<FeedItem>) -> Vec<Accepted> {
        let now = Timestamp::from(std::time::SystemTime::now());
        self.blocking(move |feeds| feeds.take_in(&items, now)).await.unwrap_or_default()
    }

    async fn wanted_blobs(&self) -> Vec<Digest> {
        self.blocking(|feeds| feeds.0.lock().wanted.some(WANTED_MAX, feeds.0.began.elapsed())).await.unwrap_or_default()
    }

    async fn put_blob(&self, bytes: Vec<u8>) {
        self.blocking(move |feeds| {
            let digest = Digest::of(&bytes);
            if !feeds.0.lock().wanted.contains(digest) {
                return;
            }
            if feeds.blobs().put(&bytes).map_err(log).is_ok() {
                feeds.0.lock().wanted.remove(digest);
            }
        })
        .await;
    }
}

impl Feeds {
    fn heads_held(&self) -> Vec<(NodeId, FeedHead)> {
        let state = self.0.lock();
        state.feeds.iter().map(|(node, feed)| (*node, feed.head())).filter(|(_, head)| head.next() > 0).collect()
    }

    /// Runs `work` on a thread that may block. Nothing when it panicked, which it does not.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Self) -> T + Send + 'static) -> Option<T> {
        let feeds = self.clone();
        tokio::task::spawn_blocking(move || work(&feeds)).await.ok()
    }
}

fn log(error: impl std::error::Error) {
    tracing::error!(error = %error, "feeds on disk");
}
