//! Sources of Python packages: a release in the words of the git ladder (its names, its manifests, its
//! published members), and the published source distribution.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::str::FromStr as _;

use pep440_rs::Version;
use quorate_proto::result::{FoundBy, Source, SourceKind};

use super::debian::Sought;
use super::git::{MEMBERS_MAX, ManifestRule, Named, PublishedMember, VersionRule, Wanted};
use super::sources_index::Family;
use super::{Candidate, Debian, Material, ResolveError, SOURCE_BYTES_MAX};
use crate::cache::Cache;
use crate::registry::Http;
use crate::release::Release;
use crate::release::pypi::{Facts, Target, wheel_members};
use crate::source::manifest::Manifest;
use crate::source::unpack;

/// Most bytes of one member, and of all that are named together.
const MEMBER_BYTES_MAX: u64 = 16 << 20;
const MEMBERS_BYTES_MAX: u64 = 256 << 20;

/// The source distribution that stands beside a wheel in the index.
pub async fn published(release: &Release<Facts>, http: &Http, cache: &Cache) -> Result<Vec<Candidate>, ResolveError> {
    if release.facts.target == Target::SourceDistribution {
        return Err(ResolveError::None("a source distribution is no source of itself".to_owned()));
    }
    let none = || ResolveError::None("the index lists no source distribution of this version".to_owned());
    let file = release.facts.source_distribution.as_ref().ok_or_else(none)?;
    let download = http.download(&file.url, file.sha256, SOURCE_BYTES_MAX, cache).await?;
    let source = Source {
        kind: SourceKind::SourceDistribution,
        uri: file.url.to_string(),
        commit: None,
        tree: None,
        reference: None,
        directory: None,
        digest: Some(download.digest),
        found_by: FoundBy::Index,
        evidence: None,
        signature: None,
    };
    let material = Material::Archive { path: download.path, name: file.name.to_string() };
    Ok(vec![Candidate { source, material, time: None, fetched_from: None, directory: None, lacks: Vec::new() }])
}

/// Debian's archives of the release.
pub async fn archived(debian: &Debian, release: &Release<Facts>, http: &Http, cache: &Cache) -> Result<Vec<Candidate>, ResolveError> {
    let version = release.facts.version.clone();
    let is_version = |text: &str| Version::from_str(&text.replace('~', "")).is_ok_and(|upstream| upstream == version);
    let sought = Sought {
        family: Family::Python,
        name: release.package.name(),
        version: &version.to_string(),
        is_version: &is_version,
        source_distribution: release.facts.source_distribution.as_ref().and_then(|file| file.sha256),
        own: Some(release.digest).filter(|_| release.facts.target == Target::SourceDistribution),
    };
    debian.candidates(&sought, http, cache).await
}

/// What the git ladder looks for.
pub async fn wanted(release: &Release<Facts>) -> Wanted<'_> {
    let (path, name, target) = (release.path.clone(), release.file.to_string(), release.facts.target);
    // A file that cannot be read has no members: candidates are then ordered by how they were found alone.
    let members = tokio::task::spawn_blocking(move || members(&path, &name, target)).await.ok().flatten().unwrap_or_default();
    let name = release.package.name();
    let bare = name.strip_prefix("python-").unwrap_or(name);
    Wanted {
        repositories: &release.facts.metadata.repositories,
        directory: None,
        commit: None,
        names: vec![name.to_owned(), bare.to_owned(), format!("python-{bare}")],
        version: release.facts.version.to_string(),
        published_at: release.registry.published_at,
        settings: &release.settings,
        members,
        versions: VersionRule::Pep440,
        manifest: &PythonManifest,
    }
}

fn members(path: &Path, name: &str, target: Target) -> Option<Vec<PublishedMember>> {
    let mut members = Vec::new();
    match target {
        Target::Wheel => {
            for (path, content) in wheel_members(path, MEMBERS_MAX, MEMBERS_BYTES_MAX)? {
                members.push(PublishedMember::of(path, &content, false));
            }
        }
        Target::SourceDistribution => {
            let mut left = MEMBERS_BYTES_MAX;
            let walked = unpack::walk(path, name, |entry| {
                let size = entry.size();
                let inside = unpack::below_top(&entry.path()?);
                let wanted = entry.header().entry_type().is_file() && members.len() < MEMBERS_MAX && size <= MEMBER_BYTES_MAX.min(left);
                if let Some(inside) = inside.filter(|_| wanted) {
                    left -= size;
                    let mut content = Vec::new();
                    entry.take(MEMBER_BYTES_MAX).read_to_end(&mut content)?;
                    let executable = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
                    members.push(PublishedMember::of(inside.to_string_lossy(), &content, executable));
                }
                Ok(())
            });
            walked.ok()?;
        }
    }
    members.retain(|member| !is_generated(&member.path));
    Some(members)
}

/// Whether packaging writes this member itself.
fn is_generated(path: &str) -> bool {
    path == "PKG-INFO" || path == "setup.cfg" || path.split('/').any(|part| part.ends_with(".egg-info")) || {
        // Licences and the like are copied into a wheel's metadata; the rest of it is written.
        let generated = ["METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt", "zip-safe", "namespace_packages.txt"];
        path.split_once('/').is_some_and(|(folder, file)| folder.ends_with(".dist-info") && generated.contains(&file))
    }
}

/// Reads `pyproject.toml`, `setup.cfg` and `setup.py`, as far as they are static.
#[derive(Clone, Copy, Debug)]
pub struct PythonManifest;

impl ManifestRule for PythonManifest {
    fn files(&self) -> &[&str] {
        &["pyproject.toml", "setup.cfg", "setup.py"]
    }

    fn read(&self, file: &str, bytes: &[u8], _workspace: Option<&[u8]>) -> Option<Named> {
        let text = String::from_utf8_lossy(bytes);
        let parsed = match file {
            "pyproject.toml" => Manifest::parse(&text, "", ""),
            "setup.cfg" => Manifest::parse("", &text, ""),
            _ => {
                let arguments = setup_arguments(&text)?;
                let named = |key: &str| arguments.get(key).cloned();
                return Some(Named { name: named("name"), version: named("version") });
            }
        };
        parsed.ok().map(|manifest| Named { name: manifest.name, version: manifest.version })
    }
}

/// The arguments of the call of `setup` that are plain texts. Nothing is run, so what is computed is not
/// among them.
fn setup_arguments(text: &str) -> Option<BTreeMap<String, String>> {
    let starts = text.match_indices("setup(").filter(|(at, _)| !text[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
    let (at, call) = starts.last()?;
    let mut arguments = BTreeMap::new();
    let (mut depth, mut word) = (1_usize, String::new());
    let mut rest = text[at + call.len()..].chars().peekable();
    let mut argument: Option<(String, Option<String>)> = None;
    while let Some(c) = rest.next() {
        match c {
            '#' => while rest.next_if(|c| *c != '\n').is_some() {},
            '"' | '\'' => {
                let mut literal = String::new();
                while let Some(inner) = rest.next_if(|inner| *inner != c && *inner != '\n') {
                    literal.push(inner);
                }
                rest.next();
                // Only a literal that stands alone is the value: `"a" + b` is computed.
                argument =
                    argument.map(|(key, value)| (key, if value.is_none() && word.is_empty() && depth == 1 { Some(literal) } else { None }));
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' | ',' => {
                if c != ',' {
                    depth -= 1;
                }
                if depth == 0 || (c == ',' && depth == 1) {
                    if let Some((key, Some(value))) = argument.take().filter(|_| word.is_empty()) {
                        arguments.insert(key, value);
                    }
                    word.clear();
                }
                if depth == 0 {
                    break;
                }
            }
            '=' if depth == 1 && argument.is_none() => argument = Some((std::mem::take(&mut word), None)),
            c if c.is_whitespace() => {}
            c if depth == 1 => word.push(c),
            _ => {}
        }
    }
    Some(arguments)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn setup(text: &str) -> (Option<String>, Option<String>) {
        let named = PythonManifest.read("setup.py", text.as_bytes(), None).unwrap();
        (named.name, named.version)
    }

    #[test]
    fn plain_texts_in_the_call_of_setup_are_read() {
        let text =
            "from x import setup\nsetup(\n    name='demo', # a name\n    version = \"1.2\",\n    ext=[E(name='other', version='9')],\n)\n";
        assert_eq!(setup(text), (Some("demo".to_owned()), Some("1.2".to_owned())));
    }

    #[test]
    fn what_is_computed_stays_open() {
        assert_eq!(setup("setup(name=NAME, version='1.' + minor, x=f('name', version='3'))"), (None, None));
        assert_eq!(setup("setup(name=about['name'], version=f\"{v}\")"), (None, None));
        assert_eq!(PythonManifest.read("setup.py", b"my_setup(name='x')", None), None);
        for broken in ["setup(", "setup(name='", "setup(name='x", "setup())))", "setup([{(", "setup(='x')"] {
            let _ = setup(broken);
        }
    }

    #[test]
    fn what_packaging_writes_is_not_looked_for() {
        for path in ["PKG-INFO", "demo.egg-info/SOURCES.txt", "demo-1.0.dist-info/METADATA", "src/demo.egg-info/PKG-INFO", "setup.cfg"] {
            assert!(is_generated(path), "{path}");
        }
        for path in ["demo/METADATA", "demo-1.0.dist-info/LICENSE", "demo-1.0.dist-info/licenses/LICENSE", "pyproject.toml"] {
            assert!(!is_generated(path), "{path}");
        }
    }
}
