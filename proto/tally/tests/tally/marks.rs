//! Marks: broken promises, and that nobody honest ever gets one.

use std::time::Duration;

use proptest::prelude::*;
use quorate_proto::commitment::Reveals;
use quorate_proto::result::RebuildResult;
use quorate_proto::verified::FeedItem;
use quorate_proto::{Digest, Timestamp};
use quorate_tally::{Circumstances, Mark, MarkKind, Policy, marks};
use quorate_tests::{Member, NONCE, SIGNED_AT, different, identical};

use crate::fixture::{click, policy_with, verified};
use crate::grades::{Round, committed};

fn late() -> Timestamp {
    Timestamp::from_unix_seconds(SIGNED_AT).plus(Duration::from_mins(21))
}

fn marked(policy: &Policy, items: &[FeedItem], as_of: Option<Timestamp>) -> Vec<Mark> {
    let commitments = committed(policy, items);
    marks(&click().slot, &verified(policy, items), Circumstances { as_of, commitments: &commitments, ..Circumstances::default() })
}

fn kinds(items: &[FeedItem], member: &Member) -> Vec<MarkKind> {
    let policy = policy_with(1, std::slice::from_ref(member), &[], "");
    let marks = marked(&policy, items, Some(late()));
    assert!(marks.iter().all(|mark| (mark.operator, mark.node) == (member.operator(), member.node())));
    marks.into_iter().map(|mark| mark.kind).collect()
}

/// A result that opens the commitment at 0, signed some seconds after it.
fn revealed(member: &Member, seconds: u64, reveals: Reveals) -> FeedItem {
    let at = Timestamp::from_unix_seconds(SIGNED_AT).plus(Duration::from_secs(seconds));
    let result = member.result(&click(), identical(&click()), member.position());
    member.sign(&click(), RebuildResult { finished_at: at, reveals: Some(reveals), ..result })
}

#[test]
fn a_result_revealed_before_its_time_is_premature_unless_enough_was_seen() {
    let mut member = Member::new(1);
    let commitment = member.commits(&click(), &identical(&click()), 2);
    let some = |count: u8| (0..count).map(|n| Digest::from_bytes([n; 32])).collect::<Vec<_>>();
    let reveals = |seen, after| Reveals { sequence: 0, nonce: NONCE, seen, after };
    let of = |seconds, reveals| kinds(&[commitment.clone(), revealed(&member, seconds, reveals)], &member);
    assert_eq!(of(599, reveals(some(1), None)), [MarkKind::Premature]);
    assert_eq!(of(599, reveals(some(2), None)), []);
    assert_eq!(of(600, reveals(some(0), None)), []);
    assert_eq!(of(1, reveals(some(0), Some(Digest::of(b"another's result")))), []);
}

#[test]
fn a_commitment_without_a_result_is_open_once_its_time_is_over() {
    let mut member = Member::new(1);
    let policy = policy_with(1, std::slice::from_ref(&member), &[], "");
    let item = member.commits(&click(), &identical(&click()), 2);
    assert_eq!(marked(&policy, std::slice::from_ref(&item), None), []);
    let in_time = Timestamp::from_unix_seconds(SIGNED_AT).plus(Duration::from_mins(20));
    assert_eq!(marked(&policy, std::slice::from_ref(&item), Some(in_time)), []);
    let marks = marked(&policy, std::slice::from_ref(&item), Some(late()));
    assert_eq!((marks[0].kind, &marks[0].shown_by), (MarkKind::Open, &vec![Digest::of(&item.envelope)]));
}

#[test]
fn a_second_commitment_is_marked_unless_the_first_was_revealed() {
    let mut member = Member::new(1);
    let first = member.commits(&click(), &identical(&click()), 0);
    let second = member.commits(&click(), &different("a", "b"), 0);
    let chosen = member.reveals(&click(), different("a", "b"), 1, &[]);
    assert_eq!(kinds(&[first, second, chosen], &member), [MarkKind::SecondCommitment, MarkKind::Open]);
    let mut member = Member::new(1);
    let honest = [
        member.commits(&click(), &identical(&click()), 0),
        member.reveals(&click(), identical(&click()), 0, &[]),
        member.commits(&click(), &different("a", "b"), 0),
        member.reveals(&click(), different("a", "b"), 2, &[]),
    ];
    assert_eq!(kinds(&honest, &member), [], "a file that changed is committed to again");
}

#[test]
fn something_else_than_was_committed_to_is_a_false_reveal() {
    let mut member = Member::new(1);
    let items = [member.commits(&click(), &identical(&click()), 0), member.reveals(&click(), different("a", "b"), 0, &[])];
    assert_eq!(kinds(&items, &member), [MarkKind::FalseReveal]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever travels or is lost on the way: as long as a node keeps its promise, no view of it shows a mark.
    #[test]
    fn who_keeps_its_promise_is_never_marked(row in "[ieabf]{5}", lost in any::<[bool; 5]>(), by in any::<[u8; 10]>()) {
        let round = Round::new(&row, |_, _| true);
        let policy = round.policy(3, "");
        let of_others = round.commitments.iter().zip(lost).filter(|(_, lost)| !lost).map(|(item, _)| item.clone());
        let mut items: Vec<_> = round.results.iter().cloned().chain(of_others).zip(by).collect();
        items.sort_by_key(|(_, by)| *by);
        let items: Vec<_> = items.into_iter().map(|(item, _)| item).collect();
        prop_assert_eq!(marked(&policy, &items, Some(late())), []);
    }
}
