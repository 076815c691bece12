//! The one conversion between protobuf messages and domain values.
//!
//! Frames of gossip stand here; the questions and answers of feed sync in `sync`, what everybody should
//! know in `notice`. `docs/spec/mesh.md`.

mod notice;
mod sync;

use prost::Message as _;

use crate::api;
use crate::certificate::CERTIFICATE_BYTES_MAX;
use crate::key::KeyError;
use crate::verified::FeedItem;
use crate::{Digest, NodeId};

pub use notice::{CHECKPOINT_NOTICE_BYTES_MAX, LOG_PROOF_NOTICE_BYTES_MAX, NOTICE_BYTES_MAX, NOTICE_TOPIC, Notice, Told};
pub use sync::{
    Beginning, BeginningWanted, PEER_RECORD_BYTES_MAX, PEER_RECORDS_MAX, SyncRequest, SyncResponse, heads_digest, notices_digest,
};

/// Largest encoded [`api::FeedItem`], in bytes.
pub const FEED_ITEM_BYTES_MAX: usize = 64 * 1024;

/// Largest encoded sync message, in bytes. Leaves room for one blob of the largest size.
pub const SYNC_BYTES_MAX: usize = crate::provenance::BLOB_BYTES_MAX + 64;

/// The gossip topic of feed items.
pub const FEED_TOPIC: &str = "quorate/v1/feed";

/// The request-response protocol of feed sync.
pub const SYNC_PROTOCOL: &str = "/quorate/sync/2";

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
    /// More parts than any honest peer sends.
    #[error("{got} parts, limit {limit}")]
    TooMany {
        /// Parts given.
        got: usize,
        /// Parts accepted.
        limit: usize,
    },
    /// A required field is missing or has the wrong length.
    #[error("field `{0}` is missing or malformed")]
    Field(&'static str),
    /// Not a usable key.
    #[error("malformed node id")]
    Key(#[source] KeyError),
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

/// Reads a raw 32-byte node key.
pub fn node_id(bytes: &[u8]) -> Result<NodeId, WireError> {
    let bytes = bytes.try_into().map_err(|_| WireError::Field("node"))?;
    NodeId::from_bytes(bytes).map_err(WireError::Key)
}

/// Reads a raw 32-byte SHA-256.
pub fn digest_of(bytes: &[u8]) -> Result<Digest, WireError> {
    bytes.try_into().map(Digest::from_bytes).map_err(|_| WireError::Field("digest"))
}

/// How many items one message may have: filling in certificates must not make much of little.
const ITEMS_MAX: usize = 4096;

/// Items, each certificate said once where items with the same one follow each other.
fn items_to_message(items: &[FeedItem]) -> api::FeedItems {
    let mut before: &[u8] = &[];
    let said = items.iter().map(|item| {
        let mut message = item.to_message();
        if item.certificate == before {
            message.certificate.clear();
        }
        before = &item.certificate;
        message
    });
    api::FeedItems { items: said.collect() }
}

/// The items of a message. A certificate that is longer than any is refused, whatever it says.
fn items_of(message: &api::FeedItems) -> Result<Vec<FeedItem>, WireError> {
    let (got, limit) = (message.items.len(), ITEMS_MAX);
    if got > limit {
        return Err(WireError::TooMany { got, limit });
    }
    let mut items: Vec<FeedItem> = Vec::with_capacity(got);
    for message in &message.items {
        let mut item = FeedItem::from_message(message);
        if item.certificate.is_empty()
            && let Some(before) = items.last()
        {
            item.certificate.clone_from(&before.certificate);
        }
        check_size(&item.certificate, CERTIFICATE_BYTES_MAX)?;
        items.push(item);
    }
    Ok(items)
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
            let _ = Notice::decode(&bytes);
        }

        #[test]
        fn feed_items_round_trip(certificate: Vec<u8>, envelope: Vec<u8>) {
            let item = FeedItem { certificate, envelope };
            prop_assert_eq!(FeedItem::decode(&item.encode()).expect("own frame"), item);
        }

        #[test]
        fn items_come_out_as_they_went_in_with_each_certificate_said_once(certificates in prop::collection::vec(0_u8..3, 0..20)) {
            let items: Vec<_> = certificates
                .iter()
                .enumerate()
                .map(|(n, c)| FeedItem { certificate: vec![*c; 500], envelope: n.to_be_bytes().to_vec() })
                .collect();
            let encoded = SyncResponse::Entries(items.clone()).encode();
            let changes = certificates.windows(2).filter(|two| two[0] != two[1]).count();
            prop_assert!(encoded.len() < 600 * (changes + 1) + 20 * items.len());
            prop_assert_eq!(SyncResponse::decode(&encoded).expect("own answer"), SyncResponse::Entries(items));
        }
    }

    #[test]
    fn an_oversized_frame_is_refused_before_it_is_parsed() {
        let frame = vec![0; FEED_ITEM_BYTES_MAX + 1];
        assert!(matches!(FeedItem::decode(&frame), Err(WireError::TooLarge { .. })));
    }

    #[test]
    fn a_small_answer_cannot_be_made_to_fill_much_memory() {
        let certified = FeedItem { certificate: vec![1; CERTIFICATE_BYTES_MAX], envelope: Vec::new() };
        let many = SyncResponse::Entries(vec![certified.clone(); ITEMS_MAX + 1]).encode();
        assert!(matches!(SyncResponse::decode(&many), Err(WireError::TooMany { .. })));
        let long = FeedItem { certificate: vec![1; CERTIFICATE_BYTES_MAX + 1], envelope: Vec::new() };
        assert!(matches!(SyncResponse::decode(&SyncResponse::Entries(vec![long]).encode()), Err(WireError::TooLarge { .. })));
    }
}
