//! The coordinator as a peer of the mesh: the store behind `quorate_gossip::FeedStore`.

use quorate_gossip::{Accepted, FeedStore};
use quorate_proto::provenance::BLOB_BYTES_MAX;
use quorate_proto::verified::FeedItem;
use quorate_proto::{Digest, NodeId};

use crate::ingest::Ingest;
use crate::store::{Store, StoreError};

/// The store as the mesh sees it.
pub struct MeshStore {
    ingest: Ingest,
}

impl MeshStore {
    /// Over the one door.
    pub fn new(ingest: Ingest) -> Self {
        Self { ingest }
    }

    /// Reads without blocking the runtime. A failure is logged and answered with nothing: to a peer it
    /// is the same as not having it.
    async fn read<T: Default + Send + 'static>(&self, read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static) -> T {
        let store = std::sync::Arc::clone(self.ingest.store());
        let answer = tokio::task::spawn_blocking(move || read(&store)).await;
        match answer {
            Ok(Ok(value)) => value,
            Ok(Err(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "reading for a peer failed");
                T::default()
            }
            Err(error) => {
                tracing::error!(%error, "reading for a peer stopped");
                T::default()
            }
        }
    }
}

impl FeedStore for MeshStore {
    async fn heads(&self) -> Vec<(NodeId, u64)> {
        self.read(Store::heads).await
    }

    async fn entries(&self, node: NodeId, from: u64, bytes_max: usize) -> Vec<FeedItem> {
        self.read(move |store| store.entries(node, from, bytes_max)).await
    }

    async fn blob(&self, digest: Digest) -> Option<Vec<u8>> {
        self.read(move |store| store.blob(&digest).map_err(|source| StoreError::Io { activity: "reading a file", source })).await
    }

    async fn accept(&self, items: Vec<FeedItem>) -> Vec<Accepted> {
        self.ingest.accept(items).await
    }

    async fn wanted_blobs(&self) -> Vec<Digest> {
        self.read(|store| store.wanted_blobs(quorate_gossip::store::WANTED_MAX)).await
    }

    async fn put_blob(&self, bytes: Vec<u8>) {
        if bytes.len() > BLOB_BYTES_MAX {
            self.ingest.metrics().reject("oversized-blob");
            return;
        }
        // Not taken means asked for again: nothing is lost.
        let _ = self.ingest.keep_blobs(vec![bytes]).await;
    }
}
