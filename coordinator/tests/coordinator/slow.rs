//! Strangers that send slowly, or hold connections and send nothing.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;

use quorate_proto::api::submit_outcome::Status;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::fixture::{Network, artifact, identical};
use crate::harness::{PATIENCE, Place, Running};

/// The head of a submission of a thousand bytes, and the first of them.
const BEGUN: &[u8] =
    b"POST /quorate.v1.Coordinator/Submit HTTP/1.1\r\nhost: q\r\ncontent-type: application/grpc\r\ncontent-length: 1000\r\n\r\n\0";

async fn limited(place: &Place, limits: &str) -> Running {
    let path = place.folder.path().join("coordinator.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{config}[limits]\n{limits}\n")).unwrap();
    place.start().await
}

/// Connections from other addresses of this machine, each of which has said this.
async fn strangers(count: u8, own: impl Fn(u8) -> [u8; 4], running: &Running, said: &[u8]) -> Vec<TcpStream> {
    let address: SocketAddr = running.http.trim_start_matches("http://").parse().unwrap();
    let mut held = Vec::new();
    for at in 0..count {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((own(at), 0).into()).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        // One that makes room for another hears of it as a broken pipe.
        let _ = stream.write_all(said).await;
        held.push(stream);
    }
    held
}

async fn is_taken_in(running: &mut Running, network: &mut Network, version: &str) {
    let about = artifact("click", version, "");
    let item = network.nodes[0].sign(&about, identical(&about));
    let outcomes = timeout(PATIENCE, running.submit(&[item])).await.expect("before any slow one is given up").unwrap();
    assert_eq!(outcomes[0].status(), Status::Accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn submissions_that_trickle_in_keep_no_honest_one_waiting() {
    let mut network = Network::new(1);
    let place = Place::new(&network.policy(1));
    let mut running = limited(&place, "request_seconds = 600").await;
    // More than are answered at once: from two addresses, then also from the honest one's own.
    let slow = strangers(100, |at| [127, 0, 0, 2 + at % 2], &running, BEGUN).await;
    is_taken_in(&mut running, &mut network, "8.1.7").await;
    let beside = strangers(100, |_| [127, 0, 0, 1], &running, BEGUN).await;
    is_taken_in(&mut running, &mut network, "8.1.8").await;
    drop((slow, beside));
    running.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_held_keep_nobody_else_out() {
    let mut network = Network::new(1);
    let place = Place::new(&network.policy(1));
    let mut running = limited(&place, "connections_max = 8").await;
    let silent = strangers(60, |_| [127, 0, 0, 2], &running, b"").await;
    is_taken_in(&mut running, &mut network, "8.1.7").await;
    assert_eq!(running.get("/healthz").await, (200, b"ok".to_vec()));
    drop(silent);
    running.stop();
}
