//! Golden vectors for the tally: policy and results in, verdict out.
//!
//! A changed vector is a protocol change. `QUORATE_UPDATE_VECTORS=1` writes them anew.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;
use std::sync::Arc;

use quorate_proto::declaration::{Declaration, VerifiedDeclaration, Vouch};
use quorate_proto::entry::VerifiedEntry;
use quorate_proto::feed::EquivocationProof;
use quorate_proto::verified::{FeedItem, VerifiedStatement};
use quorate_proto::{ArtifactId, Digest, SecretKey, Timestamp};
use quorate_tally::history::Past;
use quorate_tally::share::{Entered, Kind};
use quorate_tally::{Circumstances, Confirmation, History, Policy, State, Verdict, tally_as_of};
use quorate_tests::{
    Member, SIGNED_AT, advisory, artifact, different, equivalent, failed, identical, left, policy, retraction, revocation, vouch,
};
use serde_json::{Value, json};

/// A picture of votes (see the tests beside this), and what is special.
struct Case {
    what: &'static str,
    policy: String,
    items: Vec<FeedItem>,
    commitments: Vec<FeedItem>,
    checks: Vec<FeedItem>,
    equivocations: Vec<[FeedItem; 2]>,
    as_of: Option<Timestamp>,
}

fn click() -> ArtifactId {
    artifact("click", "8.1.8", b"click")
}

fn five() -> Vec<Member> {
    (1..=5).map(Member::new).collect()
}

fn votes(members: &mut [Member], row: &str) -> Vec<FeedItem> {
    let says = row.chars().zip(members).filter_map(|(letter, member)| {
        let outcome = match letter {
            'i' => identical(&click()),
            'e' => equivalent(),
            'f' => failed(),
            '.' => return None,
            other => different(&other.to_string(), "click/evil.py"),
        };
        Some(member.says(&click(), outcome))
    });
    says.collect()
}

fn pictured(what: &'static str, row: &str, threshold: usize, rules: &str) -> Case {
    let mut members = five();
    let policy = format!("{}{rules}", policy(threshold, &members));
    Case {
        what,
        policy,
        items: votes(&mut members, row),
        commitments: Vec::new(),
        checks: Vec::new(),
        equivocations: Vec::new(),
        as_of: None,
    }
}

/// One operator with three nodes that say what the picture says.
fn joined(what: &'static str, row: &str) -> Case {
    let mut nodes = Member::with_nodes(1, 3);
    let policy = policy(1, [&nodes[0]]);
    Case {
        what,
        policy,
        items: votes(&mut nodes, row),
        commitments: Vec::new(),
        checks: Vec::new(),
        equivocations: Vec::new(),
        as_of: None,
    }
}

fn superseded() -> Case {
    let mut members = five();
    let mut items = votes(&mut members, "aiiff");
    items.push(members[0].says(&click(), identical(&click())));
    Case {
        what: "a node's later word counts",
        policy: policy(3, &members),
        items,
        commitments: Vec::new(),
        checks: Vec::new(),
        equivocations: Vec::new(),
        as_of: None,
    }
}

fn registry_split() -> Case {
    let mut members = five();
    let mut items = votes(&mut members, "iii..");
    let other = ArtifactId { digest: Digest::of(b"other"), ..click() };
    items.push(members[3].says(&other, failed()));
    Case {
        what: "other bytes under the same name",
        policy: policy(3, &members),
        items,
        commitments: Vec::new(),
        checks: Vec::new(),
        equivocations: Vec::new(),
        as_of: None,
    }
}

/// The operator's other node, which says nothing here, has signed two histories.
fn equivocated() -> Case {
    let mut members = five();
    let items = votes(&mut members, "iii..");
    let node = Member::with_nodes(1, 2).remove(1);
    let pair = [identical(&click()), failed()].map(|outcome| node.says_at(node.position(), &click(), outcome));
    Case {
        what: "an operator with an equivocating node",
        policy: policy(3, &members),
        items,
        commitments: Vec::new(),
        checks: Vec::new(),
        equivocations: vec![pair],
        as_of: None,
    }
}

fn certified_twice() -> Case {
    let mut members = five();
    let mut items = votes(&mut members, "iii..");
    items.push(FeedItem { certificate: members[3].certifies(&members[0]), ..items[0].clone() });
    Case {
        what: "a result under another operator's certificate does not count",
        policy: policy(3, &members),
        items,
        commitments: Vec::new(),
        checks: Vec::new(),
        equivocations: Vec::new(),
        as_of: None,
    }
}

const GROUPS: &str = r#"
[[group]]
name = "north"
k = 2
members = ["operator-0", "operator-1", "operator-2"]

[[group]]
name = "south"
k = 1
members = ["operator-3", "operator-4"]
"#;

/// As of ten days after the results were signed. What stands in `operators` follows its operator's name.
fn ruled(what: &'static str, row: &str, threshold: usize, operators: &[&str], rules: &str) -> Case {
    let mut case = pictured(what, row, threshold, rules);
    for (at, extra) in operators.iter().enumerate() {
        let name = format!("name = \"operator-{at}\"\n");
        case.policy = case.policy.replace(&name, &format!("{name}{extra}\n"));
    }
    case.as_of = Some(Timestamp::from_unix_seconds(SIGNED_AT + 10 * 86_400));
    case
}

/// Groups, distinctness, time, packages, and entries about files, results and keys.
fn ruled_cases() -> Vec<Case> {
    let countries = ["country = \"DE\"", "country = \"DE\"", "country = \"FR\"", "", ""];
    let environments = ["environment = \"debian\"", "environment = \"debian\"", "environment = \"nix\"", "environment = \"nix\"", ""];
    let distinct = "\n[distinct]\ncountry = 2\n";
    let (published, rebuilt) = (click().digest, Digest::of(b"a"));
    let vouch = |until| {
        format!("\n[[vouch]]\nid = \"V\"\ndigest = \"{published}\"\nrebuilt = \"{rebuilt}\"\nuntil = \"{until}\"\nreason = \"a date\"\n")
    };
    let aged = |days| format!("\n[[package]]\nmatch = \"pkg:pypi/click@8.*\"\nmax_age_days = {days}\n");
    let advisory = "\n[[advisory]]\nid = \"A\"\npackage = \"pkg:pypi/click\"\nreason = \"a backdoor\"\n";
    let revoked = |since| format!("\n[[revocation]]\nnode = \"{}\"\nsince = {since}\nreason = \"stolen\"\n", five()[2].node());
    let retracted = Digest::of(&votes(&mut five(), "a")[0].envelope);
    let retraction = format!("\n[[retraction]]\nresult = \"{retracted}\"\n");
    vec![
        ruled("groups that speak", "ii.i.", 2, &[], GROUPS),
        ruled("a group of which too few speak", "i..ii", 2, &[], GROUPS),
        ruled("distinct enough", "i.i..", 2, &countries, distinct),
        ruled("not distinct enough", "ii...", 2, &countries, distinct),
        ruled("a difference that is vouched for", "aai..", 3, &[], &vouch("2026-02-01T00:00:00Z")),
        ruled("a vouch that has expired", "aaa..", 3, &[], &vouch("2026-01-20T00:00:00Z")),
        ruled("results that are young enough", "iii..", 3, &[], &aged(10)),
        ruled("results that are too old", "iii..", 3, &[], &aged(9)),
        ruled("an advisory", "iii..", 3, &[], advisory),
        ruled("a node that is revoked since later", "iii..", 3, &[], &revoked(1)),
        ruled("a node that is revoked since before", "iii..", 3, &[], &revoked(0)),
        ruled("a result that was taken back", "aiii.", 3, &[], &retraction),
        ruled("results that differ as environments do", "iiaa.", 3, &environments, ""),
    ]
}

/// Four of five operators commit and reveal; the last of them is seen by nobody, and its commitment is open if it
/// withholds.
fn graded(what: &'static str, rules: &str, withholds: bool) -> Case {
    let mut members = five();
    let commitments: Vec<_> = members[..4].iter_mut().map(|member| member.commits(&click(), &identical(&click()), 2)).collect();
    let told = if withholds { 3 } else { 4 };
    let reveal = |(at, member): (usize, &mut Member)| {
        let seen: Vec<_> = (0..3).filter(|other| *other != at).map(|other| commitments[other].clone()).collect();
        member.reveals(&click(), identical(&click()), 0, &seen)
    };
    let items = members[..told].iter_mut().enumerate().map(reveal).collect();
    let (policy, equivocations) = (format!("{rules}{}", policy(3, &members)), Vec::new());
    let as_of = Some(Timestamp::from_unix_seconds(SIGNED_AT + 3_600));
    Case { what, policy, items, commitments, checks: Vec::new(), equivocations, as_of }
}

/// Three of five build and do not commit. The second bears the first out, the third does not, and the fourth, which tells
/// no result, bears out the first two.
fn checked(what: &'static str, rules: &str) -> Case {
    let mut members = five();
    let items: Vec<_> = members[..3].iter_mut().map(|member| member.builds(&click(), identical(&click()), &left(1))).collect();
    let checks = [(1, 0, 1), (2, 0, 2), (3, 0, 1), (3, 1, 1)];
    let checks = checks.map(|(by, whose, kind): (usize, usize, u8)| members[by].checks(&items[whose], &left(kind))).to_vec();
    let policy = format!("{rules}{}", policy(3, &members));
    Case { what, policy, items, commitments: Vec::new(), checks, equivocations: Vec::new(), as_of: None }
}

/// Grades, what they are asked for, and what is withheld.
fn graded_cases() -> Vec<Case> {
    vec![
        graded("who is seen by enough others is blind", "", false),
        graded("votes of other grades wait", "grades = [\"blind\"]\n", false),
        graded("a commitment that is not revealed", "", true),
        checked("who is borne out by another operator is witnessed", ""),
        checked("votes that nobody bears out wait", "grades = [\"blind\", \"witnessed\"]\n"),
    ]
}

fn cases() -> Vec<Case> {
    vec![
        pictured("reproduced", "iiiii", 3, ""),
        pictured("equivalent", "iie..", 3, ""),
        pictured("suspect, with a dissenter", "aaaai", 3, ""),
        pictured("differing, but not alike", "aabbc", 3, ""),
        pictured("inconclusive: nobody is left who could decide it", "aaiif", 3, ""),
        pictured("unbuildable", "fff..", 3, ""),
        pictured("pending for want of votes", "ii...", 3, ""),
        pictured("contested", "aaii.", 2, ""),
        pictured("a tie between two other results", "aabb.", 2, ""),
        pictured("a level that the policy does not allow", "eeeii", 3, "\n[allow]\nlevels = [\"stream\"]\n"),
        pictured("a source kind that the policy does not allow", "iiiii", 3, "\n[allow]\nsources = [\"source-archive\"]\n"),
        joined("nodes that agree are one vote", "iie"),
        joined("a failed build says nothing against a node that built", "ffi"),
        joined("nodes that contradict each other are none", "iaf"),
        superseded(),
        registry_split(),
        equivocated(),
        certified_twice(),
    ]
}

fn row(case: &Case) -> Value {
    let rules = Policy::parse(&case.policy).unwrap();
    let statements: Vec<_> = case.items.iter().filter_map(|item| VerifiedStatement::verify_item(item, rules.enrolled()).ok()).collect();
    let prove = |[first, second]: &[FeedItem; 2]| EquivocationProof::verify(first.clone(), second.clone(), rules.enrolled()).unwrap();
    let proofs: Vec<_> = case.equivocations.iter().map(prove).collect();
    let committed = |item| VerifiedEntry::verify_item(item, rules.enrolled()).unwrap().commitment().cloned().map(Arc::new);
    let commitments: Vec<_> = case.commitments.iter().filter_map(committed).collect();
    let check = |item| VerifiedEntry::verify_item(item, rules.enrolled()).unwrap().check().cloned();
    let checks: Vec<_> = case.checks.iter().filter_map(check).collect();
    let confirmations = Confirmation::among(&checks, &statements);
    let known = Circumstances { equivocations: &proofs, commitments: &commitments, ..Circumstances::default() };
    let circumstances = Circumstances { as_of: case.as_of, confirmations: &confirmations, ..known };
    let exact = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let item = |item: &FeedItem| json!({ "certificate": exact(&item.certificate), "envelope": exact(&item.envelope) });
    json!({
        "what": case.what,
        "policy": case.policy,
        "artifact": click(),
        "results": case.items.iter().map(item).collect::<Vec<_>>(),
        "commitments": case.commitments.iter().map(item).collect::<Vec<_>>(),
        "checks": case.checks.iter().map(item).collect::<Vec<_>>(),
        "equivocations": case.equivocations.iter().map(|pair| pair.each_ref().map(item)).collect::<Vec<_>>(),
        "asOf": case.as_of,
        "verdict": tally_as_of(&rules, &click(), &statements, circumstances),
    })
}

/// Verdicts in force on files of a package, the newest first, and the history beside a suspect one.
fn histories() -> Vec<Value> {
    let click = |version: &str| artifact("click", version, b"click");
    let suspect = tally_as_of(&Policy::parse(&policy(3, &five())).unwrap(), &click("8.1.8"), &[], Circumstances::default());
    let suspect = Verdict { state: State::Suspect, ..suspect };
    let row = |what: &str, newest: &[(&str, State, &str)]| {
        let verdict = |(version, state, engine): &(&str, State, &str)| Verdict {
            artifact: click(version),
            state: *state,
            engine: (*engine).to_owned(),
            ..suspect.clone()
        };
        let verdicts: Vec<_> = newest.iter().map(verdict).collect();
        let said = |verdict: &Verdict| {
            json!({
                "package": verdict.artifact.slot.package, "state": verdict.state, "policy": verdict.policy, "engine": verdict.engine,
            })
        };
        json!({
            "what": what,
            "verdict": said(&suspect),
            "newest": verdicts.iter().map(said).collect::<Vec<_>>(),
            "history": History::of(&suspect, verdicts.iter().map(Past::of)),
        })
    };
    let (now, before) = (quorate_tally::ENGINE, "quorate-tally/4");
    vec![
        row("no other release", &[("8.1.8", State::Reproduced, now)]),
        row(
            "releases that agree",
            &[("8.1.7", State::Reproduced, now), ("8.1.6", State::Equivalent, now), ("8.1.5", State::Explained, now)],
        ),
        row("a release is as bad as its worst file", &[("8.1.7", State::Reproduced, now), ("8.1.7", State::Unreproducible, now)]),
        row("who could not build says nothing", &[("8.1.7", State::Unbuildable, now), ("8.1.6", State::Pending, now)]),
        row("other rules say nothing", &[("8.1.7", State::Suspect, before), ("8.1.6", State::Reproduced, now)]),
    ]
}

/// The same with what people have declared.
fn declared(what: &'static str, votes: &str, declarations: &[Vec<u8>]) -> Value {
    let person = SecretKey::from_seed(&[60; 32]).signer_id();
    let rules = format!("\n[[person]]\nname = \"incidents\"\nkey = \"{person}\"\nmay = [\"advise\", \"vouch\"]\n");
    let case = ruled(what, votes, 3, &[], &rules);
    let policy = Policy::parse(&case.policy).unwrap();
    let statements: Vec<_> = case.items.iter().filter_map(|item| VerifiedStatement::verify_item(item, policy.enrolled()).ok()).collect();
    let heard: Vec<_> = declarations.iter().map(|envelope| Arc::new(VerifiedDeclaration::verify(envelope).unwrap())).collect();
    let circumstances = Circumstances { as_of: case.as_of, declarations: &heard, ..Circumstances::default() };
    let mut row = row(&case);
    row["declarations"] = declarations.iter().map(|envelope| Value::from(std::str::from_utf8(envelope).unwrap())).collect();
    row["verdict"] = json!(tally_as_of(&policy, &click(), &statements, circumstances));
    row
}

fn declared_rows() -> Vec<Value> {
    let (person, stranger, members) = (SecretKey::from_seed(&[60; 32]), SecretKey::from_seed(&[61; 32]), five());
    let signed = |declaration: Declaration, key: &SecretKey| declaration.sign(key).unwrap().bytes().to_vec();
    let advises = |key: &SecretKey, id: &str| signed(Declaration::Advisory(advisory(key.signer_id(), id, click().digest)), key);
    let vouches = vouch(person.signer_id(), "V-1", click().digest, &Digest::of(b"a").to_string());
    let vouches = signed(Declaration::Vouch(Vouch { until: "2026-02-01T00:00:00Z".parse().unwrap(), ..vouches }), &person);
    let back = |key: &SecretKey, what: &[u8]| signed(Declaration::Retraction(retraction(key.signer_id(), Digest::of(what))), key);
    let said = advises(&person, "A-1");
    let many: Vec<_> = (0..6).map(|n| advises(&person, &format!("A-{n}"))).collect();
    let revokes = |since| {
        let by = members[2].root_key();
        signed(Declaration::Revocation(revocation(by.signer_id(), Some(members[2].node()), since)), by)
    };
    let result = votes(&mut five(), "iii..")[0].envelope.clone();
    vec![
        declared("a declared advisory", "iii..", std::slice::from_ref(&said)),
        declared("an advisory by nobody whom the policy lists", "iii..", &[advises(&stranger, "A-1")]),
        declared("an advisory that its signer has taken back", "iii..", &[said.clone(), back(&person, &said)]),
        declared("an advisory that another takes back", "iii..", &[said.clone(), back(members[0].root_key(), &said)]),
        declared("more advisories than a verdict names", "iii..", &many),
        declared("a difference that somebody vouches for", "aai..", &[vouches]),
        declared("a node that its operator has revoked since later", "iii..", &[revokes(1)]),
        declared("a node that its operator has revoked since before", "iii..", &[revokes(0)]),
        declared("a result that its operator has taken back", "iii..", &[back(members[0].root_key(), &result)]),
        declared("a result that another operator takes back", "iii..", &[back(members[1].root_key(), &result)]),
    ]
}

/// Entries of one operator about one slot, in the order of the log, and the places of those that count.
fn shares() -> Vec<Value> {
    let row = |what: &str, entries: Vec<(Kind, usize, usize)>| {
        let (mut share, mut counted) = (Vec::new(), Vec::new());
        for (at, (kind, node, bytes)) in entries.iter().enumerate() {
            let entered = Entered { kind: *kind, node: *node, bytes: *bytes };
            if entered.counts(share.iter().copied()) {
                share.push(entered);
                counted.push(at);
            }
        }
        let said = |(kind, node, bytes): &(Kind, usize, usize)| json!([format!("{kind:?}").to_lowercase(), node, bytes]);
        json!({ "what": what, "entries": entries.iter().map(said).collect::<Vec<_>>(), "counted": counted })
    };
    let each = |kind, nodes: &[usize], bytes| nodes.iter().map(|node| (kind, *node, bytes)).collect::<Vec<_>>();
    let promised = [each(Kind::Commitment, &[8, 0, 1, 2, 3, 4, 5, 6, 7], 1_000), each(Kind::Result, &[7, 8, 9, 0], 4_000)];
    let large = [each(Kind::Result, &[0; 3], 40_000), each(Kind::Commitment, &[0], 1_000), each(Kind::Result, &[0], 18_304)];
    vec![
        row("results of more nodes than count", each(Kind::Result, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0], 4_000)),
        row("nodes that count by a commitment can reveal it", promised.concat()),
        row("more results of a node than count", each(Kind::Result, &[[0; 18].as_slice(), &[1]].concat(), 4_000)),
        row("results that are too large together, and a commitment that nothing could reveal", large.concat()),
        row("more commitments of a node than count", each(Kind::Commitment, &[0; 9], 1_000)),
        row("checks of more nodes than count", each(Kind::Check, &[3, 3, 4, 5, 3], 1_500)),
        row("more checks of a node than count", each(Kind::Check, &[[0; 66].as_slice(), &[1]].concat(), 1_500)),
    ]
}

#[test]
fn verdicts() {
    let rows: Vec<Value> = cases().iter().chain(&ruled_cases()).chain(&graded_cases()).map(row).chain(declared_rows()).collect();
    let vectors = json!({ "description": "policy, results, commitments, checks, proofs of equivocation, a time, and in some declarations in, verdict out; verdicts in, history out; entries of an operator about a slot in, places of those that count out", "vectors": rows, "histories": histories(), "shares": shares() });
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/tally.json");
    let text = format!("{}\n", serde_json::to_string_pretty(&vectors).unwrap());
    if std::env::var_os("QUORATE_UPDATE_VECTORS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "tally.json has changed: that is a protocol change");
}
