//! What an archive can do wrong, and what a node says then.

use quorate_node::attest::Finding;
use quorate_node::pipeline::{Disposition, Engine, RebuildError};
use quorate_node::registry::deb::address::ArchiveSettings;
use quorate_node::release::deb::machine;
use quorate_proto::Digest;
use quorate_proto::result::{NotAttemptedReason, Outcome};

use super::archive::{DEB, Files, Key, PACKAGE, Parts, serve, sources};
use super::{config, rebuild};

/// What comes of the package when `key` is trusted.
async fn asked_for(package: &str, files: Files, key: &Key) -> Result<Finding, RebuildError> {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), folder.path().join("cache"));
    config.registries = [("deb".to_owned(), serve(files).await)].into();
    config.deb = ArchiveSettings { keyring: Some(key.keyring()), ..ArchiveSettings::default() };
    rebuild(&Engine::new(config).unwrap(), package).await
}

async fn asked(files: Files, key: &Key) -> Result<Finding, RebuildError> {
    asked_for(PACKAGE, files, key).await
}

fn words(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(words).unwrap_or_default();
    format!("{error}: {cause}")
}

fn summary(finding: &Finding) -> &str {
    match &finding.outcome {
        Outcome::SourceUnavailable { summary } => summary,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_archive_that_nobody_trusted_signed_says_nothing() {
    let (Some(key), Some(other)) = (Key::make(), Key::make()) else { return };
    let honest = Parts::honest();
    let mut unsigned = honest.files(&key);
    let bare = String::from_utf8(unsigned["dists/demo/InRelease"].clone().unwrap()).unwrap();
    let bare = bare.split("\n\n").nth(1).unwrap().split("-----BEGIN").next().unwrap().to_owned();
    unsigned.insert("dists/demo/InRelease".to_owned(), Some(bare.into_bytes()));
    let mut changed = honest.files(&key);
    let signed = String::from_utf8(changed["dists/demo/InRelease"].clone().unwrap()).unwrap();
    changed.insert("dists/demo/InRelease".to_owned(), Some(signed.replace("Suite: demo", "Suite: domo").into_bytes()));
    for files in [unsigned, changed, honest.files(&other)] {
        let error = asked(files, &key).await.unwrap_err();
        assert_eq!(error.disposition(), Disposition::Reject);
        assert!(words(&error).contains("is not signed by a key of"), "{}", words(&error));
    }
}

#[tokio::test]
async fn an_index_with_other_bytes_than_were_signed_is_not_read() {
    let Some(key) = Key::make() else { return };
    let mut files = Parts::honest().files(&key);
    files.insert(format!("dists/demo/main/binary-{}/Packages.xz", machine()), Some(b"other".to_vec()));
    let error = asked(files, &key).await.unwrap_err();
    assert_eq!(error.disposition(), Disposition::Reject);
    assert!(words(&error).contains("its index says"), "{}", words(&error));
}

#[tokio::test]
async fn an_archive_that_fails_is_asked_again_later() {
    let Some(key) = Key::make() else { return };
    for path in ["dists/demo/InRelease", "pool/demo_1.0_all.deb", "pool/demo_1.0.dsc"] {
        let mut files = Parts::honest().files(&key);
        files.insert(path.to_owned(), None);
        let error = asked(files, &key).await.unwrap_err();
        assert_eq!(error.disposition(), Disposition::Retry, "{path}: {}", words(&error));
    }
}

#[tokio::test]
async fn a_pool_file_that_is_not_the_signed_one_is_unavailable() {
    let Some(key) = Key::make() else { return };
    for bytes in [Some(b"the published bytez".to_vec()), None] {
        let mut files = Parts::honest().files(&key);
        files.remove("pool/demo_1.0_all.deb");
        files.extend(bytes.map(|bytes| ("pool/demo_1.0_all.deb".to_owned(), Some(bytes))));
        let finding = asked(files, &key).await.unwrap();
        assert!(matches!(finding.outcome, Outcome::ArtifactUnavailable { .. }), "{:?}", finding.outcome);
        assert_eq!((finding.published, finding.registry.index_checksum), (Digest::of(DEB), Some(Digest::of(DEB))));
    }
}

#[tokio::test]
async fn a_source_that_is_missing_or_of_something_else_is_unavailable() {
    let Some(key) = Key::make() else { return };
    let mut other_bytes = Parts::honest().files(&key);
    other_bytes.insert("pool/demo_1.0.tar.xz".to_owned(), Some(b"rat".to_vec()));
    let unlisted = Parts { sources: sources("").replace("1.0\nD", "2.0\nD"), ..Parts::honest() };
    let dsc = Parts::honest().dsc.replace("Source: demo", "Source: other");
    let of_another = Parts { sources: sources(&dsc), dsc, ..Parts::honest() };
    for (files, expected) in [
        (other_bytes, "its index says"),
        (unlisted.files(&key), "no source package demo 1.0 in demo"),
        (of_another.files(&key), "its .dsc is of other 1.0"),
    ] {
        let finding = asked(files, &key).await.unwrap();
        assert!(summary(&finding).contains(expected), "{}", summary(&finding));
    }
}

#[tokio::test]
async fn what_is_for_another_machine_is_not_attempted_and_what_is_not_there_is_rejected() {
    let Some(key) = Key::make() else { return };
    let foreign = Parts { packages: Parts::honest().packages.replace("Architecture: all", "Architecture: sparc64"), ..Parts::honest() };
    let finding = asked(foreign.files(&key), &key).await.unwrap();
    assert_eq!(finding.outcome, Outcome::NotAttempted { reason: NotAttemptedReason::ForeignPlatform });
    for package in ["pkg:deb/debian/demo@1.1?distro=demo", "pkg:deb/debian/demo?distro=demo", "pkg:deb/debian/demo@1.0?distro=..%2Fx"] {
        let error = asked_for(package, Parts::honest().files(&key), &key).await.unwrap_err();
        assert_eq!(error.disposition(), Disposition::Reject, "{package}: {}", words(&error));
    }
}
