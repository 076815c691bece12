//! Two nodes of two operators that have done the same work check each other's word of it, and nothing more.

use quorate_proto::Digest;
use quorate_proto::build_witness::{Intermediate, Intermediates};
use quorate_proto::result::{FoundBy, Outcome, RebuiltFile, Source, SourceKind};
use serde_json::Value;

use super::*;

/// What a build left; `spoilt` files of it are another build's.
fn left(spoilt: u8) -> Intermediates {
    let content = |n: u8| if n < spoilt { vec![n, 1] } else { vec![n] };
    Intermediates::new((0..60).map(|n| Intermediate::of(&[n], &Digest::of(&content(n))))).unwrap()
}

/// A file that was rebuilt, by a build that left `intermediates`.
fn built(number: usize, intermediates: Option<Intermediates>) -> Finding {
    let blank = finding(number);
    let source = Source {
        kind: SourceKind::SourceDistribution,
        uri: "https://registry.example/sample.tar.gz".to_owned(),
        commit: None,
        tree: None,
        reference: None,
        directory: None,
        digest: Some(Digest::of(b"source")),
        found_by: FoundBy::Index,
        evidence: None,
        signature: None,
    };
    let rebuilt = RebuiltFile { digest: blank.published, size_bytes: 1, normal: None };
    Finding { source: Some(source), outcome: Outcome::Identical { rebuilt }, intermediates, ..blank }
}

/// Nodes that enrol each other, the first of them running.
fn pair() -> ([Node; 2], Child) {
    let nodes = [Node::new(&[]), Node::new(&[])];
    let operator = |(name, node): (&str, &Node)| format!("[[operator]]\nname = \"{name}\"\nkey = \"{}\"\n", node.operator);
    let operators: String = ["alpha", "beta"].into_iter().zip(&nodes).map(operator).collect();
    for node in &nodes {
        fs::write(node.path("policy.toml"), format!("version = 1\nthreshold = 2\n{operators}")).unwrap();
        let config = fs::read_to_string(node.path("node.toml")).unwrap();
        fs::write(node.path("node.toml"), config + "[commit]\nenabled = false\n").unwrap();
    }
    let first = nodes[0].start_ready();
    let addresses = nodes[0].ready().unwrap().addresses;
    let quoted: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    let config = fs::read_to_string(nodes[1].path("node.toml")).unwrap();
    fs::write(nodes[1].path("node.toml"), config.replace("bootstrap = []", &format!("bootstrap = [{}]", quoted.join(", ")))).unwrap();
    (nodes, first)
}

fn checks(node: &Node) -> Vec<Value> {
    node.entries().into_iter().filter(|entry| entry["entry"] == "witness-check").collect()
}

#[test]
fn two_builders_check_each_others_witness_once_and_a_copy_of_it_is_not_borne_out() {
    let (nodes, first) = pair();
    let second = nodes[1].start_ready();
    for (node, spoilt) in nodes.iter().zip([0, 60]) {
        node.add(&built(1, Some(left(0))));
        node.add(&built(2, Some(left(spoilt))));
        node.add(&built(3, None));
    }
    until("every check", || nodes.iter().all(|node| checks(node).len() == 2));
    for (node, other) in nodes.iter().zip(nodes.iter().rev()) {
        for check in checks(node) {
            assert_eq!(check["checked"]["node"], other.id.to_string());
            let (matched, compared) = (check["agreement"]["matched"].as_u64().unwrap(), check["agreement"]["compared"].as_u64().unwrap());
            let same_work = check["package"] == "pkg:pypi/sample@1";
            assert!(compared > 10 && matched == if same_work { compared } else { 0 }, "{check}");
        }
    }
    // Neither a restart nor what comes later makes them check again; a check is never checked.
    assert_eq!(terminate(first), 0);
    let first = nodes[0].start_ready();
    for node in &nodes {
        node.add(&built(4, Some(left(1))));
    }
    until("the check of the fourth", || nodes.iter().all(|node| checks(node).len() == 3));
    for node in &nodes {
        node.add(&built(5, None));
    }
    until("the fifth result", || nodes.iter().all(|node| node.entries().len() == 8));
    assert!(nodes.iter().all(|node| checks(node).len() == 3));
    assert_eq!((terminate(first), terminate(second)), (0, 0));
}

#[test]
fn whatever_is_killed_when_each_result_is_checked_exactly_once() {
    const RESULTS: usize = 24;
    let (nodes, first) = pair();
    for node in &nodes {
        (0..RESULTS).for_each(|number| node.add(&built(number, Some(left(0)))));
    }
    let mut random = Random(0x5EED_0002);
    for _ in 0..6 {
        let before = checks(&nodes[1]).len();
        let mut second = nodes[1].start_ready();
        if before < RESULTS {
            until("a check of this round", || checks(&nodes[1]).len() > before);
        }
        std::thread::sleep(Duration::from_micros(random.below(60_000)));
        second.kill().unwrap();
        second.wait().unwrap();
    }
    let second = nodes[1].start_ready();
    for (node, other) in nodes.iter().zip(nodes.iter().rev()) {
        until("every check", || checks(node).len() >= RESULTS);
        let checked: BTreeSet<String> = checks(node).iter().map(|check| check["checked"]["statement"].to_string()).collect();
        assert_eq!((checked.len(), checks(node).len()), (RESULTS, RESULTS), "of {}", other.id);
    }
    assert_eq!((terminate(first), terminate(second)), (0, 0));
}
