//! What the devnet and tests of whole networks share: running the programs of this project ([`process`]), an operator
//! with its node ([`member`]), outcomes that nobody built ([`stage`]).

pub mod member;
pub mod process;
pub mod stage;
