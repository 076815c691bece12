//! What the sandbox costs: the same command bare and inside, in turn, as a ratio of one run.
//!
//! `cargo bench -p quorate-node --bench sandbox`. Goal: at most 1.03 for commands of over a second.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use quorate_node::sandbox::{Command, Config, Limits, Network, Root, Sandbox};

const PYTHON: &str = "/usr/bin/python3";

/// Pairs of runs; the median of their ratios is the figure.
const PAIRS: usize = 9;

/// Starts that are measured.
const STARTS: usize = 30;

/// What a build does: reads a tree, hashes, compresses, computes. About two seconds.
const PROGRAM: &str = "
import hashlib, os, zlib
for i in range(3):
    for folder, _, files in os.walk('/usr/lib/python3'):
        for file in files:
            content = open(os.path.join(folder, file), 'rb').read()
            hashlib.sha256(content)
            zlib.compress(content[:20000], 6)
x = 0
for i in range(12000000):
    x += i
";

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config { init_binary: Some(env!("CARGO_BIN_EXE_quorate-node").into()), ..Config::default() };
    let sandbox = match Sandbox::detect(&config) {
        Ok(sandbox) => sandbox,
        Err(error) => {
            eprintln!("no sandbox here: {error}");
            return ExitCode::from(2);
        }
    };
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(inside(&sandbox, &["/bin/true"]).await);
    }
    let mut pairs = Vec::new();
    for _ in 0..PAIRS {
        let began = Instant::now();
        let status = std::process::Command::new(PYTHON).args(["-c", PROGRAM]).status().expect("python3 is installed");
        assert!(status.success(), "the bare command failed");
        let bare = began.elapsed();
        pairs.push((inside(&sandbox, &[PYTHON, "-c", PROGRAM]).await.as_secs_f64() / bare.as_secs_f64(), bare));
    }
    starts.sort();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (ratio, bare) = pairs[PAIRS / 2];
    println!("start of a sandbox: median {:.1} ms, fastest {:.1} ms", milliseconds(starts[STARTS / 2]), milliseconds(starts[0]));
    println!(
        "sandbox / bare: median {ratio:.3} (from {:.3} to {:.3}) of a command of {:.2} s; goal at most 1.03",
        pairs[0].0,
        pairs[PAIRS - 1].0,
        bare.as_secs_f64()
    );
    ExitCode::SUCCESS
}

async fn inside(sandbox: &Sandbox, argv: &[&str]) -> Duration {
    let command = Command {
        root: Root::Host,
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env: BTreeMap::new(),
        cwd: "/tmp".into(),
        binds: Vec::new(),
        network: Network::None,
        limits: Limits { wall: Duration::from_mins(1), ..Limits::default() },
        decoys: Vec::new(),
        log: None,
    };
    let began = Instant::now();
    let finished = sandbox.run(&command).await.expect("the sandbox runs");
    assert!(finished.is_clean_success(), "the command inside failed: {}", finished.log_tail);
    began.elapsed()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
