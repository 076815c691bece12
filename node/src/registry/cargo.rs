//! A crate index, read through cargo's sparse protocol.
//!
//! One small file a crate, a line a version; `config.json` says where the crates themselves are.

pub mod address;

use std::time::Duration;

use quorate_proto::{Digest, FileName, Timestamp};
use semver::Version;
use serde::Deserialize;
use tokio::sync::OnceCell;
use url::Url;

use super::{Download, Http, RegistryError};
use crate::cache::{Cache, Currency};

/// Largest index file of one crate, in bytes; the largest known has about 12 MiB.
pub const INDEX_BYTES_MAX: u64 = 64 << 20;
/// What is asked for.
const ACCEPT: &str = "text/plain";
const ACCEPT_CONFIG: &str = "application/json";
const CONFIG_BYTES_MAX: u64 = 64 << 10;
/// How long it is believed where crates are to be had: what is had there is checked in any case.
const CONFIG_AGE_MAX: Duration = Duration::from_hours(1);
/// Most bytes of a crate's name, as registries have it.
const NAME_BYTES_MAX: usize = 64;
const VERSIONS_MAX: usize = 100_000;

/// One index.
#[derive(Debug)]
pub struct Registry {
    http: Http,
    index: Url,
    config: OnceCell<IndexConfig>,
}

/// `config.json` of an index.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct IndexConfig {
    /// Where crates are downloaded, with or without markers.
    pub dl: String,
}

/// A crate's name as registries allow it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CrateName(String);

/// A text that is no crate's name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name of a crate")]
pub struct CrateNameError(String);

/// One version of a crate, as its line in the index says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The line itself.
    pub text: String,
    /// The crate's name, in the spelling of its publisher.
    pub name: String,
    /// The version.
    pub version: Version,
    /// SHA-256 of the `.crate` file.
    pub checksum: Digest,
    /// Whether it is yanked today.
    pub is_yanked: bool,
    /// When it was published.
    pub published_at: Option<Timestamp>,
    /// What it depends on, when it is itself a dependency.
    pub dependencies: Vec<CrateName>,
}

#[derive(Deserialize)]
struct LineOnWire {
    name: String,
    vers: String,
    cksum: String,
    #[serde(default)]
    yanked: bool,
    pubtime: Option<String>,
    #[serde(default)]
    deps: Vec<DependencyOnWire>,
}

#[derive(Deserialize)]
struct DependencyOnWire {
    name: String,
    package: Option<String>,
    kind: Option<String>,
    registry: Option<String>,
}

impl std::str::FromStr for CrateName {
    type Err = CrateNameError;

    fn from_str(text: &str) -> Result<Self, CrateNameError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let is_name = (1..=NAME_BYTES_MAX).contains(&text.len()) && text.chars().all(is_plain);
        if is_name { Ok(Self(text.to_owned())) } else { Err(CrateNameError(text.chars().take(100).collect())) }
    }
}

impl std::fmt::Display for CrateName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl CrateName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where an index has it: `se/rd/serde`.
    pub fn index_path(&self) -> String {
        let name = self.0.to_ascii_lowercase();
        match name.len() {
            1 => format!("1/{name}"),
            2 => format!("2/{name}"),
            3 => format!("3/{}/{name}", &name[..1]),
            _ => format!("{}/{}/{name}", &name[..2], &name[2..4]),
        }
    }
}

impl Registry {
    /// The index at `index`, the base address of its sparse files.
    pub fn new(http: Http, index: Url) -> Self {
        Self { http, index: super::with_slash(index), config: OnceCell::new() }
    }

    /// The base address, ending in a slash.
    pub fn index(&self) -> &Url {
        &self.index
    }

    /// Every version of a crate that the index lists.
    pub async fn lines(&self, name: &CrateName, currency: Currency) -> Result<Vec<Line>, RegistryError> {
        let url = self.join(&name.index_path())?;
        let body = self.http.bytes(&url, ACCEPT, currency, INDEX_BYTES_MAX).await?;
        match parse(&body.bytes, name) {
            Ok(lines) => Ok(lines),
            Err(reason) => Err(self.http.unreadable(url, ACCEPT, reason).await),
        }
    }

    /// Where the file of a version is.
    pub async fn address(&self, line: &Line) -> Result<Url, RegistryError> {
        let config = self.config.get_or_try_init(|| self.read_config()).await?;
        let text = download_address(&config.dl, line);
        let malformed = |reason: String| RegistryError::Malformed { url: Box::new(self.index.clone()), reason };
        let url = Url::parse(&text).map_err(|error| malformed(format!("`dl` of config.json makes {text:?}: {error}")))?;
        if matches!(url.scheme(), "http" | "https") { Ok(url) } else { Err(malformed(format!("`dl` of config.json makes {text:?}"))) }
    }

    /// Brings the file of a version, checked against the index.
    pub async fn download(&self, line: &Line, limit: u64, cache: &Cache) -> Result<Download, RegistryError> {
        self.http.download(&self.address(line).await?, Some(line.checksum), limit, cache).await
    }

    async fn read_config(&self) -> Result<IndexConfig, RegistryError> {
        let url = self.join("config.json")?;
        let body = self.http.bytes(&url, ACCEPT_CONFIG, Currency::Within(CONFIG_AGE_MAX), CONFIG_BYTES_MAX).await?;
        match serde_json::from_slice(&body.bytes) {
            Ok(config) => Ok(config),
            Err(error) => Err(self.http.unreadable(url, ACCEPT_CONFIG, error.to_string()).await),
        }
    }

    fn join(&self, path: &str) -> Result<Url, RegistryError> {
        let malformed = |error: url::ParseError| RegistryError::Malformed { url: Box::new(self.index.clone()), reason: error.to_string() };
        self.index.join(path).map_err(malformed)
    }
}

impl Line {
    /// The name of its file.
    pub fn file_name(&self) -> Option<FileName> {
        format!("{}-{}.crate", self.name, self.version).parse().ok()
    }

    /// The line as it was before it was yanked.
    pub fn unyanked(&self) -> String {
        if !self.is_yanked {
            return self.text.clone();
        }
        let Ok(mut value) = serde_json::from_str::<serde_json::Value>(&self.text) else { return self.text.clone() };
        value["yanked"] = false.into();
        value.to_string()
    }
}

/// Reads an index file. A line that is not understood is as good as absent, as cargo has it; a file of
/// another crate is refused.
pub fn parse(bytes: &[u8], name: &CrateName) -> Result<Vec<Line>, String> {
    read(bytes, name, |_| Ok(()))
}

/// The same where nothing may be missed: one line that is not understood, and the file is refused.
pub fn parse_whole(bytes: &[u8], name: &CrateName) -> Result<Vec<Line>, String> {
    read(bytes, name, |number| Err(format!("line {number} is no release of {name}")))
}

fn read(bytes: &[u8], name: &CrateName, unreadable: impl Fn(usize) -> Result<(), String>) -> Result<Vec<Line>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let mut lines = Vec::new();
    for (at, text) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let Some(line) = parse_line(text) else {
            unreadable(at + 1)?;
            continue;
        };
        if !is_same(&line.name, name.as_str()) {
            return Err(format!("it lists {:?}", line.name.chars().take(100).collect::<String>()));
        }
        lines.push(line);
        if lines.len() > VERSIONS_MAX {
            return Err(format!("more than {VERSIONS_MAX} versions"));
        }
    }
    Ok(lines)
}

fn parse_line(text: &str) -> Option<Line> {
    let wire: LineOnWire = serde_json::from_str(text).ok()?;
    wire.name.parse::<CrateName>().ok()?;
    let dependency = |dep: &DependencyOnWire| {
        let is_followed = dep.kind.as_deref() != Some("dev") && dep.registry.is_none();
        is_followed.then(|| dep.package.as_ref().unwrap_or(&dep.name).parse().ok()).flatten()
    };
    Some(Line {
        text: text.to_owned(),
        checksum: Digest::from_hex(&wire.cksum).ok()?,
        name: wire.name,
        version: Version::parse(&wire.vers).ok()?,
        is_yanked: wire.yanked,
        published_at: wire.pubtime.and_then(|text| text.parse().ok()),
        dependencies: wire.deps.iter().filter_map(dependency).collect(),
    })
}

/// Registries tell crates apart by letters alone: `a-b` and `A_b` are one name.
pub fn is_same(one: &str, other: &str) -> bool {
    let normal = |text: &str| text.to_ascii_lowercase().replace('_', "-");
    normal(one) == normal(other)
}

/// Markers of `dl` replaced; with none, `/{crate}/{version}/download` follows it.
fn download_address(template: &str, line: &Line) -> String {
    let prefix = line.name.parse::<CrateName>().map(|name| name.index_path()).unwrap_or_default();
    let lower = prefix.rsplit_once('/').map_or("", |(prefix, _)| prefix).to_owned();
    let upper = if lower.contains('/') && lower.len() == 5 {
        format!("{}/{}", &line.name[..2], &line.name[2..4])
    } else {
        lower.replace(|c: char| c.is_ascii_lowercase(), &line.name[..1])
    };
    let version = line.version.to_string();
    let checksum = line.checksum.to_hex();
    let markers = [
        ("{crate}", line.name.as_str()),
        ("{version}", &version),
        ("{prefix}", &upper),
        ("{lowerprefix}", &lower),
        ("{sha256-checksum}", &checksum),
    ];
    if markers.iter().all(|(marker, _)| !template.contains(marker)) {
        return format!("{}/{}/{version}/download", template.trim_end_matches('/'), line.name);
    }
    markers.iter().fold(template.to_owned(), |text, (marker, value)| text.replace(marker, value))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const LINE: &str = r#"{"name":"Demo_x","vers":"1.2.3","deps":[{"name":"a","kind":"normal"},{"name":"b","kind":"dev"},{"name":"c","package":"d","kind":"build"},{"name":"e","registry":"https://other.example"}],"cksum":"0000000000000000000000000000000000000000000000000000000000000000","features":{},"yanked":true,"pubtime":"2024-05-17T16:45:26Z"}"#;

    fn name(text: &str) -> CrateName {
        text.parse().unwrap()
    }

    #[test]
    fn a_line_says_version_time_and_dependencies() {
        let lines = parse(format!("{LINE}\nnonsense\n").as_bytes(), &name("demo-x")).unwrap();
        let [line] = lines.as_slice() else { panic!() };
        assert_eq!((line.version.to_string().as_str(), line.is_yanked), ("1.2.3", true));
        assert_eq!(line.published_at.unwrap().unix_seconds(), 1_715_964_326);
        assert_eq!(line.dependencies, [name("a"), name("d")]);
        assert!(line.unyanked().contains(r#""yanked":false"#));
        assert_eq!(line.file_name().unwrap().as_str(), "Demo_x-1.2.3.crate");
    }

    #[test]
    fn a_file_of_another_crate_is_refused() {
        assert!(parse(LINE.as_bytes(), &name("demo")).is_err());
        assert!(parse(b"\xff\xfe", &name("demo")).is_err());
    }

    #[test]
    fn names_stand_where_indexes_have_them() {
        for (text, path) in [("a", "1/a"), ("ab", "2/ab"), ("Abc", "3/a/abc"), ("Serde", "se/rd/serde")] {
            assert_eq!(name(text).index_path(), path);
        }
        for text in ["", "..", "a/b", "a b", "é", "x".repeat(65).as_str(), "http://host"] {
            assert!(text.parse::<CrateName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_download_address_follows_the_template() {
        let line = parse(LINE.as_bytes(), &name("demo-x")).unwrap().remove(0);
        for (template, expected) in [
            ("https://registry.example/dl", "https://registry.example/dl/Demo_x/1.2.3/download"),
            ("https://registry.example/{crate}/{version}.crate", "https://registry.example/Demo_x/1.2.3.crate"),
            ("https://registry.example/{prefix}/{lowerprefix}", "https://registry.example/De/mo/de/mo"),
        ] {
            assert_eq!(download_address(template, &line), expected);
        }
    }
}
