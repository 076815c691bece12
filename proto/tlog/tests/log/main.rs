//! The log's core against a naive model, against other people's code, and as golden vectors.
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::cast_possible_truncation, reason = "test trees fit any usize")]

mod differential;
mod model;
mod oracles;
mod parsers;
mod properties;
mod vectors;
