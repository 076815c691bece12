//! Whether a commit is of the wanted package and version, and in which folder the package lies.
//!
//! Only static words of manifests are read, through the ecosystem's [`ManifestRule`]. What a manifest
//! leaves open (a version that a tool sets, a name that code computes) does not speak against a commit;
//! another version or only other packages do.

use std::collections::BTreeMap;

use super::Wanted;
use crate::source::git::{Entry, EntryKind, GitError, Repository};

/// Most manifests that are read at one commit.
const MANIFESTS_MAX: usize = 1000;
/// Deepest folder in which a package is looked for.
const DEPTH_MAX: usize = 6;
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// Reads name and version out of an ecosystem's manifests.
pub trait ManifestRule: Sync {
    /// The file names that are looked at, the most telling first.
    fn files(&self) -> &[&str];

    /// What a manifest says. `None`: it is not the manifest of any package. `workspace` is a manifest of
    /// the same name in a folder above, from which it may inherit.
    fn read(&self, file: &str, bytes: &[u8], workspace: Option<&[u8]>) -> Option<Named>;
}

/// What a manifest says of its package; fields that are dynamic or inherited from nowhere are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// The package's name.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
}

/// How surely a commit is of the wanted release, the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sureness {
    /// A manifest has both name and version.
    NameAndVersion,
    /// A manifest has the name; a tool sets the version.
    Name,
    /// No manifest says its name.
    Open,
}

/// The wanted package at a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) directory: String,
    pub(super) sureness: Sureness,
}

/// What speaks against a commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Contradiction {
    #[error("is of version {0}")]
    OtherVersion(String),
    #[error("holds {}", if .0.is_empty() { "no package of this kind".to_owned() } else { format!("only other packages ({})", .0.join(", ")) })]
    OtherPackages(Vec<String>),
}

/// Looks for the wanted package among a commit's files.
pub(super) async fn find(
    repository: &Repository,
    entries: &[Entry],
    wanted: &Wanted<'_>,
) -> Result<Result<Package, Contradiction>, GitError> {
    let files = wanted.manifest.files();
    let mut manifests: Vec<(&str, &str, &str)> = entries
        .iter()
        .filter(|entry| matches!(entry.kind, EntryKind::File | EntryKind::Executable))
        .map(|entry| (entry.path.rsplit_once('/').unwrap_or(("", &entry.path)), entry.id.as_str()))
        .filter(|((folder, file), _)| {
            files.contains(file) && depth(folder) <= DEPTH_MAX && !folder.split('/').any(|part| part == "node_modules")
        })
        .map(|((folder, file), id)| (folder, file, id))
        .collect();
    let hint = wanted.directory.map_or("", |directory| directory.trim_matches('/'));
    manifests.sort_by_key(|(folder, ..)| (*folder != hint, depth(folder), *folder));
    manifests.truncate(MANIFESTS_MAX);
    let ids: Vec<_> = manifests.iter().map(|(.., id)| *id).collect();
    let contents = repository.objects(&ids, MANIFEST_BYTES_MAX).await?;
    let mut folders: Vec<(&str, BTreeMap<&str, Vec<u8>>)> = Vec::new();
    for ((folder, file, _), content) in manifests.iter().zip(contents) {
        if folders.last().is_none_or(|(last, _)| last != folder) {
            folders.push((folder, BTreeMap::new()));
        }
        if let (Some((_, contents)), Some(content)) = (folders.last_mut(), content) {
            contents.insert(file, content);
        }
    }
    Ok(judge(&folders, wanted))
}

fn depth(folder: &str) -> usize {
    folder.split('/').filter(|part| !part.is_empty()).count()
}

fn judge(folders: &[(&str, BTreeMap<&str, Vec<u8>>)], wanted: &Wanted<'_>) -> Result<Package, Contradiction> {
    let mut best: Option<Package> = None;
    let (mut other_version, mut others) = (None, Vec::new());
    for (place, (folder, contents)) in folders.iter().enumerate() {
        let Some(named) = read(folder, contents, folders, wanted) else { continue };
        let version = named.version.filter(|version| !wanted.versions.is_placeholder(version, &wanted.version));
        let sureness = match (named.name, version) {
            (Some(name), _) if !wanted.is_named(&name) => {
                others.push(name);
                continue;
            }
            (_, Some(version)) if !wanted.versions.is_same(&version, &wanted.version) => {
                other_version.get_or_insert(version);
                continue;
            }
            (Some(_), Some(_)) => Sureness::NameAndVersion,
            (Some(_), None) => Sureness::Name,
            // A nameless manifest somewhere below is of anything.
            (None, _) if place == 0 => Sureness::Open,
            (None, _) => continue,
        };
        if best.as_ref().is_none_or(|best| sureness < best.sureness) {
            best = Some(Package { directory: (*folder).to_owned(), sureness });
        }
    }
    others.truncate(5);
    // A root that says nothing is no package of ours when the package itself is there at another version.
    match (best, other_version) {
        (Some(package), Some(version)) if package.sureness == Sureness::Open => Err(Contradiction::OtherVersion(version)),
        (Some(package), _) => Ok(package),
        (None, Some(version)) => Err(Contradiction::OtherVersion(version)),
        (None, None) => Err(Contradiction::OtherPackages(others)),
    }
}

/// What all manifests of one folder say together, the most telling first.
fn read(
    folder: &str,
    contents: &BTreeMap<&str, Vec<u8>>,
    folders: &[(&str, BTreeMap<&str, Vec<u8>>)],
    wanted: &Wanted<'_>,
) -> Option<Named> {
    let mut all: Option<Named> = None;
    for file in wanted.manifest.files() {
        let Some(bytes) = contents.get(file) else { continue };
        let Some(mut named) = wanted.manifest.read(file, bytes, None) else { continue };
        if named.name.as_deref().is_some_and(|name| wanted.is_named(name)) && named.version.is_none() {
            named.version = inherited(folder, file, bytes, folders, wanted);
        }
        let all = all.get_or_insert_default();
        all.name = all.name.take().or(named.name);
        all.version = all.version.take().or(named.version);
    }
    all
}

fn inherited(folder: &str, file: &str, bytes: &[u8], folders: &[(&str, BTreeMap<&str, Vec<u8>>)], wanted: &Wanted<'_>) -> Option<String> {
    let mut above = Some(folder);
    while let Some(parent) =
        above.filter(|folder| !folder.is_empty()).map(|folder| folder.rsplit_once('/').map_or("", |(parent, _)| parent))
    {
        let workspace = folders.iter().find(|(place, _)| *place == parent).and_then(|(_, contents)| contents.get(file));
        let named = workspace.and_then(|workspace| wanted.manifest.read(file, bytes, Some(workspace)));
        if let Some(version) = named.and_then(|named| named.version) {
            return Some(version);
        }
        above = Some(parent);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::Settings;
    use crate::resolve::git::VersionRule;

    /// `name version`, a hyphen for what is inherited or dynamic.
    struct Words;

    impl ManifestRule for Words {
        fn files(&self) -> &[&str] {
            &["words"]
        }

        fn read(&self, _: &str, bytes: &[u8], workspace: Option<&[u8]>) -> Option<Named> {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let (name, version) = text(bytes).split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()))?;
            let inherited = workspace.and_then(|bytes| text(bytes).strip_prefix("all ").map(str::to_owned));
            let some = |word: String| Some(word).filter(|word| word != "-");
            Some(Named { name: some(name), version: some(version).or(inherited) })
        }
    }

    fn judged(folders: &[(&str, &str)], directory: Option<&str>) -> Result<(String, Sureness), String> {
        let wanted = Wanted {
            repositories: &[],
            directory,
            commit: None,
            names: vec!["demo".to_owned()],
            version: "1.2.3".to_owned(),
            published_at: None,
            settings: &Settings::new(),
            members: Vec::new(),
            versions: VersionRule::Semver,
            manifest: &Words,
        };
        let folders: Vec<_> =
            folders.iter().map(|(folder, text)| (*folder, BTreeMap::from([("words", text.as_bytes().to_vec())]))).collect();
        judge(&folders, &wanted).map(|package| (package.directory, package.sureness)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_manifest_must_name_the_package_and_the_version() {
        assert_eq!(judged(&[("", "demo 1.2.3")], None), Ok((String::new(), Sureness::NameAndVersion)));
        assert_eq!(judged(&[("", "demo 1.2.4")], None), Err("is of version 1.2.4".to_owned()));
        assert_eq!(judged(&[("", "other 1.2.3")], None), Err("holds only other packages (other)".to_owned()));
        assert_eq!(judged(&[], None), Err("holds no package of this kind".to_owned()));
    }

    #[test]
    fn a_version_that_a_tool_sets_is_allowed() {
        assert_eq!(judged(&[("", "demo -")], None), Ok((String::new(), Sureness::Name)));
        assert_eq!(judged(&[("", "demo 0.0.0-development")], None), Ok((String::new(), Sureness::Name)));
        assert_eq!(judged(&[("", "- 1.2.3")], None), Ok((String::new(), Sureness::Open)));
        assert_eq!(judged(&[("", "- -"), ("a", "demo 1.2.4")], None), Err("is of version 1.2.4".to_owned()));
    }

    #[test]
    fn a_version_is_inherited_from_the_workspace_above() {
        let found = judged(&[("", "all 1.2.3"), ("crates/a", "other -"), ("crates/b", "demo -")], None);
        assert_eq!(found, Ok(("crates/b".to_owned(), Sureness::NameAndVersion)));
        assert_eq!(judged(&[("", "all 2.0.0"), ("b", "demo -")], None), Err("is of version 2.0.0".to_owned()));
    }
}
