//! Golden vectors for the tally: policy and results in, verdict out.
//!
//! A changed vector is a protocol change. `QUORATE_UPDATE_VECTORS=1` writes them anew.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;

use quorate_proto::feed::EquivocationProof;
use quorate_proto::verified::{FeedItem, VerifiedStatement};
use quorate_proto::{ArtifactId, Digest};
use quorate_tally::{Policy, tally};
use quorate_tests::{Member, artifact, different, equivalent, failed, identical, policy};
use serde_json::{Value, json};

/// A picture of votes (see the tests beside this), and what is special.
struct Case {
    what: &'static str,
    policy: String,
    items: Vec<FeedItem>,
    equivocations: Vec<[FeedItem; 2]>,
}

fn click() -> ArtifactId {
    artifact("click", "8.1.8", b"click")
}

fn five() -> Vec<Member> {
    (1..=5).map(Member::new).collect()
}

fn votes(members: &mut [Member], row: &str) -> Vec<FeedItem> {
    let says = row.chars().zip(members).filter_map(|(letter, member)| {
        let outcome = match letter {
            'i' => identical(&click()),
            'e' => equivalent(),
            'f' => failed(),
            '.' => return None,
            other => different(&other.to_string(), "click/evil.py"),
        };
        Some(member.says(&click(), outcome))
    });
    says.collect()
}

fn pictured(what: &'static str, row: &str, threshold: usize, rules: &str) -> Case {
    let mut members = five();
    let policy = format!("{}{rules}", policy(threshold, &members));
    Case { what, policy, items: votes(&mut members, row), equivocations: Vec::new() }
}

/// One operator with three nodes that say what the picture says.
fn joined(what: &'static str, row: &str) -> Case {
    let mut nodes = Member::with_nodes(1, 3);
    let policy = policy(1, [&nodes[0]]);
    Case { what, policy, items: votes(&mut nodes, row), equivocations: Vec::new() }
}

fn superseded() -> Case {
    let mut members = five();
    let mut items = votes(&mut members, "aiiff");
    items.push(members[0].says(&click(), identical(&click())));
    Case { what: "a node's later word counts", policy: policy(3, &members), items, equivocations: Vec::new() }
}

fn registry_split() -> Case {
    let mut members = five();
    let mut items = votes(&mut members, "iii..");
    let other = ArtifactId { digest: Digest::of(b"other"), ..click() };
    items.push(members[3].says(&other, failed()));
    Case { what: "other bytes under the same name", policy: policy(3, &members), items, equivocations: Vec::new() }
}

/// The operator's other node, which says nothing here, has signed two histories.
fn equivocated() -> Case {
    let mut members = five();
    let items = votes(&mut members, "iii..");
    let node = Member::with_nodes(1, 2).remove(1);
    let pair = [identical(&click()), failed()].map(|outcome| node.says_at(node.position(), &click(), outcome));
    Case { what: "an operator with an equivocating node", policy: policy(3, &members), items, equivocations: vec![pair] }
}

fn certified_twice() -> Case {
    let mut members = five();
    let mut items = votes(&mut members, "iii..");
    items.push(FeedItem { certificate: members[3].certifies(&members[0]), ..items[0].clone() });
    Case {
        what: "a result under another operator's certificate does not count",
        policy: policy(3, &members),
        items,
        equivocations: Vec::new(),
    }
}

fn cases() -> Vec<Case> {
    vec![
        pictured("reproduced", "iiiii", 3, ""),
        pictured("equivalent", "iie..", 3, ""),
        pictured("suspect, with a dissenter", "aaaai", 3, ""),
        pictured("differing, but not alike", "aabbc", 3, ""),
        pictured("pending for want of agreement", "aaiif", 3, ""),
        pictured("unbuildable", "fff..", 3, ""),
        pictured("pending for want of votes", "ii...", 3, ""),
        pictured("contested", "aaii.", 2, ""),
        pictured("a tie between two other results", "aabb.", 2, ""),
        pictured("a level that the policy does not allow", "eeeii", 3, "\n[allow]\nlevels = [\"stream\"]\n"),
        pictured("a source kind that the policy does not allow", "iiiii", 3, "\n[allow]\nsources = [\"source-archive\"]\n"),
        joined("nodes that agree are one vote", "iie"),
        joined("a failed build says nothing against a node that built", "ffi"),
        joined("nodes that contradict each other are none", "iaf"),
        superseded(),
        registry_split(),
        equivocated(),
        certified_twice(),
    ]
}

fn row(case: &Case) -> Value {
    let rules = Policy::parse(&case.policy).unwrap();
    let statements: Vec<_> = case.items.iter().filter_map(|item| VerifiedStatement::verify_item(item, rules.enrolled()).ok()).collect();
    let prove = |[first, second]: &[FeedItem; 2]| EquivocationProof::verify(first.clone(), second.clone(), rules.enrolled()).unwrap();
    let proofs: Vec<_> = case.equivocations.iter().map(prove).collect();
    let exact = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let item = |item: &FeedItem| json!({ "certificate": exact(&item.certificate), "envelope": exact(&item.envelope) });
    json!({
        "what": case.what,
        "policy": case.policy,
        "artifact": click(),
        "results": case.items.iter().map(item).collect::<Vec<_>>(),
        "equivocations": case.equivocations.iter().map(|pair| pair.each_ref().map(item)).collect::<Vec<_>>(),
        "verdict": tally(&rules, &click(), &statements, &proofs),
    })
}

#[test]
fn verdicts() {
    let rows: Vec<Value> = cases().iter().map(row).collect();
    let vectors = json!({ "description": "policy, results and proofs of equivocation in, verdict out", "vectors": rows });
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/tally.json");
    let text = format!("{}\n", serde_json::to_string_pretty(&vectors).unwrap());
    if std::env::var_os("QUORATE_UPDATE_VECTORS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "tally.json has changed: that is a protocol change");
}
