//! The real program: started, killed, started again, while a peer listens all along.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "daemon/witnessed.rs"]
mod witnessed;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_gossip::{FeedStore as _, Mesh, MeshConfig, Multiaddr};
use quorate_node::attest::Finding;
use quorate_node::blob::BlobStore;
use quorate_node::daemon::Ready;
use quorate_node::feed::{self, Feeds, Own};
use quorate_node::pipeline::Job;
use quorate_node::queue::Queue;
use quorate_proto::result::{Environment, EnvironmentClass, NotAttemptedReason, Outcome, RegistryView};
use quorate_proto::{Digest, NodeId, OperatorId, SecretKey, Timestamp};
use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(40);

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate-node"));
    command.env("RUST_LOG", "warn").stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    program().args(args).output().unwrap()
}

fn json(args: &[&str]) -> Value {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A node's folder, made with the program's own commands.
struct Node {
    dir: TempDir,
    operator: OperatorId,
    id: NodeId,
}

impl Node {
    fn new(bootstrap: &[Multiaddr]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (root, data) = (dir.path().join("root"), dir.path().join("data"));
        let operator = json(&["operator", "init", "--dir", text(&root), "--name", "alpha", "--format", "json"]);
        let key = json(&["key", "init", "--dir", text(&data), "--format", "json"]);
        let (operator, id) = (operator["operator"].as_str().unwrap(), key["node"].as_str().unwrap());
        fs::write(
            dir.path().join("policy.toml"),
            format!("version = 1\nthreshold = 1\n[[operator]]\nname = \"alpha\"\nkey = \"{operator}\"\n"),
        )
        .unwrap();
        let bootstrap: Vec<String> = bootstrap.iter().map(|address| format!("\"{address}\"")).collect();
        let config = format!(
            "data_dir = \"data\"\n[node]\nkey = \"data/node.key\"\ncertificate = \"node.cert\"\npolicy = \"policy.toml\"\n\
             [mesh]\nlisten = [\"/ip4/127.0.0.1/udp/0/quic-v1\", \"/ip4/127.0.0.1/tcp/0\"]\nbootstrap = [{}]\n",
            bootstrap.join(", ")
        );
        fs::write(dir.path().join("node.toml"), config).unwrap();
        let node = Self { operator: operator.parse().unwrap(), id: id.parse().unwrap(), dir };
        node.certify();
        node
    }

    fn certify(&self) {
        let (root, key, out) = (self.path("root/operator.key"), self.path("data/node.key"), self.path("node.cert"));
        json(&[
            "operator",
            "certify",
            "--root",
            text(&root),
            "--node-key",
            text(&key),
            "--out",
            text(&out),
            "--days",
            "2",
            "--format",
            "json",
        ]);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn start(&self) -> Child {
        program().args(["run", "--config", text(&self.path("node.toml"))]).stderr(Stdio::inherit()).spawn().unwrap()
    }

    /// Starts the node and waits until it says that it listens.
    fn start_ready(&self) -> Child {
        let child = self.start();
        until("ready.json of this process", || self.ready().is_some_and(|ready| ready.pid == child.id()));
        child
    }

    fn ready(&self) -> Option<Ready> {
        serde_json::from_slice(&fs::read(self.path("data/ready.json")).ok()?).ok()
    }

    /// A job whose outcome is there already: nothing has to be built.
    fn add_built(&self, number: usize) {
        self.add(&finding(number));
    }

    fn add(&self, finding: &Finding) {
        let queue = Queue::open(&self.path("data")).unwrap();
        let job = Job { package: finding.package.clone(), file: Some(finding.file.clone()), artifact_path: None };
        queue.stage(quorate_node::queue::JobId::of(&job), finding).unwrap();
        queue.enqueue(&job).unwrap();
    }

    fn entries(&self) -> Vec<Value> {
        let output = run(&["feed", "--dir", text(&self.path("data")), "--format", "json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn feed_bytes(&self) -> u64 {
        let files = fs::read_dir(self.path("data/feeds")).unwrap().filter_map(|entry| entry.ok()?.metadata().ok());
        files.map(|metadata| metadata.len()).max().unwrap_or(0)
    }

    fn queued(&self) -> usize {
        fs::read_dir(self.path("data/queue")).unwrap().count()
    }
}

fn finding(number: usize) -> Finding {
    let now = Timestamp::from(std::time::SystemTime::now()).whole_seconds();
    let inventory = format!("{{\"inventory\":{number}}}").into_bytes();
    Finding {
        file: format!("sample-{number}-py3-none-any.whl").parse().unwrap(),
        published: Digest::of(number.to_string().as_bytes()),
        package: format!("pkg:pypi/sample@{number}").parse().unwrap(),
        registry: RegistryView {
            url: "https://registry.example/a".to_owned(),
            size_bytes: 1,
            index_checksum: None,
            published_at: None,
            observed_at: now,
        },
        source: None,
        outcome: Outcome::NotAttempted { reason: NotAttemptedReason::UnsupportedKind },
        anomalies: Vec::new(),
        assists: Vec::new(),
        violations: Vec::new(),
        toolchain: Vec::new(),
        environment: Environment { class: EnvironmentClass::Host, digest: Digest::of(&inventory) },
        intermediates: None,
        started_at: now,
        finished_at: now,
        provenance: None,
        blobs: vec![inventory],
        seconds: BTreeMap::new(),
        fetched: quorate_node::traffic::Fetched::default(),
        attempts: Vec::new(),
    }
}

fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let began = Instant::now();
    while !reached() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn terminate(mut child: Child) -> i32 {
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    child.wait().unwrap().code().unwrap()
}

/// A peer that listens all along, with the node's own kind of store.
struct Listener {
    feeds: Feeds,
    mesh: Mesh,
    dir: TempDir,
}

impl Listener {
    async fn start(port: u16) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = SecretKey::from_seed(&[42; 32]);
        feed::begin(dir.path(), &key.node_id()).unwrap();
        // The node that it will listen to is enrolled later, by `enrol`; until then there is nobody.
        let feeds = open(&dir, &key, BTreeSet::new());
        let mesh = mesh(&key, &feeds, port);
        mesh.listening().await.unwrap();
        Self { feeds, mesh, dir }
    }

    async fn enrol(self, operator: OperatorId) -> Self {
        let address = self.mesh.listening().await.unwrap()[0].clone();
        let port = address.iter().find_map(|part| part.to_string().strip_prefix("/tcp/").and_then(|port| port.parse().ok()));
        self.mesh.stop().await;
        let key = SecretKey::from_seed(&[42; 32]);
        drop(self.mesh);
        drop(self.feeds);
        until("the listener's folder to be free", || try_open(&self.dir, &key, [operator].into()).is_some());
        let feeds = open(&self.dir, &key, [operator].into());
        let mesh = mesh(&key, &feeds, port.unwrap());
        mesh.listening().await.unwrap();
        Self { feeds, mesh, dir: self.dir }
    }

    async fn next_of(&self, node: NodeId) -> u64 {
        self.feeds.heads().await.into_iter().find(|(other, _)| *other == node).map_or(0, |(_, head)| head.next())
    }
}

fn try_open(dir: &TempDir, key: &SecretKey, enrolled: BTreeSet<OperatorId>) -> Option<Feeds> {
    let own = Own { node: key.node_id(), operator: SecretKey::from_seed(&[41; 32]).operator_id() };
    Feeds::open(dir.path(), own, enrolled, BlobStore::open(&dir.path().join("blobs")).unwrap()).ok()
}

fn open(dir: &TempDir, key: &SecretKey, enrolled: BTreeSet<OperatorId>) -> Feeds {
    try_open(dir, key, enrolled).unwrap()
}

fn mesh(key: &SecretKey, feeds: &Feeds, port: u16) -> Mesh {
    let listen = vec![format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()];
    let config = MeshConfig { listen, ..MeshConfig::default() };
    Mesh::start(key, config, Arc::new(feeds.clone())).unwrap().0
}

/// The same numbers on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

const ROUNDS: usize = 14;
const JOBS_A_ROUND: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_when_every_job_has_one_result_and_no_sequence_number_is_used_twice() {
    let listener = Listener::start(0).await;
    let address = listener.mesh.listening().await.unwrap();
    let node = Node::new(&address);
    let listener = listener.enrol(node.operator).await;
    let mut random = Random(0x5EED_0001);
    for round in 0..ROUNDS {
        (0..JOBS_A_ROUND).for_each(|n| node.add_built(round * JOBS_A_ROUND + n));
        let before = node.feed_bytes();
        let mut child = node.start();
        // A random moment: while it starts, in every fourth round; else while it signs.
        if round % 4 != 3 {
            until("the first entry of this round", || node.feed_bytes() > before);
        }
        std::thread::sleep(Duration::from_micros(random.below(if round % 4 == 3 { 400_000 } else { 60_000 })));
        child.kill().unwrap();
        child.wait().unwrap();
        eprintln!("round {round}: killed with {} of {} jobs signed", node.entries().len(), (round + 1) * JOBS_A_ROUND);
    }
    let all = ROUNDS * JOBS_A_ROUND;
    let child = node.start_ready();
    until("an empty queue", || node.queued() == 0);
    let entries = node.entries();
    let sequences: Vec<u64> = entries.iter().map(|entry| entry["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences, (0..all as u64).collect::<Vec<_>>(), "gap-free");
    let packages: BTreeSet<&str> = entries.iter().map(|entry| entry["package"].as_str().unwrap()).collect();
    assert_eq!(packages.len(), all, "exactly one result a job");
    let began = Instant::now();
    while listener.next_of(node.id).await < all as u64 || !listener.feeds.wanted_blobs().await.is_empty() {
        assert!(began.elapsed() < PATIENCE * 2, "the listener holds {} of {all}", listener.next_of(node.id).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(listener.feeds.equivocations().is_empty(), "no sequence number was used twice");
    assert_eq!(listener.mesh.counters().get(quorate_gossip::counters::Place::Gossip, "fork"), 0);
    assert_eq!(terminate(child), 0);
    assert!(node.ready().is_none(), "a node that ended in good order is not ready");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_killed_finds_its_peer_in_its_book_and_says_how_it_stands() {
    let listener = Listener::start(0).await;
    let node = Node::new(&listener.mesh.listening().await.unwrap());
    let data = node.path("data");
    let connected = || {
        let peers = run(&["peers", "--dir", text(&data), "--format", "json"]);
        let peers: Value = serde_json::from_slice(&peers.stdout).unwrap_or_default();
        peers["peers"].as_array().is_some_and(|peers| peers.len() == 1 && !peers[0]["connection"].is_null())
    };
    let mut child = node.start_ready();
    until("the connection", connected);
    until("the book", || fs::read_to_string(data.join("peers")).is_ok_and(|book| book.contains("\npeer ")));
    child.kill().unwrap();
    child.wait().unwrap();
    let config = fs::read_to_string(node.path("node.toml")).unwrap();
    let bootstrap = config.lines().find(|line| line.starts_with("bootstrap")).unwrap();
    fs::write(node.path("node.toml"), config.replace(bootstrap, "bootstrap = []")).unwrap();
    fs::remove_file(data.join("mesh.json")).unwrap();
    let child = node.start_ready();
    until("the connection to a peer of the book", connected);
    node.add_built(1);
    until("the own feed in the status", || {
        let status = run(&["sync-status", "--dir", text(&data), "--format", "json"]);
        assert!(status.status.code() == Some(0) || !data.join("mesh.json").exists(), "{}", String::from_utf8_lossy(&status.stderr));
        let status: Value = serde_json::from_slice(&status.stdout).unwrap_or_default();
        status["feeds"].as_array().is_some_and(|feeds| feeds.iter().any(|feed| feed["held"] == 1))
    });
    assert!(String::from_utf8(run(&["peers", "--dir", text(&data)]).stdout).unwrap().contains("direct"));
    assert_eq!(terminate(child), 0);
    let away = run(&["peers", "--dir", text(&data)]);
    assert_eq!(away.status.code(), Some(2));
    assert!(String::from_utf8(away.stderr).unwrap().contains("hint:"));
}

/// The other operator never answers: the result comes when its time is over, whatever happened meanwhile.
#[test]
fn a_node_that_is_killed_while_it_holds_a_result_back_reveals_it_after_the_next_start() {
    let node = Node::new(&[]);
    let other = SecretKey::from_seed(&[7; 32]).operator_id();
    append(&node.path("policy.toml"), &format!("[[operator]]\nname = \"bravo\"\nkey = \"{other}\"\n"));
    let policy = fs::read_to_string(node.path("policy.toml")).unwrap().replace("threshold = 1", "threshold = 2");
    fs::write(node.path("policy.toml"), policy).unwrap();
    append(&node.path("node.toml"), "[commit]\ndeadline_seconds = 3\n");
    node.add_built(1);
    let mut child = node.start_ready();
    until("the commitment", || node.entries().len() == 1);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(node.entries()[0]["entry"], "commitment");
    let child = node.start_ready();
    until("the result", || node.entries().len() == 2 && node.queued() == 0);
    let result = &node.entries()[1];
    assert_eq!((&result["entry"], &result["reveals"]), (&Value::from("result"), &Value::from(0)));
    assert_eq!(fs::read_dir(node.path("data/holds")).unwrap().count(), 0);
    assert_eq!(terminate(child), 0);
}

fn append(path: &Path, text: &str) {
    let held = fs::read_to_string(path).unwrap();
    fs::write(path, held + text).unwrap();
}

#[test]
fn a_job_that_comes_while_the_node_runs_is_noticed() {
    let node = Node::new(&[]);
    let child = node.start_ready();
    node.add_built(1);
    until("the result", || node.entries().len() == 1 && node.queued() == 0);
    node.add_built(1);
    until("the repeated job to be dropped", || node.queued() == 0);
    assert_eq!(node.entries().len(), 1, "done is done");
    assert_eq!(terminate(child), 0);
}

#[test]
fn a_poisonous_outcome_stops_neither_the_node_nor_the_jobs_beside_it() {
    let node = Node::new(&[]);
    // One contradicts itself, one names a file that no peer could serve, one has more to say than fits.
    let rebuilt = quorate_proto::result::RebuiltFile { digest: finding(1).published, size_bytes: 1, normal: None };
    node.add(&Finding { outcome: Outcome::Identical { rebuilt }, ..finding(1) });
    node.add(&Finding { blobs: vec![vec![0; 5 << 20]], ..finding(2) });
    node.add(&Finding { violations: vec!["x".repeat(100); 2000], ..finding(3) });
    node.add_built(4);
    for _ in 0..2 {
        let child = node.start_ready();
        until("the results that can be signed", || node.entries().len() == 2 && node.queued() == 2);
        assert_eq!(terminate(child), 0);
    }
    let rejected = fs::read_dir(node.path("data/queue")).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let mut rejected: Vec<String> = rejected.collect();
    rejected.sort();
    assert!(rejected[0].contains("file of 5242880 bytes") && rejected[1].contains("contradiction"), "{rejected:?}");
}

#[test]
fn a_published_file_whose_bytes_have_changed_is_reported_beside_the_first() {
    let node = Node::new(&[]);
    let child = node.start_ready();
    node.add_built(1);
    until("the first result", || node.entries().len() == 1 && node.queued() == 0);
    node.add(&Finding { published: Digest::of(b"other bytes under the same name"), ..finding(1) });
    until("the second result", || node.entries().len() == 2 && node.queued() == 0);
    assert_eq!(terminate(child), 0);
}

#[test]
fn a_second_process_on_one_folder_is_refused() {
    let node = Node::new(&[]);
    let child = node.start_ready();
    let second = run(&["run", "--config", text(&node.path("node.toml"))]);
    assert_eq!(second.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&second.stderr).contains("held by another process"));
    assert_eq!(terminate(child), 0);
}

#[test]
fn a_key_that_others_can_read_stops_the_node() {
    let node = Node::new(&[]);
    fs::set_permissions(node.path("data/node.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let output = run(&["run", "--config", text(&node.path("node.toml"))]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("others than its owner may read it"));
}

#[test]
fn a_key_whose_feed_is_lost_does_not_sign_again() {
    let node = Node::new(&[]);
    node.add_built(1);
    let child = node.start_ready();
    until("the result", || node.entries().len() == 1);
    assert_eq!(terminate(child), 0);
    fs::remove_dir_all(node.path("data/feeds")).unwrap();
    let output = run(&["run", "--config", text(&node.path("node.toml"))]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("must not sign again"));
}

#[test]
fn nothing_is_signed_outside_of_the_certificate_and_signing_goes_on_when_it_is_renewed() {
    let node = Node::new(&[]);
    let root = quorate_node::key::load(&node.path("root/operator.key")).unwrap();
    let (not_before, not_after) = (Timestamp::from_unix_seconds(1_000_000_000), Timestamp::from_unix_seconds(1_000_100_000));
    let certificate = quorate_proto::certificate::NodeCertificate { operator: node.operator, node: node.id, not_before, not_after };
    fs::write(node.path("node.cert"), certificate.sign(&root).bytes()).unwrap();
    node.add_built(1);
    let child = node.start_ready();
    std::thread::sleep(Duration::from_millis(600));
    assert!(node.entries().is_empty());
    node.certify();
    until("the result", || node.entries().len() == 1);
    assert_eq!(terminate(child), 0);
}
