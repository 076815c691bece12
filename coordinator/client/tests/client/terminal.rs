//! The command as a citizen of a shell: misuse, policies, pipes, colours.

use std::process::Stdio;

use quorate_tests::identical;

use crate::world::{World, log};

fn reproduced() -> World {
    let same = identical(&World::new().artifact);
    World::with([same.clone(), same.clone(), same])
}

#[test]
fn misuse_ends_with_2_and_says_what_to_do() {
    let world = World::new();
    let policy = world.path("policy.toml");
    for (arguments, said) in [
        (vec!["verify"], "required"),
        (vec!["verify", "x", "--format", "xml"], "xml"),
        (vec!["frobnicate"], "frobnicate"),
        (vec!["verify", "x"], "hint: a policy says whose results you count"),
        (vec!["verify", "x", "--policy", "/nonexistent"], "cannot be read"),
        (vec!["verify", "x", "--policy", &policy], "hint: name a coordinator"),
        (vec!["verify", "x", "--policy", &policy, "--server", "ftp://x"], "no http or https address"),
        (vec!["verify", "missing.whl", "--policy", &policy, "--server", "http://127.0.0.1:9"], "missing.whl"),
        (vec!["verify", "sha256:12", "--policy", &policy, "--server", "http://127.0.0.1:9"], "malformed digest"),
        (vec!["verify", "pkg:", "--policy", &policy, "--server", "http://127.0.0.1:9"], "package URL"),
        (vec!["verify", "--bundle", "missing.bundle", "--policy", &policy], "missing.bundle"),
    ] {
        let ran = world.run(&arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "{arguments:?}");
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
}

#[test]
fn a_server_that_is_not_there_is_a_failure() {
    let world = World::new();
    let wheel = world.wheel();
    let ran = world.run(&["verify", &wheel, "--policy", &world.path("policy.toml"), "--server", "http://127.0.0.1:1"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("no answer from http://127.0.0.1:1/") && ran.stderr.contains("hint:"), "{}", ran.stderr);
}

#[test]
fn a_policy_that_could_mislead_is_refused() {
    let world = World::new();
    let other_key = log("other.example/log", 7).verifier().to_string();
    for (text, said) in [
        ("version = 1\n".to_owned(), "malformed policy"),
        (format!("{}\n[log]\norigin = \"quorate.example/log\"\nkey = \"{other_key}\"\n", world.policy()), "speaks for `other.example/log`"),
        (format!("{}\n[log]\norigin = \"x\"\nkey = \"x+00000000+AAAA\"\n", world.policy()), "no verifier key"),
        (format!("{}\n[alow]\n", world.policy()), "malformed policy"),
        ("#".repeat(300_000), "limit 262144"),
    ] {
        let path = world.file("bad.toml", text.as_bytes()).display().to_string();
        let ran = world.run(&["verify", &world.wheel(), "--policy", &path, "--server", "http://127.0.0.1:9"]);
        assert_eq!(ran.code, 2);
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
}

#[test]
fn policy_and_server_come_from_the_environment_and_the_usual_place() {
    let world = reproduced();
    let server = crate::web::serve(world.routes());
    let by_environment =
        world.command(&["verify", &world.wheel()]).env("QUORATE_POLICY", world.path("policy.toml")).env("QUORATE_SERVER", &server).output();
    assert_eq!(by_environment.expect("runs").status.code(), Some(0));
    std::fs::create_dir_all(world.path(".config/quorate")).expect("made");
    std::fs::copy(world.path("policy.toml"), world.path(".config/quorate/policy.toml")).expect("copied");
    let by_place = world.command(&["verify", &world.wheel(), "--server", &server]).output();
    assert_eq!(by_place.expect("runs").status.code(), Some(0));
}

#[test]
fn a_reader_that_goes_away_changes_neither_outcome_nor_noise() {
    let world = reproduced();
    let bundle = world.file("click.bundle", &world.bundle().to_bytes()).display().to_string();
    let policy = world.path("logged.toml");
    let mut child = world
        .command(&["verify", "--bundle", &bundle, "--policy", &policy, "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_proxy_of_the_environment_is_not_asked_for_loopback() {
    let world = reproduced();
    let server = crate::web::serve(world.routes());
    let output = world
        .command(&["verify", &world.wheel(), "--policy", &world.path("policy.toml"), "--server", &server])
        .env("http_proxy", "http://127.0.0.1:1")
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .output();
    assert_eq!(output.expect("runs").status.code(), Some(0));
}

#[test]
fn a_machine_without_ca_certificates_can_use_plain_http_and_is_told_about_https() {
    let world = reproduced();
    let server = crate::web::serve(world.routes());
    let (wheel, policy) = (world.wheel(), world.path("policy.toml"));
    let ask = |server: &str| {
        let mut command = world.command(&["verify", &wheel, "--policy", &policy, "--server", server]);
        command.env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent").output().expect("runs")
    };
    assert_eq!(ask(&server).status.code(), Some(0));
    let https = ask("https://127.0.0.1:1");
    assert_eq!(https.status.code(), Some(2));
    let said = String::from_utf8_lossy(&https.stderr).into_owned();
    assert!(said.contains("ca-certificates"), "{said}");
}

#[test]
fn a_pipe_gets_no_colours() {
    let world = reproduced();
    let ran = world.ask(world.routes(), &["explain", &world.wheel()]);
    assert!(!ran.stdout.contains('\u{1b}'));
}

#[test]
fn help_is_success() {
    let ran = World::new().run(&["--help"]);
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.contains("Exit codes"), "{}", ran.stdout);
}
