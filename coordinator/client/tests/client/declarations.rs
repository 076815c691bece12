//! What people declare: signed by command, heard from a server, a bundle and a log, and by whom the user's policy says.

use std::collections::BTreeMap;

use quorate_proto::bundle::Bundle;
use quorate_proto::declaration::{Declaration, VerifiedDeclaration};
use quorate_proto::{Digest, SecretKey};
use quorate_tally::{State, Verdict};
use quorate_tests::{advisory, different, identical, retraction, revocation};
use serde_json::json;

use crate::monitor::{monitor, signed as logged};
use crate::web::{Reply, serve};
use crate::world::{World, reply, sign};

fn person() -> SecretKey {
    SecretKey::from_seed(&[60; 32])
}

fn signed(declaration: Declaration, key: &SecretKey) -> Vec<u8> {
    declaration.sign(key).expect("allowed").bytes().to_vec()
}

fn advises(world: &World, key: &SecretKey) -> Vec<u8> {
    signed(Declaration::Advisory(advisory(key.signer_id(), "A-1", world.artifact.digest)), key)
}

fn takes_back(said: &[u8]) -> Vec<u8> {
    signed(Declaration::Retraction(retraction(person().signer_id(), Digest::of(said))), &person())
}

fn revokes(world: &World, member: usize, since: u64) -> Vec<u8> {
    let member = &world.members[member];
    signed(Declaration::Revocation(revocation(member.root_key().signer_id(), Some(member.node()), since)), member.root_key())
}

/// Three of five agree, and the user's policies listen to somebody.
fn world() -> World {
    let same = identical(&World::new().artifact);
    let world = World::with([same.clone(), same.clone(), same, different("other", "m")]);
    let person = format!("\n[[person]]\nname = \"incidents\"\nkey = \"{}\"\nmay = [\"advise\"]\n", person().signer_id());
    for (name, text) in [("policy.toml", world.policy()), ("logged.toml", world.policy_with_log())] {
        world.file(name, format!("{text}{person}").as_bytes());
    }
    world
}

fn under(world: &World, policy: &str) -> Verdict {
    world.verdict(&std::fs::read_to_string(world.path(policy)).expect("written"))
}

#[test]
fn an_advisory_of_somebody_whom_the_policy_lists_makes_a_file_compromised_and_of_nobody_else() {
    let mut world = world();
    world.declarations = vec![advises(&world, &SecretKey::from_seed(&[61; 32]))];
    let ran = world.ask(world.routes_saying(&sign(&under(&world, "policy.toml"))), &["verify", &world.wheel()]);
    assert_eq!((ran.code, ran.first().split(' ').next()), (0, Some("reproduced")), "{}{}", ran.stdout, ran.stderr);

    world.declarations.push(advises(&world, &person()));
    let routes = world.routes_saying(&sign(&under(&world, "policy.toml")));
    let ran = world.ask(routes.clone(), &["verify", &world.wheel()]);
    let numbers = "compromised  advisory A-1; 3 of 5 operators agree with the registry, threshold 3";
    assert!(ran.code == 1 && ran.first().starts_with(numbers), "{}", ran.stdout);
    let ran = world.ask(routes, &["policy", "check", &world.wheel()]);
    assert!(ran.stdout.contains("   advisory A-1 by incidents: a backdoor\n"), "{}", ran.stdout);

    // A coordinator that has not heard of it says otherwise, and changes nothing.
    world.declarations.clear();
    let unheard = sign(&under(&world, "policy.toml"));
    world.declarations.push(advises(&world, &person()));
    assert_eq!(world.ask(world.routes_saying(&unheard), &["verify", &world.wheel()]).code, 1);
    let back = takes_back(&world.declarations[0]);
    world.declarations.push(back);
    assert_eq!(world.ask(world.routes_saying(&unheard), &["verify", &world.wheel()]).code, 0);
}

#[test]
fn a_bundle_carries_the_declarations_that_its_verdict_rests_on_and_without_them_something_is_withheld() {
    let mut world = world();
    world.declarations = vec![advises(&world, &person()), revokes(&world, 3, 0)];
    let verdict = under(&world, "logged.toml");
    assert_eq!((verdict.state, verdict.declarations.len(), verdict.differ), (State::Compromised, 2, 0));
    let bundle = world.bundle_of(&sign(&verdict));
    let ran = world.check_bundle(&bundle.to_bytes());
    assert_eq!((ran.code, ran.first().split(' ').next()), (1, Some("compromised")), "{}{}", ran.stdout, ran.stderr);
    let json = |bundle: &Bundle| {
        let path = world.file("some.bundle", &bundle.to_bytes()).display().to_string();
        world.run(&["verify", "--format", "json", "--bundle", &path, "--policy", &world.path("logged.toml")]).json()["artifacts"][0].clone()
    };
    assert_eq!(json(&bundle)["coordinator"]["status"], "follows", "{}", json(&bundle));
    for kept in [0, 1] {
        let lacking = Bundle { declarations: vec![bundle.declarations[kept].clone()], ..bundle.clone() };
        assert_eq!(json(&lacking)["coordinator"]["status"], "withheld");
    }
    // What is added to a bundle is heard as well, whatever its verdict says.
    let unheard = Bundle {
        declarations: Vec::new(),
        ..{
            world.declarations.clear();
            world.bundle_of(&sign(&under(&world, "logged.toml")))
        }
    };
    assert_eq!(world.check_bundle(&unheard.to_bytes()).code, 0);
    let told = Bundle { declarations: bundle.declarations, ..unheard };
    assert_eq!(world.check_bundle(&told.to_bytes()).code, 1);
}

#[test]
fn bytes_that_nobody_has_rebuilt_are_compromised_if_somebody_whom_the_policy_lists_says_so() {
    let world = world();
    let say = |key: &SecretKey| {
        let envelope = String::from_utf8(advises(&world, key)).expect("text");
        let list = reply(&json!({"declarations": [{"logIndex": 7, "envelope": envelope}], "truncated": false}));
        world.ask(BTreeMap::from([("/api/v1/declarations".to_owned(), list)]), &["verify", &world.artifact.digest.to_string()])
    };
    assert_eq!(say(&person()).code, 1);
    assert_eq!(say(&SecretKey::from_seed(&[61; 32])).code, 3);
}

/// A log in which things are declared and taken back, with a verdict behind each; `hides` leaves one declaration out of
/// what the verdict behind it considers.
fn entries(hides: Option<usize>) -> (World, Vec<Vec<u8>>) {
    let mut world = world();
    let policy = std::fs::read(world.path("logged.toml")).expect("written");
    let mut entries = vec![[b"quorate-policy/v1\n".to_vec(), policy].concat()];
    for item in &world.items {
        entries.extend([item.certificate.clone(), item.envelope.clone()]);
    }
    let advisory = advises(&world, &person());
    let declared = [advisory.clone(), advises(&world, &SecretKey::from_seed(&[61; 32])), takes_back(&advisory), revokes(&world, 0, 0)];
    for (at, envelope) in declared.into_iter().enumerate() {
        entries.push(envelope.clone());
        let before = world.declarations.clone();
        world.declarations.push(envelope);
        let size = entries.len() as u64;
        let verdict = if hides == Some(at) { World { declarations: before, ..world_of(&world) } } else { world_of(&world) };
        entries.push(logged(&under(&verdict, "logged.toml"), size));
    }
    (world, entries)
}

/// The same operators' results once more.
fn world_of(other: &World) -> World {
    World { items: other.items.clone(), declarations: other.declarations.clone(), ..world() }
}

#[test]
fn a_monitor_finds_nothing_wrong_where_verdicts_follow_declarations_and_finds_a_verdict_that_does_not() {
    let (world, all) = entries(None);
    let ran = monitor(&world, &all, &[]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("4 of 4 verdicts made again"), "{}", ran.stdout);
    for (hidden, is_found) in [(0, true), (1, false), (2, true), (3, true)] {
        let (world, all) = entries(Some(hidden));
        assert_eq!(monitor(&world, &all, &[]).code, i32::from(is_found), "{hidden}");
    }
    let mut forged = all;
    let text = String::from_utf8(forged[9].clone()).expect("text").replace("\"sig\":\"", "\"sig\":\"AAAA");
    forged[9] = text.into_bytes();
    assert_eq!(monitor(&world, &forged, &[]).code, 1);
}

#[test]
fn what_is_declared_by_command_is_signed_with_the_key_handed_in_and_refused_by_name() {
    let world = world();
    let digest = world.artifact.digest.to_string();
    let made = world.run(&["declare", "key", "my.key"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    assert_eq!(world.run(&["declare", "key", "my.key"]).code, 2, "no key is overwritten");
    let advisory = ["declare", "advisory", "--digest", &digest, "--id", "A-9", "--reason", "a backdoor", "--key", "my.key"];
    let ran = world.run(&[&advisory[..], &["-o", "advisory"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let declared = VerifiedDeclaration::verify(&std::fs::read(world.path("advisory")).expect("written")).expect("signed");
    assert_eq!(format!("{}\n", declared.signer()), made.stdout);
    assert_eq!((declared.declaration().kind(), declared.declaration().reason()), ("advisory", "a backdoor"));

    let answering = |answer| serve(BTreeMap::from([("/api/v1/declarations".to_owned(), answer)]));
    let taken = answering(reply(&json!({"outcome": "accepted", "digest": declared.digest(), "logIndex": 12})));
    let ran = world.run(&["declare", "submit", "advisory", "--server", &taken, "--format", "json"]);
    let json = ran.json();
    assert_eq!((ran.code, &json["logIndex"], &json["digest"]), (0, &json!(12), &json!(declared.digest())), "{}", ran.stderr);
    let refused = answering(Reply::Refused(403, json!({"error": "unknown-signer", "hint": "nobody has this key"}).to_string()));
    let ran = world.run(&[&advisory[..], &["--server", &refused]].concat());
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(
        ran.stderr.contains("refuses it as `unknown-signer`: nobody has this key") && ran.stderr.contains("[[person]]"),
        "{}",
        ran.stderr
    );

    let node = world.members[0].node().to_string();
    for arguments in [
        &["declare", "revocation", "--reason", "r", "--key", "my.key"][..],
        &["declare", "revocation", "--node", &node, "--all-nodes", "--reason", "r", "--key", "my.key"],
        &["declare", "advisory", "--package", "pkg:pypi/Click_", "--id", "A", "--reason", "r", "--key", "my.key"],
        &[
            "declare",
            "vouch",
            "--digest",
            &digest,
            "--rebuilt",
            "x",
            "--until",
            "2027-01-01T00:00:00Z",
            "--id",
            "V",
            "--reason",
            "r",
            "--key",
            "my.key",
        ],
        &["declare", "retraction", "--statement", &digest, "--reason", "two\nlines", "--key", "my.key", "-o", "x"],
        &["declare", "submit", "my.key", "--server", &taken],
    ] {
        assert_eq!(world.run(arguments).code, 2, "{arguments:?}");
    }
    let revocation = ["declare", "revocation", "--node", &node, "--since", "7", "--reason", "r", "--key", "my.key", "-o", "revocation"];
    assert_eq!(world.run(&revocation).code, 0);
    #[cfg(unix)]
    {
        std::fs::set_permissions(world.path("my.key"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("mine");
        let ran = world.run(&revocation);
        assert!(ran.code == 2 && ran.stderr.contains("others than its owner may read it"), "{}", ran.stderr);
    }
}
