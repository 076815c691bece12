//! Bundles: made once, verified for ever without a server.

use std::process::{Command, Stdio};

use quorate_proto::Digest;
use quorate_proto::bundle::{BUNDLE_BYTES_MAX, Bundle};
use quorate_tally::{State, Verdict};
use quorate_tests::{Member, SIGNED_AT, artifact, different, identical, left};
use quorate_tlog::{Cosigner, TlogProof};

use crate::web::Reply;
use crate::world::{CONTENT, World, log, prove, sign};

fn reproduced() -> World {
    let click = artifact("click", "8.1.8", CONTENT);
    World::with([identical(&click), identical(&click), identical(&click), identical(&click), identical(&click)])
}

#[test]
fn a_bundle_is_verified_before_it_is_written_and_needs_no_server_afterwards() {
    let world = reproduced();
    let output = world.path("click.bundle");
    let verdict = sign(&world.verdict(&world.policy_with_log()));
    let made = world.ask_logged(world.routes_saying(&verdict), &["bundle", &world.wheel(), "-o", &output]);
    assert_eq!(made.code, 0, "{}{}", made.stdout, made.stderr);
    let bytes = std::fs::read(&output).expect("written");
    assert!(bytes.len() < 24 * 1024, "{} bytes", bytes.len());
    let ran = world.run(&["verify", "--bundle", &output, &world.wheel(), "--policy", &world.path("logged.toml")]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.first(), "reproduced  5 of 5 operators rebuilt the published bytes, threshold 3, log index 1");
}

#[test]
fn a_bundle_that_does_not_hold_is_not_written() {
    let world = reproduced();
    let honest = world.verdict(&world.policy_with_log());
    let lie = sign(&Verdict { state: State::Suspect, ..honest.clone() });
    let mut lacking = reproduced();
    lacking.items.truncate(4);
    let bad_proof = Bundle { proof: prove(b"another leaf", &log(crate::world::ORIGIN, 7)), ..world.bundle() };
    for (bundle, said) in [
        (world.bundle_of(&lie), "its verdict does not follow from its results"),
        (lacking.bundle_of(&sign(&honest)), "it lacks results"),
        (bad_proof, "its proof of logging does not hold"),
        (world.bundle_of("{}"), "its verdict cannot be used"),
    ] {
        let mut routes = world.routes_saying(&sign(&honest));
        routes.insert(format!("/api/v1/artifacts/{}/bundle", world.artifact.digest), Reply::Bytes(bundle.to_bytes()));
        let ran = world.ask_logged(routes, &["bundle", &world.wheel(), "-o", &world.path("bad.bundle")]);
        assert_eq!(ran.code, 1, "{said}: {}", ran.stdout);
        assert!(ran.stdout.contains(said), "{said}: {}", ran.stdout);
        assert!(!std::path::Path::new(&world.path("bad.bundle")).exists());
    }
}

/// Three that built, two of whom bear each other out; nobody committed. The policies ask for witnessed votes.
fn witnessed() -> World {
    let mut world = World::new();
    let click = world.artifact.clone();
    world.items = world.members[..3].iter_mut().map(|member| member.builds(&click, identical(&click), &left(1))).collect();
    let pairs = [(0, 1), (1, 0), (2, 0)];
    world.checks = pairs.map(|(whose, by): (usize, usize)| world.members[by].checks(&world.items[whose], &left(1))).to_vec();
    for name in ["policy.toml", "logged.toml"] {
        let text = std::fs::read_to_string(world.path(name)).expect("written");
        world.file(name, text.replacen("threshold = 3\n", "threshold = 3\ngrades = [\"blind\", \"witnessed\"]\n", 1).as_bytes());
    }
    world
}

#[test]
fn a_bundle_carries_the_checks_that_grades_rest_on_and_without_them_it_proves_less() {
    let world = witnessed();
    let policy = std::fs::read_to_string(world.path("logged.toml")).expect("written");
    let verdict = world.verdict(&policy);
    assert!(verdict.votes[..3].iter().all(|vote| vote.checks.len() == 1));
    let ran = world.ask_logged(world.routes_saying(&sign(&verdict)), &["bundle", &world.wheel(), "-o", &world.path("click.bundle")]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let bundle = Bundle::parse(&std::fs::read(world.path("click.bundle")).expect("written")).expect("a bundle");
    let ran = world.check_bundle(&bundle.to_bytes());
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let ran = world.ask(
        world.routes_saying(&sign(&world.verdict(&std::fs::read_to_string(world.path("policy.toml")).expect("written")))),
        &["verify", &world.wheel()],
    );
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);

    // One that the verdict does not name may be missing: a slot that is too large for a bundle is handed out without.
    let mut more = witnessed();
    more.checks.extend([0, 1, 2].map(|_| more.members[1].checks(&more.items[0], &left(1))));
    let verdict_of_more = more.verdict(&policy);
    let named = verdict_of_more.rests_on();
    let mut bundle_of_more = more.bundle_of(&sign(&verdict_of_more));
    bundle_of_more.checks.retain(|item| named.contains(&Digest::of(item.envelope.as_bytes())));
    assert_eq!((more.checks.len(), bundle_of_more.checks.len()), (6, 3));
    let ran = more.check_bundle(&bundle_of_more.to_bytes());
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);

    let mut lacking = bundle.clone();
    lacking.checks.pop();
    let ran = world.check_bundle(&lacking.to_bytes());
    assert_eq!(ran.code, 3, "{}{}", ran.stdout, ran.stderr);
    // A verdict that claims the grade and names no check.
    let mut claimed = verdict.clone();
    claimed.votes[2].checks.clear();
    let ran = world.check_bundle(&world.bundle_of(&sign(&claimed)).to_bytes());
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    // Somebody else's check in the place of the one that is missing: of another build.
    let mut world = witnessed();
    world.checks[2] = world.members[4].checks(&world.items[2], &left(2));
    let ran = world.check_bundle(&world.bundle_of(&sign(&world.verdict(&policy))).to_bytes());
    assert_eq!(ran.code, 3, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("follower: operator-2"), "{}", ran.stdout);
}

#[test]
fn evidence_against_an_artifact_is_kept_like_evidence_for_it() {
    let world = World::with([different("other", "m"), different("other", "m"), different("other", "m")]);
    let verdict = sign(&world.verdict(&world.policy_with_log()));
    let output = world.path("suspect.bundle");
    let ran = world.ask_logged(world.routes_saying(&verdict), &["bundle", &world.wheel(), "-o", &output]);
    assert_eq!(ran.code, 1);
    assert!(world.check_bundle(&std::fs::read(&output).expect("written")).first().starts_with("suspect"));
}

#[test]
fn a_forged_verdict_in_a_bundle_changes_no_outcome_for_the_better() {
    let click = artifact("click", "8.1.8", CONTENT);
    let world = World::with([identical(&click), different("x", "m"), different("x", "m"), different("x", "m")]);
    let honest = world.verdict(&world.policy_with_log());
    let forged = sign(&Verdict { state: State::Reproduced, agree: 4, differ: 0, ..honest });
    let ran = world.check_bundle(&world.bundle_of(&forged).to_bytes());
    assert_eq!(ran.code, 1);
    assert!(ran.first().starts_with("suspect"), "{}", ran.stdout);
    assert!(ran.stdout.contains("DISAGREES: says `reproduced`"), "{}", ran.stdout);
}

#[test]
fn dissent_whose_certificates_were_spoilt_on_the_way_is_dissent_withheld() {
    let click = artifact("click", "8.1.8", CONTENT);
    let mut world = World::with([identical(&click), identical(&click), different("other", "m"), different("other", "m")]);
    // The coordinator asks for three; to the reader, who asks for two, it is contested.
    let bundle = world.bundle();
    world.file("logged.toml", world.policy_with_log().replacen("threshold = 3", "threshold = 2", 1).as_bytes());
    assert!(world.check_bundle(&bundle.to_bytes()).first().starts_with("contested"));
    let stranger = Member::new(77).certifies(&world.members[2]);
    let expired = Member::with_validity(3, 0, SIGNED_AT - 2000, SIGNED_AT - 1000).certificate().to_vec();
    for certificate in [b"{}".to_vec(), bundle.results[0].certificate.clone().into_bytes(), stranger, expired] {
        let mut spoilt = bundle.clone();
        for dissent in &mut spoilt.results[2..] {
            dissent.certificate = String::from_utf8(certificate.clone()).expect("text");
        }
        let ran = world.check_bundle(&spoilt.to_bytes());
        assert_eq!(ran.code, 3, "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("resting on 2 results not handed over"), "{}", ran.stdout);
        // Beside good copies it takes nothing away.
        spoilt.results.extend(bundle.results.clone());
        assert!(world.check_bundle(&spoilt.to_bytes()).first().starts_with("contested"));
    }
    // What becomes of the words of those who do not count is nobody's concern.
    world.members.truncate(2);
    world.file("logged.toml", world.policy_with_log().replacen("threshold = 3", "threshold = 2", 1).as_bytes());
    let mut spoilt = bundle;
    spoilt.results[3].certificate = "{}".to_owned();
    let ran = world.check_bundle(&spoilt.to_bytes());
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn a_verdict_about_another_artifact_is_no_verdict() {
    let world = reproduced();
    let mut other = reproduced();
    other.artifact.digest = Digest::of(b"other");
    let about_other = sign(&other.verdict(&world.policy_with_log()));
    let ran = world.check_bundle(&world.bundle_of(&about_other).to_bytes());
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    assert!(ran.stdout.contains("its verdict cannot be used: it is about"), "{}", ran.stdout);
}

#[test]
fn a_bundle_about_another_file_violates() {
    let world = reproduced();
    let bundle = world.file("click.bundle", &world.bundle().to_bytes()).display().to_string();
    let other = world.file("other.whl", b"other bytes").display().to_string();
    for target in [other.as_str(), "pkg:pypi/flask@1.0"] {
        let ran = world.run(&["verify", "--bundle", &bundle, target, "--policy", &world.path("logged.toml")]);
        assert_eq!(ran.code, 1, "{}", ran.stdout);
        assert!(ran.stderr.contains("the bundle is about something else"), "{}", ran.stderr);
    }
}

#[test]
fn results_of_a_bundle_that_were_tampered_with_are_refused() {
    let world = reproduced();
    let mut bundle = world.bundle();
    for item in &mut bundle.results {
        item.envelope = item.envelope.replace("\"sig\":\"", "\"sig\":\"AAAA");
    }
    let ran = world.check_bundle(&bundle.to_bytes());
    assert_eq!(ran.code, 3);
    assert!(ran.first().starts_with("pending  0 agree"), "{}", ran.stdout);
    assert!(ran.stdout.contains("5 malformed-envelope"), "{}", ran.stdout);
}

#[test]
fn truncated_oversized_and_garbage_bundles_are_refused_by_name() {
    let world = reproduced();
    let good = world.bundle().to_bytes();
    let other_format = String::from_utf8(good.clone()).expect("UTF-8").replace("quorate-bundle/v1", "quorate-bundle/v9");
    let extra_field = String::from_utf8(good.clone()).expect("UTF-8").replacen('{', "{\"trustMe\":true,", 1);
    for (bytes, said) in [
        (good[..good.len() / 2].to_vec(), "malformed bundle"),
        (Vec::new(), "malformed bundle"),
        (b"\x00\xff\xfegarbage".to_vec(), "malformed bundle"),
        (vec![b' '; BUNDLE_BYTES_MAX + 1], "limit 16777216"),
        (other_format.into_bytes(), "expected `quorate-bundle/v1`"),
        (extra_field.into_bytes(), "malformed bundle"),
    ] {
        let ran = world.check_bundle(&bytes);
        assert_eq!(ran.code, 2, "{said}: {}", ran.stdout);
        assert_eq!(ran.stdout, "");
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
}

#[test]
fn every_truncation_of_a_bundle_is_refused() {
    let bundle = reproduced().bundle().to_bytes();
    for cut in (0..bundle.len()).step_by(97) {
        assert!(Bundle::parse(&bundle[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn an_unwritable_place_is_a_failure_and_leaves_nothing_behind() {
    let world = reproduced();
    let verdict = sign(&world.verdict(&world.policy_with_log()));
    let ran = world.ask_logged(world.routes_saying(&verdict), &["bundle", &world.wheel(), "-o", &world.path("no/such/folder/x")]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("writing"), "{}", ran.stderr);
}

/// The script of the specification, which uses nothing of ours.
fn foreign_verifier() -> Option<String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/bundle.md")).expect("the page");
    let script = page.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a script in the page");
    let tools = ["jq --version", "openssl version", "xxd -v"];
    let present = tools.iter().all(|tool| {
        let tried = Command::new("sh").args(["-c", tool]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    });
    present.then(|| script.to_owned())
}

#[test]
fn other_peoples_tools_accept_our_bundles_and_refuse_forged_ones() {
    let Some(script) = foreign_verifier() else {
        eprintln!("skipped: jq, openssl and xxd are needed");
        return;
    };
    let world = reproduced();
    let key = log(crate::world::ORIGIN, 7).verifier().to_string();
    let run = |bundle: &Bundle, key: &str| {
        let path = world.file("foreign.bundle", &bundle.to_bytes());
        Command::new("sh").arg("-c").arg(&script).arg("check").arg(path).arg(key).output().expect("sh runs")
    };
    let good = run(&world.bundle(), &key);
    let output = String::from_utf8_lossy(&good.stdout).into_owned();
    assert!(good.status.success(), "{output}{}", String::from_utf8_lossy(&good.stderr));
    assert_eq!(output.matches(&format!(" identical {}", world.artifact.digest.to_hex())).count(), 5, "{output}");
    assert!(output.contains("verdict logged at index 1 of quorate.example/log"), "{output}");

    let other_leaf = Bundle { proof: prove(b"another leaf", &log(crate::world::ORIGIN, 7)), ..world.bundle() };
    let mut tampered = world.bundle();
    tampered.results[2].envelope = tampered.results[1].envelope.clone();
    assert!(!run(&other_leaf, &key).status.success());
    assert!(!run(&tampered, &key).status.success());
    assert!(!run(&world.bundle(), &log(crate::world::ORIGIN, 8).verifier().to_string()).status.success());
}

/// A policy that asks for two of three witnesses.
fn policy_with_witnesses(world: &World) -> String {
    let witness = |n: u8| format!("witness w{n} {}\n", cosigner(n).verifier());
    let witnesses = format!("{}{}{}group two 2 w1 w2 w3\nquorum two\n", witness(1), witness(2), witness(3));
    format!("{}witnesses = '''\n{witnesses}'''\n", world.policy_with_log())
}

fn cosigner(n: u8) -> Cosigner {
    Cosigner::from_seed(format!("witness.example/w{n}").parse().expect("a name"), &[60 + n; 32])
}

/// The bundle with cosignatures of these witnesses.
fn cosigned(bundle: &Bundle, by: &[u8]) -> Bundle {
    let proof = TlogProof::parse(bundle.proof.as_bytes()).expect("a proof");
    let text = proof.checkpoint().unverified_text().to_owned();
    let line = |n: &u8| cosigner(*n).cosign(&text, 1_700_000_000).expect("a time");
    let note = by.iter().fold(proof.checkpoint().clone(), |note, n| note.with_signature(line(n)).expect("room"));
    Bundle { proof: TlogProof::new(proof.inclusion().clone(), note).expect("a proof").to_string(), ..bundle.clone() }
}

#[test]
fn a_bundle_needs_the_cosignatures_that_the_policy_asks_for_and_it_is_said_who_lacks() {
    let world = reproduced();
    let policy = policy_with_witnesses(&world);
    world.file("witnessed.toml", policy.as_bytes());
    let plain = world.bundle_of(&sign(&world.verdict(&policy)));
    let check = |bundle: &Bundle, arguments: &[&str]| {
        let path = world.file("some.bundle", &bundle.to_bytes()).display().to_string();
        let policy = world.path("witnessed.toml");
        world.run(&[&["verify", "--bundle", &path, "--policy", &policy], arguments].concat())
    };
    for by in [&[1, 2][..], &[3, 1], &[1, 9, 2, 3]] {
        let ran = check(&cosigned(&plain, by), &[]);
        assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
        assert!(ran.first().contains("log index 1, cosigned by w1"), "{}", ran.stdout);
    }
    for (by, said) in
        [(&[][..], "cosigned by nobody, not by w1, w2, w3"), (&[2], "cosigned by w2, not by w1, w3"), (&[2, 8, 9], "cosigned by w2")]
    {
        let ran = check(&cosigned(&plain, by), &[]);
        assert_eq!(ran.code, 3, "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains(said), "{}", ran.stdout);
    }
    let log = check(&cosigned(&plain, &[2]), &["--format", "json"]).json()["artifacts"][0]["log"].clone();
    assert_eq!(log["witnesses"], serde_json::json!({"met": false, "cosigned": ["w2"], "lacking": ["w1", "w3"]}));

    // A cosignature that was made for something else is no small matter.
    let other = cosigner(1).cosign("another text\n", 1).expect("a time");
    let forged = cosigned(&plain, &[2, 3]);
    let ran = check(&Bundle { proof: format!("{}{other}\n", forged.proof), ..forged }, &[]);
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    assert!(ran.stdout.contains("signature of witness.example/w1"), "{}", ran.stdout);
}

#[test]
fn a_policy_whose_witnesses_cannot_be_read_is_refused() {
    let world = reproduced();
    let policy = policy_with_witnesses(&world).replace("group two 2", "group two 4");
    world.file("witnessed.toml", policy.as_bytes());
    let bundle = world.file("some.bundle", &world.bundle().to_bytes()).display().to_string();
    let ran = world.run(&["verify", "--bundle", &bundle, "--policy", &world.path("witnessed.toml")]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("log.witnesses") && ran.stderr.contains("threshold"), "{}", ran.stderr);
}
