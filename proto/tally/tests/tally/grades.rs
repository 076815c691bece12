//! Grades: who was bound to an answer before there was one to copy.

use std::sync::Arc;

use proptest::prelude::*;
use quorate_proto::Digest;
use quorate_proto::entry::{VerifiedCommitment, VerifiedEntry};
use quorate_proto::verified::{FeedItem, VerifiedStatement};
use quorate_tally::{Ballot, Circumstances, Confirmation, Flag, Grade, Policy, State, Verdict, explain, tally_as_of};
use quorate_tests::{Member, artifact, identical};

use crate::fixture::{at, click, outcome, policy_with, support, verified};

/// Operators that commit to what a row says and then reveal it, having seen whom `sees` says.
pub(crate) struct Round {
    pub(crate) members: Vec<Member>,
    pub(crate) commitments: Vec<FeedItem>,
    pub(crate) results: Vec<FeedItem>,
}

impl Round {
    pub(crate) fn new(row: &str, names: impl Fn(usize, usize) -> bool) -> Self {
        let mut members: Vec<Member> = (1..).take(row.len()).map(Member::new).collect();
        let outcomes: Vec<_> = row.chars().map(|letter| outcome(letter).unwrap()).collect();
        let commitments: Vec<_> = members.iter_mut().zip(&outcomes).map(|(member, outcome)| member.commits(&click(), outcome, 2)).collect();
        let reveal = |(at, (member, outcome)): (usize, (&mut Member, _))| {
            let seen: Vec<_> = (0..row.len()).filter(|other| *other != at && names(at, *other)).map(|o| commitments[o].clone()).collect();
            member.reveals(&click(), outcome, 0, &seen)
        };
        let results = members.iter_mut().zip(outcomes).enumerate().map(reveal).collect();
        Self { members, commitments, results }
    }

    pub(crate) fn policy(&self, threshold: usize, rules: &str) -> Policy {
        policy_with(threshold, &self.members, &[], rules)
    }

    pub(crate) fn verdict(&self, policy: &Policy, confirmations: &[Confirmation]) -> Verdict {
        judge(policy, &self.results, &self.commitments, confirmations)
    }
}

pub(crate) fn committed(policy: &Policy, items: &[FeedItem]) -> Vec<Arc<VerifiedCommitment>> {
    let entry = |item| VerifiedEntry::verify_item(item, policy.enrolled()).ok()?.commitment().cloned().map(Arc::new);
    items.iter().filter_map(entry).collect()
}

fn judge(policy: &Policy, results: &[FeedItem], commitments: &[FeedItem], confirmations: &[Confirmation]) -> Verdict {
    let commitments = committed(policy, commitments);
    tally_as_of(policy, &click(), &verified(policy, results), Circumstances { commitments: &commitments, confirmations, ..at(0) })
}

fn grades(verdict: &Verdict) -> Vec<Option<Grade>> {
    verdict.votes.iter().map(|vote| vote.grade).collect()
}

fn confirmation(result: &FeedItem, by: &Member) -> Confirmation {
    let (result, check) = (Digest::of(&result.envelope), Digest::of(by.node().as_bytes()));
    Confirmation { result, check, operator: by.operator(), node: by.node(), sequence: 5 }
}

#[test]
fn who_is_named_by_enough_others_is_blind_and_everybody_else_follows() {
    let all = Round::new("iiii", |_, _| true);
    assert_eq!(grades(&all.verdict(&all.policy(3, ""), &[])), [Some(Grade::Blind); 4]);
    let late = Round::new("iiii", |_, seen| seen != 3);
    let [blind, follower] = [Some(Grade::Blind), Some(Grade::Follower)];
    assert_eq!(grades(&late.verdict(&late.policy(3, ""), &[])), [blind, blind, blind, follower]);
    let few = Round::new("iiii", |by, seen| seen != 3 || by == 0);
    assert_eq!(grades(&few.verdict(&few.policy(3, ""), &[]))[3], follower, "one other is not enough for a threshold of three");
    assert_eq!(grades(&few.verdict(&few.policy(2, ""), &[]))[3], blind);
}

#[test]
fn operators_who_are_no_quorum_cannot_make_each_other_blind_however_many_they_are() {
    // The first three speak with one voice, and name each other alone.
    let round = Round::new("iiiii", |by, seen| by < 3 && seen < 3);
    let one = "[[group]]\nname = \"one\"\nk = 1\nmembers = [\"operator-0\", \"operator-1\", \"operator-2\"]\n";
    assert_eq!(grades(&round.verdict(&round.policy(2, one), &[])), [Some(Grade::Follower); 5]);
    // From one country, where two are asked for.
    let places = ["country = \"DE\"", "country = \"DE\"", "country = \"DE\"", "country = \"FR\"", "country = \"IS\""];
    let spread = policy_with(2, &round.members, &places, "[distinct]\ncountry = 2\n");
    assert_eq!(grades(&round.verdict(&spread, &[])), [Some(Grade::Follower); 5]);
    // One who is none of them is enough in both.
    let named = Round::new("iiiii", |by, seen| (by < 3 || by == 4) && seen < 3);
    for policy in [named.policy(2, one), policy_with(2, &named.members, &places, "[distinct]\ncountry = 2\n")] {
        assert_eq!(
            grades(&named.verdict(&policy, &[]))[..4],
            [Some(Grade::Blind), Some(Grade::Blind), Some(Grade::Blind), Some(Grade::Follower)]
        );
    }
}

#[test]
fn old_results_without_a_commitment_follow_and_absent_operators_have_no_grade() {
    let (members, items) = crate::fixture::says("ii.");
    let policy = policy_with(2, &members, &[], "");
    let verdict = tally_as_of(&policy, &click(), &verified(&policy, &items), at(0));
    assert_eq!(verdict.state, State::Reproduced);
    assert_eq!(grades(&verdict), [Some(Grade::Follower), Some(Grade::Follower), None]);
}

#[test]
fn a_commitment_that_the_result_does_not_open_makes_nobody_blind() {
    let mut round = Round::new("iii", |_, _| true);
    let policy = round.policy(3, "");
    let (mut liar, seen) = (Member::new(3), [round.commitments[0].clone(), round.commitments[1].clone()]);
    liar.commits(&click(), &outcome('a').unwrap(), 2);
    round.commitments[2] = Member::new(3).commits(&click(), &outcome('a').unwrap(), 2);
    round.results[2] = liar.reveals(&click(), identical(&click()), 0, &seen);
    assert_eq!(grades(&round.verdict(&policy, &[]))[2], Some(Grade::Follower));
    let elsewhere = artifact("other", "1", b"click");
    round.commitments[2] = Member::new(3).commits(&elsewhere, &identical(&elsewhere), 2);
    assert_eq!(grades(&round.verdict(&policy, &[]))[2], Some(Grade::Follower));
}

#[test]
fn another_enrolled_operator_confirms_a_build_and_nobody_confirms_its_own() {
    let round = Round::new("ii", |_, _| false);
    let (policy, stranger) = (round.policy(2, ""), Member::new(9));
    let graded = |by: &Member| grades(&round.verdict(&policy, &[confirmation(&round.results[0], by)]))[0];
    assert_eq!(graded(&round.members[1]), Some(Grade::Witnessed));
    assert_eq!(graded(&round.members[0]), Some(Grade::Follower));
    assert_eq!(graded(&stranger), Some(Grade::Follower));
    let revoked = format!("[[revocation]]\nnode = \"{}\"\nsince = 5\nreason = \"stolen\"\n", round.members[1].node());
    let verdict = round.verdict(&round.policy(2, &revoked), &[confirmation(&round.results[0], &round.members[1])]);
    assert_eq!(grades(&verdict)[0], Some(Grade::Follower));
}

#[test]
fn a_vote_names_the_checks_that_bear_it_out_also_where_a_stricter_policy_needs_them() {
    let late = Round::new("iiii", |by, seen| seen != 3 && (by, seen) != (3, 0));
    let policy = late.policy(3, "");
    let by = |whose: usize, checker: usize| confirmation(&late.results[whose], &late.members[checker]);
    let checks = |confirmations: &[Confirmation]| -> Vec<Vec<Digest>> {
        late.verdict(&policy, confirmations).votes.into_iter().map(|vote| vote.checks).collect()
    };
    let all = [by(3, 0), by(3, 1), by(3, 3), by(0, 1), by(3, 0)];
    let mut named = vec![all[0].check, all[1].check];
    named.sort_unstable();
    assert_eq!(checks(&all), [vec![all[3].check], vec![], vec![], named], "each other operator's, once");
    // From what it names the same follows.
    let verdict = late.verdict(&policy, &all);
    let rests_on = verdict.rests_on();
    let kept: Vec<_> = all.into_iter().filter(|one| rests_on.contains(&one.check)).collect();
    assert_eq!(late.verdict(&policy, &kept), verdict);
    // Two others name the first one's commitment: enough for three, not for four.
    let [blind, witnessed] = [Some(Grade::Blind), Some(Grade::Witnessed)];
    assert_eq!(grades(&verdict), [blind, blind, blind, witnessed]);
    assert_eq!(grades(&late.verdict(&late.policy(4, ""), &kept)), [witnessed, blind, blind, witnessed]);
    assert!(checks(&[]).concat().is_empty());
}

#[test]
fn a_verdict_names_few_checks_however_many_confirm_and_one_of_each_at_least() {
    let round = Round::new("iiiiiiiii", |_, _| false);
    let policy = round.policy(5, "");
    let pairs = (0..9).flat_map(|whose| (0..9).map(move |checker| (whose, checker))).filter(|(whose, checker)| whose != checker);
    let all: Vec<_> = pairs
        .map(|(whose, checker)| Confirmation {
            check: Digest::of(&[u8::try_from(whose).unwrap(), u8::try_from(checker).unwrap()]),
            ..confirmation(&round.results[whose], &round.members[checker])
        })
        .collect();
    let verdict = round.verdict(&policy, &all);
    assert!(verdict.votes.iter().all(|vote| vote.checks.len() == 7 && vote.grade == Some(Grade::Witnessed)), "63 in all");
    let rests_on = verdict.rests_on();
    let kept: Vec<_> = all.into_iter().filter(|one| rests_on.contains(&one.check)).collect();
    assert_eq!(round.verdict(&policy, &kept), verdict);
}

#[test]
fn a_policy_that_asks_for_grades_lets_the_other_votes_wait_and_says_why() {
    let round = Round::new("iiii", |_, seen| seen < 2);
    let rules = "grades = [\"blind\", \"witnessed\"]\n---";
    let policy = round.policy(2, rules);
    let verdict = round.verdict(&policy, &[]);
    assert_eq!((verdict.state, verdict.agree), (State::Reproduced, 2));
    let policy = round.policy(3, rules);
    let verdict = round.verdict(&policy, &[]);
    assert_eq!((verdict.state, verdict.agree), (State::Pending, 2), "two are blind, and two may be confirmed yet");
    assert!(matches!(&verdict.votes[3].ballot, Ballot::Pending { reason } if reason == "graded follower, asked for is blind or witnessed"));
    assert!(verdict.missing().unwrap().contains("operator-3 is graded follower, asked for is blind or witnessed"));
    let confirmed = [confirmation(&round.results[3], &round.members[0])];
    assert_eq!(round.verdict(&policy, &confirmed).state, State::Reproduced);
    let others = "[[package]]\nmatch = \"pkg:pypi/cl*\"\ngrades = [\"blind\"]\n";
    assert_eq!(round.verdict(&round.policy(3, others), &confirmed).state, State::Pending, "packages may ask for more");
    let empty = crate::fixture::parse(2, &round.members, &[], "grades = []\n---");
    assert!(matches!(empty, Err(quorate_tally::PolicyError::Grades)));
}

#[test]
fn what_is_committed_to_and_not_revealed_in_time_is_flagged_withheld() {
    let round = Round::new("iii", |_, _| true);
    let policy = round.policy(2, "");
    let flags = |results: &[FeedItem], minutes: i64| {
        let commitments = committed(&policy, &round.commitments);
        let as_of = at(0).as_of.map(|now| now.plus(std::time::Duration::from_mins(minutes.unsigned_abs())));
        let when = Circumstances { as_of, commitments: &commitments, ..Circumstances::default() };
        let verdict = tally_as_of(&policy, &click(), &verified(&policy, results), when);
        (verdict.flags.contains(&Flag::Withheld), verdict.as_of.is_some())
    };
    assert_eq!(flags(&round.results, 21), (false, false));
    assert_eq!(flags(&round.results[..2], 20), (false, true), "what is promised for a time is not late before it");
    assert_eq!(flags(&round.results[..2], 21), (true, true));
    let stranger = Member::new(9).commits(&click(), &identical(&click()), 2);
    let without = Round { commitments: vec![stranger], ..Round::new("iii", |_, _| true) };
    assert!(without.verdict(&policy, &[]).flags.is_empty());
}

#[test]
fn an_explanation_tells_the_grade_of_each_result() {
    let round = Round::new("iii", |_, seen| seen < 2);
    let policy = round.policy(2, "grades = [\"blind\"]\n---");
    let commitments = committed(&policy, &round.commitments);
    let explanation = explain(&policy, &click(), &verified(&policy, &round.results), Circumstances { commitments: &commitments, ..at(0) });
    let told: Vec<_> = explanation.results.iter().map(|step| (step.operator.as_str(), step.grade)).collect();
    let [blind, follower] = [Some(Grade::Blind), Some(Grade::Follower)];
    assert_eq!(told, [("operator-0", blind), ("operator-1", blind), ("operator-2", follower)]);
    assert!(matches!(&explanation.results[2].weight, quorate_tally::explain::Weight::Pending { .. }));
}

/// Who sees whom, one bit each.
fn seen_by(bits: u64) -> impl Fn(usize, usize) -> bool {
    move |by, seen| bits >> (by * 5 + seen) & 1 == 1
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn grades_change_no_verdict_where_none_is_asked_for(row in "[ieabf]{5}", bits in any::<u64>()) {
        let round = Round::new(&row, seen_by(bits));
        let policy = round.policy(3, "");
        let graded = round.verdict(&policy, &[confirmation(&round.results[0], &round.members[1])]);
        let plain = tally_as_of(&policy, &click(), &verified(&policy, &round.results), at(0));
        prop_assert_eq!((graded.state, graded.agree, graded.differ, graded.failed), (plain.state, plain.agree, plain.differ, plain.failed));
        let ballots = |verdict: &Verdict| verdict.votes.iter().map(|vote| vote.ballot.clone()).collect::<Vec<_>>();
        prop_assert_eq!(ballots(&graded), ballots(&plain));
    }

    #[test]
    fn more_that_is_seen_or_confirmed_never_lowers_a_grade_or_the_support(row in "[ie]{5}", bits in any::<u64>(), more in any::<u64>()) {
        let (before, after) = (Round::new(&row, seen_by(bits)), Round::new(&row, seen_by(bits | more)));
        for rules in ["", "grades = [\"blind\"]\n---", "grades = [\"blind\", \"witnessed\"]\n---"] {
            let policy = before.policy(3, rules);
            let confirmed = [confirmation(&after.results[2], &after.members[1])];
            let (few, many) = (before.verdict(&policy, &[]), after.verdict(&policy, &confirmed));
            prop_assert!(grades(&few).iter().zip(grades(&many)).all(|(before, after)| *before <= after));
            prop_assert!(support(few.state) <= support(many.state));
        }
    }

    #[test]
    fn order_and_repetition_of_commitments_change_nothing(row in "[iea]{5}", bits in any::<u64>(), by in any::<[u8; 5]>()) {
        let mut round = Round::new(&row, seen_by(bits));
        let policy = round.policy(3, "grades = [\"blind\"]\n---");
        let before = round.verdict(&policy, &[]);
        let mut shuffled: Vec<_> = round.commitments.iter().cloned().zip(by).collect();
        shuffled.sort_by_key(|(_, by)| *by);
        round.commitments = shuffled.into_iter().map(|(item, _)| item).chain(round.commitments.first().cloned()).collect();
        prop_assert_eq!(round.verdict(&policy, &[]), before);
    }

    /// Colluders below the threshold cannot make each other blind once an honest result could be copied.
    #[test]
    fn colluders_who_are_too_few_are_not_blind_by_naming_each_other(set in 1..32_usize) {
        let colludes = |at: usize| set >> at & 1 == 1;
        prop_assume!(set.count_ones() < 3);
        let round = Round::new("iiiii", |by, seen| !colludes(seen) || colludes(by));
        let verdict = round.verdict(&round.policy(3, ""), &[]);
        for (at, grade) in grades(&verdict).into_iter().enumerate() {
            prop_assert_eq!(grade == Some(Grade::Blind), !colludes(at));
        }
    }

    #[test]
    fn a_graded_verdict_rests_on_what_it_names(row in "[iea]{5}", bits in any::<u64>()) {
        let round = Round::new(&row, seen_by(bits));
        let policy = round.policy(3, "grades = [\"blind\"]\n---");
        let all = round.verdict(&policy, &[]);
        let named = all.rests_on();
        let kept = |items: &[FeedItem]| -> Vec<FeedItem> {
            items.iter().filter(|item| named.contains(&Digest::of(&item.envelope))).cloned().collect()
        };
        prop_assert_eq!(judge(&policy, &kept(&round.results), &kept(&round.commitments), &[]), all);
    }

    #[test]
    fn revoking_from_a_position_equals_never_having_seen_the_commitment(row in "[ia]{4}", whose in 0..4_usize) {
        let round = Round::new(&row, |_, _| true);
        let rule = format!("[[revocation]]\nnode = \"{}\"\nreason = \"stolen\"\n", round.members[whose].node());
        let policy = round.policy(2, &rule);
        let revoked = round.verdict(&policy, &[]);
        let without = |items: &[FeedItem]| -> Vec<FeedItem> {
            items.iter().enumerate().filter(|(at, _)| *at != whose).map(|(_, item)| item.clone()).collect()
        };
        prop_assert_eq!(judge(&policy, &without(&round.results), &without(&round.commitments), &[]), revoked);
    }
}

#[test]
fn a_statement_is_used_once_however_it_is_named() {
    let round = Round::new("iii", |_, _| true);
    let policy = round.policy(3, "");
    let statements: Vec<VerifiedStatement> = verified(&policy, &round.results);
    let twice: Vec<_> = statements.iter().chain(&statements).collect();
    let commitments = committed(&policy, &round.commitments);
    let commitments = [commitments.clone(), commitments].concat();
    let verdict = tally_as_of(&policy, &click(), twice, Circumstances { commitments: &commitments, ..at(0) });
    assert_eq!(verdict, round.verdict(&policy, &[]));
}
