//! Rows of votes, and policies with anything in them.

use quorate_proto::result::Outcome;
use quorate_proto::verified::{FeedItem, VerifiedStatement};
use quorate_proto::{ArtifactId, Digest, Timestamp};
use quorate_tally::{Circumstances, Policy, PolicyError, State, Verdict, tally_as_of};
use quorate_tests::{Member, SIGNED_AT, artifact, different, equivalent, failed, identical, policy};

pub(crate) const DAY: i64 = 86_400;

pub(crate) fn click() -> ArtifactId {
    artifact("click", "8.1.8", b"click")
}

/// A letter of a row: `i` identical, `e` equivalent, `a` `b` `c` other results, `f` failed, `.` nothing.
pub(crate) fn outcome(letter: char) -> Option<Outcome> {
    match letter {
        'i' => Some(identical(&click())),
        'e' => Some(equivalent()),
        'f' => Some(failed()),
        '.' => None,
        other => Some(different(&other.to_string(), "evil.py")),
    }
}

pub(crate) fn at(days: i64) -> Circumstances<'static> {
    Circumstances { as_of: Some(Timestamp::from_unix_seconds(SIGNED_AT + days * DAY)), ..Circumstances::default() }
}

pub(crate) fn says(row: &str) -> (Vec<Member>, Vec<FeedItem>) {
    let mut members: Vec<Member> = (1..).take(row.len()).map(Member::new).collect();
    let items = row.chars().zip(&mut members).filter_map(|(letter, member)| Some(member.says(&click(), outcome(letter)?))).collect();
    (members, items)
}

pub(crate) fn verified(policy: &Policy, items: &[FeedItem]) -> Vec<VerifiedStatement> {
    items.iter().filter_map(|item| VerifiedStatement::verify_item(item, policy.enrolled()).ok()).collect()
}

/// Operators are named `operator-0` and so on, and each table of `operators` follows its operator.
pub(crate) fn policy_with(threshold: usize, members: &[Member], operators: &[&str], rules: &str) -> Policy {
    parse(threshold, members, operators, rules).unwrap()
}

pub(crate) fn parse(threshold: usize, members: &[Member], operators: &[&str], rules: &str) -> Result<Policy, PolicyError> {
    let mut text = policy(threshold, members);
    for (at, extra) in operators.iter().enumerate() {
        let name = format!("name = \"operator-{at}\"\n");
        text = text.replace(&name, &format!("{name}{extra}\n"));
    }
    let (top, rest) = rules.split_once("---").unwrap_or(("", rules));
    Policy::parse(&format!("{top}\n{text}\n{rest}"))
}

pub(crate) fn judged(row: &str, threshold: usize, operators: &[&str], rules: &str, when: Circumstances<'_>) -> Verdict {
    let (members, items) = says(row);
    let policy = policy_with(threshold, &members, operators, rules);
    tally_as_of(&policy, &click(), &verified(&policy, &items), when)
}

pub(crate) fn state(row: &str, threshold: usize, operators: &[&str], rules: &str) -> State {
    judged(row, threshold, operators, rules, at(0)).state
}

pub(crate) const GROUPS: &str = r#"
[[group]]
name = "universities"
k = 2
members = ["operator-0", "operator-1", "operator-2"]

[[group]]
name = "north"
k = 1
members = ["operator-3", "companies"]

[[group]]
name = "companies"
k = 2
members = ["operator-4", "operator-5"]
"#;

pub(crate) fn vouch(content: &str) -> String {
    let rebuilt = Digest::of(content.as_bytes());
    let until = Timestamp::from_unix_seconds(SIGNED_AT + DAY);
    format!("[[vouch]]\nid = \"V-1\"\ndigest = \"{}\"\nrebuilt = \"{rebuilt}\"\nuntil = \"{until}\"\nreason = \"a date\"\n", click().digest)
}

/// How much a state supports the published file.
pub(crate) fn support(state: State) -> u8 {
    match state {
        State::Reproduced => 4,
        State::Equivalent => 3,
        State::Explained => 2,
        State::Contested => 1,
        _ => 0,
    }
}
