//! How long a result waits to be durable when results come at half the pace that is possible.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_gossip::Accepted;
use quorate_proto::verified::FeedItem;
use tokio::runtime::Runtime;

use crate::Scale;
use crate::fixture::Network;
use crate::ingest::{NODES, feed, start};

/// Goal for 99 of 100.
const GOAL: Duration = Duration::from_millis(100);

/// Every node signs at a steady pace and hands in what has come up since its last answer. `a_second` is what the
/// coordinator has just been seen to take in.
pub(crate) fn run(runtime: &Runtime, scale: Scale, a_second: f64) {
    let pace = a_second / 2.0 / NODES as f64;
    let count = (pace * scale.span.as_secs_f64() * 2.0).ceil();
    let count: usize = format!("{count:.0}").parse().unwrap();
    let mut network = Network::new(u8::try_from(NODES).unwrap());
    let feeds: Vec<Vec<FeedItem>> = (0..NODES).map(|node| feed(&mut network, node, count)).collect();
    let (core, _folder) = start(runtime, &network);
    let began = Instant::now();
    let mut waits = runtime.block_on(async {
        let tasks: Vec<_> = feeds
            .into_iter()
            .enumerate()
            .map(|(node, feed)| {
                let phase = Duration::from_secs_f64(node as f64 / NODES as f64 / pace);
                tokio::spawn(steadily(Arc::clone(&core.app), feed, began + phase, Duration::from_secs_f64(1.0 / pace)))
            })
            .collect();
        let mut waits = Vec::new();
        for task in tasks {
            waits.extend(task.await.unwrap());
        }
        waits
    });
    let rate = waits.len() as f64 / began.elapsed().as_secs_f64();
    core.stop();
    waits.sort_unstable();
    let wait_of = |percent: f64| {
        let at: usize = format!("{:.0}", (waits.len() - 1) as f64 * percent / 100.0).parse().unwrap();
        waits[at].as_secs_f64() * 1_000.0
    };
    println!(
        "signed to durable at {rate:.0} results a second, half of {a_second:.0}: median {:.1} ms, p99 {:.1} ms, most {:.1} ms (goal p99 < {} ms)",
        wait_of(50.0),
        wait_of(99.0),
        wait_of(100.0),
        GOAL.as_millis()
    );
}

/// For each result how long it took from the moment that it was due.
async fn steadily(app: quorate_coordinator::serve::App, feed: Vec<FeedItem>, first: Instant, every: Duration) -> Vec<Duration> {
    let mut waits = Vec::with_capacity(feed.len());
    let due = |number: usize| first + every * u32::try_from(number).unwrap();
    let mut feed = feed.into_iter();
    while feed.len() > 0 {
        tokio::time::sleep_until(due(waits.len()).into()).await;
        let now = Instant::now();
        let many = (0..feed.len()).take_while(|more| due(waits.len() + more) <= now).count().max(1);
        let outcomes = app.ingest.accept(feed.by_ref().take(many).collect()).await;
        assert!(outcomes.iter().all(|outcome| *outcome == Accepted::New), "{outcomes:?}");
        let answered = Instant::now();
        for _ in outcomes {
            waits.push(answered - due(waits.len()));
        }
    }
    waits
}
