//! Drills as a log shows them: which are announced, which are opened, and which of those show anything.
//!
//! An opening shows something only if its announcement stands before it, and before every result about its artifact:
//! else whoever keeps the log could have chosen the artifact by what was voted. Such an opening is *void*: nobody is
//! marked for it, and it is no excuse for what a verdict says. `docs/spec/drill.md`.

use std::collections::{BTreeMap, BTreeSet};

use quorate_proto::drill::{Drill, VerifiedDrill};
use quorate_proto::result::Outcome;
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{ArtifactId, ArtifactSlot, Digest};

use crate::marks::{Mark, MarkKind};

/// All drills of a log, up to some size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drills {
    announced: BTreeMap<Digest, Place>,
    opened: BTreeMap<ArtifactSlot, Vec<Opened>>,
    spent: BTreeSet<Digest>,
}

/// Where a statement stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its leaf.
    pub leaf: u64,
    /// SHA-256 of its envelope.
    pub envelope: Digest,
}

/// A drill that was opened, whatever that shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What it was on.
    pub artifact: ArtifactId,
    /// What is wrong with it, in the words of the log's operator.
    pub reason: String,
    /// What binds the opening to its announcement.
    pub commitment: Digest,
    /// The announcement, if it stands before the opening.
    pub announcement: Option<Place>,
    /// The opening.
    pub opening: Place,
}

/// An artifact that a drill has shown to be wrong before anybody had voted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drilled {
    /// Which.
    pub artifact: ArtifactId,
    /// The envelope of the announcement.
    pub announcement: Digest,
    /// The envelope of the opening.
    pub opening: Digest,
}

/// Why an opening shows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Void {
    /// No announcement of it stands before it.
    #[error("it was not announced")]
    Unannounced,
    /// A result about the artifact stands before the announcement.
    #[error("a result about it, entry {0}, stands before the announcement")]
    Late(u64),
}

impl Drills {
    /// Takes up the statement at `leaf`. Leaves come in the order of the log; of several announcements or openings of
    /// one commitment the first counts. The slot whose verdicts and marks may change by it.
    pub fn take(&mut self, leaf: u64, drill: &VerifiedDrill) -> Option<ArtifactSlot> {
        let (place, commitment) = (Place { leaf, envelope: drill.digest() }, drill.drill().commitment());
        let opening = match drill.drill() {
            Drill::Announced(_) => {
                self.announced.entry(commitment).or_insert(place);
                return None;
            }
            Drill::Opened(opening) => opening,
        };
        if !self.spent.insert(commitment) {
            return None;
        }
        let (artifact, reason) = (opening.artifact(), opening.reason.clone());
        let slot = artifact.slot.clone();
        let opened = Opened { artifact, reason, commitment, announcement: self.announced(&commitment), opening: place };
        self.opened.entry(slot.clone()).or_default().push(opened);
        Some(slot)
    }

    /// Where a commitment was announced.
    pub fn announced(&self, commitment: &Digest) -> Option<Place> {
        self.announced.get(commitment).copied()
    }

    /// The opening of a commitment. Complexity: O(n) in the number of openings.
    pub fn opened_as(&self, commitment: &Digest) -> Option<&Opened> {
        self.opened().find(|opened| opened.commitment == *commitment)
    }

    /// Announcements that no opening has followed, in no order.
    pub fn hidden(&self) -> impl Iterator<Item = (Digest, Place)> {
        self.announced.iter().filter(|(commitment, _)| !self.spent.contains(*commitment)).map(|(commitment, place)| (*commitment, *place))
    }

    /// All that were opened, by slot.
    pub fn opened(&self) -> impl Iterator<Item = &Opened> {
        self.opened.values().flatten()
    }

    /// What was opened before a size of the log about artifacts in `slot`, and shows something. `results` are those
    /// about the slot, each with its leaf.
    pub fn shown<'s>(
        &self,
        slot: &ArtifactSlot,
        size: u64,
        results: &(impl Iterator<Item = (u64, &'s VerifiedStatement)> + Clone),
    ) -> Vec<Drilled> {
        let opened = self.opened.get(slot).map_or(&[][..], Vec::as_slice).iter().filter(|opened| opened.opening.leaf < size);
        opened.filter_map(|opened| opened.shows(results.clone()).ok()).collect()
    }
}

impl Opened {
    /// What it shows. `results` are those about the slot, each with its leaf.
    pub fn shows<'s>(&self, results: impl Iterator<Item = (u64, &'s VerifiedStatement)>) -> Result<Drilled, Void> {
        let announcement = self.announcement.ok_or(Void::Unannounced)?;
        let about = results.filter(|(_, result)| *result.artifact() == self.artifact);
        let first = about.map(|(leaf, _)| leaf).min();
        if let Some(first) = first.filter(|first| *first < announcement.leaf) {
            return Err(Void::Late(first));
        }
        Ok(Drilled { artifact: self.artifact.clone(), announcement: announcement.envelope, opening: self.opening.envelope })
    }
}

impl Drilled {
    /// Those of `results` that agree with what is known to be wrong.
    pub(crate) fn marks<'s>(&self, results: impl Iterator<Item = &'s VerifiedStatement>) -> impl Iterator<Item = Mark> {
        let agrees = |result: &&VerifiedStatement| {
            let agreement = matches!(result.result().outcome, Outcome::Identical { .. } | Outcome::Equivalent { .. });
            agreement && *result.artifact() == self.artifact
        };
        results.filter(agrees).map(|result| Mark {
            operator: result.operator(),
            node: result.node(),
            kind: MarkKind::Drill,
            shown_by: vec![self.announcement, self.opening, result.digest()],
        })
    }
}
