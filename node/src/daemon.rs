//! The running node: one loop between queue, builds, feed and mesh.
//!
//! A job goes from file to file: queued, built, staged, signed into the feed, gossiped. Each arrow is
//! durable before the next begins, and a start after `kill -9` goes through the same code as every
//! other round: it looks at the files.

mod builds;
mod identity;
mod show;
mod work;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quorate_gossip::{LimitedAddresses, Mesh, MeshConfig, MeshError, Reach};
use quorate_proto::NodeId;
use quorate_tally::{Policy, PolicyError};
use quorate_tlog::VerifierKey;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::blob::{BlobError, BlobStore};
use crate::config::{Config, ConfigError};
use crate::durable;
use crate::feed::{FeedError, Feeds, Own};
use crate::intermediates::{Kept, KeptError};
use crate::key::KeyFileError;
use crate::logs::Logs;
use crate::mesh::{self, MeshStore};
use crate::pipeline::Job;
use crate::queue::{self, Queue, QueueError};
use crate::submit::Submitter;
use crate::submit::logged::{Log, Logged, Subject};
use crate::watch::settings::Kind;
use crate::watch::{WatchError, Watches};
use crate::witness::{self, Serving};
use identity::Identity;
pub use identity::IdentityError;
use work::{Shared, Work};

/// How often the queue is looked at: a job is noticed within this time.
const QUEUE_EVERY: Duration = Duration::from_millis(150);

/// How long the first signature after a start waits for a peer to tell its heads: a peer that holds more
/// of our own feed than we do is heard of before a sequence number is used a second time.
const HEADS_WAIT: Duration = Duration::from_secs(10);

/// Time between a peer's heads and our having its entries.
const HEADS_SETTLE: Duration = Duration::from_millis(300);

/// `ready.json` in the data folder: written when the node listens, removed when it ends in good order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    /// Version of this file: `quorate-ready/v1`.
    pub schema: String,
    /// The node.
    pub node: NodeId,
    /// Its libp2p identity.
    pub peer_id: String,
    /// Addresses that peers may dial.
    pub addresses: Vec<String>,
    /// Where it cosigns checkpoints, if it is a witness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<witness::Listening>,
    /// The process.
    pub pid: u32,
}

/// Why a node does not start, or stops.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The certificate.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The policy.
    #[error("policy `{path}`")]
    Policy {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: PolicyError,
    },
    /// A file.
    #[error("`{path}`")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The content store.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The feeds.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The queue.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Watching.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// What own builds left.
    #[error(transparent)]
    Intermediates(#[from] KeptError),
    /// Witnessing.
    #[error(transparent)]
    Witness(#[from] witness::StartError),
    /// The mesh.
    #[error(transparent)]
    Mesh(#[from] MeshError),
    /// The coordinator's address.
    #[error("coordinator's address")]
    Submit(#[source] tonic::transport::Error),
    /// A task of the node has ended that never should.
    #[error("a task of the node has ended")]
    Task,
}

/// Runs a node until SIGTERM or SIGINT, or until something is wrong that it must not go on with.
pub async fn run(config: Config) -> Result<(), DaemonError> {
    let mut daemon = Daemon::start(config).await?;
    let outcome = daemon.work().await;
    daemon.stop().await;
    outcome
}

struct Daemon {
    config: Config,
    feeds: Feeds,
    queue: Queue,
    mesh: Mesh,
    work: Work,
    watches: Watches,
    witness: Option<Serving>,
    showing: JoinHandle<()>,
    started: Instant,
    heads_heard: Option<Instant>,
    ready: PathBuf,
}

impl Daemon {
    async fn start(config: Config) -> Result<Self, DaemonError> {
        let io = |path: &PathBuf| {
            let path = path.clone();
            move |source| DaemonError::Io { path, source }
        };
        std::fs::create_dir_all(&config.data_dir).map_err(io(&config.data_dir))?;
        let ready = config.data_dir.join("ready.json");
        let policy = std::fs::read_to_string(&config.node.policy).map_err(io(&config.node.policy))?;
        let policy = Policy::parse(&policy).map_err(|source| DaemonError::Policy { path: config.node.policy.clone(), source })?;
        let identity = Identity::load(&config.node.key, &config.node.certificate)?;
        let mut enrolled = policy.enrolled().clone();
        if enrolled.insert(identity.operator()) {
            tracing::warn!(operator = %identity.operator(), "this node's own operator is not enrolled in its policy");
        }
        let blobs = BlobStore::open(&config.data_dir.join("blobs"))?;
        let own = Own { node: identity.node(), operator: identity.operator() };
        let feeds = Feeds::open(&config.data_dir, own, enrolled, blobs)?;
        // The folder is ours from here on: what an earlier process said of itself is no longer true.
        let _ = std::fs::remove_file(&ready);
        let queue = Queue::open(&config.data_dir)?;
        queue.recover()?;
        queue_unlisted(&config, &queue, &feeds)?;
        let policy_log = policy.log().map(|log| log.key.as_str());
        let logs = Logs::open(&config.data_dir, &log_keys(&config, policy_log)).map_err(io(&config.data_dir))?;
        let witness = match &config.witness {
            Some(section) => Some(Serving::start(section, &config.data_dir, policy_log, Some(logs.clone())).await?),
            None => None,
        };
        let store = MeshStore::new(feeds.clone(), logs.clone(), &config.data_dir);
        let mesh = start_mesh(&config, &identity, store)?;
        let signed = Arc::new(Notify::new());
        let log = policy.log().and_then(Log::of);
        let subject = log.map(|log| Subject { feeds: feeds.clone(), node: identity.node(), log, logs: logs.clone() });
        let own = start_submitter(&config, &feeds, &signed, subject)?;
        let showing = tokio::spawn(show::run(mesh.clone(), feeds.clone(), logs, own, config.data_dir.clone()));
        let kept = Kept::open(&config.data_dir)?;
        let terms = config.commit.terms(&policy);
        let work = Work::new(Shared { feeds: feeds.clone(), queue: queue.clone(), mesh: mesh.clone(), signed, kept }, identity, terms);
        let signed_already = feeds.clone();
        let watches = Watches::start(&config, &queue, &(Arc::new(move |artifact: &_| signed_already.has_signed(artifact)) as _))?;
        let daemon =
            Self { config, feeds, queue, mesh, work, watches, witness, showing, started: Instant::now(), heads_heard: None, ready };
        daemon.tell().await?;
        Ok(daemon)
    }

    /// Writes `ready.json`.
    async fn tell(&self) -> Result<(), DaemonError> {
        let addresses: Vec<String> = self.mesh.listening().await?.iter().map(ToString::to_string).collect();
        let ready = Ready {
            schema: "quorate-ready/v1".to_owned(),
            node: self.work.node(),
            peer_id: self.mesh.peer_id().to_string(),
            addresses,
            witness: self.witness.as_ref().map(|witness| witness.listening.clone()),
            pid: std::process::id(),
        };
        let json = serde_json::to_vec_pretty(&ready).expect("texts and numbers always serialise");
        durable::replace(&self.ready, &json).map_err(|source| DaemonError::Io { path: self.ready.clone(), source })?;
        tracing::info!(node = %ready.node, addresses = ?ready.addresses, "node listens");
        Ok(())
    }

    async fn work(&mut self) -> Result<(), DaemonError> {
        let failed = |source| DaemonError::Io { path: "signals".into(), source };
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut halted = self.feeds.halted();
        let mut round = tokio::time::interval(QUEUE_EVERY);
        round.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                changed = halted.changed() => {
                    changed.map_err(|_| DaemonError::Task)?;
                    let reason = halted.borrow().clone().unwrap_or_default();
                    return Err(FeedError::Halted { reason }.into());
                }
                () = self.watches.ended() => return Err(DaemonError::Task),
                Some(built) = self.work.built() => {
                    self.work.take_in(built).await?;
                    self.round().await?;
                }
                _ = round.tick() => self.round().await?,
            }
        }
    }

    /// Looks at others' work, and at the queue: signs what is staged, starts what is ready.
    async fn round(&mut self) -> Result<(), DaemonError> {
        let may_sign = self.may_sign();
        if may_sign {
            self.work.check().await?;
        }
        let pending = self.queue.pending(work::now())?;
        if pending.is_empty() {
            return Ok(());
        }
        self.work.round(pending, &self.config, may_sign).await
    }

    /// Whether the first heads of a peer were heard, or were waited for long enough.
    fn may_sign(&mut self) -> bool {
        if self.config.mesh.bootstrap.is_empty() {
            return true;
        }
        if self.heads_heard.is_none() && self.mesh.status().borrow().heads_heard > 0 {
            self.heads_heard = Some(Instant::now());
        }
        self.heads_heard.is_some_and(|heard| heard.elapsed() >= HEADS_SETTLE) || self.started.elapsed() >= HEADS_WAIT
    }

    async fn stop(self) {
        let _ = std::fs::remove_file(&self.ready);
        if let Some(witness) = self.witness {
            witness.stop();
        }
        self.showing.abort();
        let _ = std::fs::remove_file(mesh::status::path(&self.config.data_dir));
        self.work.stop().await;
        self.mesh.stop().await;
        tracing::info!("node ends");
    }
}

/// Queues listed releases of kinds whose registries are not watched. What was done is built again only when
/// somebody says so.
fn queue_unlisted(config: &Config, queue: &Queue, feeds: &Feeds) -> Result<(), DaemonError> {
    let signed = feeds.signed();
    for package in config.watch.packages.iter().filter(|package| Kind::of(package).is_none()) {
        let job = Job { package: package.clone(), file: None, artifact_path: None };
        if !queue::is_done(&job, &signed) {
            queue.enqueue(&job)?;
        }
    }
    Ok(())
}

fn start_mesh(config: &Config, identity: &Identity, store: MeshStore) -> Result<Mesh, DaemonError> {
    let mesh = MeshConfig {
        listen: config.mesh.listen.clone(),
        bootstrap: config.mesh.bootstrap.clone(),
        peers_wanted: config.mesh.peers_wanted,
        external: config.mesh.external.clone(),
        // Without a confirmed address it could hold no way in for others, and who but another relay should confirm one?
        reach: if config.mesh.relay { Reach::Open } else { config.mesh.reach.into() },
        relay: config.mesh.relay,
        connections_max: config.mesh.connections_max,
        limited: LimitedAddresses::Public,
        memory_bytes_max: config.mesh.memory_bytes_max,
        seed: u64::from(std::process::id()),
    };
    let (mesh, _task) = Mesh::start(identity.key(), mesh, Arc::new(store))?;
    Ok(mesh)
}

/// The logs that are listened to: that of the policy, and those that are witnessed. What is no key is told of where
/// the witness starts.
fn log_keys(config: &Config, policy_log: Option<&str>) -> Vec<VerifierKey> {
    let witnessed = config.witness.iter().flat_map(|witness| &witness.logs).map(String::as_str);
    witnessed.chain(policy_log).filter_map(|text| text.parse().ok()).collect()
}

/// Hands in what is signed, and looks for it in the log if there is one to look in.
fn start_submitter(
    config: &Config,
    feeds: &Feeds,
    signed: &Arc<Notify>,
    subject: Option<Subject>,
) -> Result<Option<watch::Receiver<Logged>>, DaemonError> {
    let Some(address) = &config.coordinator.submit else { return Ok(None) };
    // `new` takes TLS with the system's roots for `https`.
    let address = tonic::transport::Endpoint::new(address.clone()).map_err(DaemonError::Submit)?;
    let submitter = Submitter::new(feeds.clone(), address, config.data_dir.join("submitted"), Arc::clone(signed));
    let sought = subject.map(|subject| submitter.seeker(subject, config.data_dir.join("logged")));
    tokio::spawn(submitter.run());
    Ok(sought.map(|(seeker, shown)| {
        tokio::spawn(seeker.run());
        shown
    }))
}
