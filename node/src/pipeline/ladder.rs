//! Climbs the ladder of candidates: which source and which toolchain are tried next, and when it is
//! enough.
//!
//! A stronger source that gives an equal normal form is not passed over for a weaker one that gives equal
//! bytes. A weaker one that does better than a stronger one *that differs* wins, and the result says that
//! the stronger one differs.

use std::path::PathBuf;
use std::time::Duration;

use quorate_proto::Timestamp;
use quorate_proto::comparison::Anomaly;
use quorate_proto::result::{Assist, Outcome, Phase, Source, SourceKind};
use serde_json::{Value, json};

use super::record::Record;
use super::{Engine, Progress, RebuildError, Step, now, rank};
use crate::attest::Finding;
use crate::compare;
use crate::environment::Host;
use crate::fetch::{self, FetchError, Inputs};
use crate::plan::{self, Attempt, Basis, BuildPlan, Generator, Route, Toolchain};
use crate::proxy::{TimeMachine, Withheld, describe};
use crate::rebuild::{self, BuildOutcome, Built};
use crate::registry::file_name::Distribution;
use crate::registry::{PublishedFile, Registry};
use crate::release::{self, Release, Target};
use crate::resolve::{Candidate, LADDER, LaidOut, ResolveError, Rung};
use crate::workshop::{Failure, Tools, Workshop};

/// Most candidates of one rung that are built.
const CANDIDATES_MAX: usize = 3;

/// One candidate built in one way, and what came of it.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) source: Source,
    pub(super) fetched_from: Option<String>,
    pub(super) plan: Option<BuildPlan>,
    pub(super) inputs: Inputs,
    pub(super) built: Option<Built>,
    pub(super) outcome: Outcome,
    pub(super) anomalies: Vec<Anomaly>,
    pub(super) report: Option<Vec<u8>>,
    pub(super) assists: Vec<Assist>,
    pub(super) violations: Vec<String>,
}

/// The way up.
#[derive(Debug, Default)]
struct Climb {
    best: Option<Trial>,
    /// Why rungs and candidates gave nothing.
    misses: Vec<String>,
    attempts: Vec<Value>,
    violations: Vec<String>,
    /// Sources that were built and differ, in the order of the ladder.
    differing: Vec<(Source, String)>,
    /// What failed on the way and may pass: without it another source might have been found.
    passing: Option<RebuildError>,
}

/// What every trial needs.
#[derive(Clone, Copy)]
struct Site<'a> {
    release: &'a Release,
    host: &'a Host,
    machine: &'a [Registry],
    progress: &'a dyn Progress,
}

impl Engine {
    pub(super) async fn climb(
        &self,
        release: &Release,
        registry: &Registry,
        host: &Host,
        record: &mut Record,
        progress: &dyn Progress,
    ) -> Result<Finding, RebuildError> {
        let machine = self.registries(registry).await;
        let site = Site { release, host, machine: &machine, progress };
        let mut climb = Climb::default();
        for rung in LADDER {
            progress.step(Step::Resolve, rung_name(rung));
            let found = self.resolver.candidates(rung, release, registry).await;
            record.lap("resolve");
            match found {
                Ok(candidates) => {
                    for candidate in candidates.into_iter().take(CANDIDATES_MAX) {
                        // What may pass in one candidate must not hide what another one says.
                        if let Err(error) = self.try_candidate(&candidate, site, record, &mut climb).await {
                            tracing::warn!(%error, source = candidate.source.uri, "a candidate could not be tried to its end");
                            climb.passing = Some(error);
                        }
                        if climb.is_enough() {
                            return Ok(climb.finding(site, record));
                        }
                    }
                }
                Err(error) => climb.miss(rung_name(rung), error),
            }
        }
        match climb.passing.take() {
            Some(error) if climb.best.is_none() => Err(error),
            _ => Ok(climb.finding(site, record)),
        }
    }

    async fn try_candidate(
        &self,
        candidate: &Candidate,
        site: Site<'_>,
        record: &mut Record,
        climb: &mut Climb,
    ) -> Result<(), RebuildError> {
        let mut tried: Vec<(Attempt, Outcome, bool)> = Vec::new();
        while let Some(attempt) = next_attempt(&tried, site.release, candidate.source.kind) {
            let workshop = self.workshop(site.host)?;
            let laid_out = candidate.lay_out(site.release, &workshop.source()).await;
            record.lap("resolve");
            let laid_out = match laid_out {
                Ok(laid_out) => laid_out,
                Err(error) => {
                    climb.miss(&candidate.source.uri, error);
                    return Ok(());
                }
            };
            let trial = self.trial(candidate, &laid_out, attempt, &workshop, site, record).await?;
            tried.push((attempt, trial.outcome.clone(), trial.inputs.files.is_empty()));
            climb.add(attempt, trial);
            if climb.is_enough() {
                break;
            }
        }
        Ok(())
    }

    fn workshop(&self, host: &Host) -> Result<Workshop, RebuildError> {
        let tools = Tools {
            sandbox: self.sandbox.clone(),
            limits: self.config.limits.clone(),
            python: host.python.clone(),
            decoys: self.config.secrets.clone(),
        };
        Workshop::new(&self.config.work_dir, tools).map_err(RebuildError::disk("making a folder for the build"))
    }

    async fn trial(
        &self,
        candidate: &Candidate,
        laid_out: &LaidOut,
        attempt: Attempt,
        workshop: &Workshop,
        site: Site<'_>,
        record: &mut Record,
    ) -> Result<Trial, RebuildError> {
        let mut trial = Trial::of(candidate, laid_out);
        let until = if attempt.toolchain == Toolchain::AsOfGenerator { generator_until(site).await } else { None };
        let planned = match plan::plan(&basis(site.release, candidate, laid_out, until), attempt) {
            Ok(planned) => planned,
            Err(error) => return Ok(trial.failed(Failure::found(Phase::Plan, error.to_string()))),
        };
        trial.assists.clone_from(&planned.assists);
        trial.plan = Some(planned.clone());
        site.progress.step(Step::Fetch, &planned.build.requires.join(", "));
        workshop.hand_over()?;
        let machine = TimeMachine {
            registries: site.machine.to_vec(),
            cutoff: planned.cutoff,
            withheld: withheld(site.release)?,
            cache: self.cache.clone(),
        };
        let fetched = fetch::fetch(workshop, &planned, &machine).await;
        record.lap("fetch");
        match fetched {
            Ok(inputs) => trial.take(inputs),
            Err(FetchError::Failed(failure)) => return Ok(trial.failed(failure)),
            Err(FetchError::Sandbox(error)) => return Err(error.into()),
            Err(error) => return Err(RebuildError::Fetch(error)),
        }
        site.progress.step(Step::Build, &planned.build.backend);
        let outcome = rebuild::rebuild(workshop, &planned, &self.cache).await.map_err(RebuildError::of_host)?;
        record.lap("build");
        match outcome {
            BuildOutcome::Failed(failure) => Ok(trial.failed(failure)),
            BuildOutcome::Built(built) => {
                site.progress.step(Step::Compare, built.name.as_str());
                let compared = self.compared(site.release, &built).await?;
                record.lap("compare");
                Ok(trial.compared(built, compared))
            }
        }
    }

    async fn compared(&self, release: &Release, built: &Built) -> Result<compare::Comparison, RebuildError> {
        let (published, digest, name) = (release.path.clone(), release.digest, release.file.to_string());
        let rebuilt: Option<PathBuf> = self.cache.get(built.digest);
        let task = tokio::task::spawn_blocking(move || {
            let rebuilt = rebuilt.ok_or(std::io::ErrorKind::NotFound)?;
            compare::compare(&published, digest, &rebuilt, &name)
        });
        let compared = task.await.map_err(std::io::Error::other).and_then(|compared| compared);
        compared.map_err(RebuildError::disk("comparing"))
    }
}

fn basis<'a>(release: &'a Release, candidate: &Candidate, laid_out: &'a LaidOut, generator_until: Option<Timestamp>) -> Basis<'a> {
    Basis {
        facts: &release.facts,
        target: release.target,
        file: release.file.as_str(),
        package: release.package.name(),
        version: release.package.version().unwrap_or_default(),
        uploaded_at: release.registry.published_at,
        generator_until,
        source_kind: candidate.source.kind,
        laid_out,
    }
}

/// What no build of this release may see.
fn withheld(release: &Release) -> Result<Withheld, RebuildError> {
    Ok(Withheld {
        project: release::project_of(&release.package)?,
        version: release.version.clone(),
        digest: release.digest,
        uploaded_at: release.registry.published_at,
    })
}

/// The moment after the published file's generator came out. A registry that fails here only costs an
/// attempt.
async fn generator_until(site: Site<'_>) -> Option<Timestamp> {
    let generator = Generator::parse(site.release.facts.generator.as_deref()?)?;
    let project = site.machine.last()?.project(&generator.project.parse().ok()?).await.ok()?;
    let is_it = |file: &&PublishedFile| Distribution::parse(&file.name).is_some_and(|d| d.version == generator.version);
    let last = project.files.iter().filter(is_it).filter_map(|file| file.uploaded_at).max()?;
    Some(last.plus(Duration::from_secs(1)))
}

/// Whether only generated metadata differs, in a wheel that `bdist_wheel` wrote: setuptools is then a guess.
fn is_guess(release: &Release, outcome: &Outcome) -> bool {
    let Outcome::Different { differences, .. } = outcome else { return false };
    let by_wheel = release.facts.generator.as_deref().and_then(Generator::parse).is_some_and(|generator| generator.project == "wheel");
    let listed = usize::try_from(differences.count).is_ok_and(|count| count == differences.members.len());
    by_wheel && listed && differences.members.iter().all(|difference| difference.member.contains(".dist-info/"))
}

/// What is tried next with one candidate, after outcomes that were reached with or without any fetched
/// build tool. Pure.
fn next_attempt(tried: &[(Attempt, Outcome, bool)], release: &Release, kind: SourceKind) -> Option<Attempt> {
    let direct = |toolchain| Some(Attempt { route: Route::Direct, toolchain });
    let Some((last, outcome, toolless)) = tried.last() else { return direct(Toolchain::AsPublished) };
    match (last.toolchain, outcome) {
        (Toolchain::AsPublished, Outcome::BuildFailed { phase: Phase::Fetch, .. }) => direct(Toolchain::AsOfUpload),
        // Only tools that can be chosen otherwise, and only builds that gave up by themselves.
        (Toolchain::AsPublished | Toolchain::AsOfUpload, Outcome::BuildFailed { phase: Phase::Build | Phase::Fetch, summary })
            if summary.starts_with("ended with code") && (!toolless || last.toolchain == Toolchain::AsOfUpload) =>
        {
            direct(Toolchain::Newest)
        }
        (Toolchain::AsPublished, outcome) if last.route == Route::Direct && is_guess(release, outcome) => direct(Toolchain::AsOfGenerator),
        (Toolchain::AsPublished | Toolchain::AsOfGenerator, Outcome::Different { .. })
            if last.route == Route::Direct && release.target == Target::Wheel && kind != SourceKind::SourceDistribution =>
        {
            Some(Attempt { route: Route::ThroughSourceDistribution, toolchain: Toolchain::AsPublished })
        }
        _ => None,
    }
}

fn rung_name(rung: Rung) -> &'static str {
    match rung {
        Rung::Git => "git",
        Rung::Debian => "Debian source archive",
        Rung::Index => "published source distribution",
    }
}

impl Trial {
    fn of(candidate: &Candidate, laid_out: &LaidOut) -> Self {
        let directory = Some(laid_out.folder.to_string_lossy().into_owned()).filter(|folder| !folder.is_empty());
        Self {
            source: Source { directory, ..candidate.source.clone() },
            fetched_from: candidate.fetched_from.clone(),
            plan: None,
            inputs: Inputs::default(),
            built: None,
            outcome: Outcome::SourceUnavailable { summary: String::new() },
            anomalies: Vec::new(),
            report: None,
            assists: Vec::new(),
            violations: Vec::new(),
        }
    }

    fn take(&mut self, inputs: Inputs) {
        self.violations.extend(inputs.violations.iter().cloned());
        if !inputs.unfiltered.is_empty() {
            let reason = "no moment of upload is known or kept to, so newer build tools could not be left out".to_owned();
            self.assists.push(Assist { name: "unfiltered-registry".to_owned(), value: inputs.unfiltered.join(" "), reason });
        }
        self.inputs = inputs;
    }

    /// A build that failed after it tried to leave the sandbox is a violation before it is a failure.
    fn failed(mut self, failure: Failure) -> Self {
        self.violations.extend(failure.violations);
        let (phase, summary) = (failure.phase, failure.summary);
        self.outcome = if self.violations.is_empty() {
            Outcome::BuildFailed { phase, summary }
        } else {
            Outcome::SandboxViolation { phase, summary: format!("{}\n{summary}", self.violations.join("; ")) }
        };
        self
    }

    fn compared(mut self, built: Built, compared: compare::Comparison) -> Self {
        self.violations.extend(built.violations.iter().cloned());
        let is_built = compared.outcome.rebuilt().is_some();
        self.built = Some(built).filter(|_| is_built);
        self.outcome = compared.outcome;
        self.anomalies = compared.anomalies;
        self.report = compared.report;
        self
    }

    fn description(&self) -> String {
        let commit = self.source.commit.as_deref().map(|commit| format!(" at {commit}")).unwrap_or_default();
        format!("{}{commit}", self.source.uri)
    }
}

impl Climb {
    fn miss(&mut self, what: &str, error: ResolveError) {
        self.misses.push(format!("{what}: {}", describe(&error)));
        if error.is_passing() {
            self.passing = Some(RebuildError::Resolve(Box::new(error)));
        }
    }

    fn add(&mut self, attempt: Attempt, mut trial: Trial) {
        self.attempts.push(json!({
            "source": trial.description(),
            "route": format!("{:?}", attempt.route),
            "toolchain": format!("{:?}", attempt.toolchain),
            "result": trial.outcome.class(),
            "level": trial.outcome.level(),
            "rebuilt": trial.outcome.rebuilt().map(|rebuilt| rebuilt.digest),
        }));
        self.violations.extend(trial.violations.iter().filter(|v| !self.violations.contains(v)).cloned().collect::<Vec<_>>());
        if let Some((_, stronger)) = self.differing.iter().find(|(source, _)| *source != trial.source) {
            let reason = "a stronger source was built first and differs from the published file".to_owned();
            trial.assists.push(Assist { name: "weaker-source".to_owned(), value: stronger.clone(), reason });
        }
        let is_known = self.differing.iter().any(|(source, _)| *source == trial.source);
        if trial.built.is_some() && matches!(trial.outcome, Outcome::Different { .. }) && !is_known {
            self.differing.push((trial.source.clone(), trial.description()));
        }
        let Some(best) = &self.best else {
            self.best = Some(trial);
            return;
        };
        let is_graver = matches!(trial.outcome, Outcome::SandboxViolation { .. }) && best.built.is_none();
        if rank(&trial.outcome) < rank(&best.outcome) || is_graver {
            self.best = Some(trial);
        }
    }

    fn is_enough(&self) -> bool {
        self.best.as_ref().is_some_and(|best| rank(&best.outcome) <= 2)
    }

    fn finding(self, site: Site<'_>, record: &Record) -> Finding {
        let release = site.release;
        if let Some(mut best) = self.best {
            best.violations = self.violations;
            return record.finding_of(release, best, site.host, &self.attempts, now());
        }
        let summary = self.misses.join("\n").chars().take(1500).collect();
        let outcome = Outcome::SourceUnavailable { summary };
        record.finding(release.package.clone(), release.file.clone(), release.digest, release.registry.clone(), site.host, outcome)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::release::Facts;
    use quorate_proto::Digest;
    use quorate_proto::comparison::{Difference, DifferenceClass, Executable};
    use quorate_proto::result::{DifferenceList, RebuiltFile, RegistryView};

    fn release() -> Release {
        let now = Timestamp::from_unix_seconds(0);
        Release {
            package: "pkg:pypi/demo@1.0".parse().unwrap(),
            version: "1.0".parse().unwrap(),
            file: "demo-1.0-py3-none-any.whl".parse().unwrap(),
            target: Target::Wheel,
            digest: Digest::of(b""),
            path: PathBuf::new(),
            registry: RegistryView { url: String::new(), size_bytes: 0, index_checksum: None, published_at: None, observed_at: now },
            facts: Facts { generator: Some("bdist_wheel (0.41.0)".to_owned()), ..Facts::default() },
            source_distribution: None,
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
        let tried = [(Attempt { route, toolchain }, outcome, toolless)];
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

    fn trial(reference: &str, outcome: Outcome) -> Trial {
        let source = Source {
            kind: SourceKind::Git,
            uri: "https://github.com/o/demo".to_owned(),
            commit: None,
            tree: None,
            reference: Some(reference.to_owned()),
            directory: None,
            digest: None,
            found_by: quorate_proto::result::FoundBy::Tag,
        };
        let built = outcome.rebuilt().map(|rebuilt| Built {
            name: "demo-1.0-py3-none-any.whl".parse().unwrap(),
            digest: rebuilt.digest,
            size_bytes: 0,
            violations: Vec::new(),
        });
        let laid_out = LaidOut { folder: PathBuf::new(), manifest: crate::source::manifest::Manifest::default(), time: None };
        let material = crate::resolve::Material::Archive { path: PathBuf::new(), name: String::new() };
        let candidate = Candidate { source, material, time: None, fetched_from: None };
        Trial { built, outcome, ..Trial::of(&candidate, &laid_out) }
    }

    #[test]
    fn a_second_tag_that_fits_better_says_that_the_first_one_differs() {
        let attempt = Attempt { route: Route::Direct, toolchain: Toolchain::AsPublished };
        let same = || Outcome::Identical { rebuilt: RebuiltFile { digest: Digest::of(b""), size_bytes: 0, normal: None } };
        let assists = |references: [&str; 2]| {
            let mut climb = Climb::default();
            climb.add(attempt, trial(references[0], differs_in("demo/__init__.py")));
            climb.add(attempt, trial(references[1], same()));
            let best = climb.best.unwrap();
            assert!(matches!(best.outcome, Outcome::Identical { .. }));
            best.assists.iter().map(|assist| assist.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(assists(["refs/tags/v1.0", "refs/tags/1.0"]), ["weaker-source"]);
        // Another toolchain for the same commit is no other source.
        assert_eq!(assists(["refs/tags/v1.0", "refs/tags/v1.0"]), [""; 0]);
    }

    #[test]
    fn a_full_disk_is_not_a_missing_source() {
        let mut climb = Climb::default();
        climb.miss("git", ResolveError::None("no tag".to_owned()));
        assert!(climb.passing.is_none());
        climb.miss("git", ResolveError::Disk(std::io::ErrorKind::StorageFull.into()));
        assert!(matches!(climb.passing, Some(RebuildError::Resolve(_))));
    }
}
