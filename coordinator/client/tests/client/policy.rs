//! What a policy is worth, how it comes to a verdict, and what would change under another.

use quorate_tests::{different, identical, policy};
use serde_json::json;

use crate::web::Reply;
use crate::world::World;

fn reproduced() -> World {
    let same = identical(&World::new().artifact);
    World::with([same.clone(), same.clone(), same, different("other", "m")])
}

/// With the list of all verdicts.
fn listed(world: &World) -> std::collections::BTreeMap<String, Reply> {
    let mut routes = world.routes();
    let page = json!({"verdicts": [world.artifact], "truncated": false});
    routes.insert("/api/v1/verdicts".to_owned(), Reply::Bytes(page.to_string().into_bytes()));
    routes
}

/// Keys are as long as they are.
fn masked(text: &str) -> String {
    text.split_inclusive(' ').map(|word| if word.starts_with("ed25519:") { "ed25519:<hex> " } else { word }).collect()
}

#[test]
fn the_doctor_needs_no_server_and_names_the_smallest_sets() {
    let world = World::new();
    let ran = world.run(&["policy", "doctor", "--policy", &world.path("policy.toml")]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    insta::assert_snapshot!(ran.stdout, @r"
    3 of 5 operators are enough for every package
      can fool it  3 operators
                   any 3 of (operator-0, operator-1, operator-2, operator-3, operator-4)
      can stall it 3 operators
                   any 3 of (operator-0, operator-1, operator-2, operator-3, operator-4)
    ");
    let json = world.run(&["policy", "doctor", "--format", "json", "--policy", &world.path("policy.toml")]).json();
    assert_eq!(json["rules"][0]["fool"]["sets"][0][0]["any"], 3);
    assert_eq!((&json["rules"][0]["stall"]["size"], &json["rules"][0]["stall"]["known"]), (&json!(3), &json!("all")));
}

#[test]
fn the_doctor_names_people_leaves_out_who_is_revoked_and_keeps_to_the_width_of_a_terminal() {
    let world = World::new();
    let key = quorate_proto::SecretKey::from_seed(&[60; 32]).signer_id();
    let more = format!("[[person]]\nname = \"p\"\nkey = \"{key}\"\nmay = [\"advise\", \"vouch\"]\n");
    let revoked = "[[revocation]]\noperator = \"operator-4\"\nreason = \"gone\"\n";
    let path = world.file("more.toml", format!("{}\n{more}{revoked}", world.policy()).as_bytes()).display().to_string();
    insta::assert_snapshot!(world.run(&["policy", "doctor", "--policy", &path]).stdout, @r"
    3 of 5 operators are enough for every package
      can fool it  3 operators
                   any 3 of (operator-0, operator-1, operator-2, operator-3)
      can stall it 2 operators
                   any 2 of (operator-0, operator-1, operator-2, operator-3)
      can excuse   what operators find different, each alone: p
      can condemn  anything, each alone: p
    ");
    let many: Vec<_> = (1..=30).map(quorate_tests::Member::new).collect();
    let many = world.file("many.toml", policy(20, &many).as_bytes()).display().to_string();
    let ran = world.run(&["policy", "doctor", "--policy", &many]);
    assert!(ran.code == 0 && ran.stdout.contains("any 20 of"), "{}", ran.stderr);
    assert!(ran.stdout.lines().all(|line| line.len() <= 100), "{}", ran.stdout);
}

#[test]
fn a_policy_that_one_operator_can_fool_is_a_finding() {
    let world = World::new();
    let weak = world.file("weak.toml", policy(1, &world.members).as_bytes()).display().to_string();
    let ran = world.run(&["policy", "doctor", "--policy", &weak]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("one operator alone can fool this policy"), "{}", ran.stderr);
}

#[test]
fn a_check_shows_every_step_from_the_results_to_the_exit_code() {
    let world = reproduced();
    let ran = world.ask(world.routes(), &["policy", "check", &world.wheel()]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let steps = ran.stdout.split_once("\n1. ").expect("steps").1;
    insta::assert_snapshot!(masked(steps), @r"
    the policy's rules for all packages

    2. what became of each result
       operator-0       ed25519:<hex> #0  identical            follower   counts
       operator-1       ed25519:<hex> #0  identical            follower   counts
       operator-2       ed25519:<hex> #0  identical            follower   counts
       operator-3       ed25519:<hex> #0  different            follower   counts

    3. what each operator says
       operator-0       identical
       operator-1       identical
       operator-2       identical
       operator-3       different, got sha256:d9298a10d1b0
       operator-4       no result

    4. the first state that applies
       no compromised            no advisory names it
       no contested              3 of 5 agree or are explained, threshold 3, and 1 of 5 share one other result, severity critical, threshold 3
       => reproduced             3 of 5 rebuilt the published bytes, threshold 3
          equivalent             3 of 5 rebuilt the published bytes or contents, threshold 3
          explained              3 of 5 agree, or differ as a vouch says, threshold 3
          suspect                1 of 5 share one other result, severity critical, threshold 3
          environment-dependent  4 of 5 built it, threshold 3; not a matter of environments
          unreproducible         1 of 5 got another result, threshold 3
          unbuildable            0 of 5 could not build it, threshold 3
          inconclusive           1 of 5 operators could still answer
          pending                what remains

    5. what that means
       reproduced: allow, so the policy is met
    ");
}

#[test]
fn a_check_of_a_bundle_asks_no_server() {
    let world = reproduced();
    let bundle = world.file("some.bundle", &world.bundle().to_bytes()).display().to_string();
    let ran = world.run(&["policy", "check", "--bundle", &bundle, "--format", "json", "--policy", &world.path("logged.toml")]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let artifact = &ran.json()["artifacts"][0];
    assert_eq!((&artifact["consequence"], &artifact["outcome"]), (&json!("allow"), &json!("met")));
    assert_eq!(artifact["results"].as_array().expect("a list").len(), 4);
    assert_eq!(
        artifact["states"][2],
        json!({"state": "reproduced", "applies": true, "because": "3 of 5 rebuilt the published bytes, threshold 3"})
    );
}

#[test]
fn without_an_operator_that_is_needed_the_policy_is_no_longer_met() {
    let world = reproduced();
    let ran = world.ask(listed(&world), &["what-if", "--without", "operator-0"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    insta::assert_snapshot!(ran.stdout, @r"
    reproduced -> pending  click-8.1.8-py3-none-any.whl of pkg:pypi/click@8.1.8
      today        met: 3 of 5 operators rebuilt the published bytes, threshold 3
      then         not-enough-evidence: 2 agree, 1 differ, 0 could not build; 3 of 5 operators have
                   answered, threshold 3
    1 of 1 artifact would change: 1 would no longer meet the policy, 0 would newly meet it
    ");
    let key = world.members[3].operator().to_string();
    let ran = world.ask(world.routes(), &["what-if", "--without", &key, &world.wheel()]);
    assert_eq!((ran.code, ran.first()), (0, "0 of 1 artifact would change: 0 would no longer meet the policy, 0 would newly meet it"));
}

#[test]
fn another_policy_is_held_against_todays() {
    let world = reproduced();
    let strict = world.file("strict.toml", policy(4, &world.members).as_bytes()).display().to_string();
    let server = crate::web::serve(listed(&world));
    let base = world.path("policy.toml");
    let ran = world.run(&["what-if", "--policy", &strict, "--base", &base, "--server", &server, "--format", "json"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let json = ran.json();
    assert_eq!((&json["lookedAt"], &json["changes"][0]["then"]["state"]), (&json!(1), &json!("pending")));
    for (arguments, said) in [
        (vec!["what-if", "--policy", &base, "--base", &base], "nothing would be otherwise"),
        (vec!["what-if", "--policy", &base, "--without", "nobody"], "no operator of the policy"),
    ] {
        let ran = world.run(&[arguments, vec!["--server", &server]].concat());
        assert_eq!(ran.code, 2);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
}

#[test]
fn what_a_policy_lets_pass_with_a_warning_passes_and_says_so() {
    let world = World::with([different("a", "m"), different("a", "m"), different("a", "m")]);
    let lenient = format!("{}\n[states]\nsuspect = \"warn\"\n", world.policy());
    let lenient = world.file("lenient.toml", lenient.as_bytes()).display().to_string();
    let server = crate::web::serve(world.routes());
    let ran = world.run(&["verify", &world.wheel(), "--policy", &lenient, "--server", &server]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("but          the policy lets `suspect` pass with a warning"), "{}", ran.stdout);
}

#[test]
fn the_log_and_the_witnesses_of_a_policy_are_written_as_a_tlog_policy() {
    let world = World::new();
    let log = crate::world::log(crate::world::ORIGIN, 7).verifier().to_string();
    let ran = world.run(&["policy", "tlog", "--policy", &world.path("logged.toml")]);
    assert_eq!((ran.code, ran.stdout), (0, format!("log {log}\nquorum none\n")));

    let cosigner = quorate_tlog::Cosigner::from_seed("witness.example/w1".parse().expect("a name"), &[61; 32]);
    let witnesses = format!("witness w1 {} https://w1.example/\nquorum w1\n", cosigner.verifier());
    let policy = format!("{}witnesses = '''\n{witnesses}'''\n", world.policy_with_log());
    let policy = world.file("witnessed.toml", policy.as_bytes()).display().to_string();
    let json = world.run(&["policy", "tlog", "--policy", &policy, "--format", "json"]).json();
    assert_eq!((&json["tlogPolicy"], &json["witnesses"]), (&json!(format!("log {log}\n{witnesses}")), &json!(1)));

    let output = world.path("tlog.policy");
    let ran = world.run(&["policy", "tlog", "--policy", &policy, "-o", &output]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
    assert_eq!(std::fs::read_to_string(&output).expect("written"), format!("log {log}\n{witnesses}"));
    assert_eq!(world.run(&["policy", "tlog", "--policy", &world.path("policy.toml")]).code, 2);
}
