//! What a listener makes of the checkpoints that it hears of: one history, or a proof against the log.
//!
//! A machine: [`Views::hear`] takes a checkpoint, whoever told it; [`Views::link`] takes the answer to one of the
//! questions in [`Views::open`]. Two checkpoints of one size need no question. Of two sizes the larger tree's
//! beginning is asked for: it is either the smaller tree, or the second half of a proof. Knows no peers, files or
//! clock. `docs/spec/witness.md`, section "Views that are told".

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::checkpoint::{Checkpoint, CheckpointError, Origin};
use crate::equivocation::{EquivocationError, LogEquivocation};
use crate::hash::Hash;
use crate::merkle::{ConsistencyProof, MerkleError, TreeHead};
use crate::note::{NoteError, SignedNote, VerifierKey};
use crate::witness::origin_hash;

/// Checkpoints of one log that are kept. Beyond it those go first that the next one was shown to go on from: what a log
/// does not show it must not be able to have forgotten by signing more.
pub const CHECKPOINTS_MAX: usize = 64;

/// Checkpoints of one log that are told beside the largest, at most.
pub const BESIDE_MAX: usize = 8;

/// The checkpoints of some logs, as far as they were heard of.
#[derive(Clone, Debug, Default)]
pub struct Views {
    logs: BTreeMap<Origin, View>,
}

/// One log, as it shows itself.
#[derive(Clone, Debug, Default)]
pub struct View {
    keys: Vec<VerifierKey>,
    heard: BTreeMap<u64, Heard>,
    /// The smaller one of each new checkpoint and the largest before it, the newest last.
    beside: VecDeque<u64>,
    conviction: Option<LogEquivocation>,
}

#[derive(Clone, Debug)]
struct Heard {
    root: Hash,
    note: SignedNote,
    /// Whether this tree was shown to begin with the one before it in the list.
    linked: bool,
}

/// What a checkpoint was to the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// It was not heard of before.
    New,
    /// This size and root were heard of before, or the log stands convicted already.
    Known,
    /// Together with another it convicts the log, and nothing did before.
    Convicts(Box<LogEquivocation>),
}

/// How the tree of `size` and `root` begins, over `old_size` leaves: what is to be asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// Whose tree.
    pub origin: Origin,
    /// How many leaves of the beginning.
    pub old_size: u64,
    /// The tree.
    pub size: u64,
    /// Its root.
    pub root: Hash,
}

/// Why something that was told counts for nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewsError {
    /// Of a log that is not listened to, or by a key of its that is not known here.
    #[error("log `{0}` is not known here")]
    UnknownOrigin(String),
    /// Not signed by the log.
    #[error("checkpoint is not signed by its log")]
    Signature(#[source] NoteError),
    /// Signed, and no checkpoint.
    #[error("note is no checkpoint")]
    Checkpoint(#[source] CheckpointError),
    /// An answer that does not lead to the tree that was asked about.
    #[error("the tree is not shown to begin so")]
    Beginning(#[from] MerkleError),
    /// A proof that does not hold.
    #[error("nothing is proven against the log")]
    Proof(#[source] EquivocationError),
}

impl Views {
    /// Listens to the logs of these keys; the name of each is its log's origin. Names that are none are left out.
    pub fn new(keys: &[VerifierKey]) -> Self {
        let mut logs: BTreeMap<Origin, View> = BTreeMap::new();
        for key in keys {
            let Ok(origin) = key.name().as_str().parse() else { continue };
            let view = logs.entry(origin).or_default();
            if !view.keys.contains(key) {
                view.keys.push(key.clone());
            }
        }
        Self { logs }
    }

    /// The logs, with what was heard of them.
    pub fn logs(&self) -> impl Iterator<Item = (&Origin, &View)> {
        self.logs.iter()
    }

    /// One log.
    pub fn log(&self, origin: &Origin) -> Option<&View> {
        self.logs.get(origin)
    }

    /// The log whose origin has this lower-case hex SHA-256.
    pub fn by_origin_hash(&self, hash: &str) -> Option<(&Origin, &View)> {
        self.logs.iter().find(|(origin, _)| origin_hash(origin) == hash)
    }

    /// Takes a checkpoint. All that is kept of it is what its log has signed: whatever stands on it beside that, it and
    /// what it proves can be told to everybody.
    pub fn hear(&mut self, note: SignedNote) -> Result<Hearing, ViewsError> {
        let (view, checkpoint) = self.open_note(&note)?;
        let note = note.only_of(&view.keys);
        Ok(view.hear(*checkpoint.head(), note))
    }

    /// Takes the answer to a question: the beginning's root, and the proof that leads from it to the tree.
    pub fn link(&mut self, question: &Question, root: Hash, proof: ConsistencyProof) -> Result<Hearing, ViewsError> {
        let unknown = || ViewsError::UnknownOrigin(question.origin.to_string());
        let view = self.logs.get_mut(&question.origin).ok_or_else(unknown)?;
        proof.verify(&TreeHead { size: question.old_size, root }, &TreeHead { size: question.size, root: question.root })?;
        Ok(view.link(question, root, proof))
    }

    /// Takes a proof from elsewhere.
    pub fn convict(&mut self, proof: LogEquivocation) -> Result<Hearing, ViewsError> {
        let view = self.view_of(proof.notes()[0])?;
        let proof = proof.only_of(&view.keys);
        let mut refused = EquivocationError::Consistent;
        for key in &view.keys {
            match proof.verify(key) {
                Ok(_) => return Ok(view.convict(proof)),
                Err(error) => refused = error,
            }
        }
        Err(ViewsError::Proof(refused))
    }

    /// What is to be asked: of each log that is not convicted, every tree of which it was not shown that it begins
    /// with the one before it.
    pub fn open(&self) -> Vec<Question> {
        let open = self.logs.iter().filter(|(_, view)| view.conviction.is_none()).flat_map(|(origin, view)| view.open(origin));
        open.collect()
    }

    fn open_note(&mut self, note: &SignedNote) -> Result<(&mut View, Checkpoint), ViewsError> {
        let view = self.view_of(note)?;
        note.open(&view.keys).map_err(|error| match error {
            NoteError::NoKnownSigner => unknown(note),
            error => ViewsError::Signature(error),
        })?;
        Ok((view, Checkpoint::parse(note.unverified_text()).map_err(ViewsError::Checkpoint)?))
    }

    fn view_of(&mut self, note: &SignedNote) -> Result<&mut View, ViewsError> {
        let origin = note.unverified_origin().parse::<Origin>().ok();
        origin.and_then(|origin| self.logs.get_mut(&origin)).ok_or_else(|| unknown(note))
    }
}

fn unknown(note: &SignedNote) -> ViewsError {
    ViewsError::UnknownOrigin(note.unverified_origin().to_owned())
}

impl View {
    /// The largest checkpoint that was heard of.
    pub fn latest(&self) -> Option<&SignedNote> {
        self.heard.last_key_value().map(|(_, heard)| &heard.note)
    }

    /// What others should hear of: the largest checkpoint; and those that came beside it and of which it was not shown
    /// that it goes on from them. Who tells the largest alone keeps from others what may contradict it.
    pub fn told(&self) -> Vec<SignedNote> {
        let latest = self.latest().cloned().into_iter();
        if self.conviction.is_some() {
            return latest.collect();
        }
        let beside = self.beside.iter().filter(|size| self.is_open_above(**size)).filter_map(|size| self.heard.get(size));
        latest.chain(beside.map(|heard| heard.note.clone())).collect()
    }

    /// Whether it was not yet shown, step by step, that the largest tree begins with the one of this size.
    fn is_open_above(&self, size: u64) -> bool {
        self.heard.range(size + 1..).any(|(_, heard)| !heard.linked)
    }

    /// Its size and root.
    pub fn head(&self) -> Option<TreeHead> {
        self.heard.last_key_value().map(|(size, heard)| TreeHead { size: *size, root: heard.root })
    }

    /// What convicts the log, if anything does.
    pub const fn conviction(&self) -> Option<&LogEquivocation> {
        self.conviction.as_ref()
    }

    /// How many trees were not yet shown to begin with the one before them.
    pub fn unlinked(&self) -> usize {
        self.heard.values().skip(1).filter(|heard| !heard.linked).count()
    }

    /// A tree of size zero says nothing: every tree begins so.
    fn hear(&mut self, head: TreeHead, note: SignedNote) -> Hearing {
        if self.conviction.is_some() || head.size == 0 {
            return Hearing::Known;
        }
        if let Some(held) = self.heard.get(&head.size) {
            if held.root == head.root {
                return Hearing::Known;
            }
            let proof = LogEquivocation::of_one_size(held.note.clone(), note);
            return self.convict(proof);
        }
        if let Some(largest) = self.heard.last_key_value().map(|(size, _)| *size) {
            self.beside.push_back(largest.min(head.size));
        }
        self.heard.insert(head.size, Heard { root: head.root, note, linked: false });
        // What follows was linked with what is now before this one.
        if let Some((_, next)) = self.heard.range_mut(head.size + 1..).next() {
            next.linked = false;
        }
        if self.heard.len() > CHECKPOINTS_MAX {
            self.forget_one();
        }
        let mut beside = std::mem::take(&mut self.beside);
        beside.retain(|size| self.heard.contains_key(size) && self.is_open_above(*size));
        beside.drain(..beside.len().saturating_sub(BESIDE_MAX));
        self.beside = beside;
        Hearing::New
    }

    /// Forgets the smallest checkpoint that the next one was shown to go on from. Where there is none the second: the
    /// smallest stays in question.
    fn forget_one(&mut self) {
        let pairs = self.heard.keys().zip(self.heard.values().skip(1));
        let answered = pairs.into_iter().find(|(_, next)| next.linked).map(|(size, _)| *size);
        let Some(size) = answered.or_else(|| self.heard.keys().nth(1).copied()) else { return };
        let Some(gone) = self.heard.remove(&size) else { return };
        if let Some((_, next)) = self.heard.range_mut(size..).next() {
            next.linked &= gone.linked;
        }
    }

    fn link(&mut self, question: &Question, root: Hash, proof: ConsistencyProof) -> Hearing {
        let Some(smaller) = self.heard.get(&question.old_size) else { return Hearing::Known };
        let (smaller_root, smaller_note) = (smaller.root, smaller.note.clone());
        let before = self.heard.range(..question.size).next_back().map(|(size, _)| *size);
        let Some(larger) = self.heard.get_mut(&question.size).filter(|larger| larger.root == question.root) else {
            return Hearing::Known;
        };
        if smaller_root == root {
            larger.linked |= before == Some(question.old_size);
            return Hearing::Known;
        }
        let proof = LogEquivocation::of_two_sizes(smaller_note, larger.note.clone(), root, proof);
        self.convict(proof)
    }

    fn convict(&mut self, proof: LogEquivocation) -> Hearing {
        if self.conviction.is_some() {
            return Hearing::Known;
        }
        self.conviction = Some(proof.clone());
        Hearing::Convicts(Box::new(proof))
    }

    fn open(&self, origin: &Origin) -> Vec<Question> {
        let sizes: BTreeSet<u64> = self.heard.keys().copied().collect();
        let pairs = sizes.iter().zip(sizes.iter().skip(1));
        let open =
            pairs.filter_map(|(old, size)| self.heard.get(size).filter(|heard| !heard.linked).map(|heard| (*old, *size, heard.root)));
        open.map(|(old_size, size, root)| Question { origin: origin.clone(), old_size, size, root }).collect()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::hash::leaf_hash;
    use crate::merkle::TreeView;
    use crate::note::Signer;
    use crate::tile::MemoryTiles;
    use crate::tree::Tree;

    fn signer() -> Signer {
        Signer::from_seed("log.example".parse().unwrap(), &[1; 32])
    }

    /// The log's tree of some size, all leaves from `from` on being of another history.
    struct Shown {
        note: SignedNote,
        head: TreeHead,
        tiles: MemoryTiles,
    }

    fn shown(size: u64, history: &str, from: u64) -> Shown {
        let leaves: Vec<_> = (0..size).map(|n| leaf_hash(format!("{n}{}", if n >= from { history } else { "" }).as_bytes())).collect();
        let appended = Tree::new().append(&leaves).unwrap();
        let mut tiles = MemoryTiles::default();
        for write in appended.tiles {
            tiles.0.insert(write.path, write.bytes);
        }
        let head = appended.tree.head();
        let note = Checkpoint::new("log.example".parse().unwrap(), head).unwrap().sign(&signer()).unwrap();
        Shown { note, head, tiles }
    }

    fn views() -> Views {
        Views::new(&[signer().verifier().clone()])
    }

    fn answer(views: &mut Views, question: &Question, tree: &Shown) -> Result<Hearing, ViewsError> {
        let (beginning, proof) = TreeView::new(tree.head, &tree.tiles).unwrap().consistency(question.old_size).unwrap();
        views.link(question, beginning.root, proof)
    }

    #[test]
    fn one_history_heard_in_any_order_leaves_no_question_and_no_conviction() {
        let mut views = views();
        for size in [7, 3, 300, 5, 3, 0, 256] {
            views.hear(shown(size, "", 0).note).unwrap();
        }
        while let Some(question) = views.open().first().cloned() {
            assert_eq!(answer(&mut views, &question, &shown(question.size, "", 0)), Ok(Hearing::Known));
        }
        let (_, log) = views.logs().next().unwrap();
        assert!(log.conviction().is_none() && log.unlinked() == 0);
        assert_eq!(log.head().unwrap().size, 300);
    }

    #[test]
    fn two_views_of_one_size_convict_at_once_and_of_two_sizes_with_one_answer() {
        for (first, second) in [(5, 5), (5, 7), (7, 5), (3, 300)] {
            let mut views = views();
            assert_eq!(views.hear(shown(first, "", 0).note), Ok(Hearing::New));
            let other = shown(second, "other", 2);
            let hearing = match views.hear(other.note.clone()).unwrap() {
                Hearing::New => {
                    let question = views.open().remove(0);
                    let tree = if question.size == second { other } else { shown(first, "", 0) };
                    answer(&mut views, &question, &tree).unwrap()
                }
                hearing => hearing,
            };
            let Hearing::Convicts(proof) = hearing else { panic!("{first} and {second}: {hearing:?}") };
            assert!(proof.verify(signer().verifier()).is_ok());
            assert_eq!(views.open(), []);
            // It travels, and convicts wherever it comes.
            let mut elsewhere = self::views();
            let read = LogEquivocation::parse(proof.to_string().as_bytes()).unwrap();
            assert!(matches!(elsewhere.convict(read.clone()), Ok(Hearing::Convicts(_))));
            assert_eq!(elsewhere.convict(read), Ok(Hearing::Known));
        }
    }

    #[test]
    fn a_checkpoint_between_two_linked_ones_is_compared_with_both() {
        let mut views = views();
        for size in [3, 9] {
            views.hear(shown(size, "", 0).note).unwrap();
        }
        let question = views.open().remove(0);
        answer(&mut views, &question, &shown(9, "", 0)).unwrap();
        assert_eq!(views.open(), []);
        views.hear(shown(6, "other", 1).note).unwrap();
        assert_eq!(views.open().iter().map(|q| (q.old_size, q.size)).collect::<Vec<_>>(), [(3, 6), (6, 9)]);
    }

    fn told(views: &Views) -> Vec<SignedNote> {
        views.logs().flat_map(|(_, view)| view.told()).collect()
    }

    #[test]
    fn whichever_of_two_views_is_heard_first_both_are_told_until_they_are_compared() {
        let (small, large) = (shown(5, "", 0).note, shown(9, "other", 0));
        let cosigner = Signer::from_seed("witness.example".parse().unwrap(), &[3; 32]);
        for order in [[&small, &large.note], [&large.note, &small]] {
            let mut views = views();
            for note in order {
                views.hear(note.clone().cosign(&cosigner).unwrap()).unwrap();
            }
            assert_eq!(told(&views), [large.note.clone(), small.clone()], "what its log has signed of each");
            let question = views.open().remove(0);
            assert!(matches!(answer(&mut views, &question, &large), Ok(Hearing::Convicts(_))));
            assert_eq!(told(&views).len(), 1, "the proof says it all");
        }
    }

    #[test]
    fn of_one_history_the_largest_is_told_and_no_more_than_some_beside_it() {
        let mut views = views();
        for size in 1..=30 {
            views.hear(shown(size, "", 0).note).unwrap();
        }
        let sizes = |views: &Views| {
            let told = told(views).into_iter();
            told.map(|note| Checkpoint::parse(note.unverified_text()).unwrap().size()).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&views), [30, 22, 23, 24, 25, 26, 27, 28, 29]);
        for question in views.open().into_iter().filter(|question| question.size > 25) {
            answer(&mut views, &question, &shown(question.size, "", 0)).unwrap();
        }
        assert_eq!(sizes(&views), [30, 22, 23, 24]);
        for question in views.open() {
            answer(&mut views, &question, &shown(question.size, "", 0)).unwrap();
        }
        assert_eq!(sizes(&views), [30]);
    }

    #[test]
    fn what_is_not_signed_or_proven_counts_for_nothing() {
        let mut views = views();
        let stranger = Signer::from_seed("log.example".parse().unwrap(), &[2; 32]);
        let forged = SignedNote::sign(shown(5, "", 0).note.unverified_text().to_owned(), &stranger).unwrap();
        assert!(matches!(views.hear(forged), Err(ViewsError::UnknownOrigin(_))), "another key may be known to others");
        let mut damaged = shown(5, "", 0).note.to_string();
        damaged = damaged.replacen("\n5\n", "\n6\n", 1);
        assert!(matches!(views.hear(SignedNote::parse(damaged.as_bytes()).unwrap()), Err(ViewsError::Signature(_))));
        let other = Signer::from_seed("other.example".parse().unwrap(), &[2; 32]);
        let unknown = SignedNote::sign("other.example\n1\nAAAA\n".to_owned(), &other).unwrap();
        assert!(matches!(views.hear(unknown), Err(ViewsError::UnknownOrigin(_))));
        views.hear(shown(3, "", 0).note).unwrap();
        views.hear(shown(9, "", 0).note).unwrap();
        let question = views.open().remove(0);
        let lie = views.link(&question, leaf_hash(b"invented"), ConsistencyProof { path: Vec::new() });
        assert!(matches!(lie, Err(ViewsError::Beginning(_))));
        let one = shown(3, "", 0).note;
        assert!(matches!(views.convict(LogEquivocation::of_one_size(one.clone(), one)), Err(ViewsError::Proof(_))));
        assert!(views.logs().all(|(_, log)| log.conviction().is_none()));
    }

    #[test]
    fn no_number_of_later_checkpoints_hides_that_an_earlier_one_was_never_continued() {
        let mut views = views();
        views.hear(shown(10, "", 0).note).unwrap();
        let other = shown(11 + CHECKPOINTS_MAX as u64 * 2, "other", 5);
        // The other history is shown step by step, but nobody is told how it begins.
        for size in 11..other.head.size {
            views.hear(shown(size, "other", 5).note).unwrap();
            for question in views.open().into_iter().filter(|question| question.old_size > 10) {
                answer(&mut views, &question, &shown(question.size, "other", 5)).unwrap();
            }
        }
        let (_, log) = views.logs().next().unwrap();
        assert_eq!(log.unlinked(), 1);
        assert!(log.heard.len() <= CHECKPOINTS_MAX);
        let question = views.open().remove(0);
        assert!(matches!(answer(&mut views, &question, &shown(question.size, "other", 5)), Ok(Hearing::Convicts(_))));
    }

    #[test]
    fn a_log_whose_trees_nobody_shows_stays_in_question_from_its_first_checkpoint_on() {
        let mut views = views();
        for size in 1..200 {
            views.hear(shown(size, "", 0).note).unwrap();
        }
        assert_eq!(views.open().first().unwrap().old_size, 1);
        let (_, log) = views.logs().next().unwrap();
        assert_eq!((log.unlinked(), log.head().unwrap().size), (CHECKPOINTS_MAX - 1, 199));
    }

    #[test]
    fn of_many_checkpoints_the_newest_are_kept() {
        let mut views = views();
        for size in 1..100 {
            views.hear(shown(size, "", 0).note).unwrap();
        }
        assert!(views.open().len() < CHECKPOINTS_MAX);
        assert_eq!(views.logs().next().unwrap().1.head().unwrap().size, 99);
    }
}
