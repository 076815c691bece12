//! Commitments: what they bind, and what opens them.
#![expect(clippy::unwrap_used, reason = "tests")]

use quorate_proto::ArtifactId;
use quorate_proto::commitment::{Commitment, Nonce, OpeningError, Promise, Reveals, outcome_digest};
use quorate_proto::entry::{VerifiedCommitment, VerifiedEntry};
use quorate_proto::result::RebuildResult;
use quorate_proto::verified::{FeedItem, VerifiedStatement};
use quorate_tests::{Member, NONCE, artifact, different, equivalent, failed, identical};

fn committed(item: &FeedItem, member: &Member) -> VerifiedCommitment {
    let entry = VerifiedEntry::verify_item(item, &[member.operator()].into()).unwrap();
    entry.commitment().unwrap().clone()
}

fn refusal(item: &FeedItem, member: &Member) -> &'static str {
    VerifiedEntry::verify_item(item, &[member.operator()].into()).unwrap_err().name()
}

fn said(item: &FeedItem, member: &Member) -> VerifiedStatement {
    let entry = VerifiedEntry::verify_item(item, &[member.operator()].into()).unwrap();
    entry.result().unwrap().clone()
}

fn click() -> ArtifactId {
    artifact("click", "8.1.8", b"click")
}

#[test]
fn a_result_opens_the_commitment_that_was_made_to_it() {
    for outcome in [identical(&click()), equivalent(), different("other", "evil.py"), failed()] {
        let mut member = Member::new(1);
        let commitment = member.commits(&click(), &outcome, 2);
        let result = member.reveals(&click(), outcome, 0, &[]);
        assert!(committed(&commitment, &member).is_opened_by(&said(&result, &member)));
    }
}

#[test]
fn a_commitment_is_opened_by_nothing_else() {
    let mut member = Member::new(1);
    let commitment = committed(&member.commits(&click(), &identical(&click()), 2), &member);
    let honest = member.result(&click(), identical(&click()), member.position());
    let reveals = Reveals { sequence: 0, nonce: NONCE, seen: Vec::new(), after: None };
    let opens = |artifact: &ArtifactId, result: RebuildResult| commitment.commitment().is_opened_by(&result, artifact);
    let with = |reveals: Reveals| RebuildResult { reveals: Some(reveals), ..honest.clone() };
    assert_eq!(opens(&click(), with(reveals.clone())), Ok(()));
    assert_eq!(opens(&click(), honest.clone()), Err(OpeningError::RevealsNothing));
    assert_eq!(opens(&click(), with(Reveals { sequence: 1, ..reveals.clone() })), Err(OpeningError::OtherCommitment));
    let other = Member::new(2);
    let theirs = RebuildResult { operator: other.operator(), ..with(reveals.clone()) };
    assert_eq!(opens(&click(), theirs), Err(OpeningError::OtherCommitment), "nobody reveals for another");
    let nonce = Nonce::from_bytes([8; 32]);
    assert_eq!(opens(&click(), with(Reveals { nonce, ..reveals.clone() })), Err(OpeningError::OtherOutcome));
    let changed = RebuildResult { outcome: different("x", "y"), ..with(reveals.clone()) };
    assert_eq!(opens(&click(), changed), Err(OpeningError::OtherOutcome));
    assert_eq!(opens(&artifact("click", "8.1.8", b"other bytes"), with(reveals.clone())), Err(OpeningError::OtherOutcome));
    assert_eq!(opens(&artifact("click", "8.1.9", b"click"), with(reveals)), Err(OpeningError::OtherTask));
}

#[test]
fn what_an_outcome_comes_to_depends_on_the_ballot_and_not_on_texts_that_are_cut() {
    let published = click().digest;
    let outcomes = [identical(&click()), equivalent(), different("a", "m"), different("b", "m"), failed()];
    let digests: std::collections::BTreeSet<_> = outcomes.iter().map(|outcome| outcome_digest(published, outcome)).collect();
    assert_eq!(digests.len(), outcomes.len());
    assert_eq!(outcome_digest(published, &different("a", "m")), outcome_digest(published, &different("a", "another member")));
}

#[test]
fn a_commitment_that_contradicts_itself_is_refused_and_so_is_a_revelation() {
    let member = Member::new(1);
    let good = committed(&Member::new(1).commits(&click(), &identical(&click()), 2), &member).commitment().clone();
    let refused = |commitment: Commitment| refusal(&Member::new(1).append(commitment), &member);
    let promise = good.promise;
    for promise in [
        Promise { hold_until: promise.reveal_by.plus(std::time::Duration::from_secs(1)), ..promise },
        Promise { reveal_by: promise.reveal_by.plus(std::time::Duration::from_hours(24)), ..promise },
        Promise { enough: 65, ..promise },
    ] {
        assert_eq!(refused(Commitment { promise, ..good.clone() }), "contradiction");
    }
    assert_eq!(refused(Commitment { package: "pkg:pypi/click".parse().unwrap(), ..good.clone() }), "contradiction");
    assert_eq!(refused(Commitment { operator: Member::new(2).operator(), ..good.clone() }), "foreign-operator");
    let feed = Member::new(2).position();
    assert_eq!(refused(Commitment { feed, ..good }), "foreign-feed");

    let digest = |n: u8| quorate_proto::Digest::of(&[n]);
    let mut sorted = vec![digest(1), digest(2)];
    sorted.sort_unstable();
    let reveals = |sequence, seen| {
        let mut member = Member::new(1);
        member.commits(&click(), &identical(&click()), 2);
        let reveals = Some(Reveals { sequence, nonce: NONCE, seen, after: None });
        let result = RebuildResult { reveals, ..member.result(&click(), identical(&click()), member.position()) };
        VerifiedEntry::verify_item(&member.sign(&click(), result), &[member.operator()].into()).map(|_| ()).map_err(|e| e.name())
    };
    assert_eq!(reveals(0, sorted.clone()), Ok(()));
    assert_eq!(reveals(1, sorted.clone()), Err("contradiction"), "what it reveals comes before it");
    assert_eq!(reveals(0, sorted.iter().rev().copied().collect()), Err("contradiction"));
    assert_eq!(reveals(0, vec![sorted[0], sorted[0]]), Err("contradiction"));
    let mut many: Vec<_> = (0..65).map(digest).collect();
    many.sort_unstable();
    assert_eq!(reveals(0, many), Err("contradiction"));
}

#[test]
fn a_commitment_is_no_result_and_two_of_one_number_convict_like_any_two_entries() {
    use quorate_proto::feed::EquivocationProof;
    let (mut member, mut twin) = (Member::new(1), Member::new(1));
    let commitment = member.commits(&click(), &identical(&click()), 2);
    let enrolled = [member.operator()].into();
    assert_eq!(VerifiedStatement::verify_item(&commitment, &enrolled).unwrap_err().name(), "malformed-statement");
    let result = twin.says(&click(), identical(&click()));
    assert_eq!(EquivocationProof::verify(commitment, result, &enrolled).unwrap().sequence(), 0);
}
