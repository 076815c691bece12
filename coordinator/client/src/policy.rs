//! `quorate policy doctor` and `quorate policy check`: what a policy is worth, and how it comes to a verdict.

pub(crate) mod check;
pub(crate) mod doctor;
