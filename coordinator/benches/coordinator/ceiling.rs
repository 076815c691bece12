//! What this machine can do at most at the same moment: each figure is a share of it.

use std::fs::File;
use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use ed25519_dalek::{Signature, Signer as _, SigningKey};
use quorate_tlog::hash::leaf_hash;

/// What checking a signature costs.
pub(crate) struct Verification {
    /// On all cores.
    pub(crate) a_second: f64,
    /// Processor time of one.
    pub(crate) cpu_seconds: f64,
}

/// `verify_strict` on all cores.
pub(crate) fn verification(span: Duration, message_bytes: usize) -> Verification {
    let cores = thread::available_parallelism().unwrap().get();
    let cpu = cpu_seconds();
    let a_second: f64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(|| one_core(span, message_bytes))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    Verification { a_second, cpu_seconds: (cpu_seconds() - cpu) / (a_second * span.as_secs_f64()) }
}

/// `verify_strict` a second on this thread.
pub(crate) fn one_core(span: Duration, message_bytes: usize) -> f64 {
    let key = SigningKey::from_bytes(&[7; 32]);
    let message = vec![b'x'; message_bytes];
    let signature: Signature = key.sign(&message);
    let verifying = key.verifying_key();
    let began = Instant::now();
    let mut count = 0_u32;
    while began.elapsed() < span {
        verifying.verify_strict(std::hint::black_box(&message), &signature).unwrap();
        count += 1;
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}

/// Entries a second that one thread hashes and makes durable, with nothing around them: one file, one sync for each
/// `batch`.
pub(crate) fn hashed_and_durable(entries: &[Vec<u8>], batch: usize) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let mut file = File::create(folder.path().join("entries")).unwrap();
    let began = Instant::now();
    for batch in entries.chunks(batch) {
        for entry in batch {
            std::hint::black_box(leaf_hash(entry));
        }
        file.write_all(&batch.concat()).unwrap();
        file.sync_all().unwrap();
    }
    entries.len() as f64 / began.elapsed().as_secs_f64()
}

/// Processor time that this process has used so far, on all cores.
pub(crate) fn cpu_seconds() -> f64 {
    /// `USER_HZ`, which Linux has fixed for programs.
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / TICKS_A_SECOND
}
