//! What anybody may ask, and what must hold all the same: in one process, without sockets.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use quorate_coordinator::daemon::{Core, Parts};
use quorate_gossip::Accepted;
use quorate_proto::SecretKey;

use crate::fixture::{Network, artifact, identical};
use crate::harness::PATIENCE;

pub(crate) async fn core(folder: &std::path::Path, policy: String) -> Core {
    let parts = Parts {
        data_dir: folder.to_path_buf(),
        origin: "quorate.example/test".into(),
        log_key: SecretKey::from_seed(&[7; 32]),
        statement_key: SecretKey::from_seed(&[7; 32]),
        policy: policy.into_bytes(),
        request_timeout: Duration::from_secs(10),
        witnesses: None,
    };
    tokio::task::spawn_blocking(move || Core::start(parts)).await.unwrap().unwrap()
}

pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_by_a_hundred_operators_fits_a_log_entry() {
    let folder = tempfile::tempdir().unwrap();
    let mut network = Network::new(100);
    let core = core(folder.path(), network.policy(60)).await;
    let about = artifact("click", "8.1.8", "");
    let items = network.nodes.iter_mut().map(|node| node.sign(&about, identical(&about))).collect();
    assert!(core.app.ingest.accept(items).await.iter().all(|accepted| *accepted == Accepted::New));
    let store = core.app.store();
    until("no verdict", || store.verdict(&about).unwrap().is_some_and(|view| view.verdict.agree == 100)).await;
    assert_eq!(core.app.ingest.metrics().oversized_verdicts.get(), 0);
    tokio::task::spawn_blocking(move || core.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_that_no_log_entry_holds_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut network = Network::new(1);
    let mut policy = network.policy(1);
    for n in 0..400_u16 {
        let mut seed = [9; 32];
        seed[..2].copy_from_slice(&n.to_be_bytes());
        write!(policy, "\n[[operator]]\nname = \"absent-{n}\"\nkey = \"{}\"\n", SecretKey::from_seed(&seed).operator_id()).unwrap();
    }
    let core = core(folder.path(), policy).await;
    let about = artifact("click", "8.1.8", "");
    let item = network.nodes[0].sign(&about, identical(&about));
    assert_eq!(core.app.ingest.accept(vec![item]).await, [Accepted::New]);
    until("not counted", || core.app.ingest.metrics().oversized_verdicts.get() > 0).await;
    tokio::task::spawn_blocking(move || core.stop()).await.unwrap();
}
