//! One node: what is on its disk, and what it forgets when it restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_gossip::PeerId;
use quorate_gossip::limit::{FRAMES, Limiter, OPERATOR_ITEMS, REQUESTS};
use quorate_gossip::sync::Sync;
use quorate_proto::build_witness::BuildWitness;
use quorate_proto::claims::Claims;
use quorate_proto::hold::Sightings;
use quorate_proto::{Digest, NodeId, OperatorId, TaskId, Timestamp};
use quorate_tests::{Member, SIGNED_AT};
use quorate_tlog::Views;

use crate::cast::Role;
use crate::frames::FrameId;
use crate::store::Store;
use crate::witness::WitnessDesk;
use crate::work::{Hold, Trade};

/// A node.
#[derive(Debug)]
pub struct Node {
    /// How it behaves.
    pub role: Role,
    /// How it comes by its results.
    pub trade: Trade,
    /// Its keys.
    pub member: Member,
    /// Its name on the mesh.
    pub peer: PeerId,
    /// How far its clock is ahead, in seconds.
    pub skew_seconds: i64,
    /// What is on its disk.
    pub store: Store,
    /// The disk of its second history, for who has one.
    pub twin: Option<Store>,
    /// What it witnesses, if it does.
    pub witness: Option<WitnessDesk>,
    /// What it holds back, on its disk.
    pub holds: BTreeMap<TaskId, Hold>,
    /// The tasks that it has copied a result of, and the build witness that this had.
    pub copied: BTreeMap<TaskId, Option<BuildWitness>>,
    /// What it has heard of the log: the real machine, on its disk.
    pub views: Views,
    /// Which of two trees it has a copy of.
    pub mirrors: Option<usize>,
    /// Whether it runs.
    pub power: Power,
    /// How often it was started: what was sent to an earlier life does not reach a later one.
    pub life: u32,
    /// With whom it is connected.
    pub links: BTreeSet<usize>,
    /// What it forgets when it stops.
    pub memory: Memory,
}

/// Whether a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// It runs.
    On,
    /// It does not.
    Off,
}

/// What a node forgets when it stops.
#[derive(Debug)]
pub struct Memory {
    /// What to ask whom: the real machine.
    pub sync: Sync,
    /// When the machine wants to be woken.
    pub wake_at: Option<Duration>,
    /// When it will be, at the latest.
    pub alarm: Option<Duration>,
    /// Messages that gossip has seen.
    pub seen: BTreeSet<FrameId>,
    /// Notices that gossip has seen.
    pub seen_notices: BTreeSet<Digest>,
    /// What it has told.
    pub told: BTreeSet<Digest>,
    /// What each peer may send: the real buckets.
    pub frames: Limiter<PeerId>,
    /// What each peer may ask.
    pub requests: Limiter<PeerId>,
    /// What is passed on of each operator's.
    pub operators: Limiter<OperatorId>,
    /// Whether a look into the store is under way.
    pub look: Look,
    /// What it has seen of every task: the real machine.
    pub sightings: Sightings,
    /// Which results of others it is to check: the real machine.
    pub claims: Claims,
    /// Whether a round of checks is planned.
    pub checking: Look,
}

/// Looks into the store and rounds of checks, one of each at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// None is under way.
    Idle,
    /// One is.
    UnderWay,
}

impl Memory {
    /// A fresh start.
    pub fn new(seed: u64, own: &Member) -> Self {
        let (sightings, claims) = (Sightings::new(own.operator()), Claims::new(own.node(), own.operator()));
        Self {
            sync: Sync::new(seed),
            wake_at: None,
            alarm: None,
            seen: BTreeSet::new(),
            seen_notices: BTreeSet::new(),
            told: BTreeSet::new(),
            frames: Limiter::new(FRAMES),
            requests: Limiter::new(REQUESTS),
            operators: Limiter::new(OPERATOR_ITEMS),
            look: Look::Idle,
            sightings,
            claims,
            checking: Look::Idle,
        }
    }
}

impl Node {
    /// Its key.
    pub fn id(&self) -> NodeId {
        self.member.node()
    }

    /// What its clock says.
    pub fn clock(&self, now: Duration) -> Timestamp {
        Timestamp::from_unix_seconds(SIGNED_AT.saturating_add(self.skew_seconds)).plus(now)
    }

    /// Whether promises are made to it.
    pub fn is_honest(&self) -> bool {
        self.role.is_honest() && self.trade.is_honest()
    }
}
