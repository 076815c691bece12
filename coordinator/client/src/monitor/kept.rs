//! Entries of feeds that were read and found good, by the slot that they are about.
//!
//! Any later verdict may rest on any of them, and any later entry may contradict one. So all are kept: their bytes in
//! a file without a name in the folder for temporary files, an index in memory, and read and verified those of the
//! slots that were asked for last. Memory grows by the index alone.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;

use quorate_proto::certificate::VerifiedCertificate;
use quorate_proto::entry::{VerifiedCheck, VerifiedCommitment, VerifiedEntry};
use quorate_proto::verified::{FeedItem, VerifiedStatement};
use quorate_proto::{ArtifactId, ArtifactSlot, NodeId, OperatorId};
use quorate_tally::grade::{CHECKS_OF_A_NODE_MAX, COMMITMENTS_OF_A_NODE_MAX};

/// Entries and slots that stay in memory, at most twice as many and one slot's. Entries of other slots cost their
/// signatures again when they are asked for.
const WARM_MAX: usize = 100_000;

/// Bytes that are written at once.
const TAIL_BYTES: usize = 1 << 20;

/// All of them.
pub(super) struct Kept {
    spool: Spool,
    slots: HashMap<ArtifactSlot, Vec<Written>>,
    young: Generation,
    old: Generation,
    warm_max: usize,
}

/// Where an entry was written, and under which certificate it counts.
#[derive(Clone)]
pub(super) struct Written {
    leaf: u64,
    offset: u64,
    length: u32,
    kind: Kind,
    certificate: Arc<VerifiedCertificate>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Result,
    Commitment,
    Check,
}

/// The entries about a slot, in the order of the log.
#[derive(Default)]
pub(super) struct Entries {
    leaves: Vec<u64>,
    statements: Vec<VerifiedStatement>,
    commitments: Vec<(u64, Arc<VerifiedCommitment>)>,
    checks: Vec<(u64, VerifiedCheck)>,
}

/// Slots that are in memory.
#[derive(Default)]
struct Generation {
    slots: HashMap<ArtifactSlot, Entries>,
    /// Slots and entries: one without entries takes room too.
    count: usize,
}

/// Bytes one after the other; the last of them are not written yet.
struct Spool {
    file: File,
    written: u64,
    tail: Vec<u8>,
}

impl Kept {
    /// Nothing yet.
    pub(super) fn new() -> io::Result<Self> {
        Self::with_warm_max(WARM_MAX)
    }

    fn with_warm_max(warm_max: usize) -> io::Result<Self> {
        let spool = Spool { file: tempfile::tempfile()?, written: 0, tail: Vec::new() };
        Ok(Self { spool, slots: HashMap::new(), young: Generation::default(), old: Generation::default(), warm_max })
    }

    /// Writes down an entry that was found good under `certificate`.
    pub(super) fn write(
        &mut self,
        leaf: u64,
        entry: &VerifiedEntry,
        bytes: &[u8],
        certificate: Arc<VerifiedCertificate>,
    ) -> io::Result<Written> {
        let kind = match entry {
            VerifiedEntry::Result(_) => Kind::Result,
            VerifiedEntry::Commitment(_) => Kind::Commitment,
            VerifiedEntry::Check(_) => Kind::Check,
        };
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        Ok(Written { leaf, offset: self.spool.append(bytes)?, length, kind, certificate })
    }

    /// An entry and its certificate, as they were read.
    pub(super) fn item(&self, written: &Written) -> io::Result<FeedItem> {
        Ok(FeedItem { certificate: written.certificate.bytes().to_vec(), envelope: self.spool.read(written)? })
    }

    /// Takes up an entry among those about its slot, where it counts: of a node the first few commitments to one task, and
    /// the first so many checks in one slot that confirm something.
    pub(super) fn add(&mut self, slot: &ArtifactSlot, written: Written, entry: VerifiedEntry) {
        let held = match self.slots.get_mut(slot) {
            Some(held) => held,
            None => self.slots.entry(slot.clone()).or_default(),
        };
        let of_node = || held.iter().filter(|other| other.kind == written.kind && other.node() == written.node()).count();
        let counts = match &entry {
            VerifiedEntry::Result(_) => true,
            VerifiedEntry::Commitment(_) => of_node() < COMMITMENTS_OF_A_NODE_MAX,
            VerifiedEntry::Check(check) => check.check().agreement.confirms() && of_node() < CHECKS_OF_A_NODE_MAX,
        };
        if !counts {
            return;
        }
        let (leaf, is_first) = (written.leaf, held.is_empty());
        held.push(written);
        if let Some(entries) = self.young.slots.get_mut(slot) {
            entries.add(leaf, entry);
            self.young.count += 1;
        } else if let Some(entries) = self.old.slots.get_mut(slot) {
            entries.add(leaf, entry);
        } else if is_first {
            let mut entries = Entries::default();
            entries.add(leaf, entry);
            self.warm(slot, entries);
        }
    }

    /// What is known about a slot.
    pub(super) fn entries(&mut self, slot: &ArtifactSlot) -> io::Result<&Entries> {
        if !self.young.slots.contains_key(slot) {
            let entries = match self.old.slots.remove(slot) {
                Some(entries) => entries,
                None => self.read(slot)?,
            };
            self.warm(slot, entries);
        }
        Ok(&self.young.slots[slot])
    }

    /// Every slot with a commitment.
    pub(super) fn committed(&self) -> impl Iterator<Item = &ArtifactSlot> {
        let committed = |held: &[Written]| held.iter().any(|one| one.kind == Kind::Commitment);
        self.slots.iter().filter(move |(_, held)| committed(held)).map(|(slot, _)| slot)
    }

    /// Of each slot the operators that have results there.
    pub(super) fn operators(&self) -> impl Iterator<Item = BTreeSet<OperatorId>> {
        let results = |held: &[Written]| held.iter().filter(|one| one.kind == Kind::Result).map(|one| one.certificate.operator()).collect();
        self.slots.values().map(move |held| results(held))
    }

    /// Every slot with entries at these leaves by who has results there; with the greatest of what stands beside those leaves.
    pub(super) fn slots_with(&self, leaves: &HashMap<u64, u64>) -> impl Iterator<Item = (&ArtifactSlot, u64)> {
        self.slots.iter().filter_map(|(slot, held)| {
            let speaks = |operator| held.iter().any(|one| one.kind == Kind::Result && one.operator() == operator);
            let beside = held.iter().filter_map(|one| leaves.get(&one.leaf).filter(|_| speaks(one.operator())));
            Some((slot, *beside.max()?))
        })
    }

    /// The slot that comes when there are enough makes the others the older generation; those before them are forgotten.
    fn warm(&mut self, slot: &ArtifactSlot, entries: Entries) {
        if self.young.count >= self.warm_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.count += 1 + entries.len();
        self.young.slots.insert(slot.clone(), entries);
    }

    fn read(&self, slot: &ArtifactSlot) -> io::Result<Entries> {
        let mut entries = Entries::default();
        for written in self.slots.get(slot).map_or(&[][..], Vec::as_slice) {
            let entry = VerifiedEntry::verify(&self.spool.read(written)?, &written.certificate).map_err(io::Error::other)?;
            entries.add(written.leaf, entry);
        }
        Ok(entries)
    }
}

impl Written {
    pub(super) fn leaf(&self) -> u64 {
        self.leaf
    }

    pub(super) fn operator(&self) -> OperatorId {
        self.certificate.operator()
    }

    fn node(&self) -> NodeId {
        self.certificate.node()
    }
}

impl Entries {
    /// The results that stand before `size`.
    pub(super) fn results_before(&self, size: u64) -> &[VerifiedStatement] {
        &self.statements[..self.leaves.partition_point(|leaf| *leaf < size)]
    }

    /// The results that stand at `size` or behind it.
    pub(super) fn results_since(&self, size: u64) -> &[VerifiedStatement] {
        &self.statements[self.results_before(size).len()..]
    }

    /// The artifacts that there are results of.
    pub(super) fn artifacts(&self) -> BTreeSet<&ArtifactId> {
        self.statements.iter().map(VerifiedStatement::artifact).collect()
    }

    /// The results, each with its leaf.
    pub(super) fn results(&self) -> impl Iterator<Item = (u64, &VerifiedStatement)> + Clone {
        self.leaves.iter().copied().zip(&self.statements)
    }

    /// The commitments that stand before `size`.
    pub(super) fn commitments_before(&self, size: u64) -> Vec<Arc<VerifiedCommitment>> {
        self.commitments.iter().filter(|(leaf, _)| *leaf < size).map(|(_, entry)| Arc::clone(entry)).collect()
    }

    /// The checks that stand before `size`.
    pub(super) fn checks_before(&self, size: u64) -> impl Iterator<Item = &VerifiedCheck> {
        self.checks.iter().filter(move |(leaf, _)| *leaf < size).map(|(_, check)| check)
    }

    fn len(&self) -> usize {
        self.statements.len() + self.commitments.len() + self.checks.len()
    }

    fn add(&mut self, leaf: u64, entry: VerifiedEntry) {
        match entry {
            VerifiedEntry::Result(statement) => {
                // Doubling would leave half of what most slots need unused.
                self.statements.reserve_exact(1 + self.statements.len() / 4);
                self.statements.push(Arc::unwrap_or_clone(statement));
                self.leaves.push(leaf);
            }
            VerifiedEntry::Commitment(commitment) => self.commitments.push((leaf, commitment)),
            VerifiedEntry::Check(check) => self.checks.push((leaf, Arc::unwrap_or_clone(check))),
        }
    }
}

impl Spool {
    /// Where the bytes begin.
    fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        if self.tail.len() + bytes.len() > TAIL_BYTES {
            self.file.seek(SeekFrom::Start(self.written))?;
            self.file.write_all(&self.tail)?;
            self.written += self.tail.len() as u64;
            self.tail.clear();
        }
        let offset = self.written + self.tail.len() as u64;
        self.tail.extend_from_slice(bytes);
        Ok(offset)
    }

    fn read(&self, written: &Written) -> io::Result<Vec<u8>> {
        let length = written.length as usize;
        if let Some(from) = written.offset.checked_sub(self.written) {
            let from = usize::try_from(from).map_err(io::Error::other)?;
            return Ok(self.tail[from..from + length].to_vec());
        }
        let (mut file, mut bytes) = (&self.file, vec![0; length]);
        file.seek(SeekFrom::Start(written.offset))?;
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use quorate_tests::{Member, artifact, identical};

    #[test]
    fn what_was_forgotten_is_read_again_and_no_more_than_is_said_stays_in_memory() {
        let mut member = Member::new(1);
        let certificate = Arc::new(VerifiedCertificate::verify(member.certificate(), &[member.operator()].into()).unwrap());
        let mut kept = Kept::with_warm_max(10).unwrap();
        let (mut slots, mut digests) = (Vec::new(), Vec::new());
        // Enough that the first of them were written.
        for leaf in 0..900 {
            let about = artifact("package", &format!("1.{}", leaf % 300), b"file");
            let item = member.says(&about, identical(&about));
            let entry = VerifiedEntry::verify(&item.envelope, &certificate).unwrap();
            digests.push(entry.digest());
            let written = kept.write(leaf, &entry, &item.envelope, Arc::clone(&certificate)).unwrap();
            assert_eq!(kept.item(&written).unwrap(), item);
            kept.add(&about.slot, written, entry);
            slots.push(about.slot);
        }
        assert!(kept.spool.written > 0);
        for (first, slot) in slots.iter().take(300).enumerate() {
            let want: Vec<_> = [first, first + 300, first + 600].map(|leaf| (leaf as u64, digests[leaf])).to_vec();
            let entries = kept.entries(slot).unwrap();
            assert_eq!(entries.results().map(|(leaf, result)| (leaf, result.digest())).collect::<Vec<_>>(), want);
            assert_eq!(entries.results_before(first as u64 + 300).len(), 1);
            let warm: usize = [&kept.young, &kept.old].iter().flat_map(|generation| generation.slots.values()).map(Entries::len).sum();
            assert!(warm <= 2 * 10 + 2 * 3, "{warm}");
        }
        assert_eq!(kept.operators().map(|operators| operators.len()).sum::<usize>(), 300);
    }
}
