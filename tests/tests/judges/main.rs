//! What strangers' programs say of our log: they accept what we serve and refuse what we break.
//!
//! Reading order: [`bench`] (which judges there are, and how they are asked), [`golden`] (a log of 70,000 entries and
//! its mutants), [`log`] and [`statements`] (the judges' verdicts on them), [`programs`] and [`network`] (real coordinator,
//! real nodes), [`witnesses`] (theirs and ours, and a kill in the middle), [`watchers`] (bundles, monitors, mirrors), [`checks`] (who bears out whose build).
//!
//! A judge that is not there and cannot be installed is named with `SKIPPED`. `tests/judges/setup` installs them.
#![expect(clippy::unwrap_used, reason = "tests")]

mod bench;
mod checks;
mod golden;
mod log;
mod network;
mod programs;
mod statements;
mod watchers;
mod witnesses;
