//! Verdict look-ups a second over HTTP, against an empty handler of the same server.

use std::ops::Range;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fixture::{Network, artifact, identical};
use crate::process::Process;
use crate::{Scale, report};

const CONNECTIONS: usize = 8;
const PIPELINED: usize = 16;
const ARTIFACTS: usize = 200;

/// An HTTP/1.1 connection that costs the machine as little as possible.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What was handed out already.
    read: usize,
}

impl Connection {
    pub(crate) async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::with_capacity(1 << 18), read: 0 }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Vec<u8> {
        self.send(&[path]).await;
        let body = self.receive().await;
        self.buffer[body].to_vec()
    }

    async fn send(&mut self, paths: &[&str]) {
        let requests: Vec<String> = paths.iter().map(|path| format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n")).collect();
        self.stream.write_all(requests.concat().as_bytes()).await.unwrap();
    }

    /// Where the next body stands in the buffer, until the next call.
    async fn receive(&mut self) -> Range<usize> {
        if self.read == self.buffer.len() {
            self.buffer.clear();
            self.read = 0;
        }
        loop {
            if let Some((head, length)) = frame(&self.buffer[self.read..])
                && self.buffer.len() >= self.read + head + length
            {
                let begin = self.read + head;
                self.read = begin + length;
                return begin..self.read;
            }
            let read = self.stream.read_buf(&mut self.buffer).await.unwrap();
            assert!(read > 0, "the server closed the connection");
        }
    }
}

/// Length of a response's head, and of its body.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).unwrap().to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("answers have a length");
    Some((head, length.trim().parse().unwrap()))
}

pub(crate) async fn run(scale: Scale) {
    let mut network = Network::new(5);
    let mut process = Process::start(&network.policy(3)).await;
    let mut paths = Vec::new();
    for n in 0..ARTIFACTS {
        let artifact = artifact("package", &format!("1.{n}"), "");
        let items: Vec<_> = network.nodes.iter_mut().map(|node| node.sign(&artifact, identical(&artifact))).collect();
        process.submit(&items).await;
        paths.push(format!("/api/v1/artifacts/{}/verdict", artifact.digest));
    }
    let mut connection = Connection::open(&process.address).await;
    for path in &paths {
        while !String::from_utf8_lossy(&connection.get(path).await).contains("\"agree\":5") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let empty = rate(&process.address, &["/healthz".to_owned()], scale.span).await;
    let verdicts = rate(&process.address, &paths, scale.span).await;
    report("verdict look-ups a second", verdicts, empty, 60);
    let again = rate(&process.address, &["/healthz".to_owned()], scale.span).await;
    println!("empty handler before and after: {empty:.0} and {again:.0} a second");
}

async fn rate(address: &str, paths: &[String], span: Duration) -> f64 {
    let until = Instant::now() + span;
    let began = Instant::now();
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|task| {
            let (address, paths) = (address.to_owned(), paths.to_vec());
            tokio::spawn(async move {
                let mut connection = Connection::open(&address).await;
                let mut count = 0_u32;
                let mut turn = task * 31;
                while Instant::now() < until {
                    let asked: Vec<&str> = (0..PIPELINED).map(|n| paths[(turn + n) % paths.len()].as_str()).collect();
                    connection.send(&asked).await;
                    for _ in 0..PIPELINED {
                        connection.receive().await;
                    }
                    turn += PIPELINED;
                    count += u32::try_from(PIPELINED).unwrap();
                }
                count
            })
        })
        .collect();
    let mut count = 0;
    for task in tasks {
        count += task.await.unwrap();
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}
