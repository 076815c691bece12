//! Golden vectors of build witnesses: what a stranger's implementation must compute from the files that its build
//! left, and what it must refuse.
//!
//! A changed vector is a protocol change. `QUORATE_UPDATE_VECTORS=1` writes them anew.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;

use quorate_proto::build_witness::{Agreement, Intermediate, Intermediates, Salt};
use quorate_proto::dsse::Envelope;
use quorate_proto::entry::VerifiedEntry;
use quorate_proto::result::{Environment, EnvironmentClass, RebuildResult};
use quorate_proto::verified::{FeedItem, VerifiedStatement};
use quorate_proto::witness_check::{Claim, WitnessCheck};
use quorate_proto::{ArtifactId, Digest, TaskId, Timestamp};
use quorate_tests::{Member, SIGNED_AT, artifact, failed, identical};
use serde_json::{Value, json};

fn check(name: &str, vectors: &Value) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name);
    let text = format!("{}\n", serde_json::to_string_pretty(vectors).unwrap());
    if std::env::var_os("QUORATE_UPDATE_VECTORS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{name} has changed: that is a protocol change");
}

fn files() -> Vec<(String, Digest)> {
    (0..24).map(|n| (format!("src/build/{n}.o"), Digest::of(format!("object {n}").as_bytes()))).collect()
}

fn left() -> Intermediates {
    Intermediates::new(files().iter().map(|(path, content)| Intermediate::of(path.as_bytes(), content))).unwrap()
}

fn witnessed(member: &Member, artifact: &ArtifactId) -> RebuildResult {
    let salt = Salt::of(&member.node(), &TaskId::of(&artifact.slot));
    RebuildResult { build_witness: Some(left().witness(&salt)), ..member.result(artifact, identical(artifact), member.position()) }
}

#[test]
fn witnesses_and_what_is_refused() {
    let (member, click) = (Member::new(1), artifact("click", "8.1.8", b"click"));
    let task = TaskId::of(&click.slot);
    let result = witnessed(&member, &click);
    let witness = result.build_witness.clone().unwrap();
    let item = member.sign(&click, result.clone());
    let payload = String::from_utf8(Envelope::parse(&item.envelope, 1 << 20).unwrap().payload().to_vec()).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(payload.contains(from), "{from}");
        let envelope = Envelope::sign(payload.replacen(from, to, 1).into_bytes(), member.key());
        FeedItem { certificate: member.certificate().to_vec(), envelope: envelope.bytes().to_vec() }
    };
    let nothing = json!({ "buckets": vec![Value::Null; 16] }).to_string();
    let rows = [
        ("a result with a build witness", "accepted", item.clone()),
        ("fifteen buckets", "malformed-statement", changed("null,", "")),
        ("seventeen buckets", "malformed-statement", changed("null,", "null,null,")),
        ("a member that no bucket has", "malformed-statement", changed("{\"members\":", "{\"paths\":[],\"members\":")),
        ("an empty bucket that is not written as one", "contradiction", changed("{\"members\":1,", "{\"members\":0,")),
        ("more intermediates than there may be", "contradiction", changed("{\"members\":1,", "{\"members\":65537,")),
        ("a witness of nothing", "contradiction", changed(&serde_json::to_string(&witness).unwrap(), &nothing)),
        ("a witness of what was not rebuilt", "contradiction", member.sign(&click, RebuildResult { outcome: failed(), ..result.clone() })),
    ];
    let enrolled = [member.operator()].into();
    let rows = rows.map(|(what, expected, item)| {
        let got = VerifiedStatement::verify_item(&item, &enrolled).map_or_else(|refused| refused.name(), |_| "accepted");
        assert_eq!(got, expected, "{what}");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        json!({ "what": what, "expected": expected, "certificate": text(&item.certificate), "envelope": text(&item.envelope) })
    });
    let files: Vec<Value> = files()
        .iter()
        .map(|(path, content)| json!({ "path": path, "content": content, "intermediate": Intermediate::of(path.as_bytes(), content).digest() }))
        .collect();
    let vectors = json!({
        "description": "files that a build left, a node's build witness of them for a task, and results that carry one",
        "node": member.node(),
        "package": click.slot.package,
        "file": click.slot.file,
        "task": task,
        "files": files,
        "witness": witness,
        "results": rows,
    });
    check("build-witness.json", &vectors);
}

/// What `checker` says of `item`, another member's result.
fn checked(checker: &Member, item: &FeedItem, enrolled: &Member, own: &Intermediates) -> WitnessCheck {
    let result = VerifiedStatement::verify_item(item, &[enrolled.operator()].into()).unwrap();
    let claim = Claim::of(&result).unwrap();
    let agreement = claim.agreement(own);
    claim.into_statement(agreement, checker.operator(), checker.position(), Timestamp::from_unix_seconds(SIGNED_AT)).predicate
}

fn signed(checker: &Member, check: &WitnessCheck) -> FeedItem {
    let claim =
        Claim { slot: check.slot(), environment: check.environment, checked: check.checked, witness: left().witness(&Salt::nobody()) };
    let mut statement = claim.into_statement(check.agreement, check.operator, check.feed, check.signed_at);
    statement.predicate = check.clone();
    let envelope = Envelope::sign(statement.to_payload(), checker.key());
    FeedItem { certificate: checker.certificate().to_vec(), envelope: envelope.bytes().to_vec() }
}

#[test]
fn checks_and_what_is_refused() {
    let (builder, checker, click) = (Member::new(1), Member::new(2), artifact("click", "8.1.8", b"click"));
    let item = builder.sign(&click, witnessed(&builder, &click));
    let good = checked(&checker, &item, &builder, &left());
    assert_eq!(good.agreement.matched, good.agreement.compared);
    let with = |change: &dyn Fn(&mut WitnessCheck)| {
        let mut check = good.clone();
        change(&mut check);
        signed(&checker, &check)
    };
    let half_a_second = Timestamp::from_unix_seconds(SIGNED_AT).plus(std::time::Duration::from_millis(500));
    let rows = [
        ("a check that confirms", "accepted", signed(&checker, &good)),
        ("a check that confirms nothing", "accepted", with(&|check| check.agreement.matched = 0)),
        ("more matched than was compared", "contradiction", with(&|check| check.agreement.compared = check.agreement.matched - 1)),
        ("nothing compared", "contradiction", with(&|check| check.agreement = Agreement { matched: 0, compared: 0 })),
        ("more buckets than there are", "contradiction", with(&|check| check.agreement.compared = 17)),
        ("a result of the checker's own operator", "contradiction", with(&|check| check.checked.operator = check.operator)),
        ("another result than the subject", "contradiction", {
            let other = signed(&checker, &good);
            let payload = String::from_utf8(Envelope::parse(&other.envelope, 1 << 20).unwrap().payload().to_vec()).unwrap();
            let payload = payload.replacen(&good.checked.statement.to_hex(), &"0".repeat(64), 1);
            FeedItem { envelope: Envelope::sign(payload.into_bytes(), checker.key()).bytes().to_vec(), ..other }
        }),
        ("a fraction of a second", "contradiction", with(&|check| check.signed_at = half_a_second)),
        ("another operator's check", "foreign-operator", {
            let third = Member::new(3).operator();
            with(&move |check| check.operator = third)
        }),
    ];
    let enrolled = [builder.operator(), checker.operator()].into();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let rows = rows.map(|(what, expected, item)| {
        let got = VerifiedEntry::verify_item(&item, &enrolled).map_or_else(|refused| refused.name(), |_| "accepted");
        assert_eq!(got, expected, "{what}");
        json!({ "what": what, "expected": expected, "certificate": text(&item.certificate), "envelope": text(&item.envelope) })
    });
    let vectors = json!({
        "description": "checks of the result `checked`, and what a reader says of them, with `enrolled` as the only operators",
        "enrolled": enrolled,
        "checked": { "certificate": text(&item.certificate), "envelope": text(&item.envelope) },
        "checks": rows,
    });
    check("witness-check.json", &vectors);
}

#[test]
fn a_check_bears_out_the_very_result_that_it_names_and_no_other() {
    let (mut builder, checker, thief) = (Member::new(1), Member::new(2), Member::new(3));
    let click = artifact("click", "8.1.8", b"click");
    let result = witnessed(&builder, &click);
    let item = builder.sign(&click, result.clone());
    let enrolled = [builder.operator(), checker.operator(), thief.operator()].into();
    let verified = |item: &FeedItem| VerifiedStatement::verify_item(item, &enrolled).unwrap();
    let good = checked(&checker, &item, &builder, &left());
    assert!(good.confirms(&verified(&item)));
    // The same words under another node's name: the thief's own result does not stand in the check, and a check of
    // the copied witness does not confirm.
    let stolen = RebuildResult { operator: thief.operator(), feed: thief.position(), ..result.clone() };
    let stolen = thief.sign(&click, stolen);
    assert!(!good.confirms(&verified(&stolen)));
    let of_stolen = checked(&checker, &stolen, &thief, &left());
    assert_eq!(of_stolen.agreement.matched, 0);
    assert!(!of_stolen.confirms(&verified(&stolen)));
    // The same builder's other results.
    let environment = Environment { class: EnvironmentClass::Rootfs, ..result.environment.clone() };
    let _ = builder.says(&click, identical(&click));
    for other in [RebuildResult { build_witness: None, ..result.clone() }, RebuildResult { environment, ..result }] {
        assert!(!good.confirms(&verified(&builder.sign(&click, other))));
    }
    assert!(!WitnessCheck { operator: builder.operator(), ..good }.confirms(&verified(&item)));
}
