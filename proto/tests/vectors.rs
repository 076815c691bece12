//! Golden vectors for statements: the bytes that a stranger's implementation must make.
//!
//! A changed vector is a protocol change. `QUORATE_UPDATE_VECTORS=1` writes them anew.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;

use quorate_proto::commitment::{Secret, outcome_digest};
use quorate_proto::declaration::{Advisory, DECLARATION_BYTES_MAX, Declaration, VerifiedDeclaration};
use quorate_proto::drill::{Opening, VerifiedDrill};
use quorate_proto::dsse::Envelope;
use quorate_proto::entry::VerifiedEntry;
use quorate_proto::feed::FeedHead;
use quorate_proto::key::{PublicKey as _, SecretKey};
use quorate_proto::result::RebuildResult;
use quorate_proto::verified::{FeedItem, VerifiedStatement};
use quorate_proto::wire::{Beginning, BeginningWanted, SyncRequest, SyncResponse, Told, heads_digest, notices_digest};
use quorate_proto::{Digest, OperatorId, Purl, TaskId};
use quorate_tests::{
    Member, NONCE, SIGNED_AT, advisory, artifact, different, drill, equivalent, failed, identical, on_own_registry, opening, retraction,
    revocation, vouch,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

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
            "operatorSeed": data_encoding::HEXLOWER.encode(&member.root_key().seed()),
            "node": member.node(),
            "nodeSeed": data_encoding::HEXLOWER.encode(&member.key().seed()),
            "certificate": certificate,
            "entries": entries,
        }),
    );
}

#[test]
fn declarations() {
    let (click, node) = (artifact("click", "8.1.8", b"click"), Member::new(1).node());
    let key = SecretKey::from_seed(&[9; 32]);
    let of = key.signer_id();
    let of_package = Advisory { digest: None, package: "pkg:pypi/click@8.*".parse().ok(), ..advisory(of, "A-2", click.digest) };
    let all = [
        Declaration::Advisory(advisory(of, "A-1", click.digest)),
        Declaration::Advisory(of_package),
        Declaration::Vouch(vouch(of, "V-1", click.digest, &Digest::of(b"rebuilt").to_string())),
        Declaration::Revocation(revocation(of, Some(node), 7)),
        Declaration::Revocation(revocation(of, None, 0)),
        Declaration::Retraction(retraction(of, Digest::of(b"what was said"))),
    ];
    let row = |declaration: Declaration| {
        let envelope = Envelope::parse(declaration.clone().sign(&key).unwrap().bytes(), DECLARATION_BYTES_MAX).unwrap();
        let signature = Envelope::sign(envelope.payload().to_vec(), &SecretKey::from_seed(&[8; 32]));
        let foreign = VerifiedDeclaration::verify(signature.bytes()).unwrap_err().name();
        json!({
            "declaration": declaration,
            "payload": text(envelope.payload()),
            "envelope": text(envelope.bytes()),
            "envelopeDigest": envelope.digest(),
            "signedByAnother": foreign,
        })
    };
    check(
        "declarations.json",
        &json!({
            "description": "what people sign; `kind` is the predicate type's; the same payload signed by another key is refused by the name given",
            "seed": data_encoding::HEXLOWER.encode(&key.seed()),
            "vectors": all.map(row),
        }),
    );
}

#[test]
fn commitments() {
    let (mut alpha, mut beta) = (Member::new(1), Member::new(2));
    let click = artifact("click", "8.1.8", b"click");
    let enrolled = [alpha.operator(), beta.operator()].into();
    let outcomes = [identical(&click), equivalent(), different("other", "click/evil.py"), failed()];
    let hashed: Vec<Value> = outcomes
        .iter()
        .map(|outcome| {
            let digest = outcome_digest(click.digest, outcome);
            let task = TaskId::of(&click.slot);
            let secret = Secret { operator: alpha.operator(), node: alpha.node(), task, outcome: digest, nonce: NONCE };
            json!({ "published": click.digest, "outcome": outcome, "outcomeDigest": digest, "commitment": secret.commitment() })
        })
        .collect();
    let items =
        [("alpha commits", alpha.commits(&click, &identical(&click), 1)), ("beta commits", beta.commits(&click, &identical(&click), 1))];
    let revealed = [
        ("alpha reveals, and has seen beta's", alpha.reveals(&click, identical(&click), 0, &[items[1].1.clone()])),
        ("beta reveals something else than it committed to", beta.reveals(&click, different("x", "y"), 0, &[items[0].1.clone()])),
    ];
    let entry = |item| VerifiedEntry::verify_item(item, &enrolled).unwrap();
    let commitments: Vec<_> = items.iter().map(|(_, item)| entry(item)).collect();
    let rows = items.iter().chain(&revealed).map(|(what, item)| {
        let opens = entry(item).result().map(|result| {
            let commitment = commitments.iter().filter_map(VerifiedEntry::commitment).find(|c| c.node() == result.node());
            commitment.unwrap().is_opened_by(result)
        });
        json!({
            "what": what,
            "opens": opens,
            "payload": text(Envelope::parse(&item.envelope, 1 << 20).unwrap().payload()),
            "certificate": text(&item.certificate),
            "envelope": text(&item.envelope),
            "envelopeDigest": Digest::of(&item.envelope),
        })
    });
    let vectors = json!({
        "description": "what a commitment is to, and entries that commit and reveal; `opens`: whether a result opens its node's commitment",
        "package": click.slot.package,
        "file": click.slot.file,
        "task": TaskId::of(&click.slot),
        "operator": alpha.operator(),
        "node": alpha.node(),
        "nonce": NONCE,
        "commitments": hashed,
        "entries": rows.collect::<Vec<_>>(),
    });
    check("statement-commitments.json", &vectors);
}

#[test]
fn drills() {
    let (key, log) = (SecretKey::from_seed(&[9; 32]), "quorate.example/log");
    let honest = opening(log, &on_own_registry(&artifact("click", "8.1.8", b"tampered")));
    let foreign = Opening { log: "quorate.example/other".to_owned(), ..honest.clone() };
    let [announcement, opened] = drill(&key, &honest);
    let payload = String::from_utf8(Envelope::parse(&opened, 1 << 20).unwrap().payload().to_vec()).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(payload.contains(from), "{from}");
        Envelope::sign(payload.replacen(from, to, 1).into_bytes(), &key).bytes().to_vec()
    };
    let own_registry = "?repository_url=https:%2F%2Fdrills.registry.example%2Fsimple";
    let rows = [
        ("an announcement", "accepted", announcement),
        ("what opens it", "accepted", opened.clone()),
        ("signed by another key", "bad-signature", drill(&SecretKey::from_seed(&[8; 32]), &honest)[1].clone()),
        ("another log's", "foreign-log", drill(&key, &foreign)[0].clone()),
        ("on no registry of its own", "contradiction", changed(own_registry, "")),
        ("of no version", "contradiction", changed("@8.1.8?", "?")),
        ("another file than the subject", "contradiction", changed("\"file\":\"click-", "\"file\":\"other-")),
        ("without a reason", "contradiction", changed(&honest.reason, "")),
        ("a step that is not in the list", "malformed-statement", changed("\"step\":\"opened\"", "\"step\":\"closed\"")),
        ("a nonce that is none", "malformed-statement", changed("\"nonce\":\"07", "\"nonce\":\"7")),
    ];
    let rows: Vec<Value> = rows
        .iter()
        .map(|(what, expected, envelope)| {
            let got = VerifiedDrill::verify(envelope, &key.node_id(), log);
            assert_eq!(got.as_ref().map_or_else(quorate_proto::drill::DrillError::name, |_| "accepted"), *expected, "{what}");
            json!({
                "what": what,
                "expected": expected,
                "commitment": got.ok().map(|drill| drill.drill().commitment()),
                "payload": text(Envelope::parse(envelope, 1 << 20).unwrap().payload()),
                "envelope": text(envelope),
                "envelopeDigest": Digest::of(envelope),
            })
        })
        .collect();
    let vectors = json!({
        "description": "statements of drills and what a reader says of them, with this log and its key",
        "log": log,
        "keySeed": data_encoding::HEXLOWER.encode(&key.seed()),
        "vectors": rows,
    });
    check("drill.json", &vectors);
}

/// The same payload and signature: were it read, it would convict the node of two histories.
fn padded_in_the_middle(envelope: &str, payload: &[u8]) -> Vec<u8> {
    let base64 = |bytes: &[u8]| data_encoding::BASE64.encode(bytes);
    let (head, tail) = payload.split_at(1);
    envelope.replacen(&base64(payload), &(base64(head) + &base64(tail)), 1).into_bytes()
}

#[test]
fn refused_items() {
    let (member, mut thief, click) = (Member::new(1), Member::new(2), artifact("click", "8.1.8", b"click"));
    let enrolled: BTreeSet<OperatorId> = [member.operator()].into();
    let good = member.result(&click, identical(&click), member.position());
    let signed = Envelope::parse(&member.sign(&click, good.clone()).envelope, 1 << 20).unwrap();
    let payload = String::from_utf8(signed.payload().to_vec()).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(payload.contains(from), "{from}");
        let envelope = Envelope::sign(payload.replacen(from, to, 1).into_bytes(), member.key());
        FeedItem { certificate: member.certificate().to_vec(), envelope: envelope.bytes().to_vec() }
    };
    let sound = changed("\"pkg:pypi/click@8.1.8\"", "\"pkg:pypi/click@8.1.8\"");
    let reencoded = String::from_utf8(sound.envelope.clone()).unwrap().replacen("\":", "\": ", 1).into_bytes();
    let pieces = padded_in_the_middle(text(&sound.envelope), payload.as_bytes());
    let stranger = thief.says(&click, identical(&click));
    let others = thief.says(&click, identical(&click)).envelope;
    let early = Member::with_validity(1, 0, SIGNED_AT - 200, SIGNED_AT - 100);
    let long = Member::with_validity(1, 0, SIGNED_AT, SIGNED_AT + 31 * 86_400);
    let found = |more: &str| changed("\"foundBy\":\"tag\"", &format!("\"foundBy\":\"tag\",{more}"));
    let signed = |format: &str, key: &str, state: &str| {
        let signature = json!({ "object": "tag", "format": format, "key": key, "state": state });
        format!("\"evidence\":\"matched 41 of 43 members\",\"signature\":{signature}")
    };
    let rows = [
        ("sound", "accepted", sound.clone()),
        ("an operator who is not enrolled", "unknown-operator", stranger),
        ("certified by another operator as well", "unknown-operator", FeedItem { certificate: thief.certifies(&member), ..sound.clone() }),
        ("white space in the envelope", "malformed-envelope", FeedItem { envelope: reencoded, ..sound.clone() }),
        ("a payload whose base64 is padded in the middle", "malformed-envelope", FeedItem { envelope: pieces, ..sound.clone() }),
        ("another node's envelope", "bad-signature", FeedItem { envelope: others, ..sound.clone() }),
        ("a certificate in place of a result", "bad-signature", FeedItem { envelope: sound.certificate.clone(), ..sound.clone() }),
        ("a certificate that has ended", "expired-certificate", FeedItem { certificate: early.certificate().to_vec(), ..sound.clone() }),
        ("a certificate of 31 days", "bad-certificate", FeedItem { certificate: long.certificate().to_vec(), ..sound.clone() }),
        ("a package URL that is not canonical", "malformed-statement", changed("pkg:pypi/click@8.1.8", "pkg:pypi/Click@8.1.8")),
        ("a package URL with a subpath", "malformed-statement", changed("pkg:pypi/click@8.1.8", "pkg:pypi/click@8.1.8#src")),
        ("a package URL without a version", "contradiction", changed("pkg:pypi/click@8.1.8", "pkg:pypi/click")),
        ("a class that is not in the list", "malformed-statement", changed("\"identical\"", "\"same\"")),
        ("a file name that leaves its folder", "contradiction", changed("click-8.1.8-py3-none-any.whl\"", "../click.whl\"")),
        ("identical with another digest", "contradiction", changed(&click.digest.to_hex(), &"0".repeat(64))),
        (
            "a fraction of a second",
            "contradiction",
            changed("\"finishedAt\":\"2026-01-15T00:00:00Z\"", "\"finishedAt\":\"2026-01-15T00:00:00.5Z\""),
        ),
        (
            "finished before it started",
            "contradiction",
            changed("\"finishedAt\":\"2026-01-15T00:00:00Z\"", "\"finishedAt\":\"2026-01-14T23:59:59Z\""),
        ),
        ("a commit that is none", "contradiction", changed("934813e4d421071a1b3db3973c02fe2721359a6e", "zzz")),
        ("rebuilt from no source", "contradiction", member.sign(&click, RebuildResult { source: None, ..good.clone() })),
        ("a place in another node's feed", "foreign-feed", member.sign(&click, RebuildResult { feed: thief.position(), ..good.clone() })),
        ("another operator's result", "foreign-operator", member.sign(&click, RebuildResult { operator: thief.operator(), ..good })),
        ("a later entry with no predecessor", "broken-chain", changed("\"sequence\":0", "\"sequence\":1")),
        ("a source with evidence and a signature", "accepted", found(&signed("open-pgp", &"a".repeat(40), "unknown-key"))),
        ("a signature by an SSH key", "accepted", found(&signed("ssh", &format!("SHA256:{}", "A".repeat(43)), "verified"))),
        ("a signature that names no key", "contradiction", found(&signed("open-pgp", "somebody", "verified"))),
        ("a signature of a state that is not in the list", "malformed-statement", found(&signed("open-pgp", &"a".repeat(16), "fine"))),
        ("evidence without end", "contradiction", found(&format!("\"evidence\":\"{}\"", "e".repeat(1_001)))),
    ];
    let rows: Vec<Value> = rows
        .iter()
        .map(|(what, expected, item)| {
            let got = VerifiedStatement::verify_item(item, &enrolled).map_or_else(|refused| refused.name(), |_| "accepted");
            assert_eq!(got, *expected, "{what}");
            json!({ "what": what, "expected": expected, "certificate": text(&item.certificate), "envelope": text(&item.envelope) })
        })
        .collect();
    let vectors = json!({ "description": "items and what a reader says of them, with `enrolled` as the only operator", "enrolled": enrolled, "vectors": rows });
    check("statement-refused.json", &vectors);
}

#[test]
fn package_urls() {
    let rows: Vec<Value> = [
        "pkg:pypi/Click@8.1.8",
        "pkg:pypi/ruamel_yaml.clib@1",
        "pkg:npm/@angular/core@1.0.0",
        "pkg:npm/JSONStream@1.3.5",
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

/// One message of feed sync, in hex, with what it says.
fn message(says: &str, bytes: &[u8]) -> Value {
    json!({ "says": says, "hex": data_encoding::HEXLOWER.encode(bytes) })
}

#[test]
fn mesh_messages_and_digests() {
    let node = |seed: u8| SecretKey::from_seed(&[seed; 32]).node_id();
    let behind = |next, last: &[u8]| FeedHead::behind(next, Digest::of(last));
    let heads = vec![(node(1), behind(3, b"third")), (node(2), behind(1_000_000, b"millionth"))];
    let known = Some(heads_digest(heads.iter().copied()));
    let item = |envelope: &[u8]| FeedItem { certificate: b"certificate".to_vec(), envelope: envelope.to_vec() };
    let told = [
        Told::checkpoint(b"log.example\n1\nAAAA\n\n- cut\n".to_vec()),
        Told::log_equivocation("log.example", b"quorate-log-equivocation/v1\n".to_vec()),
        Told::feed_equivocation(node(1), [item(b"one"), item(b"other")]),
    ];
    let wanted = BeginningWanted { log: Digest::of(b"log.example"), old_size: 5, size: 9, root: [7; 32] };
    let requests = [
        ("heads, and what the asker has", SyncRequest::Heads { known }),
        ("heads, whatever the asker has", SyncRequest::Heads { known: None }),
        ("entries from 3 on", SyncRequest::Entries { node: node(1), from: 3 }),
        ("a file", SyncRequest::Blob(Digest::of(b"file"))),
        ("peers", SyncRequest::Peers),
        ("notices, and what the asker knows", SyncRequest::Notices { known: Some(notices_digest(&told)) }),
        ("how a tree of nine leaves begins over five", SyncRequest::Beginning(wanted)),
    ];
    let responses = [
        ("heads", SyncResponse::Heads(heads.clone())),
        ("the same", SyncResponse::Same),
        ("two items of one certificate, which is said once", SyncResponse::Entries(vec![item(b"one"), item(b"two")])),
        ("no file", SyncResponse::Blob(None)),
        ("a file", SyncResponse::Blob(Some(b"file".to_vec()))),
        ("records", SyncResponse::Peers(vec![b"record".to_vec()])),
        ("notices", SyncResponse::of_notices(told.clone())),
        ("no beginning", SyncResponse::Beginning(None)),
        ("a beginning", SyncResponse::Beginning(Some(Beginning { root: [1; 32], path: vec![[2; 32]] }))),
    ];
    check(
        "mesh.json",
        &json!({
            "description": "messages of /quorate/sync/2 without their length, notices, and digests",
            "heads": heads.iter().map(|(node, head)| json!({ "node": node, "next": head.next(), "last": head.last() })).collect::<Vec<_>>(),
            "headsDigest": known,
            "notices": told.iter().map(|told| json!({
                "about": told.about,
                "hex": data_encoding::HEXLOWER.encode(&told.notice.encode()),
            })).collect::<Vec<_>>(),
            "noticesDigest": notices_digest(&told),
            "requests": requests.iter().map(|(says, request)| message(says, &request.encode())).collect::<Vec<_>>(),
            "responses": responses.iter().map(|(says, response)| message(says, &response.encode())).collect::<Vec<_>>(),
        }),
    );
}
