//! The way of a job: built, staged, signed, told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quorate_gossip::Mesh;
use quorate_proto::dsse::Envelope;
use quorate_proto::verified::FeedItem;
use quorate_proto::{NodeId, Timestamp};
use tokio::sync::{Notify, OnceCell};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::DaemonError;
use super::identity::Identity;
use crate::attest::Finding;
use crate::config::Config;
use crate::feed::{FeedError, Feeds};
use crate::pipeline::{Disposition, Engine, EngineConfig, Job, RebuildError, Silent};
use crate::queue::{self, JobId, Pending, Queue, State};

/// How often an expired certificate is complained about.
const COMPLAIN_EVERY: Duration = Duration::from_mins(1);

/// A build that has ended.
pub(super) struct Built {
    id: JobId,
    outcome: Result<Finding, Failure>,
}

enum Failure {
    Passing(String),
    Final(String),
}

pub(super) struct Work {
    feeds: Feeds,
    queue: Queue,
    mesh: Mesh,
    identity: Identity,
    signed: Arc<Notify>,
    /// Made with the first build: a node that only relays needs no sandbox.
    engine: Arc<OnceCell<Engine>>,
    builds: JoinSet<Built>,
    building: BTreeSet<JobId>,
    complained: Option<Instant>,
}

impl Work {
    pub(super) fn new(feeds: Feeds, queue: Queue, mesh: Mesh, identity: Identity, signed: Arc<Notify>) -> Self {
        let (builds, building) = (JoinSet::new(), BTreeSet::new());
        Self { feeds, queue, mesh, identity, signed, engine: Arc::default(), builds, building, complained: None }
    }

    pub(super) fn node(&self) -> NodeId {
        self.identity.node()
    }

    /// The next build that ends; nothing while none is under way.
    pub(super) async fn built(&mut self) -> Option<Built> {
        loop {
            match self.builds.join_next().await? {
                Ok(built) => return Some(built),
                // A build that panicked leaves its job in the queue; the next round begins it again, later.
                Err(error) => tracing::error!(%error, "a build ended in a way that it should not"),
            }
        }
    }

    /// Looks at every job once.
    pub(super) async fn round(&mut self, pending: Vec<Pending>, config: &Config, may_sign: bool) -> Result<(), DaemonError> {
        let signed = self.feeds.signed();
        for Pending { id, job, state } in pending {
            if queue::is_done(&job, &signed) {
                self.queue.finish(id)?;
                continue;
            }
            match state {
                State::Staged if may_sign => self.sign(id).await?,
                State::Ready if !self.building.contains(&id) && self.builds.len() < config.build.jobs => self.build(id, job, config)?,
                State::Staged | State::Ready | State::Resting { .. } => {}
            }
        }
        Ok(())
    }

    fn build(&mut self, id: JobId, job: Job, config: &Config) -> Result<(), DaemonError> {
        let (engine, engine_config) = (Arc::clone(&self.engine), config.engine()?);
        tracing::info!(package = %job.package, job = %id, "build begins");
        self.building.insert(id);
        self.builds.spawn(async move { Built { id, outcome: rebuild(&engine, engine_config, &job).await } });
        Ok(())
    }

    /// Keeps what came out, or lets the job rest, or puts it aside.
    pub(super) async fn take_in(&mut self, built: Built) -> Result<(), DaemonError> {
        let Built { id, outcome } = built;
        self.building.remove(&id);
        match outcome {
            Ok(finding) => {
                tracing::info!(artifact = %finding.file, outcome = finding.outcome.class(), job = %id, "build ended");
                let queue = self.queue.clone();
                tokio::task::spawn_blocking(move || queue.stage(id, &finding)).await.map_err(|_| DaemonError::Task)??;
            }
            Err(Failure::Passing(reason)) => {
                let until = self.queue.postpone(id, reason.clone(), now())?;
                tracing::warn!(job = %id, %until, reason, "rebuild says nothing about the release; tried again later");
            }
            Err(Failure::Final(reason)) => {
                tracing::error!(job = %id, reason, "job can never be done; put aside");
                self.queue.reject(id, &reason)?;
            }
        }
        Ok(())
    }

    /// Signs a staged outcome and tells the mesh. A feed that cannot be written ends the node: what it
    /// holds is in doubt until it is read again.
    async fn sign(&mut self, id: JobId) -> Result<(), DaemonError> {
        let now = now().whole_seconds();
        let Some(certificate) = self.identity.certificate(now) else {
            self.complain();
            return Ok(());
        };
        let certificate = certificate.bytes().to_vec();
        let Some(finding) = self.queue.staged(id)? else { return Ok(()) };
        if self.feeds.has_signed(&finding.artifact().slot) {
            self.queue.finish(id)?;
            return Ok(());
        }
        let artifact = finding.artifact();
        let item = self.append(finding, certificate, now).await?;
        tracing::info!(artifact = %artifact.slot.file, package = %artifact.slot.package, "result signed");
        self.mesh.publish(&item);
        self.signed.notify_one();
        self.queue.finish(id)?;
        Ok(())
    }

    /// Evidence first, then the entry that names it.
    async fn append(&self, finding: Finding, certificate: Vec<u8>, now: Timestamp) -> Result<FeedItem, DaemonError> {
        let feeds = self.feeds.clone();
        let key = quorate_proto::SecretKey::from_seed(&self.identity.key().seed());
        let appended = tokio::task::spawn_blocking(move || {
            feeds.sign(|position| {
                let signed = finding.sign(&key, position, now);
                let provenance = signed.provenance_envelope.as_ref().map(Envelope::bytes);
                for evidence in signed.blobs.iter().map(Vec::as_slice).chain(provenance) {
                    feeds.blobs().put(evidence)?;
                }
                Ok::<_, FeedError>(FeedItem { certificate, envelope: signed.envelope.bytes().to_vec() })
            })
        });
        Ok(appended.await.map_err(|_| DaemonError::Task)??)
    }

    fn complain(&mut self) {
        if self.complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
            self.complained = Some(Instant::now());
            tracing::error!("the certificate is not valid now: nothing is signed until it is renewed");
        }
    }

    /// Ends the builds; their jobs stay in the queue.
    pub(super) async fn stop(mut self) {
        self.builds.shutdown().await;
    }
}

async fn rebuild(engine: &OnceCell<Engine>, config: EngineConfig, job: &Job) -> Result<Finding, Failure> {
    let engine = engine.get_or_try_init(|| prepare(config)).await?;
    engine.rebuild(job, &Silent).await.map_err(failure)
}

async fn prepare(config: EngineConfig) -> Result<Engine, Failure> {
    let engine = tokio::task::spawn_blocking(move || Engine::new(config)).await;
    engine.map_err(|e| Failure::Passing(e.to_string()))?.map_err(failure)
}

fn failure(error: RebuildError) -> Failure {
    let disposition = error.disposition();
    let reason = format!("{:#}", anyhow::Error::new(error));
    match disposition {
        Disposition::Retry => Failure::Passing(reason),
        Disposition::Reject => Failure::Final(reason),
    }
}

pub(super) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
