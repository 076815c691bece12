//! What the log's verdicts say of each package, in its order.
//!
//! Of each file the last verdict before a size of the log is the one in force at it. What these come to is
//! [`History`]'s to say.

use std::collections::{HashMap, HashSet};

use quorate_proto::Digest;
use quorate_tally::history::{Past, package};
use quorate_tally::{History, Verdict};

use super::kept::SlotId;

/// All verdicts, by package, in the order of the log.
#[derive(Default)]
pub(super) struct Packages(HashMap<Digest, Vec<Said>>);

/// Where a verdict stands, on which file, and what it says.
type Said = (u64, (SlotId, Digest), Past);

impl Packages {
    /// Takes up the verdict at `leaf`, which stands behind all that were taken up.
    pub(super) fn take(&mut self, leaf: u64, slot: SlotId, verdict: &Verdict) {
        let said = (leaf, (slot, verdict.artifact.digest), Past::of(verdict));
        self.0.entry(package(&verdict.artifact.slot.package)).or_default().push(said);
    }

    /// The history beside `verdict`, from what stands before `size`.
    pub(super) fn history(&self, verdict: &Verdict, size: u64) -> History {
        let said = self.0.get(&package(&verdict.artifact.slot.package)).map_or(&[][..], Vec::as_slice);
        let before = &said[..said.partition_point(|(leaf, ..)| *leaf < size)];
        let mut seen = HashSet::new();
        History::of(verdict, before.iter().rev().filter(|(_, file, _)| seen.insert(file)).map(|(.., past)| *past))
    }
}
