//! Witnesses as real processes: a foreign one of our log, and ours under `kill -9`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quorate_proto::bundle::Bundle;
use quorate_tlog::witness::origin_hash;
use quorate_tlog::{
    AddCheckpoint, Checkpoint, CosignerKey, Hash, MemoryTiles, NoteSignature, SignedNote, Signer, TlogProof, Tree, TreeView, leaf_hash,
};

use crate::bench::Judge;
use crate::network::{Cosigning, Network, ORIGIN, Release, text};
use crate::programs::{Daemon, http, quorate, until};

/// `aics-witness` as a process.
struct Foreign {
    child: Child,
    cosigning: Cosigning,
}

impl Foreign {
    /// A witness of the network's log, in a folder of the network.
    fn start(network: &Network) -> Self {
        let config = network.path("aics.json");
        let config = text(&config);
        let tool = |arguments: &[&str]| {
            let output = Judge::AicsWitness.command().args(arguments).output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        let said = tool(&["init", "--config", config, "--name", "aics.example/witness", "--listen", "127.0.0.1:0"]);
        let vkey = said.lines().find(|line| line.starts_with("aics.example/witness+")).unwrap_or_else(|| panic!("{said}")).to_owned();
        tool(&["add-log", "--config", config, "--origin", ORIGIN, "--vkey", &network.vkey]);
        let (child, url) = serve(config, "127.0.0.1:0");
        Self { child, cosigning: Cosigning { name: "aics".to_owned(), vkey, url } }
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Serves again where it served before.
    fn again(&mut self, network: &Network) {
        let address = self.cosigning.url.strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
        self.child = serve(text(&network.path("aics.json")), &address).0;
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts it, and reads from its log where it listens.
fn serve(config: &str, listen: &str) -> (Child, String) {
    let mut command = Judge::AicsWitness.command();
    command.args(["serve", "--config", config, "--listen", listen]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find(|line| line.contains("listening on ")).expect("it says where it listens");
    let url = line.split("listening on ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    std::thread::spawn(move || lines.for_each(drop));
    (child, url)
}

#[test]
fn a_foreign_witness_cosigns_our_log_and_our_client_counts_it() {
    if Judge::AicsWitness.summon().is_none() {
        return;
    }
    let mut network = Network::new(3);
    network.start_nodes();
    let mut foreign = Foreign::start(&network);
    let witnesses = [foreign.cosigning.clone(), network.nodes[0].cosigning()];
    network.start_coordinator(&witnesses, 2);

    let first = Release::new("first");
    network.release(&first);
    let bundle = network.bundle(&first);
    let policy = network.policy();
    let (code, said) = quorate(&["verify", "--bundle", &bundle, "--policy", &policy]);
    assert!(code == 0 && said.contains("cosigned by aics, alpha"), "{said}");

    // It keeps what it cosigned, and says so in the protocol's words; our monitor compares it with the log.
    let (code, said) =
        quorate(&["monitor", "--once", "--server", &network.address(), "--policy", &policy, "--witness", &foreign.cosigning.url]);
    assert!(code == 0 && said.contains("is a beginning of it"), "{said}");

    // Without it too few are left: what is new is not published until it is back.
    foreign.stop();
    let second = Release::new("second");
    network.release(&second);
    let path = network.path("early.quorate");
    until("the second verdict", || (network.try_bundle(&second, &path).0 == 3).then_some(()));
    let published = || http("GET", &format!("{}/checkpoint", network.address()), "").unwrap().1;
    let before = published();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(published().lines().nth(1), before.lines().nth(1), "published without its quorum");
    foreign.again(&network);
    network.bundle(&second);

    // What our coordinator would never send, it refuses: another history, signed by the log's own key.
    let seed = fs::read_to_string(network.path("coordinator/log.key")).unwrap();
    let seed: Vec<u8> = (0..32).map(|i| u8::from_str_radix(&seed.trim()[2 * i..2 * i + 2], 16).unwrap()).collect();
    let signer = Signer::from_seed(ORIGIN.parse().unwrap(), &seed.try_into().unwrap());
    assert_eq!(signer.verifier().to_string(), network.vkey);
    let size = until("the foreign witness to stand still", || {
        let hash = origin_hash(&ORIGIN.parse().unwrap());
        let (status, note) = http("GET", &format!("{}/{hash}/checkpoint", foreign.cosigning.url.trim_end_matches('/')), "")?;
        (status == 200).then(|| note.lines().nth(1).unwrap().parse::<u64>().unwrap())
    });
    let forged = History::new("forged", size + 3).request(&signer, ORIGIN, size, size + 3);
    let (status, said) = http("POST", &format!("{}/add-checkpoint", foreign.cosigning.url.trim_end_matches('/')), &forged).unwrap();
    assert!(matches!(status, 409 | 422), "{status} {said}");
}

#[test]
fn a_bundle_holds_the_cosignatures_of_real_nodes_and_is_refused_when_they_are_cut() {
    let mut network = Network::new(4);
    network.start_nodes();
    let cosigners = network.cosigners();
    network.start_coordinator(&cosigners, 3);
    let release = Release::new("sample");
    network.release(&release);
    let bundle = network.bundle(&release);
    network.coordinator = None;
    network.nodes.iter_mut().for_each(|node| node.daemon = None);

    let verify = |bundle: &str| quorate(&["verify", "--bundle", bundle, "--policy", &network.policy()]);
    let (code, said) = verify(&bundle);
    assert!(code == 0 && said.starts_with("reproduced") && said.contains("cosigned by alpha"), "{said}");

    // Cosignatures are cut until fewer than three are left.
    let whole = Bundle::parse(&fs::read(&bundle).unwrap()).unwrap();
    let keys: Vec<CosignerKey> = cosigners.iter().map(|cosigner| cosigner.vkey.parse().unwrap()).collect();
    for left in 0..=2 {
        let proof = TlogProof::parse(whole.proof.as_bytes()).unwrap();
        let cut = proof.checkpoint().clone().retaining(|line| keys.iter().skip(left).all(|key| !key.claims(line)));
        let proof = TlogProof::new(proof.inclusion().clone(), cut).unwrap().to_string();
        let path = network.path("cut.quorate");
        fs::write(&path, Bundle { proof, ..whole.clone() }.to_bytes()).unwrap();
        let (code, said) = verify(text(&path));
        assert!(code == 3 && said.contains("not by"), "{left} left: {said}");
    }
    // A line of a known witness that does not hold is no lack of evidence but a forgery, whatever the others say.
    let line = whole.proof.lines().find(|line| line.starts_with("\u{2014} alpha.quorate.example/witness ")).unwrap();
    let (head, tail) = line.split_at(line.len() - 20);
    let other = if tail.starts_with('A') { 'B' } else { 'A' };
    let proof = whole.proof.replacen(line, &format!("{head}{other}{}", &tail[1..]), 1);
    let path = network.path("forged.quorate");
    fs::write(&path, Bundle { proof, ..whole.clone() }.to_bytes()).unwrap();
    let (code, said) = verify(text(&path));
    assert!(code == 1 && said.contains("signature of alpha.quorate.example/witness"), "{said}");
}

/// Entries of a history, by its name; histories with one name have the same entries.
struct History {
    leaves: Vec<Hash>,
}

impl History {
    fn new(name: &str, size: u64) -> Self {
        Self { leaves: (0..size).map(|n| leaf_hash(format!("{name}{n}").as_bytes())).collect() }
    }

    /// The first `common` entries of this one, and then others up to `size`.
    fn forked(&self, common: u64, name: &str, size: u64) -> Self {
        let mut leaves = self.leaves[..usize::try_from(common).unwrap()].to_vec();
        leaves.extend((common..size).map(|n| leaf_hash(format!("{name}{n}").as_bytes())));
        Self { leaves }
    }

    fn root(&self, size: u64) -> Hash {
        quorate_tlog::merkle::root_over(&self.leaves[..usize::try_from(size).unwrap()])
    }

    /// What a log sends to a witness that stands at `old`.
    fn request(&self, log: &Signer, origin: &str, old: u64, size: u64) -> String {
        let appended = Tree::new().append(&self.leaves[..usize::try_from(size).unwrap()]).unwrap();
        let mut tiles = MemoryTiles::default();
        tiles.0.extend(appended.tiles.into_iter().map(|tile| (tile.path, tile.bytes)));
        let head = appended.tree.head();
        let (_, proof) = TreeView::new(head, &tiles).unwrap().consistency(old).unwrap();
        let note = Checkpoint::new(origin.parse().unwrap(), head).unwrap().sign(log).unwrap();
        AddCheckpoint::new(old, proof, note).to_string()
    }
}

/// Rounds of killing. In every third the kill falls at a seeded moment, else as soon as the new state is on disk.
const ROUNDS: u64 = 18;

#[test]
fn a_node_that_is_killed_between_keeping_and_answering_never_cosigns_two_trees_of_one_size() {
    let mut network = Network::new(1);
    let log = Signer::from_seed("killed.example/log".parse().unwrap(), &[5; 32]);
    let origin = "killed.example/log";
    let enrolled = fs::read_to_string(network.path("enrolled.toml")).unwrap();
    let policy = enrolled.split("[log]").next().unwrap();
    network.write("enrolled.toml", &format!("{policy}\n[log]\norigin = \"{origin}\"\nkey = \"{}\"\n", log.verifier()));
    let node = &mut network.nodes[0];
    let hash = origin_hash(&origin.parse().unwrap());
    let state = node.data().join("witness").join(&hash).join("checkpoint");

    let mut history = History::new("honest", 3);
    let (mut size, mut cosigned, mut kept_unanswered) = (0, BTreeMap::new(), 0);
    for round in 0..ROUNDS {
        node.start(&[]);
        let witness = node.cosigning();
        let key: CosignerKey = witness.vkey.parse().unwrap();
        let add = format!("{}/add-checkpoint", witness.url);
        let next = size + 1 + round % 3;
        history = history.forked(size, "honest", next);
        let request = history.request(&log, origin, size, next);

        // The kill, from another thread: the process is in the middle of the request.
        let before = fs::read(&state).unwrap_or_default();
        let moment = (round % 3 == 0).then(|| Duration::from_micros((round * 7919) % 4000));
        let (asked, daemon) = (AtomicBool::new(false), node.daemon.as_mut().unwrap());
        let answer = std::thread::scope(|scope| {
            scope.spawn(|| kill_in_time(daemon, &state, &before, moment, &asked));
            asked.store(true, Ordering::SeqCst);
            http("POST", &add, &request)
        });
        node.daemon = None;
        if let Some((200, line)) = &answer {
            record(&mut cosigned, &key, &request, line, history.root(next), next);
        }
        let kept = fs::read(&state).unwrap_or_default() != before;
        kept_unanswered += u64::from(kept && answer.is_none());

        // Another history of the same size, for which the old state would be as good.
        node.start(&[]);
        let witness = node.cosigning();
        let add = format!("{}/add-checkpoint", witness.url);
        let other = history.forked(size, "forged", next);
        let forged = other.request(&log, origin, size, next);
        let (status, line) = http("POST", &add, &forged).unwrap();
        assert_eq!(status == 200, !kept, "round {round}: the kept state does not decide: {status}");
        assert!(!(status == 200 && answer.is_some()), "round {round}: two trees of size {next} are cosigned");
        if status == 200 {
            record(&mut cosigned, &key, &forged, &line, other.root(next), next);
            history = other;
        }
        // What it shows is what it cosigned.
        let (status, shown) = http("GET", &format!("{}/{hash}/checkpoint", witness.url), "").unwrap();
        let shown = SignedNote::parse(shown.as_bytes()).unwrap();
        let checkpoint = Checkpoint::from_note(&shown, log.verifier()).unwrap();
        assert_eq!((status, checkpoint.size(), *checkpoint.root()), (200, next, history.root(next)), "round {round}");
        assert_eq!(shown.cosignatures(std::slice::from_ref(&key)).unwrap().len(), 1);
        assert_eq!(*cosigned.entry(next).or_insert(*checkpoint.root()), *checkpoint.root(), "round {round}");
        node.daemon = None;
        size = next;
    }
    eprintln!("killed {kept_unanswered} of {ROUNDS} times after keeping and before answering");
    assert!(kept_unanswered > 0, "no kill fell between keeping and answering");
}

/// Kills at a moment after the question, or once the state on disk is another.
fn kill_in_time(daemon: &mut Daemon, state: &std::path::Path, before: &[u8], moment: Option<Duration>, asked: &AtomicBool) {
    while !asked.load(Ordering::SeqCst) {
        std::hint::spin_loop();
    }
    let began = std::time::Instant::now();
    let is_time = || match moment {
        Some(moment) => began.elapsed() >= moment,
        None => fs::read(state).is_ok_and(|bytes| bytes != before) || began.elapsed() > Duration::from_secs(20),
    };
    while !is_time() {
        std::hint::spin_loop();
    }
    daemon.kill();
}

/// A cosignature left the node: it holds, and no other tree of this size has one.
fn record(cosigned: &mut BTreeMap<u64, Hash>, key: &CosignerKey, request: &str, line: &str, root: Hash, size: u64) {
    let note = AddCheckpoint::parse(request.as_bytes()).unwrap().note().clone();
    let lines = NoteSignature::parse_lines(line).unwrap();
    let note = lines.into_iter().fold(note, |note, line| note.with_signature(line).unwrap());
    assert_eq!(note.cosignatures(std::slice::from_ref(key)).unwrap().len(), 1);
    assert_eq!(*cosigned.entry(size).or_insert(root), root, "two trees of size {size} are cosigned");
}
