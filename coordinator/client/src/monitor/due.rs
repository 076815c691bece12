//! Which verdicts are due although no result came: what an occasion that is ripe changes, or the end of a vouch, and no verdict
//! says.
//!
//! Of each occasion all verdicts are looked through once; after that only those that are found due, until they come.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;

use quorate_proto::{ArtifactId, Digest, Timestamp};

use super::audit::{Feeds, Verdicts};
use super::course::Last;
use super::kept::{Kept, SlotId};
use super::occasion::Occasions;
use super::recompute::{Asked, Grounds};

/// What may change verdicts, and those that it does.
#[derive(Default)]
pub(super) struct Stirred {
    pub(super) occasions: Occasions,
    /// Files with the last occasion that is about them.
    ignored: BTreeMap<(SlotId, Digest), u64>,
    /// Files with the end of a vouch for them.
    outlived: BTreeMap<(SlotId, Digest), Timestamp>,
}

/// What was read of a log.
pub(super) struct Read<'a> {
    pub(super) kept: &'a mut Kept,
    pub(super) grounds: &'a Grounds,
    pub(super) verdicts: &'a Verdicts,
    pub(super) feeds: &'a Feeds,
}

impl Stirred {
    /// The artifacts on which a verdict is due. Those without one wait for it anyway.
    pub(super) fn due(&mut self, read: &mut Read<'_>, now: Timestamp) -> io::Result<BTreeSet<ArtifactId>> {
        self.stir(read, now);
        let asked = self.asked(now);
        let (mut due, mut ignored, mut outlived) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        for (file, occasion) in &self.ignored {
            if let Some(last) = read.verdicts.get(file).filter(|last| last.size <= *occasion) {
                let artifact = read.artifact(*file);
                if read.grounds.ignores(read.kept.entries(file.0)?, &artifact, last, asked) {
                    ignored.insert(*file, *occasion);
                    due.insert(artifact);
                }
            }
        }
        for (file, ended) in &self.outlived {
            if let Some(last) = read.verdicts.get(file).filter(|last| last.as_of.is_some_and(|as_of| as_of <= *ended)) {
                let artifact = read.artifact(*file);
                if read.grounds.outlives(read.kept.entries(file.0)?, &artifact, last, *ended, asked) {
                    outlived.insert(*file, *ended);
                    due.insert(artifact);
                }
            }
        }
        (self.ignored, self.outlived) = (ignored, outlived);
        Ok(due)
    }

    /// When it is asked.
    pub(super) fn asked(&self, now: Timestamp) -> Asked {
        Asked { now, unripe_from: self.occasions.unripe_from() }
    }

    /// Looks for the artifacts that what is ripe by now is about, and the last verdicts on which do not consider it.
    fn stir(&mut self, read: &Read<'_>, now: Timestamp) {
        let (mut ripe, ended) = (self.occasions.ripe(now), self.occasions.ended(now));
        if ripe.is_about_entries() {
            let places = read.feeds.iter().flat_map(|(node, feed)| feed.iter().map(|(sequence, held)| ((*node, *sequence), held)));
            let concerned: HashMap<_, u64> = places
                .filter_map(|(place, held)| Some((held.entry, ripe.last_on_entry(read.kept.operator(held.entry), place, &held.digest)?)))
                .collect();
            for (slot, occasion) in read.kept.slots_with(&concerned) {
                ripe.concern(slot.clone(), occasion);
            }
        }
        if !ripe.is_empty() {
            let stirs = |(file, last): (&(SlotId, Digest), &Last)| {
                let occasion = ripe.last_on(read.kept.name(file.0), &file.1)?;
                (last.size <= occasion).then_some((*file, occasion))
            };
            self.ignored.extend(read.verdicts.iter().filter_map(stirs));
        }
        if !ended.is_empty() {
            let ended = |file: &(SlotId, Digest)| Some((*file, *ended.get(&file.1)?));
            self.outlived.extend(read.verdicts.keys().filter_map(ended));
        }
    }
}

impl Read<'_> {
    fn artifact(&self, (slot, digest): (SlotId, Digest)) -> ArtifactId {
        ArtifactId { slot: self.kept.name(slot).clone(), digest }
    }
}
