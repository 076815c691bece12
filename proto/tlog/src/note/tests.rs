#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;

/// The example of the spec.
const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo \
    Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

fn signer(name: &str, seed: u8) -> Signer {
    Signer::from_seed(name.parse().unwrap(), &[seed; 32])
}

fn parse(note: &str) -> Result<SignedNote, NoteError> {
    SignedNote::parse(note.as_bytes())
}

#[test]
fn the_example_of_the_spec_opens_with_its_key() {
    let key: VerifierKey = VKEY.parse().unwrap();
    assert_eq!(key.to_string(), VKEY);
    let note = parse(NOTE).unwrap();
    assert_eq!(note.to_string(), NOTE);
    let opened = note.open(std::slice::from_ref(&key)).unwrap();
    assert_eq!(opened.text(), "This is an example message.\n");
    assert_eq!(opened.signers(), [key]);
}

#[test]
fn what_we_sign_opens_and_round_trips() {
    let signer = signer("example.com/log", 1);
    let note = SignedNote::sign("one\n\ntwo\n".into(), &signer).unwrap();
    let parsed = parse(&note.to_string()).unwrap();
    assert_eq!(parsed, note);
    let opened = parsed.open(&[signer.verifier().clone()]).unwrap();
    assert_eq!(opened.text(), "one\n\ntwo\n");
}

#[test]
fn notes_must_be_valid_utf_8() {
    let mut bytes = NOTE.as_bytes().to_vec();
    bytes[3] = 0xff;
    assert_eq!(SignedNote::parse(&bytes), Err(NoteError::NotUtf8 { offset: 3 }));
}

#[test]
fn notes_must_not_contain_ascii_control_characters_other_than_newline() {
    for character in ["\r", "\t", "\0", "\u{1f}"] {
        let note = NOTE.replacen("message", &format!("{character}message"), 1);
        assert_eq!(parse(&note), Err(NoteError::ControlCharacter { offset: 19 }));
        assert!(SignedNote::sign(format!("a{character}\n"), &signer("n", 1)).is_err());
    }
}

#[test]
fn text_and_signatures_are_separated_by_the_last_empty_line() {
    let outer = signer("outer", 1);
    let inner = SignedNote::sign("text\n".into(), &signer("inner", 2)).unwrap();
    let nested = SignedNote::sign(inner.to_string(), &outer).unwrap();
    let parsed = parse(&nested.to_string()).unwrap();
    assert_eq!(parsed.unverified_text(), inner.to_string());
    assert_eq!(parsed.signatures().len(), 1);
}

#[test]
fn malformed_notes_are_refused() {
    let line = NOTE.split_once("\n\n").unwrap().1;
    let shape = |line| NoteError::SignatureLine { line };
    let table = [
        (String::new(), NoteError::NoSignatures),
        ("text\n".into(), NoteError::NoSignatures),
        ("text\n\n".into(), NoteError::NoSignatures),
        (NOTE.trim_end().into(), NoteError::NoSignatures),
        (format!("{NOTE}\n"), NoteError::NoSignatures),
        (format!("{NOTE}junk\n"), shape(1)),
        ("text\n\n\n".into(), NoteError::NoSignatures),
        (format!("text\n\n-{}", &line[3..]), shape(0)),
        (line.replace("\u{2014} ", "t\n\n\u{2014}  "), shape(0)),
        (format!("t\n\n{}", line.replace("IneyaQM=", "IneyaQN=")), shape(0)),
        ("t\n\n\u{2014} name AAAAAA==\n".into(), shape(0)),
        ("t\n\n\u{2014} na+me AAAAAAA=\n".into(), shape(0)),
        ("t\n\n\u{2014} na\u{a0}me AAAAAAA=\n".into(), shape(0)),
        ("t\n\n\u{2014} name\n".into(), shape(0)),
    ];
    for (note, error) in table {
        assert_eq!(parse(&note), Err(error), "{note:?}");
    }
    assert_eq!(SignedNote::sign("no newline".into(), &signer("n", 1)), Err(NoteError::TextEnd));
}

#[test]
fn signatures_from_unknown_keys_are_ignored_even_if_they_share_a_name_or_id() {
    let known = signer("example.com/log", 1);
    let note = SignedNote::sign("text\n".into(), &known)
        .unwrap()
        .cosign(&signer("witness.example", 2))
        .unwrap()
        .cosign(&signer("example.com/log", 3))
        .unwrap();
    // The known key's id under another name, with a signature that is none.
    let id = [&known.verifier().id().to_bytes()[..], b"not a signature"].concat();
    let note = format!("{note}\u{2014} other {}\n", BASE64.encode(&id));

    let parsed = parse(&note).unwrap();
    assert_eq!(parsed.signatures().len(), 4);
    assert_eq!(parsed.to_string(), note);
    let opened = parsed.open(&[known.verifier().clone()]).unwrap();
    assert_eq!(opened.signers(), [known.verifier().clone()]);
}

#[test]
fn one_failing_signature_of_a_known_key_rejects_the_whole_note() {
    let (log, witness) = (signer("log", 1), signer("witness", 2));
    let good = SignedNote::sign("text\n".into(), &log).unwrap();
    let other = SignedNote::sign("other\n".into(), &witness).unwrap();
    let mut mixed = good.clone();
    mixed.signatures.extend(other.signatures);
    let keys = [log.verifier().clone(), witness.verifier().clone()];
    assert_eq!(mixed.open(&keys), Err(NoteError::BadSignature { name: "witness".parse().unwrap(), id: witness.verifier().id() }));
    assert!(mixed.open(&keys[..1]).is_ok());

    // A second line of the same key is verified as well.
    let mut doubled = good.clone();
    doubled.signatures.push(good.signatures[0].clone());
    assert_eq!(doubled.open(&keys).unwrap().signers().len(), 1);
    doubled.signatures[1].signature.truncate(63);
    assert!(matches!(doubled.open(&keys), Err(NoteError::BadSignature { .. })));
}

#[test]
fn a_note_without_a_known_signer_is_rejected() {
    let note = SignedNote::sign("text\n".into(), &signer("log", 1)).unwrap();
    let stranger = signer("log", 2).verifier().clone();
    assert_eq!(note.open(&[stranger]), Err(NoteError::NoKnownSigner));
    assert_eq!(note.open(&[]), Err(NoteError::NoKnownSigner));
}

#[test]
fn every_bit_flip_of_the_text_is_noticed() {
    let log = signer("log", 1);
    let note = SignedNote::sign("log\n5\n".into(), &log).unwrap().to_string();
    for byte in 0..6 {
        for bit in 0..8 {
            let mut bytes = note.clone().into_bytes();
            bytes[byte] ^= 1 << bit;
            let opened = SignedNote::parse(&bytes).and_then(|note| note.open(std::slice::from_ref(log.verifier())));
            assert!(opened.is_err(), "byte {byte}, bit {bit}");
        }
    }
}

#[test]
fn at_least_16_signatures_are_accepted_and_more_than_the_limit_refused() {
    let log = signer("log", 1);
    let mut note = SignedNote::sign("text\n".into(), &log).unwrap();
    for seed in 2..=64 {
        note = note.cosign(&signer("witness", seed)).unwrap();
    }
    assert_eq!(note.signatures().len(), SIGNATURES_MAX);
    let text = note.to_string();
    assert!(parse(&text).unwrap().open(&[log.verifier().clone()]).is_ok());

    let too_many = NoteError::TooManySignatures { got: 65, limit: 64 };
    assert_eq!(note.cosign(&log), Err(too_many.clone()));
    let line = text.lines().last().unwrap();
    assert_eq!(parse(&format!("{text}{line}\n")), Err(too_many));
}

#[test]
fn an_oversized_note_is_refused_with_got_and_limit() {
    let note = format!("{}{NOTE}", "x".repeat(NOTE_BYTES_MAX));
    let error = NoteError::TooLong { got: note.len(), limit: NOTE_BYTES_MAX };
    assert_eq!(parse(&note), Err(error));
    let text = format!("{}\n", "x".repeat(NOTE_BYTES_MAX));
    assert!(matches!(SignedNote::sign(text, &signer("n", 1)), Err(NoteError::TooLong { .. })));
}

#[test]
fn key_names_must_be_non_empty_without_unicode_spaces_or_plus() {
    assert_eq!("".parse::<KeyName>(), Err(KeyError::NameEmpty));
    for character in ['+', ' ', '\n', '\u{a0}', '\u{2003}', '\u{3000}', '\u{7}'] {
        let name = format!("a{character}b");
        assert_eq!(name.parse::<KeyName>(), Err(KeyError::NameCharacter { character }));
    }
    assert!("x".repeat(1025).parse::<KeyName>().is_err());
    assert_eq!("è.example/a-1".parse::<KeyName>().unwrap().as_str(), "è.example/a-1");
}

#[test]
fn broken_verifier_keys_are_refused() {
    let key = |bytes: &[u8]| format!("n+00000000+{}", BASE64.encode(bytes));
    let small_order = [&[1, 1][..], &[0; 31]].concat();
    let table = [
        ("n+530d903a", KeyError::Parts),
        ("+530d903a+AA==", KeyError::NameEmpty),
        (&VKEY.replace("530d", "530D"), KeyError::IdEncoding),
        (&VKEY.replace("530d", "30d"), KeyError::IdEncoding),
        (&key(&[4; 33]), KeyError::Type { got: 4, want: 1 }),
        (&key(&[1; 32]), KeyError::KeyLength { got: 32 }),
        (&key(&[]), KeyError::KeyLength { got: 0 }),
        (&key(&small_order), KeyError::Point),
    ];
    for (text, error) in table {
        assert_eq!(text.parse::<VerifierKey>(), Err(error), "{text}");
    }
    assert!(matches!(VKEY.replace("U2k", "U2l").parse::<VerifierKey>(), Err(KeyError::IdMismatch { .. } | KeyError::Point)));
    assert!(matches!(VKEY.replace("530d903a", "530d903b").parse::<VerifierKey>(), Err(KeyError::IdMismatch { .. })));
    assert!(matches!(format!("{VKEY}=").parse::<VerifierKey>(), Err(KeyError::KeyEncoding)));
    let long = "x".repeat(VKEY_BYTES_MAX + 1);
    assert!(matches!(long.parse::<VerifierKey>(), Err(KeyError::TooLong { got: 2049, limit: 2048 })));
}

#[test]
fn one_known_key_listed_twice_is_not_ambiguous() {
    let log = signer("log", 1);
    let note = SignedNote::sign("text\n".into(), &log).unwrap();
    let key = log.verifier().clone();
    assert!(note.open(&[key.clone(), key]).is_ok());
}

#[test]
fn debug_output_never_has_the_secret() {
    let shown = format!("{:?}", signer("log", 7));
    assert!(shown.starts_with("Signer(VerifierKey(log+") || shown.starts_with("Signer(log+"));
    assert!(!shown.contains("0707"));
}
