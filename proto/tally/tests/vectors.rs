//! Golden vectors for the tally: policy and results in, verdict out.
//!
//! A changed vector is a protocol change. `QUORATE_UPDATE_VECTORS=1` writes them anew.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;

use quorate_proto::verified::{FeedItem, VerifiedStatement};
use quorate_tally::{Policy, tally};
use quorate_tests::{Member, artifact, different, equivalent, failed, identical, policy};
use serde_json::{Value, json};

#[test]
fn verdicts() {
    let click = artifact("click", "8.1.8", b"click");
    let rows: Vec<Value> = ["iiiii", "iie..", "aaaai", "aabbi", "fff..", "ii..."]
        .iter()
        .map(|row| {
            let mut members: Vec<Member> = (1..=5).map(Member::new).collect();
            let text = policy(3, &members);
            let rules = Policy::parse(&text).unwrap();
            let says = row.chars().zip(&mut members).filter_map(|(letter, member)| {
                let outcome = match letter {
                    'i' => identical(&click),
                    'e' => equivalent(),
                    'f' => failed(),
                    '.' => return None,
                    other => different(&other.to_string(), "click/evil.py"),
                };
                Some(member.says(&click, outcome))
            });
            let items: Vec<FeedItem> = says.collect();
            let statements: Vec<_> = items.iter().map(|item| VerifiedStatement::verify_item(item, rules.enrolled()).unwrap()).collect();
            let exact = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            json!({
                "policy": text,
                "artifact": click,
                "results": items.iter().map(|i| json!({ "certificate": exact(&i.certificate), "envelope": exact(&i.envelope) })).collect::<Vec<_>>(),
                "verdict": tally(&rules, &click, &statements, &[]),
            })
        })
        .collect();
    let vectors = json!({ "description": "policy and results in, verdict out", "vectors": rows });
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/tally.json");
    let text = format!("{}\n", serde_json::to_string_pretty(&vectors).unwrap());
    if std::env::var_os("QUORATE_UPDATE_VECTORS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "tally.json has changed: that is a protocol change");
}
