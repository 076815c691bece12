//! `quorate monitor` against an honest log, one with a lie in it, and one with two histories.

use std::collections::BTreeMap;

use quorate_proto::dsse::Envelope;
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{SecretKey, Timestamp};
use quorate_tally::{Circumstances, Policy, State, Verdict, Verifier, tally_as_of};
use quorate_tests::{Member, SIGNED_AT, artifact, different, identical, left};
use quorate_tlog::{Checkpoint, Entry, EntryBundle, LogEquivocation, Tree};

use crate::web::{Reply, serve};
use crate::world::{CONTENT, ORIGIN, Ran, World, log};

fn world() -> World {
    let click = artifact("click", "8.1.8", CONTENT);
    World::with([identical(&click), identical(&click), identical(&click), different("other", "m")])
}

/// Policy, certificates and results as a coordinator logs them.
fn entries(world: &World) -> Vec<Vec<u8>> {
    let mut entries = vec![[b"quorate-policy/v1\n", world.policy_with_log().as_bytes()].concat()];
    for item in &world.items {
        entries.extend([item.certificate.clone(), item.envelope.clone()]);
    }
    entries
}

/// The verdict's envelope, if it rests on the results before this entry.
pub(crate) fn signed(verdict: &Verdict, log_size: u64) -> Vec<u8> {
    let verifier = Verifier { id: ORIGIN.to_owned(), time: Timestamp::from_unix_seconds(SIGNED_AT), log_size };
    Envelope::sign(verdict.to_statement(&verifier).to_payload(), &SecretKey::from_seed(&[99; 32])).bytes().to_vec()
}

pub(crate) fn checkpoint(entries: &[Vec<u8>]) -> String {
    let leaves: Vec<_> = entries.iter().map(|entry| quorate_tlog::leaf_hash(entry)).collect();
    let head = Tree::new().append(&leaves).expect("a small tree").tree.head();
    let checkpoint = Checkpoint::new(ORIGIN.parse().expect("an origin"), head).expect("a head");
    checkpoint.sign(&log(ORIGIN, 7)).expect("the origin's key").to_string()
}

fn served(entries: &[Vec<u8>]) -> String {
    served_with(&checkpoint(entries), entries)
}

fn served_with(note: &str, entries: &[Vec<u8>]) -> String {
    let bundle = EntryBundle::new(entries.iter().map(|entry| Entry::new(entry.clone()).expect("short")).collect()).expect("few");
    serve(BTreeMap::from([
        ("/checkpoint".to_owned(), Reply::Bytes(note.to_owned().into_bytes())),
        (format!("/tile/entries/000.p/{}", entries.len()), Reply::Bytes(bundle.encode())),
    ]))
}

pub(crate) fn monitor(world: &World, entries: &[Vec<u8>], arguments: &[&str]) -> Ran {
    monitor_shown(world, &checkpoint(entries), entries, arguments)
}

/// Shows it this checkpoint.
pub(crate) fn monitor_shown(world: &World, note: &str, entries: &[Vec<u8>], arguments: &[&str]) -> Ran {
    let (server, policy, proof) = (served_with(note, entries), world.path("logged.toml"), world.path("two-views"));
    world.run(&[&["monitor", "--once", "--coordinator", &server, "--policy", &policy, "--proof", &proof], arguments].concat())
}

#[test]
fn an_honest_log_holds_and_every_verdict_in_it_is_made_again() {
    let world = world();
    let mut all = entries(&world);
    let verdict = world.verdict(&world.policy_with_log());
    all.push(signed(&verdict, all.len() as u64));
    let older = world.file("older", checkpoint(&all[..5]).as_bytes()).display().to_string();
    let state = world.path("state");
    let ran = monitor(&world, &all, &["--view", &older, "--state", &state]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.first(), "holds  quorate.example/log at size 10: 4 results, 1 of 1 verdicts made again");
    assert!(ran.stdout.contains("(size 5) is a beginning of it"), "{}", ran.stdout);

    // What was remembered is compared with the next time; a coordinator that went back is behind it.
    let json = monitor(&world, &all, &["--state", &state, "--format", "json"]).json();
    assert_eq!((&json["exit"], &json["views"][0]["standing"]), (&0.into(), &"consistent".into()), "{json}");
    let back = monitor(&world, &all[..9], &["--state", &state]);
    assert!(back.stdout.contains("(size 10) is ahead of it"), "{}{}", back.stdout, back.stderr);
}

#[test]
fn of_a_flood_the_monitor_considers_what_counts_as_the_coordinator_does() {
    let mut world = world();
    let mut nodes = Member::with_nodes(5, 12);
    let flood: Vec<_> = (0..12 * 18).map(|n| nodes[n % 12].says(&world.artifact, different("flood", "m"))).collect();
    let mut all = entries(&world);
    all.extend(nodes.iter().map(|node| node.certificate().to_vec()).chain(flood.iter().map(|item| item.envelope.clone())));
    // Of the first eight nodes the first sixteen results.
    world.items.extend(flood.iter().enumerate().filter(|(n, _)| n % 12 < 8 && n / 12 < 16).map(|(_, item)| item.clone()));
    let counted = world.verdict(&world.policy_with_log());
    world.items.extend(flood);
    let everything = world.verdict(&world.policy_with_log());
    assert_eq!((counted.votes[4].results.len(), everything.votes[4].results.len()), (8, 12));
    for (verdict, code) in [(counted, 0), (everything, 1)] {
        let mut all = all.clone();
        all.push(signed(&verdict, all.len() as u64));
        let ran = monitor(&world, &all, &[]);
        assert_eq!(ran.code, code, "{}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.stdout.contains("DUE"), code == 1, "{}", ran.stdout);
    }
}

#[test]
fn grades_that_rest_on_checks_are_made_again_and_a_grade_without_its_check_is_a_lie() {
    let mut world = World::new();
    let click = world.artifact.clone();
    world.items = world.members[..3].iter_mut().map(|member| member.builds(&click, identical(&click), &left(1))).collect();
    let follower = world.verdict(&world.policy_with_log());
    world.checks = vec![world.members[1].checks(&world.items[0], &left(1)), world.members[2].checks(&world.items[0], &left(2))];
    let witnessed = world.verdict(&world.policy_with_log());
    assert_ne!(follower, witnessed);
    let mut all = entries(&world);
    all.push(signed(&follower, all.len() as u64));
    all.extend(world.checks.iter().map(|item| item.envelope.clone()));
    all.push(signed(&witnessed, all.len() as u64));
    let ran = monitor(&world, &all, &[]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.first().ends_with("3 results, 2 of 2 verdicts made again"), "{}", ran.stdout);
    for (lie, size) in [(&witnessed, 7), (&follower, 10)] {
        let last = all.len() - 1;
        all[last] = signed(lie, size);
        let ran = monitor(&world, &all, &[]);
        assert!(ran.code == 1 && ran.stdout.contains("entry 10: "), "{}{}", ran.stdout, ran.stderr);
    }
}

#[test]
fn a_logged_lie_is_found_by_its_entry() {
    let world = world();
    let honest = world.verdict(&world.policy_with_log());
    let lie = Verdict { state: State::Suspect, ..honest.clone() };
    let mut fewer = world.verdict(&world.policy_with_log());
    fewer.agree = 5;
    for (lie, size) in [(lie, 9), (fewer, 9), (honest.clone(), 5), (honest, 11)] {
        let mut all = entries(&world);
        all.push(signed(&lie, size));
        let ran = monitor(&world, &all, &[]);
        assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("DOES NOT HOLD") && ran.stdout.contains("entry 9: "), "{}", ran.stdout);
    }
}

/// The log of a world in which the artifact was reproduced, and then two operators said something else.
fn overtaken() -> (World, Vec<Vec<u8>>, Vec<u8>) {
    let click = artifact("click", "8.1.8", CONTENT);
    let (identical, other) = (|| identical(&click), || different("other", "m"));
    let mut world = World::with([identical(), identical(), other(), other()]);
    for name in ["policy.toml", "logged.toml"] {
        let text = std::fs::read_to_string(world.path(name)).expect("written");
        world.file(name, text.replacen("threshold = 3\n", "threshold = 2\n", 1).as_bytes());
    }
    let policy = std::fs::read_to_string(world.path("logged.toml")).expect("written");
    let items = world.items.split_off(2);
    let mut all = entries(&world);
    all[0] = [b"quorate-policy/v1\n", policy.as_bytes()].concat();
    let reproduced = signed(&world.verdict(&policy), all.len() as u64);
    all.push(reproduced.clone());
    for item in &items {
        all.extend([item.certificate.clone(), item.envelope.clone()]);
    }
    world.items.extend(items);
    (world, all, reproduced)
}

#[test]
fn a_verdict_that_was_overtaken_cannot_be_logged_again() {
    let (world, mut all, reproduced) = overtaken();
    let policy = std::fs::read_to_string(world.path("logged.toml")).expect("written");
    let contested = world.verdict(&policy);
    assert_eq!(contested.state, State::Contested);
    all.push(signed(&contested, all.len() as u64));
    assert_eq!(monitor(&world, &all, &[]).code, 0);
    all.push(reproduced);
    let ran = monitor(&world, &all, &[]);
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("DUE a verdict on click-8.1.8-py3-none-any.whl"), "{}", ran.stdout);
    assert!(
        ran.stdout
            .contains("entry 11: the verdict on click-8.1.8-py3-none-any.whl considers less of the log than the one before it, entry 10"),
        "{}",
        ran.stdout
    );
}

#[test]
fn what_a_log_leaves_out_of_a_feed_is_missed_by_what_comes_after_it() {
    let mut world = world();
    let click = world.artifact.clone();
    let dissent = world.members[0].says(&click, different("other", "m"));
    let later = world.members[0].says(&artifact("other", "1", b"other"), different("another", "m"));
    let mut all = entries(&world);
    all.extend([dissent.envelope, later.envelope]);
    assert!(monitor(&world, &all, &[]).first().starts_with("holds"));
    all.remove(9);
    let ran = monitor(&world, &all, &[]);
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.contains(&format!("entry 9: entry 2 of {} does not follow the one before it here", world.members[0].node())),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_verdict_that_is_due_and_does_not_come_is_missed() {
    let (world, all, _) = overtaken();
    let ran = monitor(&world, &all, &[]);
    assert_eq!(ran.code, 3, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.first().starts_with("holds") && ran.stdout.contains("DUE a verdict on click-8.1.8-py3-none-any.whl"), "{}", ran.stdout);
    // None at all is missed as well; and a further result that changes nothing is none.
    let json = monitor(&world, &all[..5], &["--format", "json"]).json();
    assert_eq!(
        (&json["exit"], &json["dueCount"], &json["due"][0]["digest"]),
        (&3.into(), &1.into(), &world.artifact.digest.to_string().into())
    );
    assert_eq!(monitor(&world, &all[..6], &[]).code, 0);
}

#[test]
fn a_verdict_on_one_file_of_a_name_does_not_stand_for_the_other() {
    let mut world = world();
    let other = artifact("click", "8.1.8", b"another file of that name");
    assert_eq!(other.slot, world.artifact.slot);
    let item = world.members[0].says(&other, identical(&other));
    world.items.push(item);
    let mut all = entries(&world);
    all.push(signed(&world.verdict(&world.policy_with_log()), all.len() as u64));
    let json = monitor(&world, &all, &["--format", "json"]).json();
    assert_eq!((&json["dueCount"], &json["due"][0]["digest"]), (&1.into(), &other.digest.to_string().into()));
}

#[test]
fn a_verdict_is_as_of_a_time_that_goes_with_the_log_and_names_one_where_it_matters() {
    let mut world = world();
    let policy = format!("max_age_days = 900\n{}", world.policy_with_log());
    world.file("logged.toml", policy.as_bytes());
    let mut all = entries(&world);
    all[0] = [b"quorate-policy/v1\n", policy.as_bytes()].concat();
    let parsed = Policy::parse(&policy).expect("a policy");
    let statements: Vec<_> =
        world.items.drain(..).map(|item| VerifiedStatement::verify_item(&item, parsed.enrolled()).expect("enrolled")).collect();
    let of = |as_of: Option<i64>| {
        let as_of = as_of.map(Timestamp::from_unix_seconds);
        tally_as_of(&parsed, &world.artifact, &statements, Circumstances { as_of, ..Circumstances::default() })
    };
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs()).expect("a time");
    for (as_of, said) in [
        (Some(SIGNED_AT), ""),
        (Some(SIGNED_AT - 600), ""),
        (Some(SIGNED_AT - 86_400), "but considers what was signed at 2026-01-15T00:00:00Z"),
        (Some(now + 86_400), "which by this machine's clock has not come yet"),
        (None, "the results before it give"),
    ] {
        let mut all = all.clone();
        all.push(signed(&of(as_of), all.len() as u64));
        let ran = monitor(&world, &all, &[]);
        assert_eq!(ran.code, i32::from(!said.is_empty()), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains(said), "{said}: {}", ran.stdout);
    }
}

#[test]
fn no_verdict_gets_past_by_naming_rules_that_nobody_can_apply() {
    let world = world();
    let honest = world.verdict(&world.policy_with_log());
    let by = |engine: &str| Verdict { engine: engine.to_owned(), state: State::Suspect, ..honest.clone() };
    let run = |verdicts: &[Verdict]| {
        let mut all = entries(&world);
        for verdict in verdicts {
            all.push(signed(verdict, all.len() as u64));
        }
        let ran = monitor(&world, &all, &[]);
        (ran.code, ran.stdout)
    };
    assert_eq!(run(&[by("quorate-tally/1"), honest.clone()]).0, 0, "older rules came first");
    let (code, said) = run(&[honest.clone(), by("quorate-tally/1")]);
    assert!(code == 1 && said.contains("entry 10: a verdict by the rules `quorate-tally/1` after one by"), "{said}");
    for engine in ["quorate-tally/4000", "anything"] {
        let (code, said) = run(&[honest.clone(), by(engine)]);
        assert!(code == 3 && said.contains("1 verdicts are by rules that this program does not know"), "{said}");
    }
    assert_eq!(run(&[by("quorate-tally/1")]).0, 3, "nothing was made again");
}

#[test]
fn two_histories_are_proven_to_everybody() {
    let world = world();
    let all = entries(&world);
    let mut other = all.clone();
    other[3] = all[4].clone();
    for size in [4, 9] {
        let shown = world.file("shown", checkpoint(&other[..size]).as_bytes()).display().to_string();
        let ran = monitor(&world, &all, &["--view", &shown]);
        assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("CONTRADICTS"), "{}", ran.stdout);
        let proof = LogEquivocation::parse(&std::fs::read(world.path("two-views")).expect("written")).expect("a proof");
        assert_eq!(proof.verify(log(ORIGIN, 7).verifier()).expect("it convicts").size, size as u64);
    }
}

#[test]
fn entries_that_do_not_lead_to_the_root_and_foreign_views_are_named() {
    let world = world();
    let all = entries(&world);
    let mut other = all.clone();
    other.swap(3, 4);
    let bundle = EntryBundle::new(other.into_iter().map(|entry| Entry::new(entry).expect("short")).collect()).expect("few");
    let server = serve(BTreeMap::from([
        ("/checkpoint".to_owned(), Reply::Bytes(checkpoint(&all).into_bytes())),
        (format!("/tile/entries/000.p/{}", all.len()), Reply::Bytes(bundle.encode())),
    ]));
    let foreign = checkpoint(&all[..3]).replace(ORIGIN, "other.example");
    let foreign = world.file("foreign", foreign.as_bytes()).display().to_string();
    let arguments = ["monitor", "--once", "--server", &server, "--policy", &world.path("logged.toml"), "--view", &foreign];
    let ran = world.run(&arguments);
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("do not lead to the checkpoint's root"), "{}", ran.stdout);
    assert!(ran.stdout.contains("is not signed by this log"), "{}", ran.stdout);
    let unlogged = world.run(&["monitor", "--once", "--server", &server, "--policy", &world.path("policy.toml")]);
    assert_eq!(unlogged.code, 2);
}

#[test]
fn who_may_have_copied_everything_is_named_from_the_log_alone() {
    let mut world = World::new();
    let mut all = vec![[b"quorate-policy/v1\n", world.policy_with_log().as_bytes()].concat()];
    for (member, tasks) in world.members.iter_mut().zip([20, 19]) {
        all.push(member.certificate().to_vec());
        all.extend(
            (0..tasks).map(|n| artifact("package", &format!("1.{n}"), CONTENT)).map(|file| member.says(&file, identical(&file)).envelope),
        );
    }
    let ran = monitor(&world, &all, &[]);
    assert_eq!(ran.code, 3, "no verdict has come: {}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.stdout.matches("  DUE a verdict on package-1.").count(), 20, "{}", ran.stdout);
    assert!(ran.stdout.contains("FOLLOWER operator-0: none of its votes on 20 tasks"), "{}", ran.stdout);
    let followers = monitor(&world, &all, &["--format", "json"]).json()["followers"].clone();
    assert_eq!((followers.as_array().map(Vec::len), &followers[0]["tasks"]), (Some(1), &20.into()));
}

/// A feed file as nodes write it, of one member's results.
fn feed_file(world: &World, name: &str, items: &[quorate_proto::verified::FeedItem]) -> String {
    let mut bytes = b"QFEED/1\n".to_vec();
    for item in items {
        let content = item.encode();
        bytes.extend(u32::try_from(content.len()).expect("short").to_le_bytes());
        // The reader stops at what is not whole and believes nothing else: the checksum is the node's own.
        bytes.extend([0; 4]);
        bytes.extend(content);
    }
    world.file(name, &bytes).display().to_string()
}

#[test]
fn own_results_are_found_missed_and_told_from_those_of_somebody_with_the_same_key() {
    let mut world = world();
    let mut all = entries(&world);
    all.push(signed(&world.verdict(&world.policy_with_log()), all.len() as u64));
    let (first, artifact) = (world.items[0].clone(), world.artifact.clone());
    let node = world.members[0].node();
    let honest = feed_file(&world, "honest.feed", std::slice::from_ref(&first));
    let ran = monitor(&world, &all, &["--own", &honest, "--own", &node.to_string()]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains(&format!("own {honest}: 1 of 1 in the log\n  own {node}: 1 of 1 in the log")), "{}", ran.stdout);

    // Signed, and not logged yet.
    let second = world.members[0].says(&artifact, identical(&artifact));
    let longer = feed_file(&world, "longer.feed", &[first.clone(), second.clone()]);
    let ran = monitor(&world, &all, &["--own", &longer]);
    assert_eq!(ran.code, 3, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("1 of 2 in the log; 1 MISSING: 1\n"), "{}", ran.stdout);

    // Logged, and never signed by this feed: at a place that it has not, and at one that it has.
    let mut more = all.clone();
    more.push(second.envelope);
    let ran = monitor(&world, &more, &["--own", &honest]);
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("the log has entry 1 of"), "{}", ran.stdout);
    let forged = quorate_tests::Member::new(1).says(&artifact, different("forged", "m"));
    let ran = monitor(&world, &all, &["--own", &feed_file(&world, "forged.feed", &[forged])]);
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("is another one in the log"), "{}", ran.stdout);

    // A file that is being written, and one that is none.
    let torn = std::fs::read(&longer).expect("written");
    let torn = world.file("torn.feed", &torn[..torn.len() - 5]).display().to_string();
    assert_eq!(monitor(&world, &all, &["--own", &torn]).code, 0);
    let garbage = world.file("garbage.feed", b"no feed").display().to_string();
    let ran = monitor(&world, &all, &["--own", &garbage]);
    assert!(ran.code == 2 && ran.stderr.contains("this is no feed file"), "{}", ran.stderr);
}

#[test]
fn a_mirror_is_continued_by_the_same_log_and_by_no_other() {
    let world = world();
    let all = entries(&world);
    let (policy, folder) = (world.path("logged.toml"), world.path("mirror"));
    let mirror = |entries: &[Vec<u8>]| world.run(&["mirror", &folder, "--server", &served(entries), "--policy", &policy]);
    let check = || world.run(&["mirror", &folder, "--check", "--policy", &policy]);
    assert_eq!(check().code, 3, "there is nothing yet");
    let ran = mirror(&all[..5]);
    assert_eq!((ran.code, ran.first()), (0, "holds  mirror of quorate.example/log at size 5, 5 entries copied"), "{}", ran.stderr);
    assert_eq!(mirror(&all).first(), "holds  mirror of quorate.example/log at size 9, 4 entries copied");
    assert_eq!(check().code, 0);
    let ran = world.run(&["monitor", "--once", "--mirror", &folder, "--policy", &policy]);
    assert!(ran.first().starts_with("holds") && ran.stdout.contains("at size 9: 4 results"), "{}{}", ran.stdout, ran.stderr);

    // Another history, a log that went back, and a tile that is another.
    let mut other = all.clone();
    other.extend([all[1].clone(), all[3].clone()]);
    other.swap(2, 4);
    let ran = mirror(&other);
    assert!(ran.code == 1 && ran.stdout.contains("does not continue the mirror"), "{}", ran.stdout);
    let ran = mirror(&all[..5]);
    assert!(ran.code == 1 && ran.stdout.contains("went back to size 5"), "{}", ran.stdout);
    assert_eq!(check().code, 0, "the mirror is as it was");
    std::fs::write(std::path::Path::new(&folder).join("tile/0/000.p/9"), [7; 9 * 32]).expect("written");
    let ran = check();
    assert!(ran.code == 1 && ran.stdout.contains("tile/0/000.p/9 is not the tile"), "{}", ran.stdout);
    std::fs::remove_file(std::path::Path::new(&folder).join("tile/0/000.p/9")).expect("removed");
    assert!(check().stdout.contains("tile/0/000.p/9 is missing"));
}
