//! A crate from a local index and a local repository to a finding, in the real sandbox, with this machine's
//! own cargo and no other host.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "counting/counted.rs"]
mod counted;
#[path = "crates/index.rs"]
mod index;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use counted::{Counted, damage};
use index::{Crate, serve};
use quorate_node::attest::Finding;
use quorate_node::cache::Reuse;
use quorate_node::ecosystem::ToolchainUse;
use quorate_node::pipeline::{DebianUse, Engine, EngineConfig, Job, Silent};
use quorate_node::registry::deb::address::ArchiveSettings;
use quorate_node::resolve::GitAccess;
use quorate_node::resolve::git::Direct;
use quorate_node::sandbox::{self, Limits};
use quorate_node::toolchain::cargo::installed;
use quorate_node::traffic::Fetched;
use quorate_proto::result::{FoundBy, Outcome};

/// When the crate was published; a dependency has a version from before and one from after.
const BEFORE: &str = "2024-05-01T00:00:00Z";
const PUBLISHED: &str = "2024-06-01T00:00:00Z";
const AFTER: &str = "2024-07-01T00:00:00Z";

const MANIFEST: &str = "[package]\nname = \"demo\"\nversion.workspace = true\nedition = \"2021\"\nlicense = \"MIT\"\ndescription = \"d\"\nrepository = \"https://github.com/o/demo\"\n\n[dependencies]\nleaf = \"1\"\n";

/// A repository, and a registry that lists what was packed from it.
struct World {
    folder: tempfile::TempDir,
    commit: String,
    index: String,
    counted: Counted,
}

fn leaf(version: &str, published: &str) -> Crate {
    Crate {
        name: "leaf".to_owned(),
        version: version.to_owned(),
        published: published.to_owned(),
        dependencies: Vec::new(),
        bytes: b"leaf".to_vec(),
    }
}

fn git(folder: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=t", "-c", "user.email=t@localhost"]).args(args).current_dir(folder);
    let output = command.env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl World {
    /// The crate lies in a workspace; `dirt` is put into it after the commit and before it is packed.
    async fn make(dirt: Option<&str>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("o+demo");
        std::fs::create_dir_all(tree.join("crates/demo/src")).unwrap();
        std::fs::write(
            tree.join("Cargo.toml"),
            "[workspace]\nmembers = [\"crates/*\"]\nresolver = \"2\"\n[workspace.package]\nversion = \"1.0.0\"\n",
        )
        .unwrap();
        std::fs::write(tree.join(".gitignore"), "Cargo.lock\n").unwrap();
        std::fs::write(tree.join("crates/demo/Cargo.toml"), MANIFEST).unwrap();
        std::fs::write(tree.join("crates/demo/src/lib.rs"), "pub fn one() -> u8 { 1 }\n").unwrap();
        git(&tree, &["init", "--quiet"]);
        git(&tree, &["add", "--all"]);
        git(&tree, &["commit", "--quiet", "--message=demo"]);
        let commit = git(&tree, &["rev-parse", "HEAD"]);
        if let Some(text) = dirt {
            std::fs::write(tree.join("crates/demo/src/lib.rs"), text).unwrap();
        }
        let then = serve(vec![leaf("1.0.0", BEFORE)], &Counted::default()).await;
        let bytes = pack(&tree, folder.path(), &then).await;
        let demo = Crate {
            name: "demo".to_owned(),
            version: "1.0.0".to_owned(),
            published: PUBLISHED.to_owned(),
            dependencies: vec!["leaf".to_owned()],
            bytes,
        };
        let counted = Counted::default();
        let index = serve(vec![leaf("1.0.0", BEFORE), leaf("1.1.0", AFTER), demo], &counted).await;
        Self { folder, commit, index, counted }
    }

    async fn rebuild(&self) -> Finding {
        let job = Job { package: "pkg:cargo/demo@1.0.0".parse().unwrap(), file: None, artifact_path: None };
        engine(self.folder.path(), &self.index).rebuild(&job, &Silent).await.unwrap()
    }
}

fn engine(folder: &Path, index: &str) -> Engine {
    let mirror = format!("https://github.com/={}/{{owner}}+{{name}}", folder.display());
    let config = EngineConfig {
        work_dir: folder.join("work"),
        cache_dir: folder.join("cache"),
        reuse: Reuse::Kept,
        registries: [("cargo".to_owned(), index.to_owned())].into(),
        deb: ArchiveSettings::default(),
        definitions: None,
        toolchains: ToolchainUse::Exact,
        toolchain_wait: Some(quorate_node::toolchain::WAIT),
        git: GitAccess { mirrors: vec![mirror.parse().unwrap()], direct: Direct::Never, ..GitAccess::default() },
        debian: DebianUse::Off,
        python: PathBuf::from("python3"),
        sandbox: sandbox::Config { init_binary: Some(env!("CARGO_BIN_EXE_quorate-node").into()), ..sandbox::Config::default() },
        limits: Limits { wall: Duration::from_mins(2), ..Limits::default() },
        secrets: Vec::new(),
    };
    Engine::new(config).unwrap()
}

/// What a publisher does, with the cargo that the node will find nearest.
async fn pack(tree: &Path, scratch: &Path, index: &str) -> Vec<u8> {
    let stable = installed().await.into_iter().filter(|own| own.version.pre.is_empty()).max_by(|a, b| a.version.cmp(&b.version));
    let home = scratch.join("home");
    std::fs::create_dir_all(&home).unwrap();
    let config = format!("[source.crates-io]\nreplace-with = \"then\"\n[source.then]\nregistry = \"sparse+{index}\"\n");
    std::fs::write(home.join("config.toml"), config).unwrap();
    let mut command = tokio::process::Command::new(stable.unwrap().sysroot.join("bin/cargo"));
    command.args(["package", "--no-verify", "--allow-dirty", "--package", "demo"]).current_dir(tree);
    command.env("CARGO_HOME", &home).env("CARGO_TARGET_DIR", scratch.join("target"));
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let _ = std::fs::remove_file(tree.join("Cargo.lock"));
    std::fs::read(scratch.join("target/package/demo-1.0.0.crate")).unwrap()
}

#[tokio::test]
async fn a_crate_comes_out_with_the_same_bytes_as_of_its_day() {
    let world = World::make(None).await;
    let finding = world.rebuild().await;
    assert!(matches!(finding.outcome, Outcome::Identical { .. }), "{:?}", finding.outcome);
    let source = finding.source.as_ref().unwrap();
    assert_eq!((source.commit.as_ref(), source.found_by), (Some(&world.commit), FoundBy::PublisherCommit));
    assert_eq!(source.directory.as_deref(), Some("crates/demo"));
    assert!(finding.assists.is_empty(), "{:?}", finding.assists);
    assert!(finding.toolchain.iter().any(|tool| tool.name == "cargo" && tool.digest.is_some()));
    let provenance = serde_json::to_value(&finding.provenance.unwrap().predicate).unwrap();
    assert_eq!(provenance["buildDefinition"]["buildType"], "urn:quorate:build/cargo/v1");
    let served = provenance["buildDefinition"]["resolvedDependencies"].as_array().unwrap();
    assert!(served.iter().any(|file| file["name"] == "index-leaf.txt"), "{served:?}");
}

#[tokio::test]
async fn a_crate_packed_from_a_changed_tree_is_different() {
    let world = World::make(Some("pub fn one() -> u8 { 2 }\n")).await;
    let finding = world.rebuild().await;
    let Outcome::Different { differences, .. } = &finding.outcome else { panic!("{:?}", finding.outcome) };
    assert!(differences.members.iter().any(|difference| difference.member == "demo-1.0.0/src/lib.rs"), "{differences:?}");
}

/// A crate that builds a program of cargo's name.
fn small_cargo(source: &str) -> Crate {
    let manifest = "[package]\nname = \"cargo\"\nversion = \"0.2.0\"\nedition = \"2021\"\n";
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, content) in [("Cargo.toml", manifest), ("src/main.rs", source)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, format!("cargo-0.2.0/{name}"), content.as_bytes()).unwrap();
    }
    let bytes = builder.into_inner().unwrap().finish().unwrap();
    Crate { name: "cargo".to_owned(), version: "0.2.0".to_owned(), published: BEFORE.to_owned(), dependencies: Vec::new(), bytes }
}

#[tokio::test]
async fn a_cargo_is_built_from_its_crate_and_held_from_then_on() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let index = serve(vec![small_cargo("fn main() { println!(\"cargo 1.1.0\") }")], &Counted::default()).await;
    let engine = engine(folder.path(), &index);
    let cargos = engine.crates().cargos();
    let registry = engine.crates().usual().await.unwrap();
    let toolchain = cargos.bring(1, &registry).await.unwrap();
    assert_eq!((toolchain.version.as_str(), toolchain.provenance.uri.as_str()), ("1.1.0", "pkg:cargo/cargo@0.2.0"));
    assert!(cargos.held().await.contains(&1) && cargos.building().borrow().is_none());
    let output = Command::new(toolchain.folder.join("bin/cargo")).output().unwrap();
    assert_eq!(output.stdout, b"cargo 1.1.0\n");
    assert_eq!(cargos.nearest(Some(1), ToolchainUse::Exact).await.unwrap().version.minor, 1);
    assert_ne!(cargos.nearest(Some(1), ToolchainUse::Machine).await.unwrap().version.minor, 1);
}

#[tokio::test]
async fn a_cargo_that_nobody_waits_for_is_built_to_its_end() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let index = serve(vec![small_cargo("fn main() {}")], &Counted::default()).await;
    let engine = engine(folder.path(), &index);
    let cargos = engine.crates().cargos();
    let registry = engine.crates().usual().await.unwrap();
    let mut building = cargos.building();
    tokio::select! {
        _ = cargos.bring(1, &registry) => panic!("it was built at once"),
        Ok(()) = building.changed() => {}
    }
    building.wait_for(Option::is_none).await.unwrap();
    cargos.bring(1, &registry).await.unwrap();
    assert!(cargos.held().await.contains(&1));
}

#[tokio::test]
async fn a_cargo_that_does_not_build_is_said_to() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let index = serve(vec![small_cargo("fn main() { nothing() }")], &Counted::default()).await;
    let engine = engine(folder.path(), &index);
    let registry = engine.crates().usual().await.unwrap();
    let error = engine.crates().cargos().bring(1, &registry).await.unwrap_err();
    assert!(matches!(error, quorate_node::toolchain::cargo::ToolchainError::Build { minor: 1, .. }), "{error:?}");
}

#[tokio::test]
async fn a_second_rebuild_fetches_nothing_but_the_word_that_nothing_has_changed() {
    let world = World::make(None).await;
    let page = |status| ("/de/mo/demo".to_owned(), status);
    let first = world.rebuild().await;
    let asked = world.counted.asked();
    assert_eq!((first.fetched.requests, first.fetched.unchanged), (asked.len() as u64, 0), "{asked:?}");
    let second = world.rebuild().await;
    assert!(matches!(second.outcome, Outcome::Identical { .. }), "{:?}", second.outcome);
    assert_eq!(world.counted.asked(), [page(304)]);
    assert_eq!(second.fetched, Fetched { requests: 1, unchanged: 1, ..Fetched::default() });
    // The crate itself: what it depends on is packed without its files.
    assert_eq!(damage(&world.folder.path().join("cache")), 1);
    assert!(matches!(world.rebuild().await.outcome, Outcome::Identical { .. }));
    assert_eq!(world.counted.asked(), [page(304), ("/crates/demo/1.0.0/download".to_owned(), 200)]);
    world.counted.edit("/de/mo/demo", &first.published.to_hex(), &quorate_proto::Digest::of(b"other").to_hex());
    let changed = world.rebuild().await;
    assert!(matches!(changed.outcome, Outcome::ArtifactUnavailable { .. }), "{:?}", changed.outcome);
    assert_eq!((changed.published, world.counted.asked()[0].clone()), (quorate_proto::Digest::of(b"other"), page(200)));
}
