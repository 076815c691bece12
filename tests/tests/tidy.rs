//! The house rules that a compiler does not check: edges between rooms, sizes, names, reasons.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Longest Rust file without its unit tests, in lines.
const FILE_LINES_MAX: usize = 600;

/// Largest kept input of a fuzz target, and all of them together, in bytes.
const FUZZ_INPUT_BYTES_MAX: u64 = 64 << 10;
const FUZZ_CORPUS_BYTES_MAX: u64 = 3 << 20;

/// Which rooms a room may use. Development dependencies are free: tests look everywhere.
const EDGES: [(&str, &[&str]); 13] = [
    ("quorate-proto", &[]),
    ("quorate-normalize", &["quorate-proto"]),
    ("quorate-tally", &["quorate-proto"]),
    ("quorate-tlog", &["quorate-proto"]),
    ("quorate-gossip", &["quorate-proto"]),
    ("quorate-listen", &[]),
    ("quorate-node", &["quorate-proto", "quorate-normalize", "quorate-tally", "quorate-tlog", "quorate-gossip", "quorate-listen"]),
    ("quorate-coordinator", &["quorate-proto", "quorate-normalize", "quorate-tally", "quorate-tlog", "quorate-gossip", "quorate-listen"]),
    ("quorate-client", &["quorate-proto", "quorate-normalize", "quorate-tally", "quorate-tlog"]),
    ("quorate-devnet", &["quorate-proto"]),
    ("quorate-tests", &["quorate-proto"]),
    ("quorate-hosts", &["quorate-proto", "quorate-devnet"]),
    ("quorate-sim", &["quorate-proto", "quorate-tally", "quorate-tlog", "quorate-gossip", "quorate-tests"]),
];

/// What the pure rooms must never reach, at any depth.
const IMPURE: [&str; 6] = ["tokio", "libp2p", "tonic", "reqwest", "axum", "sled"];
const PURE: [&str; 4] = ["quorate-proto", "quorate-normalize", "quorate-tally", "quorate-tlog"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn tracked(ending: &str) -> Vec<PathBuf> {
    let listed = Command::new("git").args(["ls-files", "-co", "--exclude-standard"]).current_dir(root()).output().unwrap();
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let text = String::from_utf8(listed.stdout).unwrap();
    text.lines().filter(|line| line.ends_with(ending)).map(|line| root().join(line)).filter(|path| path.exists()).collect()
}

/// Normal and build dependencies of every package in the graph, by name.
fn graph() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output =
        Command::new(cargo).args(["metadata", "--format-version", "1", "--offline", "--locked"]).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let names: BTreeMap<_, _> = metadata["packages"].as_array().unwrap().iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in metadata["resolve"]["nodes"].as_array().unwrap() {
        let uses = node["deps"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|dep| dep["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null()));
        let names_of = uses.map(|dep| names[dep["pkg"].as_str().unwrap()].clone());
        graph.entry(names[node["id"].as_str().unwrap()].clone()).or_default().extend(names_of);
    }
    graph
}

#[test]
fn rooms_use_only_the_rooms_that_they_may() {
    let graph = graph();
    let allowed: BTreeMap<_, BTreeSet<_>> = EDGES.iter().map(|(room, uses)| (*room, uses.iter().copied().collect())).collect();
    for (room, uses) in graph.iter().filter(|(name, _)| name.starts_with("quorate-")) {
        let allowed = allowed.get(room.as_str()).unwrap_or_else(|| panic!("room {room} is not in the list of edges"));
        for used in uses.iter().filter(|name| name.starts_with("quorate-")) {
            assert!(allowed.contains(used.as_str()), "{room} must not use {used}");
        }
    }
}

#[test]
fn pure_rooms_reach_no_runtime_and_no_network() {
    let graph = graph();
    for room in PURE {
        let mut reached = BTreeSet::new();
        let mut open = vec![room.to_owned()];
        while let Some(next) = open.pop() {
            for used in &graph[&next] {
                if reached.insert(used.clone()) {
                    open.push(used.clone());
                }
            }
        }
        for impure in IMPURE {
            assert!(!reached.contains(impure), "{room} reaches {impure}");
        }
    }
}

#[test]
fn every_dependency_has_a_reason() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let section = manifest.split("[workspace.dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    for line in section.lines().filter(|line| line.contains(" = ") && !line.starts_with("quorate-")) {
        assert!(line.split_once('#').is_some_and(|(_, reason)| reason.trim().len() > 8), "no reason: {line}");
    }
    for path in tracked("Cargo.toml").iter().filter(|path| !path.starts_with(root().join("tests/fuzz"))) {
        let text = fs::read_to_string(path).unwrap();
        let dependencies =
            text.split("\n[").filter(|section| section.trim_start_matches('[').split(']').next().unwrap().ends_with("dependencies"));
        for line in
            dependencies.filter(|s| !s.starts_with("workspace.")).flat_map(|s| s.lines().skip(1)).filter(|line| line.contains(" = "))
        {
            assert!(line.contains("workspace"), "{}: `{line}` does not come from the workspace", path.display());
        }
    }
}

#[test]
fn files_are_short_enough_to_be_read() {
    for path in tracked(".rs") {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
        assert!(lines <= FILE_LINES_MAX, "{} has {lines} lines, limit {FILE_LINES_MAX}", path.display());
    }
}

#[test]
fn files_are_named_for_what_they_hold() {
    let banned = ["utils", "util", "helpers", "helper", "common", "misc", "manager", "types", "models", "mod"];
    for path in tracked(".rs") {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        assert!(!banned.contains(&stem), "{} says nothing by its name", path.display());
    }
}

#[test]
fn every_file_opens_by_saying_what_it_is_for() {
    for path in tracked(".rs") {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//!") || text.starts_with("#!["), "{} has no module doc", path.display());
    }
}

#[test]
fn every_fuzz_target_is_listed_and_every_listed_one_exists() {
    let manifest = fs::read_to_string(root().join("tests/fuzz/Cargo.toml")).unwrap();
    let listed: BTreeSet<_> =
        manifest.lines().filter_map(|line| Some(line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\"")?.to_owned())).collect();
    let targets = tracked(".rs").into_iter().filter(|path| path.starts_with(root().join("tests/fuzz/fuzz_targets")));
    let standing: BTreeSet<_> = targets.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(listed, standing);
    assert!(!listed.is_empty());
}

#[test]
fn every_fuzz_target_has_kept_inputs_and_they_are_small() {
    let targets = tracked(".rs").into_iter().filter(|path| path.starts_with(root().join("tests/fuzz/fuzz_targets")));
    let targets: BTreeSet<_> = targets.map(|path| path.file_stem().unwrap().to_owned()).collect();
    let corpus = root().join("tests/fuzz/corpus");
    let inputs: Vec<PathBuf> = tracked("").into_iter().filter(|path| path.starts_with(&corpus)).collect();
    let kept: BTreeSet<_> = inputs.iter().map(|path| path.parent().unwrap().file_name().unwrap().to_owned()).collect();
    assert_eq!(kept, targets);
    let sizes: Vec<u64> = inputs.iter().map(|path| fs::metadata(path).unwrap().len()).collect();
    assert!(sizes.iter().all(|size| *size <= FUZZ_INPUT_BYTES_MAX));
    assert!(sizes.iter().sum::<u64>() <= FUZZ_CORPUS_BYTES_MAX);
}

#[test]
fn links_between_documents_lead_somewhere() {
    for path in tracked(".md") {
        let text = fs::read_to_string(&path).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap();
            if file.is_empty() || file.contains("://") || file.starts_with("mailto:") {
                continue;
            }
            assert!(path.parent().unwrap().join(file).exists(), "{}: link to {target} leads nowhere", path.display());
        }
    }
}
