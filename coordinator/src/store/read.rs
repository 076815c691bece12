//! Look-ups: artifacts, verdicts, results, feeds. Everything is read as of one published checkpoint.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use quorate_proto::certificate::VerifiedCertificate;
use quorate_proto::declaration::VerifiedDeclaration;
use quorate_proto::entry::{EntryStatement, VerifiedCheck, VerifiedCommitment, VerifiedEntry};
use quorate_proto::feed::{EquivocationProof, FeedHead};
use quorate_proto::statement::Statement;
use quorate_proto::verified::{FeedItem, VerifiedStatement};
use quorate_proto::{ArtifactId, ArtifactSlot, Digest, NodeId, OperatorId, Purl, Timestamp};
use quorate_tally::share::Kind;
use quorate_tally::{Flag, State, Verdict, VerdictSummary};
use quorate_tlog::{SignedNote, TlogProof, TreeView};

use super::budget::Budget;
use super::index::{IndexError, Order};
use super::rows::{self, ArtifactKey, FeedRow, NodeRow, ShareRow, SlotKey, VerdictRow};
use super::{Store, StoreError, leaf};
use crate::cache::Bounded;

/// Verdicts that a filter looks through in one request.
const FILTERED_MAX: usize = 20_000;

/// Slots of one digest that are listed. More than a few are no honest publisher's.
pub(crate) const SLOTS_OF_A_DIGEST_MAX: usize = 500;

/// Milliseconds that a look-up waits for the publication of what is committed.
const PUBLICATION_WAITS: u32 = 250;

/// A verdict as it was logged.
#[derive(Clone, Debug)]
pub struct VerdictView {
    /// What it says.
    pub verdict: Verdict,
    /// Its exact bytes.
    pub envelope: Vec<u8>,
    /// Its leaf.
    pub log_index: u64,
    /// Results before this leaf were considered.
    pub log_size: u64,
    /// When.
    pub time: Timestamp,
}

/// Which verdicts to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct VerdictFilter {
    /// Only this state.
    pub state: Option<State>,
    /// Only with this flag.
    pub flag: Option<Flag>,
    /// Only those to be looked at first.
    pub attention: bool,
    /// Only those with a smaller leaf.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// A part of a list of verdicts.
#[derive(Clone, Debug, Default)]
pub struct VerdictPage {
    /// Newest first.
    pub verdicts: Vec<VerdictView>,
    /// Whether the search ended before its limit or the end.
    pub truncated: bool,
    /// Where the next page begins.
    pub next: Option<u64>,
}

/// The results about a slot.
#[derive(Clone, Debug)]
pub struct SlotResults {
    /// Leaf, exact bytes and meaning, in the order of the log.
    pub results: Vec<(u64, FeedItem, Arc<VerifiedStatement>)>,
    /// Commitments to the slot's task, in the order of the log.
    pub commitments: Vec<FeedItem>,
    /// Checks that bear out results in the slot, in the order of the log.
    pub checks: Vec<FeedItem>,
    /// What was declared about the slot, in the order of the log.
    pub declarations: Vec<Arc<VerifiedDeclaration>>,
    /// Proofs against operators with a result here.
    pub equivocations: Vec<EquivocationProof>,
    /// The log's size that this was read at.
    pub log_size: u64,
}

/// What is known of a node.
#[derive(Clone, Debug)]
pub struct NodeSummary {
    /// The node.
    pub node: NodeId,
    /// How many entries its feed has.
    pub entries: u64,
    /// When the last of them was signed.
    pub last: Option<Timestamp>,
    /// Whether it signed two histories.
    pub equivocated: bool,
    /// Until when its last certificate holds.
    pub certified_until: Timestamp,
}

impl Store {
    /// The artifact with this digest in `slot`; without one those in any slot, at most
    /// [`SLOTS_OF_A_DIGEST_MAX`].
    pub fn artifacts(&self, digest: Digest, slot: Option<&ArtifactSlot>) -> Result<Vec<ArtifactId>, StoreError> {
        if let Some(slot) = slot {
            let key = ArtifactKey { digest, slot: SlotKey::of(slot) };
            return Ok(self.artifact(&key)?.into_iter().collect());
        }
        let rows = self.index.scan(&rows::artifact_prefix(digest), Order::Ascending).take(SLOTS_OF_A_DIGEST_MAX);
        rows.map(|row| read_artifact(&row?.1)).collect()
    }

    /// Whether a digest is published in one slot only.
    pub fn is_sole(&self, digest: Digest) -> bool {
        self.index.scan(&rows::artifact_prefix(digest), Order::Ascending).take(2).count() == 1
    }

    /// The files of a release, or of every release of a package, and whether there may be more. From any
    /// registry, unless the package URL has qualifiers: then only those with the same.
    pub fn artifacts_of(&self, package: &Purl, limit: usize, budget: &Budget) -> Result<(Vec<ArtifactId>, bool), StoreError> {
        let qualified = rows::unqualified(package) != package.to_string();
        let is_meant = |found: &Purl| {
            let found = if package.version().is_none() { &found.without_version() } else { found };
            if qualified { found == package } else { rows::unqualified(found) == rows::unqualified(package) }
        };
        let mut found = Vec::new();
        for row in self.index.scan(&rows::package_prefix(package), Order::Ascending) {
            if found.len() == limit || !budget.spend() {
                return Ok((found, true));
            }
            let artifact = rows::artifact_of_package(&row?.0)?;
            let artifact = self.artifact(&artifact)?.ok_or(IndexError::Row("package"))?;
            if is_meant(&artifact.slot.package) {
                found.push(artifact);
            }
        }
        Ok((found, false))
    }

    pub(super) fn artifact(&self, key: &ArtifactKey) -> Result<Option<ArtifactId>, StoreError> {
        self.index.get(&rows::artifact(key))?.map(|value| read_artifact(&value)).transpose()
    }

    /// The verdict in force, if there is one.
    pub fn verdict(&self, artifact: &ArtifactId) -> Result<Option<VerdictView>, StoreError> {
        match self.verdict_row(&ArtifactKey::of(artifact))? {
            Some(row) if self.is_published(row.leaf) => self.verdict_at(row.leaf).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether a leaf is published. Between commit and publication lie milliseconds: they are waited
    /// for, so that a verdict that is being replaced does not vanish in between.
    fn is_published(&self, leaf: u64) -> bool {
        (0..PUBLICATION_WAITS).any(|wait| {
            if wait > 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            leaf < self.log().published().head.size
        })
    }

    pub(crate) fn verdict_row(&self, artifact: &ArtifactKey) -> Result<Option<VerdictRow>, StoreError> {
        let row = self.index.get(&rows::verdict(artifact))?;
        Ok(row.map(|value| VerdictRow::read(&value)).transpose()?)
    }

    pub(crate) fn verdict_at(&self, leaf: u64) -> Result<VerdictView, StoreError> {
        let envelope = self.leaf(leaf)?;
        let statement: Statement<VerdictSummary> = leaf::verdict(&envelope)?;
        let summary = statement.predicate;
        Ok(VerdictView { verdict: summary.verdict, envelope, log_index: leaf, log_size: summary.log_size, time: summary.time_verified })
    }

    /// Verdicts, newest first. Complexity: O(limit) without a filter, else up to [`FILTERED_MAX`] rows.
    pub fn verdicts(&self, filter: &VerdictFilter) -> Result<VerdictPage, StoreError> {
        let prefix = if filter.attention { rows::ATTENTION_PREFIX } else { rows::LISTING_PREFIX };
        let size = self.log().published().head.size;
        let newest = filter.before.unwrap_or(u64::MAX).min(size);
        let from = newest.checked_sub(1).map(|leaf| rows::listing(prefix, leaf));
        let Some(from) = from else { return Ok(VerdictPage::default()) };
        let mut page = VerdictPage::default();
        let end = [prefix, &[0xff; 9]].concat();
        for (seen, row) in self.index.range(from, end, Order::Ascending).enumerate() {
            let (key, value) = row?;
            let (_, state, flags) = rows::read_listing(&value)?;
            let leaf = rows::listed_leaf(&key)?;
            if page.verdicts.len() == filter.limit || seen == FILTERED_MAX {
                page.next = Some(leaf + 1);
                page.truncated = seen == FILTERED_MAX;
                break;
            }
            let flag_holds = filter.flag.is_none_or(|flag| flags & rows::flag_bit(flag) != 0);
            if flag_holds && filter.state.is_none_or(|wanted| wanted == state) {
                page.verdicts.push(self.verdict_at(leaf)?);
            }
        }
        Ok(page)
    }

    /// The results about an artifact's slot that count and stand in the log before `log_size`, and what belongs to them.
    pub fn results(&self, slot: SlotKey, log_size: u64) -> Result<SlotResults, StoreError> {
        let mut results = Vec::new();
        for (leaf, certificate) in self.slot_rows(slot, Kind::Result, log_size)? {
            results.push((leaf, self.item(leaf, certificate)?, self.statement(leaf, certificate)?));
        }
        let here = |proof: &&EquivocationProof| results.iter().any(|(_, _, statement)| statement.operator() == proof.operator());
        let equivocations = self.equivocations().iter().filter(here).cloned().collect();
        let items = |kind| {
            let rows = self.slot_rows(slot, kind, log_size)?.into_iter();
            rows.map(|(leaf, certificate)| self.item(leaf, certificate)).collect::<Result<Vec<_>, _>>()
        };
        let (commitments, checks) = (items(Kind::Commitment)?, items(Kind::Check)?);
        let declarations = if self.declarations().is_empty() {
            Vec::new()
        } else {
            let statements = results.iter().map(|(_, _, statement)| statement.as_ref());
            self.declared(statements, &self.commitments(slot, log_size)?, &self.checks(slot, log_size)?, log_size)
        };
        Ok(SlotResults { results, commitments, checks, declarations, equivocations, log_size })
    }

    /// The commitments to a slot's task that stand in the log before `log_size`.
    pub(crate) fn commitments(&self, slot: SlotKey, log_size: u64) -> Result<Vec<Arc<VerifiedCommitment>>, StoreError> {
        let rows = self.slot_rows(slot, Kind::Commitment, log_size)?.into_iter();
        rows.filter_map(|(leaf, certificate)| self.commitment(leaf, certificate).transpose()).collect()
    }

    /// The checks that bear out results in a slot and stand in the log before `log_size`.
    pub(crate) fn checks(&self, slot: SlotKey, log_size: u64) -> Result<Vec<Arc<VerifiedCheck>>, StoreError> {
        let rows = self.slot_rows(slot, Kind::Check, log_size)?.into_iter();
        rows.filter_map(|(leaf, certificate)| self.check(leaf, certificate).transpose()).collect()
    }

    /// Leaves of the entries of a kind that count in a slot, and of their certificates, before `log_size`, in the order of
    /// the log. Complexity: one index row an operator.
    pub(crate) fn slot_rows(&self, slot: SlotKey, kind: Kind, log_size: u64) -> Result<Vec<(u64, u64)>, StoreError> {
        let mut found = Vec::new();
        for row in self.index.scan(&rows::shares_prefix(slot, kind), Order::Ascending) {
            found.extend(ShareRow::read(&row?.1)?.leaves(kind).filter(|(leaf, _)| *leaf < log_size));
        }
        found.sort_unstable();
        Ok(found)
    }

    fn commitment(&self, leaf: u64, certificate: u64) -> Result<Option<Arc<VerifiedCommitment>>, StoreError> {
        self.kept(&self.commitments, [leaf, certificate], |entry| match entry {
            VerifiedEntry::Commitment(commitment) => Some(commitment),
            _ => None,
        })
    }

    fn check(&self, leaf: u64, certificate: u64) -> Result<Option<Arc<VerifiedCheck>>, StoreError> {
        self.kept(&self.checks, [leaf, certificate], |entry| match entry {
            VerifiedEntry::Check(check) => Some(check),
            _ => None,
        })
    }

    /// An entry by its leaf and that of its certificate, if it is of the kind. Verified when it is not in the cache.
    fn kept<T>(
        &self,
        cache: &Bounded<u64, Arc<T>>,
        [leaf, certificate]: [u64; 2],
        of_kind: impl FnOnce(VerifiedEntry) -> Option<Arc<T>>,
    ) -> Result<Option<Arc<T>>, StoreError> {
        if let Some(entry) = cache.get(&leaf) {
            return Ok(Some(entry));
        }
        let certificate = self.certificate(certificate)?;
        let entry = of_kind(leaf::entry(&self.leaf(leaf)?, &certificate)?);
        if let Some(entry) = &entry {
            cache.put(leaf, Arc::clone(entry));
        }
        Ok(entry)
    }

    /// A result by its leaf and that of its certificate. Verified when it is not in the cache.
    pub(crate) fn statement(&self, leaf: u64, certificate: u64) -> Result<Arc<VerifiedStatement>, StoreError> {
        if let Some(statement) = self.statements.get(&leaf) {
            return Ok(statement);
        }
        let certificate = self.certificate(certificate)?;
        let statement = Arc::new(leaf::result(&self.leaf(leaf)?, &certificate)?);
        self.statements.put(leaf, Arc::clone(&statement));
        Ok(statement)
    }

    /// A result by its leaf alone; none where the leaf is something else.
    pub(crate) fn statement_at(&self, leaf: u64) -> Result<Option<Arc<VerifiedStatement>>, StoreError> {
        if let Some(statement) = self.statements.get(&leaf) {
            return Ok(Some(statement));
        }
        let bytes = self.leaf(leaf)?;
        let leaf::Leaf::Result(_) = leaf::Leaf::read(&bytes)? else { return Ok(None) };
        match self.feed_row_of(leaf, &bytes)? {
            Some(row) => self.statement(leaf, row.certificate).map(Some),
            None => Ok(None),
        }
    }

    /// Where a result's bytes stand in its feed; none for the second history of an equivocator.
    fn feed_row_of(&self, leaf: u64, bytes: &[u8]) -> Result<Option<FeedRow>, StoreError> {
        let position = leaf::unverified_entry(bytes)?.position();
        Ok(self.feed_row(position.node, position.sequence)?.filter(|row| row.leaf == leaf))
    }

    /// The slot that a node's entry changes the verdicts of: that of a result, and of a check that bears one out.
    pub(super) fn slot_of_entry(&self, leaf: u64) -> Result<Option<SlotKey>, StoreError> {
        if let Some(statement) = self.statements.get(&leaf) {
            return Ok(Some(SlotKey::of(&statement.artifact().slot)));
        }
        let bytes = self.leaf(leaf)?;
        let (leaf::Leaf::Result(_) | leaf::Leaf::Check(_)) = leaf::Leaf::read(&bytes)? else { return Ok(None) };
        if self.feed_row_of(leaf, &bytes)?.is_none() {
            return Ok(None);
        }
        Ok(match leaf::unverified_entry(&bytes)? {
            EntryStatement::Result(statement) => Some(SlotKey::of(&statement.artifact().slot)),
            EntryStatement::Check(statement) => {
                Some(statement.predicate).filter(|check| check.agreement.confirms()).map(|c| SlotKey::of(&c.slot()))
            }
            EntryStatement::Commitment(_) => None,
        })
    }

    fn certificate(&self, leaf: u64) -> Result<VerifiedCertificate, StoreError> {
        Ok(leaf::certificate(&self.leaf(leaf)?)?)
    }

    /// Exact bytes of a result and its certificate.
    pub(crate) fn item(&self, leaf: u64, certificate: u64) -> Result<FeedItem, StoreError> {
        Ok(FeedItem { certificate: self.leaf(certificate)?, envelope: self.leaf(leaf)? })
    }

    fn leaf(&self, index: u64) -> Result<Vec<u8>, StoreError> {
        self.reader.leaf(index).map_err(StoreError::io("reading a leaf"))
    }

    /// The end of every feed.
    pub fn heads(&self) -> Result<Vec<(NodeId, FeedHead)>, StoreError> {
        let rows = self.index.scan(rows::NODE_PREFIX, Order::Ascending).map(|row| {
            let (key, value) = row?;
            Ok((rows::node_at_end(&key)?, NodeRow::read(&value)?.head))
        });
        rows.collect()
    }

    /// Consecutive entries of a feed, of at most `bytes_max` in sum.
    pub fn entries(&self, node: NodeId, from: u64, bytes_max: usize) -> Result<Vec<FeedItem>, StoreError> {
        /// Room for the lengths and tags of protobuf.
        const FRAMING_BYTES: usize = 16;
        let (mut items, mut bytes) = (Vec::new(), 0);
        let size = self.log().published().head.size;
        for sequence in from.. {
            let Some(row) = self.feed_row(node, sequence)?.filter(|row| row.leaf < size && row.certificate < size) else { break };
            let item = self.item(row.leaf, row.certificate)?;
            bytes += item.certificate.len() + item.envelope.len() + FRAMING_BYTES;
            if bytes > bytes_max {
                break;
            }
            items.push(item);
        }
        Ok(items)
    }

    pub(super) fn feed_row(&self, node: NodeId, sequence: u64) -> Result<Option<FeedRow>, StoreError> {
        let chunk = self.index.get(&rows::feed_chunk(node, sequence))?;
        Ok(chunk.and_then(|chunk| FeedRow::read(&chunk, sequence)))
    }

    /// The proof that what stands at a place of a feed is in the log of the checkpoint that is handed out; none if it is
    /// not.
    pub fn entry_proof(&self, node: NodeId, sequence: u64) -> Result<Option<TlogProof>, StoreError> {
        self.feed_row(node, sequence)?.map_or(Ok(None), |row| self.proof(row.leaf))
    }

    /// The nodes that an operator has certified.
    pub fn nodes_of(&self, operator: OperatorId) -> Result<Vec<NodeSummary>, StoreError> {
        let mut nodes = Vec::new();
        for row in self.index.scan(&rows::operator_prefix(operator), Order::Ascending) {
            let node = rows::node_at_end(&row?.0)?;
            if let Some(value) = self.index.get(&rows::node(node))? {
                nodes.push(self.node_summary(node, &NodeRow::read(&value)?)?);
            }
        }
        Ok(nodes)
    }

    fn node_summary(&self, node: NodeId, row: &NodeRow) -> Result<NodeSummary, StoreError> {
        let entries = row.head.next();
        let last = match entries.checked_sub(1).map(|sequence| self.feed_row(node, sequence)).transpose()?.flatten() {
            Some(last) => Some(leaf::entry(&self.leaf(last.leaf)?, &self.certificate(last.certificate)?)?.signed_at()),
            None => None,
        };
        let certified_until = self.certificate(row.certificate)?.not_after();
        Ok(NodeSummary { node, entries, last, equivocated: row.equivocated, certified_until })
    }

    /// The proof that a leaf is in the log of the checkpoint that is handed out; none if it came later.
    pub fn proof(&self, leaf: u64) -> Result<Option<TlogProof>, StoreError> {
        let published = self.log().shown();
        if leaf >= published.head.size {
            return Ok(None);
        }
        let proving = |error: String| StoreError::Io { activity: "proving a leaf", source: io::Error::other(error) };
        let view = TreeView::new(published.head, self.log()).map_err(|error| proving(error.to_string()))?;
        let (_, inclusion) = view.inclusion(leaf).map_err(|error| proving(error.to_string()))?;
        let note = SignedNote::parse(&published.note).map_err(|error| proving(error.to_string()))?;
        TlogProof::new(inclusion, note).map(Some).map_err(|error| proving(error.to_string()))
    }
}

pub(super) fn read_artifact(value: &[u8]) -> Result<ArtifactId, StoreError> {
    serde_json::from_slice(value).map_err(|_| IndexError::Row("artifact").into())
}
