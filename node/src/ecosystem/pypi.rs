//! Python packages: wheels for every machine, and source distributions.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use pep440_rs::Version;
use quorate_proto::comparison::DifferenceClass;
use quorate_proto::result::{NotAttemptedReason, Outcome, Phase, SourceKind};
use quorate_proto::{FileName, Purl, Timestamp};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use url::Url;

use super::{Described, Ecosystem, Facilities, Given, ListError, Listed, Tried, tool};
use crate::cache::Currency;
use crate::environment::{EnvironmentError, Python};
use crate::fetch::{Inputs, pypi as fetch};
use crate::pipeline::ARTIFACT_BYTES_MAX;
use crate::plan::pypi::{self as plan, Attempt, Basis, BuildPlan, Generator, Route, Toolchain};
use crate::proxy::pypi::{TimeMachine, Withheld};
use crate::rebuild::{Built, pypi as rebuild};
use crate::registry::address;
use crate::registry::pypi::address::default_index;
use crate::registry::pypi::file_name::Distribution;
use crate::registry::pypi::{PublishedFile, Registry};
use crate::registry::{Download, RegistryError};
use crate::release::Release;
use crate::release::pypi::{self as release, Facts, Metadata, Target};
use crate::resolve::{Candidate, LaidOut, Material, ResolveError, Rung, pypi as resolve};
use crate::source::git::adopt::Head;
use crate::source::git::remote::Depth;
use crate::source::manifest::{self, Manifest};
use crate::workshop::{BuildError, Failure, Workshop};

/// Python packages.
#[derive(Debug)]
pub struct Pypi {
    facilities: Facilities,
    python: OnceCell<Python>,
    index: OnceCell<Url>,
}

/// What is remembered of a project's page.
#[derive(Clone, Debug)]
pub struct Listing {
    file: PublishedFile,
    version: Version,
    source_distribution: Option<PublishedFile>,
    wheel: Option<PublishedFile>,
    newest: Option<PublishedFile>,
}

/// Largest file that is fetched only to read in it where its repository is.
const NEWEST_BYTES_MAX: u64 = 16 << 20;

impl Pypi {
    /// Nothing is asked yet.
    pub fn new(facilities: Facilities) -> Self {
        Self { facilities, python: OnceCell::new(), index: OnceCell::new() }
    }

    async fn python(&self) -> Result<&Python, EnvironmentError> {
        self.python.get_or_try_init(|| Python::detect(&self.facilities.python)).await
    }

    /// The registry that the package URL names, else the usual one.
    async fn registry(&self, package: &Purl) -> Result<Registry, address::AddressError> {
        let index = match address::named_by(package) {
            Some(named) => named?,
            None => self.default_index().await?,
        };
        Ok(Registry::new(self.facilities.http.clone(), index))
    }

    async fn default_index(&self) -> Result<Url, address::AddressError> {
        let configured = self.facilities.registries.get("pypi").map(String::as_str);
        let found = self.index.get_or_try_init(|| default_index(configured, &self.facilities.python)).await;
        Ok(found?.clone())
    }

    /// Where build requirements come from: the artifact's own registry first, then the usual one.
    async fn registries(&self, package: &Purl) -> Result<Vec<Registry>, address::AddressError> {
        let mut all = vec![self.registry(package).await?];
        if let Ok(index) = self.default_index().await {
            let usual = Registry::new(self.facilities.http.clone(), index);
            if all.iter().all(|own| own.index() != usual.index()) {
                all.push(usual);
            }
        }
        Ok(all)
    }

    /// The moment after the published file's generator came out. A registry that fails here only costs an
    /// attempt.
    async fn generator_until(&self, release: &Release<Facts>) -> Option<Timestamp> {
        let generator = Generator::parse(release.facts.metadata.generator.as_deref()?)?;
        let registries = self.registries(&release.package).await.ok()?;
        // It came out before what it made.
        let before = Currency::before(release.registry.published_at);
        let project = registries.last()?.project(&generator.project.parse().ok()?, before).await.ok()?;
        let is_it = |file: &&PublishedFile| Distribution::parse(&file.name).is_some_and(|d| d.version == generator.version);
        let last = project.files.iter().filter(is_it).filter_map(|file| file.uploaded_at).max()?;
        Some(last.plus(Duration::from_secs(1)))
    }

    /// A source distribution names no generator; the wheel that was published with it does. A registry that
    /// fails here only costs that word.
    async fn generator_beside(&self, wheel: Option<&PublishedFile>) -> Option<String> {
        let wheel = wheel?;
        let download = self.facilities.http.download(&wheel.url, wheel.sha256, ARTIFACT_BYTES_MAX, &self.facilities.cache).await.ok()?;
        metadata(download.path, Target::Wheel).await.generator
    }

    /// Where the newest release says that its repository is. A registry that fails here only costs that word.
    async fn later_repositories(&self, release: &Release<Facts>) -> Vec<String> {
        let Facilities { http, cache, .. } = &self.facilities;
        let Some(file) = &release.facts.newest else { return Vec::new() };
        let Ok(target) = release::target_of(&file.name) else { return Vec::new() };
        match http.download(&file.url, file.sha256, NEWEST_BYTES_MAX, cache).await {
            Ok(download) => metadata(download.path, target).await.repositories,
            Err(_) => Vec::new(),
        }
    }

    async fn machine(&self, release: &Release<Facts>, cutoff: Option<Timestamp>) -> Result<TimeMachine, BuildError> {
        let lost = |error: &dyn std::fmt::Display| BuildError::Registry(error.to_string());
        let withheld = Withheld {
            project: release::project_of(&release.package).map_err(|error| lost(&error))?,
            version: release.facts.version.clone(),
            digest: release.digest,
            uploaded_at: release.registry.published_at,
        };
        let registries = self.registries(&release.package).await.map_err(|error| lost(&error))?;
        Ok(TimeMachine { registries, cutoff, withheld, http: self.facilities.http.clone(), cache: self.facilities.cache.clone() })
    }
}

impl Ecosystem for Pypi {
    type Listing = Listing;
    type Facts = Facts;
    type Manifest = Manifest;
    type Attempt = Attempt;
    type Plan = BuildPlan;

    const BUILD_TYPE: &'static str = "urn:quorate:build/pypi/v1";
    const LADDER: &'static [Rung] = &[Rung::Git, Rung::Debian, Rung::Index];
    const GIVEN: Given = Given::LaidOut;

    async fn list(&self, package: &Purl, wanted: Option<&FileName>) -> Result<Listed<Listing>, ListError> {
        let registry = self.registry(package).await?;
        let observed_at = Timestamp::from(SystemTime::now());
        let project = registry.project(&release::project_of(package)?, Currency::Now).await?;
        let files = release::files_of(&project, package)?;
        let file = release::choose(&files, wanted, package, registry.index().as_str())?;
        let is_large = file.size_bytes.is_some_and(|size| size > ARTIFACT_BYTES_MAX);
        let refusal = release::target_of(&file.name).err().or(is_large.then_some(NotAttemptedReason::TooLarge));
        let source_distribution = release::source_distribution(&files, &file.name);
        let wheel = release::sibling_wheel(&files, &file.name);
        let version = release::version_of(package)?;
        let newest = release::newest(&project, &version, NEWEST_BYTES_MAX);
        Ok(Listed {
            file: file.name.clone(),
            view: release::registry_view(file, file.size_bytes.unwrap_or_default(), observed_at),
            refusal,
            listing: Listing { file: file.clone(), version, source_distribution, wheel, newest },
        })
    }

    async fn download(&self, listed: &Listed<Listing>, limit: u64) -> Result<Download, RegistryError> {
        let file = &listed.listing.file;
        self.facilities.http.download(&file.url, file.sha256, limit, &self.facilities.cache).await
    }

    async fn facts(&self, listed: Listed<Listing>, download: &Download) -> Facts {
        let target = release::target_of(&listed.file).unwrap_or(Target::Wheel);
        let mut metadata = metadata(download.path.clone(), target).await;
        if target == Target::SourceDistribution {
            metadata.generator = self.generator_beside(listed.listing.wheel.as_ref()).await;
        }
        let Listing { version, source_distribution, newest, .. } = listed.listing;
        Facts { version, target, metadata, source_distribution, newest }
    }

    async fn candidates(&self, rung: Rung, release: &Release<Facts>) -> Result<Vec<Candidate>, ResolveError> {
        let Facilities { http, cache, git, debian, .. } = &self.facilities;
        match rung {
            Rung::Git => git.candidates_or_later(&resolve::wanted(release).await, self.later_repositories(release), cache).await,
            Rung::Debian => match debian {
                Some(debian) => resolve::archived(debian, release, http, cache).await,
                None => Err(ResolveError::None("Debian source archives are turned off".to_owned())),
            },
            Rung::Index => resolve::published(release, http, cache).await,
        }
    }

    fn find(&self, release: &Release<Facts>, candidate: &Candidate, tree: &Path) -> Result<(PathBuf, Manifest), ResolveError> {
        if let Some(folder) = &candidate.directory {
            return Ok((folder.clone(), Manifest::read(tree, folder)?));
        }
        Ok(manifest::find(tree, release.package.name(), &release.facts.version)?)
    }

    fn next_attempt(&self, tried: &[Tried<Attempt>], release: &Release<Facts>, candidate: &Candidate) -> Option<Attempt> {
        next_attempt(tried, release, candidate.source.kind)
    }

    async fn plan(
        &self,
        release: &Release<Facts>,
        candidate: &Candidate,
        laid_out: &LaidOut<Manifest>,
        attempt: &Attempt,
    ) -> Result<BuildPlan, BuildError> {
        let generator_until = match attempt.toolchain {
            Toolchain::AsOfGenerator => self.generator_until(release).await,
            _ => None,
        };
        let python = self.python().await.map_err(|error| BuildError::Disk(std::io::Error::other(error)))?;
        let head = match &candidate.material {
            Material::Commit { repository, commit } => {
                let (repository, commit, tag) = (repository.clone(), commit.clone(), candidate.source.reference.clone());
                Some(Head { repository, commit, tag, depth: Depth::Tips })
            }
            Material::Archive { .. } | Material::Files(_) => None,
        };
        let basis = Basis {
            facts: &release.facts.metadata,
            target: release.facts.target,
            file: release.file.as_str(),
            package: release.package.name(),
            version: release.package.version().unwrap_or_default(),
            uploaded_at: release.registry.published_at,
            settings: &release.settings,
            generator_until,
            source_kind: candidate.source.kind,
            laid_out,
            python,
            head: head.as_ref(),
        };
        plan::plan(&basis, *attempt).map_err(|error| Failure::found(Phase::Plan, error.to_string()).into())
    }

    fn describe(&self, plan: &BuildPlan) -> Described {
        let parameters = json!({
            "backend": plan.build.backend,
            "requires": plan.build.requires,
            "constraints": plan.constraints,
            "route": format!("{:?}", plan.route),
            "sourceDateEpoch": plan.epoch,
            "checkout": plan.head.as_ref().map(|head| json!({ "tag": head.tag, "history": head.depth == Depth::History })),
            "registryCutoff": plan.cutoff,
            "settings": plan.settings,
            "variables": plan.variables,
        });
        let Value::Object(parameters) = parameters else { unreachable!("an object literal") };
        Described {
            words: plan.build.requires.join(", "),
            parameters,
            assists: plan.assists.clone(),
            settings: plan.inferred(),
            tools: vec![tool("python", &plan.python.version, None), tool("pip", &plan.python.pip, None)],
        }
    }

    async fn fetch(&self, release: &Release<Facts>, workshop: &Workshop, plan: &BuildPlan) -> Result<Inputs, BuildError> {
        fetch::fetch(workshop, plan, self.machine(release, plan.cutoff).await?).await
    }

    async fn rebuild(&self, _release: &Release<Facts>, workshop: &Workshop, plan: &BuildPlan) -> Result<Built, BuildError> {
        rebuild::rebuild(workshop, plan, &self.facilities.cache).await
    }
}

async fn metadata(path: PathBuf, target: Target) -> Metadata {
    let read = tokio::task::spawn_blocking(move || release::read_facts(&path, target));
    read.await.ok().and_then(Result::ok).unwrap_or_default()
}

/// Whether only generated metadata differs, where `bdist_wheel` wrote the wheel: setuptools is then a guess.
fn is_guess(release: &Release<Facts>, outcome: &Outcome) -> bool {
    let Outcome::Different { differences, .. } = outcome else { return false };
    let by_wheel =
        release.facts.metadata.generator.as_deref().and_then(Generator::parse).is_some_and(|generator| generator.project == "wheel");
    let listed = usize::try_from(differences.count).is_ok_and(|count| count == differences.members.len());
    by_wheel
        && listed
        && differences
            .members
            .iter()
            .all(|difference| difference.member.contains(".dist-info/") || difference.member.ends_with("/PKG-INFO"))
}

/// Whether a source distribution that flit made lacks what was published, and nothing else is different.
fn lacks_of_flit(release: &Release<Facts>, outcome: &Outcome) -> bool {
    let Outcome::Different { differences, .. } = outcome else { return false };
    let generator = release.facts.metadata.generator.as_deref().and_then(Generator::parse);
    release.facts.target == Target::SourceDistribution
        && generator.is_some_and(|generator| generator.project == "flit-core")
        && differences.members.iter().all(|difference| difference.class == DifferenceClass::OnlyPublished)
}

/// What is tried next with one candidate, after outcomes that were reached with or without any fetched
/// build tool. Pure.
fn next_attempt(tried: &[Tried<Attempt>], release: &Release<Facts>, kind: SourceKind) -> Option<Attempt> {
    let direct = |toolchain| Some(Attempt { route: Route::Direct, toolchain });
    let Some(Tried { attempt: last, outcome, is_toolless }) = tried.last() else { return direct(Toolchain::AsPublished) };
    match (last.toolchain, outcome) {
        (Toolchain::AsPublished, Outcome::BuildFailed { phase: Phase::Fetch, .. }) => direct(Toolchain::AsOfUpload),
        // Only tools that can be chosen otherwise, and only builds that gave up by themselves.
        (Toolchain::AsPublished | Toolchain::AsOfUpload, Outcome::BuildFailed { phase: Phase::Build | Phase::Fetch, summary })
            if summary.starts_with("ended with code") && (!is_toolless || last.toolchain == Toolchain::AsOfUpload) =>
        {
            direct(Toolchain::Newest)
        }
        (Toolchain::AsPublished, outcome) if last.route == Route::Direct && is_guess(release, outcome) => direct(Toolchain::AsOfGenerator),
        (Toolchain::AsPublished | Toolchain::AsOfGenerator, Outcome::Different { .. })
            if last.route == Route::Direct && release.facts.target == Target::Wheel && kind != SourceKind::SourceDistribution =>
        {
            Some(Attempt { route: Route::ThroughSourceDistribution, toolchain: Toolchain::AsPublished })
        }
        (Toolchain::AsPublished, outcome) if last.route == Route::Direct && kind == SourceKind::Git && lacks_of_flit(release, outcome) => {
            Some(Attempt { route: Route::FlitCommand, toolchain: Toolchain::AsPublished })
        }
        (Toolchain::AsPublished, Outcome::Different { differences, .. })
            if last.route == Route::Direct
                && release.facts.target == Target::SourceDistribution
                && differences.members.iter().all(|difference| difference.member.ends_with(".egg-info/top_level.txt")) =>
        {
            Some(Attempt { route: Route::IntoDist, toolchain: Toolchain::AsPublished })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use quorate_proto::Digest;
    use quorate_proto::comparison::{Difference, Executable};
    use quorate_proto::result::{DifferenceList, RebuiltFile, RegistryView};

    fn release() -> Release<Facts> {
        let now = Timestamp::from_unix_seconds(0);
        Release {
            package: "pkg:pypi/demo@1.0".parse().unwrap(),
            file: "demo-1.0-py3-none-any.whl".parse().unwrap(),
            digest: Digest::of(b""),
            path: PathBuf::new(),
            registry: RegistryView { url: String::new(), size_bytes: 0, index_checksum: None, published_at: None, observed_at: now },
            settings: crate::definition::Settings::new(),
            facts: Facts {
                version: "1.0".parse().unwrap(),
                target: Target::Wheel,
                metadata: Metadata { generator: Some("bdist_wheel (0.41.0)".to_owned()), ..Metadata::default() },
                source_distribution: None,
                newest: None,
            },
        }
    }

    fn failed(phase: Phase) -> Outcome {
        Outcome::BuildFailed { phase, summary: "ended with code 1".to_owned() }
    }

    fn differs_in(member: &str) -> Outcome {
        let class = DifferenceClass::Content;
        let difference = Difference { member: member.to_owned(), class, executable: Executable::Data, published: None, rebuilt: None };
        Outcome::Different {
            rebuilt: RebuiltFile { digest: Digest::of(b""), size_bytes: 0, normal: None },
            published_normal: None,
            differences: DifferenceList { count: 1, members: vec![difference], report: None },
        }
    }

    fn next(route: Route, toolchain: Toolchain, outcome: Outcome, toolless: bool) -> Option<(Route, Toolchain)> {
        let tried = [Tried { attempt: Attempt { route, toolchain }, outcome, is_toolless: toolless }];
        next_attempt(&tried, &release(), SourceKind::SourceArchive).map(|attempt| (attempt.route, attempt.toolchain))
    }

    #[test]
    fn toolchains_are_loosened_only_when_tools_are_at_fault() {
        let first = |outcome, toolless| next(Route::Direct, Toolchain::AsPublished, outcome, toolless);
        assert_eq!(first(failed(Phase::Fetch), true), Some((Route::Direct, Toolchain::AsOfUpload)));
        assert_eq!(first(failed(Phase::Build), false), Some((Route::Direct, Toolchain::Newest)));
        assert_eq!(first(failed(Phase::Build), true), None);
        assert_eq!(first(failed(Phase::Plan), false), None);
        let hung = Outcome::BuildFailed { phase: Phase::Build, summary: "stopped after 5 seconds".to_owned() };
        assert_eq!(first(hung, false), None);
        let escaped = Outcome::SandboxViolation { phase: Phase::Build, summary: String::new() };
        assert_eq!(first(escaped, false), None);
    }

    #[test]
    fn an_older_setuptools_is_tried_when_only_metadata_differs() {
        let metadata = || differs_in("demo-1.0.dist-info/METADATA");
        let direct = |outcome| next(Route::Direct, Toolchain::AsPublished, outcome, false);
        assert_eq!(direct(metadata()), Some((Route::Direct, Toolchain::AsOfGenerator)));
        assert_eq!(direct(differs_in("demo/__init__.py")), Some((Route::ThroughSourceDistribution, Toolchain::AsPublished)));
        let last = next(Route::Direct, Toolchain::AsOfGenerator, metadata(), false);
        assert_eq!(last, Some((Route::ThroughSourceDistribution, Toolchain::AsPublished)));
        assert_eq!(next(Route::ThroughSourceDistribution, Toolchain::AsPublished, metadata(), false), None);
    }

    #[test]
    fn a_folder_for_the_distribution_is_tried_when_only_its_name_may_be_missing() {
        let mut release = release();
        release.facts.target = Target::SourceDistribution;
        let next = |release: &Release<Facts>, member: &str, route| {
            let attempt = Attempt { route, toolchain: Toolchain::AsPublished };
            let tried = [Tried { attempt, outcome: differs_in(member), is_toolless: false }];
            next_attempt(&tried, release, SourceKind::Git).map(|attempt| attempt.route)
        };
        assert_eq!(next(&release, "demo-1.0/demo.egg-info/top_level.txt", Route::Direct), Some(Route::IntoDist));
        assert_eq!(next(&release, "demo-1.0/demo.egg-info/top_level.txt", Route::IntoDist), None);
        assert_eq!(next(&release, "demo-1.0/demo/top_level.txt", Route::Direct), None);
        release.facts.target = Target::Wheel;
        assert_ne!(next(&release, "demo-1.0/demo.egg-info/top_level.txt", Route::Direct), Some(Route::IntoDist));
    }

    #[test]
    fn flits_own_command_is_tried_when_its_backend_packs_too_little() {
        let mut release = release();
        release.facts.target = Target::SourceDistribution;
        let next = |release: &Release<Facts>, kind, class| {
            let mut outcome = differs_in("demo-1.0/.gitignore");
            if let Outcome::Different { differences, .. } = &mut outcome {
                differences.members[0].class = class;
            }
            let attempt = Attempt { route: Route::Direct, toolchain: Toolchain::AsPublished };
            next_attempt(&[Tried { attempt, outcome, is_toolless: false }], release, kind).map(|attempt| attempt.route)
        };
        assert_eq!(next(&release, SourceKind::Git, DifferenceClass::OnlyPublished), None);
        release.facts.metadata.generator = Some("flit 3.9.0".to_owned());
        assert_eq!(next(&release, SourceKind::Git, DifferenceClass::OnlyPublished), Some(Route::FlitCommand));
        assert_eq!(next(&release, SourceKind::Git, DifferenceClass::OnlyRebuilt), None);
        assert_eq!(next(&release, SourceKind::SourceArchive, DifferenceClass::OnlyPublished), None);
    }
}
