//! The properties of the tally, each under its own name.

use std::collections::BTreeSet;

use crate::fixture::{click, outcome, support, verified};
use proptest::prelude::*;
use quorate_proto::feed::EquivocationProof;
use quorate_proto::statement::{Statement, StatementError};
use quorate_proto::verified::{FeedItem, VerifiedStatement};
use quorate_proto::{ArtifactId, Timestamp};
use quorate_tally::{Ballot, Disposition, Flag, Policy, PolicyError, State, Verdict, VerdictSummary, Verifier, tally};
use quorate_tests::{Member, artifact, different, equivalent, failed, identical, policy};

fn verdict_of(row: &str, threshold: usize) -> Verdict {
    let mut members: Vec<Member> = (1..).take(row.len()).map(Member::new).collect();
    let policy = Policy::parse(&policy(threshold, &members)).unwrap();
    let items: Vec<_> = row.chars().zip(&mut members).filter_map(|(letter, m)| Some(m.says(&click(), outcome(letter)?))).collect();
    tally(&policy, &click(), &verified(&policy, &items), &[])
}

#[test]
fn states_follow_from_who_says_what() {
    for (row, threshold, state) in [
        ("iii..", 3, State::Reproduced),
        ("iiiii", 3, State::Reproduced),
        ("iie..", 3, State::Equivalent),
        ("iiie.", 4, State::Equivalent),
        ("aaa..", 3, State::Suspect),
        ("aaaai", 3, State::Suspect),
        ("aaiii", 3, State::Reproduced),
        ("aabc.", 3, State::Unreproducible),
        ("abc..", 3, State::Unreproducible),
        ("fff..", 3, State::Unbuildable),
        ("ffiia", 3, State::Inconclusive),
        ("ffiia.", 3, State::Pending),
        (".....", 3, State::Pending),
        ("ii...", 3, State::Pending),
        ("aaiii", 2, State::Contested),
        ("aaii.", 2, State::Contested),
        ("i....", 1, State::Reproduced),
    ] {
        assert_eq!(verdict_of(row, threshold).state, state, "{row} with threshold {threshold}");
    }
}

#[test]
fn a_verdict_carries_the_numbers_behind_it() {
    let verdict = verdict_of("aaaai", 3);
    assert_eq!((verdict.agree, verdict.differ, verdict.failed, verdict.enrolled), (1, 4, 0, 5));
    assert_eq!(verdict.reason(), "4 of 5 operators agree on another result than the published one, threshold 3");
    assert_eq!(verdict.dissent().count(), 1);
    assert_eq!(verdict.rests_on().len(), 5);
}

#[test]
fn one_operator_with_ten_nodes_casts_one_vote() {
    let mut nodes = Member::with_nodes(1, 10);
    let others = [Member::new(2), Member::new(3)];
    let policy = Policy::parse(&policy(2, [&nodes[0], &others[0], &others[1]])).unwrap();
    let items: Vec<_> = nodes.iter_mut().map(|node| node.says(&click(), identical(&click()))).collect();
    let verdict = tally(&policy, &click(), &verified(&policy, &items), &[]);
    assert_eq!((verdict.state, verdict.agree), (State::Pending, 1));
}

#[test]
fn nodes_of_one_operator_that_contradict_each_other_are_no_vote() {
    let mut nodes = Member::with_nodes(1, 3);
    let policy = Policy::parse(&policy(1, [&nodes[0]])).unwrap();
    let says = [identical(&click()), different("a", "x.py"), failed()];
    let items: Vec<_> = nodes.iter_mut().zip(says).map(|(node, says)| node.says(&click(), says)).collect();
    let verdict = tally(&policy, &click(), &verified(&policy, &items), &[]);
    assert_eq!((verdict.state, &verdict.votes[0].ballot), (State::Inconclusive, &Ballot::Split));
}

#[test]
fn signing_about_ever_new_digests_does_not_make_a_verdict_long() {
    let mut members = [Member::new(1), Member::new(2)];
    let policy = Policy::parse(&policy(1, &members)).unwrap();
    let mut items = vec![members[1].says(&click(), identical(&click()))];
    for n in 0_u32..40 {
        let other = ArtifactId { digest: quorate_proto::Digest::of(&n.to_be_bytes()), ..click() };
        items.push(members[0].says(&other, failed()));
    }
    let verdict = tally(&policy, &click(), &verified(&policy, &items), &[]);
    assert_eq!((verdict.state, verdict.other_digests.len()), (State::Reproduced, 8));
}

#[test]
fn a_result_stolen_with_another_operators_certificate_is_no_vote() {
    let (mut honest, thief) = (Member::new(1), Member::new(2));
    let policy = Policy::parse(&policy(1, [&honest, &thief])).unwrap();
    let item = honest.says(&click(), identical(&click()));
    let stolen = FeedItem { certificate: thief.certifies(&honest), ..item.clone() };
    for items in [[item.clone(), stolen.clone()], [stolen, item]] {
        let verdict = tally(&policy, &click(), &verified(&policy, &items), &[]);
        assert_eq!(verdict.votes.iter().filter(|vote| vote.ballot == Ballot::Identical).count(), 1);
        assert!(verdict.votes.iter().any(|vote| vote.operator == honest.operator() && vote.ballot == Ballot::Identical));
    }
}

#[test]
fn a_failed_build_says_nothing_against_another_node_that_built() {
    let mut nodes = Member::with_nodes(1, 2);
    let policy = Policy::parse(&policy(1, [&nodes[0]])).unwrap();
    let items = [nodes[0].says(&click(), failed()), nodes[1].says(&click(), identical(&click()))];
    assert_eq!(tally(&policy, &click(), &verified(&policy, &items), &[]).state, State::Reproduced);
}

#[test]
fn a_nodes_latest_word_counts() {
    let mut member = Member::new(1);
    let policy = Policy::parse(&policy(1, [&member])).unwrap();
    let items = [member.says(&click(), failed()), member.says(&click(), identical(&click()))];
    let forwards = tally(&policy, &click(), &verified(&policy, &items), &[]);
    assert_eq!((forwards.state, forwards.votes[0].results.len()), (State::Reproduced, 1));
}

#[test]
fn keys_outside_of_the_policy_change_nothing() {
    let (mut known, mut stranger) = (Member::new(1), Member::new(2));
    let everybody: BTreeSet<_> = [known.operator(), stranger.operator()].into();
    let policy = Policy::parse(&policy(1, [&known])).unwrap();
    let items = [known.says(&click(), identical(&click())), stranger.says(&click(), different("a", "x.py"))];
    let all: Vec<_> = items.iter().map(|item| VerifiedStatement::verify_item(item, &everybody).unwrap()).collect();
    assert_eq!(tally(&policy, &click(), &all, &[]), tally(&policy, &click(), &all[..1], &[]));
}

#[test]
fn results_about_other_artifacts_change_nothing() {
    let mut member = Member::new(1);
    let policy = Policy::parse(&policy(1, [&member])).unwrap();
    let other = artifact("clock", "1.0", b"clock");
    let items = [member.says(&other, identical(&other))];
    assert_eq!(tally(&policy, &click(), &verified(&policy, &items), &[]), tally(&policy, &click(), &[], &[]));
}

#[test]
fn other_bytes_under_one_name_raise_registry_split() {
    let mut members = [Member::new(1), Member::new(2)];
    let policy = Policy::parse(&policy(1, &members)).unwrap();
    let other = ArtifactId { digest: quorate_proto::Digest::of(b"other"), ..click() };
    let items = [members[0].says(&click(), identical(&click())), members[1].says(&other, identical(&other))];
    let verdict = tally(&policy, &click(), &verified(&policy, &items), &[]);
    assert_eq!((verdict.flags, verdict.other_digests), ([Flag::RegistrySplit].into(), vec![other.digest]));
}

#[test]
fn an_equivocating_operator_loses_its_vote_and_is_flagged() {
    let mut members = [Member::new(1), Member::new(2)];
    let policy = Policy::parse(&policy(1, &members)).unwrap();
    let first = members[0].says(&click(), identical(&click()));
    let twin = Member::new(1);
    let second = twin.says_at(twin.position(), &click(), different("a", "x.py"));
    let proof = EquivocationProof::verify(first.clone(), second, policy.enrolled()).unwrap();
    let items = [first, members[1].says(&click(), failed())];
    let verdict = tally(&policy, &click(), &verified(&policy, &items), &[proof]);
    assert_eq!((verdict.state, verdict.agree), (State::Unbuildable, 0));
    assert_eq!(verdict.flags, [Flag::Equivocation].into());
}

#[test]
fn what_the_policy_does_not_allow_is_not_counted() {
    let mut member = Member::new(1);
    let text = policy(1, [&member]);
    let items = [member.says(&click(), equivalent())];
    for (rule, state) in [
        ("[allow]\nlevels = [\"stream\"]\n", State::Inconclusive),
        ("[allow]\nsources = [\"source-archive\"]\n", State::Inconclusive),
        ("[allow]\nlevels = [\"normal\"]\nsources = [\"git\"]\nrisk_max = \"none\"\n", State::Equivalent),
    ] {
        let policy = Policy::parse(&format!("{text}{rule}")).unwrap();
        assert_eq!(tally(&policy, &click(), &verified(&policy, &items), &[]).state, state, "{rule}");
    }
}

#[test]
fn policies_that_could_not_mean_what_they_say_are_refused() {
    let members = [Member::new(1), Member::new(2)];
    let text = policy(2, &members);
    for (broken, kind) in [
        (text.replace("version = 1", "version = 2"), "version"),
        (text.replace("threshold = 2", "threshold = 3"), "threshold"),
        (text.replace("threshold = 2", "threshold = 0"), "threshold"),
        (text.replace("operator-1", "operator-0"), "twice"),
        (text.replace("operator-1", "operator\\u001b"), "name"),
        (text.replace("threshold", "treshold"), "malformed"),
    ] {
        let error = Policy::parse(&broken).unwrap_err();
        let expected = match error {
            PolicyError::Version(_) => "version",
            PolicyError::Threshold { .. } => "threshold",
            PolicyError::DuplicateOperator(_) => "twice",
            PolicyError::OperatorName(_) => "name",
            PolicyError::Malformed(_) => "malformed",
            other => panic!("{other}"),
        };
        assert_eq!(expected, kind);
    }
}

#[test]
fn dispositions_follow_the_policy() {
    let members = [Member::new(1), Member::new(2), Member::new(3)];
    let policy = Policy::parse(&policy(3, &members)).unwrap();
    for (row, disposition) in [
        ("iii", Disposition::Met),
        ("eee", Disposition::Met),
        ("aaa", Disposition::Violated),
        ("abc", Disposition::Violated),
        ("fff", Disposition::NotEnoughEvidence),
        ("ii.", Disposition::NotEnoughEvidence),
    ] {
        assert_eq!(policy.disposition(&verdict_of(row, 3)), disposition, "{row}");
    }
}

#[test]
fn the_summary_claims_reproduced_only_where_two_operators_earned_it() {
    let verifier = Verifier { id: "urn:quorate:coordinator:test".to_owned(), time: Timestamp::from_unix_seconds(0), log_size: 9 };
    for (row, threshold, levels, result) in
        [("iii", 3, 1, "PASSED"), ("ii.", 1, 1, "PASSED"), ("i..", 1, 0, "PASSED"), ("eee", 3, 0, "PASSED"), ("aaa", 3, 0, "FAILED")]
    {
        let statement = verdict_of(row, threshold).to_statement(&verifier);
        let parsed = Statement::<VerdictSummary>::parse(&statement.to_payload()).unwrap();
        assert_eq!(parsed, statement);
        assert_eq!((parsed.predicate.verified_levels.len(), parsed.predicate.verification_result.as_str()), (levels, result), "{row}");
    }
}

#[test]
fn what_other_peoples_tools_read_in_a_summary_cannot_differ_from_the_verdict_in_it() {
    let verifier = Verifier { id: "urn:quorate:coordinator:test".to_owned(), time: Timestamp::from_unix_seconds(0), log_size: 9 };
    let lies: [fn(&mut VerdictSummary); 5] = [
        |summary| summary.verification_result = "PASSED".to_owned(),
        |summary| summary.verified_levels = vec!["SLSA_BUILD_REPRODUCED".to_owned()],
        |summary| summary.input_attestations.truncate(1),
        |summary| summary.resource_uri = "pkg:pypi/other@1".to_owned(),
        |summary| summary.verifier.version.clear(),
    ];
    for lie in lies {
        let mut statement = verdict_of("aaa", 3).to_statement(&verifier);
        lie(&mut statement.predicate);
        let parsed = Statement::<VerdictSummary>::parse(&statement.to_payload());
        assert!(matches!(parsed, Err(StatementError::Contradiction(_))), "{parsed:?}");
        // What another engine would name is its own.
        statement.predicate.verdict.engine = "another".to_owned();
        assert!(Statement::<VerdictSummary>::parse(&statement.to_payload()).is_ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn order_and_repetition_change_nothing(row in "[ieabf.]{5}", order in Just((0..5).collect::<Vec<usize>>()).prop_shuffle(), again in 0..5_usize) {
        let mut members: Vec<Member> = (1..=5).map(Member::new).collect();
        let policy = Policy::parse(&policy(3, &members)).unwrap();
        let items: Vec<_> = row.chars().zip(&mut members).filter_map(|(l, m)| Some(m.says(&click(), outcome(l)?))).collect();
        let statements = verified(&policy, &items);
        let mut shuffled: Vec<_> = order.iter().filter_map(|i| statements.get(*i)).cloned().collect();
        shuffled.extend(statements.get(again).cloned());
        prop_assert_eq!(tally(&policy, &click(), &statements, &[]), tally(&policy, &click(), &shuffled, &[]));
    }

    #[test]
    fn more_support_never_lowers_a_verdict(row in "[ieabf.]{5}", threshold in 1..=5_usize) {
        let before = verdict_of(&row, threshold);
        for (at, _) in row.match_indices('.') {
            for letter in ["i", "e"] {
                let mut more = row.clone();
                more.replace_range(at..=at, letter);
                let after = verdict_of(&more, threshold);
                prop_assert!(support(after.state) >= support(before.state), "{} to {}", row, more);
            }
        }
    }

    /// With a threshold above half, colluders below the threshold can lie as they like.
    #[test]
    fn colluders_below_the_threshold_neither_create_reproduced_nor_hide_suspect(lies in "[ieabf.]{2}") {
        let fooled = verdict_of(&format!("aaa{lies}"), 3);
        prop_assert_eq!(fooled.state, State::Suspect);
        let absent = verdict_of(&format!("...{lies}"), 3);
        prop_assert!(support(absent.state) == 0);
    }
}
