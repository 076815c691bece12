//! `affected`: the index is asked, and believed in nothing.

use std::collections::BTreeMap;

use quorate_proto::dsse::Envelope;
use quorate_proto::provenance::{BuildDefinition, BuildMetadata, Provenance, ProvenanceBuilder, ResourceDescriptor, RunDetails};
use quorate_proto::result::{Environment, EnvironmentClass, RebuildResult, Tool};
use quorate_proto::statement::{Statement, Subject};
use quorate_proto::{Digest, SecretKey, Timestamp};
use quorate_tests::{SIGNED_AT, identical};
use serde_json::{Map, json};

use crate::web::Reply;
use crate::world::{Ran, World, blob, masked, reply};

const COMMIT: &str = "934813e4d421071a1b3db3973c02fe2721359a6e";
const FLIT: &[u8] = b"the flit-core wheel";

/// Everything about one affected artifact, before it is served.
struct Case {
    world: World,
    provenance: Vec<u8>,
    inventory: Vec<u8>,
}

fn provenance(subject: Digest, key: &SecretKey) -> Vec<u8> {
    let time = Timestamp::from_unix_seconds(SIGNED_AT);
    let predicate = Provenance {
        build_definition: BuildDefinition {
            build_type: "urn:quorate:build/pypi/v1".to_owned(),
            external_parameters: Map::new(),
            internal_parameters: Map::new(),
            resolved_dependencies: vec![
                ResourceDescriptor::file("flit_core-3.9.0.whl", "pkg:pypi/flit-core@3.9.0?file_name=flit_core-3.9.0.whl", Digest::of(FLIT)),
                ResourceDescriptor { name: "python".to_owned(), uri: None, digest: None, annotations: Map::new() }
                    .with("version", "3.11.2"),
            ],
        },
        run_details: RunDetails {
            builder: ProvenanceBuilder { id: "urn:quorate:node:x".to_owned(), version: BTreeMap::new() },
            metadata: BuildMetadata { started_on: time, finished_on: time },
        },
    };
    let payload = Statement::new(vec![Subject::new("click.whl", subject)], predicate).to_payload();
    Envelope::sign(payload, key).bytes().to_vec()
}

impl Case {
    fn new() -> Self {
        let world = World::new();
        let provenance = provenance(world.artifact.digest, world.members[0].key());
        Self::with(world, provenance)
    }

    /// One result that names this provenance.
    fn with(mut world: World, provenance: Vec<u8>) -> Self {
        let inventory = json!([{"name": "xz-utils", "version": "5.6.0"}]).to_string().into_bytes();
        let artifact = world.artifact.clone();
        let signed = RebuildResult {
            provenance: Some(Digest::of(&provenance)),
            environment: Environment { class: EnvironmentClass::Host, digest: Digest::of(&inventory) },
            toolchain: vec![Tool { name: "build".to_owned(), version: "1.2".to_owned(), digest: None }],
            ..world.members[0].result(&artifact, identical(&artifact), world.members[0].position())
        };
        let item = world.members[0].sign(&artifact, signed);
        world.items.push(item);
        Self { world, provenance, inventory }
    }

    fn routes(&self) -> BTreeMap<String, Reply> {
        let mut routes = self.world.routes();
        routes.extend([blob(&self.provenance), blob(&self.inventory)]);
        let row = json!({"artifact": self.world.artifact, "result": Digest::of(&self.world.items[0].envelope), "class": "identical"});
        routes.insert("/api/v1/affected".to_owned(), reply(&json!({"truncated": false, "affected": [row]})));
        routes
    }

    fn ask(&self, criteria: &[&str]) -> Ran {
        self.world.ask(self.routes(), &[&["affected"], criteria].concat())
    }
}

#[test]
fn every_criterion_finds_what_is_in_the_evidence_and_refuses_what_is_not() {
    let case = Case::new();
    let (flit, node) = (Digest::of(FLIT).to_string(), case.world.members[0].node().to_string());
    let (other, other_node) = (Digest::of(b"other").to_string(), case.world.members[1].node().to_string());
    for (option, holds, fails) in [
        ("--digest", flit.as_str(), other.as_str()),
        ("--purl", "pkg:pypi/flit-core", "pkg:pypi/hatchling"),
        ("--purl", "pkg:pypi/flit_core@3.9.0", "pkg:pypi/flit-core@3.9.1"),
        ("--commit", COMMIT, "0000000000000000000000000000000000000000"),
        ("--tool", "xz-utils@5.6.0", "xz-utils@5.6.1"),
        ("--tool", "python@3.11.2", "python@3.12.0"),
        ("--tool", "flit-core", "poetry"),
        ("--tool", "Flit_Core@3.9.0", "flit_core@3.9.1"),
        ("--purl", "pkg:pypi/flit-core@3.9.0?repository_url=https://mirror.example", "pkg:pypi/flit-core@3.9.1?file_name=x"),
        ("--tool", "build@1.2", "build@1.3"),
        ("--operator", "operator-0", "operator-1"),
        ("--node", node.as_str(), other_node.as_str()),
        ("--since", "2026-01-15T00:00:00Z", "2026-01-15T00:00:01Z"),
        ("--until", "2026-01-15T00:00:00Z", "2026-01-14T23:59:59Z"),
    ] {
        let found = case.ask(&[option, holds]);
        assert_eq!(found.code, 1, "{option} {holds}: {}{}", found.stdout, found.stderr);
        assert!(found.stdout.contains("click-8.1.8-py3-none-any.whl"), "{}", found.stdout);
        let lied = case.ask(&[option, fails]);
        assert_eq!(lied.code, 0, "{option} {fails}: {}{}", lied.stdout, lied.stderr);
        assert!(lied.stderr.contains("does not hold"), "{}", lied.stderr);
    }
}

#[test]
fn all_criteria_must_hold_together() {
    let case = Case::new();
    assert_eq!(case.ask(&["--purl", "pkg:pypi/flit-core", "--commit", COMMIT, "--operator", "operator-0"]).code, 1);
    assert_eq!(case.ask(&["--purl", "pkg:pypi/flit-core", "--operator", "operator-1"]).code, 0);
}

#[test]
fn the_matched_dependency_and_the_state_are_shown() {
    let ran = Case::new().ask(&["--purl", "pkg:pypi/flit-core", "--tool", "xz-utils"]);
    insta::assert_snapshot!(masked(&ran.stdout), @r#"
    pending         click-8.1.8-py3-none-any.whl of pkg:pypi/click@8.1.8, sha256:<hex>
      dependency   pkg:pypi/flit-core@3.9.0?file_name=flit_core-3.9.0.whl sha256:<hex>  (operator-0)
      environment  xz-utils 5.6.0  (operator-0)
    1 artifact affected, by 1 signed result
    "#);
}

#[test]
fn the_json_lines_are_pinned() {
    let ran = Case::new().ask(&["--digest", &Digest::of(FLIT).to_string(), "--format", "json"]);
    insta::assert_snapshot!(masked(&ran.stdout), @r#"
    {"kind":"affected","schemaVersion":1,"artifact":{"package":"pkg:pypi/click@8.1.8","file":"click-8.1.8-py3-none-any.whl","digest":"sha256:<hex>"},"state":"pending","operator":"ed25519:<hex>","name":"operator-0","node":"ed25519:<hex>","finishedAt":"2026-01-15T00:00:00Z","result":"sha256:<hex>","class":"identical","provenance":"sha256:<hex>","matches":[{"criterion":"digest","place":"dependency","found":"pkg:pypi/flit-core@3.9.0?file_name=flit_core-3.9.0.whl sha256:<hex>"}]}
    {"kind":"summary","schemaVersion":1,"exit":1,"policy":"sha256:<hex>","artifacts":1,"rows":1,"refused":{},"unchecked":0,"truncated":false}
    "#);
}

#[test]
fn provenance_by_another_key_or_about_another_file_is_refused() {
    let world = World::new();
    let (digest, stranger) = (world.artifact.digest, SecretKey::from_seed(&[55; 32]));
    let by_stranger = provenance(digest, &stranger);
    let about_other = provenance(Digest::of(b"other"), world.members[0].key());
    for (provenance, said) in
        [(by_stranger, "not signed by the node"), (about_other, "about another file"), (b"garbage".to_vec(), "malformed envelope")]
    {
        let ran = Case::with(World::new(), provenance).ask(&["--purl", "pkg:pypi/flit-core"]);
        assert_eq!(ran.code, 0, "{}", ran.stdout);
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
}

#[test]
fn evidence_that_is_not_to_be_had_is_never_no_match() {
    let case = Case::new();
    let mut without = case.routes();
    without.remove(&blob(&case.provenance).0);
    let mut other_bytes = case.routes();
    other_bytes.insert(blob(&case.provenance).0, Reply::Bytes(b"other bytes".to_vec()));
    let mut without_inventory = case.routes();
    without_inventory.remove(&blob(&case.inventory).0);
    let mut cut_off = case.routes();
    cut_off.insert("/api/v1/affected".to_owned(), reply(&json!({"truncated": true, "affected": []})));
    for (routes, criterion) in [
        (without, ["--purl", "pkg:pypi/flit-core"]),
        (other_bytes, ["--purl", "pkg:pypi/flit-core"]),
        (without_inventory, ["--tool", "xz-utils"]),
        (cut_off, ["--tool", "xz-utils"]),
    ] {
        let ran = case.world.ask(routes, &["affected", criterion[0], criterion[1]]);
        assert_eq!(ran.code, 2, "{}{}", ran.stdout, ran.stderr);
    }
}

#[test]
fn one_row_with_endless_results_does_not_hide_the_others() {
    let case = Case::new();
    let bad = quorate_tests::artifact("flooded", "1.0", b"flooded");
    let row = |artifact, result: &[u8]| json!({"artifact": artifact, "result": Digest::of(result), "class": "identical"});
    let (flooded, sound) = (row(&bad, b"some"), row(&case.world.artifact, &case.world.items[0].envelope));
    for fault in [Reply::Status(500), Reply::Endless, Reply::Bytes(b"garbage".to_vec())] {
        for (rows, code) in [(vec![&flooded, &sound, &flooded], 1), (vec![&flooded, &flooded], 2)] {
            let mut routes = case.routes();
            routes.insert("/api/v1/affected".to_owned(), reply(&json!({"truncated": false, "affected": rows})));
            routes.insert(format!("/api/v1/artifacts/{}/results", bad.digest), fault.clone());
            let ran = case.world.ask(routes, &["affected", "--commit", COMMIT]);
            assert_eq!(ran.code, code, "{}{}", ran.stdout, ran.stderr);
            assert_eq!(ran.stdout.contains("click-8.1.8-py3-none-any.whl"), code == 1, "{}", ran.stdout);
            assert!(ran.stderr.contains("2 rows could not be checked"), "{}", ran.stderr);
        }
    }
}

#[test]
fn a_row_about_a_result_that_does_not_count_is_refused() {
    let mut case = Case::new();
    case.world.file("policy.toml", quorate_tests::policy(1, &case.world.members[1..]).as_bytes());
    let ran = case.ask(&["--commit", COMMIT]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    assert!(ran.stderr.contains("1 row of the coordinator refused: result does not count"), "{}", ran.stderr);
    case.world.items.clear();
}

#[test]
fn a_question_without_a_criterion_is_misuse() {
    let case = Case::new();
    assert_eq!(case.ask(&[]).code, 2);
    assert_eq!(case.ask(&["--commit", "934813e"]).code, 2);
    assert_eq!(case.ask(&["--operator", "nobody"]).code, 2);
}
