//! Declarations: the same effect as entries of the policy, of those alone to whom it listens, and bounded.

use std::sync::Arc;

use proptest::prelude::*;
use quorate_proto::declaration::{Advisory, Declaration, Revocation, VerifiedDeclaration, Vouch};
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{Digest, SecretKey, SignerId, Timestamp};
use quorate_tally::declarations::{DECLARATIONS_OF_A_SIGNER_MAX, Declarations};
use quorate_tally::{Circumstances, Flag, Policy, State, Verdict, explain, tally_as_of};
use quorate_tests::{Member, SIGNED_AT, advisory, artifact, identical, retraction, revocation, vouch};

use crate::fixture::{at, click, policy_with, says, verified, vouch as vouch_entry};

type Declared = Arc<VerifiedDeclaration>;

/// Somebody whom the policies of these tests list.
fn person() -> SecretKey {
    SecretKey::from_seed(&[60; 32])
}

fn stranger() -> SecretKey {
    SecretKey::from_seed(&[61; 32])
}

fn people() -> String {
    format!("[[person]]\nname = \"incidents\"\nkey = \"{}\"\nmay = [\"advise\", \"vouch\"]\n", person().signer_id())
}

fn signed(declaration: Declaration, key: &SecretKey) -> Declared {
    Arc::new(VerifiedDeclaration::verify(declaration.sign(key).unwrap().bytes()).unwrap())
}

fn advises(key: &SecretKey, id: &str) -> Declared {
    signed(Declaration::Advisory(advisory(key.signer_id(), id, click().digest)), key)
}

fn vouches(key: &SecretKey, content: &str) -> Declared {
    let rebuilt = Digest::of(content.as_bytes()).to_string();
    signed(Declaration::Vouch(vouch(key.signer_id(), "V-1", click().digest, &rebuilt)), key)
}

fn takes_back(key: &SecretKey, statement: Digest) -> Declared {
    signed(Declaration::Retraction(retraction(key.signer_id(), statement)), key)
}

fn revokes(member: &Member, whole: bool, since: u64) -> Declared {
    let node = (!whole).then(|| member.node());
    signed(Declaration::Revocation(revocation(member.root_key().signer_id(), node, since)), member.root_key())
}

struct Scene {
    members: Vec<Member>,
    policy: Policy,
    results: Vec<VerifiedStatement>,
}

fn scene(row: &str) -> Scene {
    let (members, items) = says(row);
    let policy = policy_with(2, &members, &[], &people());
    let results = verified(&policy, &items);
    Scene { members, policy, results }
}

impl Scene {
    fn judged(&self, declarations: &[Declared]) -> Verdict {
        tally_as_of(&self.policy, &click(), &self.results, Circumstances { declarations, ..at(0) })
    }

    /// The same under entries of the policy.
    fn ruled(&self, rules: &str) -> Verdict {
        let policy = policy_with(2, &self.members, &[], &format!("{}{rules}", people()));
        tally_as_of(&policy, &click(), &self.results, at(0))
    }
}

/// Without what tells the two ways apart.
fn effect(verdict: Verdict) -> Verdict {
    Verdict { policy: Digest::of(b"any"), declarations: Vec::new(), ..verdict }
}

#[test]
fn a_declaration_has_the_effect_of_the_entry_of_the_same_content() {
    let scene = scene("iia.");
    let first = &scene.members[0];
    let (digest, result, node) = (click().digest, scene.results[0].digest(), first.node());
    let of_package = Advisory { digest: None, package: "pkg:pypi/cl*".parse().ok(), ..advisory(person().signer_id(), "A-2", digest) };
    let both = [
        (advises(&person(), "A-1"), format!("[[advisory]]\nid = \"A-1\"\ndigest = \"{digest}\"\nreason = \"x\"\n")),
        (
            signed(Declaration::Advisory(of_package), &person()),
            "[[advisory]]\nid = \"A-2\"\npackage = \"pkg:pypi/cl*\"\nreason = \"x\"\n".to_owned(),
        ),
        (vouches(&person(), "a"), vouch_entry("a")),
        (takes_back(first.root_key(), result), format!("[[retraction]]\nresult = \"{result}\"\n")),
        (revokes(first, false, 0), format!("[[revocation]]\nnode = \"{node}\"\nsince = 0\nreason = \"x\"\n")),
        (revokes(first, false, 1), format!("[[revocation]]\nnode = \"{node}\"\nsince = 1\nreason = \"x\"\n")),
        (revokes(first, true, 0), "[[revocation]]\noperator = \"operator-0\"\nreason = \"x\"\n".to_owned()),
    ];
    for (declared, entry) in &both {
        let (said, ruled) = (scene.judged(std::slice::from_ref(declared)), scene.ruled(entry));
        let named = said.declarations.clone();
        assert_eq!(effect(said), effect(ruled), "{entry}");
        let has_a_part = !entry.contains("since = 1");
        assert_eq!(named, if has_a_part { vec![declared.digest()] } else { Vec::new() }, "{entry}");
    }
    let all: Vec<_> = both.iter().map(|(declared, _)| Arc::clone(declared)).collect();
    let entries: String = both.iter().map(|(_, entry)| entry.as_str()).collect();
    assert_eq!(effect(scene.judged(&all)), effect(scene.ruled(&entries)));
}

#[test]
fn keys_that_the_policy_does_not_list_change_nothing() {
    let scene = scene("iia.");
    let nothing = scene.judged(&[]);
    let first = &scene.members[0];
    let foreign = Revocation { node: Some(first.node()), ..revocation(scene.members[1].root_key().signer_id(), None, 0) };
    let others = [
        advises(&stranger(), "A-1"),
        vouches(&stranger(), "a"),
        advises(first.root_key(), "A-1"),
        takes_back(&person(), scene.results[0].digest()),
        takes_back(scene.members[1].root_key(), scene.results[0].digest()),
        signed(Declaration::Revocation(foreign), scene.members[1].root_key()),
        revokes(&Member::new(99), true, 0),
    ];
    assert_eq!(scene.judged(&others), nothing);
    let only_vouches = people().replace("[\"advise\", \"vouch\"]", "[\"vouch\"]");
    let policy = policy_with(2, &scene.members, &[], &only_vouches);
    let declarations = [advises(&person(), "A-1")];
    assert_eq!(
        tally_as_of(&policy, &click(), &scene.results, Circumstances { declarations: &declarations, ..at(0) }).state,
        State::Reproduced
    );
}

#[test]
fn a_retraction_takes_back_the_word_of_its_own_signer_alone() {
    let scene = scene("iii.");
    let advisory = advises(&person(), "A-1");
    let back = |key: &SecretKey| [Arc::clone(&advisory), takes_back(key, advisory.digest())];
    assert_eq!(scene.judged(&back(&stranger())).state, State::Compromised);
    assert_eq!(scene.judged(&back(scene.members[0].root_key())).state, State::Compromised);
    let nothing = scene.judged(&[]);
    assert_eq!(scene.judged(&back(&person())), nothing);
    // Nothing takes back a revocation.
    let revocation = revokes(&scene.members[0], true, 0);
    let again = [Arc::clone(&revocation), takes_back(scene.members[0].root_key(), revocation.digest())];
    assert_eq!(scene.judged(&again), scene.judged(&[revocation]));
}

#[test]
fn a_revocation_equals_never_having_seen_what_came_after() {
    let (mut members, mut items) = says("iia.");
    items.push(members[2].says(&click(), identical(&click())));
    let other = artifact("click", "8.1.8", b"other");
    items.push(members[2].says(&other, identical(&other)));
    let policy = policy_with(2, &members, &[], "");
    let all = verified(&policy, &items);
    for since in 0..4 {
        let declarations = [revokes(&members[2], false, since)];
        let seen: Vec<_> = all.iter().filter(|s| s.node() != members[2].node() || s.position().sequence < since).cloned().collect();
        let revoked = tally_as_of(&policy, &click(), &all, Circumstances { declarations: &declarations, ..at(0) });
        assert_eq!(effect(revoked.clone()), effect(tally_as_of(&policy, &click(), &seen, at(0))), "since {since}");
        assert_eq!(revoked.flags.contains(&Flag::RegistrySplit), since > 2);
    }
}

#[test]
fn a_vouch_ends_when_it_says() {
    let scene = scene("aai.");
    let declarations = [vouches(&person(), "a")];
    let as_of = |days| {
        let when = Circumstances { declarations: &declarations, ..at(days) };
        let verdict = tally_as_of(&scene.policy, &click(), &scene.results, when);
        (verdict.state, verdict.declarations.len(), verdict.as_of.is_some())
    };
    assert_eq!([as_of(1), as_of(2)], [(State::Explained, 1, true), (State::Suspect, 0, true)]);
}

#[test]
fn whoever_declares_without_end_makes_no_verdict_long_and_hides_nothing() {
    let scene = scene("iia.");
    let mut flood: Vec<_> = (0..200).map(|n| advises(&person(), &format!("A-{n}"))).collect();
    flood.extend((0..200).map(|n| {
        let rebuilt = Digest::of(b"a").to_string();
        let one = Vouch { id: format!("V-{n}"), ..vouch(person().signer_id(), "V", click().digest, &rebuilt) };
        signed(Declaration::Vouch(one), &person())
    }));
    flood.extend((0..200).map(|n| {
        let one = Revocation { reason: format!("reason {n}"), ..revocation(scene.members[0].root_key().signer_id(), None, 0) };
        signed(Declaration::Revocation(one), scene.members[0].root_key())
    }));
    let verdict = scene.judged(&flood);
    assert_eq!((verdict.state, verdict.agree), (State::Compromised, 1));
    assert_eq!((verdict.advisories.len(), verdict.vouches.len(), verdict.declarations.len()), (4, 4, 4 + 4 + 1));
}

#[test]
fn an_explanation_says_who_declared_what_and_why() {
    let scene = scene("iia.");
    let declarations = [advises(&person(), "A-1"), revokes(&scene.members[0], false, 0)];
    let explained = explain(&scene.policy, &click(), &scene.results, Circumstances { declarations: &declarations, ..at(0) });
    let mut said: Vec<_> =
        explained.entries.iter().map(|entry| (entry.kind, entry.by.as_deref().unwrap(), entry.reason.as_str())).collect();
    said.sort_unstable();
    assert_eq!(said, [("advisory", "incidents", "a backdoor"), ("revocation", "operator-0", "a stolen key")]);
}

#[test]
fn people_whom_a_policy_cannot_tell_apart_are_refused() {
    let (members, _) = says("i");
    let refused = |rules: &str| crate::fixture::parse(1, &members, &[], rules).is_err();
    assert!(!refused(&people()));
    assert!(refused(&format!("{}{}", people(), people())));
    assert!(refused(&format!("{}{}", people(), people().replace("incidents", "others"))));
    assert!(refused(&people().replace("\"advise\", \"vouch\"", "")));
    assert!(refused(&people().replace("advise", "revoke")));
    assert!(refused(&people().replace("incidents", "a\\u001bb")));
}

#[test]
fn a_log_shows_what_is_in_force_about_a_slot_before_a_size() {
    let scene = scene("iia.");
    let mut log = Declarations::default();
    let advisory = advises(&person(), "A-1");
    let entries = [
        advises(&person(), "A-0"),
        revokes(&scene.members[0], false, 5),
        Arc::clone(&advisory),
        revokes(&scene.members[0], false, 2),
        takes_back(&person(), advisory.digest()),
        takes_back(scene.members[1].root_key(), scene.results[1].digest()),
        takes_back(&stranger(), advisory.digest()),
        revokes(&Member::new(9), true, 0),
        Arc::clone(&advisory),
    ];
    for (leaf, entry) in (10..).zip(&entries) {
        log.take(leaf, Arc::clone(entry));
    }
    let about = |log: &Declarations, size| -> Vec<_> {
        let found = log.about(&click().slot, size, scene.results.iter(), std::iter::empty());
        found.iter().map(|one| log.leaf_of(&one.digest()).unwrap()).collect()
    };
    assert_eq!(about(&log, 10), [] as [u64; 0]);
    assert_eq!(about(&log, 12), [10, 11]);
    assert_eq!(about(&log, 14), [10, 12, 13], "the revocation that goes furthest");
    assert_eq!(about(&log, 15), [10, 13], "what its signer has taken back is gone");
    assert_eq!(about(&log, u64::MAX), [10, 13, 15]);
    assert_eq!(log.count_of(&person().signer_id()), 3);
    let elsewhere = artifact("other", "1", b"other").slot;
    assert_eq!(
        log.about(&elsewhere, u64::MAX, std::iter::empty(), std::iter::once((Member::new(9).operator(), Member::new(9).node()))).len(),
        1
    );
    for n in 0..2 * DECLARATIONS_OF_A_SIGNER_MAX as u64 {
        log.take(100 + n, advises(&person(), &format!("B-{n}")));
    }
    assert_eq!(about(&log, u64::MAX).len(), DECLARATIONS_OF_A_SIGNER_MAX + 2, "of one signer");
}

/// Any declaration of anybody about anything here.
fn declarations() -> impl Strategy<Value = Vec<Declared>> {
    let keys = || prop::sample::select(vec![60_u8, 61, 1, 2, 3]);
    let one = (0..7_u8, keys(), 0..3_u64).prop_map(|(kind, seed, number)| {
        let key = SecretKey::from_seed(&[seed; 32]);
        let of: SignerId = key.signer_id();
        let results = says("iia.").1;
        let digest = |n: u64| Digest::of(&results[usize::try_from(n).unwrap()].envelope);
        let declaration = match kind {
            0 => Declaration::Advisory(advisory(of, &format!("A-{number}"), click().digest)),
            1 => Declaration::Advisory(advisory(of, "A-9", Digest::of(b"something else"))),
            2 => Declaration::Vouch(vouch(of, "V-1", click().digest, &Digest::of(b"a").to_string())),
            3 => Declaration::Revocation(revocation(of, Some(Member::new(seed).node()), number)),
            4 => Declaration::Revocation(revocation(of, None, 0)),
            5 => Declaration::Retraction(retraction(of, digest(number))),
            _ => Declaration::Retraction(retraction(of, advises(&key, &format!("A-{number}")).digest())),
        };
        signed(declaration, &key)
    });
    prop::collection::vec(one, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn order_and_repetition_of_declarations_change_nothing(mut said in declarations(), turn in 0..8_usize) {
        let scene = scene("iia.");
        let verdict = scene.judged(&said);
        let again = said.clone();
        said.extend(again);
        let turn = turn.min(said.len());
        said.rotate_left(turn);
        prop_assert_eq!(scene.judged(&said), verdict);
    }

    #[test]
    fn the_same_verdict_follows_from_the_results_and_declarations_that_it_names(said in declarations()) {
        let scene = scene("iia.");
        let verdict = scene.judged(&said);
        let named = verdict.rests_on();
        let kept: Vec<_> = said.iter().filter(|one| named.contains(&one.digest())).cloned().collect();
        let results: Vec<_> =
            scene.results.iter().filter(|s| named.contains(&s.digest()) || kept.iter().any(|one| one.silences(s))).cloned().collect();
        let again = tally_as_of(&scene.policy, &click(), &results, Circumstances { declarations: &kept, ..at(0) });
        prop_assert_eq!(Verdict { as_of: verdict.as_of, ..again }, verdict);
    }

    #[test]
    fn a_log_shows_all_that_a_verdict_depends_on(said in declarations()) {
        let scene = scene("iia.");
        let mut log = Declarations::default();
        (0..).zip(&said).for_each(|(leaf, one)| log.take(leaf, Arc::clone(one)));
        let shown = log.about(&click().slot, u64::MAX, scene.results.iter(), std::iter::empty());
        let (all, shown) = (scene.judged(&said), scene.judged(&shown));
        prop_assert_eq!(effect(shown.clone()), effect(all));
        prop_assert!(shown.declarations.len() <= said.len());
    }
}

#[test]
fn what_is_signed_at_any_time_counts_the_same() {
    let scene = scene("iii.");
    let late = Advisory {
        signed_at: Timestamp::from_unix_seconds(SIGNED_AT + 1_000_000),
        ..advisory(person().signer_id(), "A-1", click().digest)
    };
    assert_eq!(scene.judged(&[signed(Declaration::Advisory(late), &person())]).state, State::Compromised);
}
