//! The door, once for everybody: each item is verified by the real door when it is first seen, and what came
//! out is kept by its exact bytes. A thousand nodes that get one item come to one answer; they need not each
//! compute it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use quorate_proto::entry::VerifiedEntry;
use quorate_proto::feed::EquivocationProof;
use quorate_proto::verified::FeedItem;
use quorate_proto::wire::FEED_ITEM_BYTES_MAX;
use quorate_proto::{Digest, OperatorId};

/// An item by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameId(u32);

/// What the door says of an item.
pub type Admission = Result<Rc<VerifiedEntry>, &'static str>;

/// Every item that was ever seen.
#[derive(Debug)]
pub struct Frames {
    enrolled: BTreeSet<OperatorId>,
    kept: Vec<Frame>,
    by_bytes: BTreeMap<Digest, FrameId>,
    proofs: BTreeMap<(FrameId, FrameId), Option<Rc<EquivocationProof>>>,
}

#[derive(Debug)]
struct Frame {
    item: FeedItem,
    bytes: usize,
    admission: Admission,
}

impl FrameId {
    fn index(self) -> usize {
        self.0 as usize
    }
}

impl Frames {
    /// A door for the items of these operators.
    pub fn new(enrolled: BTreeSet<OperatorId>) -> Self {
        Self { enrolled, kept: Vec::new(), by_bytes: BTreeMap::new(), proofs: BTreeMap::new() }
    }

    /// The number of an item; a new one is verified.
    pub fn intern(&mut self, item: &FeedItem) -> FrameId {
        let encoded = item.encode();
        let digest = Digest::of(&encoded);
        if let Some(id) = self.by_bytes.get(&digest) {
            return *id;
        }
        let id = FrameId(u32::try_from(self.kept.len()).expect("fewer than 2^32 items"));
        let admission = if encoded.len() > FEED_ITEM_BYTES_MAX {
            Err("oversized")
        } else {
            VerifiedEntry::verify_item(item, &self.enrolled).map(Rc::new).map_err(|error| error.name())
        };
        self.kept.push(Frame { item: item.clone(), bytes: encoded.len(), admission });
        self.by_bytes.insert(digest, id);
        id
    }

    /// The item.
    pub fn item(&self, id: FrameId) -> &FeedItem {
        &self.kept[id.index()].item
    }

    /// Its encoded length.
    pub fn bytes(&self, id: FrameId) -> usize {
        self.kept[id.index()].bytes
    }

    /// What the door says.
    pub fn admission(&self, id: FrameId) -> &Admission {
        &self.kept[id.index()].admission
    }

    /// The proof that two items are of two histories, if they are.
    pub fn proof(&mut self, held: FrameId, other: FrameId) -> Option<Rc<EquivocationProof>> {
        let make = || {
            let [held, other] = [held, other].map(|id| self.kept[id.index()].item.clone());
            EquivocationProof::verify(held, other, &self.enrolled).ok().map(Rc::new)
        };
        self.proofs.entry((held, other)).or_insert_with(make).clone()
    }
}
