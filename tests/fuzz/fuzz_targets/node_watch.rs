//! What registries' feeds say: XML-RPC changelogs, change feeds, RSS, indexes of a Debian suite. The first byte
//! says which.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use quorate_node::registry::npm::packument;
use quorate_node::registry;
use quorate_node::watch::listing::Artifact;
use quorate_node::watch::pypi::{self, changelog};
use quorate_node::watch::xml::{Piece, Reader};
use quorate_node::watch::{cargo, debian, npm, store, wire};
use quorate_proto::Timestamp;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    match kind % 7 {
        0 => pieces(bytes),
        1 => {
            let _ = changelog::last_serial(bytes);
            let changes = changelog::entries(bytes).map(|entries| (entries.len(), changelog::changes(&entries)));
            assert!(changes.is_ok_and(|(entries, changes)| changes.len() <= entries) || changelog::entries(bytes).is_err());
        }
        2 => {
            let _ = npm::database(bytes);
            assert!(npm::changes(bytes).is_ok_and(|page| page.changes.len() <= page.rows) || npm::changes(bytes).is_err());
            let document = packument::parse(bytes, &"https://registry.example/demo".parse().expect("an address"));
            let listing = document.and_then(|document| npm::listing(&document, &"demo".parse().expect("a name"), None));
            listing.iter().for_each(|listing| plain(&listing.artifacts));
        }
        3 => {
            let _ = cargo::updates(bytes);
            let lines = registry::cargo::parse_whole(bytes, &"demo".parse().expect("a name"));
            lines.iter().for_each(|lines| plain(&cargo::listing(lines, None).artifacts));
        }
        4 => {
            let _ = pypi::projects(bytes);
            let base = "https://registry.example/simple/demo/".parse().expect("an address");
            let listing = pypi::listing(bytes, &base, &"demo".parse().expect("a name"), None);
            listing.iter().for_each(|listing| plain(&listing.artifacts));
        }
        5 => {
            let _ = registry::deb::release::ReleaseFile::parse(&text).map(|release| release.packages("main/binary-amd64"));
            debian::artifacts(bytes, "debian", None).iter().for_each(|artifacts| plain(artifacts));
        }
        _ => times(bytes, &text),
    }
});

/// Every element that begins ends, in order.
fn pieces(bytes: &[u8]) {
    let Ok(mut reader) = Reader::new(bytes) else { return };
    let mut open = Vec::new();
    loop {
        match reader.piece() {
            Ok(Some(Piece::Open(name))) => open.push(name),
            Ok(Some(Piece::Close(name))) => assert_eq!(open.pop(), Some(name)),
            Ok(Some(Piece::Text(text))) => assert!(text.len() <= bytes.len() && !open.is_empty()),
            Ok(None) => break assert!(open.is_empty()),
            Err(error) => break assert!(error.offset <= bytes.len()),
        }
    }
}

/// A file that becomes a job is of one version, and its package reads as itself.
fn plain(artifacts: &[Artifact]) {
    for artifact in artifacts {
        assert!(artifact.package.version().is_some(), "{}", artifact.package);
        assert_eq!(artifact.package.to_string().parse().as_ref(), Ok(&artifact.package));
        assert_eq!(artifact.key(), artifact.clone().key());
    }
}

/// A registry that asks for a rest gets one, and no longer one than a day.
fn times(bytes: &[u8], text: &str) {
    let now = Timestamp::from_unix_seconds(1_700_000_000);
    if let Some(then) = wire::retry_after(text, now) {
        assert!(then >= now && then <= now.plus(Duration::from_secs(86_400)));
    }
    if let Some(state) = store::read_state(bytes) {
        let again = serde_json::to_vec(&state).expect("JSON");
        assert!(store::read_state(&again).is_some());
    }
}
