//! The real program with a configuration: started, killed, started again; its queue, its feed, its status.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use quorate_node::feed;
use quorate_node::pipeline::Job;
use quorate_proto::entry::EntryStatement;
use quorate_proto::result::RebuildResult;
use serde_json::Value;
use tempfile::TempDir;

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_mins(2);
/// The same where a root may have to be made for a build.
const PATIENCE_FOR_BUILDS: Duration = Duration::from_mins(10);

/// What a node does with its jobs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Builds {
    /// It builds and signs.
    Run,
    /// Jobs stay in the queue: the sandbox is kept from it.
    Wait,
}

/// A node's folder, and its process while it runs.
pub(crate) struct Node {
    dir: TempDir,
    child: Option<Child>,
    patience: Duration,
}

impl Node {
    /// A node that watches as `watch` says: sections of its configuration.
    pub(crate) fn new(watch: &str, builds: Builds) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let patience = if builds == Builds::Run { PATIENCE_FOR_BUILDS } else { PATIENCE };
        let node = Self { dir, child: None, patience };
        let operator = Self::json(&["operator", "init", "--dir", &node.text("root"), "--name", "alpha", "--format", "json"]);
        Self::json(&["key", "init", "--dir", &node.text("data"), "--format", "json"]);
        let (root, key, out) = (node.text("root/operator.key"), node.text("data/node.key"), node.text("node.cert"));
        Self::json(&["operator", "certify", "--root", &root, "--node-key", &key, "--out", &out, "--days", "2", "--format", "json"]);
        let operator = operator["operator"].as_str().unwrap();
        let policy = format!("version = 1\nthreshold = 1\n[[operator]]\nname = \"alpha\"\nkey = \"{operator}\"\n");
        fs::write(node.path("policy.toml"), policy).unwrap();
        let sandbox = if builds == Builds::Wait { "[sandbox]\nbwrap = \"/no/such/program\"\n" } else { "" };
        let config = format!(
            "data_dir = \"data\"\n[node]\nkey = \"data/node.key\"\ncertificate = \"node.cert\"\npolicy = \"policy.toml\"\n\
             [mesh]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\n{sandbox}{watch}\n"
        );
        fs::write(node.path("node.toml"), config).unwrap();
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn run(args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_quorate-node")).args(args).stdin(Stdio::null()).output().unwrap()
    }

    fn json(args: &[&str]) -> Value {
        let output = Self::run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(crate) fn start(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate-node"));
        command.args(["run", "--config", &self.text("node.toml")]).stdin(Stdio::null()).stderr(log);
        self.child = Some(command.env("RUST_LOG", "warn,quorate_node=info").env("NO_COLOR", "1").spawn().unwrap());
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// What was handed over: package and file of every job that waits, was put aside, or is signed, sorted. A
    /// build that needs no sandbox is signed and gone from the queue at once. What is signed stands here as
    /// often as the feed has it.
    pub(crate) fn handed_over(&self) -> Vec<String> {
        // In the order of a job's way: what moves on meanwhile is seen in one place or in both, never in none.
        let mut unsigned = self.waiting();
        unsigned.extend(self.put_aside());
        let text = |entry: &Value, field: &str| entry[field].as_str().unwrap().to_owned();
        let mut all: Vec<String> =
            self.signed().iter().map(|entry| format!("{} {}", text(entry, "package"), text(entry, "artifact"))).collect();
        unsigned.retain(|job| !all.contains(job));
        all.extend(unsigned);
        all.sort();
        all
    }

    /// The jobs in the queue, by what stands in them.
    fn waiting(&self) -> BTreeSet<String> {
        // A file that has gone since the folder was listed is a job that has moved on.
        let jobs = self.queued("job").into_iter().filter_map(|path| fs::read(path).ok());
        let jobs = jobs.map(|bytes| serde_json::from_slice::<Job>(&bytes).unwrap());
        jobs.map(|job| format!("{} {}", job.package, job.file.unwrap())).collect()
    }

    /// The jobs that can never be done. Their files say why, and the log what they are called.
    fn put_aside(&self) -> BTreeSet<String> {
        let names = self.names();
        let id = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        self.queued("rejected").into_iter().map(id).map(|id| names.get(&id).cloned().unwrap_or(id)).collect()
    }

    fn queued(&self, ending: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("data/queue")).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.extension().is_some_and(|own| own == ending)).collect()
    }

    /// What each job is called, by the log.
    fn names(&self) -> BTreeMap<String, String> {
        let log = self.log();
        let published = log.lines().filter(|line| line.contains("watch: published"));
        let name = |line: &str| {
            let field = |name: &str| Some(line.split_once(name)?.1.split_whitespace().next()?.trim_end_matches(['"', ')']).to_owned());
            Some((field(" job=")?, format!("{} {}", field(" package=")?, field(" file=Some(\"")?)))
        };
        published.filter_map(name).collect()
    }

    /// Waits until this was handed over, no more and no less.
    pub(crate) fn wait_for(&self, expected: &[&str]) {
        let mut expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
        expected.sort();
        let mut last = Vec::new();
        self.until(&format!("{expected:?}"), || {
            last = self.handed_over();
            last == expected || last.len() > expected.len()
        });
        assert_eq!(last, expected, "{}", self.log());
    }

    /// Waits until every watch has polled again without a problem after this.
    pub(crate) fn wait_for_poll(&self) {
        // Times are kept in whole seconds.
        std::thread::sleep(Duration::from_millis(1100));
        let since = self.polls();
        self.until("a poll", || self.polls().iter().zip(&since).all(|(now, before)| now > before) && !self.polls().is_empty());
    }

    fn polls(&self) -> Vec<Option<String>> {
        let watches = self.status()["watches"].as_array().cloned().unwrap_or_default();
        watches.iter().map(|watch| watch["succeededAt"].as_str().map(str::to_owned)).collect()
    }

    /// How often each file was handed to the queue, by the log.
    pub(crate) fn handed(&self) -> BTreeMap<String, u32> {
        let mut times = BTreeMap::new();
        for line in self.log().lines().filter(|line| line.contains("watch: published")) {
            let field =
                |name: &str| line.split_once(name).and_then(|(_, rest)| rest.split_whitespace().next()).unwrap_or_default().to_owned();
            *times.entry(field("package=")).or_default() += 1;
        }
        times
    }

    /// What its watches say of themselves.
    pub(crate) fn status(&self) -> Value {
        serde_json::from_slice(&Self::run(&["watch", "status", "--dir", &self.text("data"), "--format", "json"]).stdout).unwrap()
    }

    /// The entries of its feed, in order.
    pub(crate) fn signed(&self) -> Vec<Value> {
        let output = Self::run(&["feed", "--dir", &self.text("data"), "--format", "json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What it has signed, in order, in full.
    pub(crate) fn results(&self) -> Vec<RebuildResult> {
        let data = self.path("data");
        let own = feed::begun(&data).unwrap();
        let result = |entry| match entry {
            EntryStatement::Result(statement) => Some(statement.predicate),
            EntryStatement::Commitment(_) | EntryStatement::Check(_) => None,
        };
        feed::read(&data, own[0]).unwrap().into_iter().filter_map(result).collect()
    }

    /// Why jobs were put aside, or are tried again later; nothing when all goes well.
    pub(crate) fn unfinished(&self) -> String {
        let files = self.queued("rejected").into_iter().chain(self.queued("retry"));
        files.filter_map(|path| fs::read_to_string(path).ok()).collect()
    }

    /// Waits until all is watched that was asked for, and nothing is wrong with it.
    pub(crate) fn until_begun(&self) {
        self.until("the watch to begin", || {
            let status = self.status();
            status["ok"] == true && !status["watches"].as_array().unwrap().is_empty()
        });
    }

    pub(crate) fn until(&self, what: &str, mut reached: impl FnMut() -> bool) {
        let began = Instant::now();
        while !reached() {
            assert!(
                began.elapsed() < self.patience,
                "waited in vain for {what}\n{:?}\n{}\n{}",
                self.handed_over(),
                self.status(),
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
