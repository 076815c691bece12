//! A late joiner fetches everything from one peer: how many bytes pass for how many bytes of results.
//!
//! `cargo bench -p quorate-gossip --bench late_joiner [-- RESULTS]`. Two swarms, each in a process of its own, over TCP on
//! loopback; a proxy between them counts the bytes of both directions: everything that the network would carry, less
//! the headers of TCP and IP. The joiner verifies every result and keeps none, so that its memory is the mesh's own;
//! that of the other is what it has beside the results that it holds.
#![expect(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a benchmark")]

#[path = "../tests/mesh/author.rs"]
#[expect(dead_code, reason = "shared with tests")]
mod author;
#[path = "../tests/mesh/proxy.rs"]
mod proxy;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use quorate_gossip::{Accepted, FeedStore, Mesh, MeshConfig};
use quorate_proto::certificate::VerifiedCertificate;
use quorate_proto::feed::{FeedHead, FeedStep};
use quorate_proto::verified::{FeedItem, VerifiedStatement};
use quorate_proto::{Digest, NodeId};

use author::{Author, enrolled};

const NODES: u8 = 10;

/// Keeps the envelopes of some nodes, whose certificate is kept once.
struct Keeper {
    feeds: BTreeMap<NodeId, Feed>,
}

/// A certificate, and envelopes that it covers.
type Feed = (Vec<u8>, Vec<Box<[u8]>>);

/// Verifies, counts, and forgets.
struct Joiner {
    certificates: BTreeMap<Digest, VerifiedCertificate>,
    heads: Mutex<BTreeMap<NodeId, FeedHead>>,
    count: AtomicU64,
}

impl FeedStore for Keeper {
    async fn heads(&self) -> Vec<(NodeId, FeedHead)> {
        let ends = self.feeds.iter().filter_map(|(node, (_, envelopes))| Some((node, envelopes.len() as u64, envelopes.last()?)));
        ends.map(|(node, next, last)| (*node, FeedHead::behind(next, Digest::of(last)))).collect()
    }

    async fn entries(&self, node: NodeId, from: u64, bytes_max: usize) -> Vec<FeedItem> {
        let Some((certificate, envelopes)) = self.feeds.get(&node) else { return Vec::new() };
        let mut left = bytes_max;
        let rest = envelopes.iter().skip(usize::try_from(from).unwrap());
        let fitting = rest.take_while(|envelope| {
            let fits = envelope.len() + certificate.len() <= left;
            left = left.saturating_sub(envelope.len() + certificate.len());
            fits
        });
        fitting.map(|envelope| FeedItem { certificate: certificate.clone(), envelope: envelope.to_vec() }).collect()
    }

    async fn blob(&self, _: Digest) -> Option<Vec<u8>> {
        None
    }

    async fn accept(&self, items: Vec<FeedItem>) -> Vec<Accepted> {
        vec![Accepted::Unavailable; items.len()]
    }

    async fn wanted_blobs(&self) -> Vec<Digest> {
        Vec::new()
    }

    async fn put_blob(&self, _: Vec<u8>) {}
}

impl FeedStore for Joiner {
    async fn heads(&self) -> Vec<(NodeId, FeedHead)> {
        self.heads.lock().unwrap().iter().map(|(node, head)| (*node, *head)).collect()
    }

    async fn entries(&self, _: NodeId, _: u64, _: usize) -> Vec<FeedItem> {
        Vec::new()
    }

    async fn blob(&self, _: Digest) -> Option<Vec<u8>> {
        None
    }

    async fn accept(&self, items: Vec<FeedItem>) -> Vec<Accepted> {
        let mut heads = self.heads.lock().unwrap();
        let mut outcomes = Vec::with_capacity(items.len());
        for item in items {
            let certificate = &self.certificates[&Digest::of(&item.certificate)];
            let verified = VerifiedStatement::verify(&item.envelope, certificate).unwrap();
            let position = verified.position();
            let head = heads.entry(position.node).or_default();
            if let FeedStep::Append(next) = head.step(&position, Digest::of(&item.envelope)) {
                *head = next;
                self.count.fetch_add(1, Ordering::Relaxed);
                outcomes.push(Accepted::New);
            } else {
                outcomes.push(Accepted::Duplicate);
            }
        }
        outcomes
    }

    async fn wanted_blobs(&self) -> Vec<Digest> {
        Vec::new()
    }

    async fn put_blob(&self, _: Vec<u8>) {}
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let count = |text: &String| text.parse::<u64>().unwrap() / u64::from(NODES) * u64::from(NODES);
    match arguments.as_slice() {
        [role, address, results] if role == "join" => runtime.block_on(join(address, count(results))),
        other => runtime.block_on(keep(other.first().map_or(1_000_000, count))),
    }
}

fn config() -> MeshConfig {
    MeshConfig { peers_wanted: 0, memory_bytes_max: 16 << 30, ..MeshConfig::default() }
}

/// Makes the results, hands them to one who joins, and says what that took.
async fn keep(results: u64) {
    let (mut feeds, mut size) = (BTreeMap::new(), 0);
    for mut author in (1..=NODES).map(Author::new) {
        let (mut certificate, mut envelopes) = (Vec::new(), Vec::new());
        for _ in 0..results / u64::from(NODES) {
            let item = author.next_plain();
            size += item.envelope.len() as u64;
            envelopes.push(item.envelope.into_boxed_slice());
            certificate = item.certificate;
        }
        feeds.insert(author.node(), (certificate, envelopes));
    }
    let config = MeshConfig { listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()], ..config() };
    let held = memory_mib("VmRSS:");
    let (keeper, _task) = Mesh::start(Author::new(100).key(), config, Arc::new(Keeper { feeds })).unwrap();
    let (address, bytes) = proxy::counted(&keeper.listening().await.unwrap()[0]).await;
    let began = Instant::now();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["join", &address.to_string(), &results.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
    let (passed, seconds) = (bytes.load(Ordering::Relaxed), began.elapsed().as_secs_f64());
    println!(
        "{results} results of {size} bytes: {passed} bytes passed, {:.4} times their size (goal 1.1), in {seconds:.1} s",
        passed as f64 / size as f64
    );
    println!("who has them: {held} MiB resident before, {} MiB at the peak", memory_mib("VmHWM:"));
    print!("{}", String::from_utf8(said.stdout).unwrap());
}

/// Fetches everything.
async fn join(address: &str, results: u64) {
    let mut authors: Vec<Author> = (1..=NODES).map(Author::new).collect();
    let enrolled = enrolled(&authors);
    let known = authors.iter_mut().map(|author| {
        let certificate = VerifiedCertificate::verify(&author.next_plain().certificate, &enrolled).unwrap();
        (Digest::of(certificate.bytes()), certificate)
    });
    let joiner = Arc::new(Joiner { certificates: known.collect(), heads: Mutex::default(), count: AtomicU64::new(0) });
    let before = memory_mib("VmRSS:");
    let config = MeshConfig { bootstrap: vec![address.parse().unwrap()], ..config() };
    let (_mesh, _task) = Mesh::start(Author::new(101).key(), config, Arc::clone(&joiner)).unwrap();
    while joiner.count.load(Ordering::Relaxed) < results {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("who joins: {before} MiB resident before, {} MiB at the peak", memory_mib("VmHWM:"));
}

/// A line of what the system says of this process' memory.
fn memory_mib(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}
