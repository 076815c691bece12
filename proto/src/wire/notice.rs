//! What everybody should know: checkpoints of logs, and proofs that a log or a node has two histories.
//!
//! The bytes are handed on as they came: what a checkpoint or a log's proof says is for whoever knows the
//! log's key.

use prost::Message as _;

use super::{FEED_ITEM_BYTES_MAX, WireError, check_size, items_of, items_to_message};
use crate::verified::FeedItem;
use crate::{Digest, NodeId, api};

/// The gossip topic of notices.
pub const NOTICE_TOPIC: &str = "quorate/v1/notice";

/// Largest encoded notice, in bytes: a proof of two items of the largest size.
pub const NOTICE_BYTES_MAX: usize = 2 * FEED_ITEM_BYTES_MAX + 64;

/// Largest checkpoint in a notice, in bytes.
pub const CHECKPOINT_NOTICE_BYTES_MAX: usize = 16 * 1024;

/// Largest proof of two views of a log in a notice, in bytes: two such checkpoints in base64, and a path.
pub const LOG_PROOF_NOTICE_BYTES_MAX: usize = 48 * 1024;

/// Something that everybody should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A signed checkpoint, perhaps with cosignatures.
    Checkpoint(Vec<u8>),
    /// The proof that a log has shown two views.
    LogEquivocation(Vec<u8>),
    /// Two items of one node with one sequence number.
    FeedEquivocation(Box<[FeedItem; 2]>),
}

/// A notice, and what it is about: two notices about one thing need not both be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Names the fact, not the bytes that prove it.
    pub about: Digest,
    /// The bytes.
    pub notice: Notice,
}

impl Told {
    /// A checkpoint. Two of one log, size and root are one fact, whoever has cosigned them: the text is what counts.
    pub fn checkpoint(note: Vec<u8>) -> Self {
        let end = note.windows(2).position(|two| two == b"\n\n").map_or(note.len(), |end| end + 1);
        Self { about: Digest::of(&note[..end]), notice: Notice::Checkpoint(note) }
    }

    /// The proof against a log. A log needs to be convicted once.
    pub fn log_equivocation(origin: &str, proof: Vec<u8>) -> Self {
        Self { about: about("quorate/log-equivocation/v1", origin.as_bytes()), notice: Notice::LogEquivocation(proof) }
    }

    /// The proof against a node. A node needs to be convicted once.
    pub fn feed_equivocation(node: NodeId, items: [FeedItem; 2]) -> Self {
        Self { about: about("quorate/feed-equivocation/v1", node.as_bytes()), notice: Notice::FeedEquivocation(Box::new(items)) }
    }
}

/// SHA-256 of a kind, a zero byte and a name.
fn about(kind: &str, name: &[u8]) -> Digest {
    Digest::of(&[kind.as_bytes(), b"\0", name].concat())
}

impl Notice {
    pub(super) fn to_message(&self) -> api::Notice {
        use api::notice::What;
        let what = match self {
            Self::Checkpoint(note) => What::Checkpoint(note.clone().into()),
            Self::LogEquivocation(proof) => What::LogEquivocation(proof.clone().into()),
            Self::FeedEquivocation(items) => What::FeedEquivocation(items_to_message(items.as_slice())),
        };
        api::Notice { what: Some(what) }
    }

    pub(super) fn from_message(message: &api::Notice) -> Result<Self, WireError> {
        use api::notice::What;
        match message.what.as_ref().ok_or(WireError::Field("what"))? {
            What::Checkpoint(note) => {
                check_size(note, CHECKPOINT_NOTICE_BYTES_MAX)?;
                Ok(Self::Checkpoint(note.to_vec()))
            }
            What::LogEquivocation(proof) => {
                check_size(proof, LOG_PROOF_NOTICE_BYTES_MAX)?;
                Ok(Self::LogEquivocation(proof.to_vec()))
            }
            What::FeedEquivocation(items) => {
                let items: [FeedItem; 2] = items_of(items)?.try_into().map_err(|_| WireError::Field("feed_equivocation"))?;
                Ok(Self::FeedEquivocation(Box::new(items)))
            }
        }
    }

    /// The encoded frame.
    pub fn encode(&self) -> Vec<u8> {
        self.to_message().encode_to_vec()
    }

    /// Reads a frame.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        check_size(bytes, NOTICE_BYTES_MAX)?;
        Self::from_message(&api::Notice::decode(bytes).map_err(WireError::Malformed)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_checkpoint_with_other_cosignatures_is_one_fact() {
        let told = |note: &[u8]| Told::checkpoint(note.to_vec()).about;
        assert_eq!(told(b"log\n1\nAAAA\n\n\xe2\x80\x94 log x\n"), told(b"log\n1\nAAAA\n\n\xe2\x80\x94 log x\n\xe2\x80\x94 w y\n"));
        assert_ne!(told(b"log\n1\nAAAA\n\nx"), told(b"log\n2\nAAAA\n\nx"));
    }
}
