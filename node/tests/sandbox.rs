//! Real runs of the sandbox against hostile commands. Skipped, with the reason printed, where bubblewrap
//! cannot run. As root the whole file is run a second time as an ordinary user.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use quorate_node::doctor;
use quorate_node::sandbox::{
    self, Bind, CgroupUse, Command, Config, Exit, Finished, Limits, Mode, Network, Root, Sandbox, SandboxError, Violation,
};

#[path = "sandbox/attacks.rs"]
mod attacks;
#[path = "sandbox/folder.rs"]
mod folder;
#[path = "sandbox/isolation.rs"]
mod isolation;
#[path = "sandbox/limits.rs"]
mod limits;
#[path = "sandbox/observation.rs"]
mod observation;

/// Set in the second run of this file.
const ORDINARY: &str = "QUORATE_TEST_ORDINARY_USER";
/// Nobody's number, so that limits on it count nobody else's processes.
const ORDINARY_ID: u32 = 64_123;
const PYTHON: &str = "/usr/bin/python3";
const SECRET: &str = "/var/lib/quorate/keys/node.key";

fn config() -> Config {
    Config { init_binary: Some(env!("CARGO_BIN_EXE_quorate-node").into()), ..Config::default() }
}

fn command(argv: &[&str]) -> Command {
    Command {
        root: Root::Host,
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env: BTreeMap::new(),
        cwd: "/tmp".into(),
        binds: Vec::new(),
        network: Network::None,
        limits: Limits { wall: Duration::from_mins(1), ..Limits::default() },
        decoys: vec![SECRET.into()],
        log: None,
    }
}

fn shell(script: &str) -> Command {
    command(&["/bin/sh", "-c", script])
}

fn python(program: &str) -> Command {
    command(&[PYTHON, "-c", program])
}

/// The sandbox, or nothing and a printed reason when this machine cannot run one.
async fn sandbox_with(config: &Config) -> Option<Sandbox> {
    let sandbox = match Sandbox::detect(config) {
        Ok(sandbox) => sandbox,
        Err(SandboxError::NoBubblewrap) => {
            println!("skipped: bubblewrap is not installed (apt-get install bubblewrap)");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    match sandbox.run(&shell("exit 0")).await {
        Ok(_) => {}
        Err(SandboxError::Setup { log_tail }) if !log_tail.contains("sandbox ") => {
            println!("skipped: bubblewrap cannot run here: {log_tail}");
            return None;
        }
        Err(error) => panic!("{error}"),
    }
    if !Path::new(PYTHON).exists() {
        println!("skipped: {PYTHON} is not installed (apt-get install python3)");
        return None;
    }
    Some(sandbox)
}

async fn sandbox() -> Option<Sandbox> {
    sandbox_with(&config()).await
}

async fn finish(sandbox: &Sandbox, command: &Command) -> Finished {
    let finished = sandbox.run(command).await.unwrap();
    println!("{finished:?}");
    finished
}

fn assert_clean(finished: &Finished) {
    assert_eq!((finished.exit, &finished.violations[..]), (Exit::Code(0), &[][..]), "{}", finished.log_tail);
}

/// A folder that the build user may write, and its bind at `/build`.
fn workspace(sandbox: &Sandbox) -> (tempfile::TempDir, Bind) {
    let dir = tempfile::tempdir().unwrap();
    sandbox.prepare_writable(dir.path()).unwrap();
    let bind = Bind { host: dir.path().into(), inside: "/build".into(), mode: Mode::ReadWrite };
    (dir, bind)
}

/// A duration in seconds that no other run of this file sleeps for, so that its processes can be told.
fn marker(seconds: u32) -> String {
    format!("{seconds}.{}", std::process::id())
}

/// Host processes whose command line holds the marker.
fn survivors(marker: &str) -> usize {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok()))
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(marker))
        .count()
}

fn network_attempts(finished: &Finished) -> (u64, u64) {
    finished
        .violations
        .iter()
        .find_map(|violation| match violation {
            Violation::Network { unroutable, refused_datagrams } => Some((*unroutable, *refused_datagrams)),
            Violation::KeyRead { .. } | Violation::ReportMissing => None,
        })
        .unwrap_or_default()
}

#[tokio::test]
async fn a_command_sees_the_fixed_environment_and_nothing_else() {
    let Some(sandbox) = sandbox().await else { return };
    let mut command = shell("id -u; id -un; umask; hostname; date +%Z; pwd; env | sort; ls -1 /proc/self/fd | wc -l");
    command.env.insert("SOURCE_DATE_EPOCH".into(), "1".into());
    let finished = finish(&sandbox, &command).await;
    assert_clean(&finished);
    let expected = "1000\nbuild\n0022\nbuild\nUTC\n/tmp\nHOME=/home/build\nLANG=C.UTF-8\nLOGNAME=build\n\
        PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin\nPWD=/tmp\nSOURCE_DATE_EPOCH=1\n\
        TMPDIR=/tmp\nTZ=UTC\nUSER=build\n4\n";
    assert_eq!(finished.log_tail, expected);
}

#[tokio::test]
async fn codes_and_signals_are_told_apart() {
    let Some(sandbox) = sandbox().await else { return };
    assert_eq!(finish(&sandbox, &shell("echo out; echo err >&2; exit 7")).await.exit, Exit::Code(7));
    assert_eq!(finish(&sandbox, &shell("kill -TERM $$")).await.exit, Exit::Signal(15));
    assert_eq!(finish(&sandbox, &shell("kill -KILL $$")).await.exit, Exit::Signal(9));
}

#[tokio::test]
async fn commands_that_cannot_run_are_errors_and_not_results() {
    let Some(sandbox) = sandbox().await else { return };
    let missing = sandbox.run(&command(&["/usr/bin/no-such-program"])).await;
    assert!(matches!(missing, Err(SandboxError::NotStarted { .. })), "{missing:?}");
    let mut bind = shell("true");
    bind.binds.push(Bind::same_place("/no/such/folder"));
    assert!(matches!(sandbox.run(&bind).await, Err(SandboxError::BadCommand { .. })));
    assert!(matches!(sandbox.run(&command(&[])).await, Err(SandboxError::BadCommand { .. })));
    let mut cwd = shell("true");
    cwd.cwd = "/no/such/folder".into();
    assert!(matches!(sandbox.run(&cwd).await, Err(SandboxError::Setup { .. })));
    let root = Config { build_uid: 0, ..config() };
    assert!(matches!(Sandbox::detect(&root), Err(SandboxError::RootBuildUser { .. })));
}

#[test]
fn the_doctor_tries_the_sandbox_it_recommends() {
    let examined = doctor::examine(&doctor::DoctorConfig { sandbox: config(), ..doctor::DoctorConfig::default() });
    println!("{}", doctor::render_human(&examined));
    let bubblewrap = &examined[0];
    assert!(bubblewrap.found.is_ok() || bubblewrap.install.is_some() || !Path::new("/usr/bin/apt-get").exists());
    let absent = sandbox::Config { bwrap: Some("/no/such/bwrap".into()), ..config() };
    let examined = doctor::examine(&doctor::DoctorConfig { sandbox: absent, ..doctor::DoctorConfig::default() });
    assert!(examined[0].found.as_ref().unwrap_err().contains("No such file"), "{examined:?}");
}

/// Runs this file again as a user without any privilege.
#[test]
fn everything_holds_for_an_ordinary_user_too() {
    if std::env::var_os(ORDINARY).is_some() || !rustix::process::geteuid().is_root() {
        println!("skipped: this is the ordinary user's run already");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    chown(scratch.path(), Some(ORDINARY_ID), Some(ORDINARY_ID)).unwrap();
    let binary = std::env::current_exe().unwrap();
    // Through a shell that leaves a descriptor open, as job servers do: it must not reach any command.
    let mut again = std::process::Command::new("/bin/sh");
    again.args(["-c", "exec 9</dev/zero; exec \"$0\" \"$@\""]).arg(&binary);
    again.uid(ORDINARY_ID).gid(ORDINARY_ID).env(ORDINARY, "1").env("TMPDIR", scratch.path()).current_dir("/");
    again.args(["--test-threads=2", "--nocapture", "--skip", "the_sandbox_costs_little"]);
    match again.output() {
        // The shell's codes for a program that it may not or cannot reach.
        Ok(output) if matches!(output.status.code(), Some(126 | 127)) => {
            println!("skipped: an ordinary user cannot reach {}", binary.display());
        }
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
            println!(
                "{}",
                text.lines().filter(|line| line.starts_with("test ") || line.contains("skipped")).collect::<Vec<_>>().join("\n")
            );
        }
        Err(error) => println!("skipped: no other user can be had: {error}"),
    }
}
