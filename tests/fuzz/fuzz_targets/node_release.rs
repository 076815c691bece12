//! What published archives say about their own making, and what becomes of it in a plan. The first byte says
//! which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_node::plan::pypi::{checked_requirement, generator::Generator};
use quorate_node::registry::npm::packument::version;
use quorate_node::release::cargo::archive::read_from;
use quorate_node::release::npm::archive::read_members;
use quorate_node::release::pypi::{Metadata, members_of, sdist_facts, wheel_facts};
use quorate_node::resolve::git::{GitAccess, place::Place};
use quorate_node::source::commit_id::is_commit;
use quorate_node::source::npm::lock::{LockKind, parse};

const MEMBERS_BYTES_MAX: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 5 {
        0 => wheel(bytes),
        1 => tar(bytes),
        2 => requirement(&String::from_utf8_lossy(bytes)),
        3 => generator(&String::from_utf8_lossy(bytes)),
        _ => lock(bytes),
    }
});

fn tar(bytes: &[u8]) {
    sdist_facts(bytes).iter().for_each(plain);
    if let Ok(archive) = read_members(bytes) {
        assert!(archive.manifest.is_null() || archive.manifest.is_object());
        assert!(archive.members.keys().all(|path| !path.is_empty() && !path.ends_with('/')));
    }
    if let Ok(published) = read_from(bytes) {
        mirrored(&published.repositories);
        assert!(published.commit.is_none_or(|commit| is_commit(&commit)));
        assert!(published.folder.is_none_or(|folder| !folder.starts_with('/') && folder.split('/').all(|part| part != "..")));
    }
}

/// What a lock file pins is packages and versions.
fn lock(bytes: &[u8]) {
    for kind in LockKind::ALL {
        for versions in parse(kind, bytes).pins.values() {
            assert!(!versions.is_empty() && versions.keys().all(|text| version(text).is_some()));
        }
    }
}

fn wheel(bytes: &[u8]) {
    if let Some(facts) = wheel_facts(bytes) {
        plain(&facts);
    }
    if let Some(members) = members_of(bytes, 20, MEMBERS_BYTES_MAX) {
        assert!(members.len() <= 20 && members.iter().map(|(_, content)| content.len() as u64).sum::<u64>() <= MEMBERS_BYTES_MAX);
    }
}

/// No word of a publisher leads out of the folder of mirrors.
fn plain(facts: &Metadata) {
    mirrored(&facts.repositories);
    if let Some(text) = &facts.generator {
        generator(text);
    }
}

fn mirrored(addresses: &[String]) {
    let mirror = "https://=/mirrors/{owner}+{name}/repo".parse().expect("a rule");
    let access = GitAccess { mirrors: vec![mirror], ..GitAccess::default() };
    for address in addresses {
        let Some(Place::Folder(folder)) = access.place(address) else { panic!("{address}") };
        let parts: Vec<_> = folder.components().collect();
        assert!(parts.len() == 4 && folder.starts_with("/mirrors") && folder.ends_with("repo"), "{address}");
    }
}

/// What pip is told is a requirement of one line with no address, in a spelling that stays.
fn requirement(text: &str) {
    if let Ok(checked) = checked_requirement(text) {
        assert!(!checked.contains(char::is_control) && !checked.starts_with('-') && !checked.contains(" @ "), "{checked:?}");
        assert_eq!(checked_requirement(&checked).as_deref().ok(), Some(checked.as_str()), "{text:?}");
    }
}

fn generator(text: &str) {
    let Some(generator) = Generator::parse(text) else { return };
    for pin in generator.pins(None).into_iter().chain(generator.pins(Some("<57"))) {
        if pin.to_string().len() < 500 {
            let checked = checked_requirement(&pin.to_string());
            assert!(checked.is_ok(), "{pin}: {checked:?}");
        }
    }
}
