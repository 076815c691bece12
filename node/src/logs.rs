//! The logs that this node listens to: what they show of themselves to anybody, kept and compared.
//!
//! Checkpoints come by gossip, by feed sync and as requests to the witness; the decisions are
//! [`quorate_tlog::views`]'s. This file gives them a folder. A proof that a log has two histories is durable before
//! it counts, and is told to everybody. `docs/spec/witness.md`, section 7.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quorate_gossip::Accepted;
use quorate_gossip::store::reason;
use quorate_proto::Digest;
use quorate_proto::wire::{Beginning, BeginningWanted, CHECKPOINT_NOTICE_BYTES_MAX, LOG_PROOF_NOTICE_BYTES_MAX, Told};
use quorate_tlog::views::{Hearing, Question, View, ViewsError};
use quorate_tlog::witness::origin_hash;
use quorate_tlog::{ConsistencyProof, Hash, LogEquivocation, Origin, SignedNote, VerifierKey, Views};
use tokio::sync::watch;

use crate::durable;

/// The logs. Clones share one state.
#[derive(Clone, Debug)]
pub struct Logs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    views: Mutex<Views>,
    changed: watch::Sender<u64>,
}

/// One log, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its origin.
    pub origin: Origin,
    /// The largest tree that was heard of: size and root; nothing yet without.
    pub head: Option<(u64, Hash)>,
    /// Trees that were not yet shown to continue the ones before them.
    pub unlinked: usize,
    /// The proof that it has shown two views.
    pub conviction: Option<LogEquivocation>,
}

impl Logs {
    /// Listens to the logs of these keys, and takes up what was kept of them. What cannot be read is heard anew; a
    /// proof that was kept and holds is never forgotten.
    pub fn open(data_dir: &Path, keys: &[VerifierKey]) -> io::Result<Self> {
        let folder = data_dir.join("logs");
        fs::create_dir_all(&folder)?;
        let mut views = Views::new(keys);
        let origins: Vec<Origin> = views.logs().map(|(origin, _)| origin.clone()).collect();
        for origin in origins {
            let own = folder.join(origin_hash(&origin));
            fs::create_dir_all(&own)?;
            durable::sweep(&own)?;
            let witnessed = data_dir.join("witness").join(origin_hash(&origin));
            take_up(&mut views, &own.join("latest"), &[own.join("conviction")], &witnessed);
        }
        durable::sync_dir(&folder)?;
        Ok(Self(Arc::new(Inner { folder, views: Mutex::new(views), changed: watch::Sender::new(0) })))
    }

    /// Becomes another number whenever something new was heard.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// The logs, for people.
    pub fn shown(&self) -> Vec<Shown> {
        let views = self.lock();
        let shown = views.logs().map(|(origin, view)| Shown {
            origin: origin.clone(),
            head: view.head().map(|head| (head.size, head.root)),
            unlinked: view.unlinked(),
            conviction: view.conviction().cloned(),
        });
        shown.collect()
    }

    /// What everybody should know: the largest checkpoint of each log, those that were not yet compared with it, and
    /// what convicts one.
    pub fn notices(&self) -> Vec<Told> {
        let views = self.lock();
        let mut told = Vec::new();
        for (origin, view) in views.logs() {
            let notes = view.told().into_iter().map(|note| note.to_string()).filter(|note| note.len() <= CHECKPOINT_NOTICE_BYTES_MAX);
            told.extend(notes.map(|note| Told::checkpoint(note.into_bytes())));
            let proof = view.conviction().map(ToString::to_string).filter(|proof| proof.len() <= LOG_PROOF_NOTICE_BYTES_MAX);
            told.extend(proof.map(|proof| Told::log_equivocation(origin.as_str(), proof.into_bytes())));
        }
        told
    }

    /// Takes a checkpoint from anybody. Blocks.
    pub fn hear(&self, checkpoint: &[u8]) -> Accepted {
        let Ok(note) = SignedNote::parse(checkpoint) else { return Accepted::Rejected(reason::BAD_NOTICE) };
        self.change(|views| views.hear(note))
    }

    /// Takes a proof against a log from anybody. Blocks.
    pub fn convict(&self, proof: &[u8]) -> Accepted {
        let Ok(proof) = LogEquivocation::parse(proof) else { return Accepted::Rejected(reason::BAD_NOTICE) };
        self.change(|views| views.convict(proof))
    }

    /// What is to be asked of peers: of the newest trees first.
    pub fn wanted_beginnings(&self) -> Vec<BeginningWanted> {
        let open = self.lock().open();
        let wanted = open.iter().rev().map(|question| BeginningWanted {
            log: Digest::of(question.origin.as_str().as_bytes()),
            old_size: question.old_size,
            size: question.size,
            root: *question.root.as_bytes(),
        });
        wanted.collect()
    }

    /// Takes the answer to such a question. Blocks.
    pub fn accept_beginning(&self, wanted: &BeginningWanted, beginning: Beginning) -> Accepted {
        let origin = self.lock().by_origin_hash(&wanted.log.to_hex()).map(|(origin, _)| origin.clone());
        let Some(origin) = origin else { return Accepted::Rejected(reason::UNKNOWN_LOG) };
        let question = Question { origin, old_size: wanted.old_size, size: wanted.size, root: Hash::from_bytes(wanted.root) };
        let proof = ConsistencyProof { path: beginning.path.into_iter().map(Hash::from_bytes).collect() };
        self.change(|views| views.link(&question, Hash::from_bytes(beginning.root), proof))
    }

    /// Hears on a copy, makes durable what is new, and only then believes it.
    fn change(&self, hear: impl FnOnce(&mut Views) -> Result<Hearing, ViewsError>) -> Accepted {
        let mut views = self.lock();
        let mut heard = views.clone();
        let hearing = match hear(&mut heard) {
            Ok(hearing) => hearing,
            Err(ViewsError::UnknownOrigin(_)) => return Accepted::Rejected(reason::UNKNOWN_LOG),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "what was told of a log does not hold");
                return Accepted::Rejected(reason::BAD_NOTICE);
            }
        };
        if let Err(error) = self.keep(&views, &heard) {
            tracing::error!(%error, "what was heard of a log could not be kept; it is heard again");
            return Accepted::Unavailable;
        }
        *views = heard;
        drop(views);
        self.0.changed.send_modify(|changes| *changes += 1);
        match hearing {
            Hearing::New => Accepted::New,
            Hearing::Known => Accepted::Duplicate,
            Hearing::Convicts(_) => {
                tracing::error!("a log has signed two histories; the proof is kept and told");
                Accepted::New
            }
        }
    }

    fn keep(&self, before: &Views, after: &Views) -> io::Result<()> {
        for (origin, view) in after.logs() {
            let known = before.log(origin);
            let folder = self.0.folder.join(origin_hash(origin));
            if let Some(proof) = view.conviction().filter(|_| known.is_none_or(|known| known.conviction().is_none())) {
                durable::replace(&folder.join("conviction"), proof.to_string().as_bytes())?;
            }
            if let Some(latest) = view.latest().filter(|_| known.and_then(View::head) != view.head()) {
                durable::replace(&folder.join("latest"), latest.to_string().as_bytes())?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Views> {
        self.0.views.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads what was kept of one log, and what its witness here has found. Everything is checked as if a stranger had
/// told it.
fn take_up(views: &mut Views, latest: &Path, convictions: &[PathBuf], witnessed: &Path) {
    for path in [latest, &witnessed.join("checkpoint")] {
        if let Some(note) = fs::read(path).ok().and_then(|bytes| SignedNote::parse(&bytes).ok())
            && let Err(error) = views.hear(note)
        {
            tracing::warn!(path = %path.display(), error = &error as &dyn std::error::Error, "a kept checkpoint counts for nothing now");
        }
    }
    let evidence = fs::read_dir(witnessed).into_iter().flatten().flatten().map(|entry| entry.path());
    let evidence = evidence.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("evidence-")));
    for path in convictions.iter().cloned().chain(evidence) {
        if let Some(proof) = fs::read(&path).ok().and_then(|bytes| LogEquivocation::parse(&bytes).ok())
            && let Err(error) = views.convict(proof)
        {
            tracing::warn!(path = %path.display(), error = &error as &dyn std::error::Error, "a kept proof counts for nothing now");
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use quorate_tlog::checkpoint::CHECKPOINT_TEXT_BYTES_MAX;
    use quorate_tlog::{Checkpoint, MemoryTiles, Signer, Tree, TreeHead, TreeView, leaf_hash};

    use super::*;
    use quorate_proto::wire::Notice;

    /// The longest name that a log's key may have.
    const KEY_NAME_BYTES: usize = 1024;

    fn log() -> Signer {
        Signer::from_seed("log.example".parse().unwrap(), &[1; 32])
    }

    fn tree(history: &str, size: u64) -> (TreeHead, MemoryTiles, Vec<u8>) {
        let leaves: Vec<_> = (0..size).map(|n| leaf_hash(format!("{history}{n}").as_bytes())).collect();
        let appended = Tree::new().append(&leaves).unwrap();
        let mut tiles = MemoryTiles::default();
        tiles.0.extend(appended.tiles.into_iter().map(|tile| (tile.path, tile.bytes)));
        let head = appended.tree.head();
        let note = Checkpoint::new("log.example".parse().unwrap(), head).unwrap().sign(&log()).unwrap();
        (head, tiles, note.to_string().into_bytes())
    }

    fn open(dir: &Path) -> Logs {
        Logs::open(dir, &[log().verifier().clone()]).unwrap()
    }

    fn convicted(logs: &Logs) -> bool {
        logs.shown()[0].conviction.is_some()
    }

    #[test]
    fn what_was_heard_and_what_convicts_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let logs = open(dir.path());
        assert_eq!(logs.hear(&tree("a", 5).2), Accepted::New);
        assert_eq!(logs.hear(&tree("a", 5).2), Accepted::Duplicate);
        drop(logs);
        let logs = open(dir.path());
        assert_eq!(logs.hear(&tree("b", 5).2), Accepted::New);
        assert!(convicted(&logs));
        let told = logs.notices();
        assert_eq!(told.len(), 2);
        drop(logs);
        let logs = open(dir.path());
        assert!(convicted(&logs));
        assert_eq!(logs.notices(), told);
    }

    #[test]
    fn a_view_of_another_size_convicts_with_the_answer_of_whoever_has_its_tree() {
        let dir = tempfile::tempdir().unwrap();
        let logs = open(dir.path());
        logs.hear(&tree("a", 5).2);
        let (head, tiles, note) = tree("b", 9);
        logs.hear(&note);
        let wanted = logs.wanted_beginnings()[0];
        let (beginning, proof) = TreeView::new(head, &tiles).unwrap().consistency(wanted.old_size).unwrap();
        let path = proof.path.iter().map(|hash| *hash.as_bytes()).collect();
        let lie = Beginning { root: [9; 32], path: Vec::clone(&path) };
        assert_eq!(logs.accept_beginning(&wanted, lie), Accepted::Rejected(reason::BAD_NOTICE));
        assert_eq!(logs.accept_beginning(&wanted, Beginning { root: *beginning.root.as_bytes(), path }), Accepted::New);
        assert!(convicted(&logs) && logs.wanted_beginnings().is_empty());
        // The proof travels.
        let elsewhere = tempfile::tempdir().unwrap();
        let other = open(elsewhere.path());
        let proof =
            logs.notices().into_iter().find_map(|told| if let Notice::LogEquivocation(proof) = told.notice { Some(proof) } else { None });
        assert_eq!(other.convict(&proof.unwrap()), Accepted::New);
        assert!(convicted(&other));
    }

    #[test]
    fn whatever_stands_on_its_checkpoints_a_log_is_not_kept_from_being_convicted_everywhere() {
        let cosigner = |n: u8| Signer::from_seed(format!("{}.example/{n}", "w".repeat(900)).parse().unwrap(), &[n; 32]);
        let padded = |note: Vec<u8>| {
            let note = SignedNote::parse(&note).unwrap();
            let note = (2..60).fold(note, |note, n| note.cosign(&cosigner(n)).unwrap());
            note.to_string().into_bytes()
        };
        let dir = tempfile::tempdir().unwrap();
        let logs = open(dir.path());
        let (head, tiles, larger) = tree("b", 9);
        // As a witness is asked, where a note may be long.
        for note in [padded(tree("a", 5).2), padded(larger)] {
            assert!(note.len() > CHECKPOINT_NOTICE_BYTES_MAX);
            assert_eq!(logs.hear(&note), Accepted::New);
        }
        assert_eq!(logs.notices().len(), 2, "both are told");
        let wanted = logs.wanted_beginnings()[0];
        let (beginning, proof) = TreeView::new(head, &tiles).unwrap().consistency(wanted.old_size).unwrap();
        let path = proof.path.iter().map(|hash| *hash.as_bytes()).collect();
        assert_eq!(logs.accept_beginning(&wanted, Beginning { root: *beginning.root.as_bytes(), path }), Accepted::New);
        assert!(logs.notices().iter().any(|told| matches!(told.notice, Notice::LogEquivocation(_))), "and so is the proof");
    }

    #[test]
    fn the_longest_checkpoints_and_the_proof_of_two_of_them_can_be_told() {
        let origin = "o".repeat(KEY_NAME_BYTES);
        let log = Signer::from_seed(origin.parse().unwrap(), &[1; 32]);
        let hash = leaf_hash(b"").to_string();
        let note = |size: u64, letter: &str| {
            let start = format!("{origin}\n{size}\n{hash}\n");
            let rest = CHECKPOINT_TEXT_BYTES_MAX - start.len() - 1;
            SignedNote::sign(format!("{start}{}\n", letter.repeat(rest)), &log).unwrap()
        };
        let told = note(u64::MAX / 2, "a").to_string();
        assert!(told.len() <= CHECKPOINT_NOTICE_BYTES_MAX, "{}", told.len());
        let path = ConsistencyProof { path: vec![leaf_hash(b""); 64] };
        let proof = LogEquivocation::of_two_sizes(note(1, "a"), note(u64::MAX / 2, "b"), leaf_hash(b"x"), path).to_string();
        assert!(proof.len() <= LOG_PROOF_NOTICE_BYTES_MAX, "{}", proof.len());
    }

    #[test]
    fn a_proof_that_cannot_be_kept_is_not_believed_and_is_heard_again() {
        let dir = tempfile::tempdir().unwrap();
        let logs = open(dir.path());
        logs.hear(&tree("a", 5).2);
        let folder = dir.path().join("logs").join(origin_hash(&"log.example".parse().unwrap()));
        let aside = dir.path().join("aside");
        fs::rename(&folder, &aside).unwrap();
        assert_eq!(logs.hear(&tree("b", 5).2), Accepted::Unavailable);
        assert!(!convicted(&logs));
        fs::rename(&aside, &folder).unwrap();
        assert_eq!(logs.hear(&tree("b", 5).2), Accepted::New);
        assert!(convicted(&logs));
    }

    #[test]
    fn damaged_files_are_heard_anew_and_strangers_change_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let logs = open(dir.path());
        logs.hear(&tree("a", 5).2);
        let folder = dir.path().join("logs").join(origin_hash(&"log.example".parse().unwrap()));
        for name in ["latest", "conviction"] {
            fs::write(folder.join(name), b"nothing").unwrap();
        }
        let logs = open(dir.path());
        assert_eq!(logs.shown()[0].head, None);
        assert_eq!(logs.hear(b"nothing"), Accepted::Rejected(reason::BAD_NOTICE));
        assert_eq!(logs.convict(b"nothing"), Accepted::Rejected(reason::BAD_NOTICE));
        let stranger = Logs::open(tempfile::tempdir().unwrap().path(), &[]).unwrap();
        assert_eq!(stranger.hear(&tree("a", 5).2), Accepted::Rejected(reason::UNKNOWN_LOG));
    }
}
