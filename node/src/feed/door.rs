//! The door for items: bytes become verified entries, certificates are checked once.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use quorate_gossip::store::reason;
use quorate_proto::certificate::KnownCertificates;
use quorate_proto::entry::VerifiedEntry;
use quorate_proto::verified::{FeedItem, RejectError};
use quorate_proto::wire::FEED_ITEM_BYTES_MAX;
use quorate_proto::{OperatorId, Timestamp};

/// Certificates that are remembered. When it is full all are forgotten: the next ones cost a signature each.
const CERTIFICATES_MAX: usize = 4096;

/// Verifies items of enrolled operators.
#[derive(Debug)]
pub(super) struct Door {
    enrolled: BTreeSet<OperatorId>,
    certificates: Mutex<KnownCertificates>,
}

impl Door {
    pub(super) fn new(enrolled: BTreeSet<OperatorId>) -> Self {
        Self { enrolled, certificates: Mutex::new(KnownCertificates::new(CERTIFICATES_MAX)) }
    }

    pub(super) fn enrolled(&self) -> &BTreeSet<OperatorId> {
        &self.enrolled
    }

    /// The entry, or the name of the reason why it does not count.
    pub(super) fn verify(&self, item: &FeedItem, now: Timestamp) -> Result<VerifiedEntry, &'static str> {
        if item.certificate.len().saturating_add(item.envelope.len()) > FEED_ITEM_BYTES_MAX {
            return Err("oversized");
        }
        let certificate = self.certificates.lock().unwrap_or_else(PoisonError::into_inner).verify(&item.certificate, &self.enrolled);
        let certificate = certificate.map_err(|error| RejectError::Certificate(error).name())?;
        let entry = VerifiedEntry::verify(&item.envelope, &certificate).map_err(|e| e.name())?;
        if entry.is_ahead_of(now) {
            return Err(reason::FUTURE);
        }
        Ok(entry)
    }
}
