//! Drills, as the coordinator's operator runs them: announce, publish, wait for votes, open.
//!
//! Decides in which order things become durable: what a drill is on is kept before its announcement is logged. Each
//! step can be asked for again, and is done once. What a drill shows is the tally's to say. `docs/spec/drill.md`.

pub mod command;
mod socket;

use std::collections::BTreeSet;

use quorate_proto::commitment::Nonce;
use quorate_proto::drill::{Drill, DrillError, Opening, VerifiedDrill};
use quorate_proto::{ArtifactId, ArtifactSlot, Digest, FileName, Purl, SecretKey};
use quorate_tally::drills::{Opened, Place, Void};
use quorate_tally::{Circumstances, Policy, marks};
use serde::{Deserialize, Serialize};

use crate::ingest::{Ingest, Unavailable};
use crate::store::rows::SlotKey;
use crate::store::{KeepError, Store, StoreError};
use crate::verdicts::with_leaves;

pub use socket::{AskError, ask, serve};

/// Fewest digits of a commitment that name a drill.
const ID_DIGITS_MIN: usize = 6;

/// What the operator asks of a running coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Asked {
    /// A drill on this file.
    Announce(Wrong),
    /// Show what a drill was on.
    Open {
        /// First digits of its commitment.
        id: String,
    },
    /// All drills.
    List,
}

/// A file that is known to be wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wrong {
    /// The release, on a registry that the package URL names.
    pub package: Purl,
    /// The published file's name.
    pub file: FileName,
    /// The published file's digest.
    pub digest: Digest,
    /// What is wrong with it.
    pub reason: String,
}

/// What is known of a drill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrillView {
    /// Its commitment.
    pub id: Digest,
    /// How far it is.
    pub status: Status,
    /// Where the log has the announcement.
    pub announced: Option<u64>,
    /// Where the log has the opening.
    pub opened: Option<u64>,
    /// What it is on, where that is known here.
    pub artifact: Option<ArtifactId>,
    /// What is wrong with it.
    pub reason: Option<String>,
    /// Why the opening shows nothing.
    pub void: Option<String>,
    /// Who agreed, by name where the policy has one.
    pub agreed: Vec<String>,
}

/// How far a drill is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Kept, and not in the log: announcing the same file again goes on with it.
    Kept,
    /// Announced.
    Announced,
    /// Opened, and whoever agreed is marked.
    Opened,
    /// Opened, and it shows nothing.
    Void,
}

/// A drill that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Statements cannot say this.
    #[error("there can be no such drill")]
    Statement(#[source] DrillError),
    /// Somebody has voted already.
    #[error("results about this file are in the log already, the first as entry {0}: the drill would show nothing")]
    Late(u64),
    /// It was opened before.
    #[error("a drill on this file was opened already, as entry {0}")]
    Spent(u64),
    /// No drill has this id.
    #[error("no drill that is kept here begins with `{0}`")]
    Unknown(String),
    /// Several have.
    #[error("several drills begin with `{0}`")]
    Ambiguous(String),
    /// It is not in the log.
    #[error("this drill was never announced: announce the same file again first")]
    Unannounced,
    /// The files of drills fail.
    #[error("keeping drills")]
    Keep(#[from] KeepError),
    /// The store fails.
    #[error("reading the store")]
    Store(#[from] StoreError),
    /// Nothing can be logged.
    #[error("logging a drill; whether it is in the log, `drill list` says")]
    Unavailable(#[from] Unavailable),
    /// No randomness to be had.
    #[error("the system gives no random bytes")]
    Random(#[source] getrandom::Error),
}

/// Where drills are run. One task holds it.
pub struct Desk {
    /// Logs, and leads to the store.
    pub ingest: Ingest,
    /// The log's key.
    pub key: SecretKey,
    /// The log's origin.
    pub origin: String,
    /// Names operators.
    pub policy: std::sync::Arc<Policy>,
}

impl Desk {
    /// Does what is asked. The drill that it was about, or all.
    pub async fn answer(&self, asked: Asked) -> Result<Vec<DrillView>, Refusal> {
        match asked {
            Asked::Announce(wrong) => self.announce(wrong).await.map(|view| vec![view]),
            Asked::Open { id } => self.open(&id).await.map(|view| vec![view]),
            Asked::List => self.list(),
        }
    }

    async fn announce(&self, wrong: Wrong) -> Result<DrillView, Refusal> {
        let store = self.ingest.store();
        let kept = self.kept_on(&wrong)?;
        let is_announced = kept.as_ref().is_some_and(|opening| store.drills().announced(&opening.commitment()).is_some());
        if !is_announced {
            refuse_late(store, &wrong)?;
        }
        let opening = match kept {
            Some(opening) => opening,
            None => self.keep(wrong)?,
        };
        if !is_announced {
            self.log(Drill::Announced(opening.announcement())).await?;
        }
        view(store, &self.policy, opening.commitment(), Some(&opening))
    }

    /// Nothing that its own readers would refuse ever gets into the log: it could not be taken up again.
    async fn log(&self, drill: Drill) -> Result<u64, Refusal> {
        let envelope = drill.sign(&self.key).map_err(Refusal::Statement)?;
        VerifiedDrill::verify(envelope.bytes(), &self.key.node_id(), &self.origin).map_err(Refusal::Statement)?;
        Ok(self.ingest.log_drill(envelope.bytes().to_vec()).await?)
    }

    /// A drill on the same file that is under way.
    fn kept_on(&self, wrong: &Wrong) -> Result<Option<Opening>, Refusal> {
        let kept = self.ingest.store().kept_drills()?;
        let same = |opening: &Opening| (&opening.package, &opening.file, opening.digest) == (&wrong.package, &wrong.file, wrong.digest);
        let Some((commitment, opening)) = kept.into_iter().find(|(_, opening)| same(opening)) else { return Ok(None) };
        match self.opened(commitment) {
            Some(opened) => Err(Refusal::Spent(opened.opening.leaf)),
            None => Ok(Some(opening)),
        }
    }

    fn keep(&self, wrong: Wrong) -> Result<Opening, Refusal> {
        let Wrong { package, file, digest, reason } = wrong;
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(Refusal::Random)?;
        let opening = Opening { log: self.origin.clone(), package, file, digest, nonce: Nonce::from_bytes(nonce), reason };
        // What could not be opened is never announced.
        Drill::Opened(Box::new(opening.clone())).sign(&self.key).map_err(Refusal::Statement)?;
        self.ingest.store().keep_drill(&opening)?;
        Ok(opening)
    }

    async fn open(&self, id: &str) -> Result<DrillView, Refusal> {
        let store = self.ingest.store();
        let opening = self.kept_as(id)?;
        let commitment = opening.commitment();
        if store.drills().announced(&commitment).is_none() {
            return Err(Refusal::Unannounced);
        }
        if self.opened(commitment).is_none() {
            self.log(Drill::Opened(Box::new(opening.clone()))).await?;
        }
        view(store, &self.policy, commitment, Some(&opening))
    }

    fn kept_as(&self, id: &str) -> Result<Opening, Refusal> {
        let digits = id.strip_prefix("sha256:").unwrap_or(id);
        let kept = self.ingest.store().kept_drills()?.into_iter();
        let mut meant = kept.filter(|(commitment, _)| digits.len() >= ID_DIGITS_MIN && commitment.to_hex().starts_with(digits));
        match (meant.next(), meant.next()) {
            (Some((_, opening)), None) => Ok(opening),
            (Some(_), Some(_)) => Err(Refusal::Ambiguous(id.chars().take(100).collect())),
            (None, _) => Err(Refusal::Unknown(id.chars().take(100).collect())),
        }
    }

    fn opened(&self, commitment: Digest) -> Option<Opened> {
        self.ingest.store().drills().opened_as(&commitment).cloned()
    }

    /// What is kept, and what the log has: those that are under way first.
    fn list(&self) -> Result<Vec<DrillView>, Refusal> {
        let store = self.ingest.store();
        let kept = store.kept_drills()?;
        let mut views = kept.iter().map(|(id, opening)| view(store, &self.policy, *id, Some(opening))).collect::<Result<Vec<_>, _>>()?;
        let of_log = in_log(store, &self.policy)?;
        views.extend(of_log.into_iter().filter(|view| !kept.contains_key(&view.id)));
        views.sort_by_key(|view| (view.opened, view.announced));
        Ok(views)
    }
}

/// Nobody may have voted before the announcement.
fn refuse_late(store: &Store, wrong: &Wrong) -> Result<(), Refusal> {
    let slot = ArtifactSlot { package: wrong.package.clone(), file: wrong.file.clone() };
    let results = store.slot_results(SlotKey::of(&slot), u64::MAX)?;
    match results.iter().find(|(_, result)| result.artifact().digest == wrong.digest) {
        Some((first, _)) => Err(Refusal::Late(*first)),
        None => Ok(()),
    }
}

/// All drills that the log has, as anybody sees them.
pub(crate) fn in_log(store: &Store, policy: &Policy) -> Result<Vec<DrillView>, StoreError> {
    let drills = store.drills();
    let ids: BTreeSet<_> = drills.hidden().map(|(id, _)| id).chain(drills.opened().map(|opened| opened.commitment)).collect();
    let mut views = ids.into_iter().map(|id| view_of(store, policy, id)).collect::<Result<Vec<_>, _>>()?;
    views.sort_by_key(|view| (view.announced, view.opened));
    Ok(views)
}

/// A drill as its owner sees it.
fn view(store: &Store, policy: &Policy, id: Digest, kept: Option<&Opening>) -> Result<DrillView, Refusal> {
    let mut view = view_of(store, policy, id)?;
    view.artifact = kept.map(Opening::artifact).or(view.artifact);
    view.reason = kept.map(|opening| opening.reason.clone()).or(view.reason);
    Ok(view)
}

/// A drill as the log shows it.
fn view_of(store: &Store, policy: &Policy, id: Digest) -> Result<DrillView, StoreError> {
    let drills = store.drills();
    let announced = drills.announced(&id).map(|Place { leaf, .. }| leaf);
    let status = if announced.is_some() { Status::Announced } else { Status::Kept };
    let mut view = DrillView { id, status, announced, opened: None, artifact: None, reason: None, void: None, agreed: Vec::new() };
    let Some(opened) = drills.opened_as(&id) else { return Ok(view) };
    view.opened = Some(opened.opening.leaf);
    view.artifact = Some(opened.artifact.clone());
    view.reason = Some(opened.reason.clone());
    match agreed(store, policy, opened)? {
        Ok(agreed) => (view.status, view.agreed) = (Status::Opened, agreed),
        Err(void) => (view.status, view.void) = (Status::Void, Some(void.to_string())),
    }
    Ok(view)
}

/// Who agreed with a drill, by name.
fn agreed(store: &Store, policy: &Policy, opened: &Opened) -> Result<Result<Vec<String>, Void>, StoreError> {
    let slot: &ArtifactSlot = &opened.artifact.slot;
    let results = store.slot_results(SlotKey::of(slot), u64::MAX)?;
    Ok(opened.shows(with_leaves(&results)).map(|drilled| {
        let circumstances = Circumstances { drills: std::slice::from_ref(&drilled), ..Circumstances::default() };
        let marks = marks(slot, results.iter().map(|(_, result)| result.as_ref()), circumstances);
        let operators: BTreeSet<_> = marks.iter().map(|mark| policy.name_of(&mark.operator)).collect();
        operators.into_iter().collect()
    }))
}
