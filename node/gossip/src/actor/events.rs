//! What the swarm and the store report, turned into events of the machine and verdicts for gossipsub.

use libp2p::PeerId;
use libp2p::gossipsub::{self, MessageAcceptance, MessageId};
use libp2p::request_response;
use libp2p::swarm::{ListenError, SwarmEvent};
use quorate_proto::verified::FeedItem;
use quorate_proto::wire::{SyncRequest, SyncResponse, WireError};

use super::Actor;
use super::peers::Link;
use crate::behaviour::BehaviourEvent;
use crate::counters::Place;
use crate::gate::Refusal;
use crate::ingest::{Delivery, Judged};
use crate::penalty::Offence;
use crate::store::{Accepted, FeedStore, Passing, reason};
use crate::sync::Event;
use crate::topics::notice_topic;

type SyncEvent = request_response::Event<Vec<u8>, Vec<u8>>;

impl<S: FeedStore> Actor<S> {
    pub(super) fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::NewListenAddr { address, .. } => {
                self.on_listening(&address);
                let address = address.with_p2p(*self.swarm.local_peer_id()).unwrap_or_else(|address| address);
                self.status.send_modify(|status| status.listening.push(address));
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                let address = address.with_p2p(*self.swarm.local_peer_id()).unwrap_or_else(|address| address);
                self.status.send_modify(|status| status.listening.retain(|other| *other != address));
            }
            SwarmEvent::ListenerClosed { listener_id, .. } => self.on_listener_closed(listener_id),
            SwarmEvent::ExternalAddrConfirmed { address } => self.on_confirmed(&address),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                match self.dials.remove(&connection_id) {
                    Some(super::Dial::Bootstrap(index)) => self.dialer.connected(index, peer_id),
                    Some(super::Dial::Known(_)) | None => {}
                }
                self.on_connected(peer_id, Link::new(connection_id, &endpoint, self.now()));
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, .. } => {
                self.acquaintance.closed(&peer_id, connection_id);
                match num_established {
                    0 => self.on_lost(peer_id),
                    _ => self.feed_machine(Event::Thinned(peer_id)),
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => self.on_dial_failure(connection_id, &error),
            SwarmEvent::IncomingConnectionError { error, .. } => self.counters.count(Place::Connection, incoming_failure(error)),
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gossip(gossipsub::Event::Message { propagation_source, message_id, message }) => {
                if message.topic == notice_topic().hash() {
                    self.on_notice_frame(propagation_source, message_id, &message.data);
                } else {
                    self.on_frame(propagation_source, message_id, &message.data);
                }
            }
            BehaviourEvent::Gossip(gossipsub::Event::Subscribed { .. }) => {
                self.say_again();
                self.look();
            }
            BehaviourEvent::Sync(event) => self.on_sync(event),
            BehaviourEvent::Identify(event) => self.on_identified(event),
            BehaviourEvent::Kad(event) => self.on_routing(&event),
            BehaviourEvent::RelayClient(event) => self.on_circuit(&event),
            BehaviourEvent::Relay(event) => self.on_relaying(&event),
            BehaviourEvent::Dcutr(event) => self.on_punched(&event),
            BehaviourEvent::AutonatClient(event) => self.on_reach_tested(&event),
            _ => {}
        }
    }

    fn on_lost(&mut self, peer: PeerId) {
        self.dialer.closed(peer, self.now());
        self.ways.lost(&peer);
        self.standing.forget(&peer);
        self.counters.count(Place::Connection, "lost");
        self.tell_peers();
        self.feed_machine(Event::Disconnected(peer));
    }

    fn on_connected(&mut self, peer: PeerId, link: Link) {
        self.acquaintance.connected(peer, link);
        self.counters.count(Place::Connection, "established");
        self.tell_peers();
        self.feed_machine(Event::Connected(peer));
    }

    fn tell_peers(&self) {
        let peers = self.swarm.connected_peers().copied().collect();
        self.status.send_modify(|status| status.peers = peers);
    }

    /// The door for gossip: rate, size and form here; certificate, signature and place in the store.
    fn on_frame(&mut self, source: PeerId, id: MessageId, frame: &[u8]) {
        let now = self.now();
        if !self.frames.admit(source, now) {
            self.punish(source, Offence::OverRate);
            return self.decide(&id, source, "rate-limited", MessageAcceptance::Ignore);
        }
        let item = match FeedItem::decode(frame) {
            Ok(item) => item,
            Err(WireError::TooLarge { .. }) => return self.decide(&id, source, "oversized", MessageAcceptance::Reject),
            Err(_) => return self.decide(&id, source, "malformed-frame", MessageAcceptance::Reject),
        };
        let turn = self.standing.turn(&source);
        if let Some(Delivery::Frame { id, .. }) = self.channels.deliveries.put(turn, Delivery::Frame { source, id, item }) {
            self.decide(&id, source, "busy", MessageAcceptance::Ignore);
        }
    }

    /// What is judged when its peer has gone is forgotten with it.
    pub(super) fn weigh(&mut self, source: PeerId, outcome: Accepted) {
        if self.swarm.is_connected(&source) {
            self.standing.judged(source, outcome);
        }
    }

    fn decide(&mut self, id: &MessageId, source: PeerId, outcome: &'static str, acceptance: MessageAcceptance) {
        self.counters.count(Place::Gossip, outcome);
        self.report(id, source, acceptance);
    }

    /// Tells gossipsub, and remembers what no honest peer passes on.
    pub(super) fn report(&mut self, id: &MessageId, source: PeerId, acceptance: MessageAcceptance) {
        let rejected = matches!(acceptance, MessageAcceptance::Reject);
        self.swarm.behaviour_mut().gossip.report_message_validation_result(id, &source, acceptance);
        if rejected {
            self.punish(source, Offence::Rejected);
        }
    }

    pub(super) fn on_judged(&mut self, judged: Judged) {
        match judged {
            Judged::Answer { peer, id, outcomes } => {
                for outcome in &outcomes {
                    self.counters.count(Place::Sync, name_of(*outcome));
                }
                self.feed_machine(Event::Stored { id, peer, outcomes });
            }
            Judged::Frame { source, id, outcome, node, operator } => {
                let now = self.now();
                self.weigh(source, outcome);
                if operator.is_some_and(|operator| !self.operators.admit(operator, now)) {
                    self.decide(&id, source, "operator-rate-limited", MessageAcceptance::Ignore);
                } else {
                    self.decide(&id, source, name_of(outcome), acceptance_of(outcome));
                }
                match (outcome, node) {
                    // Of an equivocation there is a proof now that everybody should hear of.
                    (Accepted::New | Accepted::Equivocation, _) => self.look(),
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
        if matches!(request, SyncRequest::Heads { .. }) {
            self.status.send_modify(|status| status.heads_heard += 1);
        }
    }

    fn on_unanswered(&mut self, id: crate::sync::AskId, peer: PeerId, reason: &'static str) {
        self.counters.count(Place::Sync, reason);
        self.feed_machine(Event::Failed { id, peer });
    }
}

fn incoming_failure(error: ListenError) -> &'static str {
    let ListenError::Denied { cause } = error else { return "incoming-failed" };
    match cause.downcast::<Refusal>() {
        Ok(Refusal::TooMany) => "address-rate-limited",
        Ok(Refusal::Shut) => "address-refused",
        Err(_) => "incoming-failed",
    }
}

/// The counter's name of an outcome.
pub(super) fn name_of(outcome: Accepted) -> &'static str {
    match outcome {
        Accepted::New => "new",
        Accepted::Duplicate => "duplicate",
        Accepted::Gap { .. } => "gap",
        Accepted::Equivocation => "equivocation",
        Accepted::Rejected(reason) => reason,
        Accepted::Unavailable => "store-unavailable",
    }
}

/// What gossipsub does with an item.
pub(super) fn acceptance_of(outcome: Accepted) -> MessageAcceptance {
    match outcome.passing() {
        Passing::On => MessageAcceptance::Accept,
        Passing::Ignored => MessageAcceptance::Ignore,
        Passing::Punished => MessageAcceptance::Reject,
    }
}
