//! Builders bear each other out: from a result that came too late to be blind to a verdict whose grades anybody makes
//! again, offline and from the log.

use std::collections::BTreeSet;
use std::fs;

use quorate_proto::bundle::Bundle;
use quorate_proto::dsse::Envelope;
use quorate_proto::statement::Statement;
use quorate_tally::{Grade, Verdict, VerdictSummary};
use quorate_tests::left;
use serde_json::Value;

use crate::network::{Network, Node, Release, text};
use crate::programs::{quorate, run, until};

/// The entries of a node's own feed of one kind.
fn entries(node: &Node, kind: &str) -> Vec<Value> {
    let said = run("quorate-node", &["feed", "--dir", text(&node.data()), "--format", "json"]);
    let all = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|entry| entry["entry"] == kind).collect()
}

fn verdict(bundle: &str) -> Verdict {
    let bundle = Bundle::parse(&fs::read(bundle).unwrap()).unwrap();
    let envelope = Envelope::parse(bundle.verdict.as_bytes(), 1 << 20).unwrap();
    Statement::<VerdictSummary>::parse(envelope.payload()).unwrap().predicate.verdict
}

/// A policy that asks for all votes, and for better ones than followers'.
fn strict(network: &Network) -> String {
    let lax = fs::read_to_string(network.policy()).unwrap();
    let text_of = lax.replacen("threshold = 2\n", "threshold = 3\ngrades = [\"blind\", \"witnessed\"]\n", 1);
    assert_ne!(lax, text_of);
    text(&network.write("strict.toml", &text_of)).to_owned()
}

#[test]
fn who_came_too_late_to_be_blind_is_borne_out_by_those_who_built_and_each_result_is_checked_once() {
    let mut network = Network::new(3);
    network.start_nodes();
    let cosigners = network.cosigners();
    network.start_coordinator(&cosigners, 2);
    let release = Release::new("built");
    // Two are bound to their answers before either is told; the third comes when it could have copied.
    network.nodes[..2].iter().for_each(|node| node.rebuilds(&release, Some(&left(1))));
    network.bundle(&release);
    let third = &network.nodes[2];
    let own = format!("ed25519:{}", own_hex(third));
    network.nodes[2].rebuilds(&release, Some(&left(1)));
    until("the checks", || network.nodes[..2].iter().all(|node| entries(node, "witness-check").len() == 1).then_some(()));
    for node in &network.nodes[..2] {
        let check = entries(node, "witness-check").remove(0);
        assert_eq!(check["checked"]["node"], own, "what the own result calls blind is not checked: {check}");
        assert_eq!(check["agreement"]["matched"], check["agreement"]["compared"]);
    }

    let (strict, server, digest) = (strict(&network), network.address(), release.digest().to_string());
    let path = network.path("strict.quorate");
    let bundle = until("a bundle that meets the strict policy", || {
        let asked = ["bundle", &digest, "--package", &release.package, "--server", &server, "--policy", &strict, "-o", text(&path)];
        let (code, _) = quorate(&asked);
        (code == 0).then(|| text(&path).to_owned())
    });
    let votes = verdict(&bundle).votes;
    let graded = |grade| votes.iter().filter(|vote| vote.grade == Some(grade)).count();
    assert_eq!((graded(Grade::Blind), graded(Grade::Witnessed)), (2, 1), "{votes:?}");
    let late = votes.iter().find(|vote| vote.grade == Some(Grade::Witnessed)).unwrap();
    assert!((1..=2).contains(&late.checks.len()), "{votes:?}");

    // Offline, and from the log alone.
    let (code, said) = quorate(&["monitor", "--once", "--server", &server, "--policy", &network.policy(), "--format", "json"]);
    let json: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &json["findings"]), (0, &Value::Array(Vec::new())), "{said}");
    network.coordinator = None;
    let (code, said) = quorate(&["verify", "--bundle", &bundle, "--policy", &strict]);
    assert_eq!(code, 0, "{said}");
    let mut lacking = Bundle::parse(&fs::read(&bundle).unwrap()).unwrap();
    lacking.checks.clear();
    let lacking = network.write("lacking.quorate", &String::from_utf8(lacking.to_bytes()).unwrap());
    let (code, said) = quorate(&["verify", "--bundle", text(&lacking), "--policy", &strict]);
    assert_eq!(code, 3, "{said}");

    // `kill -9`, and a second release: nobody checks the first again.
    for node in &mut network.nodes {
        node.daemon.as_mut().unwrap().kill();
    }
    network.start_nodes();
    let second = Release::new("built-again");
    network.nodes.iter().for_each(|node| node.rebuilds(&second, None));
    until("the second results", || network.nodes.iter().all(|node| entries(node, "result").len() == 2).then_some(()));
    for node in &network.nodes {
        let checks = entries(node, "witness-check");
        let checked: BTreeSet<_> = checks.iter().map(|check| check["checked"]["statement"].to_string()).collect();
        assert_eq!(checked.len(), checks.len(), "{}", node.name);
    }
    assert!(network.nodes[..2].iter().all(|node| entries(node, "witness-check").len() == 1));
}

/// The node's key, by the name of its feed.
fn own_hex(node: &Node) -> String {
    let feeds = fs::read_dir(node.data().join("feeds")).unwrap();
    let own = feeds.map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some_and(|ending| ending == "mark"));
    own.unwrap().file_stem().unwrap().to_str().unwrap().to_owned()
}
