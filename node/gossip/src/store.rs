//! What the mesh asks of whoever keeps the feeds.

use std::future::Future;

use quorate_proto::verified::FeedItem;
use quorate_proto::{Digest, NodeId};

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// Verified, it fitted, and it is durable.
    New,
    /// It was held already.
    Duplicate,
    /// Verified, but entries before it are missing. Nothing changed.
    Gap {
        /// The sequence number that would fit.
        expected: u64,
    },
    /// Verified, but its node has signed something else at this place. The proof is new, and durable;
    /// the feed itself did not change.
    Equivocation,
    /// It does not count, for the named reason: one of `RejectError::name()`, or one of
    /// [`store::reason`](self::reason). Nothing changed.
    Rejected(&'static str),
    /// The store itself failed. Nothing is known to have changed; it may be handed in again.
    Unavailable,
}

/// Names of rejections that a store makes, beside those of `RejectError::name()`.
pub mod reason {
    /// A second history whose proof is already kept, or one behind an equivocation.
    pub const FORK: &str = "fork";
    /// Signed at a time that has not come yet.
    pub const FUTURE: &str = "future";
    /// An entry of the receiver's own feed that the receiver does not have.
    pub const OWN_FEED: &str = "own-feed";
}

/// Keeper of feeds and of the files that results name. Called from one task at a time for
/// [`accept`](Self::accept), from several at once for the rest.
///
/// Methods must not block the thread: file and database work belongs into `spawn_blocking`.
pub trait FeedStore: Send + Sync + 'static {
    /// For every feed that is held, the sequence number that comes next.
    fn heads(&self) -> impl Future<Output = Vec<(NodeId, u64)>> + Send;

    /// Consecutive entries of `node` beginning with `from`, of at most `bytes_max` encoded bytes in
    /// sum; empty when there is none.
    fn entries(&self, node: NodeId, from: u64, bytes_max: usize) -> impl Future<Output = Vec<FeedItem>> + Send;

    /// A content-addressed file, if it is held.
    fn blob(&self, digest: Digest) -> impl Future<Output = Option<Vec<u8>>> + Send;

    /// Verifies the items and makes durable what fits, in the given order. One outcome an item, in the
    /// same order. Checks go from cheap to dear: size, form, certificate, signature, statement, place.
    fn accept(&self, items: Vec<FeedItem>) -> impl Future<Output = Vec<Accepted>> + Send;

    /// Files that held results name and that are not held, the most urgent first: they are asked for in this
    /// order. At most [`WANTED_MAX`] are looked at. One node's results must not keep other nodes' files out.
    fn wanted_blobs(&self) -> impl Future<Output = Vec<Digest>> + Send;

    /// Keeps a file if a held result names it. The caller has checked its digest and size.
    fn put_blob(&self, bytes: Vec<u8>) -> impl Future<Output = ()> + Send;
}

/// How many wanted files the mesh asks for at a time.
pub const WANTED_MAX: usize = 1024;
