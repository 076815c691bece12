//! A row's key in memory.

use std::ops::Deref;

/// A key with its first bytes in place. Most keys are hashes: two of them differ there, and are told apart
/// without looking for the rest somewhere else in memory. The order is that of the bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowKey {
    head: u128,
    bytes: Vec<u8>,
}

impl From<Vec<u8>> for RowKey {
    fn from(bytes: Vec<u8>) -> Self {
        const HEAD_BYTES: usize = size_of::<u128>();
        let mut head = [0; HEAD_BYTES];
        let length = bytes.len().min(HEAD_BYTES);
        head[..length].copy_from_slice(&bytes[..length]);
        Self { head: u128::from_be_bytes(head), bytes }
    }
}

impl From<&[u8]> for RowKey {
    fn from(bytes: &[u8]) -> Self {
        Self::from(bytes.to_vec())
    }
}

impl Deref for RowKey {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for RowKey {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_are_ordered_as_their_bytes(a in prop::collection::vec(0..3_u8, 0..20), b in prop::collection::vec(0..3_u8, 0..20)) {
            prop_assert_eq!(RowKey::from(a.clone()).cmp(&RowKey::from(b.clone())), a.cmp(&b));
        }
    }
}
