//! Tasks: what nodes set out to do, who does it honestly, what their builds leave, and what a node keeps of a result
//! that it holds back.

use std::time::Duration;

use quorate_proto::build_witness::{Intermediate, Intermediates};
use quorate_proto::commitment::{Nonce, Promise};
use quorate_proto::hold::{Sighting, Terms};
use quorate_proto::{ArtifactId, Digest};

use crate::world::Word;

/// How a node comes by its results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trade {
    /// It builds.
    #[default]
    Builder,
    /// It builds nothing, and says what the first result that it sees says, its build witness as well.
    Parrot,
    /// It builds nothing, commits to agreement with the registry, and guesses at what a build leaves.
    Agreeable,
    /// It builds nothing, commits to agreement, and reveals only if the first result that it sees agrees.
    Gambler,
    /// It builds, and commits to something else than what came out.
    Falsifier,
}

impl Trade {
    /// Whether nothing may ever be held against it.
    pub fn is_honest(self) -> bool {
        self == Self::Builder
    }

    /// How many of the files that a build leaves it has.
    fn files(self) -> u8 {
        match self {
            Self::Builder | Self::Falsifier => FILES,
            Self::Agreeable | Self::Gambler => FILES_GUESSED,
            Self::Parrot => 0,
        }
    }
}

/// A task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Names the artifact.
    pub number: u32,
    /// What comes out for who builds.
    pub truth: Word,
    /// Whether it was announced with a digest that is known to be wrong.
    pub kind: Kind,
    /// What two builds of it have in common.
    pub leaves: Leaves,
}

/// What a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A release like any.
    Release,
    /// A drill.
    Drill,
}

/// What honest builds of a task leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// The same files, but for one that carries the time.
    Alike,
    /// No file that another build leaves.
    Unlike,
}

/// Files that a build leaves, and those among them that are easily guessed.
const FILES: u8 = 40;
const FILES_GUESSED: u8 = 2;

impl Job {
    /// What a node of this trade has of what builds leave, if it has anything.
    pub fn left(&self, node: usize, trade: Trade) -> Option<Intermediates> {
        let of_its_own = |n: u8| self.leaves == Leaves::Unlike || n + 1 == FILES;
        let file = |n: u8| {
            let by = if of_its_own(n) { node } else { usize::MAX };
            Intermediate::of(&[n], &Digest::of(format!("{} {n} {by}", self.number).as_bytes()))
        };
        Intermediates::new((0..trade.files()).map(file)).ok()
    }
}

/// A result that is held back: durable before its commitment is signed.
#[derive(Clone, Debug)]
pub struct Hold {
    /// What came out.
    pub word: Word,
    /// What hides it.
    pub nonce: Nonce,
    /// What was promised.
    pub promise: Promise,
    /// Where the commitment stands.
    pub sequence: u64,
    /// What was seen so far.
    pub sighting: Sighting,
}

/// The terms on which nodes hold back, as `node/src/config.rs` has them: commitments of a threshold's other
/// operators, ten minutes, and two seconds to settle.
pub fn terms(threshold: usize) -> Terms {
    let enough = u32::try_from(threshold.saturating_sub(1)).unwrap_or(u32::MAX);
    Terms { enough, hold: Duration::from_mins(10), settle: Duration::from_secs(2) }
}

/// What hides a node's result of a task.
pub fn nonce(seed: u64, node: usize, artifact: &ArtifactId) -> Nonce {
    Nonce::from_bytes(*Digest::of(format!("{seed} {node} {}", artifact.slot.file).as_bytes()).as_bytes())
}
