//! A whole log read, each signature checked and each verdict made again.

use std::collections::{HashMap, VecDeque};
use std::thread;
use std::time::{Duration, Instant};

use quorate_proto::dsse::Envelope;
use quorate_proto::key::PublicKey as _;
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{NodeId, SecretKey, Timestamp};
use quorate_tally::{Circumstances, Policy, Verifier, tally_as_of};
use quorate_tests::{Member, SIGNED_AT, artifact, identical, policy};
use quorate_tlog::bundle::ENTRY_BYTES_MAX;
use quorate_tlog::{Entry, Signer};

use crate::audit::Audit;
use crate::{memory_mib, process_time};

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
    waiting: VecDeque<Vec<u8>>,
}

impl Source {
    fn new() -> Self {
        let members: Vec<Member> = (1..=5).map(Member::new).collect();
        let text = policy(3, &members);
        let mut waiting = VecDeque::from([[b"quorate-policy/v1\n", text.as_bytes()].concat()]);
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

/// Hashes all entries as the tree and the feeds do, and checks the signatures of all results, each processor a share.
fn hash_and_verify(entries: &[(Entry, Envelope)], nodes: &HashMap<String, NodeId>) {
    let processors = thread::available_parallelism().unwrap().get();
    thread::scope(|scope| {
        for share in entries.chunks(entries.len().div_ceil(processors)) {
            scope.spawn(move || {
                for (entry, envelope) in share {
                    std::hint::black_box(entry.leaf_hash());
                    if let Some(node) = nodes.get(envelope.key_id()) {
                        std::hint::black_box(envelope.digest());
                        envelope.verify(node).unwrap();
                    }
                }
            });
        }
    });
}

pub(crate) fn run(entries: usize) {
    let mut source = Source::new();
    let nodes: HashMap<_, _> = source.members.iter().map(|member| (member.node().key_id(), member.node())).collect();
    let mut audit = Audit::new(Signer::from_seed("quorate.example/log".parse().unwrap(), &[7; 32]).verifier().clone()).unwrap();
    let before = memory_mib("VmRSS:");
    let (mut alone, mut auditing, mut clock) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let rounds = entries.div_ceil(ROUND * BUNDLE);
    for _ in 0..rounds {
        let bundles: Vec<_> = (0..ROUND).map(|_| source.bundle()).collect();
        let envelope = |entry: &Entry| Some((entry.clone(), Envelope::parse(entry.as_bytes(), ENTRY_BYTES_MAX).ok()?));
        let envelopes: Vec<_> = bundles.iter().flatten().filter_map(envelope).collect();
        let began = process_time();
        hash_and_verify(&envelopes, &nodes);
        alone += process_time().saturating_sub(began);
        drop(envelopes);
        let (began, clock_began) = (process_time(), Instant::now());
        for bundle in &bundles {
            audit.take(bundle).unwrap();
        }
        auditing += process_time().saturating_sub(began);
        clock += clock_began.elapsed();
    }
    assert!(audit.findings.is_empty(), "{:?}", audit.findings.first());
    let (counts, read) = (audit.counts, rounds * ROUND * BUNDLE);
    println!(
        "audit of {read} entries ({} results, {} verdicts made again): {:.1} s of processor time; hashing and signatures of the same \
         {:.1} s = {:.1} % (goal 80 %); {:.1} s on the clock, {:.0} entries a second",
        counts.results,
        counts.verdicts,
        auditing.as_secs_f64(),
        alone.as_secs_f64(),
        100.0 * alone.as_secs_f64() / auditing.as_secs_f64(),
        clock.as_secs_f64(),
        read as f64 / clock.as_secs_f64()
    );
    println!("memory of the auditor, who is handed the log: {before} MiB before, {} MiB at most", memory_mib("VmHWM:"));
}
