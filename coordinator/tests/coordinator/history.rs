//! The history beside a suspect verdict, from results to what is served and logged, over a restart and a lost index.
#![expect(clippy::unwrap_used, reason = "tests")]

use quorate_proto::ArtifactId;
use quorate_proto::comparison::DifferenceClass;
use quorate_proto::dsse::Envelope;
use quorate_proto::result::Outcome;
use quorate_proto::statement::Statement;
use quorate_tally::history::Past;
use quorate_tally::{History, Verdict, VerdictSummary};
use quorate_tests::{Member, artifact, different, equivalent, failed, identical, policy};
use quorate_tlog::EntryBundle;
use serde_json::{Value, json};

use crate::harness::{Place, Running};

fn release(version: &str) -> ArtifactId {
    artifact("package", version, version.as_bytes())
}

/// Code that is another.
fn changed() -> Outcome {
    let mut outcome = different("evil", "m.py");
    if let Outcome::Different { differences, .. } = &mut outcome {
        differences.members[0].class = DifferenceClass::Content;
    }
    outcome
}

async fn say(running: &mut Running, members: &mut [Member], file: &ArtifactId, outcome: &Outcome) {
    let items: Vec<_> = members.iter_mut().map(|member| member.says(file, outcome.clone())).collect();
    running.submit(&items).await.unwrap();
}

/// Waits for a verdict with this history.
async fn until_history(running: &Running, file: &ArtifactId, history: &Value) -> Value {
    let began = std::time::Instant::now();
    loop {
        let body = running.await_state(&file.digest, "suspect").await;
        if body["verdict"]["history"] == *history {
            return body;
        }
        assert!(began.elapsed() < crate::harness::PATIENCE, "no history {history}: {body}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Every verdict in the log with its leaf and the size that it names.
async fn logged(running: &mut Running) -> Vec<(u64, u64, Verdict)> {
    let size = running.quiet().await.size;
    assert!(size < 256, "one bundle");
    let (status, bytes) = running.get(&format!("/tile/entries/000.p/{size}")).await;
    assert_eq!(status, 200);
    let bundle = EntryBundle::parse(&bytes).unwrap();
    let verdict = |(leaf, entry): (usize, &quorate_tlog::Entry)| {
        let envelope = Envelope::parse(entry.as_bytes(), 1 << 16).ok()?;
        let summary = Statement::<VerdictSummary>::parse(envelope.payload()).ok()?.predicate;
        Some((leaf as u64, summary.log_size, summary.verdict))
    };
    bundle.entries().iter().enumerate().filter_map(verdict).collect()
}

/// The history beside each suspect verdict is that of the verdicts before the size that it names, as anybody counts.
fn follows_from_the_log(verdicts: &[(u64, u64, Verdict)]) {
    for (leaf, size, verdict) in verdicts {
        let in_force =
            |at: usize| !verdicts[at + 1..].iter().any(|(leaf, _, later)| leaf < size && later.artifact == verdicts[at].2.artifact);
        let before = (0..verdicts.len()).rev().filter(|at| verdicts[*at].0 < *size && in_force(*at));
        let same = |at: &usize| verdicts[*at].2.artifact.slot.package.name() == verdict.artifact.slot.package.name();
        let counted = History::of(verdict, before.filter(same).map(|at| Past::of(&verdicts[at].2)));
        assert_eq!(verdict.history, (verdict.state.name() == "suspect").then_some(counted), "entry {leaf}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_breaks_an_unbroken_history_is_told_so_and_still_after_a_restart_and_without_an_index() {
    let mut members: Vec<Member> = (1..=4).map(Member::new).collect();
    let place = Place::new(&policy(2, &members));
    let mut running = place.start().await;
    for n in 0..5 {
        let file = release(&format!("1.{n}"));
        let outcome = if n == 3 { equivalent() } else { identical(&file) };
        say(&mut running, &mut members[..2], &file, &outcome).await;
        running.await_state(&file.digest, if n == 3 { "equivalent" } else { "reproduced" }).await;
    }
    // Nobody could judge this one, and a package of almost the same name is another.
    say(&mut running, &mut members[..2], &release("1.9"), &failed()).await;
    let other = artifact("package-too", "1.0", b"content");
    say(&mut running, &mut members[..2], &other, &changed()).await;
    until_history(&running, &other, &json!({ "agreed": 0, "other": 0 })).await;

    let bad = release("2.0");
    say(&mut running, &mut members[..2], &bad, &changed()).await;
    let unbroken = json!({ "agreed": 5, "other": 0 });
    let body = until_history(&running, &bad, &unbroken).await;
    assert_eq!(body["verdict"]["severity"], "high");
    let (_, page) = running.get(&format!("/artifact/{}", bad.digest)).await;
    let page = String::from_utf8(page).unwrap();
    let sentence =
        "Severity: high. In the log 5 of 5 earlier releases agree with the registry; this one does not, which makes it critical.";
    assert!(page.contains(sentence), "{page}");
    follows_from_the_log(&logged(&mut running).await);
    running.stop();

    // The same after a restart, and from an index that is made anew: another vote has it counted again.
    let mut running = place.start().await;
    say(&mut running, &mut members[2..3], &bad, &changed()).await;
    let after = running.await_state(&bad.digest, "suspect").await;
    assert_eq!(after["verdict"]["history"], unbroken);
    running.stop();
    place.check().unwrap();
    std::fs::remove_dir_all(place.data().join("index")).unwrap();
    let mut running = place.start().await;
    say(&mut running, &mut members[3..], &bad, &changed()).await;
    let began = std::time::Instant::now();
    while running.await_state(&bad.digest, "suspect").await["verdict"]["shared"] != 4 {
        assert!(began.elapsed() < crate::harness::PATIENCE, "the fourth vote is not counted");
    }
    assert_eq!(running.await_state(&bad.digest, "suspect").await["verdict"]["history"], unbroken);

    // The next one that differs breaks no habit.
    say(&mut running, &mut members[..2], &release("2.1"), &changed()).await;
    until_history(&running, &release("2.1"), &json!({ "agreed": 5, "other": 1 })).await;
    follows_from_the_log(&logged(&mut running).await);
    running.stop();
    place.check().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_that_are_judged_in_one_round_know_of_each_other() {
    let mut members: Vec<Member> = (1..=2).map(Member::new).collect();
    let place = Place::new(&policy(2, &members));
    let mut running = place.start().await;
    let mut items = Vec::new();
    for member in &mut members {
        items.push(member.says(&release("2.0"), changed()));
        items.extend((0..4).map(|n| release(&format!("1.{n}"))).map(|file| member.says(&file, identical(&file))));
    }
    running.submit(&items).await.unwrap();
    until_history(&running, &release("2.0"), &json!({ "agreed": 4, "other": 0 })).await;
    follows_from_the_log(&logged(&mut running).await);
    running.stop();
    place.check().unwrap();
}
