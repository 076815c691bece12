//! Bad input: each with its named error and its counter, and with no change of state.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use quorate_proto::api::submit_outcome::Status as Outcome;
use quorate_proto::dsse::Envelope;
use quorate_proto::feed::FeedHead;
use quorate_proto::verified::FeedItem;
use quorate_proto::{Digest, SecretKey};

use crate::fixture::{Network, Node, artifact, build_failed, certify, identical, now};
use crate::harness::{Place, Running};

async fn counter(running: &Running, reason: &str) -> u64 {
    let (_, text) = running.get("/metrics").await;
    let text = String::from_utf8(text).unwrap();
    let name = format!("quorate_rejected_total{{reason=\"{reason}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |value| value.parse().unwrap())
}

/// Cases: what is handed in, and the name of its refusal.
fn cases(network: &mut Network) -> Vec<(&'static str, FeedItem)> {
    let click = artifact("click", "8.1.8", "");
    let next = |network: &Network, change: &dyn Fn(&mut quorate_proto::result::RebuildResult)| {
        network.nodes[0].signed(&click, identical(&click), change)
    };
    let good = next(network, &|_| {});
    let with = |envelope: Vec<u8>| FeedItem { certificate: good.certificate.clone(), envelope };
    let truncated = good.envelope[..good.envelope.len() / 2].to_vec();
    let mut flipped = good.envelope.clone();
    let at = flipped.len() / 2;
    flipped[at] ^= 2;
    let forged = Envelope::parse(&good.envelope, 1 << 20).unwrap().payload().to_vec();
    let stranger = Node::new(50, 50, network.now);
    let expired = FeedItem {
        certificate: certify(&network.nodes[0].root, &network.nodes[0].key, network.now, 25, 20),
        envelope: good.envelope.clone(),
    };
    let foreign_position = network.nodes[1].head.position(network.nodes[1].key.node_id());
    let other = artifact("other", "1", "");
    let elsewhere = next(network, &|result| result.outcome = identical(&other));
    let mut bad_certificate = good.clone();
    bad_certificate.certificate[200] ^= 2;
    vec![
        ("malformed-envelope", with(truncated)),
        ("oversized", with(vec![b' '; 70 * 1024])),
        ("oversized", with([good.envelope.clone(), vec![b' '; 50 * 1024]].concat())),
        ("bad-signature", with(Envelope::sign(forged, &SecretKey::from_seed(&[99; 32])).bytes().to_vec())),
        ("unknown-operator", stranger.signed(&click, identical(&click), |_| {})),
        ("bad-certificate", bad_certificate),
        ("expired-certificate", expired),
        ("foreign-feed", next(network, &|result| result.feed = foreign_position)),
        ("broken-chain", next(network, &|result| result.feed.previous = None)),
        ("contradiction", elsewhere),
        ("future", next(network, &|result| result.finished_at = now().plus(Duration::from_hours(1)))),
        ("fork", next(network, &|result| result.feed.previous = Some(Digest::of(b"another history")))),
        ("flipped", with(flipped)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_input_is_named_and_counted_and_changes_nothing() {
    let mut network = Network::new(3);
    let place = Place::new(&network.policy(2));
    let mut running = place.start().await;
    let click = artifact("click", "8.1.8", "");
    let first = network.nodes[0].sign(&click, identical(&click));
    assert_eq!(running.submit(&[first]).await.unwrap()[0].status(), Outcome::Accepted);
    let head = running.quiet().await;

    for (name, item) in cases(&mut network) {
        let before = counter(&running, name).await;
        let outcome = running.submit(std::slice::from_ref(&item)).await.unwrap().remove(0);
        assert_eq!(outcome.status(), Outcome::Rejected, "{name}: {outcome:?}");
        if name == "flipped" {
            // Where the bit falls decides which check catches it.
            assert!(["bad-signature", "malformed-envelope", "malformed-statement"].contains(&outcome.reason.as_str()), "{outcome:?}");
        } else {
            assert_eq!(outcome.reason, name);
            assert_eq!(counter(&running, name).await, before + 1, "{name}");
        }
        assert_eq!(running.quiet().await, head, "{name} changed the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gaps_repeats_and_second_histories_are_told_apart() {
    let mut network = Network::new(3);
    let place = Place::new(&network.policy(2));
    let mut running = place.start().await;
    let click = artifact("click", "8.1.8", "");
    let (first, second) = (network.nodes[0].sign(&click, identical(&click)), network.nodes[0].sign(&click, identical(&click)));

    let gap = running.submit(std::slice::from_ref(&second)).await.unwrap().remove(0);
    assert_eq!((gap.status(), gap.expected_sequence), (Outcome::Gap, 0));
    assert_eq!(counter(&running, "gap").await, 1);
    let both = running.submit(&[first.clone(), second.clone(), first]).await.unwrap();
    let statuses: Vec<_> = both.iter().map(quorate_proto::api::SubmitOutcome::status).collect();
    assert_eq!(statuses, [Outcome::Accepted, Outcome::Accepted, Outcome::Duplicate]);
    let head = running.quiet().await;

    // The proof is kept once; more of the same changes nothing.
    network.nodes[0].head = FeedHead::default();
    let lie = network.nodes[0].sign(&click, build_failed());
    let caught = running.submit(std::slice::from_ref(&lie)).await.unwrap().remove(0);
    assert_eq!((caught.status(), caught.reason.as_str()), (Outcome::Rejected, "equivocation"));
    let flagged = loop {
        let (_, body) = running.json(&format!("/api/v1/artifacts/{}/verdict", click.digest)).await;
        if body["flags"] == serde_json::json!(["equivocation"]) {
            break body;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(flagged["verdict"]["agree"], 0, "an equivocator has no vote");
    let after = running.quiet().await;
    assert!(after.size > head.size);
    let (_, results) = running.json(&format!("/api/v1/artifacts/{}/results", click.digest)).await;
    assert_eq!(results["equivocations"][0][1]["envelope"], String::from_utf8(lie.envelope.clone()).unwrap());

    network.nodes[0].head = FeedHead::default();
    let another = network.nodes[0].sign(&artifact("other", "1", ""), build_failed());
    let again = running.submit(&[another, lie]).await.unwrap();
    assert!(again.iter().all(|outcome| outcome.reason == "fork"), "{again:?}");
    assert_eq!(running.quiet().await, after);
    running.stop();
    place.check().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_over_its_limits_is_refused_whole() {
    let network = Network::new(1);
    let place = Place::new(&network.policy(1));
    let mut running = place.start().await;
    let head = running.quiet().await;
    let empty = FeedItem { certificate: Vec::new(), envelope: Vec::new() };
    let refused = running.submit(&vec![empty; 1_001]).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    let large = FeedItem { certificate: Vec::new(), envelope: vec![0; 5 << 20] };
    assert_eq!(running.submit(&[large]).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    assert_eq!(counter(&running, "oversized-submission").await, 2);
    let blobs = vec![prost::bytes::Bytes::new(); 9];
    let refused = running.client.submit_blobs(quorate_proto::api::SubmitBlobsRequest { blobs }).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert_eq!(counter(&running, "oversized-submission").await, 3);
    assert_eq!(running.quiet().await, head);
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_is_taken_only_if_a_result_names_it_and_its_node_signed_it() {
    let mut network = Network::new(2);
    let place = Place::new(&network.policy(1));
    let mut running = place.start().await;
    let click = artifact("click", "8.1.8", "");
    let foreign = network.nodes[1].provenance(&click);
    let named = Digest::of(&foreign);
    let item = network.nodes[0].sign_with(&click, identical(&click), |result| result.provenance = Some(named));
    running.submit(&[item]).await.unwrap();
    let blobs = vec![foreign.clone().into(), b"nobody names this".to_vec().into()];
    let taken = running.client.submit_blobs(quorate_proto::api::SubmitBlobsRequest { blobs }).await.unwrap().into_inner().taken;
    assert!(taken.is_empty());
    assert_eq!(counter(&running, "foreign-provenance").await, 1);
    assert_eq!(counter(&running, "unnamed-blob").await, 1);
    assert_eq!(running.get(&format!("/api/v1/blobs/{named}")).await.0, 404);
}
