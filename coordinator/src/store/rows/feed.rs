//! The rows of a feed: where its entries stand, how far it has come, and what proves that its node has two.

use quorate_proto::feed::FeedHead;
use quorate_proto::{Digest, NodeId};

use super::{IndexError, array};

/// Entries a row of a feed.
pub(crate) const FEED_CHUNK: u64 = 32;

/// A place in a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FeedRow {
    /// Of the envelope.
    pub digest: Digest,
    /// Of the result.
    pub leaf: u64,
    /// Of the certificate that it counts under.
    pub certificate: u64,
}

/// What is known of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeRow {
    pub head: FeedHead,
    /// Leaf of the last certificate.
    pub certificate: u64,
    pub equivocated: bool,
}

/// The two leaves, with their certificates, that prove an equivocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EquivocationRow {
    pub leaves: [u64; 2],
    pub certificates: [u64; 2],
}

impl FeedRow {
    pub(crate) const BYTES: usize = 48;

    pub(crate) fn write(&self) -> Vec<u8> {
        [self.digest.as_bytes().as_slice(), &self.leaf.to_be_bytes(), &self.certificate.to_be_bytes()].concat()
    }

    /// The row of `sequence` in the chunk that holds it.
    pub(crate) fn read(chunk: &[u8], sequence: u64) -> Option<Self> {
        let at = usize::try_from(sequence % FEED_CHUNK).ok()? * Self::BYTES;
        let (digest, rest) = chunk.get(at..at + Self::BYTES)?.split_first_chunk::<32>()?;
        let [leaf, certificate] = array(rest, "feed").ok()?;
        Some(Self { digest: Digest::from_bytes(*digest), leaf, certificate })
    }
}

impl NodeRow {
    pub(crate) fn write(&self, node: NodeId) -> Vec<u8> {
        let last = self.head.position(node).previous.map_or([0; 32], |digest| *digest.as_bytes());
        let mut value = last.to_vec();
        value.extend_from_slice(&self.head.next().to_be_bytes());
        value.extend_from_slice(&self.certificate.to_be_bytes());
        value.push(u8::from(self.equivocated));
        value
    }

    pub(crate) fn read(value: &[u8]) -> Result<Self, IndexError> {
        let malformed = IndexError::Row("node");
        let Some((last, rest)) = value.split_first_chunk::<32>() else { return Err(malformed) };
        let Some((&equivocated, rest)) = rest.split_last() else { return Err(malformed) };
        let [next, certificate] = array(rest, "node")?;
        let head = if next == 0 { FeedHead::default() } else { FeedHead::behind(next, Digest::from_bytes(*last)) };
        Ok(Self { head, certificate, equivocated: equivocated == 1 })
    }
}

impl EquivocationRow {
    pub(crate) fn write(&self) -> Vec<u8> {
        [self.leaves, self.certificates].as_flattened().iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    pub(crate) fn read(value: &[u8]) -> Result<Self, IndexError> {
        let [a, b, c, d] = array(value, "equivocation")?;
        Ok(Self { leaves: [a, b], certificates: [c, d] })
    }
}
