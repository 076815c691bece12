//! `quorate policy doctor`, `quorate policy check` and `quorate policy tlog`: what a policy is worth, how it comes to a verdict,
//! and whose log it believes, for other people's tools.

pub(crate) mod check;
pub(crate) mod doctor;
pub(crate) mod tlog;
