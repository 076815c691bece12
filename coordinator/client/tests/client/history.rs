//! The history beside a verdict: made again by whoever reads the whole log, told on the log's word by others.

use quorate_proto::comparison::DifferenceClass;
use quorate_proto::result::Outcome;
use quorate_tally::{History, Severity, State, Verdict};
use quorate_tests::{artifact, different, identical};

use crate::monitor::{monitor, signed};
use crate::world::{CONTENT, World, sign};

/// A log with five releases that are reproduced, and results that make a sixth suspect; and that verdict.
struct Package {
    world: World,
    entries: Vec<Vec<u8>>,
    /// Where the last of the five verdicts stands.
    fifth: u64,
    suspect: Verdict,
}

impl Package {
    fn new() -> Self {
        let mut world = World::new();
        let policy = world.policy_with_log();
        let mut entries = vec![[b"quorate-policy/v1\n", policy.as_bytes()].concat()];
        entries.extend(world.members[..3].iter().map(|member| member.certificate().to_vec()));
        let mut verdicts = Vec::new();
        for patch in [3, 4, 5, 6, 7, 8] {
            world.artifact = artifact("click", &format!("8.1.{patch}"), CONTENT);
            let (file, outcome) = (world.artifact.clone(), if patch == 8 { different("evil", "m") } else { identical(&world.artifact) });
            world.items = world.members[..3].iter_mut().map(|member| member.says(&file, outcome.clone())).collect();
            entries.extend(world.items.iter().map(|item| item.envelope.clone()));
            verdicts.push(world.verdict(&policy));
        }
        let suspect = verdicts.pop().expect("of six");
        let logged = entries.len() as u64;
        entries.extend(verdicts.iter().map(|verdict| signed(verdict, logged)));
        Self { world, fifth: entries.len() as u64 - 1, entries, suspect }
    }

    fn with(&self, agreed: usize, other: usize) -> Verdict {
        Verdict { history: Some(History { agreed, other }), ..self.suspect.clone() }
    }

    /// The log with this verdict at its end, read by a monitor.
    fn judge(&self, verdict: &Verdict, log_size: u64) -> (i32, String) {
        let mut entries = self.entries.clone();
        entries.push(signed(verdict, log_size));
        let ran = monitor(&self.world, &entries, &[]);
        (ran.code, format!("{}{}", ran.stdout, ran.stderr))
    }
}

#[test]
fn a_history_is_made_again_as_of_the_size_that_the_verdict_names() {
    let package = Package::new();
    assert_eq!((package.suspect.state, package.suspect.history), (State::Suspect, None));
    for (agreed, log_size) in [(5, package.fifth + 1), (4, package.fifth), (1, package.fifth - 3)] {
        let (code, said) = package.judge(&package.with(agreed, 0), log_size);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("6 of 6 verdicts made again"), "{said}");
    }
}

#[test]
fn a_history_that_the_log_does_not_give_is_named_with_the_one_that_it_gives() {
    let package = Package::new();
    let (entry, size) = (package.fifth + 1, package.fifth + 1);
    for (lie, says) in [
        (package.with(6, 0), "6 of 6 earlier releases agree"),
        (package.with(5, 1), "5 of 6 earlier releases agree"),
        (package.suspect.clone(), "nothing of other releases"),
    ] {
        let (code, said) = package.judge(&lie, size);
        assert_eq!(code, 1, "{said}");
        let named = format!("entry {entry}: the verdict on click-8.1.8-py3-none-any.whl says: {says}");
        assert!(said.contains(&named) && said.contains("give: 5 of 5 earlier releases agree"), "{said}");
    }
    // True as of another size, which is not the one that it names.
    assert_eq!(package.judge(&package.with(4, 0), size).0, 1);
}

#[test]
fn a_verdict_in_force_counts_and_the_one_that_it_replaced_does_not() {
    let mut package = Package::new();
    let world = &mut package.world;
    world.artifact = artifact("click", "8.1.7", CONTENT);
    let file = world.artifact.clone();
    // All three say something else now.
    world.items = world.members[..3].iter_mut().map(|member| member.says(&file, different("changed", "m"))).collect();
    package.entries.extend(world.items.iter().map(|item| item.envelope.clone()));
    let size = package.entries.len() as u64;
    let changed = Verdict { history: Some(History { agreed: 4, other: 0 }), ..world.verdict(&world.policy_with_log()) };
    package.entries.push(signed(&changed, size));
    for (agreed, other, log_size) in [(4, 1, size + 1), (5, 0, size)] {
        let (code, said) = package.judge(&package.with(agreed, other), log_size);
        assert_eq!(code, 0, "{said}");
    }
}

#[test]
fn a_client_without_the_log_says_whose_word_the_history_is_and_what_it_raises() {
    let mut outcome = different("evil", "m");
    if let Outcome::Different { differences, .. } = &mut outcome {
        differences.members[0].class = DifferenceClass::Content;
    }
    let mut world = World::with([outcome.clone(), outcome.clone(), outcome]);
    let verdict = Verdict { history: Some(History { agreed: 11, other: 0 }), ..world.verdict(&world.policy()) };
    assert_eq!((verdict.severity, verdict.alarm()), (Some(Severity::High), Some(Severity::Critical)));
    let ran = world.ask(world.routes_saying(&sign(&verdict)), &["verify", &world.wheel()]);
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    let line =
        "history      says the coordinator: 11 of 11 earlier releases agree with the registry; this one does not: high is critical here";
    assert!(ran.stdout.contains(line), "{}", ran.stdout);
    let json = world.ask(world.routes_saying(&sign(&verdict)), &["verify", &world.wheel(), "--format", "json"]).json();
    let said = &json["artifacts"][0];
    assert_eq!((&said["severity"], &said["coordinator"]["history"]["agreed"]), (&"high".into(), &11.into()), "{json}");
    assert!(said["coordinator"]["status"] == "follows" || said["coordinator"]["status"] == "other-policy", "{json}");

    // Offline too, and it is no reason to call the verdict a lie.
    let logged = Verdict { history: verdict.history, ..world.verdict(&world.policy_with_log()) };
    let ran = world.check_bundle(&world.bundle_of(&sign(&logged)).to_bytes());
    assert!(ran.code == 1 && ran.stdout.contains("says the coordinator: 11 of 11") && !ran.stdout.contains("DISAGREES"), "{}", ran.stdout);
    // But beside a verdict that is not suspect there is none.
    world = World::with([identical(&world.artifact), identical(&world.artifact), identical(&world.artifact)]);
    let forged = Verdict { history: verdict.history, ..world.verdict(&world.policy_with_log()) };
    let ran = world.check_bundle(&world.bundle_of(&sign(&forged)).to_bytes());
    assert!(ran.code == 1 && ran.stdout.contains("DISAGREES"), "{}{}", ran.stdout, ran.stderr);
}
