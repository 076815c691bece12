//! Bad input of nine kinds: each ends in a result class with a reason, and never in a crash, a hang or a wrong
//! `different`.
//!
//! | input | ends in | tests |
//! |---|---|---|
//! | missing commit | `source-unavailable`: `missing-commit` | [`a_missing_commit_is_named`]; of a publisher, the tag then serves: `git_ladder::a_commit_that_the_repository_does_not_have_is_said_and_the_tag_serves` |
//! | wrong repository address | `source-unavailable`: `no-repository`, `no-commit` | [`a_repository_of_something_else_is_no_source`], `a_missing_repository_and_no_archive_is_source_unavailable`, `git_ladder::an_empty_repository_and_a_wrong_address_have_their_names`, `debian::misbehaviour::a_source_that_is_missing_or_of_something_else_is_unavailable`; moved ones: `git_ladder::a_redirection_is_followed_once_on_its_own_host_and_never_to_another_one` |
//! | repository that needs a password | `source-unavailable`: `needs-password` | [`a_repository_that_needs_a_password_is_named_and_nobody_is_asked`], `git_ladder::what_a_forge_refuses_is_told_apart` |
//! | moved tag | the true commit's result, or `source-unavailable`: `moved-tag` | [`a_tag_that_was_moved_to_another_version_costs_nothing`], [`a_tag_that_was_moved_within_its_version_is_no_difference`], [`a_moved_tag_that_hides_the_commit_is_named`], `git_ladder::a_tag_that_was_moved_is_told_and_history_finds_the_commit` |
//! | empty repository | `source-unavailable`: `empty-repository` | [`an_empty_repository_is_named`], `git_ladder::an_empty_repository_and_a_wrong_address_have_their_names` |
//! | artifact yanked while building | the result about the bytes that were seen, `source-unavailable`, `artifact-unavailable` | [`a_release_that_vanishes_while_it_is_built_has_the_result_of_what_was_seen`], `an_artifact_that_the_registry_does_not_serve_truly_is_unavailable` |
//! | registry that changes its bytes between two reads | `artifact-unavailable`, `source-unavailable`, `build-failed` in `fetch` | [`bytes_that_change_between_two_reads_are_not_the_artifact`], [`a_file_that_is_published_anew_is_another_artifact`], [`a_source_and_a_requirement_of_other_bytes_than_promised_are_not_used`], `npm::a_tarball_that_is_not_the_one_of_its_index_is_unavailable`, `debian::misbehaviour::a_pool_file_that_is_not_the_signed_one_is_unavailable`, `npm::a_requirement_of_other_bytes_than_the_lock_pins_is_not_built_with` |
//! | metadata that lies about its own size | the true size in the result; `not-attempted`: `too-large`; `source-unavailable`; `different` with an anomaly | [`a_size_that_the_page_makes_up_changes_nothing`], [`a_size_past_the_limit_is_not_attempted`], [`a_source_whose_members_are_shorter_than_they_say_is_no_source`], [`a_wheel_that_lies_about_a_size_is_never_equivalent`]; archives that lie otherwise: `tests/vectors/normalize-*-attacks.json` |
//! | build requirements that cannot be met | `build-failed` in `plan` or `fetch` | [`requirements_that_cannot_be_met_are_named`]; a registry that fails is no such case: `a_registry_that_fails_for_a_requirement_is_not_a_build_that_fails` |
//!
//! What has no digest at all has nothing that a result could be about, and is an error of the job: a page that lists no
//! such file or cannot be read, an npm tarball that never came whole.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use quorate_node::attest::Finding;
use quorate_node::cache::Reuse;
use quorate_proto::Digest;
use quorate_proto::result::{FoundBy, NotAttemptedReason, Outcome, Phase};
use serde_json::json;

use super::Bench;
use super::index::{Answer, Index};
use super::release::{self, COMMITTED, COPY, SDIST, WHEEL, commit, git, sdist, sdist_requiring, wheel};

const LATER: &str = "2024-05-02T00:00:00Z";

/// A bench whose repositories are folders beside its own; the release has nothing but the wheel.
struct World {
    bench: Bench,
    _index: Index,
}

impl World {
    async fn new(published: &[u8]) -> Self {
        let index = Index::serve(vec![(WHEEL, Answer::Bytes(published.to_vec()))]).await;
        let mut bench = Bench::new(Some(&index));
        let template = format!("https://github.com/={}/{{owner}}+{{name}}", bench.folder.path().display());
        bench.config.git.mirrors = vec![template.parse().unwrap()];
        Self { bench, _index: index }
    }

    fn repository(&self) -> PathBuf {
        self.bench.folder.path().join("example+demo")
    }

    /// Writes what makes the wheel of `code`, and the code itself, into the repository.
    fn write(&self, code: &str, name: &str, version: &str) {
        let folder = self.repository();
        if !folder.exists() {
            std::fs::create_dir(&folder).unwrap();
            git(&folder, &["init", "--quiet"]);
        }
        let build = "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n";
        let manifest = format!("{build}[project]\nname = \"{name}\"\nversion = \"{version}\"\n");
        let files = [("pyproject.toml", manifest.as_bytes()), ("backend.py", COPY.as_bytes()), ("payload.bin", &wheel(code))];
        for (path, content) in files.into_iter().chain([("demo/__init__.py", code.as_bytes())]) {
            std::fs::create_dir_all(folder.join(path).parent().unwrap()).unwrap();
            std::fs::write(folder.join(path), content).unwrap();
        }
    }

    async fn finding(&self) -> Finding {
        self.bench.rebuild().await.unwrap()
    }

    /// Why there is no source.
    async fn unavailable(&self) -> String {
        unavailable(&self.finding().await)
    }
}

fn unavailable(finding: &Finding) -> String {
    match &finding.outcome {
        Outcome::SourceUnavailable { summary } => summary.clone(),
        other => panic!("{other:?}"),
    }
}

fn is_identical(finding: &Finding) -> bool {
    matches!(finding.outcome, Outcome::Identical { .. })
}

#[tokio::test]
async fn a_missing_commit_is_named() {
    let mut world = World::new(&wheel("x = 1\n")).await;
    world.write("x = 1\n", "demo", "1.0");
    commit(&world.repository(), COMMITTED);
    git(&world.repository(), &["tag", "v1.0"]);
    let definitions = world.bench.folder.path().join("definitions");
    let absent = "1".repeat(40);
    std::fs::create_dir(&definitions).unwrap();
    let text = format!("version: 1\npackage: pkg:pypi/demo@1.0\nreason: x\noverrides:\n  - {{set: source.commit, to: \"{absent}\"}}\n");
    std::fs::write(definitions.join("demo.yaml"), text).unwrap();
    world.bench.config.definitions = Some(definitions);
    let summary = world.unavailable().await;
    assert!(summary.contains("missing-commit") && summary.contains(&absent), "{summary}");
}

#[tokio::test]
async fn a_repository_of_something_else_is_no_source() {
    let world = World::new(&wheel("x = 1\n")).await;
    world.write("x = 2\n", "other", "1.0");
    commit(&world.repository(), COMMITTED);
    git(&world.repository(), &["tag", "v1.0"]);
    let summary = world.unavailable().await;
    assert!(summary.contains("no-commit") && summary.contains("other"), "{summary}");
}

#[tokio::test]
async fn a_repository_that_needs_a_password_is_named_and_nobody_is_asked() {
    let mut world = World::new(&wheel("x = 1\n")).await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
            let refusal = "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(refusal.as_bytes());
        }
    });
    world.bench.config.git.mirrors = vec![format!("https://github.com/=http://127.0.0.1:{port}/{{owner}}/{{name}}").parse().unwrap()];
    let begin = Instant::now();
    let summary = world.unavailable().await;
    assert!(summary.contains("needs-password"), "{summary}");
    assert!(begin.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_tag_that_was_moved_to_another_version_costs_nothing() {
    let world = World::new(&wheel("x = 1\n")).await;
    world.write("x = 0\n", "demo", "0.9");
    let before = commit(&world.repository(), COMMITTED);
    world.write("x = 1\n", "demo", "1.0");
    let own = commit(&world.repository(), LATER);
    git(&world.repository(), &["tag", "v1.0", &before]);
    let finding = world.finding().await;
    assert!(is_identical(&finding), "{:?}", finding.outcome);
    let source = finding.source.unwrap();
    assert_eq!((source.commit, source.found_by), (Some(own), FoundBy::ManifestHistory));
    assert!(source.evidence.unwrap().contains("moved-tag"));
}

#[tokio::test]
async fn a_tag_that_was_moved_within_its_version_is_no_difference() {
    let world = World::new(&wheel("x = 1\n")).await;
    world.write("x = 1\n", "demo", "1.0");
    let own = commit(&world.repository(), COMMITTED);
    world.write("x = 2\n", "demo", "1.0");
    let late = commit(&world.repository(), LATER);
    git(&world.repository(), &["tag", "v1.0", &late]);
    let finding = world.finding().await;
    assert!(is_identical(&finding), "{:?}", finding.outcome);
    assert_eq!(finding.source.unwrap().commit, Some(own));
}

#[tokio::test]
async fn a_moved_tag_that_hides_the_commit_is_named() {
    let world = World::new(&wheel("x = 1\n")).await;
    world.write("x = 0\n", "demo", "0.9");
    commit(&world.repository(), COMMITTED);
    git(&world.repository(), &["tag", "v1.0"]);
    let summary = world.unavailable().await;
    assert!(summary.contains("moved-tag: tag v1.0"), "{summary}");
}

#[tokio::test]
async fn an_empty_repository_is_named() {
    let world = World::new(&wheel("x = 1\n")).await;
    std::fs::create_dir(world.repository()).unwrap();
    git(&world.repository(), &["init", "--quiet"]);
    let summary = world.unavailable().await;
    assert!(summary.contains("empty-repository"), "{summary}");
}

#[tokio::test]
async fn a_release_that_vanishes_while_it_is_built_has_the_result_of_what_was_seen() {
    let published = wheel("x = 1\n");
    let source = sdist(COPY, &published);
    let index = Index::serve(vec![(WHEEL, Answer::Once(published.clone())), (SDIST, Answer::Once(source.clone()))]).await;
    let finding = Bench::new(Some(&index)).rebuild().await.unwrap();
    assert!(is_identical(&finding), "{:?}", finding.outcome);
    let index = Index::serve(vec![(WHEEL, Answer::Once(published.clone())), (SDIST, Answer::Missing(source))]).await;
    let finding = Bench::new(Some(&index)).rebuild().await.unwrap();
    let summary = unavailable(&finding);
    assert!(summary.contains(SDIST) && summary.contains("does not exist"), "{summary}");
    assert_eq!(finding.published, Digest::of(&published));
}

#[tokio::test]
async fn bytes_that_change_between_two_reads_are_not_the_artifact() {
    let published = wheel("x = 1\n");
    let source = sdist(COPY, &published);
    let index = Index::serve(vec![(WHEEL, Answer::Turning(published.clone())), (SDIST, Answer::Bytes(source))]).await;
    let mut bench = Bench::new(Some(&index));
    assert!(is_identical(&bench.rebuild().await.unwrap()));
    // The bytes of the first time lie in the cache, and are what the page says: they stand for what is served until
    // somebody asks anew.
    assert!(is_identical(&bench.rebuild().await.unwrap()));
    bench.config.reuse = Reuse::Anew;
    let finding = bench.rebuild().await.unwrap();
    let Outcome::ArtifactUnavailable { summary } = &finding.outcome else { panic!("{:?}", finding.outcome) };
    assert!(summary.contains("its index says"), "{summary}");
    assert_eq!(finding.published, Digest::of(&published));
}

#[tokio::test]
async fn a_file_that_is_published_anew_is_another_artifact() {
    let (before, after) = (wheel("x = 1\n"), wheel("x = 2\n"));
    let source = sdist(COPY, &before);
    let served = |wheel: &[u8]| Index::serve(vec![(WHEEL, Answer::Bytes(wheel.to_vec())), (SDIST, Answer::Bytes(source.clone()))]);
    let index = served(&before).await;
    let mut bench = Bench::new(Some(&index));
    let first = bench.rebuild().await.unwrap();
    let index = served(&after).await;
    bench.config.registries = [("pypi".to_owned(), index.url())].into();
    let second = bench.rebuild().await.unwrap();
    assert_eq!([first.published, second.published], [Digest::of(&before), Digest::of(&after)]);
    assert!(is_identical(&first), "{:?}", first.outcome);
    assert!(matches!(second.outcome, Outcome::Different { .. }), "{:?}", second.outcome);
}

#[tokio::test]
async fn a_source_and_a_requirement_of_other_bytes_than_promised_are_not_used() {
    let published = wheel("x = 1\n");
    let index = Index::serve(vec![(WHEEL, Answer::Bytes(published.clone())), (SDIST, Answer::OtherBytes(sdist(COPY, &published)))]).await;
    let summary = unavailable(&Bench::new(Some(&index)).rebuild().await.unwrap());
    assert!(summary.contains("its index says"), "{summary}");
    let finding = super::needing("2024-01-01T00:00:00Z", Answer::OtherBytes).await.unwrap();
    assert_eq!(super::failure(&finding).0, Phase::Fetch, "{:?}", finding.outcome);
    let finding = super::needing("2024-01-01T00:00:00Z", Answer::Missing).await.unwrap();
    assert_eq!(super::failure(&finding).0, Phase::Fetch, "{:?}", finding.outcome);
}

/// What comes of a release whose page gives this as the wheel's size.
async fn sized(size: serde_json::Value) -> Finding {
    let published = wheel("x = 1\n");
    let source = sdist(COPY, &published);
    let index = Index::serve(vec![(WHEEL, Answer::Sized(published, size)), (SDIST, Answer::Bytes(source))]).await;
    Bench::new(Some(&index)).rebuild().await.unwrap()
}

#[tokio::test]
async fn a_size_that_the_page_makes_up_changes_nothing() {
    let size_bytes = wheel("x = 1\n").len() as u64;
    for size in [json!(0), json!(1), json!(1_000_000), json!(null), json!(-1), json!("large"), json!(1e300), json!(0.5), json!([])] {
        let finding = sized(size.clone()).await;
        assert!(is_identical(&finding), "{size}: {:?}", finding.outcome);
        assert_eq!(finding.registry.size_bytes, size_bytes, "{size}");
    }
}

#[tokio::test]
async fn a_size_past_the_limit_is_not_attempted() {
    let finding = sized(json!(u64::MAX)).await;
    assert_eq!(finding.outcome, Outcome::NotAttempted { reason: NotAttemptedReason::TooLarge });
}

#[tokio::test]
async fn a_source_whose_members_are_shorter_than_they_say_is_no_source() {
    let published = wheel("x = 1\n");
    for said in [10_000, 1 << 40, 0o7_777_777_777] {
        let mut tar = GzEncoder::new(Vec::new(), Compression::fast());
        let mut header = tar::Header::new_gnu();
        header.set_path(Path::new("demo-1.0/pyproject.toml")).unwrap();
        header.set_size(said);
        header.set_mode(0o644);
        header.set_cksum();
        tar.write_all(header.as_bytes()).unwrap();
        tar.write_all(b"[project]\nname = \"demo\"\n").unwrap();
        let source = tar.finish().unwrap();
        let index = Index::serve(vec![(WHEEL, Answer::Bytes(published.clone())), (SDIST, Answer::Bytes(source))]).await;
        let summary = unavailable(&Bench::new(Some(&index)).rebuild().await.unwrap());
        assert!(summary.contains("source archive"), "{said}: {summary}");
    }
}

#[tokio::test]
async fn a_wheel_that_lies_about_a_size_is_never_equivalent() {
    let honest = wheel("x = 1\n");
    let directory = honest.windows(4).position(|word| word == b"PK\x01\x02").unwrap();
    // The unpacked and the packed size, in the central directory and in the first local header.
    let lies = [directory + 24, directory + 20, 22, 18].into_iter().flat_map(|at| [(at, 0_u32), (at, 7), (at, u32::MAX - 1)]);
    let honest = &honest;
    let all = lies.map(|(at, said)| async move {
        let mut published = honest.clone();
        published[at..at + 4].copy_from_slice(&said.to_le_bytes());
        let index = Index::serve(vec![(WHEEL, Answer::Bytes(published.clone())), (SDIST, Answer::Bytes(sdist(COPY, honest)))]).await;
        let finding = Bench::new(Some(&index)).rebuild().await.unwrap();
        assert!(matches!(finding.outcome, Outcome::Different { .. }), "{at} {said}: {:?}", finding.outcome);
        assert!(!finding.anomalies.is_empty(), "{at} {said}: {:?}", finding.outcome);
        assert_eq!(finding.registry.size_bytes, published.len() as u64);
    });
    futures::future::join_all(all).await;
}

#[tokio::test]
async fn requirements_that_cannot_be_met_are_named() {
    let published = wheel("x = 1\n");
    let asked = |text: &str| format!("{COPY}def get_requires_for_build_wheel(*_):\n    return [{text:?}]\n");
    let of = |requires: &[&str], backend: &str| sdist_requiring(backend, &published, requires);
    let cases = [
        ("absent", Phase::Fetch, of(&["absent"], COPY)),
        ("needed", Phase::Fetch, of(&["needed>=2"], COPY)),
        ("needed", Phase::Fetch, of(&["needed<1.5", "needed>=1.5"], COPY)),
        ("absent", Phase::Fetch, of(&[], &asked("absent"))),
        ("no requirement", Phase::Plan, of(&["no requirement"], COPY)),
        ("--index-url", Phase::Plan, of(&["--index-url=http://registry.example"], COPY)),
        ("names an address", Phase::Plan, of(&["needed @ http://registry.example/needed.whl"], COPY)),
        ("names an address", Phase::Plan, of(&[], &asked("needed @ http://registry.example/needed.whl"))),
    ];
    let published = &published;
    let all = cases.map(|(what, phase, source)| async move {
        let mut index = Index::new(vec![(WHEEL, Answer::Bytes(published.clone())), (SDIST, Answer::Bytes(source))]);
        index.add("needed-1.5-py3-none-any.whl", COMMITTED, Answer::Bytes(release::wheel_of("needed", "1.5", "")));
        let index = index.start().await;
        let finding = Bench::new(Some(&index)).rebuild().await.unwrap();
        let (got, summary) = super::failure(&finding);
        assert_eq!(got, phase, "{what}: {summary}");
        assert!(summary.contains(what), "{what}: {summary}");
    });
    futures::future::join_all(all).await;
}
