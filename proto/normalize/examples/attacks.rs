//! Seconds and peak memory of each attack of the test table, compared in both directions.
//!
//! `cargo run --release -p quorate-normalize --example attacks [-- PART OF A NAME]`. Every attack runs in a
//! process of its own; memory is the peak of that process while it compares, with both archives in it.
//! Exit code 1 if one takes more than ten seconds or 256 MiB, or is equivalent.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time and memory")]
#![expect(dead_code, unused_imports, clippy::unwrap_used, reason = "the archives are those of the tests")]

use std::process::{Command, ExitCode};
use std::time::Instant;

use quorate_normalize::{CompareError, Input, Limits, compare};
use quorate_proto::comparison::Level;

#[path = "../tests/it/attack.rs"]
mod attack;
#[path = "../tests/it/build_formats.rs"]
mod build_formats;
#[path = "../tests/it/build_tar.rs"]
mod build_tar;
#[path = "../tests/it/build_zip.rs"]
mod build_zip;
#[path = "../tests/it/tampered_contents.rs"]
mod tampered_contents;
#[path = "../tests/it/tampered_crate.rs"]
mod tampered_crate;
#[path = "../tests/it/tampered_formats.rs"]
mod tampered_formats;
#[path = "../tests/it/tampered_heavy.rs"]
mod tampered_heavy;
#[path = "../tests/it/tampered_nested.rs"]
mod tampered_nested;
#[path = "../tests/it/tampered_python.rs"]
mod tampered_python;
#[path = "../tests/it/tampered_smuggled.rs"]
mod tampered_smuggled;
#[path = "../tests/it/tampered_tar.rs"]
mod tampered_tar;
#[path = "../tests/it/tampered_wheel.rs"]
mod tampered_wheel;
#[path = "../tests/it/tampered_zip.rs"]
mod tampered_zip;

/// Bounds of one attack, both directions together.
const SECONDS_MAX: f64 = 10.0;
const KIB_MAX: u64 = 256 << 10;

fn main() -> ExitCode {
    let argument = std::env::args().nth(1).unwrap_or_default();
    if let Some(name) = argument.strip_prefix("one=") {
        return one(name);
    }
    let program = std::env::current_exe().expect("this program's path");
    let (mut failed, mut slowest, mut largest) = (Vec::new(), (0.0, ""), (0, ""));
    let attacks = attack::every_attack();
    let attacks: Vec<_> = attacks.iter().filter(|attack| attack.name.contains(&argument)).collect();
    for attack in &attacks {
        let output = Command::new(&program).arg(format!("one={}", attack.name)).output().expect("starting this program again");
        let text = String::from_utf8_lossy(&output.stdout);
        let mut numbers = text.split_whitespace();
        let seconds: f64 = numbers.next().and_then(|word| word.parse().ok()).unwrap_or(f64::MAX);
        let kib: u64 = numbers.next().and_then(|word| word.parse().ok()).unwrap_or(u64::MAX);
        println!("{seconds:8.3} s {:6} MiB  {}", kib >> 10, attack.name);
        if !output.status.success() || seconds > SECONDS_MAX || kib > KIB_MAX {
            failed.push(attack.name);
        }
        slowest = if seconds > slowest.0 { (seconds, attack.name) } else { slowest };
        largest = if kib > largest.0 { (kib, attack.name) } else { largest };
    }
    println!("{} attacks; slowest {:.3} s: {}; largest {} MiB: {}", attacks.len(), slowest.0, slowest.1, largest.0 >> 10, largest.1);
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("out of bounds: {failed:?}");
    ExitCode::FAILURE
}

/// Compares one attack, and prints seconds and KiB.
fn one(name: &str) -> ExitCode {
    let attacks = attack::every_attack();
    let Some(attack) = attacks.iter().find(|attack| attack.name == name) else { return ExitCode::FAILURE };
    let (tampered, clean) = ((attack.archive)(), (attack.clean)());
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let start = Instant::now();
    let mut is_equal = false;
    for (published, rebuilt) in [(&tampered, &clean), (&clean, &tampered)] {
        match compare(&Input { published, rebuilt, file_name: attack.file_name }, &Limits::default()) {
            Ok(comparison) => is_equal |= comparison.level != Level::Different,
            Err(CompareError::UnreadableRebuilt { .. }) => {}
            Err(CompareError::Limit { .. }) => is_equal = true,
        }
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    println!("{:.3} {}", start.elapsed().as_secs_f64(), peak.trim().trim_end_matches(" kB"));
    if is_equal { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
