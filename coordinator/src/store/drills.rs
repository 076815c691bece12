//! Drills: what the log holds of them, and what is kept of those that are not opened.
//!
//! The log's part follows from its leaves; the index has their numbers. What a drill is on is kept in a file that only
//! its owner can read, durable before the announcement is logged: an announcement that nobody can open would be worth
//! nothing. `docs/spec/drill.md`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, PoisonError};

use quorate_proto::drill::{Opening, VerifiedDrill};
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{ArtifactSlot, Digest, NodeId};
use quorate_tally::Drills;
use quorate_tally::share::Kind;

use super::files::{Paths, Point, is_scratch};
use super::index::Order;
use super::leaf::LeafError;
use super::rows::{self, SlotKey};
use super::writer::Writer;
use super::{Store, StoreError};

/// What a kept drill's file ends with.
const KEPT: &str = "json";

/// What is kept of drills cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The file system failed.
    #[error("keeping drills")]
    Io(#[from] io::Error),
    /// A file that holds no drill, or another than its name says.
    #[error("`{0}` does not hold the drill that it is named for")]
    Malformed(String),
}

impl Store {
    /// All drills in the published log.
    pub fn drills(&self) -> Arc<Drills> {
        Arc::clone(&self.drills.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Results about a slot with their leaves, before `log_size`.
    pub(crate) fn slot_results(&self, slot: SlotKey, log_size: u64) -> Result<Vec<(u64, Arc<VerifiedStatement>)>, StoreError> {
        let rows = self.slot_rows(slot, Kind::Result, log_size)?.into_iter();
        rows.map(|(leaf, certificate)| Ok((leaf, self.statement(leaf, certificate)?))).collect()
    }

    /// The slot that a leaf changes the verdicts of: that of a node's entry, or of what a drill is on.
    pub(crate) fn slot_of_leaf(&self, leaf: u64) -> Result<Option<SlotKey>, StoreError> {
        if let Some(slot) = self.slot_of_entry(leaf)? {
            return Ok(Some(slot));
        }
        let drills = self.drills();
        let opened = drills.opened().find(|opened| opened.opening.leaf == leaf);
        Ok(opened.map(|opened| SlotKey::of(&opened.artifact.slot)))
    }

    /// Keeps what a drill is on, durably, for nobody else to read.
    pub(crate) fn keep_drill(&self, opening: &Opening) -> Result<(), KeepError> {
        let bytes = serde_json::to_vec(opening).map_err(io::Error::other)?;
        let path = self.paths.drills().join(opening.commitment().to_hex()).with_extension(KEPT);
        prepare(&self.paths)?;
        Ok(self.disk.write_secret(Point::Drill, &path, &bytes)?)
    }

    /// What drills are on, of all that are kept.
    pub(crate) fn kept_drills(&self) -> Result<BTreeMap<Digest, Opening>, KeepError> {
        let mut kept = BTreeMap::new();
        let entries = match fs::read_dir(self.paths.drills()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(kept),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if is_scratch(&name) || path.extension().is_none_or(|extension| extension != KEPT) {
                continue;
            }
            let opening: Option<Opening> = serde_json::from_slice(&fs::read(&path)?).ok();
            let named = opening.filter(|opening| path.file_stem().is_some_and(|stem| *stem == *opening.commitment().to_hex()));
            let opening = named.ok_or(KeepError::Malformed(name))?;
            kept.insert(opening.commitment(), opening);
        }
        Ok(kept)
    }
}

/// Makes the folder of drills, which is nobody else's.
pub(crate) fn prepare(paths: &Paths) -> io::Result<()> {
    let folder = paths.drills();
    fs::create_dir_all(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))
}

impl Writer {
    /// Takes up all that the index names.
    pub(super) fn load_drills(&self) -> Result<(), StoreError> {
        let mut known = Drills::default();
        for row in self.store.index.scan(rows::DRILL_PREFIX, Order::Ascending) {
            let leaf = rows::leaf_at_end(&row?.0)?;
            let bytes = self.store.log().leaf(leaf).map_err(StoreError::io("reading a drill"))?;
            self.take_drill(&mut known, leaf, &bytes)?;
        }
        self.know_drills(known);
        Ok(())
    }

    pub(super) fn take_drill(&self, known: &mut Drills, leaf: u64, bytes: &[u8]) -> Result<Option<ArtifactSlot>, StoreError> {
        let key = NodeId::from_bytes(*self.key.signer.verifier().public()).map_err(|error| StoreError::Resume(error.to_string()))?;
        let drill = VerifiedDrill::verify(bytes, &key, self.key.origin.as_str()).map_err(LeafError::Drill)?;
        Ok(known.take(leaf, &drill))
    }

    pub(super) fn know_drills(&self, known: Drills) {
        *self.store.drills.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::super::files::Fault;
    use super::super::{LogKey, Writer as Opens};
    use super::*;
    use crate::check::check;
    use quorate_proto::SecretKey;
    use quorate_tests::{artifact, drill, on_own_registry, opening};
    use quorate_tlog::Signer;
    use std::path::Path;

    const ORIGIN: &str = "quorate.example/test";

    fn open(folder: &Path) -> Opens {
        let signer = Signer::from_seed(ORIGIN.parse().unwrap(), &[7; 32]);
        let paths = Paths::new(folder);
        fs::write(paths.vkey(), signer.verifier().to_string()).unwrap();
        Opens::open(paths, LogKey { origin: ORIGIN.parse().unwrap(), signer }).unwrap().0
    }

    fn wrong() -> Opening {
        opening(ORIGIN, &on_own_registry(&artifact("drilled", "1.0", b"tampered")))
    }

    fn log(writer: &mut Opens, envelope: &[u8]) -> Result<(), StoreError> {
        let mut batch = writer.batch();
        batch.drill(envelope.to_vec())?;
        let parts = batch.into_parts();
        let durable = writer.commit(parts)?;
        writer.publish(vec![durable]).map(drop)
    }

    #[test]
    fn what_cannot_be_kept_is_not_kept_or_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let writer = open(folder.path());
        let store = writer.store();
        for (fault, kept) in [(Fault::Failed, 0), (Fault::FailedButPersisted, 1)] {
            store.disk.arm(Point::Drill, fault);
            assert!(store.keep_drill(&wrong()).is_err());
            assert_eq!(store.kept_drills().unwrap().len(), kept, "{fault:?}");
        }
        store.keep_drill(&wrong()).unwrap();
        let kept = store.kept_drills().unwrap();
        assert_eq!(kept, BTreeMap::from([(wrong().commitment(), wrong())]));
        let file = Paths::new(folder.path()).drills().join(wrong().commitment().to_hex()).with_extension(KEPT);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(file, serde_json::to_vec(&Opening { digest: Digest::of(b"another"), ..wrong() }).unwrap()).unwrap();
        assert!(matches!(store.kept_drills(), Err(KeepError::Malformed(_))));
    }

    #[test]
    fn the_log_says_which_drills_there_are_whatever_fails_and_whatever_is_lost() {
        let steps = drill(&SecretKey::from_seed(&[7; 32]), &wrong());
        for (point, fault) in [
            (Point::Stage, Fault::FailedButPersisted),
            (Point::Commit, Fault::Failed),
            (Point::Commit, Fault::FailedButPersisted),
            (Point::Publish, Fault::Failed),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let mut writer = open(folder.path());
            log(&mut writer, &steps[0]).unwrap();
            writer.store().disk.arm(point, fault);
            assert!(log(&mut writer, &steps[1]).is_err());
            writer.recover().unwrap();
            let known = writer.store().drills();
            let opened: Vec<_> = known.opened().map(|opened| (opened.announcement.unwrap().leaf, opened.opening.leaf)).collect();
            assert_eq!(opened, [(0, 1)], "{point:?} {fault:?}");
            let slot = SlotKey::of(&wrong().artifact().slot);
            assert_eq!(writer.untallied(Digest::of(b"policy")).unwrap(), BTreeMap::from([(slot, 1)]));
            drop(writer);
            check(&Paths::new(folder.path())).unwrap();
            assert_eq!(*open(folder.path()).store().drills(), *known, "after a restart");
            fs::remove_dir_all(Paths::new(folder.path()).index()).unwrap();
            assert_eq!(*open(folder.path()).store().drills(), *known, "rebuilt");
        }
    }

    #[test]
    fn a_step_that_another_key_signed_is_never_taken_up() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = open(folder.path());
        let [announcement, _] = drill(&SecretKey::from_seed(&[8; 32]), &wrong());
        assert!(matches!(log(&mut writer, &announcement), Err(StoreError::Leaf(LeafError::Drill(_)))));
    }
}
