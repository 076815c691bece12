//! What a source tree says about the package in it: `pyproject.toml`, `setup.cfg`, `PKG-INFO`.
//!
//! Only static words are read; nothing of the tree is run to learn them.

use std::io;
use std::path::Path;

use pep440_rs::Version;
use serde::Deserialize;

use super::tree;
use crate::registry::pypi::file_name::normal_name;

const MANIFEST_BYTES_MAX: u64 = 4 << 20;

/// What a source tree says about the package in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The package's name, normalised, where it is static.
    pub name: Option<String>,
    /// The package's version, where it is static.
    pub version: Option<String>,
    /// The build system.
    pub build: BuildSystem,
    /// All of `pyproject.toml` and `setup.cfg` as text, for telling which version tools are in use.
    pub text: String,
}

/// The `[build-system]` table of PEP 518, or what PEP 517 says when it is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildSystem {
    /// Requirements of the backend.
    pub requires: Vec<String>,
    /// The backend's object.
    pub backend: String,
    /// Folders of the tree that the backend itself lies in.
    pub backend_path: Vec<String>,
}

/// A manifest that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It could not be read.
    #[error("reading {0} failed")]
    Io(&'static str, #[source] io::Error),
    /// Not the format.
    #[error("pyproject.toml is malformed: {0}")]
    Malformed(String),
    /// Another package than the one that is looked for.
    #[error("the source is of package {got}, not {expected}")]
    OtherPackage {
        /// The name in the source.
        got: String,
        /// The name that was asked for.
        expected: String,
    },
    /// Another version than the one that is looked for.
    #[error("the source is of version {got}, not {expected}")]
    OtherVersion {
        /// The version in the source.
        got: String,
        /// The version that was asked for.
        expected: Version,
    },
    /// No package at all.
    #[error("the source holds no Python package")]
    NoPackage,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct PyProject {
    build_system: Option<Table>,
    project: Named,
    tool: Tools,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Table {
    requires: Vec<String>,
    build_backend: Option<String>,
    backend_path: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    name: Option<String>,
    version: Option<toml::Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tools {
    poetry: Named,
}

impl Default for BuildSystem {
    fn default() -> Self {
        Self { requires: vec!["setuptools>=40.8.0".to_owned(), "wheel".to_owned()], backend: LEGACY.to_owned(), backend_path: Vec::new() }
    }
}

const LEGACY: &str = "setuptools.build_meta:__legacy__";

impl Manifest {
    /// Reads the manifest of the package in `folder`, a folder of the tree `root`.
    pub fn read(root: &Path, folder: &Path) -> Result<Self, ManifestError> {
        let text = |name: &'static str| {
            let bytes = tree::read(root, folder.join(name), MANIFEST_BYTES_MAX).map_err(|error| ManifestError::Io(name, error))?;
            Ok::<_, ManifestError>(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        };
        let (pyproject, setup_cfg, setup_py) = (text("pyproject.toml")?, text("setup.cfg")?, text("setup.py")?);
        if pyproject.is_none() && setup_cfg.is_none() && setup_py.is_none() {
            return Err(ManifestError::NoPackage);
        }
        Self::parse(pyproject.as_deref().unwrap_or(""), setup_cfg.as_deref().unwrap_or(""), setup_py.as_deref().unwrap_or(""))
    }

    /// Understands the three files; absent ones are empty.
    pub fn parse(pyproject: &str, setup_cfg: &str, setup_py: &str) -> Result<Self, ManifestError> {
        let parsed: PyProject = toml::from_str(pyproject).map_err(|error| ManifestError::Malformed(error.message().to_owned()))?;
        let [project, poetry] = [parsed.project, parsed.tool.poetry];
        let build = parsed.build_system.map_or_else(BuildSystem::default, |table| BuildSystem {
            requires: table.requires,
            backend: table.build_backend.unwrap_or_else(|| LEGACY.to_owned()),
            backend_path: table.backend_path,
        });
        let version = project.version.or(poetry.version).and_then(|version| version.as_str().map(str::to_owned));
        Ok(Self {
            name: project.name.or(poetry.name).or_else(|| cfg_value(setup_cfg, "name")).map(|name| normal_name(&name)),
            version: version.or_else(|| cfg_value(setup_cfg, "version")).filter(|version| version != "0" && version != "0.0.0"),
            build,
            text: format!("{pyproject}\n{setup_cfg}\n{setup_py}"),
        })
    }

    /// Refuses a source of another package or version, as far as its manifest says.
    pub fn check(&self, name: &str, version: &Version) -> Result<(), ManifestError> {
        if let Some(got) = self.name.as_ref().filter(|got| *got != name) {
            return Err(ManifestError::OtherPackage { got: got.clone(), expected: name.to_owned() });
        }
        let parsed = self.version.as_ref().and_then(|text| text.parse::<Version>().ok());
        match (parsed, &self.version) {
            (Some(parsed), Some(got)) if parsed != *version => {
                Err(ManifestError::OtherVersion { got: got.clone(), expected: version.clone() })
            }
            _ => Ok(()),
        }
    }
}

/// A key of `[metadata]` in `setup.cfg`; `attr:` and `file:` forms are not static and count as absent.
fn cfg_value(text: &str, key: &str) -> Option<String> {
    let mut in_metadata = false;
    for line in text.lines() {
        if line.starts_with('[') {
            in_metadata = line.trim() == "[metadata]";
        } else if let Some((name, value)) = line.split_once('=').filter(|_| in_metadata)
            && name.trim() == key
        {
            let value = value.trim();
            let is_static = !value.is_empty() && !value.starts_with("attr:") && !value.starts_with("file:");
            return is_static.then(|| value.to_owned());
        }
    }
    None
}

/// The folder of the package in a tree, with its manifest: the nearest one that does not contradict.
pub fn find(root: &Path, name: &str, version: &Version) -> Result<(std::path::PathBuf, Manifest), ManifestError> {
    let mut first_error = None;
    let mut nameless = None;
    for folder in tree::package_folders(root) {
        let checked = Manifest::read(root, &folder).and_then(|manifest| manifest.check(name, version).map(|()| manifest));
        match checked {
            Ok(manifest) if manifest.name.is_some() => return Ok((folder, manifest)),
            Ok(manifest) => nameless = nameless.or(Some((folder, manifest))),
            Err(error) => first_error = first_error.or(Some(error)),
        }
        // A package at the root that names nothing is the one, unless a deeper one has the very name.
    }
    nameless.ok_or_else(|| first_error.unwrap_or(ManifestError::NoPackage))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_tree_without_a_build_system_is_built_by_setuptools() {
        let manifest = Manifest::parse("", "[metadata]\nname = Demo_X\nversion = attr: demo.v\n", "").unwrap();
        assert_eq!(manifest.build, BuildSystem::default());
        assert_eq!((manifest.name.as_deref(), manifest.version), (Some("demo-x"), None));
        let manifest = Manifest::parse("[build-system]\nrequires=['setuptools']\n", "", "").unwrap();
        assert_eq!((manifest.build.requires.len(), manifest.build.backend.as_str()), (1, LEGACY));
    }

    #[test]
    fn a_source_of_another_version_or_package_is_refused() {
        let manifest = Manifest::parse("[project]\nname='demo'\nversion='1.0'\n", "", "").unwrap();
        let check = |name, version: &str| manifest.check(name, &version.parse().unwrap());
        assert!(check("demo", "1.0.0").is_ok());
        assert!(matches!(check("demo", "1.1"), Err(ManifestError::OtherVersion { .. })));
        assert!(matches!(check("other", "1.0"), Err(ManifestError::OtherPackage { .. })));
    }

    #[test]
    fn the_package_of_a_monorepo_is_found_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        for (folder, name) in [("", "root"), ("packages/a", "a"), ("packages/b", "b")] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
            let text = format!("[project]\nname='{name}'\nversion='1'\n");
            std::fs::write(dir.path().join(folder).join("pyproject.toml"), text).unwrap();
        }
        let (folder, _) = find(dir.path(), "b", &"1".parse().unwrap()).unwrap();
        assert_eq!(folder, Path::new("packages/b"));
        assert!(find(dir.path(), "c", &"1".parse().unwrap()).is_err());
    }
}
