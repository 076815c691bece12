//! What policies can ask for: groups, distinctness, ages, passes, packages, and entries about keys, results
//! and files.

use quorate_proto::comparison::{DifferenceClass, Executable};
use quorate_proto::feed::EquivocationProof;
use quorate_proto::result::Outcome;
use quorate_proto::verified::FeedItem;
use quorate_proto::{ArtifactId, Digest};
use quorate_tally::explain::Weight;
use quorate_tally::{Circumstances, Consequence, Disposition, Flag, Severity, State, explain, tally, tally_as_of};
use quorate_tests::{Member, different, failed, identical};

use crate::fixture::{GROUPS, at, click, judged, parse, policy_with, says, state, verified, vouch};

#[test]
fn a_group_says_what_k_of_its_members_say() {
    for (row, expected) in [
        ("ii.i..", State::Reproduced),
        ("ii..ii", State::Reproduced),
        ("i..i..", State::Pending),
        ("i..iii", State::Pending),
        ("ii..i.", State::Pending),
        ("iie.ee", State::Equivalent),
        ("aa.a..", State::Suspect),
        ("aai.aa", State::Suspect),
        ("ab.c..", State::Unreproducible),
        ("abcc..", State::Unreproducible),
        ("iaff.f", State::Inconclusive),
    ] {
        assert_eq!(state(row, 2, &[], GROUPS), expected, "{row}");
    }
}

#[test]
fn the_denominator_is_the_enrolled_groups_never_those_who_answered() {
    let verdict = judged("ii....", 2, &[], GROUPS, at(0));
    assert_eq!((verdict.state, verdict.agree, verdict.enrolled, verdict.votes.len()), (State::Pending, 1, 2, 6));
    let group = |name: &str| verdict.groups.iter().find(|group| group.name == name).unwrap().clone();
    assert_eq!((group("universities").agree, group("universities").members, group("north").agree), (2, 3, 0));
}

#[test]
fn groups_that_are_no_tree_are_refused() {
    let (members, _) = says("......");
    for (rules, said) in [
        ("[[group]]\nname = \"a\"\nk = 3\nmembers = [\"operator-0\"]", "asks for 3 of its 1 members"),
        ("[[group]]\nname = \"a\"\nk = 0\nmembers = [\"operator-0\"]", "asks for 0"),
        ("[[group]]\nname = \"a\"\nk = 1\nmembers = [\"nobody\"]", "no operator and no group"),
        ("[[group]]\nname = \"operator-0\"\nk = 1\nmembers = [\"operator-1\"]", "stands twice"),
        ("[[group]]\nname = \"a\"\nk = 1\nmembers = [\"operator-1\", \"operator-1\"]", "more than once"),
        ("[[group]]\nname = \"a\"\nk = 1\nmembers = [\"a\"]", "member of itself"),
        ("[[group]]\nname = \"a\"\nk = 1\nmembers = [\"b\"]\n[[group]]\nname = \"b\"\nk = 1\nmembers = [\"a\"]", "member of itself"),
        (
            "[[group]]\nname = \"a\"\nk = 1\nmembers = [\"operator-0\", \"operator-1\", \"operator-2\", \"operator-3\"]",
            "threshold 4 with 3",
        ),
        ("[distinct]\ncountry = 1", "distinct.country = 1"),
        ("[[package]]\nmatch = \"pkg:pypi/*\"\nthreshold = 7", "threshold 7"),
        ("[[package]]\nmatch = \"pkg:pypi/Foo\"", "malformed"),
        ("[[advisory]]\nid = \"A\"\nreason = \"x\"", "either `digest` or `package`"),
        ("[[revocation]]\nreason = \"x\"", "either `node`"),
        ("[[revocation]]\nreason = \"x\"\noperator = \"nobody\"", "either `node`"),
        ("[[revocation]]\nreason = \"x\"\noperator = \"operator-0\"\nsince = 3", "either `node`"),
    ] {
        let error = anyhow_text(&parse(4, &members, &[], rules).unwrap_err());
        assert!(error.contains(said), "{rules}: {error}");
    }
}

fn anyhow_text(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

#[test]
fn a_quorum_must_be_as_distinct_as_the_policy_asks() {
    let operators = ["country = \"DE\"", "country = \"DE\"", "country = \"FR\"", "country = \"JP\"", ""];
    let rules = "[distinct]\ncountry = 2\n";
    for (row, expected) in [
        ("ii...", State::Pending),
        ("i.i..", State::Reproduced),
        ("i...i", State::Pending),
        ("aa...", State::Pending),
        ("a..a.", State::Suspect),
    ] {
        assert_eq!(state(row, 2, &operators, rules), expected, "{row}");
    }
    let verdict = judged("ii...", 2, &operators, rules, at(0));
    assert_eq!((verdict.distinct[0].agree, verdict.distinct[0].needed), (1, 2));
    assert!(verdict.missing().unwrap().contains("differ in country (1 of 2)"));
}

#[test]
fn who_is_in_a_group_that_does_not_speak_makes_no_quorum_distinct() {
    let operators = ["country = \"DE\"", "country = \"DE\"", "", "", "country = \"FR\"", "country = \"FR\""];
    let rules = format!("{GROUPS}[distinct]\ncountry = 2\n");
    for (row, expected) in [("ii.ii.", State::Pending), ("ii..ii", State::Reproduced), ("ii.iii", State::Reproduced)] {
        assert_eq!(state(row, 2, &operators, &rules), expected, "{row}");
    }
}

#[test]
fn what_is_too_old_as_of_a_time_does_not_count() {
    let rules = "max_age_days = 30\n---";
    let asked = |when| judged("iii", 3, &[], rules, when);
    assert_eq!((asked(at(30)).state, asked(at(31)).state), (State::Reproduced, State::Inconclusive));
    assert_eq!(asked(Circumstances::default()).state, State::Inconclusive);
    assert_eq!((asked(at(30)).as_of, judged("iii", 3, &[], "", at(30)).as_of), (at(30).as_of, None));
}

#[test]
fn only_allowed_passes_count() {
    for (allowed, expected) in [
        ("\"zip-times\"", State::Equivalent),
        ("\"zip-times/1\"", State::Equivalent),
        ("\"zip-times/2\"", State::Inconclusive),
        ("", State::Inconclusive),
    ] {
        assert_eq!(state("eee", 3, &[], &format!("[allow]\npasses = [{allowed}]\n")), expected, "{allowed}");
    }
}

#[test]
fn the_first_rule_for_a_package_is_its_rule() {
    let rule =
        |pattern: &str| format!("[[package]]\nmatch = \"{pattern}\"\nthreshold = 2\n[[package]]\nmatch = \"pkg:*\"\nthreshold = 4\n");
    assert_eq!(state("iii.", 3, &[], &rule("pkg:pypi/click")), State::Reproduced);
    assert_eq!(judged("ii..", 3, &[], &rule("pkg:pypi/cl*"), at(0)).threshold, 2);
    assert_eq!(state("iii.", 3, &[], &rule("pkg:pypi/click@7.*")), State::Pending);
}

#[test]
fn a_policy_says_what_each_state_means() {
    let (members, items) = says("aaa..");
    for (rules, consequence, disposition) in [
        ("", Consequence::Block, Disposition::Violated),
        ("[states]\nsuspect = \"warn\"\n", Consequence::Warn, Disposition::Met),
        ("[states]\nsuspect = \"allow\"\n", Consequence::Allow, Disposition::Met),
        ("[states]\npending = \"allow\"\n", Consequence::Block, Disposition::Violated),
        ("[[package]]\nmatch = \"pkg:pypi/click\"\nstates = { suspect = \"warn\" }\n", Consequence::Warn, Disposition::Met),
    ] {
        let policy = policy_with(3, &members, &[], rules);
        let verdict = tally(&policy, &click(), &verified(&policy, &items), &[]);
        assert_eq!((policy.consequence(&verdict), policy.disposition(&verdict)), (consequence, disposition), "{rules}");
    }
}

#[test]
fn an_advisory_stands_above_every_other_state() {
    let by_digest = format!("[[advisory]]\nid = \"Q-1\"\ndigest = \"{}\"\nreason = \"a backdoor\"\n", click().digest);
    let by_package = "[[advisory]]\nid = \"Q-1\"\npackage = \"pkg:pypi/click@8.*\"\nreason = \"a backdoor\"\n";
    for rules in [&by_digest, by_package] {
        let verdict = judged("iii", 3, &[], rules, at(0));
        assert_eq!((verdict.state, verdict.advisories.clone(), verdict.rests_on().len()), (State::Compromised, vec!["Q-1".to_owned()], 3));
    }
    assert_eq!(state("iii", 3, &[], &by_package.replace("8.*", "9.*")), State::Reproduced);
}

#[test]
fn a_vouch_explains_this_exact_difference_until_it_expires() {
    for (row, when, expected) in [
        ("aaa..", at(0), State::Explained),
        ("aai..", at(0), State::Explained),
        ("iiiaa", at(0), State::Reproduced),
        ("aaaii", at(2), State::Suspect),
        ("aaa..", Circumstances::default(), State::Suspect),
        ("bbb..", at(0), State::Suspect),
        ("aabbb", at(0), State::Suspect),
    ] {
        assert_eq!(judged(row, 3, &[], &vouch("a"), when).state, expected, "{row}");
    }
    assert_eq!(judged("aabb.", 2, &[], &vouch("a"), at(0)).state, State::Contested);
    assert_eq!(judged("aaa..", 3, &[], &vouch("a"), at(0)).vouches, ["V-1"]);
}

#[test]
fn a_retracted_result_is_as_if_it_had_never_been() {
    let (members, items) = says("iia");
    let retracted = Digest::of(&items[2].envelope);
    let policy = policy_with(2, &members, &[], &format!("[[retraction]]\nresult = \"{retracted}\"\n"));
    let statements = verified(&policy, &items);
    assert_eq!(tally(&policy, &click(), &statements, &[]), tally(&policy, &click(), &statements[..2], &[]));
}

#[test]
fn revoking_from_a_feed_position_equals_never_having_seen_what_came_after() {
    let (mut members, mut items) = says("iaf");
    let node = members[0].node();
    let twin = members[0].says_at(members[0].position(), &click(), failed());
    items.extend(["a", "b"].map(|content| members[0].says(&click(), different(content, "x.py"))));
    for since in 0..4_u64 {
        let policy = policy_with(2, &members, &[], &format!("[[revocation]]\nnode = \"{node}\"\nsince = {since}\nreason = \"stolen\"\n"));
        let all = verified(&policy, &items);
        let proof = EquivocationProof::verify(items[3].clone(), twin.clone(), policy.enrolled()).unwrap();
        let proofs: Vec<_> = (since > 1).then(|| proof.clone()).into_iter().collect();
        let before: Vec<_> = all.iter().filter(|s| s.node() != node || s.position().sequence < since).cloned().collect();
        assert_eq!(tally(&policy, &click(), &all, &[proof]), tally(&policy, &click(), &before, &proofs), "since {since}");
    }
}

#[test]
fn distrusting_an_operator_equals_never_having_heard_it() {
    let (members, items) = says("iiia");
    let policy = policy_with(3, &members, &[], "");
    let statements = verified(&policy, &items);
    let distrusting = policy.clone().distrusting(members[0].operator());
    let verdict = tally(&distrusting, &click(), &statements, &[]);
    assert_eq!(verdict, tally(&policy, &click(), &statements[1..], &[]));
    assert_eq!((verdict.state, verdict.enrolled), (State::Pending, 4));
    let entry = policy_with(3, &members, &[], "[[revocation]]\noperator = \"operator-0\"\nreason = \"sold\"\n");
    assert_eq!(tally(&entry, &click(), &statements, &[]).votes, verdict.votes);
}

#[test]
fn what_differs_as_environments_do_depends_on_the_environment() {
    let lineage = ["environment = \"debian\"", "environment = \"debian\"", "environment = \"nix\"", "environment = \"nix\"", ""];
    for (row, expected) in [
        ("iiaa.", State::EnvironmentDependent),
        ("aabb.", State::EnvironmentDependent),
        ("iaai.", State::Pending),
        ("ii.aa", State::Pending),
        ("aab..", State::Unreproducible),
        ("iiiaa", State::Reproduced),
    ] {
        assert_eq!(state(row, 3, &lineage, ""), expected, "{row}");
    }
    // No policy names them: the inventories of the results do.
    assert_eq!(state("iiaa.", 3, &[], ""), State::Pending);
}

#[test]
fn severity_follows_from_the_kind_of_the_difference() {
    for (class, executable, severity) in [
        (DifferenceClass::OnlyPublished, Executable::Code, Severity::Critical),
        (DifferenceClass::Content, Executable::Code, Severity::High),
        (DifferenceClass::Metadata, Executable::Data, Severity::Medium),
        (DifferenceClass::Content, Executable::Data, Severity::Low),
    ] {
        let mut outcome = different("a", "x");
        if let Outcome::Different { differences, .. } = &mut outcome {
            (differences.members[0].class, differences.members[0].executable) = (class, executable);
        }
        let mut members: Vec<Member> = (1..=3).map(Member::new).collect();
        let items: Vec<_> = members.iter_mut().map(|member| member.says(&click(), outcome.clone())).collect();
        let policy = policy_with(3, &members, &[], "");
        let verdict = tally(&policy, &click(), &verified(&policy, &items), &[]);
        assert_eq!((verdict.state, verdict.severity), (State::Suspect, Some(severity)));
    }
    assert_eq!(judged("iii", 3, &[], "", at(0)).severity, None);
}

#[test]
fn flags_stand_beside_any_state() {
    let (mut members, items) = says("iii");
    let policy = policy_with(3, &members, &[], "");
    let other = ArtifactId { digest: Digest::of(b"other"), ..click() };
    let mutated = [vec![members[0].says(&other, failed())], items.clone()].concat();
    let flags = |items: &[FeedItem], when| tally_as_of(&policy, &click(), &verified(&policy, items), when).flags;
    assert_eq!(flags(&mutated, at(0)), [Flag::RegistrySplit, Flag::Mutated].into());
    let mut moved = members[1].result(&click(), identical(&click()), members[1].position());
    moved.source.as_mut().unwrap().commit = Some("0".repeat(40));
    let split = [items.clone(), vec![members[1].sign(&click(), moved)]].concat();
    assert_eq!(flags(&split, at(0)), [Flag::SourceSplit].into());
}

#[test]
fn an_explanation_names_what_became_of_every_result() {
    let (mut members, mut items) = says("iia.");
    items.push(members[2].says(&click(), identical(&click())));
    let retracted = Digest::of(&items[1].envelope);
    let rules = format!("[[retraction]]\nresult = \"{retracted}\"\n{}", vouch("a"));
    let policy = policy_with(2, &members, &[], &rules);
    let statements = verified(&policy, &items);
    let explanation = explain(&policy, &click(), &statements, at(0));
    assert_eq!(explanation.verdict, tally_as_of(&policy, &click(), &statements, at(0)));
    let weights: Vec<_> = explanation.results.iter().map(|step| (step.operator.as_str(), step.weight.clone())).collect();
    let expected = [
        ("operator-0", Weight::Counts),
        ("operator-1", Weight::Retracted),
        ("operator-2", Weight::Superseded),
        ("operator-2", Weight::Counts),
    ];
    assert_eq!(weights, expected);
    let first = explanation.states.iter().find(|step| step.applies).unwrap();
    assert_eq!((first.state, first.because.as_str()), (State::Reproduced, "2 of 4 rebuilt the published bytes, threshold 2"));
}
