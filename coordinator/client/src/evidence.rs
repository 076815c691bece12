//! Evidence: bytes that somebody handed over become verified statements, or a count of refusals.
//!
//! Everything passes the one door of `quorate_proto::verified`. Who handed it over is not asked:
//! a server, a bundle and an enemy are treated alike.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_proto::certificate::KnownCertificates;
use quorate_proto::declaration::VerifiedDeclaration;
use quorate_proto::dsse::Envelope;
use quorate_proto::entry::{EntryStatement, VerifiedCheck, VerifiedCommitment, VerifiedEntry};
use quorate_proto::feed::EquivocationProof;
use quorate_proto::result::RESULT_ENVELOPE_BYTES_MAX;
use quorate_proto::verified::{FeedItem, RejectError, VerifiedStatement};
use quorate_proto::{ArtifactId, Digest, NodeId, OperatorId, Timestamp};
use quorate_tally::{Circumstances, Confirmation};

/// Name of the refusal of a result that is signed in the future.
const FUTURE: &str = "future";

/// Name of the refusal of two items that prove no equivocation.
const NO_EQUIVOCATION: &str = "no-equivocation";

/// Who may speak, and what time it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Door<'a> {
    /// Whose statements count.
    pub(crate) enrolled: &'a BTreeSet<OperatorId>,
    /// Certificates that need not be checked again.
    pub(crate) certificates: &'a RefCell<KnownCertificates>,
    /// This machine's time.
    pub(crate) now: Timestamp,
}

/// What passed the door, and what did not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    statements: Vec<VerifiedStatement>,
    commitments: Vec<Arc<VerifiedCommitment>>,
    checks: Vec<VerifiedCheck>,
    declarations: Vec<Arc<VerifiedDeclaration>>,
    /// What the checks come to.
    confirmations: Vec<Confirmation>,
    /// Where every entry that counts stands in its feed.
    places: Vec<(NodeId, u64, Digest)>,
    items: BTreeMap<Digest, FeedItem>,
    equivocations: Vec<EquivocationProof>,
    given: BTreeSet<Digest>,
    /// What was refused although it is of somebody who counts: whoever handed it over has spoilt it.
    spoilt: BTreeSet<Digest>,
    refused: BTreeMap<&'static str, usize>,
}

impl Door<'_> {
    fn verify(self, item: &FeedItem) -> Result<VerifiedEntry, RejectError> {
        let certificate = self.certificates.borrow_mut().verify(&item.certificate, self.enrolled).map_err(RejectError::Certificate)?;
        VerifiedEntry::verify(&item.envelope, &certificate)
    }
}

impl Evidence {
    /// Checks items, pairs of items that are said to contradict each other, and declarations.
    pub(crate) fn check(items: &[FeedItem], pairs: &[[FeedItem; 2]], declarations: &[Vec<u8>], door: Door<'_>) -> Self {
        let mut evidence = Self::default();
        for envelope in declarations {
            evidence.hear(envelope, door.now);
        }
        for item in items {
            evidence.admit(item, door);
        }
        for [first, second] in pairs {
            match EquivocationProof::verify(first.clone(), second.clone(), door.enrolled) {
                Ok(proof) => evidence.equivocations.push(proof),
                Err(_) => evidence.refuse(NO_EQUIVOCATION),
            }
        }
        evidence.find_equivocations(door);
        evidence.confirmations = Confirmation::among(&evidence.checks, &evidence.statements);
        evidence
    }

    fn admit(&mut self, item: &FeedItem, door: Door<'_>) {
        let digest = Digest::of(&item.envelope);
        if !self.given.insert(digest) && self.items.contains_key(&digest) {
            return;
        }
        match door.verify(item) {
            Ok(entry) if entry.is_ahead_of(door.now) => {
                // This machine's clock may be the wrong one: the same as not having it yet.
                self.given.remove(&digest);
                self.refuse(FUTURE);
            }
            Ok(entry) => {
                self.places.push((entry.node(), entry.position().sequence, digest));
                self.items.insert(digest, item.clone());
                self.spoilt.remove(&digest);
                match entry {
                    VerifiedEntry::Result(statement) => self.statements.push(Arc::unwrap_or_clone(statement)),
                    VerifiedEntry::Commitment(commitment) => self.commitments.push(commitment),
                    VerifiedEntry::Check(check) => self.checks.push(Arc::unwrap_or_clone(check)),
                }
            }
            Err(error) => {
                if speaks_for(&item.envelope).is_none_or(|operator| door.enrolled.contains(&operator)) {
                    self.spoilt.insert(digest);
                }
                self.refuse(error.name());
            }
        }
    }

    /// Whether the policy listens to the one who declares, the tally knows.
    fn hear(&mut self, envelope: &[u8], now: Timestamp) {
        match VerifiedDeclaration::verify(envelope) {
            Ok(declared) if declared.is_ahead_of(now) => self.refuse(FUTURE),
            Ok(declared) => {
                if self.given.insert(declared.digest()) {
                    self.declarations.push(Arc::new(declared));
                }
            }
            Err(error) => self.refuse(error.name()),
        }
    }

    fn refuse(&mut self, name: &'static str) {
        *self.refused.entry(name).or_default() += 1;
    }

    /// Contradictions among the items themselves prove as much as pairs that were handed over.
    fn find_equivocations(&mut self, door: Door<'_>) {
        let mut seen: BTreeMap<(NodeId, u64), Digest> = BTreeMap::new();
        for (node, sequence, digest) in &self.places {
            let first = *seen.entry((*node, *sequence)).or_insert(*digest);
            if first == *digest {
                continue;
            }
            let (Some(a), Some(b)) = (self.items.get(&first), self.items.get(digest)) else { continue };
            self.equivocations.extend(EquivocationProof::verify(a.clone(), b.clone(), door.enrolled));
        }
    }

    /// Every statement that counts.
    pub(crate) fn statements(&self) -> &[VerifiedStatement] {
        &self.statements
    }

    /// The statement whose envelope has this digest.
    pub(crate) fn statement(&self, digest: &Digest) -> Option<&VerifiedStatement> {
        self.statements.iter().find(|statement| statement.digest() == *digest)
    }

    /// Every proof of equivocation.
    pub(crate) fn equivocations(&self) -> &[EquivocationProof] {
        &self.equivocations
    }

    /// What a tally of the statements depends on besides them.
    pub(crate) fn circumstances(&self, now: Timestamp) -> Circumstances<'_> {
        let Self { equivocations, commitments, confirmations, declarations, .. } = self;
        Circumstances { as_of: Some(now), equivocations, commitments, confirmations, declarations, ..Circumstances::default() }
    }

    /// Every commitment that counts.
    pub(crate) fn commitments(&self) -> &[Arc<VerifiedCommitment>] {
        &self.commitments
    }

    /// Every declaration, whether the policy listens to it or not.
    pub(crate) fn declarations(&self) -> &[Arc<VerifiedDeclaration>] {
        &self.declarations
    }

    /// Every confirmation of a build witness that counts.
    pub(crate) fn confirmations(&self) -> &[Confirmation] {
        &self.confirmations
    }

    /// Whether an envelope of this digest was handed over so that it could count, or is of somebody who does not.
    /// Without its certificate it is as good as left out.
    pub(crate) fn was_given(&self, digest: &Digest) -> bool {
        self.given.contains(digest) && !self.spoilt.contains(digest)
    }

    /// How many were refused, by reason.
    pub(crate) fn refused(&self) -> &BTreeMap<&'static str, usize> {
        &self.refused
    }

    /// How many different envelopes were handed over.
    pub(crate) fn given_count(&self) -> usize {
        self.given.len()
    }

    /// How many statements stand in the slot of `artifact`; the others are about something else.
    pub(crate) fn in_slot_count(&self, artifact: &ArtifactId) -> usize {
        self.statements.iter().filter(|statement| statement.artifact().slot == artifact.slot).count()
    }
}

/// Whose entry an envelope is by its own word, which its digest fixes as the certificate beside it does not.
fn speaks_for(envelope: &[u8]) -> Option<OperatorId> {
    let envelope = Envelope::parse(envelope, RESULT_ENVELOPE_BYTES_MAX).ok()?;
    Some(EntryStatement::parse(envelope.payload()).ok()?.operator())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use quorate_tests::{Member, SIGNED_AT, artifact, different, identical};

    fn now() -> Timestamp {
        Timestamp::from_unix_seconds(SIGNED_AT)
    }

    fn certificates() -> RefCell<KnownCertificates> {
        RefCell::new(KnownCertificates::new(8))
    }

    #[test]
    fn every_refusal_is_counted_by_its_name_and_changes_nothing() {
        let click = artifact("click", "1.0", b"click");
        let (mut known, mut stranger) = (Member::new(1), Member::new(2));
        let mut expired = Member::with_validity(1, 9, SIGNED_AT - 2000, SIGNED_AT - 1000);
        let good = known.says(&click, identical(&click));
        let forged = FeedItem { certificate: known.certificate().to_vec(), envelope: stranger.says(&click, identical(&click)).envelope };
        let garbage = FeedItem { certificate: b"{}".to_vec(), envelope: b"\xff".to_vec() };
        let items =
            [good.clone(), good, forged, stranger.says(&click, different("x", "y")), expired.says(&click, identical(&click)), garbage];
        let enrolled = BTreeSet::from([known.operator()]);
        let evidence = Evidence::check(&items, &[], &[], Door { enrolled: &enrolled, certificates: &certificates(), now: now() });
        assert_eq!(evidence.statements().len(), 1);
        assert_eq!(evidence.given_count(), 5);
        let refused = BTreeMap::from([("bad-certificate", 1), ("bad-signature", 1), ("expired-certificate", 1), ("unknown-operator", 1)]);
        assert_eq!(evidence.refused(), &refused);
    }

    #[test]
    fn a_bad_copy_of_an_envelope_does_not_keep_the_good_one_out() {
        let click = artifact("click", "1.0", b"click");
        let mut member = Member::new(1);
        let good = member.says(&click, identical(&click));
        let bad = FeedItem { certificate: b"{}".to_vec(), ..good.clone() };
        let enrolled = BTreeSet::from([member.operator()]);
        let evidence = Evidence::check(&[bad, good], &[], &[], Door { enrolled: &enrolled, certificates: &certificates(), now: now() });
        assert_eq!(evidence.statements().len(), 1);
    }

    #[test]
    fn a_result_from_the_future_is_refused() {
        let click = artifact("click", "1.0", b"click");
        let mut member = Member::new(1);
        let item = member.says(&click, identical(&click));
        let enrolled = BTreeSet::from([member.operator()]);
        let early = Timestamp::from_unix_seconds(SIGNED_AT - 2 * 3600);
        let evidence = Evidence::check(&[item], &[], &[], Door { enrolled: &enrolled, certificates: &certificates(), now: early });
        assert_eq!(evidence.refused().get(FUTURE), Some(&1));
        assert!(evidence.statements().is_empty());
    }

    #[test]
    fn two_histories_are_found_without_being_pointed_at() {
        let click = artifact("click", "1.0", b"click");
        let member = Member::new(1);
        let at = member.position();
        let items = [member.says_at(at, &click, identical(&click)), member.says_at(at, &click, different("x", "y"))];
        let enrolled = BTreeSet::from([member.operator()]);
        let evidence = Evidence::check(&items, &[], &[], Door { enrolled: &enrolled, certificates: &certificates(), now: now() });
        assert_eq!(evidence.equivocations().first().unwrap().operator(), member.operator());
    }
}
