//! Files of an npm release: one tarball a version.

pub mod archive;

use quorate_proto::result::RegistryView;
use quorate_proto::{FileName, Purl, Timestamp};
use semver::Version;
use serde_json::Value;
use url::Url;

use super::ChoiceError;
use super::repository::repository;
use crate::registry::npm::packument::{version, word};
use crate::registry::npm::{Entry, PackageName, Packument};
pub use archive::{Archive, GzipHeader, Member, manifest, read_archive};

/// Most addresses that may be the repository.
const REPOSITORIES_MAX: usize = 4;

/// What is known of how a published tarball was made.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The package.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// The commit that the publisher's client was at, where the registry tells.
    pub git_head: Option<String>,
    /// The npm that published, where the registry tells.
    pub npm_version: Option<Version>,
    /// The node that it ran on, where the registry tells.
    pub node_version: Option<Version>,
    /// Addresses that may be the repository, best first.
    pub repositories: Vec<String>,
    /// The address that the newest release names.
    pub later_repository: Option<String>,
    /// The package's folder in it, where the publisher names one.
    pub directory: Option<String>,
    /// What the published bytes say.
    pub archive: Archive,
}

/// What the registry's document says of one version.
#[derive(Clone, Debug)]
pub struct Published {
    /// The package.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// Its entry.
    pub entry: Entry,
    /// Where the tarball is.
    pub tarball: Url,
    /// Its name.
    pub file: FileName,
    /// When it was published, by the registry's word.
    pub published_at: Option<Timestamp>,
    /// What the newest release says of its repository.
    pub later_repository: Value,
}

/// The version that a package URL names.
pub fn version_of(package: &Purl) -> Result<Version, ChoiceError> {
    package.version().and_then(version).ok_or_else(|| ChoiceError::NoVersion(Box::new(package.clone())))
}

/// The package that a package URL names.
pub fn name_of(package: &Purl) -> Result<PackageName, ChoiceError> {
    PackageName::of(package).map_err(|_| ChoiceError::NoProject(Box::new(package.clone())))
}

/// The tarball of the version that is meant. It may be asked for by the name that the registry gives it, and by
/// the one that `npm pack` gives it.
pub fn choose(packument: &Packument, wanted: Option<&FileName>, package: &Purl, registry: &str) -> Result<Published, ChoiceError> {
    let (name, version) = (name_of(package)?, version_of(package)?);
    let unknown = || ChoiceError::UnknownVersion { package: Box::new(package.clone()), index: registry.to_owned() };
    let text = version.to_string();
    let entry = packument.versions.get(&text).ok_or_else(unknown)?;
    let tarball = packument.tarball(entry).ok_or_else(unknown)?;
    let packed: Vec<FileName> =
        [name.flat(), name.bare().to_owned()].iter().filter_map(|name| format!("{name}-{text}.tgz").parse().ok()).collect();
    let served = tarball.path_segments().and_then(|mut segments| segments.next_back()).and_then(|last| last.parse::<FileName>().ok());
    let known: Vec<_> = served
        .into_iter()
        .filter(|name| std::path::Path::new(name.as_str()).extension().is_some_and(|ending| ending == "tgz"))
        .chain(packed)
        .collect();
    let file = match wanted {
        None => known.first().cloned().ok_or_else(unknown)?,
        Some(wanted) if known.contains(wanted) => wanted.clone(),
        Some(wanted) => {
            let known = known.iter().map(FileName::as_str).collect::<Vec<_>>().join(", ");
            return Err(ChoiceError::UnknownFile { package: Box::new(package.clone()), file: wanted.clone(), known });
        }
    };
    let published_at = packument.times.get(&text).copied();
    let newest = packument.tags.get("latest").and_then(|latest| packument.versions.get(latest));
    let later_repository = newest.map(|newest| newest.repository.clone()).unwrap_or_default();
    Ok(Published { name, version, entry: entry.clone(), tarball, file, published_at, later_repository })
}

/// What is said of a tarball on the registry. Its index has no SHA-256: the others are checked when it is fetched.
pub fn registry_view(published: &Published, observed_at: Timestamp) -> RegistryView {
    RegistryView {
        url: published.tarball.to_string(),
        size_bytes: 0,
        index_checksum: None,
        published_at: published.published_at.map(Timestamp::whole_seconds),
        observed_at,
    }
}

/// Facts from the registry's entry and the published bytes.
pub fn facts(name: PackageName, published: &Published, archive: Archive) -> Facts {
    let entry = &published.entry;
    let manifest = &archive.manifest;
    let mut repositories: Vec<String> = Vec::new();
    for address in [&entry.repository, &manifest["repository"], &manifest["homepage"], &manifest["bugs"]].into_iter().filter_map(address) {
        if !repositories.contains(&address) && repositories.len() < REPOSITORIES_MAX {
            repositories.push(address);
        }
    }
    let directory = [&entry.repository, &manifest["repository"]].into_iter().find_map(|value| word(&value["directory"]));
    let tool = |value: &Value| word(value).and_then(version);
    Facts {
        name,
        version: published.version.clone(),
        git_head: word(&entry.git_head).or_else(|| word(&manifest["gitHead"])).filter(|text| is_commit(text)).map(str::to_owned),
        npm_version: tool(&entry.npm_version),
        node_version: tool(&entry.node_version),
        repositories,
        later_repository: address(&published.later_repository),
        directory: directory.and_then(plain_folder),
        archive,
    }
}

fn is_commit(text: &str) -> bool {
    crate::source::commit_id::is_commit(text)
}

/// A folder below the root, in plain words.
fn plain_folder(text: &str) -> Option<String> {
    let text = text.trim_start_matches("./").trim_matches('/');
    let is_plain = !text.is_empty() && text.len() <= 300 && text.split('/').all(|part| !part.is_empty() && part != ".." && part != ".git");
    (is_plain && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

/// The address in one of the forms that `repository`, `homepage` and `bugs` have.
fn address(value: &Value) -> Option<String> {
    let text = word(value).or_else(|| word(&value["url"]))?.trim();
    let text = text.strip_prefix("git+").unwrap_or(text);
    let https =
        |rest: &str| format!("https://{}", rest.rsplit_once('@').filter(|(user, _)| !user.contains('/')).map_or(rest, |(_, rest)| rest));
    for (prefix, forge) in [("github:", "github.com"), ("gitlab:", "gitlab.com"), ("bitbucket:", "bitbucket.org")] {
        if let Some(rest) = text.strip_prefix(prefix) {
            return repository(&format!("https://{forge}/{rest}"));
        }
    }
    for scheme in ["git://", "ssh://", "http://", "https://", "git:"] {
        if let Some(rest) = text.strip_prefix(scheme) {
            return repository(&https(rest)).or_else(|| repository(&https(&rest.replacen(':', "/", 1))));
        }
    }
    if let Some(rest) = text.strip_prefix("git@") {
        return repository(&format!("https://{}", rest.replacen(':', "/", 1)));
    }
    let is_short = text.matches('/').count() == 1 && !text.contains(':');
    is_short.then(|| repository(&format!("https://github.com/{text}"))).flatten()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn every_spelling_of_a_repository_is_one_address() {
        for text in [
            "git+https://github.com/o/n.git",
            "https://github.com/o/n",
            "git://github.com/o/n.git",
            "git+ssh://git@github.com/o/n.git",
            "ssh://git@github.com:o/n.git",
            "git@github.com:o/n.git",
            "github:o/n",
            "o/n",
            "https://github.com/o/n/tree/main/packages/x",
            "https://github.com/o/n#readme",
            "git+https://user@github.com/o/n.git",
        ] {
            assert_eq!(address(&json!({ "type": "git", "url": text })).as_deref(), Some("https://github.com/o/n"), "{text}");
        }
        for text in ["", "o", "file:///o/n", "https://example.org/o/n", "../..", "a/b/c"] {
            assert_eq!(address(&json!(text)), None, "{text}");
        }
    }

    fn packument(tarball: &str) -> Packument {
        let text = json!({ "versions": { "1.0.0": { "dist": { "tarball": tarball } } }, "time": { "1.0.0": "2024-01-01T00:00:00Z" } });
        crate::registry::npm::packument::parse(text.to_string().as_bytes(), &"https://registry.example/x".parse().unwrap()).unwrap()
    }

    #[test]
    fn a_tarball_is_found_by_either_of_its_names() {
        let package: Purl = "pkg:npm/%40scope/name@1.0.0".parse().unwrap();
        let packument = packument("https://registry.example/@scope/name/-/name-1.0.0.tgz");
        let chosen = |wanted: Option<&str>| {
            let wanted = wanted.map(|name| name.parse().unwrap());
            choose(&packument, wanted.as_ref(), &package, "r").map(|published| published.file.to_string()).ok()
        };
        assert_eq!(chosen(None).as_deref(), Some("name-1.0.0.tgz"));
        assert_eq!(chosen(Some("scope-name-1.0.0.tgz")).as_deref(), Some("scope-name-1.0.0.tgz"));
        assert_eq!(chosen(Some("name-1.0.1.tgz")), None);
        assert!(choose(&packument, None, &"pkg:npm/%40scope/name@1.0.1".parse().unwrap(), "r").is_err());
    }

    #[test]
    fn the_newest_release_may_name_another_repository() {
        let package: Purl = "pkg:npm/demo@1.0.0".parse().unwrap();
        let version = |repository: &str| json!({ "repository": repository, "dist": { "tarball": "demo.tgz" } });
        let text = json!({ "dist-tags": { "latest": "2.0.0" }, "versions": { "1.0.0": version("old/demo"), "2.0.0": version("new/all") } });
        let url = "https://registry.example/demo".parse().unwrap();
        let packument = crate::registry::npm::packument::parse(text.to_string().as_bytes(), &url).unwrap();
        let published = choose(&packument, None, &package, "r").unwrap();
        let facts = facts(name_of(&package).unwrap(), &published, Archive::default());
        assert_eq!(facts.repositories, ["https://github.com/old/demo"]);
        assert_eq!(facts.later_repository.as_deref(), Some("https://github.com/new/all"));
    }

    #[test]
    fn facts_come_from_the_registry_before_the_archive() {
        let package: Purl = "pkg:npm/demo@1.0.0".parse().unwrap();
        let mut published = choose(&packument("demo-1.0.0.tgz"), None, &package, "r").unwrap();
        published.entry.git_head = json!("1c6264b795492e8fdecbc82cb8802fcfbfc08d26");
        published.entry.npm_version = json!("8.19.4");
        let archive = Archive {
            manifest: json!({ "repository": { "url": "o/demo", "directory": "packages/demo" }, "gitHead": "x", "homepage": "https://github.com/o/demo#readme" }),
            ..Archive::default()
        };
        let facts = facts(name_of(&package).unwrap(), &published, archive);
        assert_eq!(facts.git_head.as_deref(), Some("1c6264b795492e8fdecbc82cb8802fcfbfc08d26"));
        assert_eq!((facts.repositories, facts.directory.as_deref()), (vec!["https://github.com/o/demo".to_owned()], Some("packages/demo")));
        assert_eq!((facts.npm_version.map(|v| v.major), facts.node_version), (Some(8), None));
        for text in ["..", "a/../b", "/", "", "a//b", ".git"] {
            assert_eq!(plain_folder(text), None, "{text}");
        }
    }
}
