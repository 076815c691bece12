//! What is played, and what must hold at the end.

mod crowd;
mod flood;
mod halves;
mod joiner;
mod parrots;
mod speed;
mod storm;
mod views;

use std::fmt;
use std::str::FromStr;

use crate::figures::Figures;
use crate::invariants::Broken;

/// A plot with its promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    /// Everything at once: every kind of node, a bad network, restarts, a split, wrong clocks.
    Storm,
    /// The ordinary network: how long entries take to everybody, and verdicts to their quorum.
    Speed,
    /// Many nodes in one run.
    Crowd,
    /// Two halves, each with another history of one node.
    Halves,
    /// Spammers.
    Flood,
    /// One that comes when all has been said.
    Joiner,
    /// A coordinator with one key and two trees.
    Views,
    /// Two hundred tasks, and some who build nothing.
    Parrots,
}

/// How a run went.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What does not hold.
    pub broken: Vec<Broken>,
    /// What was measured.
    pub figures: Figures,
}

/// A name that is no scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownScenario(String);

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 8] = [Self::Storm, Self::Speed, Self::Crowd, Self::Halves, Self::Flood, Self::Joiner, Self::Views, Self::Parrots];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Storm => "storm",
            Self::Speed => "speed",
            Self::Crowd => "crowd",
            Self::Halves => "halves",
            Self::Flood => "flood",
            Self::Joiner => "joiner",
            Self::Views => "views",
            Self::Parrots => "parrots",
        }
    }

    /// How many nodes it is played with where nobody says; witnesses for [`Self::Views`], thousands of results for
    /// [`Self::Joiner`].
    pub fn nodes(self) -> usize {
        match self {
            Self::Storm => 24,
            Self::Speed => 200,
            Self::Crowd => 1000,
            Self::Halves => 40,
            Self::Flood => 30,
            Self::Joiner | Self::Parrots => 20,
            Self::Views => 7,
        }
    }

    /// Plays it once.
    pub fn play(self, seed: u64, nodes: usize) -> Report {
        match self {
            Self::Storm => storm::play(seed, nodes),
            Self::Speed => speed::play(seed, nodes),
            Self::Crowd => crowd::play(seed, nodes),
            Self::Halves => halves::play(seed, nodes),
            Self::Flood => flood::play(seed, nodes),
            Self::Joiner => joiner::play(seed, nodes),
            Self::Views => views::play(seed, nodes),
            Self::Parrots => parrots::play(seed, nodes),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scenario {
    type Err = UnknownScenario;

    fn from_str(name: &str) -> Result<Self, UnknownScenario> {
        Self::ALL.into_iter().find(|scenario| scenario.name() == name).ok_or_else(|| UnknownScenario(name.to_owned()))
    }
}

impl fmt::Display for UnknownScenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<_> = Scenario::ALL.into_iter().map(Scenario::name).collect();
        write!(f, "`{}` is no scenario; there are {}", self.0, known.join(", "))
    }
}

impl std::error::Error for UnknownScenario {}
