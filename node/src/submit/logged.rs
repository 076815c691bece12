//! Looks for the node's own entries in the log: what the coordinator has acknowledged must be in what it signs.
//!
//! From the newest entry at the first start, in order, the coordinator is asked for the proof that an entry is in the log.
//! Each checkpoint on the way is heard like any other, so that it is held against what the log shows to others: what was
//! found once stays in the log, or the log has two histories. Who does not answer says nothing, and a log that does not
//! grow cannot have what came after: missing is what an answer does not have though it is overdue and the log has grown
//! since. Whether verdicts follow is `quorate monitor`'s question. `docs/spec/witness.md`, section 8.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use quorate_proto::api::{EntryProofView, ProveEntryRequest};
use quorate_proto::verified::FeedItem;
use quorate_proto::{NodeId, Timestamp};
use quorate_tally::LogPolicy;
use quorate_tlog::checkpoint::CheckpointError;
use quorate_tlog::note::NoteError;
use quorate_tlog::policy::PolicyError;
use quorate_tlog::proof::ProofError;
use quorate_tlog::{Checkpoint, SignedNote, TlogPolicy, TlogProof, VerifierKey};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tonic::transport::Channel;

use super::client::coordinator_client::CoordinatorClient;
use crate::durable;
use crate::feed::{FeedError, Feeds};
use crate::logs::Logs;

/// Pause when there is nothing to look for, and between two looks for one entry.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// An entry that was acknowledged is overdue after this: publication takes a second, and witnesses may be away.
const OVERDUE_AFTER: Duration = Duration::from_hours(1);

/// Bytes of entries that are looked for before the feed is read again.
const READ_BYTES_MAX: usize = 256 * 1024;

/// How far the own feed is in the log: what `sync-status` shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Logged {
    /// Entries that the coordinator has acknowledged.
    pub acknowledged: u64,
    /// Which is looked for next. Those before it were found, or acknowledged before this node first looked.
    pub next: u64,
    /// The next one, if it is missing.
    pub missing: Option<u64>,
}

/// What the coordinator answers about the next entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It is in the log.
    Logged,
    /// It is not in the tree of this size.
    Absent { size: u64 },
}

/// The search, from entry to entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Search {
    /// Entries before this one were found.
    next: u64,
    absent: Option<Absent>,
}

/// An entry that was looked for and not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Absent {
    since: Timestamp,
    /// The log's size when the entry was first overdue.
    overdue_at: Option<u64>,
    is_missing: bool,
}

/// Why an answer says nothing.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("coordinator not reached or not willing")]
    Rpc(#[source] Box<tonic::Status>),
    #[error("the checkpoint is no note")]
    Note(#[source] NoteError),
    #[error("the checkpoint is not one of the log in the policy")]
    Checkpoint(#[source] CheckpointError),
    #[error("the witnesses in the policy have not seen the checkpoint")]
    Witnesses(#[source] PolicyError),
    #[error("the proof does not hold")]
    Proof(#[source] ProofError),
    #[error("a task has ended")]
    Task,
    #[error(transparent)]
    Feed(#[from] FeedError),
}

impl Search {
    /// What `to_text` wrote. None of what cannot be read.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let next = words.next()?.parse().ok()?;
        let since = words.next().and_then(|word| word.parse().ok());
        let overdue_at = words.next().and_then(|word| word.parse().ok());
        Some(Self { next, absent: since.map(|since| Absent { since, overdue_at, is_missing: false }) })
    }

    /// The next entry, since when it is absent, and the log's size when it was first overdue. That it is missing the first answer after a
    /// restart says again.
    fn to_text(self) -> String {
        let since = self.absent.map_or_else(String::new, |absent| format!(" {}", absent.since));
        let overdue_at = self.absent.and_then(|absent| absent.overdue_at).map_or_else(String::new, |size| format!(" {size}"));
        format!("{}{since}{overdue_at}\n", self.next)
    }

    /// Takes an answer about the next entry.
    fn take(&mut self, answer: Answer, now: Timestamp) {
        let Answer::Absent { size } = answer else {
            *self = Self { next: self.next + 1, absent: None };
            return;
        };
        let absent = self.absent.get_or_insert(Absent { since: now, overdue_at: None, is_missing: false });
        // A clock that was ahead and was set back would else be waited for.
        absent.since = absent.since.min(now);
        if now >= absent.since.plus(OVERDUE_AFTER) {
            let overdue_at = *absent.overdue_at.get_or_insert(size);
            absent.is_missing |= size > overdue_at;
        }
    }

    fn missing(&self) -> Option<u64> {
        self.absent.filter(|absent| absent.is_missing).map(|_| self.next)
    }
}

/// The log that the policy names, and whose cosignatures its checkpoints must have.
pub(crate) struct Log {
    key: VerifierKey,
    witnesses: Option<TlogPolicy>,
}

impl Log {
    /// None where the key or the witnesses cannot be read: nothing could be proven under them.
    pub(crate) fn of(policy: &LogPolicy) -> Option<Self> {
        let witnesses = policy.witnesses.as_ref().map(|text| TlogPolicy::parse(text.as_bytes())).transpose().ok()?;
        Some(Self { key: policy.key.parse().ok()?, witnesses })
    }

    /// What the coordinator says about an entry, and the checkpoint that it says it with.
    fn read(&self, view: &EntryProofView, envelope: &[u8]) -> Result<(Answer, SignedNote), LookError> {
        if view.proof.is_empty() {
            let note = SignedNote::parse(&view.note).map_err(LookError::Note)?;
            let size = self.open(&note)?.size();
            return Ok((Answer::Absent { size }, note));
        }
        let proof = TlogProof::parse(&view.proof).map_err(LookError::Proof)?;
        self.open(proof.checkpoint())?;
        proof.verify(envelope, &self.key).map_err(LookError::Proof)?;
        Ok((Answer::Logged, proof.checkpoint().clone()))
    }

    fn open(&self, note: &SignedNote) -> Result<Checkpoint, LookError> {
        match &self.witnesses {
            Some(witnesses) => Ok(witnesses.accept_of(&self.key, note).map_err(LookError::Witnesses)?.checkpoint),
            None => Checkpoint::from_note(note, &self.key).map_err(LookError::Checkpoint),
        }
    }
}

/// What is looked for, and where.
pub(crate) struct Subject {
    /// The own feed.
    pub(crate) feeds: Feeds,
    /// Whose it is.
    pub(crate) node: NodeId,
    /// The log that the entries must be in.
    pub(crate) log: Log,
    /// Hears of every checkpoint that is answered with.
    pub(crate) logs: Logs,
}

/// The task's state.
pub(crate) struct Seeker {
    subject: Subject,
    client: CoordinatorClient<Channel>,
    acknowledged: watch::Receiver<u64>,
    shown: watch::Sender<Logged>,
    search: Search,
    /// A hint: when it is lost the search begins at the newest entry.
    remembered: PathBuf,
    heard: Option<SignedNote>,
}

impl Seeker {
    /// Begins where the file `remembered` says that the search before ended, else at the newest entry.
    pub(super) fn new(
        subject: Subject,
        client: CoordinatorClient<Channel>,
        acknowledged: watch::Receiver<u64>,
        remembered: PathBuf,
    ) -> (Self, watch::Receiver<Logged>) {
        let hint = fs::read_to_string(&remembered).ok().and_then(|text| Search::parse(&text));
        let search = hint.unwrap_or_else(|| Search { next: acknowledged.borrow().saturating_sub(1), absent: None });
        let (shown, receiver) = watch::channel(Logged::default());
        (Self { subject, client, acknowledged, shown, search, remembered, heard: None }, receiver)
    }

    /// Never returns.
    pub(crate) async fn run(mut self) {
        self.remember();
        loop {
            let before = self.search;
            match self.look().await {
                Ok(()) => {}
                // The submitter says so already.
                Err(LookError::Rpc(status)) => tracing::debug!(%status, "own entries are not looked for in the log now"),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, sequence = self.search.next, "an answer about an own entry in the log proves nothing");
                }
            }
            if self.search != before {
                self.remember();
            }
            self.show();
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Looks for what was acknowledged, until one entry is not found, or for as many as are read at once.
    async fn look(&mut self) -> Result<(), LookError> {
        let (feeds, from) = (self.subject.feeds.clone(), self.search.next);
        let due = usize::try_from(self.acknowledged.borrow().saturating_sub(from)).unwrap_or(usize::MAX);
        if due == 0 {
            return Ok(());
        }
        let items = tokio::task::spawn_blocking(move || feeds.own_items(from, READ_BYTES_MAX)).await;
        let items = items.map_err(|_| LookError::Task)??;
        for item in items.iter().take(due) {
            if self.ask(item).await? != Answer::Logged {
                break;
            }
        }
        Ok(())
    }

    async fn ask(&mut self, item: &FeedItem) -> Result<Answer, LookError> {
        let request = ProveEntryRequest { node: self.subject.node.as_bytes().to_vec().into(), sequence: self.search.next };
        let view = self.client.prove_entry(request).await.map_err(|status| LookError::Rpc(Box::new(status)))?.into_inner();
        let (answer, note) = self.subject.log.read(&view, &item.envelope)?;
        self.hear(note).await?;
        let before = self.search.missing();
        self.search.take(answer, SystemTime::now().into());
        match (before, self.search.missing()) {
            (None, Some(sequence)) => {
                tracing::error!(sequence, "an own entry is MISSING from the log: it was acknowledged, and the log has grown without it");
            }
            (Some(sequence), None) => tracing::warn!(sequence, "an own entry that was missing is in the log now"),
            _ => {}
        }
        Ok(answer)
    }

    /// What the log shows here it must show to everybody.
    async fn hear(&mut self, note: SignedNote) -> Result<(), LookError> {
        if self.heard.as_ref() != Some(&note) {
            let (logs, told) = (self.subject.logs.clone(), note.to_string());
            tokio::task::spawn_blocking(move || logs.hear(told.as_bytes())).await.map_err(|_| LookError::Task)?;
            self.heard = Some(note);
        }
        Ok(())
    }

    fn show(&self) {
        let next = self.search.next;
        // Where `submitted` was lost all is handed in again; what was found was acknowledged all the same.
        let acknowledged = next.max(*self.acknowledged.borrow());
        let shown = Logged { acknowledged, next, missing: self.search.missing() };
        self.shown.send_if_modified(|held| std::mem::replace(held, shown) != shown);
    }

    fn remember(&self) {
        if let Err(error) = durable::replace(&self.remembered, self.search.to_text().as_bytes()) {
            tracing::warn!(%error, "what was found in the log is not remembered; it will be looked for again");
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use quorate_tlog::{Cosigner, MemoryTiles, Signer, Tree, TreeView, leaf_hash};

    use super::*;

    /// A time of the tests' clock.
    fn minute(minute: i64) -> Timestamp {
        Timestamp::from_unix_seconds(1_800_000_000 + minute * 60)
    }

    fn signer(seed: u8) -> Signer {
        Signer::from_seed("log.example".parse().unwrap(), &[seed; 32])
    }

    fn cosigner() -> Cosigner {
        Cosigner::from_seed("witness.example/w1".parse().unwrap(), &[61; 32])
    }

    /// The log as the policy has it, with a witness or without.
    fn log(witnesses: Option<String>) -> Log {
        Log::of(&LogPolicy { origin: "log.example".to_owned(), key: signer(1).verifier().to_string(), witnesses }).unwrap()
    }

    /// What a coordinator answers about leaf 2 of a log of so many: that it is not there, if it leaves it out.
    fn answer(size: u64, signer: &Signer, leaves_out: bool, cosigned: bool) -> EntryProofView {
        let leaves: Vec<_> = (0..size).map(|n| leaf_hash(format!("entry {n}").as_bytes())).collect();
        let appended = Tree::new().append(&leaves).unwrap();
        let mut tiles = MemoryTiles::default();
        tiles.0.extend(appended.tiles.into_iter().map(|tile| (tile.path, tile.bytes)));
        let head = appended.tree.head();
        let mut note = Checkpoint::new("log.example".parse().unwrap(), head).unwrap().sign(signer).unwrap();
        if cosigned {
            let cosignature = cosigner().cosign(note.unverified_text(), 1).unwrap();
            note = note.with_signature(cosignature).unwrap();
        }
        let bytes = note.to_string().into();
        if leaves_out {
            return EntryProofView { note: bytes, proof: Vec::new().into() };
        }
        let (_, inclusion) = TreeView::new(head, &tiles).unwrap().inclusion(2).unwrap();
        EntryProofView { note: bytes, proof: TlogProof::new(inclusion, note).unwrap().to_string().into() }
    }

    #[test]
    fn a_coordinator_that_leaves_an_acknowledged_entry_out_of_its_log_is_found_out() {
        let log = log(None);
        let mut search = Search { next: 7, absent: None };
        let mut says = |size, leaves_out, now| {
            let (answer, note) = log.read(&answer(size, &signer(1), leaves_out, false), b"entry 2").unwrap();
            assert!(note.unverified_text().contains("log.example"));
            search.take(answer, now);
            search.missing()
        };
        assert_eq!(says(5, true, minute(0)), None);
        assert_eq!(says(6, true, minute(60)), None);
        assert_eq!(says(7, true, minute(61)), Some(7));
        assert_eq!(says(8, false, minute(120)), None, "put in after all");
    }

    #[test]
    fn an_answer_says_something_only_under_the_logs_key_about_this_entry_and_with_the_policys_witnesses() {
        let plain = log(None);
        for leaves_out in [true, false] {
            assert!(plain.read(&answer(5, &signer(1), leaves_out, false), b"entry 2").is_ok());
            assert!(plain.read(&answer(5, &signer(2), leaves_out, true), b"entry 2").is_err());
            let witnessed = log(Some(format!("witness w1 {}\nquorum w1\n", cosigner().verifier())));
            assert!(witnessed.read(&answer(5, &signer(1), leaves_out, true), b"entry 2").is_ok());
            let unseen = witnessed.read(&answer(5, &signer(1), leaves_out, false), b"entry 2");
            assert!(matches!(unseen, Err(LookError::Witnesses(PolicyError::Quorum { .. }))));
        }
        assert!(matches!(plain.read(&answer(5, &signer(1), false, false), b"entry 3"), Err(LookError::Proof(_))));
        let nothing = EntryProofView { note: Vec::new().into(), proof: Vec::new().into() };
        assert!(matches!(plain.read(&nothing, b"entry 2"), Err(LookError::Note(_))));
    }

    /// Answers about entry 0, each at a minute and with a size of the log. The node is started again before each of them, or never.
    fn missing_after(answers: &[(i64, u64)]) -> bool {
        let [without, with] = [false, true].map(|restarts| {
            let mut search = Search::default();
            for (at, size) in answers {
                if restarts {
                    search = Search::parse(&search.to_text()).unwrap();
                }
                search.take(Answer::Absent { size: *size }, minute(*at));
            }
            search.missing()
        });
        assert_eq!(without, with, "a restart changes nothing");
        with == Some(0)
    }

    #[test]
    fn missing_is_what_an_overdue_answer_lacks_though_the_log_has_grown_since() {
        assert!(missing_after(&[(5, 10), (65, 10), (66, 11)]));
        // Not overdue; just overdue; and a log that stands still, however long.
        assert!(!missing_after(&[(5, 10), (20, 11), (64, 500)]));
        assert!(!missing_after(&[(5, 10), (65, 500)]));
        assert!(!missing_after(&[(5, 10), (65, 10), (600, 10)]));
        // Nobody answered for a day: only then is it overdue, and the log has still to grow.
        assert!(!missing_after(&[(5, 10), (1_440, 10)]));
        assert!(missing_after(&[(5, 10), (1_440, 10), (1_441, 12)]));
        assert!(!missing_after(&[(1_440, 10), (1_441, 12)]), "the first answer after a long silence begins the wait");
    }

    #[test]
    fn an_entry_that_is_found_ends_the_search_for_it_and_begins_that_for_the_next() {
        let mut search = Search { next: 7, absent: None };
        search.take(Answer::Absent { size: 10 }, minute(0));
        search.take(Answer::Absent { size: 11 }, minute(60));
        search.take(Answer::Absent { size: 12 }, minute(120));
        assert_eq!(search.missing(), Some(7));
        search.take(Answer::Logged, minute(180));
        assert_eq!(search, Search { next: 8, absent: None });
        search.take(Answer::Absent { size: 13 }, minute(540));
        assert_eq!(search.missing(), None, "each entry has its own wait");
    }

    #[test]
    fn a_node_that_is_started_again_every_fifty_minutes_finds_out_too() {
        let found: Vec<_> = (0..4_u64).map(|run| (i64::try_from(run).unwrap() * 50, 10 + run)).collect();
        assert!(!missing_after(&found[..3]), "overdue at 100, and has not grown since");
        assert!(missing_after(&found));
    }

    #[test]
    fn a_clock_that_was_ahead_is_not_waited_for() {
        assert!(missing_after(&[(9_000_000, 10), (0, 10), (60, 10), (61, 11)]));
    }

    #[test]
    fn what_is_remembered_is_read_as_far_as_it_goes() {
        assert_eq!(Search::parse("7\n"), Some(Search { next: 7, absent: None }), "as earlier releases wrote it");
        assert_eq!(Search::parse("7 soon 9\n"), Some(Search { next: 7, absent: None }));
        let absent = Absent { since: minute(0), overdue_at: Some(12), is_missing: true };
        let text = Search { next: 7, absent: Some(absent) }.to_text();
        assert_eq!(text, "7 2027-01-15T08:00:00Z 12\n");
        assert_eq!(Search::parse(&text).unwrap().absent, Some(Absent { is_missing: false, ..absent }));
        assert_eq!((Search::parse(""), Search::parse("x")), (None, None));
    }
}
