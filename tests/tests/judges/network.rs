//! A network of real processes: nodes that witness, and a coordinator that publishes nothing without them.
//!
//! Nodes sign outcomes that stand staged in their queues, as after a kill between building and signing: nothing is built.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use quorate_devnet::stage::{self, Says};
use quorate_proto::build_witness::Intermediates;
use quorate_proto::{Digest, Timestamp};
use tempfile::TempDir;

use crate::programs::{Daemon, quorate, run, until};

/// The log's origin.
pub(crate) const ORIGIN: &str = "quorate.example/judged";

/// Operators with one node each, and one coordinator. Everything ends when this is dropped.
pub(crate) struct Network {
    folder: TempDir,
    pub(crate) nodes: Vec<Node>,
    pub(crate) coordinator: Option<Daemon>,
    /// The log's verifier key.
    pub(crate) vkey: String,
}

/// An operator and its node.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    enrolment: String,
    pub(crate) daemon: Option<Daemon>,
    /// What its configuration has besides.
    pub(crate) more: String,
}

/// Somebody who cosigns.
#[derive(Clone, Debug)]
pub(crate) struct Cosigning {
    pub(crate) name: String,
    pub(crate) vkey: String,
    pub(crate) url: String,
}

/// A published file, for which there is nothing to build.
pub(crate) struct Release {
    pub(crate) package: String,
    pub(crate) file: String,
    pub(crate) content: Vec<u8>,
}

impl Release {
    pub(crate) fn new(name: &str) -> Self {
        let file = format!("{name}-1.0-py3-none-any.whl");
        Self { package: format!("pkg:pypi/{name}@1.0"), file, content: format!("the wheel of {name}").into_bytes() }
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.content)
    }
}

impl Network {
    /// Keys and policies; nothing runs yet.
    pub(crate) fn new(operators: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("coordinator");
        let vkey = run("quorate-coordinator", &["init", "--dir", text(&home), "--origin", ORIGIN]).trim().to_owned();
        let nodes = ["alpha", "bravo", "charlie", "delta"][..operators].iter().map(|name| Node::new(folder.path(), name)).collect();
        let network = Self { folder, nodes, coordinator: None, vkey };
        network.write("enrolled.toml", &network.policy_text(""));
        network
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// A majority of the operators, the log, and these witnesses.
    fn policy_text(&self, witnesses: &str) -> String {
        let operators: String = self.nodes.iter().map(|node| format!("{}\n", node.enrolment)).collect::<Vec<_>>().concat();
        let threshold = self.nodes.len() / 2 + 1;
        format!("version = 1\nthreshold = {threshold}\n\n{operators}\n[log]\norigin = \"{ORIGIN}\"\nkey = \"{}\"\n{witnesses}", self.vkey)
    }

    /// Starts every node as a witness of the log.
    pub(crate) fn start_nodes(&mut self) {
        let mut bootstrap: Vec<String> = Vec::new();
        for node in &mut self.nodes {
            node.start(&bootstrap);
            bootstrap.extend(node.addresses());
        }
    }

    /// The nodes as cosigners.
    pub(crate) fn cosigners(&self) -> Vec<Cosigning> {
        self.nodes.iter().map(Node::cosigning).collect()
    }

    /// Starts the coordinator, which asks these witnesses for `threshold` cosignatures, as its policy's readers do.
    pub(crate) fn start_coordinator(&mut self, witnesses: &[Cosigning], threshold: usize) {
        let mut lines = String::new();
        for witness in witnesses {
            writeln!(lines, "witness {} {} {}", witness.name, witness.vkey, witness.url).unwrap();
        }
        let names: Vec<_> = witnesses.iter().map(|witness| witness.name.as_str()).collect();
        writeln!(lines, "group enough {threshold} {}\nquorum enough", names.join(" ")).unwrap();
        self.write("witnesses.policy", &lines);
        self.write("policy.toml", &self.policy_text(&format!("witnesses = '''\n{lines}'''\n")));
        let bootstrap: Vec<_> = self.nodes.iter().flat_map(Node::addresses).map(|address| format!("{address:?}")).collect();
        let config = format!(
            "data_dir = \"coordinator\"\nlisten = \"127.0.0.1:0\"\npolicy = \"policy.toml\"\n\
             [log]\norigin = \"{ORIGIN}\"\nkey_file = \"coordinator/log.key\"\n\
             [witnesses]\npolicy = \"witnesses.policy\"\ntimeout_ms = 5000\nrecosign_seconds = 1\n\
             [mesh]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\nbootstrap = [{}]\n",
            bootstrap.join(", ")
        );
        let config = self.write("coordinator.toml", &config);
        self.coordinator = Some(Daemon::start("quorate-coordinator", &config, &self.path("coordinator")));
    }

    /// Where the coordinator serves.
    pub(crate) fn address(&self) -> String {
        let ready = &self.coordinator.as_ref().unwrap().ready;
        format!("http://{}", ready["http"].as_str().unwrap().trim_start_matches("http://"))
    }

    /// Every node says that it rebuilt the very file.
    pub(crate) fn release(&self, release: &Release) {
        self.nodes.iter().for_each(|node| node.rebuilds(release, None));
    }

    /// The path of the policy under which everything is checked.
    pub(crate) fn policy(&self) -> String {
        text(&self.path("policy.toml")).to_owned()
    }

    /// A bundle about a release, once the policy is met.
    pub(crate) fn bundle(&self, release: &Release) -> String {
        let path = self.path(&format!("{}.quorate", release.file));
        until(&format!("a bundle about {}", release.file), || {
            let (code, _) = self.try_bundle(release, &path);
            (code == 0).then(|| text(&path).to_owned())
        })
    }

    /// One try to have a bundle: exit code and words.
    pub(crate) fn try_bundle(&self, release: &Release, path: &Path) -> (i32, String) {
        let (digest, server, policy) = (release.digest().to_string(), self.address(), self.policy());
        quorate(&["bundle", &digest, "--package", &release.package, "--server", &server, "--policy", &policy, "-o", text(path)])
    }
}

impl Node {
    fn new(folder: &Path, name: &str) -> Self {
        let dir = folder.join(name);
        let (root, data) = (dir.join("operator"), dir.join("data"));
        let enrolment = run("quorate-node", &["operator", "init", "--dir", text(&root), "--name", name]);
        run("quorate-node", &["key", "init", "--dir", text(&data)]);
        let (root, key, certificate) = (root.join("operator.key"), data.join("node.key"), dir.join("certificate.json"));
        run("quorate-node", &["operator", "certify", "--root", text(&root), "--node-key", text(&key), "--out", text(&certificate)]);
        Self { name: name.to_owned(), dir, enrolment, daemon: None, more: String::new() }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Starts it, as a witness of the log in its policy.
    pub(crate) fn start(&mut self, bootstrap: &[String]) {
        let bootstrap: Vec<_> = bootstrap.iter().map(|address| format!("{address:?}")).collect();
        let config = format!(
            "data_dir = \"data\"\n[node]\nkey = \"data/node.key\"\ncertificate = \"certificate.json\"\npolicy = \"../enrolled.toml\"\n\
             [mesh]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\nbootstrap = [{}]\n\
             [witness]\nlisten = \"127.0.0.1:0\"\nname = \"{}.quorate.example/witness\"\n{}",
            bootstrap.join(", "),
            self.name,
            self.more
        );
        let path = self.dir.join("node.toml");
        fs::write(&path, config).unwrap();
        self.daemon = Some(Daemon::start("quorate-node", &path, &self.data()));
    }

    fn addresses(&self) -> Vec<String> {
        let ready = &self.daemon.as_ref().unwrap().ready;
        ready["addresses"].as_array().unwrap().iter().map(|address| address.as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn cosigning(&self) -> Cosigning {
        let said = &self.daemon.as_ref().unwrap().ready["witness"];
        let word = |field: &str| said[field].as_str().unwrap().to_owned();
        Cosigning { name: self.name.clone(), vkey: word("vkey"), url: word("url") }
    }

    /// Stages `identical` by a build that left `left` in the queue, and enqueues the release.
    pub(crate) fn rebuilds(&self, release: &Release, left: Option<&Intermediates>) {
        let staged = stage::Release {
            package: &release.package,
            file: &release.file,
            published: release.digest(),
            size_bytes: release.content.len(),
            registry: Some("https://registry.example/file"),
            left,
            at: Timestamp::from(SystemTime::now()).whole_seconds(),
        };
        stage::stage(&self.data(), &staged, Says::Identical { repository: "https://github.com/example/example" }).unwrap();
        run("quorate-node", &["enqueue", "--dir", text(&self.data()), &release.package]);
    }
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
