//! The fault table of `docs/spec/feed.md`, row by row, on files that are cut and damaged on purpose.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_gossip::Accepted;
use quorate_gossip::store::reason;
use quorate_proto::certificate::NodeCertificate;
use quorate_proto::commitment::{Nonce, Promise, Reveals, Secret, outcome_digest};
use quorate_proto::dsse::Envelope;
use quorate_proto::entry::VerifiedEntry;
use quorate_proto::feed::{FeedHead, FeedPosition};
use quorate_proto::hold::Terms;
use quorate_proto::result::{Builder, Environment, EnvironmentClass, NotAttemptedReason, Outcome, RebuildResult, RegistryView};
use quorate_proto::statement::{Statement, Subject};
use quorate_proto::verified::FeedItem;
use quorate_proto::{ArtifactId, ArtifactSlot, Digest, NodeId, OperatorId, SecretKey, TaskId, Timestamp};
use tempfile::TempDir;

use super::{Due, FeedError, FeedFileError, Feeds, Own, Promised, Step, begin, own, record};
use crate::attest::{self, Binding, Place};
use crate::blob::BlobStore;

const NOW: i64 = 1_700_000_000;

struct Author {
    root: SecretKey,
    key: SecretKey,
    head: FeedHead,
    flavour: u8,
    /// When it signs.
    at: Timestamp,
}

impl Author {
    fn new(number: u8) -> Self {
        Self {
            root: SecretKey::from_seed(&[number; 32]),
            key: SecretKey::from_seed(&[number | 0x80; 32]),
            head: FeedHead::default(),
            flavour: 0,
            at: Timestamp::from_unix_seconds(NOW),
        }
    }

    fn today(number: u8) -> Self {
        Self { at: super::now().whole_seconds(), ..Self::new(number) }
    }

    fn twin(&self) -> Self {
        let key = |key: &SecretKey| SecretKey::from_seed(&key.seed());
        Self { root: key(&self.root), key: key(&self.key), head: self.head, flavour: self.flavour + 1, at: self.at }
    }

    fn node(&self) -> NodeId {
        self.key.node_id()
    }

    fn next(&mut self) -> FeedItem {
        let position = self.head.position(self.node());
        let item = self.item(position);
        self.head = FeedHead::behind(position.sequence + 1, Digest::of(&item.envelope));
        item
    }

    fn item(&self, feed: FeedPosition) -> FeedItem {
        self.tells(feed, slot(feed.sequence), None)
    }

    fn moved(&mut self, item: FeedItem) -> FeedItem {
        self.head = FeedHead::behind(self.head.next() + 1, Digest::of(&item.envelope));
        item
    }

    fn certificate(&self) -> Vec<u8> {
        let end = |seconds| Timestamp::from_unix_seconds(self.at.unix_seconds() + seconds);
        let (not_before, not_after) = (end(-1000), end(1000));
        let certificate = NodeCertificate { operator: self.root.operator_id(), node: self.node(), not_before, not_after }.sign(&self.root);
        certificate.bytes().to_vec()
    }

    fn commits(&self, feed: FeedPosition, slot: ArtifactSlot, secret: &Secret, promise: Promise) -> FeedItem {
        let binding = Binding { slot, secret: *secret, promise };
        let place = Place { operator: self.root.operator_id(), feed, reveals: None, now: self.at };
        let envelope = attest::commit(binding, &self.key, &place);
        FeedItem { certificate: self.certificate(), envelope: envelope.bytes().to_vec() }
    }

    fn tells(&self, feed: FeedPosition, slot: ArtifactSlot, reveals: Option<Reveals>) -> FeedItem {
        let at = self.at;
        let result = RebuildResult {
            package: slot.package,
            operator: self.root.operator_id(),
            registry: RegistryView {
                url: "https://registry.example/a".to_owned(),
                size_bytes: 1,
                index_checksum: None,
                published_at: None,
                observed_at: at,
            },
            source: None,
            outcome: OUTCOME,
            anomalies: Vec::new(),
            assists: Vec::new(),
            violations: Vec::new(),
            toolchain: Vec::new(),
            environment: Environment { class: EnvironmentClass::Host, digest: Digest::of(b"environment") },
            build_witness: None,
            builder: Builder { name: format!("test-{}", self.flavour), version: "1".to_owned() },
            started_at: at,
            finished_at: at,
            provenance: None,
            reveals,
            feed,
        };
        let payload = Statement::new(vec![Subject::new("sample.whl", Digest::of(b"artifact"))], result).to_payload();
        FeedItem { certificate: self.certificate(), envelope: Envelope::sign(payload, &self.key).bytes().to_vec() }
    }
}

const OUTCOME: Outcome = Outcome::NotAttempted { reason: NotAttemptedReason::UnsupportedKind };

fn slot(number: u64) -> ArtifactSlot {
    ArtifactSlot { package: format!("pkg:pypi/sample@{number}").parse().unwrap(), file: "sample.whl".parse().unwrap() }
}

struct Bench {
    dir: TempDir,
    own: Author,
    other: Author,
}

impl Bench {
    fn new() -> Self {
        Self::of(Author::new(1), Author::new(2))
    }

    /// Whose promises are not over yet.
    fn today() -> Self {
        Self::of(Author::today(1), Author::today(2))
    }

    fn of(own: Author, other: Author) -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap(), own, other };
        begin(bench.dir.path(), &bench.own.node()).unwrap();
        bench
    }

    fn open(&self) -> Result<Feeds, FeedError> {
        open(self.dir.path(), &self.own, &self.other)
    }

    fn path(&self, author: &Author, ending: &str) -> PathBuf {
        own::feeds_dir(self.dir.path()).join(format!("{}.{ending}", own::stem(&author.node())))
    }
}

fn open(dir: &Path, own: &Author, other: &Author) -> Result<Feeds, FeedError> {
    let enrolled: BTreeSet<OperatorId> = [own.root.operator_id(), other.root.operator_id()].into();
    let own = Own { node: own.node(), operator: own.root.operator_id() };
    Feeds::open(dir, own, enrolled, BlobStore::open(&dir.join("blobs")).unwrap())
}

fn sign(feeds: &Feeds, author: &Author) -> FeedItem {
    feeds.sign(|position| Ok(author.item(position))).unwrap()
}

fn take(feeds: &Feeds, items: &[FeedItem]) -> Vec<Accepted> {
    feeds.take_in(items, super::now())
}

fn held(feeds: &Feeds, author: &Author) -> Vec<FeedItem> {
    feeds.0.items(author.node(), 0, usize::MAX).unwrap()
}

#[test]
fn what_is_signed_and_taken_in_is_there_after_a_restart() {
    let mut bench = Bench::new();
    let feeds = bench.open().unwrap();
    let own: Vec<FeedItem> = (0..3).map(|_| sign(&feeds, &bench.own)).collect();
    let others: Vec<FeedItem> = (0..4).map(|_| bench.other.next()).collect();
    assert_eq!(take(&feeds, &others), [Accepted::New; 4]);
    assert_eq!(take(&feeds, &others[1..2]), [Accepted::Duplicate]);
    assert_eq!(take(&feeds, &own), [Accepted::Duplicate; 3]);
    drop(feeds);
    let feeds = bench.open().unwrap();
    assert_eq!(held(&feeds, &bench.own), own);
    assert_eq!(held(&feeds, &bench.other), others);
    assert!(feeds.has_signed(&ArtifactId {
        slot: ArtifactSlot { package: "pkg:pypi/sample@2".parse().unwrap(), file: "sample.whl".parse().unwrap() },
        digest: Digest::of(b"artifact"),
    }));
}

/// Row "append, failed": the entry was never published, so it may go, and its number is free.
#[test]
fn an_own_entry_cut_at_any_byte_was_never_published_and_its_number_is_used_once() {
    let bench = Bench::new();
    let feeds = bench.open().unwrap();
    let first = sign(&feeds, &bench.own);
    let published = fs::read(bench.path(&bench.own, "mark")).unwrap();
    let before = fs::read(bench.path(&bench.own, "feed")).unwrap().len();
    sign(&feeds, &bench.own);
    drop(feeds);
    let whole = fs::read(bench.path(&bench.own, "feed")).unwrap();
    for cut in before..whole.len() {
        fs::write(bench.path(&bench.own, "feed"), &whole[..cut]).unwrap();
        fs::write(bench.path(&bench.own, "mark"), &published).unwrap();
        let feeds = bench.open().unwrap();
        assert_eq!(held(&feeds, &bench.own), std::slice::from_ref(&first), "cut at {cut}");
        // Every place is cut; the entry is signed anew at some, because that costs flushes to disk.
        if cut % 64 != 0 {
            continue;
        }
        let again = feeds.sign(|position| Ok(bench.own.twin().item(position))).unwrap();
        assert_eq!(held(&feeds, &bench.own), [first.clone(), again], "cut at {cut}");
    }
}

/// Row "append, failed but persisted": the whole record is there, the mark is not raised.
#[test]
fn an_own_entry_that_is_whole_but_not_marked_is_kept_and_published_later() {
    let bench = Bench::new();
    let feeds = bench.open().unwrap();
    let entry = sign(&feeds, &bench.own);
    drop(feeds);
    fs::write(bench.path(&bench.own, "mark"), b"0\n").unwrap();
    let feeds = bench.open().unwrap();
    assert_eq!(held(&feeds, &bench.own), [entry]);
    assert_eq!(fs::read(bench.path(&bench.own, "mark")).unwrap(), b"1\n");
}

/// Row "damage": whatever may have been published and is gone stops the node; nothing on disk changes.
#[test]
fn an_own_feed_that_lost_a_published_byte_does_not_sign_again() {
    let bench = Bench::new();
    let feeds = bench.open().unwrap();
    (0..2).for_each(|_| drop(sign(&feeds, &bench.own)));
    drop(feeds);
    let path = bench.path(&bench.own, "feed");
    let whole = fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        assert!(matches!(bench.open(), Err(FeedError::Lost { published: 2, .. })), "cut at {cut}");
        assert_eq!(fs::read(&path).unwrap().len(), cut, "left as it is");
    }
    for at in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        assert!(matches!(bench.open(), Err(FeedError::Lost { .. })), "bit flipped at {at}");
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(bench.open(), Err(FeedError::Lost { held: 0, published: 2 })));
    fs::remove_file(bench.path(&bench.own, "mark")).unwrap();
    assert!(matches!(bench.open(), Err(FeedError::NotBegun { .. })));
}

#[test]
fn an_own_feed_whose_chain_is_broken_is_refused_by_name() {
    let mut bench = Bench::new();
    let (first, mut twin) = (bench.own.next(), bench.own.twin());
    twin.next();
    let second = twin.next();
    let mut file = record::MAGIC.to_vec();
    for item in [first, second] {
        file.extend(record::encode(&item.encode()));
    }
    fs::write(bench.path(&bench.own, "feed"), file).unwrap();
    assert!(matches!(bench.open(), Err(FeedError::File(FeedFileError::Broken { sequence: 1, .. }))));
}

#[test]
fn a_folder_that_another_process_holds_is_refused() {
    let bench = Bench::new();
    let feeds = bench.open().unwrap();
    assert!(matches!(bench.open(), Err(FeedError::Locked { .. })));
    drop(feeds);
    assert!(bench.open().is_ok());
}

/// Rows of others' feeds: what is whole stays, the rest comes again.
#[test]
fn a_foreign_feed_cut_at_any_byte_keeps_what_is_whole_and_takes_the_rest_again() {
    let mut bench = Bench::new();
    let feeds = bench.open().unwrap();
    let items: Vec<FeedItem> = (0..3).map(|_| bench.other.next()).collect();
    take(&feeds, &items);
    drop(feeds);
    let path = bench.path(&bench.other, "feed");
    let whole = fs::read(&path).unwrap();
    for cut in (0..whole.len()).step_by(3) {
        fs::write(&path, &whole[..cut]).unwrap();
        let feeds = bench.open().unwrap();
        let kept = held(&feeds, &bench.other);
        assert_eq!(kept, items[..kept.len()]);
        assert_eq!(take(&feeds, &items[kept.len()..]), vec![Accepted::New; 3 - kept.len()], "cut at {cut}");
        drop(feeds);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
}

#[test]
fn a_feed_that_cannot_be_written_is_unavailable_and_takes_the_item_later() {
    let mut bench = Bench::new();
    let feeds = bench.open().unwrap();
    let item = bench.other.next();
    fs::create_dir(bench.path(&bench.other, "feed")).unwrap();
    assert_eq!(take(&feeds, std::slice::from_ref(&item)), [Accepted::Unavailable]);
    assert!(held(&feeds, &bench.other).is_empty());
    drop(feeds);
    fs::remove_dir(bench.path(&bench.other, "feed")).unwrap();
    let feeds = bench.open().unwrap();
    assert_eq!(take(&feeds, &[item]), [Accepted::New]);
}

#[test]
fn gaps_forks_and_repeats_change_nothing_and_are_named() {
    let mut bench = Bench::new();
    let feeds = bench.open().unwrap();
    let mut twin = bench.other.twin();
    let items: Vec<FeedItem> = (0..3).map(|_| bench.other.next()).collect();
    twin.next();
    let forked = twin.next();
    assert_eq!(take(&feeds, &items[..1]), [Accepted::New]);
    assert_eq!(take(&feeds, &items[2..]), [Accepted::Gap { expected: 1 }]);
    assert_eq!(take(&feeds, &[forked]), [Accepted::Rejected(reason::FORK)]);
    assert_eq!(take(&feeds, &items[..1]), [Accepted::Duplicate]);
    assert_eq!(take(&feeds, &[Author::new(9).next()]), [Accepted::Rejected("unknown-operator")]);
    assert_eq!(held(&feeds, &bench.other), items[..1]);
}

#[test]
fn the_first_proof_of_an_equivocation_is_kept_for_good() {
    let mut bench = Bench::new();
    let feeds = bench.open().unwrap();
    let (mut twin, mut third) = (bench.other.twin(), bench.other.twin().twin());
    let honest = bench.other.next();
    // Both in one batch: the contradiction is seen before the first one is on disk.
    assert_eq!(take(&feeds, &[honest.clone(), twin.next()]), [Accepted::New, Accepted::Equivocation]);
    assert_eq!(take(&feeds, &[third.next()]), [Accepted::Rejected(reason::FORK)]);
    drop(feeds);
    let feeds = bench.open().unwrap();
    let proofs = feeds.equivocations();
    assert_eq!((proofs.len(), proofs[0].node(), proofs[0].sequence()), (1, bench.other.node(), 0));
    assert_eq!(held(&feeds, &bench.other), [honest]);
}

#[test]
fn another_history_of_the_own_key_stops_the_node_for_good() {
    let bench = Bench::new();
    let feeds = bench.open().unwrap();
    let mut halted = feeds.halted();
    let first = sign(&feeds, &bench.own);
    let mut ahead = bench.own.twin();
    ahead.head = FeedHead::behind(1, Digest::of(&first.envelope));
    assert_eq!(take(&feeds, &[ahead.next()]), [Accepted::Rejected(reason::OWN_FEED)]);
    assert!(halted.borrow_and_update().is_some());
    assert!(matches!(feeds.sign(|position| Ok(bench.own.item(position))), Err(FeedError::Halted { .. })));
    drop(feeds);
    assert!(matches!(bench.open(), Err(FeedError::Halted { .. })));
}

#[test]
fn an_own_entry_that_peers_would_reject_is_never_written() {
    let bench = Bench::new();
    let feeds = bench.open().unwrap();
    let foreign = feeds.sign(|_| Ok(bench.other.item(FeedHead::default().position(bench.other.node()))));
    assert!(matches!(foreign, Err(FeedError::Refused(_))));
    let elsewhere = FeedPosition { node: bench.own.node(), sequence: 7, previous: Some(Digest::of(b"x")) };
    assert!(matches!(feeds.sign(|_| Ok(bench.own.item(elsewhere))), Err(FeedError::Refused(_))));
    assert!(held(&feeds, &bench.own).is_empty());
    assert_eq!(fs::read(bench.path(&bench.own, "mark")).unwrap(), b"0\n");
}

const TERMS: Terms = Terms { enough: 1, hold: Duration::from_hours(1), settle: Duration::ZERO };

fn outcome() -> Digest {
    outcome_digest(Digest::of(b"artifact"), &OUTCOME)
}

fn step(feeds: &Feeds, slot: &ArtifactSlot) -> Step {
    feeds.step(&Due { slot, outcome: outcome(), terms: Some(&TERMS) }).unwrap()
}

/// Asks for the commitment of a task and signs it.
fn commit(feeds: &Feeds, author: &Author, task: &ArtifactSlot) -> FeedItem {
    let Step::Commit(Promised { secret, promise }) = step(feeds, task) else { panic!("nothing is committed to yet") };
    feeds.sign(|position| Ok(author.commits(position, task.clone(), &secret, promise))).unwrap()
}

impl Author {
    fn commits_next(&mut self, task: &ArtifactSlot) -> FeedItem {
        let secret = Secret {
            operator: self.root.operator_id(),
            node: self.node(),
            task: TaskId::of(task),
            outcome: outcome(),
            nonce: Nonce::from_bytes([1; 32]),
        };
        let promise = TERMS.promise(self.at);
        let item = self.commits(self.head.position(self.node()), task.clone(), &secret, promise);
        self.moved(item)
    }

    fn tells_next(&mut self, task: &ArtifactSlot) -> FeedItem {
        let item = self.tells(self.head.position(self.node()), task.clone(), None);
        self.moved(item)
    }
}

/// The rows of holds: the node stops between any two writes, and commits once, and reveals what it committed to.
#[test]
fn a_node_that_stops_anywhere_between_commitment_and_result_commits_once_and_reveals_it() {
    let mut bench = Bench::today();
    let task = slot(7);
    let Step::Commit(Promised { secret, .. }) = step(&bench.open().unwrap(), &task) else { panic!("nothing is committed to yet") };
    let feeds = bench.open().unwrap();
    assert!(matches!(step(&feeds, &task), Step::Commit(Promised { secret: again, .. }) if again == secret), "the nonce is durable first");
    let commitment = commit(&feeds, &bench.own, &task);
    assert!(matches!(step(&feeds, &task), Step::Wait { .. }));
    drop(feeds);
    let feeds = bench.open().unwrap();
    assert!(matches!(step(&feeds, &task), Step::Wait { .. }), "it is not committed to twice");
    let theirs = bench.other.commits_next(&task);
    assert_eq!(take(&feeds, std::slice::from_ref(&theirs)), [Accepted::New]);
    let result = bench.other.tells_next(&task);
    assert_eq!(take(&feeds, std::slice::from_ref(&result)), [Accepted::New]);
    drop(feeds);
    let feeds = bench.open().unwrap();
    let Step::Sign(Some(reveals)) = step(&feeds, &task) else { panic!("somebody has told its result") };
    assert_eq!((reveals.sequence, &reveals.seen), (0, &vec![Digest::of(&theirs.envelope)]));
    assert_eq!(reveals.after, Some(Digest::of(&result.envelope)));
    let told = feeds.sign(|position| Ok(bench.own.tells(position, task.clone(), Some(reveals)))).unwrap();
    let enrolled = [bench.own.root.operator_id()].into();
    let entry = |item| VerifiedEntry::verify_item(item, &enrolled).unwrap();
    assert!(entry(&commitment).commitment().unwrap().is_opened_by(entry(&told).result().unwrap()));
    let hold = bench.dir.path().join("holds").join(format!("{}.json", TaskId::of(&task).to_hex()));
    assert!(!hold.exists() && matches!(step(&feeds, &task), Step::Sign(None)));
    drop(feeds);
    // Removing the hold failed, though the result is durable: the feed shows that it is over.
    fs::write(
        &hold,
        serde_json::to_vec(&serde_json::json!({
            "slot": task, "outcome": outcome(), "nonce": secret.nonce, "sighting": { "seen": {} },
        }))
        .unwrap(),
    )
    .unwrap();
    let feeds = bench.open().unwrap();
    assert!(!hold.exists() && matches!(step(&feeds, &task), Step::Sign(None)));
}

#[test]
fn what_is_taken_in_after_a_result_is_not_said_to_be_seen_before_it() {
    let bench = Bench::today();
    let task = slot(7);
    let feeds = bench.open().unwrap();
    commit(&feeds, &bench.own, &task);
    let (mut other, mut late) = (Author::today(3), Author::today(2));
    let enrolled: BTreeSet<OperatorId> = [&bench.own, &late, &other].map(|author| author.root.operator_id()).into();
    drop(feeds);
    let reopen = || {
        let own = Own { node: bench.own.node(), operator: bench.own.root.operator_id() };
        Feeds::open(bench.dir.path(), own, enrolled.clone(), BlobStore::open(&bench.dir.path().join("blobs")).unwrap()).unwrap()
    };
    let feeds = reopen();
    let (result, late) = (other.tells_next(&task), late.commits_next(&task));
    take(&feeds, &[result.clone(), late]);
    let check = |feeds: Feeds| {
        let Step::Sign(Some(reveals)) = step(&feeds, &task) else { panic!("a result is there") };
        assert_eq!((reveals.seen.len(), reveals.after), (0, Some(Digest::of(&result.envelope))));
    };
    check(feeds);
    check(reopen());
}

#[test]
fn nobody_commits_to_what_somebody_has_told_nor_without_terms() {
    let mut bench = Bench::today();
    let feeds = bench.open().unwrap();
    take(&feeds, &[bench.other.tells_next(&slot(1))]);
    assert_eq!(step(&feeds, &slot(1)), Step::Sign(None));
    assert_eq!(feeds.step(&Due { slot: &slot(2), outcome: outcome(), terms: None }).unwrap(), Step::Sign(None));
    drop(feeds);
    assert_eq!(step(&bench.open().unwrap(), &slot(1)), Step::Sign(None), "nor after a restart");
}

/// Row "damage": without its nonce a commitment cannot be revealed. The node does not commit again: that would be
/// a second commitment, as a liar makes one.
#[test]
fn a_damaged_hold_is_put_aside_and_its_task_is_not_committed_to_again() {
    let bench = Bench::today();
    let (task, feeds) = (slot(7), bench.open().unwrap());
    commit(&feeds, &bench.own, &task);
    drop(feeds);
    let hold = bench.dir.path().join("holds").join(format!("{}.json", TaskId::of(&task).to_hex()));
    fs::write(&hold, b"{\"half\":").unwrap();
    let feeds = bench.open().unwrap();
    assert!(hold.with_extension("malformed").exists());
    assert_eq!(step(&feeds, &task), Step::Sign(None));
}

/// The lock is held for as long as the disk takes: who asks meanwhile must not hold up everybody else.
#[tokio::test]
#[expect(clippy::await_holding_lock, reason = "it stands for a writer on another thread")]
async fn a_slow_disk_does_not_stop_the_runtime_while_a_peer_asks_for_heads() {
    use quorate_gossip::FeedStore as _;
    let bench = Bench::today();
    let feeds = bench.open().unwrap();
    let writing = feeds.0.lock();
    // One thread runs this test: a wait for the lock on it would never end.
    let (heads, wanted) = (feeds.heads(), feeds.wanted_blobs());
    let asked = async { tokio::join!(heads, wanted) };
    tokio::pin!(asked);
    assert!(futures::poll!(&mut asked).is_pending());
    drop(writing);
    assert_eq!(asked.await, (Vec::new(), Vec::new()));
}
