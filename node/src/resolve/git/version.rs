//! When two texts spell one version. Pure.

use std::str::FromStr as _;

/// How versions of an ecosystem are spelled and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionRule {
    /// Python's (PEP 440): `1.0` is `1.0.0`, `1.0-rc.1` is `1.0rc1`.
    Pep440,
    /// Semantic versions of npm and crates.io.
    Semver,
}

/// Versions that manifests carry while a tool sets the true one at release.
const PLACEHOLDERS: [&str; 7] =
    ["0", "0.0.0", "0.0.0-dev", "0.0.0-development", "0.0.0-semantic-release", "0.0.0-semantically-released", "0.0.0-semantic-released"];

impl VersionRule {
    /// Whether `text` spells `version`. Zero-padded numbers do, as calendar versions have them in tags; a
    /// pre-release of it does not.
    pub fn is_same(self, text: &str, version: &str) -> bool {
        if text == version {
            return true;
        }
        match self {
            Self::Pep440 => {
                let parse = |text: &str| pep440_rs::Version::from_str(text).ok();
                parse(text).is_some_and(|parsed| Some(parsed) == parse(version))
            }
            Self::Semver => semantic(text).is_some_and(|parsed| Some(parsed) == semantic(version)),
        }
    }

    /// Whether a manifest's version only holds a place, for a release that is not that very version.
    pub fn is_placeholder(self, text: &str, version: &str) -> bool {
        PLACEHOLDERS.contains(&text) && !self.is_same(text, version)
    }

    /// Whether two texts name one package.
    pub fn is_same_name(self, one: &str, other: &str) -> bool {
        match self {
            Self::Pep440 => crate::registry::pypi::file_name::normal_name(one) == crate::registry::pypi::file_name::normal_name(other),
            Self::Semver => one == other,
        }
    }
}

/// Three numbers and the pre-release; build metadata names no other version.
fn semantic(text: &str) -> Option<([u64; 3], String)> {
    let text = text.split('+').next()?;
    let (numbers, pre) = text.split_once('-').unwrap_or((text, ""));
    let mut parsed = [0; 3];
    let mut parts = numbers.split('.');
    for (number, part) in parsed.iter_mut().zip(&mut parts) {
        let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = is_number.then(|| part.parse().ok()).flatten()?;
    }
    parts.next().is_none().then(|| (parsed, pre.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_version_may_be_spelled_in_several_ways() {
        for (rule, text, version) in [
            (VersionRule::Pep440, "2024.07.04", "2024.7.4"),
            (VersionRule::Pep440, "1.0-rc.1", "1.0rc1"),
            (VersionRule::Semver, "2024.07.04", "2024.7.4"),
            (VersionRule::Semver, "1.2", "1.2.0"),
            (VersionRule::Semver, "1.2.3+linux", "1.2.3"),
        ] {
            assert!(rule.is_same(text, version), "{text} {version}");
        }
    }

    #[test]
    fn a_pre_release_is_another_version() {
        for text in ["1.2.3-rc.1", "1.2.3rc1", "1.2.3.1", "1.2.4", "", ".", "1..3", "+1", "x"] {
            for rule in [VersionRule::Pep440, VersionRule::Semver] {
                assert!(!rule.is_same(text, "1.2.3"), "{text}");
            }
        }
    }

    #[test]
    fn only_a_release_of_that_version_is_named_by_a_placeholder() {
        assert!(VersionRule::Semver.is_placeholder("0.0.0-development", "1.2.3"));
        assert!(!VersionRule::Semver.is_placeholder("0.0.0", "0.0.0"));
        assert!(!VersionRule::Semver.is_placeholder("1.2.3", "1.2.4"));
    }
}
