//! The coordinator as a peer of the mesh: the store behind `quorate_gossip::FeedStore`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorate_gossip::store::reason;
use quorate_gossip::{Accepted, FeedStore, Mesh};
use quorate_proto::feed::{EquivocationError, EquivocationProof, FeedHead};
use quorate_proto::provenance::BLOB_BYTES_MAX;
use quorate_proto::verified::FeedItem;
use quorate_proto::wire::{Beginning, BeginningWanted, Notice, Told};
use quorate_proto::{Digest, NodeId, OperatorId};
use quorate_tlog::views::{Hearing, ViewsError};
use quorate_tlog::{ConsistencyProof, Hash, LogEquivocation, SignedNote, TreeHead, TreeView, VerifierKey, Views};

use crate::ingest::Ingest;
use crate::store::files::Paths;
use crate::store::{Store, StoreError};

/// Checkpoints are told no oftener than this: of several within it only the last is worth telling.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// The store as the mesh sees it.
pub struct MeshStore {
    ingest: Ingest,
    enrolled: BTreeSet<OperatorId>,
    origin: String,
    /// What others say of our own log.
    views: Mutex<Views>,
}

impl MeshStore {
    /// Over the one door. `log` is our own log's key.
    pub fn new(ingest: Ingest, enrolled: BTreeSet<OperatorId>, log: &VerifierKey) -> Self {
        let views = Mutex::new(Views::new(std::slice::from_ref(log)));
        Self { ingest, enrolled, origin: log.name().to_string(), views }
    }

    fn views(&self) -> MutexGuard<'_, Views> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What somebody says of our log is a second view of it if anything: the key is used elsewhere, or our files are
    /// not what they were.
    fn hear(&self, hear: impl FnOnce(&mut Views) -> Result<Hearing, ViewsError>) -> Accepted {
        match hear(&mut self.views()) {
            Ok(Hearing::New) => Accepted::New,
            Ok(Hearing::Known) => Accepted::Duplicate,
            Ok(Hearing::Convicts(_)) => {
                tracing::error!(origin = self.origin, "this log's key has signed two histories; the proof is told");
                self.ingest.metrics().reject("log-equivocation");
                Accepted::New
            }
            Err(ViewsError::UnknownOrigin(_)) => Accepted::Rejected(reason::UNKNOWN_LOG),
            Err(_) => Accepted::Rejected(reason::BAD_NOTICE),
        }
    }

    /// Takes a checkpoint that is said to be our log's. How our own trees begin is known here: nobody has to be asked.
    async fn hear_of_log(&self, note: SignedNote) -> Accepted {
        let heard = self.hear(|views| views.hear(note));
        if heard == Accepted::New {
            self.compare_with_own_trees().await;
        }
        heard
    }

    async fn compare_with_own_trees(&self) {
        let open = self.views().open();
        for question in open {
            let log = Digest::of(self.origin.as_bytes());
            let wanted = BeginningWanted { log, old_size: question.old_size, size: question.size, root: *question.root.as_bytes() };
            let Some(Beginning { root, path }) = self.beginning(wanted).await else { continue };
            let proof = ConsistencyProof { path: path.into_iter().map(Hash::from_bytes).collect() };
            self.hear(|views| views.link(&question, Hash::from_bytes(root), proof));
        }
    }

    /// The items go through the one door: with both of them the store has its own proof.
    async fn hear_of_node(&self, items: [FeedItem; 2]) -> Accepted {
        let [first, second] = items;
        let proof = match EquivocationProof::verify(first, second, &self.enrolled) {
            Ok(proof) => proof,
            Err(EquivocationError::Item(error)) => return Accepted::Rejected(error.name()),
            Err(EquivocationError::NoContradiction) => return Accepted::Rejected("no-contradiction"),
        };
        let known = self.ingest.store().equivocations().iter().any(|held| held.node() == proof.node());
        if known {
            return Accepted::Duplicate;
        }
        self.ingest.accept(proof.items().to_vec()).await;
        Accepted::New
    }

    /// Reads without blocking the runtime. A failure is logged and answered with nothing: to a peer it
    /// is the same as not having it.
    async fn read<T: Default + Send + 'static>(&self, read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static) -> T {
        let store = Arc::clone(self.ingest.store());
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
    async fn heads(&self) -> Vec<(NodeId, FeedHead)> {
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

    async fn notices(&self) -> Vec<Told> {
        let store = self.ingest.store();
        let shown = store.log().shown().note;
        let mut told = Vec::new();
        if let Ok(note) = SignedNote::parse(&shown) {
            // Our own word is the first view.
            self.hear_of_log(note).await;
            told.push(Told::checkpoint(shown.to_vec()));
        }
        told.extend(store.equivocations().iter().map(|proof| Told::feed_equivocation(proof.node(), proof.items().clone())));
        let views = self.views();
        let others = views.logs().flat_map(|(_, view)| view.told()).map(|note| Told::checkpoint(note.to_string().into_bytes()));
        let own = told.first().map(|told| told.about);
        told.extend(others.filter(|other| Some(other.about) != own));
        let convictions = views.logs().filter_map(|(origin, view)| Some((origin, view.conviction()?)));
        told.extend(convictions.map(|(origin, proof)| Told::log_equivocation(origin.as_str(), proof.to_string().into_bytes())));
        told
    }

    async fn accept_notice(&self, notice: Notice) -> Accepted {
        match notice {
            Notice::Checkpoint(bytes) => match SignedNote::parse(&bytes) {
                Ok(note) => self.hear_of_log(note).await,
                Err(_) => Accepted::Rejected(reason::BAD_NOTICE),
            },
            Notice::LogEquivocation(bytes) => match LogEquivocation::parse(&bytes) {
                Ok(proof) => self.hear(|views| views.convict(proof)),
                Err(_) => Accepted::Rejected(reason::BAD_NOTICE),
            },
            Notice::FeedEquivocation(items) => self.hear_of_node(*items).await,
        }
    }

    /// Of our own trees, whatever their size.
    async fn beginning(&self, wanted: BeginningWanted) -> Option<Beginning> {
        if wanted.log != Digest::of(self.origin.as_bytes()) {
            return None;
        }
        let store = Arc::clone(self.ingest.store());
        let read = tokio::task::spawn_blocking(move || {
            let head = TreeHead { size: wanted.size, root: Hash::from_bytes(wanted.root) };
            if head.size > store.log().published().head.size {
                return None;
            }
            // Checked against the root that was asked about: of another tree there is no proof here.
            let (beginning, proof) = TreeView::new(head, store.log()).ok()?.consistency(wanted.old_size).ok()?;
            Some(Beginning { root: *beginning.root.as_bytes(), path: proof.path.iter().map(|hash| *hash.as_bytes()).collect() })
        });
        read.await.ok().flatten()
    }

    async fn peer_book(&self) -> Option<Vec<u8>> {
        let path = self.ingest.store().paths().peers();
        tokio::task::spawn_blocking(move || fs::read(path).ok()).await.ok().flatten()
    }

    async fn keep_peer_book(&self, bytes: Vec<u8>) {
        let paths = self.ingest.store().paths().clone();
        let kept = tokio::task::spawn_blocking(move || keep(&paths, &bytes)).await;
        if !matches!(kept, Ok(Ok(()))) {
            tracing::warn!("the peer book could not be kept; the one before stays");
        }
    }
}

/// Tells the mesh when there is a checkpoint to tell, until the mesh ends.
pub async fn tell_checkpoints(mesh: Mesh, store: Arc<Store>) {
    let (mut durable, mut witnessed) = (store.log().follow(), store.log().follow_witnessed());
    drop(store);
    loop {
        let changed = async {
            match &mut witnessed {
                Some(witnessed) => witnessed.changed().await,
                None => durable.changed().await,
            }
        };
        if changed.await.is_err() {
            return;
        }
        mesh.nudge();
        tokio::time::sleep(TELL_EVERY).await;
    }
}

/// Whole or not at all.
fn keep(paths: &Paths, bytes: &[u8]) -> io::Result<()> {
    let path = paths.peers();
    let aside = path.with_extension("new");
    let mut file = File::create(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&aside, path)
}
