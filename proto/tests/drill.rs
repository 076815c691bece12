//! Drills: what they bind and hide, who may sign them, and what may be drilled on.
#![expect(clippy::unwrap_used, reason = "tests")]

use quorate_proto::commitment::Nonce;
use quorate_proto::drill::{Announcement, DRILL_ENVELOPE_BYTES_MAX, Drill, DrillError, Opening, REASON_CHARS_MAX, VerifiedDrill};
use quorate_proto::dsse::Envelope;
use quorate_proto::statement::{Statement, Subject};
use quorate_proto::{ArtifactId, Digest, SecretKey};
use quorate_tests::{artifact, drill, on_own_registry, opening};

const LOG: &str = "quorate.example/log";

fn key() -> SecretKey {
    SecretKey::from_seed(&[9; 32])
}

fn tampered() -> ArtifactId {
    on_own_registry(&artifact("click", "8.1.8", b"tampered"))
}

fn read(envelope: &[u8]) -> Result<VerifiedDrill, &'static str> {
    VerifiedDrill::verify(envelope, &key().node_id(), LOG).map_err(|error| error.name())
}

#[test]
fn an_announcement_binds_all_of_the_artifact_and_says_nothing_of_it() {
    let honest = opening(LOG, &tampered());
    let [announced, opened] = drill(&key(), &honest).map(|envelope| read(&envelope).unwrap());
    assert_eq!(announced.drill().commitment(), opened.drill().commitment());
    assert_eq!(*opened.drill(), Drill::Opened(Box::new(honest.clone())));
    let payload = Envelope::parse(&drill(&key(), &honest)[0], 1 << 20).unwrap().payload().to_vec();
    let said = String::from_utf8(payload).unwrap();
    assert!(!said.contains("click") && !said.contains(&honest.digest.to_hex()), "{said}");
    let others = [
        Opening { log: "quorate.example/other".to_owned(), ..honest.clone() },
        Opening { package: honest.package.clone().in_repository("https://other.registry.example"), ..honest.clone() },
        Opening { file: "click-8.1.8.tar.gz".parse().unwrap(), ..honest.clone() },
        Opening { digest: Digest::of(b"another"), ..honest.clone() },
        Opening { nonce: Nonce::from_bytes([8; 32]), ..honest.clone() },
    ];
    for other in others {
        assert_ne!(other.commitment(), honest.commitment(), "{other:?}");
    }
    assert_eq!(Opening { reason: "in other words".to_owned(), ..honest.clone() }.commitment(), honest.commitment());
}

#[test]
fn only_the_log_announces_and_opens() {
    let honest = opening(LOG, &tampered());
    for envelope in drill(&SecretKey::from_seed(&[8; 32]), &honest) {
        assert_eq!(read(&envelope), Err("bad-signature"));
    }
    for envelope in drill(&key(), &Opening { log: "quorate.example/other".to_owned(), ..honest }) {
        assert_eq!(read(&envelope), Err("foreign-log"));
    }
}

#[test]
fn what_consumers_install_from_is_never_drilled_on() {
    let usual = opening(LOG, &artifact("click", "8.1.8", b"tampered"));
    let refused = Drill::Opened(Box::new(usual)).sign(&key()).unwrap_err();
    assert_eq!(refused.name(), "contradiction");
    let DrillError::Statement(said) = refused else { panic!("{refused:?}") };
    assert!(said.to_string().contains("no registry of its own"), "{said}");
}

#[test]
fn statements_that_contradict_themselves_are_refused() {
    let honest = opening(LOG, &tampered());
    let signed = |subject: Vec<Subject>, drill| Envelope::sign(Statement::new(subject, drill).to_payload(), &key()).bytes().to_vec();
    let of = |opening: &Opening| vec![Subject::new(opening.file.as_str(), opening.digest)];
    let foreign = signed(vec![Subject::new("drill", Digest::of(b"another"))], Drill::Announced(honest.announcement()));
    assert_eq!(read(&foreign), Err("contradiction"));
    for reason in [String::new(), "r".repeat(REASON_CHARS_MAX + 1), "a\u{1b}[31m".to_owned()] {
        let opening = Opening { reason, ..honest.clone() };
        assert_eq!(read(&signed(of(&opening), Drill::Opened(Box::new(opening)))), Err("contradiction"));
    }
    let unversioned = Opening { package: honest.package.without_version(), ..honest.clone() };
    assert_eq!(read(&signed(of(&unversioned), Drill::Opened(Box::new(unversioned)))), Err("contradiction"));
    let nameless = Announcement { log: String::new(), ..honest.announcement() };
    let subject = vec![Subject::new("drill", nameless.commitment)];
    assert_eq!(read(&signed(subject, Drill::Announced(nameless))), Err("contradiction"));
}

#[test]
fn other_shapes_are_refused_and_further_members_are_not() {
    let honest = opening(LOG, &tampered());
    let payload = Envelope::parse(&drill(&key(), &honest)[1], 1 << 20).unwrap().payload().to_vec();
    let payload = String::from_utf8(payload).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(payload.contains(from), "{from}");
        read(Envelope::sign(payload.replacen(from, to, 1).into_bytes(), &key()).bytes())
    };
    assert_eq!(changed("\"step\":\"opened\"", "\"step\":\"cancelled\""), Err("malformed-statement"));
    assert_eq!(changed("\"step\":\"opened\"", "\"step\":\"announced\""), Err("malformed-statement"));
    assert_eq!(changed("\"nonce\":", "\"once\":"), Err("malformed-statement"));
    assert_eq!(changed("\"step\":", "\"log\":\"quorate.example/log\",\"step\":"), Err("malformed-statement"));
    assert_eq!(changed("pkg:pypi/click@", "pkg:pypi/Click@"), Err("malformed-statement"));
    assert!(changed("\"step\":", "\"since\":1,\"step\":").is_ok());
    assert_eq!(read(&vec![b' '; DRILL_ENVELOPE_BYTES_MAX + 1]), Err("oversized"));
    assert_eq!(read(b"{}"), Err("malformed-envelope"));
}

#[test]
fn the_longest_drill_fits_its_envelope() {
    let long = "x".repeat(600);
    let package = format!("pkg:pypi/a@1?repository_url=https://registry.example/{long}").parse().unwrap();
    let longest = Opening {
        log: "\"".repeat(1_024),
        package,
        file: "\"".repeat(255).parse().unwrap(),
        digest: Digest::of(b"tampered"),
        nonce: Nonce::from_bytes([7; 32]),
        reason: "\u{1f980}".repeat(REASON_CHARS_MAX),
    };
    let envelope = Drill::Opened(Box::new(longest.clone())).sign(&key()).unwrap();
    assert!(VerifiedDrill::verify(envelope.bytes(), &key().node_id(), &longest.log).is_ok(), "{} bytes", envelope.bytes().len());
}
