//! The mesh: gossip for speed, feed sync for completeness.
//!
//! Implements `docs/spec/mesh.md`. In scope: the libp2p swarm behind a cheap handle ([`Mesh`]), the
//! pure machine that decides what to ask whom ([`sync`]), which files have their turn ([`wanted`]), the peers that are known ([`book`]) with what they say of
//! where they are ([`record`]) and what they did wrong ([`penalty`]), limits per peer, operator and address,
//! counters by reason.
//!
//! Out of scope: what an item means and where it is kept. That is a [`FeedStore`]: the node's files
//! and the coordinator's store are the two.
//!
//! Reading order: [`store`], [`wanted`], [`sync`], [`record`], [`penalty`], [`book`], then `limit`, `gate`, `dial`, `circuits`, `codec`,
//! `topics`, `behaviour`, `standing`, `ingest`, `actor`, what the mesh shows of itself ([`snapshot`]), and the handle [`mesh`].

pub mod book;
pub mod counters;
pub mod limit;
pub mod mesh;
pub mod penalty;
pub mod record;
pub mod snapshot;
pub mod store;
pub mod sync;
pub mod wanted;

mod actor;
mod behaviour;
mod circuits;
mod codec;
mod dial;
mod gate;
mod ingest;
mod standing;
mod topics;

pub use counters::Counters;
pub use libp2p::{Multiaddr, PeerId};
pub use mesh::{LimitedAddresses, Mesh, MeshConfig, MeshError, Reach, peer_id_of};
pub use snapshot::Snapshot;
pub use store::{Accepted, FeedStore};
