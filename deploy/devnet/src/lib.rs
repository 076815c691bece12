//! What the devnet and tests of whole networks share: running the programs of this project.

pub mod process;
