//! Our own programs as real processes, and the smallest HTTP client that can talk to them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

/// Nothing here takes this long; a hang becomes a failure.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// The folder that cargo builds programs in.
pub(crate) fn built() -> PathBuf {
    // target/debug/deps/judges-…
    std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned()
}

/// One of our programs, built if it is older than what it is made of. With `cargo test --workspace` it is there.
pub(crate) fn program(name: &str) -> Command {
    static BUILDING: Mutex<()> = Mutex::new(());
    let path = built().join(name);
    let _turn = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    if !is_fresh(&path) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--locked", "-p", "quorate-node", "-p", "quorate-coordinator", "-p", "quorate-client"]);
        if built().ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.current_dir(root).status().unwrap().success(), "building {name}");
    }
    let mut command = Command::new(path);
    command.env("RUST_LOG", "info").env_remove("QUORATE_POLICY").env_remove("QUORATE_SERVER");
    command
}

/// Whether a program is there and newer than every file that cargo says it is made of.
fn is_fresh(path: &Path) -> bool {
    let made = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok();
    let (Some(built), Ok(sources)) = (made(path), fs::read_to_string(path.with_extension("d"))) else { return false };
    let older = |source: &str| made(Path::new(source)).is_some_and(|changed: SystemTime| changed <= built);
    sources.split_once(": ").is_some_and(|(_, sources)| sources.split_whitespace().all(older))
}

/// What a program printed, if it ended well.
pub(crate) fn run(name: &str, arguments: &[&str]) -> String {
    let output = program(name).args(arguments).output().unwrap();
    assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// `quorate` with these arguments: its exit code and all that it says.
pub(crate) fn quorate(arguments: &[&str]) -> (i32, String) {
    let output: Output = program("quorate").args(arguments).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), said)
}

/// A daemon that runs until this is dropped.
pub(crate) struct Daemon {
    child: Child,
    /// What it says of itself.
    pub(crate) ready: Value,
}

impl Daemon {
    /// Starts `name run --config CONFIG` and waits until it is ready.
    pub(crate) fn start(name: &str, config: &Path, data: &Path) -> Self {
        let log = fs::File::create(config.with_extension("log")).unwrap();
        let mut command = program(name);
        command.args(["run", "--config"]).arg(config).stdout(log.try_clone().unwrap()).stderr(log);
        let mut child = command.spawn().unwrap();
        let pid = u64::from(child.id());
        let said = || serde_json::from_slice::<Value>(&fs::read(data.join("ready.json")).ok()?).ok().filter(|said| said["pid"] == pid);
        let ready = until(&format!("{name} to be ready"), || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{name} ended: {}", fs::read_to_string(config.with_extension("log")).unwrap());
            said()
        });
        Self { child, ready }
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until there is an answer.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a request; status and body of the answer, if there was a whole one.
pub(crate) fn http(method: &str, url: &str, body: &str) -> Option<(u16, String)> {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(host).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    write!(stream, "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let _ = stream.shutdown(Shutdown::Both);
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok())?;
    (body.len() == length).then(|| (status, body.to_owned()))
}
