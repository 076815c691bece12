//! Packages as rows of verdicts, the newest first, and what they come to for one that is suspect.

use quorate_proto::Digest;
use quorate_tally::history::{Past, VERDICTS_MAX, package, rules};
use quorate_tally::{ENGINE, History, Severity, State, Verdict, tally};
use quorate_tests::artifact;

use crate::fixture::{at, judged, policy_with, says, verified};

/// A verdict on a release of the package with this state.
fn past(version: &str, state: State) -> Past {
    let (members, items) = says("...");
    let policy = policy_with(3, &members, &[], "");
    let artifact = artifact("click", version, b"click");
    Past::of(&Verdict { state, ..tally(&policy, &artifact, &verified(&policy, &items), &[]) })
}

fn suspect() -> Verdict {
    judged("aaa", 3, &[], "", at(0))
}

/// A letter a verdict, each on a release of its own; `/` has the next one be about the same release.
fn history(row: &str) -> History {
    let mut version = 0;
    let mut newest = Vec::new();
    let mut letters = row.chars().peekable();
    while let Some(letter) = letters.next() {
        let state = State::ORDER["corexsdubip".find(letter).expect("a state's letter")];
        newest.push(past(&format!("7.{version}"), state));
        if letters.next_if_eq(&'/').is_none() {
            version += 1;
        }
    }
    History::of(&suspect(), newest)
}

fn counts(row: &str) -> (usize, usize) {
    let History { agreed, other } = history(row);
    (agreed, other)
}

#[test]
fn releases_that_agree_and_those_that_do_not_are_counted_and_those_that_nobody_could_judge_are_not() {
    for (row, expected) in [("", (0, 0)), ("rex", (3, 0)), ("cosdu", (0, 5)), ("bip", (0, 0)), ("rrsprb", (3, 1))] {
        assert_eq!(counts(row), expected, "{row}");
    }
}

#[test]
fn a_release_is_one_however_many_files_it_has_and_one_bad_file_is_enough() {
    for (row, expected) in [("r/r/r", (1, 0)), ("r/s/r", (0, 1)), ("r/p", (1, 0)), ("s/b/r", (0, 1)), ("r/rs/r", (1, 1))] {
        assert_eq!(counts(row), expected, "{row}");
    }
}

#[test]
fn only_an_unbroken_habit_raises_the_alarm_and_by_one_step() {
    let alarm = |row: &str, severity| Verdict { severity: Some(severity), history: Some(history(row)), ..suspect() }.alarm();
    for (row, raises) in [("rrr", true), ("rr", false), ("rrrrs", false), ("", false), ("rrrpb", true)] {
        assert_eq!(alarm(row, Severity::Medium) == Some(Severity::High), raises, "{row}");
    }
    assert_eq!(alarm("rrr", Severity::Low), Some(Severity::Medium));
    assert_eq!(alarm("rrr", Severity::High), Some(Severity::Critical));
    assert_eq!(alarm("rrr", Severity::Critical), Some(Severity::Critical));
    let unlooked = suspect();
    assert_eq!((unlooked.history, unlooked.alarm()), (None, unlooked.severity));
    assert_eq!(judged("iii", 3, &[], "", at(0)).alarm(), None);
}

#[test]
fn the_same_release_and_verdicts_by_other_rules_count_for_nothing() {
    let this = suspect();
    let same = past("8.1.8", State::Suspect);
    let by_another_policy = Past { rules: rules(Digest::of(b"another"), ENGINE), ..past("7.0", State::Suspect) };
    let by_other_rules = Past { rules: rules(this.policy, "quorate-tally/4"), ..past("7.0", State::Suspect) };
    let all = [same, by_another_policy, by_other_rules, past("7.1", State::Reproduced)];
    assert_eq!(History::of(&this, all), History { agreed: 1, other: 0 });
}

#[test]
fn of_a_package_with_very_many_files_the_newest_are_looked_at_and_no_more_are_asked_for() {
    let (old, new) = (past("7.0", State::Suspect), past("7.1", State::Reproduced));
    let mut asked = 0;
    let newest = std::iter::repeat_n(new, VERDICTS_MAX).chain(std::iter::repeat(old)).inspect(|_| asked += 1);
    assert_eq!(History::of(&suspect(), newest), History { agreed: 1, other: 0 });
    assert_eq!(asked, VERDICTS_MAX);
}

#[test]
fn a_package_is_one_in_all_its_versions_and_another_in_another_registry() {
    let of = |text: &str| package(&text.parse().expect("a package URL"));
    assert_eq!(of("pkg:pypi/click@8.1.8"), of("pkg:pypi/click@7.0"));
    assert_ne!(of("pkg:pypi/click@8.1.8"), of("pkg:pypi/click@8.1.8?repository_url=https://registry.example"));
}

#[test]
fn history_is_told_in_one_sentence() {
    for (row, sentence) in [
        ("rrr", "3 of 3 earlier releases agree with the registry; this one does not"),
        ("r", "1 of 1 earlier release agrees with the registry; this one does not"),
        ("rss", "1 of 3 earlier releases agree with the registry"),
        ("p", "no earlier release of the package was judged"),
    ] {
        assert_eq!(history(row).to_string(), sentence);
    }
}
