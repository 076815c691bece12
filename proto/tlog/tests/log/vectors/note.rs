//! `tlog-note.json`: verifier keys, signed notes, checkpoints.

use quorate_tlog::{Checkpoint, SignedNote, Signer, VerifierKey};
use serde::Serialize;

use crate::model;

const ORIGIN: &str = "log.example/quorate";

#[derive(Serialize)]
struct Vectors {
    format: &'static str,
    about: &'static str,
    keys: Vec<KeyCase>,
    vkeys_rejected: Vec<VkeyCase>,
    notes: Vec<NoteCase>,
    notes_rejected: Vec<RejectedCase>,
    checkpoints: Vec<CheckpointCase>,
    checkpoints_rejected: Vec<RejectedCase>,
}

#[derive(Serialize)]
struct KeyCase {
    seed_hex: String,
    name: String,
    key_id_hex: String,
    public_hex: String,
    vkey: String,
}

#[derive(Serialize)]
struct VkeyCase {
    why: &'static str,
    vkey: String,
}

#[derive(Serialize)]
struct NoteCase {
    about: &'static str,
    known_vkeys: Vec<String>,
    text: String,
    note: String,
    signed_by: Vec<String>,
}

#[derive(Serialize)]
struct RejectedCase {
    why: &'static str,
    vkey: String,
    note: String,
}

#[derive(Serialize)]
struct CheckpointCase {
    vkey: String,
    origin: String,
    size: u64,
    root: String,
    note: String,
}

#[test]
fn tlog_note_json_is_what_the_code_makes() {
    let vectors = Vectors {
        format: "quorate-tlog-note/1",
        about: "Keys are Ed25519 keys of the given seeds. A verifier that knows known_vkeys gets \
            text out of note, signed by the keys called signed_by. Rejected notes must not open \
            with their vkey; rejected checkpoints must not open as a checkpoint of the origin that \
            is the vkey's name. Checkpoints are of the trees in tlog-tree.json.",
        keys: [log(), witness()].iter().zip([1, 2]).map(key_case).collect(),
        vkeys_rejected: vkeys_rejected(),
        notes: note_cases(),
        notes_rejected: notes_rejected(),
        checkpoints: [0, 1, 5, 257, 70_000].map(checkpoint_case).into(),
        checkpoints_rejected: checkpoints_rejected(),
    };
    super::check("tlog-note.json", &vectors);
}

fn signer(name: &str, seed: u8) -> Signer {
    Signer::from_seed(name.parse().expect("a key name"), &[seed; 32])
}

fn log() -> Signer {
    signer(ORIGIN, 1)
}

fn witness() -> Signer {
    signer("witness.example/w1", 2)
}

fn key_case((signer, seed): (&Signer, u8)) -> KeyCase {
    let key = signer.verifier();
    KeyCase {
        seed_hex: super::seed_hex(seed),
        name: key.name().to_string(),
        key_id_hex: key.id().to_string(),
        public_hex: data_encoding::HEXLOWER.encode(key.public()),
        vkey: key.to_string(),
    }
}

fn vkeys_rejected() -> Vec<VkeyCase> {
    let good = log().verifier().to_string();
    let (name, rest) = good.split_once('+').expect("a vkey");
    let (id, key) = rest.split_once('+').expect("a vkey");
    let typed = |kind: u8, key: &[u8]| data_encoding::BASE64.encode(&[&[kind], key].concat());
    let public = log().verifier().public().to_vec();
    let cases = [
        ("two parts", format!("{name}+{id}")),
        ("an empty name", format!("+{id}+{key}")),
        ("a space in the name", format!("log example+{id}+{key}")),
        ("another name, so another id", format!("{name}x+{id}+{key}")),
        ("an upper-case id", format!("{name}+{}+{key}", id.to_uppercase())),
        ("an id of seven digits", format!("{name}+{}+{key}", &id[1..])),
        ("a cosignature key, type 4", format!("{name}+{id}+{}", typed(4, &public))),
        ("a key of 31 bytes", format!("{name}+{id}+{}", typed(1, &public[1..]))),
        ("a key of small order", format!("{name}+{id}+{}", typed(1, &[0; 32]))),
        ("a newline at the end", format!("{good}\n")),
    ];
    cases
        .map(|(why, vkey)| {
            assert!(vkey.parse::<VerifierKey>().is_err(), "{why}");
            VkeyCase { why, vkey }
        })
        .into()
}

fn note_case(about: &'static str, known: &[&Signer], note: &SignedNote) -> NoteCase {
    let known: Vec<VerifierKey> = known.iter().map(|key| key.verifier().clone()).collect();
    let opened = note.open(&known).expect("vectors open");
    let names = opened.signers().iter().map(|key| key.name().to_string());
    NoteCase {
        about,
        known_vkeys: known.iter().map(VerifierKey::to_string).collect(),
        text: opened.text().to_owned(),
        note: note.to_string(),
        signed_by: names.collect(),
    }
}

fn note_cases() -> Vec<NoteCase> {
    let plain = SignedNote::sign("a text\n".into(), &log()).expect("a text");
    let cosigned = plain.clone().cosign(&witness()).expect("room for two");
    let lines = SignedNote::sign("empty lines\n\nin a text\n".into(), &log()).expect("a text");
    vec![
        note_case("one signature", &[&log()], &plain),
        note_case("an unknown signature is ignored", &[&log()], &cosigned),
        note_case("two known signatures", &[&log(), &witness()], &cosigned),
        note_case("the last empty line ends the text", &[&log()], &lines),
    ]
}

fn notes_rejected() -> Vec<RejectedCase> {
    let good = SignedNote::sign("a text\n".into(), &log()).expect("a text").to_string();
    let (_, line) = good.split_once("\n\n").expect("a note");
    let by_witness = SignedNote::sign("a text\n".into(), &witness()).expect("a text");
    let forged = good.replace("a text", "b text");
    let cases = [
        ("a changed text", forged.clone()),
        ("one of two signatures of a known key fails", format!("{forged}{line}")),
        ("no signature by the known key", by_witness.to_string()),
        ("no newline at the end", good.trim_end().to_owned()),
        ("an empty line at the end", format!("{good}\n")),
        ("no empty line", good.replace("\n\n", "\n")),
        ("no signature", "a text\n\n".to_owned()),
        ("a carriage return", good.replace("text\n", "text\r\n")),
        ("a hyphen for the dash", good.replace('\u{2014}', "-")),
        ("two spaces after the dash", good.replace("\u{2014} ", "\u{2014}  ")),
        ("a signature of no bytes", "a text\n\n\u{2014} n AAAAAA==\n".to_owned()),
        ("base64 in two padded pieces", format!("{}QQ==\n", good.trim_end())),
        ("text after the signatures", format!("{good}text\n")),
        ("65 signatures", format!("{}{}", good, line.repeat(64))),
    ];
    cases.map(|(why, note)| rejected_note(why, note)).into()
}

fn rejected_note(why: &'static str, note: String) -> RejectedCase {
    let key = log().verifier().clone();
    let vkey = key.to_string();
    let opened = SignedNote::parse(note.as_bytes()).and_then(|note| note.open(&[key]));
    assert!(opened.is_err(), "{why}");
    RejectedCase { why, vkey, note }
}

fn checkpoint_case(size: u64) -> CheckpointCase {
    let head = model::head(&model::leaves(size));
    let checkpoint = Checkpoint::new(ORIGIN.parse().expect("an origin"), head).expect("a head");
    let note = checkpoint.sign(&log()).expect("the origin's key").to_string();
    let opened = Checkpoint::open(note.as_bytes(), log().verifier()).expect("vectors open");
    assert_eq!(opened, checkpoint);
    CheckpointCase {
        vkey: log().verifier().to_string(),
        origin: checkpoint.origin().to_string(),
        size: checkpoint.size(),
        root: checkpoint.root().to_string(),
        note,
    }
}

fn checkpoints_rejected() -> Vec<RejectedCase> {
    let text = |size: u64| {
        let head = model::head(&model::leaves(size));
        Checkpoint::new(ORIGIN.parse().expect("an origin"), head).expect("a head").to_string()
    };
    let five = text(5);
    let cases = [
        ("another origin", five.replace("log.example", "other.example")),
        ("a leading zero", five.replace("\n5\n", "\n05\n")),
        ("a sign", five.replace("\n5\n", "\n+5\n")),
        ("a size over 2^63-1", five.replace("\n5\n", "\n9223372036854775808\n")),
        ("an empty tree with another root", five.replace("\n5\n", "\n0\n")),
        ("a root of 31 bytes", format!("{ORIGIN}\n5\n{}\n", data_encoding::BASE64.encode(&[0; 31]))),
        ("a root in two padded pieces", format!("{ORIGIN}\n5\n{}QUFB\n", data_encoding::BASE64.encode(&[0; 29]))),
        ("two lines", format!("{ORIGIN}\n5\n")),
        ("an empty line in the text", five.replacen('\n', "\n\n", 1)),
        ("an empty extension line", format!("{five}\nextension\n")),
    ];
    cases
        .map(|(why, text)| {
            let note = SignedNote::sign(text, &log()).expect("a text").to_string();
            let opened = Checkpoint::open(note.as_bytes(), log().verifier());
            assert!(opened.is_err(), "{why}");
            let vkey = log().verifier().to_string();
            RejectedCase { why, vkey, note }
        })
        .into()
}
