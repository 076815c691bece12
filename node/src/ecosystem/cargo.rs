//! Crates: one `.crate` file a version, packed by cargo out of a repository.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quorate_proto::result::{NotAttemptedReason, Phase};
use quorate_proto::{FileName, Purl, Timestamp};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use url::Url;

use super::{Described, Ecosystem, Facilities, Given, ListError, Listed, Tried};
use crate::cache::Currency;
use crate::definition::Field;
use crate::fetch::{Inputs, cargo as fetch};
use crate::plan::cargo::{self as plan, Attempt, Basis, BuildPlan, Choice, IndexKind};
use crate::proxy::cargo::{TimeMachine, Withheld};
use crate::rebuild::{Built, cargo as rebuild};
use crate::registry::cargo::address::{default_index, sparse};
use crate::registry::cargo::{Line, Registry};
use crate::registry::{Download, RegistryError, address};
use crate::release::cargo::{self as release, Facts, archive};
use crate::release::{ChoiceError, Release};
use crate::resolve::cargo::{self as resolve, Manifest};
use crate::resolve::{Candidate, LaidOut, Material, ResolveError, Rung};
use crate::toolchain::cargo::{Cargo, Cargos, ToolchainError, words};
use crate::workshop::{BuildError, Failure, Workshop};

/// Crates.
#[derive(Debug)]
pub struct Crates {
    facilities: Facilities,
    cargos: Cargos,
    index: OnceCell<Url>,
    /// The usual index's lines of the crate `cargo`, which say when each version of cargo came out.
    releases: OnceCell<Vec<Line>>,
}

/// What is remembered of a crate's page.
#[derive(Clone, Debug)]
pub struct Listing {
    line: Line,
    newest: Option<Line>,
    registry: Arc<Registry>,
}

/// Largest file that is fetched only to read in it where its repository is.
const NEWEST_BYTES_MAX: u64 = 16 << 20;

impl Crates {
    /// Nothing is asked yet.
    pub fn new(facilities: Facilities) -> Self {
        let cargos = Cargos::new(facilities.clone());
        Self { facilities, cargos, index: OnceCell::new(), releases: OnceCell::new() }
    }

    /// The versions of cargo on this machine.
    pub fn cargos(&self) -> &Cargos {
        &self.cargos
    }

    /// The usual registry.
    pub async fn usual(&self) -> Result<Registry, address::AddressError> {
        let configured = self.facilities.registries.get("cargo").map(String::as_str);
        let index = self.index.get_or_try_init(|| default_index(configured)).await?;
        Ok(Registry::new(self.facilities.http.clone(), index.clone()))
    }

    /// The registry that the package URL names, else the usual one.
    async fn registry(&self, package: &Purl) -> Result<Registry, address::AddressError> {
        match package.qualifier("repository_url") {
            Some(text) => Ok(Registry::new(self.facilities.http.clone(), sparse(text, "the package URL")?)),
            None => self.usual().await,
        }
    }

    /// When each version of cargo came out, by the crate `cargo`: of the artifact's own registry, else of the
    /// usual one. Without it the nearest cargo is used.
    async fn releases(&self, own: &Registry) -> &[Line] {
        let look = || async {
            let name = "cargo".parse().ok()?;
            if let Ok(lines) = own.lines(&name, VERSIONS).await {
                return Some(lines);
            }
            let usual = self.usual().await.ok().filter(|usual| usual.index() != own.index())?;
            usual.lines(&name, VERSIONS).await.ok()
        };
        self.releases.get_or_try_init(|| async { look().await.ok_or(()) }).await.map_or(&[], Vec::as_slice)
    }

    /// Where the newest release says that its repository is. A registry that fails here only costs that word.
    async fn later_repositories(&self, release: &Release<Facts>) -> Vec<String> {
        let Some(line) = &release.facts.newest else { return Vec::new() };
        let Ok(registry) = self.registry(&release.package).await else { return Vec::new() };
        let Ok(download) = registry.download(line, NEWEST_BYTES_MAX, &self.facilities.cache).await else { return Vec::new() };
        let read = tokio::task::spawn_blocking(move || archive::read(&download.path)).await;
        read.ok().and_then(Result::ok).unwrap_or_default().repositories
    }

    async fn cargo(&self, facts: &Facts, choice: &Choice) -> Result<Cargo, ToolchainError> {
        match choice {
            Choice::Nearest => self.cargos.nearest(facts.cargos.first().map(|version| version.minor), self.facilities.toolchains).await,
            Choice::Version(version) => {
                let not_offered = |reason| ToolchainError::NotOffered { minor: version.minor, reason };
                let registry = self.usual().await.map_err(|error| not_offered(crate::proxy::describe(&error)))?;
                self.cargos.exact(version.minor, &registry).await
            }
        }
    }
}

impl Ecosystem for Crates {
    type Listing = Listing;
    type Facts = Facts;
    type Manifest = Manifest;
    type Attempt = Attempt;
    type Plan = BuildPlan;

    const BUILD_TYPE: &'static str = "urn:quorate:build/cargo/v1";
    const LADDER: &'static [Rung] = &[Rung::Git];
    const GIVEN: Given = Given::Fetched;

    async fn list(&self, package: &Purl, wanted: Option<&FileName>) -> Result<Listed<Listing>, ListError> {
        let registry = self.registry(package).await?;
        let observed_at = Timestamp::from(SystemTime::now());
        let lines = registry.lines(&release::name_of(package)?, Currency::Now).await?;
        let line = release::choose(&lines, package, registry.index().as_str())?.clone();
        let no_name = || ChoiceError::NoVersion(Box::new(package.clone()));
        let file = line.file_name().ok_or_else(no_name)?;
        if let Some(wanted) = wanted.filter(|wanted| **wanted != file) {
            let unknown = ChoiceError::UnknownFile { package: Box::new(package.clone()), file: wanted.clone(), known: file.to_string() };
            return Err(unknown.into());
        }
        let url = registry.address(&line).await?;
        // An address past the bounds of a result cannot be said.
        let refusal = (url.as_str().len() > URL_BYTES_MAX).then_some(NotAttemptedReason::UnsupportedKind);
        let view = release::registry_view(&line, url.to_string(), observed_at);
        Ok(Listed { file, view, refusal, listing: Listing { newest: release::newest(&lines, &line), line, registry: Arc::new(registry) } })
    }

    async fn download(&self, listed: &Listed<Listing>, limit: u64) -> Result<Download, RegistryError> {
        let Listing { line, registry, .. } = &listed.listing;
        registry.download(line, limit, &self.facilities.cache).await
    }

    async fn facts(&self, listed: Listed<Listing>, download: &Download) -> Facts {
        let Listing { line, newest, registry } = listed.listing;
        let path = download.path.clone();
        let read = tokio::task::spawn_blocking(move || archive::read(&path)).await;
        let published = read.ok().and_then(Result::ok).unwrap_or_default();
        let (releases, held) = (self.releases(&registry).await, self.cargos.held().await);
        let cargos = plan::cargos(releases, line.published_at, &published.fingerprint, &held);
        Facts { name: line.name, version: line.version, published, cargos, held, newest }
    }

    async fn candidates(&self, _rung: Rung, release: &Release<Facts>) -> Result<Vec<Candidate>, ResolveError> {
        let Facilities { git, cache, .. } = &self.facilities;
        git.candidates_or_later(&resolve::wanted(release).await, self.later_repositories(release), cache).await
    }

    fn find(&self, release: &Release<Facts>, candidate: &Candidate, tree: &Path) -> Result<(PathBuf, Manifest), ResolveError> {
        resolve::find(&release.facts, tree, candidate.directory.as_deref())
    }

    fn next_attempt(&self, tried: &[Tried<Attempt>], release: &Release<Facts>, _candidate: &Candidate) -> Option<Attempt> {
        plan::next_attempt(tried, &release.facts, self.facilities.toolchains)
    }

    async fn plan(
        &self,
        release: &Release<Facts>,
        candidate: &Candidate,
        laid_out: &LaidOut<Manifest>,
        attempt: &Attempt,
    ) -> Result<BuildPlan, BuildError> {
        let failed = |error: &dyn std::error::Error| BuildError::from(Failure::found(Phase::Plan, crate::proxy::describe(error)));
        let is_foreign = |field: &Field| matches!(field, Field::Epoch | Field::Variable(_));
        if let Some(field) = release.settings.keys().find(|field| is_foreign(field)) {
            return Err(Failure::found(Phase::Plan, format!("the definition sets {field}, which no crate's packing reads")).into());
        }
        let defined = release.settings.get(&Field::Tool("cargo".to_owned())).and_then(|text| text.parse().ok());
        let choice = defined.map_or_else(|| attempt.cargo.clone(), Choice::Version);
        let cargo = self.cargo(&release.facts, &choice).await.map_err(|error| match error {
            ToolchainError::Disk(error) => BuildError::Disk(error),
            error => failed(&error),
        })?;
        let head = match &candidate.material {
            Material::Commit { repository, commit } => Some((repository.clone(), commit.clone())),
            Material::Archive { .. } | Material::Files(_) => None,
        };
        let basis = Basis {
            facts: &release.facts,
            published_at: release.registry.published_at,
            folder: laid_out.folder.clone(),
            manifest: &laid_out.manifest,
            head,
            cargo,
        };
        plan::plan(basis, attempt).map_err(|error| failed(&error))
    }

    fn describe(&self, plan: &BuildPlan) -> Described {
        let parameters = json!({
            "cargo": plan.cargo.version.to_string(),
            "cargoOrigin": plan.cargo.provenance.as_ref().map_or("installed", |provenance| words(provenance.how)),
            "cargoProvenance": plan.cargo.provenance,
            "arguments": plan.arguments,
            "lock": if plan.lock.is_some() { "published" } else { "own" },
            "index": if plan.index == IndexKind::Sparse { "sparse" } else { "git" },
            "registryCutoff": plan.cutoff,
        });
        let Value::Object(parameters) = parameters else { unreachable!("an object literal") };
        Described {
            words: format!("cargo {}", plan.cargo.version),
            parameters,
            assists: plan.assists.clone(),
            settings: [(Field::Tool("cargo".to_owned()), plan.cargo.version.to_string())].into(),
            tools: plan.cargo.tools.clone(),
        }
    }

    async fn fetch(&self, release: &Release<Facts>, workshop: &Workshop, plan: &BuildPlan) -> Result<Inputs, BuildError> {
        let registry = self.registry(&release.package).await.map_err(|error| BuildError::Registry(error.to_string()))?;
        let withheld = Withheld {
            name: release.facts.name.clone(),
            version: release.facts.version.clone(),
            digest: release.digest,
            published_at: release.registry.published_at,
        };
        let machine = TimeMachine {
            registry: Arc::new(registry),
            cutoff: plan.cutoff,
            withheld: Some(withheld),
            http: self.facilities.http.clone(),
            cache: self.facilities.cache.clone(),
        };
        fetch::fetch(workshop, plan, machine).await
    }

    async fn rebuild(&self, release: &Release<Facts>, workshop: &Workshop, plan: &BuildPlan) -> Result<Built, BuildError> {
        rebuild::rebuild(workshop, plan, &release.file, &self.facilities.cache).await
    }
}

/// How long it is believed which versions of cargo there are.
const VERSIONS: Currency = Currency::Within(Duration::from_hours(24));
/// Most bytes of a download address.
const URL_BYTES_MAX: usize = 2000;
