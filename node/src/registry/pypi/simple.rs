//! The JSON of a project's page, as PEP 691 and PEP 700 define it.

use quorate_proto::{Digest, FileName, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

/// Most bytes of a file's address: it goes into results.
pub const URL_BYTES_MAX: usize = 2 << 10;
const REQUIRES_PYTHON_BYTES_MAX: usize = 1 << 10;

/// What an index lists for one project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Every file, in the index's order.
    pub files: Vec<PublishedFile>,
}

/// One file that an index lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedFile {
    /// Its name.
    pub name: FileName,
    /// Its absolute address.
    pub url: Url,
    /// The digest that the index promises.
    pub sha256: Option<Digest>,
    /// The size that the index promises.
    pub size_bytes: Option<u64>,
    /// When it was uploaded.
    pub uploaded_at: Option<Timestamp>,
    /// The Python versions that it asks for, in the index's words.
    pub requires_python: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    meta: Meta,
    files: Vec<File>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Meta {
    api_version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: Hashes,
    /// What is no size promises none.
    #[serde(default)]
    size: Value,
    upload_time: Option<String>,
    requires_python: Option<String>,
}

#[derive(Default, Deserialize)]
struct Hashes {
    sha256: Option<String>,
}

/// Reads a page that was served at `base`. Entries that cannot be files are left out; a page that is no
/// page of version 1 is refused with the reason.
pub fn parse(bytes: &[u8], base: &Url) -> Result<Project, String> {
    let page: Page = serde_json::from_slice(bytes).map_err(|error| format!("not the JSON of the simple API: {error}"))?;
    if page.meta.api_version != "1" && !page.meta.api_version.starts_with("1.") {
        return Err(format!("API version {:?}, expected 1", page.meta.api_version));
    }
    Ok(Project { files: page.files.into_iter().filter_map(|file| published(file, base)).collect() })
}

fn published(file: File, base: &Url) -> Option<PublishedFile> {
    let mut url = base.join(&file.url).ok()?;
    url.set_fragment(None);
    if url.as_str().len() > URL_BYTES_MAX || file.requires_python.as_ref().is_some_and(|text| text.len() > REQUIRES_PYTHON_BYTES_MAX) {
        return None;
    }
    Some(PublishedFile {
        name: file.filename.parse().ok()?,
        url: Some(url).filter(|url| matches!(url.scheme(), "http" | "https"))?,
        sha256: file.hashes.sha256.and_then(|hex| Digest::from_hex(&hex.to_ascii_lowercase()).ok()),
        size_bytes: file.size.as_u64(),
        uploaded_at: file.upload_time.and_then(|time| time.parse().ok()),
        requires_python: file.requires_python,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn base() -> Url {
        "https://registry.example/simple/demo/".parse().unwrap()
    }

    #[test]
    fn relative_addresses_refer_to_the_page() {
        let page = br#"{"meta":{"api-version":"1.1"},"name":"demo","files":[
            {"filename":"demo-1.0.tar.gz","url":"../../files/demo-1.0.tar.gz#sha256=00","hashes":{},"upload-time":"2024-12-21T18:38:41.666429Z"},
            {"filename":"demo-1.1.tar.gz","url":"https://files.registry.example/demo-1.1.tar.gz","hashes":{"sha256":"BAD"},"yanked":"why"}]}"#;
        let project = parse(page, &base()).unwrap();
        assert_eq!(project.files[0].url.as_str(), "https://registry.example/files/demo-1.0.tar.gz");
        assert_eq!(project.files[0].uploaded_at.unwrap().unix_seconds(), 1_734_806_321);
        assert_eq!(project.files[1].url.host_str(), Some("files.registry.example"));
        assert_eq!(project.files[1].sha256, None);
    }

    #[test]
    fn names_and_addresses_that_could_lead_elsewhere_are_left_out() {
        let page = br#"{"meta":{"api-version":"1.0"},"files":[
            {"filename":"../../etc/passwd","url":"x"},{"filename":"a-1.tar.gz","url":"file:///etc/passwd"}]}"#;
        assert_eq!(parse(page, &base()).unwrap().files, []);
    }

    #[test]
    fn an_address_that_would_fill_a_result_is_left_out() {
        let page = format!(r#"{{"meta":{{"api-version":"1.0"}},"files":[{{"filename":"a-1.tar.gz","url":"{}"}}]}}"#, "x".repeat(3000));
        assert_eq!(parse(page.as_bytes(), &base()).unwrap().files, []);
    }

    #[test]
    fn another_api_version_is_refused() {
        assert!(parse(br#"{"meta":{"api-version":"2.0"},"files":[]}"#, &base()).is_err());
        assert!(parse(b"<!DOCTYPE html>", &base()).is_err());
    }
}
