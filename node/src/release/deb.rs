//! One binary package of Debian: which file of a suite is meant, and what the index says about its making.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use quorate_proto::result::NotAttemptedReason;
use quorate_proto::{Digest, FileName, Purl, Timestamp};

use super::ChoiceError;
use crate::registry::deb::index::{self, Binary};
use crate::registry::deb::{Signed, Suite};
use crate::resolve::apt::{paragraphs, value};

/// Largest `.buildinfo` that is read.
const BUILDINFO_BYTES_MAX: u64 = 4 << 20;
/// Most packages that one names.
const BUILDINFO_PACKAGES_MAX: usize = 4000;

/// A suite that was read: its signed release file and its packages.
#[derive(Clone, Debug)]
pub struct OpenSuite {
    /// The suite.
    pub suite: Suite,
    /// Its release file.
    pub signed: Signed,
    /// The name of the index, such as `main/binary-amd64/Packages.xz`.
    pub index: String,
    /// The index's SHA-256.
    pub digest: Digest,
    /// What it lists.
    pub packages: Arc<Vec<Binary>>,
}

/// What the index says about an artifact.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its entry.
    pub binary: Binary,
    /// The release's own suite and, where that is another one, the suite that the artifact is in.
    pub suites: Vec<Suite>,
    /// When those suites were made.
    pub dates: Vec<Timestamp>,
    /// Whether its source makes packages for one kind of machine and packages for all.
    pub is_mixed: bool,
    /// The environment that made it, where that is known.
    pub buildinfo: Option<BuildInfo>,
}

/// The environment that made a package, by its builder's own word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildInfo {
    /// The installed packages and their versions.
    pub packages: BTreeMap<String, String>,
    /// SHA-256 of the file.
    pub digest: Digest,
}

/// Debian's name for this machine's kind.
pub fn machine() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "i386",
        "aarch64" => "arm64",
        "arm" => "armhf",
        "powerpc64" => "ppc64el",
        other => other,
    }
}

/// The index to look in for a package of this kind; what is for all machines stands in everybody's.
pub fn index_name(architecture: Option<&str>) -> String {
    let architecture = architecture.filter(|name| *name != "all" && index::is_name(name)).unwrap_or(machine());
    format!("main/binary-{architecture}/Packages.xz")
}

/// The entry that a package URL means, if the suite has it.
pub fn choose<'a>(packages: &'a [Binary], package: &Purl, wanted: Option<&FileName>) -> Result<Option<&'a Binary>, ChoiceError> {
    let version = package.version().ok_or_else(|| ChoiceError::NoVersion(Box::new(package.clone())))?;
    let of_arch = |binary: &&Binary| package.qualifier("arch").is_none_or(|arch| binary.architecture == arch);
    let found = packages.iter().filter(|binary| binary.package == package.name() && binary.version == version).find(of_arch);
    match (found, wanted) {
        (Some(binary), Some(file)) if file_name(binary) != file.as_str() => {
            Err(ChoiceError::UnknownFile { package: Box::new(package.clone()), file: file.clone(), known: file_name(binary).to_owned() })
        }
        (found, _) => Ok(found),
    }
}

/// The file's own name.
pub fn file_name(binary: &Binary) -> &str {
    binary.path.rsplit('/').next().unwrap_or_default()
}

/// Whether this machine can build it.
pub fn refusal(binary: &Binary) -> Option<NotAttemptedReason> {
    (binary.architecture != "all" && binary.architecture != machine()).then_some(NotAttemptedReason::ForeignPlatform)
}

/// Whether the source of an entry makes packages of both kinds.
pub fn is_mixed(packages: &[Binary], of: &Binary) -> bool {
    let siblings = packages.iter().filter(|binary| binary.source == of.source && binary.source_version == of.source_version);
    siblings.into_iter().any(|binary| (binary.architecture == "all") != (of.architecture == "all"))
}

/// A Debian package as a package URL.
pub fn package_url(name: &str, version: &str, architecture: &str) -> String {
    let text = format!("pkg:deb/debian/{name}@{}?arch={architecture}", version.replace('+', "%2B").replace(':', "%3A"));
    text.parse::<Purl>().map_or(text, |url| url.to_string())
}

/// Looks for the `.buildinfo` of an artifact: one of its source that names this very file, or none of its
/// source's files with other bytes.
pub fn buildinfo(folder: &Path, binary: &Binary) -> Option<BuildInfo> {
    let version = binary.source_version.split_once(':').map_or(binary.source_version.as_str(), |(_, version)| version);
    let start = format!("{}_{version}_", binary.source);
    let mut names: Vec<_> = std::fs::read_dir(folder).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| name.starts_with(&start) && Path::new(name).extension().is_some_and(|extension| extension == "buildinfo"));
    names.sort();
    names.iter().find_map(|name| {
        let path = folder.join(name);
        let size = std::fs::metadata(&path).ok()?.len();
        read_buildinfo(&std::fs::read(path).ok().filter(|_| size <= BUILDINFO_BYTES_MAX)?, binary)
    })
}

/// Reads a `.buildinfo` that is about `binary`.
pub fn read_buildinfo(bytes: &[u8], binary: &Binary) -> Option<BuildInfo> {
    let text = String::from_utf8_lossy(bytes);
    let paragraphs = paragraphs(&text);
    let fields = paragraphs.iter().find(|fields| value(fields, "Installed-Build-Depends").is_some())?;
    let made = value(fields, "Checksums-Sha256")?;
    let is_it = made.lines().any(|line| line.split_whitespace().next().is_some_and(|digest| digest == binary.digest.to_hex()));
    if !is_it {
        return None;
    }
    let one = |text: &str| {
        let (name, version) = text.trim().split_once(" (= ")?;
        let (name, version) = (name.split(':').next()?, version.strip_suffix(')')?);
        (index::is_name(name) && index::is_version(version)).then(|| (name.to_owned(), version.to_owned()))
    };
    let all: Option<BTreeMap<_, _>> =
        value(fields, "Installed-Build-Depends")?.split(',').filter(|text| !text.trim().is_empty()).map(one).collect();
    let packages = all.filter(|all| all.len() <= BUILDINFO_PACKAGES_MAX)?;
    Some(BuildInfo { packages, digest: Digest::of(bytes) })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn binary(name: &str, architecture: &str) -> Binary {
        Binary {
            package: name.to_owned(),
            version: "1:2.0-3".to_owned(),
            architecture: architecture.to_owned(),
            source: "src".to_owned(),
            source_version: "1:2.0-3".to_owned(),
            path: format!("pool/main/s/src/{name}_2.0-3_{architecture}.deb"),
            size_bytes: 1,
            digest: Digest::of(name.as_bytes()),
        }
    }

    #[test]
    fn a_package_of_another_machine_is_refused_and_named() {
        let all = [binary("a", "all"), binary("b", "sparc64"), binary("c", machine())];
        let chosen = |purl: &str| choose(&all, &purl.parse().unwrap(), None).unwrap().map(|found| (file_name(found), refusal(found)));
        assert_eq!(chosen("pkg:deb/debian/a@1:2.0-3"), Some(("a_2.0-3_all.deb", None)));
        assert_eq!(chosen("pkg:deb/debian/a@1:2.0-3?arch=sparc64"), None);
        assert_eq!(chosen("pkg:deb/debian/a@2.0-3"), None);
        assert_eq!(chosen("pkg:deb/debian/b@1:2.0-3").unwrap().1, Some(NotAttemptedReason::ForeignPlatform));
        assert_eq!(chosen("pkg:deb/debian/c@1:2.0-3").unwrap().1, None);
        assert!(is_mixed(&all, &all[0]) && !is_mixed(&all[1..], &all[1]));
        let wrong = choose(&all, &"pkg:deb/debian/a@1:2.0-3".parse().unwrap(), Some(&"b.deb".parse().unwrap()));
        assert!(matches!(wrong, Err(ChoiceError::UnknownFile { .. })));
    }

    #[test]
    fn a_buildinfo_of_other_bytes_is_not_believed() {
        let about = binary("a", "all");
        let text = |digest: Digest| {
            format!(
                "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nFormat: 1.0\nSource: src\nChecksums-Sha256:\n {} 1 a.deb\nInstalled-Build-Depends:\n autoconf (= 2.71-3),\n base-files (= 12.4+deb12u5),\n g++:amd64 (= 4:12.2)\n\n",
                digest.to_hex()
            )
        };
        let read = read_buildinfo(text(about.digest).as_bytes(), &about).unwrap();
        assert_eq!(read.packages["base-files"], "12.4+deb12u5");
        assert_eq!((read.packages.len(), read.packages["g++"].as_str()), (3, "4:12.2"));
        assert_eq!(read_buildinfo(text(Digest::of(b"other")).as_bytes(), &about), None);
        assert_eq!(read_buildinfo(text(about.digest).replace("autoconf", "--option").as_bytes(), &about), None);
    }

    #[test]
    fn versions_become_package_urls() {
        assert_eq!(package_url("a", "1:2.0+x~1", "all"), "pkg:deb/debian/a@1:2.0%2Bx~1?arch=all");
    }
}
