//! Results verified, durable and logged a second, against `verify_strict` on the same cores.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use quorate_coordinator::daemon::{Core, Parts};
use quorate_gossip::Accepted;
use quorate_proto::SecretKey;
use quorate_proto::verified::FeedItem;
use tokio::runtime::Runtime;

use crate::ceiling::{self, cpu_seconds};
use crate::fixture::{Network, artifact, identical};
use crate::{Scale, report};

/// Nodes that catch up at once.
pub(crate) const NODES: usize = 20;

/// Items of one submission: what a node that catches up hands in, the most that the API takes.
const CHUNK: usize = 1_000;

/// How many results a second became durable.
pub(crate) fn run(runtime: &Runtime, scale: Scale) -> f64 {
    let mut network = Network::new(u8::try_from(NODES).unwrap());
    let feeds: Vec<Vec<FeedItem>> = (0..NODES).map(|node| feed(&mut network, node, scale.results / NODES)).collect();
    let message_bytes = feeds[0][0].envelope.len() * 3 / 4;
    let before = ceiling::verification(scale.span, message_bytes);
    let (core, _folder) = start(runtime, &network);
    let held = core.app.store().durable_writes();
    let count: usize = feeds.iter().map(Vec::len).sum();
    let (began, cpu) = (Instant::now(), cpu_seconds());
    runtime.block_on(submit_all(&core, feeds));
    let (acknowledged, cpu_acknowledged) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let (size, still_since) = drained(&core);
    let (all, cpu_all) = ((still_since - began).as_secs_f64(), cpu_seconds() - cpu);
    let writes = core.app.store().durable_writes();
    core.stop();
    // Others use this machine too: the ceiling is what it was before and after, not at the better moment.
    let after = ceiling::verification(scale.span, message_bytes);
    let ceiling = f64::midpoint(before.a_second, after.a_second);
    let rates = (before.a_second, after.a_second);
    println!("verify_strict: {:.0} a second before, {:.0} after, on all cores, messages of {message_bytes} bytes", rates.0, rates.1);
    report("results verified, durable and logged a second", count as f64 / acknowledged, ceiling, 60);
    report("the same, until every verdict is logged too", count as f64 / all, ceiling, 0);
    // Neighbours slow both down, but do not use our processor time: a ratio that they cannot bend.
    let each = |seconds: f64| 1e6 * seconds / count as f64;
    let (one, share) = (each(cpu_acknowledged), 1e6 * f64::midpoint(before.cpu_seconds, after.cpu_seconds));
    println!(
        "processor time: {one:.0} µs a result, {share:.0} µs a verification = {:.1} %; {:.0} µs with verdicts",
        100.0 * share / one,
        each(cpu_all)
    );
    let (stages, commits) = (writes.stages - held.stages, writes.commits - held.commits);
    println!(
        "log size {size}, of which {count} results; {commits} batches, durable writes: {stages} stage files and {commits} checkpoints, \
         {:.2} a batch (goal ≤ 2); beside them {} settlings and {} folds",
        (stages + commits) as f64 / commits as f64,
        writes.settlings - held.settlings,
        writes.folds - held.folds
    );
    count as f64 / acknowledged
}

/// A coordinator in a folder of its own.
pub(crate) fn start(runtime: &Runtime, network: &Network) -> (Core, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let parts = Parts {
        data_dir: folder.path().to_path_buf(),
        origin: "quorate.example/bench".into(),
        log_key: SecretKey::from_seed(&[7; 32]),
        statement_key: SecretKey::from_seed(&[7; 32]),
        policy: network.policy(3).into_bytes(),
        request_timeout: Duration::from_secs(10),
        witnesses: None,
    };
    let core = runtime.block_on(async { tokio::task::spawn_blocking(move || Core::start(parts)).await.unwrap().unwrap() });
    (core, folder)
}

pub(crate) fn feed(network: &mut Network, node: usize, count: usize) -> Vec<FeedItem> {
    let artifacts = (0..count).map(|n| artifact("package", &format!("1.{n}"), ""));
    artifacts.map(|artifact| network.nodes[node].sign(&artifact, identical(&artifact))).collect()
}

async fn submit_all(core: &Core, feeds: Vec<Vec<FeedItem>>) {
    let tasks = feeds.into_iter().map(|feed| {
        let app = Arc::clone(&core.app);
        let mut feed = feed.into_iter();
        tokio::spawn(async move {
            loop {
                let chunk: Vec<FeedItem> = feed.by_ref().take(CHUNK).collect();
                if chunk.is_empty() {
                    break;
                }
                let outcomes = app.ingest.accept(chunk).await;
                assert!(outcomes.iter().all(|outcome| *outcome == Accepted::New), "{outcomes:?}");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

/// Waits until every verdict is logged and the log stands still. Its size, and since when.
fn drained(core: &Core) -> (u64, Instant) {
    let size = || core.app.store().log().published().head.size;
    let (mut last, mut since) = (size(), Instant::now());
    while core.app.ingest.metrics().untallied.get() > 0 || since.elapsed() < Duration::from_secs(2) {
        thread::sleep(Duration::from_millis(5));
        let now = size();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    (last, since)
}
