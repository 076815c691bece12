//! A project's page as it was before a moment. Pure.

use std::fmt::Write as _;

use axum::http::header;
use axum::response::IntoResponse;
use quorate_proto::Timestamp;
use serde_json::json;

use crate::registry::{Project, PublishedFile};

const JSON: &str = "application/vnd.pypi.simple.v1+json";

/// The files that can be seen.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Visible<'a> {
    pub(super) files: Vec<&'a PublishedFile>,
    /// Set when the registry states no upload times at all, so that all files had to be shown.
    pub(super) unfiltered: bool,
}

/// The files published before `cutoff`. Files without a digest are never seen: their bytes could not be
/// checked.
pub(super) fn visible(project: &Project, cutoff: Option<Timestamp>) -> Visible<'_> {
    let checkable = project.files.iter().filter(|file| file.sha256.is_some());
    let Some(cutoff) = cutoff else { return Visible { files: checkable.collect(), unfiltered: false } };
    let unfiltered = project.files.iter().all(|file| file.uploaded_at.is_none());
    let before = |file: &&PublishedFile| unfiltered || file.uploaded_at.is_some_and(|time| time < cutoff);
    Visible { files: checkable.filter(before).collect(), unfiltered: unfiltered && !project.files.is_empty() }
}

/// The page in the form that the client prefers.
pub(super) fn render(name: &str, files: &[&PublishedFile], accept: &str) -> impl IntoResponse + use<> {
    if accept.contains(JSON) {
        ([(header::CONTENT_TYPE, JSON)], as_json(name, files))
    } else {
        ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], as_html(name, files))
    }
}

fn address(file: &PublishedFile) -> String {
    let hex = file.sha256.map(|digest| digest.to_hex()).unwrap_or_default();
    let mut url: url::Url = url::Url::parse("http://index/").expect("a constant address");
    url.set_path(&format!("/files/{hex}/{}", file.name));
    format!("../..{}", url.path())
}

fn as_json(name: &str, files: &[&PublishedFile]) -> String {
    let entry = |file: &&PublishedFile| {
        let mut entry = json!({
            "filename": file.name,
            "url": address(file),
            "hashes": { "sha256": file.sha256.map(|digest| digest.to_hex()) },
        });
        if let Some(requires) = &file.requires_python {
            entry["requires-python"] = json!(requires);
        }
        entry
    };
    json!({ "meta": { "api-version": "1.0" }, "name": name, "files": files.iter().map(entry).collect::<Vec<_>>() }).to_string()
}

fn as_html(name: &str, files: &[&PublishedFile]) -> String {
    let mut html = format!("<!DOCTYPE html><html><head><title>{}</title></head><body>\n", escaped(name));
    for file in files {
        let hex = file.sha256.map(|digest| digest.to_hex()).unwrap_or_default();
        let requires = file.requires_python.as_deref().map(|text| format!(" data-requires-python=\"{}\"", escaped(text)));
        let (address, name) = (escaped(&address(file)), escaped(file.name.as_str()));
        let _ = writeln!(html, "<a href=\"{address}#sha256={hex}\"{}>{name}</a><br>", requires.unwrap_or_default());
    }
    html + "</body></html>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use quorate_proto::Digest;

    fn file(name: &str, uploaded_at: Option<i64>) -> PublishedFile {
        PublishedFile {
            name: name.parse().unwrap(),
            url: format!("https://registry.example/{name}").parse().unwrap(),
            sha256: Some(Digest::of(name.as_bytes())),
            size_bytes: None,
            uploaded_at: uploaded_at.map(Timestamp::from_unix_seconds),
            requires_python: Some(">=3".to_owned()),
        }
    }

    fn seen(files: Vec<PublishedFile>, cutoff: i64) -> (Vec<String>, bool) {
        let project = Project { files };
        let visible = visible(&project, Some(Timestamp::from_unix_seconds(cutoff)));
        (visible.files.iter().map(|file| file.name.to_string()).collect(), visible.unfiltered)
    }

    #[test]
    fn files_of_the_moment_itself_and_later_do_not_exist() {
        let files = vec![file("a-1.tar.gz", Some(9)), file("a-2.tar.gz", Some(10)), file("a-3.tar.gz", Some(11)), file("a-4.tar.gz", None)];
        assert_eq!(seen(files, 10), (vec!["a-1.tar.gz".to_owned()], false));
    }

    #[test]
    fn a_registry_without_times_is_shown_whole_and_said_to_be() {
        assert_eq!(seen(vec![file("a-1.tar.gz", None)], 10), (vec!["a-1.tar.gz".to_owned()], true));
        assert_eq!(seen(vec![], 10), (vec![], false));
    }

    #[test]
    fn pages_escape_what_registries_say() {
        let mut hostile = file("a-1.tar.gz", None);
        hostile.requires_python = Some("\"><script>".to_owned());
        let html = as_html("a", &[&hostile]);
        assert!(!html.contains("<script>"));
        let json: serde_json::Value = serde_json::from_str(&as_json("a", &[&hostile])).unwrap();
        assert_eq!(json["files"][0]["url"], format!("../../files/{}/a-1.tar.gz", Digest::of(b"a-1.tar.gz").to_hex()));
    }
}
