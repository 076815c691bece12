//! Reviewed definitions: what a person knows about one artifact and inference does not find.
//!
//! A definition is one YAML file. It names the artifact, gives a reason, and lists overrides; each override
//! says what inference finds instead, so that a reader sees the difference and the node can check that it
//! still is the difference. A result that used one says so. Nothing here does I/O but [`Definitions::open`].

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use quorate_proto::{Digest, FileName, Purl};
use serde::Deserialize;

/// Largest definition, in bytes, and most definitions of a folder.
const DEFINITION_BYTES_MAX: u64 = 64 << 10;
const DEFINITIONS_MAX: usize = 100_000;
/// Most overrides of one definition.
const OVERRIDES_MAX: usize = 64;
/// Most bytes of a reason, and of a value.
const REASON_BYTES_MAX: usize = 2 << 10;
const VALUE_BYTES_MAX: usize = 512;

/// What inference found, or a definition sets, by what it is about.
pub type Settings = BTreeMap<Field, String>;

/// Something that inference finds and a definition may set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// `source.repository`: the repository's address.
    Repository,
    /// `source.commit`: the commit, in hex.
    Commit,
    /// `source.directory`: the package's folder in the tree.
    Directory,
    /// `source-date-epoch`: seconds.
    Epoch,
    /// `toolchain.NAME`: the version of a build tool.
    Tool(String),
    /// `variable.NAME`: a variable of the build's environment.
    Variable(String),
}

/// One thing that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// What.
    pub field: Field,
    /// To which value.
    pub to: String,
    /// What inference found when this was reviewed; `None` for nothing.
    pub instead_of: Option<String>,
}

/// A reviewed definition of one artifact, or of all of one release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The release.
    pub package: Purl,
    /// The one file that it is about; all of the release's when absent.
    pub artifact: Option<FileName>,
    /// Why inference is not enough, for a reader of results.
    pub reason: String,
    /// What is set.
    pub overrides: Vec<Override>,
    /// SHA-256 of the file, which results name.
    pub digest: Digest,
}

/// An override whose reviewed difference is no longer the difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// What it is about.
    pub field: Field,
    /// What inference found at the review.
    pub reviewed: Option<String>,
    /// What it finds now.
    pub found: Option<String>,
}

/// All definitions of a folder.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    all: Vec<Definition>,
}

/// A definition that is refused.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// The disk.
    #[error("reading {}", path.display())]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Not a definition.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// More than is taken.
    #[error("{} has more than {limit} {what}", path.display())]
    TooMany {
        /// The file or folder.
        path: PathBuf,
        /// Of what.
        what: &'static str,
        /// How much is accepted.
        limit: usize,
    },
    /// Two files about one artifact: which of them counts would be an accident.
    #[error("{package} {} is defined twice", artifact.as_ref().map_or("(all files)", FileName::as_str))]
    Twice {
        /// The release.
        package: Box<Purl>,
        /// The file.
        artifact: Option<FileName>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Text {
    version: u32,
    package: String,
    artifact: Option<String>,
    reason: String,
    overrides: Vec<OverrideText>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct OverrideText {
    set: String,
    to: String,
    instead_of: Option<String>,
}

impl Definition {
    /// Reads a definition: UTF-8 YAML of version 1, with a reason and at least one override, every field once.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() as u64 > DEFINITION_BYTES_MAX {
            return Err(format!("more than {DEFINITION_BYTES_MAX} bytes"));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let text: Text = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        if text.version != 1 {
            return Err(format!("version {}, expected 1", text.version));
        }
        let package: Purl = text.package.parse().map_err(|error| format!("package: {error}"))?;
        if package.version().is_none() {
            return Err("package: no version, and a definition is about one release".to_owned());
        }
        let artifact = text.artifact.map(|name| name.parse()).transpose().map_err(|error| format!("artifact: {error}"))?;
        if text.reason.trim().is_empty() || text.reason.len() > REASON_BYTES_MAX {
            return Err(format!("reason: from 1 to {REASON_BYTES_MAX} bytes are needed"));
        }
        let overrides = overrides(text.overrides)?;
        Ok(Self { package, artifact, reason: text.reason.trim().to_owned(), overrides, digest: Digest::of(bytes) })
    }

    /// What is set, by field.
    pub fn settings(&self) -> Settings {
        self.overrides.iter().map(|change| (change.field.clone(), change.to.clone())).collect()
    }

    /// The overrides whose reviewed difference is no longer what inference finds.
    pub fn drift(&self, inferred: &Settings) -> Vec<Drift> {
        let drifted = self.overrides.iter().filter(|change| inferred.get(&change.field) != change.instead_of.as_ref());
        drifted
            .map(|change| Drift {
                field: change.field.clone(),
                reviewed: change.instead_of.clone(),
                found: inferred.get(&change.field).cloned(),
            })
            .collect()
    }
}

fn overrides(texts: Vec<OverrideText>) -> Result<Vec<Override>, String> {
    if texts.is_empty() || texts.len() > OVERRIDES_MAX {
        return Err(format!("overrides: from 1 to {OVERRIDES_MAX} are needed"));
    }
    let mut all: Vec<Override> = Vec::new();
    for text in texts {
        let field: Field = text.set.parse()?;
        let values = [Some(&text.to), text.instead_of.as_ref()];
        if values.into_iter().flatten().any(|value| value.len() > VALUE_BYTES_MAX || value.contains(char::is_control)) {
            return Err(format!("{field}: at most {VALUE_BYTES_MAX} bytes without control characters"));
        }
        if all.iter().any(|other| other.field == field) {
            return Err(format!("{field} is set twice"));
        }
        if text.instead_of.as_ref() == Some(&text.to) {
            return Err(format!("{field} is set to what inference finds by itself"));
        }
        check(&field, &text.to)?;
        all.push(Override { field, to: text.to, instead_of: text.instead_of });
    }
    Ok(all)
}

fn check(field: &Field, value: &str) -> Result<(), String> {
    let is_fine = match field {
        Field::Commit => matches!(value.len(), 40 | 64) && value.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase()),
        Field::Epoch => value.parse::<u32>().is_ok(),
        Field::Repository => value.starts_with("https://"),
        Field::Directory => Path::new(value).components().all(|part| matches!(part, std::path::Component::Normal(_))),
        Field::Tool(_) => value.chars().all(|c| c.is_ascii_alphanumeric() || ".+-~".contains(c)) && !value.is_empty(),
        Field::Variable(_) => true,
    };
    if is_fine { Ok(()) } else { Err(format!("{field}: {value:?} is no such value")) }
}

impl Definitions {
    /// Reads every `.yaml` file of a folder, and of its folders. Any that is wrong refuses them all: a result
    /// must not silently be made without the definition that its operator wrote.
    pub fn open(folder: &Path) -> Result<Self, DefinitionError> {
        let mut all: Vec<Definition> = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let disk = |source| DefinitionError::Disk { path: folder.clone(), source };
            for entry in fs::read_dir(&folder).map_err(disk)? {
                let entry = entry.map_err(disk)?;
                let path = entry.path();
                if entry.file_type().map_err(disk)?.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "yaml") {
                    all.push(read(&path)?);
                }
                if all.len() > DEFINITIONS_MAX {
                    return Err(DefinitionError::TooMany { path: folder, what: "definitions", limit: DEFINITIONS_MAX });
                }
            }
        }
        all.sort_by(|a, b| (a.package.to_string(), &a.artifact).cmp(&(b.package.to_string(), &b.artifact)));
        if let Some(pair) = all.windows(2).find(|pair| pair[0].package == pair[1].package && pair[0].artifact == pair[1].artifact) {
            return Err(DefinitionError::Twice { package: Box::new(pair[0].package.clone()), artifact: pair[0].artifact.clone() });
        }
        Ok(Self { all })
    }

    /// The definition of an artifact: its own before one of the whole release.
    pub fn find(&self, package: &Purl, file: &FileName) -> Option<&Definition> {
        let of = |artifact: Option<&FileName>| self.all.iter().find(|one| one.package == *package && one.artifact.as_ref() == artifact);
        of(Some(file)).or_else(|| of(None))
    }
}

/// Reads one definition from a file.
pub fn read(path: &Path) -> Result<Definition, DefinitionError> {
    use std::io::Read as _;
    let disk = |source| DefinitionError::Disk { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(disk)?.take(DEFINITION_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(disk)?;
    Definition::parse(&bytes).map_err(|reason| DefinitionError::Malformed { path: path.to_owned(), reason })
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository => f.write_str("source.repository"),
            Self::Commit => f.write_str("source.commit"),
            Self::Directory => f.write_str("source.directory"),
            Self::Epoch => f.write_str("source-date-epoch"),
            Self::Tool(name) => write!(f, "toolchain.{name}"),
            Self::Variable(name) => write!(f, "variable.{name}"),
        }
    }
}

impl FromStr for Field {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "_-@/.".contains(c));
        let is_variable = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        match text.split_once('.') {
            Some(("source", "repository")) => Ok(Self::Repository),
            Some(("source", "commit")) => Ok(Self::Commit),
            Some(("source", "directory")) => Ok(Self::Directory),
            Some(("toolchain", name)) if is_word(name) => Ok(Self::Tool(name.to_owned())),
            Some(("variable", name)) if is_variable(name) => Ok(Self::Variable(name.to_owned())),
            _ if text == "source-date-epoch" => Ok(Self::Epoch),
            _ => Err(format!("{text:?} is nothing that a definition sets")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const COMMIT: &str = "c7e0fc087ceeadb8b4c84a0953a422c474093d6d";

    fn text(overrides: &str) -> String {
        format!("version: 1\npackage: pkg:pypi/demo@1.0\nreason: the tag was moved after the release\noverrides:\n{overrides}")
    }

    fn parsed(overrides: &str) -> Result<Definition, String> {
        Definition::parse(text(overrides).as_bytes())
    }

    #[test]
    fn a_definition_states_its_difference_from_inference() {
        let one = parsed(&format!("  - {{set: source.commit, to: {COMMIT}, instead-of: null}}\n")).unwrap();
        assert_eq!(one.overrides, [Override { field: Field::Commit, to: COMMIT.to_owned(), instead_of: None }]);
        assert_eq!(one.drift(&Settings::new()), []);
        let found = Some("other".to_owned());
        let inferred = [(Field::Commit, "other".to_owned())].into();
        assert_eq!(one.drift(&inferred), [Drift { field: Field::Commit, reviewed: None, found }]);
    }

    #[test]
    fn what_sets_nothing_or_sets_it_twice_is_refused() {
        for overrides in [
            "  []\n",
            "  - {set: source.branch, to: main}\n",
            "  - {set: source.commit, to: main}\n",
            "  - {set: source.repository, to: 'file:///etc'}\n",
            "  - {set: source.directory, to: ../x}\n",
            "  - {set: source-date-epoch, to: soon}\n",
            "  - {set: variable.A B, to: x}\n",
            "  - {set: source-date-epoch, to: '1', instead-of: '1'}\n",
            "  - {set: source-date-epoch, to: '1'}\n  - {set: source-date-epoch, to: '2'}\n",
            "  - {set: toolchain.npm, to: '--registry=x y'}\n",
            "  - {set: toolchain.npm, to: '8', because: x}\n",
        ] {
            assert!(parsed(overrides).is_err(), "{overrides}");
        }
        assert!(parsed("  - {set: toolchain.npm, to: 8.19.4, instead-of: 10.2.0}\n").is_ok());
    }

    #[test]
    fn a_definition_without_a_reason_is_refused() {
        let text = text("  - {set: source-date-epoch, to: '1'}\n").replace("the tag was moved after the release", "''");
        assert!(Definition::parse(text.as_bytes()).is_err());
    }

    #[test]
    fn aliases_that_multiply_end_with_an_error() {
        let lines: Vec<_> = (1..12).map(|at| format!("  - &a{at} [{}]\n", format!("*a{}, ", at - 1).repeat(9))).collect();
        assert!(parsed(&format!("  - &a0 [x]\n{}", lines.concat())).is_err());
    }

    #[test]
    fn the_definition_of_one_file_comes_before_that_of_its_release_and_two_of_one_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let overrides = "  - {set: source-date-epoch, to: '1'}\n";
        write("all.yaml", &text(overrides));
        write("one.yaml", &text(overrides).replace("reason", "artifact: demo-1.0.tar.gz\nreason"));
        write("note.txt", "no definition");
        let all = Definitions::open(folder.path()).unwrap();
        let artifact = |name: &str| all.find(&"pkg:pypi/demo@1.0".parse().unwrap(), &name.parse().unwrap()).unwrap().artifact.is_some();
        assert!(artifact("demo-1.0.tar.gz") && !artifact("demo-1.0-py3-none-any.whl"));
        write("again.yaml", &text(overrides));
        assert!(matches!(Definitions::open(folder.path()), Err(DefinitionError::Twice { .. })));
    }
}
