//! The pipeline from a registry to a finding, against registries that serve real bytes, in the real
//! sandbox. Every way in which a registry or a build misbehaves has its own class.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "pipeline/again.rs"]
mod again;
#[path = "pipeline/attacks.rs"]
mod attacks;
#[path = "pipeline/bad_input.rs"]
mod bad_input;
#[path = "counting/counted.rs"]
mod counted;
#[path = "pipeline/index.rs"]
mod index;
#[path = "pipeline/left.rs"]
mod left;
#[path = "pipeline/npm.rs"]
mod npm;
#[path = "pipeline/real.rs"]
mod real;
#[path = "pipeline/release.rs"]
mod release;

use std::path::PathBuf;
use std::time::Duration;

use index::{Answer, Index, UPLOADED};
use quorate_node::attest::Finding;
use quorate_node::cache::Reuse;
use quorate_node::ecosystem::ToolchainUse;
use quorate_node::pipeline::{DebianUse, Disposition, Engine, EngineConfig, Job, RebuildError, Silent};
use quorate_node::registry::deb::address::ArchiveSettings;
use quorate_node::resolve::GitAccess;
use quorate_node::sandbox::{self, Limits};
use quorate_proto::comparison::{DifferenceClass, Executable};
use quorate_proto::result::{FoundBy, NotAttemptedReason, Outcome, Phase, SourceKind};
use release::{BROKEN, COPY, SDIST, WHEEL, sdist, sdist_requiring, wheel};

const KEY: &str = "/var/lib/quorate/node.key";

/// An engine with folders of its own.
struct Bench {
    folder: tempfile::TempDir,
    config: EngineConfig,
}

impl Bench {
    fn new(index: Option<&Index>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let config = EngineConfig {
            work_dir: folder.path().join("work"),
            cache_dir: folder.path().join("cache"),
            reuse: Reuse::Kept,
            registries: index.map(|index| ("pypi".to_owned(), index.url())).into_iter().collect(),
            deb: ArchiveSettings::default(),
            toolchains: ToolchainUse::Exact,
            toolchain_wait: Some(quorate_node::toolchain::WAIT),
            definitions: None,
            git: GitAccess::default(),
            debian: DebianUse::Off,
            python: PathBuf::from("python3"),
            sandbox: sandbox::Config { init_binary: Some(env!("CARGO_BIN_EXE_quorate-node").into()), ..sandbox::Config::default() },
            limits: Limits { wall: Duration::from_mins(1), ..Limits::default() },
            secrets: vec![KEY.into()],
        };
        Self { folder, config }
    }

    async fn rebuild(&self) -> Result<Finding, RebuildError> {
        let job = Job { package: "pkg:pypi/demo@1.0".parse().unwrap(), file: None, artifact_path: None };
        Engine::new(self.config.clone()).unwrap().rebuild(&job, &Silent).await
    }
}

/// What comes of a release whose wheel is honest and whose source builds by `backend`.
async fn built_by(backend: &str, limits: Limits) -> Finding {
    let wheel = wheel("print('demo')\n");
    let index = Index::serve(vec![(WHEEL, Answer::Bytes(wheel.clone())), (SDIST, Answer::Bytes(sdist(backend, &wheel)))]).await;
    let mut bench = Bench::new(Some(&index));
    bench.config.limits = limits;
    bench.rebuild().await.unwrap()
}

fn quick() -> Limits {
    Limits { wall: Duration::from_mins(1), ..Limits::default() }
}

fn failure(finding: &Finding) -> (Phase, &str) {
    match &finding.outcome {
        Outcome::BuildFailed { phase, summary } => (*phase, summary),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_wheel_that_its_source_makes_again_is_identical() {
    let finding = built_by(COPY, quick()).await;
    assert!(matches!(finding.outcome, Outcome::Identical { .. }), "{:?}", finding.outcome);
    let source = finding.source.as_ref().unwrap();
    assert_eq!((source.kind, source.found_by), (SourceKind::SourceDistribution, FoundBy::Index));
    assert_eq!(finding.registry.published_at.unwrap().to_string(), UPLOADED);
    assert_eq!(finding.anomalies, []);
    assert_eq!(finding.violations, [""; 0]);
    let provenance = finding.provenance.as_ref().unwrap();
    assert_eq!(provenance.subject[0].digest.sha256, finding.published);
    let names: Vec<_> = provenance.predicate.build_definition.resolved_dependencies.iter().map(|d| d.name.as_str()).collect();
    assert_eq!(names, ["source", "environment", "python", "pip"]);
}

#[tokio::test]
async fn a_backdoored_wheel_is_different_and_the_member_is_named() {
    let source = sdist(COPY, &wheel("print('demo')\n"));
    let index = Index::serve(vec![(WHEEL, Answer::Bytes(wheel("import os; os.system('x')\n"))), (SDIST, Answer::Bytes(source))]).await;
    let finding = Bench::new(Some(&index)).rebuild().await.unwrap();
    let Outcome::Different { differences, .. } = &finding.outcome else { panic!("{:?}", finding.outcome) };
    let first = &differences.members[0];
    assert_eq!((first.member.as_str(), first.class, first.executable), ("demo/__init__.py", DifferenceClass::Content, Executable::Code));
    let report = finding.blobs.iter().find(|blob| Some(quorate_proto::Digest::of(blob)) == differences.report).unwrap();
    assert!(String::from_utf8_lossy(report).contains("os.system"));
}

#[tokio::test]
async fn an_artifact_that_the_registry_does_not_serve_truly_is_unavailable() {
    let wheel = wheel("x = 1\n");
    for answer in [Answer::Missing(wheel.clone()), Answer::Half(wheel.clone()), Answer::OtherBytes(wheel.clone())] {
        let what = format!("{answer:?}");
        let index = Index::serve(vec![(WHEEL, answer)]).await;
        let finding = Bench::new(Some(&index)).rebuild().await.unwrap();
        assert!(matches!(finding.outcome, Outcome::ArtifactUnavailable { .. }), "{what}: {:?}", finding.outcome);
        assert_eq!(finding.published, quorate_proto::Digest::of(&wheel), "{what}");
    }
}

#[tokio::test]
async fn a_registry_that_fails_says_nothing_about_the_release() {
    let index = Index::serve(vec![(WHEEL, Answer::Failing(wheel("x = 1\n")))]).await;
    let error = Bench::new(Some(&index)).rebuild().await.unwrap_err();
    assert_eq!(error.disposition(), Disposition::Retry, "{error:?}");
    let index = Index::failing().await;
    let error = Bench::new(Some(&index)).rebuild().await.unwrap_err();
    assert_eq!(error.disposition(), Disposition::Retry, "{error:?}");
}

#[tokio::test]
async fn a_version_that_does_not_exist_is_rejected() {
    let index = Index::serve(vec![("demo-2.0-py3-none-any.whl", Answer::Bytes(wheel("")))]).await;
    let error = Bench::new(Some(&index)).rebuild().await.unwrap_err();
    assert_eq!(error.disposition(), Disposition::Reject, "{error:?}");
}

#[tokio::test]
async fn a_wheel_for_another_machine_is_not_attempted() {
    let index = Index::serve(vec![("demo-1.0-cp311-cp311-win32.whl", Answer::Bytes(wheel("")))]).await;
    let finding = Bench::new(Some(&index)).rebuild().await.unwrap();
    assert_eq!(finding.outcome, Outcome::NotAttempted { reason: NotAttemptedReason::ForeignPlatform });
}

#[tokio::test]
async fn a_missing_repository_and_no_archive_is_source_unavailable() {
    let index = Index::serve(vec![(WHEEL, Answer::Bytes(wheel("x = 1\n")))]).await;
    let mut bench = Bench::new(Some(&index));
    bench.config.git.mirrors = vec!["https://github.com/=/nonexistent/{owner}/{name}".parse().unwrap()];
    let finding = bench.rebuild().await.unwrap();
    let Outcome::SourceUnavailable { summary } = &finding.outcome else { panic!("{:?}", finding.outcome) };
    assert!(summary.contains("https://github.com/example/demo"), "{summary}");
}

#[tokio::test]
async fn a_tag_in_a_mirrored_repository_is_the_first_choice() {
    let wheel = wheel("print('demo')\n");
    let index = Index::serve(vec![(WHEEL, Answer::Bytes(wheel.clone())), (SDIST, Answer::Bytes(sdist(BROKEN, &wheel)))]).await;
    let mut bench = Bench::new(Some(&index));
    let repository = bench.folder.path().join("example+demo");
    release::repository(&repository, COPY, &wheel);
    bench.config.git.mirrors = vec![format!("https://github.com/={}/{{owner}}+{{name}}", bench.folder.path().display()).parse().unwrap()];
    let finding = bench.rebuild().await.unwrap();
    assert!(matches!(finding.outcome, Outcome::Identical { .. }), "{:?}", finding.outcome);
    let source = finding.source.unwrap();
    assert_eq!((source.kind, source.found_by, source.reference.as_deref()), (SourceKind::Git, FoundBy::Tag, Some("refs/tags/v1.0")));
    assert_eq!(source.commit, Some(release::head(&repository)));
}

/// Lets a backend ask git.
const GIT: &str = "import io, subprocess, tarfile
def git(*words):
    return subprocess.run(('git',) + words, check=True, capture_output=True).stdout
";

/// What comes of a release whose repository `make` fills, with a backend that asks git.
async fn asking_git(asks: &str, make: impl FnOnce(&std::path::Path, &str, &[u8])) -> Finding {
    let wheel = wheel("print('demo')\n");
    let index = Index::serve(vec![(WHEEL, Answer::Bytes(wheel.clone()))]).await;
    let mut bench = Bench::new(Some(&index));
    make(&bench.folder.path().join("example+demo"), &format!("{GIT}{asks}{COPY}"), &wheel);
    bench.config.git.mirrors = vec![format!("https://github.com/={}/{{owner}}+{{name}}", bench.folder.path().display()).parse().unwrap()];
    let finding = bench.rebuild().await.unwrap();
    assert!(matches!(finding.outcome, Outcome::Identical { .. }), "{:?}", finding.outcome);
    assert!(finding.assists.iter().all(|assist| assist.name != "scm-version"), "{:?}", finding.assists);
    finding
}

fn checkout(finding: &Finding) -> &serde_json::Value {
    &finding.provenance.as_ref().unwrap().predicate.build_definition.internal_parameters["checkout"]
}

#[tokio::test]
async fn a_build_from_a_tag_lies_in_a_checkout_of_it() {
    let asks = "assert git('describe', '--dirty', '--tags', '--long').startswith(b'v1.0-0-g'), git('status')
assert git('ls-files').split() == [b'backend.py', b'payload.bin', b'pyproject.toml']
assert 'payload.bin' in tarfile.open(fileobj=io.BytesIO(git('archive', 'HEAD'))).getnames()
";
    let finding = asking_git(asks, |repository, backend, wheel| {
        release::repository(repository, backend, wheel);
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
        release::git(repository, &[&identity[..], &["tag", "--force", "--annotate", "-m", "x", "v1.0"]].concat());
    });
    assert_eq!(*checkout(&finding.await), serde_json::json!({ "tag": "refs/tags/v1.0", "history": false }));
}

#[tokio::test]
async fn a_build_that_writes_a_change_log_has_the_history_up_to_its_tag() {
    let asks = "assert git('describe', '--exact-match') == b'v1.0\\n'
assert git('rev-list', '--count', 'HEAD') == b'2\\n'
assert git('tag').split() == [b'v0.9', b'v1.0']
";
    let finding = asking_git(asks, |repository, backend, wheel| {
        release::repository(repository, backend, wheel);
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
        let tag = |name| release::git(repository, &[&identity[..], &["tag", "--force", "--annotate", "-m", "x", name]].concat());
        tag("v0.9");
        std::fs::write(repository.join("setup.cfg"), "# pbr\n").unwrap();
        release::commit(repository, release::COMMITTED);
        tag("v1.0");
        std::fs::write(repository.join("later"), "").unwrap();
        release::commit(repository, release::COMMITTED);
        tag("v1.1");
    });
    assert_eq!(*checkout(&finding.await), serde_json::json!({ "tag": "refs/tags/v1.0", "history": true }));
}

#[tokio::test]
async fn a_build_that_fails_is_named_with_its_phase() {
    let finding = built_by(BROKEN, quick()).await;
    let (phase, summary) = failure(&finding);
    assert_eq!(phase, Phase::Build);
    assert!(summary.contains("ended with code 1") && summary.contains("no luck today"), "{summary}");
}

#[tokio::test]
async fn a_build_that_hangs_is_stopped() {
    let limits = Limits { wall: Duration::from_secs(5), ..quick() };
    let finding = built_by("import time\ndef build_wheel(out, *_):\n    time.sleep(600)\n", limits).await;
    assert!(failure(&finding).1.contains("stopped after 5 seconds"), "{finding:?}");
}

#[tokio::test]
async fn a_build_that_eats_memory_is_stopped() {
    let limits = Limits { memory_bytes: 256 << 20, ..quick() };
    let backend = "def build_wheel(out, *_):\n    held = []\n    while True:\n        held.append(bytearray(b'x' * (8 << 20)))\n";
    let finding = built_by(backend, limits).await;
    assert!(failure(&finding).1.contains("bytes of memory"), "{finding:?}");
}

#[tokio::test]
async fn a_build_that_forks_without_end_fails_alone() {
    let limits = Limits { process_count_max: 64, wall: Duration::from_secs(20), ..quick() };
    let backend = "import os, time\ndef build_wheel(out, *_):\n    while True:\n        if os.fork() == 0:\n            time.sleep(600)\n";
    let finding = built_by(backend, limits).await;
    assert_eq!(failure(&finding).0, Phase::Build);
}

#[tokio::test]
async fn a_build_that_tries_the_network_and_fails_is_a_violation() {
    let backend = "import socket\ndef build_wheel(out, *_):\n    socket.create_connection(('192.0.2.1', 80), timeout=2)\n";
    let finding = built_by(backend, quick()).await;
    assert!(matches!(finding.outcome, Outcome::SandboxViolation { phase: Phase::Build, .. }), "{:?}", finding.outcome);
    assert!(finding.violations[0].starts_with("network:"), "{:?}", finding.violations);
}

#[tokio::test]
async fn a_build_that_reads_the_key_gets_a_decoy_and_is_a_violation() {
    let backend = format!("def build_wheel(out, *_):\n    raise SystemExit(open('{KEY}').read())\n");
    let finding = built_by(&backend, quick()).await;
    assert!(matches!(finding.outcome, Outcome::SandboxViolation { .. }), "{:?}", finding.outcome);
    assert!(finding.violations[0].starts_with("key-read:"), "{:?}", finding.violations);
}

#[tokio::test]
async fn a_build_that_peeks_and_succeeds_keeps_its_violation_on_record() {
    let backend = COPY.replace("def build_wheel", &format!("open('{KEY}').close()\ndef build_wheel"));
    let finding = built_by(&backend, quick()).await;
    assert!(matches!(finding.outcome, Outcome::Identical { .. }), "{:?}", finding.outcome);
    assert!(finding.violations.iter().any(|violation| violation.starts_with("key-read:")), "{:?}", finding.violations);
}

#[tokio::test]
async fn a_build_that_leaves_a_link_instead_of_a_file_fails() {
    let backend = "import os\ndef build_wheel(out, *_):\n    os.symlink('/etc/passwd', out + '/demo-1.0-py3-none-any.whl')\n    return 'demo-1.0-py3-none-any.whl'\n";
    let finding = built_by(backend, quick()).await;
    assert!(failure(&finding).1.contains("made no such file"), "{finding:?}");
}

/// A release that needs a wheel `needed`, which the index lists with `uploaded`.
async fn needing(uploaded: &'static str, answer: fn(Vec<u8>) -> Answer) -> Result<Finding, RebuildError> {
    let published = wheel("print('demo')\n");
    let source = sdist_requiring(&format!("import needed\n{COPY}"), &published, &["needed>=1"]);
    let mut index = Index::new(vec![(WHEEL, Answer::Bytes(published)), (SDIST, Answer::Bytes(source))]);
    index.add("needed-1.5-py3-none-any.whl", uploaded, answer(release::wheel_of("needed", "1.5", "x = 1\n")));
    let index = index.start().await;
    Bench::new(Some(&index)).rebuild().await
}

#[tokio::test]
async fn a_build_requirement_comes_through_the_proxy_and_into_the_provenance() {
    let finding = needing("2024-01-01T00:00:00Z", Answer::Bytes).await.unwrap();
    assert!(matches!(finding.outcome, Outcome::Identical { .. }), "{:?}", finding.outcome);
    let provenance = finding.provenance.unwrap();
    let needed =
        provenance.predicate.build_definition.resolved_dependencies.iter().find(|d| d.name == "needed-1.5-py3-none-any.whl").unwrap();
    assert_eq!(needed.uri.as_deref(), Some("pkg:pypi/needed@1.5"));
    assert!(finding.toolchain.iter().any(|tool| tool.name == "needed" && tool.digest.is_some()));
}

#[tokio::test]
async fn a_build_requirement_published_later_brings_only_an_admitted_newer_toolchain() {
    let finding = needing("2024-06-01T00:00:01Z", Answer::Bytes).await.unwrap();
    assert!(finding.assists.iter().any(|assist| assist.name == "newest-build-tools"), "{:?}", finding.assists);
}

#[tokio::test]
async fn a_registry_that_fails_for_a_requirement_is_not_a_build_that_fails() {
    let error = needing("2024-01-01T00:00:00Z", Answer::Failing).await.unwrap_err();
    assert_eq!(error.disposition(), Disposition::Retry, "{error:?}");
}
