//! The mesh: gossip for speed, feed sync for completeness.
//!
//! Implements `docs/spec/mesh.md`. In scope: the libp2p swarm behind a cheap handle ([`Mesh`]), the
//! pure machine that decides what to ask whom ([`sync`]), limits per peer, counters by reason.
//!
//! Out of scope: what an item means and where it is kept. That is a [`FeedStore`]: the node's files
//! and the coordinator's store are the two.
//!
//! Reading order: [`store`], [`sync`], then `limit`, `dial`, `codec`, `behaviour`, `ingest`, `actor`,
//! and the handle [`mesh`].

pub mod counters;
pub mod mesh;
pub mod store;
pub mod sync;

mod actor;
mod behaviour;
mod codec;
mod dial;
mod ingest;
mod limit;

pub use counters::Counters;
pub use libp2p::{Multiaddr, PeerId};
pub use mesh::{Mesh, MeshConfig, MeshError, peer_id_of};
pub use store::{Accepted, FeedStore};
