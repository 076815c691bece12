//! The mesh from outside: real swarms on loopback. The sync machine under a seeded network is played in `tests/sim`.
#![expect(clippy::unwrap_used, reason = "tests")]

mod author;
mod bad_input;
mod economy;
mod memory;
mod neighbours;
mod notices;
mod proxy;
mod relays;
mod routing;
mod slow_reader;
mod swarms;
