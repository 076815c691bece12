//! The one door: size → form → certificate → signature → statement → time. Bytes become an
//! [`Admitted`] item or a named refusal; past here nobody checks again.
//!
//! Knows no store: whether an item is new, and whether it fits its feed, is the writer's to say.

use std::collections::BTreeSet;
use std::sync::Arc;

use quorate_gossip::store::reason;
use quorate_proto::certificate::VerifiedCertificate;
use quorate_proto::declaration::{DeclarationError, VerifiedDeclaration};
use quorate_proto::entry::VerifiedEntry;
use quorate_proto::verified::{FeedItem, RejectError};
use quorate_proto::wire::FEED_ITEM_BYTES_MAX;
use quorate_proto::{Digest, OperatorId, Timestamp};
use quorate_tally::Policy;

use crate::cache::Bounded;
use crate::store::Admitted;

/// Certificates that are remembered: about 2 KiB each.
const CERTIFICATES_KEPT: usize = 4_096;

/// Name of the refusal of a declaration by somebody to whom the policy does not listen.
pub const UNHEARD: &str = "unknown-signer";

/// The door. Cheap to share.
#[derive(Debug)]
pub struct Door {
    enrolled: BTreeSet<OperatorId>,
    certificates: Bounded<Digest, Arc<VerifiedCertificate>>,
}

/// Why an item does not come in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {detail}")]
pub struct Refused {
    /// The name of the error: one of `RejectError::name()` or `DeclarationError::name()`, `oversized`, `future`, [`UNHEARD`].
    pub name: &'static str,
    /// A sentence for people.
    pub detail: String,
}

impl From<RejectError> for Refused {
    fn from(error: RejectError) -> Self {
        Self { name: error.name(), detail: error.to_string() }
    }
}

impl From<DeclarationError> for Refused {
    fn from(error: DeclarationError) -> Self {
        let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
        Self { name: error.name(), detail: format!("{error}{cause}") }
    }
}

/// The door for declarations: size → form → signature → time → whether the policy listens to the one who signed.
pub fn declaration(envelope: &[u8], policy: &Policy, now: Timestamp) -> Result<VerifiedDeclaration, Refused> {
    let declared = VerifiedDeclaration::verify(envelope)?;
    let said = declared.declaration();
    if declared.is_ahead_of(now) {
        return Err(Refused { name: reason::FUTURE, detail: format!("signed at {}, it is {now}", said.signed_at()) });
    }
    if !policy.hears(said) {
        return Err(Refused { name: UNHEARD, detail: format!("the policy lists nobody with this key for this: {}", said.signer()) });
    }
    Ok(declared)
}

impl Door {
    /// A door for the operators that a policy enrols.
    pub fn new(enrolled: BTreeSet<OperatorId>) -> Self {
        Self { enrolled, certificates: Bounded::new(CERTIFICATES_KEPT) }
    }

    /// Checks one item. `now` is the receiver's clock.
    pub fn check(&self, item: FeedItem, now: Timestamp) -> Result<Admitted, Refused> {
        self.check_after(None, item, now)
    }

    /// Checks items. One answer an item, in their order. Blocks.
    pub fn check_all(&self, items: Vec<FeedItem>, now: Timestamp) -> Vec<Result<Admitted, Refused>> {
        let mut latest = None;
        let check = |item: FeedItem| {
            let checked = self.check_after(latest.as_ref(), item, now);
            latest = checked.as_ref().ok().map(|admitted| Arc::clone(&admitted.certificate)).or(latest.take());
            checked
        };
        items.into_iter().map(check).collect()
    }

    /// Checks an item that came behind one with the certificate `latest`: most likely it has the same.
    fn check_after(&self, latest: Option<&Arc<VerifiedCertificate>>, item: FeedItem, now: Timestamp) -> Result<Admitted, Refused> {
        let got = item.certificate.len() + item.envelope.len();
        if got > FEED_ITEM_BYTES_MAX {
            return Err(Refused { name: "oversized", detail: format!("item of {got} bytes, limit {FEED_ITEM_BYTES_MAX}") });
        }
        let certificate = match latest.filter(|latest| latest.bytes() == item.certificate) {
            Some(latest) => Arc::clone(latest),
            None => self.certificate(&item.certificate)?,
        };
        let entry = VerifiedEntry::verify(&item.envelope, &certificate)?;
        if entry.is_ahead_of(now) {
            let signed_at = entry.signed_at();
            return Err(Refused { name: reason::FUTURE, detail: format!("signed at {signed_at}, it is {now}") });
        }
        Ok(Admitted { certificate, entry, envelope: item.envelope })
    }

    /// A certificate is verified once, then known by its exact bytes.
    fn certificate(&self, bytes: &[u8]) -> Result<Arc<VerifiedCertificate>, RejectError> {
        let digest = Digest::of(bytes);
        if let Some(certificate) = self.certificates.get(&digest) {
            return Ok(certificate);
        }
        let certificate = Arc::new(VerifiedCertificate::verify(bytes, &self.enrolled).map_err(RejectError::Certificate)?);
        self.certificates.put(digest, Arc::clone(&certificate));
        Ok(certificate)
    }
}
