//! What the mesh shows of itself.

use std::collections::BTreeSet;

use libp2p::PeerId;

use super::Actor;
use super::peers::wall;
use super::reach::{NOT_PUNCHED, PUNCHED};
use crate::counters::Place;
use crate::snapshot::{ConnectionView, FeedView, PeerView, Snapshot};
use crate::store::FeedStore;

impl<S: FeedStore> Actor<S> {
    pub(super) fn snapshot(&self) -> Snapshot {
        let now = wall();
        let acquaintance = &self.acquaintance;
        let known = acquaintance.book.peers().map(|known| known.record.peer());
        let peers: BTreeSet<PeerId> = known.chain(acquaintance.connections.keys().copied()).chain(acquaintance.book.banned(now)).collect();
        let feeds = self.sync.feeds().map(|(node, held, told)| FeedView { node, held, told });
        Snapshot {
            listening: self.status.borrow().listening.clone(),
            external: self.swarm.external_addresses().cloned().collect(),
            reach: self.ways.reach(),
            peers: peers.into_iter().map(|peer| self.view(peer, now)).collect(),
            feeds: feeds.collect(),
            files_wanted: self.files_wanted,
            beginnings_wanted: self.beginnings_wanted,
            sync_bytes: self.counters.sync_bytes(),
            holes: (self.counters.get(Place::Connection, PUNCHED), self.counters.get(Place::Connection, NOT_PUNCHED)),
        }
    }

    fn view(&self, peer: PeerId, now: u64) -> PeerView {
        let book = &self.acquaintance.book;
        let known = book.get(&peer);
        let connection = self.acquaintance.connections.get(&peer);
        let connection = connection.and_then(|connection| connection.link().map(|link| (connection, link)));
        let connection = connection.map(|(connection, link)| ConnectionView {
            address: link.address.clone(),
            outgoing: link.outgoing,
            relayed: link.relayed,
            agent: connection.agent.clone(),
        });
        PeerView {
            peer,
            connection,
            addresses: known.map(|known| known.record.addresses().to_vec()).unwrap_or_default(),
            sequence: known.map(|known| known.record.sequence()),
            reached_at: known.and_then(|known| known.reached_at),
            failures: known.map_or(0, |known| known.failures),
            points: book.points(&peer, now),
            banned: book.is_banned(&peer, now),
        }
    }
}
