//! One run on the host side: start, supervise, stop, and put the truth together.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf, pipe};
use tokio::process::Child;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};

use super::argv::{self, Setting};
use super::counters::Counters;
use super::decoy::Decoys;
use super::init::{Ended, Report};
use super::launch::{self, LaunchSpec};
use super::{Command, Exit, Finished, Mode, Network, SUBCOMMAND, Sandbox, SandboxError, Violation, cgroup, log, seccomp, watch};

/// How long process 1 has to end the command and report, before everything is killed from outside.
const STOP_GRACE: Duration = Duration::from_secs(3);
/// How long the kernel may take to tear the namespaces down after a kill.
const TEARDOWN_MAX: Duration = Duration::from_secs(10);
/// The report has three short lines; a longer one is not ours.
const REPORT_BYTES_MAX: u64 = 16 << 10;

impl Sandbox {
    /// Runs the command to its end or to a limit. Dropping the future kills the run.
    pub async fn run(&self, command: &Command) -> Result<Finished, SandboxError> {
        let start = Instant::now();
        argv::check(command)?;
        let decoys = Decoys::plant(&command.decoys).map_err(SandboxError::host("planting decoys"))?;
        let cgroup = self.cgroups.create(&command.limits);
        let disk = take_stock(command).await;
        let mut running = self.start(command, &decoys, &cgroup).await?;
        let cut = running.supervise(command, &cgroup, &disk).await;
        let lines = running.end(cut).await?;
        let over_disk = {
            let disk = Arc::clone(&disk);
            spawn_blocking(move || disk.is_over(&[])).await
        };
        let cut = cut
            .or_else(|| cgroup.memory_was_exceeded().then_some(Exit::MemoryExceeded))
            .or_else(|| over_disk.is_ok_and(|over| over).then_some(Exit::DiskExceeded));
        remove(&cgroup).await;
        let log_tail = lines.log_tail;
        let (exit, mut violations) = judge(command, &lines.report, cut, &log_tail)?;
        let opened = decoys.opened().map_err(SandboxError::host("reading the decoys' watch"))?;
        violations.extend(opened.into_iter().map(|path| Violation::KeyRead { path }));
        let seconds = start.elapsed().as_secs_f64();
        Ok(Finished { exit, log_tail, seconds, violations, limits_in_force: in_force(&cgroup) })
    }

    async fn start(&self, command: &Command, decoys: &Decoys, cgroup: &cgroup::Run) -> Result<Running, SandboxError> {
        if let (Network::Proxy { socket, .. }, Some(user)) = (&command.network, self.build_user) {
            // Connecting needs write permission on the socket.
            std::os::unix::fs::chown(socket, Some(user.uid), Some(user.gid))
                .map_err(SandboxError::host("giving the proxy's socket to the build user"))?;
        }
        let setting = Setting { init_binary: &self.init_binary, decoys: &decoys.files };
        let spec = LaunchSpec {
            bwrap: self.bwrap.clone(),
            args: argv::build(command, &setting)?,
            cgroup_procs: cgroup.procs(),
            build_user: self.build_user,
        };
        let spec = launch::encode(&spec).map_err(SandboxError::host("describing the sandbox"))?;
        Running::start(self, command, spec).await.map_err(SandboxError::host("starting the sandbox"))
    }
}

/// A started run and its three channels: the report, the log, and the thread that holds it alive.
struct Running {
    child: Child,
    process: u32,
    stop: OwnedWriteHalf,
    report: JoinHandle<Vec<Report>>,
    log: JoinHandle<io::Result<String>>,
    output_exceeded: oneshot::Receiver<()>,
    _keeper: std::sync::mpsc::Sender<()>,
}

/// What a run left in its channels.
struct Lines {
    report: Vec<Report>,
    log_tail: String,
}

impl Running {
    async fn start(sandbox: &Sandbox, command: &Command, spec: Vec<u8>) -> io::Result<Self> {
        let (ours, theirs) = StdUnixStream::pair()?;
        let (reader, writer) = io::pipe()?;
        let mut stage = tokio::process::Command::new(&sandbox.init_binary);
        stage.args([SUBCOMMAND, "launch"]).env_clear().current_dir("/").kill_on_drop(true);
        stage.stdin(Stdio::from(OwnedFd::from(theirs)));
        stage.stdout(Stdio::from(writer.try_clone()?)).stderr(Stdio::from(writer));
        let (child, keeper) = spawn_kept(stage).await?;
        ours.set_nonblocking(true)?;
        let (report, mut stop) = UnixStream::from_std(ours)?.into_split();
        stop.write_all(&spec).await?;
        let (exceeded, output_exceeded) = oneshot::channel();
        let reader = pipe::Receiver::from_owned_fd(reader.into())?;
        let log = log::collect(reader, command.log.clone(), command.limits.output_bytes_max, exceeded);
        Ok(Self {
            process: child.id().unwrap_or(0),
            child,
            stop,
            report: tokio::spawn(read_report(report)),
            log: tokio::spawn(log),
            output_exceeded,
            _keeper: keeper,
        })
    }

    /// Waits for the run to end by itself, or names the limit that cuts it.
    async fn supervise(&mut self, command: &Command, cgroup: &cgroup::Run, disk: &Arc<watch::Disk>) -> Option<Exit> {
        let limits = &command.limits;
        let output = async {
            // A log that ended without exceeding drops its sender; that is no cut.
            if (&mut self.output_exceeded).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            _ = self.child.wait() => None,
            () = output => Some(Exit::OutputExceeded),
            () = watch::memory(self.process, cgroup, limits.memory_bytes) => Some(Exit::MemoryExceeded),
            () = watch::disk(self.process, Arc::clone(disk)) => Some(Exit::DiskExceeded),
            () = sleep(limits.wall) => Some(Exit::TimedOut),
        }
    }

    /// Sees that nothing of the run is left, and collects what it said.
    async fn end(mut self, cut: Option<Exit>) -> Result<Lines, SandboxError> {
        if cut.is_some() {
            // Politely first: process 1 then still reports what the command tried.
            let _ = self.stop.write_all(b"s").await;
            if timeout(STOP_GRACE, self.child.wait()).await.is_err() {
                let _ = self.child.start_kill();
                let _ = timeout(TEARDOWN_MAX, self.child.wait()).await;
            }
        }
        let report = timeout(TEARDOWN_MAX, &mut self.report).await;
        let report = report.ok().and_then(Result::ok).unwrap_or_default();
        let log = timeout(TEARDOWN_MAX, &mut self.log).await;
        let log_tail = match log {
            Ok(Ok(outcome)) => outcome.map_err(SandboxError::host("keeping the log"))?,
            Ok(Err(_)) | Err(_) => String::new(),
        };
        Ok(Lines { report, log_tail })
    }
}

/// Spawns from a thread that lives as long as the run. Bubblewrap dies with the *thread* that started it,
/// and a thread of the runtime may retire at any time.
async fn spawn_kept(mut stage: tokio::process::Command) -> io::Result<(Child, std::sync::mpsc::Sender<()>)> {
    let runtime = tokio::runtime::Handle::current();
    let (child_out, child_in) = oneshot::channel();
    let (keeper, release) = std::sync::mpsc::channel::<()>();
    std::thread::Builder::new().name("sandbox-keeper".into()).spawn(move || {
        let _guard = runtime.enter();
        let spawned = stage.spawn();
        // The command holds the log's write ends: they must go, or the log never ends.
        drop(stage);
        let _ = child_out.send(spawned);
        let _ = release.recv();
    })?;
    let child = child_in.await.map_err(|_| io::Error::other("the spawning thread ended"))??;
    Ok((child, keeper))
}

async fn read_report(from: OwnedReadHalf) -> Vec<Report> {
    let mut text = Vec::new();
    // A reset connection still leaves what came before it.
    let _ = from.take(REPORT_BYTES_MAX).read_to_end(&mut text).await;
    Report::read(&text)
}

async fn take_stock(command: &Command) -> Arc<watch::Disk> {
    let writable = command.binds.iter().filter(|bind| bind.mode == Mode::ReadWrite);
    let dirs: Vec<_> = writable.map(|bind| bind.host.clone()).collect();
    let max = command.limits.disk_bytes_max;
    let stock = spawn_blocking(move || watch::Disk::before(dirs, max)).await;
    Arc::new(stock.unwrap_or_else(|_| watch::Disk::before(Vec::new(), max)))
}

/// Processes leave their groups a moment after they are reaped.
async fn remove(cgroup: &cgroup::Run) {
    for _ in 0..100 {
        if cgroup.remove() {
            return;
        }
        sleep(Duration::from_millis(2)).await;
    }
}

fn judge(command: &Command, report: &[Report], cut: Option<Exit>, log_tail: &str) -> Result<(Exit, Vec<Violation>), SandboxError> {
    let mut ended = None;
    for line in report {
        match line {
            Report::Ready => {}
            Report::NotStarted { reason } => {
                let program = command.argv.first().cloned().unwrap_or_default();
                return Err(SandboxError::NotStarted { program, reason: reason.clone() });
            }
            Report::Ended { ended: how, network } => ended = Some((*how, *network)),
        }
    }
    if !report.contains(&Report::Ready) && cut.is_none() {
        return Err(SandboxError::Setup { log_tail: log_tail.trim().to_owned() });
    }
    let mut violations = Vec::new();
    match ended {
        Some((_, network)) if network != Counters::default() => {
            violations.push(Violation::Network { unroutable: network.unroutable, refused_datagrams: network.refused_datagrams });
        }
        None if cut.is_none() => violations.push(Violation::ReportMissing),
        Some(_) | None => {}
    }
    let by_itself = match ended {
        Some((Ended::Code(code), _)) => Exit::Code(code),
        Some((Ended::Signal(signal), _)) => Exit::Signal(signal),
        None => Exit::Signal(9),
    };
    Ok((cut.unwrap_or(by_itself), violations))
}

fn in_force(cgroup: &cgroup::Run) -> Vec<String> {
    let memory = cgroup.memory_force().unwrap_or("watchdog");
    let mut all = vec!["wall".to_owned(), format!("memory:{memory}"), "processes:rlimit".to_owned()];
    all.extend(cgroup.pids_force().map(|by| format!("processes:{by}")));
    all.extend(["output", "file-size:rlimit", "disk:watchdog"].map(str::to_owned));
    all.extend(seccomp::filter().map(|_| "system-calls:seccomp".to_owned()));
    all
}
