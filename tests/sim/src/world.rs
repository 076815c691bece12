//! Nodes on a network, and time. Every event goes to real code; what that code asks for becomes later events.
//!
//! Reading order: the stage that is set here, `world/mesh.rs` (gossip and sync), `world/notices.rs` (what everybody
//! should know), `world/life.rs` (starting, stopping, connections), `world/speech.rs` (signing), `world/work.rs` (tasks)
//! and `world/checks.rs` (holding others' work against one's own), `world/log.rs` (the coordinator and its witnesses).

mod checks;
mod life;
mod log;
mod meeting;
mod mesh;
mod notices;
mod speech;
mod work;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use quorate_gossip::PeerId;
use quorate_gossip::sync::{AskId, Event};
use quorate_proto::hold::Terms;
use quorate_proto::wire::{Notice, SyncRequest, SyncResponse};
use quorate_proto::{ArtifactId, Digest, NodeId, TaskId};
use quorate_tlog::AddCheckpoint;

use crate::agenda::Agenda;
use crate::cast::{Mix, Role, lines, members};
use crate::desk::{Desk, Task};
use crate::frames::{FrameId, Frames};
use crate::ledger::Ledger;
use crate::network::{Conditions, Half, Network};
use crate::node::{Node, Power};
use crate::random::Random;
use crate::witness::Answer;
use crate::work::Job;

pub use meeting::Meetings;
pub use speech::Word;

/// What a run begins with.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// Everything that is by chance follows from it.
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// Which of them are not ordinary.
    pub mix: Mix,
    /// The network.
    pub conditions: Conditions,
    /// About how many connections a node has.
    pub degree: usize,
    /// Clocks are wrong by up to this.
    pub skew_seconds: u64,
    /// Whether results name files that have to be fetched.
    pub files: Files,
    /// Witnesses of the coordinator's log; with none there is no coordinator.
    pub witnesses: usize,
    /// How results of tasks are held back; they are not without.
    pub terms: Option<Terms>,
}

/// Whether results name files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// They name a provenance each.
    Named,
    /// They do not.
    None,
}

/// Something that is going to happen.
#[derive(Clone, Debug)]
pub enum Happening {
    /// A message arrives.
    Arrive {
        /// From whom.
        from: usize,
        /// To whom.
        to: usize,
        /// In which of their lives it was sent.
        lives: (u32, u32),
        /// What.
        message: Message,
    },
    /// Something happens within a node, unless it has been restarted meanwhile.
    Within(usize, u32, Inner),
    /// A node signs a result.
    Say(usize, Word),
    /// Who has two histories signs the next entry of one of them alone.
    Lead(usize, Word),
    /// One of two trees with one key grows by so many entries, and its half hears of it.
    Show(usize, u64),
    /// A release is published.
    Announce(Job),
    /// A node has built it, or pretends to.
    Built(usize, Job),
    /// A node sends what does not count.
    Spam(usize, u32),
    /// Two nodes connect, if they can.
    Connect(usize, usize),
    /// A node stops, for a while.
    Stop(usize, Duration),
    /// A node starts.
    Start(usize),
    /// Two halves stop hearing each other, or hear each other again.
    Split(Option<Vec<Half>>),
    /// Silent connections are seen to be dead.
    Cut,
    /// The coordinator's own.
    Desk(Task),
}

/// Something within a node.
#[derive(Clone, Debug)]
pub enum Inner {
    /// For the sync machine.
    Machine(Box<Event>),
    /// The machine's alarm.
    Alarm,
    /// The look into the store is done.
    Look,
    /// An item is durable and passed on.
    Pass(FrameId, Option<usize>),
    /// What is held back is looked at again.
    Consider(TaskId),
    /// Others' work is checked.
    Check,
    /// What was read is said as one's own.
    Copied(Word),
}

/// What travels.
#[derive(Clone, Debug)]
pub enum Message {
    /// A gossiped item.
    Frame(FrameId),
    /// A sync question.
    Request(AskId, Rc<SyncRequest>),
    /// Its answer.
    Response(AskId, Rc<SyncResponse>),
    /// A gossiped notice, by the digest of its bytes.
    Notice(Digest, Rc<Notice>),
    /// A question to a witness.
    Cosign(u64, Rc<AddCheckpoint>),
    /// Its answer.
    Cosigned(u64, Answer),
}

/// A result that its node has made durable.
#[derive(Clone, Debug)]
pub struct Said {
    /// Which item.
    pub frame: FrameId,
    /// Whose.
    pub by: usize,
    /// What about.
    pub artifact: ArtifactId,
    /// When.
    pub at: Duration,
    /// When each node had it.
    pub held_at: Vec<Option<Duration>>,
}

/// An honest node thought ill of another node.
#[derive(Clone, Debug)]
pub struct Blame {
    /// Who thought so.
    pub by: usize,
    /// Of whom.
    pub of: usize,
    /// Why.
    pub reason: &'static str,
}

/// What was seen from above.
#[derive(Debug, Default)]
pub struct Observed {
    /// Every result of an honest node.
    pub said: Vec<Said>,
    /// What honest nodes held against others.
    pub blames: Vec<Blame>,
    /// How often each node asked each other one.
    pub asked: BTreeMap<(usize, usize), u64>,
    /// When each honest node had a proof against a node.
    pub proven: BTreeMap<(usize, NodeId), Duration>,
    /// Gossiped items that an honest node looked at, by sender.
    pub looked_at: BTreeMap<(usize, usize), u64>,
    /// When each node could convict the log.
    pub log_convicted: BTreeMap<usize, Duration>,
    /// When each node met what it can convict somebody by.
    pub meetings: Meetings,
    /// Restarts after which a witness could not go on.
    pub lost_witnesses: u64,
    said_by_frame: HashMap<FrameId, usize>,
}

/// Everything.
#[derive(Debug)]
pub struct World {
    /// The time since the beginning.
    pub now: Duration,
    /// Every item.
    pub frames: Frames,
    /// Every node; the last is the coordinator, if there is one.
    pub nodes: Vec<Node>,
    /// The coordinator's log.
    pub desk: Option<Desk>,
    /// What was seen from above.
    pub observed: Observed,
    stage: Stage,
    lines: Vec<BTreeSet<usize>>,
    agenda: Agenda<Happening>,
    network: Network,
    random: Random,
    by_peer: HashMap<PeerId, usize>,
    /// The halves of the last split.
    sides: Vec<Half>,
    was_split: bool,
    jobs: BTreeMap<TaskId, Job>,
    terms: Option<Terms>,
    /// Two trees with one key, where there are two.
    twins: Option<Box<[Ledger; 2]>>,
}

impl World {
    /// Sets the stage. Nodes connect within the first half second, late ones when they are started.
    pub fn new(stage: Stage) -> Self {
        let mut random = Random::new(stage.seed);
        let roles = stage.mix.roles(stage.nodes, &mut random);
        let with_desk = stage.witnesses > 0;
        let mut lines = lines(&roles, stage.degree, &mut random);
        let members = members(roles.len() + usize::from(with_desk));
        let desk = with_desk.then(|| Desk::new(&members[..roles.len()], stage.witnesses));
        if with_desk {
            Self::seat_coordinator(&roles, &mut lines, stage.degree, &mut random);
        }
        let enrolled = members.iter().map(quorate_tests::Member::operator).collect();
        let role_of = |number: usize| roles.get(number).copied().unwrap_or(Role::Honest);
        let nodes: Vec<Node> = members
            .into_iter()
            .enumerate()
            .map(|(number, member)| life::node(number, role_of(number), member, &stage, desk.is_some(), &mut random))
            .collect();
        let network = Network::new(stage.conditions, nodes.len(), random.split());
        let by_peer = nodes.iter().enumerate().map(|(number, node)| (node.peer, number)).collect();
        let (frames, observed) = (Frames::new(enrolled), Observed::default());
        let (now, sides, jobs, terms) = (Duration::ZERO, Vec::new(), BTreeMap::new(), stage.terms);
        let mut world = Self {
            now,
            frames,
            nodes,
            desk,
            observed,
            stage,
            lines,
            agenda: Agenda::default(),
            network,
            random,
            by_peer,
            sides,
            was_split: false,
            jobs,
            terms,
            twins: None,
        };
        world.connect_everybody();
        world
    }

    /// The coordinator is connected with so many honest nodes.
    fn seat_coordinator(roles: &[Role], lines: &mut Vec<BTreeSet<usize>>, degree: usize, random: &mut Random) {
        let mut honest: Vec<usize> = (0..roles.len()).filter(|node| roles[*node] == Role::Honest).collect();
        random.shuffle(&mut honest);
        honest.truncate(degree);
        let seat = lines.len();
        for node in &honest {
            lines[*node].insert(seat);
        }
        lines.push(honest.into_iter().collect());
    }

    /// What the run began with.
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// Chance, for who writes the plot.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// Puts down what is going to happen.
    pub fn at(&mut self, at: Duration, happening: Happening) {
        self.agenda.put(at, happening);
    }

    /// Everything happens until `end`.
    pub fn run_until(&mut self, end: Duration) {
        self.agenda.put(end, Happening::Cut);
        while let Some((at, happening)) = self.agenda.take() {
            self.now = at;
            self.happen(happening);
            if self.now >= end {
                return;
            }
        }
    }

    /// How many things have happened or will.
    pub fn events(&self) -> u64 {
        self.agenda.count()
    }

    /// Bytes that were put on the way to a node.
    pub fn bytes_to(&self, node: usize) -> u64 {
        self.network.bytes_to(node)
    }

    /// The honest nodes, the coordinator among them.
    pub fn honest(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].is_honest())
    }

    /// The nodes of a role.
    pub fn those(&self, role: Role) -> Vec<usize> {
        (0..self.stage_nodes()).filter(|node| self.nodes[*node].role == role).collect()
    }

    /// How many nodes there are beside the coordinator.
    pub fn stage_nodes(&self) -> usize {
        self.nodes.len() - usize::from(self.desk.is_some())
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrive { from, to, lives, message } => self.arrive(from, to, lives, message),
            Happening::Within(node, life, inner) if self.nodes[node].life == life && self.nodes[node].power == Power::On => {
                self.within(node, inner);
            }
            Happening::Within(..) => {}
            Happening::Say(node, word) => self.say(node, word),
            Happening::Lead(node, word) => self.lead(node, word),
            Happening::Show(view, count) => self.show(view, count),
            Happening::Announce(job) => self.announce(job),
            Happening::Built(node, job) => self.built(node, job),
            Happening::Spam(node, count) => self.spam(node, count),
            Happening::Connect(a, b) => self.connect(a, b),
            Happening::Stop(node, pause) => self.stop(node, pause),
            Happening::Start(node) => self.start(node),
            Happening::Split(halves) => self.split(halves),
            Happening::Cut => self.cut(),
            Happening::Desk(task) => self.desk_task(task),
        }
    }

    fn within(&mut self, node: usize, inner: Inner) {
        match inner {
            Inner::Machine(event) => self.machine(node, *event),
            Inner::Alarm => self.alarm(node),
            Inner::Look => self.looked(node),
            Inner::Pass(frame, except) => self.pass_on(node, frame, except),
            Inner::Consider(task) => self.consider(node, task),
            Inner::Check => self.check(node),
            Inner::Copied(word) => self.copied(node, word),
        }
    }

    /// Something within a node, after a while.
    fn later(&mut self, node: usize, after: Duration, inner: Inner) {
        let life = self.nodes[node].life;
        self.agenda.put(self.now + after, Happening::Within(node, life, inner));
    }

    /// Sends a message; what becomes of it is the network's.
    fn send(&mut self, from: usize, to: usize, bytes: usize, message: &Message) {
        let lives = (self.nodes[from].life, self.nodes[to].life);
        for at in self.network.send(from, to, bytes, self.now) {
            let message = message.clone();
            self.agenda.put(at, Happening::Arrive { from, to, lives, message });
        }
    }
}
