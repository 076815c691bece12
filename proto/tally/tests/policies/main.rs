//! Policies in all their forms: what they ask for, what always holds, and who can fool or stall them.
#![expect(clippy::unwrap_used, reason = "tests")]

mod doctor;
mod fixture;
mod properties;
mod rules;
