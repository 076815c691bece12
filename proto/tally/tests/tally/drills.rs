//! Drills: who agrees with what is known to be wrong is marked, and a drill that came late marks nobody.

use proptest::prelude::*;
use quorate_proto::drill::{Opening, VerifiedDrill};
use quorate_proto::verified::{FeedItem, VerifiedStatement};
use quorate_proto::{ArtifactId, Digest, SecretKey};
use quorate_tally::drills::{Drilled, Drills, Void};
use quorate_tally::{Circumstances, Flag, Mark, MarkKind, Policy, marks, tally_as_of};
use quorate_tests::{Member, artifact, different, drill, equivalent, failed, identical, on_own_registry, opening, policy};

use crate::fixture::{at, verified};

const LOG: &str = "quorate.example/log";

fn key() -> SecretKey {
    SecretKey::from_seed(&[9; 32])
}

fn tampered() -> ArtifactId {
    on_own_registry(&artifact("click", "8.1.8", b"tampered"))
}

fn steps(of: &Opening) -> [VerifiedDrill; 2] {
    drill(&key(), of).map(|envelope| VerifiedDrill::verify(&envelope, &key().node_id(), LOG).unwrap())
}

/// Five operators that say all that there is to say, the fifth about another file under the same name.
fn said() -> (Policy, Vec<FeedItem>) {
    let mut members: Vec<Member> = (1..=5).map(Member::new).collect();
    let other = ArtifactId { digest: Digest::of(b"another"), ..tampered() };
    let outcomes = [identical(&tampered()), equivalent(), different("honest", "evil.py"), failed(), identical(&other)];
    let about = [&tampered(), &tampered(), &tampered(), &tampered(), &other];
    let items = members.iter_mut().zip(outcomes).zip(about).map(|((member, outcome), artifact)| member.says(artifact, outcome));
    let items = items.collect();
    (Policy::parse(&policy(3, &members)).unwrap(), items)
}

/// What a log shows whose leaves are the announcement, the results and the opening at these places.
fn shown(announced: Option<u64>, results: &[(u64, VerifiedStatement)], opened: u64) -> Result<Drilled, Void> {
    let [announcement, opening] = steps(&opening(LOG, &tampered()));
    let mut drills = Drills::default();
    let mut leaves: Vec<_> = announced.map(|leaf| (leaf, &announcement)).into_iter().chain([(opened, &opening)]).collect();
    leaves.sort_by_key(|(leaf, _)| *leaf);
    let touched: Vec<_> = leaves.into_iter().filter_map(|(leaf, drill)| drills.take(leaf, drill)).collect();
    assert_eq!(touched, [tampered().slot]);
    let results = || results.iter().map(|(leaf, result)| (*leaf, result));
    let found = drills.opened().next().unwrap().shows(results());
    assert_eq!(drills.shown(&tampered().slot, opened, &results()), [], "the opening is not before its own place");
    assert_eq!(drills.shown(&tampered().slot, opened + 1, &results()), found.clone().into_iter().collect::<Vec<_>>());
    found
}

fn marked(items: &[VerifiedStatement], drills: &[Drilled]) -> Vec<Mark> {
    marks(&tampered().slot, items, Circumstances { drills, ..at(0) })
}

#[test]
fn who_agrees_with_a_drill_is_named_and_nobody_else() {
    let (policy, items) = said();
    let statements = verified(&policy, &items);
    let results: Vec<_> = (1..).zip(statements.clone()).collect();
    let drilled = shown(Some(0), &results, 6).unwrap();
    let marks = marked(&statements, std::slice::from_ref(&drilled));
    assert!(marks.iter().all(|mark| mark.kind == MarkKind::Drill), "{marks:?}");
    let mut named: Vec<_> = marks.iter().map(|mark| (mark.operator, mark.shown_by.clone())).collect();
    let mut expected: Vec<_> =
        statements[..2].iter().map(|result| (result.operator(), vec![drilled.announcement, drilled.opening, result.digest()])).collect();
    named.sort();
    expected.sort();
    assert_eq!(named, expected);
    assert_eq!(marked(&statements, &[]), []);
}

#[test]
fn the_verdict_says_that_it_was_a_drill_and_is_otherwise_what_it_was() {
    let (policy, items) = said();
    let statements = verified(&policy, &items);
    let results: Vec<_> = (1..).zip(statements.clone()).collect();
    let drills = [shown(Some(0), &results, 6).unwrap()];
    let of = |artifact: &ArtifactId, drills| tally_as_of(&policy, artifact, &statements, Circumstances { drills, ..at(0) });
    let (before, mut after) = (of(&tampered(), &[]), of(&tampered(), &drills));
    assert!(after.flags.remove(&Flag::Drill) && !before.flags.contains(&Flag::Drill));
    assert_eq!(before, after);
    let other = ArtifactId { digest: Digest::of(b"another"), ..tampered() };
    assert_eq!(of(&other, &drills), of(&other, &[]), "a drill is on one file");
}

#[test]
fn an_opening_counts_only_behind_an_announcement_that_is_before_every_result() {
    let (policy, items) = said();
    let results: Vec<_> = (3..).zip(verified(&policy, &items)).collect();
    assert!(shown(Some(2), &results, 9).is_ok());
    assert!(shown(Some(2), &results, 4).is_ok(), "whoever agrees with what is open is no better");
    assert_eq!(shown(None, &results, 9), Err(Void::Unannounced));
    assert_eq!(shown(Some(9), &results, 2), Err(Void::Unannounced));
    assert_eq!(shown(Some(4), &results, 9), Err(Void::Late(3)));
    let elsewhere: Vec<_> = results.into_iter().filter(|(_, result)| *result.artifact() != tampered()).collect();
    assert!(shown(Some(8), &elsewhere, 9).is_ok(), "a result about another file tells nothing of this one");
}

#[test]
fn what_opens_one_drill_opens_no_other_and_only_once() {
    let first = opening(LOG, &tampered());
    let second = Opening { digest: Digest::of(b"another"), ..first.clone() };
    let [announcement, opening] = steps(&first);
    let [_, other] = steps(&second);
    let mut drills = Drills::default();
    assert_eq!(drills.take(0, &announcement), None);
    assert_eq!(drills.hidden().map(|(_, place)| place.leaf).collect::<Vec<_>>(), [0]);
    assert_eq!(drills.take(1, &other), Some(tampered().slot));
    assert_eq!(drills.opened().next().unwrap().shows(std::iter::empty()), Err(Void::Unannounced));
    assert_eq!(drills.hidden().count(), 1);
    assert_eq!(drills.take(2, &opening), Some(tampered().slot));
    assert_eq!(drills.hidden().count(), 0);
    let once = drills.clone();
    assert_eq!([drills.take(3, &announcement), drills.take(4, &opening)], [None, None]);
    assert_eq!(drills, once);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Wherever the statements of a drill stand in the log: who is marked agreed with it, and only after it was bound.
    #[test]
    fn nobody_is_marked_for_what_was_chosen_after_the_vote(places in Just((0..7_u64).collect::<Vec<_>>()).prop_shuffle()) {
        let (policy, items) = said();
        let statements = verified(&policy, &items);
        let results: Vec<_> = places[2..].iter().copied().zip(statements.clone()).collect();
        let before = results.iter().any(|(leaf, result)| *result.artifact() == tampered() && *leaf < places[0]);
        match shown(Some(places[0]), &results, places[1]) {
            Ok(drilled) => {
                prop_assert!(!before && places[0] < places[1]);
                prop_assert_eq!(marked(&statements, &[drilled]).len(), 2);
            }
            Err(_) => prop_assert!(before || places[1] < places[0]),
        }
    }
}
