//! The command line over environments, and a real Debian root: made once, built in, never written.
//!
//! The root is made with mmdebstrap from the archive that apt uses here; skipped, with the reason printed,
//! where there is no mmdebstrap or no archive.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use quorate_node::cache::Cache;
use quorate_node::environment::{Inventory, Rootfs, RootfsError, RootfsSpec};
use quorate_node::sandbox::{self, Bind, Config, Exit, Limits, Mode, Network, Root, Sandbox};

const A: &str = r#"{"class":"rootfs","packages":[{"name":"bash","architecture":"amd64","version":"5.2"},{"name":"xz-utils","architecture":"amd64","version":"5.6.0-0.1"}],"schemaVersion":2,"system":{"id":"debian"}}"#;
const B: &str = r#"{"class":"rootfs","packages":[{"name":"bash","architecture":"amd64","version":"5.2"},{"name":"xz-utils","architecture":"amd64","version":"5.4.1-1"},{"name":"zsh","architecture":"amd64","version":"5.9"}],"schemaVersion":2,"system":{"id":"debian"}}"#;

fn node(args: &[&str], cache: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quorate-node")).args(args).env("QUORATE_CACHE_DIR", cache).env("RUST_LOG", "error").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_difference_is_said_and_is_the_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a.json"), dir.path().join("b.json"));
    std::fs::write(&a, A).unwrap();
    std::fs::write(&b, format!("{B}\n")).unwrap();
    let (a, b) = (a.to_str().unwrap(), b.to_str().unwrap());
    let differs = node(&["environment", "diff", a, b], dir.path());
    let said = text(&differs.stdout);
    assert_eq!(differs.status.code(), Some(1), "{said}");
    assert!(
        said.contains("+ zsh:amd64")
            && said.contains("5.6.0-0.1 -> 5.4.1-1")
            && said.ends_with("0 only in a, 1 only in b, 1 in other versions\n"),
        "{said}"
    );
    assert_eq!(node(&["environment", "diff", a, a], dir.path()).status.code(), Some(0));
    let json = node(&["environment", "diff", a, b, "--format", "json"], dir.path());
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&json["schema"], &json["onlyB"][0]["name"]), (&"quorate-environment-diff/v1".into(), &"zsh".into()));
    assert_eq!(
        json["changed"][0],
        serde_json::json!({"kind": "package", "name": "xz-utils", "architecture": "amd64", "a": "5.6.0-0.1", "b": "5.4.1-1"})
    );
}

#[test]
fn what_cannot_be_compared_is_a_failure_and_not_a_difference() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("old.json");
    std::fs::write(&old, r#"{"schemaVersion":1,"packages":{}}"#).unwrap();
    let unknown = format!("sha256:{}", "0".repeat(64));
    for named in [old.to_str().unwrap(), "/no/such/file", unknown.as_str(), "rootfs:../etc"] {
        let failed = node(&["environment", "diff", named, named], dir.path());
        assert_eq!(failed.status.code(), Some(2), "{named}: {}", text(&failed.stdout));
    }
}

#[test]
fn the_machine_is_shown_and_known_by_its_digest_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let shown = node(&["environment", "show", "--format", "json"], dir.path());
    if shown.status.code() != Some(0) {
        println!("skipped: this machine cannot build: {}", text(&shown.stderr));
        return;
    }
    let bytes = shown.stdout.trim_ascii_end();
    let inventory = Inventory::parse(bytes).unwrap();
    assert!(inventory.tools.iter().any(|tool| tool.name == "python" && tool.digest.is_some()));
    let digest = inventory.environment().digest.to_string();
    assert_eq!(digest, quorate_proto::Digest::of(bytes).to_string());
    let same = node(&["environment", "diff", &digest, "host"], dir.path());
    assert_eq!(same.status.code(), Some(0), "{}{}", text(&same.stdout), text(&same.stderr));
}

/// Kept between runs of one day.
fn cache() -> Cache {
    Cache::open(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("roots")).unwrap()
}

fn today() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
}

/// The root, or nothing and a printed reason.
async fn bookworm() -> Option<Rootfs> {
    let spec = match RootfsSpec::of_this_machine("bookworm", &today()) {
        Ok(spec) => spec,
        Err(error) => {
            println!("skipped: {error}");
            return None;
        }
    };
    // Two nodes of one machine ask at once; one of them waits.
    let cache = cache();
    let (one, other) = tokio::join!(Rootfs::make(&cache, &spec), Rootfs::make(&cache, &spec));
    match (one, other) {
        (Ok(one), Ok(other)) => {
            assert_eq!((&one.folder, &one.environment), (&other.folder, &other.environment));
            Some(one)
        }
        (Err(error @ (RootfsError::NoMmdebstrap | RootfsError::Failed { .. })), _) => {
            println!("skipped: {error}");
            None
        }
        (one, other) => panic!("{:?}", [one, other].map(|made| made.map(|rootfs| rootfs.folder))),
    }
}

#[tokio::test]
async fn a_debian_root_is_made_once_inventoried_and_built_in() {
    let Some(rootfs) = Box::pin(bookworm()).await else { return };
    let inventory = Inventory::parse(&rootfs.inventory).unwrap();
    for name in ["xz-utils", "gcc", "dpkg-dev", "libc6"] {
        assert!(inventory.packages.iter().any(|package| package.name == name), "{name}");
    }
    assert_eq!(inventory.environment(), rootfs.environment);
    for forgotten in ["etc/resolv.conf", "etc/machine-id"] {
        assert!(!rootfs.folder.join(forgotten).exists(), "{forgotten}");
    }
    let config = Config { init_binary: Some(env!("CARGO_BIN_EXE_quorate-node").into()), ..Config::default() };
    let Ok(sandbox) = Sandbox::detect(&config) else { return println!("skipped: no sandbox") };
    let out = tempfile::tempdir().unwrap();
    sandbox.prepare_writable(out.path()).unwrap();
    let script = "set -e; printf 'int main(void){return 7;}' > a.c; gcc -o a a.c; ./a || echo code $?; \
        . /etc/os-release; echo $VERSION_CODENAME; dpkg-query -W -f '${Version}\\n' xz-utils; \
        test ! -e /usr/local/x; ! touch /usr/x /var/lib/dpkg/x /etc/x 2>/dev/null; id -un";
    let command = sandbox::Command {
        root: Root::Folder(rootfs.folder.clone()),
        argv: ["/bin/sh", "-c", script].map(str::to_owned).into(),
        env: BTreeMap::new(),
        cwd: "/build".into(),
        binds: vec![Bind { host: out.path().into(), inside: "/build".into(), mode: Mode::ReadWrite }],
        network: Network::None,
        limits: Limits { wall: Duration::from_mins(1), ..Limits::default() },
        decoys: vec!["/var/lib/quorate/keys/node.key".into()],
        log: None,
    };
    let finished = sandbox.run(&command).await.unwrap();
    let xz = inventory.packages.iter().find(|package| package.name == "xz-utils").unwrap();
    assert_eq!((finished.exit, finished.log_tail), (Exit::Code(0), format!("code 7\nbookworm\n{}\nbuild\n", xz.version)));
    assert!(finished.violations.is_empty());
}

#[tokio::test]
async fn a_root_of_an_archive_that_is_not_signed_by_the_keyring_is_not_made() {
    let Ok(mut spec) = RootfsSpec::of_this_machine("bookworm", &today()) else { return println!("skipped: apt knows no archive") };
    let dir = tempfile::tempdir().unwrap();
    let keyring = dir.path().join("nobody.gpg");
    std::fs::write(&keyring, "").unwrap();
    spec.keyring = keyring;
    let cache = Cache::open(dir.path().join("cache")).unwrap();
    match Rootfs::make(&cache, &spec).await {
        Err(RootfsError::NoMmdebstrap) => println!("skipped: {}", RootfsError::NoMmdebstrap),
        Err(RootfsError::Failed { message, .. }) => println!("{message}"),
        made => panic!("{:?}", made.map(|rootfs| rootfs.folder)),
    }
    assert_eq!(std::fs::read_dir(dir.path().join("cache/derived")).unwrap().count(), 0, "nothing is left behind");
}
