//! The log read from its first entry: the tree that the entries give, and whether each verdict follows from
//! the results before it under the policy that it names.
//!
//! Which entries belong to a slot, and which are second histories, is `docs/spec/coordinator-storage.md`, section
//! "Leaves". Believes the log in nothing but its order.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use quorate_proto::certificate::{CERTIFICATE_BYTES_MAX, NodeCertificate, VerifiedCertificate};
use quorate_proto::commitment::Commitment;
use quorate_proto::declaration::{Declaration, VerifiedDeclaration};
use quorate_proto::drill::{Drill, VerifiedDrill};
use quorate_proto::dsse::Envelope;
use quorate_proto::entry::{VerifiedCheck, VerifiedCommitment, VerifiedEntry};
use quorate_proto::feed::EquivocationProof;
use quorate_proto::result::RebuildResult;
use quorate_proto::statement::{Predicate as _, Statement, StatementError, predicate_type};
use quorate_proto::verified::{FeedItem, RejectError, VerifiedStatement};
use quorate_proto::witness_check::WitnessCheck;
use quorate_proto::{ArtifactId, ArtifactSlot, Digest, NodeId, OperatorId, Timestamp};
use quorate_tally::ballot::Ballot;
use quorate_tally::drills::{Drilled, Drills, Opened, Void};
use quorate_tally::grade::{CHECKS_OF_A_NODE_MAX, COMMITMENTS_OF_A_NODE_MAX};
use quorate_tally::record::{Ownership, Record, owners};
use quorate_tally::{Circumstances, Confirmation, Declarations, ENGINE, Mark, Policy, State, Verdict, VerdictSummary, marks, tally_as_of};
use quorate_tlog::bundle::ENTRY_BYTES_MAX;
use quorate_tlog::tree::TreeFull;
use quorate_tlog::{Entry as LogEntry, MemoryTiles, Tree, TreeHead, VerifierKey};

use super::course::{self, Lack, Last, Times};
use super::history::Packages;

/// What the leaf of a policy begins with.
const POLICY_MAGIC: &[u8] = b"quorate-policy/v1\n";

/// What was read so far.
pub(super) struct Audit {
    /// The log's key, which signs drills too.
    key: VerifierKey,
    tree: Tree,
    tiles: MemoryTiles,
    /// The certificate in force of each node, by the key id that its envelopes name.
    certificates: HashMap<String, Arc<VerifiedCertificate>>,
    places: BTreeMap<(NodeId, u64), Place>,
    slots: HashMap<ArtifactSlot, Slot>,
    commitments: HashMap<ArtifactSlot, Vec<(u64, Arc<VerifiedCommitment>)>>,
    checks: HashMap<ArtifactSlot, Vec<(u64, VerifiedCheck)>>,
    proofs: Vec<(u64, EquivocationProof)>,
    policies: BTreeMap<Digest, Policy>,
    /// The policy of the last verdict; before any, the last one that was logged.
    in_force: Option<Digest>,
    drills: Drills,
    times: Times,
    /// Slots with results that perhaps no verdict has considered.
    unconsidered: BTreeSet<ArtifactSlot>,
    packages: Packages,
    declarations: Declarations,
    /// Of whom a verdict has called a vote its own.
    owners: BTreeSet<OperatorId>,
    /// How many results, verdicts, and verdicts of engines that are not known here.
    pub(super) counts: Counts,
    /// What does not hold, and where.
    pub(super) findings: Vec<(u64, String)>,
}

/// What stands at a place in a feed: enough to prove that another envelope contradicts it.
struct Place {
    digest: Digest,
    certificate: Arc<VerifiedCertificate>,
    envelope: Vec<u8>,
}

/// The results about a slot in the order of the log, and their leaves.
#[derive(Default)]
struct Slot {
    leaves: Vec<u64>,
    statements: Vec<VerifiedStatement>,
    /// The last verdict on each digest.
    verdicts: BTreeMap<Digest, Last>,
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

impl Place {
    fn item(&self) -> FeedItem {
        FeedItem { certificate: self.certificate.bytes().to_vec(), envelope: self.envelope.clone() }
    }
}

impl Slot {
    fn add(&mut self, leaf: u64, statement: VerifiedStatement) {
        self.leaves.push(leaf);
        self.statements.push(statement);
    }

    /// The results before a size of the log.
    fn before(&self, size: u64) -> &[VerifiedStatement] {
        &self.statements[..self.leaves.partition_point(|leaf| *leaf < size)]
    }
}

impl Audit {
    /// Nothing was read yet of the log with this key.
    pub(super) fn new(key: VerifierKey) -> Self {
        Self {
            key,
            tree: Tree::default(),
            tiles: MemoryTiles::default(),
            certificates: HashMap::new(),
            places: BTreeMap::new(),
            slots: HashMap::new(),
            commitments: HashMap::new(),
            checks: HashMap::new(),
            proofs: Vec::new(),
            policies: BTreeMap::new(),
            in_force: None,
            drills: Drills::default(),
            times: Times::default(),
            unconsidered: BTreeSet::new(),
            packages: Packages::default(),
            declarations: Declarations::default(),
            owners: BTreeSet::new(),
            counts: Counts::default(),
            findings: Vec::new(),
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The digest of what stands in the log for a place in a node's feed: of two, the first.
    pub(super) fn at(&self, node: NodeId, sequence: u64) -> Option<Digest> {
        self.places.get(&(node, sequence)).map(|place| place.digest)
    }

    /// The places of a node's feed that the log has, in order.
    pub(super) fn sequences(&self, node: NodeId) -> impl Iterator<Item = u64> {
        self.places.range((node, 0)..=(node, u64::MAX)).map(|((_, sequence), _)| *sequence)
    }

    pub(super) fn head(&self) -> TreeHead {
        self.tree.head()
    }

    pub(super) fn tiles(&self) -> &MemoryTiles {
        &self.tiles
    }

    /// What this machine's clock says: nothing in the log can be of a later time.
    pub(super) fn now_is(&mut self, now: Timestamp) {
        self.times.now = Some(now);
    }

    /// Takes the entries that come next.
    pub(super) fn take(&mut self, entries: &[LogEntry]) -> Result<(), TreeFull> {
        let first = self.size();
        let appended = self.tree.append(&entries.iter().map(LogEntry::leaf_hash).collect::<Vec<_>>())?;
        self.tree = appended.tree;
        self.tiles.0.extend(appended.tiles.into_iter().map(|tile| (tile.path, tile.bytes)));
        for (leaf, entry) in (first..).zip(entries) {
            if let Err(said) = self.entry(leaf, entry.as_bytes()) {
                self.findings.push((leaf, said));
            }
        }
        Ok(())
    }

    fn entry(&mut self, leaf: u64, bytes: &[u8]) -> Result<(), String> {
        if let Some(policy) = bytes.strip_prefix(POLICY_MAGIC) {
            let text = std::str::from_utf8(policy).map_err(|error| error.to_string())?;
            let policy = Policy::parse(text).map_err(|error| error.to_string())?;
            self.in_force = Some(policy.digest());
            self.policies.insert(policy.digest(), policy);
            return Ok(());
        }
        let envelope = Envelope::parse(bytes, ENTRY_BYTES_MAX).map_err(|error| error.to_string())?;
        // Nearly all entries are of feeds of nodes that are known: those are parsed once.
        if let Some(certificate) = self.certificates.get(envelope.key_id()).cloned() {
            match VerifiedEntry::verify_envelope(&envelope, &certificate) {
                Ok(entry) => return self.feed_entry(leaf, envelope, certificate, entry),
                Err(RejectError::Statement(StatementError::PredicateType { .. })) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        let kind = predicate_type(envelope.payload()).map_err(|error| error.to_string())?;
        if kind == NodeCertificate::TYPE {
            self.certificate(bytes)
        } else if [RebuildResult::TYPE, Commitment::TYPE, WitnessCheck::TYPE].contains(&kind.as_str()) {
            Err("an entry of a feed without a certificate before it".to_owned())
        } else if kind == VerdictSummary::TYPE {
            self.verdict(leaf, envelope.payload())
        } else if kind == Drill::TYPE {
            self.drill(leaf, bytes)
        } else if Declaration::is_type(&kind) {
            let declared = VerifiedDeclaration::verify(bytes).map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
            self.declarations.take(leaf, Arc::new(declared));
            Ok(())
        } else {
            Err("an entry of an unknown kind".to_owned())
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

    fn feed_entry(
        &mut self,
        leaf: u64,
        envelope: Envelope,
        certificate: Arc<VerifiedCertificate>,
        entry: VerifiedEntry,
    ) -> Result<(), String> {
        self.counts.results += u64::from(entry.result().is_some());
        self.times.signed(leaf, entry.signed_at());
        let position = entry.position();
        let follows = self.end_of(position.node) == (position.sequence.checked_sub(1), position.previous);
        let new = Place { digest: entry.digest(), certificate, envelope: envelope.into_bytes() };
        match self.places.entry((entry.node(), entry.position().sequence)) {
            Entry::Occupied(held) if held.get().digest == new.digest => return Err("an entry that is in the log already".to_owned()),
            Entry::Occupied(held) => {
                let operators = BTreeSet::from([new.certificate.operator()]);
                let proof = EquivocationProof::verify(held.get().item(), new.item(), &operators).map_err(|error| error.to_string())?;
                self.proofs.push((leaf, proof));
                return Ok(());
            }
            Entry::Vacant(place) => {
                place.insert(new);
            }
        }
        match entry {
            VerifiedEntry::Result(statement) => {
                let slot = statement.artifact().slot.clone();
                self.unconsidered.insert(slot.clone());
                self.slots.entry(slot).or_default().add(leaf, Arc::unwrap_or_clone(statement));
            }
            VerifiedEntry::Commitment(commitment) => self.commitment(leaf, commitment),
            VerifiedEntry::Check(check) => self.check(leaf, Arc::unwrap_or_clone(check)),
        }
        if follows {
            Ok(())
        } else {
            Err(format!("entry {} of {} does not follow the one before it here", position.sequence, position.node))
        }
    }

    /// The last place of a node's feed that the log has, and what stands there.
    fn end_of(&self, node: NodeId) -> (Option<u64>, Option<Digest>) {
        let last = self.places.range((node, 0)..=(node, u64::MAX)).next_back();
        last.map(|((_, sequence), place)| (*sequence, place.digest)).unzip()
    }

    /// Of a node the first few to one task are looked at.
    fn commitment(&mut self, leaf: u64, commitment: Arc<VerifiedCommitment>) {
        let held = self.commitments.entry(commitment.commitment().slot()).or_default();
        if held.iter().filter(|(_, other)| other.node() == commitment.node()).count() < COMMITMENTS_OF_A_NODE_MAX {
            held.push((leaf, commitment));
        }
    }

    /// Of a node the first so many of results in one slot are looked at; those that do not confirm say nothing.
    fn check(&mut self, leaf: u64, check: VerifiedCheck) {
        if !check.check().agreement.confirms() {
            return;
        }
        let held = self.checks.entry(check.check().slot()).or_default();
        if held.iter().filter(|(_, other)| other.position().node == check.position().node).count() < CHECKS_OF_A_NODE_MAX {
            held.push((leaf, check));
        }
    }

    fn drill(&mut self, leaf: u64, bytes: &[u8]) -> Result<(), String> {
        let key = NodeId::from_bytes(*self.key.public()).map_err(|error| error.to_string())?;
        let drill =
            VerifiedDrill::verify(bytes, &key, self.key.name().as_str()).map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
        self.drills.take(leaf, &drill);
        Ok(())
    }

    fn verdict(&mut self, leaf: u64, payload: &[u8]) -> Result<(), String> {
        self.counts.verdicts += 1;
        let summary = Statement::<VerdictSummary>::parse(payload).map_err(|error| error.to_string())?.predicate;
        let verdict = summary.verdict;
        self.packages.take(leaf, &verdict);
        if verdict.engine != ENGINE {
            return self.of_another_engine(&verdict.engine);
        }
        let policy = self.policies.get(&verdict.policy).ok_or("a verdict under a policy that is not in the log before it")?;
        if summary.log_size > leaf {
            return Err("a verdict that rests on what came after it".to_owned());
        }
        let recomputed = self.recompute(policy, &verdict, summary.log_size);
        if recomputed != verdict {
            return Err(contradiction(&verdict, &recomputed));
        }
        self.owners.extend(owners(&verdict));
        self.follows(leaf, &verdict, summary.log_size)
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
    fn follows(&mut self, leaf: u64, verdict: &Verdict, size: u64) -> Result<(), String> {
        self.in_force = Some(verdict.policy);
        let file = || crate::text::plain(verdict.artifact.slot.file.as_str());
        let last = Last { leaf, size, as_of: verdict.as_of, policy: verdict.policy };
        let verdicts = &mut self.slots.entry(verdict.artifact.slot.clone()).or_default().verdicts;
        let before = verdicts.insert(verdict.artifact.digest, last);
        if let Some(before) = before.filter(|before| size < before.size) {
            return Err(format!("the verdict on {} considers less of the log than the one before it, entry {}", file(), before.leaf));
        }
        let fault = verdict.as_of.and_then(|as_of| self.times.contradict(as_of, size));
        fault.map_or(Ok(()), |fault| Err(format!("the verdict on {} {fault}", file())))
    }

    /// What follows from all results of the slot before `size`, as of the time that the verdict names. Proofs of
    /// equivocation that came between that size and the verdict may have been known: those of operators that
    /// the verdict calls equivocated.
    fn recompute(&self, policy: &Policy, verdict: &Verdict, size: u64) -> Verdict {
        let called = |operator| verdict.votes.iter().any(|vote| vote.operator == operator && vote.ballot == Ballot::Equivocated);
        let known = self.proofs.iter().filter(|(leaf, proof)| *leaf < size || called(proof.operator()));
        let proofs: Vec<_> = known.map(|(_, proof)| proof.clone()).collect();
        // Where the time matters a verdict has to name one.
        let as_of = verdict.as_of.or_else(|| self.times.latest_before(size));
        self.tally(policy, &verdict.artifact, size, as_of, &proofs)
    }

    fn tally(&self, policy: &Policy, artifact: &ArtifactId, size: u64, as_of: Option<Timestamp>, proofs: &[EquivocationProof]) -> Verdict {
        let statements = self.slots.get(&artifact.slot).map_or(&[][..], |slot| slot.before(size));
        let committed = self.commitments.get(&artifact.slot).map_or(&[][..], Vec::as_slice);
        let commitments: Vec<_> = committed.iter().filter(|(leaf, _)| *leaf < size).map(|(_, entry)| Arc::clone(entry)).collect();
        let checked = self.checks.get(&artifact.slot).map_or(&[][..], Vec::as_slice);
        let checks = || checked.iter().filter(|(leaf, _)| *leaf < size).map(|(_, check)| check);
        let confirmations = Confirmation::among(checks(), statements);
        let others = commitments.iter().map(|entry| (entry.operator(), entry.node()));
        let others = others.chain(checks().map(|check| (check.operator(), check.position().node)));
        let others = others.chain(proofs.iter().map(|proof| (proof.operator(), proof.node())));
        let circumstances = Circumstances {
            as_of,
            equivocations: proofs,
            commitments: &commitments,
            confirmations: &confirmations,
            drills: &self.drilled(&artifact.slot, size),
            declarations: &self.declarations.about(&artifact.slot, size, statements.iter(), others),
        };
        let mut verdict = tally_as_of(policy, artifact, statements, circumstances);
        verdict.history = (verdict.state == State::Suspect).then(|| self.packages.history(&verdict, size));
        verdict
    }

    /// Artifacts of which results say something else than the last verdict, or have none, although they were signed long
    /// enough before `now`.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<ArtifactId> {
        let mut due = Vec::new();
        for name in std::mem::take(&mut self.unconsidered) {
            let Some(slot) = self.slots.get(&name) else { continue };
            let artifacts: BTreeSet<_> = slot.statements.iter().map(VerifiedStatement::artifact).collect();
            let lacking: Vec<_> = artifacts.into_iter().filter_map(|artifact| Some((artifact, self.lacks(artifact, slot, now)?))).collect();
            due.extend(lacking.iter().filter(|(_, lack)| *lack == Lack::Due).map(|(artifact, _)| (*artifact).clone()));
            if !lacking.is_empty() {
                self.unconsidered.insert(name);
            }
        }
        due
    }

    /// Whether a verdict on an artifact is yet to come.
    fn lacks(&self, artifact: &ArtifactId, slot: &Slot, now: Timestamp) -> Option<Lack> {
        let last = slot.verdicts.get(&artifact.digest);
        let considered = last.map_or(&[][..], |last| slot.before(last.size));
        let oldest = slot.statements[considered.len()..].iter().map(|result| result.result().finished_at).min()?;
        if now < oldest.plus(course::DUE_AFTER) {
            return Some(Lack::OnItsWay);
        }
        let policy = self.policies.get(&last.map(|last| last.policy).or(self.in_force)?)?;
        let proofs: Vec<_> = self.proofs.iter().map(|(_, proof)| proof.clone()).collect();
        let says = |size, as_of| Verdict { as_of: None, history: None, ..self.tally(policy, artifact, size, as_of, &proofs) };
        let newest = slot.statements.iter().map(|result| result.result().finished_at).max();
        let is_said = |last: &Last| {
            let held = says(last.size, last.as_of);
            [newest, Some(now)].into_iter().any(|as_of| says(u64::MAX, as_of) == held)
        };
        (!last.is_some_and(is_said)).then_some(Lack::Due)
    }

    /// The results about a slot, each with its leaf.
    fn results(&self, slot: &ArtifactSlot) -> impl Iterator<Item = (u64, &VerifiedStatement)> + Clone {
        self.slots.get(slot).into_iter().flat_map(|slot| slot.leaves.iter().copied().zip(&slot.statements))
    }

    fn drilled(&self, slot: &ArtifactSlot, size: u64) -> Vec<Drilled> {
        self.drills.shown(slot, size, &self.results(slot))
    }

    /// The operators that may have copied everything, with how many tasks each has results of.
    pub(super) fn followers(&self) -> Vec<(OperatorId, usize)> {
        let mut tasks: BTreeMap<OperatorId, usize> = BTreeMap::new();
        for results in self.slots.values() {
            let operators: BTreeSet<_> = results.statements.iter().map(VerifiedStatement::operator).collect();
            for operator in operators {
                *tasks.entry(operator).or_default() += 1;
            }
        }
        let owns = |operator: OperatorId| if self.owners.contains(&operator) { Ownership::Once } else { Ownership::Never };
        tasks.into_iter().filter(|(operator, tasks)| Record { tasks: *tasks, owns: owns(*operator) }.is_follower()).collect()
    }

    /// All drills that were opened, and what each shows.
    pub(super) fn drills(&self) -> impl Iterator<Item = (&Opened, Result<Drilled, Void>)> {
        self.drills.opened().map(|opened| (opened, opened.shows(self.results(&opened.artifact.slot))))
    }

    /// How many drills are announced and not opened.
    pub(super) fn hidden_drills(&self) -> usize {
        self.drills.hidden().count()
    }

    /// Every mark that the log shows as of a time, by slot. Only where there is a commitment or a drill can be one.
    pub(super) fn marks(&self, as_of: Timestamp) -> Vec<(&ArtifactSlot, Mark)> {
        let drilled = self.drills.opened().map(|opened| &opened.artifact.slot);
        let slots: BTreeSet<_> = self.commitments.keys().chain(drilled).collect();
        let mut found = Vec::new();
        for slot in slots {
            let commitments: Vec<_> = self.commitments.get(slot).into_iter().flatten().map(|(_, entry)| Arc::clone(entry)).collect();
            let drills = self.drilled(slot, u64::MAX);
            let circumstances =
                Circumstances { as_of: Some(as_of), commitments: &commitments, drills: &drills, ..Circumstances::default() };
            let results = self.results(slot).map(|(_, result)| result);
            found.extend(marks(slot, results, circumstances).into_iter().map(|mark| (slot, mark)));
        }
        found
    }
}

/// In what a verdict differs from what it should be.
fn contradiction(verdict: &Verdict, recomputed: &Verdict) -> String {
    let file = crate::text::plain(verdict.artifact.slot.file.as_str());
    if (Verdict { history: verdict.history, ..recomputed.clone() }) == *verdict {
        let words = |of: &Verdict| of.history.map_or_else(|| "nothing of other releases".to_owned(), |history| history.to_string());
        return format!("the verdict on {file} says: {}; but the verdicts before it give: {}", words(verdict), words(recomputed));
    }
    format!("the verdict on {file} says `{}`, but the results before it give `{}`", verdict.state, recomputed.state)
}
