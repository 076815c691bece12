//! Stage files: the leaves of one batch, durable before anything is signed about them.
//!
//! A stage file that reached its final name is always what comes next at its index: recovery commits
//! it, nothing else may take its place. That is why there are never two roots for one size.
//!
//! Format: `docs/spec/coordinator-storage.md`, section "Stage files".

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use quorate_proto::Digest;
use quorate_tlog::{Entry, Hash, TreeHead};

use super::files::{Disk, Paths, Point, is_scratch};

const MAGIC: &[u8; 16] = b"quorate-stage/2\n";
const HEADER_BYTES: usize = MAGIC.len() + 8 + 32 + 4;
const CHECKSUM_BYTES: usize = 32;

/// One batch of leaves and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stage {
    /// Index of the first leaf: the size of the log before the batch.
    pub start: u64,
    /// Root of the log before the batch.
    pub root: Hash,
    /// The leaves, in order.
    leaves: Vec<Entry>,
    /// What the tree holds for them.
    hashes: Vec<Hash>,
}

/// A stage file that cannot be used. Fatal: what comes next in the log is in doubt.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The file system failed.
    #[error("stage folder")]
    Io(#[source] io::Error),
    /// A file that is not what was written.
    #[error("stage file {name} is damaged: {what}")]
    Damaged {
        /// The file's name.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl Stage {
    /// The batch that follows the log of `head`.
    pub(crate) fn new(head: TreeHead, leaves: Vec<Entry>) -> Self {
        let hashes = leaves.iter().map(Entry::leaf_hash).collect();
        Self { start: head.size, root: head.root, leaves, hashes }
    }

    /// Makes the batch durable.
    pub(crate) fn write(&self, disk: &Disk, paths: &Paths) -> io::Result<()> {
        disk.put_together_durable(Point::Stage, &paths.stage().join(name_of(self.start)), |file| self.encode(file))
    }

    fn encode(&self, out: &mut impl Write) -> io::Result<()> {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&self.start.to_be_bytes());
        header.extend_from_slice(self.root.as_bytes());
        let count = u32::try_from(self.leaves.len()).expect("a batch holds far fewer leaves");
        header.extend_from_slice(&count.to_be_bytes());
        out.write_all(&header)?;
        for leaf in &self.leaves {
            let length = u16::try_from(leaf.as_bytes().len()).expect("an entry is at most 65,535 bytes");
            out.write_all(&length.to_be_bytes())?;
            out.write_all(leaf.as_bytes())?;
        }
        out.write_all(self.checksum(&header).as_bytes())
    }

    /// Of the header and the leaves' hashes, which the tree needs anyway: no leaf is hashed twice.
    fn checksum(&self, header: &[u8]) -> Digest {
        let hashes = self.hashes.iter().flat_map(Hash::as_bytes).copied();
        Digest::of(&header.iter().copied().chain(hashes).collect::<Vec<_>>())
    }

    fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let (body, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or("too short")?;
        let rest = body.strip_prefix(MAGIC).ok_or("another format")?;
        let (start, rest) = rest.split_first_chunk::<8>().ok_or("too short")?;
        let (root, rest) = rest.split_first_chunk::<32>().ok_or("too short")?;
        let (count, mut rest) = rest.split_first_chunk::<4>().ok_or("too short")?;
        let mut leaves = Vec::new();
        for _ in 0..u32::from_be_bytes(*count) {
            let (length, after) = rest.split_first_chunk::<2>().ok_or("a leaf is cut")?;
            let (leaf, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or("a leaf is cut")?;
            leaves.push(Entry::new(leaf.to_vec()).map_err(|_| "a leaf is too long")?);
            rest = after;
        }
        if !rest.is_empty() || leaves.is_empty() {
            return Err("no leaves, or bytes behind them");
        }
        let stage = Self::new(TreeHead { size: u64::from_be_bytes(*start), root: Hash::from_bytes(*root) }, leaves);
        if stage.checksum(&body[..HEADER_BYTES]).as_bytes() != checksum {
            return Err("the checksum does not match");
        }
        Ok(stage)
    }

    /// The leaves, in order.
    pub(crate) fn leaves(&self) -> &[Entry] {
        &self.leaves
    }

    /// What the tree holds for them.
    pub(crate) fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Index behind the last leaf.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.leaves.len() as u64
    }
}

/// Every stage file, in the order of the log. Leftovers of interrupted writes are removed: they never
/// got their name, so nobody was told about them.
pub(crate) fn read_all(paths: &Paths) -> Result<Vec<Stage>, StageError> {
    let mut stages = Vec::new();
    for entry in fs::read_dir(paths.stage()).map_err(StageError::Io)? {
        let entry = entry.map_err(StageError::Io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_scratch(&name) {
            fs::remove_file(entry.path()).map_err(StageError::Io)?;
            continue;
        }
        stages.push(read(&entry.path(), name)?);
    }
    stages.sort_by_key(|stage| stage.start);
    Ok(stages)
}

fn read(path: &Path, name: String) -> Result<Stage, StageError> {
    let bytes = fs::read(path).map_err(StageError::Io)?;
    match Stage::decode(&bytes) {
        Ok(stage) if name == name_of(stage.start) => Ok(stage),
        Ok(_) => Err(StageError::Damaged { name, what: "it holds another batch than its name says" }),
        Err(what) => Err(StageError::Damaged { name, what }),
    }
}

/// Takes away the stage files of the batches that begin there. Some are kept to be written over.
pub(crate) fn retire(disk: &Disk, paths: &Paths, starts: &[u64]) -> io::Result<()> {
    let files: Vec<_> = starts.iter().map(|start| paths.stage().join(name_of(*start))).collect();
    disk.retire(&paths.stage(), &files)
}

fn name_of(start: u64) -> String {
    format!("{start:020}")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn stage(leaves: Vec<Vec<u8>>) -> Stage {
        let leaves = leaves.into_iter().map(|leaf| Entry::new(leaf).unwrap()).collect();
        Stage::new(TreeHead { size: 7, root: Hash::from_bytes([3; 32]) }, leaves)
    }

    fn encoded(stage: &Stage) -> Vec<u8> {
        let mut bytes = Vec::new();
        stage.encode(&mut bytes).unwrap();
        bytes
    }

    proptest! {
        #[test]
        fn a_batch_round_trips(leaves in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..20)) {
            let stage = stage(leaves);
            prop_assert_eq!(Stage::decode(&encoded(&stage)), Ok(stage));
        }

        #[test]
        fn a_damaged_batch_is_never_read(flip: prop::sample::Index, bit in 0_u8..8, cut: prop::sample::Index) {
            let bytes = encoded(&stage(vec![b"one".to_vec(), b"two".to_vec()]));
            let mut flipped = bytes.clone();
            flipped[flip.index(bytes.len())] ^= 1 << bit;
            prop_assert!(Stage::decode(&flipped).is_err());
            prop_assert!(Stage::decode(&bytes[..cut.index(bytes.len())]).is_err());
        }
    }
}
