//! The node's own records as they come back from a disk, a peer or a sandbox. The first byte says which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_node::attest::Finding;
use quorate_node::definition::{Definition, Field};
use quorate_node::environment::{Difference, Inventory, installed};
use quorate_node::feed::record;
use quorate_node::pipeline::Job;
use quorate_node::queue::JobId;
use quorate_node::sandbox::Report;
use quorate_proto::verified::FeedItem;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 7 {
        0 => feed(bytes),
        1 => feed(&[record::MAGIC.as_slice(), bytes].concat()),
        2 => inventories(bytes),
        3 => jobs(bytes),
        4 => reports(bytes),
        5 => definition(bytes),
        _ => assert!(installed(&String::from_utf8_lossy(bytes)).len() <= bytes.len()),
    }
});

/// What a feed file holds up to its damage is what was written there.
fn feed(file: &[u8]) {
    let (found, good) = record::scan(file);
    assert!(good <= file.len());
    let mut again = if good > 0 { record::MAGIC.to_vec() } else { Vec::new() };
    for entry in &found {
        assert_eq!(&file[entry.offset..entry.offset + entry.content.len()], entry.content);
        again.extend(record::encode(entry.content));
        let _ = FeedItem::decode(entry.content);
    }
    assert_eq!(again, &file[..good]);
    if let Some(item) = FeedItem::decode(file).ok().filter(|item| !item.encode().is_empty()) {
        let whole = [record::MAGIC.as_slice(), &record::encode(&item.encode())].concat();
        assert_eq!(record::scan(&whole).1, whole.len());
    }
}

/// An inventory reads as what it was written from; what differs one way round differs the other.
fn inventories(bytes: &[u8]) {
    let mut parts = bytes.split(|byte| *byte == b'\n');
    let mut part = || Inventory::parse(parts.next().unwrap_or_default()).ok();
    let (Some(a), b) = (part(), part()) else { return };
    assert_eq!(Inventory::parse(&a.to_bytes()).ok().as_ref(), Some(&a));
    assert!(Difference::between(&a, &a).is_empty());
    if let Some(b) = b {
        let (forward, back) = (Difference::between(&a, &b), Difference::between(&b, &a));
        assert_eq!((&forward.only_a, &forward.only_b), (&back.only_b, &back.only_a));
        assert_eq!(forward.changed.len(), back.changed.len());
    }
}

/// A definition sets something, each thing once and nothing outside of the tree.
fn definition(bytes: &[u8]) {
    let Ok(definition) = Definition::parse(bytes) else { return };
    let settings = definition.settings();
    assert!(!settings.is_empty() && settings.len() == definition.overrides.len());
    assert!(definition.package.version().is_some());
    let is_inside = |folder: &String| !folder.starts_with('/') && folder.split('/').all(|part| part != "..");
    assert!(settings.get(&Field::Directory).is_none_or(is_inside));
    let reviewed = definition.overrides.iter().filter_map(|change| Some((change.field.clone(), change.instead_of.clone()?))).collect();
    assert_eq!(definition.drift(&reviewed), []);
    for field in settings.keys() {
        assert_eq!(field.to_string().parse().as_ref(), Ok(field));
    }
}

fn jobs(bytes: &[u8]) {
    if let Ok(job) = serde_json::from_slice::<Job>(bytes) {
        let again: Job = serde_json::from_slice(&serde_json::to_vec(&job).expect("JSON")).expect("a job");
        assert_eq!(JobId::of(&again), JobId::of(&job));
        assert_eq!(again, job);
    }
    if let Ok(finding) = serde_json::from_slice::<Finding>(bytes) {
        let text = serde_json::to_vec(&finding).expect("JSON");
        let again: Finding = serde_json::from_slice(&text).expect("a finding");
        assert_eq!(serde_json::to_vec(&again).expect("JSON"), text);
    }
}

fn reports(bytes: &[u8]) {
    let lines = Report::read(bytes);
    let again: Vec<u8> = lines.iter().flat_map(Report::to_line).collect();
    assert_eq!(Report::read(&again), lines);
}
