//! What registries list: pages of package indexes, what the proxy shows of them, npm's documents, Debian's
//! indexes. The first byte says which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_node::plan::npm::scripts;
use quorate_node::proxy::pypi::{Withheld, page};
use quorate_node::registry::cargo::{self, CrateName};
use quorate_node::registry::deb::index as deb;
use quorate_node::registry::deb::release::ReleaseFile;
use quorate_node::registry::npm::integrity::Integrity;
use quorate_node::registry::npm::{PackageName, packument};
use quorate_node::registry::pypi::file_name::{Distribution, ProjectName};
use quorate_node::registry::pypi::simple;
use quorate_node::release::{deb as release_deb, npm};
use quorate_node::resolve::apt;
use quorate_node::resolve::sources_index::{self, Family};
use quorate_proto::{Digest, FileName, Timestamp};

const BASE: &str = "https://registry.example/simple/demo/";

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    match kind % 8 {
        0 => python_page(bytes),
        1 => names(&text),
        2 => apt_lists(&text),
        3 => sources(&text),
        4 => node_page(bytes),
        5 => node_words(&text),
        6 => crate_index(bytes),
        _ => suite(bytes),
    }
});

/// A page names only what can be fetched, and the proxy never shows the artifact to its own build.
fn python_page(bytes: &[u8]) {
    let Ok(project) = simple::parse(bytes, &BASE.parse().expect("an address")) else { return };
    for file in &project.files {
        assert!(matches!(file.url.scheme(), "http" | "https") && file.url.fragment().is_none());
        assert!(file.url.as_str().len() <= simple::URL_BYTES_MAX);
    }
    let withheld = Withheld {
        project: "demo".parse().expect("a name"),
        version: "1.0".parse().expect("a version"),
        digest: Digest::from_hex(&"a".repeat(64)).expect("a digest"),
        uploaded_at: Some(Timestamp::from_unix_seconds(1_700_000_000)),
    };
    for (name, cutoff) in [("demo", None), ("demo", Some(1_600_000_000)), ("other", Some(1_800_000_000))] {
        let name: ProjectName = name.parse().expect("a name");
        let cutoff = cutoff.map(Timestamp::from_unix_seconds);
        let visible = page::visible(&name, &project, cutoff, &withheld);
        for file in &visible.files {
            let distribution = Distribution::parse(&file.name).expect("a file of the project");
            assert_eq!(distribution.project, name.as_str());
            assert!(file.sha256.is_some_and(|digest| digest != withheld.digest));
            assert!(name != withheld.project || distribution.version < withheld.version);
            assert!(visible.unfiltered || file.uploaded_at.is_some_and(|time| cutoff.is_none_or(|cutoff| time < cutoff)));
        }
        let shown: serde_json::Value = serde_json::from_str(&page::as_json(name.as_str(), &visible.files)).expect("JSON");
        let again = simple::parse(shown.to_string().as_bytes(), &BASE.parse().expect("an address")).expect("a page");
        let said = |files: Vec<&simple::PublishedFile>| {
            files.into_iter().map(|file| (file.name.clone(), file.sha256, file.requires_python.clone())).collect::<Vec<_>>()
        };
        assert_eq!(said(again.files.iter().collect()), said(visible.files.clone()));
        let html = page::as_html(name.as_str(), &visible.files);
        assert_eq!(html.matches('<').count(), 9 + 3 * visible.files.len(), "{html}");
    }
}

/// A project's name is one plain segment of an address, and normal once and for all.
fn names(text: &str) {
    if let Ok(name) = text.parse::<ProjectName>() {
        assert_eq!(name.as_str().parse::<ProjectName>().as_ref(), Ok(&name));
        let url: url::Url = BASE.parse().expect("an address");
        assert_eq!(url.join(&format!("{name}/")).expect("an address").as_str(), format!("{BASE}{name}/"));
    }
    if let Some(distribution) = text.parse::<FileName>().ok().and_then(|name| Distribution::parse(&name)) {
        assert!(distribution.project.len() <= text.len());
        assert_eq!(distribution.version.to_string().parse().as_ref(), Ok(&distribution.version));
    }
}

fn apt_lists(text: &str) {
    for archive in apt::archives_in_list(text).into_iter().chain(apt::archives_in_sources(text)) {
        assert!(!archive.uri.contains(char::is_whitespace));
    }
    let lines = text.lines().count();
    assert!(apt::paragraphs(text).iter().map(Vec::len).sum::<usize>() <= lines);
}

/// What is cached of an index is what was read from it.
fn sources(text: &str) {
    let entries = sources_index::known_entries(text);
    assert_eq!(sources_index::from_text(&sources_index::to_text(&entries)), entries);
    for entry in entries.iter().chain(&sources_index::from_text(text)) {
        let _ = [Family::Python, Family::Node].map(|family| entry.is_of(family, "demo"));
        assert!(sources_index::upstream(&entry.version).0.len() <= entry.version.len());
    }
}

/// A package's document names only versions, and what can be fetched.
fn node_page(bytes: &[u8]) {
    let url = "https://registry.example/demo".parse().expect("an address");
    let Ok(packument) = packument::parse(bytes, &url) else { return };
    for (text, entry) in &packument.versions {
        assert_eq!(packument::version(text).map(|version| version.to_string()).as_ref(), Some(text));
        assert!(packument.tarball(entry).is_none_or(|url| matches!(url.scheme(), "http" | "https")));
        let key = entry.integrity().key();
        assert_eq!(key.is_none(), entry.integrity().is_empty());
        assert!(key.is_none_or(|key| key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')));
        let package = format!("pkg:npm/demo@{}", text.replace('+', "%2B")).parse().expect("a package");
        let _ = npm::choose(&packument, None, &package, "registry.example").map(|published| {
            let facts = npm::facts(published.name.clone(), &published, npm::Archive::default());
            facts.repositories.iter().for_each(|address| assert!(address.starts_with("https://"), "{address}"));
            assert!(facts.directory.is_none_or(|folder| !folder.starts_with('/') && folder.split('/').all(|part| part != "..")));
        });
    }
}

/// A name is two segments at most, and survives being a package URL; scripts call no options.
fn node_words(text: &str) {
    if let Ok(name) = text.parse::<PackageName>() {
        assert!(name.as_str().matches('/').count() <= 1 && !name.flat().contains('/') && !name.encoded().contains('/'));
        if let Some(package) = name.purl("1.0.0") {
            assert_eq!(PackageName::of(&package).map(|again| again.as_str().to_lowercase()), Ok(name.as_str().to_lowercase()));
        }
    }
    let _ = Integrity::parse(text, Some(text)).verify(text.as_bytes());
    let manifest = npm::manifest(text.as_bytes());
    let steps = scripts::steps(&manifest, &["a"], &mut Vec::new());
    for package in scripts::called_packages(&manifest, &steps) {
        assert!(!package.starts_with('-'), "{package}");
    }
    let _ = scripts::is_built(&manifest);
}

/// An index file is of one crate, and a version reads the same when it is shown as it was before it was yanked.
fn crate_index(bytes: &[u8]) {
    let name: CrateName = "demo".parse().expect("a name");
    for line in cargo::parse(bytes, &name).unwrap_or_default() {
        assert!(cargo::is_same(&line.name, name.as_str()));
        let again = cargo::parse(line.unyanked().as_bytes(), &name).expect("a line");
        assert_eq!(again.len(), 1);
        assert!(!again[0].is_yanked && (again[0].checksum, &again[0].version) == (line.checksum, &line.version));
        assert!(line.file_name().is_none_or(|file| !file.as_str().contains('/')));
    }
    if let Some(name) = str::from_utf8(bytes).ok().and_then(|text| text.parse::<CrateName>().ok()) {
        assert!(!name.index_path().contains('.') && name.index_path().split('/').all(|part| !part.is_empty()));
    }
}

/// No word of a suite leads out of a folder.
fn suite(bytes: &[u8]) {
    let _ = ReleaseFile::parse(&String::from_utf8_lossy(bytes));
    let is_plain = |path: &str| !path.starts_with('/') && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    for binary in deb::binaries_in(bytes).unwrap_or_default() {
        assert!(is_plain(&binary.path), "{}", binary.path);
        let _ = release_deb::read_buildinfo(bytes, &binary);
    }
    if let Some(package) = deb::dsc(bytes) {
        assert!(is_plain(&package.folder()) && !package.folder().starts_with('-') && !package.folder().contains('/'));
        assert!(package.files.iter().all(|file| is_plain(&file.name) && !file.name.contains('/')));
    }
}
