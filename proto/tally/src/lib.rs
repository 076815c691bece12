//! The tally: a policy and verified results in, a verdict with its reasons out.
//!
//! In scope: reading a [`policy`], deciding what each operator's [`ballot`] is, counting them
//! ([`tally`]), and saying the [`verdict`] as a SLSA verification summary ([`summary`]).
//! A verdict is a pure function of its arguments: the same for everybody, in any order.
//!
//! Out of scope: a clock, a log, a network, and any trust in whoever collected the results.

pub mod ballot;
mod count;
pub mod policy;
pub mod summary;
pub mod verdict;

pub use ballot::{Ballot, Vote};
pub use count::tally;
pub use policy::{Disposition, LogPolicy, Policy, PolicyError};
pub use summary::{VerdictSummary, Verifier};
pub use verdict::{Flag, State, Verdict};

/// Name and version of these rules. Part of every verdict: other rules, other name.
pub const ENGINE: &str = "quorate-tally/1";
