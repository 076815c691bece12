//! `quorate monitor`: verdicts that are due because of something else than a result, and how long it waits for them.

use std::sync::Arc;

use quorate_proto::declaration::{Advisory, Declaration, VerifiedDeclaration, Vouch};
use quorate_proto::dsse::Envelope;
use quorate_proto::feed::EquivocationProof;
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{ArtifactId, Digest, SecretKey, Timestamp};
use quorate_tally::drills::Drilled;
use quorate_tally::{Circumstances, Policy, State, Verdict, Verifier, tally_as_of};
use quorate_tests::{
    Member, SIGNED_AT, advisory, artifact, different, drill, identical, on_own_registry, opening, retraction, revocation, vouch,
};
use quorate_tlog::{Cosigner, SignedNote};

use crate::monitor::{checkpoint, monitor, monitor_shown, signed};
use crate::world::{CONTENT, ORIGIN, World};

/// A log with verdicts on a file, which three of five rebuilt and one got otherwise, and on another one.
struct Log {
    world: World,
    policy: Policy,
    entries: Vec<Vec<u8>>,
    /// On the other one.
    other: Verdict,
}

impl Log {
    /// Under a policy that listens to a person.
    fn new() -> Self {
        Self::under(&with_person(&World::new().policy_with_log()))
    }

    fn under(policy: &str) -> Self {
        let mut world = World::new();
        let (click, members) = (world.artifact.clone(), &mut world.members);
        world.items = members[..3].iter_mut().map(|member| member.says(&click, identical(&click))).collect();
        world.items.push(members[3].says(&click, different("other", "m")));
        Self::of(world, policy, Vec::new())
    }

    fn of(mut world: World, policy: &str, first: Vec<Vec<u8>>) -> Self {
        let parsed = Policy::parse(policy).expect("a policy");
        let another = artifact("other", "1", b"other");
        let item = world.members[4].says(&another, identical(&another));
        let result = VerifiedStatement::verify_item(&item, parsed.enrolled()).expect("enrolled");
        let other = tally_as_of(&parsed, &another, [&result], Circumstances::default());
        let mut entries = vec![[b"quorate-policy/v1\n", policy.as_bytes()].concat()];
        entries.extend(first);
        entries.extend(world.items.iter().chain([&item]).flat_map(|item| [item.certificate.clone(), item.envelope.clone()]));
        world.file("logged.toml", policy.as_bytes());
        let mut log = Self { world, policy: parsed, entries, other };
        let verdict = log.verdict(Circumstances::default());
        log.judge(&verdict);
        log.goes_on(SIGNED_AT)
    }

    fn verdict(&self, circumstances: Circumstances<'_>) -> Verdict {
        let verified = |item| VerifiedStatement::verify_item(item, self.policy.enrolled()).expect("enrolled");
        let results: Vec<_> = self.world.items.iter().map(verified).collect();
        let as_of = Some(Timestamp::from_unix_seconds(SIGNED_AT));
        tally_as_of(&self.policy, &self.world.artifact, &results, Circumstances { as_of, ..circumstances })
    }

    /// What follows if all of this was declared.
    fn verdict_hearing(&self, declared: &[&Vec<u8>]) -> Verdict {
        let verified = |envelope: &&Vec<u8>| Arc::new(VerifiedDeclaration::verify(envelope).expect("signed"));
        let declarations: Vec<_> = declared.iter().map(verified).collect();
        self.verdict(Circumstances { declarations: &declarations, ..Circumstances::default() })
    }

    /// Logs a verdict that considers all that is there.
    fn judge(&mut self, verdict: &Verdict) {
        self.entries.push(signed(verdict, self.entries.len() as u64));
    }

    fn with(&self, more: &[&Vec<u8>]) -> Self {
        let world = World { items: self.world.items.clone(), artifact: self.world.artifact.clone(), ..World::new() };
        world.file("logged.toml", &std::fs::read(self.world.path("logged.toml")).expect("written"));
        let entries = self.entries.iter().chain(more.iter().copied()).cloned().collect();
        Self { world, policy: self.policy.clone(), entries, other: self.other.clone() }
    }

    /// Logs the verdict on the other file again, as made at this time from all that is there.
    fn goes_on(mut self, at: i64) -> Self {
        let (time, log_size) = (Timestamp::from_unix_seconds(at), self.entries.len() as u64);
        let statement = self.other.to_statement(&Verifier { id: ORIGIN.to_owned(), time, log_size });
        self.entries.push(Envelope::sign(statement.to_payload(), &SecretKey::from_seed(&[99; 32])).bytes().to_vec());
        self
    }

    /// Whether a verdict on the file, and nothing else, is due.
    fn is_due(&self) -> bool {
        let ran = monitor(&self.world, &self.entries, &[]);
        let due = ran.stdout.matches("  DUE a verdict on ").count();
        assert_eq!((ran.code, due), if due == 0 { (0, 0) } else { (3, 1) }, "{}{}", ran.stdout, ran.stderr);
        due == 1
    }
}

fn with_person(policy: &str) -> String {
    format!("{policy}\n[[person]]\nname = \"p\"\nkey = \"{}\"\nmay = [\"advise\", \"vouch\"]\n", person().signer_id())
}

fn person() -> SecretKey {
    SecretKey::from_seed(&[60; 32])
}

fn by(key: &SecretKey, declaration: Declaration) -> Vec<u8> {
    declaration.sign(key).expect("allowed").bytes().to_vec()
}

fn now() -> i64 {
    i64::try_from(std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs()).expect("a time")
}

fn click() -> ArtifactId {
    artifact("click", "8.1.8", CONTENT)
}

fn advises(key: &SecretKey, digest: Digest) -> Vec<u8> {
    by(key, Declaration::Advisory(advisory(key.signer_id(), "A-1", digest)))
}

fn advises_on_packages(pattern: &str) -> Vec<u8> {
    let package = Some(pattern.parse().expect("a pattern"));
    by(&person(), Declaration::Advisory(Advisory { digest: None, package, ..advisory(person().signer_id(), "A-2", click().digest) }))
}

fn vouches(log: &Log, until: i64) -> Vec<u8> {
    let rebuilt = log.verdict(Circumstances::default()).other.expect("one differs");
    let until = Timestamp::from_unix_seconds(until);
    by(&person(), Declaration::Vouch(Vouch { until, ..vouch(person().signer_id(), "V-1", click().digest, &rebuilt) }))
}

fn revokes(member: &Member, all: bool, since: u64) -> Vec<u8> {
    let node = (!all).then(|| member.node());
    by(member.root_key(), Declaration::Revocation(revocation(member.root_key().signer_id(), node, since)))
}

fn takes_back(key: &SecretKey, envelope: &[u8]) -> Vec<u8> {
    by(key, Declaration::Retraction(retraction(key.signer_id(), Digest::of(envelope))))
}

#[test]
fn whatever_is_declared_and_sat_on_is_missed_once_it_has_stood_in_the_log_for_long_enough() {
    let log = Log::new();
    let member = &log.world.members[0];
    let said = log.world.items[0].envelope.clone();
    let declared = [
        advises(&person(), click().digest),
        advises_on_packages("pkg:pypi/cl*"),
        vouches(&log, 4_000_000_000),
        revokes(member, false, 0),
        revokes(member, true, 0),
        takes_back(member.root_key(), &said),
    ];
    for (at, declared) in declared.iter().enumerate() {
        let mut told = log.with(&[declared]);
        assert!(!told.is_due(), "{at}: nobody says how long it has been there");
        assert!(!log.with(&[declared]).goes_on(now()).is_due(), "{at}: it may be on its way");
        assert!(log.with(&[declared]).goes_on(now() - 700).is_due(), "{at}");
        let answer = told.verdict_hearing(&[declared]);
        told.judge(&answer);
        assert!(!told.goes_on(SIGNED_AT).is_due(), "{at}: it was heard");
    }
}

#[test]
fn no_verdict_is_due_where_a_declaration_changes_none() {
    let log = Log::new();
    let [member, other] = [0, 1].map(|at| &log.world.members[at]);
    let said = log.world.items[0].envelope.clone();
    let advisory = advises(&person(), click().digest);
    for (at, declared) in [
        advises(&SecretKey::from_seed(&[61; 32]), click().digest),
        advises(&person(), Digest::of(b"another file")),
        advises_on_packages("pkg:pypi/other-*"),
        vouches(&log, now() - 60),
        revokes(member, false, 1),
        takes_back(other.root_key(), &said),
        takes_back(&person(), &advisory),
    ]
    .iter()
    .enumerate()
    {
        assert!(!log.with(&[declared]).goes_on(SIGNED_AT).is_due(), "{at}");
    }
}

#[test]
fn a_verdict_that_outlives_its_vouch_is_due() {
    for (ended_before, is_due) in [(60, false), (700, true)] {
        let mut log = Log::new();
        let vouch = vouches(&log, now() - ended_before);
        let explained = log.verdict_hearing(&[&vouch]);
        assert_eq!(explained.vouches, ["V-1"]);
        log.entries.push(vouch);
        log.judge(&explained);
        assert_eq!(log.is_due(), is_due, "{ended_before}");
        let after =
            Verdict { as_of: Some(Timestamp::from_unix_seconds(now() - ended_before + 1)), ..log.verdict(Circumstances::default()) };
        log.judge(&after);
        assert!(!log.is_due());
    }
}

#[test]
fn what_was_taken_back_before_anybody_could_have_heard_it_is_not_due() {
    let log = Log::new();
    let advisory = advises(&person(), click().digest);
    let back = takes_back(&person(), &advisory);
    assert!(!log.with(&[&advisory, &back]).goes_on(SIGNED_AT).is_due());
    // Nor is it while nobody says for how long it has been taken back.
    let began = log.with(&[&advisory]).goes_on(SIGNED_AT);
    assert!(began.is_due());
    assert!(!began.with(&[&back]).is_due());
    // What is taken back once it was heard has to be heard once more.
    let mut heard = log.with(&[&advisory]);
    let compromised = heard.verdict_hearing(&[&advisory]);
    assert_eq!(compromised.state, State::Compromised);
    heard.judge(&compromised);
    assert!(heard.with(&[&back]).goes_on(SIGNED_AT).is_due());
}

#[test]
fn an_advisory_that_just_came_makes_no_verdict_due_by_an_old_result_beside_it() {
    let mut log = Log::new();
    let advisory = advises(&person(), click().digest);
    let says_more = log.world.members[4].says(&click(), different("other", "m")).envelope;
    assert!(log.with(&[&says_more]).is_due());
    assert!(log.with(&[&says_more, &advisory]).is_due());
    let stranger = Member::new(9).says(&click(), different("other", "m"));
    let changes_nothing = [&stranger.certificate, &stranger.envelope, &advisory];
    assert!(!log.with(&changes_nothing).is_due());
    assert!(log.with(&changes_nothing).goes_on(SIGNED_AT).is_due());
}

#[test]
fn an_operator_that_signed_two_histories_makes_verdicts_due_where_it_has_a_vote() {
    let log = Log::new();
    let second = Member::new(1).says(&click(), different("forged", "m"));
    let told = log.with(&[&second.envelope]);
    assert!(!told.is_due());
    assert!(log.with(&[&second.envelope]).goes_on(SIGNED_AT).is_due());
    let proof = EquivocationProof::verify(log.world.items[0].clone(), second.clone(), log.policy.enrolled()).expect("two histories");
    let answer = log.verdict(Circumstances { equivocations: &[proof], ..Circumstances::default() });
    assert_eq!(answer.agree, 2);
    // A coordinator may know the proof before it says how much of the log it considers.
    for size in [log.entries.len(), log.entries.len() + 1] {
        let mut told = log.with(&[&second.envelope]);
        told.entries.push(signed(&answer, size as u64));
        assert!(!told.goes_on(SIGNED_AT).is_due(), "{size}");
    }
}

#[test]
fn a_drill_that_was_opened_makes_a_verdict_due() {
    let drilled = on_own_registry(&click());
    let [announcement, opened] = drill(&SecretKey::from_seed(&[7; 32]), &opening(ORIGIN, &drilled));
    let mut world = World::new();
    world.artifact = drilled.clone();
    world.items = world.members[..3].iter_mut().map(|member| member.says(&drilled, identical(&drilled))).collect();
    let policy = world.policy_with_log();
    let log = Log::of(world, &policy, vec![announcement.clone()]);
    assert!(!log.is_due() && !log.with(&[&opened]).is_due());
    assert!(log.with(&[&opened]).goes_on(SIGNED_AT).is_due());
    let shown = Drilled { artifact: drilled, announcement: Digest::of(&announcement), opening: Digest::of(&opened) };
    let mut told = log.with(&[&opened]);
    let answer = told.verdict(Circumstances { drills: &[shown], ..Circumstances::default() });
    told.judge(&answer);
    assert!(!told.goes_on(SIGNED_AT).is_due());
}

#[test]
fn in_a_log_where_nothing_else_happens_it_is_the_witnesses_that_say_how_long_it_has_been_there() {
    let cosigner = Cosigner::from_seed("witness.example/w1".parse().expect("a name"), &[61; 32]);
    let policy = with_person(&World::new().policy_with_log());
    let witnesses = format!("[log]\nwitnesses = '''\nwitness w1 {}\nquorum w1\n'''\n", cosigner.verifier());
    let log = Log::under(&policy.replace("[log]\n", &witnesses)).with(&[&advises(&person(), click().digest)]);
    for (seconds_ago, code) in [(0, 0), (700, 3)] {
        let note = SignedNote::parse(checkpoint(&log.entries).as_bytes()).expect("a note");
        let at = u64::try_from(now() - seconds_ago).expect("after 1970");
        let cosignature = cosigner.cosign(note.unverified_text(), at).expect("a time");
        let note = note.with_signature(cosignature).expect("room");
        let ran = monitor_shown(&log.world, &note.to_string(), &log.entries, &[]);
        assert_eq!(ran.code, code, "{}{}", ran.stdout, ran.stderr);
    }
}
