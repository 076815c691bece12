//! How a Python package is built: backend, pinned tools, times. Pure.
//!
//! Facts that bound the toolchain come from the published file; the rest from the source, as of the
//! upload. Whatever the build is told that the source does not say becomes an [`Assist`].

pub mod generator;
mod options;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr as _;

use pep440_rs::Version;
use pep508_rs::{Requirement, VerbatimUrl, VersionOrUrl};
use quorate_proto::Timestamp;
use quorate_proto::result::{Assist, SourceKind};

use super::assist;
use crate::definition::{Field, Settings};
use crate::environment::Python;
use crate::release::pypi::{Metadata, Target};
use crate::resolve::LaidOut;
use crate::source::git::adopt::Head;
use crate::source::git::remote::Depth;
use crate::source::manifest::{BuildSystem, Manifest};
pub use generator::{Generator, Pin};

/// Most requirements of a build, and most bytes of one: together they must fit a command line.
pub const REQUIREMENTS_MAX: usize = 128;
const REQUIREMENT_BYTES_MAX: usize = 1000;
/// Most bytes of a backend's object or of one of its folders, and most folders.
const BACKEND_BYTES_MAX: usize = 300;
const BACKEND_PATHS_MAX: usize = 16;

/// How a candidate is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildPlan {
    /// The interpreter, which has the same path inside.
    pub python: Python,
    /// What is built.
    pub target: Target,
    /// By which way.
    pub route: Route,
    /// The folder of the package inside the source tree.
    pub folder: PathBuf,
    /// The backend and its requirements, each a checked PEP 508 text.
    pub build: BuildSystem,
    /// Versions that the published file names, as PEP 508 texts.
    pub constraints: Vec<String>,
    /// Registries are seen as they were before this.
    pub cutoff: Option<Timestamp>,
    /// `SOURCE_DATE_EPOCH`.
    pub epoch: i64,
    /// The hooks' `config_settings`.
    pub settings: BTreeMap<String, Vec<String>>,
    /// More variables.
    pub variables: BTreeMap<String, String>,
    /// What the build is told that the source does not say.
    pub assists: Vec<Assist>,
    /// The commit that the tree is a checkout of.
    pub head: Option<Head>,
}

/// The way from source to target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The target is built from the source itself.
    Direct,
    /// First a source distribution, then the wheel from that, as common front ends do.
    ThroughSourceDistribution,
    /// A source distribution into a folder `dist` of the source, where common front ends put it: setuptools may take
    /// that folder for a package.
    IntoDist,
    /// A source distribution by flit's own command, which packs all that git tracks; its backend does not.
    FlitCommand,
}

/// Which of several possible toolchains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// With the versions that the published file names, as of the upload.
    AsPublished,
    /// As of the moment when the generator that the published file names came out: who had an old `wheel`
    /// had an old setuptools too (distributions and long-lived machines).
    AsOfGenerator,
    /// As of the upload, without the versions that the published file names.
    AsOfUpload,
    /// The newest: for packages that are older than this machine's Python.
    Newest,
}

/// One way of trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// By which way.
    pub route: Route,
    /// With which tools.
    pub toolchain: Toolchain,
}

/// What a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// What the published file says.
    pub facts: &'a Metadata,
    /// What is built.
    pub target: Target,
    /// The published file's name.
    pub file: &'a str,
    /// The package's normalised name.
    pub package: &'a str,
    /// The version, as the package URL spells it.
    pub version: &'a str,
    /// When the published file was uploaded.
    pub uploaded_at: Option<Timestamp>,
    /// What a reviewed definition sets.
    pub settings: &'a Settings,
    /// The moment after the published file's generator came out, if that was looked up.
    pub generator_until: Option<Timestamp>,
    /// What kind of source it is.
    pub source_kind: SourceKind,
    /// The source.
    pub laid_out: &'a LaidOut<Manifest>,
    /// The interpreter.
    pub python: &'a Python,
    /// The commit that the source is, and its tag, where it comes from a repository.
    pub head: Option<&'a Head>,
}

/// A source that cannot be planned for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A build requirement that is none.
    #[error("build requirement {text:?} is malformed")]
    Requirement {
        /// The text.
        text: String,
    },
    /// A build requirement that names an address, which the registry cannot answer for.
    #[error("build requirement {text:?} names an address")]
    AddressedRequirement {
        /// The text.
        text: String,
    },
    /// A backend that is no Python object path.
    #[error("{got} build requirements, at most {REQUIREMENTS_MAX} are taken")]
    Requirements {
        /// How many there are.
        got: usize,
    },
    /// A backend that is no Python object path, or folders of it that are no paths.
    #[error("build backend {text:?} is malformed")]
    Backend {
        /// The text.
        text: String,
    },
}

/// Plans one attempt.
pub fn plan(basis: &Basis<'_>, attempt: Attempt) -> Result<BuildPlan, PlanError> {
    let mut assists = Vec::new();
    let generator = basis.facts.generator.as_deref().and_then(Generator::parse);
    let build = match attempt.route {
        Route::FlitCommand => flit_command(&mut assists),
        Route::Direct | Route::IntoDist | Route::ThroughSourceDistribution => build_system(basis, generator.as_ref(), &mut assists),
    };
    let build = checked(build)?;
    let self_built = |pin: &Pin| pin.project == basis.package && !build.backend_path.is_empty();
    let pins = generator
        .filter(|_| matches!(attempt.toolchain, Toolchain::AsPublished | Toolchain::AsOfGenerator))
        .map(|generator| generator.pins(basis.facts.setuptools.as_deref()))
        .unwrap_or_default();
    let cutoff = match attempt.toolchain {
        Toolchain::AsPublished | Toolchain::AsOfUpload => basis.uploaded_at,
        Toolchain::AsOfGenerator => basis.uploaded_at.min(basis.generator_until.or(basis.uploaded_at)),
        Toolchain::Newest => None,
    };
    if attempt.toolchain == Toolchain::Newest && basis.uploaded_at.is_some() {
        assists.push(assist("newest-build-tools", "today's", "the build tools of the upload day do not run on this machine's Python"));
    }
    if attempt.route == Route::IntoDist {
        let reason = "the published metadata names it as a package, as setuptools does where a front end made it first";
        assists.push(assist("dist-folder", "dist", reason));
    }
    let epoch = match basis.settings.get(&Field::Epoch).and_then(|text| text.parse().ok()) {
        Some(epoch) => epoch,
        None => epoch(basis, &mut assists),
    };
    let settings = options::settings(basis, &build, &mut assists);
    Ok(BuildPlan {
        python: basis.python.clone(),
        target: basis.target,
        route: attempt.route,
        folder: basis.laid_out.folder.clone(),
        constraints: pins
            .iter()
            .filter(|pin| !self_built(pin) && !basis.settings.contains_key(&Field::Tool(pin.project.clone())))
            .map(ToString::to_string)
            .chain(tools_set(basis.settings))
            .map(|pin| checked_requirement(&pin))
            .collect::<Result<_, _>>()?,
        build,
        cutoff,
        epoch,
        settings,
        variables: told_version(basis, &mut assists).into_iter().chain(variables_set(basis.settings)).collect(),
        assists,
        head: basis.head.map(|head| Head { depth: depth(basis), ..head.clone() }),
    })
}

impl BuildPlan {
    /// What a definition could have set instead.
    pub fn inferred(&self) -> Settings {
        let pins = self.constraints.iter().filter_map(|text| text.split_once("=="));
        let tools = pins.map(|(name, version)| (Field::Tool(name.trim().to_owned()), version.trim().to_owned()));
        let variables = self.variables.iter().map(|(name, value)| (Field::Variable(name.clone()), value.clone()));
        tools.chain(variables).chain([(Field::Epoch, self.epoch.to_string())]).collect()
    }
}

fn tools_set(settings: &Settings) -> impl Iterator<Item = String> + '_ {
    settings.iter().filter_map(|(field, version)| match field {
        Field::Tool(name) => Some(format!("{name}=={version}")),
        _ => None,
    })
}

fn variables_set(settings: &Settings) -> impl Iterator<Item = (String, String)> + '_ {
    settings.iter().filter_map(|(field, value)| match field {
        Field::Variable(name) => Some((name.clone(), value.clone())),
        _ => None,
    })
}

/// The names of requirements, for telling what is still missing. Malformed ones have none.
pub fn requirement(text: &str) -> Option<Requirement<VerbatimUrl>> {
    // Markers are parsed by recursion, and cut by the length of characters, not of bytes.
    let is_plain = text.len() <= REQUIREMENT_BYTES_MAX && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    Requirement::from_str(Some(text).filter(|text| is_plain && has_whole_names(text))?).ok()
}

/// Whether the name and the extras end as names do: the parser panics where they do not.
fn has_whole_names(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let rest = text.trim_start().trim_start_matches(is_part);
    let name = text.trim_start().strip_suffix(rest).unwrap_or_default();
    let extras = rest.trim_start().strip_prefix('[').map_or("", |rest| rest.split(']').next().unwrap_or_default());
    let words = extras.split(|c: char| c == ',' || c.is_whitespace());
    words.chain([name]).all(|word| !word.ends_with(['.', '-', '_']))
}

/// The source's own build system, unless the published file was plainly made by another backend.
fn build_system(basis: &Basis<'_>, generator: Option<&Generator>, assists: &mut Vec<Assist>) -> BuildSystem {
    let own = basis.laid_out.manifest.build.clone();
    let Some((generator, backend)) = generator.and_then(|generator| Some((generator, generator.backend()?))) else { return own };
    let names: Vec<_> = own.requires.iter().filter_map(|text| requirement(text)).map(|requirement| requirement.name.to_string()).collect();
    let is_itself = generator.project == basis.package && !own.backend_path.is_empty();
    if is_itself && basis.version.parse().is_ok_and(|version: Version| version != generator.version) {
        return external(generator, backend, "the published file was made by another version than the one in the source", assists);
    }
    let is_own = names.contains(&generator.project) || !own.backend_path.is_empty() || own.backend == backend;
    // A backend that wraps another one requires it by itself; only setuptools is plainly not any of these.
    if is_own || !own.backend.starts_with("setuptools.") {
        return own;
    }
    external(generator, backend, "the published file names another generator than the source's build system", assists)
}

fn flit_command(assists: &mut Vec<Assist>) -> BuildSystem {
    let reason = "the published file holds more of what git tracks than the source's backend packs";
    assists.push(assist("build-backend", FLIT_COMMAND, reason));
    BuildSystem { requires: vec!["flit".to_owned()], backend: FLIT_COMMAND.to_owned(), backend_path: Vec::new() }
}

/// No backend: the module of flit's command.
pub const FLIT_COMMAND: &str = "flit.sdist";

fn external(generator: &Generator, backend: &str, reason: &str, assists: &mut Vec<Assist>) -> BuildSystem {
    assists.push(assist("build-backend", backend, reason));
    BuildSystem { requires: vec![generator.project.clone()], backend: backend.to_owned(), backend_path: Vec::new() }
}

fn checked(build: BuildSystem) -> Result<BuildSystem, PlanError> {
    let is_short = |text: &str| (1..=BACKEND_BYTES_MAX).contains(&text.len());
    let is_object = is_short(&build.backend) && build.backend.chars().all(|c| c.is_alphanumeric() || "_.:".contains(c));
    let is_path = |text: &String| is_short(text) && !text.contains(char::is_control);
    if !is_object || build.backend_path.len() > BACKEND_PATHS_MAX || !build.backend_path.iter().all(is_path) {
        return Err(PlanError::Backend { text: build.backend.chars().take(200).collect() });
    }
    if build.requires.len() > REQUIREMENTS_MAX {
        return Err(PlanError::Requirements { got: build.requires.len() });
    }
    let requires = build.requires.iter().map(|text| checked_requirement(text)).collect::<Result<_, _>>()?;
    Ok(BuildSystem { requires, ..build })
}

/// A requirement in its canonical spelling. What is no requirement could be an option of pip.
pub fn checked_requirement(text: &str) -> Result<String, PlanError> {
    let parsed = requirement(text).ok_or_else(|| PlanError::Requirement { text: text.chars().take(200).collect() })?;
    if matches!(parsed.version_or_url, Some(VersionOrUrl::Url(_))) {
        return Err(PlanError::AddressedRequirement { text: text.chars().take(200).collect() });
    }
    Ok(parsed.to_string())
}

/// The one time of the published file, else the source's own, else the upload's.
fn epoch(basis: &Basis<'_>, assists: &mut Vec<Assist>) -> i64 {
    let own = basis.laid_out.time;
    if let Some(time) = basis.facts.uniform_time {
        let is_default = basis.facts.generator.as_deref().and_then(Generator::parse).and_then(|g| g.default_time()) == Some(time);
        if own != Some(time) && !is_default {
            assists.push(assist("source-date-epoch", &time.to_string(), "read back from the published file's uniform times"));
        }
        return time;
    }
    own.or_else(|| basis.uploaded_at.map(Timestamp::unix_seconds)).unwrap_or(ZIP_BEGIN).max(ZIP_BEGIN)
}

/// 1980-01-01: zip files know no time before it.
const ZIP_BEGIN: i64 = 315_532_800;

/// How much of the history a build reads: pbr writes a change log and the authors from it.
fn depth(basis: &Basis<'_>) -> Depth {
    if uses(basis, &[PBR]) { Depth::History } else { Depth::Tips }
}

fn uses(basis: &Basis<'_>, words: &[&str]) -> bool {
    words.iter().any(|word| basis.laid_out.manifest.text.contains(word))
}

/// The backend that takes everything from git.
const PBR: &str = "pbr";
/// Words that tell of a tool which reads the version from git, and the variable that tells it the version instead.
const SCM_TOOLS: [(&[&str], &str); 5] = [
    (&["setuptools_scm", "setuptools-scm", "hatch-vcs", "hatch_vcs", "flit_scm", "flit-scm"], "SETUPTOOLS_SCM_PRETEND_VERSION"),
    (&["[tool.pdm.version]"], "PDM_BUILD_SCM_VERSION"),
    (&[PBR], "PBR_VERSION"),
    (&["poetry-dynamic-versioning"], "POETRY_DYNAMIC_VERSIONING_BYPASS"),
    (&["uv-dynamic-versioning"], "UV_DYNAMIC_VERSIONING_BYPASS"),
];

/// Tools that read the version from git need to be told it where no tag says it.
fn told_version(basis: &Basis<'_>, assists: &mut Vec<Assist>) -> BTreeMap<String, String> {
    let is_tagged = basis.head.is_some_and(|head| head.tag.is_some());
    if basis.source_kind == SourceKind::SourceDistribution || is_tagged {
        return BTreeMap::new();
    }
    let used = SCM_TOOLS.iter().filter(|(words, _)| uses(basis, words));
    let told: BTreeMap<_, _> = used.map(|(_, variable)| ((*variable).to_owned(), basis.version.to_owned())).collect();
    if !told.is_empty() {
        assists.push(assist("scm-version", basis.version, "the build reads its version from git, and the source has no tag that says it"));
    }
    told
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const DIRECT: Attempt = Attempt { route: Route::Direct, toolchain: Toolchain::AsPublished };

    fn planned(pyproject: &str, generator: &str, uniform: Option<i64>, own: Option<i64>) -> Result<BuildPlan, PlanError> {
        planned_at(None, pyproject, generator, uniform, own)
    }

    fn planned_at(
        head: Option<&Head>,
        pyproject: &str,
        generator: &str,
        uniform: Option<i64>,
        own: Option<i64>,
    ) -> Result<BuildPlan, PlanError> {
        let facts = Metadata { generator: Some(generator.to_owned()), uniform_time: uniform, ..Metadata::default() };
        let manifest = Manifest::parse(pyproject, "", "").unwrap();
        let python = Python { executable: PathBuf::new(), folders: Vec::new(), version: String::new(), pip: String::new() };
        let laid_out = LaidOut { folder: PathBuf::new(), manifest, time: own };
        let basis = Basis {
            facts: &facts,
            target: Target::Wheel,
            file: "demo-1.0-py2.py3-none-any.whl",
            package: "demo",
            version: "1.0",
            uploaded_at: Some(Timestamp::from_unix_seconds(1_700_000_000)),
            settings: &Settings::new(),
            generator_until: None,
            source_kind: SourceKind::SourceArchive,
            laid_out: &laid_out,
            python: &python,
            head,
        };
        plan(&basis, DIRECT)
    }

    #[test]
    fn the_published_generator_pins_the_backend() {
        for (generator, expected) in [
            ("flit 3.10.1", vec!["flit-core==3.10.1"]),
            ("pdm-backend (2.4.3)", vec!["pdm-backend==2.4.3"]),
            ("setuptools (75.6.0)", vec!["setuptools==75.6.0"]),
            ("bdist_wheel (0.43.0)", vec!["wheel==0.43.0", "setuptools<70.1"]),
            ("hand made", vec![]),
        ] {
            assert_eq!(planned("", generator, None, None).unwrap().constraints, expected, "{generator}");
        }
        let by_wheel = Generator::parse("bdist_wheel (0.43.0)").unwrap();
        assert_eq!(by_wheel.pins(Some(">=57,<62")).iter().map(ToString::to_string).collect::<Vec<_>>()[1], "setuptools<70.1,>=57,<62");
    }

    #[test]
    fn a_uniform_time_is_read_back_and_said_to_be() {
        let plan = planned("", "x", Some(1_600_000_000), Some(1)).unwrap();
        assert_eq!((plan.epoch, plan.assists[0].name.as_str()), (1_600_000_000, "source-date-epoch"));
        let plan = planned("", "x", Some(1_600_000_000), Some(1_600_000_000)).unwrap();
        assert!(plan.assists.iter().all(|assist| assist.name != "source-date-epoch"));
        assert_eq!(planned("", "x", None, None).unwrap().epoch, 1_700_000_000);
    }

    #[test]
    fn tools_that_ask_git_are_told_the_version_where_no_tag_says_it() {
        let pyproject = "[build-system]\nrequires=['hatchling','hatch-vcs']\nbuild-backend='hatchling.build'\n";
        let at = |head: Option<&Head>| planned_at(head, pyproject, "hatchling 1.2.3", None, None).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("objects")).unwrap();
        std::fs::write(folder.path().join("HEAD"), "").unwrap();
        let repository = crate::source::git::Repository::open(folder.path()).unwrap();
        let untagged = Head { repository, commit: "1".repeat(40), tag: None, depth: Depth::Tips };
        for head in [None, Some(&untagged)] {
            let plan = at(head);
            assert_eq!(plan.variables["SETUPTOOLS_SCM_PRETEND_VERSION"], "1.0");
            assert_eq!(plan.assists[0].name, "scm-version");
        }
        let tagged = Head { tag: Some("refs/tags/v1.0".to_owned()), ..untagged };
        let plan = at(Some(&tagged));
        assert_eq!((plan.variables.len(), plan.assists.len()), (0, 0));
        assert_eq!(plan.head.as_ref(), Some(&tagged));
    }

    #[test]
    fn another_generator_than_the_source_names_is_an_assist() {
        let plan = planned("", "poetry-core 1.9.0", None, None).unwrap();
        assert_eq!(plan.build.backend, "poetry.core.masonry.api");
        assert_eq!(plan.assists[0].name, "build-backend");
    }

    #[test]
    fn a_backend_that_was_built_by_an_older_one_is_built_by_that() {
        let own = "[build-system]\nrequires=[]\nbuild-backend='poetry.core.masonry.api'\nbackend-path=['src']\n";
        let facts = |version: &str| Metadata { generator: Some(format!("poetry-core {version}")), ..Metadata::default() };
        let python = Python { executable: PathBuf::new(), folders: Vec::new(), version: String::new(), pip: String::new() };
        let laid_out = LaidOut { folder: PathBuf::new(), manifest: Manifest::parse(own, "", "").unwrap(), time: None };
        let with = |facts: &Metadata| {
            let file = "poetry_core-1.9.0-py3-none-any.whl";
            let (target, source_kind) = (Target::Wheel, SourceKind::Git);
            let basis = Basis {
                facts,
                target,
                file,
                package: "poetry-core",
                version: "1.9.0",
                uploaded_at: None,
                settings: &Settings::new(),
                generator_until: None,
                source_kind,
                laid_out: &laid_out,
                python: &python,
                head: None,
            };
            plan(&basis, DIRECT).unwrap()
        };
        let (older, same) = (with(&facts("1.8.1")), with(&facts("1.9.0")));
        assert_eq!((older.constraints, older.build.backend_path.len()), (vec!["poetry-core==1.8.1".to_owned()], 0));
        assert_eq!((same.constraints.len(), same.build.backend_path.len()), (0, 1));
    }

    #[test]
    fn a_universal_wheel_that_the_source_does_not_ask_for_is_an_assist() {
        let plan = planned("", "bdist_wheel (0.41.0)", None, None).unwrap();
        assert_eq!((plan.settings["--build-option"][0].as_str(), plan.assists[0].name.as_str()), ("--universal", "build-option"));
    }

    #[test]
    fn a_generator_cannot_inject_a_line_of_constraints() {
        for generator in ["--index-url=http://x 1.0", "a==9\u{b}b 1.0", "a;b 1.0", "a@http://x 1.0"] {
            assert_eq!(planned("", generator, None, None).unwrap().constraints, [""; 0], "{generator}");
        }
    }

    #[test]
    fn requirements_that_do_not_fit_a_command_line_are_a_fault_of_the_source() {
        let long = format!("setuptools{}", (0..30_000).map(|k| format!("!={k}.99")).collect::<Vec<_>>().join(","));
        let of = |requires: &str, path: &str| {
            planned(&format!("[build-system]\nrequires=[{requires}]\nbuild-backend='x'\nbackend-path=['{path}']\n"), "x", None, None)
        };
        assert!(matches!(of(&format!("'{long}'"), "."), Err(PlanError::Requirement { .. })));
        assert!(matches!(of(&"'a',".repeat(129), "."), Err(PlanError::Requirements { got: 129 })));
        assert!(matches!(of("'a'", &"x".repeat(301)), Err(PlanError::Backend { .. })));
        let nul = "[build-system]\nrequires=['a']\nbuild-backend='x'\nbackend-path=[\"\\u0000\"]\n";
        assert!(matches!(planned(nul, "x", None, None), Err(PlanError::Backend { .. })));
    }

    #[test]
    fn requirements_that_would_end_the_process_are_refused() {
        let deep = format!("a; {}", "(".repeat(200_000));
        for text in ["pip-", "pip. >=1", "a_ ; python_version > '3'", "a[b-]", " a [b, c. ]", "a[b- x]", "a-\u{e9}", "a; p\u{e9}'", &deep] {
            assert!(requirement(text).is_none(), "{text:.20}");
        }
        assert!(["a[b-c, d_e]==1.0.*", "a-b.c_d", "a [x] (>=1)"].iter().all(|text| requirement(text).is_some()));
    }

    #[test]
    fn requirements_that_are_options_or_addresses_are_refused() {
        let with = |text: &str| planned(&format!("[build-system]\nrequires=['{text}']\nbuild-backend='x'\n"), "x", None, None);
        assert!(matches!(with("--index-url=http://x"), Err(PlanError::Requirement { .. })));
        assert!(matches!(with("a @ https://x.example/a.whl"), Err(PlanError::AddressedRequirement { .. })));
        assert!(with("flit_core >=3,<4; python_version > \"3\"").is_ok());
    }
}
