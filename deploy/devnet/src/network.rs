//! Keys, policy, configuration and processes of the network.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

use crate::cases::{Case, Expected};
use crate::lie;
use crate::process::{self, Running};

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
    processes: Vec<Running>,
}

/// An operator and its one node.
struct Member {
    name: String,
    dir: PathBuf,
    /// The lines that enrol it in a policy.
    enrolment: String,
}

impl Network {
    /// Makes everything in `dir` and starts it. Every case is put into every node's queue.
    pub(crate) async fn start(dir: &Path, operators: usize, cases: &[Case]) -> anyhow::Result<Self> {
        let mut members = Vec::new();
        for index in 0..operators {
            members.push(Member::make(dir, index).await?);
        }
        let home = dir.join("coordinator");
        let log_key = process::run("quorate-coordinator", &["init", "--dir", path(&home), "--origin", ORIGIN]).await?;
        let policy = dir.join("policy.toml");
        write(&policy, &policy_text(&members, log_key.trim()))?;
        let config = dir.join("coordinator.toml");
        write(&config, COORDINATOR)?;
        let mut coordinator = Running::start("quorate-coordinator", &config, &home)?;
        let said = coordinator.ready().await.context("starting the coordinator")?;
        let address = format!("http://{}", text(&said, "http")?.trim_start_matches("http://"));
        let mut network = Self { address, policy, operators, liar: None, processes: vec![coordinator] };
        network.tell_the_liar(members.last(), cases)?;
        for member in &members {
            network.processes.push(member.start(&network.address, &said, cases).await?);
        }
        for node in &mut network.processes[1..] {
            node.ready().await.context("starting a node")?;
        }
        Ok(network)
    }

    fn tell_the_liar(&mut self, liar: Option<&Member>, cases: &[Case]) -> anyhow::Result<()> {
        let backdoored = cases.iter().find(|case| matches!(case.expected, Expected::Backdoor { .. }));
        if let (Some(liar), Some(case)) = (liar, backdoored) {
            lie::stage(&liar.data(), case)?;
            self.liar = Some(liar.name.clone());
        }
        Ok(())
    }
}

impl Member {
    /// The three commands of the README.
    async fn make(dir: &Path, index: usize) -> anyhow::Result<Self> {
        let name = NAMES.get(index).map_or_else(|| format!("operator-{}", index + 1), |name| (*name).to_owned());
        let dir = dir.join(&name);
        let (root, data) = (dir.join("operator"), dir.join("data"));
        let enrolment = process::run("quorate-node", &["operator", "init", "--dir", path(&root), "--name", &name]).await?;
        process::run("quorate-node", &["key", "init", "--dir", path(&data)]).await?;
        let (root_key, node_key, certificate) = (root.join("operator.key"), data.join("node.key"), data.join("certificate.json"));
        let certify = ["operator", "certify", "--root", path(&root_key), "--node-key", path(&node_key), "--out", path(&certificate)];
        process::run("quorate-node", &certify).await?;
        Ok(Self { name, dir, enrolment })
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    async fn start(&self, coordinator: &str, said: &Value, cases: &[Case]) -> anyhow::Result<Running> {
        for case in cases {
            let package = case.package.to_string();
            process::run("quorate-node", &["enqueue", "--dir", path(&self.data()), &package]).await?;
        }
        let bootstrap: Vec<&str> = said["mesh"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let config = self.dir.join("node.toml");
        let cache = self.dir.with_file_name("cache");
        let quoted: Vec<String> = bootstrap.iter().map(|address| format!("{address:?}")).collect();
        write(&config, &node_text(&quoted.join(", "), coordinator, path(&cache)))?;
        Running::start("quorate-node", &config, &self.data())
    }
}

/// The coordinator's configuration: every port is chosen by the system.
const COORDINATOR: &str = r#"data_dir = "coordinator"
listen = "127.0.0.1:0"
policy = "policy.toml"

[log]
origin = "log.quorate.example/devnet"
key_file = "coordinator/log.key"

[mesh]
listen = ["/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"]
"#;

fn node_text(bootstrap: &str, coordinator: &str, cache: &str) -> String {
    format!(
        r#"data_dir = "data"

[node]
key = "data/node.key"
certificate = "data/certificate.json"
policy = "../policy.toml"

[mesh]
listen = ["/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"]
bootstrap = [{bootstrap}]

[coordinator]
submit = "{coordinator}"

[commit]
# All nodes build at once: whoever has not committed by then is not waited for.
deadline_seconds = 60
settle_seconds = 1

[build]
# Downloads are checked by digest, so nodes on one machine can share them.
cache_dir = "{cache}"
"#
    )
}

fn policy_text(members: &[Member], log_key: &str) -> String {
    let operators = members.iter().map(|member| member.enrolment.as_str()).collect::<Vec<_>>().join("\n");
    let threshold = members.len() / 2 + 1;
    format!("version = 1\nthreshold = {threshold}\n\n{operators}\n[log]\norigin = \"{ORIGIN}\"\nkey = \"{log_key}\"\n")
}

fn write(file: &Path, content: &str) -> anyhow::Result<()> {
    fs::write(file, content).with_context(|| format!("writing `{}`", file.display()))
}

fn text<'a>(said: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    said[field].as_str().with_context(|| format!("the coordinator does not say its `{field}`"))
}

fn path(path: &Path) -> &str {
    path.to_str().expect("the folder's name was checked to be text")
}
