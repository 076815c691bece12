//! What a source tree says about the npm package in it: its manifest, and the lock file above it. Nothing of the
//! tree is run to learn it.

pub mod lock;

use std::fs;
use std::path::{Path, PathBuf};

use semver::Version;
use serde_json::Value;

use super::tree;
use crate::registry::npm::PackageName;
use crate::registry::npm::packument::{version, word};
use crate::release::npm::manifest as release_manifest;
use crate::resolve::ResolveError;
use lock::{Lock, LockKind};

const MANIFEST_BYTES_MAX: u64 = 4 << 20;
const LOCK_BYTES_MAX: u64 = 64 << 20;
/// How deep a package is looked for, and in how many folders.
const DEPTH_MAX: usize = 4;
const FOLDERS_MAX: usize = 4000;
/// Files of a workspace that tools which publish from one copy into a package that has none.
const LICENCES: [&str; 6] = ["LICENSE", "LICENSE.md", "LICENSE.txt", "LICENCE", "LICENCE.md", "license"];

/// The package in a source tree.
#[derive(Clone, Debug, Default)]
pub struct Project {
    /// Its `package.json`.
    pub manifest: Value,
    /// The bytes of that.
    pub manifest_text: Vec<u8>,
    /// The lock file next above it.
    pub lock: Option<Lock>,
    /// The folder of that lock file, else of the workspace, else the package's own.
    pub root: PathBuf,
    /// The manifest in that folder, where it is another one than the package's.
    pub workspace: Option<Value>,
    /// Files of that folder that publishing from a workspace takes along.
    pub licences: Vec<String>,
    /// Whether the version in the manifest only holds a place for the one that a tool sets at release.
    pub is_placeholder: bool,
}

/// Finds the package in a tree: in the folder that the publisher names, at the top, then anywhere near it.
pub fn find(tree: &Path, name: &PackageName, wanted: &Version, named: Option<&str>) -> Result<(PathBuf, Project), ResolveError> {
    let mut others = Vec::new();
    for folder in named.map(PathBuf::from).into_iter().chain(folders(tree)) {
        let Some(bytes) = tree::read(tree, folder.join("package.json"), MANIFEST_BYTES_MAX)? else { continue };
        let manifest = release_manifest(&bytes);
        if word(&manifest["name"]) != Some(name.as_str()) {
            others.push(word(&manifest["name"]).unwrap_or("a package without a name").to_owned());
            continue;
        }
        let said = word(&manifest["version"]).unwrap_or_default();
        let is_placeholder = is_placeholder(said) && version(said).as_ref() != Some(wanted);
        if version(said).as_ref() != Some(wanted) && !is_placeholder {
            return Err(ResolveError::None(format!("the source is of version {said}, not {wanted}")));
        }
        let (lock, root) = lock_above(tree, &folder)?;
        let mut project = Project { manifest, manifest_text: bytes, lock, root, is_placeholder, ..Project::default() };
        if project.root != folder {
            let bytes = tree::read(tree, project.root.join("package.json"), MANIFEST_BYTES_MAX)?;
            project.workspace = bytes.map(|bytes| release_manifest(&bytes));
            project.licences = licences(tree, &project.root)?;
        }
        return Ok((folder, project));
    }
    others.truncate(3);
    Err(ResolveError::None(format!(
        "the source holds no package {name}; it holds {}",
        if others.is_empty() { "none".to_owned() } else { others.join(", ") }
    )))
}

/// Whether a manifest's version stands for one that is set at release.
fn is_placeholder(text: &str) -> bool {
    text.is_empty() || text == "0.0.0" || text.starts_with("0.0.0-")
}

fn lock_above(tree: &Path, folder: &Path) -> Result<(Option<Lock>, PathBuf), ResolveError> {
    for above in folder.ancestors() {
        for kind in LockKind::ALL {
            if let Some(bytes) = tree::read(tree, above.join(kind.file()), LOCK_BYTES_MAX)? {
                return Ok((Some(lock::parse(kind, &bytes)), above.to_owned()));
            }
        }
    }
    Ok((None, workspace_root(tree, folder)?.unwrap_or_else(|| folder.to_owned())))
}

/// The nearest folder above whose manifest has workspaces; where there is none and the package requires nothing to
/// be built, the nearest one that does.
fn workspace_root(tree: &Path, folder: &Path) -> Result<Option<PathBuf>, ResolveError> {
    let requires = |manifest: &Value| manifest["devDependencies"].as_object().is_some_and(|required| !required.is_empty());
    let read = |above: &Path| -> Result<Value, ResolveError> {
        let bytes = tree::read(tree, above.join("package.json"), MANIFEST_BYTES_MAX)?;
        Ok(bytes.map(|bytes| release_manifest(&bytes)).unwrap_or_default())
    };
    let mut builder = None;
    for above in folder.ancestors().skip(1) {
        let manifest = read(above)?;
        if !manifest["workspaces"].is_null() || tree::open(tree, &above.join("pnpm-workspace.yaml"))?.is_some() {
            return Ok(Some(above.to_owned()));
        }
        if builder.is_none() && requires(&manifest) {
            builder = Some(above.to_owned());
        }
    }
    Ok(builder.filter(|_| read(folder).is_ok_and(|own| !requires(&own))))
}

fn licences(tree: &Path, root: &Path) -> Result<Vec<String>, ResolveError> {
    let mut found = Vec::new();
    for name in LICENCES {
        if tree::open(tree, &root.join(name))?.is_some() {
            found.push(name.to_owned());
        }
    }
    Ok(found)
}

/// Folders that may hold a package, nearest first; the tree's own is first.
fn folders(tree: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    let mut level = vec![PathBuf::new()];
    for _ in 0..DEPTH_MAX {
        let mut next = Vec::new();
        for folder in level {
            let entries = fs::read_dir(tree.join(&folder)).into_iter().flatten().flatten();
            let inner =
                entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| folder.join(entry.file_name()));
            next.extend(inner.filter(|path| !path.ends_with(".git") && !path.ends_with("node_modules")));
        }
        next.sort();
        found.extend(next.iter().take(FOLDERS_MAX.saturating_sub(found.len())).cloned());
        level = next;
    }
    found
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    fn found(files: &[(&str, &str)], named: Option<&str>) -> Result<(PathBuf, Project), String> {
        find(tree(files).path(), &"demo".parse().unwrap(), &Version::new(1, 0, 0), named).map_err(|error| error.to_string())
    }

    #[test]
    fn a_package_is_found_in_a_workspace_with_the_lock_of_its_root() {
        let files = [
            ("package.json", r#"{"name":"root","workspaces":["packages/*"]}"#),
            ("package-lock.json", r#"{"packages":{"node_modules/a":{"version":"1.2.3"}}}"#),
            ("packages/demo/package.json", r#"{"name":"demo","version":"1.0.0"}"#),
            ("packages/other/package.json", r#"{"name":"other","version":"1.0.0"}"#),
        ];
        let (folder, project) = found(&files, None).unwrap();
        assert_eq!((folder, project.root), (PathBuf::from("packages/demo"), PathBuf::new()));
        assert!(project.lock.unwrap().pins.contains_key(&"a".parse().unwrap()));
        assert_eq!(found(&files, Some("packages/demo")).unwrap().0, PathBuf::from("packages/demo"));
        assert!(found(&files, Some("../..")).is_ok());
    }

    #[test]
    fn what_a_package_is_built_with_may_be_required_above_it() {
        let above = r#"{"name":"root","devDependencies":{"rollup":"3"}}"#;
        let root = |own: &str| found(&[("package.json", above), ("LICENSE", ""), ("demo/package.json", own)], None).unwrap().1;
        let built_above = root(r#"{"name":"demo","version":"1.0.0"}"#);
        assert_eq!((built_above.root.to_str(), built_above.licences), (Some(""), vec!["LICENSE".to_owned()]));
        assert_eq!(built_above.workspace.unwrap()["name"], "root");
        let own = root(r#"{"name":"demo","version":"1.0.0","devDependencies":{"tsc":"1"}}"#);
        assert_eq!((own.root.to_str(), own.workspace), (Some("demo"), None));
    }

    #[test]
    fn another_version_or_only_other_packages_are_refused() {
        assert!(found(&[("package.json", r#"{"name":"demo","version":"1.0.1"}"#)], None).unwrap_err().contains("1.0.1"));
        assert!(found(&[("package.json", r#"{"name":"other","version":"1.0.0"}"#)], None).unwrap_err().contains("other"));
        assert!(found(&[("README", "")], None).is_err());
    }

    #[test]
    fn a_version_that_is_set_at_release_is_a_placeholder() {
        for text in [r#"{"name":"demo","version":"0.0.0-development"}"#, r#"{"name":"demo"}"#] {
            assert!(found(&[("package.json", text)], None).unwrap().1.is_placeholder, "{text}");
        }
        assert!(!found(&[("package.json", r#"{"name":"demo","version":"1.0.0"}"#)], None).unwrap().1.is_placeholder);
    }
}
