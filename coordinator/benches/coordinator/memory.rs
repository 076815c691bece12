//! Memory of the coordinator with many results.

use quorate_proto::api;

use crate::Scale;
use crate::fixture::{Network, artifact, identical};
use crate::process::Process;

const CHUNK: usize = 500;

pub(crate) async fn run(scale: Scale) {
    let mut network = Network::new(5);
    let mut process = Process::start(&network.policy(3)).await;
    let (empty, _) = process.memory();
    let mut batch = Vec::with_capacity(CHUNK);
    for n in 0..scale.held / network.nodes.len() {
        let artifact = artifact("package", &format!("1.{n}"), "");
        batch.extend(network.nodes.iter_mut().map(|node| node.sign(&artifact, identical(&artifact))));
        if batch.len() >= CHUNK {
            process.submit(&batch).await;
            batch.clear();
        }
    }
    if !batch.is_empty() {
        process.submit(&batch).await;
    }
    let last = artifact("package", &format!("1.{}", scale.held / network.nodes.len() - 1), "");
    loop {
        let request = api::GetVerdictRequest { artifact: last.digest.to_string(), ..Default::default() };
        let verdict = process.client.get_verdict(request).await;
        if verdict.is_ok_and(|verdict| verdict.into_inner().state == "reproduced") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let (now, most) = process.memory();
    println!("memory with {} results: {now} MiB now, {most} MiB at most, {empty} MiB empty (goal < 300 MiB)", scale.held);
}
