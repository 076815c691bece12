//! Witnesses: nothing is published that too few have cosigned, and two histories never both have enough.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::convert::Infallible;
use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use quorate_proto::bundle::Bundle;
use quorate_tlog::witness::WitnessError;
use quorate_tlog::{AddCheckpoint, Cosigner, CosignerKey, SignedNote, TlogPolicy, TlogProof, VerifierKey, Witness};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::fixture::{Network, artifact, identical};
use crate::harness::{PATIENCE, Place, Running};

/// A witness with the core that nodes have, which answers nobody before it is told to.
struct Stand {
    name: String,
    cosigner: CosignerKey,
    witness: Arc<Mutex<Witness>>,
    address: std::net::SocketAddr,
    up: Arc<AtomicBool>,
    serving: JoinHandle<()>,
}

impl Stand {
    async fn new(n: u8, log: &VerifierKey) -> Self {
        let name = format!("w{n}");
        let cosigner = Cosigner::from_seed(format!("witness.example/{name}").parse().unwrap(), &[50 + n; 32]);
        let key = cosigner.verifier().clone();
        let witness = Arc::new(Mutex::new(Witness::new(cosigner, std::slice::from_ref(log)).unwrap()));
        let up = Arc::new(AtomicBool::new(false));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, awake) = (Arc::clone(&witness), Arc::clone(&up));
        let add = move |body: String| async move {
            if awake.load(Ordering::SeqCst) { answer(&asked, &body) } else { StatusCode::SERVICE_UNAVAILABLE.into_response() }
        };
        let router = Router::new().route("/add-checkpoint", post(add));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { name, cosigner: key, witness, address, up, serving }
    }

    async fn three(log: &VerifierKey) -> Vec<Self> {
        vec![Self::new(1, log).await, Self::new(2, log).await, Self::new(3, log).await]
    }

    fn wake(&self) {
        self.up.store(true, Ordering::SeqCst);
    }

    fn sleep(&self) {
        self.up.store(false, Ordering::SeqCst);
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn answer(witness: &Mutex<Witness>, body: &str) -> Response {
    let Ok(request) = AddCheckpoint::parse(body.as_bytes()) else { return StatusCode::BAD_REQUEST.into_response() };
    match witness.lock().unwrap().add_checkpoint::<Infallible>(&request, 1_700_000_000, |_| Ok(())) {
        Ok(line) => format!("{line}\n").into_response(),
        Err(WitnessError::Conflict { size }) => (StatusCode::CONFLICT, format!("{size}\n")).into_response(),
        Err(error) => StatusCode::from_u16(error.status()).unwrap().into_response(),
    }
}

/// The policy of `threshold` of these witnesses.
fn policy(witnesses: &[Stand], threshold: usize) -> String {
    let mut text = String::new();
    for witness in witnesses {
        writeln!(text, "witness {} {} http://{}", witness.name, witness.cosigner, witness.address).unwrap();
    }
    let names: Vec<_> = witnesses.iter().map(|witness| witness.name.as_str()).collect();
    writeln!(text, "group enough {threshold} {}\nquorum enough", names.join(" ")).unwrap();
    text
}

fn ask_witnesses(place: &Place, policy: &str) {
    fs::write(place.folder.path().join("witnesses.policy"), policy).unwrap();
    let path = place.folder.path().join("coordinator.toml");
    let section = "\n[witnesses]\npolicy = \"witnesses.policy\"\ntimeout_ms = 2000\nrecosign_seconds = 1\n";
    fs::write(&path, fs::read_to_string(&path).unwrap() + section).unwrap();
}

/// The published checkpoint, if there is one.
async fn published(running: &Running) -> Option<SignedNote> {
    let (status, body) = running.get("/checkpoint").await;
    (status == 200).then(|| SignedNote::parse(&body).unwrap())
}

async fn await_published(running: &Running, fits: impl Fn(&SignedNote) -> bool) -> SignedNote {
    let began = Instant::now();
    loop {
        if let Some(note) = published(running).await.filter(|note| fits(note)) {
            return note;
        }
        assert!(began.elapsed() < PATIENCE, "the checkpoint is not published");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_published_once_a_quorum_has_cosigned_it_and_results_do_not_wait() {
    let mut network = Network::new(3);
    let place = Place::new(&network.policy(2));
    let witnesses = Stand::three(&place.vkey).await;
    let text = policy(&witnesses, 2);
    ask_witnesses(&place, &text);
    let mut running = place.start().await;
    let click = artifact("click", "8.1.8", "");
    let items: Vec<_> = network.nodes.iter_mut().map(|node| node.sign(&click, identical(&click))).collect();
    let outcomes = running.submit(&items).await.unwrap();
    assert_eq!(outcomes.len(), 3);
    running.await_state(&click.digest, "reproduced").await;

    // One of two is too few: nothing is published, and the bundle proves nothing.
    witnesses[0].wake();
    assert!(published(&running).await.is_none());
    let bundle_of = async |running: &Running| {
        let (status, body) = running.get(&format!("/api/v1/artifacts/{}/bundle", click.digest)).await;
        assert_eq!(status, 200);
        Bundle::parse(&body).unwrap()
    };
    assert_eq!(bundle_of(&running).await.proof, "");

    witnesses[2].wake();
    let parsed = TlogPolicy::parse(text.as_bytes()).unwrap();
    await_published(&running, |note| parsed.accept_of(&place.vkey, note).is_ok()).await;
    let began = Instant::now();
    let bundle = loop {
        let bundle = bundle_of(&running).await;
        if !bundle.proof.is_empty() {
            break bundle;
        }
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let proof = TlogProof::parse(bundle.proof.as_bytes()).unwrap();
    proof.verify(bundle.verdict.as_bytes(), &place.vkey).unwrap();
    assert_eq!(parsed.accept_of(&place.vkey, proof.checkpoint()).unwrap().cosignatures.len(), 2);

    // The witnesses go away: what was published stays, results are acknowledged; after a restart too.
    let before = published(&running).await.unwrap();
    witnesses.iter().for_each(Stand::sleep);
    let late = artifact("late", "1", "");
    let items: Vec<_> = network.nodes.iter_mut().map(|node| node.sign(&late, identical(&late))).collect();
    running.submit(&items).await.unwrap();
    running.await_state(&late.digest, "reproduced").await;
    assert_eq!(published(&running).await.unwrap().unverified_text(), before.unverified_text());
    running.kill();
    place.check().unwrap();
    let running = place.start().await;
    assert_eq!(published(&running).await.unwrap().unverified_text(), before.unverified_text());

    // They come back, and stand where they stood.
    witnesses.iter().for_each(Stand::wake);
    let after = await_published(&running, |note| note.unverified_text() != before.unverified_text()).await;
    assert!(parsed.accept_of(&place.vkey, &after).is_ok());
    // All three, at last: the slow ones are added to what is published.
    await_published(&running, |note| note.signatures().len() == 4).await;
    running.stop();
    place.check().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_coordinators_with_one_key_and_two_histories_never_both_publish() {
    let mut network = Network::new(2);
    let (first, second) = (Place::new(&network.policy(1)), Place::new(&network.policy(1)));
    fs::copy(first.data().join("log.key"), second.data().join("log.key")).unwrap();
    let second = Place { vkey: first.vkey.clone(), ..second };
    let witnesses = Stand::three(&first.vkey).await;
    let text = policy(&witnesses, 2);
    for place in [&first, &second] {
        ask_witnesses(place, &text);
    }
    let (mut one, mut two) = (first.start().await, second.start().await);
    for (running, node, name) in [(&mut one, 0, "click"), (&mut two, 1, "black")] {
        let about = artifact(name, "1.0", "");
        let item = network.nodes[node].sign(&about, identical(&about));
        running.submit(&[item]).await.unwrap();
        running.await_state(&about.digest, "reproduced").await;
    }
    witnesses.iter().for_each(Stand::wake);
    // Each of the three witnesses follows the history that it saw first. Once all stand somewhere, nobody moves.
    let began = Instant::now();
    let stands = |witness: &Stand| {
        let origin = "quorate.example/test".parse().unwrap();
        let held = witness.witness.lock().unwrap();
        held.by_origin_hash(&quorate_tlog::witness::origin_hash(&origin)).map(|record| *record.checkpoint().head())
    };
    while witnesses.iter().any(|witness| stands(witness).is_none()) {
        assert!(began.elapsed() < PATIENCE, "a witness was never asked");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for _ in 0..3 {
        let notes = [published(&one).await, published(&two).await];
        assert!(notes.iter().any(Option::is_none), "two histories are published: {notes:?}");
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_that_nobody_can_reach_is_refused_at_the_start() {
    let network = Network::new(1);
    let place = Place::new(&network.policy(1));
    let witness = Stand::new(1, &place.vkey).await;
    let without_address = format!("witness w {}\nquorum w\n", witness.cosigner);
    let foreign = quorate_tlog::Signer::from_seed("other.example".parse().unwrap(), &[9; 32]);
    let other_log = format!("log {}\n{}", foreign.verifier(), policy(std::slice::from_ref(&witness), 1));
    for (text, said) in [(without_address, "cannot be met"), (other_log, "not among them"), ("quorum x\n".to_owned(), "not defined")] {
        let place = Place::new(&network.policy(1));
        ask_witnesses(&place, &text);
        let config = place.folder.path().join("coordinator.toml");
        let ended = crate::harness::binary().args(["run", "--config"]).arg(config).output().unwrap();
        let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success() && stderr.contains(said), "{stderr}");
    }
}
