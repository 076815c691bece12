//! What the sandbox costs: the same command bare and inside, in turn, as a ratio of one run. Processor time is
//! given as well: on a busy machine it says more than the clock on the wall.
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
    let (mut pairs, mut work) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let (began, ticks) = (Instant::now(), children_ticks());
        let status = std::process::Command::new(PYTHON).args(["-c", PROGRAM]).status().expect("python3 is installed");
        assert!(status.success(), "the bare command failed");
        let (bare, bare_ticks) = (began.elapsed(), children_ticks() - ticks);
        let ticks = children_ticks();
        pairs.push((inside(&sandbox, &[PYTHON, "-c", PROGRAM]).await.as_secs_f64() / bare.as_secs_f64(), bare));
        work.push((children_ticks() - ticks) / bare_ticks);
    }
    starts.sort();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    work.sort_by(f64::total_cmp);
    let (ratio, bare) = pairs[PAIRS / 2];
    println!("start of a sandbox: median {:.1} ms, fastest {:.1} ms", milliseconds(starts[STARTS / 2]), milliseconds(starts[0]));
    println!(
        "sandbox / bare: median {ratio:.3} (from {:.3} to {:.3}) of a command of {:.2} s; goal at most 1.03",
        pairs[0].0,
        pairs[PAIRS - 1].0,
        bare.as_secs_f64()
    );
    println!("processor time: median {:.3} (from {:.3} to {:.3})", work[PAIRS / 2], work[0], work[PAIRS - 1]);
    ExitCode::SUCCESS
}

/// Processor time of all children that have ended, in ticks of the kernel.
fn children_ticks() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("a process can read of itself");
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    fields.skip(13).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum()
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
