//! Holding others' build witnesses against what own builds left.

use quorate_proto::dsse::Envelope;
use quorate_proto::verified::FeedItem;
use quorate_proto::witness_check::Claim;
use quorate_proto::{OperatorId, SecretKey, Timestamp};

use super::{Unsigned, Work, now, unsigned};
use crate::daemon::DaemonError;
use crate::feed::{FeedError, Feeds};
use crate::intermediates::Kept;

/// Checks that are signed in one round: results come first, and a flood of others' is worked off bit by bit.
const CHECKS_A_ROUND: usize = 16;

/// Who checks, and when.
struct Checker {
    kept: Kept,
    key: SecretKey,
    operator: OperatorId,
    certificate: Vec<u8>,
    now: Timestamp,
}

impl Work {
    /// Signs what can be said of others' work, and tells the mesh.
    pub(in crate::daemon) async fn check(&mut self) -> Result<(), DaemonError> {
        let claims = self.on_feeds(|feeds| Ok(feeds.claims(CHECKS_A_ROUND))).await?;
        if claims.is_empty() {
            return Ok(());
        }
        let now = now().whole_seconds();
        let Some(certificate) = self.certificate(now) else { return Ok(()) };
        let (kept, key, operator) = (self.kept.clone(), self.key(), self.identity.operator());
        let checker = Checker { kept, key, operator, certificate, now };
        let (signed, refused) = self.on_feeds(move |feeds| checker.check(feeds, claims)).await?;
        for item in &signed {
            self.tell(item);
        }
        if let Some(reason) = refused {
            self.complain(reason);
        }
        Ok(())
    }
}

impl Checker {
    /// The entries that were signed; and why no more were, if it is the certificate's fault.
    fn check(&self, feeds: &Feeds, claims: Vec<Claim>) -> Result<(Vec<FeedItem>, Option<&'static str>), FeedError> {
        let mut signed = Vec::new();
        for claim in claims {
            match self.sign(feeds, &claim).map_err(unsigned) {
                Ok(item) => signed.extend(item),
                Err(Ok(Unsigned::Certificate(reason))) => return Ok((signed, Some(reason))),
                Err(Ok(Unsigned::Finding(reason))) => {
                    tracing::error!(result = %claim.checked.statement, reason, "a check that no peer would take");
                    feeds.forget(&claim);
                }
                Err(Err(error)) => return Err(error),
            }
        }
        Ok((signed, None))
    }

    /// Nothing where the own intermediates are not kept any more.
    fn sign(&self, feeds: &Feeds, claim: &Claim) -> Result<Option<FeedItem>, FeedError> {
        let own = self.kept.get(&claim.task(), claim.environment);
        let own = own.inspect_err(|error| tracing::error!(%error, "intermediates cannot be read")).ok().flatten();
        let Some(agreement) = own.map(|own| claim.agreement(&own)) else {
            feeds.forget(claim);
            return Ok(None);
        };
        let item = feeds.sign(|feed| {
            let statement = claim.clone().into_statement(agreement, self.operator, feed, self.now);
            let envelope = Envelope::sign(statement.to_payload(), &self.key);
            Ok(FeedItem { certificate: self.certificate.clone(), envelope: envelope.bytes().to_vec() })
        })?;
        tracing::info!(checked = %claim.checked.node, matched = agreement.matched, compared = agreement.compared, "build witness checked");
        Ok(Some(item))
    }
}
