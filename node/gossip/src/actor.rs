//! The task that owns the swarm: carries out what the sync machine decides, and answers peers.

mod events;
mod serve;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use libp2p::gossipsub::PublishError;
use libp2p::request_response::OutboundRequestId;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{PeerId, Swarm};
use quorate_proto::wire::SyncRequest;
use quorate_proto::{Digest, NodeId};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::behaviour::{Behaviour, feed_topic};
use crate::counters::{Counters, Place};
use crate::dial::Dialer;
use crate::ingest::{self, DELIVERIES_MAX, Delivery, Judged};
use crate::limit::{FRAMES, Limiter, REQUESTS};
use crate::mesh::{MeshConfig, Status};
use crate::store::{FeedStore, WANTED_MAX};
use crate::sync::{AskId, Effect, Event, Sync};
use serve::{Reply, Serving};

/// Answers that wait for the swarm; producers wait when it is full.
const REPLIES_MAX: usize = 64;

/// Looks into the store that wait for the machine. One at a time is under way.
const LOOKS_MAX: usize = 4;

/// Own frames that are kept for the first listener. Older ones come by sync.
const UNHEARD_MAX: usize = 64;

/// How often bootstrap addresses and rate limits are looked at.
const HOUSEKEEPING: Duration = Duration::from_millis(250);

/// How often the store is looked at when nothing else causes it: own items come in by another door.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What handles ask for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Gossip this frame.
    Publish(Vec<u8>),
    /// End.
    Stop,
}

/// What a look into the store brought.
#[derive(Debug)]
struct Looked {
    held: Vec<(NodeId, u64)>,
    wanted: Vec<Digest>,
}

pub(crate) struct Actor<S> {
    swarm: Swarm<Behaviour>,
    store: Arc<S>,
    sync: Sync,
    dialer: Dialer,
    dials: HashMap<ConnectionId, usize>,
    asks: HashMap<OutboundRequestId, (AskId, SyncRequest)>,
    frames: Limiter,
    requests: Limiter,
    serving: Serving,
    counters: Counters,
    status: watch::Sender<Status>,
    channels: Channels,
    /// The newest own frames that nobody was there to hear, newest first.
    unheard: VecDeque<Vec<u8>>,
    looking: Looking,
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
    deliveries: mpsc::Sender<Delivery>,
    judged: mpsc::Receiver<Judged>,
    reply: mpsc::Sender<Reply>,
    replies: mpsc::Receiver<Reply>,
    look: mpsc::Sender<Looked>,
    looks: mpsc::Receiver<Looked>,
}

impl<S: FeedStore> Actor<S> {
    /// Starts the task that feeds the store, too.
    pub(crate) fn new(
        swarm: Swarm<Behaviour>,
        store: Arc<S>,
        config: MeshConfig,
        counters: Counters,
        status: watch::Sender<Status>,
    ) -> Self {
        let (deliveries, inbox) = mpsc::channel(DELIVERIES_MAX);
        let (outbox, judged) = mpsc::channel(DELIVERIES_MAX);
        let (reply, replies) = mpsc::channel(REPLIES_MAX);
        let (look, looks) = mpsc::channel(LOOKS_MAX);
        tokio::spawn(ingest::run(Arc::clone(&store), inbox, outbox));
        Self {
            swarm,
            store,
            sync: Sync::new(config.seed),
            dialer: Dialer::new(config.bootstrap),
            dials: HashMap::new(),
            asks: HashMap::new(),
            frames: Limiter::new(FRAMES),
            requests: Limiter::new(REQUESTS),
            serving: Serving::default(),
            counters,
            status,
            channels: Channels { deliveries, judged, reply, replies, look, looks },
            unheard: VecDeque::new(),
            looking: Looking::No,
            began: Instant::now(),
            looked_at: Duration::ZERO,
            wake_at: None,
        }
    }

    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
        self.look();
        loop {
            let wake = self.began + self.wake_at.unwrap_or(Duration::from_hours(1));
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Publish(frame)) => self.publish(frame),
                    Some(Command::Stop) | None => return,
                },
                event = self.swarm.select_next_some() => self.on_swarm(event),
                Some(judged) = self.channels.judged.recv() => self.on_judged(judged),
                Some(reply) = self.channels.replies.recv() => self.on_reply(reply),
                Some(looked) = self.channels.looks.recv() => self.on_looked(looked),
                () = tokio::time::sleep_until(wake), if self.wake_at.is_some() => self.feed_machine(Event::Tick),
                _ = housekeeping.tick() => self.keep_house(),
            }
        }
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
        self.serving.forget_old(now);
        if now.saturating_sub(self.looked_at) >= LOOK_EVERY {
            self.look();
        }
        for (index, address) in self.dialer.due(now) {
            let options: DialOpts = address.clone().into();
            let id = options.connection_id();
            self.dials.insert(id, index);
            match self.swarm.dial(options) {
                Ok(()) => {}
                Err(error) => self.on_dial_failure(id, &error),
            }
        }
    }

    fn on_dial_failure(&mut self, id: ConnectionId, error: &DialError) {
        let Some(index) = self.dials.remove(&id) else { return };
        self.counters.count(Place::Connection, "dial-failed");
        tracing::debug!(%error, "bootstrap address not reached");
        match error {
            DialError::LocalPeerId { .. } => self.dialer.own(index),
            _ => self.dialer.failed(index, self.now()),
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
            }
            Effect::WakeAt(at) => self.wake_at = Some(at),
        }
    }

    fn deliver_answer(&mut self, id: AskId, peer: PeerId, items: Vec<quorate_proto::verified::FeedItem>) {
        if self.channels.deliveries.try_send(Delivery::Answer { peer, id, items }).is_err() {
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
        self.feed_machine(Event::Held(looked.held));
        self.feed_machine(Event::Wanted(looked.wanted));
        if again {
            self.look();
        }
    }
}

async fn looked<S: FeedStore>(store: &S) -> Looked {
    let mut wanted = store.wanted_blobs().await;
    wanted.truncate(WANTED_MAX);
    Looked { held: store.heads().await, wanted }
}
