//! What can be said of an entry by itself: its hash, and whether the node signed it that it names. Nearly all of an audit's
//! time goes into that, so each processor takes a share.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use quorate_proto::certificate::VerifiedCertificate;
use quorate_proto::dsse::{DsseError, Envelope};
use quorate_proto::entry::VerifiedEntry;
use quorate_proto::verified::RejectError;
use quorate_tlog::bundle::ENTRY_BYTES_MAX;
use quorate_tlog::{Entry, Hash};

/// The certificate in force of each node, by the key id that its envelopes name.
pub(super) type Certificates = HashMap<String, Arc<VerifiedCertificate>>;

/// An entry of the log that was looked at by itself.
pub(super) struct Opened<'e> {
    pub(super) bytes: &'e [u8],
    /// Its leaf hash.
    pub(super) hash: Hash,
    pub(super) envelope: Result<Envelope, DsseError>,
    /// What it is as an entry of a feed, under the certificate that was in force before all that it was opened with.
    pub(super) verified: Option<(Arc<VerifiedCertificate>, Result<VerifiedEntry, RejectError>)>,
}

impl<'e> Opened<'e> {
    /// Opens all of them, in their order.
    pub(super) fn all(entries: &'e [Entry], certificates: &Certificates) -> Vec<Self> {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let open = |share: &'e [Entry]| share.iter().map(|entry| Self::one(entry, certificates)).collect::<Vec<_>>();
        thread::scope(|scope| {
            let shares = entries.chunks(entries.len().div_ceil(processors).max(1));
            let threads: Vec<_> = shares.map(|share| scope.spawn(move || open(share))).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("opening an entry does not panic")).collect()
        })
    }

    fn one(entry: &'e Entry, certificates: &Certificates) -> Self {
        let envelope = Envelope::parse(entry.as_bytes(), ENTRY_BYTES_MAX);
        let signer = envelope.as_ref().ok().and_then(|envelope| Some((envelope, certificates.get(envelope.key_id())?)));
        let verified =
            signer.map(|(envelope, certificate)| (Arc::clone(certificate), VerifiedEntry::verify_envelope(envelope, certificate)));
        Self { bytes: entry.as_bytes(), hash: entry.leaf_hash(), envelope, verified }
    }
}
