//! From a release to a finding: the one place that sees all stages.
//!
//! What is wrong with the release, its source or its build becomes a [`Finding`] of an honest class. Only
//! what says nothing about the release is an error: a registry out of reach, a version that does not
//! exist, a machine that cannot build.

mod bounds;
mod defined;
mod ladder;
mod left;
mod record;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use quorate_proto::comparison::Level;
use quorate_proto::result::{NotAttemptedReason, Outcome, RegistryView};
use quorate_proto::{Digest, FileName, Purl, Timestamp};
use tokio::sync::OnceCell;
use url::Url;

use crate::attest::Finding;
use crate::cache::{Cache, Reuse, digest_of_file};
use crate::definition::{DefinitionError, Definitions, Settings};
use crate::ecosystem::cargo::Crates;
use crate::ecosystem::deb::Deb;
use crate::ecosystem::npm::Npm;
use crate::ecosystem::pypi::Pypi;
use crate::ecosystem::{Ecosystem, Facilities, ListError, Listed, ToolchainUse};
use crate::environment::{EnvironmentError, Host};
use crate::registry::deb::address::ArchiveSettings;
use crate::registry::{Download, Http, RegistryError};
use crate::release::Release;
use crate::resolve::{Debian, GitAccess, ResolveError};
use crate::sandbox::{self, Limits, Sandbox, SandboxError};
use crate::traffic;
use crate::workshop::BuildError;
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
    /// Whether what is kept there may stand for what others serve.
    pub reuse: Reuse,
    /// Registries by package URL type, where the machine's own package client is not to be asked.
    pub registries: BTreeMap<String, String>,
    /// What is configured about Debian's archive besides its address.
    pub deb: ArchiveSettings,
    /// Which build tools may be brought in.
    pub toolchains: ToolchainUse,
    /// Longest that a rebuild waits until one is brought in; it then goes on with the nearest. With none it does so at
    /// once and leaves word of what it lacked.
    pub toolchain_wait: Option<Duration>,
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
    /// The folder of reviewed definitions, if there is one.
    pub definitions: Option<PathBuf>,
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
    /// A registry failed while build requirements were fetched.
    #[error("fetching what the build needs")]
    Build(#[source] BuildError),
    /// A source was out of reach, or could not be kept.
    #[error("finding the source")]
    Resolve(#[source] Box<ResolveError>),
    /// The registry did not say which file is meant.
    #[error("looking for {package}")]
    List {
        /// The release.
        package: Box<Purl>,
        /// The cause.
        #[source]
        source: ListError,
    },
    /// Not a package of a kind that is known here.
    #[error("{0} is of a kind that this node does not rebuild; it rebuilds {kinds}", kinds = KINDS.join(", "))]
    Ecosystem(Box<Purl>),
    /// The definitions cannot be used.
    #[error("reading definitions")]
    Definitions(#[from] DefinitionError),
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
            Self::List { source: ListError::Registry(error), .. } if error.is_passing() => Disposition::Retry,
            Self::List { .. } | Self::Ecosystem(_) => Disposition::Reject,
            _ => Disposition::Retry,
        }
    }

    fn disk(activity: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let activity = activity.into();
        move |source| Self::Disk { activity, source }
    }
}

/// Package URL types that are rebuilt.
pub const KINDS: &[&str] = &["cargo", "deb", "npm", "pypi"];

/// Rebuilds artifacts.
#[derive(Debug)]
pub struct Engine {
    facilities: Facilities,
    host: OnceCell<Host>,
    deb: Deb,
    npm: Npm,
    pypi: Pypi,
    cargo: Crates,
}

/// What is known of an artifact once the registry was asked.
enum Seen<F> {
    /// It can be rebuilt.
    Release(Box<Release<F>>),
    /// It cannot, and this says why.
    Ended(Box<Finding>),
}

impl Engine {
    /// Prepares an engine: its folders, its client, its sandbox.
    pub fn new(config: EngineConfig) -> Result<Self, RebuildError> {
        std::fs::create_dir_all(&config.work_dir).map_err(RebuildError::disk(format!("making {}", config.work_dir.display())))?;
        let cache = Cache::open(&config.cache_dir).map_err(RebuildError::disk(format!("opening {}", config.cache_dir.display())))?;
        let debian = match config.debian {
            DebianUse::Off => None,
            DebianUse::OfThisMachine => Debian::of_this_machine().map_err(|error| tracing::info!(%error, "no Debian archive")).ok(),
            DebianUse::Mirror { mirror, suites } => {
                Debian::with(mirror, suites).map_err(|error| tracing::warn!(%error, "no Debian archive")).ok()
            }
        };
        let definitions = config.definitions.as_deref().map(Definitions::open).transpose()?.unwrap_or_default();
        let facilities = Facilities {
            http: Http::new().map_err(RebuildError::Client)?.keeping(cache.clone(), config.reuse),
            cache,
            git: GitAccess { reuse: config.reuse, ..config.git },
            debian,
            registries: config.registries,
            deb: config.deb,
            toolchains: config.toolchains,
            toolchain_wait: config.toolchain_wait,
            python: config.python,
            work_dir: config.work_dir,
            definitions,
            sandbox: Sandbox::detect(&config.sandbox)?,
            limits: config.limits,
            decoys: config.secrets,
        };
        Ok(Self {
            host: OnceCell::new(),
            deb: Deb::new(facilities.clone()),
            npm: Npm::new(facilities.clone()),
            pypi: Pypi::new(facilities.clone()),
            cargo: Crates::new(facilities.clone()),
            facilities,
        })
    }

    /// Where the rebuilt file of a finding is, by its digest.
    pub fn cache(&self) -> &Cache {
        &self.facilities.cache
    }

    /// The crates' own part, which brings in versions of cargo.
    pub fn crates(&self) -> &Crates {
        &self.cargo
    }

    /// Rebuilds one artifact.
    pub async fn rebuild(&self, job: &Job, progress: &dyn Progress) -> Result<Finding, RebuildError> {
        let (finding, fetched) = traffic::counted(async {
            match job.package.package_type() {
                "cargo" => Box::pin(self.rebuild_as(&self.cargo, job, progress)).await,
                "deb" => Box::pin(self.rebuild_as(&self.deb, job, progress)).await,
                "npm" => Box::pin(self.rebuild_as(&self.npm, job, progress)).await,
                "pypi" => Box::pin(self.rebuild_as(&self.pypi, job, progress)).await,
                _ => Err(RebuildError::Ecosystem(Box::new(job.package.clone()))),
            }
        })
        .await;
        finding.map(|finding| Finding { fetched, ..finding })
    }

    /// What inference finds for an artifact, in the words of a definition. Nothing is built.
    pub async fn infer(&self, job: &Job) -> Result<Settings, RebuildError> {
        match job.package.package_type() {
            "cargo" => Box::pin(self.infer_as(&self.cargo, job)).await,
            "deb" => Box::pin(self.infer_as(&self.deb, job)).await,
            "npm" => Box::pin(self.infer_as(&self.npm, job)).await,
            "pypi" => Box::pin(self.infer_as(&self.pypi, job)).await,
            _ => Err(RebuildError::Ecosystem(Box::new(job.package.clone()))),
        }
    }

    async fn rebuild_as<E: Ecosystem>(&self, ecosystem: &E, job: &Job, progress: &dyn Progress) -> Result<Finding, RebuildError> {
        let mut record = Record::begin(now(), E::BUILD_TYPE, self.host().await?);
        record.lap("prepare");
        progress.step(Step::Release, &job.package.to_string());
        let seen = self.look(ecosystem, job, &record).await?;
        record.lap("release");
        let finding = match seen {
            Seen::Ended(finding) => *finding,
            Seen::Release(release) => match self.facilities.definitions.find(&release.package, &release.file) {
                None => self.climb(ecosystem, &release, &mut record, progress).await?,
                Some(definition) => self.climb_by(definition, ecosystem, *release, &mut record, progress).await?,
            },
        };
        Ok(record.close(finding, now()))
    }

    async fn host(&self) -> Result<&Host, RebuildError> {
        Ok(self.host.get_or_try_init(|| Host::detect(&self.facilities.python)).await?)
    }

    async fn look<E: Ecosystem>(&self, ecosystem: &E, job: &Job, record: &Record) -> Result<Seen<E::Facts>, RebuildError> {
        let failed = |source| RebuildError::List { package: Box::new(job.package.clone()), source };
        let listed = ecosystem.list(&job.package, job.file.as_ref()).await.map_err(failed)?;
        let mut view = listed.view.clone();
        let ended = |outcome: Outcome, served: Option<Digest>, view: RegistryView| match view.index_checksum.or(served) {
            Some(digest) => Ok(Seen::Ended(Box::new(record.finding(job.package.clone(), listed.file.clone(), digest, view, outcome)))),
            // Without a digest there is nothing that a result could be about.
            None => Err(failed(ListError::NoDigest { url: view.url, why: words(&outcome) })),
        };
        if let Some(reason) = listed.refusal {
            return ended(Outcome::NotAttempted { reason }, None, view);
        }
        let download = match self.published(ecosystem, job, &listed).await? {
            Ok(download) => download,
            Err(error) => {
                let served = error.served();
                view.size_bytes = served.map_or(view.size_bytes, |(_, size_bytes)| size_bytes);
                return ended(unavailable(&error), served.map(|(digest, _)| digest), view);
            }
        };
        view.size_bytes = download.size_bytes;
        let release = Release {
            package: job.package.clone(),
            file: listed.file.clone(),
            digest: download.digest,
            path: download.path.clone(),
            registry: view,
            settings: Settings::new(),
            facts: ecosystem.facts(listed, &download).await,
        };
        Ok(Seen::Release(Box::new(release)))
    }

    /// The published bytes. Inner errors are about the artifact, outer ones about the world.
    async fn published<E: Ecosystem>(
        &self,
        ecosystem: &E,
        job: &Job,
        listed: &Listed<E::Listing>,
    ) -> Result<Result<Download, RegistryError>, RebuildError> {
        if let Some(path) = &job.artifact_path {
            let activity = || RebuildError::disk(format!("reading {}", path.display()));
            let (digest, size_bytes) = digest_of_file(path).map_err(activity())?;
            return Ok(Ok(Download { path: path.clone(), digest, size_bytes }));
        }
        match ecosystem.download(listed, ARTIFACT_BYTES_MAX).await {
            Err(source) if source.is_passing() => Err(RebuildError::Registry { package: Box::new(job.package.clone()), source }),
            other => Ok(other),
        }
    }
}

fn unavailable(error: &RegistryError) -> Outcome {
    match error {
        RegistryError::TooLarge { .. } => Outcome::NotAttempted { reason: NotAttemptedReason::TooLarge },
        error => Outcome::ArtifactUnavailable { summary: crate::proxy::describe(error) },
    }
}

/// Why nothing was rebuilt, for an error that stands in for a result.
fn words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::ArtifactUnavailable { summary } => summary.clone(),
        outcome => outcome.class().to_owned(),
    }
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
