//! What the judges of logs say of the golden one and of its mutants.
//!
//! Who is competent for what: aics-tlog and tlog-scales for tiles, proofs, log signatures and cosignatures; Go's checksum
//! database for tiles, proofs and log signatures (it knows no origins and no cosignatures); transparency-dev's libraries
//! for checkpoints with their origin, cosignatures under a tlog-policy, tlog-proofs and consistency proofs (they read no
//! tiles); this project's own client for all of it.

use std::fs;

use quorate_proto::bundle::Bundle;
use quorate_tlog::TlogProof;

use crate::bench::Judge;
use crate::golden::{CONTENT, FILE, Golden, OLD_SIZE, ORIGIN, QUORUM, SIZE, cosigner, log_key};
use crate::programs::quorate;

/// What every judge is told from elsewhere.
struct Told {
    log: String,
    witnesses: Vec<String>,
    quorum: String,
}

impl Told {
    fn new() -> Self {
        let witnesses = (1..=3).map(|n| cosigner(n).verifier().to_string()).collect();
        Self { log: log_key().verifier().to_string(), witnesses, quorum: QUORUM.to_string() }
    }

    /// Options of aics-tlog.
    fn aics<'t>(&'t self, command: &'t str, rest: &[&'t str]) -> Vec<&'t str> {
        let mut all = vec![command, "--log-key", &self.log, "--origin", ORIGIN, "--quorum", &self.quorum];
        all.extend(self.witnesses.iter().flat_map(|key| ["--witness-key", key.as_str()]));
        [all, rest.to_vec()].concat()
    }

    /// Arguments of `scales.py checkpoint`.
    fn scales<'t>(&'t self, note: &'t str) -> Vec<&'t str> {
        let mut all = vec!["checkpoint", note, &self.log, &self.quorum];
        all.extend(self.witnesses.iter().map(String::as_str));
        all
    }
}

/// The lines of a tlog-proof as aics-tlog wants them: hashes only.
fn hashes(golden: &Golden, name: &str, proof: &str) -> String {
    let proof = TlogProof::parse(proof.as_bytes()).unwrap();
    let lines: String = proof.inclusion().path.iter().map(|hash| format!("{hash}\n")).collect::<Vec<_>>().concat();
    golden.write(name, lines.as_bytes())
}

#[test]
fn aics_tlog_accepts_the_golden_log_and_refuses_its_mutants() {
    let (Some(judge), golden, told) = (Judge::AicsTlog.summon(), Golden::get(), Told::new()) else { return };
    let (log, old, new) = (golden.path("log"), golden.path("old.checkpoint"), golden.path("new.checkpoint"));
    let (index, verdict) = (golden.index.to_string(), golden.path("verdict"));
    let inner = (OLD_SIZE + 1).to_string();
    judge.accepts(&told.aics("verify-checkpoint", &["--note", &new]));
    judge.accepts(&told.aics("verify-consistency", &["--tiles", &log, "--old-checkpoint", &old]));
    judge.accepts(&told.aics("verify-inclusion", &["--tiles", &log, "--index", &index, "--leaf", &verdict]));
    judge.accepts(&told.aics("verify-inclusion", &["--tiles", &log, "--index", &inner]));

    // A flipped byte of a tile.
    let flipped = golden.flipped_tile("aics-flipped");
    judge.refuses(&told.aics("verify-inclusion", &["--tiles", &flipped, "--index", &inner]));
    // Two hashes of a proof swapped.
    let (good, bad) = (golden.bundle.proof.clone(), golden.swapped_proof());
    let (good, bad) = (hashes(golden, "aics-good", &good), hashes(golden, "aics-bad", &bad));
    let (size, root) = (SIZE.to_string(), golden.read("new.checkpoint").lines().nth(2).unwrap().to_owned());
    let by_proof = |proof: &str| {
        let all = ["verify-inclusion", "--leaf", &verdict, "--index", &index, "--size", &size, "--root", &root, "--proof", proof];
        judge.asked(&all).accepts
    };
    assert!(by_proof(&good) && !by_proof(&bad));
    // Another origin, and one cosignature instead of two.
    let other = golden.write("aics-origin", golden.other_origin().to_string().as_bytes());
    judge.refuses(&told.aics("verify-checkpoint", &["--note", &other]));
    let cut = golden.write("aics-cut", golden.cut_cosignatures().to_string().as_bytes());
    judge.refuses(&told.aics("verify-checkpoint", &["--note", &cut]));
    // An old checkpoint served again to somebody who remembers a newer one.
    let replayed = golden.replayed("aics-replayed");
    judge.accepts(&told.aics("verify-checkpoint", &["--tiles", &replayed]));
    judge.refuses(&told.aics("verify-consistency", &["--tiles", &replayed, "--old-checkpoint", &new]));
}

#[test]
fn tlog_scales_accepts_the_golden_log_and_refuses_its_mutants() {
    let (Some(judge), golden, told) = (Judge::TlogScales.summon(), Golden::get(), Told::new()) else { return };
    let (log, old, new) = (golden.path("log"), golden.path("old.checkpoint"), golden.path("new.checkpoint"));
    let (proof, verdict) = (golden.path("verdict.tlog-proof"), golden.path("verdict"));
    judge.accepts(&told.scales(&new));
    judge.accepts(&told.scales(&old));
    judge.accepts(&["tiles", &log, &told.log, &old]);
    judge.accepts(&["proof", &proof, &verdict, &told.log]);

    judge.refuses(&["tiles", &golden.flipped_tile("scales-flipped"), &told.log]);
    let swapped = golden.write("scales-swapped", golden.swapped_proof().as_bytes());
    judge.refuses(&["proof", &swapped, &verdict, &told.log]);
    let other = golden.write("scales-origin", golden.other_origin().to_string().as_bytes());
    judge.refuses(&told.scales(&other));
    let cut = golden.write("scales-cut", golden.cut_cosignatures().to_string().as_bytes());
    judge.refuses(&told.scales(&cut));
    judge.refuses(&["tiles", &golden.replayed("scales-replayed"), &told.log, &new]);
}

#[test]
fn gos_checksum_database_accepts_the_golden_log_and_refuses_its_mutants() {
    let (Some(judge), golden, told) = (Judge::Sumdb.summon(), Golden::get(), Told::new()) else { return };
    let (log, old, new) = (golden.path("log"), golden.path("old.checkpoint"), golden.path("new.checkpoint"));
    let (proof, verdict) = (golden.path("verdict.tlog-proof"), golden.path("verdict"));
    judge.accepts(&["checkpoint", &new, &told.log]);
    judge.accepts(&["tiles", &log, &told.log, &old]);
    judge.accepts(&["proof", &proof, &verdict, &told.log]);

    judge.refuses(&["tiles", &golden.flipped_tile("sumdb-flipped"), &told.log]);
    let swapped = golden.write("sumdb-swapped", golden.swapped_proof().as_bytes());
    judge.refuses(&["proof", &swapped, &verdict, &told.log]);
    judge.refuses(&["tiles", &golden.replayed("sumdb-replayed"), &told.log, &new]);
    // It reads no origin, but a signature under another text is none.
    let forged = golden.read("new.checkpoint").replacen(ORIGIN, "other.quorate.example/log", 1);
    judge.refuses(&["checkpoint", &golden.write("sumdb-origin", forged.as_bytes()), &told.log]);
}

#[test]
fn transparency_devs_libraries_accept_the_golden_log_and_refuse_its_mutants() {
    let (Some(judge), golden, told) = (Judge::Formats.summon(), Golden::get(), Told::new()) else { return };
    let (policy, old, new) = (golden.path("tlog.policy"), golden.path("old.checkpoint"), golden.path("new.checkpoint"));
    let (proof, verdict, consistency) = (golden.path("verdict.tlog-proof"), golden.path("verdict"), golden.path("consistency"));
    judge.accepts(&["checkpoint", &new, &told.log, &policy]);
    judge.accepts(&["checkpoint", &old, &told.log, &policy]);
    judge.accepts(&["proof", &proof, &verdict, &told.log, &policy]);
    judge.accepts(&["consistency", &old, &new, &told.log, &consistency]);

    let swapped = golden.write("formats-swapped", golden.swapped_proof().as_bytes());
    judge.refuses(&["proof", &swapped, &verdict, &told.log, &policy]);
    for (name, note) in [("formats-origin", golden.other_origin()), ("formats-cut", golden.cut_cosignatures())] {
        let note_path = golden.write(name, note.to_string().as_bytes());
        judge.refuses(&["checkpoint", &note_path, &told.log, &policy]);
        let proof = golden.write(&format!("{name}-proof"), golden.bundle_with(&note).proof.as_bytes());
        judge.refuses(&["proof", &proof, &verdict, &told.log, &policy]);
    }
    judge.refuses(&["consistency", &new, &old, &told.log, &consistency]);
}

#[test]
fn the_policy_that_our_client_exports_is_the_one_that_foreign_judges_read() {
    let (golden, told) = (Golden::get(), Told::new());
    let exported = format!("{}.exported", golden.path("tlog.policy"));
    let (code, said) = quorate(&["policy", "tlog", "--policy", &golden.path("policy.toml"), "-o", &exported]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(fs::read_to_string(&exported).unwrap(), golden.read("tlog.policy"));
    let Some(judge) = Judge::Formats.summon() else { return };
    judge.accepts(&["proof", &golden.path("verdict.tlog-proof"), &golden.path("verdict"), &told.log, &exported]);
    let cut = golden.write("exported-cut", golden.cut_cosignatures().to_string().as_bytes());
    judge.refuses(&["checkpoint", &cut, &told.log, &exported]);
}

#[test]
fn our_own_client_accepts_the_golden_bundle_and_refuses_its_mutants() {
    let golden = Golden::get();
    let policy = golden.path("policy.toml");
    let file = golden.write(FILE, CONTENT);
    let verify = |bundle: &str| quorate(&["verify", "--bundle", bundle, &file, "--policy", &policy]);
    let (code, said) = verify(&golden.path("golden.quorate"));
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("reproduced  3 of 3 operators") && said.contains("cosigned by w1, w2, w3"), "{said}");

    let swapped = Bundle { proof: golden.swapped_proof(), ..golden.bundle.clone() };
    let mut foreign = golden.bundle.clone();
    for item in &mut foreign.results {
        item.envelope = String::from_utf8(Golden::changed_payload_type(item.envelope.as_bytes())).unwrap();
    }
    let rows = [
        ("swapped", swapped, 1),
        ("origin", golden.bundle_with(&golden.other_origin()), 1),
        ("cut", golden.bundle_with(&golden.cut_cosignatures()), 3),
        // The verdict is not in the tree of 35,000.
        ("replayed", golden.bundle_with(&golden.note("old.checkpoint")), 1),
        ("payload-type", foreign, 3),
    ];
    for (name, bundle, expected) in rows {
        let path = golden.write(&format!("own-{name}"), &bundle.to_bytes());
        let (code, said) = verify(&path);
        assert_eq!(code, expected, "{name}: {said}");
    }

    // Tiles and checkpoints, from files alone.
    let check = |log: &str| quorate(&["mirror", "--check", log, "--policy", &policy]);
    let (code, said) = check(&golden.path("log"));
    assert_eq!(code, 0, "{said}");
    let (code, said) = check(&golden.flipped_tile("own-flipped"));
    assert!(code == 1 && said.contains("tile/0/136 is not the tile"), "{said}");
    let cut = golden.cut_cosignatures().to_string();
    let cut = golden.broken_log("own-cut-log", |log| {
        fs::remove_file(log.join("checkpoint")).unwrap();
        fs::write(log.join("checkpoint"), cut).unwrap();
    });
    assert_eq!(check(&cut).0, 1);
}
