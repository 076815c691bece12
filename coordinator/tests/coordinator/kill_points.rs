//! `kill -9` before each system call of a commit that changes a file, one after the other: nothing acknowledged
//! is lost, no size has two roots, and the log verifies from its files alone.
//!
//! `strace` attaches to the running coordinator and sends the signal when a thread enters a call for the n-th time;
//! the call itself is not carried out. Each thread counts by itself, hence two phases: what a commit comes to, and
//! settling, which comes half a second later on a thread of its own. `cargo test` takes some of the points,
//! `tests/run kills` all of them.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use quorate_proto::ArtifactId;
use quorate_proto::api;
use quorate_proto::api::submit_outcome::Status as Outcome;
use quorate_proto::verified::FeedItem;
use quorate_tlog::{Checkpoint, Hash, TreeHead};

use crate::fixture::{Network, artifact, identical};
use crate::harness::{PATIENCE, Place, Running};
use crate::kill::verify_consistency;

/// Calls that change files or say that changes are on disk.
const CALLS: [&str; 16] = [
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "fsync",
    "fdatasync",
    "sync_file_range",
    "rename",
    "renameat",
    "renameat2",
    "openat",
    "ftruncate",
    "fallocate",
    "linkat",
    "unlink",
    "unlinkat",
];

/// Kills in an ordinary run, spread over all points, and how long a run may take.
const KILLS_OF_A_SHORT_RUN: usize = 16;
const SHORT_RUN: Duration = Duration::from_mins(3);
const WHOLE_RUN: Duration = Duration::from_mins(20);

/// More calls of one kind than any thread makes in one phase.
const CALLS_MAX: usize = 200;

/// Results of one submission.
const ITEMS: usize = 4;

/// What is being traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// From a submission until its verdicts are served.
    Commit,
    /// From there until no stage file is left.
    Settling,
}

/// Enters `call` for the `number`-th time since the phase began.
#[derive(Clone, Copy, Debug)]
struct Point {
    phase: Phase,
    call: &'static str,
    number: usize,
}

/// How many calls of each kind one thread makes at most.
type Calls = BTreeMap<&'static str, usize>;

/// What was handed in, what was answered, and what was shown.
struct Witness {
    network: Network,
    signed: u64,
    /// The submission under way, and whether it was acknowledged.
    latest: Vec<FeedItem>,
    is_acknowledged: bool,
    /// Acknowledged envelopes by the number of their artifact. Those of the latest submission are the last.
    acknowledged: BTreeMap<u64, Vec<u8>>,
    roots: BTreeMap<u64, Hash>,
}

impl Witness {
    fn new() -> Self {
        let network = Network::new(5);
        Self { network, signed: 0, latest: Vec::new(), is_acknowledged: true, acknowledged: BTreeMap::new(), roots: BTreeMap::new() }
    }

    fn sign(&mut self) {
        self.latest.clear();
        for node in 0..ITEMS {
            let about = about(self.signed);
            self.latest.push(self.network.nodes[node].sign(&about, identical(&about)));
            self.signed += 1;
        }
        self.is_acknowledged = false;
    }

    /// Hands in what is under way. What was acknowledged before must be known now.
    async fn submit(&mut self, running: &mut Running) -> Result<(), tonic::Status> {
        let outcomes = running.submit(&self.latest).await?;
        for outcome in outcomes {
            let expected = if self.is_acknowledged { outcome.status() == Outcome::Duplicate } else { is_taken(&outcome) };
            assert!(expected, "acknowledged: {}, now {outcome:?}", self.is_acknowledged);
        }
        self.is_acknowledged = true;
        let first = self.signed - self.latest.len() as u64;
        self.acknowledged.extend((first..).zip(self.latest.iter().map(|item| item.envelope.clone())));
        let note = running.client.get_checkpoint(api::GetCheckpointRequest {}).await?.into_inner().note;
        self.see(running, &note);
        Ok(())
    }

    /// Waits until the verdicts about the latest submission are served.
    async fn await_verdicts(&self, running: &mut Running) -> Result<(), tonic::Status> {
        for number in self.signed - self.latest.len() as u64..self.signed {
            let request = api::GetVerdictRequest { artifact: about(number).digest.to_string(), ..Default::default() };
            while let Err(error) = running.client.get_verdict(request.clone()).await {
                if error.code() != tonic::Code::NotFound {
                    return Err(error);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Ok(())
    }

    fn see(&mut self, running: &Running, note: &[u8]) {
        let head = *Checkpoint::open(note, &running.vkey).unwrap().head();
        let root = self.roots.entry(head.size).or_insert(head.root);
        assert_eq!(*root, head.root, "two roots for size {}", head.size);
    }

    /// The checkpoint that lies where a web server would find it.
    fn see_file(&mut self, place: &Place, running: &Running) {
        let note = fs::read(place.data().join("log/checkpoint")).unwrap();
        self.see(running, &note);
    }
}

fn is_taken(outcome: &api::SubmitOutcome) -> bool {
    matches!(outcome.status(), Outcome::Accepted | Outcome::Duplicate)
}

fn about(number: u64) -> ArtifactId {
    artifact("package", &format!("1.{number}"), "")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_before_any_system_call_of_a_commit_loses_nothing_and_never_shows_two_roots() {
    if let Err(why) = can_trace() {
        println!("SKIPPED, no process can be traced here: {why}");
        return;
    }
    let all = std::env::var("QUORATE_KILL_POINTS").is_ok_and(|which| which == "all");
    let limit = if all { WHOLE_RUN } else { SHORT_RUN };
    tokio::time::timeout(limit, kill_everywhere(all)).await.expect("it takes too long");
}

async fn kill_everywhere(all: bool) {
    let mut witness = Witness::new();
    let place = Place::new(&witness.network.policy(3));
    let mut points = Vec::new();
    for phase in [Phase::Commit, Phase::Settling] {
        let seen = observe(&place, &mut witness, phase).await;
        assert!(["write", "fsync", "openat"].iter().all(|call| seen.contains_key(call)), "{phase:?} lacks some of these: {seen:?}");
        println!("{phase:?}: calls of one thread at most: {seen:?}");
        points.extend(seen.iter().flat_map(|(call, count)| (1..=*count).map(move |number| Point { phase, call, number })));
    }
    let step = if all { 1 } else { points.len().div_ceil(KILLS_OF_A_SHORT_RUN).max(1) };
    let (mut tried, mut killed) = (0, 0);
    for point in points.iter().step_by(step) {
        tried += 1;
        killed += usize::from(kill_at(&place, &mut witness, *point).await);
    }
    // A phase may come to a few calls less than the one that was observed.
    assert!(killed * 2 > tried, "only {killed} of {tried} points were reached");
    if all {
        killed += beyond(&place, &mut witness, &points).await;
    }
    println!("{killed} kills, {tried} of {} points tried", points.len());
    let mut running = place.start().await;
    witness.submit(&mut running).await.unwrap();
    verify_everything(&mut witness, &mut running).await;
    running.stop();
    place.check().unwrap();
}

/// Goes on behind the last call that was observed until a phase comes to its end, for each kind of call.
async fn beyond(place: &Place, witness: &mut Witness, points: &[Point]) -> usize {
    let mut killed = 0;
    let is_last = |at: &usize| points.get(at + 1).is_none_or(|next| next.number == 1);
    for last in (0..points.len()).filter(is_last).map(|at| points[at]) {
        for number in last.number + 1..CALLS_MAX {
            if !kill_at(place, witness, Point { number, ..last }).await {
                break;
            }
            killed += 1;
        }
    }
    killed
}

/// How many calls of each kind one thread makes at most in a phase.
async fn observe(place: &Place, witness: &mut Witness, phase: Phase) -> Calls {
    let mut running = warmed_up(place, witness).await;
    let output = place.folder.path().join("observed");
    let options = ["-o".to_owned(), output.display().to_string()];
    assert!(lives_through(place, witness, &mut running, phase, &CALLS, &options).await, "it died untouched");
    running.kill();
    let mut counts: BTreeMap<(String, &'static str), usize> = BTreeMap::new();
    for line in fs::read_to_string(output).unwrap().lines() {
        // `<thread> <call>(…`: the second half of a call that was interrupted begins with `<...`.
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let call = rest.trim_start().split('(').next().unwrap_or_default();
        if let Some(call) = CALLS.into_iter().find(|known| *known == call) {
            *counts.entry((thread.to_owned(), call)).or_default() += 1;
        }
    }
    let mut most = Calls::new();
    for ((_, call), count) in counts {
        let held = most.entry(call).or_default();
        *held = count.max(*held);
    }
    most
}

/// One life of the coordinator. Whether it ended at this point.
async fn kill_at(place: &Place, witness: &mut Witness, point: Point) -> bool {
    let mut running = warmed_up(place, witness).await;
    let inject = format!("inject={}:signal=KILL:when={}", point.call, point.number);
    let options = ["-o".to_owned(), "/dev/null".to_owned(), "-e".to_owned(), inject];
    let survived = lives_through(place, witness, &mut running, point.phase, &[point.call], &options).await;
    running.kill();
    witness.see_file(place, &running);
    place.check().unwrap_or_else(|error| panic!("killed at {point:?}: {error}"));
    !survived
}

/// A coordinator that has everything that was acknowledged, and whose threads have all been at work.
async fn warmed_up(place: &Place, witness: &mut Witness) -> Running {
    let mut running = place.start().await;
    witness.see_file(place, &running);
    if !witness.latest.is_empty() {
        witness.submit(&mut running).await.unwrap();
        witness.await_verdicts(&mut running).await.unwrap();
    }
    assert!(settled(place, &mut running).await, "it died untouched");
    running
}

/// A submission, of which one phase is traced. Whether the coordinator lived to its end.
async fn lives_through(
    place: &Place,
    witness: &mut Witness,
    running: &mut Running,
    phase: Phase,
    calls: &[&str],
    options: &[String],
) -> bool {
    witness.sign();
    let tracer = (phase == Phase::Commit).then(|| Tracer::attach(running, phase, calls, options));
    let committed = async {
        witness.submit(running).await?;
        witness.await_verdicts(running).await
    };
    let committed = tokio::time::timeout(PATIENCE, committed).await.expect("an answer or an end");
    drop(tracer);
    if committed.is_err() || phase == Phase::Commit {
        return committed.is_ok();
    }
    let _tracer = Tracer::attach(running, phase, calls, options);
    settled(place, running).await
}

/// Waits until no stage file is left; false when the process ends before.
async fn settled(place: &Place, running: &mut Running) -> bool {
    let began = Instant::now();
    let mut quiet = 0;
    while quiet < 3 {
        if running.has_ended() {
            return false;
        }
        assert!(began.elapsed() < PATIENCE, "it does not settle");
        quiet = if is_settled(place) { quiet + 1 } else { 0 };
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    true
}

/// Files under scratch names mean nothing.
fn is_settled(place: &Place) -> bool {
    let names = fs::read_dir(place.data().join("stage")).unwrap().map(|entry| entry.unwrap().file_name());
    names.into_iter().all(|name| name.to_string_lossy().starts_with('.'))
}

async fn verify_everything(witness: &mut Witness, running: &mut Running) {
    for (number, envelope) in &witness.acknowledged {
        let about = about(*number);
        let request = api::ListResultsRequest { artifact: about.digest.to_string(), ..Default::default() };
        let listed = running.client.list_results(request).await.unwrap().into_inner().items;
        let held: BTreeSet<&[u8]> = listed.iter().map(|item| &*item.envelope).collect();
        assert!(held.len() == listed.len() && held.contains(envelope.as_slice()), "result {number} is lost, or stands there twice");
    }
    let last = running.quiet().await;
    for (size, root) in &witness.roots {
        verify_consistency(running, &TreeHead { size: *size, root: *root }, &last).await;
    }
}

/// `strace` on a running coordinator. Ends when dropped.
struct Tracer(Child);

impl Tracer {
    /// Returns once every thread is traced. Threads that do nothing with files write to wake each other: where
    /// the `write`s of a commit alone are counted, only the writer's are.
    fn attach(running: &Running, phase: Phase, calls: &[&str], options: &[String]) -> Self {
        let scope = if phase == Phase::Commit && calls == ["write"] {
            let threads = threads_of(running.pid());
            let (writer, _) = threads.into_iter().find(|(_, name)| name == "writer").unwrap();
            vec!["-p".to_owned(), writer]
        } else {
            vec!["-f".to_owned(), "-p".to_owned(), running.pid().to_string()]
        };
        let mut command = Command::new("strace");
        command.args(scope).arg("-e").arg(format!("trace={}", calls.join(","))).args(options);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let tracer = Self(child);
        let (says, said) = mpsc::channel();
        // Reads on to the end, so that it never waits to be read.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = says.send(line);
            }
        });
        // `Process 1 attached`, or `Process 1 attached with 9 threads`: one line, once all of them are.
        let line = said.recv_timeout(PATIENCE).expect("strace attaches");
        assert!(line.contains(" attached"), "strace says: {line}");
        tracer
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // With SIGKILL, whatever it waits for: what it traced goes on alone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Number and name of every thread.
fn threads_of(pid: u32) -> Vec<(String, String)> {
    let tasks = fs::read_dir(PathBuf::from(format!("/proc/{pid}/task"))).unwrap();
    let thread = |path: PathBuf| {
        let name = fs::read_to_string(path.join("comm")).ok()?.trim_end().to_owned();
        Some((path.file_name()?.to_string_lossy().into_owned(), name))
    };
    tasks.filter_map(|task| thread(task.ok()?.path())).collect()
}

/// Whether a process of ours can be traced once it runs.
fn can_trace() -> Result<(), String> {
    let mut sleeping = Command::new("sleep").arg("5").spawn().map_err(|error| error.to_string())?;
    let attached = Command::new("timeout").args(["1", "strace", "-qq", "-e", "trace=none", "-p", &sleeping.id().to_string()]).output();
    let _ = sleeping.kill();
    let _ = sleeping.wait();
    let output = attached.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    // 124: strace was still attached when its time was up. 127: there is no strace.
    if output.status.code() == Some(124) { Ok(()) } else { Err(if said.is_empty() { output.status.to_string() } else { said }) }
}
