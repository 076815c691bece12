//! What the coordinator does in a second, as ratios of one run on one machine.
//!
//! `cargo bench -p quorate-coordinator` runs all; names choose some; `--quick` is a small run that only
//! shows that everything works.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, missing_docs, reason = "benchmark")]

#[path = "../../tests/coordinator/fixture.rs"]
mod fixture;

mod append;
mod ceiling;
mod ingest;
mod latency;
mod lookups;
mod memory;
mod paced;
mod parse;
mod process;

use std::time::Duration;

use tikv_jemallocator::Jemalloc;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// How much is measured.
#[derive(Clone, Copy)]
struct Scale {
    results: usize,
    held: usize,
    artifacts: usize,
    span: Duration,
}

const FULL: Scale = Scale { results: 100_000, held: 100_000, artifacts: 300, span: Duration::from_secs(5) };
const QUICK: Scale = Scale { results: 600, held: 1_000, artifacts: 10, span: Duration::from_millis(400) };

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let scale = if arguments.iter().any(|argument| argument == "--quick") { QUICK } else { FULL };
    let named: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let chosen = |name: &str| named.is_empty() || named.iter().any(|chosen| *chosen == name);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if chosen("append") {
        append::run(scale);
    }
    if chosen("parse") {
        parse::run(scale);
    }
    if chosen("ingest") {
        let a_second = ingest::run(&runtime, scale);
        paced::run(&runtime, scale, a_second);
    }
    if chosen("lookups") {
        runtime.block_on(lookups::run(scale));
    }
    if chosen("memory") {
        runtime.block_on(memory::run(scale));
    }
    if chosen("latency") {
        runtime.block_on(latency::run(scale));
    }
}

/// One line a figure: what, how much, against what, and the goal.
fn report(what: &str, got: f64, reference: f64, goal_percent: u32) {
    let percent = 100.0 * got / reference;
    println!("{what}: {got:.0} of {reference:.0} = {percent:.1} % (goal {goal_percent} %)");
}
