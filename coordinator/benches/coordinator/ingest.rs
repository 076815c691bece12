//! Results verified, durable and logged a second, against `verify_strict` on the same cores.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ed25519_dalek::{Signature, Signer as _, SigningKey};
use quorate_coordinator::daemon::{Core, Parts};
use quorate_gossip::Accepted;
use quorate_proto::SecretKey;
use quorate_proto::verified::FeedItem;
use tokio::runtime::Runtime;

use crate::fixture::{Network, artifact, identical};
use crate::{Scale, report};

const NODES: usize = 5;
const CHUNK: usize = 250;

pub(crate) fn run(runtime: &Runtime, scale: Scale) {
    let mut network = Network::new(u8::try_from(NODES).unwrap());
    let feeds: Vec<Vec<FeedItem>> = (0..NODES).map(|node| feed(&mut network, node, scale.results / NODES)).collect();
    let message_bytes = feeds[0][0].envelope.len() * 3 / 4;
    let ceiling = ceiling(scale.span, message_bytes);
    println!("verify_strict: {ceiling:.0} a second on all cores, messages of {message_bytes} bytes");

    let folder = tempfile::tempdir().unwrap();
    let policy = network.policy(3).into_bytes();
    let parts = Parts {
        data_dir: folder.path().to_path_buf(),
        origin: "quorate.example/bench".into(),
        log_key: SecretKey::from_seed(&[7; 32]),
        statement_key: SecretKey::from_seed(&[7; 32]),
        policy,
        request_timeout: Duration::from_secs(10),
    };
    let core = runtime.block_on(async { tokio::task::spawn_blocking(move || Core::start(parts)).await.unwrap().unwrap() });
    let count: usize = feeds.iter().map(Vec::len).sum();
    let began = Instant::now();
    runtime.block_on(submit_all(&core, feeds));
    let acknowledged = began.elapsed().as_secs_f64();
    report("results verified, durable and logged a second", count as f64 / acknowledged, ceiling, 40);
    let size = drained(&core);
    let all = began.elapsed().as_secs_f64();
    report("the same, until every verdict is logged too", count as f64 / all, ceiling, 0);
    println!("log size {size}, of which {count} results");
    core.stop();
}

fn feed(network: &mut Network, node: usize, count: usize) -> Vec<FeedItem> {
    let artifacts = (0..count).map(|n| artifact("package", &format!("1.{n}"), ""));
    artifacts.map(|artifact| network.nodes[node].sign(&artifact, identical(&artifact))).collect()
}

async fn submit_all(core: &Core, feeds: Vec<Vec<FeedItem>>) {
    let tasks = feeds.into_iter().map(|feed| {
        let app = Arc::clone(&core.app);
        tokio::spawn(async move {
            for chunk in feed.chunks(CHUNK) {
                let outcomes = app.ingest.accept(chunk.to_vec()).await;
                assert!(outcomes.iter().all(|outcome| *outcome == Accepted::New), "{outcomes:?}");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

/// Waits until the log stands still.
fn drained(core: &Core) -> u64 {
    let size = || core.app.store().log().published().head.size;
    let (mut last, mut since) = (size(), Instant::now());
    while since.elapsed() < Duration::from_millis(300) {
        thread::sleep(Duration::from_millis(5));
        let now = size();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

fn ceiling(span: Duration, message_bytes: usize) -> f64 {
    let cores = thread::available_parallelism().unwrap().get();
    let key = SigningKey::from_bytes(&[7; 32]);
    let message = vec![b'x'; message_bytes];
    let signature: Signature = key.sign(&message);
    let verify = || {
        let verifying = key.verifying_key();
        let began = Instant::now();
        let mut count = 0_u32;
        while began.elapsed() < span {
            verifying.verify_strict(std::hint::black_box(&message), &signature).unwrap();
            count += 1;
        }
        f64::from(count) / began.elapsed().as_secs_f64()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(verify)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}
