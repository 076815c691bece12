//! What a consumer and a monitor check in a second of processor time, on one core, as shares of what the signatures alone cost.
//!
//! `cargo bench -p quorate-client` runs all; names choose some; `--quick` is a small run that only shows that
//! everything works; `audit --million` audits a million entries: about two gigabytes in the folder for temporary files.
#![allow(
    dead_code,
    unused_imports,
    unfulfilled_lint_expectations,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "benchmark"
)]

// The command has no library: what is measured is taken from it as it is.
#[path = "../../src/assess.rs"]
mod assess;
#[path = "../../src/monitor/audit.rs"]
mod audit;
#[path = "../../src/claim.rs"]
mod claim;
#[path = "../../src/monitor/course.rs"]
mod course;
#[path = "../../src/monitor/due.rs"]
mod due;
#[path = "../../src/evidence.rs"]
mod evidence;
#[path = "../../src/exit.rs"]
mod exit;
#[path = "../../src/monitor/history.rs"]
mod history;
#[path = "../../src/monitor/kept.rs"]
mod kept;
#[path = "../../src/monitor/occasion.rs"]
mod occasion;
#[path = "../../src/monitor/opened.rs"]
mod opened;
#[path = "../../src/monitor/recompute.rs"]
mod recompute;
#[path = "../../src/text.rs"]
mod text;
#[path = "../../src/trust.rs"]
mod trust;
#[path = "../../src/trusted_log.rs"]
mod trusted_log;

mod audits;
mod bundles;

use std::time::Duration;

use quorate_tests::Member;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let named: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let chosen = |name: &str| named.is_empty() || named.iter().any(|chosen| *chosen == name);
    let span = if has("--quick") { Duration::from_millis(100) } else { Duration::from_secs(3) };
    if chosen("bundles") {
        bundles::run(span);
    }
    if chosen("audit") {
        audits::run(if has("--quick") {
            600
        } else if has("--million") {
            1_000_000
        } else {
            150_000
        });
    }
}

/// Processor time that this thread has had so far: others who use the machine do not count.
fn cpu_time() -> Duration {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(spent.split(' ').next().unwrap().parse().unwrap())
}

/// Processor time that all threads have had so far, to a hundredth of a second.
fn process_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// Seconds of processor time that checking one signature takes.
fn signature_seconds(span: Duration, message_bytes: usize) -> f64 {
    use quorate_proto::key::PublicKey as _;
    let member = Member::new(1);
    let message = vec![b'x'; message_bytes];
    let signature = member.key().sign(&message);
    let began = cpu_time();
    let mut count = 0_u32;
    while cpu_time() < began + span {
        // The clock is asked seldom: that costs as much as a twentieth of a signature.
        for _ in 0..64 {
            member.node().verify(std::hint::black_box(&message), &signature).unwrap();
            count += 1;
        }
    }
    cpu_time().saturating_sub(began).as_secs_f64() / f64::from(count)
}

/// A line of what the system says of this process' memory.
fn memory_mib(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}
