//! A whole log read, each signature checked and each verdict made again.

use std::time::Duration;

use quorate_proto::dsse::Envelope;
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{SecretKey, Timestamp};
use quorate_tally::{Circumstances, Policy, Verifier, tally_as_of};
use quorate_tests::{Member, SIGNED_AT, artifact, identical, policy};
use quorate_tlog::{Entry, Signer};

use crate::audit::Audit;
use crate::{cpu_time, memory_mib, signature_seconds};

/// Entries of an entry bundle.
const BUNDLE: usize = 256;

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

pub(crate) fn run(span: Duration, entries: usize) {
    let mut source = Source::new();
    let mut audit = Audit::new(Signer::from_seed("quorate.example/log".parse().unwrap(), &[7; 32]).verifier().clone()).unwrap();
    let before = memory_mib("VmRSS:");
    let one = signature_seconds(span / 3, 1_500);
    let (mut hashing, mut auditing) = (Duration::ZERO, Duration::ZERO);
    let bundles = entries.div_ceil(BUNDLE);
    for _ in 0..bundles {
        let bundle = source.bundle();
        let began = cpu_time();
        for entry in &bundle {
            std::hint::black_box(entry.leaf_hash());
        }
        hashing += cpu_time().saturating_sub(began);
        let began = cpu_time();
        audit.take(&bundle).unwrap();
        auditing += cpu_time().saturating_sub(began);
    }
    assert!(audit.findings.is_empty(), "{:?}", audit.findings.first());
    let one = f64::midpoint(one, signature_seconds(span / 3, 1_500));
    let counts = audit.counts;
    let signatures = counts.results + 5;
    let (sum, took) = (hashing.as_secs_f64() + one * signatures as f64, auditing.as_secs_f64());
    println!(
        "audit of {} entries ({} results, {} verdicts made again): {took:.1} s on one core, {:.0} entries a second; \
         hashing and {signatures} signatures alone {sum:.1} s = {:.1} % (goal 80 %)",
        bundles * BUNDLE,
        counts.results,
        counts.verdicts,
        (bundles * BUNDLE) as f64 / took,
        100.0 * sum / took
    );
    println!("memory of the auditor, who is handed the log: {before} MiB before, {} MiB at most", memory_mib("VmHWM:"));
}
