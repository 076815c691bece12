//! The way of a job: built, staged, signed, told.

mod checks;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quorate_gossip::Mesh;
use quorate_proto::commitment::Reveals;
use quorate_proto::hold::Terms;
use quorate_proto::provenance::BLOB_BYTES_MAX;
use quorate_proto::verified::FeedItem;
use quorate_proto::{NodeId, SecretKey, TaskId, Timestamp};
use tokio::sync::{Notify, OnceCell};
use tokio::time::Instant;

use super::DaemonError;
use super::builds::{Builds, Built, Failure};
use super::identity::Identity;
use crate::attest::{self, Binding, Finding, Place};
use crate::blob::BlobError;
use crate::config::Config;
use crate::feed::{Due, FeedError, Feeds, Promised, Step};
use crate::intermediates::Kept;
use crate::pipeline::{Disposition, Engine, EngineConfig, Job, RebuildError, Silent};
use crate::queue::{JobId, Pending, Queue, State};

/// How often an expired certificate is complained about.
const COMPLAIN_EVERY: Duration = Duration::from_mins(1);

/// What others of the node use as well.
pub(super) struct Shared {
    pub(super) feeds: Feeds,
    pub(super) queue: Queue,
    pub(super) mesh: Mesh,
    /// Told of new entries.
    pub(super) signed: Arc<Notify>,
    /// What own builds left.
    pub(super) kept: Kept,
}

pub(super) struct Work {
    feeds: Feeds,
    queue: Queue,
    mesh: Mesh,
    identity: Identity,
    signed: Arc<Notify>,
    kept: Kept,
    /// How results are held back, if they are.
    terms: Option<Terms>,
    /// Jobs whose results are held back, until when. A hint: a restart looks at each again.
    held: HashMap<JobId, (TaskId, Timestamp)>,
    /// Made with the first build: a node that only relays needs no sandbox.
    engine: Arc<OnceCell<Engine>>,
    builds: Builds,
    complained: Option<Instant>,
}

impl Work {
    pub(super) fn new(shared: Shared, identity: Identity, terms: Option<Terms>) -> Self {
        let Shared { feeds, queue, mesh, signed, kept } = shared;
        let (engine, builds) = (Arc::default(), Builds::default());
        Self { feeds, queue, mesh, identity, signed, kept, terms, held: HashMap::new(), engine, builds, complained: None }
    }

    pub(super) fn node(&self) -> NodeId {
        self.identity.node()
    }

    /// The next build that ends; nothing while none is under way.
    pub(super) async fn built(&mut self) -> Option<Built> {
        self.builds.next().await
    }

    /// Looks at every job once. A job is done when its outcome is signed, and not because an earlier one of
    /// the same name was: a file that its publisher changed has to be built again to be seen.
    pub(super) async fn round(&mut self, pending: Vec<Pending>, config: &Config, may_sign: bool) -> Result<(), DaemonError> {
        for Pending { id, job, state } in pending {
            match state {
                State::Staged if may_sign => self.sign(id).await?,
                State::Ready if !self.builds.contains(id) && self.builds.count() < config.build.jobs => self.build(id, job, config)?,
                State::Staged | State::Ready | State::Resting { .. } => {}
            }
        }
        Ok(())
    }

    fn build(&mut self, id: JobId, job: Job, config: &Config) -> Result<(), DaemonError> {
        let (engine, engine_config) = (Arc::clone(&self.engine), config.engine()?);
        tracing::info!(package = %job.package, job = %id, "build begins");
        self.builds.begin(id, async move { rebuild(&engine, engine_config, &job).await });
        Ok(())
    }

    /// Keeps what came out, or lets the job rest, or puts it aside.
    pub(super) async fn take_in(&mut self, built: Built) -> Result<(), DaemonError> {
        let Built { id, outcome } = built;
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

    /// Goes on with a staged outcome: commits to it, keeps it back, or signs it. A feed that cannot be written ends
    /// the node: what it holds is in doubt until it is read again. An outcome that no peer would take is put aside:
    /// it comes from a publisher, and must not stop what others are waiting for.
    async fn sign(&mut self, id: JobId) -> Result<(), DaemonError> {
        if self.rests(id).await? {
            return Ok(());
        }
        let now = now().whole_seconds();
        let Some(certificate) = self.certificate(now) else { return Ok(()) };
        let Some(finding) = self.queue.staged(id)? else { return Ok(()) };
        let artifact = finding.artifact();
        let (slot, outcome, terms) = (artifact.slot.clone(), finding.outcome(), self.terms);
        let wanted = artifact.clone();
        let step = self.on_feeds(move |feeds| {
            if feeds.has_signed(&wanted) {
                return Ok(None);
            }
            feeds.step(&Due { slot: &slot, outcome, terms: terms.as_ref() }).map(Some)
        });
        let appended = match step.await? {
            None => return self.finish(id),
            Some(Step::Wait { until }) => {
                self.held.insert(id, (TaskId::of(&artifact.slot), until));
                return Ok(());
            }
            Some(Step::Commit(promised)) => self.commit(finding, promised, certificate, now).await?,
            Some(Step::Sign(reveals)) => self.append(finding, reveals, certificate, now).await?,
        };
        match appended {
            Ok(Appended::Commitment(item)) => {
                tracing::info!(artifact = %artifact.slot.file, package = %artifact.slot.package, "committed to a result");
                self.tell(&item);
            }
            Ok(Appended::Result(item)) => {
                tracing::info!(artifact = %artifact.slot.file, package = %artifact.slot.package, "result signed");
                self.tell(&item);
                self.finish(id)?;
            }
            Err(Unsigned::Finding(reason)) => {
                tracing::error!(job = %id, package = %artifact.slot.package, reason, "outcome can never be signed; put aside");
                self.queue.reject(id, &reason)?;
            }
            Err(Unsigned::Certificate(reason)) => self.complain(reason),
        }
        Ok(())
    }

    /// Whether a job's result is held back and nothing has changed.
    async fn rests(&mut self, id: JobId) -> Result<bool, DaemonError> {
        let Some((task, until)) = self.held.get(&id).copied() else { return Ok(false) };
        let settle = self.terms.map_or(Duration::ZERO, |terms| terms.settle);
        let due = self.on_feeds(move |feeds| Ok(feeds.is_due(&task, until, settle))).await?;
        if due {
            self.held.remove(&id);
        }
        Ok(!due)
    }

    fn tell(&self, item: &FeedItem) {
        self.mesh.publish(item);
        self.signed.notify_one();
    }

    fn finish(&mut self, id: JobId) -> Result<(), DaemonError> {
        self.held.remove(&id);
        Ok(self.queue.finish(id)?)
    }

    /// Feeds are files: whoever asks them may wait for the disk.
    async fn on_feeds<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Feeds) -> Result<T, FeedError> + Send + 'static,
    ) -> Result<T, DaemonError> {
        let feeds = self.feeds.clone();
        Ok(tokio::task::spawn_blocking(move || ask(&feeds)).await.map_err(|_| DaemonError::Task)??)
    }

    /// Says that there is a result, and not which. First that it can be told: what could not be revealed must not
    /// be promised.
    async fn commit(&self, finding: Finding, step: Promised, certificate: Vec<u8>, now: Timestamp) -> Settled {
        let (key, operator) = (self.key(), self.identity.operator());
        let appended = self.on_feeds(move |feeds| {
            let place = |feed| Place { operator, feed, reveals: None, now };
            let binding = Binding { slot: finding.artifact().slot, secret: step.secret, promise: step.promise };
            let rehearsed = feeds.rehearse(|feed| {
                let signed = finding.sign(&key, place(feed));
                let too_large = signed.evidence().find(|evidence| evidence.len() > BLOB_BYTES_MAX);
                match too_large {
                    Some(evidence) => Err(BlobError::TooLarge { got: evidence.len() }.into()),
                    None => Ok(FeedItem { certificate: certificate.clone(), envelope: signed.envelope.bytes().to_vec() }),
                }
            });
            Ok(rehearsed.and_then(|()| {
                feeds.sign(|feed| {
                    let envelope = attest::commit(binding, &key, &place(feed));
                    Ok(FeedItem { certificate, envelope: envelope.bytes().to_vec() })
                })
            }))
        });
        settled(appended.await?.map(Appended::Commitment))
    }

    /// What the build left and evidence first, then the entry that names it.
    async fn append(&self, finding: Finding, reveals: Option<Reveals>, certificate: Vec<u8>, now: Timestamp) -> Settled {
        let (key, operator, kept) = (self.key(), self.identity.operator(), self.kept.clone());
        let appended = self.on_feeds(move |feeds| {
            keep(&kept, &finding);
            Ok(feeds.sign(|feed| {
                let signed = finding.sign(&key, Place { operator, feed, reveals, now });
                for evidence in signed.evidence() {
                    feeds.blobs().put(evidence)?;
                }
                Ok::<_, FeedError>(FeedItem { certificate, envelope: signed.envelope.bytes().to_vec() })
            }))
        });
        settled(appended.await?.map(Appended::Result))
    }

    fn key(&self) -> SecretKey {
        SecretKey::from_seed(&self.identity.key().seed())
    }

    /// The certificate that serves at `now`; where none does, that is said.
    fn certificate(&mut self, now: Timestamp) -> Option<Vec<u8>> {
        let certificate = self.identity.certificate(now).map(|certificate| certificate.bytes().to_vec());
        if certificate.is_none() {
            self.complain("expired-certificate");
        }
        certificate
    }

    fn complain(&mut self, reason: &'static str) {
        if self.complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
            self.complained = Some(Instant::now());
            tracing::error!(reason, "the certificate does not serve now: nothing is signed until it is renewed");
        }
    }

    /// Ends the builds; their jobs stay in the queue.
    pub(super) async fn stop(self) {
        self.builds.stop().await;
    }
}

/// Keeps what the build left. Where that fails nobody else's work on this task is checked, and nothing more.
fn keep(kept: &Kept, finding: &Finding) {
    let Some(left) = &finding.intermediates else { return };
    let task = TaskId::of(&finding.artifact().slot);
    if let Err(error) = kept.put(&task, finding.environment.class, left) {
        tracing::error!(error = &error as &dyn std::error::Error, "what a build left is not kept");
    }
}

/// An entry that is durable.
enum Appended {
    Commitment(FeedItem),
    Result(FeedItem),
}

/// What became of an entry.
type Settled = Result<Result<Appended, Unsigned>, DaemonError>;

fn settled(appended: Result<Appended, FeedError>) -> Settled {
    appended.map_or_else(|error| Ok(Err(unsigned(error)?)), |appended| Ok(Ok(appended)))
}

/// Why an outcome was not signed, when the feed is none the worse for it.
#[derive(Debug, PartialEq, Eq)]
enum Unsigned {
    /// No peer would take it.
    Finding(String),
    /// No peer would take anything under this certificate: outcomes wait for another.
    Certificate(&'static str),
}

/// What of a failure to sign is not the feed's fault; the rest is given back.
fn unsigned(error: FeedError) -> Result<Unsigned, FeedError> {
    match error {
        FeedError::Refused(
            name @ ("bad-certificate" | "unknown-operator" | "expired-certificate" | "bad-signature" | "foreign-operator" | "future"),
        ) => Ok(Unsigned::Certificate(name)),
        FeedError::Refused(_) | FeedError::Blob(BlobError::TooLarge { .. }) => Ok(Unsigned::Finding(error.to_string())),
        other => Err(other),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_that_no_peer_takes_is_put_aside_and_only_the_own_state_ends_the_node() {
        for name in ["oversized", "contradiction", "malformed-statement"] {
            assert!(matches!(unsigned(FeedError::Refused(name)), Ok(Unsigned::Finding(reason)) if reason.contains(name)));
        }
        let too_large = FeedError::Blob(BlobError::TooLarge { got: 5 << 20 });
        assert!(matches!(unsigned(too_large), Ok(Unsigned::Finding(_))));
        assert!(matches!(unsigned(FeedError::Refused("unknown-operator")), Ok(Unsigned::Certificate("unknown-operator"))));
        let halted = FeedError::Halted { reason: "another history".to_owned() };
        assert!(matches!(unsigned(halted), Err(FeedError::Halted { .. })));
    }
}
