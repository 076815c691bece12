//! The shell of a machine: asks, writes, waits. One task for each registry; it owns machine and files.
//!
//! What it decides: nothing. The order of writes is the machine's: jobs, keys, cursor.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quorate_proto::{ArtifactId, ArtifactSlot, Purl, Timestamp};
use tokio::task::{self, JoinSet, spawn_blocking};

use super::listing::{Artifact, Key};
use super::machine::{Effect, Event, Machine, Report, Saved};
use super::problem::{Kind, Problem};
use super::source::Source;
use super::store::Store;
use super::wire::Wire;
use crate::pipeline::Job;
use crate::queue::Queue;

/// Whether the node has signed a result for this very file.
pub type IsSigned = Arc<dyn Fn(&ArtifactId) -> bool + Send + Sync>;

/// One watched registry.
pub(super) struct Actor {
    source: Arc<Source>,
    wire: Wire,
    machine: Machine,
    /// Away while it is written to.
    store: Option<Store>,
    queue: Queue,
    is_signed: IsSigned,
    name: String,
    asked: JoinSet<Answered>,
    questions: HashMap<task::Id, Effect>,
    /// What pages were known by when they were taken in, for questions that an unchanged page answers.
    validators: HashMap<Purl, String>,
    arrived: HashMap<Purl, String>,
    wake: Option<Timestamp>,
}

struct Answered {
    event: Event,
    validator: Option<(Purl, String)>,
}

impl Actor {
    pub(super) fn new(source: Source, wire: Wire, machine: Machine, store: Store, queue: Queue, is_signed: IsSigned) -> Self {
        let watched = source.watched();
        let name = watched.suite.as_ref().map_or_else(|| watched.kind.clone(), |suite| format!("{} {suite}", watched.kind));
        Self {
            source: Arc::new(source),
            wire,
            machine,
            store: Some(store),
            queue,
            is_signed,
            name: format!("{name} {}", watched.address),
            asked: JoinSet::new(),
            questions: HashMap::new(),
            validators: HashMap::new(),
            arrived: HashMap::new(),
            wake: None,
        }
    }

    /// Watches until it is dropped.
    pub(super) async fn run(mut self) {
        let mut events = VecDeque::from([Event::Wake]);
        loop {
            while let Some(event) = events.pop_front() {
                for effect in self.machine.handle(event, now()) {
                    events.extend(self.perform(effect).await);
                }
            }
            events.push_back(self.next().await);
        }
    }

    /// The next answer, or the end of a rest.
    async fn next(&mut self) -> Event {
        loop {
            let rest = self.wake.map(|until| until_then(now(), until));
            tokio::select! {
                Some(answer) = self.asked.join_next_with_id() => {
                    if let Some(event) = self.answered(answer) {
                        return event;
                    }
                }
                () = tokio::time::sleep(rest.unwrap_or_default()), if rest.is_some() => {
                    // A long rest is slept in parts, so that a clock that is set is noticed.
                    if self.wake.is_none_or(|until| until <= now()) {
                        self.wake = None;
                        return Event::Wake;
                    }
                }
                else => return Event::Wake,
            }
        }
    }

    fn answered(&mut self, answer: Result<(task::Id, Answered), task::JoinError>) -> Option<Event> {
        match answer {
            Ok((id, answered)) => {
                self.questions.remove(&id);
                self.arrived.extend(answered.validator);
                Some(answered.event)
            }
            Err(error) => {
                let question = self.questions.remove(&error.id())?;
                Event::failed(&question, Problem::malformed(format!("reading the answer failed: {error}")))
            }
        }
    }

    async fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Poll { .. } | Effect::Look { .. } => {
                self.ask(effect);
                None
            }
            Effect::Queue { package, artifacts, remember } => {
                let outcome = self.queue(artifacts, remember).await;
                if let (Some(package), Ok(())) = (&package, &outcome) {
                    self.validators.extend(self.arrived.remove_entry(package));
                }
                Some(Event::Queued { package, outcome })
            }
            Effect::Save(saved) => Some(Event::Saved(self.save(*saved).await)),
            Effect::Sleep { until } => {
                self.wake = Some(until);
                None
            }
            Effect::Report(report) => {
                self.tell(&report);
                None
            }
        }
    }

    fn ask(&mut self, effect: Effect) {
        let (source, wire, question) = (Arc::clone(&self.source), self.wire.clone(), effect.clone());
        let validator = match &effect {
            Effect::Look { package, .. } => self.validators.get(package).cloned(),
            _ => None,
        };
        let handle = self.asked.spawn(async move { answer(&source, &wire, question, validator).await });
        self.questions.insert(handle.id(), effect);
    }

    /// Jobs first, then the keys that say that they are there.
    async fn queue(&mut self, artifacts: Vec<Artifact>, remember: Vec<Key>) -> Result<(), Problem> {
        if artifacts.is_empty() && remember.is_empty() {
            return Ok(());
        }
        let (queue, is_signed) = (self.queue.clone(), Arc::clone(&self.is_signed));
        self.write(move |store| {
            for artifact in artifacts {
                enqueue(&queue, &is_signed, artifact)?;
            }
            store.remember(&remember).map_err(|error| disk(&error))
        })
        .await
    }

    async fn save(&mut self, saved: Saved) -> Result<(), Problem> {
        self.write(move |store| store.save(&saved).map_err(|error| disk(&error))).await
    }

    /// Writes in a thread where waiting for the disk hinders nobody.
    async fn write(&mut self, work: impl FnOnce(&mut Store) -> Result<(), Problem> + Send + 'static) -> Result<(), Problem> {
        let lost = || Problem::new(Kind::Disk, "the watch's files are not open");
        let mut store = self.store.take().ok_or_else(lost)?;
        let written = spawn_blocking(move || {
            let outcome = work(&mut store);
            (store, outcome)
        })
        .await;
        let (store, outcome) = written.map_err(|_| lost())?;
        self.store = Some(store);
        outcome
    }

    fn tell(&self, report: &Report) {
        let registry = self.name.as_str();
        match report {
            Report::Failing(problem) => {
                tracing::warn!(registry, problem = problem.words, "watch: polls fail; they are tried again, ever more seldom");
            }
            Report::Recovered => tracing::info!(registry, "watch: polls go well again"),
            Report::Remark(words) => tracing::warn!(registry, "watch: {words}"),
        }
    }
}

/// Puts a file into the queue, unless the feed holds a result for its very bytes.
fn enqueue(queue: &Queue, is_signed: &IsSigned, artifact: Artifact) -> Result<(), Problem> {
    let digest = artifact.digest();
    let slot = ArtifactSlot { package: artifact.package, file: artifact.file };
    let job = Job { package: slot.package.clone(), file: Some(slot.file.clone()), artifact_path: None };
    if digest.is_some_and(|digest| is_signed(&ArtifactId { slot, digest })) {
        return Ok(());
    }
    let (id, enqueued) = queue.enqueue(&job).map_err(|error| disk(&error))?;
    tracing::info!(package = %job.package, file = ?job.file, job = %id, ?enqueued, "watch: published");
    Ok(())
}

async fn answer(source: &Source, wire: &Wire, question: Effect, validator: Option<String>) -> Answered {
    match question {
        Effect::Look { round, package, detail } => {
            let (listing, validator) = match source.look(wire, &package, detail, validator).await {
                Ok(Some((listing, validator))) => (Ok(Some(listing)), validator.map(|validator| (package.clone(), validator))),
                Ok(None) => (Ok(None), None),
                Err(problem) => (Err(problem), None),
            };
            Answered { event: Event::Looked { round, package, listing }, validator }
        }
        Effect::Poll { since } => Answered { event: Event::Polled(source.poll(wire, since.as_ref()).await.map(Box::new)), validator: None },
        _ => Answered { event: Event::Wake, validator: None },
    }
}

fn disk(error: &dyn std::error::Error) -> Problem {
    let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
    Problem::new(Kind::Disk, format!("{error}{cause}"))
}

/// Longest sleep at a time.
const NAP: Duration = Duration::from_secs(30);

fn until_then(now: Timestamp, until: Timestamp) -> Duration {
    let seconds = u64::try_from(until.unix_seconds().saturating_sub(now.unix_seconds())).unwrap_or(0);
    // Whole seconds are compared: the rest of one is slept in short steps.
    Duration::from_secs(seconds).clamp(Duration::from_millis(100), NAP)
}

pub(super) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
