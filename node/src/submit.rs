//! Hands the own feed to a coordinator over gRPC, for nodes that peers cannot reach and for speed.
//!
//! In order, in batches, for ever: what was acknowledged is remembered in `submitted`, so a restart goes
//! on from there. That file is a hint: when it is lost everything is handed in again, and the coordinator
//! says `duplicate`.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quorate_proto::api::submit_outcome::Status;
use quorate_proto::api::{SubmitBlobsRequest, SubmitRequest};
use quorate_proto::dsse::Envelope;
use quorate_proto::entry::EntryStatement;
use quorate_proto::result::RESULT_ENVELOPE_BYTES_MAX;
use quorate_proto::verified::FeedItem;
use quorate_proto::{Digest, api};
use tokio::sync::{Notify, watch};
use tonic::transport::{Channel, Endpoint};

use crate::durable;
use crate::feed::{FeedError, Feeds};
use client::coordinator_client::CoordinatorClient;
use logged::Seeker;

pub mod logged;

/// The generated client.
#[allow(missing_docs, clippy::pedantic, unreachable_pub, reason = "generated code")]
mod client {
    tonic::include_proto!("quorate.v1");
}

/// Bytes of items in one request: below the coordinator's 4 MiB with room for the framing.
const BATCH_BYTES_MAX: usize = 2 << 20;

/// Items in one request.
const BATCH_ITEMS_MAX: usize = 1000;

/// First pause after a failure; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(250);

/// Longest pause after failures.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How often the feed is looked at without being told.
const IDLE: Duration = Duration::from_secs(10);

/// Room for a file of the largest size in one request.
const MESSAGE_BYTES_MAX: usize = quorate_proto::provenance::BLOB_BYTES_MAX + 1024;

/// Why something could not be handed in. All pass, or wait for somebody: none ends the task.
#[derive(Debug, thiserror::Error)]
enum SubmitError {
    #[error("coordinator not reached or not willing")]
    Rpc(#[source] Box<tonic::Status>),
    #[error("entry {sequence} is rejected by the coordinator: {reason}")]
    Rejected { sequence: u64, reason: String },
    #[error("the coordinator's answer does not fit the request")]
    Answer,
    #[error(transparent)]
    Feed(#[from] FeedError),
}

/// The task's state.
pub(crate) struct Submitter {
    feeds: Feeds,
    client: CoordinatorClient<Channel>,
    next: u64,
    /// Is told how many entries the coordinator has acknowledged.
    acknowledged: watch::Sender<u64>,
    remembered: PathBuf,
    signed: Arc<Notify>,
    refused: Refused,
}

/// The entry that the coordinator rejected last, so that it is told once and not with every attempt.
#[derive(Debug, Default)]
struct Refused(Option<(u64, String)>);

impl Submitter {
    /// `signed` is told of new entries. The address is not dialled before it is needed.
    pub(crate) fn new(feeds: Feeds, address: Endpoint, remembered: PathBuf, signed: Arc<Notify>) -> Self {
        let channel = address.connect_timeout(Duration::from_secs(5)).timeout(Duration::from_mins(1)).connect_lazy();
        let client = CoordinatorClient::new(channel).max_encoding_message_size(MESSAGE_BYTES_MAX);
        let next = fs::read_to_string(&remembered).ok().and_then(|text| text.trim_end().parse().ok()).unwrap_or(0);
        Self { feeds, client, next, acknowledged: watch::Sender::new(next), remembered, signed, refused: Refused::default() }
    }

    /// Who looks for what was acknowledged in the log, and how far that is.
    pub(crate) fn seeker(&self, subject: logged::Subject, remembered: PathBuf) -> (Seeker, watch::Receiver<logged::Logged>) {
        Seeker::new(subject, self.client.clone(), self.acknowledged.subscribe(), remembered)
    }

    /// Never returns.
    pub(crate) async fn run(mut self) {
        let mut pause = PAUSE_MIN;
        loop {
            match self.hand_in().await {
                Ok(0) => {
                    let _ = tokio::time::timeout(IDLE, self.signed.notified()).await;
                }
                Ok(_) => {
                    pause = PAUSE_MIN;
                    self.refused = Refused::default();
                }
                Err(error) => {
                    self.refused.tell(&error, pause);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Hands in the next batch and the files that it names; returns how many entries were taken.
    async fn hand_in(&mut self) -> Result<usize, SubmitError> {
        let (feeds, from) = (self.feeds.clone(), self.next);
        let items = tokio::task::spawn_blocking(move || feeds.own_items(from, BATCH_BYTES_MAX)).await;
        let mut items = items.map_err(|_| SubmitError::Answer)??;
        items.truncate(BATCH_ITEMS_MAX);
        if items.is_empty() {
            return Ok(0);
        }
        let request = SubmitRequest { items: items.iter().map(FeedItem::to_message).collect() };
        let answer = self.client.submit(request).await.map_err(|status| SubmitError::Rpc(Box::new(status)))?.into_inner();
        let taken = self.settle(&items, &answer.outcomes)?;
        for item in &items[..taken] {
            self.hand_in_files(item).await?;
        }
        self.next += taken as u64;
        self.acknowledged.send_replace(self.next);
        if let Err(error) = durable::replace(&self.remembered, format!("{}\n", self.next).as_bytes()) {
            tracing::warn!(%error, "what was handed in is not remembered; it will be handed in again");
        }
        Ok(taken)
    }

    /// How many of the items are durable at the coordinator.
    fn settle(&mut self, items: &[FeedItem], outcomes: &[api::SubmitOutcome]) -> Result<usize, SubmitError> {
        if outcomes.len() != items.len() {
            return Err(SubmitError::Answer);
        }
        let durable = |outcome: &&api::SubmitOutcome| matches!(outcome.status(), Status::Accepted | Status::Duplicate);
        let taken = outcomes.iter().take_while(durable).count();
        match outcomes.get(taken) {
            // The coordinator has less than it once acknowledged: it gets everything from there.
            Some(outcome) if taken == 0 && outcome.status() == Status::Gap && outcome.expected_sequence < self.next => {
                self.next = outcome.expected_sequence;
                Err(SubmitError::Answer)
            }
            Some(outcome) if taken == 0 => Err(SubmitError::Rejected { sequence: self.next, reason: outcome.reason.clone() }),
            _ => Ok(taken),
        }
    }

    async fn hand_in_files(&mut self, item: &FeedItem) -> Result<(), SubmitError> {
        for digest in named_by(item) {
            let feeds = self.feeds.clone();
            let bytes = tokio::task::spawn_blocking(move || feeds.blobs().get(digest)).await.map_err(|_| SubmitError::Answer)?;
            let Some(bytes) = bytes.map_err(FeedError::from)? else { continue };
            let request = SubmitBlobsRequest { blobs: vec![bytes.into()] };
            self.client.submit_blobs(request).await.map_err(|status| SubmitError::Rpc(Box::new(status)))?;
        }
        Ok(())
    }
}

impl Refused {
    /// An entry cannot be left out, since the next one names it. So one that the coordinator rejects keeps
    /// back all that come after it, until somebody does something: that is an error, told with the entry's
    /// number and the reason. Whether it was told now.
    fn tell(&mut self, error: &SubmitError, pause: Duration) -> bool {
        let SubmitError::Rejected { sequence, reason } = error else {
            tracing::warn!(error = error as &dyn std::error::Error, "not handed in; tried again in {pause:?}");
            return true;
        };
        let refused = Some((*sequence, reason.clone()));
        if self.0 == refused {
            tracing::debug!(sequence, reason, "rejected again");
            return false;
        }
        self.0 = refused;
        tracing::error!(
            sequence,
            reason,
            "the coordinator rejects an own entry: it gets none of the later ones from here until it takes this one; peers are served all the same"
        );
        true
    }
}

fn named_by(item: &FeedItem) -> Vec<Digest> {
    let envelope = Envelope::parse(&item.envelope, RESULT_ENVELOPE_BYTES_MAX).ok();
    let entry = envelope.and_then(|envelope| EntryStatement::parse(envelope.payload()).ok());
    entry.map(|entry| entry.evidence()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_the_coordinator_rejects_is_told_once_with_its_number_and_the_reason() {
        let mut refused = Refused::default();
        let rejected = |sequence, reason: &str| SubmitError::Rejected { sequence, reason: reason.to_owned() };
        let mut tell = |error: &SubmitError| refused.tell(error, PAUSE_MAX);
        assert!(tell(&rejected(7, "unknown-operator")));
        assert!(!tell(&rejected(7, "unknown-operator")), "not with every attempt");
        assert!(tell(&SubmitError::Answer), "another trouble is told");
        assert!(!tell(&rejected(7, "unknown-operator")));
        assert!(tell(&rejected(7, "expired-certificate")), "another reason is told");
        assert!(tell(&rejected(8, "expired-certificate")));
        assert_eq!(rejected(7, "fork").to_string(), "entry 7 is rejected by the coordinator: fork");
    }
}
