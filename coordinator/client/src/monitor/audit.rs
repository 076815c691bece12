//! The log read from its first entry: the tree that the entries give, and whether each verdict follows from
//! the results before it under the policy that it names.
//!
//! Which entries belong to a slot, and which are second histories, is `docs/spec/coordinator-storage.md`, section
//! "Leaves". Believes the log in nothing but its order.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use quorate_proto::certificate::{CERTIFICATE_BYTES_MAX, NodeCertificate, VerifiedCertificate};
use quorate_proto::commitment::Commitment;
use quorate_proto::declaration::{Declaration, VerifiedDeclaration};
use quorate_proto::drill::{Drill, VerifiedDrill};
use quorate_proto::dsse::Envelope;
use quorate_proto::entry::VerifiedEntry;
use quorate_proto::feed::EquivocationProof;
use quorate_proto::result::RebuildResult;
use quorate_proto::statement::{Predicate as _, Statement, StatementError, predicate_type};
use quorate_proto::verified::{FeedItem, RejectError};
use quorate_proto::witness_check::WitnessCheck;
use quorate_proto::{ArtifactId, ArtifactSlot, Digest, NodeId, OperatorId, Timestamp};
use quorate_tally::drills::{self, Drilled, Void};
use quorate_tally::record::{Ownership, Record, owners};
use quorate_tally::{ENGINE, Mark, Policy, Verdict, VerdictSummary};
use quorate_tlog::tree::TreeFull;
use quorate_tlog::{Entry as LogEntry, MemoryTiles, Tree, TreeHead, VerifierKey};

use super::course::{self, Lack, Last};
use super::due::{Read, Stirred};
use super::kept::{EntryId, Kept, SlotId};
use super::occasion::About;
use super::opened::{Certificates, Opened};
use super::recompute::{Grounds, Marked, contradiction};

/// What the leaf of a policy begins with.
const POLICY_MAGIC: &[u8] = b"quorate-policy/v1\n";

/// What was read so far.
pub(super) struct Audit {
    /// The log's key, which signs drills too.
    key: VerifierKey,
    tree: Tree,
    tiles: MemoryTiles,
    /// The certificate in force of each node, by the key id that its envelopes name.
    certificates: Certificates,
    /// What stands at each place of each node's feed.
    feeds: Feeds,
    kept: Kept,
    grounds: Grounds,
    /// The marks that were found in a slot, until something about it comes.
    marked: HashMap<SlotId, Marked>,
    /// The last verdict on each artifact.
    verdicts: Verdicts,
    /// Slots with results that perhaps no verdict has considered.
    unconsidered: BTreeSet<SlotId>,
    /// What else verdicts perhaps do not say.
    stirred: Stirred,
    /// Of whom a verdict has called a vote its own.
    owners: BTreeSet<OperatorId>,
    /// How many results, verdicts, and verdicts of engines that are not known here.
    pub(super) counts: Counts,
    /// What does not hold, and where.
    pub(super) findings: Vec<(u64, String)>,
}

/// What stands at each place of each node's feed.
pub(super) type Feeds = HashMap<NodeId, BTreeMap<u64, Place>>;

/// The last verdict on each artifact.
pub(super) type Verdicts = HashMap<(SlotId, Digest), Last>;

/// What stands at a place in a feed: enough to prove that another envelope contradicts it.
pub(super) struct Place {
    pub(super) digest: Digest,
    pub(super) entry: EntryId,
}

/// A drill that was opened, and what it shows.
pub(super) type Shown<'a> = (&'a drills::Opened, Result<Drilled, Void>);

/// What keeps an audit from going on. Findings do not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditError {
    /// Larger than any tree.
    #[error("the log is too large")]
    Full(#[from] TreeFull),
    /// What was read cannot be kept.
    #[error("keeping what was read in the folder for temporary files")]
    Kept(#[from] io::Error),
}

/// Why an entry is not taken in.
enum Amiss {
    /// It does not hold.
    Finding(String),
    /// Nobody can tell: what came before it cannot be read back.
    Kept(io::Error),
}

/// What was read, by kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) results: u64,
    pub(super) verdicts: u64,
    pub(super) other_engines: u64,
    /// Of these those by rules that are newer, or nobody's.
    pub(super) unknown_engines: u64,
}

impl From<String> for Amiss {
    fn from(said: String) -> Self {
        Self::Finding(said)
    }
}

impl From<&str> for Amiss {
    fn from(said: &str) -> Self {
        Self::Finding(said.to_owned())
    }
}

impl From<io::Error> for Amiss {
    fn from(error: io::Error) -> Self {
        Self::Kept(error)
    }
}

impl Audit {
    /// Nothing was read yet of the log with this key.
    pub(super) fn new(key: VerifierKey) -> io::Result<Self> {
        Ok(Self {
            key,
            tree: Tree::default(),
            tiles: MemoryTiles::default(),
            certificates: Certificates::new(),
            feeds: Feeds::new(),
            kept: Kept::new()?,
            grounds: Grounds::default(),
            marked: HashMap::new(),
            verdicts: Verdicts::new(),
            unconsidered: BTreeSet::new(),
            stirred: Stirred::default(),
            owners: BTreeSet::new(),
            counts: Counts::default(),
            findings: Vec::new(),
        })
    }

    pub(super) fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The digest of what stands in the log for a place in a node's feed: of two, the first.
    pub(super) fn at(&self, node: NodeId, sequence: u64) -> Option<Digest> {
        Some(self.feeds.get(&node)?.get(&sequence)?.digest)
    }

    /// The places of a node's feed that the log has, in order.
    pub(super) fn sequences(&self, node: NodeId) -> impl Iterator<Item = u64> {
        self.feeds.get(&node).into_iter().flat_map(BTreeMap::keys).copied()
    }

    pub(super) fn head(&self) -> TreeHead {
        self.tree.head()
    }

    pub(super) fn tiles(&self) -> &MemoryTiles {
        &self.tiles
    }

    /// What this machine's clock says: nothing in the log can be of a later time.
    pub(super) fn now_is(&mut self, now: Timestamp) {
        self.grounds.times.now = Some(now);
    }

    /// Takes the entries that come next. After an error this audit knows less than it has counted: only another can go on.
    pub(super) fn take(&mut self, entries: &[LogEntry]) -> Result<(), AuditError> {
        let first = self.size();
        let opened = Opened::all(entries, &self.certificates);
        let appended = self.tree.append(&opened.iter().map(|entry| entry.hash).collect::<Vec<_>>())?;
        self.tree = appended.tree;
        self.tiles.0.extend(appended.tiles.into_iter().map(|tile| (tile.path, tile.bytes)));
        for (leaf, entry) in (first..).zip(opened) {
            match self.entry(leaf, entry) {
                Ok(()) => {}
                Err(Amiss::Finding(said)) => self.findings.push((leaf, said)),
                Err(Amiss::Kept(error)) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn entry(&mut self, leaf: u64, opened: Opened<'_>) -> Result<(), Amiss> {
        let bytes = opened.bytes;
        if let Some(policy) = bytes.strip_prefix(POLICY_MAGIC) {
            let text = std::str::from_utf8(policy).map_err(|error| error.to_string())?;
            let policy = Policy::parse(text).map_err(|error| error.to_string())?;
            self.grounds.in_force = Some(policy.digest());
            self.grounds.policies.insert(policy.digest(), policy);
            return Ok(());
        }
        let envelope = opened.envelope.map_err(|error| error.to_string())?;
        // Nearly all entries are of feeds of nodes that are known: those are parsed once.
        if let Some(certificate) = self.certificates.get(envelope.key_id()).cloned() {
            let verified = opened.verified.filter(|(under, _)| Arc::ptr_eq(under, &certificate));
            match verified.map_or_else(|| VerifiedEntry::verify_envelope(&envelope, &certificate), |(_, verified)| verified) {
                Ok(entry) => return self.feed_entry(leaf, bytes, certificate, entry),
                Err(RejectError::Statement(StatementError::PredicateType { .. })) => {}
                Err(error) => return Err(error.to_string().into()),
            }
        }
        let kind = predicate_type(envelope.payload()).map_err(|error| error.to_string())?;
        if kind == NodeCertificate::TYPE {
            Ok(self.certificate(bytes)?)
        } else if [RebuildResult::TYPE, Commitment::TYPE, WitnessCheck::TYPE].contains(&kind.as_str()) {
            Err("an entry of a feed without a certificate before it".into())
        } else if kind == VerdictSummary::TYPE {
            self.verdict(leaf, envelope.payload())
        } else if kind == Drill::TYPE {
            Ok(self.drill(leaf, bytes)?)
        } else if Declaration::is_type(&kind) {
            let declared = VerifiedDeclaration::verify(bytes).map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
            self.declaration(leaf, declared);
            Ok(())
        } else {
            Err("an entry of an unknown kind".into())
        }
    }

    fn certificate(&mut self, bytes: &[u8]) -> Result<(), String> {
        let envelope = Envelope::parse(bytes, CERTIFICATE_BYTES_MAX).map_err(|error| error.to_string())?;
        let statement = Statement::<NodeCertificate>::parse(envelope.payload()).map_err(|error| error.to_string())?;
        let named = BTreeSet::from([statement.predicate.operator]);
        let certificate = VerifiedCertificate::verify(bytes, &named).map_err(|error| error.to_string())?;
        self.certificates.insert(certificate.node_key_id(), Arc::new(certificate));
        Ok(())
    }

    fn feed_entry(&mut self, leaf: u64, bytes: &[u8], certificate: Arc<VerifiedCertificate>, entry: VerifiedEntry) -> Result<(), Amiss> {
        self.counts.results += u64::from(entry.result().is_some());
        self.grounds.times.signed(leaf, entry.signed_at());
        let (digest, position, is_result) = (entry.digest(), entry.position(), entry.result().is_some());
        let feed = self.feeds.entry(position.node).or_default();
        let end = feed.last_key_value().map(|(sequence, place)| (*sequence, place.digest)).unzip();
        let follows = end == (position.sequence.checked_sub(1), position.previous);
        let place = match feed.entry(position.sequence) {
            Entry::Occupied(held) if held.get().digest == digest => return Err("an entry that is in the log already".into()),
            Entry::Occupied(held) => {
                let operators = BTreeSet::from([certificate.operator()]);
                let new = FeedItem { certificate: certificate.bytes().to_vec(), envelope: bytes.to_vec() };
                let held = self.kept.item(held.get().entry)?;
                let proof = EquivocationProof::verify(held, new, &operators).map_err(|error| error.to_string())?;
                let about = About::Speaker { operator: proof.operator(), node: None, since: 0 };
                self.stirred.occasions.add(leaf, about, self.grounds.times.now);
                self.grounds.proofs.push((leaf, proof));
                return Ok(());
            }
            Entry::Vacant(place) => place,
        };
        let (entry, slot) = self.kept.take(leaf, bytes, certificate, entry)?;
        place.insert(Place { digest, entry });
        if is_result {
            self.unconsidered.insert(slot);
        }
        self.marked.remove(&slot);
        if follows {
            Ok(())
        } else {
            Err(format!("entry {} of {} does not follow the one before it here", position.sequence, position.node).into())
        }
    }

    fn drill(&mut self, leaf: u64, bytes: &[u8]) -> Result<(), String> {
        let key = NodeId::from_bytes(*self.key.public()).map_err(|error| error.to_string())?;
        let drill =
            VerifiedDrill::verify(bytes, &key, self.key.name().as_str()).map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
        if let Some(slot) = self.grounds.drills.take(leaf, &drill) {
            self.marked.remove(&self.kept.slot(&slot));
            self.stirred.occasions.add(leaf, About::Slot(slot), self.grounds.times.now);
        }
        Ok(())
    }

    fn declaration(&mut self, leaf: u64, declared: VerifiedDeclaration) {
        // What nobody listens to changes nothing.
        let is_heard = self.grounds.policies.values().any(|policy| policy.hears(declared.declaration()));
        if let Some(about) = About::of(&self.grounds.declarations, &declared).filter(|_| is_heard) {
            self.stirred.occasions.add(leaf, about, self.grounds.times.now);
            if let Declaration::Vouch(vouch) = declared.declaration() {
                self.stirred.occasions.add_end(vouch.until, vouch.digest);
            }
        }
        self.grounds.declarations.take(leaf, Arc::new(declared));
    }

    fn verdict(&mut self, leaf: u64, payload: &[u8]) -> Result<(), Amiss> {
        self.counts.verdicts += 1;
        let summary = Statement::<VerdictSummary>::parse(payload).map_err(|error| error.to_string())?.predicate;
        self.stirred.occasions.considered(summary.log_size.min(leaf), summary.time_verified);
        let verdict = summary.verdict;
        let slot = self.kept.slot(&verdict.artifact.slot);
        self.grounds.packages.take(leaf, slot, &verdict);
        if verdict.engine != ENGINE {
            return Ok(self.of_another_engine(&verdict.engine)?);
        }
        let policy = self.grounds.policies.get(&verdict.policy).ok_or("a verdict under a policy that is not in the log before it")?;
        if summary.log_size > leaf {
            return Err("a verdict that rests on what came after it".into());
        }
        let entries = self.kept.entries(slot)?;
        let recomputed = self.grounds.recompute(entries, policy, &verdict, summary.log_size);
        if recomputed != verdict {
            return Err(contradiction(&verdict, &recomputed).into());
        }
        self.owners.extend(owners(&verdict));
        let proofs = self.grounds.proofs_read(&verdict, summary.log_size);
        let last = Last { leaf, size: summary.log_size, as_of: verdict.as_of, policy: verdict.policy, proofs };
        let before = self.verdicts.insert((slot, verdict.artifact.digest), last);
        let considers_all = |last: &Last| entries.results_since(last.size).next().is_none();
        if entries.artifacts().into_iter().all(|artifact| self.verdicts.get(&(slot, artifact.digest)).is_some_and(considers_all)) {
            self.unconsidered.remove(&slot);
        } else {
            self.unconsidered.insert(slot);
        }
        Ok(self.follows(&verdict, last, before)?)
    }

    /// Rules may be replaced by newer ones, never the other way round: else whoever lies names rules that nobody can apply.
    fn of_another_engine(&mut self, engine: &str) -> Result<(), String> {
        let made = self.counts.verdicts - self.counts.other_engines > 1;
        self.counts.other_engines += 1;
        match (course::is_older(engine), made) {
            (true, true) => Err(format!("a verdict by the rules `{}` after one by `{ENGINE}`", crate::text::plain(engine))),
            (true, false) => Ok(()),
            (false, _) => {
                self.counts.unknown_engines += 1;
                Ok(())
            }
        }
    }

    /// What a verdict says follows from what it considers; whether it was right to consider no more.
    fn follows(&mut self, verdict: &Verdict, last: Last, before: Option<Last>) -> Result<(), String> {
        self.grounds.in_force = Some(verdict.policy);
        let file = || crate::text::plain(verdict.artifact.slot.file.as_str());
        if let Some(before) = before.filter(|before| last.size < before.size) {
            return Err(format!("the verdict on {} considers less of the log than the one before it, entry {}", file(), before.leaf));
        }
        let fault = verdict.as_of.and_then(|as_of| self.grounds.times.contradict(as_of, last.size));
        fault.map_or(Ok(()), |fault| Err(format!("the verdict on {} {fault}", file())))
    }

    /// Witnesses say that the log had all that was read at that time.
    pub(super) fn cosigned(&mut self, at: Timestamp) {
        self.stirred.occasions.cosigned(self.size(), at);
    }

    /// Artifacts on which the last verdict does not say what results that were signed long enough before `now` say, or what else was
    /// said so long before it; or on which there is none.
    pub(super) fn due(&mut self, now: Timestamp) -> Result<BTreeSet<ArtifactId>, AuditError> {
        let Self { stirred, kept, grounds, verdicts, feeds, .. } = self;
        let mut due = stirred.due(&mut Read { kept, grounds, verdicts, feeds }, now)?;
        let asked = stirred.asked(now);
        let mut waiting = BTreeSet::new();
        for slot in &self.unconsidered {
            let entries = self.kept.entries(*slot)?;
            for artifact in entries.artifacts() {
                let lack = self.grounds.lacks(entries, artifact, self.verdicts.get(&(*slot, artifact.digest)), asked);
                due.extend(lack.filter(|lack| *lack == Lack::Due).map(|_| artifact.clone()));
                if lack.is_some() {
                    waiting.insert(*slot);
                }
            }
        }
        self.unconsidered = waiting;
        Ok(due)
    }

    /// The operators that may have copied everything, with how many tasks each has results of.
    pub(super) fn followers(&self) -> Vec<(OperatorId, usize)> {
        let mut tasks: BTreeMap<OperatorId, usize> = BTreeMap::new();
        for operator in self.kept.operators().flatten() {
            *tasks.entry(operator).or_default() += 1;
        }
        let owns = |operator: OperatorId| if self.owners.contains(&operator) { Ownership::Once } else { Ownership::Never };
        tasks.into_iter().filter(|(operator, tasks)| Record { tasks: *tasks, owns: owns(*operator) }.is_follower()).collect()
    }

    /// All drills that were opened, and what each shows.
    pub(super) fn drills(&mut self) -> Result<Vec<Shown<'_>>, AuditError> {
        let Self { grounds, kept, .. } = self;
        let all = grounds.drills.opened().map(|opened| {
            let slot = kept.slot(&opened.artifact.slot);
            Ok((opened, opened.shows(kept.entries(slot)?.results())))
        });
        all.collect()
    }

    /// How many drills are announced and not opened.
    pub(super) fn hidden_drills(&self) -> usize {
        self.grounds.drills.hidden().count()
    }

    /// Every mark that the log shows as of a time, by slot. Only where there is a commitment or a drill can be one.
    pub(super) fn marks(&mut self, as_of: Timestamp) -> Result<Vec<(ArtifactSlot, Mark)>, AuditError> {
        let drilled: Vec<_> = self.grounds.drills.opened().map(|opened| self.kept.slot(&opened.artifact.slot)).collect();
        let slots: BTreeSet<_> = self.kept.committed().chain(drilled).collect();
        let mut found = Vec::new();
        for slot in slots {
            if !self.marked.get(&slot).is_some_and(|marked| marked.holds(as_of)) {
                let name = self.kept.name(slot).clone();
                let marked = self.grounds.marked(&name, self.kept.entries(slot)?, as_of);
                self.marked.insert(slot, marked);
            }
            let name = self.kept.name(slot);
            found.extend(self.marked[&slot].marks.iter().map(|mark| (name.clone(), mark.clone())));
        }
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(found)
    }
}
