//! The row of an operator's share in a slot: its entries that count, in the order of the log.
//!
//! Never more than a tally may be asked to look at: which entries count is [`quorate_tally::share`]'s to say.

use quorate_proto::NodeId;
use quorate_tally::share::{Entered, Kind};

use super::IndexError;

/// Where an entry stands that counts, and the certificate that it counts under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShareEntry {
    pub leaf: u64,
    pub certificate: u64,
    /// What it is; its node by its place among the share's.
    pub entered: Entered<u8>,
}

/// What counts of an operator's entries about a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShareRow {
    nodes: Vec<[u8; 32]>,
    entries: Vec<ShareEntry>,
}

/// An entry on its way in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entering {
    pub leaf: u64,
    pub certificate: u64,
    pub kind: Kind,
    pub node: NodeId,
    pub bytes: usize,
}

impl ShareRow {
    /// Adds an entry, if it counts. Whether it does.
    pub(crate) fn take(&mut self, new: Entering) -> bool {
        let Some(node) = self.number_of(new.node) else { return false };
        let entered = Entered { kind: new.kind, node, bytes: new.bytes };
        let counts = entered.counts(self.entries.iter().map(|entry| entry.entered));
        if counts {
            if usize::from(node) == self.nodes.len() {
                self.nodes.push(*new.node.as_bytes());
            }
            self.entries.push(ShareEntry { leaf: new.leaf, certificate: new.certificate, entered });
        }
        counts
    }

    /// A node's place, which is the next one if it has none.
    fn number_of(&self, node: NodeId) -> Option<u8> {
        let at = self.nodes.iter().position(|known| known == node.as_bytes()).unwrap_or(self.nodes.len());
        u8::try_from(at).ok()
    }

    /// Leaves of entries of a kind, and of their certificates.
    pub(crate) fn leaves(&self, kind: Kind) -> impl Iterator<Item = (u64, u64)> {
        self.entries.iter().filter(move |entry| entry.entered.kind == kind).map(|entry| (entry.leaf, entry.certificate))
    }

    /// Whether it has an entry.
    pub(crate) fn has(&self, leaf: u64) -> bool {
        self.entries.iter().any(|entry| entry.leaf == leaf)
    }

    /// What it was before a leaf.
    pub(crate) fn before(mut self, leaf: u64) -> Self {
        self.entries.retain(|entry| entry.leaf < leaf);
        let nodes = self.entries.iter().map(|entry| usize::from(entry.entered.node) + 1).max().unwrap_or(0);
        self.nodes.truncate(nodes);
        self
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let (mut value, mut named) = (Vec::new(), 0);
        for ShareEntry { leaf, certificate, entered } in &self.entries {
            value.extend([kind_byte(entered.kind), entered.node]);
            if usize::from(entered.node) == named {
                value.extend(self.nodes[named]);
                named += 1;
            }
            value.extend(u16::try_from(entered.bytes).expect("a log entry has at most 65,535 bytes").to_be_bytes());
            value.extend(leaf.to_be_bytes());
            value.extend(certificate.to_be_bytes());
        }
        value
    }

    pub(crate) fn read(value: &[u8]) -> Result<Self, IndexError> {
        let (mut share, mut rest) = (Self::default(), value);
        while !rest.is_empty() {
            rest = share.read_entry(rest).ok_or(IndexError::Row("share"))?;
        }
        Ok(share)
    }

    /// What is behind the entry.
    fn read_entry<'v>(&mut self, value: &'v [u8]) -> Option<&'v [u8]> {
        let (&[kind, node], mut rest) = value.split_first_chunk::<2>()?;
        if usize::from(node) == self.nodes.len() {
            let (named, behind) = rest.split_first_chunk::<32>()?;
            self.nodes.push(*named);
            rest = behind;
        }
        let (bytes, rest) = rest.split_first_chunk::<2>()?;
        let (leaf, rest) = rest.split_first_chunk::<8>()?;
        let (certificate, rest) = rest.split_first_chunk::<8>()?;
        let entered = Entered { kind: kind_of(kind)?, node, bytes: u16::from_be_bytes(*bytes).into() };
        self.entries.push(ShareEntry { leaf: u64::from_be_bytes(*leaf), certificate: u64::from_be_bytes(*certificate), entered });
        (usize::from(node) < self.nodes.len()).then_some(rest)
    }
}

fn kind_byte(kind: Kind) -> u8 {
    match kind {
        Kind::Result => b'r',
        Kind::Commitment => b'c',
        Kind::Check => b'k',
    }
}

fn kind_of(byte: u8) -> Option<Kind> {
    match byte {
        b'r' => Some(Kind::Result),
        b'c' => Some(Kind::Commitment),
        b'k' => Some(Kind::Check),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::super::super::index::VALUE_BYTES_MAX;
    use super::*;
    use quorate_proto::SecretKey;

    /// A share after everything that one operator can try.
    fn full(kinds: &[Kind]) -> ShareRow {
        let mut share = ShareRow::default();
        let mut leaf = 0;
        for seed in 0..20 {
            let node = SecretKey::from_seed(&[seed; 32]).node_id();
            for kind in kinds.iter().cycle().take(200 * kinds.len()) {
                share.take(Entering { leaf, certificate: leaf / 7, kind: *kind, node, bytes: 1_000 });
                leaf += 1;
            }
        }
        share
    }

    #[test]
    fn a_full_share_is_read_as_it_was_written_and_is_no_larger_than_a_row_may_be() {
        for kinds in [&[Kind::Result, Kind::Commitment][..], &[Kind::Check]] {
            let share = full(kinds);
            assert_eq!(share.entries.len(), if kinds.len() == 2 { 8 * (16 + 8) } else { 2 * 64 });
            let value = share.write();
            assert!(value.len() <= VALUE_BYTES_MAX, "{}", value.len());
            assert_eq!(ShareRow::read(&value).unwrap(), share);
            let first = share.clone().before(100);
            assert_eq!(ShareRow::read(&first.write()).unwrap(), first);
            assert!(first.entries.iter().all(|entry| entry.leaf < 100) && first.nodes.len() == 1);
            assert!(ShareRow::read(&value[..value.len() - 1]).is_err());
        }
        assert_eq!(ShareRow::read(b"").unwrap(), ShareRow::default());
        assert!(ShareRow::read(&[b'r', 1]).is_err());
    }
}
