#![expect(clippy::unwrap_used, reason = "tests")]
use proptest::prelude::*;

use super::*;
use crate::cosignature::Cosigner;
use crate::merkle::TreeHead;
use crate::note::Signer;

fn cosigner(seed: u8) -> Cosigner {
    Cosigner::from_seed(format!("witness.example/{seed}").parse().unwrap(), &[seed; 32])
}

fn log() -> Signer {
    Signer::from_seed("log.example".parse().unwrap(), &[1; 32])
}

/// The example of the specification, with keys: X1 to X3 are seeds 11 to 13, Y1 to Y3 are 21 to 23.
fn example() -> String {
    let key = |seed| cosigner(seed).verifier().to_string();
    format!(
        "log {}\n\n# six witnesses\nwitness X1 {}\nwitness X2 {}\n\twitness  X3\t{} \ngroup X-witnesses 2 X1 X2 X3\n\
         witness Y1 {}\nwitness Y2 {} https://y2.example/prefix\nwitness Y3 {}\ngroup Y-witnesses any Y1 Y2 Y3\n\n\
         group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n",
        log().verifier(),
        key(11),
        key(12),
        key(13),
        key(21),
        key(22),
        key(23)
    )
}

fn parse(text: &str) -> Result<TlogPolicy, ParseError> {
    TlogPolicy::parse(text.as_bytes())
}

fn note(cosigned_by: &[u8]) -> SignedNote {
    let checkpoint = Checkpoint::new("log.example".parse().unwrap(), TreeHead::empty()).unwrap();
    let note = checkpoint.sign(&log()).unwrap();
    let line = |seed: &u8| cosigner(*seed).cosign(&checkpoint.to_string(), 1).unwrap();
    cosigned_by.iter().fold(note, |note, seed| note.with_signature(line(seed)).unwrap())
}

#[test]
fn the_example_of_the_spec_asks_for_two_of_x_and_one_of_y() {
    let policy = parse(&example()).unwrap();
    assert_eq!(policy.witnesses()[4].url.as_deref(), Some(&b"https://y2.example/prefix"[..]));
    for enough in [&[11, 12, 21][..], &[13, 11, 22, 23], &[11, 12, 13, 21, 22, 23, 99]] {
        let accepted = policy.accept(&note(enough)).unwrap();
        assert_eq!(accepted.cosignatures.len(), enough.iter().filter(|seed| **seed != 99).count());
    }
    for few in [&[][..], &[11, 12, 13], &[21, 22, 23], &[11, 21], &[11, 99, 98, 21]] {
        assert!(matches!(policy.accept(&note(few)), Err(PolicyError::Quorum { .. })), "{few:?}");
    }
}

#[test]
fn what_lacks_is_named() {
    let error = parse(&example()).unwrap().accept(&note(&[11, 21])).unwrap_err();
    assert_eq!(error.to_string(), "quorum `X-and-Y` is not met: cosigned by X1, Y1; not by X2, X3, Y2, Y3");
}

#[test]
fn quorum_none_asks_for_the_log_alone_and_no_log_accepts_nothing() {
    let text = format!("log {}\nquorum none\n", log().verifier());
    assert!(parse(&text).unwrap().accept(&note(&[])).is_ok());
    let bare = parse("quorum none\n").unwrap();
    assert!(matches!(bare.accept(&note(&[])), Err(PolicyError::Log(_))));
    assert!(bare.accept_of(log().verifier(), &note(&[])).is_ok());
    let other = Signer::from_seed("log.example".parse().unwrap(), &[2; 32]);
    assert!(matches!(bare.accept_of(other.verifier(), &note(&[])), Err(PolicyError::Log(_))));
}

#[test]
fn a_cosignature_on_another_checkpoint_rejects_the_note() {
    let other = cosigner(11).cosign("log.example\n1\nother\n", 1).unwrap();
    let note = note(&[11, 12, 21]).with_signature(other).unwrap();
    assert!(matches!(parse(&example()).unwrap().accept(&note), Err(PolicyError::Cosignature(NoteError::BadSignature { .. }))));
}

#[test]
fn malformed_policies_are_refused() {
    let w = |name: &str, seed: u8| format!("witness {name} {}\n", cosigner(seed).verifier());
    let (a, b) = (w("a", 1), w("b", 2));
    let n = |name: &str| name.parse::<Name>().unwrap();
    let renamed = format!("witness c {}\n", CosignerKey::new("other".parse().unwrap(), cosigner(1).verifier().public()).unwrap());
    let renamed_log = Signer::from_seed("other".parse().unwrap(), &[1; 32]);
    let table = [
        (String::new(), ParseError::Quorums { got: 0 }),
        ("# nothing\n".into(), ParseError::Quorums { got: 0 }),
        ("quorum none".into(), ParseError::End),
        ("quorum none\nquorum none\n".into(), ParseError::Quorums { got: 2 }),
        ("quorum a\n".into(), ParseError::Undefined { line: 1, name: n("a") }),
        (format!("quorum a\n{a}"), ParseError::Undefined { line: 1, name: n("a") }),
        (format!("{a}quorum none # why\n"), ParseError::Line { line: 2 }),
        (format!("{a}{}quorum a\n", w("a", 2)), ParseError::NameTaken { line: 2, name: n("a") }),
        (format!("{}quorum none\n", w("none", 2)), ParseError::NameTaken { line: 1, name: n("none") }),
        (format!("{a}{}quorum a\n", w("b", 1)), ParseError::KeyTwice { line: 2 }),
        (format!("{a}{renamed}quorum a\n"), ParseError::KeyTwice { line: 2 }),
        (format!("log {}\nlog {}\nquorum none\n", log().verifier(), renamed_log.verifier()), ParseError::KeyTwice { line: 2 }),
        (format!("{a}{b}group g 3 a b\nquorum g\n"), ParseError::Threshold { line: 3, members: 2 }),
        (format!("{a}{b}group g 0 a b\nquorum g\n"), ParseError::Threshold { line: 3, members: 2 }),
        (format!("{a}{b}group g 01 a b\nquorum g\n"), ParseError::Threshold { line: 3, members: 2 }),
        (format!("{a}{b}group g most a b\nquorum g\n"), ParseError::Threshold { line: 3, members: 2 }),
        (format!("{a}group g all\nquorum g\n"), ParseError::Threshold { line: 2, members: 0 }),
        (format!("{a}group g 1 a a\nquorum g\n"), ParseError::MemberTwice { line: 2, name: n("a") }),
        (format!("{a}{b}group g any a\ngroup h any a b\nquorum h\n"), ParseError::MemberTwice { line: 4, name: n("a") }),
        (format!("{a}group g any a none\nquorum g\n"), ParseError::Undefined { line: 2, name: n("none") }),
        (format!("{a}group g any a g\nquorum g\n"), ParseError::Undefined { line: 2, name: n("g") }),
        (format!("{a}group a any a\nquorum a\n"), ParseError::NameTaken { line: 2, name: n("a") }),
        ("Quorum none\n".into(), ParseError::Line { line: 1 }),
        ("quorum\n".into(), ParseError::Line { line: 1 }),
        ("witness a\nquorum a\n".into(), ParseError::Line { line: 1 }),
        ("quorum none\r\n".into(), ParseError::Octet { octet: b'\r', offset: 11 }),
        ("# \x7f\nquorum none\n".into(), ParseError::Octet { octet: 0x7f, offset: 2 }),
        (
            format!("witness a {}\nquorum a\n", log().verifier()),
            ParseError::Key { line: 1, source: crate::note::KeyError::Type { got: 1, want: 4 } },
        ),
        (
            format!("log {}\nquorum none\n", cosigner(1).verifier()),
            ParseError::Key { line: 1, source: crate::note::KeyError::Type { got: 4, want: 1 } },
        ),
    ];
    for (text, error) in table {
        assert_eq!(parse(&text), Err(error), "{text:?}");
    }
    assert_eq!(
        TlogPolicy::parse(&vec![b'\n'; POLICY_BYTES_MAX + 1]),
        Err(ParseError::TooLong { got: POLICY_BYTES_MAX + 1, limit: POLICY_BYTES_MAX })
    );
}

#[test]
fn names_are_opaque_octets() {
    let key = |seed| cosigner(seed).verifier().to_string();
    let kelvin =
        [b"witness K ", key(1).as_bytes(), b"\nwitness \xe2\x84\xaa ", key(2).as_bytes(), b"\nwitness \xff ", key(3).as_bytes()].concat();
    let text = [&kelvin[..], b"\n# caf\xc3\xa9 \xfe\ngroup g 2 K \xe2\x84\xaa \xff\nquorum g\n"].concat();
    let policy = TlogPolicy::parse(&text).unwrap();
    assert_eq!(policy.counting().len(), 3);
    assert_eq!(TlogPolicy::parse(&policy.to_bytes()).unwrap(), policy);
}

#[test]
fn at_least_32_logs_witnesses_and_groups_are_supported() {
    use std::fmt::Write as _;
    let mut text = String::new();
    for seed in 1..=32 {
        writeln!(text, "log {}", Signer::from_seed(format!("log{seed}").parse().unwrap(), &[seed; 32]).verifier()).unwrap();
        writeln!(text, "witness w{seed} {}\ngroup g{seed} any w{seed}", cosigner(seed).verifier()).unwrap();
    }
    text.push_str("quorum g32\n");
    let policy = parse(&text).unwrap();
    assert_eq!((policy.logs().len(), policy.witnesses().len()), (32, 32));
}

#[test]
fn k_of_n_follows_the_rules_of_a_text() {
    let witness = |name: &str, seed| Witness { name: name.parse().unwrap(), key: cosigner(seed).verifier().clone(), url: None };
    let policy = TlogPolicy::k_of_n(Vec::new(), vec![witness("a", 1), witness("b", 2), witness("c", 3)], 2).unwrap();
    assert!(policy.accept_of(log().verifier(), &note(&[1, 3])).is_ok());
    assert!(policy.accept_of(log().verifier(), &note(&[3])).is_err());
    assert!(TlogPolicy::k_of_n(Vec::new(), vec![witness("a", 1)], 2).is_err());
    assert!(TlogPolicy::k_of_n(Vec::new(), vec![witness("a", 1), witness("b", 1)], 1).is_err());
    assert!(TlogPolicy::k_of_n(Vec::new(), vec![witness("witnesses", 1)], 1).is_err());
    assert_eq!(TlogPolicy::k_of_n(Vec::new(), Vec::new(), 0).unwrap().quorum(), &Quorum::None);
}

/// The rule of the specification, word by word, without one pass in order.
fn model(policy: &TlogPolicy, name: &Name, cosigned: &BTreeSet<Name>) -> bool {
    match policy.groups.iter().find(|group| group.name == *name) {
        Some(group) => group.members.iter().filter(|member| model(policy, member, cosigned)).count() >= group.threshold,
        None => cosigned.contains(name),
    }
}

/// Up to eight witnesses in random groups of groups; each name is a member at most once.
fn policies() -> impl Strategy<Value = TlogPolicy> {
    let groups = prop::collection::vec((1_usize..4, any::<prop::sample::Index>()), 1..6);
    (1_u8..9, groups).prop_map(|(count, groups)| {
        let name = |text: String| text.parse::<Name>().unwrap();
        let witnesses: Vec<_> =
            (1..=count).map(|seed| Witness { name: name(format!("w{seed}")), key: cosigner(seed).verifier().clone(), url: None }).collect();
        let mut free: Vec<_> = witnesses.iter().map(|witness| witness.name.clone()).collect();
        let mut made = Vec::new();
        for (n, (size, threshold)) in groups.into_iter().enumerate() {
            let members: Vec<_> = free.drain(..size.min(free.len())).collect();
            let group = Group { name: name(format!("g{n}")), threshold: 1 + threshold.index(members.len()), members };
            free.push(group.name.clone());
            made.push(group);
        }
        let quorum = Quorum::Of(made.last().unwrap().name.clone());
        TlogPolicy { logs: Vec::new(), witnesses, groups: made, quorum }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_quorum_is_met_exactly_when_the_spec_says_so_and_more_witnesses_never_hurt(policy in policies(), bits in any::<u8>(), more in any::<u8>()) {
        let set = |bits: u8| (0..8).filter(|n| bits & (1 << n) != 0).map(|n| format!("w{}", n + 1).parse().unwrap()).collect::<BTreeSet<Name>>();
        let Quorum::Of(quorum) = policy.quorum() else { unreachable!() };
        prop_assert_eq!(policy.is_met_by(&set(bits)), model(&policy, quorum, &set(bits)));
        prop_assert!(!policy.is_met_by(&set(bits)) || policy.is_met_by(&set(bits | more)));
        prop_assert!(policy.is_met_by(&policy.counting()));
    }

    #[test]
    fn what_is_exported_is_read_as_the_same_policy(policy in policies()) {
        prop_assert_eq!(TlogPolicy::parse(&policy.to_bytes()), Ok(policy));
    }
}
