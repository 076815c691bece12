//! An honest coordinator that is killed now and then, and one that ignores what it is told, watched by a clock.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_proto::declaration::{Advisory, Declaration, VerifiedDeclaration, Vouch};
use quorate_proto::drill::VerifiedDrill;
use quorate_proto::dsse::Envelope;
use quorate_proto::feed::EquivocationProof;
use quorate_proto::verified::{FeedItem, VerifiedStatement};
use quorate_proto::{ArtifactId, ArtifactSlot, Digest, SecretKey, Timestamp};
use quorate_tally::{Circumstances, Declarations, Drills, Policy, State, Verdict, Verifier, tally_as_of};
use quorate_tests::{
    Member, SIGNED_AT, advisory, artifact, different, drill, identical, on_own_registry, opening, policy, retraction, revocation, vouch,
};
use quorate_tlog::{Entry, Signer};

use super::audit::Audit;
use super::history::Packages;
use super::kept::Kept;

const ORIGIN: &str = "quorate.example/log";

/// Steps of a run, each of one to three minutes.
const STEPS: u64 = 60;

const NOTHING: [ArtifactId; 0] = [];

struct Coordinator {
    random: u64,
    clock: i64,
    members: Vec<Member>,
    policy: Policy,
    entries: Vec<Entry>,
    items: Vec<FeedItem>,
    results: BTreeMap<ArtifactSlot, Vec<(u64, VerifiedStatement)>>,
    said: Vec<Digest>,
    proofs: Vec<EquivocationProof>,
    declarations: Declarations,
    drills: Drills,
    opening: Option<Vec<u8>>,
    slots: Kept,
    packages: Packages,
    held: BTreeMap<ArtifactId, Verdict>,
    /// Of this one it says nothing new.
    ignores: Option<ArtifactId>,
}

fn person() -> SecretKey {
    SecretKey::from_seed(&[60; 32])
}

fn files() -> Vec<ArtifactId> {
    let files = [("one", "1"), ("one", "2"), ("two", "1"), ("ignored", "1"), ("drilled", "1")];
    let mut files: Vec<_> = files.iter().map(|(name, version)| artifact(name, version, format!("{name} {version}").as_bytes())).collect();
    files[4] = on_own_registry(&files[4]);
    files
}

impl Coordinator {
    fn new(seed: u64) -> Self {
        let members: Vec<Member> = (1..=5).map(Member::new).collect();
        let key = person().signer_id();
        let text = format!("{}\n[[person]]\nname = \"p\"\nkey = \"{key}\"\nmay = [\"advise\", \"vouch\"]\n", policy(3, &members));
        let mut new = Self {
            random: seed,
            clock: SIGNED_AT,
            policy: Policy::parse(&text).unwrap(),
            entries: Vec::new(),
            items: Vec::new(),
            results: BTreeMap::new(),
            said: Vec::new(),
            proofs: Vec::new(),
            declarations: Declarations::default(),
            drills: Drills::default(),
            opening: None,
            slots: Kept::new().unwrap(),
            packages: Packages::default(),
            held: BTreeMap::new(),
            ignores: None,
            members,
        };
        new.log([b"quorate-policy/v1\n", text.as_bytes()].concat());
        let certificates: Vec<_> = new.members.iter().map(|member| member.certificate().to_vec()).collect();
        for certificate in certificates {
            new.log(certificate);
        }
        let [announced, opened] = drill(&SecretKey::from_seed(&[7; 32]), &opening(ORIGIN, &files()[4]));
        new.drill(announced);
        new.opening = Some(opened);
        for file in files() {
            for member in 0..5 {
                new.result(member, &file);
            }
        }
        new.tally();
        new
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % bound
    }

    fn log(&mut self, bytes: Vec<u8>) -> u64 {
        self.entries.push(Entry::new(bytes).unwrap());
        self.entries.len() as u64 - 1
    }

    fn drill(&mut self, envelope: Vec<u8>) {
        let key = SecretKey::from_seed(&[7; 32]).node_id();
        let verified = VerifiedDrill::verify(&envelope, &key, ORIGIN).unwrap();
        let leaf = self.log(envelope);
        self.drills.take(leaf, &verified);
    }

    fn declare(&mut self, key: &SecretKey, declaration: Declaration) {
        let envelope = declaration.sign(key).unwrap().bytes().to_vec();
        let verified = Arc::new(VerifiedDeclaration::verify(&envelope).unwrap());
        if self.declarations.leaf_of(&verified.digest()).is_none() {
            self.said.push(verified.digest());
            let leaf = self.log(envelope);
            self.declarations.take(leaf, verified);
        }
    }

    fn result(&mut self, member: usize, file: &ArtifactId) {
        let outcome = if self.below(3) == 0 { different("other", "m") } else { identical(file) };
        let item = self.members[member].says(file, outcome);
        let leaf = self.log(item.envelope.clone());
        let verified = VerifiedStatement::verify_item(&item, self.policy.enrolled()).unwrap();
        self.results.entry(file.slot.clone()).or_default().push((leaf, verified));
        self.items.push(item);
    }

    /// Something of which no result says anything.
    fn occasion(&mut self) {
        let (member, serial) = (usize::try_from(self.below(5)).unwrap(), self.below(1_000_000));
        let file = files().swap_remove(usize::try_from(self.below(3)).unwrap());
        let (key, id) = (person(), format!("D-{serial}"));
        match self.below(8) {
            0 => self.declare(&key, Declaration::Advisory(advisory(key.signer_id(), &id, file.digest))),
            1 => {
                let package = Some("pkg:pypi/one".parse().unwrap());
                let said = Advisory { digest: None, package, ..advisory(key.signer_id(), &id, file.digest) };
                self.declare(&key, Declaration::Advisory(said));
            }
            2 => {
                let Some(rebuilt) = self.held.values().find_map(|verdict| verdict.other.clone()) else { return };
                let until = Timestamp::from_unix_seconds(self.clock + 60 * i64::try_from(self.below(40)).unwrap());
                self.declare(&key, Declaration::Vouch(Vouch { until, ..vouch(key.signer_id(), &id, file.digest, &rebuilt) }));
            }
            3 | 4 if !self.said.is_empty() => {
                let said = self.said[usize::try_from(serial).unwrap() % self.said.len()];
                self.declare(&key, Declaration::Retraction(retraction(key.signer_id(), said)));
            }
            5 => {
                let result = Digest::of(&self.items[usize::try_from(serial).unwrap() % self.items.len()].envelope);
                let key = SecretKey::from_seed(&self.members[member].root_key().seed());
                self.declare(&key, Declaration::Retraction(retraction(key.signer_id(), result)));
            }
            6 if serial % 3 == 0 => {
                let (node, since) = (self.members[member].node(), 5 + serial % 4);
                let key = SecretKey::from_seed(&self.members[member].root_key().seed());
                self.declare(&key, Declaration::Revocation(revocation(key.signer_id(), Some(node), since)));
            }
            7 if serial % 4 == 0 => match self.opening.take() {
                Some(opened) => self.drill(opened),
                None => self.equivocate(member),
            },
            _ => {}
        }
    }

    fn equivocate(&mut self, member: usize) {
        let operator = self.members[member].operator();
        if self.proofs.iter().any(|proof| proof.operator() == operator) {
            return;
        }
        let first = self.items[member].clone();
        let second = Member::new(u8::try_from(member + 1).unwrap()).says(&files()[2], different("forged", "m"));
        let proof = EquivocationProof::verify(first, second.clone(), self.policy.enrolled()).unwrap();
        self.log(second.envelope);
        self.proofs.push(proof);
    }

    /// Logs what is new.
    fn tally(&mut self) {
        let (size, as_of) = (self.entries.len() as u64, Timestamp::from_unix_seconds(self.clock));
        let mut verdicts = Vec::new();
        for (slot, results) in &self.results {
            let statements = || results.iter().map(|(_, result)| result);
            let caught = self.proofs.iter().map(|proof| (proof.operator(), proof.node()));
            let circumstances = Circumstances {
                as_of: Some(as_of),
                equivocations: &self.proofs,
                drills: &self.drills.shown(slot, size, &results.iter().map(|(leaf, result)| (*leaf, result))),
                declarations: &self.declarations.about(slot, size, statements(), caught),
                ..Circumstances::default()
            };
            let file = results[0].1.artifact();
            let mut verdict = tally_as_of(&self.policy, file, statements(), circumstances);
            verdict.history = (verdict.state == State::Suspect).then(|| self.packages.history(&verdict, size));
            let timeless = Verdict { as_of: None, ..verdict.clone() };
            if self.ignores.as_ref() != Some(file) && self.held.insert(file.clone(), timeless.clone()) != Some(timeless) {
                verdicts.push(verdict);
            }
        }
        for verdict in verdicts {
            let statement = verdict.to_statement(&Verifier { id: ORIGIN.to_owned(), time: as_of, log_size: size });
            let leaf = self.log(Envelope::sign(statement.to_payload(), &SecretKey::from_seed(&[99; 32])).bytes().to_vec());
            let slot = self.slots.slot(&verdict.artifact.slot);
            self.packages.take(leaf, slot, &verdict);
        }
    }
}

/// Reads what is new.
struct Watcher(Audit);

impl Watcher {
    fn new() -> Self {
        Self(Audit::new(Signer::from_seed(ORIGIN.parse().unwrap(), &[7; 32]).verifier().clone()).unwrap())
    }

    fn due(&mut self, log: &Coordinator) -> Vec<ArtifactId> {
        let now = Timestamp::from_unix_seconds(log.clock);
        self.0.now_is(now);
        self.0.take(&log.entries[usize::try_from(self.0.size()).unwrap()..]).unwrap();
        assert!(self.0.findings.is_empty(), "{:?}", self.0.findings);
        self.0.due(now).unwrap().into_iter().collect()
    }
}

#[test]
fn an_honest_coordinator_owes_nothing_however_often_it_is_killed_and_one_that_ignores_a_declaration_does() {
    for seed in 0..12 {
        let mut log = Coordinator::new(seed);
        let (mut watcher, mut down, mut occasions) = (Watcher::new(), 0, 0);
        assert!(watcher.due(&log).is_empty());
        for step in 0..STEPS {
            log.clock += 60 * (1 + i64::try_from(log.below(3)).unwrap());
            let before = log.entries.len();
            if log.below(2) == 0 {
                log.occasion();
            }
            occasions += log.entries.len() - before;
            // Killed for two steps at most; what is logged when it runs is considered at once.
            down = if log.below(3) == 0 && down < 2 { down + 1 } else { 0 };
            if down == 0 {
                if log.below(6) == 0 {
                    let file = files().swap_remove(usize::try_from(log.below(3)).unwrap());
                    log.result(usize::try_from(step % 5).unwrap(), &file);
                }
                log.tally();
            }
            assert_eq!(watcher.due(&log), NOTHING, "seed {seed}, step {step}");
            if step % 7 == 0 {
                assert_eq!(Watcher::new().due(&log), NOTHING, "seed {seed}, step {step}, read at once");
            }
        }
        assert!(occasions > 8, "{occasions}");
        log.tally();
        let ignored = files().swap_remove(3);
        log.ignores = Some(ignored.clone());
        log.declare(&person(), Declaration::Advisory(advisory(person().signer_id(), "A-1", ignored.digest)));
        for (minutes, due) in [(0, vec![]), (9, vec![]), (1, vec![ignored.clone()]), (5, vec![ignored.clone()])] {
            log.clock += 60 * minutes;
            log.tally();
            assert_eq!(watcher.due(&log), due, "seed {seed}");
        }
        // It comes at last.
        log.ignores = None;
        log.tally();
        assert_eq!(watcher.due(&log), NOTHING, "seed {seed}");
    }
}
