//! One operator enters thousands of results about one file: nobody's tally, bundle or index grows with them.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;

use quorate_proto::ArtifactId;
use quorate_proto::api::submit_outcome::Status;
use quorate_proto::bundle::Bundle;
use quorate_proto::verified::FeedItem;
use quorate_tally::share::{NODES_OF_AN_OPERATOR_MAX, RESULTS_OF_A_NODE_MAX};
use quorate_tally::{Ballot, Policy, State};
use quorate_tests::{Member, artifact, different, identical, policy};

use crate::commitments::recomputed;
use crate::harness::{Place, Running};

const NODES: usize = 20;
const FLOOD: usize = 5_000;

async fn bundle(running: &Running, about: &ArtifactId) -> Bundle {
    let (status, bytes) = running.get(&format!("/api/v1/artifacts/{}/bundle", about.digest)).await;
    assert_eq!(status, 200);
    Bundle::parse(&bytes).unwrap()
}

async fn submit(running: &mut Running, items: &[FeedItem]) {
    for items in items.chunks(500) {
        let outcomes = running.submit(items).await.unwrap();
        assert!(outcomes.iter().all(|outcome| outcome.status() == Status::Accepted));
    }
}

/// Results in turn by each node, about four files that stand under one name.
fn flood() -> Vec<FeedItem> {
    let mut nodes = Member::with_nodes(9, u8::try_from(NODES).unwrap());
    let files: Vec<_> = [b"click", b"clack", b"clock", b"cluck"].map(|content| artifact("click", "8.1.8", content)).to_vec();
    let says = |n: usize| nodes[n % NODES].says(&files[n / NODES % files.len()], different(&format!("{n}"), "m"));
    (0..FLOOD).map(says).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_by_one_operator_makes_no_tally_and_no_bundle_longer_than_its_share() {
    let mut honest: Vec<Member> = (1..=3).map(Member::new).collect();
    let text = policy(3, honest.iter().chain([&Member::new(9)]));
    let (rules, place) = (Policy::parse(&text).unwrap(), Place::new(&text));
    let mut running = place.start().await;
    let click = artifact("click", "8.1.8", b"click");
    let flood = flood();
    // In the middle of it three operators say what they have to say.
    submit(&mut running, &flood[..FLOOD / 2]).await;
    let said: Vec<_> = honest.iter_mut().map(|member| member.says(&click, identical(&click))).collect();
    submit(&mut running, &said).await;
    submit(&mut running, &flood[FLOOD / 2..]).await;
    running.await_state(&click.digest, "reproduced").await;
    running.quiet().await;

    let whole = bundle(&running, &click).await;
    let is_first = |n: &usize| n % NODES < NODES_OF_AN_OPERATOR_MAX && n / NODES < RESULTS_OF_A_NODE_MAX;
    let counted = (0..FLOOD).filter(is_first).map(|n| flood[n].clone()).chain(said);
    let bundled: Vec<FeedItem> = whole.results.iter().map(FeedItem::from).collect();
    assert_eq!(bundled, counted.collect::<Vec<_>>(), "in the order of the log");
    assert!(whole.to_bytes().len() < 1 << 20);
    let (logged, again) = recomputed(&whole, &rules);
    assert_eq!(logged, again);
    assert_eq!((logged.state, logged.agree), (State::Reproduced, 3));
    let flooding = logged.votes.iter().find(|vote| vote.operator == Member::new(9).operator()).unwrap();
    assert_eq!((&flooding.ballot, flooding.results.len()), (&Ballot::Split, NODES_OF_AN_OPERATOR_MAX));
    let (_, answer) = running.json(&format!("/api/v1/artifacts/{}/results", click.digest)).await;
    assert_eq!(answer["results"].as_array().unwrap().len(), whole.results.len());

    running.stop();
    place.check().unwrap();
    fs::remove_dir_all(place.data().join("index")).unwrap();
    let mut running = place.start().await;
    running.quiet().await;
    let rebuilt = bundle(&running, &click).await;
    assert_eq!((rebuilt.verdict, rebuilt.results), (whole.verdict, whole.results));
    running.stop();
    place.check().unwrap();
}
