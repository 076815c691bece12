//! The git ladder over repositories that git makes here.
//!
//! Not beside the code: the many processes that this starts would inherit, for a moment, the locks that tests of
//! feeds hold in the same process.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use quorate_proto::Timestamp;
use quorate_proto::result::{FoundBy, SignatureFormat, SignatureState, SignedObject};

use quorate_node::cache::{Cache, Reuse};
use quorate_node::definition::{Field, Settings};
use quorate_node::resolve::git::{GitAccess, ManifestRule, Mirror, Miss, Misses, Named, PublishedMember, SourceKeys, VersionRule, Wanted};
use quorate_node::resolve::{Candidate, Lack, ResolveError};
use quorate_node::traffic;

const ADDRESS: &str = "https://github.com/owner/demo";
static REPOSITORIES: std::sync::LazyLock<[String; 1]> = std::sync::LazyLock::new(|| [ADDRESS.to_owned()]);
static SHOUTED: std::sync::LazyLock<[String; 1]> = std::sync::LazyLock::new(|| ["https://github.com/Owner/DEMO".to_owned()]);
/// The second at which the first commit is made; each further one comes an hour later.
/// What no definition sets.
static NO_SETTINGS: Settings = Settings::new();
const BEGIN: i64 = 1_700_000_000;
const HOUR: i64 = 3_600;

/// Manifests of one line: `name version`, with `-` for what is left open.
struct Words;

impl ManifestRule for Words {
    fn files(&self) -> &[&str] {
        &["manifest"]
    }

    fn read(&self, _: &str, bytes: &[u8], _: Option<&[u8]>) -> Option<Named> {
        let text = String::from_utf8_lossy(bytes);
        let (name, version) = text.trim().split_once(' ')?;
        let some = |word: &str| Some(word.to_owned()).filter(|word| word != "-");
        Some(Named { name: some(name), version: some(version) })
    }
}

struct World {
    dir: tempfile::TempDir,
    commits: i64,
}

impl World {
    fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap(), commits: 0 };
        fs::create_dir(world.repository()).unwrap();
        world.git(&["init", "--quiet", "--initial-branch=main"]);
        world
    }

    fn repository(&self) -> PathBuf {
        self.dir.path().join("owner+demo")
    }

    fn git(&self, args: &[&str]) -> String {
        let date = format!("{} +0000", BEGIN + HOUR * self.commits);
        let mut command = Command::new("git");
        command.args(args).current_dir(self.repository()).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        for who in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{who}_NAME"), "a")
                .env(format!("GIT_{who}_EMAIL"), "a@demo.example")
                .env(format!("GIT_{who}_DATE"), &date);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Commits these files besides what is there, and says the commit.
    fn commit(&mut self, files: &[(&str, &str)]) -> String {
        self.commits += 1;
        for (path, content) in files {
            let path = self.repository().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message=commit"]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_unix_seconds(BEGIN + HOUR * self.commits + 60)
    }

    fn access(&self) -> GitAccess {
        let template = self.dir.path().join("{owner}+{name}");
        GitAccess {
            mirrors: vec![Mirror { prefix: "https://github.com/".to_owned(), template: template.display().to_string() }],
            ..GitAccess::default()
        }
    }

    fn find_with<'a>(&self, access: &GitAccess, change: impl FnOnce(&mut Wanted<'a>)) -> Result<Vec<Candidate>, ResolveError> {
        let mut wanted: Wanted<'a> = Wanted { repositories: &*REPOSITORIES, ..unnamed(self) };
        change(&mut wanted);
        let cache = Cache::open(self.dir.path().join("cache")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(access.candidates(&wanted, &cache))
    }

    fn find<'a>(&self, change: impl FnOnce(&mut Wanted<'a>)) -> Vec<(String, FoundBy)> {
        let found = self.find_with(&self.access(), change).unwrap();
        found.into_iter().map(|candidate| (candidate.source.commit.unwrap(), candidate.source.found_by)).collect()
    }

    fn misses<'a>(&self, change: impl FnOnce(&mut Wanted<'a>)) -> Vec<Miss> {
        missed(self.find_with(&self.access(), change))
    }
}

fn missed(found: Result<Vec<Candidate>, ResolveError>) -> Vec<Miss> {
    match found {
        Err(ResolveError::Missing(Misses(misses))) => misses,
        other => panic!("{other:?}"),
    }
}

fn members(files: &[(&str, &str)]) -> Vec<PublishedMember> {
    files.iter().map(|(path, content)| PublishedMember::of(*path, content.as_bytes(), false)).collect()
}

#[test]
fn the_publishers_commit_comes_before_a_tag() {
    let mut world = World::new();
    let named = world.commit(&[("manifest", "demo 1.2.3")]);
    let tagged = world.commit(&[("other", "")]);
    world.git(&["tag", "v1.2.3"]);
    let found = world.find(|wanted| wanted.commit = Some(&named));
    assert_eq!(found, [(named.clone(), FoundBy::PublisherCommit), (tagged, FoundBy::Tag)]);
}

#[test]
fn a_commit_that_the_repository_does_not_have_is_said_and_the_tag_serves() {
    let mut world = World::new();
    let tagged = world.commit(&[("manifest", "demo 1.2.3")]);
    let absent = "1".repeat(40);
    let misses = world.misses(|wanted| (wanted.commit, wanted.version) = (Some(absent.as_str()), "9.9.9".to_owned()));
    assert!(matches!(&misses[..], [Miss::MissingCommit { commit, .. }, Miss::NoCommit { .. }] if *commit == absent), "{misses:?}");
    world.git(&["tag", "1.2.3"]);
    assert_eq!(world.find(|wanted| wanted.commit = Some(&absent)), [(tagged, FoundBy::Tag)]);
    assert!(matches!(
        world.misses(|wanted| (wanted.commit, wanted.version) = (Some("--all"), "9.9.9".to_owned()))[0],
        Miss::MissingCommit { .. }
    ));
}

#[test]
fn a_tag_that_was_moved_is_told_and_history_finds_the_commit() {
    let mut world = World::new();
    let before = world.commit(&[("manifest", "demo 1.2.2")]);
    let set = world.commit(&[("manifest", "demo 1.2.3")]);
    let last = world.commit(&[("code", "late")]);
    world.commit(&[("manifest", "demo 1.2.4")]);
    world.git(&["tag", "v1.2.3", &before]);
    let found = world.find_with(&world.access(), |_| ()).unwrap();
    let commits: Vec<_> = found.iter().map(|candidate| (candidate.source.commit.clone().unwrap(), candidate.source.found_by)).collect();
    assert_eq!(commits, [(last, FoundBy::ManifestHistory), (set, FoundBy::ManifestHistory)]);
    let evidence = found[0].source.evidence.clone().unwrap();
    assert!(evidence.contains("moved-tag: tag v1.2.3 is of version 1.2.2"), "{evidence}");
}

#[test]
fn history_looks_no_further_than_the_release() {
    let mut world = World::new();
    let set = world.commit(&[("manifest", "demo 1.2.3")]);
    let last = world.commit(&[("code", "one")]);
    let published = world.now();
    world.commits += 3;
    world.commit(&[("code", "two")]);
    let found = world.find(|wanted| wanted.published_at = Some(published));
    assert_eq!(found, [(last, FoundBy::ManifestHistory), (set, FoundBy::ManifestHistory)]);
}

#[test]
fn content_finds_a_commit_that_no_tag_and_no_version_tells() {
    let mut world = World::new();
    world.commit(&[("manifest", "demo 1.2.3"), ("a", "a1"), ("b", "b1")]);
    world.git(&["tag", "v1.2.3"]);
    let true_one = world.commit(&[("a", "a2"), ("b", "b2")]);
    world.commit(&[("b", "b3")]);
    world.commit(&[("a", "a3"), ("c", "1")]);
    world.commit(&[("manifest", "demo 1.2.4")]);
    let found = world.find(|wanted| wanted.members = members(&[("manifest", "demo 1.2.3"), ("a", "a2"), ("b", "b2"), ("generated", "x")]));
    assert_eq!(found[0], (true_one, FoundBy::Content));
    assert!(found.iter().skip(1).any(|(_, by)| *by == FoundBy::Tag));
}

#[test]
fn generated_files_do_not_send_anybody_searching() {
    let mut world = World::new();
    let tagged = world.commit(&[("manifest", "demo 1.2.3"), ("src/a", "1")]);
    world.git(&["tag", "v1.2.3"]);
    world.commit(&[("late", "")]);
    let found = world.find(|wanted| wanted.members = members(&[("manifest", "demo 1.2.3"), ("a", "1"), ("generated", "x")]));
    assert_eq!(found, [(tagged, FoundBy::Tag)]);
}

#[test]
fn the_better_match_is_tried_first_and_equal_ones_by_the_strength_of_the_find() {
    let mut world = World::new();
    let poor = world.commit(&[("manifest", "demo 1.2.3"), ("a", "1")]);
    world.git(&["tag", "demo-1.2.3"]);
    let good = world.commit(&[("a", "2")]);
    world.git(&["tag", "v1.2.3"]);
    let found = world.find(|wanted| wanted.members = members(&[("a", "2")]));
    assert_eq!(found, [(good.clone(), FoundBy::Tag), (poor.clone(), FoundBy::Tag)]);
    let found = world.find(|wanted| (wanted.members, wanted.commit) = (members(&[("a", "9")]), Some(good.as_str())));
    assert_eq!(found, [(good.clone(), FoundBy::PublisherCommit), (poor, FoundBy::Tag)]);
}

#[test]
fn a_package_of_a_monorepo_is_found_in_its_folder() {
    let mut world = World::new();
    world.commit(&[("manifest", "root 1.2.3"), ("packages/other/manifest", "other 1.2.3")]);
    world.git(&["tag", "v1.2.3"]);
    world.git(&["tag", "other@1.2.3"]);
    let own = world.commit(&[("packages/demo/manifest", "demo 1.2.3"), ("packages/demo/a", "1")]);
    world.git(&["tag", "demo@1.2.3"]);
    let found = world.find_with(&world.access(), |wanted| wanted.directory = Some("packages/demo/")).unwrap();
    assert_eq!(found[0].source.commit.as_ref(), Some(&own));
    assert_eq!(found[0].directory.as_deref(), Some(Path::new("packages/demo")));
    assert_eq!(found[0].source.directory.as_deref(), Some("packages/demo"));
    assert_eq!(found.len(), 1);
}

#[test]
fn submodules_and_large_files_that_are_missing_are_said() {
    let mut world = World::new();
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n", "a".repeat(64));
    let first = world.commit(&[("manifest", "demo 1.2.3"), (".gitattributes", "*.bin filter=lfs\n"), ("a.bin", &pointer)]);
    world.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{first},vendor/lib")]);
    world.git(&["commit", "--quiet", "--message=submodule"]);
    world.git(&["tag", "v1.2.3"]);
    let found = world.find_with(&world.access(), |_| ()).unwrap();
    assert_eq!(found[0].lacks, [Lack::Submodule("vendor/lib".to_owned()), Lack::LargeFile("a.bin".to_owned())]);
}

#[test]
fn a_moved_repository_is_noticed_by_the_origin_of_its_mirror() {
    let mut world = World::new();
    world.commit(&[("manifest", "demo 1.2.3")]);
    world.git(&["tag", "v1.2.3"]);
    world.git(&["config", "remote.origin.url", "https://me:secret@github.com/new/demo.git"]);
    let evidence = world.find_with(&world.access(), |_| ()).unwrap()[0].source.evidence.clone().unwrap();
    assert!(evidence.contains("the repository is now https://github.com/new/demo") && !evidence.contains("secret"), "{evidence}");
}

#[test]
fn a_proposal_that_the_project_never_took_is_no_source() {
    let mut world = World::new();
    let files = [("manifest", "demo 1.2.3"), ("code", "as published")];
    world.commit(&[("manifest", "demo 1.2.2"), ("code", "before")]);
    world.git(&["checkout", "--quiet", "-b", "proposal"]);
    let proposed = world.commit(&files);
    let of_stranger = |world: &World| world.misses(|wanted| wanted.members = members(&files));
    world.git(&["update-ref", "refs/pull/1/head", &proposed]);
    world.git(&["checkout", "--quiet", "main"]);
    world.git(&["branch", "--quiet", "-D", "proposal"]);
    assert_eq!(of_stranger(&world), [Miss::NoCommit { address: ADDRESS.to_owned(), version: "1.2.3".to_owned() }]);
    world.git(&["merge", "--quiet", "--ff-only", &proposed]);
    assert_eq!(world.find(|wanted| wanted.members = members(&files)), [(proposed, FoundBy::ManifestHistory)]);
}

#[test]
fn a_commit_that_shares_only_a_licence_with_the_release_is_none() {
    let mut world = World::new();
    world.commit(&[("manifest", "demo -"), ("LICENSE", "free"), ("code", "years ago"), ("notes", "years ago")]);
    let published = [("LICENSE", "free"), ("code", "today"), ("notes", "today")];
    let misses = world.misses(|wanted| wanted.members = members(&published));
    assert!(misses.contains(&Miss::NoCommit { address: ADDRESS.to_owned(), version: "1.2.3".to_owned() }), "{misses:?}");
}

#[test]
fn a_repository_that_only_a_later_release_names_is_found_and_said() {
    let mut world = World::new();
    world.commit(&[("manifest", "demo 1.2.3")]);
    world.git(&["tag", "v1.2.3"]);
    let old = ["https://github.com/former/demo".to_owned()];
    let cache = Cache::open(world.dir.path().join("cache")).unwrap();
    let asked = |repositories: &[String], settings: &Settings, later: &[&str]| {
        let wanted = Wanted { repositories, settings, ..unnamed(&world) };
        let later = std::future::ready(later.iter().map(ToString::to_string).collect());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(world.access().candidates_or_later(&wanted, later, &cache))
    };
    let evidence = |found: Result<Vec<Candidate>, ResolveError>| found.unwrap()[0].source.evidence.clone().unwrap_or_default();
    let later = "a later release names the repository";
    assert!(evidence(asked(&old, &NO_SETTINGS, &[ADDRESS])).contains(later));
    assert!(evidence(asked(&[], &NO_SETTINGS, &[ADDRESS])).contains(later));
    assert!(!evidence(asked(&*REPOSITORIES, &NO_SETTINGS, &["https://github.com/other/demo"])).contains(later));
    let misses = |later: &[&str]| missed(asked(&old, &NO_SETTINGS, later));
    assert_eq!(misses(&["https://github.com/Former/demo"]), [Miss::NoRepository(old[0].clone())]);
    let absent = "https://github.com/absent/demo";
    assert_eq!(misses(&[absent]), [Miss::NoRepository(old[0].clone()), Miss::NoRepository(absent.to_owned())]);
    // What a reviewer set is not overruled by anybody's metadata.
    let reviewed: Settings = [(Field::Repository, old[0].clone())].into();
    assert_eq!(missed(asked(&[], &reviewed, &[ADDRESS])), [Miss::NoRepository(old[0].clone())]);
}

#[test]
fn a_mirror_is_found_whatever_the_case_of_its_owner_and_its_name() {
    let mut world = World::new();
    let commit = world.commit(&[("manifest", "demo 1.2.3")]);
    world.git(&["tag", "v1.2.3"]);
    let found = world.find(|wanted| wanted.repositories = &*SHOUTED);
    assert_eq!(found, [(commit, FoundBy::Tag)]);
}

fn unnamed(world: &World) -> Wanted<'static> {
    Wanted {
        repositories: &[],
        directory: None,
        commit: None,
        names: vec!["demo".to_owned()],
        version: "1.2.3".to_owned(),
        published_at: Some(world.now()),
        members: Vec::new(),
        settings: &NO_SETTINGS,
        versions: VersionRule::Semver,
        manifest: &Words,
    }
}

#[test]
fn an_empty_repository_and_a_wrong_address_have_their_names() {
    let world = World::new();
    assert_eq!(world.misses(|_| ()), [Miss::Empty(ADDRESS.to_owned())]);
    let absent = ["https://github.com/owner/absent".to_owned()];
    let access = world.access();
    let cache = Cache::open(world.dir.path().join("cache")).unwrap();
    let asked = |access: &GitAccess, repositories: &[String]| {
        let wanted = Wanted { repositories, ..unnamed(&world) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        missed(runtime.block_on(access.candidates(&wanted, &cache)))
    };
    assert_eq!(asked(&access, &absent), [Miss::NoRepository(absent[0].clone())]);
    assert_eq!(asked(&GitAccess::default(), &absent), [Miss::NoMirror(absent[0].clone())]);
    assert_eq!(asked(&access, &[]), [Miss::NoAddress]);
}

/// A forge that answers every request alike; `PORT` in the answer is its own port.
fn forge(answer: &'static str) -> GitAccess {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let is_moved = String::from_utf8_lossy(&request).contains("/moved/");
            let answer = if is_moved { "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x" } else { answer };
            let _ = stream
                .write_all((answer.replace("PORT", &port.to_string()) + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes());
        }
    });
    let template = format!("http://127.0.0.1:{port}/{{owner}}/{{name}}");
    GitAccess { mirrors: vec![Mirror { prefix: "https://github.com/".to_owned(), template }], ..GitAccess::default() }
}

#[test]
fn what_a_forge_refuses_is_told_apart() {
    let world = World::new();
    let said = |answer| missed(world.find_with(&forge(answer), |_| ()));
    assert_eq!(said("HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x"), [Miss::NeedsPassword(ADDRESS.to_owned())]);
    assert_eq!(said("HTTP/1.1 404 No"), [Miss::NoRepository(ADDRESS.to_owned())]);
    let unwell = world.find_with(&forge("HTTP/1.1 503 No"), |_| ()).unwrap_err();
    assert!(unwell.is_passing(), "{unwell:?}");
}

#[test]
fn a_redirection_is_followed_once_on_its_own_host_and_never_to_another_one() {
    let world = World::new();
    let away = missed(
        world.find_with(&forge("HTTP/1.1 301 Gone\r\nLocation: http://other.example/new/demo/info/refs?service=git-upload-pack"), |_| ()),
    );
    assert_eq!(away, [Miss::Moved { address: ADDRESS.to_owned(), to: "http://other.example/new/demo".to_owned() }]);
    // The second address is asked, and what it says counts.
    let here = missed(world.find_with(&forge("HTTP/1.1 301 Gone\r\nLocation: /moved/demo/info/refs?service=git-upload-pack"), |_| ()));
    assert_eq!(here, [Miss::NeedsPassword(ADDRESS.to_owned())]);
    let circle = missed(world.find_with(&forge("HTTP/1.1 301 Gone\r\nLocation: http://127.0.0.1:PORT/x/y/info/refs"), |_| ()));
    assert!(matches!(circle[..], [Miss::Unreadable { .. }]), "{circle:?}");
}

#[test]
fn a_forge_is_copied_in_part_first_and_kept_for_the_next_time() {
    let mut world = World::new();
    let first = world.commit(&[("manifest", "demo 1.2.2")]);
    let tagged = world.commit(&[("manifest", "demo 1.2.3"), ("a", "1")]);
    world.git(&["tag", "--annotate", "--message=tag", "v1.2.3"]);
    let better = world.commit(&[("a", "2")]);
    world.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
    let template = format!("file://{}", world.dir.path().join("{owner}+{name}").display());
    let access = GitAccess { mirrors: vec![Mirror { prefix: "https://github.com/".to_owned(), template }], ..GitAccess::default() };
    let copy = || {
        let derived = fs::read_dir(world.dir.path().join("cache/derived")).unwrap();
        derived.flatten().map(|entry| entry.path()).find(|path| path.join("HEAD").exists()).unwrap()
    };
    let found = world.find_with(&access, |_| ()).unwrap();
    assert_eq!(found[0].source.commit.as_ref(), Some(&tagged));
    assert!(found[0].source.evidence.as_ref().unwrap().contains("tag object"));
    let has = |id: &str| Command::new("git").arg("--git-dir").arg(copy()).args(["cat-file", "-e", id]).status().unwrap().success();
    assert!(has(&tagged) && !has(&first), "no more than the tag is copied while it serves");
    let found = world.find_with(&access, |wanted| wanted.members = members(&[("a", "2")])).unwrap();
    assert_eq!(found[0].source.commit.as_ref(), Some(&better));
    assert!(has(&first));
    // The forge has the publisher's commit although no branch leads to it.
    world.git(&["reset", "--quiet", "--hard", &tagged]);
    let lost = world.commit(&[("a", "3")]);
    world.git(&["reset", "--quiet", "--hard", &better]);
    let found = world.find_with(&access, |wanted| wanted.commit = Some(&lost)).unwrap();
    assert_eq!((found[0].source.commit.as_ref(), found[0].source.found_by), (Some(&lost), FoundBy::PublisherCommit));
}

#[test]
fn a_signature_is_recorded_with_its_key_and_checked_where_the_key_is_known() {
    let mut world = World::new();
    world.commit(&[("manifest", "demo 1.2.3")]);
    let key = world.dir.path().join("key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&key).status();
    assert!(made.unwrap().success());
    for (name, value) in [("gpg.format", "ssh"), ("user.signingKey", key.to_str().unwrap())] {
        world.git(&["config", name, value]);
    }
    world.git(&["tag", "--sign", "--message=tag", "v1.2.3"]);
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    let allowed = world.dir.path().join("allowed");
    fs::write(&allowed, format!("a@demo.example namespaces=\"git\" {public}")).unwrap();
    let signature = |access: &GitAccess| world.find_with(access, |_| ()).unwrap()[0].source.signature.clone().unwrap();
    let unknown = signature(&world.access());
    assert_eq!((unknown.object, unknown.format, unknown.state), (SignedObject::Tag, SignatureFormat::Ssh, SignatureState::UnknownKey));
    let fingerprint = Command::new("ssh-keygen").arg("-lf").arg(&key).output().unwrap().stdout;
    assert!(String::from_utf8_lossy(&fingerprint).contains(&unknown.key));
    let keys = SourceKeys { allowed_signers: Some(allowed), keyring: None };
    let access = GitAccess { keys, ..world.access() };
    assert_eq!(signature(&access).state, SignatureState::Verified);
    // The same signature under another tag's words.
    let tag = world.git(&["cat-file", "tag", "v1.2.3"]).replace("\n\ntag\n", "\n\nother\n") + "\n";
    fs::write(world.dir.path().join("tag"), tag).unwrap();
    let forged = world.git(&["hash-object", "-t", "tag", "-w", world.dir.path().join("tag").to_str().unwrap()]);
    world.git(&["update-ref", "refs/tags/v1.2.3", &forged]);
    assert_eq!(signature(&access).state, SignatureState::Bad);
}

#[test]
fn an_openpgp_signature_of_a_commit_is_recorded_and_checked() {
    let mut world = World::new();
    let home = world.dir.path().join("gnupg");
    fs::create_dir(&home).unwrap();
    let gpg = |args: &[&str]| {
        let made = Command::new("gpg")
            .arg("--homedir")
            .arg(&home)
            .args(["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""])
            .args(args)
            .output();
        made.ok().filter(|made| made.status.success()).map(|made| made.stdout)
    };
    if gpg(&["--quick-generate-key", "a@demo.example", "ed25519", "sign"]).is_none() {
        eprintln!("no gpg on this machine: nothing was checked");
        return;
    }
    let program = world.dir.path().join("gpg");
    fs::write(
        &program,
        format!("#!/bin/sh\nexec gpg --homedir {} --batch --pinentry-mode loopback --passphrase '' \"$@\"\n", home.display()),
    )
    .unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for (name, value) in [("gpg.program", program.to_str().unwrap()), ("user.signingKey", "a@demo.example"), ("commit.gpgSign", "true")] {
        world.git(&["config", name, value]);
    }
    world.commit(&[("manifest", "demo 1.2.3")]);
    world.git(&["tag", "v1.2.3"]);
    let keyring = world.dir.path().join("keyring.gpg");
    fs::write(&keyring, gpg(&["--export"]).unwrap()).unwrap();
    let colons = String::from_utf8(gpg(&["--list-keys", "--with-colons"]).unwrap()).unwrap();
    let fingerprint = colons.lines().find_map(|line| line.strip_prefix("fpr:")).unwrap().trim_matches(':').to_lowercase();
    let signature = |access: &GitAccess| world.find_with(access, |_| ()).unwrap()[0].source.signature.clone().unwrap();
    let unknown = signature(&world.access());
    assert_eq!(
        (unknown.object, unknown.format, unknown.state),
        (SignedObject::Commit, SignatureFormat::OpenPgp, SignatureState::UnknownKey)
    );
    assert_eq!(unknown.key, fingerprint);
    let keys = SourceKeys { allowed_signers: None, keyring: Some(keyring) };
    assert_eq!(signature(&GitAccess { keys, ..world.access() }).state, SignatureState::Verified);
    let _ = Command::new("gpgconf").arg("--homedir").arg(&home).args(["--kill", "all"]).status();
}

#[test]
fn a_copy_that_has_what_is_wanted_is_searched_without_asking_its_forge() {
    let mut world = World::new();
    let tagged = world.commit(&[("manifest", "demo 1.2.3")]);
    world.git(&["tag", "-a", "-m", "one", "v1.2.3"]);
    let later = world.commit(&[("manifest", "demo 1.2.4")]);
    world.git(&["tag", "v1.2.4"]);
    let template = format!("file://{}/{{owner}}+{{name}}", world.dir.path().display());
    let kept = GitAccess { mirrors: vec![Mirror { prefix: "https://github.com/".to_owned(), template }], ..GitAccess::default() };
    let anew = GitAccess { reuse: Reuse::Anew, ..kept.clone() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cache = Cache::open(world.dir.path().join("cache")).unwrap();
    let find = |access: &GitAccess, version: &str, commit: Option<&str>, published_at| {
        let wanted = Wanted {
            repositories: &*REPOSITORIES,
            directory: None,
            commit,
            names: vec!["demo".to_owned()],
            version: version.to_owned(),
            published_at: Some(published_at),
            members: Vec::new(),
            settings: &NO_SETTINGS,
            versions: VersionRule::Semver,
            manifest: &Words,
        };
        let (found, fetched) = runtime.block_on(traffic::counted(access.candidates(&wanted, &cache)));
        (found.map(|all| all[0].source.commit.clone().unwrap()).ok(), fetched.repositories)
    };
    let now = Timestamp::from(std::time::SystemTime::now());
    assert_eq!(find(&kept, "1.2.3", None, world.now()), (Some(tagged.clone()), 2), "what there is, and the tag");
    assert_eq!(find(&kept, "1.2.3", None, world.now()), (Some(tagged.clone()), 0));
    assert_eq!(find(&kept, "1.2.3", Some(&tagged), world.now()), (Some(tagged.clone()), 0));
    assert_eq!(find(&anew, "1.2.3", None, world.now()), (Some(tagged.clone()), 1), "asked for, and not copied again");
    assert_eq!(find(&kept, "1.2.3", None, now), (Some(tagged.clone()), 1), "a forge may show a new release late");
    assert_eq!(find(&kept, "1.2.4", None, world.now()), (Some(later), 2), "another tag is not in the copy yet");
    // Without its forge too.
    fs::rename(world.repository(), world.dir.path().join("away")).unwrap();
    assert_eq!(find(&kept, "1.2.3", None, world.now()), (Some(tagged), 0));
    assert_eq!(find(&anew, "1.2.3", None, world.now()).0, None);
}
