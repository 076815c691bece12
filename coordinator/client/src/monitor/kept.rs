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
use quorate_tally::share::{Entered, Kind};

/// Entries and slots that stay in memory, at most twice as many and one slot's. Entries of other slots cost their
/// signatures again when they are asked for; many more in memory cost as much, for they are in no cache of the processor.
const WARM_MAX: usize = 10_000;

/// Bytes that are written at once.
const TAIL_BYTES: usize = 1 << 18;

/// All of them.
pub(super) struct Kept {
    spool: Spool,
    entries: Vec<Written>,
    numbers: HashMap<Arc<ArtifactSlot>, SlotId>,
    slots: Vec<Slot>,
    warm: Warm,
}

/// The number of an entry here.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct EntryId(u32);

/// The number of a slot here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SlotId(u32);

/// Where an entry was written, and under which certificate it counts.
struct Written {
    leaf: u64,
    offset: u64,
    length: u32,
    kind: Kind,
    certificate: Arc<VerifiedCertificate>,
}

/// The entries about a slot that count.
struct Slot {
    name: Arc<ArtifactSlot>,
    held: Vec<EntryId>,
    /// The same, read and verified, in a slot that is warm.
    entries: Option<Entries>,
    /// When it was last asked for.
    turn: u64,
}

/// Which slots are in memory: those of this turn, and those of the one before.
struct Warm {
    max: usize,
    turn: u64,
    young: Vec<SlotId>,
    old: Vec<SlotId>,
    /// Slots and entries of this turn: a slot without entries takes room too.
    count: usize,
}

/// The entries about a slot, in the order of the log.
#[derive(Default)]
pub(super) struct Entries {
    leaves: Vec<u64>,
    statements: Vec<Arc<VerifiedStatement>>,
    commitments: Vec<(u64, Arc<VerifiedCommitment>)>,
    checks: Vec<(u64, Arc<VerifiedCheck>)>,
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

    fn with_warm_max(max: usize) -> io::Result<Self> {
        let spool = Spool { file: tempfile::tempfile()?, written: 0, tail: Vec::new() };
        let warm = Warm { max, turn: 0, young: Vec::new(), old: Vec::new(), count: 0 };
        Ok(Self { spool, entries: Vec::new(), numbers: HashMap::new(), slots: Vec::new(), warm })
    }

    /// The number of a slot, which may be new.
    pub(super) fn slot(&mut self, name: &ArtifactSlot) -> SlotId {
        if let Some(id) = self.numbers.get(name) {
            return *id;
        }
        let (id, name) = (SlotId(number(self.slots.len())), Arc::new(name.clone()));
        self.slots.push(Slot { name: Arc::clone(&name), held: Vec::new(), entries: None, turn: 0 });
        self.numbers.insert(name, id);
        id
    }

    /// Which slot that is.
    pub(super) fn name(&self, slot: SlotId) -> &ArtifactSlot {
        &self.slots[slot.index()].name
    }

    /// Keeps an entry that was found good under `certificate`, and takes it up among those about its slot if it counts.
    pub(super) fn take(
        &mut self,
        leaf: u64,
        bytes: &[u8],
        certificate: Arc<VerifiedCertificate>,
        entry: VerifiedEntry,
    ) -> io::Result<(EntryId, SlotId)> {
        let (slot, kind) = match &entry {
            VerifiedEntry::Result(result) => (self.slot(&result.artifact().slot), Kind::Result),
            VerifiedEntry::Commitment(entry) => (self.slot(&entry.commitment().slot()), Kind::Commitment),
            VerifiedEntry::Check(check) => (self.slot(&check.check().slot()), Kind::Check),
        };
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let id = EntryId(number(self.entries.len()));
        let written = Written { leaf, offset: self.spool.append(bytes)?, length, kind, certificate };
        let says_something = entry.check().is_none_or(|check| check.check().agreement.confirms());
        let counts = says_something && self.counts(slot, &written);
        self.entries.push(written);
        if counts {
            self.add(slot, id, leaf, entry);
        }
        Ok((id, slot))
    }

    fn counts(&self, slot: SlotId, written: &Written) -> bool {
        let held = self.slots[slot.index()].held.iter().map(|id| &self.entries[id.index()]);
        let of_operator = held.filter(|other| other.certificate.operator() == written.certificate.operator());
        written.entered().counts(of_operator.map(Written::entered))
    }

    fn add(&mut self, id: SlotId, entry_id: EntryId, leaf: u64, entry: VerifiedEntry) {
        let slot = &mut self.slots[id.index()];
        let is_first = slot.held.is_empty();
        slot.held.push(entry_id);
        if let Some(entries) = &mut slot.entries {
            entries.add(leaf, entry);
            self.warm.count += usize::from(slot.turn == self.warm.turn);
        } else if is_first {
            let mut entries = Entries::default();
            entries.add(leaf, entry);
            slot.entries = Some(entries);
            self.touch(id);
        }
    }

    /// An entry and its certificate, as they were read.
    pub(super) fn item(&self, id: EntryId) -> io::Result<FeedItem> {
        let written = &self.entries[id.index()];
        Ok(FeedItem { certificate: written.certificate.bytes().to_vec(), envelope: self.spool.read(written)? })
    }

    /// What is known about a slot.
    pub(super) fn entries(&mut self, id: SlotId) -> io::Result<&Entries> {
        if self.slots[id.index()].entries.is_none() {
            self.slots[id.index()].entries = Some(self.read(id)?);
            self.touch(id);
        } else if self.slots[id.index()].turn < self.warm.turn {
            self.touch(id);
        }
        Ok(self.slots[id.index()].entries.as_ref().expect("read above"))
    }

    /// Every slot with a commitment.
    pub(super) fn committed(&self) -> impl Iterator<Item = SlotId> {
        let committed = |slot: &Slot| slot.held.iter().any(|id| self.entries[id.index()].kind == Kind::Commitment);
        (0..).map(SlotId).zip(&self.slots).filter(move |(_, slot)| committed(slot)).map(|(id, _)| id)
    }

    /// Of each slot the operators that have results there.
    pub(super) fn operators(&self) -> impl Iterator<Item = BTreeSet<OperatorId>> {
        let results = |slot: &Slot| slot.held.iter().filter(|id| self.is_result(**id)).map(|id| self.operator(*id)).collect();
        self.slots.iter().map(results)
    }

    /// Every slot with one of these entries by who has results there; with the greatest of what stands beside those entries.
    pub(super) fn slots_with(&self, entries: &HashMap<EntryId, u64>) -> impl Iterator<Item = (&ArtifactSlot, u64)> {
        self.slots.iter().filter_map(|slot| {
            let speaks = |operator| slot.held.iter().any(|id| self.is_result(*id) && self.operator(*id) == operator);
            let beside = slot.held.iter().filter_map(|id| entries.get(id).filter(|_| speaks(self.operator(*id))));
            Some((&*slot.name, *beside.max()?))
        })
    }

    fn is_result(&self, id: EntryId) -> bool {
        self.entries[id.index()].kind == Kind::Result
    }

    /// Who answers for an entry.
    pub(super) fn operator(&self, id: EntryId) -> OperatorId {
        self.entries[id.index()].certificate.operator()
    }

    /// A slot is of this turn. The one that comes when there are enough begins the next; what no turn since the last but one
    /// has asked for is forgotten.
    fn touch(&mut self, id: SlotId) {
        let Warm { max, turn, young, old, count } = &mut self.warm;
        let mut leaving = Vec::new();
        if *count >= *max {
            (*turn, *count) = (*turn + 1, 0);
            leaving = std::mem::replace(old, std::mem::take(young));
        }
        let slot = &mut self.slots[id.index()];
        // Before any is forgotten: this one may be among those.
        slot.turn = *turn;
        *count += 1 + slot.entries.as_ref().map_or(0, Entries::len);
        young.push(id);
        for id in leaving {
            let slot = &mut self.slots[id.index()];
            if slot.turn + 1 < *turn {
                slot.entries = None;
            }
        }
    }

    fn read(&self, slot: SlotId) -> io::Result<Entries> {
        let mut entries = Entries::default();
        for id in &self.slots[slot.index()].held {
            let written = &self.entries[id.index()];
            let entry = VerifiedEntry::verify(&self.spool.read(written)?, &written.certificate).map_err(io::Error::other)?;
            entries.add(written.leaf, entry);
        }
        Ok(entries)
    }
}

impl EntryId {
    const fn index(self) -> usize {
        self.0 as usize
    }
}

impl SlotId {
    const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The next number, of four thousand million.
fn number(count: usize) -> u32 {
    u32::try_from(count).expect("an index of so many entries does not fit into memory")
}

impl Written {
    fn entered(&self) -> Entered<NodeId> {
        Entered { kind: self.kind, node: self.certificate.node(), bytes: self.length as usize }
    }
}

impl Entries {
    /// The results that stand before `size`.
    pub(super) fn results_before(&self, size: u64) -> impl Iterator<Item = &VerifiedStatement> + Clone {
        self.statements[..self.count_before(size)].iter().map(Arc::as_ref)
    }

    /// The results that stand at `size` or behind it.
    pub(super) fn results_since(&self, size: u64) -> impl Iterator<Item = &VerifiedStatement> {
        self.statements[self.count_before(size)..].iter().map(Arc::as_ref)
    }

    fn count_before(&self, size: u64) -> usize {
        self.leaves.partition_point(|leaf| *leaf < size)
    }

    /// The artifacts that there are results of.
    pub(super) fn artifacts(&self) -> BTreeSet<&ArtifactId> {
        self.statements.iter().map(|statement| statement.artifact()).collect()
    }

    /// The results, each with its leaf.
    pub(super) fn results(&self) -> impl Iterator<Item = (u64, &VerifiedStatement)> + Clone {
        self.leaves.iter().copied().zip(self.statements.iter().map(Arc::as_ref))
    }

    /// The commitments that stand before `size`.
    pub(super) fn commitments_before(&self, size: u64) -> Vec<Arc<VerifiedCommitment>> {
        self.commitments.iter().filter(|(leaf, _)| *leaf < size).map(|(_, entry)| Arc::clone(entry)).collect()
    }

    /// The checks that stand before `size`.
    pub(super) fn checks_before(&self, size: u64) -> impl Iterator<Item = &VerifiedCheck> {
        self.checks.iter().filter(move |(leaf, _)| *leaf < size).map(|(_, check)| check.as_ref())
    }

    fn len(&self) -> usize {
        self.statements.len() + self.commitments.len() + self.checks.len()
    }

    fn add(&mut self, leaf: u64, entry: VerifiedEntry) {
        match entry {
            VerifiedEntry::Result(statement) => {
                self.statements.push(statement);
                self.leaves.push(leaf);
            }
            VerifiedEntry::Commitment(commitment) => self.commitments.push((leaf, commitment)),
            VerifiedEntry::Check(check) => self.checks.push((leaf, check)),
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
            let (id, slot) = kept.take(leaf, &item.envelope, Arc::clone(&certificate), entry).unwrap();
            assert_eq!(kept.item(id).unwrap(), item);
            assert_eq!(*kept.name(slot), about.slot);
            slots.push(slot);
        }
        assert!(kept.spool.written > 0);
        for (first, slot) in slots.iter().take(300).enumerate() {
            let want: Vec<_> = [first, first + 300, first + 600].map(|leaf| (leaf as u64, digests[leaf])).to_vec();
            let entries = kept.entries(*slot).unwrap();
            assert_eq!(entries.results().map(|(leaf, result)| (leaf, result.digest())).collect::<Vec<_>>(), want);
            assert_eq!(entries.results_before(first as u64 + 300).count(), 1);
            let warm: usize = kept.slots.iter().filter_map(|slot| slot.entries.as_ref()).map(Entries::len).sum();
            assert!(warm <= 2 * 10 + 2 * 3, "{warm}");
        }
        assert_eq!(kept.operators().map(|operators| operators.len()).sum::<usize>(), 300);
    }

    #[test]
    fn a_slot_that_is_asked_for_as_others_are_forgotten_stays() {
        let mut member = Member::new(1);
        let certificate = Arc::new(VerifiedCertificate::verify(member.certificate(), &[member.operator()].into()).unwrap());
        let mut kept = Kept::with_warm_max(4).unwrap();
        let slots: Vec<_> = (0..7)
            .map(|leaf| {
                let about = artifact("package", &format!("1.{leaf}"), b"file");
                let item = member.says(&about, identical(&about));
                let entry = VerifiedEntry::verify(&item.envelope, &certificate).unwrap();
                kept.take(leaf, &item.envelope, Arc::clone(&certificate), entry).unwrap().1
            })
            .collect();
        // Every pair of slots, in every distance from each other.
        for (first, second) in (0..7).flat_map(|first| (0..7).map(move |second| (first, second))) {
            for at in [first, second, first] {
                let leaves: Vec<_> = kept.entries(slots[at]).unwrap().results().map(|(leaf, _)| leaf).collect();
                assert_eq!(leaves, [at as u64]);
            }
        }
    }
}
