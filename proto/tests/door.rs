//! The door for results: what counts passes, everything else is a named rejection.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use quorate_proto::feed::{EquivocationError, EquivocationProof, FeedHead, FeedStep};
use quorate_proto::verified::{FeedItem, VerifiedStatement};
use quorate_proto::{Digest, OperatorId};
use quorate_tests::{Member, SIGNED_AT, artifact, different, identical};

fn enrolled(members: &[&Member]) -> BTreeSet<OperatorId> {
    members.iter().map(|member| member.operator()).collect()
}

fn rejection(item: &FeedItem, member: &Member) -> &'static str {
    VerifiedStatement::verify_item(item, &enrolled(&[member])).unwrap_err().name()
}

#[test]
fn a_signed_result_passes_with_all_that_it_says() {
    let (mut member, click) = (Member::new(1), artifact("click", "8.1.8", b"click"));
    let item = member.says(&click, identical(&click));
    let statement = VerifiedStatement::verify_item(&item, &enrolled(&[&member])).unwrap();
    assert_eq!((statement.operator(), statement.node()), (member.operator(), member.node()));
    assert_eq!((statement.artifact(), statement.digest()), (&click, Digest::of(&item.envelope)));
}

#[test]
fn each_kind_of_bad_input_has_a_name() {
    let (mut member, mut stranger) = (Member::new(1), Member::new(2));
    let click = artifact("click", "8.1.8", b"click");
    let good = member.says(&click, identical(&click));
    let foreign = stranger.says(&click, identical(&click));
    let with = |change: &dyn Fn(&mut FeedItem)| {
        let mut item = good.clone();
        change(&mut item);
        rejection(&item, &member)
    };
    assert_eq!(rejection(&foreign, &member), "unknown-operator");
    assert_eq!(with(&|item| item.envelope.truncate(100)), "malformed-envelope");
    assert_eq!(with(&|item| item.envelope = vec![b'{'; 50_000]), "oversized");
    assert_eq!(with(&|item| item.envelope.clone_from(&foreign.envelope)), "bad-signature");
    assert_eq!(with(&|item| item.certificate.truncate(100)), "bad-certificate");
    assert_eq!(with(&|item| item.envelope.clone_from(&item.certificate)), "bad-signature");
    assert_eq!(with(&|item| item.certificate.clone_from(&item.envelope)), "bad-certificate");
}

#[test]
fn a_result_outside_of_its_certificates_validity_is_refused() {
    let click = artifact("click", "8.1.8", b"click");
    for (from, until) in [(SIGNED_AT - 100, SIGNED_AT - 1), (SIGNED_AT + 1, SIGNED_AT + 100)] {
        let mut member = Member::with_validity(1, 0, from, until);
        let item = member.says(&click, identical(&click));
        assert_eq!(rejection(&item, &member), "expired-certificate");
    }
}

#[test]
fn a_certificate_of_more_than_thirty_days_is_refused() {
    let click = artifact("click", "8.1.8", b"click");
    let mut member = Member::with_validity(1, 0, SIGNED_AT, SIGNED_AT + 31 * 86_400);
    let item = member.says(&click, identical(&click));
    assert_eq!(rejection(&item, &member), "bad-certificate");
}

#[test]
fn a_class_that_its_digests_contradict_is_refused() {
    let member = Member::new(1);
    let (click, other) = (artifact("click", "8.1.8", b"click"), artifact("click", "8.1.8", b"other"));
    let claims = [identical(&other), different("click", "x.py")];
    for outcome in claims {
        assert_eq!(rejection(&member.says_at(member.position(), &click, outcome), &member), "contradiction");
    }
}

#[test]
fn a_position_in_another_nodes_feed_is_refused() {
    let (member, other) = (Member::new(1), Member::new(2));
    let click = artifact("click", "8.1.8", b"click");
    let item = member.says_at(other.position(), &click, identical(&click));
    assert_eq!(rejection(&item, &member), "foreign-feed");
}

#[test]
fn a_result_under_another_operators_certificate_is_refused() {
    let (mut member, thief) = (Member::new(1), Member::new(2));
    let click = artifact("click", "8.1.8", b"click");
    let mut item = member.says(&click, identical(&click));
    item.certificate = thief.certifies(&member);
    assert_eq!(rejection(&item, &thief), "foreign-operator");
}

#[test]
fn something_rebuilt_from_no_source_is_refused() {
    let member = Member::new(1);
    let click = artifact("click", "8.1.8", b"click");
    let mut result = member.result(&click, identical(&click), member.position());
    result.source = None;
    assert_eq!(rejection(&member.sign(&click, result), &member), "contradiction");
}

#[test]
fn a_first_entry_with_a_predecessor_is_refused() {
    let member = Member::new(1);
    let click = artifact("click", "8.1.8", b"click");
    let mut position = member.position();
    position.previous = Some(Digest::of(b"x"));
    let item = member.sign(&click, member.result(&click, identical(&click), position));
    assert_eq!(rejection(&item, &member), "broken-chain");
}

#[test]
fn a_feed_grows_by_the_entry_that_fits_and_names_everything_else() {
    let node = Member::new(1).node();
    let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
    let empty = FeedHead::default();
    let FeedStep::Append(one) = empty.step(&empty.position(node), a) else { panic!("the first entry fits") };
    let mut next = one.position(node);
    assert_eq!(one.step(&empty.position(node), b), FeedStep::Past);
    assert!(matches!(one.step(&next, b), FeedStep::Append(_)));
    next.previous = Some(b);
    assert_eq!(one.step(&next, b), FeedStep::Fork);
    next.sequence = 7;
    assert_eq!(one.step(&next, b), FeedStep::Gap { expected: 1 });
}

#[test]
fn two_envelopes_with_one_sequence_number_prove_equivocation() {
    let member = Member::new(1);
    let click = artifact("click", "8.1.8", b"click");
    let first = member.says_at(member.position(), &click, identical(&click));
    let second = member.says_at(member.position(), &click, different("other", "x.py"));
    let enrolled = enrolled(&[&member]);
    let proof = EquivocationProof::verify(first.clone(), second, &enrolled).unwrap();
    assert_eq!((proof.node(), proof.operator(), proof.sequence()), (member.node(), member.operator(), 0));
    assert_eq!(EquivocationProof::verify(first.clone(), first, &enrolled), Err(EquivocationError::NoContradiction));
}
