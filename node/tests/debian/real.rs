//! Real packages of Debian, rebuilt in a real root. Where the archive cannot be reached or lacks a file, or
//! mmdebstrap is missing, the case is skipped and says so.

use std::collections::BTreeMap;

use quorate_node::cache::Cache;
use quorate_node::environment::Inventory;
use quorate_node::fetch::deb::fetch;
use quorate_node::pipeline::{Disposition, Engine};
use quorate_node::plan::deb::{Attempt, Parts, Versions, plan};
use quorate_node::proxy::deb::OpenSuites;
use quorate_node::registry::Http;
use quorate_node::registry::deb::{OF_THE_HOUR, Suite, index};
use quorate_node::release::deb::{Facts, OpenSuite, index_name};
use quorate_node::resolve::Debian;
use quorate_node::sandbox::{Limits, Sandbox};
use quorate_node::traffic::Fetched;
use quorate_node::workshop::{BuildError, Tools, Workshop};
use quorate_proto::Digest;
use quorate_proto::result::{EnvironmentClass, FoundBy, Outcome, Phase, SourceKind};

use super::archive::native;
use super::roots::{can_make_roots, roots};
use super::{config, rebuild};

/// Small point releases for all machines, the quickest first.
const SMALL: [&str; 5] = [
    "kernel-wedge@2.106~deb12u1",
    "distro-info-data@0.58%2Bdeb12u7",
    "debootstrap@1.0.128%2Bnmu2%2Bdeb12u2",
    "debian-archive-keyring@2023.3%2Bdeb12u2",
    "ca-certificates@20230311%2Bdeb12u1",
];

#[tokio::test]
async fn five_small_packages_are_rebuilt_to_the_byte() {
    if !can_make_roots() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::new(config(folder.path(), roots())).unwrap();
    let mut inventories = BTreeMap::new();
    for package in SMALL {
        let finding = match rebuild(&engine, &format!("pkg:deb/debian/{package}?distro=bookworm")).await {
            Ok(finding) => finding,
            Err(error) => {
                let is_known = matches!(error.disposition(), Disposition::Retry) || format!("{error:?}").contains("UnknownVersion");
                assert!(is_known, "{package}: {error:?}");
                eprintln!("SKIPPED {package}: {error}, {:?}", std::error::Error::source(&error).map(ToString::to_string));
                continue;
            }
        };
        if matches!(finding.outcome, Outcome::ArtifactUnavailable { .. } | Outcome::SourceUnavailable { .. }) {
            eprintln!("SKIPPED {package}: the mirror lacks a file: {:?}", finding.outcome);
            continue;
        }
        assert!(matches!(finding.outcome, Outcome::Identical { .. }), "{package}: {:?}", finding.outcome);
        eprintln!("{package}: identical, {:?}, {:?}", finding.seconds, finding.fetched);
        assert_eq!(finding.registry.index_checksum, Some(finding.published));
        let source = finding.source.as_ref().unwrap();
        assert_eq!((source.kind, source.found_by), (SourceKind::SourceArchive, FoundBy::Archive));
        assert_eq!(finding.environment.class, EnvironmentClass::Rootfs);
        let inventory = Inventory::parse(&finding.blobs[0]).unwrap();
        assert_eq!(inventory.environment(), finding.environment);
        assert!(inventory.packages.iter().any(|package| package.name == "debhelper"), "build requirements are in the inventory");
        let provenance = &finding.provenance.as_ref().unwrap().predicate.build_definition;
        let names: Vec<_> = provenance.resolved_dependencies.iter().map(|one| one.name.as_str()).collect();
        assert!(names.contains(&"InRelease") && names.iter().any(|name| name.starts_with("debhelper_")), "{names:?}");
        assert_eq!(finding.violations, [""; 0]);
        assert_eq!(finding.assists[0].name, "suite-as-it-is");
        inventories.insert(package, (finding.published, inventory));
    }
    if let Some((published, inventory)) = inventories.get(SMALL[0]) {
        let again = rebuild(&engine, &format!("pkg:deb/debian/{}", SMALL[0])).await.unwrap();
        assert_eq!((again.published, again.fetched), (*published, Fetched::default()));
        with_the_versions_of(*published, inventory).await;
    }
}

/// The same package again, with a `.buildinfo` that names the versions of an inventory.
async fn with_the_versions_of(published: Digest, inventory: &Inventory) {
    let folder = tempfile::tempdir().unwrap();
    let installed: Vec<_> = inventory.packages.iter().map(|package| format!(" {} (= {})", package.name, package.version)).collect();
    let text = format!(
        "Format: 1.0\nSource: kernel-wedge\nChecksums-Sha256:\n {} 1 kernel-wedge_2.106~deb12u1_all.deb\nInstalled-Build-Depends:\n{}\n",
        published.to_hex(),
        installed.join(",\n")
    );
    std::fs::write(folder.path().join("kernel-wedge_2.106~deb12u1_all.buildinfo"), text).unwrap();
    let mut config = config(folder.path(), roots());
    config.deb.buildinfo_dir = Some(folder.path().into());
    let finding = rebuild(&Engine::new(config).unwrap(), &format!("pkg:deb/debian/{}", SMALL[0])).await.unwrap();
    assert!(matches!(finding.outcome, Outcome::Identical { .. }), "{:?}", finding.outcome);
    assert_eq!(finding.assists[0].name, "buildinfo");
    assert_eq!(Inventory::parse(&finding.blobs[0]).unwrap(), *inventory);
}

/// The whole suite, as a build of bookworm sees it.
async fn suites(http: &Http, cache: &Cache) -> Option<OpenSuites> {
    let debian = Debian::of_this_machine().ok()?;
    let suite = Suite { archive: debian.mirror, name: "bookworm".to_owned(), keyring: debian.keyring };
    let signed = suite.signed(http, OF_THE_HOUR).await.map_err(|error| eprintln!("SKIPPED: {error}")).ok()?;
    let name = index_name(None);
    let (digest, path) = suite.index(&signed, &name, http, cache).await.map_err(|error| eprintln!("SKIPPED: {error}")).ok()?;
    let packages = index::binaries(&path).unwrap().into();
    let all = vec![OpenSuite { suite, signed, index: name, digest, packages }];
    Some(OpenSuites { all, http: http.clone(), cache: cache.clone() })
}

#[tokio::test]
async fn requirements_that_the_suite_cannot_meet_are_a_failed_build_that_names_them() {
    if !can_make_roots() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), roots());
    let control = "Source: demo\nMaintainer: A B <a@b.example>\nBuild-Depends: no-such-package (>= 1)\n\nPackage: demo\nArchitecture: all\nDescription: demo\n";
    let Some(files) = native(folder.path(), control) else { return eprintln!("SKIPPED: dpkg-source is missing (package dpkg-dev)") };
    let (http, cache) = (Http::new().unwrap(), Cache::open(roots()).unwrap());
    let Some(suites) = suites(&http, &cache).await else { return };
    let sandbox = Sandbox::detect(&config.sandbox).unwrap();
    std::fs::create_dir(folder.path().join("work")).unwrap();
    let workshop = Workshop::new(&folder.path().join("work"), Tools { sandbox, limits: Limits::default(), decoys: Vec::new() }).unwrap();
    for file in &files {
        std::fs::copy(file, workshop.source().join(file.file_name().unwrap())).unwrap();
    }
    let dsc = std::fs::read(&files[0]).unwrap();
    let mut source = index::dsc(&dsc).unwrap();
    source.files.push(index::SourceFile { name: "demo_1.0.dsc".to_owned(), size_bytes: 0, digest: Digest::of(&dsc) });
    let facts = Facts {
        binary: suites.all[0].packages.iter().find(|binary| binary.architecture == "all").unwrap().clone(),
        suites: Vec::new(),
        dates: Vec::new(),
        is_mixed: false,
        buildinfo: None,
    };
    let plan = plan(&facts, &source, Attempt { versions: Versions::OfSuite, parts: Parts::Kind });
    workshop.hand_over().unwrap();
    match fetch(&workshop, &plan, suites).await {
        Err(BuildError::Failed(failure)) => {
            assert_eq!(failure.phase, Phase::Fetch);
            assert!(failure.summary.contains("no-such-package"), "{}", failure.summary);
        }
        Err(BuildError::Registry(reason)) => eprintln!("SKIPPED: {reason}"),
        other => panic!("{other:?}"),
    }
}
