//! Hostile builds, one row each: contained, named in the result, and the next build is as if nothing had been.
//!
//! Every row is a Python program that runs as a build does, in `/build/src`, and writes to `/build/out`. It
//! prints `REACHED …` for whatever it should not have got, and `ended` as its last line when it is meant to
//! come to its end. The whole table runs as root (builds then run as the build user) and as an ordinary user.

use std::fmt::Write as _;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use super::*;

#[path = "attacks/abuse.rs"]
mod abuse;
#[path = "attacks/host.rs"]
mod host;
#[path = "attacks/kernel.rs"]
mod kernel;
#[path = "attacks/network.rs"]
mod network;

/// One attack.
struct Attack {
    name: &'static str,
    program: &'static str,
    contained: Contained,
    /// Limits that make the attack end soon.
    tune: fn(&mut Limits),
}

/// How the result names it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Contained {
    /// The kernel refused; the build came to its end with nothing to show.
    Refused,
    /// As before, and the attempt on the network is in the result.
    SeenOnNetwork,
    /// As before, and the attempt on the key is in the result.
    SeenAtKey,
    /// A limit ended it.
    Stopped(Exit),
}

const fn refused(name: &'static str, program: &'static str) -> Attack {
    Attack { name, program, contained: Contained::Refused, tune: |_| () }
}

const fn seen(name: &'static str, contained: Contained, program: &'static str) -> Attack {
    Attack { name, program, contained, tune: |_| () }
}

const fn stopped(name: &'static str, exit: Exit, tune: fn(&mut Limits), program: &'static str) -> Attack {
    Attack { name, program, contained: Contained::Stopped(exit), tune }
}

/// What every program may use: `call` makes a system call by number and raises `OSError`; `attempt` says what
/// was reached; `numbers` are system calls of this machine.
const PRELUDE: &str = r#"
import ctypes, errno, os, platform, select, signal, socket, struct, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
machine = ("x86_64", "aarch64").index(platform.machine())
numbers = {name: pair[machine] for name, pair in {
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "setns": (308, 268), "unshare": (272, 97),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "kcmp": (312, 272), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "reboot": (169, 142), "swapon": (167, 224), "acct": (163, 89), "syslog": (103, 116), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "adjtimex": (159, 171), "sethostname": (170, 161), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsmount": (432, 432), "mount_setattr": (442, 442), "open_by_handle_at": (304, 265), "clone3": (435, 435),
    "memfd_create": (319, 279), "quotactl": (179, 60), "fanotify_init": (300, 262), "ioprio_set": (251, 30), "shmget": (29, 194),
}.items()}
def call(name, *arguments):
    made = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments] + [ctypes.c_long(0)] * (6 - len(arguments))
    result = libc.syscall(ctypes.c_long(numbers.get(name, name)), *made)
    if result < 0: raise OSError(ctypes.get_errno(), name)
    return result
def attempt(what, action):
    try: action()
    except (OSError, ValueError, subprocess.SubprocessError) as error: print("refused", what, "-", error, flush=True)
    else: print("REACHED", what, flush=True)
def put(path, data):
    descriptor = os.open(path, os.O_WRONLY)
    try: os.write(descriptor, data)
    finally: os.close(descriptor)
def take(path):
    if not os.read(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 4096): raise OSError(0, "empty")
node = int(os.environ["NODE"]); victim = os.environ["VICTIM"]; key = "/var/lib/quorate/keys/node.key"
"#;

/// What attacks are aimed at, on the host.
struct Targets {
    /// Another build's folder; as root it belongs to the build user, so that only the sandbox is between.
    victim: tempfile::TempDir,
    /// The node's own sockets: by path and by abstract name.
    listeners: [UnixListener; 2],
    abstract_name: String,
}

impl Targets {
    fn new(sandbox: &Sandbox) -> Self {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let victim = tempfile::tempdir().unwrap();
        std::fs::write(victim.path().join("source.py"), "of another build\n").unwrap();
        let by_path = UnixListener::bind(victim.path().join("node.sock")).unwrap();
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let abstract_name = format!("quorate-attack-{}-{number}", std::process::id());
        let by_name = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&abstract_name).unwrap()).unwrap();
        sandbox.prepare_writable(victim.path()).unwrap();
        let listeners = [by_path, by_name];
        for listener in &listeners {
            listener.set_nonblocking(true).unwrap();
        }
        Self { victim, listeners, abstract_name }
    }

    /// What was touched, in words; empty when nothing was.
    fn touched(&self) -> String {
        let mut names: Vec<_> = std::fs::read_dir(self.victim.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        let mut touched = String::new();
        if names != ["node.sock", "source.py"]
            || std::fs::read_to_string(self.victim.path().join("source.py")).unwrap() != "of another build\n"
        {
            let _ = write!(touched, "the other build's folder changed: {names:?}; ");
        }
        if self.listeners.iter().any(|listener| listener.accept().is_ok()) {
            touched.push_str("a socket of the node was reached; ");
        }
        touched
    }
}

/// The folder of one build, as the workshop makes it.
struct Build(PathBuf);

impl Build {
    fn new(sandbox: &Sandbox, place: &Path) -> Self {
        let dir = place.join("build");
        for part in ["src", "out"] {
            std::fs::create_dir_all(dir.join(part)).unwrap();
        }
        sandbox.prepare_writable(&dir).unwrap();
        Self(dir)
    }

    fn command(&self, targets: &Targets, program: &str) -> Command {
        let bind = |part: &str| Bind { host: self.0.join(part), inside: Path::new("/build").join(part), mode: Mode::ReadWrite };
        let mut command = python(program);
        command.cwd = "/build/src".into();
        command.binds = vec![bind("src"), bind("out")];
        let variables = [
            ("NODE", std::process::id().to_string()),
            ("VICTIM", targets.victim.path().display().to_string()),
            ("ABSTRACT", targets.abstract_name.clone()),
            ("PYTHONUNBUFFERED", "1".to_owned()),
            ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ];
        command.env = variables.map(|(name, value)| (name.to_owned(), value)).into();
        command.limits = Limits {
            wall: Duration::from_secs(20),
            memory_bytes: 1 << 30,
            process_count_max: 200,
            output_bytes_max: 4 << 20,
            file_bytes_max: 64 << 20,
            disk_bytes_max: 256 << 20,
        };
        command
    }
}

/// Runs a row, then a harmless build in the same place; what went wrong, in words.
async fn wrong(sandbox: &Sandbox, attack: &Attack, targets: &Targets, place: &Path) -> Vec<String> {
    let build = Build::new(sandbox, place);
    let mut command = build.command(targets, &format!("{PRELUDE}\n{}", attack.program));
    (attack.tune)(&mut command.limits);
    let finished = sandbox.run(&command).await.unwrap();
    let mut wrong = judged(attack, &finished);
    wrong.extend([targets.touched()].into_iter().filter(|touched| !touched.is_empty()));
    if std::env::var_os("QUORATE_TEST_SHOW_ATTACKS").is_some() {
        println!("--- {}\n{}", attack.name, finished.log_tail);
    }
    println!("attack {:<58} {:?} {:?} in {:.2} s", attack.name, finished.exit, finished.violations, finished.seconds);
    sandbox.prepare_writable(&build.0).unwrap();
    sandbox::remove_tree(&build.0).unwrap();
    let next = Build::new(sandbox, place);
    let program = "import os\nassert os.listdir('.') == []\nopen('/build/out/made', 'w').write('made')\nprint('ended')";
    let after = sandbox.run(&next.command(targets, program)).await.unwrap();
    let made = sandbox::open_output(&next.0.join("out"), Path::new("made")).map(|mut file| file.read_to_string(&mut String::new()));
    if !after.is_clean_success() || made.is_err() || after.log_tail != "ended\n" {
        wrong.push(format!("the next build: {after:?}"));
    }
    sandbox::remove_tree(&next.0).unwrap();
    wrong
}

fn judged(attack: &Attack, finished: &Finished) -> Vec<String> {
    let mut wrong = Vec::new();
    if finished.log_tail.contains("REACHED") {
        wrong.push("it reached something".to_owned());
    }
    let expected_exit = if let Contained::Stopped(exit) = attack.contained { exit } else { Exit::Code(0) };
    if finished.exit != expected_exit {
        wrong.push(format!("{:?} instead of {expected_exit:?}", finished.exit));
    }
    if expected_exit == Exit::Code(0) && !finished.log_tail.ends_with("ended\n") {
        wrong.push("it did not come to its end".to_owned());
    }
    let network = finished.violations.iter().any(|violation| matches!(violation, Violation::Network { .. }));
    let key = finished.violations.contains(&Violation::KeyRead { path: SECRET.into() });
    let (network_expected, key_expected) = (attack.contained == Contained::SeenOnNetwork, attack.contained == Contained::SeenAtKey);
    if (network, key) != (network_expected, key_expected) || finished.violations.contains(&Violation::ReportMissing) {
        wrong.push(format!("violations {:?}", finished.violations));
    }
    if !wrong.is_empty() {
        wrong.push(finished.log_tail.clone());
    }
    wrong
}

async fn all_are_contained(attacks: &[Attack]) {
    let Some(sandbox) = sandbox().await else { return };
    let place = tempfile::tempdir().unwrap();
    let targets = Targets::new(&sandbox);
    let mut failures = String::new();
    for attack in attacks {
        let wrong = Box::pin(wrong(&sandbox, attack, &targets, place.path())).await;
        if !wrong.is_empty() {
            let _ = writeln!(failures, "{}: {}", attack.name, wrong.join("\n    "));
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

#[tokio::test]
async fn no_attack_by_way_of_the_network_succeeds() {
    all_are_contained(network::ATTACKS).await;
}

#[tokio::test]
async fn no_attack_on_the_host_succeeds() {
    all_are_contained(host::ATTACKS).await;
}

#[tokio::test]
async fn no_attack_on_the_kernel_succeeds() {
    all_are_contained(kernel::ATTACKS).await;
}

#[tokio::test]
async fn no_abuse_of_memory_processes_or_time_succeeds() {
    all_are_contained(abuse::OF_MEMORY_AND_TIME).await;
}

#[tokio::test]
async fn no_abuse_of_the_disk_succeeds() {
    all_are_contained(abuse::OF_DISK).await;
}
