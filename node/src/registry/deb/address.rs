//! Which suites of which archives a package is looked for in.
//!
//! The archive: the package URL's `repository_url`, the configuration, then apt's own lists. The suites: the
//! package URL's `distro`, the configuration, this machine's own and then Debian's others. Each suite is
//! followed by its updates, and by its security archive where apt knows one.

use std::path::{Path, PathBuf};

use quorate_proto::Purl;
use url::Url;

use super::Suite;
use crate::registry::address::{self, AddressError};
use crate::resolve::debian::{KEYRING, SUITES, mirror_in, security_in};

/// Debian's numbers, as package URLs use them.
const NUMBERS: &[(&str, &str)] = &[("11", "bullseye"), ("12", "bookworm"), ("13", "trixie"), ("14", "forky")];

/// What is configured about Debian's archive, besides its address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveSettings {
    /// The keys that may sign it; Debian's own when absent.
    pub keyring: Option<PathBuf>,
    /// The suites that are searched, in this order; this machine's and Debian's others when empty.
    pub suites: Vec<String>,
    /// The suite of apt's own archive that builds take place in, where the archive that is searched is no whole
    /// one, such as a repository of a few packages.
    pub base: Option<String>,
    /// A folder with `.buildinfo` files.
    pub buildinfo_dir: Option<PathBuf>,
}

/// One release of Debian: the suite and those that come after it, in the order of searching.
pub type Family = Vec<Suite>;

/// Where a package is looked for.
pub fn families(package: &Purl, configured: Option<&str>, settings: &ArchiveSettings) -> Result<Vec<Family>, AddressError> {
    let named = address::named_by(package).or_else(|| configured.map(|text| address::parse(text, "the configuration"))).transpose()?;
    let unknown = || AddressError::Unknown { client: "apt".to_owned() };
    let apt = Path::new("/etc/apt");
    let security = if named.is_none() { security_in(apt) } else { None };
    let archive = named.or_else(|| mirror_in(apt)).ok_or_else(unknown)?;
    let keyring = settings.keyring.clone().unwrap_or_else(|| KEYRING.into());
    let family = |name: String| family(&name, &archive, security.as_ref(), &keyring);
    Ok(names(package.qualifier("distro"), settings)?.into_iter().map(family).collect())
}

/// The suite that builds take place in, where that is not the one that is searched.
pub fn base(settings: &ArchiveSettings) -> Result<Option<Suite>, AddressError> {
    let Some(name) = &settings.base else { return Ok(None) };
    let [name] = &names(Some(name), settings)?[..] else { return Ok(None) };
    let archive = mirror_in(Path::new("/etc/apt")).ok_or_else(|| AddressError::Unknown { client: "apt".to_owned() })?;
    Ok(Some(Suite { archive, name: name.clone(), keyring: KEYRING.into() }))
}

fn names(distro: Option<&str>, settings: &ArchiveSettings) -> Result<Vec<String>, AddressError> {
    let names = match distro {
        Some(distro) => vec![codename(distro)],
        None if !settings.suites.is_empty() => settings.suites.clone(),
        None => usual(&std::fs::read_to_string("/etc/os-release").unwrap_or_default()),
    };
    let plain = |name: &String| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
    };
    match names.iter().find(|name| !plain(name)) {
        Some(name) => Err(AddressError::Suite(name.chars().take(100).collect())),
        None => Ok(names),
    }
}

/// `bookworm`, `debian-12` and `12` are one suite.
fn codename(distro: &str) -> String {
    let bare = distro.strip_prefix("debian-").unwrap_or(distro);
    let major = bare.split('.').next().unwrap_or_default();
    NUMBERS.iter().find(|(number, _)| *number == major).map_or(bare, |(_, name)| name).to_owned()
}

fn usual(os_release: &str) -> Vec<String> {
    let own = os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).map(|name| name.trim_matches('"'));
    let own = own.filter(|own| SUITES.contains(own));
    let others = SUITES.iter().copied().filter(|name| Some(*name) != own);
    own.into_iter().chain(others).map(str::to_owned).collect()
}

fn family(name: &str, archive: &Url, security: Option<&Url>, keyring: &Path) -> Family {
    let suite = |archive: &Url, name: String| Suite { archive: archive.clone(), name, keyring: keyring.to_owned() };
    let mut all = vec![suite(archive, name.to_owned())];
    if !name.contains('-') {
        all.push(suite(archive, format!("{name}-updates")));
        all.extend(security.map(|security| suite(security, format!("{name}-security"))));
    }
    all
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_package_url_names_its_suite_in_several_ways() {
        let settings = ArchiveSettings::default();
        for distro in ["bookworm", "debian-12", "12", "debian-12.7"] {
            assert_eq!(names(Some(distro), &settings).unwrap(), ["bookworm"]);
        }
        assert!(names(Some("../x"), &settings).is_err() && names(Some("--mode=root"), &settings).is_err());
        assert_eq!(usual("ID=debian\nVERSION_CODENAME=bookworm\n"), ["bookworm", "trixie"]);
        assert_eq!(usual("VERSION_CODENAME=jammy\n"), SUITES);
    }

    #[test]
    fn updates_and_security_follow_their_suite() {
        let (main, security) = ("http://a.example/debian".parse().unwrap(), "http://a.example/debian-security".parse().unwrap());
        let names = |all: Family| all.into_iter().map(|suite| format!("{} {}", suite.archive.path(), suite.name)).collect::<Vec<_>>();
        let expected = ["/debian bookworm", "/debian bookworm-updates", "/debian-security bookworm-security"];
        assert_eq!(names(family("bookworm", &main, Some(&security), Path::new("/k"))), expected);
        assert_eq!(names(family("bookworm-backports", &main, Some(&security), Path::new("/k"))), ["/debian bookworm-backports"]);
    }
}
