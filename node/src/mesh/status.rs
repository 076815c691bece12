//! `mesh.json` in the data folder: what a running node knows of its peers, feeds and logs, for people and programs.
//!
//! Replaced about once a second while something in it changes; never read by the node itself. The commands `peers`
//! and `sync-status` print it. `docs/spec/cli.md`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use quorate_gossip::{Reach, Snapshot};
use quorate_proto::feed::EquivocationProof;
use quorate_proto::{NodeId, OperatorId};
use serde::{Deserialize, Serialize};

use crate::logs::Shown;
use crate::submit::logged::Logged;

/// The version of the file.
pub const SCHEMA: &str = "quorate-mesh/v1";

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshStatus {
    /// [`SCHEMA`].
    pub schema: String,
    /// The process.
    pub pid: u32,
    /// `open`, `behind`, or `unknown`.
    pub reach: String,
    /// Addresses that it listens on.
    pub listening: Vec<String>,
    /// Addresses that others have confirmed, or that were configured.
    pub external: Vec<String>,
    /// Peers that are connected, known or banned.
    pub peers: Vec<Peer>,
    /// Feeds.
    pub feeds: Vec<Feed>,
    /// Files that held results name and that are not here.
    pub files_wanted: usize,
    /// Bytes of feed sync so far.
    pub sync_bytes: SyncBytes,
    /// Tries to leave a relay for a direct connection so far.
    pub holes: Holes,
    /// Logs that are listened to.
    pub logs: Vec<Log>,
    /// How far the own feed is in the coordinator's log; none where it is not looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<Logged>,
    /// Nodes that have signed two histories.
    pub equivocations: Vec<Equivocation>,
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Its libp2p id.
    pub peer: String,
    /// Its connection; none while it is not connected.
    pub connection: Option<Connection>,
    /// Where it says that it is.
    pub addresses: Vec<String>,
    /// When it was connected last, in seconds since the Epoch.
    pub reached_at: Option<u64>,
    /// Failed dials since.
    pub failures: u32,
    /// What it did wrong, as points that fade; 100 ban.
    pub points: u32,
    /// Whether it is banned.
    pub banned: bool,
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// The other end.
    pub address: String,
    /// `out` where we dialled, else `in`.
    pub direction: String,
    /// Whether it leads through a relay.
    pub relayed: bool,
    /// What the peer says that it runs.
    pub agent: String,
}

/// One feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Feed {
    /// Whose.
    pub node: NodeId,
    /// Entries that are held.
    pub held: u64,
    /// Entries that some connected peer says it holds, if that is more.
    pub told: u64,
}

/// Bytes of feed sync: frames, before encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncBytes {
    /// Received.
    pub received: u64,
    /// Sent.
    pub sent: u64,
}

/// Tries to leave a relay for a direct connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holes {
    /// That went well.
    pub punched: u64,
    /// That did not.
    pub failed: u64,
}

/// One log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Log {
    /// Its origin.
    pub origin: String,
    /// The size of the largest tree that was heard of.
    pub size: Option<u64>,
    /// That tree's root, in base64.
    pub root: Option<String>,
    /// Trees that were not yet shown to continue the ones before them.
    pub unlinked: usize,
    /// The proof that it has shown two views, as `docs/spec/witness.md` has it.
    pub conviction: Option<String>,
}

/// A node with two histories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Equivocation {
    /// Who signed both.
    pub node: NodeId,
    /// Who answers for it.
    pub operator: OperatorId,
    /// The sequence number that was used twice.
    pub sequence: u64,
}

/// Where the file lies.
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("mesh.json")
}

/// Reads the file of a data folder.
pub fn read(data_dir: &Path) -> io::Result<MeshStatus> {
    serde_json::from_slice(&fs::read(path(data_dir))?).map_err(io::Error::other)
}

impl MeshStatus {
    /// What is known now.
    pub fn new(snapshot: Snapshot, logs: Vec<Shown>, own: Option<Logged>, equivocations: &[EquivocationProof]) -> Self {
        let texts = |addresses: &[quorate_gossip::Multiaddr]| addresses.iter().map(ToString::to_string).collect();
        let ((received, sent), (punched, failed)) = (snapshot.sync_bytes, snapshot.holes);
        Self {
            schema: SCHEMA.to_owned(),
            pid: std::process::id(),
            reach: name_of(snapshot.reach).to_owned(),
            listening: texts(&snapshot.listening),
            external: texts(&snapshot.external),
            peers: snapshot.peers.into_iter().map(Peer::from).collect(),
            feeds: snapshot.feeds.iter().map(|feed| Feed { node: feed.node, held: feed.held, told: feed.told }).collect(),
            files_wanted: snapshot.files_wanted,
            sync_bytes: SyncBytes { received, sent },
            holes: Holes { punched, failed },
            logs: logs.into_iter().map(Log::from).collect(),
            own,
            equivocations: equivocations.iter().map(Equivocation::from).collect(),
        }
    }

    /// Entries that peers say they hold and that are not here.
    pub fn missing(&self) -> u64 {
        self.feeds.iter().map(|feed| feed.told.saturating_sub(feed.held)).sum()
    }
}

impl From<quorate_gossip::snapshot::PeerView> for Peer {
    fn from(view: quorate_gossip::snapshot::PeerView) -> Self {
        let connection = view.connection.map(|connection| Connection {
            address: connection.address.to_string(),
            direction: if connection.outgoing { "out" } else { "in" }.to_owned(),
            relayed: connection.relayed,
            agent: connection.agent,
        });
        Self {
            peer: view.peer.to_string(),
            connection,
            addresses: view.addresses.iter().map(ToString::to_string).collect(),
            reached_at: view.reached_at,
            failures: view.failures,
            points: view.points,
            banned: view.banned,
        }
    }
}

impl From<Shown> for Log {
    fn from(shown: Shown) -> Self {
        Self {
            origin: shown.origin.to_string(),
            size: shown.head.map(|(size, _)| size),
            root: shown.head.map(|(_, root)| root.to_string()),
            unlinked: shown.unlinked,
            conviction: shown.conviction.map(|proof| proof.to_string()),
        }
    }
}

impl From<&EquivocationProof> for Equivocation {
    fn from(proof: &EquivocationProof) -> Self {
        Self { node: proof.node(), operator: proof.operator(), sequence: proof.sequence() }
    }
}

fn name_of(reach: Reach) -> &'static str {
    match reach {
        Reach::Automatic => "unknown",
        Reach::Open => "open",
        Reach::Behind => "behind",
    }
}
