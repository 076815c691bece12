//! Sources of crates: a release in the words of the git ladder (its commit, its manifests, its members).
//!
//! Which folder of a tree holds the crate is read out of its manifests, with what they inherit from their
//! workspace.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use semver::Version;
use serde::Deserialize;

use super::ResolveError;
use super::git::{MEMBERS_MAX, ManifestRule, Named, PublishedMember, VersionRule, Wanted};
use crate::registry::cargo::CrateName;
use crate::release::Release;
use crate::release::cargo::Facts;
use crate::source::{tree, unpack};

/// The one file that cargo reads.
const FILE: &str = "Cargo.toml";
const MANIFEST_BYTES_MAX: u64 = 2 << 20;
/// Most manifests of a tree that are read, most folders that are looked into, and how deep.
const MANIFESTS_MAX: usize = 2000;
const FOLDERS_MAX: usize = 50_000;
const DEPTH_MAX: usize = 8;
/// Most names of dependencies that a tree's manifests may list, and how deep a table is searched.
const NAMES_MAX: usize = 5000;
const TABLE_DEPTH_MAX: usize = 8;
/// Most bytes of one published member, and of all that are named together.
const MEMBER_BYTES_MAX: u64 = 16 << 20;
const MEMBERS_BYTES_MAX: u64 = 256 << 20;

/// What a tree says about the crate in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The folder of its workspace; its own where it has none.
    pub workspace: PathBuf,
    /// Whether the workspace has a lock file.
    pub has_lock: bool,
    /// Every crate that any manifest of the tree depends on.
    pub dependencies: BTreeSet<CrateName>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CargoToml {
    package: Option<PackageTable>,
    project: Option<PackageTable>,
    workspace: Option<WorkspaceTable>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PackageTable {
    name: Option<String>,
    version: Option<toml::Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WorkspaceTable {
    package: PackageTable,
}

/// What a manifest says. `None`: it is not the manifest of any package. `workspace` is a manifest above it,
/// from which it may inherit. What has no version is of version 0.0.0 to cargo.
pub fn named(bytes: &[u8], workspace: Option<&[u8]>) -> Option<Named> {
    let parsed = parse(bytes)?;
    let package = parsed.package.or(parsed.project)?;
    let own_workspace = parsed.workspace;
    let inherited = || {
        let above = own_workspace.or_else(|| parse(workspace?)?.workspace)?;
        above.package.version?.as_str().map(str::to_owned)
    };
    let version = match package.version {
        Some(toml::Value::String(version)) => Some(version),
        Some(toml::Value::Table(table)) if table.get("workspace").and_then(toml::Value::as_bool) == Some(true) => inherited(),
        Some(_) => None,
        None => Some("0.0.0".to_owned()),
    };
    Some(Named { name: package.name, version })
}

fn parse(bytes: &[u8]) -> Option<CargoToml> {
    toml::from_str(&String::from_utf8_lossy(bytes)).ok()
}

/// Finds the crate in a tree: in the folder that is shown, or where the published file says it is, else by
/// its name.
pub fn find(facts: &Facts, tree: &Path, shown: Option<&Path>) -> Result<(PathBuf, Manifest), ResolveError> {
    let manifests = manifests(tree)?;
    let bytes = |folder: &Path| manifests.iter().find(|(own, _)| own == folder).map(|(_, bytes)| bytes.as_slice());
    let mut said = Vec::new();
    let hint = shown.map(Path::to_owned).or_else(|| facts.published.folder.as_ref().map(PathBuf::from));
    for folder in hint.iter().chain(manifests.iter().map(|(folder, _)| folder)) {
        let workspace = workspace_of(folder, &manifests);
        let Some(named) = bytes(folder).and_then(|own| named(own, bytes(&workspace))) else { continue };
        let version = named.version.as_deref().and_then(|text| Version::parse(text).ok());
        if named.name.as_deref() != Some(facts.name.as_str()) {
            continue;
        }
        if version.is_none_or(|version| version == facts.version) {
            let has_lock = tree.join(&workspace).join("Cargo.lock").symlink_metadata().is_ok();
            let dependencies = dependencies(manifests.iter().map(|(_, bytes)| bytes.as_slice()));
            return Ok((folder.clone(), Manifest { workspace, has_lock, dependencies }));
        }
        said.push(named.version.unwrap_or_default());
    }
    let reason = match said.first() {
        Some(version) => format!("the source has {} {version}, not {}", facts.name, facts.version),
        None => format!("the source has no crate {}", facts.name),
    };
    Err(ResolveError::None(reason.chars().filter(|c| !c.is_control()).take(300).collect()))
}

/// The nearest folder above, or the folder itself, whose manifest is a workspace's.
fn workspace_of(folder: &Path, manifests: &[(PathBuf, Vec<u8>)]) -> PathBuf {
    let is_workspace = |above: &&Path| {
        let own = manifests.iter().find(|(folder, _)| folder == above);
        own.and_then(|(_, bytes)| parse(bytes)).is_some_and(|parsed| parsed.workspace.is_some())
    };
    folder.ancestors().find(is_workspace).unwrap_or(folder).to_owned()
}

/// The manifests of a tree by folder, nearest first.
fn manifests(tree: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, ResolveError> {
    let mut found = Vec::new();
    let mut level = vec![PathBuf::new()];
    let mut folders = 0;
    for _ in 0..DEPTH_MAX {
        let mut next = Vec::new();
        for folder in level {
            folders += 1;
            if found.len() >= MANIFESTS_MAX || folders > FOLDERS_MAX {
                return Ok(found);
            }
            // A manifest that is no text of a bearable size is not this crate's.
            if let Ok(Some(bytes)) = tree::read(tree, folder.join(FILE), MANIFEST_BYTES_MAX) {
                found.push((folder.clone(), bytes));
            }
            let entries = std::fs::read_dir(tree.join(&folder)).map_err(ResolveError::Disk)?.flatten();
            let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            next.extend(below.map(|entry| folder.join(entry.file_name())).filter(|path| !path.ends_with(".git")));
        }
        next.sort();
        level = next;
    }
    Ok(found)
}

/// The crates of an index that manifests depend on, in any way and for any target.
fn dependencies<'a>(manifests: impl Iterator<Item = &'a [u8]>) -> BTreeSet<CrateName> {
    let mut names = BTreeSet::new();
    for bytes in manifests {
        if let Ok(table) = toml::from_str::<toml::Table>(&String::from_utf8_lossy(bytes)) {
            collect(&table, TABLE_DEPTH_MAX, &mut names);
        }
    }
    names
}

fn collect(table: &toml::Table, depth_left: usize, names: &mut BTreeSet<CrateName>) {
    for (key, value) in table {
        let Some(inner) = value.as_table().filter(|_| depth_left > 0) else { continue };
        if matches!(key.as_str(), "dependencies" | "dev-dependencies" | "build-dependencies" | "dev_dependencies" | "build_dependencies") {
            let name =
                |(key, value): (&String, &toml::Value)| value.get("package").and_then(toml::Value::as_str).unwrap_or(key).parse().ok();
            names.extend(inner.iter().filter_map(name).take(NAMES_MAX.saturating_sub(names.len())));
        } else if matches!(key.as_str(), "workspace" | "target") || depth_left < TABLE_DEPTH_MAX {
            collect(inner, depth_left - 1, names);
        }
    }
}

/// What the git ladder looks for.
pub async fn wanted(release: &Release<Facts>) -> Wanted<'_> {
    let path = release.path.clone();
    // A file that cannot be read has no members: candidates are then ordered by how they were found alone.
    let members = tokio::task::spawn_blocking(move || members(&path)).await.ok().and_then(Result::ok).unwrap_or_default();
    let Facts { name, version, published, .. } = &release.facts;
    Wanted {
        repositories: &published.repositories,
        directory: published.folder.as_deref(),
        commit: published.commit.as_deref(),
        names: vec![name.clone()],
        version: version.to_string(),
        published_at: release.registry.published_at,
        members,
        versions: VersionRule::Semver,
        manifest: &CargoManifest,
        settings: &release.settings,
    }
}

/// Members that cargo takes over as they are; the manifest under the name that it has in the repository.
fn members(path: &Path) -> Result<Vec<PublishedMember>, unpack::UnpackError> {
    let mut members = Vec::new();
    let mut left = MEMBERS_BYTES_MAX;
    unpack::walk(path, "crate.tar.gz", |entry| {
        let (size, inside) = (entry.size(), unpack::below_top(&entry.path()?));
        let is_taken = entry.header().entry_type().is_file() && members.len() < MEMBERS_MAX && size <= MEMBER_BYTES_MAX.min(left);
        let Some(inside) = inside.filter(|_| is_taken) else { return Ok(()) };
        let name = match inside.to_str() {
            Some("Cargo.toml" | "Cargo.lock" | ".cargo_vcs_info.json") | None => return Ok(()),
            Some("Cargo.toml.orig") => FILE,
            Some(name) => name,
        };
        left -= size;
        let mut content = Vec::new();
        entry.take(MEMBER_BYTES_MAX).read_to_end(&mut content)?;
        members.push(PublishedMember::of(name, &content, false));
        Ok(())
    })?;
    Ok(members)
}

/// Reads `Cargo.toml`, with what it inherits.
#[derive(Clone, Copy, Debug)]
pub struct CargoManifest;

impl ManifestRule for CargoManifest {
    fn files(&self) -> &[&str] {
        &[FILE]
    }

    fn read(&self, _file: &str, bytes: &[u8], workspace: Option<&[u8]>) -> Option<Named> {
        named(bytes, workspace)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_version_is_inherited_from_the_workspace() {
        let own = b"[package]\nname = 'a'\nversion.workspace = true\n";
        let above = b"[workspace.package]\nversion = '1.2.3'\n";
        let version = |workspace: Option<&[u8]>| named(own, workspace).unwrap().version;
        assert_eq!(version(Some(above)).as_deref(), Some("1.2.3"));
        assert_eq!(version(None), None);
        assert_eq!(named(b"[workspace]\n", None), None);
        assert_eq!(named(b"[package]\nname = 'a'\n", None).unwrap().version.as_deref(), Some("0.0.0"));
        assert_eq!(named(b"\xff not toml", None), None);
    }

    #[test]
    fn the_crate_of_a_workspace_is_found_by_its_name_and_version() {
        let dir = tempfile::tempdir().unwrap();
        let write = |folder: &str, text: &str| {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
            std::fs::write(dir.path().join(folder).join(FILE), text).unwrap();
        };
        write("", "[workspace]\nmembers = ['crates/*']\n[workspace.package]\nversion = '1.0.0'\n");
        write(
            "crates/a",
            "[package]\nname = 'a'\nversion.workspace = true\n[dependencies]\nx = '1'\n[target.'cfg(unix)'.dev-dependencies]\ny = { package = 'z', version = '1' }\n",
        );
        write("old/a", "[package]\nname = 'a'\nversion = '0.9.0'\n");
        let facts = |name: &str, version: &str| Facts {
            name: name.to_owned(),
            version: version.parse().unwrap(),
            published: crate::release::cargo::Published::default(),
            cargos: Vec::new(),
            held: BTreeSet::new(),
            newest: None,
        };
        let (folder, manifest) = find(&facts("a", "1.0.0"), dir.path(), None).unwrap();
        assert_eq!((folder.as_path(), manifest.workspace.as_path(), manifest.has_lock), (Path::new("crates/a"), Path::new(""), false));
        assert_eq!(manifest.dependencies, ["x", "z"].map(|name| name.parse().unwrap()).into());
        assert_eq!(find(&facts("a", "0.9.0"), dir.path(), None).unwrap().0, Path::new("old/a"));
        assert!(find(&facts("a", "2.0.0"), dir.path(), None).is_err());
        assert!(find(&facts("b", "1.0.0"), dir.path(), None).is_err());
    }
}
