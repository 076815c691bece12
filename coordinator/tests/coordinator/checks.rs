//! Checks of build witnesses on their way: into the log, into grades, and into bundles that give the same grades.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;

use quorate_proto::Digest;
use quorate_proto::bundle::Bundle;
use quorate_proto::verified::FeedItem;
use quorate_tally::Policy;
use quorate_tests::{Member, artifact, identical, left, policy};
use serde_json::{Value, json};

use crate::commitments::{recomputed, until_votes_and_flags};
use crate::harness::{Place, Running};

async fn bundle(running: &Running, digest: &Digest) -> Bundle {
    let (_, bytes) = running.get(&format!("/api/v1/artifacts/{digest}/bundle")).await;
    Bundle::parse(&bytes).unwrap()
}

fn names(item: &FeedItem) -> Value {
    json!([Digest::of(&item.envelope)])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_makes_the_vote_witnessed_and_nothing_else_and_survives_a_kill_and_a_lost_index() {
    let mut members: Vec<Member> = (1..=3).map(Member::new).collect();
    let text = policy(2, &members);
    let (rules, place) = (Policy::parse(&text).unwrap(), Place::new(&text));
    let mut running = place.start().await;
    let click = artifact("click", "8.1.8", b"click");
    let results: Vec<_> = members.iter_mut().map(|member| member.builds(&click, identical(&click), &left(1))).collect();
    running.submit(&results).await.unwrap();
    let [witnessed, follower] = ["witnessed", "follower"].map(Value::from);
    let graded = [follower.clone(), follower.clone(), follower.clone()];
    until_votes_and_flags(&running, &click.digest, &graded, &json!([])).await;
    let before = bundle(&running, &click.digest).await;

    // The second bears the first out; that the third left something else says nothing.
    let confirms = members[1].checks(&results[0], &left(1));
    let other = members[2].checks(&results[1], &left(2));
    running.submit(&[confirms.clone(), other]).await.unwrap();
    let graded = [witnessed, follower.clone(), follower];
    until_votes_and_flags(&running, &click.digest, &graded, &json!([])).await;
    running.quiet().await;
    let after = bundle(&running, &click.digest).await;
    let again = bundle_says(&after, &rules);
    assert_eq!((again["state"].as_str(), &again["votes"][0]["checks"]), (Some("reproduced"), &names(&confirms)));
    assert_eq!(again["votes"][1]["checks"], Value::Null);
    assert_eq!((before.checks.len(), after.checks.len(), after.results.len()), (0, 1, 3));
    let (_, answer) = running.json(&format!("/api/v1/artifacts/{}/results", click.digest)).await;
    assert_eq!(answer["checks"].as_array().unwrap().len(), 1);
    let outcomes = running.submit(&[confirms]).await.unwrap();
    assert_eq!(outcomes[0].status(), quorate_proto::api::submit_outcome::Status::Duplicate);

    running.kill();
    drop(running);
    place.check().unwrap();
    fs::remove_dir_all(place.data().join("index")).unwrap();
    let mut running = place.start().await;
    running.quiet().await;
    let rebuilt = bundle(&running, &click.digest).await;
    assert_eq!((rebuilt.verdict, rebuilt.checks), (after.verdict, after.checks));
    running.stop();
    place.check().unwrap();
}

/// The logged verdict, which follows from the bundle alone.
fn bundle_says(bundle: &Bundle, rules: &Policy) -> Value {
    let (logged, again) = recomputed(bundle, rules);
    assert_eq!(again, logged);
    serde_json::to_value(logged).unwrap()
}
