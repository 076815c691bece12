//! Proofs of equivocation on disk: the first of each node, for good.
//!
//! `equivocations/<node>.pb`: the protobuf message `FeedItems` with the two items.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use prost::Message as _;
use quorate_proto::feed::EquivocationProof;
use quorate_proto::verified::FeedItem;
use quorate_proto::{NodeId, OperatorId, api};
use std::collections::BTreeSet;

use super::{FeedError, own};
use crate::durable;

/// The folder of proofs, and the nodes that it convicts.
#[derive(Debug)]
pub(super) struct Proofs {
    dir: PathBuf,
    kept: BTreeMap<NodeId, EquivocationProof>,
}

impl Proofs {
    /// Reads the folder. A file that proves nothing under the operators that are enrolled now is left alone.
    pub(super) fn open(data_dir: &Path, enrolled: &BTreeSet<OperatorId>) -> Result<Self, FeedError> {
        let dir = data_dir.join("equivocations");
        let failed = |source: io::Error| FeedError::Io { path: dir.clone(), source };
        fs::create_dir_all(&dir).and_then(|()| durable::sweep(&dir)).map_err(failed)?;
        let mut kept = BTreeMap::new();
        for entry in fs::read_dir(&dir).map_err(failed)? {
            let bytes = fs::read(entry.map_err(failed)?.path()).map_err(failed)?;
            if let Some(proof) = parse(&bytes, enrolled) {
                kept.insert(proof.node(), proof);
            }
        }
        Ok(Self { dir, kept })
    }

    pub(super) fn has(&self, node: &NodeId) -> bool {
        self.kept.contains_key(node)
    }

    pub(super) fn all(&self) -> Vec<EquivocationProof> {
        self.kept.values().cloned().collect()
    }

    /// Keeps a proof, durably.
    pub(super) fn keep(&mut self, proof: EquivocationProof) -> Result<(), FeedError> {
        let path = self.dir.join(format!("{}.pb", own::stem(&proof.node())));
        let message = api::FeedItems { items: proof.items().iter().map(FeedItem::to_message).collect() };
        durable::replace(&path, &message.encode_to_vec()).map_err(|source| FeedError::Io { path, source })?;
        self.kept.insert(proof.node(), proof);
        Ok(())
    }
}

fn parse(bytes: &[u8], enrolled: &BTreeSet<OperatorId>) -> Option<EquivocationProof> {
    let message = api::FeedItems::decode(bytes).ok()?;
    let [first, second] = message.items.as_slice() else { return None };
    EquivocationProof::verify(FeedItem::from_message(first), FeedItem::from_message(second), enrolled).ok()
}
