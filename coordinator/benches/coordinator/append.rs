//! Raw append: entries that nobody signed, durable, logged and checkpointed a second.
//!
//! The entries are policies, which are logged as they are; each has one row in the index.

use std::time::Instant;

use quorate_coordinator::store::files::Paths;
use quorate_coordinator::store::{LogKey, Writer};
use quorate_tlog::Signer;

use crate::{Scale, ceiling};

/// Entries of one batch: what the writer puts into one under load.
const BATCH: usize = 4_000;

/// Entries a second.
const GOAL: f64 = 60_000.0;

/// Bytes of an entry: a certificate's, and a result's.
const SIZES: [usize; 2] = [700, 2_200];

pub(crate) fn run(scale: Scale) {
    for size in SIZES {
        let entries: Vec<Vec<u8>> = (0..scale.results).map(|number| entry(number, size)).collect();
        let before = ceiling::hashed_and_durable(&entries, BATCH);
        let folder = tempfile::tempdir().unwrap();
        let origin = "quorate.example/bench";
        let signer = Signer::from_seed(origin.parse().unwrap(), &[7; 32]);
        let key = LogKey { origin: origin.parse().unwrap(), signer };
        let (mut writer, _) = Writer::open(Paths::new(folder.path()), key).unwrap();
        let (began, cpu) = (Instant::now(), ceiling::cpu_seconds());
        for batch in entries.chunks(BATCH) {
            writer.log_policies(batch).unwrap();
        }
        let rate = entries.len() as f64 / began.elapsed().as_secs_f64();
        let cpu = 1e6 * (ceiling::cpu_seconds() - cpu) / entries.len() as f64;
        let after = ceiling::hashed_and_durable(&entries, BATCH);
        let reference = f64::midpoint(before, after);
        let made = writer.store().durable_writes();
        println!(
            "raw append of {size} bytes: {rate:.0} entries a second = {:.0} % of the goal ({GOAL}), {:.1} % of hashing and syncing alone \
             ({reference:.0}); {cpu:.1} µs of processor time each; {} + {} durable writes for {} batches, {} settlings",
            100.0 * rate / GOAL,
            100.0 * rate / reference,
            made.stages,
            made.commits,
            entries.len().div_ceil(BATCH),
            made.settlings,
        );
    }
}

fn entry(number: usize, size: usize) -> Vec<u8> {
    let mut entry = number.to_string().into_bytes();
    entry.resize(size, b'x');
    entry
}
