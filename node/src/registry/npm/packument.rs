//! A package document, as far as rebuilding and installing need it. Pure.
//!
//! Fields are kept as they are said, because installers read them; nothing is required of them but that the
//! document is an object with versions.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use quorate_proto::Timestamp;
use semver::Version;
use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use url::Url;

use super::integrity::Integrity;

/// Most bytes of an address or a word that is taken over.
const WORD_BYTES_MAX: usize = 2000;
/// Most versions of a package.
const VERSIONS_MAX: usize = 50_000;

/// What a registry says of a package.
#[derive(Clone, Debug, Default)]
pub struct Packument {
    /// The package's name, where the document says it.
    pub name: Option<String>,
    /// Versions by what they are called: `latest`.
    pub tags: BTreeMap<String, String>,
    /// The versions, by their text.
    pub versions: BTreeMap<String, Entry>,
    /// When each was published, by the registry's word.
    pub times: BTreeMap<String, Timestamp>,
    /// Where the document was served: relative addresses refer to it.
    pub url: Option<Url>,
}

/// What a registry says of one version: what installers read, and what publishers' clients wrote.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields of npm's own document by their names")]
pub struct Entry {
    #[serde(skip_serializing_if = "Value::is_null")]
    pub name: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub version: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub dependencies: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub optional_dependencies: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub peer_dependencies: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub peer_dependencies_meta: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub bundle_dependencies: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub bundled_dependencies: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub bin: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub directories: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub engines: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub os: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub cpu: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub libc: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub has_install_script: Value,
    #[serde(skip_serializing)]
    pub repository: Value,
    #[serde(skip_serializing)]
    pub git_head: Value,
    #[serde(rename = "_npmVersion", skip_serializing)]
    pub npm_version: Value,
    #[serde(rename = "_nodeVersion", skip_serializing)]
    pub node_version: Value,
    #[serde(deserialize_with = "dist")]
    pub dist: Dist,
}

/// Where the tarball is, and what it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields of npm's own document by their names")]
pub struct Dist {
    #[serde(skip_serializing_if = "Value::is_null")]
    pub tarball: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub integrity: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub shasum: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    name: Value,
    #[serde(rename = "dist-tags")]
    tags: BTreeMap<String, Value>,
    versions: BTreeMap<String, Slot<Entry>>,
    time: BTreeMap<String, Value>,
}

/// An object, or nothing where something else stands in its place. Fields that nobody asks for are not kept:
/// documents are large.
struct Slot<T>(Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Slot<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SlotVisitor(PhantomData)).map(Self)
    }
}

struct SlotVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for SlotVisitor<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Option<T>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Option<T>, E> {
        Ok(None)
    }
}

fn dist<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Dist, D::Error> {
    Ok(Slot::deserialize(deserializer)?.0.unwrap_or_default())
}

/// Reads a document that was served at `url`. Versions that are none are left out.
pub fn parse(bytes: &[u8], url: &Url) -> Result<Packument, String> {
    // An array would pass for a document whose fields are all missing.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err("not a package document: no object".to_owned());
    }
    let document: Document = serde_json::from_slice(bytes).map_err(|error| format!("not a package document: {error}"))?;
    if document.versions.len() > VERSIONS_MAX {
        return Err(format!("{} versions, at most {VERSIONS_MAX} are taken", document.versions.len()));
    }
    let entry = |(text, Slot(entry)): (String, Slot<Entry>)| Some((version(&text)?.to_string(), entry?));
    let time = |(text, value): (String, Value)| Some((text, value.as_str()?.parse().ok()?));
    let tag = |(tag, value): (String, Value)| Some((tag, word(&value)?.to_owned()));
    Ok(Packument {
        name: word(&document.name).map(str::to_owned),
        tags: document.tags.into_iter().filter_map(tag).collect(),
        versions: document.versions.into_iter().filter_map(entry).collect(),
        times: document.time.into_iter().filter_map(time).collect(),
        url: Some(url.clone()),
    })
}

/// A version as npm's registry has them.
pub fn version(text: &str) -> Option<Version> {
    Version::parse(text).ok().filter(|_| text.len() <= 256)
}

impl Packument {
    /// Where the tarball of a version is.
    pub fn tarball(&self, entry: &Entry) -> Option<Url> {
        let text = word(&entry.dist.tarball)?;
        let url = match &self.url {
            Some(base) => base.join(text).ok()?,
            None => text.parse().ok()?,
        };
        Some(url).filter(|url| matches!(url.scheme(), "http" | "https"))
    }
}

impl Entry {
    /// What is promised of the tarball.
    pub fn integrity(&self) -> Integrity {
        Integrity::parse(word(&self.dist.integrity).unwrap_or_default(), word(&self.dist.shasum))
    }
}

/// Whether a range is an address that no registry answers for: `git+https://…`, `https://…`, `github:owner/name`,
/// `owner/name`; and no version, alias or path.
pub fn is_address(range: &str) -> bool {
    let is_scheme = |scheme: &str| {
        matches!(scheme, "git" | "http" | "https" | "ssh" | "github" | "gitlab" | "bitbucket" | "gist") || scheme.starts_with("git+")
    };
    match range.split_once(':') {
        Some((scheme, _)) => is_scheme(scheme) || scheme.starts_with("git@"),
        None => range.contains('/') && !range.starts_with(['.', '/', '~', '@']),
    }
}

/// A short text, if the value is one.
pub fn word(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty() && text.len() <= WORD_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn url() -> Url {
        "https://registry.example/demo".parse().unwrap()
    }

    #[test]
    fn a_document_without_most_of_its_fields_is_read() {
        let text = br#"{"name":"demo","dist-tags":{"latest":"1.0.0","odd":7},"versions":{"1.0.0":{"dist":{"tarball":"demo/-/demo-1.0.0.tgz"},"scripts":{"a":[1]}},
            "1.1.0":{"version":7,"dist":{"tarball":9}},"1.2.0":{"dist":[{}]},"x":{},"2.0.0":[[1],{}],"2.0.1":"x","2.0.2":-1,"2.0.3":null,"2.0.4":1.5,"2.0.5":true}}"#;
        let packument = parse(text, &url()).unwrap();
        assert_eq!(packument.versions.keys().collect::<Vec<_>>(), ["1.0.0", "1.1.0", "1.2.0"]);
        assert_eq!((packument.name.as_deref(), packument.tags.get("latest").map(String::as_str)), (Some("demo"), Some("1.0.0")));
        assert_eq!(packument.tarball(&packument.versions["1.0.0"]).unwrap().as_str(), "https://registry.example/demo/-/demo-1.0.0.tgz");
        assert_eq!(packument.tarball(&packument.versions["1.1.0"]), None);
        assert!(packument.versions["1.0.0"].integrity().is_empty() && packument.times.is_empty());
    }

    #[test]
    fn a_recorded_document_names_commit_and_tools() {
        let text = br#"{"time":{"created":"x","1.0.0":"2024-02-27T16:27:10.676000+00:00"},"versions":{"1.0.0":{
            "gitHead":"1c6264b795492e8fdecbc82cb8802fcfbfc08d26","_npmVersion":"6.14.6","_nodeVersion":"12.18.3",
            "repository":{"type":"git","url":"git+https://github.com/o/demo.git","directory":"packages/demo"},
            "dependencies":{"a":"^1"},"dist":{"integrity":"sha1-qZk+NkcGgWq6PiVxeFDCbJzQ2J0=","tarball":"file:///etc/passwd"}}}}"#;
        let packument = parse(text, &url()).unwrap();
        let entry = &packument.versions["1.0.0"];
        assert_eq!(word(&entry.git_head), Some("1c6264b795492e8fdecbc82cb8802fcfbfc08d26"));
        assert_eq!((word(&entry.npm_version), word(&entry.node_version)), (Some("6.14.6"), Some("12.18.3")));
        assert_eq!(packument.times["1.0.0"].unix_seconds(), 1_709_051_230);
        assert_eq!(packument.tarball(entry), None);
        let said = serde_json::to_value(entry).unwrap();
        assert_eq!((said["dependencies"]["a"].as_str(), said.get("gitHead"), said.get("peerDependencies")), (Some("^1"), None, None));
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for text in ["", "[]", "<html>", "{\"versions\":[]}", "{\"versions\":{\"1.0.0\":"] {
            assert!(parse(text.as_bytes(), &url()).is_err(), "{text}");
        }
    }
}
