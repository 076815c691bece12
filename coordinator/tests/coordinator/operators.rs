//! Who may vote, as others see them: who never had a vote of its own is shown, and nobody else.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Instant;

use quorate_tests::{Member, artifact, identical, policy};
use serde_json::{Value, json};

use crate::harness::{PATIENCE, Place};

#[tokio::test(flavor = "multi_thread")]
async fn who_never_had_a_vote_of_its_own_is_shown_as_a_follower_until_it_has_one() {
    let mut members: Vec<Member> = (1..=3).map(Member::new).collect();
    let place = Place::new(&policy(1, &members));
    let mut running = place.start().await;
    let files: Vec<_> = (0..20).map(|n| artifact("package", &format!("1.{n}"), b"content")).collect();
    // The first is bound to one of its answers, the second to none, the third has too few to tell.
    let mut items = vec![members[0].commits(&files[0], &identical(&files[0]), 0)];
    items.push(members[0].reveals(&files[0], identical(&files[0]), 0, &[]));
    items.extend(files[1..].iter().map(|file| members[0].says(file, identical(file))));
    items.extend(files.iter().map(|file| members[1].says(file, identical(file))));
    items.extend(files[1..].iter().map(|file| members[2].says(file, identical(file))));
    running.submit(&items).await.unwrap();
    let until = async |running: &crate::harness::Running, expected: Value| {
        let began = Instant::now();
        loop {
            let (status, body) = running.json("/api/v1/operators").await;
            let followers: Vec<_> = body["operators"].as_array().unwrap().iter().map(|operator| operator["follower"].clone()).collect();
            if status == 200 && Value::from(followers) == expected {
                return body;
            }
            assert!(began.elapsed() < PATIENCE, "not {expected}: {body}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let body = until(&running, json!([false, true, false])).await;
    let second = &body["operators"][1];
    assert_eq!((&second["name"], &second["nodes"][0]["entries"], &second["marks"]), (&json!("operator-1"), &json!(20), &json!([])));
    let (_, page) = running.get("/operators").await;
    assert_eq!(String::from_utf8(page).unwrap().matches("may have copied everything").count(), 1);

    let late = artifact("package", "2.0", b"content");
    let own = [members[1].commits(&late, &identical(&late), 0), members[1].reveals(&late, identical(&late), 20, &[])];
    running.submit(&own).await.unwrap();
    until(&running, json!([false, false, false])).await;
    running.stop();
    std::fs::remove_dir_all(place.data().join("index")).unwrap();
    let running = place.start().await;
    until(&running, json!([false, false, false])).await;
    running.stop();
    place.check().unwrap();
}
