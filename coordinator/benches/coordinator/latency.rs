//! From the k-th result handed in to the verdict served over HTTP.

use std::time::{Duration, Instant};

use crate::Scale;
use crate::fixture::{Network, artifact, identical};
use crate::lookups::Connection;
use crate::process::Process;

const THRESHOLD: usize = 3;

pub(crate) async fn run(scale: Scale) {
    let mut network = Network::new(5);
    let mut process = Process::start(&network.policy(THRESHOLD)).await;
    let mut connection = Connection::open(&process.address).await;
    let mut times = Vec::new();
    for n in 0..scale.artifacts {
        let artifact = artifact("package", &format!("1.{n}"), "");
        for node in 0..THRESHOLD - 1 {
            let item = network.nodes[node].sign(&artifact, identical(&artifact));
            process.submit(&[item]).await;
        }
        let path = format!("/api/v1/artifacts/{}/verdict", artifact.digest);
        let item = network.nodes[THRESHOLD - 1].sign(&artifact, identical(&artifact));
        let began = Instant::now();
        process.submit(&[item]).await;
        let acknowledged = began.elapsed();
        loop {
            let body = connection.get(&path).await;
            if String::from_utf8_lossy(&body).contains("\"state\":\"reproduced\"") {
                break;
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        times.push((began.elapsed(), acknowledged));
    }
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].0.as_secs_f64() * 1_000.0;
    println!("k-th result to verdict served: median {:.1} ms, p99 {:.1} ms, most {:.1} ms (goal p99 < 2,000 ms)", at(50), at(99), at(100));
}
