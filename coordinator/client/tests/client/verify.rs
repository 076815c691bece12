//! `verify` against a server: honest, silent, and lying.

use std::collections::BTreeMap;

use quorate_proto::Digest;
use quorate_proto::verified::FeedItem;
use quorate_tally::{State, Verdict};
use quorate_tests::{Member, SIGNED_AT, artifact, different, equivalent, failed, identical};

use crate::web::Reply;
use crate::world::{ORIGIN, World, log, masked, pretty, prove, reply, sign};

fn reproduced() -> World {
    let click = artifact("click", "8.1.8", crate::world::CONTENT);
    World::with([identical(&click), identical(&click), identical(&click), different("other", "click/core.py")])
}

#[test]
fn a_quorate_file_meets_the_policy_and_dissent_is_shown() {
    let world = reproduced();
    let ran = world.ask_logged(world.routes_saying(&sign(&world.verdict(&world.policy_with_log()))), &["verify", &world.wheel()]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    insta::assert_snapshot!(masked(&ran.stdout), @r#"
    reproduced  3 of 5 operators rebuilt the published bytes, threshold 3, log index 1
      artifact     click-8.1.8-py3-none-any.whl of pkg:pypi/click@8.1.8, sha256:<hex>
      dissent      operator-3: different, got sha256:<hex>
    "#);
    assert_eq!(ran.stderr, "");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a picture of the whole shape")]
fn the_json_shape_is_pinned() {
    let world = reproduced();
    let ran = world.ask_logged(
        world.routes_saying(&sign(&world.verdict(&world.policy_with_log()))),
        &["verify", "--format", "json", "pkg:pypi/click@8.1.8"],
    );
    assert_eq!(ran.code, 0);
    insta::assert_snapshot!(masked(&pretty(&ran.json())), @r#"
    {
      "artifacts": [
        {
          "advisories": [],
          "agree": 3,
          "consequence": "allow",
          "coordinator": {
            "policy": "sha256:<hex>",
            "state": "reproduced",
            "status": "follows"
          },
          "declarations": [],
          "differ": 1,
          "digest": "sha256:<hex>",
          "dissent": [
            "operator-3"
          ],
          "distinct": [],
          "enrolled": 5,
          "evidence": {
            "aboutSomethingElse": 0,
            "counted": 4,
            "given": 4,
            "refused": {}
          },
          "failed": 0,
          "file": "click-8.1.8-py3-none-any.whl",
          "flags": [],
          "groups": [],
          "log": {
            "index": 1,
            "origin": "quorate.example/log",
            "size": 2,
            "state": "reproduced",
            "status": "proven"
          },
          "other": "sha256:<hex>",
          "otherDigests": [],
          "outcome": "met",
          "package": "pkg:pypi/click@8.1.8",
          "reason": "3 of 5 operators rebuilt the published bytes, threshold 3",
          "severity": null,
          "shared": 1,
          "state": "reproduced",
          "threshold": 3,
          "votes": [
            {
              "ballot": {
                "says": "identical"
              },
              "grade": "follower",
              "name": "operator-0",
              "operator": "ed25519:<hex>",
              "results": [
                "sha256:<hex>"
              ]
            },
            {
              "ballot": {
                "says": "identical"
              },
              "grade": "follower",
              "name": "operator-1",
              "operator": "ed25519:<hex>",
              "results": [
                "sha256:<hex>"
              ]
            },
            {
              "ballot": {
                "says": "identical"
              },
              "grade": "follower",
              "name": "operator-2",
              "operator": "ed25519:<hex>",
              "results": [
                "sha256:<hex>"
              ]
            },
            {
              "ballot": {
                "rebuilt": "sha256:<hex>",
                "says": "different"
              },
              "grade": "follower",
              "name": "operator-3",
              "operator": "ed25519:<hex>",
              "results": [
                "sha256:<hex>"
              ]
            },
            {
              "ballot": {
                "says": "absent"
              },
              "name": "operator-4",
              "operator": "ed25519:<hex>",
              "results": []
            }
          ],
          "vouches": []
        }
      ],
      "command": "verify",
      "exit": 0,
      "notes": [],
      "policy": "sha256:<hex>",
      "schemaVersion": 1
    }
    "#);
}

#[test]
fn every_state_has_its_exit_code() {
    let click = artifact("click", "8.1.8", crate::world::CONTENT);
    let same = || identical(&click);
    let other = || different("other", "m");
    for (outcomes, state, code) in [
        (vec![same(), same(), same()], "reproduced", 0),
        (vec![same(), same(), equivalent()], "equivalent", 0),
        (vec![other(), other(), other(), same()], "suspect", 1),
        (vec![different("a", "m"), different("b", "m"), different("c", "m")], "unreproducible", 1),
        (vec![failed(), failed(), failed()], "unbuildable", 3),
        (vec![same(), same()], "pending", 3),
        (vec![], "pending", 3),
    ] {
        let world = World::with(outcomes);
        let ran = world.ask(world.routes(), &["verify", &world.wheel()]);
        assert!(ran.first().starts_with(state), "{state}: {}", ran.stdout);
        assert_eq!(ran.code, code, "{state}");
    }
}

#[test]
fn a_server_that_lies_about_the_verdict_is_named_and_not_believed() {
    let world = World::with([different("other", "m"), different("other", "m"), different("other", "m")]);
    let lie = Verdict { state: State::Reproduced, agree: 3, differ: 0, ..world.verdict(&world.policy()) };
    let mut routes = world.routes_saying(&sign(&lie));
    routes.insert("/api/v1/policy".to_owned(), Reply::Bytes(world.policy().into_bytes()));
    let ran = world.ask(routes, &["verify", &world.wheel()]);
    assert_eq!(ran.code, 1);
    assert!(ran.first().starts_with("suspect  3 of 5"), "{}", ran.stdout);
    assert!(ran.stdout.contains("DISAGREES: says `reproduced`, but the results that it names give `suspect`"), "{}", ran.stdout);
}

#[test]
fn a_lie_in_the_log_is_a_divergence_even_where_the_evidence_is_good() {
    let click = artifact("click", "8.1.8", crate::world::CONTENT);
    let world = World::with([identical(&click), identical(&click), identical(&click)]);
    let lie = Verdict { state: State::Suspect, ..world.verdict(&world.policy_with_log()) };
    let ran = world.ask_logged(world.routes_saying(&sign(&lie)), &["verify", &world.wheel()]);
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    assert!(ran.stdout.contains("DISAGREES"), "{}", ran.stdout);
}

#[test]
fn a_verdict_under_the_coordinators_own_policy_is_recomputed_under_it() {
    let click = artifact("click", "8.1.8", crate::world::CONTENT);
    let world = World::with([identical(&click), identical(&click)]);
    let theirs = quorate_tests::policy(2, &world.members);
    for (verdict, said) in [
        (world.verdict(&theirs), "says `reproduced` under its own policy"),
        (
            Verdict { state: State::Suspect, ..world.verdict(&theirs) },
            "DISAGREES: says `suspect`, but the results that it names give `reproduced`",
        ),
    ] {
        let mut routes = world.routes_saying(&sign(&verdict));
        routes.insert("/api/v1/policy".to_owned(), Reply::Bytes(theirs.clone().into_bytes()));
        let ran = world.ask(routes, &["verify", &world.wheel()]);
        assert_eq!(ran.code, 3, "the user's own policy asks for three");
        assert!(ran.stdout.contains(said), "{}", ran.stdout);
    }
}

#[test]
fn omitted_results_leave_it_pending_and_never_met() {
    let world = reproduced();
    let honest = sign(&world.verdict(&world.policy()));
    let mut fewer = reproduced();
    fewer.items.truncate(2);
    let ran = world.ask(fewer.routes_saying(&honest), &["verify", &world.wheel()]);
    assert_eq!(ran.code, 3);
    assert!(ran.first().starts_with("pending  2 agree"), "{}", ran.stdout);
    assert!(ran.stdout.contains("resting on 2 results not handed over"), "{}", ran.stdout);
}

#[test]
fn withheld_dissent_keeps_the_policy_from_being_met() {
    let world = reproduced();
    let honest = sign(&world.verdict(&world.policy()));
    let mut fewer = reproduced();
    fewer.items.truncate(3);
    let ran = world.ask(fewer.routes_saying(&honest), &["verify", &world.wheel()]);
    assert!(ran.first().starts_with("reproduced"), "{}", ran.stdout);
    assert_eq!(ran.code, 3, "{}", ran.stdout);
}

#[test]
fn a_proof_of_another_leaf_and_a_checkpoint_by_another_key_are_violations() {
    let world = reproduced();
    let verdict = sign(&world.verdict(&world.policy_with_log()));
    let good = world.bundle_of(&verdict);
    for (proof, said) in [
        (prove(b"another leaf", &log(ORIGIN, 7)), "inclusion proof does not hold"),
        (prove(verdict.as_bytes(), &log(ORIGIN, 8)), "no signature is by a known key"),
        (prove(verdict.as_bytes(), &log("other.example/log", 7)), "no signature is by a known key"),
        ("garbage".to_owned(), "proof"),
    ] {
        let bundle = quorate_proto::bundle::Bundle { proof, ..good.clone() };
        let mut routes = world.routes_saying(&verdict);
        routes.insert(format!("/api/v1/artifacts/{}/bundle", world.artifact.digest), Reply::Bytes(bundle.to_bytes()));
        let ran = world.ask_logged(routes, &["verify", &world.wheel()]);
        assert_eq!(ran.code, 1, "{}", ran.stdout);
        assert!(ran.stdout.contains(said), "{said}: {}", ran.stdout);
        assert!(!ran.first().contains("log index"), "{}", ran.stdout);
    }
}

#[test]
fn a_policy_that_asks_for_a_log_is_not_met_without_a_proof() {
    let world = reproduced();
    let mut routes = world.routes();
    routes.remove(&format!("/api/v1/artifacts/{}/bundle", world.artifact.digest));
    let ran = world.ask_logged(routes, &["verify", &world.wheel()]);
    assert_eq!(ran.code, 3);
    assert!(ran.first().starts_with("reproduced"), "{}", ran.stdout);
    assert!(ran.stdout.contains("the policy asks for a proof of logging, and there is none"), "{}", ran.stdout);
}

#[test]
fn strangers_expired_certificates_and_other_artifacts_add_no_votes() {
    let click = artifact("click", "8.1.8", crate::world::CONTENT);
    let mut world = World::with([identical(&click), identical(&click)]);
    let other = artifact("other", "1.0", b"other");
    let mut stranger = Member::new(77);
    let mut expired = Member::with_validity(3, 5, SIGNED_AT - 2000, SIGNED_AT - 1000);
    world.items.push(stranger.says(&click, identical(&click)));
    world.items.push(expired.says(&click, identical(&click)));
    let about_other = world.members[3].says(&other, identical(&other));
    world.items.push(about_other);
    let forged = FeedItem { certificate: world.members[4].certificate().to_vec(), ..world.items[2].clone() };
    world.items.push(forged);
    let ran = world.ask(world.routes(), &["verify", &world.wheel(), "--format", "json"]);
    assert_eq!(ran.code, 3);
    let artifact = &ran.json()["artifacts"][0];
    assert_eq!(artifact["state"], "pending");
    assert_eq!(artifact["agree"], 2);
    insta::assert_snapshot!(masked(&pretty(&artifact["evidence"])), @r#"
    {
      "aboutSomethingElse": 1,
      "counted": 2,
      "given": 5,
      "refused": {
        "bad-signature": 1,
        "expired-certificate": 1,
        "unknown-operator": 1
      }
    }
    "#);
}

#[test]
fn an_equivocating_operator_loses_its_vote_and_raises_the_flag() {
    let click = artifact("click", "8.1.8", crate::world::CONTENT);
    let mut world = World::with([identical(&click), identical(&click)]);
    let at = world.members[2].position();
    let first = world.members[2].says_at(at, &click, identical(&click));
    let second = world.members[2].says_at(at, &click, different("x", "m"));
    // The server shows one history and keeps quiet about the other: three agree.
    world.items.push(first.clone());
    assert_eq!(world.ask(world.routes(), &["verify", &world.wheel()]).code, 0);
    // As a pair, and as mere results, the two histories prove themselves.
    world.pairs.push([first, second.clone()]);
    let as_pair = world.ask(world.routes(), &["verify", &world.wheel()]);
    world.pairs.clear();
    world.items.push(second);
    let as_results = world.ask(world.routes(), &["verify", &world.wheel()]);
    for ran in [as_pair, as_results] {
        assert_eq!(ran.code, 3, "{}", ran.stdout);
        assert!(ran.stdout.contains("flag         equivocation"), "{}", ran.stdout);
    }
}

#[test]
fn another_digest_in_the_same_slot_is_a_registry_split() {
    let click = artifact("click", "8.1.8", crate::world::CONTENT);
    let mut world = World::with([identical(&click), identical(&click), identical(&click)]);
    let mut elsewhere = world.artifact.clone();
    elsewhere.digest = Digest::of(b"what others were served");
    let item = world.members[3].says(&elsewhere, identical(&elsewhere));
    world.items.push(item);
    let ran = world.ask(world.routes(), &["verify", &world.wheel()]);
    assert!(ran.stdout.contains("flag         registry-split"), "{}", ran.stdout);
}

#[test]
fn bytes_that_nobody_published_are_pending() {
    let world = reproduced();
    let mut tampered = world.wheel();
    tampered.push_str(".tampered");
    std::fs::write(&tampered, b"the published wheel, and a backdoor").expect("written");
    let ran = world.ask(world.routes(), &["verify", &tampered]);
    assert_eq!(ran.code, 3);
    assert!(ran.first().starts_with("pending") && ran.first().contains("0 of 5 operators have answered"), "{}", ran.stdout);
    assert!(ran.stdout.contains("known to nobody here"), "{}", ran.stdout);
}

/// The coordinator's logged verdict and bundle know less than its results.
fn with_newer(logged: &World, said: &str, newer: &World) -> BTreeMap<String, Reply> {
    let results = format!("/api/v1/artifacts/{}/results", newer.artifact.digest);
    let mut routes = logged.routes_saying(said);
    routes.insert(results.clone(), newer.routes()[&results].clone());
    routes
}

#[test]
fn unlogged_results_behind_a_logged_pending_verdict_do_not_meet_the_policy() {
    let click = artifact("click", "8.1.8", crate::world::CONTENT);
    let logged = World::with([identical(&click), identical(&click)]);
    let newer = reproduced();
    let theirs = quorate_tests::policy(2, &logged.members);
    for verdict in [logged.verdict(&logged.policy_with_log()), logged.verdict(&theirs)] {
        let ran = newer.ask_logged(with_newer(&logged, &sign(&verdict), &newer), &["verify", &newer.wheel()]);
        assert!(ran.first().starts_with("reproduced"), "{}", ran.stdout);
        assert!(ran.stdout.contains("but          the results that the logged verdict names give `pending`"), "{}", ran.stdout);
        assert_eq!(ran.code, 3, "{}", ran.stdout);
    }
    // A verdict under another policy is as good for the log as one under the user's own.
    let ran = newer.ask_logged(newer.routes_saying(&sign(&newer.verdict(&theirs))), &["verify", &newer.wheel()]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
}

#[test]
fn unlogged_results_do_not_whitewash_a_logged_suspicion_and_can_raise_one() {
    let click = artifact("click", "8.1.8", crate::world::CONTENT);
    let agree = || vec![identical(&click), identical(&click), identical(&click)];
    let differ = || vec![different("other", "m"), different("other", "m"), different("other", "m")];
    for (before, after, now) in [(differ(), agree(), "reproduced"), (agree(), differ(), "suspect")] {
        let logged = World::with(before.clone());
        let mut newer = World::with(before);
        for (member, outcome) in after.into_iter().enumerate() {
            let item = newer.members[member].says(&click, outcome);
            newer.items.push(item);
        }
        let said = sign(&logged.verdict(&logged.policy_with_log()));
        let ran = newer.ask_logged(with_newer(&logged, &said, &newer), &["verify", &newer.wheel()]);
        assert!(ran.first().starts_with(now), "{}", ran.stdout);
        assert_eq!(ran.code, 1, "{}", ran.stdout);
    }
}

#[test]
fn a_node_that_signs_ever_new_digests_makes_no_liar_of_the_coordinator() {
    let click = artifact("click", "8.1.8", crate::world::CONTENT);
    let outcomes = || (0..4).map(|_| identical(&click));
    let logged = World::with(outcomes());
    let mut newer = World::with(outcomes());
    for number in 0..20_u8 {
        let elsewhere = quorate_proto::ArtifactId { digest: Digest::of(&[number]), ..click.clone() };
        let item = newer.members[3].says(&elsewhere, identical(&elsewhere));
        newer.items.push(item);
    }
    let said = sign(&logged.verdict(&logged.policy_with_log()));
    let ran = newer.ask_logged(with_newer(&logged, &said, &newer), &["verify", &newer.wheel()]);
    assert!(!ran.stdout.contains("DISAGREES"), "{}", ran.stdout);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
}

/// Lists `more` slots with the same bytes before the real one.
fn with_slots(world: &World, more: &[quorate_proto::ArtifactId]) -> BTreeMap<String, Reply> {
    let mut routes = world.routes();
    let list: Vec<_> = more.iter().chain([&world.artifact]).collect();
    routes.insert(format!("/api/v1/artifacts/{}", world.artifact.digest), reply(&serde_json::json!({"artifacts": list})));
    routes
}

#[test]
fn twenty_fake_slots_do_not_hide_the_real_one_and_a_cut_never_meets() {
    let fakes: Vec<_> = (0..20).map(|n| artifact(&format!("a-fake-{n}"), "1.0", crate::world::CONTENT)).collect();
    let (good, bad) = (reproduced(), World::with((0..3).map(|_| different("other", "m"))));
    for (world, state, code) in [(good, "reproduced", 3), (bad, "suspect", 1)] {
        let ran = world.ask(with_slots(&world, &fakes), &["verify", &world.wheel()]);
        assert!(ran.first().starts_with(state), "{}", ran.stdout);
        assert_eq!(ran.code, code, "{}", ran.stdout);
        assert!(ran.stderr.contains("than are looked at"), "{}", ran.stderr);
        // By its digest alone the real one is behind the cut, and nobody says that it is fine.
        let by_digest = world.ask(with_slots(&world, &fakes), &["verify", &world.artifact.digest.to_string()]);
        assert_eq!(by_digest.code, 3, "{}", by_digest.stdout);
    }
    let world = reproduced();
    let digest = world.artifact.digest.to_string();
    let named = world.ask(with_slots(&world, &fakes), &["verify", &digest, "--package", "pkg:pypi/click@8.1.8"]);
    assert_eq!(named.code, 0, "{}{}", named.stdout, named.stderr);
    assert_eq!(named.stderr, "");
}

#[test]
fn a_package_whose_list_was_cut_off_is_never_met() {
    let world = reproduced();
    let mut routes = world.routes();
    let list = serde_json::json!({"artifacts": [world.artifact], "truncated": true});
    routes.insert("/api/v1/packages".to_owned(), reply(&list));
    let ran = world.ask(routes, &["verify", "pkg:pypi/click"]);
    assert_eq!(ran.code, 3, "{}", ran.stdout);
    assert!(ran.stderr.contains("there are more artifacts of pkg:pypi/click"), "{}", ran.stderr);
}

#[test]
fn bytes_that_are_suspect_as_one_package_do_not_pass_as_another() {
    let mut world = reproduced();
    let evil = artifact("evil", "1.0", crate::world::CONTENT);
    for member in &mut world.members[..3] {
        let item = member.says(&evil, different("other", "m"));
        world.items.push(item);
    }
    let routes = || with_slots(&world, std::slice::from_ref(&evil));
    for target in [world.wheel(), world.artifact.digest.to_string()] {
        let ran = world.ask(routes(), &["verify", &target]);
        assert_eq!(ran.code, 1, "{}", ran.stdout);
        assert!(ran.first().starts_with("suspect"), "{}", ran.stdout);
        assert!(ran.stdout.contains("reproduced  3 of 5"), "{}", ran.stdout);
        assert!(ran.stderr.contains("the gravest answer counts"), "{}", ran.stderr);
        assert_eq!(world.ask(routes(), &["verify", &target, "--package", "pkg:pypi/click"]).code, 0);
        assert_eq!(world.ask(routes(), &["verify", &target, "--package", "pkg:pypi/evil"]).code, 1);
        let output = world.path("some.bundle");
        assert_eq!(world.ask(routes(), &["bundle", &target, "-o", &output]).code, 1);
        assert_eq!(world.ask(routes(), &["bundle", &target, "-o", &output, "--package", "pkg:pypi/click"]).code, 0);
    }
}

#[test]
fn good_bytes_of_another_package_do_not_pass_for_the_package_asked_for() {
    let world = reproduced();
    let as_flask = world.ask(world.routes(), &["verify", &world.wheel(), "--package", "pkg:pypi/flask"]);
    assert_eq!(as_flask.code, 3, "{}", as_flask.stdout);
    assert!(as_flask.stderr.contains("also known as click-8.1.8-py3-none-any.whl of pkg:pypi/click@8.1.8"), "{}", as_flask.stderr);
    let as_click = world.ask(world.routes(), &["verify", &world.wheel(), "--package", "pkg:pypi/click"]);
    assert_eq!(as_click.code, 0, "{}", as_click.stdout);
}

#[test]
fn a_renamed_file_is_verified_and_the_name_is_mentioned() {
    let world = reproduced();
    let renamed = world.file("flask-3.0.whl", crate::world::CONTENT).display().to_string();
    let ran = world.ask(world.routes(), &["verify", &renamed]);
    assert_eq!(ran.code, 0);
    assert!(ran.stderr.contains("published as `click-8.1.8-py3-none-any.whl`"), "{}", ran.stderr);
}

#[test]
fn a_package_without_artifacts_is_not_enough_evidence() {
    let world = reproduced();
    let ran = world.ask(BTreeMap::new(), &["verify", "pkg:pypi/nothing@1.0"]);
    assert_eq!(ran.code, 3);
    // Artifacts of another package are not taken for an answer.
    let ran = world.ask(world.routes(), &["verify", "pkg:pypi/nothing@1.0"]);
    assert_eq!(ran.code, 3);
}

#[test]
fn a_server_that_fails_is_a_failure_of_the_tool() {
    let world = reproduced();
    let results = format!("/api/v1/artifacts/{}/results", world.artifact.digest);
    for (fault, said) in [
        (Reply::Status(500), "answers with status 500"),
        (Reply::Redirect("/elsewhere"), "answers with status 302"),
        (Reply::Endless, "answers with more than"),
        (Reply::Half(vec![b' '; 1000]), "no answer from"),
        (Reply::Bytes(b"\xff\xfe not JSON".to_vec()), "cannot be read"),
        (reply(&serde_json::json!({"results": 5})), "cannot be read"),
        (Reply::Bytes("[".repeat(100_000).into_bytes()), "cannot be read"),
    ] {
        let mut routes = world.routes();
        routes.insert(results.clone(), fault);
        let ran = world.ask(routes, &["verify", &world.wheel()]);
        assert_eq!(ran.code, 2, "{said}: {}", ran.stdout);
        assert_eq!(ran.stdout, "");
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
}
