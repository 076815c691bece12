//! What the machine does, step by step; the whole of it is driven in [`model`].
#![expect(clippy::unwrap_used, reason = "tests")]

mod model;

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use quorate_proto::{Purl, Timestamp};

use super::{Backlog, Detail, Effect, Event, Feed, LOOKS_MAX, Machine, OWED_MAX, Owed, Report, Settings, Wanted};
use crate::watch::listing::{Artifact, Change, Currency, Listing, Page, Position, Rest};
use crate::watch::problem::{Kind, Problem};

const EVERY: Duration = Duration::from_mins(5);
const START: i64 = 1_700_000_000;

fn package(number: usize) -> Purl {
    format!("pkg:npm/p{number}").parse().unwrap()
}

/// A machine whose questions are answered by hand.
fn machine(feed: Feed, list: &[(&str, Wanted)], backlog: Backlog) -> Machine {
    let list = list.iter().map(|(text, wanted)| (text.parse().unwrap(), wanted.clone())).collect();
    Machine::new(Settings { feed, list, backlog, every: EVERY, seed: 1 }, None, HashSet::new(), at(0))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(START + seconds)
}

fn empty(number: u64) -> Page {
    Page { head: None, oldest: None, changes: Vec::new(), found: Vec::new(), next: Position::at(number), rest: Rest::Nothing }
}

fn wanted_version(version: &str) -> Wanted {
    Wanted::Versions([version.to_owned()].into())
}

/// Lets a round end whose writes all go well; gives back its last effects.
fn end(machine: &mut Machine, effects: Vec<Effect>, now: Timestamp) -> Vec<Effect> {
    let mut open = VecDeque::from(effects);
    let mut last = Vec::new();
    while let Some(effect) = open.pop_front() {
        let event = match effect.clone() {
            Effect::Queue { package, .. } => Event::Queued { package, outcome: Ok(()) },
            Effect::Save(_) => Event::Saved(Ok(())),
            _ => {
                last.push(effect);
                continue;
            }
        };
        last.push(effect);
        open.extend(machine.handle(event, now));
    }
    last
}

fn queued(effects: &[Effect]) -> Vec<String> {
    let artifacts = effects.iter().filter_map(|effect| match effect {
        Effect::Queue { artifacts, .. } => Some(artifacts.iter().map(|artifact| artifact.package.version().unwrap().to_owned())),
        _ => None,
    });
    artifacts.flatten().collect()
}

fn rest(effects: &[Effect]) -> i64 {
    let mut sleeps = effects.iter().filter_map(|effect| match effect {
        Effect::Sleep { until } => Some(until.unix_seconds() - START),
        _ => None,
    });
    sleeps.next_back().unwrap()
}

fn looked(machine: &mut Machine, effects: &[Effect], listing: Result<Option<Listing>, Problem>, now: Timestamp) -> Vec<Effect> {
    let question = effects.iter().find_map(|effect| match effect {
        Effect::Look { round, package, .. } => Some((*round, package.clone())),
        _ => None,
    });
    let (round, package) = question.unwrap();
    let effects = machine.handle(Event::Looked { round, package, listing }, now);
    end(machine, effects, now)
}

fn releases(versions: &[&str]) -> Listing {
    let artifact = |(index, version): (usize, &&str)| Artifact {
        package: format!("pkg:npm/a@{version}").parse().unwrap(),
        file: format!("a-{version}.tgz").parse().unwrap(),
        checksum: String::new(),
        published_at: None,
        currency: if index + 1 == versions.len() { Currency::Current } else { Currency::Past },
    };
    Listing { artifacts: versions.iter().enumerate().map(artifact).collect(), serial: None }
}

#[test]
fn a_package_without_a_version_brings_its_newest_release_and_then_every_new_one() {
    for (backlog, expected) in [(Backlog::None, &[][..]), (Backlog::Latest, &["2"]), (Backlog::All, &["1", "2"])] {
        let mut machine = machine(Feed::None, &[("pkg:npm/a", Wanted::Every)], backlog);
        let effects = machine.handle(Event::Wake, at(0));
        assert!(matches!(effects[0], Effect::Look { detail: Detail::Brief, .. }));
        assert_eq!(queued(&looked(&mut machine, &effects, Ok(Some(releases(&["1", "2"]))), at(1))), expected);
        let effects = machine.handle(Event::Wake, at(400));
        // An older line of releases counts too.
        assert_eq!(queued(&looked(&mut machine, &effects, Ok(Some(releases(&["1", "1.1", "2", "3"]))), at(401))), ["1.1", "3"]);
        let effects = machine.handle(Event::Wake, at(800));
        assert_eq!(queued(&looked(&mut machine, &effects, Ok(Some(releases(&["1", "1.1", "2", "3"]))), at(801))), [""; 0]);
    }
}

#[test]
fn a_package_with_a_version_brings_that_release_whenever_it_was_published() {
    let mut machine = machine(Feed::None, &[("pkg:npm/a", wanted_version("1"))], Backlog::None);
    let effects = machine.handle(Event::Wake, at(0));
    assert_eq!(queued(&looked(&mut machine, &effects, Ok(Some(releases(&["1", "2"]))), at(1))), ["1"]);
}

#[test]
fn a_listed_package_that_does_not_exist_yet_is_news_from_its_first_release_on() {
    let mut machine = machine(Feed::None, &[("pkg:npm/a", Wanted::Every)], Backlog::None);
    let effects = machine.handle(Event::Wake, at(0));
    let done = looked(&mut machine, &effects, Err(Problem::new(Kind::Absent, "404")), at(1));
    assert!((270..=331).contains(&rest(&done)), "what does not exist is no failure");
    let effects = machine.handle(Event::Wake, at(400));
    assert_eq!(queued(&looked(&mut machine, &effects, Ok(Some(releases(&["1"]))), at(401))), ["1"]);
}

#[test]
fn a_problem_is_told_once_and_rests_grow_until_it_is_over() {
    let mut machine = machine(Feed::Serial, &[], Backlog::None);
    let mut told = 0;
    let mut rests = Vec::new();
    for _ in 0..6 {
        machine.handle(Event::Wake, at(0));
        let effects = machine.handle(Event::Polled(Err(Problem::new(Kind::Passing, format!("attempt {}", rests.len())))), at(0));
        let done = end(&mut machine, effects, at(0));
        told += done.iter().filter(|effect| matches!(effect, Effect::Report(Report::Failing(_)))).count();
        rests.push(rest(&done) / 100);
    }
    assert_eq!(told, 1);
    assert!(rests.windows(2).all(|pair| pair[0] <= pair[1] + 5) && (32..=39).contains(&rests[5]), "{rests:?}");
    machine.handle(Event::Wake, at(0));
    let effects = machine.handle(Event::Polled(Ok(Box::new(empty(5)))), at(0));
    let done = end(&mut machine, effects, at(0));
    assert!(done.iter().any(|effect| matches!(effect, Effect::Report(Report::Recovered))));
    assert!((270..=331).contains(&rest(&done)));
}

#[test]
fn a_registry_that_asks_for_a_rest_gets_it_and_what_was_not_looked_at_is_owed() {
    let mut machine = machine(Feed::Serial, &[], Backlog::None);
    machine.handle(Event::Wake, at(0));
    let effects = machine.handle(Event::Polled(Ok(Box::new(empty(5)))), at(0));
    end(&mut machine, effects, at(0));
    machine.handle(Event::Wake, at(300));
    let changes = (0..20).map(|number| Change { package: package(number), versions: [].into(), serial: Some(6) }).collect();
    let effects = machine.handle(Event::Polled(Ok(Box::new(Page { changes, ..empty(30) }))), at(300));
    let overloaded = Problem { not_before: Some(at(5000)), ..Problem::new(Kind::Passing, "429") };
    let mut saved = None;
    let mut slept = None;
    for effect in effects {
        let Effect::Look { round, package, .. } = effect else { continue };
        let effects = machine.handle(Event::Looked { round, package, listing: Err(overloaded.clone()) }, at(300));
        for effect in end(&mut machine, effects, at(300)) {
            match effect {
                Effect::Save(state) => saved = Some(state),
                Effect::Sleep { until } => slept = Some(until),
                Effect::Look { .. } => panic!("it asks on"),
                _ => {}
            }
        }
    }
    let saved = saved.unwrap();
    assert_eq!((saved.position.unwrap().number, saved.owed.len()), (30, 20), "nothing is asked for twice, nothing is lost");
    assert_eq!(slept, Some(at(5000)));
}

#[test]
fn a_window_that_has_moved_on_too_far_is_told_of() {
    let mut machine = machine(Feed::Window, &[], Backlog::None);
    machine.handle(Event::Wake, at(0));
    let effects = machine.handle(Event::Polled(Ok(Box::new(Page { oldest: Some(50), ..empty(100) }))), at(0));
    end(&mut machine, effects, at(0));
    for (oldest, remarks) in [(90, 0), (101, 1)] {
        machine.handle(Event::Wake, at(300));
        let effects = machine.handle(Event::Polled(Ok(Box::new(Page { oldest: Some(oldest), ..empty(100) }))), at(300));
        assert_eq!(effects.iter().filter(|effect| matches!(effect, Effect::Report(Report::Remark(_)))).count(), remarks);
        end(&mut machine, effects, at(300));
    }
}

#[test]
fn an_index_older_than_the_one_accepted_is_refused() {
    let mut machine = machine(Feed::WholeIndex, &[], Backlog::None);
    machine.handle(Event::Wake, at(0));
    let effects = machine.handle(Event::Polled(Ok(Box::new(empty(100)))), at(0));
    end(&mut machine, effects, at(0));
    for _ in 0..3 {
        machine.handle(Event::Wake, at(300));
        let older = Page { found: vec![("pkg:npm/a".parse().unwrap(), releases(&["1"]))], ..empty(99) };
        let effects = machine.handle(Event::Polled(Ok(Box::new(older))), at(300));
        assert!(queued(&effects).is_empty());
        let saved = effects.iter().find_map(|effect| match effect {
            Effect::Save(saved) => Some(saved.clone()),
            _ => None,
        });
        let saved = saved.unwrap();
        assert_eq!((saved.position.unwrap().number, saved.problem.unwrap().kind), (100, Kind::Backwards));
        end(&mut machine, effects, at(300));
    }
}

#[test]
fn a_change_that_never_shows_is_given_up_at_last_and_told_of() {
    let mut machine = machine(Feed::Serial, &[], Backlog::None);
    machine.handle(Event::Wake, at(0));
    let effects = machine.handle(Event::Polled(Ok(Box::new(empty(5)))), at(0));
    end(&mut machine, effects, at(0));
    let mut now = 300;
    machine.handle(Event::Wake, at(now));
    let change = Change { package: package(1), versions: ["9".to_owned()].into(), serial: Some(6) };
    let mut effects = machine.handle(Event::Polled(Ok(Box::new(Page { changes: vec![change], ..empty(6) }))), at(now));
    for attempt in 1..=LOOKS_MAX {
        let done = looked(&mut machine, &effects, Err(Problem::new(Kind::Absent, "404")), at(now));
        let remarks = done.iter().filter(|effect| matches!(effect, Effect::Report(Report::Remark(_)))).count();
        assert_eq!(remarks, usize::from(attempt == LOOKS_MAX));
        now += 4000;
        machine.handle(Event::Wake, at(now));
        effects = machine.handle(Event::Polled(Ok(Box::new(empty(6)))), at(now));
    }
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Look { .. })));
}

#[test]
fn a_feed_waits_while_too_much_is_owed() {
    let mut machine = machine(Feed::Serial, &[], Backlog::None);
    let owed = Owed { versions: [].into(), serial: None, attempts: 0, not_before: at(9999) };
    machine.saved.owed = (0..OWED_MAX).map(|number| (package(number), owed.clone())).collect();
    let effects = machine.handle(Event::Wake, at(0));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Poll { .. })));
}

#[test]
fn answers_to_questions_that_are_no_longer_open_change_nothing() {
    let mut machine = machine(Feed::Serial, &[], Backlog::None);
    assert!(machine.handle(Event::Polled(Ok(Box::new(empty(5)))), at(0)).is_empty());
    assert!(machine.handle(Event::Saved(Ok(())), at(0)).is_empty());
    let late = Event::Looked { round: 0, package: package(1), listing: Ok(Some(releases(&["1"]))) };
    assert!(machine.handle(late, at(0)).is_empty());
    assert_eq!(machine.handle(Event::Wake, at(0)).len(), 1);
    assert!(machine.handle(Event::Wake, at(0)).is_empty());
}
