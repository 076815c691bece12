//! Asks witnesses to cosign what is committed, and publishes a checkpoint once a quorum has.
//!
//! One task owns what is known of each witness. It follows the durable checkpoint, asks all witnesses at
//! once for the newest, and leaves out those in between. Nobody waits for it but readers of `/checkpoint` and of
//! proofs: it fails closed. Only durable checkpoints come here, so no witness ever sees two roots of ours for one
//! size. `docs/spec/witness.md`, section 5.

mod ask;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt as _};
use quorate_tlog::note::NoteError;
use quorate_tlog::policy::{ParseError, Quorum};
use quorate_tlog::{SignedNote, TlogPolicy, VerifierKey};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::config::WitnessSection;
use crate::metrics::{Metrics, Outcome};
use crate::store::Store;
use crate::store::leaves::{Published, Shown};
use ask::Asked;

/// After a round without a quorum the next one waits this long, then twice as long, and so on.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_LAST: Duration = Duration::from_secs(15);

/// Who has to cosign, and how they are asked.
#[derive(Clone, Debug)]
pub struct Witnesses {
    /// Witnesses with their submission prefixes, and the quorum.
    pub policy: TlogPolicy,
    /// How long one may take.
    pub timeout: Duration,
    /// After this time a log that rests is cosigned again.
    pub recosign: Duration,
}

/// Witnesses that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WitnessesError {
    /// The policy file.
    #[error("file `{}`", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not a policy.
    #[error("witness policy")]
    Policy(#[from] ParseError),
    /// A policy for other logs.
    #[error("the witness policy names logs, and this one is not among them")]
    OtherLog,
    /// No set of reachable witnesses is enough: nothing could ever be published.
    #[error("the quorum cannot be met by witnesses that have an address")]
    Unreachable,
    /// An address that is none.
    #[error("`{0}` is no http or https address")]
    Address(String),
    /// The HTTP client could not be made.
    #[error("the HTTP client could not be set up")]
    Client(#[source] reqwest::Error),
}

/// The task that asks. Dropped, it asks no more.
#[derive(Debug)]
pub struct Cosigning(JoinHandle<()>);

impl Drop for Cosigning {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Witnesses {
    /// Reads what the configuration names.
    pub fn load(section: &WitnessSection) -> Result<Self, WitnessesError> {
        let file = |source| WitnessesError::File { path: section.policy.clone(), source };
        let policy = TlogPolicy::parse(&fs::read(&section.policy).map_err(file)?)?;
        let timeout = Duration::from_millis(section.timeout_ms.max(1));
        Ok(Self { policy, timeout, recosign: Duration::from_secs(section.recosign_seconds.max(1)) })
    }

    /// Refuses a policy under which nothing of `log` could ever be published.
    pub fn check(&self, log: &VerifierKey) -> Result<(), WitnessesError> {
        let logs = self.policy.logs();
        if !logs.is_empty() && logs.iter().all(|listed| listed.key != *log) {
            return Err(WitnessesError::OtherLog);
        }
        let reachable: BTreeSet<_> = self.policy.witnesses().iter().filter(|w| w.url.is_some()).map(|w| w.name.clone()).collect();
        if self.policy.is_met_by(&reachable) { Ok(()) } else { Err(WitnessesError::Unreachable) }
    }
}

impl Cosigning {
    /// Starts the task. Call within a tokio runtime.
    pub fn start(witnesses: Witnesses, store: Arc<Store>, metrics: Metrics) -> Result<Self, WitnessesError> {
        let asked = witnesses.policy.witnesses().iter().filter_map(|witness| Asked::new(witness, witnesses.timeout).transpose());
        let asked = asked.collect::<Result<Vec<_>, _>>()?;
        let heads = store.log().follow();
        let task = Task { witnesses, asked, store, metrics, heads, retry: RETRY_FIRST };
        Ok(Self(tokio::spawn(task.run())))
    }
}

struct Task {
    witnesses: Witnesses,
    asked: Vec<Asked>,
    store: Arc<Store>,
    metrics: Metrics,
    heads: watch::Receiver<Arc<Published>>,
    retry: Duration,
}

/// What became of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    Published,
    Open,
}

impl Task {
    async fn run(mut self) {
        loop {
            let newest = Arc::clone(&self.heads.borrow_and_update());
            let round = if newest.note.is_empty() { Round::Published } else { self.round(&newest).await };
            if round == Round::Open {
                tracing::warn!(size = newest.head.size, retry = ?self.retry, "too few witnesses have cosigned; the checkpoint before stays");
                sleep(self.retry).await;
                self.retry = (self.retry * 2).min(RETRY_LAST);
                continue;
            }
            self.retry = RETRY_FIRST;
            // A log that rests is cosigned again, so that its age says that it rests.
            if let Ok(Err(_)) = timeout(self.witnesses.recosign, self.heads.changed()).await {
                return;
            }
        }
    }

    /// Asks all at once for `newest`. Publishes at the quorum, and again with each cosignature that comes
    /// later, until all have answered or there is something newer to ask for.
    async fn round(&mut self, newest: &Arc<Published>) -> Round {
        let Ok(mut note) = SignedNote::parse(&newest.note) else { return Round::Open };
        let deadline = Instant::now() + self.witnesses.timeout;
        let publisher = Publisher { policy: &self.witnesses.policy, store: &self.store, metrics: &self.metrics };
        let mut answers: FuturesUnordered<_> = self.asked.iter_mut().map(|witness| witness.cosign(&self.store, newest)).collect();
        let mut heads = self.heads.clone();
        let mut round = publisher.publish(newest, &note).await;
        loop {
            let answer = tokio::select! {
                answer = timeout_at(deadline, answers.next()) => answer,
                // What is newer is asked for at once; the late ones are asked for that.
                changed = heads.changed(), if round == Round::Published && !answers.is_empty() => match changed {
                    Ok(()) | Err(_) => return round,
                },
            };
            let Ok(Some((outcome, line))) = answer else { return round };
            self.metrics.witnesses.get_or_create(&Outcome { outcome }).inc();
            let Some(line) = line else { continue };
            if let Ok(cosigned) = note.clone().with_signature(line) {
                note = cosigned;
                round = publisher.publish(newest, &note).await;
            }
        }
    }
}

/// Publishes what has enough cosignatures.
struct Publisher<'t> {
    policy: &'t TlogPolicy,
    store: &'t Arc<Store>,
    metrics: &'t Metrics,
}

impl Publisher<'_> {
    async fn publish(&self, newest: &Published, note: &SignedNote) -> Round {
        if !is_met(self.policy, note).unwrap_or(false) {
            return Round::Open;
        }
        let shown = Shown { head: newest.head, note: Bytes::from(note.to_string()) };
        let store = Arc::clone(self.store);
        let written = tokio::task::spawn_blocking(move || store.show(shown)).await;
        match written {
            Ok(Ok(())) => {
                self.metrics.witnessed_size.set(i64::try_from(newest.head.size).unwrap_or(i64::MAX));
                Round::Published
            }
            Ok(Err(error)) => {
                tracing::error!(error = error.chain(), "a cosigned checkpoint could not be published");
                Round::Open
            }
            Err(_) => Round::Open,
        }
    }
}

fn is_met(policy: &TlogPolicy, note: &SignedNote) -> Result<bool, NoteError> {
    if *policy.quorum() == Quorum::None {
        return Ok(true);
    }
    let keys: Vec<_> = policy.witnesses().iter().map(|witness| witness.key.clone()).collect();
    let cosigned = note.cosignatures(&keys)?;
    let has = |witness: &&quorate_tlog::policy::Witness| cosigned.iter().any(|cosignature| *cosignature.key() == witness.key);
    Ok(policy.is_met_by(&policy.witnesses().iter().filter(has).map(|witness| witness.name.clone()).collect()))
}
