//! The same package again, from an archive that writes down what it is asked for.

use quorate_node::pipeline::Engine;
use quorate_node::registry::deb::address::ArchiveSettings;
use quorate_node::release::deb::machine;
use quorate_node::traffic::Fetched;
use quorate_proto::Digest;
use quorate_proto::result::{NotAttemptedReason, Outcome};

use super::archive::{DEB, Files, Key, PACKAGE, Parts, serve_counted, sources};
use super::counted::{Counted, damage};
use super::{config, rebuild};

/// A package whose source is of something else: everything is fetched for it and nothing is built, which needs a
/// whole archive. That a build fetches nothing either, [`super::real`] shows.
#[tokio::test]
async fn a_second_look_within_the_hour_asks_for_nothing_and_damage_is_noticed() {
    let Some(key) = Key::make() else { return };
    let dsc = Parts::honest().dsc.replace("Source: demo", "Source: other");
    let counted = Counted::default();
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), folder.path().join("cache"));
    let parts = Parts { sources: sources(&dsc), dsc, ..Parts::honest() };
    config.registries = [("deb".to_owned(), serve_counted(parts.files(&key), &counted).await)].into();
    config.deb = ArchiveSettings { keyring: Some(key.keyring()), ..ArchiveSettings::default() };
    let looked = || async {
        let finding = rebuild(&Engine::new(config.clone()).unwrap(), PACKAGE).await.unwrap();
        assert!(matches!(finding.outcome, Outcome::SourceUnavailable { .. }), "{:?}", finding.outcome);
        assert_eq!(finding.published, Digest::of(DEB));
        (finding.fetched, counted.asked())
    };
    let (fetched, asked) = looked().await;
    assert_eq!(fetched.requests, asked.len() as u64);
    let is_there = |(_, status): &&(String, u16)| *status == 200;
    let files = asked.iter().filter(is_there).filter(|(path, _)| !path.ends_with("InRelease")).count();
    assert_eq!(files, 5, "two indexes, the package, the .dsc and what it lists: {asked:?}");
    assert_eq!(looked().await, (Fetched::default(), Vec::new()));
    assert_eq!(damage(&config.cache_dir), 5);
    let again = looked().await.1;
    assert_eq!(again.iter().filter(is_there).count(), 5, "{again:?}");
    assert!(again.iter().all(|(path, _)| !path.ends_with("InRelease")), "{again:?}");
}

#[tokio::test]
async fn a_changed_digest_is_noticed_when_the_hour_is_over_and_what_has_not_changed_transfers_nothing() {
    let Some(key) = Key::make() else { return };
    let foreign = |digest: Digest| {
        let packages = Parts::honest().packages.replace("Architecture: all", "Architecture: sparc64");
        Parts { packages: packages.replace(&Digest::of(DEB).to_hex(), &digest.to_hex()), ..Parts::honest() }.files(&key)
    };
    let (mut files, changed) = (foreign(Digest::of(DEB)), foreign(Digest::of(b"other")));
    let text = |files: &Files| String::from_utf8(files["dists/demo/InRelease"].clone().unwrap()).unwrap();
    let edited = (text(&files), text(&changed));
    let binary = format!("dists/demo/main/binary-{}", machine());
    let index = changed[&format!("{binary}/Packages.xz")].clone().unwrap();
    files.insert(format!("{binary}/by-hash/SHA256/{}", Digest::of(&index).to_hex()), Some(index));
    let counted = Counted::default();
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), folder.path().join("cache"));
    config.registries = [("deb".to_owned(), serve_counted(files, &counted).await)].into();
    config.deb = ArchiveSettings { keyring: Some(key.keyring()), ..ArchiveSettings::default() };
    let looked = || async {
        let finding = rebuild(&Engine::new(config.clone()).unwrap(), PACKAGE).await.unwrap();
        assert_eq!(finding.outcome, Outcome::NotAttempted { reason: NotAttemptedReason::ForeignPlatform });
        make_old(&config.cache_dir);
        let asked: Vec<_> = counted.asked().into_iter().filter(|(_, status)| *status != 404).map(|(_, status)| status).collect();
        (finding.published, asked)
    };
    assert_eq!(looked().await, (Digest::of(DEB), vec![200, 200]));
    assert_eq!(looked().await, (Digest::of(DEB), vec![304]));
    counted.edit("/dists/demo/InRelease", &edited.0, &edited.1);
    assert_eq!(looked().await, (Digest::of(b"other"), vec![200, 200]));
}

/// Lets what is kept of documents be two hours older.
fn make_old(cache: &std::path::Path) {
    for entry in std::fs::read_dir(cache.join("derived")).unwrap() {
        let path = entry.unwrap().path();
        if !path.file_name().unwrap().to_string_lossy().starts_with("document-") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        let mut line: serde_json::Value = serde_json::from_slice(&bytes[..end]).unwrap();
        let checked_at: quorate_proto::Timestamp = line["checkedAt"].as_str().unwrap().parse().unwrap();
        let then = quorate_proto::Timestamp::from_unix_seconds(checked_at.unix_seconds() - 7200);
        line["checkedAt"] = serde_json::json!(then);
        std::fs::write(&path, [&serde_json::to_vec(&line).unwrap(), &bytes[end..]].concat()).unwrap();
    }
}
