//! What everybody should know: told once, heard from anybody, checked by the store.

use std::collections::BTreeSet;
use std::sync::Arc;

use libp2p::PeerId;
use libp2p::gossipsub::{MessageAcceptance, MessageId, PublishError};
use quorate_proto::Digest;
use quorate_proto::wire::{Beginning, BeginningWanted, FEED_ITEM_BYTES_MAX, Notice, Told};

use super::Actor;
use super::events::{acceptance_of, name_of};
use crate::counters::Place;
use crate::penalty::Offence;
use crate::standing::Turn;
use crate::store::{Accepted, FeedStore};
use crate::topics::notice_topic;

/// Outcomes that wait for the actor.
pub(super) const HEARD_MAX: usize = 64;

/// Notices that are being looked at together. What comes when all places are taken is ignored, and comes by sync.
const HEARING_MAX: usize = 32;

/// Those of them that strangers' gossip may take.
const HEARING_STRANGERS_MAX: usize = 16;

/// Facts that were told. When it is full all are forgotten: what is told again is a duplicate, and not passed on.
const SAID_MAX: usize = 4096;

/// What was said, and how much is being looked at.
#[derive(Debug, Default)]
pub(super) struct Notices {
    said: BTreeSet<Digest>,
    hearing: usize,
}

/// What the store said of a notice, or of the beginning of a tree.
#[derive(Debug)]
pub(super) struct Heard {
    source: PeerId,
    /// The gossip message that it came by.
    id: Option<MessageId>,
    outcome: Accepted,
    /// Whether it was the last of those that came together.
    last: bool,
}

impl<S: FeedStore> Actor<S> {
    /// Gossips what was not said yet. What nobody is there to hear, or is too large, sync brings.
    pub(super) fn tell(&mut self, told: Vec<Told>) {
        if self.notices.said.len() > SAID_MAX {
            self.notices.said.clear();
        }
        for Told { about, notice } in told {
            if self.notices.said.contains(&about) {
                continue;
            }
            let frame = notice.encode();
            let outcome = if frame.len() > FEED_ITEM_BYTES_MAX {
                "too-large-to-gossip"
            } else {
                match self.swarm.behaviour_mut().gossip.publish(notice_topic(), frame) {
                    Ok(_) | Err(PublishError::Duplicate) => "told",
                    // Said again when somebody comes.
                    Err(PublishError::NoPeersSubscribedToTopic) => continue,
                    Err(error) => {
                        tracing::debug!(%error, "notice not gossiped; sync will bring it");
                        "not-told"
                    }
                }
            };
            self.notices.said.insert(about);
            self.counters.count(Place::Publish, outcome);
        }
    }

    /// The door for gossiped notices: rate, size and form here; what they say in the store.
    pub(super) fn on_notice_frame(&mut self, source: PeerId, id: MessageId, frame: &[u8]) {
        let now = self.now();
        if !self.frames.admit(source, now) {
            self.punish(source, Offence::OverRate);
            return self.settle_notice(&id, source, "rate-limited", MessageAcceptance::Ignore);
        }
        let Ok(notice) = Notice::decode(frame) else {
            return self.settle_notice(&id, source, "malformed-frame", MessageAcceptance::Reject);
        };
        let places = match self.standing.turn(&source) {
            Turn::First => HEARING_MAX,
            Turn::Second => HEARING_STRANGERS_MAX,
        };
        if self.notices.hearing >= places {
            return self.settle_notice(&id, source, "busy", MessageAcceptance::Ignore);
        }
        self.notices.hearing += 1;
        let (store, hear) = (Arc::clone(&self.store), self.channels.hear.clone());
        tokio::spawn(async move {
            let outcome = store.accept_notice(notice).await;
            let _ = hear.send(Heard { source, id: Some(id), outcome, last: true }).await;
        });
    }

    fn settle_notice(&mut self, id: &MessageId, source: PeerId, outcome: &'static str, acceptance: MessageAcceptance) {
        self.counters.count(Place::Notice, outcome);
        self.report(id, source, acceptance);
    }

    /// Hands the notices of a sync answer to the store, one after the other.
    pub(super) fn hear_answer(&mut self, source: PeerId, notices: Vec<Notice>) {
        let count = notices.len();
        if count == 0 || self.notices.hearing >= HEARING_MAX {
            return;
        }
        self.notices.hearing += 1;
        let (store, hear) = (Arc::clone(&self.store), self.channels.hear.clone());
        tokio::spawn(async move {
            for (index, notice) in notices.into_iter().enumerate() {
                let outcome = store.accept_notice(notice).await;
                let _ = hear.send(Heard { source, id: None, outcome, last: index + 1 == count }).await;
            }
        });
    }

    pub(super) fn link(&mut self, source: PeerId, wanted: BeginningWanted, beginning: Beginning) {
        self.notices.hearing += 1;
        let (store, hear) = (Arc::clone(&self.store), self.channels.hear.clone());
        tokio::spawn(async move {
            let outcome = store.accept_beginning(wanted, beginning).await;
            let _ = hear.send(Heard { source, id: None, outcome, last: true }).await;
        });
    }

    pub(super) fn on_heard(&mut self, heard: Heard) {
        let Heard { source, id, outcome, last } = heard;
        self.notices.hearing -= usize::from(last);
        self.counters.count(Place::Notice, name_of(outcome));
        self.weigh(source, outcome);
        let acceptance = acceptance_of(outcome);
        match id {
            Some(id) => self.report(&id, source, acceptance),
            None if matches!(acceptance, MessageAcceptance::Reject) => self.punish(source, Offence::Rejected),
            None => {}
        }
        // New checkpoints bring questions, and new proofs are to be told.
        if last || matches!(outcome, Accepted::New | Accepted::Equivocation) {
            self.look();
        }
    }
}
