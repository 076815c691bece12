//! `explain`: the whole picture on one screen, and nothing hostile in it.

use quorate_normalize::{Detail, MemberDifference};
use quorate_proto::comparison::{Anomaly, AnomalyKind, Difference, DifferenceClass, Executable, Side};
use quorate_proto::result::{Assist, DifferenceList, Outcome, Phase, RebuildResult, RebuiltFile, Tool};
use quorate_proto::{Digest, FileName};
use quorate_tests::{different, equivalent, identical};
use serde_json::json;

use crate::world::{World, blob, masked, pretty};

/// Three see a backdoor, one signs `identical` without building, one could not build.
fn suspect() -> (World, Vec<u8>) {
    let mut world = World::new();
    let difference = Difference {
        member: "click/_compat.py".to_owned(),
        class: DifferenceClass::Content,
        executable: Executable::Code,
        published: Some(Digest::of(b"bad")),
        rebuilt: Some(Digest::of(b"good")),
    };
    let diff = "--- published\n+++ rebuilt\n@@ -1,2 +1 @@\n-import \u{1b}[2Jsocket\n def f():\n".to_owned();
    let entry = MemberDifference { difference: difference.clone(), detail: Some(Detail::Diff(diff)) };
    let report = json!({"differences": [entry]}).to_string().into_bytes();
    let outcome = Outcome::Different {
        rebuilt: RebuiltFile { digest: Digest::of(b"rebuilt"), size_bytes: 98_000, normal: None },
        published_normal: None,
        differences: DifferenceList { count: 1, members: vec![difference], report: Some(Digest::of(&report)) },
    };
    let artifact = world.artifact.clone();
    for member in &world.members[..3] {
        let signed = RebuildResult {
            toolchain: vec![Tool { name: "flit-core".to_owned(), version: "3.9.0".to_owned(), digest: None }],
            assists: vec![Assist { name: "source-date-epoch".to_owned(), value: "1".to_owned(), reason: "times\u{202e}".to_owned() }],
            anomalies: vec![Anomaly {
                side: Side::Published,
                kind: AnomalyKind::TrailingData,
                member: None,
                detail: "12 bytes\u{1b}]0;owned\u{7}".to_owned(),
            }],
            violations: vec!["connect to 192.0.2.1".to_owned()],
            ..member.result(&artifact, outcome.clone(), member.position())
        };
        world.items.push(member.sign(&artifact, signed));
    }
    let liar = world.members[3].says(&artifact, identical(&artifact));
    let broken = world.members[4].says(&artifact, Outcome::BuildFailed { phase: Phase::Fetch, summary: "no\nnetwork".to_owned() });
    world.items.extend([liar, broken]);
    (world, report)
}

#[test]
fn the_whole_picture_stands_on_one_screen() {
    let (world, report) = suspect();
    let mut routes = world.routes();
    routes.extend([blob(&report)]);
    let ran = world.ask(routes, &["explain", &world.wheel()]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stdout.lines().count() <= 40);
    assert!(!ran.stdout.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{:?}", ran.stdout);
    insta::assert_snapshot!(masked(&ran.stdout), @r#"
    suspect  3 of 5 operators agree on another result than the published one, threshold 3, log index 1 (unchecked: the policy names no log)
      artifact     click-8.1.8-py3-none-any.whl of pkg:pypi/click@8.1.8, sha256:<hex>
      severity     high
      dissent      operator-3: identical

    votes
      operator-0, operator-1, operator-2: different, got sha256:<hex>
        source     git https://github.com/example/example <hex> (refs/tags/v1.0), found by tag
        toolchain  flit-core 3.9.0
        built on   host sha256:<hex>, quorate-node 0.1.0
        assist     source-date-epoch = 1 (times\u{202e})
        anomaly    published: trailing-data: 12 bytes\u{1b}]0;owned\u{7}
        violation  connect to 192.0.2.1
      operator-3: identical
        source     git https://github.com/example/example <hex> (refs/tags/v1.0), found by tag
        built on   host sha256:<hex>, quorate-node 0.1.0
      operator-4: not built (build-failed)
        source     git https://github.com/example/example <hex> (refs/tags/v1.0), found by tag
        stopped in fetch: no\nnetwork
        built on   host sha256:<hex>, quorate-node 0.1.0

    differences
      content         code  click/_compat.py  (operator-0, operator-1, operator-2)
        | --- published
        | +++ rebuilt
        | @@ -1,2 +1 @@
        | -import \u{1b}[2Jsocket
        |  def f():
    "#);
}

#[test]
fn a_report_with_another_digest_is_not_shown() {
    let (world, report) = suspect();
    let (path, _) = blob(&report);
    let forged = String::from_utf8(report).expect("UTF-8").replace("socket", "nothing");
    let mut routes = world.routes();
    routes.insert(path, crate::web::Reply::Bytes(forged.into_bytes()));
    let ran = world.ask(routes, &["explain", &world.wheel()]);
    assert!(!ran.stdout.contains("import"), "{}", ran.stdout);
    assert!(ran.stdout.contains("click/_compat.py"), "{}", ran.stdout);
}

#[test]
fn what_is_missing_for_a_quorum_is_named() {
    let world = World::new();
    let same = identical(&world.artifact);
    let world = World::with([same, equivalent()]);
    let ran = world.ask(world.routes(), &["explain", &format!("{}", world.artifact.digest)]);
    assert_eq!(ran.code, 3);
    assert!(
        ran.stdout.contains("1 more must agree with the registry; no result yet from operator-2, operator-3, operator-4"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("zip-times/1 (3 members, risk none)"), "{}", ran.stdout);
}

#[test]
fn the_json_has_every_result_and_difference() {
    let (world, report) = suspect();
    let mut routes = world.routes();
    routes.extend([blob(&report)]);
    let ran = world.ask(routes, &["explain", "--format", "json", "pkg:pypi/click@8.1.8"]);
    assert!(ran.stdout.chars().all(|c| c == '\n' || !c.is_control()), "escapes only");
    let answer = ran.json();
    let artifact = &answer["artifacts"][0];
    assert_eq!(answer["schemaVersion"], 1);
    assert_eq!(artifact["state"], "suspect");
    assert_eq!(artifact["results"].as_array().map(Vec::len), Some(5));
    assert_eq!(artifact["results"][0]["result"]["violations"][0], "connect to 192.0.2.1");
    insta::assert_snapshot!(masked(&pretty(&artifact["differences"])), @r#"
    [
      {
        "class": "content",
        "detail": {
          "diff": "--- published\n+++ rebuilt\n@@ -1,2 +1 @@\n-import \u001b[2Jsocket\n def f():\n"
        },
        "executable": "code",
        "member": "click/_compat.py",
        "operators": [
          "operator-0",
          "operator-1",
          "operator-2"
        ]
      }
    ]
    "#);
}

#[test]
fn a_member_name_cannot_pass_for_a_line_of_the_report() {
    let hostile = "evil.py\n  alpha: identical\u{1b}[1A";
    assert!(hostile.parse::<FileName>().is_err());
    let world = World::with([different("other", hostile), different("other", hostile), different("other", hostile)]);
    let ran = world.ask(world.routes(), &["explain", &world.wheel()]);
    assert!(ran.stdout.contains("evil.py\\n  alpha: identical\\u{1b}[1A"), "{}", ran.stdout);
}
