//! The real binary in a folder of its own.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use quorate_coordinator::rpc::coordinator_client::CoordinatorClient;
use quorate_proto::api;
use quorate_proto::api::submit_outcome::Status as Outcome;
use quorate_proto::verified::FeedItem;
use tonic::transport::Channel;

/// A running coordinator. Killed when dropped.
pub(crate) struct Process {
    _folder: tempfile::TempDir,
    child: Child,
    pub(crate) address: String,
    pub(crate) client: CoordinatorClient<Channel>,
}

impl Process {
    pub(crate) async fn start(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let binary = env!("CARGO_BIN_EXE_quorate-coordinator");
        let made = Command::new(binary).args(["init", "--origin", "quorate.example/bench", "--dir"]).arg(&data).output().unwrap();
        assert!(made.status.success());
        fs::write(folder.path().join("policy.toml"), policy).unwrap();
        let config = folder.path().join("coordinator.toml");
        let text = "data_dir = \"data\"\nlisten = \"127.0.0.1:0\"\npolicy = \"policy.toml\"\n\
            [log]\norigin = \"quorate.example/bench\"\nkey_file = \"data/log.key\"\n";
        fs::write(&config, text).unwrap();
        let mut command = Command::new(binary);
        command.args(["run", "--config"]).arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let ready = data.join("ready.json");
        while !ready.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let ready: serde_json::Value = serde_json::from_slice(&fs::read(ready).unwrap()).unwrap();
        let http = ready["http"].as_str().unwrap().to_owned();
        let client = CoordinatorClient::connect(http.clone()).await.unwrap();
        Self { _folder: folder, child, address: http["http://".len()..].to_owned(), client }
    }

    pub(crate) async fn submit(&mut self, items: &[FeedItem]) {
        let request = api::SubmitRequest { items: items.iter().map(FeedItem::to_message).collect() };
        let outcomes = self.client.submit(request).await.unwrap().into_inner().outcomes;
        assert!(outcomes.iter().all(|outcome| outcome.status() == Outcome::Accepted), "{outcomes:?}");
    }

    /// Resident memory now and at most so far, in MiB.
    pub(crate) fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
        };
        (field("VmRSS:"), field("VmHWM:"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
