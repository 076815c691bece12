//! Whoever watches the log: our monitor and mirrors against a real coordinator, and foreign readers of what it serves.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::bench::{Judge, ask, python};
use crate::network::{Network, ORIGIN, Release, text};
use crate::programs::{program, quorate, run, until};

/// The watcher's command against the coordinator.
fn watch(network: &Network, command: &[&str], more: &[&str]) -> (i32, String) {
    let (server, policy) = (network.address(), network.policy());
    quorate(&[command, &["--server", &server, "--policy", &policy], more].concat())
}

/// The file of the node's own feed.
fn feed(network: &Network, node: usize) -> String {
    let feeds = fs::read_dir(network.nodes[node].data().join("feeds")).unwrap();
    let own = feeds.map(|entry| entry.unwrap().path()).find(|path| path.with_extension("mark").exists());
    own.unwrap().with_extension("feed").to_str().unwrap().to_owned()
}

#[test]
fn a_monitor_makes_every_verdict_again_finds_its_own_results_and_a_mirror_serves_the_same_log() {
    let mut network = Network::new(3);
    network.start_nodes();
    let cosigners = network.cosigners();
    network.start_coordinator(&cosigners, 2);
    let releases: Vec<_> = ["one", "two"].into_iter().map(Release::new).collect();
    for release in &releases {
        network.release(release);
    }
    for release in &releases {
        network.bundle(release);
    }

    // Own results, by feed and by key.
    let own = feed(&network, 0);
    let key = format!("ed25519:{}", Path::new(&own).file_stem().unwrap().to_str().unwrap());
    let witness = &cosigners[1].url;
    let (code, said) = watch(&network, &["monitor", "--once"], &["--own", &own, "--own", &key, "--witness", witness, "--format", "json"]);
    assert_eq!(code, 0, "{said}");
    let json: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&json["findings"], &json["views"][0]["standing"]), (&Value::Array(Vec::new()), &"consistent".into()), "{json}");
    assert!(json["verdicts"].as_u64().unwrap() >= 2 && json["otherEngines"] == 0, "{json}");
    // A commitment and a result for each of the two.
    for looked in json["own"].as_array().unwrap() {
        assert_eq!((&looked["held"], &looked["logged"], &looked["missingCount"]), (&4.into(), &4.into(), &0.into()), "{json}");
    }

    // An old copy of the feed: the log has what it has not. A longer one: the log lacks it.
    let bytes = fs::read(&own).unwrap();
    let record = 8 + usize::try_from(u32::from_le_bytes(bytes[8..12].try_into().unwrap())).unwrap();
    let shorter = network.path("shorter.feed");
    fs::write(&shorter, &bytes[..8 + record]).unwrap();
    let (code, said) = watch(&network, &["monitor", "--once"], &["--own", text(&shorter)]);
    assert!(code == 1 && said.contains("which the feed has not"), "{said}");
    let unknown = format!("ed25519:{}", "7".repeat(64));
    let (code, said) = watch(&network, &["monitor", "--once"], &["--own", &unknown]);
    assert!(code == 3 && said.contains("MISSING"), "{said}");

    // A mirror: copied, checked from its files alone, added to, read by a monitor with no server.
    let folder = network.path("mirror");
    let folder = text(&folder);
    let (code, said) = watch(&network, &["mirror", folder], &[]);
    assert!(code == 0 && said.starts_with("holds"), "{said}");
    let third = Release::new("three");
    network.release(&third);
    network.bundle(&third);
    let (code, said) = watch(&network, &["mirror", folder], &[]);
    assert!(code == 0 && !said.contains(" 0 entries copied"), "{said}");
    judges_read(&network, &network.address());

    network.coordinator = None;
    let policy = network.policy();
    let (code, said) = quorate(&["mirror", folder, "--check", "--policy", &policy]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = quorate(&["monitor", "--once", "--mirror", folder, "--own", &feed(&network, 1), "--policy", &policy]);
    assert!(code == 0 && said.contains("6 of 6 in the log"), "{said}");
    judges_read(&network, folder);

    // A byte of an entry is another.
    let size = fs::read_to_string(network.path("mirror/checkpoint")).unwrap().lines().nth(1).unwrap().to_owned();
    let bundle = network.path("mirror/tile/entries/000.p").join(size);
    let mut bytes = fs::read(&bundle).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&bundle, bytes).unwrap();
    let (code, said) = quorate(&["mirror", folder, "--check", "--policy", &policy]);
    assert!(code == 1 && said.contains("do not lead to"), "{said}");
}

/// Foreign readers accept what is served, over HTTP and from files.
fn judges_read(network: &Network, location: &str) {
    if let Some(judge) = Judge::AicsTlog.summon() {
        let common = ["--log-key", &network.vkey, "--origin", ORIGIN, "--tiles", location];
        judge.accepts(&[&["verify-checkpoint"], &common[..]].concat());
        judge.accepts(&[&["verify-inclusion"], &common[..], &["--index", "1"]].concat());
    }
    if let Some(judge) = Judge::TlogScales.summon() {
        judge.accepts(&["tiles", location, &network.vkey]);
    }
    if let Some(judge) = Judge::Sumdb.summon() {
        judge.accepts(&["tiles", location, &network.vkey]);
    }
}

#[test]
fn a_node_looks_for_what_it_handed_in_and_finds_it_in_the_log() {
    let mut network = Network::new(2);
    network.start_nodes();
    let cosigners = network.cosigners();
    network.start_coordinator(&cosigners[1..], 1);
    let address = network.address();
    network.nodes[0].daemon = None;
    network.nodes[0].more = format!("[coordinator]\nsubmit = \"{address}\"\n");
    network.nodes[0].start(&[]);
    network.release(&Release::new("sought"));
    let data = network.nodes[0].data();
    until("the own entries", || {
        let said = program("quorate-node").args(["sync-status", "--format", "json", "--dir", text(&data)]).output().unwrap();
        let json: Value = serde_json::from_slice(&said.stdout).ok()?;
        let own = &json["own"];
        // The commitment at least.
        let found = own["next"].as_u64()? >= 1 && own["next"] == own["acknowledged"];
        (found && own["missing"].is_null() && said.status.success()).then_some(())
    });
}

#[test]
fn a_node_writes_its_result_as_a_link_that_in_toto_reads() {
    let mut network = Network::new(1);
    network.start_nodes();
    let release = Release::new("linked");
    network.release(&release);
    let data = network.nodes[0].data();
    let (data, digest) = (text(&data), release.digest().to_string());
    let links = network.path("links");
    fs::create_dir(&links).unwrap();
    until("the result", || (!run("quorate-node", &["feed", "--dir", data, "--format", "json"]).is_empty()).then_some(()));
    let path = run("quorate-node", &["links", "--dir", data, "--out", text(&links), &digest]);
    let envelope: Value = serde_json::from_slice(&fs::read(path.trim()).unwrap()).unwrap();
    let key_id = envelope["signatures"][0]["keyid"].as_str().unwrap();
    assert!(path.trim().ends_with(&format!("rebuild.{}.link", &key_id[..8])), "{path}");
    let other = quorate_proto::Digest::of(b"another").to_string();
    let ended = program("quorate-node").args(["links", "--dir", data, "--out", text(&links), &other]).output().unwrap();
    assert_eq!(ended.status.code(), Some(3));

    if Judge::InToto.summon().is_none() {
        return;
    }
    fs::write(network.path(&release.file), &release.content).unwrap();
    let own = feed(&network, 0);
    let mut layout = python("layout.py");
    layout.arg(network.path("")).args(["1", &release.file, Path::new(&own).file_stem().unwrap().to_str().unwrap()]);
    assert!(ask(&mut layout).accepts);
    let mut verify = Judge::InToto.command();
    verify.args(["--layout", "root.layout", "--verification-keys", "owner.pub", "--link-dir", "links"]);
    let said = ask(verify.current_dir(network.path("")));
    assert!(said.accepts, "{}", said.words);
}
