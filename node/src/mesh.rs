//! The node as a peer of the mesh: feeds, logs and the peer book behind `quorate_gossip::FeedStore`.

pub mod status;

use std::fs;
use std::path::{Path, PathBuf};

use quorate_gossip::{Accepted, FeedStore};
use quorate_proto::feed::FeedHead;
use quorate_proto::verified::FeedItem;
use quorate_proto::wire::{Beginning, BeginningWanted, Notice, Told};
use quorate_proto::{Digest, NodeId};

use crate::durable;
use crate::feed::Feeds;
use crate::logs::Logs;

/// What the mesh asks of a node.
#[derive(Clone, Debug)]
pub struct MeshStore {
    feeds: Feeds,
    logs: Logs,
    book: PathBuf,
}

impl MeshStore {
    /// Over the node's feeds and logs; the peer book lies in the data folder.
    pub fn new(feeds: Feeds, logs: Logs, data_dir: &Path) -> Self {
        Self { feeds, logs, book: book_path(data_dir) }
    }

    /// Runs `work` on a thread that may block; `failed` where it panicked, which it does not.
    async fn blocking<T: Send + 'static>(&self, failed: T, work: impl FnOnce(&Self) -> T + Send + 'static) -> T {
        let store = self.clone();
        tokio::task::spawn_blocking(move || work(&store)).await.unwrap_or(failed)
    }
}

/// Where the peer book of a data folder lies.
pub fn book_path(data_dir: &Path) -> PathBuf {
    data_dir.join("peers")
}

impl FeedStore for MeshStore {
    async fn heads(&self) -> Vec<(NodeId, FeedHead)> {
        self.feeds.heads().await
    }

    async fn entries(&self, node: NodeId, from: u64, bytes_max: usize) -> Vec<FeedItem> {
        self.feeds.entries(node, from, bytes_max).await
    }

    async fn blob(&self, digest: Digest) -> Option<Vec<u8>> {
        self.feeds.blob(digest).await
    }

    async fn accept(&self, items: Vec<FeedItem>) -> Vec<Accepted> {
        self.feeds.accept(items).await
    }

    async fn wanted_blobs(&self) -> Vec<Digest> {
        self.feeds.wanted_blobs().await
    }

    async fn put_blob(&self, bytes: Vec<u8>) {
        self.feeds.put_blob(bytes).await;
    }

    async fn notices(&self) -> Vec<Told> {
        self.blocking(Vec::new(), |store| {
            let proofs = store.feeds.equivocations().into_iter().map(|proof| Told::feed_equivocation(proof.node(), proof.items().clone()));
            store.logs.notices().into_iter().chain(proofs).collect()
        })
        .await
    }

    async fn accept_notice(&self, notice: Notice) -> Accepted {
        self.blocking(Accepted::Unavailable, move |store| match notice {
            Notice::Checkpoint(note) => store.logs.hear(&note),
            Notice::LogEquivocation(proof) => store.logs.convict(&proof),
            Notice::FeedEquivocation(items) => store.feeds.take_in_proof(*items),
        })
        .await
    }

    async fn wanted_beginnings(&self) -> Vec<BeginningWanted> {
        self.logs.wanted_beginnings()
    }

    async fn accept_beginning(&self, wanted: BeginningWanted, beginning: Beginning) -> Accepted {
        self.blocking(Accepted::Unavailable, move |store| store.logs.accept_beginning(&wanted, beginning)).await
    }

    async fn peer_book(&self) -> Option<Vec<u8>> {
        self.blocking(None, |store| fs::read(&store.book).ok()).await
    }

    async fn keep_peer_book(&self, bytes: Vec<u8>) {
        self.blocking((), move |store| {
            if let Err(error) = durable::replace(&store.book, &bytes) {
                tracing::warn!(%error, "the peer book could not be kept; the one before stays");
            }
        })
        .await;
    }
}
