//! The node: rebuilds published packages in a sandbox, compares, and signs what came out.
//!
//! One direction: [`registry`] → [`release`] → [`resolve`] → [`plan`] → [`fetch`] → [`rebuild`] →
//! [`mod@compare`] → [`attest`]. [`pipeline`] alone sees them all. Each stage hands one immutable value
//! to the next and calls none before it; retries belong to the queue. Under each stage stands one file an
//! ecosystem, and [`ecosystem`] ties those of one together.
//!
//! Around it stands the daemon: [`mod@watch`] → [`queue`] → pipeline → [`feed`] → the mesh and [`submit`]; [`daemon`] ties
//! them together as [`config`] says, with the [`key`] of the node and evidence in [`blob`]. What builds leave in their
//! workspaces is kept by [`intermediates`]: others' build witnesses are held against it. Beside them the node is a
//! [`witness`] of logs, and keeps what [`logs`] show of themselves to others; [`mod@mesh`] is what peers see of it all.

pub mod attest;
pub mod blob;
pub mod cache;
pub mod compare;
pub mod config;
pub mod daemon;
pub mod definition;
pub mod doctor;
mod durable;
pub mod ecosystem;
pub mod environment;
pub mod feed;
pub mod fetch;
pub mod intermediates;
pub mod key;
pub mod logs;
pub mod mesh;
pub mod pipeline;
pub mod plan;
pub mod proxy;
pub mod queue;
pub mod rebuild;
pub mod registry;
pub mod release;
pub mod resolve;
pub mod sandbox;
pub mod source;
pub mod submit;
pub mod toolchain;
pub mod traffic;
pub mod watch;
pub mod witness;
pub mod workshop;
