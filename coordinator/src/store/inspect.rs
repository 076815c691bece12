//! Reading a data directory without writing to it, for `check`.

use quorate_proto::entry::EntryStatement;
use quorate_proto::{ArtifactId, Digest};
use quorate_tally::share::Kind;
use quorate_tlog::{Entry, Hash, TilePath, TileReader as _, TreeHead};

use super::files::Paths;
use super::index::Index;
use super::leaf::{self, Leaf};
use super::leaves::{LeafReader, Published};
use super::rows::{self, ArtifactKey, Entering, ShareRow, SlotKey, VerdictRow};
use super::{StoreError, recover, stage, writer};

/// A data directory that nobody writes to while this lives.
pub struct Inspection {
    paths: Paths,
    index: Index,
    reader: LeafReader,
    _lock: std::fs::File,
}

impl Inspection {
    /// Locks the data directory and opens its index as it is.
    pub fn open(paths: &Paths) -> Result<Self, StoreError> {
        let lock = writer::lock(paths)?;
        let index = Index::open_as_it_is(&paths.index())?;
        Ok(Self { paths: paths.clone(), index, reader: LeafReader::new(paths), _lock: lock })
    }

    /// The committed checkpoint.
    pub fn committed_note(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(Some(self.index.checkpoint()?).filter(|note| !note.is_empty()))
    }

    /// Size of the log up to which the index has rows on disk. Those of later leaves follow from stage files.
    pub fn folded(&self) -> Result<u64, StoreError> {
        Ok(self.index.folded()?)
    }

    /// Start, root before, and leaves of every stage file.
    pub fn stages(&self) -> Result<Vec<(u64, Hash, Vec<Entry>)>, StoreError> {
        let stages = stage::read_all(&self.paths)?;
        Ok(stages.into_iter().map(|stage| (stage.start, stage.root, stage.leaves().to_vec())).collect())
    }

    /// The entries of a bundle in a log of this size, checked against their tile.
    pub fn bundle(&self, index: u64, size: u64) -> Result<Vec<Entry>, StoreError> {
        recover::checked_bundle(&self.reader, index, size)
    }

    /// A tile's bytes.
    pub fn tile(&self, path: &TilePath) -> Result<Vec<u8>, StoreError> {
        self.reader.read_tile(path).map_err(StoreError::io("reading a tile"))
    }

    /// Checks the rows that published leaves before `folded` must have. How many results and verdicts they are.
    pub fn check_rows(&self, published: &TreeHead, folded: u64) -> Result<(u64, u64), StoreError> {
        let (mut results, mut verdicts) = (0, 0);
        let mut bundle = 0;
        let mut leaf = 0;
        let end = published.size.min(folded);
        while leaf < end {
            let left = usize::try_from(end - leaf).unwrap_or(usize::MAX);
            for entry in self.bundle(bundle, published.size)?.iter().take(left) {
                match Leaf::read(entry.as_bytes())? {
                    Leaf::Result(_) => results += u64::from(self.check_entry(leaf, entry.as_bytes())?),
                    Leaf::Commitment(_) | Leaf::Check(_) => {
                        self.check_entry(leaf, entry.as_bytes())?;
                    }
                    Leaf::Verdict(statement) => {
                        verdicts += 1;
                        self.check_verdict(leaf, &statement.predicate.verdict.artifact)?;
                    }
                    Leaf::Drill => self.check_drill(leaf)?,
                    Leaf::Declaration => self.check_declaration(leaf, entry.as_bytes())?,
                    Leaf::Certificate(_) | Leaf::Policy(_) => {}
                }
                leaf += 1;
            }
            bundle += 1;
        }
        self.reader.publish(Published { head: *published, note: bytes::Bytes::new(), edge: None });
        Ok((results, verdicts))
    }

    /// An entry stands in its feed, and a result that counts in its slot; the second history of an equivocator in neither.
    fn check_entry(&self, index: u64, bytes: &[u8]) -> Result<bool, StoreError> {
        let wrong = |what: &str| StoreError::Resume(format!("leaf {index}: {what}"));
        let entry = leaf::unverified_entry(bytes)?;
        let position = entry.position();
        let chunk = self.index.get(&rows::feed_chunk(position.node, position.sequence))?.unwrap_or_default();
        let row = rows::FeedRow::read(&chunk, position.sequence).ok_or_else(|| wrong("not in its feed"))?;
        if row.leaf != index {
            let proof = self.index.get(&rows::equivocation(position.node))?.ok_or_else(|| wrong("another leaf in its feed"))?;
            let known = rows::EquivocationRow::read(&proof)?.leaves.contains(&index);
            return if known { Ok(false) } else { Err(wrong("another leaf in its feed")) };
        }
        let EntryStatement::Result(statement) = entry else { return Ok(true) };
        let (slot, operator) = (SlotKey::of(&statement.artifact().slot), statement.predicate.operator);
        let value = self.index.get(&rows::share(slot, Kind::Result, operator))?.unwrap_or_default();
        let share = ShareRow::read(&value)?;
        let entering = Entering { leaf: index, certificate: row.certificate, kind: Kind::Result, node: position.node, bytes: bytes.len() };
        if share.has(index) || !share.before(index).take(entering) { Ok(true) } else { Err(wrong("not in its slot")) }
    }

    fn check_drill(&self, index: u64) -> Result<(), StoreError> {
        let known = self.index.contains(&rows::drill(index))?;
        if known { Ok(()) } else { Err(StoreError::Resume(format!("leaf {index}: not among the drills"))) }
    }

    fn check_declaration(&self, index: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let row = self.index.get(&rows::declaration(Digest::of(bytes)))?.unwrap_or_default();
        let known = rows::leaf_at_end(&row)? == index;
        if known { Ok(()) } else { Err(StoreError::Resume(format!("leaf {index}: not among the declarations"))) }
    }

    /// The verdict in force is this one or a later one.
    fn check_verdict(&self, index: u64, artifact: &ArtifactId) -> Result<(), StoreError> {
        let value = self.index.get(&rows::verdict(&ArtifactKey::of(artifact)))?.unwrap_or_default();
        let row = VerdictRow::read(&value)?;
        let lists = [rows::LISTING_PREFIX.to_vec(), rows::history_prefix(&artifact.slot.package)];
        let mut listed = true;
        for list in lists {
            listed &= self.index.contains(&rows::listing(&list, row.leaf))?;
        }
        if row.leaf >= index && listed { Ok(()) } else { Err(StoreError::Resume(format!("leaf {index}: a verdict that is not indexed"))) }
    }
}
