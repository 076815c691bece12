//! The golden log: 70,000 entries, an older checkpoint at 35,000, and a bundle about an artifact that three operators
//! rebuilt; every key is fixed. And what is broken in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use quorate_proto::bundle::{BUNDLE_FORMAT, Bundle, BundledItem};
use quorate_proto::dsse::Envelope;
use quorate_proto::verified::{FeedItem, VerifiedStatement};
use quorate_proto::{ArtifactId, SecretKey, Timestamp};
use quorate_tally::{Policy, Verifier, tally};
use quorate_tests::{Member, SIGNED_AT, artifact, identical, policy};
use quorate_tlog::bundle::append_entries;
use quorate_tlog::{Checkpoint, Cosigner, Entry, EntryBundle, Hash, MemoryTiles, SignedNote, Signer, TlogProof, Tree, TreeHead, TreeView};
use tempfile::TempDir;

/// Entries in all.
pub(crate) const SIZE: u64 = 70_000;

/// Entries of the older checkpoint.
pub(crate) const OLD_SIZE: u64 = 35_000;

/// Where the envelopes stand; all around them are entries that say nothing.
pub(crate) const ENVELOPES_AT: u64 = 41_234;

/// The log's origin.
pub(crate) const ORIGIN: &str = "golden.quorate.example/log";

/// The published file.
pub(crate) const FILE: &str = "click-8.1.8-py3-none-any.whl";
pub(crate) const CONTENT: &[u8] = b"the published wheel";

/// How many of the three witnesses are asked for.
pub(crate) const QUORUM: usize = 2;

/// Roots by size: a change of one is a change of what is signed, logged or hashed.
const ROOTS: [(u64, &str); 2] =
    [(OLD_SIZE, "Qzbbx56uuElMWhlkj/XRQJoACmLHz449Othyv/hdn6I="), (SIZE, "Rmf1JH/3xsTFtZ88FDhXZKy3QVKOeMcPC+4MBt5eYBk=")];

/// The files of the golden log.
pub(crate) struct Golden {
    folder: TempDir,
    /// Three operators, each with a node that has signed one result.
    pub(crate) members: Vec<Member>,
    pub(crate) items: Vec<FeedItem>,
    pub(crate) artifact: ArtifactId,
    pub(crate) bundle: Bundle,
    /// Index of the verdict.
    pub(crate) index: u64,
}

impl Golden {
    /// Made once, for all tests.
    pub(crate) fn get() -> &'static Self {
        static GOLDEN: OnceLock<Golden> = OnceLock::new();
        GOLDEN.get_or_init(Self::make)
    }

    fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut members: Vec<_> = (1..=3).map(Member::new).collect();
        let artifact = artifact("click", "8.1.8", CONTENT);
        let items: Vec<_> = members.iter_mut().map(|member| member.says(&artifact, identical(&artifact))).collect();
        let policy = policy_text(&members);
        let verdict = verdict(&policy, &artifact, &items, ENVELOPES_AT + 7);

        let mut envelopes = vec![[b"quorate-policy/v1\n", policy.as_bytes()].concat()];
        envelopes.extend(items.iter().flat_map(|item| [item.certificate.clone(), item.envelope.clone()]));
        let index = ENVELOPES_AT + envelopes.len() as u64;
        envelopes.push(verdict.clone());
        let log = Log::write(&folder.path().join("log"), &envelopes);

        let proof = TlogProof::new(log.view().inclusion(index).unwrap().1, log.new.clone()).unwrap();
        let bundle = Bundle {
            format: BUNDLE_FORMAT.to_owned(),
            artifact: artifact.clone(),
            verdict: String::from_utf8(verdict.clone()).unwrap(),
            proof: proof.to_string(),
            results: items.iter().map(|item| BundledItem::try_from(item).unwrap()).collect(),
            commitments: Vec::new(),
            checks: Vec::new(),
            declarations: Vec::new(),
            equivocations: Vec::new(),
        };
        let golden = Self { folder, members, items, artifact, bundle, index };
        golden.write("policy.toml", policy.as_bytes());
        golden.write("tlog.policy", tlog_policy(true).as_bytes());
        golden.write("old.checkpoint", log.old.to_string().as_bytes());
        golden.write("new.checkpoint", log.new.to_string().as_bytes());
        golden.write("verdict", &verdict);
        golden.write("verdict.tlog-proof", golden.bundle.proof.as_bytes());
        let consistency = log.view().consistency(OLD_SIZE).unwrap().1;
        golden.write("consistency", lines(&consistency.path).as_bytes());
        golden.write("golden.quorate", &golden.bundle.to_bytes());
        golden.write(FILE, CONTENT);
        golden
    }

    /// A file of the golden log.
    pub(crate) fn path(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        assert!(path.exists(), "{name}");
        path.to_str().unwrap().to_owned()
    }

    /// Writes a file beside the golden ones; answers with its path.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> String {
        fs::write(self.folder.path().join(name), content).unwrap();
        self.path(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn note(&self, name: &str) -> SignedNote {
        SignedNote::parse(self.read(name).as_bytes()).unwrap()
    }

    /// A copy of the log's folder in which `change` has changed something.
    pub(crate) fn broken_log(&self, name: &str, change: impl FnOnce(&Path)) -> String {
        let copy = self.folder.path().join(name);
        link_all(&self.folder.path().join("log"), &copy);
        change(&copy);
        copy.to_str().unwrap().to_owned()
    }

    /// Mutant: one bit of the hash beside entry 35,000 is another.
    pub(crate) fn flipped_tile(&self, name: &str) -> String {
        self.broken_log(name, |log| {
            let tile = log.join(format!("tile/0/{:03}", OLD_SIZE / 256));
            let mut bytes = fs::read(&tile).unwrap();
            let at = usize::try_from(OLD_SIZE % 256 + 1).unwrap() * 32;
            bytes[at] ^= 1;
            replace(&tile, &bytes);
        })
    }

    /// Mutant: two hashes of the verdict's proof have changed places.
    pub(crate) fn swapped_proof(&self) -> String {
        let mut lines: Vec<_> = self.bundle.proof.split('\n').collect();
        lines.swap(2, 3);
        lines.join("\n")
    }

    /// Mutant: the log's key signs a checkpoint of another origin, which the witnesses cosign as they would any.
    pub(crate) fn other_origin(&self) -> SignedNote {
        let text = self.note("new.checkpoint").unverified_text().replacen(ORIGIN, "other.quorate.example/log", 1);
        let note = SignedNote::sign(text, &log_key()).unwrap();
        cosigned(note, SIGNED_AT)
    }

    /// Mutant: one cosignature is left, which is too few.
    pub(crate) fn cut_cosignatures(&self) -> SignedNote {
        let (first, second) = (cosigner(1), cosigner(2));
        self.note("new.checkpoint").retaining(|line| !first.verifier().claims(line) && !second.verifier().claims(line))
    }

    /// Mutant: the log serves its old checkpoint again.
    pub(crate) fn replayed(&self, name: &str) -> String {
        let old = self.read("old.checkpoint");
        self.broken_log(name, |log| replace(&log.join("checkpoint"), old.as_bytes()))
    }

    /// Mutant: the envelope says that its payload is something else.
    pub(crate) fn changed_payload_type(envelope: &[u8]) -> Vec<u8> {
        let text = String::from_utf8(envelope.to_vec()).unwrap();
        let changed = text.replacen("application/vnd.in-toto+json", "application/vnd.in-toto+yaml", 1);
        assert_ne!(changed, text);
        changed.into_bytes()
    }

    /// The bundle with another checkpoint under its proof.
    pub(crate) fn bundle_with(&self, note: &SignedNote) -> Bundle {
        let proof = TlogProof::parse(self.bundle.proof.as_bytes()).unwrap();
        Bundle { proof: TlogProof::new(proof.inclusion().clone(), note.clone()).unwrap().to_string(), ..self.bundle.clone() }
    }
}

/// The log as it is written to files.
struct Log {
    tiles: MemoryTiles,
    head: TreeHead,
    old: SignedNote,
    new: SignedNote,
}

impl Log {
    /// Entries 0 to 70,000 in two batches, as a log writes them: the partial tiles of both sizes are there.
    fn write(folder: &Path, envelopes: &[Vec<u8>]) -> Self {
        let mut log = Writer { folder: folder.to_owned(), tree: Tree::new(), tiles: MemoryTiles::default(), last: None };
        log.append(&entries(0..OLD_SIZE, envelopes));
        let old = signed(&log.tree.head());
        log.append(&entries(OLD_SIZE..SIZE, envelopes));
        let new = signed(&log.tree.head());
        write(&folder.join("checkpoint"), new.to_string().as_bytes());
        Self { head: log.tree.head(), tiles: log.tiles, old, new }
    }

    fn view(&self) -> TreeView<'_, MemoryTiles> {
        TreeView::new(self.head, &self.tiles).unwrap()
    }
}

struct Writer {
    folder: PathBuf,
    tree: Tree,
    tiles: MemoryTiles,
    last: Option<EntryBundle>,
}

impl Writer {
    fn append(&mut self, entries: &[Entry]) {
        for bundle in append_entries(self.tree.size(), self.last.as_ref(), entries).unwrap() {
            write(&self.folder.join(bundle.path.path()), &bundle.bytes);
            self.last = (!bundle.path.width().is_full()).then(|| EntryBundle::parse(&bundle.bytes).unwrap());
        }
        let appended = self.tree.append(&entries.iter().map(Entry::leaf_hash).collect::<Vec<_>>()).unwrap();
        for tile in appended.tiles {
            write(&self.folder.join(tile.path.path()), &tile.bytes);
            self.tiles.0.insert(tile.path, tile.bytes);
        }
        self.tree = appended.tree;
    }
}

fn entries(range: std::ops::Range<u64>, envelopes: &[Vec<u8>]) -> Vec<Entry> {
    let at = |index: u64| {
        let envelope = index.checked_sub(ENVELOPES_AT).and_then(|at| envelopes.get(usize::try_from(at).unwrap()));
        Entry::new(envelope.cloned().unwrap_or_else(|| format!("quorate test entry {index}").into_bytes())).unwrap()
    };
    range.map(at).collect()
}

/// The policy of whoever reads the log: two of three operators, two of three witnesses.
fn policy_text(members: &[Member]) -> String {
    let log = log_key().verifier().to_string();
    format!("{}\n[log]\norigin = \"{ORIGIN}\"\nkey = \"{log}\"\nwitnesses = '''\n{}'''\n", policy(2, members), tlog_policy(false))
}

/// Two of three witnesses, with the log or for a log that is known from elsewhere.
fn tlog_policy(with_log: bool) -> String {
    let log = if with_log { format!("log {}\n", log_key().verifier()) } else { String::new() };
    let witness = |n: u8| format!("witness w{n} {} https://w{n}.quorate.example/\n", cosigner(n).verifier());
    format!("{log}{}{}{}group witnesses {QUORUM} w1 w2 w3\nquorum witnesses\n", witness(1), witness(2), witness(3))
}

fn verdict(policy: &str, artifact: &ArtifactId, items: &[FeedItem], log_size: u64) -> Vec<u8> {
    let policy = Policy::parse(policy).unwrap();
    let statements: Vec<_> = items.iter().map(|item| VerifiedStatement::verify_item(item, policy.enrolled()).unwrap()).collect();
    let verifier = Verifier { id: ORIGIN.to_owned(), time: Timestamp::from_unix_seconds(SIGNED_AT), log_size };
    let payload = tally(&policy, artifact, &statements, &[]).to_statement(&verifier).to_payload();
    Envelope::sign(payload, &verdict_key()).bytes().to_vec()
}

/// Signed by the log, cosigned by all three witnesses; the size's root is the golden one.
fn signed(head: &TreeHead) -> SignedNote {
    let golden = ROOTS.iter().find(|(size, _)| *size == head.size).unwrap().1;
    assert_eq!(head.root.to_string(), golden, "the root of size {} is another: what is signed or logged has changed", head.size);
    let checkpoint = Checkpoint::new(ORIGIN.parse().unwrap(), *head).unwrap();
    cosigned(checkpoint.sign(&log_key()).unwrap(), SIGNED_AT + i64::try_from(head.size).unwrap())
}

fn cosigned(note: SignedNote, time: i64) -> SignedNote {
    let text = note.unverified_text().to_owned();
    let line = |n: u8| cosigner(n).cosign(&text, u64::try_from(time).unwrap()).unwrap();
    (1..=3).fold(note, |note, n| note.with_signature(line(n)).unwrap())
}

pub(crate) fn log_key() -> Signer {
    Signer::from_seed(ORIGIN.parse().unwrap(), &[7; 32])
}

pub(crate) fn cosigner(n: u8) -> Cosigner {
    Cosigner::from_seed(format!("w{n}.quorate.example").parse().unwrap(), &[60 + n; 32])
}

/// Signs verdicts.
pub(crate) fn verdict_key() -> SecretKey {
    SecretKey::from_seed(&[99; 32])
}

fn lines(path: &[Hash]) -> String {
    path.iter().map(|hash| format!("{hash}\n")).collect::<Vec<_>>().concat()
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// The same file in other folders stays as it is.
fn replace(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

fn link_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() { link_all(&from, &to) } else { fs::hard_link(&from, &to).unwrap() }
    }
}
