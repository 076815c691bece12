//! What the mesh shows of itself: for people, metrics and files, never for decisions.

use libp2p::{Multiaddr, PeerId};
use quorate_proto::NodeId;

use crate::mesh::Reach;

/// The mesh at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Addresses that it listens on.
    pub listening: Vec<Multiaddr>,
    /// Addresses that others have confirmed, or that were configured.
    pub external: Vec<Multiaddr>,
    /// Whether it can be dialled, as far as that is known; [`Reach::Automatic`] until then.
    pub reach: Reach,
    /// Peers that are connected, known or banned.
    pub peers: Vec<PeerView>,
    /// Feeds with how far they are held and how far some peer says that it is.
    pub feeds: Vec<FeedView>,
    /// Files that held results name and that are not here.
    pub files_wanted: usize,
    /// Trees of which is asked how they begin.
    pub beginnings_wanted: usize,
    /// Bytes of feed sync received and sent.
    pub sync_bytes: (u64, u64),
    /// Tries to leave a relay for a direct connection: that went well, and that did not.
    pub holes: (u64, u64),
}

/// One peer.
#[derive(Clone, Debug)]
pub struct PeerView {
    /// Its id.
    pub peer: PeerId,
    /// Its connection, if it is connected.
    pub connection: Option<ConnectionView>,
    /// Where it says that it is.
    pub addresses: Vec<Multiaddr>,
    /// The number of its address record.
    pub sequence: Option<u64>,
    /// When it was connected last, in seconds since the Epoch.
    pub reached_at: Option<u64>,
    /// Failed dials since.
    pub failures: u32,
    /// What it did wrong, as points that fade.
    pub points: u32,
    /// Whether it is banned.
    pub banned: bool,
}

/// A connection.
#[derive(Clone, Debug)]
pub struct ConnectionView {
    /// The other end.
    pub address: Multiaddr,
    /// Whether we dialled.
    pub outgoing: bool,
    /// Whether it leads through a relay.
    pub relayed: bool,
    /// What the peer says that it runs.
    pub agent: String,
}

/// One feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedView {
    /// Whose.
    pub node: NodeId,
    /// Entries that are held.
    pub held: u64,
    /// Entries that some connected peer says it holds, if that is more.
    pub told: u64,
}
