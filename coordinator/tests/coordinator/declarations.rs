//! Declarations through the real doors: who is heard, what follows, and that it is all there after a kill.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::time::Instant;

use quorate_proto::bundle::Bundle;
use quorate_proto::declaration::{Advisory, Declaration, VerifiedDeclaration};
use quorate_proto::verified::FeedItem;
use quorate_proto::{ArtifactId, Digest, SecretKey};
use quorate_tally::{Policy, State};
use quorate_tests::{Member, advisory, artifact, identical, policy, retraction, revocation};
use serde_json::{Value, json};

use crate::commitments::recomputed;
use crate::harness::{PATIENCE, Place, Running, client};

fn person() -> SecretKey {
    SecretKey::from_seed(&[60; 32])
}

fn with_person(members: &[Member]) -> String {
    let key = person().signer_id();
    format!("{}\n[[person]]\nname = \"incidents\"\nkey = \"{key}\"\nmay = [\"advise\"]\n", policy(2, members))
}

fn signed(declaration: Declaration, key: &SecretKey) -> Vec<u8> {
    declaration.sign(key).unwrap().bytes().to_vec()
}

fn advises(key: &SecretKey, about: &ArtifactId) -> Vec<u8> {
    signed(Declaration::Advisory(advisory(key.signer_id(), "A-1", about.digest)), key)
}

async fn declare(running: &Running, envelope: &[u8]) -> (u16, Value) {
    let request = client().post(format!("{}/api/v1/declarations", running.http)).body(envelope.to_vec());
    let response = request.send().await.unwrap();
    (response.status().as_u16(), serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
}

async fn bundle(running: &Running, digest: &Digest) -> Bundle {
    let (_, bytes) = running.get(&format!("/api/v1/artifacts/{digest}/bundle")).await;
    Bundle::parse(&bytes).unwrap()
}

/// The logged verdict and what it is called; it follows from its bundle alone.
async fn offline(running: &Running, about: &ArtifactId, rules: &Policy) -> (State, usize) {
    let bundle = bundle(running, &about.digest).await;
    let (logged, again) = recomputed(&bundle, rules);
    assert_eq!(again, logged);
    assert!(!bundle.proof.is_empty());
    let carried: Vec<_> = bundle.declarations.iter().map(|envelope| Digest::of(envelope.as_bytes())).collect();
    assert!(logged.declarations.iter().all(|named| carried.contains(named)));
    (logged.state, logged.agree)
}

async fn until_agree(running: &Running, about: &ArtifactId, agree: usize) {
    let began = Instant::now();
    loop {
        let (_, body) = running.json(&format!("/api/v1/artifacts/{}/verdict", about.digest)).await;
        if body["verdict"]["agree"] == json!(agree) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "not {agree}: {body}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

async fn without_index(place: &Place, mut running: Running) -> Running {
    running.kill();
    drop(running);
    place.check().unwrap();
    fs::remove_dir_all(place.data().join("index")).unwrap();
    place.start().await
}

fn said_by(members: &mut [Member], about: &ArtifactId) -> Vec<FeedItem> {
    members.iter_mut().map(|member| member.says(about, identical(about))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_advisory_of_a_listed_person_counts_until_it_is_taken_back_whatever_is_killed() {
    let mut members: Vec<Member> = (1..=3).map(Member::new).collect();
    let text = with_person(&members);
    let (rules, place) = (Policy::parse(&text).unwrap(), Place::new(&text));
    let mut running = place.start().await;
    let click = artifact("click", "8.1.8", b"click");
    running.submit(&said_by(&mut members, &click)).await.unwrap();
    running.await_state(&click.digest, "reproduced").await;

    let advisory = advises(&person(), &click);
    let (status, body) = declare(&running, &advisory).await;
    assert_eq!((status, &body["outcome"]), (200, &json!("accepted")), "{body}");
    let index = body["logIndex"].clone();
    // Whether the verdict follows before the kill or after it is all one.
    running.kill();
    drop(running);
    place.check().unwrap();
    let running = place.start().await;
    running.await_state(&click.digest, "compromised").await;
    assert_eq!(offline(&running, &click, &rules).await, (State::Compromised, 3));
    assert_eq!(declare(&running, &advisory).await.1, json!({"outcome": "duplicate", "digest": Digest::of(&advisory), "logIndex": index}));

    let mut running = without_index(&place, running).await;
    running.quiet().await;
    assert_eq!(offline(&running, &click, &rules).await, (State::Compromised, 3));
    let (_, attention) = running.json("/api/v1/verdicts?attention=true").await;
    assert_eq!(attention["verdicts"][0]["state"], "compromised");
    let (_, page) = running.get(&format!("/artifact/{}", click.digest)).await;
    assert!(String::from_utf8(page).unwrap().contains("</strong> by incidents, 2026-01-15T00:00:00Z: a backdoor"));
    let (_, list) = running.json("/api/v1/declarations").await;
    let listed = &list["declarations"][0];
    assert_eq!(
        (&listed["name"], &listed["heard"], &listed["declaration"]["reason"]),
        (&json!("incidents"), &json!(true), &json!("a backdoor"))
    );
    assert_eq!(listed["envelope"], String::from_utf8(advisory.clone()).unwrap());

    let back = signed(Declaration::Retraction(retraction(person().signer_id(), Digest::of(&advisory))), &person());
    assert_eq!(declare(&running, &back).await.0, 200);
    running.await_state(&click.digest, "reproduced").await;
    assert_eq!(offline(&running, &click, &rules).await, (State::Reproduced, 3));
    let mut running = without_index(&place, running).await;
    running.quiet().await;
    running.await_state(&click.digest, "reproduced").await;
    let (_, list) = running.json("/api/v1/declarations").await;
    assert_eq!(
        (list["declarations"].as_array().unwrap().len(), &list["declarations"][1]["retracted"]),
        (2, &list["declarations"][0]["logIndex"])
    );
    let (_, first) = running.json("/api/v1/declarations?limit=1").await;
    assert_eq!((&first["declarations"], &first["next"]), (&json!([list["declarations"][0]]), &list["declarations"][0]["logIndex"]));
    let (_, second) = running.json(&format!("/api/v1/declarations?limit=1&before={}", first["next"])).await;
    assert_eq!(second, json!({"declarations": [list["declarations"][1]]}), "and nothing behind it");
    for query in ["limit=0", "limit=501", "state=suspect"] {
        assert_eq!(running.json(&format!("/api/v1/declarations?{query}")).await.0, 400, "{query}");
    }
    running.stop();
    place.check().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_policy_does_not_list_is_refused_by_name_and_changes_nothing() {
    let mut members: Vec<Member> = (1..=2).map(Member::new).collect();
    let place = Place::new(&with_person(&members));
    let mut running = place.start().await;
    let click = artifact("click", "8.1.8", b"click");
    running.submit(&said_by(&mut members, &click)).await.unwrap();
    running.await_state(&click.digest, "reproduced").await;
    let before = running.quiet().await;
    let stranger = SecretKey::from_seed(&[61; 32]);
    let late = quorate_proto::Timestamp::from(std::time::SystemTime::now()).plus(std::time::Duration::from_hours(1)).whole_seconds();
    let future = Advisory { signed_at: late, ..advisory(person().signer_id(), "A-1", click.digest) };
    for (envelope, expected) in [
        (advises(&stranger, &click), (403, "unknown-signer")),
        (advises(members[0].root_key(), &click), (403, "unknown-signer")),
        (signed(Declaration::Revocation(revocation(person().signer_id(), None, 0)), &person()), (403, "unknown-signer")),
        (signed(Declaration::Advisory(future), &person()), (400, "future")),
        (b"{}".to_vec(), (400, "malformed-envelope")),
        (members[0].certificate().to_vec(), (400, "malformed-statement")),
    ] {
        let (status, body) = declare(&running, &envelope).await;
        assert_eq!((status, body["error"].as_str().unwrap()), expected, "{body}");
    }
    let large = client().post(format!("{}/api/v1/declarations", running.http)).body(vec![b' '; 1 << 20]);
    assert_eq!(large.send().await.unwrap().status().as_u16(), 413);
    assert_eq!(running.quiet().await, before);
    running.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_takes_back_votes_since_a_place_in_a_feed_and_a_pattern_reaches_every_file_of_a_package() {
    let mut members: Vec<Member> = (1..=3).map(Member::new).collect();
    let text = with_person(&members);
    let (rules, place) = (Policy::parse(&text).unwrap(), Place::new(&text));
    let mut running = place.start().await;
    let (first, second) = (artifact("click", "8.1.7", b"older"), artifact("click", "8.1.8", b"click"));
    running.submit(&said_by(&mut members, &first)).await.unwrap();
    running.submit(&said_by(&mut members, &second)).await.unwrap();
    for about in [&first, &second] {
        running.await_state(&about.digest, "reproduced").await;
        until_agree(&running, about, 3).await;
    }
    let of = |member: &Member| member.root_key().signer_id();
    let since_one = revocation(of(&members[2]), Some(members[2].node()), 1);
    assert_eq!(declare(&running, &signed(Declaration::Revocation(since_one), members[2].root_key())).await.0, 200);
    until_agree(&running, &second, 2).await;
    let whole = revocation(of(&members[1]), None, 0);
    assert_eq!(declare(&running, &signed(Declaration::Revocation(whole), members[1].root_key())).await.0, 200);
    running.await_state(&second.digest, "pending").await;
    running.quiet().await;
    assert_eq!(offline(&running, &first, &rules).await, (State::Reproduced, 2));
    assert_eq!(offline(&running, &second, &rules).await, (State::Pending, 1));

    let package =
        Advisory { digest: None, package: "pkg:pypi/cli*@8.1.*".parse().ok(), ..advisory(person().signer_id(), "A-2", first.digest) };
    assert_eq!(declare(&running, &signed(Declaration::Advisory(package), &person())).await.0, 200);
    for about in [&first, &second] {
        running.await_state(&about.digest, "compromised").await;
    }
    let mut running = without_index(&place, running).await;
    running.quiet().await;
    let bundle = bundle(&running, &second.digest).await;
    let said: Vec<_> =
        bundle.declarations.iter().map(|one| VerifiedDeclaration::verify(one.as_bytes()).unwrap().declaration().kind()).collect();
    assert_eq!(said, ["revocation", "revocation", "advisory"]);
    assert_eq!(offline(&running, &second, &rules).await, (State::Compromised, 1));
    running.stop();
    place.check().unwrap();
}
