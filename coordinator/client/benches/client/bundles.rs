//! Offline bundles verified a second: one at a time, and those of a lockfile, whose certificates and checkpoint are the same.

use std::hint::black_box;
use std::time::Duration;

use quorate_proto::bundle::{BUNDLE_FORMAT, Bundle, BundledItem};
use quorate_proto::dsse::Envelope;
use quorate_proto::verified::{FeedItem, VerifiedStatement};
use quorate_proto::{ArtifactId, SecretKey, Timestamp};
use quorate_tally::{Policy, Verifier, tally};
use quorate_tests::{Member, SIGNED_AT, artifact, identical, policy};
use quorate_tlog::{Checkpoint, Cosigner, MemoryTiles, Signer, TlogProof, Tree, TreeView, leaf_hash};

use crate::assess::{Gathered, Subject, assess};
use crate::exit::Exit;
use crate::trust::Trust;
use crate::{cpu_time, signature_seconds};

/// Bundles a second and core.
const GOAL: f64 = 2_000.0;

/// What is verified.
#[derive(Clone, Copy)]
struct Kind {
    /// Who has results in each bundle, as many as this.
    operators: u8,
    /// Bundles that one run of the command looks at: their verdicts stand in one log.
    of_a_run: usize,
    /// Cosignatures of the log's checkpoint, of which the policy asks for two.
    cosignatures: u8,
}

/// A verdict that is not in a log yet.
struct Unlogged {
    artifact: ArtifactId,
    items: Vec<FeedItem>,
    verdict: Envelope,
}

pub(crate) fn run(span: Duration) {
    for operators in [3, 5] {
        measure(span, Kind { operators, of_a_run: 1, cosignatures: 0 });
        measure(span, Kind { operators, of_a_run: 512, cosignatures: 3 });
    }
}

fn measure(span: Duration, kind: Kind) {
    let mut members: Vec<Member> = (1..=kind.operators).map(Member::new).collect();
    let log = Signer::from_seed("quorate.example/log".parse().unwrap(), &[7; 32]);
    let fresh = Trust::of(Policy::parse(&policy_text(kind, &members, &log)).unwrap()).unwrap();
    let runs: Vec<Vec<Vec<u8>>> =
        (0..64_usize.div_ceil(kind.of_a_run)).map(|run| bundles(kind, &mut members, &fresh.policy, &log, run)).collect();
    let now = Timestamp::from_unix_seconds(SIGNED_AT);
    let one = signature_seconds(span / 6, 1_500);
    let began = cpu_time();
    let mut count = 0_usize;
    while cpu_time() < began + span {
        for run in &runs {
            // Nothing is known when a run begins.
            let trust = fresh.clone();
            for bundle in run {
                let bundle = Bundle::parse(black_box(bundle)).unwrap();
                let assessment = assess(&trust, Subject::Artifact(bundle.artifact.clone()), &Gathered::from(&bundle), now);
                assert_eq!(assessment.exit, Exit::Met);
            }
            count += run.len();
        }
    }
    let rate = count as f64 / cpu_time().saturating_sub(began).as_secs_f64();
    let one = f64::midpoint(one, signature_seconds(span / 6, 1_500));
    // Each result; once a run the certificates under them, the checkpoint and its cosignatures.
    let in_common = f64::from(kind.operators + 1 + kind.cosignatures);
    let signatures = f64::from(kind.operators) + in_common / kind.of_a_run as f64;
    let ceiling = 1.0 / (one * signatures);
    println!(
        "offline bundles of {} results, {} bytes, {} a run: {rate:.0} a second on one core = {:.0} % of the goal ({GOAL}); \
         {rate:.0} of {ceiling:.0} for {signatures:.2} signatures alone = {:.1} %",
        kind.operators,
        runs[0][0].len(),
        kind.of_a_run,
        100.0 * rate / GOAL,
        100.0 * rate / ceiling
    );
}

fn cosigner(number: u8) -> Cosigner {
    Cosigner::from_seed(format!("witness.example/w{number}").parse().unwrap(), &[60 + number; 32])
}

fn policy_text(kind: Kind, members: &[Member], log: &Signer) -> String {
    let text = format!("{}\n[log]\norigin = \"quorate.example/log\"\nkey = \"{}\"\n", policy(3, members), log.verifier());
    if kind.cosignatures == 0 {
        return text;
    }
    let witnesses: Vec<_> = (1..=kind.cosignatures).map(|number| format!("witness w{number} {}\n", cosigner(number).verifier())).collect();
    let names: Vec<_> = (1..=kind.cosignatures).map(|number| format!("w{number}")).collect();
    format!("{text}witnesses = '''\n{}group two 2 {}\nquorum two\n'''\n", witnesses.concat(), names.join(" "))
}

/// The bundles of one log, all by its last checkpoint.
fn bundles(kind: Kind, members: &mut [Member], policy: &Policy, log: &Signer, run: usize) -> Vec<Vec<u8>> {
    let unlogged: Vec<Unlogged> = (0..kind.of_a_run).map(|number| unlogged(members, policy, run * kind.of_a_run + number)).collect();
    let verdicts = unlogged.iter().map(|one| leaf_hash(one.verdict.bytes()));
    let appended = Tree::new().append(&[leaf_hash(b"another entry")].into_iter().chain(verdicts).collect::<Vec<_>>()).unwrap();
    let tiles = MemoryTiles(appended.tiles.into_iter().map(|tile| (tile.path, tile.bytes)).collect());
    let origin = log.verifier().name().as_str().parse().unwrap();
    let mut note = Checkpoint::new(origin, appended.tree.head()).unwrap().sign(log).unwrap();
    for number in 1..=kind.cosignatures {
        let line = cosigner(number).cosign(note.unverified_text(), 1).unwrap();
        note = note.with_signature(line).unwrap();
    }
    let view = TreeView::new(appended.tree.head(), &tiles).unwrap();
    let prove = |index| TlogProof::new(view.inclusion(index).unwrap().1, note.clone()).unwrap();
    (1..).zip(unlogged).map(|(index, one)| bundle(one, &prove(index))).collect()
}

fn unlogged(members: &mut [Member], policy: &Policy, number: usize) -> Unlogged {
    let artifact = artifact("click", &format!("8.{number}"), &number.to_be_bytes());
    let items: Vec<_> = members.iter_mut().map(|member| member.says(&artifact, identical(&artifact))).collect();
    let statements: Vec<_> = items.iter().map(|item| VerifiedStatement::verify_item(item, policy.enrolled()).unwrap()).collect();
    let verdict = tally(policy, &artifact, &statements, &[]);
    let verifier = Verifier { id: "quorate.example/log".to_owned(), time: Timestamp::from_unix_seconds(SIGNED_AT), log_size: 1 };
    let verdict = Envelope::sign(verdict.to_statement(&verifier).to_payload(), &SecretKey::from_seed(&[99; 32]));
    Unlogged { artifact, items, verdict }
}

fn bundle(one: Unlogged, proof: &TlogProof) -> Vec<u8> {
    let bundle = Bundle {
        format: BUNDLE_FORMAT.to_owned(),
        artifact: one.artifact,
        verdict: String::from_utf8(one.verdict.into_bytes()).unwrap(),
        proof: proof.to_string(),
        results: one.items.iter().map(|item| BundledItem::try_from(item).unwrap()).collect(),
        commitments: Vec::new(),
        checks: Vec::new(),
        declarations: Vec::new(),
        equivocations: Vec::new(),
    };
    bundle.to_bytes()
}
