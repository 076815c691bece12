//! `quorate monitor` against an honest log, one with a lie in it, and one with two histories.

use std::collections::BTreeMap;

use quorate_proto::dsse::Envelope;
use quorate_proto::{SecretKey, Timestamp};
use quorate_tally::{State, Verdict, Verifier};
use quorate_tests::{SIGNED_AT, artifact, different, identical};
use quorate_tlog::{Checkpoint, Entry, EntryBundle, LogEquivocation, Tree};

use crate::web::{Reply, serve};
use crate::world::{CONTENT, ORIGIN, Ran, World, log};

fn world() -> World {
    let click = artifact("click", "8.1.8", CONTENT);
    World::with([identical(&click), identical(&click), identical(&click), different("other", "m")])
}

/// Policy, certificates and results as a coordinator logs them.
fn entries(world: &World) -> Vec<Vec<u8>> {
    let mut entries = vec![[b"quorate-policy/v1\n", world.policy_with_log().as_bytes()].concat()];
    for item in &world.items {
        entries.extend([item.certificate.clone(), item.envelope.clone()]);
    }
    entries
}

/// The verdict's envelope, if it rests on the results before this entry.
fn signed(verdict: &Verdict, log_size: u64) -> Vec<u8> {
    let verifier = Verifier { id: ORIGIN.to_owned(), time: Timestamp::from_unix_seconds(SIGNED_AT), log_size };
    Envelope::sign(verdict.to_statement(&verifier).to_payload(), &SecretKey::from_seed(&[99; 32])).bytes().to_vec()
}

fn checkpoint(entries: &[Vec<u8>]) -> String {
    let leaves: Vec<_> = entries.iter().map(|entry| quorate_tlog::leaf_hash(entry)).collect();
    let head = Tree::new().append(&leaves).expect("a small tree").tree.head();
    let checkpoint = Checkpoint::new(ORIGIN.parse().expect("an origin"), head).expect("a head");
    checkpoint.sign(&log(ORIGIN, 7)).expect("the origin's key").to_string()
}

fn served(entries: &[Vec<u8>]) -> String {
    let bundle = EntryBundle::new(entries.iter().map(|entry| Entry::new(entry.clone()).expect("short")).collect()).expect("few");
    serve(BTreeMap::from([
        ("/checkpoint".to_owned(), Reply::Bytes(checkpoint(entries).into_bytes())),
        (format!("/tile/entries/000.p/{}", entries.len()), Reply::Bytes(bundle.encode())),
    ]))
}

fn monitor(world: &World, entries: &[Vec<u8>], arguments: &[&str]) -> Ran {
    let (server, policy, proof) = (served(entries), world.path("logged.toml"), world.path("two-views"));
    world.run(&[&["monitor", "--once", "--coordinator", &server, "--policy", &policy, "--proof", &proof], arguments].concat())
}

#[test]
fn an_honest_log_holds_and_every_verdict_in_it_is_made_again() {
    let world = world();
    let mut all = entries(&world);
    let verdict = world.verdict(&world.policy_with_log());
    all.push(signed(&verdict, all.len() as u64));
    let older = world.file("older", checkpoint(&all[..5]).as_bytes()).display().to_string();
    let state = world.path("state");
    let ran = monitor(&world, &all, &["--view", &older, "--state", &state]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.first(), "holds  quorate.example/log at size 10: 4 results, 1 of 1 verdicts made again");
    assert!(ran.stdout.contains("(size 5) is a beginning of it"), "{}", ran.stdout);

    // What was remembered is compared with the next time; a coordinator that went back is behind it.
    let json = monitor(&world, &all, &["--state", &state, "--format", "json"]).json();
    assert_eq!((&json["exit"], &json["views"][0]["standing"]), (&0.into(), &"consistent".into()), "{json}");
    let back = monitor(&world, &all[..9], &["--state", &state]);
    assert!(back.stdout.contains("(size 10) is ahead of it"), "{}{}", back.stdout, back.stderr);
}

#[test]
fn a_logged_lie_is_found_by_its_entry() {
    let world = world();
    let honest = world.verdict(&world.policy_with_log());
    let lie = Verdict { state: State::Suspect, ..honest.clone() };
    let mut fewer = world.verdict(&world.policy_with_log());
    fewer.agree = 5;
    for (lie, size) in [(lie, 9), (fewer, 9), (honest.clone(), 5), (honest, 11)] {
        let mut all = entries(&world);
        all.push(signed(&lie, size));
        let ran = monitor(&world, &all, &[]);
        assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("DOES NOT HOLD") && ran.stdout.contains("entry 9: "), "{}", ran.stdout);
    }
}

#[test]
fn two_histories_are_proven_to_everybody() {
    let world = world();
    let all = entries(&world);
    let mut other = all.clone();
    other[3] = all[4].clone();
    for size in [4, 9] {
        let shown = world.file("shown", checkpoint(&other[..size]).as_bytes()).display().to_string();
        let ran = monitor(&world, &all, &["--view", &shown]);
        assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("CONTRADICTS"), "{}", ran.stdout);
        let proof = LogEquivocation::parse(&std::fs::read(world.path("two-views")).expect("written")).expect("a proof");
        assert_eq!(proof.verify(log(ORIGIN, 7).verifier()).expect("it convicts").size, size as u64);
    }
}

#[test]
fn entries_that_do_not_lead_to_the_root_and_foreign_views_are_named() {
    let world = world();
    let all = entries(&world);
    let mut other = all.clone();
    other.swap(3, 4);
    let bundle = EntryBundle::new(other.into_iter().map(|entry| Entry::new(entry).expect("short")).collect()).expect("few");
    let server = serve(BTreeMap::from([
        ("/checkpoint".to_owned(), Reply::Bytes(checkpoint(&all).into_bytes())),
        (format!("/tile/entries/000.p/{}", all.len()), Reply::Bytes(bundle.encode())),
    ]));
    let foreign = checkpoint(&all[..3]).replace(ORIGIN, "other.example");
    let foreign = world.file("foreign", foreign.as_bytes()).display().to_string();
    let arguments = ["monitor", "--once", "--server", &server, "--policy", &world.path("logged.toml"), "--view", &foreign];
    let ran = world.run(&arguments);
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("do not lead to the checkpoint's root"), "{}", ran.stdout);
    assert!(ran.stdout.contains("is not signed by this log"), "{}", ran.stdout);
    let unlogged = world.run(&["monitor", "--once", "--server", &server, "--policy", &world.path("policy.toml")]);
    assert_eq!(unlogged.code, 2);
}
