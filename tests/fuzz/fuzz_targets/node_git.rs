//! What git and forges answer, and what tags and commits say of their signers. The first byte says which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_node::resolve::git::signature::named_key;
use quorate_node::resolve::git::{VersionRule, place, tags};
use quorate_node::source::git::{fits, objects, remote, tags_in};
use quorate_proto::result::SignedObject;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    match kind % 6 {
        0 => answers(&text),
        1 => contents(bytes),
        2 => addresses(&text),
        3 => versions(&text),
        4 => key(bytes, SignedObject::Tag),
        _ => key(bytes, SignedObject::Commit),
    }
});

fn answers(text: &str) {
    let entries = objects::listed(text);
    assert!(entries.iter().map(|entry| entry.path.len() + entry.id.len()).sum::<usize>() <= text.len());
    assert!(objects::logged(text).len() <= text.lines().count());
    for tag in remote::tags_in(text).into_iter().chain(tags_in(text)) {
        assert!(!tag.object.is_empty() || !tag.commit.contains(' '));
    }
    let _ = fits::listing(text);
}

/// Objects are never more than the answer that they were read from.
fn contents(bytes: &[u8]) {
    let (mut rest, mut total) = (bytes, 0);
    for _ in 0..1000 {
        let before = rest.len();
        match objects::next_object(&mut rest) {
            Some(content) => total += content.len(),
            None if rest.len() == before => break,
            None => {}
        }
        assert!(rest.len() < before || before == 0);
    }
    assert!(total <= bytes.len());
}

/// Another address is said without anybody's password.
fn addresses(text: &str) {
    let asked = "https://forge.example/owner/name";
    if let Some(target) = remote::target_in(text, asked) {
        assert!(!target.contains(['?', '#', '\n']), "{target}");
        let url = url::Url::parse(&target).expect("an address");
        assert!(matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none(), "{target}");
    }
    if let Some(address) = place::elsewhere(asked, text) {
        let url = url::Url::parse(&address).expect("an address");
        assert!(url.scheme() == "https" && url.username().is_empty() && url.password().is_none(), "{address}");
    }
}

/// Tags that mean a version are among the tags, each once; a version is the same as itself.
fn versions(text: &str) {
    let mut lines = text.lines();
    let (name, version) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let names = [name.to_owned(), name.rsplit('/').next().unwrap_or_default().to_owned()];
    for rule in [VersionRule::Pep440, VersionRule::Semver] {
        let all: Vec<&str> = lines.clone().filter(|line| line.len() <= 255).collect();
        let found = tags::matching(all.iter().copied(), &names, version, rule);
        assert!(found.len() <= all.len() && found.iter().all(|tag| all.contains(tag)));
        for other in &all {
            assert_eq!(rule.is_same(other, version), rule.is_same(version, other), "{other:?} {version:?} {rule:?}");
            assert_eq!(rule.is_same_name(other, name), rule.is_same_name(name, other));
            let _ = rule.is_placeholder(other, version);
        }
    }
}

/// A key is a fingerprint, a key id, or what ssh-keygen prints: nothing that could be mistaken for more.
fn key(bytes: &[u8], object: SignedObject) {
    if let Some((_, key)) = named_key(bytes, object) {
        let is_hex = key.len() <= 64 && key.chars().all(|c| c.is_ascii_hexdigit());
        assert!(is_hex || key.len() == 50 && key.starts_with("SHA256:"), "{key}");
    }
}
