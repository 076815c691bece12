//! How far a batch with a warm cache is from being bound by its processors: processor seconds of the whole batch over
//! seconds on the wall times cores that its workers can keep busy.
//!
//! `cargo bench -p quorate-node --bench batch`, on a quiet machine: what others reckon meanwhile is taken from
//! the figure. Wheels that are made from their published source distributions, by the index that pip uses here. The
//! first run fills the cache, and is not measured. Goal: at least 0.90 with three workers on two cores,
//! which is what `--jobs` is there by itself.
//!
//! The last artifact of a batch has no other beside it: *occupied* is how much of the workers' time had an artifact at
//! all, and the first figure divided by it is what one worker makes of its time.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

/// Small and middling, with the build backends that there are.
const WHEELS: &[(&str, &str, &str)] = &[
    ("attrs", "23.1.0", "attrs-23.1.0-py3-none-any.whl"),
    ("attrs", "23.2.0", "attrs-23.2.0-py3-none-any.whl"),
    ("attrs", "24.2.0", "attrs-24.2.0-py3-none-any.whl"),
    ("certifi", "2023.7.22", "certifi-2023.7.22-py3-none-any.whl"),
    ("certifi", "2024.2.2", "certifi-2024.2.2-py3-none-any.whl"),
    ("certifi", "2024.8.30", "certifi-2024.8.30-py3-none-any.whl"),
    ("filelock", "3.13.1", "filelock-3.13.1-py3-none-any.whl"),
    ("filelock", "3.14.0", "filelock-3.14.0-py3-none-any.whl"),
    ("filelock", "3.15.4", "filelock-3.15.4-py3-none-any.whl"),
    ("flask", "2.3.3", "flask-2.3.3-py3-none-any.whl"),
    ("flask", "3.0.2", "flask-3.0.2-py3-none-any.whl"),
    ("flask", "3.0.3", "flask-3.0.3-py3-none-any.whl"),
    ("httpx", "0.25.2", "httpx-0.25.2-py3-none-any.whl"),
    ("httpx", "0.26.0", "httpx-0.26.0-py3-none-any.whl"),
    ("httpx", "0.27.0", "httpx-0.27.0-py3-none-any.whl"),
    ("idna", "3.4", "idna-3.4-py3-none-any.whl"),
    ("idna", "3.6", "idna-3.6-py3-none-any.whl"),
    ("idna", "3.7", "idna-3.7-py3-none-any.whl"),
    ("iniconfig", "2.0.0", "iniconfig-2.0.0-py3-none-any.whl"),
    ("pluggy", "1.3.0", "pluggy-1.3.0-py3-none-any.whl"),
    ("pluggy", "1.4.0", "pluggy-1.4.0-py3-none-any.whl"),
    ("pluggy", "1.5.0", "pluggy-1.5.0-py3-none-any.whl"),
    ("pycparser", "2.22", "pycparser-2.22-py3-none-any.whl"),
    ("tomli", "2.0.1", "tomli-2.0.1-py3-none-any.whl"),
    ("urllib3", "2.0.7", "urllib3-2.0.7-py3-none-any.whl"),
    ("urllib3", "2.1.0", "urllib3-2.1.0-py3-none-any.whl"),
    ("urllib3", "2.2.2", "urllib3-2.2.2-py3-none-any.whl"),
    ("zipp", "3.17.0", "zipp-3.17.0-py3-none-any.whl"),
    ("zipp", "3.18.1", "zipp-3.18.1-py3-none-any.whl"),
    ("zipp", "3.19.2", "zipp-3.19.2-py3-none-any.whl"),
];
/// Measured runs; the median counts.
const RUNS: usize = 3;
const WORKERS: [usize; 3] = [1, 2, 3];
/// What Linux shows to programs, whatever its own clock.
const TICKS_A_SECOND: f64 = 100.0;

/// One measured run.
struct Run {
    wall_seconds: f64,
    cpu_seconds: f64,
    rows: Vec<Value>,
}

fn main() -> ExitCode {
    let folder = tempfile::tempdir().expect("a folder can be made");
    // A cache that is given is warm already, and stays.
    let cache = std::env::var_os("QUORATE_BENCH_CACHE").map_or_else(|| folder.path().join("cache"), PathBuf::from);
    let entry =
        |(name, version, file): &(&str, &str, &str)| json!({ "ecosystem": "pypi", "name": name, "version": version, "artifact": file });
    let list: Value = WHEELS.iter().map(entry).collect();
    std::fs::write(folder.path().join("list.json"), list.to_string()).expect("a list can be written");
    let warm = run(folder.path(), &cache, 2);
    let built = warm.rows.iter().filter(|row| !row["level"].is_null()).count();
    println!("filling the cache: {:.1} s; {built} of {} were built and compared", warm.wall_seconds, WHEELS.len());
    if built < WHEELS.len() / 2 {
        eprintln!("SKIPPED: the index that pip uses here is out of reach, or lacks too much");
        return ExitCode::from(2);
    }
    for workers in WORKERS {
        let mut runs: Vec<_> = (0..RUNS).map(|_| run(folder.path(), &cache, workers)).collect();
        runs.sort_by(|a, b| a.busy(workers).total_cmp(&b.busy(workers)));
        let median = &runs[RUNS / 2];
        println!(
            "{workers} workers: {:.1} s for {:.1} processor seconds, bound by its processors to {:.3} (from {:.3} to {:.3}); occupied {:.3}; {} bytes fetched",
            median.wall_seconds,
            median.cpu_seconds,
            median.busy(workers),
            runs[0].busy(workers),
            runs[RUNS - 1].busy(workers),
            median.occupied(workers),
            median.rows.iter().filter_map(|row| row["fetched"]["sizeBytes"].as_u64()).sum::<u64>(),
        );
    }
    println!("goal: at least 0.90 with one worker more than there are cores");
    ExitCode::SUCCESS
}

impl Run {
    #[expect(clippy::cast_precision_loss, reason = "a handful of workers")]
    fn busy(&self, workers: usize) -> f64 {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.cpu_seconds / (self.wall_seconds * workers.min(cores) as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "a handful of workers")]
    fn occupied(&self, workers: usize) -> f64 {
        self.rows.iter().filter_map(|row| row["wallSeconds"].as_f64()).sum::<f64>() / (self.wall_seconds * workers as f64)
    }
}

fn run(folder: &Path, cache: &Path, workers: usize) -> Run {
    let results = folder.join("results.json");
    let _ = std::fs::remove_file(&results);
    let (began, before) = (Instant::now(), children_seconds());
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate-node"));
    command.args(["rebuild", "--no-debian", "--jobs", &workers.to_string(), "--list"]).arg(folder.join("list.json"));
    command.arg("--out").arg(&results).arg("--cache-dir").arg(cache).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().expect("the node can be started");
    let wall_seconds = began.elapsed().as_secs_f64();
    let cpu_seconds = children_seconds() - before;
    let text = std::fs::read_to_string(&results).unwrap_or_default();
    let rows = serde_json::from_str(&text).unwrap_or_default();
    Run { wall_seconds, cpu_seconds, rows }
}

/// Processor time of all descendants that have ended and were waited for.
fn children_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("a process can read of itself");
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    fields.skip(13).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS_A_SECOND
}
