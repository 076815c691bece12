//! What a published file's name says: which release it belongs to and what kind of file it is.

use std::fmt;
use std::str::FromStr;

use pep440_rs::Version;
use quorate_proto::FileName;

/// Most bytes of a project's name; no index has longer ones.
const NAME_BYTES_MAX: usize = 200;

/// A project's name, normalised as PEP 503 says and checked: it is one plain segment of an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProjectName(String);

/// A text that is no project's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a project")]
pub struct NameError;

impl FromStr for ProjectName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > NAME_BYTES_MAX {
            return Err(NameError);
        }
        let normal = normal_name(text);
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let is_name = normal.starts_with(is_plain) && normal.ends_with(is_plain) && normal.chars().all(|c| is_plain(c) || c == '-');
        if is_name { Ok(Self(normal)) } else { Err(NameError) }
    }
}

impl ProjectName {
    /// The normalised text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A published file's name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// The project, normalised.
    pub project: String,
    /// The version.
    pub version: Version,
    /// What kind of file it is.
    pub kind: Kind,
}

/// Kinds of published file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A wheel for every machine.
    PureWheel,
    /// A wheel for one kind of machine or one interpreter's binary interface.
    PlatformWheel,
    /// A source distribution in a compressed tar.
    SourceTar,
    /// A source distribution in a zip.
    SourceZip,
}

impl Distribution {
    /// Takes a name apart; `None` for eggs, installers and what is no distribution.
    pub fn parse(name: &FileName) -> Option<Self> {
        let name = name.as_str();
        if let Some(stem) = name.strip_suffix(".whl") {
            return wheel(stem);
        }
        let source = |suffix| name.strip_suffix(suffix);
        if let Some(stem) = source(".tar.gz").or_else(|| source(".tgz")) {
            return sdist(stem, &Kind::SourceTar);
        }
        sdist(source(".zip")?, &Kind::SourceZip)
    }
}

fn wheel(stem: &str) -> Option<Distribution> {
    let parts: Vec<_> = stem.split('-').collect();
    let (project, version, tags) = match parts.as_slice() {
        [project, version, tags @ ..] if tags.len() == 3 => (project, version, tags),
        [project, version, _build, tags @ ..] if tags.len() == 3 => (project, version, tags),
        _ => return None,
    };
    let kind = if tags[1] == "none" && tags[2] == "any" { Kind::PureWheel } else { Kind::PlatformWheel };
    Some(Distribution { project: normal_name(project), version: version.replace('_', "-").parse().ok()?, kind })
}

/// The version begins behind the last hyphen at which the rest is a version: old names hold hyphens.
fn sdist(stem: &str, kind: &Kind) -> Option<Distribution> {
    let mut hyphens: Vec<_> = stem.match_indices('-').map(|(at, _)| at).collect();
    hyphens.reverse();
    hyphens.into_iter().find_map(|at| {
        let version = stem[at + 1..].parse().ok()?;
        Some(Distribution { project: normal_name(&stem[..at]), version, kind: kind.clone() })
    })
}

/// A project's name as PEP 503 normalises it.
pub fn normal_name(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for c in name.chars() {
        let c = if matches!(c, '-' | '_' | '.') { '-' } else { c.to_ascii_lowercase() };
        if !(c == '-' && normal.ends_with('-')) {
            normal.push(c);
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_name_that_is_an_address_is_no_project() {
        for (text, expected) in [("Zope.Interface", Some("zope-interface")), ("a", Some("a")), ("a__b", Some("a-b"))] {
            assert_eq!(text.parse::<ProjectName>().ok().as_ref().map(ProjectName::as_str), expected);
        }
        for text in
            ["", "-a", "a.", "http://127.0.0.1:1/x", "//host/x", "a/b", "a:b", "..", "a?b", "a#b", "a%2f", "\u{e9}", &"a".repeat(201)]
        {
            assert_eq!(text.parse::<ProjectName>(), Err(NameError), "{text}");
        }
    }

    #[test]
    fn names_say_project_version_and_kind() {
        for (name, expected) in [
            ("click-8.1.8-py3-none-any.whl", Some(("click", "8.1.8", Kind::PureWheel))),
            ("six-1.16.0-py2.py3-none-any.whl", Some(("six", "1.16.0", Kind::PureWheel))),
            ("ruamel.yaml.clib-0.2.8-cp311-cp311-win32.whl", Some(("ruamel-yaml-clib", "0.2.8", Kind::PlatformWheel))),
            ("demo-1.0-1-py3-none-any.whl", Some(("demo", "1.0", Kind::PureWheel))),
            ("python-dateutil-2.9.0.post0.tar.gz", Some(("python-dateutil", "2.9.0.post0", Kind::SourceTar))),
            ("zope.interface-5.0.zip", Some(("zope-interface", "5.0", Kind::SourceZip))),
            ("demo-1.0-py2.7.egg", None),
            ("demo.tar.gz", None),
        ] {
            let got = Distribution::parse(&name.parse().unwrap());
            let got = got.as_ref().map(|d| (d.project.as_str(), d.version.to_string(), d.kind.clone()));
            assert_eq!(got, expected.map(|(project, version, kind)| (project, version.to_owned(), kind)), "{name}");
        }
    }
}
