//! The real binary against real statements: five operators with real keys, a real log, and a
//! coordinator that can be made to lie in every way that this file could think of.

mod affected;
mod bundles;
mod compare;
mod declarations;
mod drills;
mod due;
mod explain;
mod history;
mod monitor;
mod policy;
mod terminal;
mod verify;
mod web;
mod world;
