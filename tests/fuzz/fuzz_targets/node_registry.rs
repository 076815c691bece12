//! What registries list: pages of package indexes, what the proxy shows of them, Debian's lists. The first
//! byte says which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_node::proxy::pypi::{Withheld, page};
use quorate_node::registry::pypi::file_name::{Distribution, ProjectName};
use quorate_node::registry::pypi::simple;
use quorate_node::resolve::{apt, sources_index};
use quorate_proto::{Digest, FileName, Timestamp};

const BASE: &str = "https://registry.example/simple/demo/";

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    match kind % 4 {
        0 => python_page(bytes),
        1 => names(&text),
        2 => apt_lists(&text),
        _ => sources(&text),
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
        assert_eq!(html.matches('<').count(), 10 + 3 * visible.files.len(), "{html}");
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
    let entries = sources_index::python_entries(text);
    assert_eq!(sources_index::from_text(&sources_index::to_text(&entries)), entries);
    for entry in entries.iter().chain(&sources_index::from_text(text)) {
        let _ = entry.is_of("demo");
        let _ = sources_index::upstream(&entry.version);
    }
}
