//! The transparency log's core: what anybody must compute identically to append to the log, to
//! serve it, or to check what it serves.
//!
//! In scope: RFC 6962 tree hashes, C2SP tlog-tiles, signed-note (Ed25519, type `0x01`),
//! tlog-checkpoint and tlog-proof; the rules that join them are written down in
//! `docs/spec/log.md`.
//!
//! Out of scope: files, sockets, clocks, key storage, *when* a checkpoint is signed or published
//! (the coordinator's log), what an entry means (`quorate-proto`), cosignatures of witnesses
//! (unknown signatures are kept and ignored here).
//!
//! Read in this order: [`hash`], [`tile`], [`merkle`], [`tree`], [`bundle`], [`note`],
//! [`checkpoint`], [`proof`].

pub mod hash;
pub mod tile;

pub mod merkle;
pub mod tree;

pub mod bundle;

pub mod note;

pub mod checkpoint;

pub mod proof;

mod base64;
mod decimal;

pub use bundle::{Entry, EntryBundle};
pub use checkpoint::{Checkpoint, Origin};
pub use hash::{Hash, leaf_hash, node_hash};
pub use merkle::{ConsistencyProof, InclusionProof, TreeHead, TreeView};
pub use note::{KeyName, SignedNote, Signer, VerifierKey};
pub use proof::TlogProof;
pub use tile::{BundlePath, MemoryTiles, TilePath, TileReader, TileWidth};
pub use tree::{Appended, TileWrite, Tree};
