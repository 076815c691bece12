//! Which verdicts are due although no result came: what an occasion that is ripe changes, or the end of a vouch, and no verdict
//! says.
//!
//! Of each occasion all verdicts are looked through once; after that only those that are found due, until they come.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;

use quorate_proto::{ArtifactId, NodeId, Timestamp};

use super::audit::Place;
use super::course::Last;
use super::kept::Kept;
use super::occasion::Occasions;
use super::recompute::{Asked, Grounds};

/// What may change verdicts, and those that it does.
#[derive(Default)]
pub(super) struct Stirred {
    pub(super) occasions: Occasions,
    /// Artifacts with the last occasion that is about them.
    ignored: BTreeMap<ArtifactId, u64>,
    /// Artifacts with the end of a vouch for them.
    outlived: BTreeMap<ArtifactId, Timestamp>,
}

/// What was read of a log.
pub(super) struct Read<'a> {
    pub(super) kept: &'a mut Kept,
    pub(super) grounds: &'a Grounds,
    pub(super) verdicts: &'a HashMap<ArtifactId, Last>,
    pub(super) places: &'a BTreeMap<(NodeId, u64), Place>,
}

impl Stirred {
    /// The artifacts on which a verdict is due. Those without one wait for it anyway.
    pub(super) fn due(&mut self, read: &mut Read<'_>, now: Timestamp) -> io::Result<BTreeSet<ArtifactId>> {
        self.stir(read, now);
        let asked = self.asked(now);
        let (mut ignored, mut outlived) = (BTreeMap::new(), BTreeMap::new());
        for (artifact, occasion) in &self.ignored {
            if let Some(last) = read.verdicts.get(artifact).filter(|last| last.size <= *occasion)
                && read.grounds.ignores(read.kept.entries(&artifact.slot)?, artifact, last, asked)
            {
                ignored.insert(artifact.clone(), *occasion);
            }
        }
        for (artifact, ended) in &self.outlived {
            if let Some(last) = read.verdicts.get(artifact).filter(|last| last.as_of.is_some_and(|as_of| as_of <= *ended))
                && read.grounds.outlives(read.kept.entries(&artifact.slot)?, artifact, last, *ended, asked)
            {
                outlived.insert(artifact.clone(), *ended);
            }
        }
        (self.ignored, self.outlived) = (ignored, outlived);
        Ok(self.ignored.keys().chain(self.outlived.keys()).cloned().collect())
    }

    /// When it is asked.
    pub(super) fn asked(&self, now: Timestamp) -> Asked {
        Asked { now, unripe_from: self.occasions.unripe_from() }
    }

    /// Looks for the artifacts that what is ripe by now is about, and the last verdicts on which do not consider it.
    fn stir(&mut self, read: &Read<'_>, now: Timestamp) {
        let (mut ripe, ended) = (self.occasions.ripe(now), self.occasions.ended(now));
        if ripe.is_about_entries() {
            let occasion_of = |(place, held): (&(NodeId, u64), &Place)| {
                let occasion = ripe.last_on_entry(held.written.operator(), *place, &held.digest)?;
                Some((held.written.leaf(), occasion))
            };
            let concerned: HashMap<u64, u64> = read.places.iter().filter_map(occasion_of).collect();
            for (slot, occasion) in read.kept.slots_with(&concerned) {
                ripe.concern(slot.clone(), occasion);
            }
        }
        if !ripe.is_empty() {
            let stirs = |last: &Last, artifact| ripe.last_on(artifact).filter(|occasion| last.size <= *occasion);
            self.ignored.extend(read.verdicts.iter().filter_map(|(artifact, last)| Some((artifact.clone(), stirs(last, artifact)?))));
        }
        if !ended.is_empty() {
            let ended = |artifact: &ArtifactId| Some((artifact.clone(), *ended.get(&artifact.digest)?));
            self.outlived.extend(read.verdicts.keys().filter_map(ended));
        }
    }
}
