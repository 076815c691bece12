//! Who can fool a policy, and who can stall it.

use quorate_tally::doctor::{Coalitions, Known};
use quorate_tally::{State, examine, tally};
use quorate_tests::Member;

use crate::fixture::{GROUPS, click, policy_with, says, verified};

fn sets(coalitions: &Coalitions) -> Vec<String> {
    coalitions.sets.iter().map(ToString::to_string).collect()
}

#[test]
fn the_doctor_names_the_smallest_sets_that_fool_and_that_stall() {
    let (members, _) = says("......");
    let examined = |threshold, operators: &[&str], rules| examine(&policy_with(threshold, &members, operators, rules)).remove(0);
    let flat = examined(4, &[], "");
    let all = "operator-0, operator-1, operator-2, operator-3, operator-4, operator-5";
    assert_eq!((flat.fool.size, sets(&flat.fool)), (4, vec![format!("any 4 of ({all})")]));
    assert_eq!((flat.stall.size, sets(&flat.stall)), (3, vec![format!("any 3 of ({all})")]));
    let grouped = examined(2, &[], GROUPS);
    assert_eq!(sets(&grouped.fool), ["any 2 of (operator-0, operator-1, operator-2) and operator-3"]);
    let stall = ["operator-3 and any 1 of (operator-4, operator-5)", "any 2 of (operator-0, operator-1, operator-2)"];
    assert_eq!((grouped.stall.size, sets(&grouped.stall)), (2, stall.map(str::to_owned).to_vec()));
    let countries = ["country = \"DE\"", "country = \"DE\"", "country = \"DE\"", "country = \"DE\"", "country = \"FR\"", ""];
    let spread = examined(2, &countries, "[distinct]\ncountry = 2\n");
    assert_eq!((spread.fool.size, spread.fool.known), (2, Known::All));
    assert_eq!(sets(&spread.fool), ["any 1 of (operator-0, operator-1, operator-2, operator-3) and operator-4"]);
    assert_eq!((spread.stall.size, sets(&spread.stall)), (1, vec!["operator-4".to_owned()]));
}

/// Of whom the policy does not trust anything any more.
fn revoked(operators: &[usize]) -> String {
    let entry = |at: &usize| format!("[[revocation]]\noperator = \"operator-{at}\"\nreason = \"r\"\n");
    operators.iter().map(entry).collect::<Vec<_>>().concat()
}

#[test]
fn whose_word_alone_excuses_or_condemns_is_named_where_it_has_an_effect() {
    let (members, _) = says("...");
    let person = |seed: u8, name: &str, may: &str| {
        let key = quorate_proto::SecretKey::from_seed(&[seed; 32]).signer_id();
        format!("[[person]]\nname = \"{name}\"\nkey = \"{key}\"\nmay = [{may}]\n")
    };
    let people = [person(60, "p", "\"advise\""), person(61, "q", "\"vouch\""), person(62, "r", "\"advise\", \"vouch\"")].concat();
    let named = |rules: &str| {
        let found = examine(&policy_with(2, &members, &[], rules)).remove(0);
        [found.excuse.join(" "), found.condemn.join(" ")]
    };
    assert_eq!(named(&people), ["q r", "p r"]);
    assert_eq!(named(&format!("[states]\nexplained = \"block\"\ncompromised = \"warn\"\n{people}")), ["", ""]);
    assert_eq!(named(""), ["", ""]);
}

#[test]
fn the_doctor_agrees_with_trying_every_set() {
    let countries = [
        "country = \"A\"\nnetwork = \"x\"",
        "country = \"A\"",
        "country = \"B\"\nnetwork = \"x\"",
        "country = \"C\"",
        "network = \"y\"",
        "country = \"B\"",
    ];
    let (members, items) = says("iiiiii");
    for (threshold, rules) in [
        (3, ""),
        (2, GROUPS),
        (3, "[distinct]\ncountry = 3\n"),
        (4, "[distinct]\ncountry = 2\nnetwork = 2\n"),
        (2, &format!("{GROUPS}[distinct]\ncountry = 3\n")),
        (2, &format!("{GROUPS}[distinct]\nnetwork = 2\n")),
        (1, &format!("{GROUPS}[distinct]\ncountry = 2\n")),
        (3, &revoked(&[0])),
        (5, &revoked(&[0, 3])),
        (2, &format!("{GROUPS}{}", revoked(&[0, 3]))),
        (2, &format!("{GROUPS}{}", revoked(&[3, 4]))),
        (3, &format!("[distinct]\ncountry = 3\n{}", revoked(&[2, 3]))),
        (3, &format!("[distinct]\ncountry = 3\n{}", revoked(&[3]))),
        (2, &format!("{GROUPS}[distinct]\ncountry = 3\n{}", revoked(&[1]))),
    ] {
        let policy = policy_with(threshold, &members, &countries, rules);
        let statements = verified(&policy, &items);
        let holds = |set: usize| {
            let chosen: Vec<_> = (0..6).filter(|at| set >> at & 1 == 1).map(|at| statements[at].clone()).collect();
            tally(&policy, &click(), &chosen, &[]).state == State::Reproduced
        };
        let fool = (0..64_usize).filter(|set| holds(*set)).map(usize::count_ones).min();
        let stall = (0..64_usize).filter(|set| !holds(63 ^ set)).map(usize::count_ones).min().unwrap();
        let found = examine(&policy).remove(0);
        assert_eq!(found.fool.known == Known::Nobody, fool.is_none(), "{threshold} {rules}");
        assert_eq!((found.fool.size, found.stall.size), (fool.unwrap_or(0) as usize, stall as usize), "{threshold} {rules}");
        assert!(found.fool.known != Known::AtLeast && found.stall.known != Known::AtLeast);
    }
}

#[test]
fn a_search_that_is_cut_says_so() {
    let members: Vec<Member> = (1..=40).map(Member::new).collect();
    let attributes: Vec<String> =
        (0..40).map(|at| format!("country = \"{}\"\nnetwork = \"{}\"\norganisation = \"{at}\"", at % 13, at % 11)).collect();
    let attributes: Vec<&str> = attributes.iter().map(String::as_str).collect();
    let found = examine(&policy_with(5, &members, &attributes, "[distinct]\ncountry = 13\nnetwork = 11\norganisation = 14\n")).remove(0);
    assert!(found.fool.size >= 14 && (found.fool.known != Known::All), "{:?}", found.fool);
}
