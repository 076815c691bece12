//! What the mesh asks of whoever keeps the feeds.

use std::future::{Future, ready};

use quorate_proto::feed::FeedHead;
use quorate_proto::verified::FeedItem;
use quorate_proto::wire::{Beginning, BeginningWanted, Notice, Told};
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

/// What gossip does with an item of which this became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// It is passed on.
    On,
    /// It is not, and nobody is blamed.
    Ignored,
    /// It is not, and who sent it is blamed.
    Punished,
}

impl Accepted {
    /// What gossip does with the item. Passed on is what is verified and new to us, even where we cannot place
    /// it yet. Punished is what no honest peer would have passed on; whom we have not enrolled, others may have.
    pub fn passing(self) -> Passing {
        match self {
            Self::New | Self::Gap { .. } | Self::Equivocation => Passing::On,
            Self::Duplicate
            | Self::Unavailable
            | Self::Rejected("unknown-operator" | reason::FORK | reason::FUTURE | reason::OWN_FEED | reason::UNKNOWN_LOG) => {
                Passing::Ignored
            }
            Self::Rejected(_) => Passing::Punished,
        }
    }
}

/// Names of rejections that a store makes, beside those of `RejectError::name()`.
pub mod reason {
    /// A second history whose proof is already kept, or one behind an equivocation.
    pub const FORK: &str = "fork";
    /// Signed at a time that has not come yet.
    pub const FUTURE: &str = "future";
    /// An entry of the receiver's own feed that the receiver does not have.
    pub const OWN_FEED: &str = "own-feed";
    /// A checkpoint, or a proof about a log, that is not listened to here.
    pub const UNKNOWN_LOG: &str = "unknown-log";
    /// A checkpoint or a log's proof that does not hold.
    pub const BAD_NOTICE: &str = "bad-notice";
}

/// Keeper of feeds and of the files that results name. Called from one task at a time for
/// [`accept`](Self::accept), from several at once for the rest.
///
/// Methods must not block the thread: file and database work belongs into `spawn_blocking`.
pub trait FeedStore: Send + Sync + 'static {
    /// The end of every feed that is held.
    fn heads(&self) -> impl Future<Output = Vec<(NodeId, FeedHead)>> + Send;

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

    /// What is known that everybody should know: the newest checkpoints, and proofs of two histories. What is new
    /// in it is gossiped. A store that listens to no log and keeps no proofs has nothing.
    fn notices(&self) -> impl Future<Output = Vec<Told>> + Send {
        ready(Vec::new())
    }

    /// Checks a notice, and keeps it if it is new.
    fn accept_notice(&self, _: Notice) -> impl Future<Output = Accepted> + Send {
        ready(Accepted::Rejected(reason::UNKNOWN_LOG))
    }

    /// How trees begin that were heard of: questions for peers, the most urgent first.
    fn wanted_beginnings(&self) -> impl Future<Output = Vec<BeginningWanted>> + Send {
        ready(Vec::new())
    }

    /// How a tree begins, if this store has the tree.
    fn beginning(&self, _: BeginningWanted) -> impl Future<Output = Option<Beginning>> + Send {
        ready(None)
    }

    /// Takes the answer to a wanted beginning.
    fn accept_beginning(&self, _: BeginningWanted, _: Beginning) -> impl Future<Output = Accepted> + Send {
        ready(Accepted::Duplicate)
    }

    /// The peer book as it was kept last.
    fn peer_book(&self) -> impl Future<Output = Option<Vec<u8>>> + Send {
        ready(None)
    }

    /// Keeps the peer book, whole or not at all. A hint: a book that is lost is asked for again from peers.
    fn keep_peer_book(&self, _: Vec<u8>) -> impl Future<Output = ()> + Send {
        ready(())
    }
}

/// How many wanted files the mesh asks for at a time.
pub const WANTED_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relays_are_punished_only_for_what_no_honest_peer_passes_on() {
        let judged = [
            (Accepted::Rejected("bad-signature"), Passing::Punished),
            (Accepted::Rejected("expired-certificate"), Passing::Punished),
            (Accepted::Rejected("unknown-operator"), Passing::Ignored),
            (Accepted::Rejected(reason::FUTURE), Passing::Ignored),
            (Accepted::Rejected(reason::UNKNOWN_LOG), Passing::Ignored),
            (Accepted::Gap { expected: 3 }, Passing::On),
        ];
        for (outcome, passing) in judged {
            assert_eq!(outcome.passing(), passing, "{outcome:?}");
        }
    }
}
