//! What holds under every policy: flat, of groups, distinct, and with the entries that change what counts.

use proptest::prelude::*;
use quorate_proto::Digest;
use quorate_proto::verified::{FeedItem, VerifiedStatement};
use quorate_tally::{Ballot, Policy, State, Verdict, tally_as_of};
use quorate_tests::Member;

use crate::fixture::{GROUPS, at, click, outcome, policy_with, support, verified, vouch};

const ATTRIBUTES: [&str; 6] = [
    "country = \"DE\"\nenvironment = \"debian\"",
    "country = \"DE\"\nenvironment = \"nix\"",
    "country = \"FR\"\nenvironment = \"debian\"",
    "country = \"FR\"\nenvironment = \"nix\"",
    "country = \"JP\"",
    "",
];

/// A threshold and rules for six operators. With all of them two quorums overlap.
fn policies() -> impl Strategy<Value = (usize, String)> {
    let distinct = "[distinct]\ncountry = 2\n";
    prop::sample::select(vec![
        (4, String::new()),
        (4, distinct.to_owned()),
        (2, GROUPS.to_owned()),
        (2, format!("{GROUPS}{distinct}")),
        (5, vouch("a")),
        (4, "[allow]\nlevels = [\"stream\"]\n".to_owned()),
    ])
}

/// Each of six operators with two nodes, of which the second may say something as well.
fn signed(rows: &[String; 2]) -> (Vec<Member>, Vec<FeedItem>) {
    let mut nodes: Vec<Vec<Member>> = (1..=6).map(|seed| Member::with_nodes(seed, 2)).collect();
    let mut items = Vec::new();
    for (node, row) in rows.iter().enumerate() {
        let said = row.chars().zip(&mut nodes);
        items.extend(said.filter_map(|(letter, of)| Some(of[node].says(&click(), outcome(letter)?))));
    }
    (nodes.into_iter().map(|mut of| of.remove(0)).collect(), items)
}

fn verdict(policy: &Policy, items: &[FeedItem]) -> Verdict {
    tally_as_of(policy, &click(), &verified(policy, items), at(0))
}

fn of_row((threshold, rules): &(usize, String), row: &str) -> Verdict {
    let (members, items) = signed(&[row.to_owned(), String::new()]);
    verdict(&policy_with(*threshold, &members, &ATTRIBUTES, rules), &items)
}

fn replaced(row: &str, at: usize, letter: &str) -> String {
    let mut row = row.to_owned();
    row.replace_range(at..=at, letter);
    row
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn order_and_repetition_change_nothing(
        (threshold, rules) in policies(), rows in [r"[ieabf.]{6}", r"[ieab.]{6}"], by in any::<[u8; 12]>(),
    ) {
        let (members, items) = signed(&rows);
        let policy = policy_with(threshold, &members, &ATTRIBUTES, &rules);
        let mut shuffled: Vec<_> = items.iter().zip(by.iter().cycle()).collect();
        shuffled.sort_by_key(|(_, by)| **by);
        let shuffled: Vec<_> = shuffled.into_iter().map(|(item, _)| item.clone()).chain(items.first().cloned()).collect();
        prop_assert_eq!(verdict(&policy, &items), verdict(&policy, &shuffled));
    }

    #[test]
    fn another_node_that_says_the_same_changes_nothing_but_what_the_verdict_rests_on(
        (threshold, rules) in policies(), row in "[ieabf.]{6}",
    ) {
        let (members, items) = signed(&[row.clone(), row.clone()]);
        let policy = policy_with(threshold, &members, &ATTRIBUTES, &rules);
        let mut twice = verdict(&policy, &items);
        let once = of_row(&(threshold, rules), &row);
        for (vote, single) in twice.votes.iter_mut().zip(&once.votes) {
            vote.results.clone_from(&single.results);
        }
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn keys_outside_of_the_policy_change_nothing((threshold, rules) in policies(), row in "[ieabf.]{6}", lies in "[ieab]{3}") {
        let (members, items) = signed(&[row, String::new()]);
        let policy = policy_with(threshold, &members, &ATTRIBUTES, &rules);
        let mut strangers: Vec<Member> = (100..103).map(Member::new).collect();
        let foreign: Vec<_> = lies.chars().zip(&mut strangers).filter_map(|(l, m)| Some(m.says(&click(), outcome(l)?))).collect();
        let everybody = members.iter().chain(&strangers).map(Member::operator).collect();
        let all: Vec<_> = items.iter().chain(&foreign).filter_map(|item| VerifiedStatement::verify_item(item, &everybody).ok()).collect();
        prop_assert_eq!(tally_as_of(&policy, &click(), &all, at(0)), verdict(&policy, &items));
    }

    #[test]
    fn more_support_never_lowers_a_verdict(policy in policies(), row in "[ieabf.]{6}") {
        let before = of_row(&policy, &row);
        for (at, _) in row.match_indices('.') {
            for letter in ["i", "e"] {
                let after = of_row(&policy, &replaced(&row, at, letter));
                prop_assert!(support(after.state) >= support(before.state), "{} at {}: {} to {}", row, at, before.state, after.state);
            }
        }
    }

    #[test]
    fn who_has_not_answered_cannot_decide_what_is_inconclusive(policy in policies(), row in "[ieabf.]{6}", more in "[ieabf]{6}") {
        prop_assume!(of_row(&policy, &row).state == State::Inconclusive);
        let answered: String = row.chars().zip(more.chars()).map(|(before, after)| if before == '.' { after } else { before }).collect();
        prop_assert!(matches!(of_row(&policy, &answered).state, State::Inconclusive | State::EnvironmentDependent));
    }

    #[test]
    fn a_verdict_rests_on_the_results_that_give_it_and_on_no_others((threshold, rules) in policies(), rows in [r"[ieabf.]{6}", r"[ieab.]{6}"]) {
        let (members, items) = signed(&rows);
        let policy = policy_with(threshold, &members, &ATTRIBUTES, &rules);
        let all = verdict(&policy, &items);
        let named = all.rests_on();
        let alone: Vec<_> = items.iter().filter(|item| named.contains(&Digest::of(&item.envelope))).cloned().collect();
        prop_assert_eq!(&verdict(&policy, &alone), &all);
        let silent = |vote: &quorate_tally::Vote| vote.results.is_empty() == (vote.ballot == Ballot::Absent);
        prop_assert!(all.votes.iter().all(silent));
    }

    /// Under a policy whose quorums overlap, whoever is no quorum can lie as they like.
    #[test]
    fn colluders_who_are_no_quorum_neither_create_reproduced_nor_hide_suspect(lies in "[ieabf.]{6}", set in 0..64_usize) {
        for policy in [(4, String::new()), (4, "[distinct]\ncountry = 2\n".to_owned())] {
            let picture = |honest: char| -> String {
                lies.chars().enumerate().map(|(at, lie)| if set >> at & 1 == 1 { lie } else { honest }).collect()
            };
            let all = |honest, colluder| -> String { (0..6).map(|at| if set >> at & 1 == 1 { colluder } else { honest }).collect() };
            let is_quorum = of_row(&policy, &all('.', 'i')).state == State::Reproduced;
            let honest_are_quorum = of_row(&policy, &all('c', '.')).state == State::Suspect;
            if !is_quorum {
                prop_assert!(support(of_row(&policy, &picture('.')).state) == 0);
                prop_assert!(support(of_row(&policy, &picture('c')).state) <= 1);
                prop_assert!(of_row(&policy, &picture('c')).state != State::Reproduced);
            }
            if honest_are_quorum && !is_quorum {
                prop_assert_eq!(of_row(&policy, &picture('c')).state, State::Suspect);
            }
        }
    }
}
