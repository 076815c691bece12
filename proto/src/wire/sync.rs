//! The questions and answers of the protocol `/quorate/sync/2`.

use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::{Notice, SYNC_BYTES_MAX, Told, WireError, check_size, digest_of, items_of, items_to_message, node_id, position};
use crate::feed::FeedHead;
use crate::verified::FeedItem;
use crate::{Digest, NodeId, api};

/// Largest encoded request, in bytes.
const REQUEST_BYTES_MAX: usize = 256;

/// Largest signed address record, in bytes.
pub const PEER_RECORD_BYTES_MAX: usize = 2048;

/// How many of them one answer may have.
pub const PEER_RECORDS_MAX: usize = 32;

/// How many notices one answer may have.
const NOTICES_MAX: usize = 1024;

/// How many heads one answer may have: each takes at most 84 bytes.
const HEADS_MAX: usize = (SYNC_BYTES_MAX - 1024) / 84;

/// The longest consistency proof of any tree, in hashes.
const PATH_HASHES_MAX: usize = 64;

/// What a peer asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncRequest {
    /// The heads of every feed that the peer holds.
    Heads {
        /// [`heads_digest`] of one's own: where they are equal nothing has to be told.
        known: Option<Digest>,
    },
    /// Entries of one feed from a sequence number on.
    Entries {
        /// Whose feed.
        node: NodeId,
        /// The first one wanted.
        from: u64,
    },
    /// A content-addressed file.
    Blob(Digest),
    /// Signed addresses of other peers.
    Peers,
    /// What everybody should know.
    Notices {
        /// [`notices_digest`] of what one knows.
        known: Option<Digest>,
    },
    /// How a tree begins.
    Beginning(BeginningWanted),
}

/// A question after the root over the first leaves of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BeginningWanted {
    /// SHA-256 of the log's origin.
    pub log: Digest,
    /// How many first leaves.
    pub old_size: u64,
    /// The tree's size.
    pub size: u64,
    /// The tree's root.
    pub root: [u8; 32],
}

/// How a tree begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// The root over the first leaves.
    pub root: [u8; 32],
    /// The consistency proof from there to the tree.
    pub path: Vec<[u8; 32]>,
}

/// What a peer answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncResponse {
    /// Feeds with the end of each.
    Heads(Vec<(NodeId, FeedHead)>),
    /// Consecutive entries; empty when there is none.
    Entries(Vec<FeedItem>),
    /// The file, if the peer holds it.
    Blob(Option<Vec<u8>>),
    /// What the asker has already.
    Same,
    /// Signed address records, which nobody has checked.
    Peers(Vec<Vec<u8>>),
    /// What everybody should know.
    Notices(Vec<Notice>),
    /// How the tree begins, if the peer has it.
    Beginning(Option<Beginning>),
}

/// The digest of heads, whatever their order: SHA-256 of `quorate/heads/v2`, a zero byte, and for each node in
/// ascending order its 32 bytes, the big-endian sequence number that comes next, and the digest of the last entry's
/// envelope. Feeds without an entry are left out.
pub fn heads_digest(heads: impl IntoIterator<Item = (NodeId, FeedHead)>) -> Digest {
    let ends = heads.into_iter().filter_map(|(node, head)| Some((*node.as_bytes(), head.next(), head.last()?)));
    let mut ends: Vec<_> = ends.collect();
    ends.sort_unstable();
    let mut hash = Sha256::new_with_prefix(b"quorate/heads/v2\0");
    for (node, next, last) in ends {
        hash.update(node);
        hash.update(next.to_be_bytes());
        hash.update(last.as_bytes());
    }
    Digest::from_bytes(hash.finalize().into())
}

/// The digest of what somebody knows, whatever its order: SHA-256 of `quorate/notices/v1`, a zero byte, and what
/// each notice is about in ascending order.
pub fn notices_digest(told: &[Told]) -> Digest {
    let mut about: Vec<_> = told.iter().map(|told| told.about).collect();
    about.sort_unstable();
    about.dedup();
    let mut hash = Sha256::new_with_prefix(b"quorate/notices/v1\0");
    for about in about {
        hash.update(about.as_bytes());
    }
    Digest::from_bytes(hash.finalize().into())
}

impl SyncRequest {
    /// The encoded message.
    pub fn encode(&self) -> Vec<u8> {
        use api::sync_request::Want;
        let known = |digest: &Option<Digest>| digest.map(|digest| digest.as_bytes().to_vec()).unwrap_or_default().into();
        let want = match self {
            Self::Heads { known: digest } => Want::Heads(api::Heads { known: known(digest) }),
            Self::Entries { node, from } => Want::Entries(position(node, *from)),
            Self::Blob(digest) => Want::Blob(digest.as_bytes().to_vec().into()),
            Self::Peers => Want::Peers(api::Peers {}),
            Self::Notices { known: digest } => Want::Notices(api::Notices { known: known(digest) }),
            Self::Beginning(wanted) => Want::Beginning(wanted.to_message()),
        };
        api::SyncRequest { want: Some(want) }.encode_to_vec()
    }

    /// Reads a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        use api::sync_request::Want;
        check_size(bytes, REQUEST_BYTES_MAX)?;
        match api::SyncRequest::decode(bytes).map_err(WireError::Malformed)?.want {
            Some(Want::Heads(heads)) => Ok(Self::Heads { known: known(&heads.known)? }),
            Some(Want::Entries(p)) => Ok(Self::Entries { node: node_id(&p.node)?, from: p.next }),
            Some(Want::Blob(digest)) => Ok(Self::Blob(digest_of(&digest)?)),
            Some(Want::Peers(_)) => Ok(Self::Peers),
            Some(Want::Notices(notices)) => Ok(Self::Notices { known: known(&notices.known)? }),
            Some(Want::Beginning(wanted)) => BeginningWanted::from_message(&wanted).map(Self::Beginning),
            None => Err(WireError::Field("want")),
        }
    }
}

impl SyncResponse {
    /// The encoded message.
    pub fn encode(&self) -> Vec<u8> {
        use api::sync_response::Have;
        let have = match self {
            Self::Heads(heads) => {
                Have::Heads(api::FeedHeads { heads: heads.iter().map(|(node, head)| head_to_message(node, head)).collect() })
            }
            Self::Entries(items) => Have::Entries(items_to_message(items)),
            Self::Blob(content) => Have::Blob(api::Blob { content: content.clone().map(Into::into) }),
            Self::Same => Have::Same(api::Same {}),
            Self::Peers(records) => Have::Peers(api::PeerRecords { records: records.iter().cloned().map(Into::into).collect() }),
            Self::Notices(notices) => Have::Notices(api::NoticeList { notices: notices.iter().map(Notice::to_message).collect() }),
            Self::Beginning(beginning) => Have::Beginning(beginning.as_ref().map(Beginning::to_message).unwrap_or_default()),
        };
        api::SyncResponse { have: Some(have) }.encode_to_vec()
    }

    /// Reads a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        use api::sync_response::Have;
        check_size(bytes, SYNC_BYTES_MAX)?;
        match api::SyncResponse::decode(bytes).map_err(WireError::Malformed)?.have {
            Some(Have::Heads(heads)) => heads.heads.iter().map(head_of).collect::<Result<_, _>>().map(Self::Heads),
            Some(Have::Entries(entries)) => items_of(&entries).map(Self::Entries),
            Some(Have::Blob(blob)) => Ok(Self::Blob(blob.content.map(|content| content.to_vec()))),
            Some(Have::Same(_)) => Ok(Self::Same),
            Some(Have::Peers(peers)) => {
                check_count(peers.records.len(), PEER_RECORDS_MAX)?;
                peers.records.iter().try_for_each(|record| check_size(record, PEER_RECORD_BYTES_MAX))?;
                Ok(Self::Peers(peers.records.iter().map(|record| record.to_vec()).collect()))
            }
            Some(Have::Notices(list)) => {
                check_count(list.notices.len(), NOTICES_MAX)?;
                list.notices.iter().map(Notice::from_message).collect::<Result<_, _>>().map(Self::Notices)
            }
            Some(Have::Beginning(beginning)) => Beginning::from_message(&beginning).map(Self::Beginning),
            None => Err(WireError::Field("have")),
        }
    }

    /// As many heads as fit into one answer. Where not all of them do, others come with each `turn`: whoever makes feeds
    /// without end delays those of others, and keeps none out.
    pub fn of_heads(mut heads: Vec<(NodeId, FeedHead)>, turn: u64) -> Self {
        if heads.len() > HEADS_MAX {
            let turns = heads.len().div_ceil(HEADS_MAX);
            let turn = usize::try_from(turn).unwrap_or(0) % turns;
            heads.rotate_left(turn * HEADS_MAX);
            heads.truncate(HEADS_MAX);
        }
        Self::Heads(heads)
    }

    /// As many notices as fit into one answer.
    pub fn of_notices(told: impl IntoIterator<Item = Told>) -> Self {
        let mut left = SYNC_BYTES_MAX - 1024;
        let fits = |notice: &Notice| match left.checked_sub(notice.encode().len() + 8) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        };
        Self::Notices(told.into_iter().map(|told| told.notice).take_while(fits).take(NOTICES_MAX).collect())
    }
}

impl BeginningWanted {
    fn to_message(self) -> api::TreeBeginning {
        api::TreeBeginning {
            log: self.log.as_bytes().to_vec().into(),
            old_size: self.old_size,
            size: self.size,
            root: self.root.to_vec().into(),
        }
    }

    fn from_message(message: &api::TreeBeginning) -> Result<Self, WireError> {
        let root = hash(&message.root)?;
        Ok(Self { log: digest_of(&message.log)?, old_size: message.old_size, size: message.size, root })
    }
}

impl Beginning {
    fn to_message(&self) -> api::Beginning {
        api::Beginning { root: self.root.to_vec().into(), path: self.path.iter().map(|hash| hash.to_vec().into()).collect() }
    }

    fn from_message(message: &api::Beginning) -> Result<Option<Self>, WireError> {
        if message.root.is_empty() {
            return Ok(None);
        }
        check_count(message.path.len(), PATH_HASHES_MAX)?;
        let path = message.path.iter().map(|bytes| hash(bytes)).collect::<Result<_, _>>()?;
        Ok(Some(Self { root: hash(&message.root)?, path }))
    }
}

fn head_to_message(node: &NodeId, head: &FeedHead) -> api::FeedHead {
    let last = head.last().map(|last| last.as_bytes().to_vec()).unwrap_or_default();
    api::FeedHead { node: node.as_bytes().to_vec().into(), next: head.next(), last: last.into() }
}

fn head_of(message: &api::FeedHead) -> Result<(NodeId, FeedHead), WireError> {
    let head = match (message.next, message.last.is_empty()) {
        (0, true) => FeedHead::default(),
        (0, false) => return Err(WireError::Field("last")),
        (next, _) => FeedHead::behind(next, digest_of(&message.last)?),
    };
    Ok((node_id(&message.node)?, head))
}

fn known(bytes: &[u8]) -> Result<Option<Digest>, WireError> {
    if bytes.is_empty() { Ok(None) } else { digest_of(bytes).map(Some) }
}

fn hash(bytes: &[u8]) -> Result<[u8; 32], WireError> {
    bytes.try_into().map_err(|_| WireError::Field("hash"))
}

fn check_count(got: usize, limit: usize) -> Result<(), WireError> {
    if got > limit { Err(WireError::TooMany { got, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::SecretKey;

    fn node(number: u8) -> NodeId {
        SecretKey::from_seed(&[number; 32]).node_id()
    }

    #[test]
    fn every_question_and_answer_survives_the_wire() {
        let digest = Digest::of(b"x");
        let wanted = BeginningWanted { log: digest, old_size: 3, size: 7, root: [7; 32] };
        let requests = [
            SyncRequest::Heads { known: None },
            SyncRequest::Heads { known: Some(digest) },
            SyncRequest::Entries { node: node(1), from: 9 },
            SyncRequest::Blob(digest),
            SyncRequest::Peers,
            SyncRequest::Notices { known: Some(digest) },
            SyncRequest::Beginning(wanted),
        ];
        for request in requests {
            assert_eq!(SyncRequest::decode(&request.encode()).unwrap(), request);
        }
        let item = FeedItem { certificate: vec![1], envelope: vec![2] };
        let notices = vec![
            Notice::Checkpoint(b"note".to_vec()),
            Notice::LogEquivocation(b"proof".to_vec()),
            Notice::FeedEquivocation(Box::new([item.clone(), FeedItem { certificate: vec![1], envelope: vec![3] }])),
        ];
        let responses = [
            SyncResponse::Heads(vec![(node(1), FeedHead::behind(3, digest)), (node(2), FeedHead::default())]),
            SyncResponse::Entries(vec![item]),
            SyncResponse::Blob(None),
            SyncResponse::Blob(Some(Vec::new())),
            SyncResponse::Same,
            SyncResponse::Peers(vec![vec![1; 10], Vec::new()]),
            SyncResponse::Notices(notices),
            SyncResponse::Beginning(None),
            SyncResponse::Beginning(Some(Beginning { root: [1; 32], path: vec![[2; 32], [3; 32]] })),
        ];
        for response in responses {
            assert_eq!(SyncResponse::decode(&response.encode()).unwrap(), response);
        }
    }

    #[test]
    fn equal_heads_have_equal_digests_in_any_order_and_no_others() {
        let behind = |next| FeedHead::behind(next, Digest::of(b"last"));
        let heads = [(node(1), behind(3)), (node(2), behind(1))];
        let digest = heads_digest(heads);
        assert_eq!(heads_digest([heads[1], heads[0], (node(3), FeedHead::default())]), digest);
        assert_ne!(heads_digest([(node(1), behind(1)), (node(2), behind(3))]), digest);
        assert_ne!(heads_digest([heads[0]]), digest);
        let other = (node(2), FeedHead::behind(1, Digest::of(b"another history")));
        assert_ne!(heads_digest([heads[0], other]), digest, "of one length and another history");
    }

    #[test]
    fn a_head_without_the_digest_of_its_last_entry_is_refused() {
        use api::sync_response::Have;
        let node = node(1).as_bytes().to_vec();
        for (next, last) in [(3, Vec::new()), (3, vec![1; 31]), (0, vec![1; 32])] {
            let heads = vec![api::FeedHead { node: node.clone().into(), next, last: last.into() }];
            let message = api::SyncResponse { have: Some(Have::Heads(api::FeedHeads { heads })) };
            assert!(matches!(SyncResponse::decode(&message.encode_to_vec()), Err(WireError::Field(_))));
        }
    }

    #[test]
    fn equal_state_of_a_hundred_nodes_is_told_in_less_than_a_hundred_bytes() {
        let heads = (0..100).map(|n| (node(n), FeedHead::behind(1_000_000, Digest::of(&[n]))));
        let request = SyncRequest::Heads { known: Some(heads_digest(heads)) };
        assert!(request.encode().len() + SyncResponse::Same.encode().len() < 100);
    }

    #[test]
    fn more_feeds_than_fit_into_an_answer_are_told_in_turns() {
        let nodes: Vec<_> = (0..7).map(node).collect();
        let count = HEADS_MAX * 2 + 5;
        let head = |n: usize| (nodes[n % 7], FeedHead::behind(u64::MAX - n as u64, Digest::of(b"last")));
        let heads: Vec<_> = (0..count).map(head).collect();
        assert!(SyncResponse::Heads(heads.clone()).encode().len() > SYNC_BYTES_MAX);
        let mut told = std::collections::BTreeSet::new();
        for turn in 7..10 {
            let answer = SyncResponse::of_heads(heads.clone(), turn);
            assert!(answer.encode().len() <= SYNC_BYTES_MAX);
            let SyncResponse::Heads(some) = answer else { panic!("heads") };
            told.extend(some);
        }
        assert_eq!(told, heads.iter().copied().collect());
        assert_eq!(SyncResponse::of_heads(heads[..9].to_vec(), 3), SyncResponse::Heads(heads[..9].to_vec()));
    }

    #[test]
    fn more_parts_than_anybody_sends_are_refused() {
        let records = SyncResponse::Peers(vec![Vec::new(); PEER_RECORDS_MAX + 1]).encode();
        assert!(matches!(SyncResponse::decode(&records), Err(WireError::TooMany { .. })));
        let long = SyncResponse::Peers(vec![vec![0; PEER_RECORD_BYTES_MAX + 1]]).encode();
        assert!(matches!(SyncResponse::decode(&long), Err(WireError::TooLarge { .. })));
        let path = SyncResponse::Beginning(Some(Beginning { root: [1; 32], path: vec![[2; 32]; 65] })).encode();
        assert!(matches!(SyncResponse::decode(&path), Err(WireError::TooMany { .. })));
    }
}
