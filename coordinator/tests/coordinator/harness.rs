//! Starts the real binary in a folder of its own, on a free port, and talks to it.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use quorate_coordinator::rpc::coordinator_client::CoordinatorClient;
use quorate_proto::api;
use quorate_proto::verified::FeedItem;
use quorate_tlog::{Checkpoint, TreeHead, VerifierKey};
use serde_json::Value;
use tonic::transport::Channel;

/// Nothing here takes this long; a hang becomes a failure.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A data directory with a key, a policy and a configuration.
pub struct Place {
    pub folder: tempfile::TempDir,
    pub vkey: VerifierKey,
}

/// A running coordinator. Killed when dropped.
pub struct Running {
    child: Child,
    pub http: String,
    pub mesh: Vec<String>,
    pub client: CoordinatorClient<Channel>,
    pub vkey: VerifierKey,
}

pub fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_quorate-coordinator"))
}

impl Place {
    pub fn new(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let made = binary().args(["init", "--origin", "quorate.example/test", "--dir"]).arg(&data).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let vkey = String::from_utf8(made.stdout).unwrap().trim_end().parse().unwrap();
        fs::write(folder.path().join("policy.toml"), policy).unwrap();
        let config = "data_dir = \"data\"\nlisten = \"127.0.0.1:0\"\npolicy = \"policy.toml\"\n\
            [log]\norigin = \"quorate.example/test\"\nkey_file = \"data/log.key\"\n\
            [mesh]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\n";
        fs::write(folder.path().join("coordinator.toml"), config).unwrap();
        Self { folder, vkey }
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub async fn start(&self) -> Running {
        let ready = self.data().join("ready.json");
        let _ = fs::remove_file(&ready);
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("stderr")).unwrap();
        let mut command = binary();
        command.args(["run", "--config"]).arg(self.folder.path().join("coordinator.toml"));
        let mut child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let ready = await_ready(&ready, &mut child, self.folder.path()).await;
        let http = ready["http"].as_str().unwrap().to_owned();
        let client = CoordinatorClient::connect(http.clone()).await.unwrap().max_decoding_message_size(32 << 20);
        let mesh = ready["mesh"].as_array().unwrap().iter().map(|address| address.as_str().unwrap().to_owned()).collect();
        Running { child, http, mesh, client, vkey: self.vkey.clone() }
    }

    /// `quorate-coordinator check` on a directory that nobody writes to.
    pub fn check(&self) -> Result<String, String> {
        let checked = binary().args(["check", "--dir"]).arg(self.data()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if checked.status.success() { Ok(text(&checked.stdout)) } else { Err(text(&checked.stderr)) }
    }
}

async fn await_ready(path: &Path, child: &mut Child, folder: &Path) -> Value {
    let began = Instant::now();
    loop {
        if let Ok(bytes) = fs::read(path) {
            return serde_json::from_slice(&bytes).unwrap();
        }
        let ended = child.try_wait().unwrap();
        let stderr = || fs::read_to_string(folder.join("stderr")).unwrap_or_default();
        assert!(ended.is_none(), "the coordinator ended: {}", stderr());
        assert!(began.elapsed() < PATIENCE, "the coordinator does not get ready: {}", stderr());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Running {
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Asks it to stop, and waits.
    pub fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let began = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < PATIENCE, "it does not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub async fn submit(&mut self, items: &[FeedItem]) -> Result<Vec<api::SubmitOutcome>, tonic::Status> {
        let request = api::SubmitRequest { items: items.iter().map(FeedItem::to_message).collect() };
        Ok(self.client.submit(request).await?.into_inner().outcomes)
    }

    pub async fn head(&mut self) -> TreeHead {
        let note = self.client.get_checkpoint(api::GetCheckpointRequest {}).await.unwrap().into_inner().note;
        *Checkpoint::open(&note, &self.vkey).unwrap().head()
    }

    pub async fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let response = client().get(format!("{}{path}", self.http)).send().await.unwrap();
        (response.status().as_u16(), response.bytes().await.unwrap().to_vec())
    }

    pub async fn json(&self, path: &str) -> (u16, Value) {
        let (status, body) = self.get(path).await;
        (status, serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{path}: {}", String::from_utf8_lossy(&body))))
    }

    /// Waits until an artifact has this state.
    pub async fn await_state(&self, digest: &quorate_proto::Digest, state: &str) -> Value {
        let began = Instant::now();
        loop {
            let (status, body) = self.json(&format!("/api/v1/artifacts/{digest}/verdict")).await;
            if status == 200 && body["state"] == state {
                return body;
            }
            assert!(began.elapsed() < PATIENCE, "no verdict `{state}`: {body}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the log has not grown for a while: nothing is under way.
    pub async fn quiet(&mut self) -> TreeHead {
        let mut head = self.head().await;
        let mut same = 0;
        while same < 10 {
            tokio::time::sleep(Duration::from_millis(15)).await;
            let now = self.head().await;
            same = if now == head { same + 1 } else { 0 };
            head = now;
        }
        head
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}
