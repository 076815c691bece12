//! The simulator: the real cores of Quorate under a seeded network and clock.
//!
//! A run is a function of its seed. What decides is the code that the daemons run: the door for items and the feed
//! chain (`quorate-proto`), the sync machine and its rate limits (`quorate-gossip`), the tally (`quorate-tally`),
//! trees, checkpoints, witnesses and proofs (`quorate-tlog`), with real keys and signatures. What is modelled is
//! what cannot be simulated: libp2p (gossip is flooding over the connections), disks, and the daemons' shells.
//! `docs/SIMULATOR.md` says which is which, and what follows from it.
//!
//! Reading order: [`random`], [`agenda`], [`network`], [`timing`]; who takes part ([`cast`], [`node`], [`store`],
//! [`frames`]); the log ([`ledger`], [`witness`], [`cosigning`], [`desk`]); what nodes work on ([`work`]) and what is
//! held against them ([`audit`]); the [`world`]; the [`invariants`], and
//! the scenarios that they are held against ([`scenario`]).

pub mod agenda;
pub mod audit;
pub mod cast;
pub mod cosigning;
pub mod desk;
pub mod figures;
pub mod frames;
pub mod invariants;
pub mod ledger;
pub mod network;
pub mod node;
pub mod random;
pub mod regression;
pub mod scenario;
pub mod store;
pub mod timing;
pub mod witness;
pub mod work;
pub mod world;
