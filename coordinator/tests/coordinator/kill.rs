//! `kill -9` at many seeded moments: nothing acknowledged is lost, no size has two roots.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use quorate_proto::api::submit_outcome::Status as Outcome;
use quorate_proto::verified::FeedItem;
use quorate_proto::{ArtifactId, api};
use quorate_tlog::merkle::consistency_tiles;
use quorate_tlog::{Hash, MemoryTiles, TreeHead, TreeView};
use tonic::Code;

use crate::fixture::{Network, artifact, backdoored, identical};
use crate::harness::{PATIENCE, Place, Running};

const ROUNDS: u64 = 14;
const ARTIFACTS: u64 = 40;

/// A seeded sequence of numbers (xorshift): the moments of killing.
struct Seed(u64);

impl Seed {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A client that submits without end, and what it was told.
struct Submitter {
    network: Network,
    seed: Seed,
    /// Signed and not acknowledged, in the order of their feeds.
    pending: Vec<FeedItem>,
    acknowledged: BTreeMap<u64, BTreeSet<Vec<u8>>>,
    about: BTreeMap<Vec<u8>, u64>,
    roots: BTreeMap<u64, Hash>,
}

impl Submitter {
    fn sign_more(&mut self) {
        for _ in 0..=self.seed.below(30) {
            let number = self.seed.below(ARTIFACTS);
            let about = artifact("package", &format!("1.{number}"), "");
            let node = usize::try_from(self.seed.below(5)).unwrap();
            let outcome = if number.is_multiple_of(7) { backdoored(&about, None) } else { identical(&about) };
            let item = self.network.nodes[node].sign(&about, outcome);
            self.about.insert(item.envelope.clone(), number);
            self.pending.push(item);
        }
    }

    /// One submission. An error means that the process is gone: everything is handed in again later.
    async fn step(&mut self, running: &mut Running) -> Result<(), tonic::Status> {
        if self.pending.is_empty() {
            self.sign_more();
        }
        let outcomes = running.submit(&self.pending).await?;
        for (item, outcome) in self.pending.drain(..).zip(outcomes) {
            assert!(matches!(outcome.status(), Outcome::Accepted | Outcome::Duplicate), "{outcome:?}");
            self.acknowledged.entry(self.about[&item.envelope]).or_default().insert(item.envelope);
        }
        let note = running.client.get_checkpoint(api::GetCheckpointRequest {}).await?.into_inner().note;
        let seen = *quorate_tlog::Checkpoint::open(&note, &running.vkey).unwrap().head();
        let root = self.roots.entry(seen.size).or_insert(seen.root);
        assert_eq!(*root, seen.root, "two roots for size {}", seen.size);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_moment_loses_nothing_acknowledged_and_never_shows_two_roots() {
    let network = Network::new(5);
    let place = Place::new(&network.policy(3));
    let mut submitter = Submitter {
        network,
        seed: Seed(0x5eed_0000_0001),
        pending: Vec::new(),
        acknowledged: BTreeMap::new(),
        about: BTreeMap::new(),
        roots: BTreeMap::new(),
    };
    for round in 0..ROUNDS {
        let mut running = place.start().await;
        let moment = Duration::from_millis(submitter.seed.below(400));
        let began = Instant::now();
        // The kill falls between any two instructions of the process, also in the middle of a request.
        let killed = tokio::time::timeout(moment, async { while submitter.step(&mut running).await.is_ok() {} });
        assert!(killed.await.is_err(), "round {round}: it stopped by itself after {:?}", began.elapsed());
        running.kill();
        place.check().unwrap_or_else(|error| panic!("round {round}: {error}"));
    }

    let mut running = place.start().await;
    submitter.step(&mut running).await.unwrap();
    let last = running.quiet().await;
    let mut acknowledged = 0;
    for (number, envelopes) in &submitter.acknowledged {
        let about = artifact("package", &format!("1.{number}"), "");
        let request = api::ListResultsRequest { artifact: about.digest.to_string(), ..Default::default() };
        let listed = running.client.list_results(request).await.unwrap().into_inner().items;
        let held: BTreeSet<Vec<u8>> = listed.iter().map(|item| item.envelope.to_vec()).collect();
        assert_eq!(listed.len(), held.len(), "a result stands twice");
        assert!(envelopes.is_subset(&held), "an acknowledged result of {number} is lost");
        acknowledged += envelopes.len();
        assert!(!verdict_on(&mut running, &about).await.is_empty());
    }
    assert!(acknowledged > 100, "only {acknowledged} results were acknowledged: the test is too short");
    for (size, root) in &submitter.roots {
        verify_consistency(&mut running, &TreeHead { size: *size, root: *root }, &last).await;
    }
    running.stop();
    let report = place.check().unwrap();
    assert!(report.contains("0 unsettled"), "{report}");
}

/// As a stranger would: only tiles that are served, checked against the checkpoints that were seen.
/// The verdict on an artifact, once it was made.
async fn verdict_on(running: &mut Running, about: &ArtifactId) -> Vec<u8> {
    let until = Instant::now() + PATIENCE;
    loop {
        let request = api::GetVerdictRequest { artifact: about.digest.to_string(), ..Default::default() };
        match running.client.get_verdict(request).await {
            Ok(verdict) => return verdict.into_inner().envelope.to_vec(),
            Err(status) => assert!(status.code() == Code::NotFound && Instant::now() < until, "{status}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// As a stranger would: only tiles that are served, checked against the checkpoints that were seen.
pub(crate) async fn verify_consistency(running: &mut Running, old: &TreeHead, new: &TreeHead) {
    let mut tiles = MemoryTiles::default();
    for path in consistency_tiles(old.size, new.size) {
        let request = api::GetTileRequest { path: path.path() };
        let content = running.client.get_tile(request).await.unwrap().into_inner().content;
        tiles.0.insert(path, content.to_vec());
    }
    let view = TreeView::new(*new, &tiles).unwrap();
    let (seen, proof) = view.consistency(old.size).unwrap();
    assert_eq!(seen.root, old.root, "size {} has another root now", old.size);
    proof.verify(old, new).unwrap();
}
