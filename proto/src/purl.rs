//! Package URLs, canonical once built.
//!
//! Implements the purl specification for the types that Quorate handles:
//! `pkg:type/namespace/name@version?qualifiers#subpath`. Two texts that mean one package become
//! one value: the type is lower-cased, names are normalised by the rules of their type, qualifiers
//! are sorted, and percent-encoding is done in one way.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text;

/// Longest text that is accepted, as given and in canonical form, in bytes.
pub const PURL_BYTES_MAX: usize = 1024;

/// A package URL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Purl {
    package_type: String,
    namespace: Vec<String>,
    name: String,
    version: Option<String>,
    qualifiers: BTreeMap<String, String>,
    subpath: Vec<String>,
}

/// A text that is no package URL.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PurlError {
    /// Too long.
    #[error("package URL of {got} bytes, limit {limit}")]
    TooLong {
        /// Bytes given.
        got: usize,
        /// Bytes accepted.
        limit: usize,
    },
    /// Does not begin with `pkg:`.
    #[error("package URL `{0}` does not begin with `pkg:`")]
    Scheme(String),
    /// A part is missing or malformed.
    #[error("package URL `{text}`: {part} is missing or malformed")]
    Part {
        /// The text as given.
        text: String,
        /// Which part.
        part: &'static str,
    },
}

impl Purl {
    /// A PyPI release, `pkg:pypi/name@version`.
    pub fn pypi(name: &str, version: &str) -> Result<Self, PurlError> {
        format!("pkg:pypi/{}@{}", Encoded(name), Encoded(version)).parse()
    }

    /// The type, such as `pypi`.
    pub fn package_type(&self) -> &str {
        &self.package_type
    }

    /// The namespace's segments joined by `/`; empty where the type has none.
    pub fn namespace(&self) -> String {
        self.namespace.join("/")
    }

    /// The name, normalised.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version, if the package URL names a release and not a whole package.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// A qualifier, such as `repository_url`.
    pub fn qualifier(&self, key: &str) -> Option<&str> {
        self.qualifiers.get(key).map(String::as_str)
    }

    /// The same release, as found in another registry than the type's usual one.
    #[must_use]
    pub fn in_repository(mut self, repository_url: &str) -> Self {
        self.qualifiers.insert("repository_url".to_owned(), repository_url.to_owned());
        self
    }

    /// The package without its version: what incident queries by package match.
    #[must_use]
    pub fn without_version(&self) -> Self {
        Self { version: None, ..self.clone() }
    }
}

impl FromStr for Purl {
    type Err = PurlError;

    fn from_str(text: &str) -> Result<Self, PurlError> {
        parse_plain(text).map_or_else(|| parse(text).map(|(purl, _)| purl), Ok)
    }
}

/// A package URL of the usual shape, type, one name and version, that is canonical as it stands. None says
/// that a closer look is needed.
fn parse_plain(text: &str) -> Option<Purl> {
    let (package_type, path) = text.strip_prefix("pkg:").filter(|_| text.len() <= PURL_BYTES_MAX)?.split_once('/')?;
    let (name, version) = match path.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (path, None),
    };
    let is_plain = |text: &str| !text.is_empty() && text.bytes().all(is_unreserved);
    let is_canonical = match package_type {
        "pypi" => name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')) && !name.contains("--"),
        "cargo" | "npm" => !matches!(name, "." | ".."),
        _ => false,
    };
    (is_canonical && is_plain(name) && version.is_none_or(is_plain)).then(|| Purl {
        package_type: package_type.to_owned(),
        namespace: Vec::new(),
        name: name.to_owned(),
        version: version.map(str::to_owned),
        qualifiers: BTreeMap::new(),
        subpath: Vec::new(),
    })
}

/// Bytes that stand for themselves.
fn is_unreserved(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'.' | b'-' | b'_' | b'~' | b':')
}

/// A package URL and its canonical text.
fn parse(text: &str) -> Result<(Purl, String), PurlError> {
    if text.len() > PURL_BYTES_MAX {
        return Err(PurlError::TooLong { got: text.len(), limit: PURL_BYTES_MAX });
    }
    let part = |part| PurlError::Part { text: text.to_owned(), part };
    let rest = text.strip_prefix("pkg:").ok_or_else(|| PurlError::Scheme(text.to_owned()))?;
    let (rest, subpath) = split_last(rest, '#');
    let (rest, qualifiers) = split_last(rest, '?');
    let (package_type, path) = rest.trim_start_matches('/').split_once('/').ok_or_else(|| part("the type"))?;
    let package_type = package_type.to_ascii_lowercase();
    if !valid_type(&package_type) {
        return Err(part("the type"));
    }
    let (path, version) = split_version(path);
    let mut segments = decode_segments(path).ok_or_else(|| part("the name"))?;
    let name = segments.pop().ok_or_else(|| part("the name"))?;
    let purl = Purl {
        name: normal_name(&package_type, name),
        namespace: segments.into_iter().map(|s| normal_namespace(&package_type, s)).collect(),
        version: version.filter(|v| !v.is_empty()).map(|v| decode(v).ok_or_else(|| part("the version"))).transpose()?,
        qualifiers: parse_qualifiers(qualifiers).ok_or_else(|| part("a qualifier"))?,
        subpath: decode_segments(subpath.unwrap_or("")).ok_or_else(|| part("the subpath"))?,
        package_type,
    };
    let canonical = purl.to_string();
    if canonical.len() > PURL_BYTES_MAX {
        return Err(PurlError::TooLong { got: canonical.len(), limit: PURL_BYTES_MAX });
    }
    Ok((purl, canonical))
}

fn split_last(text: &str, separator: char) -> (&str, Option<&str>) {
    text.rsplit_once(separator).map_or((text, None), |(left, right)| (left, Some(right)))
}

/// The version follows the last `@` behind the last `/`: an npm scope's `@` comes before a name.
fn split_version(path: &str) -> (&str, Option<&str>) {
    let name_at = path.rfind('/').map_or(0, |slash| slash + 1);
    match path[name_at..].rfind('@') {
        Some(at) if at > 0 => (&path[..name_at + at], Some(&path[name_at + at + 1..])),
        _ => (path, None),
    }
}

fn valid_type(package_type: &str) -> bool {
    package_type.starts_with(|c: char| c.is_ascii_lowercase())
        && package_type.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || ".+-".contains(c))
}

/// PEP 503.
pub(crate) fn python_name(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for c in name.chars() {
        let c = if matches!(c, '_' | '.' | '-') { '-' } else { c.to_ascii_lowercase() };
        if !(c == '-' && normal.ends_with('-')) {
            normal.push(c);
        }
    }
    normal
}

fn normal_name(package_type: &str, name: String) -> String {
    match package_type {
        "pypi" => python_name(&name),
        // npm's oldest names have capitals, and `Base64` is another package than `base64`.
        "deb" | "golang" | "github" => name.to_lowercase(),
        _ => name,
    }
}

fn normal_namespace(package_type: &str, segment: String) -> String {
    match package_type {
        "deb" | "golang" | "github" => segment.to_lowercase(),
        _ => segment,
    }
}

fn parse_qualifiers(text: Option<&str>) -> Option<BTreeMap<String, String>> {
    let mut qualifiers = BTreeMap::new();
    for pair in text.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=')?;
        let key = key.to_ascii_lowercase();
        let valid = key.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) && !key.is_empty();
        let value = decode(value)?;
        if !valid || (!value.is_empty() && qualifiers.insert(key, value).is_some()) {
            return None;
        }
    }
    Some(qualifiers)
}

fn decode_segments(path: &str) -> Option<Vec<String>> {
    path.split('/').filter(|s| !s.is_empty()).map(|s| decode(s).filter(|s| !matches!(s.as_str(), "." | ".."))).collect()
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let (digits, tail) = tail.split_at_checked(2)?;
            bytes.push(data_encoding::HEXLOWER_PERMISSIVE.decode(digits).ok()?[0]);
            rest = tail;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok().filter(|s| !s.chars().any(char::is_control))
}

/// Displays a text percent-encoded.
struct Encoded<'t>(&'t str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.bytes().position(|byte| !is_unreserved(byte)) {
            let (plain, coded) = rest.split_at(at);
            f.write_str(plain)?;
            let character = coded.chars().next().map_or(0, char::len_utf8);
            for byte in &coded.as_bytes()[..character] {
                write!(f, "%{byte:02X}")?;
            }
            rest = &coded[character..];
        }
        f.write_str(rest)
    }
}

impl fmt::Display for Purl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pkg:{}/", self.package_type)?;
        for segment in &self.namespace {
            write!(f, "{}/", Encoded(segment))?;
        }
        Encoded(&self.name).fmt(f)?;
        if let Some(version) = &self.version {
            write!(f, "@{}", Encoded(version))?;
        }
        for (i, (key, value)) in self.qualifiers.iter().enumerate() {
            write!(f, "{}{key}={}", if i == 0 { '?' } else { '&' }, Encoded(value))?;
        }
        for (i, segment) in self.subpath.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { '#' } else { '/' }, Encoded(segment))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Purl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Purl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Purl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::parse(deserializer)
    }
}

/// Reads a package URL that must already be canonical: in what is signed, one meaning has one text.
pub(crate) fn deserialize_canonical<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Purl, D::Error> {
    text::read(deserializer, |text| {
        if let Some(purl) = parse_plain(text) {
            return Ok(purl);
        }
        let (purl, canonical) = parse(text).map_err(|error| error.to_string())?;
        if canonical == text && purl.subpath.is_empty() {
            Ok(purl)
        } else {
            Err(format!("package URL is not canonical, or has a subpath: expected `{purl}`"))
        }
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_of_one_package_become_one_value() {
        for (text, canonical) in [
            ("pkg:pypi/Click@8.1.8", "pkg:pypi/click@8.1.8"),
            ("pkg:PyPI/ruamel_yaml.clib@1", "pkg:pypi/ruamel-yaml-clib@1"),
            ("pkg:npm/%40angular/core@1.0.0", "pkg:npm/%40angular/core@1.0.0"),
            ("pkg:npm/@angular/core@1.0.0", "pkg:npm/%40angular/core@1.0.0"),
            ("pkg:npm/JSONStream@1.3.5", "pkg:npm/JSONStream@1.3.5"),
            ("pkg:cargo/serde", "pkg:cargo/serde"),
            ("pkg:deb/debian/Curl@7.50.3-1?distro=jessie&arch=i386", "pkg:deb/debian/curl@7.50.3-1?arch=i386&distro=jessie"),
            ("pkg:pypi/a@1%2Blocal", "pkg:pypi/a@1%2Blocal"),
            (
                "pkg:pypi/a@1?repository_url=http://registry.example/simple",
                "pkg:pypi/a@1?repository_url=http:%2F%2Fregistry.example%2Fsimple",
            ),
        ] {
            assert_eq!(text.parse::<Purl>().unwrap().to_string(), canonical);
        }
    }

    #[test]
    fn the_usual_texts_need_no_closer_look() {
        for text in ["pkg:pypi/click@8.1.8", "pkg:pypi/flit-core", "pkg:npm/JSONStream@1.3.5", "pkg:cargo/serde_json@1.0.145"] {
            assert_eq!(parse_plain(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn malformed_texts_are_refused() {
        for text in ["", "pypi/click", "pkg:", "pkg:pypi", "pkg:pypi/", "pkg:1x/y", "pkg:a/b%zz", "pkg:a/b@%00", "pkg:a/../b"] {
            assert!(text.parse::<Purl>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_usual_text_is_read_as_every_text_is(
            text in "(pkg:)(pypi|npm|cargo|deb|PyPI)/([a-zA-Z0-9._~:%/-]{0,8}|-{1,3}|[.]{1,3})(@[a-z0-9.+%:@?#/]{0,6})?",
        ) {
            if let Some(purl) = parse_plain(&text) {
                prop_assert_eq!(parse(&text), Ok((purl, text)));
            }
        }

        #[test]
        fn canonical_text_is_a_fixed_point(text in "pkg:(pypi|npm|cargo)/[a-zA-Z0-9._%@/-]{1,20}(@[a-z0-9.+%]{0,8})?(\\?[a-z]{1,3}=[a-z/:%]{0,6})?") {
            if let Ok(purl) = text.parse::<Purl>() {
                let canonical = purl.to_string();
                prop_assert_eq!(canonical.parse::<Purl>().unwrap(), purl);
            }
        }
    }
}
