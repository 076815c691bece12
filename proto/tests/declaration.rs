//! Declarations: who may sign them, what they may say, and that their bytes are kept.
#![expect(clippy::unwrap_used, reason = "tests")]

use quorate_proto::declaration::{
    Advisory, DECLARATION_BYTES_MAX, Declaration, DeclarationError, ID_CHARS_MAX, Retraction, Revocation, VerifiedDeclaration, Vouch,
};
use quorate_proto::drill::REASON_CHARS_MAX;
use quorate_proto::dsse::Envelope;
use quorate_proto::statement::{Predicate, Statement, Subject};
use quorate_proto::verified::{CLOCK_SKEW_MAX, VerifiedStatement};
use quorate_proto::{Digest, SecretKey, Timestamp};
use quorate_tests::{Member, SIGNED_AT, advisory, artifact, identical, retraction, revocation, vouch};

fn key() -> SecretKey {
    SecretKey::from_seed(&[40; 32])
}

fn file() -> Digest {
    Digest::of(b"the published file")
}

fn read(envelope: &[u8]) -> Result<VerifiedDeclaration, &'static str> {
    VerifiedDeclaration::verify(envelope).map_err(|error| error.name())
}

fn all() -> [Declaration; 4] {
    let of = key().signer_id();
    [
        Declaration::Advisory(advisory(of, "A-1", file())),
        Declaration::Vouch(vouch(of, "V-1", file(), &Digest::of(b"rebuilt").to_string())),
        Declaration::Revocation(revocation(of, None, 0)),
        Declaration::Retraction(retraction(of, file())),
    ]
}

#[test]
fn what_was_signed_is_read_again_and_its_bytes_are_kept() {
    for declaration in all() {
        let envelope = declaration.clone().sign(&key()).unwrap();
        let read = read(envelope.bytes()).unwrap();
        assert_eq!((read.declaration(), read.bytes(), read.digest()), (&declaration, envelope.bytes(), envelope.digest()));
        assert_eq!(read.signer(), key().signer_id());
        let now = Timestamp::from_unix_seconds(SIGNED_AT);
        assert!(!read.is_ahead_of(now));
        assert!(read.is_ahead_of(Timestamp::from_unix_seconds(SIGNED_AT - CLOCK_SKEW_MAX.as_secs().cast_signed() - 1)));
    }
}

#[test]
fn nobody_declares_in_the_name_of_another() {
    for declaration in all() {
        let refused = declaration.sign(&SecretKey::from_seed(&[41; 32])).unwrap_err();
        assert!(matches!(refused, DeclarationError::Envelope(_)), "{refused:?}");
        assert_eq!(refused.name(), "bad-signature");
    }
}

#[test]
fn an_operator_silences_results_of_its_own_nodes_and_no_others() {
    let click = artifact("click", "8.1.8", b"click");
    let (mut one, mut other) = (Member::new(1), Member::new(2));
    one.says(&click, identical(&click));
    let enrolled = [one.operator(), other.operator()].into();
    let items = [one.says(&click, identical(&click)), other.says(&click, identical(&click))];
    let [second, foreign] = items.map(|item| VerifiedStatement::verify_item(&item, &enrolled).unwrap());
    let by_one = |declaration: Declaration| {
        let said = VerifiedDeclaration::verify(declaration.sign(one.root_key()).unwrap().bytes()).unwrap();
        [said.silences(&second), said.silences(&foreign)]
    };
    let of = one.root_key().signer_id();
    let revoked = |node, since| by_one(Declaration::Revocation(revocation(of, node, since)));
    assert_eq!(revoked(Some(one.node()), 1), [true, false]);
    assert_eq!(revoked(Some(one.node()), 2), [false, false], "it stands before");
    assert_eq!(revoked(Some(other.node()), 0), [false, false], "it is another operator's node");
    assert_eq!(revoked(None, 0), [true, false]);
    assert_eq!(by_one(Declaration::Retraction(retraction(of, second.digest()))), [true, false]);
    assert_eq!(by_one(Declaration::Retraction(retraction(of, foreign.digest()))), [false, false]);
}

/// Signed as it is, whatever it says.
fn signed<P: Predicate>(subject: Subject, predicate: P) -> Result<VerifiedDeclaration, &'static str> {
    read(Envelope::sign(Statement::new(vec![subject], predicate).to_payload(), &key()).bytes())
}

#[test]
fn statements_that_contradict_themselves_are_refused() {
    let of = key().signer_id();
    let about = Subject::new(file().to_string(), file());
    let honest = advisory(of, "A-1", file());
    let fraction: Timestamp = "2026-01-15T00:00:00.5Z".parse().unwrap();
    let pattern = "pkg:pypi/click".parse().ok();
    let advisories = [
        Advisory { digest: None, ..honest.clone() },
        Advisory { package: pattern.clone(), ..honest.clone() },
        Advisory { digest: None, package: pattern, ..honest.clone() },
        Advisory { id: String::new(), ..honest.clone() },
        Advisory { id: "x".repeat(ID_CHARS_MAX + 1), ..honest.clone() },
        Advisory { reason: "two\nlines".to_owned(), ..honest.clone() },
        Advisory { reason: "r".repeat(REASON_CHARS_MAX + 1), ..honest.clone() },
        Advisory { signed_at: fraction, ..honest.clone() },
    ];
    for advisory in advisories {
        assert_eq!(signed(about.clone(), advisory.clone()), Err("contradiction"), "{advisory:?}");
    }
    assert_eq!(signed(Subject::new("another", file()), honest), Err("contradiction"));
    let honest = vouch(of, "V-1", file(), &Digest::of(b"rebuilt").to_string());
    for vouch in [Vouch { rebuilt: "sha256:".to_owned(), ..honest.clone() }, Vouch { until: fraction, ..honest }] {
        assert_eq!(signed(about.clone(), vouch.clone()), Err("contradiction"), "{vouch:?}");
    }
    let operator = Subject::new(of.to_string(), Digest::of(of.as_bytes()));
    assert_eq!(signed(operator.clone(), Revocation { since: 1, ..revocation(of, None, 0) }), Err("contradiction"));
    assert_eq!(signed(operator, revocation(of, Some(Member::new(1).node()), 0)), Err("contradiction"));
    assert_eq!(signed(about, Retraction { reason: String::new(), ..retraction(of, file()) }), Err("contradiction"));
}

#[test]
fn other_shapes_are_refused_and_further_members_are_not() {
    let payload = Envelope::parse(all()[0].clone().sign(&key()).unwrap().bytes(), 1 << 20).unwrap().payload().to_vec();
    let payload = String::from_utf8(payload).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(payload.contains(from), "{from}");
        read(Envelope::sign(payload.replacen(from, to, 1).into_bytes(), &key()).bytes())
    };
    assert_eq!(changed("\"id\":", "\"name\":"), Err("malformed-statement"));
    assert_eq!(changed("\"id\":", "\"reason\":\"twice\",\"id\":"), Err("malformed-statement"));
    assert_eq!(changed("quorate:advisory", "quorate:drill"), Err("malformed-statement"));
    assert!(changed("\"id\":", "\"further\":1,\"id\":").is_ok());
    assert_eq!(read(&vec![b' '; DECLARATION_BYTES_MAX + 1]), Err("oversized"));
    assert_eq!(read(b"{}"), Err("malformed-envelope"));
}

#[test]
fn the_longest_declaration_fits_its_envelope() {
    let pattern = format!("pkg:pypi/{}*", "x".repeat(1_000));
    let longest = Advisory {
        id: "\u{1f980}".repeat(ID_CHARS_MAX),
        digest: None,
        package: pattern.parse().ok(),
        reason: "\"\u{1f980}".repeat(REASON_CHARS_MAX / 2),
        ..advisory(key().signer_id(), "A-1", file())
    };
    assert!(Declaration::Advisory(longest).sign(&key()).is_ok());
}
