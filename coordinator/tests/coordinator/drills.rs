//! Drills through the real doors: announced and opened by command while the coordinator runs, and killed in between.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;
use std::time::Instant;

use quorate_proto::ArtifactId;
use quorate_tests::{Member, artifact, different, equivalent, identical, on_own_registry, policy};
use serde_json::{Value, json};

use crate::harness::{PATIENCE, Place, Running, binary};

const FILE: &[u8] = b"a wheel with one module more";

fn tampered() -> ArtifactId {
    on_own_registry(&artifact("drilled", "1.0", FILE))
}

fn ask(place: &Place, arguments: &[&str]) -> Output {
    binary().args(["drill", "--format", "json", "--dir"]).arg(place.data()).args(arguments).output().unwrap()
}

fn said(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["drills"].clone()
}

/// Announces the drill on a file that the operator has made.
fn announce(place: &Place) -> Output {
    let path = place.folder.path().join(tampered().slot.file.as_str());
    std::fs::write(&path, FILE).unwrap();
    ask(place, &["announce", path.to_str().unwrap(), "--purl", &tampered().slot.package.to_string(), "--reason", "one module more"])
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits until the operators' marks are these, by operator.
async fn until_marked(running: &Running, expected: &[(&str, &[&str])]) -> Value {
    let began = Instant::now();
    loop {
        let (status, body) = running.json("/api/v1/operators").await;
        assert_eq!(status, 200);
        let of = |operator: &Value| {
            let kinds = operator["marks"].as_array().unwrap().iter().map(|mark| mark["kind"].clone()).collect::<Vec<_>>();
            (operator["name"].clone(), Value::from(kinds))
        };
        let marks: Vec<_> = body["operators"].as_array().unwrap().iter().map(of).filter(|(_, kinds)| *kinds != json!([])).collect();
        if marks == expected.iter().map(|(name, kinds)| (json!(name), json!(kinds))).collect::<Vec<_>>() {
            return body;
        }
        assert!(began.elapsed() < PATIENCE, "no such marks: {body}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_agrees_with_a_drill_is_named_once_it_is_opened_and_the_honest_never() {
    let mut members: Vec<Member> = (1..=4).map(Member::new).collect();
    let place = Place::new(&policy(2, &members));
    let mut running = place.start().await;
    let announced = said(&announce(&place));
    let id = announced[0]["id"].as_str().unwrap().to_owned();
    assert_eq!((&announced[0]["status"], &announced[0]["announced"]), (&json!("announced"), &json!(1)));
    assert_eq!(said(&announce(&place)), announced, "it is done once");
    let kept = place.data().join("drills").join(format!("{}.json", id.trim_start_matches("sha256:")));
    for (path, mode) in [(kept.as_path(), 0o600), (kept.parent().unwrap(), 0o700)] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
    }

    let outcomes = [different("honest", "m"), different("honest", "m"), identical(&tampered()), equivalent()];
    let items: Vec<_> = members.iter_mut().zip(outcomes).map(|(member, outcome)| member.says(&tampered(), outcome)).collect();
    running.submit(&items).await.unwrap();
    let digest = tampered().digest;
    running.await_state(&digest, "contested").await;
    let (_, page) = running.get("/api/v1/drills").await;
    assert!(!String::from_utf8(page).unwrap().contains(&digest.to_string()), "what it is on is a secret");
    until_marked(&running, &[]).await;

    let opened = said(&ask(&place, &["open", &id[..20]]));
    assert_eq!((&opened[0]["status"], &opened[0]["agreed"]), (&json!("opened"), &json!(["operator-2", "operator-3"])));
    let body = until_marked(&running, &[("operator-2", &["drill"]), ("operator-3", &["drill"])]).await;
    let mark = &body["operators"][2]["marks"][0];
    let results = quorate_proto::Digest::of(&items[2].envelope).to_string();
    assert_eq!((&mark["shownBy"][2], &mark["package"]), (&json!(results), &json!(tampered().slot.package)));
    let verdict = running.await_state(&digest, "contested").await;
    assert_eq!(verdict["flags"], json!(["drill"]));
    let (_, attention) = running.json("/api/v1/verdicts?attention=true").await;
    assert_eq!(attention["verdicts"], json!([]), "a drill is no incident");
    let (_, list) = running.json("/api/v1/drills").await;
    assert_eq!((&list["drills"][0]["artifact"]["digest"], &list["drills"][0]["reason"]), (&json!(digest), &json!("one module more")));
    let (_, page) = running.get("/operators").await;
    assert!(String::from_utf8(page).unwrap().contains("agreed with a file that a drill had announced to be wrong"));
    assert_eq!(said(&ask(&place, &["open", &id])), opened, "it is opened once");
    assert!(refused(&announce(&place)).contains("was opened already"));

    running.stop();
    place.check().unwrap();
    std::fs::remove_dir_all(place.data().join("index")).unwrap();
    let running = place.start().await;
    until_marked(&running, &[("operator-2", &["drill"]), ("operator-3", &["drill"])]).await;
    assert_eq!(said(&ask(&place, &["list"])), opened);
    running.stop();
    place.check().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_that_comes_after_a_vote_or_on_what_everybody_installs_is_refused() {
    let mut members: Vec<Member> = (1..=2).map(Member::new).collect();
    let place = Place::new(&policy(1, &members));
    assert!(refused(&ask(&place, &["list"])).contains("no coordinator runs on"));
    let mut running = place.start().await;
    let early = members[0].says(&tampered(), identical(&tampered()));
    running.submit(&[early]).await.unwrap();
    running.await_state(&tampered().digest, "reproduced").await;
    assert!(refused(&announce(&place)).contains("results about this file are in the log already"));
    assert_eq!(said(&ask(&place, &["list"])), json!([]));

    let usual = artifact("drilled", "1.0", FILE);
    let of_everybody = ["announce", "--purl", &usual.slot.package.to_string(), "--artifact", "a.whl", "--sha256", &usual.digest.to_hex()];
    let said_no = refused(&ask(&place, &of_everybody));
    assert!(said_no.contains("names no registry of its own"), "{said_no}");
    assert!(refused(&ask(&place, &["open", "0123456789"])).contains("no drill that is kept here begins with"));
    running.stop();
    place.check().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_keeping_and_logging_leaves_a_drill_that_goes_on() {
    let members = [Member::new(1)];
    let place = Place::new(&policy(1, &members));
    let mut running = place.start().await;
    let announced = said(&announce(&place));
    running.kill();
    // As if it had been killed before the announcement was logged: another log, the same kept drill.
    let other = Place::new(&policy(1, &members));
    let drills = other.data().join("drills");
    std::fs::create_dir(&drills).unwrap();
    let name = format!("{}.json", announced[0]["id"].as_str().unwrap().trim_start_matches("sha256:"));
    std::fs::copy(place.data().join("drills").join(&name), drills.join(&name)).unwrap();
    let running = other.start().await;
    let listed = said(&ask(&other, &["list"]));
    assert_eq!((&listed[0]["status"], &listed[0]["id"]), (&json!("kept"), &announced[0]["id"]));
    let id = announced[0]["id"].as_str().unwrap();
    assert!(refused(&ask(&other, &["open", id])).contains("never announced"));
    let again = said(&announce(&other));
    assert_eq!((&again[0]["status"], &again[0]["id"]), (&json!("announced"), &announced[0]["id"]), "with the same nonce");
    running.stop();
    // And after a kill of the one that had logged it, it is there.
    let running = place.start().await;
    assert_eq!(said(&ask(&place, &["list"])), announced);
    running.stop();
    place.check().unwrap();
}
