//! `quorate-coordinator check`: verifies a data directory that nobody writes to, and changes nothing.
//!
//! Recomputes the root from the entries, compares every tile, follows stage files to what the index has
//! committed, and checks every index row that a leaf must have. Rows that are not yet on disk must follow from
//! stage files.

use std::fmt;
use std::fs;

use anyhow::{Context as _, bail, ensure};
use quorate_tlog::tile::TILE_WIDTH;
use quorate_tlog::{Checkpoint, Entry, Tree, TreeHead, VerifierKey};

use crate::store::Inspection;
use crate::store::files::Paths;

/// What was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The published checkpoint's size.
    pub published: u64,
    /// The committed size, that of the index.
    pub committed: u64,
    /// Its root.
    pub root: String,
    /// Batches that are staged and not yet settled.
    pub stages: usize,
    /// Results that the index leads to.
    pub results: u64,
    /// Verdicts that the index leads to.
    pub verdicts: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ok: published {}, committed {}, root {}, {} unsettled batches, {} results, {} verdicts",
            self.published, self.committed, self.root, self.stages, self.results, self.verdicts
        )
    }
}

/// Checks a data directory.
pub fn check(paths: &Paths) -> anyhow::Result<Report> {
    let vkey = fs::read_to_string(paths.vkey()).context("reading the log's verifier key")?;
    let key: VerifierKey = vkey.trim_end().parse().context("reading the log's verifier key")?;
    let inspection = Inspection::open(paths).context("opening the data directory")?;
    let published = published_head(paths, &key)?;
    let mut tree = published_tree(&inspection, &published)?;
    ensure!(
        tree.root() == published.root,
        "entries give root {} at size {}, the checkpoint says {}",
        tree.root(),
        published.size,
        published.root
    );

    let committed = match inspection.committed_note()? {
        Some(note) => *Checkpoint::open(&note, &key).context("opening the checkpoint in the index")?.head(),
        None => TreeHead::empty(),
    };
    let stages = inspection.stages()?;
    for (start, root, leaves) in &stages {
        if start + leaves.len() as u64 <= tree.size() {
            continue;
        }
        ensure!(*start == tree.size() && *root == tree.root(), "a stage file begins at {start}, the log ends at {}", tree.size());
        if tree.size() < committed.size {
            tree = tree.append(&leaves.iter().map(Entry::leaf_hash).collect::<Vec<_>>())?.tree;
        }
    }
    ensure!(
        committed.size >= published.size,
        "the index (size {}) is behind the published checkpoint ({})",
        committed.size,
        published.size
    );
    ensure!(
        tree.head() == committed,
        "entries and stage files give size {} root {}, the index says size {} root {}",
        tree.size(),
        tree.root(),
        committed.size,
        committed.root
    );
    let folded = inspection.folded()?;
    let owed_from = stages.first().map_or(committed.size, |(start, ..)| *start);
    ensure!(
        (owed_from..=committed.size).contains(&folded),
        "the index has rows up to size {folded}; stage files begin at {owed_from}, committed is {}",
        committed.size
    );
    let (results, verdicts) = inspection.check_rows(&published, folded)?;
    Ok(Report {
        published: published.size,
        committed: committed.size,
        root: committed.root.to_string(),
        stages: stages.len(),
        results,
        verdicts,
    })
}

/// The newest checkpoint that has its tiles in place, whether it waits for witnesses or not.
fn published_head(paths: &Paths, key: &VerifierKey) -> anyhow::Result<TreeHead> {
    let mut newest = TreeHead::empty();
    for note in [paths.checkpoint(), paths.waiting_checkpoint()].iter().filter_map(|path| fs::read(path).ok()) {
        let head = *Checkpoint::open(&note, key).context("opening the published checkpoint")?.head();
        if head.size >= newest.size {
            newest = head;
        }
    }
    Ok(newest)
}

/// The tree of the published entries; every tile on the way must be the one that is served.
fn published_tree(inspection: &Inspection, published: &TreeHead) -> anyhow::Result<Tree> {
    let mut tree = Tree::new();
    for index in 0..published.size.div_ceil(u64::from(TILE_WIDTH)) {
        let entries = inspection.bundle(index, published.size)?;
        let appended = tree.append(&entries.iter().map(Entry::leaf_hash).collect::<Vec<_>>())?;
        for tile in &appended.tiles {
            let is_served = tile.path.width().is_full() || appended.tree.size() == published.size;
            if is_served && inspection.tile(&tile.path)? != tile.bytes {
                bail!("{} is not what the entries give", tile.path);
            }
        }
        tree = appended.tree;
    }
    Ok(tree)
}
