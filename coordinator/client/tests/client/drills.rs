//! `quorate monitor` and drills: who agreed is named from the log alone, a late opening convicts nobody, and nobody but
//! the log runs drills in it. `quorate verify` says of a drill that it was one, and changes no answer for it.

use quorate_proto::drill::Opening;
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{ArtifactId, Digest, SecretKey, Timestamp};
use quorate_tally::drills::Drilled;
use quorate_tally::{Circumstances, Flag, History, Policy, State, Verdict, tally_as_of};
use quorate_tests::{SIGNED_AT, artifact, different, drill, equivalent, identical, on_own_registry, opening};
use serde_json::json;

use crate::monitor::{monitor, signed};
use crate::world::{CONTENT, ORIGIN, World, sign};

fn tampered() -> ArtifactId {
    on_own_registry(&artifact("click", "8.1.8", CONTENT))
}

/// Three honest operators, one that always says `identical` and one that says `equivalent`.
fn world() -> World {
    let mut world = World::new();
    world.artifact = tampered();
    let honest = || different("honest", "evil.py");
    for (member, outcome) in world.members.iter_mut().zip([honest(), honest(), honest(), identical(&tampered()), equivalent()]) {
        let item = member.says(&tampered(), outcome);
        world.items.push(item);
    }
    world
}

fn steps(seed: u8, opening: &Opening) -> [Vec<u8>; 2] {
    drill(&SecretKey::from_seed(&[seed; 32]), opening)
}

/// The policy, and what a coordinator logs: where the announcement stands, the results, the opening, a verdict.
fn logged(world: &World, [announcement, opening]: [Vec<u8>; 2], announced_after: usize, verdict: &Verdict) -> Vec<Vec<u8>> {
    let mut entries = vec![[b"quorate-policy/v1\n", world.policy_with_log().as_bytes()].concat()];
    for (at, item) in world.items.iter().enumerate() {
        if at == announced_after {
            entries.push(announcement.clone());
        }
        entries.extend([item.certificate.clone(), item.envelope.clone()]);
    }
    entries.push(opening);
    let size = entries.len() as u64;
    entries.push(signed(verdict, size));
    entries
}

/// The verdict with what the drill has shown, about the only release of its package.
fn verdict(world: &World, drills: &[Drilled]) -> Verdict {
    let policy = Policy::parse(&world.policy_with_log()).expect("a policy");
    let statements: Vec<_> =
        world.items.iter().map(|item| VerifiedStatement::verify_item(item, policy.enrolled()).expect("enrolled")).collect();
    let as_of = Some(Timestamp::from_unix_seconds(SIGNED_AT));
    let verdict = tally_as_of(&policy, &world.artifact, &statements, Circumstances { as_of, drills, ..Circumstances::default() });
    Verdict { history: (verdict.state == State::Suspect).then(History::default), ..verdict }
}

fn shown([announcement, opening]: &[Vec<u8>; 2]) -> [Drilled; 1] {
    [Drilled { artifact: tampered(), announcement: Digest::of(announcement), opening: Digest::of(opening) }]
}

#[test]
fn who_agreed_with_a_drill_is_named_from_the_log_alone() {
    let world = world();
    let steps = steps(7, &opening(ORIGIN, &tampered()));
    let verdict = verdict(&world, &shown(&steps));
    assert!(verdict.flags.contains(&Flag::Drill));
    let all = logged(&world, steps.clone(), 0, &verdict);
    let ran = monitor(&world, &all, &[]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("1 of 1 verdicts made again"), "{}", ran.stdout);
    assert!(ran.stdout.contains("known to be wrong: a module that no source has"), "{}", ran.stdout);
    let json = monitor(&world, &all, &["--format", "json"]).json();
    let marks = json["marks"].as_array().expect("marks");
    let mut named: Vec<_> = marks.iter().map(|mark| (mark["name"].clone(), mark["kind"].clone(), mark["shownBy"][2].clone())).collect();
    named.sort_by_key(|(name, ..)| name.to_string());
    let of = |at: usize| (json!(format!("operator-{at}")), json!("drill"), json!(Digest::of(&world.items[at].envelope)));
    assert_eq!(named, [of(3), of(4)], "{json}");
    assert_eq!((&json["markCount"], &json["drills"][0]["announced"]), (&json!(2), &json!(1)));
}

#[test]
fn what_was_announced_after_a_vote_names_nobody_and_is_shown_as_void() {
    let world = world();
    let steps = steps(7, &opening(ORIGIN, &tampered()));
    let all = logged(&world, steps.clone(), 1, &verdict(&world, &[]));
    let ran = monitor(&world, &all, &[]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("void: a result about it, entry 2, stands before the announcement"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("MARK"), "{}", ran.stdout);
    // A coordinator that calls it a drill all the same is found out.
    let lie = logged(&world, steps.clone(), 1, &verdict(&world, &shown(&steps)));
    assert_eq!(monitor(&world, &lie, &[]).code, 1);
    // And so is one that hides that it was one.
    let hidden = logged(&world, steps, 0, &verdict(&world, &[]));
    assert_eq!(monitor(&world, &hidden, &[]).code, 1);
    // What opens something else than was announced, or nothing, is void as well.
    let other = Opening { digest: Digest::of(b"another"), ..opening(ORIGIN, &tampered()) };
    let [announcement, _] = crate::drills::steps(7, &other);
    let [_, opened] = crate::drills::steps(7, &opening(ORIGIN, &tampered()));
    let ran = monitor(&world, &logged(&world, [announcement, opened], 0, &verdict(&world, &[])), &[]);
    assert!(ran.code == 0 && ran.stdout.contains("void: it was not announced"), "{}", ran.stdout);
}

#[test]
fn nobody_but_the_log_runs_drills_in_it() {
    let world = world();
    for (seed, origin) in [(8, ORIGIN), (7, "other.example/log")] {
        let steps = steps(seed, &opening(origin, &tampered()));
        let ran = monitor(&world, &logged(&world, steps, 0, &verdict(&world, &[])), &[]);
        assert!(ran.code == 1 && ran.stdout.contains("entry 1: "), "{}", ran.stdout);
    }
}

#[test]
fn a_consumer_reads_that_it_was_a_drill_and_gets_the_same_answer() {
    let world = world();
    let steps = steps(7, &opening(ORIGIN, &tampered()));
    let plain = verdict(&world, &[]);
    let wheel = world.wheel();
    let answers = [plain, verdict(&world, &shown(&steps))].map(|verdict| {
        let ran = world.ask_logged(world.routes_saying(&sign(&verdict)), &["verify", &wheel]);
        (ran.code, ran.stdout.contains("the file was announced to be wrong before anybody had voted"))
    });
    assert_eq!(answers, [(1, false), (1, true)]);
}
