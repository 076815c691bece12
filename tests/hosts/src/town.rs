//! Who lives on the hosts: a coordinator and nodes, one an operator, with their folders.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use quorate_devnet::member::{self, Member};
use quorate_devnet::process::{self, Running};
use quorate_devnet::stage::{self, Release, Says};
use quorate_proto::{Digest, Timestamp};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::network::{Host, Network, Ports};

const ORIGIN: &str = "log.quorate.example/hosts";
/// The mesh's port on every host, and the coordinator's for HTTP.
const MESH_PORT: u16 = 7700;
const HTTP_PORT: u16 = 7780;
/// Longest wait for what must come.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A coordinator and some nodes. Everything ends when this value is dropped, processes before their hosts.
#[derive(Debug)]
pub(crate) struct Town {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The coordinator.
    pub coordinator: Coordinator,
    /// The hosts.
    pub network: Network,
    _dir: tempfile::TempDir,
}

/// An operator's one node.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its operator's name.
    pub name: String,
    /// Where it runs.
    pub host: Host,
    /// By how many seconds its clock is ahead.
    pub ahead: i64,
    dir: PathBuf,
    id: String,
    enrolment: String,
    signed: usize,
    process: Option<Running>,
}

/// The one coordinator.
#[derive(Debug)]
pub(crate) struct Coordinator {
    host: Host,
    dir: PathBuf,
    process: Option<Running>,
}

/// What a town is made with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    /// Nodes on hosts that everybody reaches.
    pub nodes: usize,
    /// More of them, each behind NAT of its own. They are the last.
    pub volunteers: usize,
    /// What their routers do with ports.
    pub ports: Ports,
    /// What bootstrap addresses are reached over.
    pub transport: Transport,
    /// What the first node is to the others.
    pub first: First,
}

/// What carries a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Transport {
    #[default]
    Tcp,
    Quic,
}

/// What the first node is to the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum First {
    /// One of them.
    #[default]
    Peer,
    /// A relay that enrols nobody but itself: it takes nothing of theirs, and passes nothing on.
    Relay,
}

/// How two nodes are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Direct,
    Relayed,
}

impl Town {
    /// Makes all keys and files; nothing runs.
    pub(crate) async fn found(plan: Plan) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("quorate-hosts-").tempdir().context("making a folder")?;
        let mut network = Network::new()?;
        let home = dir.path().join("coordinator");
        let coordinator = Coordinator { host: network.host("coordinator")?, dir: home.clone(), process: None };
        let log_key = process::run("quorate-coordinator", &["init", "--dir", text(&home), "--origin", ORIGIN]).await?;
        let mut nodes = Vec::new();
        for number in 0..plan.nodes + plan.volunteers {
            let name = format!("node{number}");
            let host = if number < plan.nodes { network.host(&name)? } else { network.host_behind_nat(&name, plan.ports)? };
            nodes.push(Node::make(dir.path(), name, host).await?);
        }
        let operators = nodes.iter().map(|node| node.enrolment.as_str()).collect::<Vec<_>>().join("\n");
        let log = format!("[log]\norigin = \"{ORIGIN}\"\nkey = \"{}\"\n", log_key.trim());
        let policy = format!("version = 1\nthreshold = {}\n{operators}\n\n{log}", nodes.len() / 2 + 1);
        fs::write(dir.path().join("policy.toml"), policy)?;
        let reachable: Vec<&Host> = nodes.iter().take(plan.nodes).map(|node| &node.host).collect();
        for node in &nodes {
            let others = reachable.iter().filter(|host| host.address != node.host.address);
            node.configure(&addresses(plan.transport, others.copied().chain([&coordinator.host])))?;
        }
        if plan.first == First::Relay {
            nodes[0].become_relay()?;
        }
        coordinator.configure(&addresses(plan.transport, reachable.into_iter()))?;
        Ok(Self { nodes, coordinator, network, _dir: dir })
    }

    /// Two volunteers, the second and the third of three nodes, who know a relay and nobody else, and meet through it.
    pub(crate) async fn of_volunteers(transport: Transport, ports: Ports) -> anyhow::Result<Self> {
        let mut town = Self::found(Plan { nodes: 1, volunteers: 2, ports, transport, first: First::Relay }).await?;
        town.nodes[0].start().await?;
        town.nodes[1].start().await?;
        until("the relay to be told of a way to the first volunteer", async || {
            let known = town.nodes[0].said_of(&town.nodes[1]).await?;
            Ok(known["addresses"].to_string().contains("/p2p-circuit"))
        })
        .await?;
        town.nodes[2].start().await?;
        Ok(town)
    }

    /// Waits until either of these two says that it is connected to the other in this way.
    pub(crate) async fn until_connected(&self, one: usize, other: usize, way: Way) -> anyhow::Result<()> {
        for (from, to) in [(one, other), (other, one)].map(|(from, to)| (&self.nodes[from], &self.nodes[to])) {
            until(&format!("{} to be connected to {}: {way:?}", from.name, to.name), async || {
                let relayed = from.said_of(to).await?["connection"]["relayed"].as_bool();
                Ok(relayed == Some(way == Way::Relayed))
            })
            .await?;
        }
        Ok(())
    }

    /// Waits until one of these two has tried in vain to leave the relay.
    pub(crate) async fn until_one_gave_up_punching(&self, one: usize, other: usize) -> anyhow::Result<()> {
        until("one of two volunteers to give up punching holes", async || {
            let mut failed = 0;
            for node in [&self.nodes[one], &self.nodes[other]] {
                failed += node.peers().await?["holes"]["failed"].as_u64().context("`quorate-node peers` counts no holes")?;
            }
            Ok(failed > 0)
        })
        .await
    }

    /// Starts the coordinator and every node.
    pub(crate) async fn open(&mut self) -> anyhow::Result<()> {
        self.coordinator.start().await?;
        for node in &mut self.nodes {
            node.start().await?;
        }
        Ok(())
    }

    /// Waits until each of these holds all that every node of `authors` has signed, and so does the coordinator.
    pub(crate) async fn until_all_hold(&self, authors: &[usize], holders: &[usize]) -> anyhow::Result<()> {
        for author in authors.iter().map(|at| &self.nodes[*at]) {
            for holder in holders.iter().map(|at| &self.nodes[*at]) {
                let what = format!("{} to hold the {} results of {}", holder.name, author.signed, author.name);
                until(&what, async || Ok(holder.entries_of(author).await?.len() == author.signed)).await?;
                let (held, own) = (holder.entries_of(author).await?, author.entries_of(author).await?);
                anyhow::ensure!(held == own, "{} holds another feed of {} than {0} itself", holder.name, author.name);
            }
            if self.coordinator.process.is_some() {
                let what = format!("the coordinator to hold the {} results of {}", author.signed, author.name);
                until(&what, async || Ok(self.coordinator.count_of(author).await? == author.signed)).await?;
            }
        }
        Ok(())
    }

    /// The same for everybody.
    pub(crate) async fn until_everybody_holds_everything(&self) -> anyhow::Result<()> {
        let all: Vec<usize> = (0..self.nodes.len()).collect();
        self.until_all_hold(&all, &all).await
    }
}

impl Node {
    async fn make(town: &Path, name: String, host: Host) -> anyhow::Result<Self> {
        let dir = town.join(&name);
        let Member { enrolment, node } = member::make(&dir, &name).await?;
        Ok(Self { name, host, ahead: 0, dir, id: node, enrolment, signed: 0, process: None })
    }

    fn configure(&self, bootstrap: &str) -> anyhow::Result<()> {
        let config = format!(
            "data_dir = \"data\"\n[node]\nkey = \"data/node.key\"\ncertificate = \"data/certificate.json\"\npolicy = \"../policy.toml\"\n\
             [commit]\nenabled = false\n[mesh]\nlisten = {}\nbootstrap = {bootstrap}\n",
            listen(),
        );
        fs::write(self.dir.join("node.toml"), config).context("writing a configuration")
    }

    fn become_relay(&self) -> anyhow::Result<()> {
        let path = self.dir.join("node.toml");
        let config = fs::read_to_string(&path).context("reading a configuration")?;
        let config = config.replace("../policy.toml", "policy.toml").replace("[mesh]\n", "[mesh]\nrelay = true\n");
        fs::write(path, config).context("writing a configuration")?;
        let policy = format!("version = 1\nthreshold = 1\n{}\n", self.enrolment);
        fs::write(self.dir.join("policy.toml"), policy).context("writing a policy")
    }

    /// Starts the node and waits until it listens.
    pub(crate) async fn start(&mut self) -> anyhow::Result<()> {
        let wrong = if self.ahead == 0 { Vec::new() } else { wrong_clock(self.ahead)? };
        let wrong: Vec<&str> = wrong.iter().map(String::as_str).collect();
        let prefix = [self.host.prefix().as_slice(), &wrong].concat();
        let mut process = Running::start_under(&prefix, "quorate-node", &self.dir.join("node.toml"), &self.data())?;
        process.ready().await.with_context(|| format!("starting {}", self.name))?;
        self.process = Some(process);
        Ok(())
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.process.take().context("it does not run")?.kill().await
    }

    /// Lets the node sign results of releases that it never saw: their outcome stands staged, as after a kill between
    /// building and signing.
    pub(crate) async fn sign(&mut self, count: usize) -> anyhow::Result<()> {
        for _ in 0..count {
            let package = format!("pkg:pypi/{}@{}", self.name, self.signed);
            self.stage(&package)?;
            process::run("quorate-node", &["enqueue", "--dir", text(&self.data()), &package]).await?;
            self.signed += 1;
        }
        if self.process.is_some() {
            let what = format!("{} to sign {}", self.name, self.signed);
            until(&what, async || Ok(self.entries_of(self).await?.len() == self.signed)).await?;
        }
        Ok(())
    }

    fn stage(&self, package: &str) -> anyhow::Result<()> {
        let right = Timestamp::from(std::time::SystemTime::now()).unix_seconds();
        let now = Timestamp::from_unix_seconds(right + self.ahead);
        let release = Release {
            package,
            file: &format!("{}-{}-py3-none-any.whl", self.name, self.signed),
            published: Digest::of(package.as_bytes()),
            size_bytes: 1,
            registry: Some("https://registry.example/simple"),
            left: None,
            at: now,
        };
        stage::stage(&self.data(), &release, Says::NotAttempted).context("staging an outcome")
    }

    /// The results that it holds of another's feed, one a line.
    pub(crate) async fn entries_of(&self, author: &Self) -> anyhow::Result<Vec<String>> {
        let data = self.data();
        let args = ["feed", "--dir", text(&data), "--node", &author.id, "--format", "json"];
        // A feed of which nothing has come is none yet.
        let said = process::run("quorate-node", &args).await.unwrap_or_default();
        Ok(said.lines().filter(|line| line.contains("\"result\"")).map(str::to_owned).collect())
    }

    /// What it says of its peers.
    async fn peers(&self) -> anyhow::Result<Value> {
        let said = process::run("quorate-node", &["peers", "--dir", text(&self.data()), "--format", "json"]).await?;
        serde_json::from_str(&said).context("reading what `quorate-node peers` prints")
    }

    /// What it says of one of them.
    async fn said_of(&self, other: &Self) -> anyhow::Result<Value> {
        let own = other.peers().await?;
        let id = own["listening"][0].as_str().and_then(|address| address.rsplit_once("/p2p/")).context("it listens nowhere")?.1;
        let said = self.peers().await?;
        let said = said["peers"].as_array().into_iter().flatten().find(|peer| peer["peer"] == id);
        Ok(said.cloned().unwrap_or_default())
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }
}

impl Coordinator {
    fn configure(&self, bootstrap: &str) -> anyhow::Result<()> {
        let config = format!(
            "data_dir = \"coordinator\"\nlisten = \"0.0.0.0:{HTTP_PORT}\"\npolicy = \"policy.toml\"\n\
             [log]\norigin = \"{ORIGIN}\"\nkey_file = \"coordinator/log.key\"\n[mesh]\nlisten = {}\nbootstrap = {bootstrap}\n",
            listen(),
        );
        fs::write(self.dir.with_extension("toml"), config).context("writing a configuration")
    }

    /// Starts it and waits until it listens.
    pub(crate) async fn start(&mut self) -> anyhow::Result<()> {
        let mut process = Running::start_under(&self.host.prefix(), "quorate-coordinator", &self.dir.with_extension("toml"), &self.dir)?;
        process.ready().await.context("starting the coordinator")?;
        self.process = Some(process);
        Ok(())
    }

    /// `kill -9`, and then a look at its files: the log must verify from them alone.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.process.take().context("it does not run")?.kill().await?;
        process::run("quorate-coordinator", &["check", "--dir", text(&self.dir)]).await.map(|_| ())
    }

    /// How many results of a node its index has.
    async fn count_of(&self, node: &Node) -> anyhow::Result<usize> {
        let server = format!("http://127.0.0.1:{HTTP_PORT}");
        let policy = self.dir.with_file_name("policy.toml");
        let args = ["affected", "--node", &node.id, "--server", &server, "--policy", text(&policy), "--format", "json"];
        let (_, said) = process::ask_under(&self.host.prefix(), "quorate", &args).await?;
        let summary = said.lines().last().context("`quorate affected` prints nothing")?;
        let summary: Value = serde_json::from_str(summary).context("reading what `quorate affected` prints")?;
        summary["rows"].as_u64().and_then(|rows| rows.try_into().ok()).context("`quorate affected` counts no rows")
    }
}

/// What a command begins with that is to see another time. The program `faketime` would stay between us and the node.
fn wrong_clock(ahead: i64) -> anyhow::Result<Vec<String>> {
    let folders = fs::read_dir("/usr/lib")?.filter_map(Result::ok).map(|entry| entry.path());
    let library = folders.map(|folder| folder.join("faketime/libfaketime.so.1")).find(|path| path.is_file());
    let library = library.context("libfaketime is not installed")?;
    let preload = format!("LD_PRELOAD={}", text(&library));
    Ok(["env", &preload, "DONT_FAKE_MONOTONIC=1", &format!("FAKETIME={ahead:+}s")].map(str::to_owned).into())
}

/// Waits for what must come; what cannot be told counts as not there yet.
pub(crate) async fn until(what: &str, mut reached: impl AsyncFnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let said = reached().await;
        match said {
            Ok(true) => return Ok(()),
            said if Instant::now() > end => {
                let last = said.err().map(|error| format!(": {error:#}")).unwrap_or_default();
                bail!("waited {} s in vain for {what}{last}", PATIENCE.as_secs());
            }
            _ => sleep(LOOK_EVERY).await,
        }
    }
}

fn listen() -> String {
    format!("[\"/ip4/0.0.0.0/udp/{MESH_PORT}/quic-v1\", \"/ip4/0.0.0.0/tcp/{MESH_PORT}\"]")
}

fn addresses<'a>(transport: Transport, hosts: impl Iterator<Item = &'a Host>) -> String {
    let one = |host: &Host| match transport {
        Transport::Tcp => format!("\"/ip4/{}/tcp/{MESH_PORT}\"", host.address),
        Transport::Quic => format!("\"/ip4/{}/udp/{MESH_PORT}/quic-v1\"", host.address),
    };
    format!("[{}]", hosts.map(one).collect::<Vec<_>>().join(", "))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("folders for temporary files have names of text")
}
