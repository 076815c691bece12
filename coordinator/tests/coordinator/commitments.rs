//! Commitments on their way: into the log, into grades and flags, into bundles, and onto the operators' page.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Instant;

use quorate_proto::bundle::Bundle;
use quorate_proto::declaration::VerifiedDeclaration;
use quorate_proto::dsse::Envelope;
use quorate_proto::entry::{VerifiedCheck, VerifiedCommitment, VerifiedEntry};
use quorate_proto::statement::Statement;
use quorate_proto::verified::{FeedItem, VerifiedStatement};
use quorate_tally::{Circumstances, Confirmation, Policy, Verdict, VerdictSummary, tally_as_of};
use quorate_tests::{Member, artifact, identical, policy};
use serde_json::{Value, json};

use crate::harness::{PATIENCE, Place, Running};

/// The logged verdict of a bundle, and what follows from the bundle.
pub(crate) fn recomputed(bundle: &Bundle, policy: &Policy) -> (Verdict, Verdict) {
    let envelope = Envelope::parse(bundle.verdict.as_bytes(), 1 << 20).unwrap();
    let logged = Statement::<VerdictSummary>::parse(envelope.payload()).unwrap().predicate.verdict;
    let entry = |item| VerifiedEntry::verify_item(&FeedItem::from(item), policy.enrolled()).unwrap();
    let statements: Vec<VerifiedStatement> = bundle.results.iter().filter_map(|item| entry(item).result().cloned()).collect();
    let commitments: Vec<Arc<VerifiedCommitment>> =
        bundle.commitments.iter().filter_map(|item| entry(item).commitment().cloned().map(Arc::new)).collect();
    let checks: Vec<VerifiedCheck> = bundle.checks.iter().filter_map(|item| entry(item).check().cloned()).collect();
    let confirmations = Confirmation::among(&checks, &statements);
    let (as_of, commitments, confirmations) = (logged.as_of, commitments.as_slice(), confirmations.as_slice());
    let declared = |envelope: &String| Arc::new(VerifiedDeclaration::verify(envelope.as_bytes()).unwrap());
    let declarations: Vec<_> = bundle.declarations.iter().map(declared).collect();
    let when = Circumstances { as_of, commitments, confirmations, declarations: &declarations, ..Circumstances::default() };
    let again = tally_as_of(policy, &bundle.artifact, &statements, when);
    (logged, again)
}

pub(crate) async fn until_votes_and_flags(running: &Running, digest: &quorate_proto::Digest, grades: &[Value], flags: &Value) {
    let began = Instant::now();
    loop {
        let (_, body) = running.json(&format!("/api/v1/artifacts/{digest}/verdict")).await;
        let votes = body["verdict"]["votes"].as_array().cloned().unwrap_or_default();
        if votes.iter().map(|vote| &vote["grade"]).eq(grades) && body["flags"] == *flags {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "no such verdict: {body}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commitments_become_grades_and_what_is_withheld_is_named_until_it_comes() {
    let mut members: Vec<Member> = (1..=3).map(Member::new).collect();
    let text = policy(2, &members);
    let (rules, place) = (Policy::parse(&text).unwrap(), Place::new(&text));
    let mut running = place.start().await;
    let click = artifact("click", "8.1.8", b"click");
    let commitments: Vec<_> = members.iter_mut().map(|member| member.commits(&click, &identical(&click), 1)).collect();
    let results: Vec<_> = members.iter_mut().map(|member| member.reveals(&click, identical(&click), 0, &commitments[..1])).collect();
    // Everybody names the first one's commitment, and nobody another's.
    running.submit(&commitments).await.unwrap();
    running.submit(&results[1..]).await.unwrap();
    let [blind, follower] = ["blind", "follower"].map(Value::from);
    until_votes_and_flags(&running, &click.digest, &[Value::Null, follower.clone(), follower.clone()], &json!(["withheld"])).await;
    let (_, page) = running.get("/operators").await;
    assert!(String::from_utf8(page).unwrap().contains("did not reveal a result that it had committed to"));

    running.submit(&results[..1]).await.unwrap();
    until_votes_and_flags(&running, &click.digest, &[blind, follower.clone(), follower], &json!([])).await;
    running.quiet().await;
    let (_, page) = running.get("/operators").await;
    assert!(!String::from_utf8(page).unwrap().contains("broken promises"));

    let (_, bytes) = running.get(&format!("/api/v1/artifacts/{}/bundle", click.digest)).await;
    let bundle = Bundle::parse(&bytes).unwrap();
    assert_eq!((bundle.results.len(), bundle.commitments.len()), (3, 3));
    let (logged, again) = recomputed(&bundle, &rules);
    assert_eq!(again, logged);
    running.stop();
    place.check().unwrap();
}
