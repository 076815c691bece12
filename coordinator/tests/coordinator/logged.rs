//! Whether an entry of a feed is in the log: answered with a proof, or with a checkpoint that does not have it.
#![expect(clippy::unwrap_used, reason = "tests")]

use quorate_proto::api::{EntryProofView, ProveEntryRequest};
use quorate_tests::{Member, artifact, identical, policy};
use quorate_tlog::{Checkpoint, TlogProof};
use tonic::Code;

use crate::harness::{Place, Running};

async fn prove(running: &mut Running, node: &[u8], sequence: u64) -> Result<EntryProofView, tonic::Status> {
    let request = ProveEntryRequest { node: node.to_vec().into(), sequence };
    running.client.prove_entry(request).await.map(tonic::Response::into_inner)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_proven_to_its_owner_and_what_is_not_there_is_said_with_a_checkpoint() {
    let mut member = Member::new(1);
    let place = Place::new(&policy(1, [&member]));
    let mut running = place.start().await;
    let file = artifact("package", "1.0", b"content");
    let items = [member.says(&file, identical(&file)), member.says(&file, identical(&file))];
    running.submit(&items).await.unwrap();
    running.quiet().await;
    let node = *member.node().as_bytes();
    for (sequence, item) in (0..).zip(&items) {
        let view = prove(&mut running, &node, sequence).await.unwrap();
        let proof = TlogProof::parse(&view.proof).unwrap();
        proof.verify(&item.envelope, &place.vkey).unwrap();
        let other = &items[1 - usize::try_from(sequence).unwrap()];
        assert!(proof.verify(&other.envelope, &place.vkey).is_err());
    }
    let stranger = *Member::new(2).node().as_bytes();
    for (node, sequence) in [(node, 2), (node, u64::MAX), (stranger, 0)] {
        let view = prove(&mut running, &node, sequence).await.unwrap();
        assert!(view.proof.is_empty() && Checkpoint::open(&view.note, &place.vkey).unwrap().size() > 2);
    }
    assert_eq!(prove(&mut running, &node[1..], 0).await.unwrap_err().code(), Code::InvalidArgument);
    running.stop();
}
