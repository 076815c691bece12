//! Proofs of equivocation that others tell.

use std::time::SystemTime;

use quorate_gossip::Accepted;
use quorate_proto::Timestamp;
use quorate_proto::feed::{EquivocationError, EquivocationProof};
use quorate_proto::verified::FeedItem;

use super::Feeds;

impl Feeds {
    /// Checks a proof against a node, and keeps the first one of each. One against our own key ends our feed, as the
    /// other history itself would. Blocks.
    pub fn take_in_proof(&self, items: [FeedItem; 2]) -> Accepted {
        let [first, second] = items;
        let proof = match EquivocationProof::verify(first, second, self.0.door.enrolled()) {
            Ok(proof) => proof,
            Err(EquivocationError::Item(error)) => return Accepted::Rejected(error.name()),
            Err(EquivocationError::NoContradiction) => return Accepted::Rejected("no-contradiction"),
        };
        if proof.node() == self.0.own {
            self.take_in(proof.items(), Timestamp::from(SystemTime::now()));
        }
        let mut state = self.0.lock();
        if state.proofs.has(&proof.node()) {
            return Accepted::Duplicate;
        }
        tracing::warn!(node = %proof.node(), sequence = proof.sequence(), operator = %proof.operator(), "node has signed two histories; a peer has told the proof");
        match state.proofs.keep(proof) {
            Ok(()) => Accepted::New,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "proof of equivocation not written");
                Accepted::Unavailable
            }
        }
    }
}
