//! What the swarm and the store report, turned into events of the machine and verdicts for gossipsub.

use libp2p::PeerId;
use libp2p::gossipsub::{self, MessageAcceptance, MessageId};
use libp2p::request_response;
use libp2p::swarm::SwarmEvent;
use quorate_proto::verified::FeedItem;
use quorate_proto::wire::{SyncRequest, SyncResponse, WireError};

use super::Actor;
use crate::behaviour::BehaviourEvent;
use crate::counters::Place;
use crate::ingest::{Delivery, Judged};
use crate::store::{Accepted, FeedStore, reason};
use crate::sync::Event;

type SyncEvent = request_response::Event<Vec<u8>, Vec<u8>>;

impl<S: FeedStore> Actor<S> {
    pub(super) fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message { propagation_source, message_id, message })) => {
                self.on_frame(propagation_source, message_id, &message.data);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Subscribed { .. })) => self.say_again(),
            SwarmEvent::Behaviour(BehaviourEvent::Sync(event)) => self.on_sync(event),
            SwarmEvent::NewListenAddr { address, .. } => {
                let address = address.with_p2p(*self.swarm.local_peer_id()).unwrap_or_else(|address| address);
                self.status.send_modify(|status| status.listening.push(address));
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } => {
                if let Some(index) = self.dials.remove(&connection_id) {
                    self.dialer.connected(index, peer_id);
                }
                self.counters.count(Place::Connection, "established");
                self.tell_peers();
                self.feed_machine(Event::Connected(peer_id));
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                self.dialer.closed(peer_id, self.now());
                self.counters.count(Place::Connection, "lost");
                self.tell_peers();
                self.feed_machine(Event::Disconnected(peer_id));
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => self.on_dial_failure(connection_id, &error),
            SwarmEvent::IncomingConnectionError { .. } => self.counters.count(Place::Connection, "incoming-failed"),
            _ => {}
        }
    }

    fn tell_peers(&self) {
        let peers = self.swarm.connected_peers().copied().collect();
        self.status.send_modify(|status| status.peers = peers);
    }

    /// The door for gossip: rate, size and form here; certificate, signature and place in the store.
    fn on_frame(&mut self, source: PeerId, id: MessageId, frame: &[u8]) {
        let now = self.now();
        if !self.frames.admit(source, now) {
            return self.decide(&id, source, "rate-limited", MessageAcceptance::Ignore);
        }
        let item = match FeedItem::decode(frame) {
            Ok(item) => item,
            Err(WireError::TooLarge { .. }) => return self.decide(&id, source, "oversized", MessageAcceptance::Reject),
            Err(_) => return self.decide(&id, source, "malformed-frame", MessageAcceptance::Reject),
        };
        if let Err(error) = self.channels.deliveries.try_send(Delivery::Frame { source, id, item })
            && let Delivery::Frame { id, .. } = error.into_inner()
        {
            self.decide(&id, source, "busy", MessageAcceptance::Ignore);
        }
    }

    fn decide(&mut self, id: &MessageId, source: PeerId, outcome: &'static str, acceptance: MessageAcceptance) {
        self.counters.count(Place::Gossip, outcome);
        self.swarm.behaviour_mut().gossip.report_message_validation_result(id, &source, acceptance);
    }

    pub(super) fn on_judged(&mut self, judged: Judged) {
        match judged {
            Judged::Answer { peer, id, outcomes } => {
                for outcome in &outcomes {
                    self.counters.count(Place::Sync, name_of(*outcome));
                }
                self.feed_machine(Event::Stored { id, peer, outcomes });
            }
            Judged::Frame { source, id, outcome, node } => {
                self.decide(&id, source, name_of(outcome), acceptance_of(outcome));
                match (outcome, node) {
                    (Accepted::New, _) => self.look(),
                    (Accepted::Gap { expected }, Some(node)) => self.feed_machine(Event::Gap { peer: source, node, expected }),
                    (Accepted::Rejected(reason::FORK), Some(node)) => self.feed_machine(Event::Fork { peer: source, node }),
                    _ => {}
                }
            }
        }
    }

    fn on_sync(&mut self, event: SyncEvent) {
        use request_response::Message::{Request, Response};
        match event {
            SyncEvent::Message { peer, message: Request { request_id, request, channel }, .. } => {
                self.on_request(peer, request_id, &request, channel);
            }
            SyncEvent::Message { peer, message: Response { request_id, response }, .. } => {
                let Some((id, request)) = self.asks.remove(&request_id) else { return };
                match SyncResponse::decode(&response) {
                    Ok(response) => {
                        self.note_heads(&request);
                        self.feed_machine(Event::Answered { id, peer, response });
                    }
                    Err(_) => self.on_unanswered(id, peer, "malformed-answer"),
                }
            }
            SyncEvent::OutboundFailure { peer, request_id, .. } => {
                if let Some((id, _)) = self.asks.remove(&request_id) {
                    self.on_unanswered(id, peer, "unanswered");
                }
            }
            SyncEvent::InboundFailure { request_id, .. } => {
                self.serving.end(request_id);
                self.counters.count(Place::Serve, "failed");
            }
            SyncEvent::ResponseSent { request_id, .. } => self.serving.end(request_id),
        }
    }

    fn note_heads(&mut self, request: &SyncRequest) {
        if *request == SyncRequest::Heads {
            self.status.send_modify(|status| status.heads_heard += 1);
        }
    }

    fn on_unanswered(&mut self, id: crate::sync::AskId, peer: PeerId, reason: &'static str) {
        self.counters.count(Place::Sync, reason);
        self.feed_machine(Event::Failed { id, peer });
    }
}

/// The counter's name of an outcome.
fn name_of(outcome: Accepted) -> &'static str {
    match outcome {
        Accepted::New => "new",
        Accepted::Duplicate => "duplicate",
        Accepted::Gap { .. } => "gap",
        Accepted::Equivocation => "equivocation",
        Accepted::Rejected(reason) => reason,
        Accepted::Unavailable => "store-unavailable",
    }
}

/// What gossipsub does with an item. Passed on is what is verified and new to us, even where we cannot
/// place it yet. Punished is what no honest peer would have passed on; whom we have not enrolled,
/// others may have.
fn acceptance_of(outcome: Accepted) -> MessageAcceptance {
    match outcome {
        Accepted::New | Accepted::Gap { .. } | Accepted::Equivocation => MessageAcceptance::Accept,
        Accepted::Duplicate
        | Accepted::Unavailable
        | Accepted::Rejected("unknown-operator" | reason::FORK | reason::FUTURE | reason::OWN_FEED) => MessageAcceptance::Ignore,
        Accepted::Rejected(_) => MessageAcceptance::Reject,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relays_are_punished_only_for_what_no_honest_peer_passes_on() {
        assert!(matches!(acceptance_of(Accepted::Rejected("bad-signature")), MessageAcceptance::Reject));
        assert!(matches!(acceptance_of(Accepted::Rejected("expired-certificate")), MessageAcceptance::Reject));
        assert!(matches!(acceptance_of(Accepted::Rejected("unknown-operator")), MessageAcceptance::Ignore));
        assert!(matches!(acceptance_of(Accepted::Rejected(reason::FUTURE)), MessageAcceptance::Ignore));
        assert!(matches!(acceptance_of(Accepted::Gap { expected: 3 }), MessageAcceptance::Accept));
    }
}
