//! Golden vectors for statements: the bytes that a stranger's implementation must make.
//!
//! A changed vector is a protocol change. `QUORATE_UPDATE_VECTORS=1` writes them anew.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;

use quorate_proto::dsse::Envelope;
use quorate_proto::key::{PublicKey as _, SecretKey};
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{Digest, Purl};
use quorate_tests::{Member, artifact, different, equivalent, failed, identical};
use serde_json::{Value, json};

fn check(name: &str, vectors: &Value) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name);
    let text = format!("{}\n", serde_json::to_string_pretty(vectors).unwrap());
    if std::env::var_os("QUORATE_UPDATE_VECTORS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{name} has changed: that is a protocol change");
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn keys_and_envelopes() {
    let rows: Vec<Value> = [1_u8, 2]
        .iter()
        .map(|seed| {
            let key = SecretKey::from_seed(&[*seed; 32]);
            let envelope = Envelope::sign(br#"{"hello":"world"}"#.to_vec(), &key);
            json!({
                "seed": data_encoding::HEXLOWER.encode(&key.seed()),
                "id": key.node_id(),
                "keyId": key.node_id().key_id(),
                "payload": r#"{"hello":"world"}"#,
                "envelope": text(envelope.bytes()),
                "envelopeDigest": envelope.digest(),
            })
        })
        .collect();
    check(
        "statement-envelopes.json",
        &json!({ "description": "Ed25519 seed to identifier and to a DSSE envelope in its canonical form", "vectors": rows }),
    );
}

#[test]
fn certificates_and_feeds() {
    let mut member = Member::new(1);
    let click = artifact("click", "8.1.8", b"click");
    let certificate = text(member.certificate()).to_owned();
    let enrolled = [member.operator()].into();
    let entries: Vec<Value> = [identical(&click), equivalent(), different("other", "click/evil.py"), failed()]
        .into_iter()
        .map(|outcome| {
            let item = member.says(&click, outcome);
            let statement = VerifiedStatement::verify_item(&item, &enrolled).unwrap();
            json!({
                "sequence": statement.position().sequence,
                "previous": statement.position().previous,
                "class": statement.result().outcome.class(),
                "payload": text(Envelope::parse(&item.envelope, 1 << 20).unwrap().payload()),
                "envelope": text(&item.envelope),
                "envelopeDigest": Digest::of(&item.envelope),
                "frame": data_encoding::HEXLOWER.encode(&item.encode()),
            })
        })
        .collect();
    check(
        "statement-feed.json",
        &json!({
            "description": "a feed of four results; `frame` is the protobuf FeedItem in hex",
            "operator": member.operator(),
            "node": member.node(),
            "certificate": certificate,
            "entries": entries,
        }),
    );
}

#[test]
fn package_urls() {
    let rows: Vec<Value> = [
        "pkg:pypi/Click@8.1.8",
        "pkg:pypi/ruamel_yaml.clib@1",
        "pkg:npm/@angular/core@1.0.0",
        "pkg:cargo/serde@1.0.228",
        "pkg:deb/debian/Curl@7.50.3-1?distro=jessie&arch=i386",
        "pkg:pypi/a@1%2Blocal",
        "pkg:pypi/a@1?repository_url=https://registry.example/simple",
        "pkg:pypi",
        "pkg:a/b@%00",
        "pypi/click",
    ]
    .iter()
    .map(|given| json!({ "given": given, "canonical": given.parse::<Purl>().ok() }))
    .collect();
    check("purl.json", &json!({ "description": "package URLs and their canonical form, null where refused", "vectors": rows }));
}
