//! Keys, policy, configuration and processes of the network.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

use crate::cases::Case;
use crate::lie;
use quorate_devnet::member;
use quorate_devnet::process::{self, Running};

/// Names of operators; more are numbered.
const NAMES: [&str; 8] = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"];

/// The name of the log.
const ORIGIN: &str = "log.quorate.example/devnet";

/// A network that runs until this value is dropped.
#[derive(Debug)]
pub(crate) struct Network {
    /// Where the coordinator serves.
    pub address: String,
    /// The policy under which verdicts are made, for the `quorate` commands to try.
    pub policy: PathBuf,
    /// How many operators there are.
    pub operators: usize,
    /// The operator that lies, if a case is made for it.
    pub liar: Option<String>,
    /// The nodes without whose cosignatures the coordinator publishes nothing.
    pub witnesses: Vec<Witness>,
    /// How many of them it takes.
    pub quorum: usize,
    /// The drill on the backdoored release, if there is one.
    pub drill: Option<String>,
    /// The coordinator's data directory.
    home: PathBuf,
    processes: Vec<Running>,
}

/// A node that cosigns the coordinator's checkpoints.
#[derive(Clone, Debug)]
pub(crate) struct Witness {
    name: String,
    vkey: String,
    /// Its submission and monitoring prefix.
    pub url: String,
}

/// An operator and its one node.
struct Member {
    name: String,
    dir: PathBuf,
    /// The lines that enrol it in a policy.
    enrolment: String,
}

impl Network {
    /// Makes everything in `dir` and starts it. Every case is put into every node's queue; the backdoored one is a
    /// drill, and comes when that was announced.
    ///
    /// The witnesses begin, because the coordinator asks them from its first checkpoint on; it finds them, and their
    /// results, over the mesh. The last operator, the one that lies, is no witness: its node hands its results in
    /// over gRPC.
    pub(crate) async fn start(dir: &Path, operators: usize, cases: &[Case]) -> anyhow::Result<Self> {
        let mut members = Vec::new();
        for index in 0..operators {
            members.push(Member::make(dir, index).await?);
        }
        let home = dir.join("coordinator");
        let log_key = process::run("quorate-coordinator", &["init", "--dir", path(&home), "--origin", ORIGIN]).await?;
        let policy = dir.join("policy.toml");
        let text_of = |witnesses: &str| policy_text(&members, log_key.trim(), witnesses);
        // Nodes need to know whom to take results from and which log to witness.
        write(&dir.join("enrolled.toml"), &text_of(""))?;
        // More than (N + 1) / 2 of the N witnesses: one that lies cannot help to two histories.
        let quorum = operators / 2 + 1;
        let mut network = Self {
            address: String::new(),
            policy,
            operators,
            liar: None,
            witnesses: Vec::new(),
            quorum,
            drill: None,
            home: home.clone(),
            processes: Vec::new(),
        };
        network.tell_the_liar(members.last(), cases)?;
        let (last, witnessing) = members.split_last().context("a network has operators")?;
        let (drilled, releases): (Vec<_>, Vec<_>) = cases.iter().cloned().partition(Case::is_backdoored);
        let addresses = network.start_witnesses(witnessing, &releases).await?;

        let witnesses = witness_policy(&network.witnesses, quorum);
        write(&dir.join("witnesses.policy"), &witnesses)?;
        write(&network.policy, &text_of(&format!("witnesses = \'\'\'\n{witnesses}\'\'\'\n")))?;
        let config = dir.join("coordinator.toml");
        write(&config, &coordinator_text(&addresses))?;
        let mut coordinator = Running::start("quorate-coordinator", &config, &home)?;
        let said = coordinator.ready().await.context("starting the coordinator")?;
        network.processes.push(coordinator);
        network.address = format!("http://{}", text(&said, "http")?.trim_start_matches("http://"));

        if let Some(case) = drilled.first() {
            network.drill = Some(network.announce(case).await?);
        }
        for member in witnessing {
            member.enqueue(&drilled).await?;
        }
        let submit = format!("\n[coordinator]\nsubmit = \"{}\"\n", network.address);
        let mut node = last.start(&listed(&said["mesh"]), &submit, cases).await?;
        node.ready().await.context("starting a node")?;
        network.processes.push(node);
        Ok(network)
    }

    /// Says in the log, before anybody looks at it, that there is a drill: which one is not said. Its id.
    async fn announce(&self, case: &Case) -> anyhow::Result<String> {
        let (package, digest) = (case.package.to_string(), case.digest.to_string());
        let drill =
            ["announce", "--purl", &package, "--artifact", &case.file, "--sha256", &digest, "--reason", "a module that no source has"];
        let said = self.ask_drill(&drill).await?;
        text(&said, "id").map(str::to_owned)
    }

    /// Says which release the drill was on; answers what that shows.
    pub(crate) async fn open(&self, drill: &str) -> anyhow::Result<Value> {
        self.ask_drill(&["open", drill]).await
    }

    async fn ask_drill(&self, args: &[&str]) -> anyhow::Result<Value> {
        let all = [&["drill", "--format", "json", "--dir", path(&self.home)], args].concat();
        let said = process::run("quorate-coordinator", &all).await?;
        let said: Value = serde_json::from_str(&said).context("reading what `drill` prints")?;
        Ok(said["drills"][0].clone())
    }

    /// Starts the first node, and then the others, which find it. Answers where each listens.
    async fn start_witnesses(&mut self, members: &[Member], cases: &[Case]) -> anyhow::Result<Vec<String>> {
        let mut addresses = Vec::new();
        let mut starting = Vec::new();
        for member in members {
            let witness = format!("\n[witness]\nlisten = \"127.0.0.1:0\"\nname = \"{}.quorate.example/witness\"\n", member.name);
            let node = member.start(&addresses, &witness, cases).await?;
            starting.push((member, node));
            if addresses.is_empty() {
                addresses = self.take_ready(&mut starting).await?;
            }
        }
        let others = self.take_ready(&mut starting).await?;
        addresses.extend(others);
        Ok(addresses)
    }

    /// Waits for nodes; notes whom they witness as, and answers where they listen.
    async fn take_ready(&mut self, starting: &mut Vec<(&Member, Running)>) -> anyhow::Result<Vec<String>> {
        let mut addresses = Vec::new();
        for (member, mut node) in starting.drain(..) {
            let said = node.ready().await.context("starting a node")?;
            let (vkey, url) = (text(&said["witness"], "vkey")?.to_owned(), text(&said["witness"], "url")?.to_owned());
            self.witnesses.push(Witness { name: member.name.clone(), vkey, url });
            self.processes.push(node);
            addresses.extend(listed(&said["addresses"]));
        }
        Ok(addresses)
    }

    fn tell_the_liar(&mut self, liar: Option<&Member>, cases: &[Case]) -> anyhow::Result<()> {
        let backdoored = cases.iter().find(|case| case.is_backdoored());
        if let (Some(liar), Some(case)) = (liar, backdoored) {
            lie::stage(&liar.data(), case)?;
            self.liar = Some(liar.name.clone());
        }
        Ok(())
    }
}

impl Member {
    async fn make(dir: &Path, index: usize) -> anyhow::Result<Self> {
        let name = NAMES.get(index).map_or_else(|| format!("operator-{}", index + 1), |name| (*name).to_owned());
        let dir = dir.join(&name);
        let enrolment = member::make(&dir, &name).await?.enrolment;
        Ok(Self { name, dir, enrolment })
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    async fn enqueue(&self, cases: &[Case]) -> anyhow::Result<()> {
        for case in cases {
            let package = case.package.to_string();
            process::run("quorate-node", &["enqueue", "--dir", path(&self.data()), &package]).await?;
        }
        Ok(())
    }

    async fn start(&self, bootstrap: &[String], more: &str, cases: &[Case]) -> anyhow::Result<Running> {
        self.enqueue(cases).await?;
        let config = self.dir.join("node.toml");
        let cache = self.dir.with_file_name("cache");
        write(&config, &node_text(bootstrap, path(&cache), more))?;
        Running::start("quorate-node", &config, &self.data())
    }
}

/// The coordinator's configuration: every port is chosen by the system.
fn coordinator_text(bootstrap: &[String]) -> String {
    format!(
        r#"data_dir = "coordinator"
listen = "127.0.0.1:0"
policy = "policy.toml"

[log]
origin = "{ORIGIN}"
key_file = "coordinator/log.key"

[witnesses]
policy = "witnesses.policy"

[mesh]
listen = ["/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"]
bootstrap = [{}]
"#,
        quoted(bootstrap)
    )
}

fn node_text(bootstrap: &[String], cache: &str, more: &str) -> String {
    format!(
        r#"data_dir = "data"

[node]
key = "data/node.key"
certificate = "data/certificate.json"
policy = "../enrolled.toml"

[mesh]
listen = ["/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"]
bootstrap = [{}]

[commit]
# All nodes build at once: whoever has not committed by then is not waited for.
deadline_seconds = 60
settle_seconds = 1

[build]
# Downloads are checked by digest, so nodes on one machine can share them.
cache_dir = "{cache}"
{more}"#,
        quoted(bootstrap)
    )
}

fn policy_text(members: &[Member], log_key: &str, witnesses: &str) -> String {
    let operators = members.iter().map(|member| member.enrolment.as_str()).collect::<Vec<_>>().join("\n");
    let threshold = members.len() / 2 + 1;
    format!("version = 1\nthreshold = {threshold}\n\n{operators}\n[log]\norigin = \"{ORIGIN}\"\nkey = \"{log_key}\"\n{witnesses}")
}

/// A C2SP tlog-policy: so many of these.
fn witness_policy(witnesses: &[Witness], quorum: usize) -> String {
    let lines: String = witnesses.iter().map(|w| format!("witness {} {} {}\n", w.name, w.vkey, w.url)).collect::<Vec<_>>().concat();
    let names = witnesses.iter().map(|witness| witness.name.as_str()).collect::<Vec<_>>().join(" ");
    format!("{lines}group enough {quorum} {names}\nquorum enough\n")
}

fn listed(said: &Value) -> Vec<String> {
    said.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn quoted(addresses: &[String]) -> String {
    addresses.iter().map(|address| format!("{address:?}")).collect::<Vec<_>>().join(", ")
}

fn write(file: &Path, content: &str) -> anyhow::Result<()> {
    fs::write(file, content).with_context(|| format!("writing `{}`", file.display()))
}

fn text<'a>(said: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    said[field].as_str().with_context(|| format!("`{field}` is not said"))
}

fn path(path: &Path) -> &str {
    path.to_str().expect("the folder's name was checked to be text")
}
