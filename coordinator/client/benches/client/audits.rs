//! A whole log read, each signature checked and each verdict made again.

use std::thread;
use std::time::{Duration, Instant};

use quorate_proto::dsse::Envelope;
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{SecretKey, Timestamp};
use quorate_tally::{Circumstances, Policy, Verifier, tally_as_of};
use quorate_tests::{Member, SIGNED_AT, artifact, identical, policy};
use quorate_tlog::{Entry, Signer};

use crate::audit::Audit;
use crate::{cpu_time, memory_mib, process_time, signature_seconds};

/// Entries of an entry bundle.
const BUNDLE: usize = 256;

/// Entry bundles that are made before they are audited: processor time of all threads is known to a hundredth of a second.
const ROUND: usize = 64;

/// A log that grows as long as it is asked to: results of five operators, and a verdict for each artifact.
struct Source {
    members: Vec<Member>,
    policy: Policy,
    size: u64,
    artifacts: usize,
    waiting: std::collections::VecDeque<Vec<u8>>,
}

impl Source {
    fn new() -> Self {
        let members: Vec<Member> = (1..=5).map(Member::new).collect();
        let text = policy(3, &members);
        let mut waiting = std::collections::VecDeque::from([[b"quorate-policy/v1\n", text.as_bytes()].concat()]);
        waiting.extend(members.iter().map(|member| member.certificate().to_vec()));
        Self { policy: Policy::parse(&text).unwrap(), members, size: 0, artifacts: 0, waiting }
    }

    fn bundle(&mut self) -> Vec<Entry> {
        while self.waiting.len() < BUNDLE {
            self.one_more_artifact();
        }
        self.size += BUNDLE as u64;
        self.waiting.drain(..BUNDLE).map(|bytes| Entry::new(bytes).unwrap()).collect()
    }

    fn one_more_artifact(&mut self) {
        let about = artifact("package", &format!("1.{}", self.artifacts), &self.artifacts.to_be_bytes());
        self.artifacts += 1;
        let items: Vec<_> = self.members.iter_mut().map(|member| member.says(&about, identical(&about))).collect();
        let statements: Vec<_> = items.iter().map(|item| VerifiedStatement::verify_item(item, self.policy.enrolled()).unwrap()).collect();
        self.waiting.extend(items.into_iter().map(|item| item.envelope));
        let time = Timestamp::from_unix_seconds(SIGNED_AT);
        let circumstances = Circumstances { as_of: Some(time), ..Circumstances::default() };
        let verdict = tally_as_of(&self.policy, &about, &statements, circumstances);
        let verifier = Verifier { id: "quorate.example/log".to_owned(), time, log_size: self.size + self.waiting.len() as u64 };
        let payload = verdict.to_statement(&verifier).to_payload();
        self.waiting.push_back(Envelope::sign(payload, &SecretKey::from_seed(&[99; 32])).bytes().to_vec());
    }
}

/// What each processor says, all at the same time.
fn on_all<T: Send>(ask: impl Fn() -> T + Copy + Send) -> Vec<T> {
    let processors = thread::available_parallelism().unwrap().get();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..processors).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

pub(crate) fn run(span: Duration, entries: usize) {
    let mut source = Source::new();
    let mut audit = Audit::new(Signer::from_seed("quorate.example/log".parse().unwrap(), &[7; 32]).verifier().clone()).unwrap();
    let before = memory_mib("VmRSS:");
    let (mut hashing, mut auditing, mut clock) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let mut samples = Vec::new();
    let rounds = entries.div_ceil(ROUND * BUNDLE);
    for _ in 0..rounds {
        // What a signature takes changes with the machine's other work, and two processors may be one core: it is asked all along,
        // of all of them at once.
        samples.extend(on_all(|| signature_seconds(span / 32, 1_500)));
        let bundles: Vec<_> = (0..ROUND).map(|_| source.bundle()).collect();
        let began = cpu_time();
        for entry in bundles.iter().flatten() {
            std::hint::black_box(entry.leaf_hash());
        }
        hashing += cpu_time().saturating_sub(began);
        let (began, clock_began) = (process_time(), Instant::now());
        for bundle in &bundles {
            audit.take(bundle).unwrap();
        }
        auditing += process_time().saturating_sub(began);
        clock += clock_began.elapsed();
    }
    assert!(audit.findings.is_empty(), "{:?}", audit.findings.first());
    let counts = audit.counts;
    let one = samples.iter().sum::<f64>() / samples.len() as f64;
    let signatures = counts.results + 5;
    let (sum, took) = (hashing.as_secs_f64() + one * signatures as f64, auditing.as_secs_f64());
    let read = rounds * ROUND * BUNDLE;
    println!(
        "audit of {read} entries ({} results, {} verdicts made again): {took:.1} s of processor time; hashing and {signatures} signatures \
         alone {sum:.1} s = {:.1} % (goal 80 %); {:.1} s on the clock, {:.0} entries a second",
        counts.results,
        counts.verdicts,
        100.0 * sum / took,
        clock.as_secs_f64(),
        read as f64 / clock.as_secs_f64()
    );
    println!("memory of the auditor, who is handed the log: {before} MiB before, {} MiB at most", memory_mib("VmHWM:"));
}
