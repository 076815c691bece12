//! Files of a crate's version: there is one, and it says much about its making.

pub mod archive;
pub mod fingerprint;

use std::collections::BTreeSet;

use quorate_proto::result::RegistryView;
use quorate_proto::{Purl, Timestamp};
use semver::Version;

use super::ChoiceError;
use crate::registry::cargo::{CrateName, Line, is_same};
pub use archive::Published;

/// What is known of how a published crate was made.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The crate's name, in the spelling of its publisher.
    pub name: String,
    /// The version.
    pub version: Version,
    /// What the published bytes say.
    pub published: Published,
    /// Versions of cargo that may have made it, likeliest first.
    pub cargos: Vec<Version>,
    /// Minor versions that were at hand.
    pub held: BTreeSet<u64>,
    /// The newest release's line, if that is a later one.
    pub newest: Option<Line>,
}

/// The name that a package URL names.
pub fn name_of(package: &Purl) -> Result<CrateName, ChoiceError> {
    package.name().parse().map_err(|_| ChoiceError::NoProject(Box::new(package.clone())))
}

/// The version that a package URL names.
pub fn version_of(package: &Purl) -> Result<Version, ChoiceError> {
    let version = package.version().and_then(|version| Version::parse(version).ok());
    version.ok_or_else(|| ChoiceError::NoVersion(Box::new(package.clone())))
}

/// The line of a version. What only a build number tells apart is one version to a registry.
pub fn choose<'a>(lines: &'a [Line], package: &Purl, index: &str) -> Result<&'a Line, ChoiceError> {
    let (name, version) = (name_of(package)?, version_of(package)?);
    let unknown = || ChoiceError::UnknownVersion { package: Box::new(package.clone()), index: index.to_owned() };
    let all = || lines.iter().filter(|line| is_same(&line.name, name.as_str()));
    let exact = all().find(|line| line.version == version);
    exact.or_else(|| all().find(|line| line.version.cmp_precedence(&version).is_eq())).ok_or_else(unknown)
}

/// The newest release that is later than `line` and not yanked.
pub fn newest(lines: &[Line], line: &Line) -> Option<Line> {
    let later = lines.iter().filter(|other| other.version > line.version && !other.is_yanked);
    later.max_by_key(|other| (other.version.pre.is_empty(), &other.version)).cloned()
}

/// What is said of a file on the registry.
pub fn registry_view(line: &Line, url: String, observed_at: Timestamp) -> RegistryView {
    RegistryView {
        url,
        size_bytes: 0,
        index_checksum: Some(line.checksum),
        published_at: line.published_at.map(Timestamp::whole_seconds),
        observed_at,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::registry::cargo::parse;

    #[test]
    fn a_version_is_chosen_by_its_precedence() {
        let line = |version: &str| format!(r#"{{"name":"demo","vers":"{version}","cksum":"{}"}}"#, "0".repeat(64));
        let text = [line("1.0.0"), line("1.0.1+build.2"), line("1.0.1-rc.1")].join("\n");
        let lines = parse(text.as_bytes(), &"demo".parse().unwrap()).unwrap();
        let chosen = |purl: &str| choose(&lines, &purl.parse().unwrap(), "index").map(|line| line.version.to_string()).ok();
        assert_eq!(chosen("pkg:cargo/demo@1.0.0").as_deref(), Some("1.0.0"));
        assert_eq!(chosen("pkg:cargo/demo@1.0.1").as_deref(), Some("1.0.1+build.2"));
        assert_eq!(chosen("pkg:cargo/demo@1.0.2"), None);
        assert_eq!(chosen("pkg:cargo/demo@1"), None);
        let later = |line: &Line| newest(&lines, line).map(|line| line.version.to_string());
        assert_eq!((later(&lines[0]).as_deref(), later(&lines[1])), (Some("1.0.1+build.2"), None));
    }
}
