//! Real packages from the real registry. Where it cannot be reached, or lacks a file, the case is skipped
//! and says so; it never passes silently as if it had been tried.

use std::time::Instant;

use futures::StreamExt as _;
use quorate_node::attest::Finding;
use quorate_node::pipeline::{DebianUse, Disposition, Engine, Job, RebuildError, Silent};
use quorate_proto::result::{FoundBy, Outcome, Phase, SourceKind};

use super::Bench;

async fn real(package: &str, debian: DebianUse) -> Option<Finding> {
    let mut bench = Bench::new(None);
    bench.config.debian = debian;
    let job = Job { package: package.parse().unwrap(), file: None, artifact_path: None };
    match Engine::new(bench.config.clone()).unwrap().rebuild(&job, &Silent).await {
        Ok(finding) => Some(finding),
        Err(error) if error.disposition() == Disposition::Retry => {
            eprintln!("SKIPPED {package}: {error}");
            None
        }
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn click_is_rebuilt_to_the_byte_from_the_archive_of_its_tag() {
    let Some(finding) = real("pkg:pypi/click@8.1.8", DebianUse::OfThisMachine).await else { return };
    let source = finding.source.as_ref();
    if source.is_none_or(|source| source.kind != SourceKind::SourceArchive) {
        eprintln!("SKIPPED click from its tag's archive: Debian's mirror is out of reach or lacks it");
        return;
    }
    assert!(matches!(finding.outcome, Outcome::Identical { .. }), "{:?}", finding.outcome);
    assert_eq!(source.map(|source| source.found_by), Some(FoundBy::ArchiveCommit));
    assert_eq!(source.and_then(|source| source.commit.as_deref()), Some("934813e4d421071a1b3db3973c02fe2721359a6e"));
    assert!(finding.toolchain.iter().any(|tool| tool.name == "flit-core" && tool.version == "3.10.1"));
}

#[tokio::test]
async fn a_setuptools_wheel_from_its_source_distribution_is_equivalent() {
    let Some(finding) = real("pkg:pypi/toml@0.10.2", DebianUse::Off).await else { return };
    assert!(matches!(finding.outcome, Outcome::Equivalent { .. }), "{:?}", finding.outcome);
    assert_eq!(finding.source.map(|source| source.kind), Some(SourceKind::SourceDistribution));
}

/// Small wheels for every machine, of seven build backends.
const WHEELS: [&str; 12] = [
    "pkg:pypi/iniconfig@2.0.0",
    "pkg:pypi/tomli@2.0.1",
    "pkg:pypi/flask@3.0.3",
    "pkg:pypi/attrs@23.2.0",
    "pkg:pypi/httpx@0.27.0",
    "pkg:pypi/filelock@3.15.4",
    "pkg:pypi/rich@13.7.1",
    "pkg:pypi/marko@2.1.2",
    "pkg:pypi/poetry-core@1.9.0",
    "pkg:pypi/six@1.16.0",
    "pkg:pypi/pluggy@1.5.0",
    "pkg:pypi/zipp@3.19.2",
];
/// How many are rebuilt at a time.
const AT_A_TIME: usize = 2;

/// What came of a wheel, in a word, or why it could not be tried.
fn level(rebuilt: Result<Finding, RebuildError>) -> Result<String, String> {
    let finding = match rebuilt {
        Ok(finding) => finding,
        Err(error) if error.disposition() == Disposition::Retry => return Err(format!("{error:?}")),
        Err(error) => panic!("{error:?}"),
    };
    match &finding.outcome {
        Outcome::ArtifactUnavailable { summary } | Outcome::SourceUnavailable { summary } if summary.contains("does not exist") => {
            Err(summary.clone())
        }
        outcome => Ok(outcome.level().map_or_else(|| format!("{outcome:?}"), |level| format!("{level:?}").to_lowercase())),
    }
}

#[tokio::test]
async fn wheels_from_their_source_distributions_come_out_at_byte_or_normal() {
    let bench = Bench::new(None);
    let engine = Engine::new(bench.config.clone()).unwrap();
    let engine = &engine;
    let one = |package: &'static str| async move {
        let begin = Instant::now();
        let job = Job { package: package.parse().unwrap(), file: None, artifact_path: None };
        let level = level(engine.rebuild(&job, &Silent).await);
        eprintln!("{package:32} {:12} {:5.1} s", level.as_ref().map_or("SKIPPED", String::as_str), begin.elapsed().as_secs_f64());
        (package, level)
    };
    let rows: Vec<_> = futures::stream::iter(WHEELS).map(one).buffer_unordered(AT_A_TIME).collect().await;
    for (package, why) in rows.iter().filter_map(|(package, level)| Some((package, level.as_ref().err()?))) {
        eprintln!("SKIPPED {package}: the registry is out of reach or lacks a file: {why}");
    }
    let is_missed = |level: &String| !["byte", "stream", "normal"].contains(&level.as_str());
    let missed: Vec<_> = rows.iter().filter(|(_, level)| level.as_ref().is_ok_and(is_missed)).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

/// An npm package from the Debian archive of its tag, on the node and npm that the registry has.
async fn from_its_archive(package: &str, commit: &str) {
    let Some(finding) = real(package, DebianUse::OfThisMachine).await else { return };
    let Some(source) = finding.source.as_ref().filter(|source| source.kind == SourceKind::SourceArchive) else {
        let Outcome::SourceUnavailable { summary } = &finding.outcome else { panic!("{:?}", finding.outcome) };
        eprintln!("SKIPPED {package} from its tag's archive: Debian's mirror is out of reach or lacks it: {summary}");
        return;
    };
    if let Outcome::BuildFailed { phase: Phase::Plan, summary } = &finding.outcome {
        eprintln!("SKIPPED {package}: the registry lacks node or npm: {summary}");
        return;
    }
    assert!(matches!(finding.outcome, Outcome::Identical { .. }), "{:?}", finding.outcome);
    assert_eq!((source.found_by, source.commit.as_deref()), (FoundBy::ArchiveCommit, Some(commit)));
    let tools: Vec<_> = finding.toolchain.iter().map(|tool| format!("{} {}", tool.name, tool.version)).collect();
    assert_eq!(tools, ["node 16.20.2", "npm 8.19.4"]);
}

#[tokio::test]
async fn ini_is_rebuilt_to_the_byte_from_the_archive_of_its_tag() {
    from_its_archive("pkg:npm/ini@3.0.1", "153678b91f53c1827c1e8e089f721fe7dcc33cd4").await;
}

#[tokio::test]
async fn commander_is_rebuilt_to_the_byte_from_the_archive_of_its_tag() {
    from_its_archive("pkg:npm/commander@9.4.1", "0b4198dde02cc8fc571c1265afa5bde447f6fca8").await;
}
