//! Files of a Python release: wheels and source distributions.

mod facts;
mod setuptools;
mod zip;

use pep440_rs::Version;
use quorate_proto::result::{NotAttemptedReason, RegistryView};
use quorate_proto::{FileName, Purl, Timestamp};

use super::ChoiceError;
use crate::registry::pypi::file_name::{Distribution, Kind, ProjectName, normal_name};
use crate::registry::pypi::{Project, PublishedFile};
pub use facts::{FactsError, Metadata, members_of, read_facts, sdist_facts, wheel_facts, wheel_members};

/// What is rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A wheel.
    Wheel,
    /// A source distribution.
    SourceDistribution,
}

/// What is known of how a published Python file was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The version, for comparing.
    pub version: Version,
    /// What kind of file it is.
    pub target: Target,
    /// What the published bytes say.
    pub metadata: Metadata,
    /// The source distribution of the same release, if another file than this one.
    pub source_distribution: Option<PublishedFile>,
    /// A file of the newest release, if that is a later one.
    pub newest: Option<PublishedFile>,
}

/// The version that a package URL names.
pub fn version_of(package: &Purl) -> Result<Version, ChoiceError> {
    let version = package.version().and_then(|version| version.parse().ok());
    version.ok_or_else(|| ChoiceError::NoVersion(Box::new(package.clone())))
}

/// The project that a package URL names.
pub fn project_of(package: &Purl) -> Result<ProjectName, ChoiceError> {
    package.name().parse().map_err(|_| ChoiceError::NoProject(Box::new(package.clone())))
}

/// The files of one version. A file whose name says another project is none of it, wherever it is listed.
pub fn files_of<'a>(project: &'a Project, package: &Purl) -> Result<Vec<&'a PublishedFile>, ChoiceError> {
    let (name, version) = (project_of(package)?, version_of(package)?);
    let belongs = |file: &&PublishedFile| {
        if let Some(distribution) = Distribution::parse(&file.name) {
            return distribution.project == name.as_str() && distribution.version == version;
        }
        // Eggs and installers: their names begin with project and version too.
        let mut parts = file.name.as_str().split('-');
        let is_project = parts.next().is_some_and(|project| normal_name(project) == name.as_str());
        is_project && parts.next().and_then(|text| text.parse::<Version>().ok()).as_ref() == Some(&version)
    };
    Ok(project.files.iter().filter(belongs).collect())
}

/// The file that is meant: the named one, else the wheel for every machine, else the source distribution,
/// else the first.
pub fn choose<'a>(
    files: &[&'a PublishedFile],
    wanted: Option<&FileName>,
    package: &Purl,
    index: &str,
) -> Result<&'a PublishedFile, ChoiceError> {
    let unknown = || ChoiceError::UnknownVersion { package: Box::new(package.clone()), index: index.to_owned() };
    if let Some(wanted) = wanted {
        let known = || files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>().join(", ");
        let unknown = || ChoiceError::UnknownFile { package: Box::new(package.clone()), file: wanted.clone(), known: known() };
        return files.iter().find(|file| file.name == *wanted).copied().ok_or_else(unknown);
    }
    let rank = |file: &&&PublishedFile| match Distribution::parse(&file.name).map(|distribution| distribution.kind) {
        Some(Kind::PureWheel) => 0,
        Some(Kind::SourceTar) => 1,
        Some(Kind::SourceZip) => 2,
        Some(Kind::PlatformWheel) => 3,
        None => 4,
    };
    files.iter().min_by_key(rank).copied().ok_or_else(unknown)
}

/// What would be rebuilt, or why this node does not try.
pub fn target_of(name: &FileName) -> Result<Target, NotAttemptedReason> {
    match Distribution::parse(name).map(|distribution| distribution.kind) {
        Some(Kind::PureWheel) => Ok(Target::Wheel),
        Some(Kind::SourceTar) => Ok(Target::SourceDistribution),
        Some(Kind::PlatformWheel) => Err(NotAttemptedReason::ForeignPlatform),
        Some(Kind::SourceZip) | None => Err(NotAttemptedReason::UnsupportedKind),
    }
}

/// The release's source distribution, if there is one that is not `than` itself.
pub fn source_distribution(files: &[&PublishedFile], than: &FileName) -> Option<PublishedFile> {
    let is_source = |file: &&&PublishedFile| Distribution::parse(&file.name).is_some_and(|d| d.kind == Kind::SourceTar);
    files.iter().filter(is_source).find(|file| file.name != *than).map(|file| (*file).clone())
}

/// The release's wheel for every machine, if there is one that is not `than` itself.
pub fn sibling_wheel(files: &[&PublishedFile], than: &FileName) -> Option<PublishedFile> {
    let is_wheel = |file: &&&PublishedFile| Distribution::parse(&file.name).is_some_and(|d| d.kind == Kind::PureWheel);
    files.iter().filter(is_wheel).find(|file| file.name != *than).map(|file| (*file).clone())
}

/// The newest release's wheel for every machine, else its source distribution, if it is later than `version` and no
/// larger than `bytes_max`.
pub fn newest(project: &Project, version: &Version, bytes_max: u64) -> Option<PublishedFile> {
    let rank = |file: &PublishedFile| {
        let distribution = Distribution::parse(&file.name)?;
        let is_wheel = match distribution.kind {
            Kind::PureWheel => true,
            Kind::SourceTar => false,
            Kind::SourceZip | Kind::PlatformWheel => return None,
        };
        let is_small = file.size_bytes.is_none_or(|size| size <= bytes_max);
        (is_small && distribution.version > *version).then_some((!distribution.version.any_prerelease(), distribution.version, is_wheel))
    };
    let ranked = project.files.iter().filter_map(|file| Some((rank(file)?, file)));
    ranked.max_by(|(a, _), (b, _)| a.cmp(b)).map(|(_, file)| file.clone())
}

/// What is said of a file on the registry.
pub fn registry_view(file: &PublishedFile, size_bytes: u64, observed_at: Timestamp) -> RegistryView {
    RegistryView {
        url: file.url.to_string(),
        size_bytes,
        index_checksum: file.sha256,
        published_at: file.uploaded_at.map(Timestamp::whole_seconds),
        observed_at,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn project(names: &[&str]) -> Project {
        let file = |name: &&str| PublishedFile {
            name: name.parse().unwrap(),
            url: format!("https://registry.example/{name}").parse().unwrap(),
            sha256: None,
            size_bytes: None,
            uploaded_at: None,
            requires_python: None,
        };
        Project { files: names.iter().map(file).collect() }
    }

    fn chosen(names: &[&str], wanted: Option<&str>) -> Option<String> {
        let project = project(names);
        let package = Purl::pypi("demo", "1.0").unwrap();
        let files = files_of(&project, &package).unwrap();
        let wanted = wanted.map(|name| name.parse().unwrap());
        choose(&files, wanted.as_ref(), &package, "index").ok().map(|file| file.name.to_string())
    }

    #[test]
    fn the_wheel_for_every_machine_stands_for_a_release() {
        let names = ["demo-1.0.tar.gz", "demo-1.0-cp311-cp311-win32.whl", "demo-1.0.0-py3-none-any.whl", "demo-1.1-py3-none-any.whl"];
        assert_eq!(chosen(&names, None).as_deref(), Some("demo-1.0.0-py3-none-any.whl"));
        assert_eq!(chosen(&names[..2], None).as_deref(), Some("demo-1.0.tar.gz"));
        assert_eq!(chosen(&names, Some("demo-1.0.tar.gz")).as_deref(), Some("demo-1.0.tar.gz"));
        assert_eq!(chosen(&names, Some("demo-1.1-py3-none-any.whl")), None);
        assert_eq!(chosen(&names[3..], None), None);
    }

    #[test]
    fn a_file_named_for_another_project_is_not_of_this_release() {
        let names = ["other-1.0-py3-none-any.whl", "other-1.0-py2.7.egg", "demo-1.0.tar.gz"];
        assert_eq!(chosen(&names, None).as_deref(), Some("demo-1.0.tar.gz"));
        assert_eq!(chosen(&names, Some(names[0])), None);
        assert_eq!(chosen(&names[..2], None), None);
    }

    #[test]
    fn the_newest_release_is_a_later_one_that_is_no_pre_release() {
        let names =
            ["demo-1.0.tar.gz", "demo-1.1.tar.gz", "demo-1.1-py3-none-any.whl", "demo-2.0rc1.tar.gz", "demo-3.0-cp311-cp311-win32.whl"];
        let newest = |version: &str| newest(&project(&names), &version.parse().unwrap(), 10).map(|file| file.name.to_string());
        assert_eq!(newest("1.0").as_deref(), Some("demo-1.1-py3-none-any.whl"));
        assert_eq!(newest("1.1").as_deref(), Some("demo-2.0rc1.tar.gz"));
        assert_eq!(newest("2.0"), None);
    }

    #[test]
    fn files_for_other_machines_are_not_attempted() {
        let target = |name: &str| target_of(&name.parse().unwrap());
        assert_eq!(target("demo-1.0-cp311-cp311-win32.whl"), Err(NotAttemptedReason::ForeignPlatform));
        assert_eq!(target("demo-1.0-py2.7.egg"), Err(NotAttemptedReason::UnsupportedKind));
        assert_eq!(target("demo-1.0.tar.gz"), Ok(Target::SourceDistribution));
    }
}
