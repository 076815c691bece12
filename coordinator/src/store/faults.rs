//! The fault table: every durable write × {failed, failed but persisted}, and what a store that was
//! damaged on purpose comes back with. `docs/spec/coordinator-storage.md`, section "Faults".
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../../tests/coordinator/fixture.rs"]
mod fixture;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use fixture::{Network, artifact, identical};
use proptest::prelude::*;
use quorate_gossip::Accepted;
use quorate_proto::Digest;
use quorate_proto::verified::FeedItem;
use quorate_tlog::Signer;

use super::files::{Fault, Paths, Point, Publication};
use super::index::{Order, Rung};
use super::leaves::Shown;
use super::rows::SlotKey;
use super::{AffectedQuery, BlobRefused, Budget, Glance, LogKey, StoreError, Writer};
use crate::check::check;
use crate::door::Door;

const ORIGIN: &str = "quorate.example/test";

fn open(folder: &Path) -> (Writer, Rung) {
    open_as(folder, Publication::AtOnce)
}

fn open_as(folder: &Path, publication: Publication) -> (Writer, Rung) {
    let signer = Signer::from_seed(ORIGIN.parse().unwrap(), &[7; 32]);
    let paths = Paths::new(folder).publishing(publication);
    fs::write(paths.vkey(), signer.verifier().to_string()).unwrap();
    Writer::open(paths, LogKey { origin: ORIGIN.parse().unwrap(), signer }).unwrap()
}

fn door(network: &Network) -> Door {
    Door::new(network.nodes.iter().map(|node| node.root.operator_id()).collect())
}

/// What [`crate::ingest`] does with a batch.
fn submit(writer: &mut Writer, door: &Door, items: &[FeedItem]) -> Result<Vec<Accepted>, StoreError> {
    let admitted: Vec<_> = items.iter().map(|item| door.check(item.clone(), fixture::now()).unwrap()).collect();
    let mut batch = writer.batch();
    let outcomes = admitted.into_iter().map(|item| batch.offer(item)).collect::<Result<Vec<_>, _>>()?;
    if batch.is_empty() {
        return Ok(outcomes);
    }
    let parts = batch.into_parts();
    let durable = writer.commit(parts)?;
    writer.publish(vec![durable])?;
    Ok(outcomes)
}

fn held(writer: &Writer, item: &FeedItem) -> bool {
    let node = quorate_proto::verified::VerifiedStatement::verify_item(item, &operators(item)).unwrap();
    let entries = writer.store().entries(node.node(), node.position().sequence, 1 << 20).unwrap();
    entries.first().is_some_and(|entry| entry.envelope == item.envelope)
}

fn operators(item: &FeedItem) -> BTreeSet<quorate_proto::OperatorId> {
    BTreeSet::from([super::leaf::certificate(&item.certificate).unwrap().operator()])
}

struct Row {
    point: Point,
    fault: Fault,
    /// Whether the caller hears an error.
    fails: bool,
    /// Whether the item is there after recovery.
    there: bool,
}

const TABLE: [Row; 10] = [
    Row { point: Point::Stage, fault: Fault::Failed, fails: true, there: false },
    Row { point: Point::Stage, fault: Fault::FailedButPersisted, fails: true, there: true },
    Row { point: Point::Commit, fault: Fault::Failed, fails: true, there: true },
    Row { point: Point::Commit, fault: Fault::FailedButPersisted, fails: true, there: true },
    Row { point: Point::Publish, fault: Fault::Failed, fails: true, there: true },
    Row { point: Point::Publish, fault: Fault::FailedButPersisted, fails: true, there: true },
    Row { point: Point::Settle, fault: Fault::Failed, fails: false, there: true },
    Row { point: Point::Settle, fault: Fault::FailedButPersisted, fails: false, there: true },
    Row { point: Point::Fold, fault: Fault::Failed, fails: false, there: true },
    Row { point: Point::Fold, fault: Fault::FailedButPersisted, fails: false, there: true },
];

/// Runs one row. `restart` reopens the data directory, else the same process recovers. Where checkpoints wait for
/// witnesses, none of them answers.
fn run(row: &Row, restart: bool, publication: Publication) {
    let folder = tempfile::tempdir().unwrap();
    let mut network = Network::new(1);
    let door = door(&network);
    let (mut writer, _) = open_as(folder.path(), publication);
    let click = artifact("click", "8.1.8", "");
    let first = network.nodes[0].sign(&click, identical(&click));
    let second = network.nodes[0].sign(&click, identical(&click));
    let third = network.nodes[0].sign(&click, identical(&click));
    submit(&mut writer, &door, std::slice::from_ref(&first)).unwrap();
    let before = writer.store().log().published().head;

    writer.store().disk.arm(row.point, row.fault);
    let outcome = submit(&mut writer, &door, std::slice::from_ref(&second));
    let name = format!("{:?} {:?} restart {restart} {publication:?}", row.point, row.fault);
    assert_eq!(outcome.is_err(), row.fails, "{name}");
    if matches!(row.point, Point::Settle | Point::Fold) {
        assert!(writer.settle().is_err(), "{name}");
    }
    if restart {
        drop(writer);
        check(&Paths::new(folder.path())).unwrap_or_else(|error| panic!("{name} before recovery: {error:#}"));
        writer = open_as(folder.path(), publication).0;
    } else {
        writer.recover().unwrap();
    }

    assert!(held(&writer, &first), "{name}: what was acknowledged is there");
    assert_eq!(held(&writer, &second), row.there, "{name}");
    let after = writer.store().log().published().head;
    let view = quorate_tlog::TreeView::new(after, writer.store().log()).unwrap();
    let (old, proof) = view.consistency(before.size).unwrap();
    assert_eq!(old, before, "{name}: one root for one size");
    proof.verify(&old, &after).unwrap();
    let again = submit(&mut writer, &door, &[second.clone(), third.clone()]).unwrap();
    let expected = if row.there { Accepted::Duplicate } else { Accepted::New };
    assert_eq!(again, [expected, Accepted::New], "{name}");
    writer.settle().unwrap();
    drop(writer);
    check(&Paths::new(folder.path())).unwrap_or_else(|error| panic!("{name}: {error:#}"));
}

#[test]
fn every_failed_write_is_settled_by_the_process_itself() {
    for row in &TABLE {
        run(row, false, Publication::AtOnce);
        run(row, false, Publication::Witnessed);
    }
}

#[test]
fn every_failed_write_is_settled_by_a_restart() {
    for row in &TABLE {
        run(row, true, Publication::AtOnce);
        run(row, true, Publication::Witnessed);
    }
}

/// A store with some results, a proof of equivocation, and every batch settled.
fn filled(folder: &Path) -> (Network, Vec<FeedItem>) {
    let mut network = Network::new(3);
    let door = door(&network);
    let (mut writer, _) = open(folder);
    writer.log_policies(&[network.policy(2)]).unwrap();
    let mut items = Vec::new();
    for n in 0..120 {
        let artifact = artifact("package", &format!("1.{n}"), "");
        for node in &mut network.nodes {
            items.push(node.sign(&artifact, identical(&artifact)));
        }
    }
    for batch in items.chunks(50) {
        submit(&mut writer, &door, batch).unwrap();
    }
    let other = artifact("package", "1.0", "");
    let mut liar = fixture::Node::new(0, 0, network.now);
    let lie = liar.sign(&other, fixture::build_failed());
    assert_eq!(submit(&mut writer, &door, &[lie]).unwrap(), [Accepted::Equivocation]);
    writer.settle().unwrap();
    (network, items)
}

#[test]
fn a_lost_index_is_rebuilt_from_the_log_row_for_row() {
    let folder = tempfile::tempdir().unwrap();
    let (_, items) = filled(folder.path());
    let (writer, rung) = open(folder.path());
    assert_eq!(rung, Rung::Whole);
    let before = rows_of(&writer);
    let head = writer.store().log().published().head;
    drop(writer);

    fs::remove_dir_all(Paths::new(folder.path()).index()).unwrap();
    let (writer, rung) = open(folder.path());
    assert_eq!(rung, Rung::Rebuild);
    assert_eq!(writer.store().log().published().head, head);
    assert!(items.iter().all(|item| held(&writer, item)));
    assert_eq!(writer.store().equivocations().len(), 1);
    assert!(rows_of(&writer) == before);
    let slot = SlotKey::of(&artifact("package", "1.7", "").slot);
    assert_eq!(writer.store().results(slot, u64::MAX).unwrap().results.len(), 3);
}

#[test]
fn a_lost_index_is_rebuilt_to_where_it_was_although_no_witness_has_cosigned() {
    let folder = tempfile::tempdir().unwrap();
    let mut network = Network::new(1);
    let door = door(&network);
    let (mut writer, _) = open_as(folder.path(), Publication::Witnessed);
    let mut sign = |n: u64| {
        let artifact = artifact("package", &format!("1.{n}"), "");
        network.nodes[0].sign(&artifact, identical(&artifact))
    };
    let items: Vec<_> = (0..20).map(&mut sign).collect();
    for batch in items.chunks(3) {
        submit(&mut writer, &door, batch).unwrap();
        writer.settle().unwrap();
    }
    let head = writer.store().log().published().head;
    assert_eq!(writer.store().log().shown().head.size, 0, "nobody has cosigned");
    assert!(!Paths::new(folder.path()).checkpoint().exists());
    drop(writer);
    check(&Paths::new(folder.path())).unwrap();
    fs::remove_dir_all(Paths::new(folder.path()).index()).unwrap();
    let (mut writer, rung) = open_as(folder.path(), Publication::Witnessed);
    assert_eq!((rung, writer.store().log().published().head), (Rung::Rebuild, head));
    assert!(items.iter().all(|item| held(&writer, item)));

    // Whoever goes back to publishing at once, or forth again, stays with one history.
    submit(&mut writer, &door, &[sign(20)]).unwrap();
    drop(writer);
    for publication in [Publication::AtOnce, Publication::Witnessed, Publication::AtOnce] {
        let (writer, _) = open_as(folder.path(), publication);
        assert_eq!(writer.store().log().published().head.size, head.size + 1);
        drop(writer);
        check(&Paths::new(folder.path())).unwrap();
    }
    assert_eq!(open(folder.path()).0.store().log().shown().head.size, head.size + 1);
}

#[test]
fn a_smaller_checkpoint_is_never_published_after_a_larger_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut network = Network::new(1);
    let door = door(&network);
    let (mut writer, _) = open_as(folder.path(), Publication::Witnessed);
    let mut shown = Vec::new();
    for n in 0..2 {
        let artifact = artifact("package", &format!("1.{n}"), "");
        submit(&mut writer, &door, &[network.nodes[0].sign(&artifact, identical(&artifact))]).unwrap();
        let published = writer.store().log().published();
        shown.push(Shown { head: published.head, note: published.note.clone() });
    }
    let store = writer.store();
    store.disk.arm(Point::Show, Fault::Failed);
    assert!(store.show(shown[0].clone()).is_err());
    assert_eq!(store.log().shown().head.size, 0, "what is not written is not handed out");
    for (show, size) in [(1, 3), (0, 3)] {
        store.show(shown[show].clone()).unwrap();
        assert_eq!(store.log().shown().head.size, size);
        assert_eq!(fs::read(Paths::new(folder.path()).checkpoint()).unwrap(), shown[1].note);
    }
    drop(writer);
    let (writer, _) = open_as(folder.path(), Publication::Witnessed);
    assert_eq!(writer.store().log().shown().note, shown[1].note);
}

#[test]
fn a_lost_index_with_unsettled_batches_is_rebuilt_too() {
    let folder = tempfile::tempdir().unwrap();
    let (mut network, _) = filled(folder.path());
    let door = door(&network);
    let (mut writer, _) = open(folder.path());
    let late = artifact("late", "1", "");
    let item = network.nodes[1].sign(&late, identical(&late));
    submit(&mut writer, &door, std::slice::from_ref(&item)).unwrap();
    let head = writer.store().log().published().head;
    drop(writer);
    // A power cut: what was not synced is garbage.
    let paths = Paths::new(folder.path());
    fs::remove_dir_all(paths.index()).unwrap();
    fs::write(paths.checkpoint(), b"").unwrap();
    for partial in [format!("tile/0/001.p/{}", head.size - 256), format!("tile/entries/001.p/{}", head.size - 256)] {
        fs::write(paths.log().join(partial), b"").unwrap();
    }
    let (writer, _) = open(folder.path());
    assert_eq!(writer.store().log().published().head, head);
    assert!(held(&writer, &item));
}

#[test]
fn a_log_without_any_checkpoint_is_never_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let paths = Paths::new(folder.path());
    fs::remove_dir_all(paths.index()).unwrap();
    fs::remove_file(paths.checkpoint()).unwrap();
    let signer = Signer::from_seed(ORIGIN.parse().unwrap(), &[7; 32]);
    let opened = Writer::open(paths, LogKey { origin: ORIGIN.parse().unwrap(), signer });
    assert!(matches!(opened, Err(StoreError::Resume(_))));
}

#[test]
fn an_index_that_is_older_than_the_log_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (mut network, _) = filled(folder.path());
    let paths = Paths::new(folder.path());
    let old = folder.path().join("backup");
    copy(&paths.index(), &old);
    let (mut writer, _) = open(folder.path());
    let late = artifact("late", "1", "");
    let item = network.nodes[1].sign(&late, identical(&late));
    submit(&mut writer, &door(&network), &[item]).unwrap();
    writer.settle().unwrap();
    drop(writer);
    fs::remove_dir_all(paths.index()).unwrap();
    fs::rename(old, paths.index()).unwrap();
    let signer = Signer::from_seed(ORIGIN.parse().unwrap(), &[7; 32]);
    let opened = Writer::open(paths, LogKey { origin: ORIGIN.parse().unwrap(), signer });
    assert!(matches!(opened, Err(StoreError::Resume(_))));
}

#[test]
fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (_writer, _) = open(folder.path());
    let signer = Signer::from_seed(ORIGIN.parse().unwrap(), &[7; 32]);
    let opened = Writer::open(Paths::new(folder.path()), LogKey { origin: ORIGIN.parse().unwrap(), signer });
    assert!(matches!(opened, Err(StoreError::Locked(_))));
}

#[test]
fn a_damaged_stage_file_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut network = Network::new(1);
    let door = door(&network);
    let (mut writer, _) = open(folder.path());
    let click = artifact("click", "8.1.8", "");
    let item = network.nodes[0].sign(&click, identical(&click));
    writer.store().disk.arm(Point::Commit, Fault::Failed);
    assert!(submit(&mut writer, &door, &[item]).is_err());
    drop(writer);
    let paths = Paths::new(folder.path());
    let stage = fs::read_dir(paths.stage()).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&stage).unwrap();
    bytes[100] ^= 1;
    fs::write(&stage, bytes).unwrap();
    let signer = Signer::from_seed(ORIGIN.parse().unwrap(), &[7; 32]);
    let opened = Writer::open(paths, LogKey { origin: ORIGIN.parse().unwrap(), signer });
    assert!(matches!(opened, Err(StoreError::Stage(_))));
}

/// All rows of the index, fresh and folded.
fn rows_of(writer: &Writer) -> Vec<(Vec<u8>, Vec<u8>)> {
    writer.store().index.scan(b"", Order::Ascending).collect::<Result<_, _>>().unwrap()
}

#[test]
fn rows_that_were_not_folded_are_derived_again_row_for_row() {
    let folder = tempfile::tempdir().unwrap();
    let (mut network, _) = filled(folder.path());
    let door = door(&network);
    let (mut writer, _) = open(folder.path());
    for n in 0..40 {
        // A slot that has rows on disk, and one that has none.
        for about in [artifact("package", &format!("1.{n}"), ""), artifact("late", &format!("1.{n}"), "")] {
            let items = network.nodes.iter_mut().skip(1).map(|node| node.sign(&about, identical(&about))).collect::<Vec<_>>();
            submit(&mut writer, &door, &items).unwrap();
        }
        if n == 20 {
            writer.store().index.freeze();
            writer.store().index.fold(&writer.store().disk, writer.log.size()).unwrap();
        }
    }
    assert!(writer.store().index.fresh_rows() > 100);
    let before = rows_of(&writer);
    writer.recover().unwrap();
    assert!(rows_of(&writer) == before, "by the process itself");
    assert_eq!(writer.store().index.fresh_rows(), 0);
    let items: Vec<_> =
        network.nodes.iter_mut().skip(1).map(|node| node.sign(&artifact("last", "1", ""), fixture::build_failed())).collect();
    submit(&mut writer, &door, &items).unwrap();
    let before = rows_of(&writer);
    drop(writer);
    check(&Paths::new(folder.path())).unwrap();
    assert!(rows_of(&open(folder.path()).0) == before, "by a restart");
}

#[test]
fn evidence_that_was_kept_just_before_a_kill_is_indexed_once_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut network = Network::new(1);
    let door = door(&network);
    let (mut writer, _) = open(folder.path());
    let about = artifact("click", "8.1.8", "");
    let provenance = network.nodes[0].provenance(&about);
    let item = network.nodes[0].sign(&about, identical(&about));
    submit(&mut writer, &door, &[item]).unwrap();
    writer.settle().unwrap();
    assert!(writer.keep_blobs(&[provenance, fixture::inventory()]).iter().all(Result::is_ok));
    let before = rows_of(&writer);
    drop(writer);
    let (mut writer, _) = open(folder.path());
    assert_eq!(writer.adopt_blobs().unwrap(), 2);
    assert!(rows_of(&writer) == before);
}

#[test]
fn a_lost_stage_file_whose_rows_were_not_folded_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (mut network, _) = filled(folder.path());
    let door = door(&network);
    let (mut writer, _) = open(folder.path());
    let late = artifact("late", "1", "");
    let item = network.nodes[1].sign(&late, identical(&late));
    submit(&mut writer, &door, &[item]).unwrap();
    drop(writer);
    let paths = Paths::new(folder.path());
    fs::remove_dir_all(paths.stage()).unwrap();
    assert!(check(&paths).is_err());
    let signer = Signer::from_seed(ORIGIN.parse().unwrap(), &[7; 32]);
    let opened = Writer::open(paths, LogKey { origin: ORIGIN.parse().unwrap(), signer });
    assert!(matches!(opened, Err(StoreError::Resume(_))));
}

#[test]
fn an_operator_is_exposed_once_however_many_of_its_nodes_are_caught() {
    let folder = tempfile::tempdir().unwrap();
    let mut network = Network::new(1);
    let door = door(&network);
    let (mut writer, _) = open(folder.path());
    let about = artifact("click", "8.1.8", "");
    let mut exposed = Vec::new();
    for node in 0..3 {
        let mut honest = fixture::Node::new(0, node, network.now);
        let mut liar = fixture::Node::new(0, node, network.now);
        let pair = [honest.sign(&about, identical(&about)), liar.sign(&about, fixture::build_failed())];
        let mut batch = writer.batch();
        for item in pair {
            batch.offer(door.check(item, fixture::now()).unwrap()).unwrap();
        }
        let parts = batch.into_parts();
        let durable = writer.commit(parts).unwrap();
        exposed.push(writer.publish(vec![durable]).unwrap()[0].exposed.len());
    }
    assert_eq!(exposed, [1, 0, 0]);
    assert_eq!(writer.store().equivocations().len(), 1);
    let operators = BTreeSet::from([network.nodes.remove(0).root.operator_id()]);
    let slots = writer.slots_beside(&operators).unwrap();
    assert_eq!(slots.keys().copied().collect::<Vec<_>>(), [SlotKey::of(&about.slot)]);
    drop(writer);
    assert_eq!(open(folder.path()).0.store().equivocations().len(), 1);
}

#[test]
fn a_question_that_costs_too_much_is_cut_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let (writer, _) = open(folder.path());
    let store = writer.store();
    let about = artifact("package", "1.7", "");
    let parts = [
        AffectedQuery { purl: Some("pkg:pypi/package".parse().unwrap()), ..AffectedQuery::default() },
        AffectedQuery { digest: Some(about.digest), ..AffectedQuery::default() },
        AffectedQuery { tool: Some("Flit_Core".into()), ..AffectedQuery::default() },
    ];
    for query in parts {
        let query = AffectedQuery { limit: 1_000, ..query };
        let whole = store.affected(&query).unwrap();
        assert!(!whole.truncated && whole.results.len() >= 3, "{query:?}");
        let cut = store.affected_within(&query, &Budget::of(2)).unwrap();
        assert!(cut.truncated && cut.results.len() <= 2, "{query:?}");
    }
}

#[test]
fn nobody_crowds_out_the_evidence_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let mut network = Network::new(2);
    let door = door(&network);
    let (mut writer, _) = open(folder.path());
    let about = artifact("click", "8.1.8", "");
    let provenance = network.nodes[0].provenance(&about);
    let inventory = fixture::inventory();
    let claimed = [Digest::of(&provenance), Digest::of(&inventory)];
    // Another operator names both files as its own provenances, often and first.
    let flood: Vec<_> = (0..70)
        .flat_map(|_| claimed)
        .map(|claimed| network.nodes[1].sign_with(&about, identical(&about), |result| result.provenance = Some(claimed)))
        .collect();
    submit(&mut writer, &door, &flood).unwrap();
    let honest = network.nodes[0].sign(&about, identical(&about));
    submit(&mut writer, &door, &[honest]).unwrap();
    assert!(matches!(writer.store().glance(&provenance), Ok(Glance::Wanted)));
    let kept = writer.keep_blobs(&[provenance.clone(), inventory.clone()]);
    assert!(kept.iter().all(Result::is_ok), "{kept:?}");
    for (query, found) in [("packaging", 1), ("xz-utils", 141)] {
        let query = AffectedQuery { tool: Some(query.into()), limit: 1_000, ..AffectedQuery::default() };
        assert_eq!(writer.store().affected(&query).unwrap().results.len(), found);
    }
    // What is held already, and what nobody names, is answered without the writer.
    assert!(matches!(writer.store().glance(&provenance), Ok(Glance::Held(_))));
    assert!(matches!(writer.store().glance(b"nobody names this"), Err(BlobRefused::Unnamed(_))));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &target) } else { fs::copy(entry.path(), target).map(drop).unwrap() }
    }
}

/// What a feed is, in one number a node.
#[derive(Default)]
struct Model {
    next: [u64; 2],
}

impl Model {
    fn offer(&mut self, node: usize, sequence: u64) -> Accepted {
        let next = &mut self.next[node];
        match sequence.cmp(next) {
            std::cmp::Ordering::Less => Accepted::Duplicate,
            std::cmp::Ordering::Greater => Accepted::Gap { expected: *next },
            std::cmp::Ordering::Equal => {
                *next += 1;
                Accepted::New
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_order_and_any_batches_are_decided_as_a_naive_model_does(
        offers in prop::collection::vec((0..2_usize, 0..6_u64), 1..60),
        batch in 1..9_usize,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut network = Network::new(2);
        let door = door(&network);
        let (mut writer, _) = open(folder.path());
        let about = artifact("click", "8.1.8", "");
        let feeds: Vec<Vec<_>> =
            network.nodes.iter_mut().map(|node| (0..6).map(|_| node.sign(&about, identical(&about))).collect()).collect();
        let mut model = Model::default();
        for offers in offers.chunks(batch) {
            let items: Vec<_> = offers.iter().map(|(node, sequence)| feeds[*node][usize::try_from(*sequence).unwrap()].clone()).collect();
            let expected: Vec<_> = offers.iter().map(|(node, sequence)| model.offer(*node, *sequence)).collect();
            prop_assert_eq!(submit(&mut writer, &door, &items).unwrap(), expected);
        }
        let results = writer.store().results(SlotKey::of(&about.slot), u64::MAX).unwrap().results;
        prop_assert_eq!(results.len() as u64, model.next.iter().sum::<u64>());
        drop(writer);
        prop_assert!(check(&Paths::new(folder.path())).is_ok());
    }
}
