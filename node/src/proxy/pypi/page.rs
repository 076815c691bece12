//! A project's page as it was before a moment. Pure.

use std::fmt::Write as _;

use axum::http::header;
use axum::response::IntoResponse;
use quorate_proto::Timestamp;
use serde_json::json;

use super::Withheld;
use crate::registry::pypi::file_name::{Distribution, ProjectName};
use crate::registry::pypi::{Project, PublishedFile};

const JSON: &str = "application/vnd.pypi.simple.v1+json";

/// The files that can be seen.
#[derive(Debug, PartialEq, Eq)]
pub struct Visible<'a> {
    /// The files, in the index's order.
    pub files: Vec<&'a PublishedFile>,
    /// Set when there is no moment, or the registry states no upload times at all, so that nothing was left
    /// out for its time.
    pub unfiltered: bool,
}

/// The files of the project `name` that were published before `cutoff` and are not withheld.
///
/// Files without a digest are never seen: their bytes could not be checked. Nor are files whose name says
/// another project, or none.
pub fn visible<'a>(name: &ProjectName, project: &'a Project, cutoff: Option<Timestamp>, withheld: &Withheld) -> Visible<'a> {
    let is_own = *name == withheld.project;
    let cutoff = if is_own { [cutoff, withheld.uploaded_at].into_iter().flatten().min() } else { cutoff };
    let unfiltered = cutoff.is_none() || project.files.iter().all(|file| file.uploaded_at.is_none());
    let is_visible = |file: &&PublishedFile| {
        let Some(distribution) = Distribution::parse(&file.name) else { return false };
        file.sha256.is_some_and(|digest| digest != withheld.digest)
            && distribution.project == name.as_str()
            && (!is_own || distribution.version < withheld.version)
            && (unfiltered || cutoff.zip(file.uploaded_at).is_some_and(|(cutoff, time)| time < cutoff))
    };
    Visible { files: project.files.iter().filter(is_visible).collect(), unfiltered: unfiltered && !project.files.is_empty() }
}

/// The page in the form that the client prefers.
pub fn render(name: &str, files: &[&PublishedFile], accept: &str) -> impl IntoResponse + use<> {
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

/// The page as JSON.
pub fn as_json(name: &str, files: &[&PublishedFile]) -> String {
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

/// The page as HTML.
pub fn as_html(name: &str, files: &[&PublishedFile]) -> String {
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

    fn seen(files: Vec<PublishedFile>, cutoff: impl Into<Option<i64>>) -> (Vec<String>, bool) {
        seen_of("a", files, cutoff, None)
    }

    fn seen_of(name: &str, files: Vec<PublishedFile>, cutoff: impl Into<Option<i64>>, uploaded: Option<i64>) -> (Vec<String>, bool) {
        let project = Project { files };
        let withheld = Withheld {
            project: "demo".parse().unwrap(),
            version: "1.0".parse().unwrap(),
            digest: Digest::of(b"demo-1.0-py3-none-any.whl"),
            uploaded_at: uploaded.map(Timestamp::from_unix_seconds),
        };
        let visible = visible(&name.parse().unwrap(), &project, cutoff.into().map(Timestamp::from_unix_seconds), &withheld);
        (visible.files.iter().map(|file| file.name.to_string()).collect(), visible.unfiltered)
    }

    #[test]
    fn the_artifact_is_withheld_from_its_own_build_at_every_moment() {
        let names =
            ["demo-0.9.tar.gz", "demo-1.0-py3-none-any.whl", "demo-1.0.0.tar.gz", "demo-1.0+x.tar.gz", "demo-2.0.tar.gz", "demo.egg"];
        let files = || names.iter().map(|name| file(name, None)).collect();
        for cutoff in [None, Some(10)] {
            assert_eq!(seen_of("demo", files(), cutoff, None), (vec!["demo-0.9.tar.gz".to_owned()], true), "{cutoff:?}");
        }
        let later = || vec![file("demo-0.8.tar.gz", Some(9)), file("demo-0.9.tar.gz", Some(10))];
        assert_eq!(seen_of("demo", later(), None, Some(10)).0, ["demo-0.8.tar.gz"]);
    }

    #[test]
    fn the_artifacts_bytes_are_withheld_under_every_name() {
        let mut copy = file("a-1.tar.gz", Some(1));
        copy.sha256 = Some(Digest::of(b"demo-1.0-py3-none-any.whl"));
        let stray = file("demo-1.0-py3-none-any.whl", Some(1));
        assert_eq!(seen(vec![copy, stray, file("a-2.tar.gz", Some(1))], 10).0, ["a-2.tar.gz"]);
    }

    #[test]
    fn a_page_of_no_moment_is_said_to_be_unfiltered() {
        assert_eq!(seen(vec![file("a-1.tar.gz", Some(9))], None), (vec!["a-1.tar.gz".to_owned()], true));
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
