//! Climbs the ladder of candidates: which source and which toolchain are tried next, and when it is
//! enough.
//!
//! A stronger source that gives an equal normal form is not passed over for a weaker one that gives equal
//! bytes. A weaker one that does better than a stronger one *that differs* wins, and the result says that
//! the stronger one differs; but what the publisher uploaded beside the artifact never outweighs the
//! repository: whoever can change the one can change the other.

use std::path::PathBuf;

use quorate_proto::build_witness::Intermediates;
use quorate_proto::comparison::Anomaly;
use quorate_proto::result::{Assist, Outcome, Source, SourceKind};
use serde_json::{Value, json};

use super::left::before;
use super::record::Record;
use super::{Engine, Progress, RebuildError, Step, now, rank};
use crate::attest::Finding;
use crate::compare;
use crate::ecosystem::{Described, Ecosystem, Given, Tried};
use crate::fetch::Inputs;
use crate::intermediates::Before;
use crate::proxy::describe;
use crate::rebuild::Built;
use crate::release::Release;
use crate::resolve::{Candidate, LaidOut, ResolveError};
use crate::workshop::{BuildError, Failure, Tools, Workshop};

/// Most candidates of one rung that are built.
const CANDIDATES_MAX: usize = 3;
/// How much of a failure is told of an attempt.
const FAILURE_CHARS_MAX: usize = 300;
/// The assist that names what a source only points to.
const INCOMPLETE_SOURCE: &str = "incomplete-source";

/// One candidate built in one way, and what came of it.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    pub(super) source: Source,
    pub(super) fetched_from: Option<String>,
    pub(super) described: Described,
    pub(super) inputs: Inputs,
    pub(super) built: Option<Built>,
    pub(super) outcome: Outcome,
    pub(super) anomalies: Vec<Anomaly>,
    pub(super) report: Option<Vec<u8>>,
    pub(super) assists: Vec<Assist>,
    pub(super) violations: Vec<String>,
    /// What the build left and nobody publishes.
    pub(super) intermediates: Option<Intermediates>,
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
struct Site<'a, E: Ecosystem> {
    ecosystem: &'a E,
    release: &'a Release<E::Facts>,
    progress: &'a dyn Progress,
}

impl Engine {
    pub(super) async fn climb<E: Ecosystem>(
        &self,
        ecosystem: &E,
        release: &Release<E::Facts>,
        record: &mut Record,
        progress: &dyn Progress,
    ) -> Result<Finding, RebuildError> {
        let site = Site { ecosystem, release, progress };
        let mut climb = Climb::default();
        for rung in E::LADDER {
            progress.step(Step::Resolve, rung.name());
            let found = ecosystem.candidates(*rung, release).await;
            record.lap("resolve");
            match found {
                Ok(candidates) => {
                    for candidate in candidates.into_iter().take(CANDIDATES_MAX) {
                        if candidate.source.kind == SourceKind::SourceDistribution && climb.repository_differs() {
                            break;
                        }
                        // What may pass in one candidate must not hide what another one says.
                        if let Err(error) = self.try_candidate(&candidate, &site, record, &mut climb).await {
                            tracing::warn!(%error, source = candidate.source.uri, "a candidate could not be tried to its end");
                            climb.passing = Some(error);
                        }
                        if climb.is_enough() {
                            return Ok(climb.finding(release, record));
                        }
                    }
                }
                Err(error) => climb.miss(rung.name(), error),
            }
        }
        match climb.passing.take() {
            Some(error) if climb.best.is_none() => Err(error),
            _ => Ok(climb.finding(release, record)),
        }
    }

    async fn try_candidate<E: Ecosystem>(
        &self,
        candidate: &Candidate,
        site: &Site<'_, E>,
        record: &mut Record,
        climb: &mut Climb,
    ) -> Result<(), RebuildError> {
        let mut tried: Vec<Tried<E::Attempt>> = Vec::new();
        while let Some(attempt) = site.ecosystem.next_attempt(&tried, site.release, candidate) {
            let workshop = self.workshop()?;
            let laid_out = lay_out(candidate, site.ecosystem, site.release, &workshop).await;
            record.lap("resolve");
            let laid_out = match laid_out {
                Ok(laid_out) => laid_out,
                Err(error) => {
                    climb.miss(&candidate.source.uri, error);
                    return Ok(());
                }
            };
            let trial = self.trial(candidate, &laid_out, &attempt, &workshop, site, record).await?;
            climb.add(&attempt, trial.clone());
            tried.push(Tried { attempt, outcome: trial.outcome, is_toolless: trial.inputs.files.is_empty() });
            if climb.is_identical() {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn workshop(&self) -> Result<Workshop, RebuildError> {
        let tools = Tools {
            sandbox: self.facilities.sandbox.clone(),
            limits: self.facilities.limits.clone(),
            decoys: self.facilities.decoys.clone(),
        };
        Workshop::new(&self.facilities.work_dir, tools).map_err(RebuildError::disk("making a folder for the build"))
    }

    async fn trial<E: Ecosystem>(
        &self,
        candidate: &Candidate,
        laid_out: &LaidOut<E::Manifest>,
        attempt: &E::Attempt,
        workshop: &Workshop,
        site: &Site<'_, E>,
        record: &mut Record,
    ) -> Result<Trial, RebuildError> {
        let mut trial = Trial::of(candidate, laid_out);
        let made = self.make(&mut trial, candidate, laid_out, attempt, workshop, site, record).await;
        match made {
            Ok((built, before)) => {
                site.progress.step(Step::Compare, built.name.as_str());
                let compared = self.compared(site.release, &built).await?;
                record.lap("compare");
                trial.intermediates = self.left(before, workshop, site.release, &built).await;
                record.lap("intermediates");
                Ok(trial.compared(built, compared))
            }
            Err(BuildError::Failed(failure)) => Ok(trial.failed(failure)),
            Err(BuildError::Sandbox(error)) => Err(error.into()),
            Err(error) => Err(RebuildError::Build(error)),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "plan, fetch and build share one trial; a struct of its parts would only rename them")]
    async fn make<E: Ecosystem>(
        &self,
        trial: &mut Trial,
        candidate: &Candidate,
        laid_out: &LaidOut<E::Manifest>,
        attempt: &E::Attempt,
        workshop: &Workshop,
        site: &Site<'_, E>,
        record: &mut Record,
    ) -> Result<(Built, Option<Before>), BuildError> {
        let Site { ecosystem, release, progress } = site;
        let plan = ecosystem.plan(release, candidate, laid_out, attempt).await;
        record.lap("plan");
        let plan = plan?;
        trial.described = ecosystem.describe(&plan);
        trial.assists.extend(trial.described.assists.iter().cloned());
        progress.step(Step::Fetch, &trial.described.words);
        workshop.hand_over()?;
        let at_first = before(workshop, E::GIVEN, Given::LaidOut).await;
        record.lap("intermediates");
        let inputs = ecosystem.fetch(release, workshop, &plan).await;
        record.lap("fetch");
        trial.take(inputs?);
        let before = before(workshop, E::GIVEN, Given::Fetched).await.or(at_first);
        record.lap("intermediates");
        progress.step(Step::Build, release.file.as_str());
        let built = ecosystem.rebuild(release, workshop, &plan).await;
        record.lap("build");
        Ok((built?, before))
    }

    async fn compared<F>(&self, release: &Release<F>, built: &Built) -> Result<compare::Comparison, RebuildError> {
        let (published, digest, name) = (release.path.clone(), release.digest, release.file.to_string());
        let rebuilt: Option<PathBuf> = self.cache().get(built.digest);
        let task = tokio::task::spawn_blocking(move || {
            let rebuilt = rebuilt.ok_or(std::io::ErrorKind::NotFound)?;
            compare::compare(&published, digest, &rebuilt, &name)
        });
        let compared = task.await.map_err(std::io::Error::other).and_then(|compared| compared);
        compared.map_err(RebuildError::disk("comparing"))
    }
}

pub(super) async fn lay_out<E: Ecosystem>(
    candidate: &Candidate,
    ecosystem: &E,
    release: &Release<E::Facts>,
    workshop: &Workshop,
) -> Result<LaidOut<E::Manifest>, ResolveError> {
    let tree = workshop.source();
    let time = candidate.lay_out(&tree).await?;
    let (folder, manifest) = ecosystem.find(release, candidate, &tree)?;
    Ok(LaidOut { folder, manifest, time })
}

impl Trial {
    fn of<M>(candidate: &Candidate, laid_out: &LaidOut<M>) -> Self {
        let lacks = candidate.lacks.iter().map(|lack| Assist {
            name: INCOMPLETE_SOURCE.to_owned(),
            value: lack.to_string(),
            reason: "the commit points to it, and it was built without".to_owned(),
        });
        let directory = Some(laid_out.folder.to_string_lossy().into_owned()).filter(|folder| !folder.is_empty());
        Self {
            source: Source { directory, ..candidate.source.clone() },
            fetched_from: candidate.fetched_from.clone(),
            described: Described::default(),
            inputs: Inputs::default(),
            built: None,
            outcome: Outcome::SourceUnavailable { summary: String::new() },
            anomalies: Vec::new(),
            report: None,
            assists: lacks.collect(),
            violations: Vec::new(),
            intermediates: None,
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
        let lacks = self.assists.iter().filter(|assist| assist.name == INCOMPLETE_SOURCE);
        let lacks: String = lacks.flat_map(|lack| ["\n", lack.value.as_str()]).collect();
        let (phase, summary) = (failure.phase, failure.summary + &lacks);
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
        self.intermediates = self.intermediates.take().filter(|_| is_built);
        self.outcome = compared.outcome;
        self.anomalies = compared.anomalies;
        self.report = compared.report;
        self
    }

    /// Where and why it failed, in a few words, if it did.
    fn failure(&self) -> Option<String> {
        let (Outcome::BuildFailed { phase, summary } | Outcome::SandboxViolation { phase, summary }) = &self.outcome else { return None };
        Some(format!("{phase:?}: {summary}").chars().take(FAILURE_CHARS_MAX).collect())
    }

    /// Of two ways to build one source that both failed, the one that came further says more.
    fn got_further(&self, other: &Self) -> bool {
        let (Outcome::BuildFailed { phase, .. }, Outcome::BuildFailed { phase: reached, .. }) = (&self.outcome, &other.outcome) else {
            return false;
        };
        self.source == other.source && phase > reached
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

    fn add(&mut self, attempt: &dyn std::fmt::Debug, mut trial: Trial) {
        self.attempts.push(json!({
            "source": trial.description(),
            "attempt": format!("{attempt:?}"),
            "result": trial.outcome.class(),
            "level": trial.outcome.level(),
            "rebuilt": trial.outcome.rebuilt().map(|rebuilt| rebuilt.digest),
            "failed": trial.failure(),
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
        if rank(&trial.outcome) < rank(&best.outcome) || is_graver || trial.got_further(best) {
            self.best = Some(trial);
        }
    }

    /// Whether a repository, or an archive made of it, was built and differs from the published file.
    fn repository_differs(&self) -> bool {
        self.differing.iter().any(|(source, _)| source.kind != SourceKind::SourceDistribution)
    }

    fn is_enough(&self) -> bool {
        self.best.as_ref().is_some_and(|best| rank(&best.outcome) <= 2)
    }

    /// Nothing does better. An ecosystem may try another toolchain for what is merely equivalent.
    fn is_identical(&self) -> bool {
        self.best.as_ref().is_some_and(|best| rank(&best.outcome) == 0)
    }

    fn finding<F>(self, release: &Release<F>, record: &Record) -> Finding {
        if let Some(mut best) = self.best {
            best.violations = self.violations;
            return record.finding_of(release, best, &self.attempts, now());
        }
        let summary = self.misses.join("\n").chars().take(1500).collect();
        let outcome = Outcome::SourceUnavailable { summary };
        record.finding(release.package.clone(), release.file.clone(), release.digest, release.registry.clone(), outcome)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use quorate_proto::Digest;
    use quorate_proto::comparison::{Difference, DifferenceClass, Executable};
    use quorate_proto::result::{DifferenceList, Phase, RebuiltFile};

    fn differs_in(member: &str) -> Outcome {
        let class = DifferenceClass::Content;
        let difference = Difference { member: member.to_owned(), class, executable: Executable::Data, published: None, rebuilt: None };
        Outcome::Different {
            rebuilt: RebuiltFile { digest: Digest::of(b""), size_bytes: 0, normal: None },
            published_normal: None,
            differences: DifferenceList { count: 1, members: vec![difference], report: None },
        }
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
            evidence: None,
            signature: None,
        };
        let built = outcome.rebuilt().map(|rebuilt| Built {
            name: "demo-1.0-py3-none-any.whl".parse().unwrap(),
            digest: rebuilt.digest,
            size_bytes: 0,
            violations: Vec::new(),
        });
        let laid_out = LaidOut { folder: PathBuf::new(), manifest: (), time: None };
        let material = crate::resolve::Material::Archive { path: PathBuf::new(), name: String::new() };
        let candidate = Candidate { source, material, time: None, fetched_from: None, directory: None, lacks: Vec::new() };
        Trial { built, outcome, ..Trial::of(&candidate, &laid_out) }
    }

    #[test]
    fn a_second_tag_that_fits_better_says_that_the_first_one_differs() {
        let same = || Outcome::Identical { rebuilt: RebuiltFile { digest: Digest::of(b""), size_bytes: 0, normal: None } };
        let assists = |references: [&str; 2]| {
            let mut climb = Climb::default();
            climb.add(&"direct", trial(references[0], differs_in("demo/__init__.py")));
            climb.add(&"direct", trial(references[1], same()));
            let best = climb.best.unwrap();
            assert!(matches!(best.outcome, Outcome::Identical { .. }));
            best.assists.iter().map(|assist| assist.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(assists(["refs/tags/v1.0", "refs/tags/1.0"]), ["weaker-source"]);
        // Another toolchain for the same commit is no other source.
        assert_eq!(assists(["refs/tags/v1.0", "refs/tags/v1.0"]), [""; 0]);
    }

    #[test]
    fn the_publishers_upload_does_not_outweigh_a_repository_that_differs() {
        let mut climb = Climb::default();
        let mut upload = trial("", differs_in("demo/__init__.py"));
        upload.source.kind = SourceKind::SourceDistribution;
        climb.add(&"direct", upload);
        assert!(!climb.repository_differs());
        climb.add(&"direct", trial("refs/tags/v1.0", differs_in("demo/__init__.py")));
        assert!(climb.repository_differs());
    }

    #[test]
    fn of_two_failures_with_one_source_the_one_that_came_further_is_told_and_both_are_listed() {
        let failed = |phase, summary: &str| Outcome::BuildFailed { phase, summary: summary.to_owned() };
        let mut climb = Climb::default();
        climb.add(&"then", trial("refs/tags/v1.0", failed(Phase::Fetch, "no matching version")));
        climb.add(&"today", trial("refs/tags/v1.0", failed(Phase::Build, "unexpected token")));
        climb.add(&"lowest", trial("refs/tags/v1.0", failed(Phase::Fetch, "no such version")));
        let told: Vec<_> = climb.attempts.iter().map(|attempt| attempt["failed"].as_str().unwrap().to_owned()).collect();
        assert_eq!(told, ["Fetch: no matching version", "Build: unexpected token", "Fetch: no such version"]);
        assert_eq!(climb.best.unwrap().outcome, failed(Phase::Build, "unexpected token"));
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
