//! Names of npm packages.

use std::fmt;
use std::str::FromStr;

use quorate_proto::Purl;
use serde::{Deserialize, Serialize};

/// Longest name that npm takes.
const NAME_BYTES_MAX: usize = 214;

/// A package's name, with its scope: `name` or `@scope/name`.
///
/// Old names have capitals, and every kind of character that a path segment may have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PackageName(String);

/// A text that is no package's name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no npm package name")]
pub struct NameError(String);

impl PackageName {
    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without its scope.
    pub fn bare(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, bare)| bare)
    }

    /// The scope without its `@`.
    pub fn scope(&self) -> Option<&str> {
        self.0.strip_prefix('@')?.split_once('/').map(|(scope, _)| scope)
    }

    /// As one segment of an address.
    pub fn encoded(&self) -> String {
        self.0.replace('/', "%2F")
    }

    /// The name as `npm pack` puts it into a file's name.
    pub fn flat(&self) -> String {
        self.0.trim_start_matches('@').replace('/', "-")
    }

    /// The package as a package URL.
    pub fn package(&self) -> Option<Purl> {
        format!("pkg:npm/{}", self.0.replace('@', "%40")).parse().ok()
    }

    /// The release as a package URL.
    pub fn purl(&self, version: &str) -> Option<Purl> {
        let version = version.replace('%', "%25").replace('+', "%2B");
        format!("pkg:npm/{}@{version}", self.0.replace('@', "%40")).parse().ok()
    }

    /// The package that a package URL names.
    pub fn of(package: &Purl) -> Result<Self, NameError> {
        match package.namespace() {
            scope if scope.is_empty() => package.name().parse(),
            scope => format!("{scope}/{}", package.name()).parse(),
        }
    }
}

impl FromStr for PackageName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let error = || NameError(text.chars().take(100).collect());
        let (scope, bare) = match text.strip_prefix('@') {
            Some(rest) => rest.split_once('/').map(|(scope, bare)| (Some(scope), bare)).ok_or_else(error)?,
            None => (None, text),
        };
        let is_segment = |part: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~!'()*".contains(c);
            !part.is_empty() && !part.starts_with('.') && part.chars().all(plain)
        };
        let is_name = text.len() <= NAME_BYTES_MAX && is_segment(bare) && scope.is_none_or(is_segment);
        is_name.then(|| Self(text.to_owned())).ok_or_else(error)
    }
}

impl TryFrom<String> for PackageName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<PackageName> for String {
    fn from(name: PackageName) -> Self {
        name.0
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_scope_is_part_of_a_name() {
        let name = PackageName::of(&"pkg:npm/%40scope/name@1.0.0".parse().unwrap()).unwrap();
        assert_eq!((name.as_str(), name.bare(), name.scope(), name.flat().as_str()), ("@scope/name", "name", Some("scope"), "scope-name"));
        assert_eq!(name.encoded(), "@scope%2Fname");
        assert_eq!(name.purl("1.0.0+x").unwrap().to_string(), "pkg:npm/%40scope/name@1.0.0%2Bx");
        let old: PackageName = "JSONStream".parse().unwrap();
        assert_eq!(PackageName::of(&old.purl("1.3.5").unwrap()).unwrap(), old);
    }

    #[test]
    fn a_name_is_no_path_and_no_address() {
        for text in
            ["", "..", ".hidden", "a/b", "@a", "@/b", "@a/", "@a/b/c", "a b", "http://x", "a%2Fb", "@a/..", "é", "-\n", &"x".repeat(300)]
        {
            assert!(text.parse::<PackageName>().is_err(), "{text:?}");
        }
        for text in ["JSONStream", "a.b_c-d", "@types/node", "fs"] {
            assert!(text.parse::<PackageName>().is_ok(), "{text:?}");
        }
    }
}
