//! What the judges of envelopes and statements say of what our nodes and coordinators sign.

use std::fs;
use std::process::Command;

use quorate_proto::dsse::Envelope;
use quorate_proto::key::PublicKey as _;
use quorate_proto::provenance::{BuildDefinition, BuildMetadata, Provenance, ProvenanceBuilder, ResourceDescriptor, RunDetails};
use quorate_proto::result::RebuildResult;
use quorate_proto::statement::{Statement, Subject};
use quorate_proto::{Digest, Timestamp, link};
use quorate_tests::{Member, SIGNED_AT, different};
use tempfile::TempDir;

use crate::bench::{Judge, ask, python};
use crate::golden::{CONTENT, FILE, Golden, verdict_key};

fn hex(key: &[u8; 32]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

/// A file for a judge.
fn file(folder: &TempDir, name: &str, content: &[u8]) -> String {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Provenance with everything that our nodes write into it.
fn provenance(member: &Member) -> Vec<u8> {
    let now = Timestamp::from_unix_seconds(SIGNED_AT);
    let predicate = Provenance {
        build_definition: BuildDefinition {
            build_type: "urn:quorate:build/pypi/v1".into(),
            external_parameters: serde_json::Map::new(),
            internal_parameters: serde_json::Map::new(),
            resolved_dependencies: vec![ResourceDescriptor::file("packaging.whl", "pkg:pypi/packaging@24.2", Digest::of(b"packaging"))],
        },
        run_details: RunDetails {
            builder: ProvenanceBuilder { id: format!("urn:quorate:node:{}", member.node()), version: [].into() },
            metadata: BuildMetadata { started_on: now, finished_on: now },
        },
    };
    let payload = Statement::new(vec![Subject::new(FILE, Digest::of(CONTENT))], predicate).to_payload();
    Envelope::sign(payload, member.key()).bytes().to_vec()
}

/// Everything that is signed here: name, envelope, signer's key, predicate type.
fn signed() -> Vec<(&'static str, Vec<u8>, [u8; 32], &'static str)> {
    let golden = Golden::get();
    let member = &golden.members[0];
    let verdict = golden.bundle.verdict.clone().into_bytes();
    vec![
        ("result", golden.items[0].envelope.clone(), *member.node().as_bytes(), "urn:quorate:rebuild-result/v1"),
        ("certificate", golden.items[0].certificate.clone(), *member.operator().as_bytes(), "urn:quorate:node-certificate/v1"),
        ("verdict", verdict, *verdict_key().node_id().as_bytes(), "https://slsa.dev/verification_summary/v1"),
        ("provenance", provenance(member), *member.node().as_bytes(), "https://slsa.dev/provenance/v1"),
    ]
}

#[test]
fn securesystemslib_accepts_every_envelope_and_refuses_what_is_broken_in_it() {
    let Some(judge) = Judge::Securesystemslib.summon() else { return };
    let folder = tempfile::tempdir().unwrap();
    for (name, envelope, key, _) in signed() {
        let key = hex(&key);
        judge.accepts(&["envelope", &file(&folder, name, &envelope), &key]);
        judge.refuses(&["envelope", &file(&folder, "type", &Golden::changed_payload_type(&envelope)), &key]);
        judge.refuses(&["envelope", &file(&folder, "payload", &flipped(&envelope)), &key]);
        judge.refuses(&["envelope", &file(&folder, name, &envelope), &hex(Member::new(9).node().as_bytes())]);
    }
}

/// One character of the payload is another.
fn flipped(envelope: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(envelope.to_vec()).unwrap();
    let at = text.find("\"payload\":\"").unwrap() + 60;
    let mut bytes = text.into_bytes();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    bytes
}

#[test]
fn in_toto_attestation_reads_every_statement_and_refuses_what_is_none() {
    let Some(judge) = Judge::InTotoAttestation.summon() else { return };
    let folder = tempfile::tempdir().unwrap();
    for (name, envelope, _, kind) in signed() {
        judge.accepts(&["statement", &file(&folder, name, &envelope), kind]);
        judge.refuses(&["statement", &file(&folder, "type", &Golden::changed_payload_type(&envelope)), kind]);
    }
    // Without subjects, of another type, and no statement at all: signed by the right key all the same.
    let key = Golden::get().members[0].key();
    let result = String::from_utf8(Envelope::parse(&Golden::get().items[0].envelope, 1 << 16).unwrap().payload().to_vec()).unwrap();
    let subject = format!("{{\"name\":\"{FILE}\",\"digest\":{{\"sha256\":\"{}\"}}}}", Digest::of(CONTENT).to_hex());
    assert!(result.contains(&subject), "{result}");
    let broken = [result.replacen(&subject, "", 1), result.replacen("Statement/v1", "Statement/v9", 1), "{}".to_owned()];
    for payload in broken {
        let envelope = Envelope::sign(payload.into_bytes(), key);
        judge.refuses(&["statement", &file(&folder, "broken", envelope.bytes()), "urn:quorate:rebuild-result/v1"]);
    }
}

/// The link of a member's result.
fn link_of(member: &Member, envelope: &[u8]) -> Vec<u8> {
    let envelope = Envelope::parse(envelope, 1 << 16).unwrap();
    let statement = Statement::<RebuildResult>::parse(envelope.payload()).unwrap();
    Envelope::sign(link::payload(&statement).unwrap(), member.key()).bytes().to_vec()
}

/// A folder with the published file, a layout that asks for two of the three nodes, and these links.
struct Consumer(TempDir);

impl Consumer {
    fn new(links: &[(&Member, Vec<u8>)]) -> Self {
        let (folder, golden) = (tempfile::tempdir().unwrap(), Golden::get());
        fs::write(folder.path().join(FILE), CONTENT).unwrap();
        fs::create_dir(folder.path().join("links")).unwrap();
        for (member, bytes) in links {
            let name = format!("{}.{}.link", link::STEP, &member.node().key_id()[..8]);
            fs::write(folder.path().join("links").join(name), bytes).unwrap();
        }
        let nodes: Vec<_> = golden.members.iter().map(|member| hex(member.node().as_bytes())).collect();
        let mut layout = python("layout.py");
        layout.arg(folder.path()).args(["2", FILE]).args(nodes);
        assert!(ask(&mut layout).accepts);
        Self(folder)
    }

    /// What `in-toto-verify` says of the folder.
    fn accepts(&self) -> bool {
        let mut command: Command = Judge::InToto.command();
        command.args(["--layout", "root.layout", "--verification-keys", "owner.pub", "--link-dir", "links"]);
        ask(command.current_dir(self.0.path())).accepts
    }
}

#[test]
fn in_toto_verify_accepts_k_of_n_results_as_links_and_refuses_fewer_others_and_forged_ones() {
    if Judge::InToto.summon().is_none() {
        return;
    }
    let golden = Golden::get();
    let links: Vec<_> = golden.members.iter().zip(&golden.items).map(|(member, item)| (member, link_of(member, &item.envelope))).collect();
    assert!(Consumer::new(&links).accepts());
    assert!(Consumer::new(&links[1..]).accepts());
    assert!(!Consumer::new(&links[2..]).accepts(), "one of three is too few");

    let tampered = Consumer::new(&links);
    fs::write(tampered.0.path().join(FILE), b"another wheel").unwrap();
    assert!(!tampered.accepts(), "what nobody rebuilt");

    // Of two links one has a broken signature, names another payload type, or is another node's.
    let (first, second) = (links[0].clone(), &links[1]);
    let broken = [flipped_signature(&second.1), Golden::changed_payload_type(&second.1), links[2].1.clone()];
    for link in broken {
        assert!(!Consumer::new(&[first.clone(), (second.0, link)]).accepts());
    }
    // A node that rebuilt something else dissents.
    let mut dissenter = Member::new(3);
    let item = dissenter.says(&golden.artifact, different("other", "m"));
    let dissent = link_of(&dissenter, &item.envelope);
    assert!(!Consumer::new(&[first, second.clone(), (&dissenter, dissent)]).accepts());
    // A result as it stands in the feed is no link.
    let results: Vec<_> = golden.members.iter().zip(&golden.items).map(|(member, item)| (member, item.envelope.clone())).collect();
    assert!(!Consumer::new(&results).accepts());
}

fn flipped_signature(envelope: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(envelope.to_vec()).unwrap();
    let at = text.find("\"sig\":\"").unwrap() + 10;
    let mut bytes = text.into_bytes();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    bytes
}
