//! Compares two wheels made in memory, against SHA-256 over the same bytes decompressed, in one run.
//!
//! `cargo run -p quorate-normalize --release --example throughput`

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant};

use quorate_normalize::{Input, Limits, compare};
use sha2::{Digest as _, Sha256};
use zip::write::SimpleFileOptions;

/// Files of each wheel.
const FILES: u32 = 400;

/// Runs of each measurement; the fastest counts.
const RUNS: usize = 5;

fn main() {
    let files: Vec<(String, Vec<u8>)> = (0..FILES).map(|n| (format!("pkg/m{n}.py"), source(n))).collect();
    let decompressed: u64 = files.iter().map(|(_, content)| content.len() as u64 * 2).sum();
    let published = wheel(&files, 6, 2020);
    let sha = fastest(|| {
        for (_, content) in files.iter().chain(&files) {
            black_box(Sha256::digest(content));
        }
    });
    println!("sha256 of {} MiB in {sha:?}", decompressed >> 20);
    for (what, rebuilt) in [("same deflate bytes", wheel(&files, 6, 2021)), ("other deflate bytes", wheel(&files, 9, 2021))] {
        let input = Input { published: &published, rebuilt: &rebuilt, file_name: "pkg-1.zip" };
        let mut level = None;
        let time = fastest(|| level = compare(black_box(&input), &Limits::default()).ok().map(|comparison| comparison.level));
        let percent = 100.0 * sha.as_secs_f64() / time.as_secs_f64();
        println!("compare, {what}: {time:?}, {percent:.0} % of the speed of sha256, level {level:?}");
    }
}

fn fastest(mut run: impl FnMut()) -> Duration {
    let times = (0..RUNS).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed()
    });
    times.min().unwrap_or_default()
}

/// Text that compresses about as well as source code does.
fn source(seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut text = Vec::new();
    while text.len() < 100_000 {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let words = ["return", "self", "value", "if", "None", "def", "import", "data"];
        let word = words[(state % 8) as usize];
        text.extend(format!("    {word}_{:x} = {}({:?})\n", state % 4096, words[(state >> 8) as usize % 8], state >> 20).bytes());
    }
    text
}

fn wheel(files: &[(String, Vec<u8>)], level: i64, year: u16) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let time = zip::DateTime::from_date_and_time(year, 1, 1, 0, 0, 0).unwrap_or_default();
    let options = SimpleFileOptions::default().compression_level(Some(level)).last_modified_time(time);
    for (name, content) in files {
        writer.start_file(name.as_str(), options).expect("writing to memory");
        writer.write_all(content).expect("writing to memory");
    }
    writer.finish().expect("writing to memory").into_inner()
}
