//! The tally and its policies: what votes come to, what policies ask for, what always holds, and who can
//! fool or stall them.
#![expect(clippy::unwrap_used, reason = "tests")]

mod declarations;
mod doctor;
mod drills;
mod fixture;
mod grades;
mod history;
mod marks;
mod properties;
mod rules;
mod shares;
mod votes;
