//! The mesh from outside: the sync machine under a seeded simulator, and real swarms on loopback.
#![expect(clippy::unwrap_used, reason = "tests")]

mod author;
mod bad_input;
mod economy;
mod memory;
mod neighbours;
mod notices;
mod proxy;
mod relays;
mod simulator;
mod slow_reader;
mod swarms;
