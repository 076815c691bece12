//! Seeds that once failed: `tests/sim/seeds/failed.txt`, one a line, replayed by a test for good.
//!
//! A line is `<scenario> <seed> <nodes>`, and `#` begins a comment that says what was wrong.

use std::fmt;
use std::str::FromStr;

use crate::scenario::{Report, Scenario};

/// One run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// What is played.
    pub scenario: Scenario,
    /// From what.
    pub seed: u64,
    /// How large.
    pub nodes: usize,
}

/// A line that is no run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MalformedRun(String);

impl Run {
    /// Plays it.
    pub fn play(self) -> Report {
        self.scenario.play(self.seed, self.nodes)
    }

    /// The command that repeats it.
    pub fn command(self) -> String {
        let Self { scenario, seed, nodes } = self;
        format!("cargo run --release -p quorate-sim -- {scenario} --first {seed} --seeds 1 --nodes {nodes}")
    }
}

/// The runs of a list.
pub fn parse(list: &str) -> Result<Vec<Run>, MalformedRun> {
    let lines = list.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(str::parse).collect()
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.scenario, self.seed, self.nodes)
    }
}

impl FromStr for Run {
    type Err = MalformedRun;

    fn from_str(line: &str) -> Result<Self, MalformedRun> {
        let malformed = || MalformedRun(line.to_owned());
        let [scenario, seed, nodes] = line.split_whitespace().collect::<Vec<_>>()[..] else { return Err(malformed()) };
        Ok(Self {
            scenario: scenario.parse().map_err(|_| malformed())?,
            seed: seed.parse().map_err(|_| malformed())?,
            nodes: nodes.parse().map_err(|_| malformed())?,
        })
    }
}

impl fmt::Display for MalformedRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no run: expected `<scenario> <seed> <nodes>`", self.0)
    }
}

impl std::error::Error for MalformedRun {}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_run_is_written_as_it_is_read() {
        let run = Run { scenario: Scenario::Storm, seed: 7, nodes: 24 };
        assert_eq!(parse(&format!("# kept\n\n{run} # why\n")).unwrap(), [run]);
        assert!(parse("storm 7").is_err());
        assert!(parse("calm 7 24").is_err());
    }
}
