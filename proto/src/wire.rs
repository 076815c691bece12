//! The one conversion between protobuf messages and domain values.

use prost::Message as _;

use crate::api;
use crate::key::KeyError;
use crate::verified::FeedItem;
use crate::{Digest, NodeId};

/// Largest encoded [`api::FeedItem`], in bytes.
pub const FEED_ITEM_BYTES_MAX: usize = 64 * 1024;

/// Largest encoded sync message, in bytes. Leaves room for one blob of the largest size.
pub const SYNC_BYTES_MAX: usize = crate::provenance::BLOB_BYTES_MAX + 64;

/// The gossip topic of feed items.
pub const FEED_TOPIC: &str = "quorate/v1/feed";

/// The request-response protocol of feed sync.
pub const SYNC_PROTOCOL: &str = "/quorate/sync/1";

/// A message that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Too large.
    #[error("message of {got} bytes, limit {limit}")]
    TooLarge {
        /// Bytes given.
        got: usize,
        /// Bytes accepted.
        limit: usize,
    },
    /// Not protobuf of the expected type.
    #[error("malformed message")]
    Malformed(#[source] prost::DecodeError),
    /// A required field is missing or has the wrong length.
    #[error("field `{0}` is missing or malformed")]
    Field(&'static str),
    /// Not a usable key.
    #[error("malformed node id")]
    Key(#[source] KeyError),
}

/// What a peer asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncRequest {
    /// The heads of every feed that the peer holds.
    Heads,
    /// Entries of one feed from a sequence number on.
    Entries {
        /// Whose feed.
        node: NodeId,
        /// The first one wanted.
        from: u64,
    },
    /// A content-addressed file.
    Blob(Digest),
}

/// What a peer answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncResponse {
    /// Feeds with the sequence number that comes next in each.
    Heads(Vec<(NodeId, u64)>),
    /// Consecutive entries; empty when there is none.
    Entries(Vec<FeedItem>),
    /// The file, if the peer holds it.
    Blob(Option<Vec<u8>>),
}

impl FeedItem {
    /// The protobuf message.
    pub fn to_message(&self) -> api::FeedItem {
        api::FeedItem { certificate: self.certificate.clone().into(), envelope: self.envelope.clone().into() }
    }

    /// From the protobuf message.
    pub fn from_message(message: &api::FeedItem) -> Self {
        Self { certificate: message.certificate.to_vec(), envelope: message.envelope.to_vec() }
    }

    /// The encoded frame.
    pub fn encode(&self) -> Vec<u8> {
        self.to_message().encode_to_vec()
    }

    /// Reads a frame.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        check_size(bytes, FEED_ITEM_BYTES_MAX)?;
        let message = api::FeedItem::decode(bytes).map_err(WireError::Malformed)?;
        Ok(Self::from_message(&message))
    }
}

impl SyncRequest {
    /// The encoded message.
    pub fn encode(&self) -> Vec<u8> {
        use api::sync_request::Want;
        let want = match self {
            Self::Heads => Want::Heads(api::Heads {}),
            Self::Entries { node, from } => Want::Entries(position(node, *from)),
            Self::Blob(digest) => Want::Blob(digest.as_bytes().to_vec().into()),
        };
        api::SyncRequest { want: Some(want) }.encode_to_vec()
    }

    /// Reads a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        use api::sync_request::Want;
        check_size(bytes, 256)?;
        match api::SyncRequest::decode(bytes).map_err(WireError::Malformed)?.want {
            Some(Want::Heads(_)) => Ok(Self::Heads),
            Some(Want::Entries(p)) => Ok(Self::Entries { node: node_id(&p.node)?, from: p.next }),
            Some(Want::Blob(digest)) => Ok(Self::Blob(digest_of(&digest)?)),
            None => Err(WireError::Field("want")),
        }
    }
}

impl SyncResponse {
    /// The encoded message.
    pub fn encode(&self) -> Vec<u8> {
        use api::sync_response::Have;
        let have = match self {
            Self::Heads(heads) => Have::Heads(api::FeedHeads { heads: heads.iter().map(|(node, next)| position(node, *next)).collect() }),
            Self::Entries(items) => Have::Entries(api::FeedItems { items: items.iter().map(FeedItem::to_message).collect() }),
            Self::Blob(content) => Have::Blob(api::Blob { content: content.clone().map(Into::into) }),
        };
        api::SyncResponse { have: Some(have) }.encode_to_vec()
    }

    /// Reads a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        use api::sync_response::Have;
        check_size(bytes, SYNC_BYTES_MAX)?;
        match api::SyncResponse::decode(bytes).map_err(WireError::Malformed)?.have {
            Some(Have::Heads(heads)) => {
                heads.heads.iter().map(|h| Ok((node_id(&h.node)?, h.next))).collect::<Result<_, _>>().map(Self::Heads)
            }
            Some(Have::Entries(entries)) => Ok(Self::Entries(entries.items.iter().map(FeedItem::from_message).collect())),
            Some(Have::Blob(blob)) => Ok(Self::Blob(blob.content.map(|content| content.to_vec()))),
            None => Err(WireError::Field("have")),
        }
    }
}

/// Reads a raw 32-byte node key.
pub fn node_id(bytes: &[u8]) -> Result<NodeId, WireError> {
    let bytes = bytes.try_into().map_err(|_| WireError::Field("node"))?;
    NodeId::from_bytes(bytes).map_err(WireError::Key)
}

/// Reads a raw 32-byte SHA-256.
pub fn digest_of(bytes: &[u8]) -> Result<Digest, WireError> {
    bytes.try_into().map(Digest::from_bytes).map_err(|_| WireError::Field("digest"))
}

fn position(node: &NodeId, next: u64) -> api::FeedPosition {
    api::FeedPosition { node: node.as_bytes().to_vec().into(), next }
}

fn check_size(bytes: &[u8], limit: usize) -> Result<(), WireError> {
    if bytes.len() > limit { Err(WireError::TooLarge { got: bytes.len(), limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>) {
            let _ = FeedItem::decode(&bytes);
            let _ = SyncRequest::decode(&bytes);
            let _ = SyncResponse::decode(&bytes);
        }

        #[test]
        fn feed_items_round_trip(certificate: Vec<u8>, envelope: Vec<u8>) {
            let item = FeedItem { certificate, envelope };
            prop_assert_eq!(FeedItem::decode(&item.encode()).expect("own frame"), item);
        }
    }

    #[test]
    fn an_oversized_frame_is_refused_before_it_is_parsed() {
        let frame = vec![0; FEED_ITEM_BYTES_MAX + 1];
        assert!(matches!(FeedItem::decode(&frame), Err(WireError::TooLarge { .. })));
    }
}
