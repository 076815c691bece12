//! Declarations: what the log holds of them, and which slots each is about.
//!
//! They follow from the log's leaves alone; the index has where each stands. Who is listened to is the policy's to say.
//! `docs/spec/declarations.md`.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use quorate_proto::declaration::{Declaration, VerifiedDeclaration};
use quorate_proto::entry::{VerifiedCheck, VerifiedCommitment};
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{Digest, OperatorId, PurlPattern, SignerId, Timestamp};
use quorate_tally::Declarations;

use super::index::Order;
use super::leaf::LeafError;
use super::rows::{self, SlotKey};
use super::writer::Writer;
use super::{Store, StoreError};

impl Store {
    /// All declarations in the published log.
    pub fn declarations(&self) -> Arc<Declarations> {
        Arc::clone(&self.declarations.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was declared before `log_size` and has to do with a slot, of which this is all that is known.
    pub(crate) fn declared<'s>(
        &self,
        results: impl Iterator<Item = &'s VerifiedStatement> + Clone,
        commitments: &[Arc<VerifiedCommitment>],
        checks: &[Arc<VerifiedCheck>],
        log_size: u64,
    ) -> Vec<Arc<VerifiedDeclaration>> {
        let Some(first) = results.clone().next() else { return Vec::new() };
        let equivocations = self.equivocations();
        let committed = commitments.iter().map(|entry| (entry.operator(), entry.node()));
        let checked = checks.iter().map(|check| (check.operator(), check.position().node));
        let caught = equivocations.iter().map(|proof| (proof.operator(), proof.node()));
        self.declarations().about(&first.artifact().slot, log_size, results, committed.chain(checked).chain(caught))
    }

    /// The slots whose verdicts a declaration may change. Complexity: one index row a slot of the file or of the
    /// operator; for a pattern one a known artifact.
    pub(crate) fn slots_declared(&self, known: &Declarations, declared: &VerifiedDeclaration) -> Result<BTreeSet<SlotKey>, StoreError> {
        match declared.declaration() {
            Declaration::Advisory(advisory) => match (advisory.digest, &advisory.package) {
                (Some(digest), _) => self.slots_of_file(digest),
                (None, Some(pattern)) => self.slots_of_packages(pattern),
                (None, None) => Ok(BTreeSet::new()),
            },
            Declaration::Vouch(vouch) => self.slots_of_file(vouch.digest),
            Declaration::Revocation(revocation) => self.slots_of_signer(revocation.signer),
            // What was taken back is a declaration, which takes back nothing itself, or a result of the signer.
            Declaration::Retraction(back) => match known.leaf_of(&back.statement).and_then(|leaf| known.at(leaf)) {
                Some(earlier) if !matches!(earlier.declaration(), Declaration::Retraction(_)) => self.slots_declared(known, earlier),
                Some(_) => Ok(BTreeSet::new()),
                None => self.slots_of_signer(back.signer),
            },
        }
    }

    /// Slots with a vouch, and until when it is in force.
    pub(crate) fn vouched_slots(&self) -> Result<Vec<(SlotKey, Timestamp)>, StoreError> {
        let mut slots = Vec::new();
        for (_, declared) in self.declarations().all() {
            if let Declaration::Vouch(vouch) = declared.declaration() {
                slots.extend(self.slots_of_file(vouch.digest)?.into_iter().map(|slot| (slot, vouch.until)));
            }
        }
        Ok(slots)
    }

    fn slots_of_file(&self, digest: Digest) -> Result<BTreeSet<SlotKey>, StoreError> {
        let rows = self.index.scan(&rows::artifact_prefix(digest), Order::Ascending);
        rows.map(|row| Ok(rows::artifact_at_end(&row?.0)?.slot)).collect()
    }

    fn slots_of_packages(&self, pattern: &PurlPattern) -> Result<BTreeSet<SlotKey>, StoreError> {
        let mut slots = BTreeSet::new();
        for row in self.index.scan(rows::ARTIFACT_PREFIX, Order::Ascending) {
            let (key, value) = row?;
            if pattern.matches(&super::read::read_artifact(&value)?.slot.package) {
                slots.insert(rows::artifact_at_end(&key)?.slot);
            }
        }
        Ok(slots)
    }

    fn slots_of_signer(&self, signer: SignerId) -> Result<BTreeSet<SlotKey>, StoreError> {
        OperatorId::from_bytes(*signer.as_bytes()).map_or_else(|_| Ok(BTreeSet::new()), |operator| self.slots_of_operator(operator))
    }
}

impl Writer {
    /// Takes one up. The slots to be tallied again.
    pub(super) fn take_declaration(&self, known: &mut Declarations, leaf: u64, bytes: &[u8]) -> Result<BTreeSet<SlotKey>, StoreError> {
        let declared = verified(bytes)?;
        known.take(leaf, Arc::clone(&declared));
        self.store.slots_declared(known, &declared)
    }

    /// Takes up all that the index names.
    pub(super) fn load_declarations(&self) -> Result<(), StoreError> {
        let rows = self.store.index.scan(rows::DECLARATION_PREFIX, Order::Ascending);
        let mut leaves = rows.map(|row| Ok(rows::leaf_at_end(&row?.1)?)).collect::<Result<Vec<_>, StoreError>>()?;
        leaves.sort_unstable();
        let mut known = Declarations::default();
        for leaf in leaves {
            known.take(leaf, verified(&self.store.log().leaf(leaf).map_err(StoreError::io("reading a declaration"))?)?);
        }
        self.know_declarations(known);
        Ok(())
    }

    pub(super) fn know_declarations(&self, known: Declarations) {
        *self.store.declarations.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
    }
}

fn verified(bytes: &[u8]) -> Result<Arc<VerifiedDeclaration>, StoreError> {
    Ok(Arc::new(VerifiedDeclaration::verify(bytes).map_err(LeafError::Declaration)?))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::super::LogKey;
    use super::super::files::{Fault, Paths, Point};
    use super::*;
    use crate::check::check;
    use quorate_gossip::Accepted;
    use quorate_proto::SecretKey;
    use quorate_tests::{advisory, retraction};
    use quorate_tlog::Signer;
    use std::fs;
    use std::path::Path;

    const ORIGIN: &str = "quorate.example/test";

    fn open(folder: &Path) -> Writer {
        let signer = Signer::from_seed(ORIGIN.parse().unwrap(), &[7; 32]);
        let paths = Paths::new(folder);
        fs::write(paths.vkey(), signer.verifier().to_string()).unwrap();
        Writer::open(paths, LogKey { origin: ORIGIN.parse().unwrap(), signer }).unwrap().0
    }

    fn log(writer: &mut Writer, envelopes: &[&[u8]]) -> Result<Vec<(u64, Accepted)>, StoreError> {
        let mut batch = writer.batch();
        let logged = envelopes.iter().map(|envelope| batch.declaration(envelope.to_vec())).collect::<Result<_, _>>()?;
        let parts = batch.into_parts();
        let durable = writer.commit(parts)?;
        writer.publish(vec![durable]).map(|_| logged)
    }

    /// An advisory, and what takes it back.
    fn declared() -> [Vec<u8>; 2] {
        let key = SecretKey::from_seed(&[60; 32]);
        let said = Declaration::Advisory(advisory(key.signer_id(), "A-1", Digest::of(b"a file"))).sign(&key).unwrap();
        let back = Declaration::Retraction(retraction(key.signer_id(), said.digest())).sign(&key).unwrap();
        [said, back].map(|envelope| envelope.bytes().to_vec())
    }

    fn known(writer: &Writer) -> Vec<(u64, Digest, Option<u64>)> {
        let known = writer.store().declarations();
        known.all().map(|(leaf, one)| (leaf, one.digest(), known.retracted_at(one))).collect()
    }

    #[test]
    fn the_log_says_what_is_declared_whatever_fails_and_whatever_is_lost() {
        let [said, back] = declared();
        for (point, fault) in [
            (Point::Stage, Fault::FailedButPersisted),
            (Point::Commit, Fault::Failed),
            (Point::Commit, Fault::FailedButPersisted),
            (Point::Publish, Fault::Failed),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let mut writer = open(folder.path());
            log(&mut writer, &[&said]).unwrap();
            writer.store().disk.arm(point, fault);
            assert!(log(&mut writer, &[&back]).is_err());
            writer.recover().unwrap();
            let both = vec![(0, Digest::of(&said), Some(1)), (1, Digest::of(&back), None)];
            assert_eq!(known(&writer), both, "{point:?} {fault:?}");
            drop(writer);
            check(&Paths::new(folder.path())).unwrap();
            assert_eq!(known(&open(folder.path())), both, "after a restart");
            fs::remove_dir_all(Paths::new(folder.path()).index()).unwrap();
            assert_eq!(known(&open(folder.path())), both, "rebuilt");
        }
    }

    #[test]
    fn what_is_handed_in_again_is_logged_once_and_answered_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = open(folder.path());
        let [said, back] = declared();
        let (new, again) = (Accepted::New, Accepted::Duplicate);
        assert_eq!(log(&mut writer, &[&said, &back, &said]).unwrap(), [(0, new), (1, new), (0, again)]);
        assert_eq!(log(&mut writer, &[&back]).unwrap(), [(1, again)]);
        assert_eq!(known(&writer).len(), 2);
    }

    #[test]
    fn what_another_key_signed_is_never_taken_up() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = open(folder.path());
        let [said, _] = declared();
        let payload = quorate_proto::dsse::Envelope::parse(&said, said.len()).unwrap().payload().to_vec();
        let forged = quorate_proto::dsse::Envelope::sign(payload, &SecretKey::from_seed(&[61; 32]));
        assert!(matches!(log(&mut writer, &[forged.bytes()]), Err(StoreError::Leaf(LeafError::Declaration(_)))));
    }
}
