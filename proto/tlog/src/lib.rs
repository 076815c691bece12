//! The transparency log's core: what anybody must compute identically to append to the log, to
//! serve it, or to check what it serves.
//!
//! In scope: RFC 6962 tree hashes, C2SP tlog-tiles, signed-note (Ed25519, type `0x01`),
//! tlog-checkpoint, tlog-proof, tlog-cosignature (Ed25519, type `0x04`), tlog-policy, what a
//! tlog-witness decides, what a listener makes of checkpoints that it hears of, and the proof that a log has
//! shown two views; the rules that join them are
//! written down in `docs/spec/log.md` and `docs/spec/witness.md`.
//!
//! Out of scope: files, sockets, clocks, key storage, *when* a checkpoint is signed or published
//! (the coordinator's log), what an entry means (`quorate-proto`).
//!
//! Read in this order: [`hash`], [`tile`], [`merkle`], [`tree`], [`bundle`], [`note`],
//! [`checkpoint`], [`proof`], [`cosignature`], [`policy`], [`witness`], [`equivocation`],
//! [`views`].

pub mod hash;
pub mod tile;

pub mod merkle;
pub mod tree;

pub mod bundle;

pub mod note;

pub mod checkpoint;

pub mod proof;

pub mod cosignature;
pub mod policy;

pub mod equivocation;
pub mod views;
pub mod witness;

mod base64;
mod decimal;

pub use bundle::{Entry, EntryBundle};
pub use checkpoint::{Checkpoint, Origin};
pub use cosignature::{Cosignature, Cosigner, CosignerKey};
pub use equivocation::LogEquivocation;
pub use hash::{Hash, leaf_hash, node_hash};
pub use merkle::{ConsistencyProof, InclusionProof, TreeHead, TreeView};
pub use note::{KeyName, NoteSignature, SignedNote, Signer, VerifierKey};
pub use policy::TlogPolicy;
pub use proof::TlogProof;
pub use tile::{BundlePath, MemoryTiles, TilePath, TileReader, TileWidth};
pub use tree::{Appended, TileWrite, Tree};
pub use views::Views;
pub use witness::{AddCheckpoint, Witness};
