//! Golden vectors of build witnesses: what a stranger's implementation must compute from the files that its build
//! left, and what it must refuse.
//!
//! A changed vector is a protocol change. `QUORATE_UPDATE_VECTORS=1` writes them anew.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;

use quorate_proto::build_witness::{Intermediate, Intermediates, Salt};
use quorate_proto::dsse::Envelope;
use quorate_proto::result::RebuildResult;
use quorate_proto::verified::{FeedItem, VerifiedStatement};
use quorate_proto::{ArtifactId, Digest, TaskId};
use quorate_tests::{Member, artifact, failed, identical};
use serde_json::{Value, json};

fn check(vectors: &Value) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/build-witness.json");
    let text = format!("{}\n", serde_json::to_string_pretty(vectors).unwrap());
    if std::env::var_os("QUORATE_UPDATE_VECTORS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "build-witness.json has changed: that is a protocol change");
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
    check(&json!({
        "description": "files that a build left, a node's build witness of them for a task, and results that carry one",
        "node": member.node(),
        "package": click.slot.package,
        "file": click.slot.file,
        "task": task,
        "files": files,
        "witness": witness,
        "results": rows,
    }));
}
