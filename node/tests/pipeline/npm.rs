//! npm packages from a registry that is made in the test, and a repository beside it, with this machine's own npm.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use data_encoding::BASE64;
use flate2::Compression;
use flate2::write::GzEncoder;
use quorate_node::attest::Finding;
use quorate_node::ecosystem::ToolchainUse;
use quorate_node::pipeline::{Disposition, Engine, Job, RebuildError, Silent};
use quorate_proto::Digest;
use quorate_proto::result::{FoundBy, Outcome, Phase};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};
use tokio::net::TcpListener;

use super::Bench;
use super::again::ONE_LOOK;
use super::counted::{Counted, damage};
use super::release::git;

/// When the release was published; `helper` has a version before it and one after it.
const PUBLISHED: &str = "2024-06-01T00:00:00Z";
const BEFORE: &str = "2024-01-01T00:00:00Z";
const AFTER: &str = "2024-07-01T00:00:00Z";

const BUILD: &str =
    "const fs = require('fs'); fs.mkdirSync('dist', { recursive: true }); fs.writeFileSync('dist/index.js', require('helper'));";

/// A version on the registry.
#[derive(Clone)]
struct Listed {
    package: &'static str,
    version: &'static str,
    time: &'static str,
    bytes: Vec<u8>,
    integrity: String,
    status: u16,
}

impl Listed {
    fn new(package: &'static str, version: &'static str, time: &'static str, bytes: Vec<u8>) -> Self {
        let integrity = format!("sha512-{}", BASE64.encode(&Sha512::digest(&bytes)));
        Self { package, version, time, bytes, integrity, status: 200 }
    }
}

async fn registry(listed: Vec<Listed>, counted: &Counted) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/", listener.local_addr().unwrap());
    let router = Router::new().fallback(get(answer)).with_state(Arc::new((base.clone(), listed)));
    let router = counted.layer(router);
    tokio::spawn(async move { axum::serve(listener, router).await });
    base
}

async fn answer(State(state): State<Arc<(String, Vec<Listed>)>>, uri: Uri) -> Response {
    let (base, listed) = &*state;
    let path = uri.path().trim_start_matches('/');
    if let Some(found) = listed.iter().find(|one| path == format!("{0}/-/{0}-{1}.tgz", one.package, one.version)) {
        return (StatusCode::from_u16(found.status).unwrap(), found.bytes.clone()).into_response();
    }
    let (mut versions, mut times) = (serde_json::Map::new(), BTreeMap::new());
    for one in listed.iter().filter(|one| one.package == path) {
        let tarball = format!("{base}{0}/-/{0}-{1}.tgz", one.package, one.version);
        versions.insert(one.version.to_owned(), json!({ "dist": { "tarball": tarball, "integrity": one.integrity } }));
        times.insert(one.version, one.time);
    }
    if versions.is_empty() {
        return StatusCode::NOT_FOUND.into_response();
    }
    json!({ "name": path, "versions": versions, "time": times }).to_string().into_response()
}

fn helper(version: &'static str, time: &'static str) -> Listed {
    let manifest = json!({ "name": "helper", "version": version }).to_string();
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, text) in
        [("package/package.json", manifest.as_str()), ("package/index.js", &format!("module.exports = 'helped by {version}\\n';\n"))]
    {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    Listed::new("helper", version, time, tar.into_inner().unwrap().finish().unwrap())
}

/// A checkout of `demo` 1.0.0, with or without a lock file.
fn checkout(folder: &Path, lock: Option<&Listed>) {
    let manifest = json!({
        "name": "demo", "version": "1.0.0", "files": ["dist"], "scripts": { "prepare": "node build.js" },
        "devDependencies": { "helper": "^1.0.0" }, "repository": "github:example/demo",
    });
    std::fs::create_dir(folder).unwrap();
    std::fs::write(folder.join("package.json"), serde_json::to_string_pretty(&manifest).unwrap()).unwrap();
    std::fs::write(folder.join("build.js"), BUILD).unwrap();
    if let Some(pinned) = lock {
        let entry = json!({ "version": pinned.version, "resolved": "https://registry.example/helper/-/helper-1.0.0.tgz", "integrity": pinned.integrity, "dev": true });
        let root = json!({ "name": "demo", "version": "1.0.0", "devDependencies": { "helper": "^1.0.0" } });
        let lock = json!({ "name": "demo", "version": "1.0.0", "lockfileVersion": 3, "requires": true, "packages": { "": root, "node_modules/helper": entry } });
        std::fs::write(folder.join("package-lock.json"), lock.to_string()).unwrap();
    }
    tagged(folder);
}

/// Makes a folder a repository whose one commit is version 1.0.0.
fn tagged(folder: &Path) {
    git(folder, &["init", "--quiet"]);
    git(folder, &["add", "."]);
    git(folder, &["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", "one"]);
    git(folder, &["tag", "v1.0.0"]);
}

/// What the publisher's machine packed, with `built` in `dist`.
fn packed(checkout: &Path, built: &str) -> Option<Vec<u8>> {
    let manifest = std::fs::read_to_string(checkout.join("package.json")).unwrap();
    packed_of(&[("package.json", &manifest), ("dist/index.js", built)])
}

/// What npm packs of a folder with these files.
fn packed_of(files: &[(&str, &str)]) -> Option<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let [made, npm_home] = [folder.path().join("made"), folder.path().join("home")];
    for (name, text) in files {
        std::fs::create_dir_all(made.join(name).parent().unwrap()).unwrap();
        std::fs::write(made.join(name), text).unwrap();
    }
    let mut npm = Command::new("npm");
    npm.args(["pack", "--ignore-scripts", "--silent"])
        .current_dir(&made)
        .env("npm_config_cache", &npm_home)
        .env("npm_config_userconfig", "/dev/null");
    let Ok(output) = npm.output() else {
        eprintln!("SKIPPED: this machine has no npm");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(std::fs::read(made.join("demo-1.0.0.tgz")).unwrap())
}

struct Release {
    bench: Bench,
    listed: Vec<Listed>,
}

/// A bench with this machine's own tools, and where the repository of `demo` belongs.
fn bench() -> (Bench, PathBuf) {
    let mut bench = Bench::new(None);
    bench.config.toolchains = ToolchainUse::Machine;
    bench.config.git.mirrors = vec![format!("https://github.com/={}/{{owner}}+{{name}}", bench.folder.path().display()).parse().unwrap()];
    let repository = bench.folder.path().join("example+demo");
    (bench, repository)
}

/// A release whose published `dist/index.js` is `built`.
fn release(built: &str, pinned: Option<&Listed>, helpers: Vec<Listed>) -> Option<Release> {
    let (bench, repository) = bench();
    checkout(&repository, pinned);
    let mut listed = helpers;
    listed.push(Listed::new("demo", "1.0.0", PUBLISHED, packed(&repository, built)?));
    Some(Release { bench, listed })
}

async fn rebuilt(mut release: Release) -> Result<Finding, RebuildError> {
    release.publish().await;
    release.rebuild().await
}

impl Release {
    async fn publish(&mut self) -> Counted {
        let counted = Counted::default();
        let base = registry(std::mem::take(&mut self.listed), &counted).await;
        self.bench.config.registries = [("npm".to_owned(), base)].into();
        counted
    }

    async fn rebuild(&self) -> Result<Finding, RebuildError> {
        let job = Job { package: "pkg:npm/demo@1.0.0".parse().unwrap(), file: None, artifact_path: None };
        Engine::new(self.bench.config.clone()).unwrap().rebuild(&job, &Silent).await
    }
}

fn fetched(finding: &Finding) -> Vec<String> {
    let provenance = &finding.provenance.as_ref().unwrap().predicate;
    let dependencies = &provenance.build_definition.resolved_dependencies;
    dependencies.iter().filter_map(|one| one.uri.clone()).filter(|uri| uri.starts_with("pkg:npm/")).collect()
}

#[tokio::test]
async fn a_package_that_its_commit_makes_again_is_identical() {
    let helpers = vec![helper("1.0.0", BEFORE), helper("1.1.0", AFTER)];
    let Some(release) = release("helped by 1.0.0\n", Some(&helpers[0].clone()), helpers) else { return };
    let finding = rebuilt(release).await.unwrap();
    assert!(matches!(finding.outcome, Outcome::Identical { .. }), "{:?} {:?}", finding.outcome, finding.assists);
    assert_eq!(finding.source.as_ref().unwrap().found_by, FoundBy::Tag);
    assert_eq!(fetched(&finding), ["pkg:npm/helper@1.0.0"]);
    assert_eq!(finding.assists.iter().map(|assist| assist.name.as_str()).collect::<Vec<_>>(), ["nearest-toolchain"]);
    let provenance = serde_json::to_value(&finding.provenance.unwrap().predicate).unwrap();
    assert_eq!(provenance["buildDefinition"]["buildType"], "urn:quorate:build/npm/v1");
    assert_eq!(provenance["buildDefinition"]["internalParameters"]["scripts"], json!(["prepare"]));
    assert_ne!(provenance["buildDefinition"]["internalParameters"]["packedWith"], Value::Null);
}

#[tokio::test]
async fn without_a_lock_the_registry_is_seen_as_it_was() {
    let helpers = vec![helper("1.0.0", BEFORE), helper("1.1.0", AFTER)];
    let Some(release) = release("helped by 1.0.0\n", None, helpers) else { return };
    let finding = rebuilt(release).await.unwrap();
    assert!(matches!(finding.outcome, Outcome::Identical { .. }), "{:?} {:?}", finding.outcome, finding.assists);
    assert_eq!(fetched(&finding), ["pkg:npm/helper@1.0.0"]);
}

#[tokio::test]
async fn what_a_lock_pins_is_served_although_the_registry_states_a_later_time() {
    let helpers = vec![helper("1.0.0", AFTER), helper("1.1.0", AFTER)];
    let Some(release) = release("helped by 1.0.0\n", Some(&helpers[0].clone()), helpers) else { return };
    let finding = rebuilt(release).await.unwrap();
    assert!(matches!(finding.outcome, Outcome::Identical { .. }), "{:?} {:?}", finding.outcome, finding.assists);
}

#[tokio::test]
async fn a_backdoor_in_what_was_built_is_different_and_named() {
    let helpers = vec![helper("1.0.0", BEFORE)];
    let Some(release) = release("helped by 1.0.0\nrequire('child_process')", Some(&helpers[0].clone()), helpers) else { return };
    let finding = rebuilt(release).await.unwrap();
    let Outcome::Different { differences, .. } = &finding.outcome else { panic!("{:?}", finding.outcome) };
    assert_eq!(differences.members.iter().map(|one| one.member.as_str()).collect::<Vec<_>>(), ["package/dist/index.js"]);
}

#[tokio::test]
async fn a_tarball_that_is_not_the_one_of_its_index_is_unavailable() {
    let helpers = vec![helper("1.0.0", BEFORE)];
    let Some(mut release) = release("x", None, helpers) else { return };
    let listed = release.listed.last_mut().unwrap();
    listed.integrity = format!("sha512-{}", BASE64.encode(&Sha512::digest(b"other")));
    let served = listed.bytes.clone();
    let finding = rebuilt(release).await.unwrap();
    let Outcome::ArtifactUnavailable { summary } = &finding.outcome else { panic!("{:?}", finding.outcome) };
    assert!(summary.contains("its index promises by sha512"), "{summary}");
    // The promised bytes have no SHA-256: the result is about those that were served in their place.
    assert_eq!((finding.published, finding.registry.size_bytes), (Digest::of(&served), served.len() as u64));
    assert_eq!(finding.registry.index_checksum, None);
}

#[tokio::test]
async fn a_tarball_that_is_not_there_has_no_digest_and_its_job_is_rejected() {
    let Some(mut release) = release("x", None, vec![helper("1.0.0", BEFORE)]) else { return };
    release.listed.last_mut().unwrap().status = 404;
    let error = rebuilt(release).await.unwrap_err();
    assert_eq!(error.disposition(), Disposition::Reject, "{error:?}");
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("does not exist"), "{error:?}");
}

#[tokio::test]
async fn a_requirement_of_other_bytes_than_the_lock_pins_is_not_built_with() {
    let pinned = helper("1.0.0", BEFORE);
    let mut other = helper("1.1.0", BEFORE);
    other.version = "1.0.0";
    let Some(release) = release("helped by 1.0.0\n", Some(&pinned), vec![other]) else { return };
    let finding = rebuilt(release).await.unwrap();
    assert!(matches!(finding.outcome, Outcome::BuildFailed { phase: Phase::Fetch, .. }), "{:?}", finding.outcome);
}

#[tokio::test]
async fn a_registry_that_fails_for_a_package_is_not_a_build_that_fails() {
    let mut helpers = vec![helper("1.0.0", BEFORE)];
    helpers[0].status = 500;
    let Some(release) = release("helped by 1.0.0\n", Some(&helpers[0].clone()), helpers) else { return };
    let error = rebuilt(release).await.unwrap_err();
    assert_eq!(error.disposition(), Disposition::Retry, "{error:?}");
}

#[tokio::test]
async fn a_second_rebuild_fetches_nothing_but_the_word_that_nothing_has_changed() {
    let helpers = vec![helper("1.0.0", BEFORE), helper("1.1.0", AFTER)];
    for pinned in [Some(helpers[0].clone()), None] {
        let Some(mut release) = release("helped by 1.0.0\n", pinned.as_ref(), helpers.clone()) else { return };
        let counted = release.publish().await;
        let first = release.rebuild().await.unwrap();
        assert!(matches!(first.outcome, Outcome::Identical { .. }), "{:?}", first.outcome);
        assert_eq!(first.fetched.requests, counted.asked().len() as u64);
        let second = release.rebuild().await.unwrap();
        assert_eq!(second.published, first.published);
        assert_eq!(counted.asked(), [("/demo".to_owned(), 304)]);
        assert_eq!(second.fetched, ONE_LOOK);
        damage(&release.bench.config.cache_dir);
        let third = release.rebuild().await.unwrap();
        assert!(matches!(third.outcome, Outcome::Identical { .. }), "{:?}", third.outcome);
        let asked = counted.asked();
        assert!(["/demo/-/demo-1.0.0.tgz", "/helper/-/helper-1.0.0.tgz"].iter().all(|path| asked.contains(&((*path).to_owned(), 200))));
    }
}

#[tokio::test]
async fn a_changed_checksum_is_noticed_although_everything_is_held() {
    let Some(mut release) = release("helped by 1.0.0\n", None, vec![helper("1.0.0", BEFORE)]) else { return };
    let integrity = release.listed.last().unwrap().integrity.clone();
    let counted = release.publish().await;
    release.rebuild().await.unwrap();
    counted.edit("/demo", &integrity, &format!("sha512-{}", BASE64.encode(&Sha512::digest(b"other"))));
    let finding = release.rebuild().await.unwrap();
    assert!(matches!(finding.outcome, Outcome::ArtifactUnavailable { .. }), "{:?}", finding.outcome);
}

/// The files of a workspace of pnpm, whose own script builds its packages.
const WORKSPACE: [(&str, &str); 8] = [
    (
        "package.json",
        r#"{"private":true,"scripts":{"build":"node build.js"},"devDependencies":{"helper":"^1.0.0","far":"git+https://forge.example/far.git"}}"#,
    ),
    ("pnpm-workspace.yaml", "packages:\n  # all\n  - 'packages/*'\n"),
    ("LICENSE", "Do what you like.\n"),
    (
        "build.js",
        "const fs = require('fs'), sibling = require.resolve('sibling', { paths: ['packages/demo'] });\n\
         fs.mkdirSync('packages/demo/dist');\nfs.writeFileSync('packages/demo/dist/index.js', require(sibling) + require('helper'));\n",
    ),
    ("packages/sibling/package.json", r#"{"name":"sibling","version":"1.0.0","main":"index.js"}"#),
    ("packages/sibling/index.js", "module.exports = 'beside, ';\n"),
    (
        "packages/demo/package.json",
        "{\n  \"name\": \"demo\",\n  \"version\": \"1.0.0\",\n  \"repository\": \"github:example/demo\",\n  \"files\": [\"dist\"],\n  \
         \"devDependencies\": {\n    \"sibling\": \"workspace:*\"\n  }\n}\n",
    ),
    ("packages/demo/index.d.ts", "not published\n"),
];

#[tokio::test]
async fn a_package_of_a_workspace_is_built_and_packed_as_its_publisher_did() {
    let (bench, repository) = bench();
    for (name, text) in WORKSPACE {
        let path = repository.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    tagged(&repository);
    let commit = git(&repository, &["rev-parse", "HEAD"]);
    let stamped = WORKSPACE[6].1.replace("  }\n}\n", &format!("  }},\n  \"gitHead\": \"{commit}\"\n}}\n"));
    let published = [("package.json", stamped.as_str()), ("dist/index.js", "beside, helped by 1.0.0\n"), WORKSPACE[2]];
    let Some(packed) = packed_of(&published) else { return };
    let listed = vec![helper("1.0.0", BEFORE), Listed::new("demo", "1.0.0", PUBLISHED, packed)];
    let finding = rebuilt(Release { bench, listed }).await.unwrap();
    assert!(matches!(finding.outcome, Outcome::Identical { .. }), "{:?} {:?}", finding.outcome, finding.assists);
    let mut assists = finding.assists.iter().map(|assist| assist.name.as_str()).collect::<Vec<_>>();
    assists.sort_unstable();
    assert_eq!(assists, ["git-head", "left-out-requirements", "nearest-toolchain", "workspace-licence", "workspace-script"]);
    assert_eq!(fetched(&finding), ["pkg:npm/helper@1.0.0"]);
}
