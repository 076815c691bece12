//! Offline bundles verified a second.

use std::hint::black_box;
use std::time::Duration;

use quorate_proto::bundle::{BUNDLE_FORMAT, Bundle, BundledItem};
use quorate_proto::dsse::Envelope;
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{SecretKey, Timestamp};
use quorate_tally::{Policy, Verifier, tally};
use quorate_tests::{Member, SIGNED_AT, artifact, identical, policy};
use quorate_tlog::merkle::root_over;
use quorate_tlog::{Checkpoint, InclusionProof, Signer, TlogProof, TreeHead, leaf_hash};

use crate::assess::{Gathered, Subject, assess};
use crate::exit::Exit;
use crate::trust::Trust;
use crate::{cpu_time, signature_seconds};

/// Bundles a second and core.
const GOAL: f64 = 2_000.0;

/// Different bundles in turn.
const BUNDLES: usize = 64;

pub(crate) fn run(span: Duration) {
    for operators in [3_u8, 5] {
        measure(span, operators);
    }
}

fn measure(span: Duration, operators: u8) {
    let mut members: Vec<Member> = (1..=operators).map(Member::new).collect();
    let log = Signer::from_seed("quorate.example/log".parse().unwrap(), &[7; 32]);
    let text = format!("{}\n[log]\norigin = \"quorate.example/log\"\nkey = \"{}\"\n", policy(3, &members), log.verifier());
    let trust = Trust::of(Policy::parse(&text).unwrap()).unwrap();
    let bundles: Vec<Vec<u8>> = (0..BUNDLES).map(|number| bundle(&mut members, &trust.policy, &log, number)).collect();
    let now = Timestamp::from_unix_seconds(SIGNED_AT);
    let one = signature_seconds(span / 6, 1_500);
    let began = cpu_time();
    let mut count = 0_usize;
    while cpu_time() < began + span {
        let bundle = Bundle::parse(black_box(&bundles[count % BUNDLES])).unwrap();
        let assessment = assess(&trust, Subject::Artifact(bundle.artifact.clone()), &Gathered::from(&bundle), now);
        assert_eq!(assessment.exit, Exit::Met);
        count += 1;
    }
    let rate = count as f64 / cpu_time().saturating_sub(began).as_secs_f64();
    let one = f64::midpoint(one, signature_seconds(span / 6, 1_500));
    // Each result, the certificate under it, and the checkpoint.
    let signatures = 2 * usize::from(operators) + 1;
    let ceiling = 1.0 / (one * signatures as f64);
    println!(
        "offline bundles of {operators} results, {} bytes: {rate:.0} a second on one core = {:.0} % of the goal ({GOAL}); \
         {rate:.0} of {ceiling:.0} for {signatures} signatures alone = {:.1} %",
        bundles[0].len(),
        100.0 * rate / GOAL,
        100.0 * rate / ceiling
    );
}

fn bundle(members: &mut [Member], policy: &Policy, log: &Signer, number: usize) -> Vec<u8> {
    let artifact = artifact("click", &format!("8.{number}"), &number.to_be_bytes());
    let items: Vec<_> = members.iter_mut().map(|member| member.says(&artifact, identical(&artifact))).collect();
    let statements: Vec<_> = items.iter().map(|item| VerifiedStatement::verify_item(item, policy.enrolled()).unwrap()).collect();
    let verdict = tally(policy, &artifact, &statements, &[]);
    let verifier = Verifier { id: "quorate.example/log".to_owned(), time: Timestamp::from_unix_seconds(SIGNED_AT), log_size: 1 };
    let envelope = Envelope::sign(verdict.to_statement(&verifier).to_payload(), &SecretKey::from_seed(&[99; 32]));
    let before = leaf_hash(b"another entry");
    let head = TreeHead { size: 2, root: root_over(&[before, leaf_hash(envelope.bytes())]) };
    let checkpoint = Checkpoint::new(log.verifier().name().as_str().parse().unwrap(), head).unwrap().sign(log).unwrap();
    let proof = TlogProof::new(InclusionProof { index: 1, path: vec![before] }, checkpoint).unwrap();
    let bundle = Bundle {
        format: BUNDLE_FORMAT.to_owned(),
        artifact,
        verdict: String::from_utf8(envelope.bytes().to_vec()).unwrap(),
        proof: proof.to_string(),
        results: items.iter().map(|item| BundledItem::try_from(item).unwrap()).collect(),
        commitments: Vec::new(),
        checks: Vec::new(),
        declarations: Vec::new(),
        equivocations: Vec::new(),
    };
    bundle.to_bytes()
}
