//! A log: the real tree, tiles, checkpoints and signing key. What a coordinator of one mind has one of, and one
//! of two minds two, with one key.

use quorate_tlog::{
    AddCheckpoint, Checkpoint, InclusionProof, MemoryTiles, Origin, SignedNote, Signer, TlogProof, Tree, TreeHead, TreeView, leaf_hash,
};

/// The origin of every simulated log.
pub const ORIGIN: &str = "log.example";

/// A log.
#[derive(Debug)]
pub struct Ledger {
    signer: Signer,
    tree: Tree,
    tiles: MemoryTiles,
    entries: Vec<Vec<u8>>,
}

/// The key of every simulated log: the same, whoever has it.
pub fn signer() -> Signer {
    Signer::from_seed(ORIGIN.parse().expect("a key name"), &[0x10; 32])
}

impl Default for Ledger {
    fn default() -> Self {
        Self { signer: signer(), tree: Tree::new(), tiles: MemoryTiles::default(), entries: Vec::new() }
    }
}

impl Ledger {
    /// Appends entries and signs the new checkpoint.
    pub fn append(&mut self, entries: Vec<Vec<u8>>) -> (TreeHead, SignedNote) {
        let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let appended = self.tree.append(&leaves).expect("the tree is not full");
        self.tree = appended.tree;
        self.tiles.0.extend(appended.tiles.into_iter().map(|tile| (tile.path, tile.bytes)));
        self.entries.extend(entries);
        let origin: Origin = ORIGIN.parse().expect("an origin");
        let head = self.tree.head();
        let checkpoint = Checkpoint::new(origin, head).expect("a checkpoint of a real tree");
        (head, checkpoint.sign(&self.signer).expect("the key's name is the origin"))
    }

    /// How many entries it has.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The hashes.
    pub fn tiles(&self) -> &MemoryTiles {
        &self.tiles
    }

    /// The question for a witness that stands at `old`; none where the log was never that large.
    pub fn request(&self, head: TreeHead, note: &SignedNote, old: u64) -> Option<AddCheckpoint> {
        let (_, proof) = TreeView::new(head, &self.tiles).ok()?.consistency(old).ok()?;
        Some(AddCheckpoint::new(old, proof, note.clone()))
    }

    /// An entry, and the proof that it is in the tree of a checkpoint.
    pub fn bundle(&self, index: u64, head: TreeHead, note: &SignedNote) -> Option<(&[u8], TlogProof)> {
        let (_, inclusion): (_, InclusionProof) = TreeView::new(head, &self.tiles).ok()?.inclusion(index).ok()?;
        let entry = self.entries.get(usize::try_from(index).ok()?)?;
        Some((entry, TlogProof::new(inclusion, note.clone()).ok()?))
    }
}
