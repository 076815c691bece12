//! The vocabulary of Quorate: what two strangers must compute identically.
//!
//! In scope: identifiers, signed statements, the feed chain, and the one conversion to and from
//! protobuf. Reading order: [`digest`], [`purl`], [`pattern`], [`artifact`], [`task`], [`key`], [`time`], then
//! [`dsse`] and [`statement`], the predicates ([`comparison`], [`result`], [`commitment`], [`provenance`],
//! [`build_witness`], [`witness_check`], [`certificate`], [`drill`], [`declaration`]), [`feed`], the door [`verified`] and [`entry`], when a node may
//! reveal ([`hold`]) and what it checks ([`claims`]), [`wire`], and the export [`link`].
//!
//! Out of scope: files, sockets, clocks, randomness. Times and seeds come in as arguments.

pub mod artifact;
mod base64;
pub mod build_witness;
pub mod bundle;
pub mod certificate;
pub mod claims;
pub mod commitment;
pub mod comparison;
pub mod declaration;
pub mod digest;
pub mod drill;
pub mod dsse;
pub mod entry;
pub mod feed;
pub mod hold;
pub mod key;
pub mod link;
pub mod pattern;
pub mod provenance;
pub mod purl;
pub mod result;
pub mod statement;
pub mod task;
mod text;
pub mod time;
pub mod verified;
pub mod wire;
pub mod witness_check;

/// Generated protobuf messages. Only [`wire`] and the edges that carry them look inside.
#[allow(missing_docs, clippy::pedantic, reason = "generated code")]
pub mod api {
    include!(concat!(env!("OUT_DIR"), "/quorate.v1.rs"));
}

pub use artifact::{ArtifactId, ArtifactSlot, FileName};
pub use digest::{Digest, NormalDigest};
pub use key::{NodeId, OperatorId, SecretKey, SignerId};
pub use pattern::PurlPattern;
pub use purl::Purl;
pub use task::TaskId;
pub use time::Timestamp;
