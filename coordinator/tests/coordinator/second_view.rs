//! What a coordinator makes of checkpoints that are said to be its log's: it has the trees, and asks nobody.
#![expect(clippy::unwrap_used, reason = "tests")]

use quorate_coordinator::daemon::Core;
use quorate_coordinator::mesh::MeshStore;
use quorate_gossip::{Accepted, FeedStore as _};
use quorate_proto::wire::Notice;
use quorate_tlog::{Checkpoint, LogEquivocation, Signer, Tree, leaf_hash};

use crate::fixture::{Network, artifact, identical};
use crate::limits::{core, until};

const ORIGIN: &str = "quorate.example/test";

fn signer() -> Signer {
    Signer::from_seed(ORIGIN.parse().unwrap(), &[7; 32])
}

/// A tree that the log has never had, signed with its key.
fn second_view(size: u64) -> Notice {
    let leaves: Vec<_> = (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect();
    let head = Tree::new().append(&leaves).unwrap().tree.head();
    let note = Checkpoint::new(ORIGIN.parse().unwrap(), head).unwrap().sign(&signer()).unwrap();
    Notice::Checkpoint(note.to_string().into_bytes())
}

fn mesh_of(core: &Core, network: &Network) -> MeshStore {
    let enrolled = network.nodes.iter().map(|node| node.root.operator_id()).collect();
    MeshStore::new(core.app.ingest.clone(), enrolled, signer().verifier())
}

async fn checkpoints_and_proofs(mesh: &MeshStore) -> (usize, Vec<LogEquivocation>) {
    let told = mesh.notices().await;
    let proof = |notice: &Notice| if let Notice::LogEquivocation(proof) = notice { Some(proof.clone()) } else { None };
    let proofs = told.iter().filter_map(|told| proof(&told.notice)).map(|proof| LogEquivocation::parse(&proof).unwrap());
    (told.iter().filter(|told| matches!(told.notice, Notice::Checkpoint(_))).count(), proofs.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_trees_go_together_and_a_smaller_one_of_another_history_convicts_its_key_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut network = Network::new(2);
    let core = core(folder.path(), network.policy(2)).await;
    let mesh = mesh_of(&core, &network);
    let about = artifact("click", "8.1.8", "");
    for n in 0..2 {
        assert_eq!(checkpoints_and_proofs(&mesh).await, (1, Vec::new()));
        let item = network.nodes[n].sign(&about, identical(&about));
        assert_eq!(core.app.ingest.accept(vec![item]).await, [Accepted::New]);
    }
    let store = core.app.store();
    until("no verdict", || store.verdict(&about).unwrap().is_some_and(|view| view.verdict.agree == 2)).await;
    assert_eq!(checkpoints_and_proofs(&mesh).await, (1, Vec::new()));
    assert_eq!(mesh.accept_notice(second_view(2)).await, Accepted::New);
    let (_, proofs) = checkpoints_and_proofs(&mesh).await;
    assert!(proofs[0].verify(signer().verifier()).is_ok());
    drop(mesh);
    tokio::task::spawn_blocking(move || core.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_larger_tree_that_it_does_not_have_is_told_beside_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::new(1);
    let core = core(folder.path(), network.policy(1)).await;
    let mesh = mesh_of(&core, &network);
    assert_eq!(checkpoints_and_proofs(&mesh).await, (1, Vec::new()));
    assert_eq!(mesh.accept_notice(second_view(1000)).await, Accepted::New);
    assert_eq!(checkpoints_and_proofs(&mesh).await, (2, Vec::new()));
    drop(mesh);
    tokio::task::spawn_blocking(move || core.stop()).await.unwrap();
}
