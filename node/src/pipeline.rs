//! From a release to a finding: the one place that sees all stages.
//!
//! What is wrong with the release, its source or its build becomes a [`Finding`] of an honest class. Only
//! what says nothing about the release is an error: a registry out of reach, a version that does not
//! exist, a machine that cannot build.

mod bounds;
mod ladder;
mod record;

use std::path::PathBuf;
use std::time::SystemTime;

use quorate_proto::comparison::Level;
use quorate_proto::result::{NotAttemptedReason, Outcome};
use quorate_proto::{FileName, Purl, Timestamp};
use tokio::sync::OnceCell;
use url::Url;

use crate::attest::Finding;
use crate::cache::{Cache, digest_of_file};
use crate::environment::{EnvironmentError, Host};
use crate::fetch::FetchError;
use crate::rebuild::HostError;
use crate::registry::address::{self, AddressError};
use crate::registry::{Download, Http, PublishedFile, Registry, RegistryError};
use crate::release::{self, ChoiceError, Facts, Release, Target};
use crate::resolve::{Debian, GitAccess, ResolveError, Resolver};
use crate::sandbox::{self, Limits, Sandbox, SandboxError};
use record::Record;

/// Largest published file that is rebuilt, in bytes.
pub const ARTIFACT_BYTES_MAX: u64 = 256 << 20;

/// How an engine works.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Where builds lie while they run.
    pub work_dir: PathBuf,
    /// Where downloads are kept; several nodes may share it.
    pub cache_dir: PathBuf,
    /// The index, where pip's own is not meant.
    pub index_url: Option<String>,
    /// How repositories are reached.
    pub git: GitAccess,
    /// Whether, and how, Debian's source archives are used.
    pub debian: DebianUse,
    /// The interpreter that builds run on: a path or a command.
    pub python: PathBuf,
    /// How sandboxes are made.
    pub sandbox: sandbox::Config,
    /// What one build command may use up.
    pub limits: Limits,
    /// Where the node's secrets lie: builds see decoys there.
    pub secrets: Vec<PathBuf>,
}

/// Whether, and how, Debian's source archives are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DebianUse {
    /// Not at all.
    Off,
    /// The mirror that apt uses on this machine, and the usual suites.
    #[default]
    OfThisMachine,
    /// A mirror and suites by name.
    Mirror {
        /// The mirror's base address; apt's own when absent.
        mirror: Option<Url>,
        /// The suites, in the order in which they are searched.
        suites: Vec<String>,
    },
}

/// One artifact to rebuild.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Job {
    /// The release.
    pub package: Purl,
    /// The file of it; chosen when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileName>,
    /// A file on this machine that stands for the published one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_path: Option<PathBuf>,
}

/// The steps that people wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Finding and fetching the published file.
    Release,
    /// Finding the source.
    Resolve,
    /// Fetching build requirements.
    Fetch,
    /// Building.
    Build,
    /// Comparing.
    Compare,
}

/// Who is told how far a rebuild is.
pub trait Progress: Send + Sync {
    /// A step has begun.
    fn step(&self, step: Step, detail: &str);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _step: Step, _detail: &str) {}
}

/// What says nothing about the release.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The registry's fault.
    #[error("asking the registry about {package}")]
    Registry {
        /// The release.
        package: Box<Purl>,
        /// The cause.
        #[source]
        source: RegistryError,
    },
    /// A registry failed while build requirements were fetched, or the proxy could not start.
    #[error("fetching build requirements")]
    Fetch(#[source] FetchError),
    /// A source was out of reach, or could not be kept.
    #[error("finding the source")]
    Resolve(#[source] Box<ResolveError>),
    /// No such file, or no such version.
    #[error("choosing the published file")]
    Choice(#[from] ChoiceError),
    /// No index is known.
    #[error("finding the index")]
    Address(#[from] AddressError),
    /// Not a package of a kind that is known here.
    #[error("{0} is no PyPI package: this node rebuilds no other kind")]
    Ecosystem(Box<Purl>),
    /// This machine cannot build.
    #[error("preparing the sandbox")]
    Sandbox(#[from] SandboxError),
    /// This machine cannot build.
    #[error("finding the build environment")]
    Environment(#[from] EnvironmentError),
    /// The HTTP client could not be made.
    #[error("preparing the HTTP client")]
    Client(#[source] reqwest::Error),
    /// The disk.
    #[error("{activity}")]
    Disk {
        /// What was done.
        activity: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The world's fault: the same may work later.
    Retry,
    /// The request's fault: it will never work.
    Reject,
}

impl RebuildError {
    /// What to do about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Registry { source, .. } if !source.is_passing() => Disposition::Reject,
            Self::Choice(_) | Self::Address(_) | Self::Ecosystem(_) => Disposition::Reject,
            _ => Disposition::Retry,
        }
    }

    fn of_host(error: HostError) -> Self {
        match error {
            HostError::Sandbox(error) => Self::Sandbox(error),
            HostError::Disk(source) => Self::disk("keeping what was built")(source),
        }
    }

    fn disk(activity: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let activity = activity.into();
        move |source| Self::Disk { activity, source }
    }
}

/// Rebuilds artifacts.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    cache: Cache,
    http: Http,
    sandbox: Sandbox,
    resolver: Resolver,
    host: OnceCell<Host>,
    index: OnceCell<Url>,
}

/// What is known of an artifact once the registry was asked.
enum Seen {
    /// It can be rebuilt.
    Release(Box<Release>),
    /// It cannot, and this says why.
    Ended(Box<Finding>),
}

impl Engine {
    /// Prepares an engine: its folders, its client, its sandbox.
    pub fn new(config: EngineConfig) -> Result<Self, RebuildError> {
        std::fs::create_dir_all(&config.work_dir).map_err(RebuildError::disk(format!("making {}", config.work_dir.display())))?;
        let cache = Cache::open(&config.cache_dir).map_err(RebuildError::disk(format!("opening {}", config.cache_dir.display())))?;
        let http = Http::new().map_err(RebuildError::Client)?;
        let debian = match &config.debian {
            DebianUse::Off => None,
            DebianUse::OfThisMachine => Debian::of_this_machine().map_err(|error| tracing::info!(%error, "no Debian archive")).ok(),
            DebianUse::Mirror { mirror, suites } => {
                Debian::with(mirror.clone(), suites.clone()).map_err(|error| tracing::warn!(%error, "no Debian archive")).ok()
            }
        };
        let resolver = Resolver { http: http.clone(), cache: cache.clone(), git: config.git.clone(), debian };
        let sandbox = Sandbox::detect(&config.sandbox)?;
        Ok(Self { config, cache, http, sandbox, resolver, host: OnceCell::new(), index: OnceCell::new() })
    }

    /// Where the rebuilt file of a finding is, by its digest.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Rebuilds one artifact.
    pub async fn rebuild(&self, job: &Job, progress: &dyn Progress) -> Result<Finding, RebuildError> {
        let mut record = Record::begin(now());
        let (registry, host) = tokio::try_join!(self.registry(&job.package), self.host())?;
        record.lap("prepare");
        progress.step(Step::Release, &job.package.to_string());
        let seen = self.look(job, &registry, host, &record).await?;
        record.lap("release");
        let finding = match seen {
            Seen::Ended(finding) => *finding,
            Seen::Release(release) => self.climb(&release, &registry, host, &mut record, progress).await?,
        };
        Ok(record.close(finding, now()))
    }

    async fn host(&self) -> Result<&Host, RebuildError> {
        Ok(self.host.get_or_try_init(|| Host::detect(&self.config.python)).await?)
    }

    /// The registry that the package URL names, else the configured one.
    async fn registry(&self, package: &Purl) -> Result<Registry, RebuildError> {
        if package.package_type() != "pypi" {
            return Err(RebuildError::Ecosystem(Box::new(package.clone())));
        }
        let index = match address::named_by(package) {
            Some(named) => named?,
            None => self.default_index().await?,
        };
        Ok(Registry::new(self.http.clone(), index))
    }

    async fn default_index(&self) -> Result<Url, RebuildError> {
        let found = self.index.get_or_try_init(|| address::default_index(self.config.index_url.as_deref(), &self.config.python)).await;
        Ok(found?.clone())
    }

    /// Where build requirements come from: the artifact's own registry first, then the usual one.
    async fn registries(&self, own: &Registry) -> Vec<Registry> {
        let mut all = vec![own.clone()];
        if let Ok(index) = self.default_index().await {
            let usual = Registry::new(self.http.clone(), index);
            if usual.index() != own.index() {
                all.push(usual);
            }
        }
        all
    }

    async fn look(&self, job: &Job, registry: &Registry, host: &Host, record: &Record) -> Result<Seen, RebuildError> {
        let failed = |source| RebuildError::Registry { package: Box::new(job.package.clone()), source };
        let observed_at = now();
        let project = registry.project(&release::project_of(&job.package)?).await.map_err(failed)?;
        let files = release::files_of(&project, &job.package)?;
        let file = release::choose(&files, job.file.as_ref(), &job.package, registry.index().as_str())?;
        let view = release::registry_view(file, file.size_bytes.unwrap_or_default(), observed_at);
        let ended = |outcome, digest| {
            Seen::Ended(Box::new(record.finding(job.package.clone(), file.name.clone(), digest, view.clone(), host, outcome)))
        };
        let target = match (target_of(file), file.sha256) {
            (Ok(target), _) => target,
            (Err(reason), Some(digest)) => return Ok(ended(Outcome::NotAttempted { reason }, digest)),
            (Err(_), None) => return Err(failed(nameless(file))),
        };
        let download = match self.published(job, registry, file).await? {
            Ok(download) => download,
            Err(error) => {
                let digest = file.sha256.ok_or_else(|| failed(nameless(file)))?;
                return Ok(ended(unavailable(&error), digest));
            }
        };
        let mut view = view.clone();
        view.size_bytes = download.size_bytes;
        let release = Release {
            package: job.package.clone(),
            version: release::version_of(&job.package)?,
            file: file.name.clone(),
            target,
            digest: download.digest,
            facts: facts(download.path.clone(), target).await,
            path: download.path,
            registry: view,
            source_distribution: release::source_distribution(&files, &file.name),
        };
        Ok(Seen::Release(Box::new(release)))
    }

    /// The published bytes. They are fetched anew each time: a copy in the cache would say nothing of what
    /// the registry serves now. Inner errors are about the artifact, outer ones about the world.
    async fn published(
        &self,
        job: &Job,
        registry: &Registry,
        file: &PublishedFile,
    ) -> Result<Result<Download, RegistryError>, RebuildError> {
        if let Some(path) = &job.artifact_path {
            let activity = || RebuildError::disk(format!("reading {}", path.display()));
            let (digest, size_bytes) = digest_of_file(path).map_err(activity())?;
            return Ok(Ok(Download { path: path.clone(), digest, size_bytes }));
        }
        match registry.download(file, ARTIFACT_BYTES_MAX, &self.cache).await {
            Ok(download) => Ok(Ok(download)),
            Err(source) if source.is_passing() => Err(RebuildError::Registry { package: Box::new(job.package.clone()), source }),
            Err(error) => Ok(Err(error)),
        }
    }
}

fn target_of(file: &PublishedFile) -> Result<Target, NotAttemptedReason> {
    match release::target_of(&file.name) {
        Ok(_) if file.size_bytes.is_some_and(|size| size > ARTIFACT_BYTES_MAX) => Err(NotAttemptedReason::TooLarge),
        target => target,
    }
}

/// Without a digest in the index there is nothing that a result could be about.
fn nameless(file: &PublishedFile) -> RegistryError {
    RegistryError::Malformed { url: Box::new(file.url.clone()), reason: "no SHA-256 in the index".to_owned() }
}

fn unavailable(error: &RegistryError) -> Outcome {
    match error {
        RegistryError::TooLarge { .. } => Outcome::NotAttempted { reason: NotAttemptedReason::TooLarge },
        error => Outcome::ArtifactUnavailable { summary: crate::proxy::describe(error) },
    }
}

/// A published file that cannot be read says nothing about its making: it is then built from defaults, and
/// the comparison says what is wrong with it.
async fn facts(path: PathBuf, target: Target) -> Facts {
    let read = tokio::task::spawn_blocking(move || release::read_facts(&path, target));
    read.await.ok().and_then(Result::ok).unwrap_or_default()
}

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

/// Worse levels have higher ranks; what was not built has the highest.
fn rank(outcome: &Outcome) -> u8 {
    match outcome.level() {
        Some(Level::Byte) => 0,
        Some(Level::Stream) => 1,
        Some(Level::Normal) => 2,
        Some(Level::Manifest) => 3,
        Some(Level::Different) => 4,
        None => 5,
    }
}
