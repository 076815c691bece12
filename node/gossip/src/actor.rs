//! The task that owns the swarm: carries out what the sync machine decides, and answers peers.

mod events;
mod notices;
mod peers;
mod reach;
mod serve;
mod show;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use libp2p::gossipsub::PublishError;
use libp2p::identity::Keypair;
use libp2p::request_response::OutboundRequestId;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{PeerId, Swarm};
use quorate_proto::feed::FeedHead;
use quorate_proto::wire::{BeginningWanted, SyncRequest, Told, notices_digest};
use quorate_proto::{Digest, NodeId, OperatorId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::behaviour::Behaviour;
use crate::circuits::Circuits;
use crate::counters::{Counters, Place};
use crate::dial::Dialer;
use crate::ingest::{self, Deliveries, Delivery, Judged};
use crate::limit::{FRAMES, Limiter, OPERATOR_ITEMS, REQUESTS};
use crate::mesh::{MeshConfig, Status};
use crate::penalty::Offence;
use crate::snapshot::Snapshot;
use crate::standing::{Standing, Turn};
use crate::store::{FeedStore, WANTED_MAX};
use crate::sync::{AskId, Effect, Event, Sync};
use crate::topics::feed_topic;
use notices::{Heard, Notices};
use peers::Acquaintance;
pub(crate) use peers::wall;
use reach::Ways;
use serve::{Reply, Serving};

/// Answers that wait for the swarm; producers wait when it is full.
const REPLIES_MAX: usize = 64;

/// Looks into the store that wait for the machine. One at a time is under way.
const LOOKS_MAX: usize = 4;

/// Own frames that are kept for the first listener. Older ones come by sync.
const UNHEARD_MAX: usize = 64;

/// How often bootstrap addresses and rate limits are looked at.
const HOUSEKEEPING: Duration = Duration::from_millis(250);

/// Beginnings of trees that are asked for at a time.
const BEGINNINGS_MAX: usize = 16;

/// How often the store is looked at when nothing else causes it: own items come in by another door.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What handles ask for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Gossip this frame.
    Publish(Vec<u8>),
    /// Look into the store: something in it is new.
    Look,
    /// Say what is known.
    Describe(oneshot::Sender<Snapshot>),
    /// End.
    Stop,
}

/// What a look into the store brought.
#[derive(Debug)]
struct Looked {
    held: Vec<(NodeId, FeedHead)>,
    wanted: Vec<Digest>,
    told: Vec<Told>,
    beginnings: Vec<BeginningWanted>,
}

/// Whom a dial is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dial {
    /// The bootstrap address of this number.
    Bootstrap(usize),
    /// A peer of the book.
    Known(PeerId),
}

/// What an actor begins with.
pub(crate) struct Start {
    pub(crate) keypair: Keypair,
    pub(crate) config: MeshConfig,
    pub(crate) counters: Counters,
    pub(crate) status: watch::Sender<Status>,
}

pub(crate) struct Actor<S> {
    swarm: Swarm<Behaviour>,
    store: Arc<S>,
    sync: Sync,
    dialer: Dialer,
    dials: HashMap<ConnectionId, Dial>,
    acquaintance: Acquaintance,
    ways: Ways,
    notices: Notices,
    asks: HashMap<OutboundRequestId, (AskId, SyncRequest)>,
    frames: Limiter<PeerId>,
    requests: Limiter<PeerId>,
    operators: Limiter<OperatorId>,
    standing: Standing,
    serving: Serving,
    counters: Counters,
    status: watch::Sender<Status>,
    channels: Channels,
    /// The newest own frames that nobody was there to hear, newest first.
    unheard: VecDeque<Vec<u8>>,
    looking: Looking,
    files_wanted: usize,
    beginnings_wanted: usize,
    began: Instant,
    looked_at: Duration,
    wake_at: Option<Duration>,
}

/// Whether a look into the store is under way, and whether another is due after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looking {
    No,
    UnderWay,
    AgainAfterwards,
}

struct Channels {
    deliveries: Deliveries,
    judged: mpsc::Receiver<Judged>,
    reply: mpsc::Sender<Reply>,
    replies: mpsc::Receiver<Reply>,
    look: mpsc::Sender<Looked>,
    looks: mpsc::Receiver<Looked>,
    hear: mpsc::Sender<Heard>,
    heard: mpsc::Receiver<Heard>,
}

impl<S: FeedStore> Actor<S> {
    /// Starts the task that feeds the store, too.
    pub(crate) fn new(swarm: Swarm<Behaviour>, store: Arc<S>, start: Start) -> Self {
        let Start { keypair, config, counters, status } = start;
        let (deliveries, waiting) = ingest::queues();
        let (outbox, judged) = ingest::verdicts();
        let (reply, replies) = mpsc::channel(REPLIES_MAX);
        let (look, looks) = mpsc::channel(LOOKS_MAX);
        let (hear, heard) = mpsc::channel(notices::HEARD_MAX);
        tokio::spawn(ingest::run(Arc::clone(&store), waiting, outbox));
        Self {
            swarm,
            store,
            sync: Sync::new(config.seed),
            acquaintance: Acquaintance::new(keypair, &config),
            ways: Ways::new(Circuits::new(config.reach)),
            notices: Notices::default(),
            dialer: Dialer::new(config.bootstrap),
            dials: HashMap::new(),
            asks: HashMap::new(),
            frames: Limiter::new(FRAMES),
            requests: Limiter::new(REQUESTS),
            operators: Limiter::new(OPERATOR_ITEMS),
            standing: Standing::default(),
            serving: Serving::default(),
            counters,
            status,
            channels: Channels { deliveries, judged, reply, replies, look, looks, hear, heard },
            unheard: VecDeque::new(),
            looking: Looking::No,
            files_wanted: 0,
            beginnings_wanted: 0,
            began: Instant::now(),
            looked_at: Duration::ZERO,
            wake_at: None,
        }
    }

    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
        self.open_book().await;
        self.look();
        loop {
            let wake = self.began + self.wake_at.unwrap_or(Duration::from_hours(1));
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Publish(frame)) => self.publish(frame),
                    Some(Command::Look) => self.look(),
                    Some(Command::Describe(answer)) => drop(answer.send(self.snapshot())),
                    Some(Command::Stop) | None => break,
                },
                event = self.swarm.select_next_some() => self.on_swarm(event),
                Some(judged) = self.channels.judged.recv() => self.on_judged(judged),
                Some(reply) = self.channels.replies.recv() => self.on_reply(reply),
                Some(looked) = self.channels.looks.recv() => self.on_looked(looked),
                Some(heard) = self.channels.heard.recv() => self.on_heard(heard),
                () = tokio::time::sleep_until(wake), if self.wake_at.is_some() => self.feed_machine(Event::Tick),
                _ = housekeeping.tick() => self.keep_house(),
            }
        }
        self.close_book().await;
    }

    /// The time since the actor began.
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// What nobody listens to yet is said again when somebody comes; what does not fit, sync brings.
    fn publish(&mut self, frame: Vec<u8>) {
        let outcome = match self.swarm.behaviour_mut().gossip.publish(feed_topic(), frame.clone()) {
            Ok(_) | Err(PublishError::Duplicate) => "gossiped",
            Err(PublishError::NoPeersSubscribedToTopic) => {
                self.unheard.truncate(UNHEARD_MAX - 1);
                self.unheard.push_front(frame);
                "unheard"
            }
            Err(error) => {
                tracing::debug!(%error, "own item not gossiped; sync will bring it");
                "not-gossiped"
            }
        };
        self.counters.count(Place::Publish, outcome);
        self.look();
    }

    fn say_again(&mut self) {
        for frame in std::mem::take(&mut self.unheard).into_iter().rev() {
            self.publish(frame);
        }
    }

    fn keep_house(&mut self) {
        let now = self.now();
        self.frames.forget_full(now);
        self.requests.forget_full(now);
        self.operators.forget_full(now);
        self.serving.forget_old(now);
        self.swarm.behaviour_mut().gate.sweep();
        if now.saturating_sub(self.looked_at) >= LOOK_EVERY {
            self.look();
        }
        for (index, address) in self.dialer.due(now) {
            self.dial(Dial::Bootstrap(index), address.into());
        }
        self.dial_more();
        self.lift_bans();
        self.leave_relays(now);
        self.keep_ways(now);
        self.save_book(now);
    }

    fn dial(&mut self, dial: Dial, options: DialOpts) {
        let id = options.connection_id();
        self.dials.insert(id, dial);
        match self.swarm.dial(options) {
            Ok(()) => {}
            Err(error) => self.on_dial_failure(id, &error),
        }
    }

    fn on_dial_failure(&mut self, id: ConnectionId, error: &DialError) {
        let Some(dial) = self.dials.remove(&id) else { return };
        self.counters.count(Place::Connection, "dial-failed");
        tracing::debug!(%error, ?dial, "not reached");
        match (dial, error) {
            (Dial::Bootstrap(index), DialError::LocalPeerId { .. }) => self.dialer.own(index),
            (Dial::Bootstrap(index), _) => self.dialer.failed(index, self.now()),
            // Limits and dials that were under way already are no failures of the peer.
            (Dial::Known(_), DialError::Denied { .. } | DialError::DialPeerConditionFalse(_) | DialError::Aborted) => {}
            (Dial::Known(peer), _) => self.acquaintance.failed(peer),
        }
    }

    /// Gives the machine an event and does what it says, until it has nothing more to say.
    fn feed_machine(&mut self, event: Event) {
        self.wake_at = None;
        for effect in self.sync.handle(event, self.began.elapsed()) {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Ask { id, peer, request } => {
                let sent = self.swarm.behaviour_mut().sync.send_request(&peer, request.encode());
                self.asks.insert(sent, (id, request));
            }
            Effect::Store { id, peer, items } => self.deliver_answer(id, peer, items),
            Effect::Keep(bytes) => self.keep(bytes),
            Effect::Look => self.look(),
            Effect::Misbehaved { peer, reason } => {
                self.counters.count(Place::Sync, reason);
                tracing::debug!(%peer, reason, "peer broke the sync protocol");
                self.punish(peer, Offence::Rejected);
            }
            Effect::Meet { peer, records } => self.meet(peer, &records),
            Effect::Hear { peer, notices } => self.hear_answer(peer, notices),
            Effect::Link { peer, wanted, beginning } => self.link(peer, wanted, beginning),
            Effect::WakeAt(at) => self.wake_at = Some(at),
        }
    }

    fn deliver_answer(&mut self, id: AskId, peer: PeerId, items: Vec<quorate_proto::verified::FeedItem>) {
        // It was asked for, and one question is under way a peer.
        if self.channels.deliveries.put(Turn::First, Delivery::Answer { peer, id, items }).is_some() {
            self.counters.count(Place::Sync, "busy");
            self.feed_machine(Event::Failed { id, peer });
        }
    }

    fn keep(&mut self, bytes: Vec<u8>) {
        self.counters.count(Place::Sync, "blob");
        let (store, look) = (Arc::clone(&self.store), self.channels.look.clone());
        tokio::spawn(async move {
            store.put_blob(bytes).await;
            let _ = look.send(looked(store.as_ref()).await).await;
        });
    }

    /// Looks into the store in the background; one look at a time.
    fn look(&mut self) {
        if self.looking != Looking::No {
            self.looking = Looking::AgainAfterwards;
            return;
        }
        self.looking = Looking::UnderWay;
        self.looked_at = self.now();
        let (store, look) = (Arc::clone(&self.store), self.channels.look.clone());
        tokio::spawn(async move {
            let _ = look.send(looked(store.as_ref()).await).await;
        });
    }

    fn on_looked(&mut self, looked: Looked) {
        let again = self.looking == Looking::AgainAfterwards;
        self.looking = Looking::No;
        (self.files_wanted, self.beginnings_wanted) = (looked.wanted.len(), looked.beginnings.len());
        self.feed_machine(Event::Held(looked.held));
        self.feed_machine(Event::Wanted(looked.wanted));
        self.feed_machine(Event::Known { notices: notices_digest(&looked.told), beginnings: looked.beginnings });
        self.tell(looked.told);
        if again {
            self.look();
        }
    }
}

async fn looked<S: FeedStore>(store: &S) -> Looked {
    let mut wanted = store.wanted_blobs().await;
    wanted.truncate(WANTED_MAX);
    let mut beginnings = store.wanted_beginnings().await;
    beginnings.truncate(BEGINNINGS_MAX);
    Looked { held: store.heads().await, wanted, told: store.notices().await, beginnings }
}
