//! The tally: a policy and verified results in, a verdict with its reasons out.
//!
//! In scope: reading a [`policy`], how much of what each
//! operator enters counts ([`mod@share`]), deciding who is heard and what each operator's [`ballot`] is, counting
//! them ([`tally_as_of`]), how sure it is that each is its own ([`mod@grade`]), who broke a promise ([`mod@marks`]) or agreed with what is
//! known to be wrong ([`drills`]), what people declare about it ([`declarations`]), who never had a vote of its own
//! ([`record`]), how grave a difference is ([`severity`]) and how surprising for the package ([`mod@history`]), and saying
//! the [`verdict`] as a SLSA
//! verification summary ([`summary`]) or step by step ([`mod@explain`]); who could fool or stall a policy
//! ([`doctor`]). A verdict is a pure function of its arguments: the same for everybody, in any order.
//!
//! Out of scope: a clock (times are arguments), a log, a network, and any trust in whoever collected the
//! results.

pub mod ballot;
mod count;
pub mod declarations;
pub mod doctor;
pub mod drills;
pub mod explain;
mod flags;
pub mod grade;
mod heard;
pub mod history;
pub mod marks;
pub mod policy;
mod quorum;
pub mod record;
mod said;
pub mod severity;
pub mod share;
pub mod summary;
pub mod verdict;

pub use ballot::{Ballot, Vote};
pub use count::{Circumstances, tally, tally_as_of};
pub use declarations::Declarations;
pub use doctor::{Diagnosis, examine};
pub use drills::{Drilled, Drills};
pub use explain::{Explanation, explain};
pub use grade::{Confirmation, Grade};
pub use history::History;
pub use marks::{Mark, MarkKind, marks};
pub use policy::{Attribute, Consequence, Disposition, LogPolicy, Policy, PolicyError};
pub use record::Record;
pub use severity::Severity;
pub use summary::{VerdictSummary, Verifier};
pub use verdict::{Flag, State, Verdict};

/// Name and version of these rules. Part of every verdict: other rules, other name.
pub const ENGINE: &str = "quorate-tally/6";
