//! Two hundred peers flood one node: what that does to its memory and to honest traffic.
//!
//! `cargo bench -p quorate-gossip --bench flood [-- SECONDS]`. Three processes on loopback: the node; the flood, 200
//! peers that send frames as fast as they get rid of them, and come back under a new name when they are shut out;
//! an honest peer that says something ten times a second. Printed: the node's resident size before and at its peak,
//! and the time from when an honest item was said to when it was durable at the node. The flood and the node share
//! the machine's cores, so the times are an upper bound.
#![expect(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a benchmark")]

#[path = "../tests/mesh/author.rs"]
#[expect(dead_code, reason = "shared with tests")]
mod author;
#[path = "../tests/mesh/memory.rs"]
mod memory;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use futures::StreamExt as _;
use libp2p::gossipsub::{self, ConfigBuilder, IdentTopic, MessageAuthenticity, MessageId, ValidationMode};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm, SwarmBuilder, noise, tcp, yamux};
use quorate_gossip::{Mesh, MeshConfig};
use quorate_proto::Digest;
use quorate_proto::verified::FeedItem;
use quorate_proto::wire::{FEED_TOPIC, NOTICE_TOPIC};

use author::{Author, environment};
use memory::MemoryStore;

const ATTACKERS: usize = 200;
const HONEST: u8 = 1;

/// Each attacker has this many frames to send at this pace: 200 a second, seldom, so that the flood's process spends its
/// time on sending.
const FRAMES: usize = 20;
const PACE: Duration = Duration::from_millis(100);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match arguments.as_slice() {
        [role, address] if role == "attack" => runtime.block_on(attack(&address.parse().unwrap())),
        [role, address] if role == "honest" => runtime.block_on(honest(address.parse().unwrap())),
        other => runtime.block_on(node(other.first().and_then(|seconds| seconds.parse().ok()).unwrap_or(60))),
    }
}

/// Starts the others, looks at itself, and says what came out.
async fn node(seconds: u64) {
    let author = Author::new(HONEST);
    let store = Arc::new(MemoryStore::new([author.operator()].into()));
    store.put(environment());
    let config = MeshConfig { listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()], ..MeshConfig::default() };
    let (mesh, _task) = Mesh::start(Author::new(9).key(), config, Arc::clone(&store)).unwrap();
    let address = mesh.listening().await.unwrap()[0].to_string();
    let said = Arc::new(Mutex::new(BTreeMap::new()));
    let mut honest = child("honest", &address);
    let (out, sink) = (honest.stdout.take().unwrap(), Arc::clone(&said));
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let (sequence, at) = line.split_once(' ').unwrap();
            sink.lock().unwrap().insert(sequence.parse::<u64>().unwrap(), at.parse::<u128>().unwrap());
        }
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (before, mut came) = (resident_mib(), BTreeMap::new());
    let mut attackers = child("attack", &address);
    let (began, flooded_from, mut peak, mut seen) = (Instant::now(), nanoseconds(), before, 0);
    while began.elapsed() < Duration::from_secs(seconds) {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let held = store.held().iter().map(|(_, head)| head.next()).sum::<u64>();
        came.extend((seen..held).map(|sequence| (sequence, nanoseconds())));
        (seen, peak) = (held, peak.max(resident_mib()));
    }
    let connected = mesh.status().borrow().peers.len();
    attackers.kill().unwrap();
    honest.kill().unwrap();
    let _ = (attackers.wait(), honest.wait());
    let said = said.lock().unwrap();
    // What was said in the last seconds and is not there yet counts as having waited until now.
    let now = nanoseconds();
    let waited = |(sequence, at): (&u64, &u128)| (seconds_between(*at, came.get(sequence).copied().unwrap_or(now)), *at);
    // What was said before the flood was not watched.
    let mut waits: Vec<(f64, u128)> = said.iter().filter(|(_, at)| **at >= flooded_from).map(waited).collect();
    waits.sort_by(|one, other| one.0.total_cmp(&other.0));
    let worst_at = waits.last().map_or(0.0, |(_, at)| seconds_between(flooded_from, *at));
    let at = |percent: usize| waits[(waits.len() - 1) * percent / 100].0;
    println!("{ATTACKERS} peers flood one node for {seconds} s; {connected} connected at the end");
    println!("resident: {before} MiB before, {peak} MiB at the peak");
    let (count, p50, p99, worst) = (waits.len(), at(50), at(99), at(100));
    println!("{count} honest items, said to durable: p50 {p50:.3} s, p99 {p99:.3} s, worst {worst:.3} s, {worst_at:.1} s into the flood");
    for ((place, outcome), count) in mesh.counters().snapshot() {
        println!("  {} {outcome}: {count}", place.name());
    }
}

fn child(role: &str, address: &str) -> Child {
    let stdout = if role == "honest" { Stdio::piped() } else { Stdio::null() };
    Command::new(std::env::current_exe().unwrap()).args([role, address]).stdout(stdout).spawn().unwrap()
}

/// Says something ten times a second, and when.
async fn honest(address: Multiaddr) {
    let mut author = Author::new(HONEST);
    let store = Arc::new(MemoryStore::new([author.operator()].into()));
    store.put(environment());
    let config = MeshConfig { bootstrap: vec![address], peers_wanted: 0, ..MeshConfig::default() };
    let (mesh, _task) = Mesh::start(author.key(), config, Arc::clone(&store)).unwrap();
    mesh.status().wait_for(|status| status.heads_heard > 0).await.unwrap();
    let mut out = std::io::stdout();
    loop {
        let sequence = author.head().next();
        let item = author.next_plain();
        store.take_in(&item);
        writeln!(out, "{sequence} {}", nanoseconds()).and_then(|()| out.flush()).unwrap();
        mesh.publish(&item);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn attack(address: &Multiaddr) {
    let attackers = (0..ATTACKERS).map(|number| {
        let address = address.clone();
        tokio::spawn(async move {
            for life in 0_u64.. {
                flood(address.clone(), number, life).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
    });
    futures::future::join_all(attackers).await;
}

/// One life of one attacker: until it is shut out.
async fn flood(address: Multiaddr, number: usize, life: u64) {
    let (mut swarm, template) = (attacker(), template(number));
    swarm.dial(address).unwrap();
    let mut sent: u64 = 0;
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = swarm.select_next_some() => match event {
                SwarmEvent::ConnectionClosed { num_established: 0, .. } | SwarmEvent::OutgoingConnectionError { .. } => return,
                _ => {}
            },
            _ = pace.tick() => {
                if swarm.behaviour().all_peers().any(|(_, topics)| !topics.is_empty()) {
                    for _ in 0..FRAMES {
                        sent += 1;
                        let topic = if sent.is_multiple_of(4) { NOTICE_TOPIC } else { FEED_TOPIC };
                        let _ = swarm.behaviour_mut().publish(IdentTopic::new(topic), frame(&template, number, life, sent));
                    }
                }
            }
        }
    }
}

/// Every attacker has its own way.
fn template(number: usize) -> Vec<u8> {
    match number % 4 {
        // Noise of the largest size.
        0 => vec![b'x'; 64 * 1024],
        // A well-formed item of nobody.
        1 => FeedItem { certificate: vec![b'x'; 500], envelope: vec![b'x'; 1500] }.encode(),
        // Signed by a stranger.
        2 => Author::new(100).next().encode(),
        // In the name of the honest one, and not signed by it.
        _ => Author::new(HONEST).next().encode(),
    }
}

/// No frame comes twice: a mark stands in the middle of each.
fn frame(template: &[u8], number: usize, life: u64, sent: u64) -> Vec<u8> {
    let mark = format!("{number:04}{life:06}{sent:010}");
    let (mut frame, middle) = (template.to_vec(), template.len() / 2);
    frame[middle..middle + mark.len()].copy_from_slice(mark.as_bytes());
    frame
}

fn attacker() -> Swarm<gossipsub::Behaviour> {
    let config = ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .max_transmit_size(1 << 20)
        .heartbeat_initial_delay(Duration::from_millis(50))
        .message_id_fn(|message| {
            let named = [message.topic.as_str().as_bytes(), b"\0", &message.data].concat();
            MessageId::from(Digest::of(&named).as_bytes().to_vec())
        })
        .build()
        .unwrap();
    let mut gossip = gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config).unwrap();
    for topic in [FEED_TOPIC, NOTICE_TOPIC] {
        gossip.subscribe(&IdentTopic::new(topic)).unwrap();
    }
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| gossip)
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_mins(10)))
        .build()
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn nanoseconds() -> u128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos()
}

fn seconds_between(from: u128, to: u128) -> f64 {
    to.saturating_sub(from) as f64 / 1e9
}
