//! One batch: decides what becomes of each item, and collects the leaves and the index rows that
//! follow from them.
//!
//! Normal running `offer`s items; recovery and rebuilding `replay`s
//! leaves. Both end in the same `apply_…` functions, so that an index that was rebuilt is the index
//! that was lost. Nothing is in force before the batch is committed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use quorate_gossip::Accepted;
use quorate_gossip::store::reason;
use quorate_proto::certificate::VerifiedCertificate;
use quorate_proto::entry::{VerifiedCheck, VerifiedCommitment, VerifiedEntry};
use quorate_proto::feed::{FeedHead, FeedStep};
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{Digest, NodeId, OperatorId, Timestamp};
use quorate_tally::history::Past;
use quorate_tally::record::owners;
use quorate_tally::share::Kind;
use quorate_tally::{ENGINE, State, Verdict};
use quorate_tlog::Entry;

use super::StoreError;
use super::index::{Index, IndexDraft, IndexError, Rows};
use super::leaf::{self, Leaf, LeafError, POLICY_MAGIC};
use super::rows::{self, ArtifactKey, Entering, EquivocationRow, FeedRow, NodeRow, ShareRow, SlotKey, VerdictRow};
use super::terms::{self, Toolchains};

/// An item that came through the door.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// Its certificate.
    pub certificate: Arc<VerifiedCertificate>,
    /// What it says.
    pub entry: VerifiedEntry,
    /// Its exact bytes.
    pub envelope: Vec<u8>,
}

/// A signed verdict on its way into the log.
#[derive(Clone, Debug)]
pub struct SignedVerdict {
    /// What it says.
    pub verdict: Verdict,
    /// Its exact bytes.
    pub envelope: Vec<u8>,
    /// Results before this leaf were considered.
    pub log_size: u64,
    /// When.
    pub time: Timestamp,
}

/// What is known of a node, and the certificate that its results count under.
#[derive(Clone, Debug)]
pub(crate) struct NodeState {
    pub row: NodeRow,
    pub certificate: Arc<VerifiedCertificate>,
}

/// The end of every feed.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub nodes: HashMap<NodeId, NodeState>,
}

/// What a batch changes beside the log and the index.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Ends of feeds.
    pub nodes: HashMap<NodeId, NodeState>,
    /// Results by their leaves.
    pub statements: Vec<(u64, Arc<VerifiedStatement>)>,
    /// Commitments by their leaves.
    pub commitments: Vec<(u64, Arc<VerifiedCommitment>)>,
    /// Checks that bear out a result, by their leaves.
    pub checks: Vec<(u64, Arc<VerifiedCheck>)>,
    /// Slots with a new result, or a check of one, and its leaf.
    pub dirty: BTreeMap<SlotKey, u64>,
    /// Steps of drills: leaf and exact bytes.
    pub drills: Vec<(u64, Vec<u8>)>,
    /// Declarations: leaf and exact bytes.
    pub declarations: Vec<(u64, Vec<u8>)>,
    /// Nodes that were caught.
    pub caught: Vec<NodeId>,
    /// Operators without a proof against them before; known once published.
    pub exposed: BTreeSet<OperatorId>,
    /// Verdicts that came into force: which artifact, the state and flags before, the row now.
    pub verdicts: Vec<(ArtifactKey, Option<VerdictRow>, VerdictRow)>,
}

/// A batch in the making.
pub(crate) struct Batch<'s> {
    ledger: &'s Ledger,
    pub(super) rows: IndexDraft<'s>,
    start: u64,
    leaves: Vec<Entry>,
    effects: Effects,
    toolchains: Toolchains,
}

/// Where an entry and the certificate that it counts under stand in the log, and how long it is.
#[derive(Clone, Copy)]
struct Leaves {
    leaf: u64,
    certificate: u64,
    bytes: usize,
}

impl Leaves {
    fn entering(self, kind: Kind, node: NodeId) -> Entering {
        Entering { leaf: self.leaf, certificate: self.certificate, kind, node, bytes: self.bytes }
    }
}

/// Rows of marks to be put and to be removed.
#[derive(Debug, Default)]
pub(crate) struct MarkChanges {
    pub new: Vec<(Vec<u8>, Vec<u8>)>,
    pub gone: Vec<Vec<u8>>,
}

impl MarkChanges {
    pub(crate) fn is_empty(&self) -> bool {
        self.new.is_empty() && self.gone.is_empty()
    }
}

enum Place {
    Fits(FeedHead),
    Duplicate,
    Gap(u64),
    Fork,
    Contradicts(FeedRow),
}

impl<'s> Batch<'s> {
    pub(crate) fn new(ledger: &'s Ledger, index: &'s Index, start: u64) -> Self {
        Self {
            ledger,
            rows: IndexDraft::new(index),
            start,
            leaves: Vec::new(),
            effects: Effects::default(),
            toolchains: Toolchains::default(),
        }
    }

    /// Takes an item in, or says why not. Complexity: O(1) index look-ups.
    pub(crate) fn offer(&mut self, item: Admitted) -> Result<Accepted, StoreError> {
        match self.place(&item.entry)? {
            Place::Fits(head) => {
                let (leaves, entry) = self.push_item(item)?;
                self.apply_entry(leaves, head, entry)?;
                Ok(Accepted::New)
            }
            Place::Duplicate => Ok(Accepted::Duplicate),
            Place::Gap(expected) => Ok(Accepted::Gap { expected }),
            Place::Contradicts(held) if !self.equivocated(item.entry.node()) => {
                let (leaves, entry) = self.push_item(item)?;
                self.apply_contradiction(leaves, held, entry.node())?;
                Ok(Accepted::Equivocation)
            }
            Place::Fork | Place::Contradicts(_) => Ok(Accepted::Rejected(reason::FORK)),
        }
    }

    /// Logs a verdict.
    pub(crate) fn verdict(&mut self, signed: SignedVerdict) -> Result<(), StoreError> {
        let leaf = self.push(signed.envelope)?;
        self.apply_verdict(leaf, &signed.verdict)
    }

    /// Logs a step of a drill. Its leaf.
    pub(crate) fn drill(&mut self, envelope: Vec<u8>) -> Result<u64, StoreError> {
        let leaf = self.push(envelope.clone())?;
        self.apply_drill(leaf, envelope);
        Ok(leaf)
    }

    /// Logs a declaration, once. Its leaf, and whether it is new.
    pub(crate) fn declaration(&mut self, envelope: Vec<u8>) -> Result<(u64, Accepted), StoreError> {
        if let Some(held) = self.rows.get(&rows::declaration(Digest::of(&envelope)))? {
            return Ok((rows::leaf_at_end(&held)?, Accepted::Duplicate));
        }
        let leaf = self.push(envelope.clone())?;
        self.apply_declaration(leaf, envelope);
        Ok((leaf, Accepted::New))
    }

    /// Logs a policy, once.
    pub(crate) fn policy(&mut self, policy: &[u8]) -> Result<(), StoreError> {
        let digest = Digest::of(policy);
        if self.rows.contains(&rows::policy(digest))? {
            return Ok(());
        }
        let leaf = self.push([POLICY_MAGIC, policy].concat())?;
        self.rows.put(rows::policy(digest), leaf.to_be_bytes().to_vec());
        Ok(())
    }

    /// Takes a leaf in that is in the log already, or that has to come next.
    pub(crate) fn replay(&mut self, entry: Entry) -> Result<(), StoreError> {
        let bytes = entry.as_bytes().to_vec();
        let leaf = self.end();
        self.leaves.push(entry);
        match Leaf::read(&bytes)? {
            Leaf::Policy(digest) => self.rows.put(rows::policy(digest), leaf.to_be_bytes().to_vec()),
            Leaf::Certificate(certificate) => self.apply_certificate(leaf, Arc::new(*certificate)),
            Leaf::Verdict(statement) => self.apply_verdict(leaf, &statement.predicate.verdict)?,
            Leaf::Drill => self.apply_drill(leaf, bytes),
            Leaf::Declaration => self.apply_declaration(leaf, bytes),
            Leaf::Result(node) | Leaf::Commitment(node) | Leaf::Check(node) => self.replay_entry(leaf, node, &bytes)?,
        }
        Ok(())
    }

    fn replay_entry(&mut self, leaf: u64, node: NodeId, bytes: &[u8]) -> Result<(), StoreError> {
        let out_of_place = || StoreError::Leaf(LeafError::OutOfPlace(node));
        let state = self.state(node).cloned().ok_or_else(out_of_place)?;
        let entry = leaf::entry(bytes, &state.certificate)?;
        let leaves = Leaves { leaf, certificate: state.row.certificate, bytes: bytes.len() };
        match self.place(&entry)? {
            Place::Fits(head) => self.apply_entry(leaves, head, entry),
            Place::Contradicts(held) if !state.row.equivocated => self.apply_contradiction(leaves, held, node),
            _ => Err(out_of_place()),
        }
    }

    fn place(&self, entry: &VerifiedEntry) -> Result<Place, StoreError> {
        let position = entry.position();
        let head = self.state(position.node).map_or_else(FeedHead::default, |state| state.row.head);
        Ok(match head.step(&position, entry.digest()) {
            FeedStep::Append(head) => Place::Fits(head),
            FeedStep::Gap { expected } => Place::Gap(expected),
            FeedStep::Fork => Place::Fork,
            FeedStep::Past => {
                let chunk = self.rows.get(&rows::feed_chunk(position.node, position.sequence))?.unwrap_or_default();
                let first = FeedRow::read(&chunk, position.sequence).ok_or(IndexError::Row("feed"))?;
                if first.digest == entry.digest() { Place::Duplicate } else { Place::Contradicts(first) }
            }
        })
    }

    /// The leaf of the certificate that an item counts under. The one in force stays in force while it
    /// says the same, so that nobody fills the log by swapping certificates.
    fn certificate_for(&mut self, item: &Admitted) -> Result<u64, StoreError> {
        let signed_at = item.entry.signed_at();
        if let Some(state) = self.state(item.entry.node())
            && state.certificate.operator() == item.entry.operator()
            && state.certificate.covers(signed_at)
        {
            return Ok(state.row.certificate);
        }
        let leaf = self.push(item.certificate.bytes().to_vec())?;
        self.apply_certificate(leaf, Arc::clone(&item.certificate));
        Ok(leaf)
    }

    fn apply_drill(&mut self, leaf: u64, envelope: Vec<u8>) {
        self.rows.put(rows::drill(leaf), Vec::new());
        self.effects.drills.push((leaf, envelope));
    }

    fn apply_declaration(&mut self, leaf: u64, envelope: Vec<u8>) {
        self.rows.put(rows::declaration(Digest::of(&envelope)), leaf.to_be_bytes().to_vec());
        self.effects.declarations.push((leaf, envelope));
    }

    fn apply_certificate(&mut self, leaf: u64, certificate: Arc<VerifiedCertificate>) {
        let node = certificate.node();
        let fresh = NodeRow { head: FeedHead::default(), certificate: leaf, equivocated: false };
        let row = self.state(node).map_or(fresh, |state| NodeRow { certificate: leaf, ..state.row });
        self.rows.put(rows::operator_node(certificate.operator(), node), Vec::new());
        self.effects.nodes.insert(node, NodeState { row, certificate });
    }

    fn apply_entry(&mut self, leaves: Leaves, head: FeedHead, entry: VerifiedEntry) -> Result<(), StoreError> {
        let position = entry.position();
        let row = FeedRow { digest: entry.digest(), leaf: leaves.leaf, certificate: leaves.certificate };
        let chunk_key = rows::feed_chunk(position.node, position.sequence);
        self.rows.extend(chunk_key, &row.write())?;
        self.move_head(position.node, head)?;
        match entry {
            VerifiedEntry::Result(statement) => self.apply_result(leaves, statement),
            VerifiedEntry::Commitment(commitment) => self.apply_commitment(leaves, commitment),
            // One that does not confirm says nothing: it stands in its feed and the log, and in no slot.
            VerifiedEntry::Check(check) if check.check().agreement.confirms() => self.apply_check(leaves, check),
            VerifiedEntry::Check(_) => Ok(()),
        }
    }

    fn apply_check(&mut self, leaves: Leaves, check: Arc<VerifiedCheck>) -> Result<(), StoreError> {
        let slot = SlotKey::of(&check.check().slot());
        if self.takes(slot, check.operator(), leaves.entering(Kind::Check, check.position().node))?.is_some() {
            self.effects.dirty.entry(slot).or_insert(leaves.leaf);
            self.effects.checks.push((leaves.leaf, check));
        }
        Ok(())
    }

    /// Adds an entry to its operator's share in a slot, if it counts. How many of its kind were there before.
    fn takes(&mut self, slot: SlotKey, operator: OperatorId, entry: Entering) -> Result<Option<usize>, StoreError> {
        let key = rows::share(slot, entry.kind, operator);
        let mut share = self.rows.get(&key)?.map(|value| ShareRow::read(&value)).transpose()?.unwrap_or_default();
        let before = share.leaves(entry.kind).count();
        if !share.take(entry) {
            return Ok(None);
        }
        self.rows.put(key, share.write());
        Ok(Some(before))
    }

    fn apply_commitment(&mut self, leaves: Leaves, entry: Arc<VerifiedCommitment>) -> Result<(), StoreError> {
        let slot = SlotKey::of(&entry.commitment().slot());
        if self.takes(slot, entry.operator(), leaves.entering(Kind::Commitment, entry.node()))?.is_some() {
            let until = entry.commitment().promise.reveal_by;
            self.rows.put(rows::open_commitment(entry.node(), entry.position().sequence), rows::open_value(slot, until));
            self.effects.commitments.push((leaves.leaf, entry));
        }
        Ok(())
    }

    fn apply_result(&mut self, leaves: Leaves, statement: Arc<VerifiedStatement>) -> Result<(), StoreError> {
        if let Some(reveals) = &statement.result().reveals {
            self.rows.remove(rows::open_commitment(statement.node(), reveals.sequence));
        }
        terms::index_result(&mut self.rows, &mut self.toolchains, leaves.leaf, &statement)?;
        let artifact = ArtifactKey::of(statement.artifact());
        let entering = leaves.entering(Kind::Result, statement.node());
        // One that does not count leads nowhere but to itself.
        let Some(before) = self.takes(artifact.slot, statement.operator(), entering)? else { return Ok(()) };
        if before == 0 {
            self.rows.append(&rows::operator_slots_prefix(statement.operator()), artifact.slot.as_bytes())?;
        }
        if !self.rows.contains(&rows::artifact(&artifact))? {
            let text = serde_json::to_vec(statement.artifact()).expect("an artifact holds nothing that JSON cannot say");
            self.rows.put(rows::artifact(&artifact), text);
            self.rows.put(rows::package(&statement.artifact().slot.package, &artifact), Vec::new());
        }
        self.effects.dirty.entry(artifact.slot).or_insert(leaves.leaf);
        self.effects.statements.push((leaves.leaf, statement));
        Ok(())
    }

    fn move_head(&mut self, node: NodeId, head: FeedHead) -> Result<(), StoreError> {
        if let Some(state) = self.effects.nodes.get_mut(&node) {
            state.row.head = head;
            return Ok(());
        }
        let mut state = self.ledger.nodes.get(&node).cloned().ok_or(LeafError::OutOfPlace(node))?;
        state.row.head = head;
        self.effects.nodes.insert(node, state);
        Ok(())
    }

    /// The second history is kept as evidence; the feed stays as it was seen first.
    fn apply_contradiction(&mut self, leaves: Leaves, held: FeedRow, node: NodeId) -> Result<(), StoreError> {
        let Leaves { leaf, certificate, .. } = leaves;
        let mut state = self.state(node).cloned().ok_or(LeafError::OutOfPlace(node))?;
        let row = EquivocationRow { leaves: [held.leaf, leaf], certificates: [held.certificate, certificate] };
        self.rows.put(rows::equivocation(node), row.write());
        state.row.equivocated = true;
        self.effects.nodes.insert(node, state);
        self.effects.caught.push(node);
        Ok(())
    }

    fn apply_verdict(&mut self, leaf: u64, verdict: &Verdict) -> Result<(), StoreError> {
        let artifact = ArtifactKey::of(&verdict.artifact);
        let flags = verdict.flags.iter().fold(0, |bits, flag| bits | rows::flag_bit(*flag));
        let row = VerdictRow { leaf, state: verdict.state, flags, content: leaf::content_of(verdict) };
        let before = match self.rows.get(&rows::verdict(&artifact))? {
            Some(value) => Some(VerdictRow::read(&value)?),
            None => None,
        };
        let of_package = rows::history_prefix(&verdict.artifact.slot.package);
        if let Some(before) = before {
            self.rows.remove(rows::listing(&of_package, before.leaf));
            self.rows.remove(rows::listing(rows::LISTING_PREFIX, before.leaf));
            self.rows.remove(rows::listing(rows::ATTENTION_PREFIX, before.leaf));
        }
        let listed = rows::listing_value(&artifact, &row);
        if row.needs_attention() {
            self.rows.put(rows::listing(rows::ATTENTION_PREFIX, leaf), listed.clone());
        }
        self.rows.put(rows::listing(rows::LISTING_PREFIX, leaf), listed);
        self.rows.put(rows::listing(&of_package, leaf), rows::past_value(&Past::of(verdict)));
        self.rows.put(rows::verdict(&artifact), row.write());
        self.note_owners(leaf, verdict)?;
        self.effects.verdicts.push((artifact, before, row));
        Ok(())
    }

    /// By other rules a grade may have been another.
    fn note_owners(&mut self, leaf: u64, verdict: &Verdict) -> Result<(), StoreError> {
        for operator in owners(verdict).filter(|_| verdict.engine == ENGINE) {
            let key = rows::owner(operator);
            if !self.rows.contains(&key)? {
                self.rows.put(key, leaf.to_be_bytes().to_vec());
            }
        }
        Ok(())
    }

    /// What the marks that entries about a slot show have become.
    pub(crate) fn marks(&mut self, changes: MarkChanges) {
        changes.gone.into_iter().for_each(|key| self.rows.remove(key));
        changes.new.into_iter().for_each(|(key, value)| self.rows.put(key, value));
    }

    /// Results before this leaf are in verdicts: what a restart need not tally again.
    pub(crate) fn tallied(&mut self, leaf: u64, policy: Digest) {
        self.rows.put(rows::TALLIED_KEY.to_vec(), rows::tallied_value(leaf, policy));
    }

    fn state(&self, node: NodeId) -> Option<&NodeState> {
        self.effects.nodes.get(&node).or_else(|| self.ledger.nodes.get(&node))
    }

    fn equivocated(&self, node: NodeId) -> bool {
        self.state(node).is_some_and(|state| state.row.equivocated)
    }

    fn push(&mut self, bytes: Vec<u8>) -> Result<u64, StoreError> {
        let leaf = self.end();
        self.leaves.push(Entry::new(bytes).map_err(StoreError::Entry)?);
        Ok(leaf)
    }

    /// Logs a node's entry, behind the certificate that it needs.
    fn push_item(&mut self, item: Admitted) -> Result<(Leaves, VerifiedEntry), StoreError> {
        let certificate = self.certificate_for(&item)?;
        let bytes = item.envelope.len();
        Ok((Leaves { leaf: self.push(item.envelope)?, certificate, bytes }, item.entry))
    }

    /// Index of the next leaf.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.leaves.len() as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.leaves.is_empty() && self.rows.is_empty()
    }

    /// Leaves, rows and effects.
    pub(crate) fn into_parts(mut self) -> (Vec<Entry>, Rows, Effects) {
        for (node, state) in &self.effects.nodes {
            self.rows.put(rows::node(*node), state.row.write(*node));
        }
        (self.leaves, self.rows.into_rows(), self.effects)
    }
}

/// How many artifacts are in which state, and how many need attention.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Artifacts by state.
    pub states: BTreeMap<State, u64>,
    /// Artifacts with an equivocation behind a vote.
    pub equivocation: u64,
    /// Artifacts with other bytes seen under their name.
    pub registry_split: u64,
}

impl Census {
    /// Counts a verdict.
    pub(crate) fn add(&mut self, state: State, flags: u8) {
        *self.states.entry(state).or_default() += 1;
        self.equivocation += u64::from(flags & 1 != 0);
        self.registry_split += u64::from(flags & 2 != 0);
    }

    /// Forgets a verdict that another has replaced.
    pub(crate) fn remove(&mut self, state: State, flags: u8) {
        let count = self.states.entry(state).or_default();
        *count = count.saturating_sub(1);
        self.equivocation = self.equivocation.saturating_sub(u64::from(flags & 1 != 0));
        self.registry_split = self.registry_split.saturating_sub(u64::from(flags & 2 != 0));
    }
}
