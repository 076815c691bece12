//! The rows of the index: one function a key, one type a value, both directions side by side.
//!
//! `docs/spec/coordinator-storage.md`, section "Index". Keys begin with a letter and a slash; hashes
//! stand for texts of any length, so that no key and no value is long.

use quorate_proto::{ArtifactId, ArtifactSlot, Digest, NodeId, OperatorId, Purl, Timestamp};
use quorate_tally::history::{self, Past};
use quorate_tally::share::Kind;
use quorate_tally::{ENGINE, Mark, State};

use super::index::IndexError;
pub(crate) use feed::{EquivocationRow, FEED_CHUNK, FeedRow, NodeRow};
pub(crate) use share::{Entering, ShareRow};
pub use verdict::{VerdictRow, flag_bit, flag_named, needs_attention, state_named};
use verdict::{state_byte, state_of};

mod feed;
mod share;
mod verdict;

/// A slot's short name in the index: a hash of package and file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotKey([u8; 32]);

/// An artifact's short name in the index: its digest and its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactKey {
    /// The published file.
    pub digest: Digest,
    /// Where.
    pub slot: SlotKey,
}

/// What a result names a file for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Provenance,
    Report,
    Environment,
}

impl SlotKey {
    /// The 32 raw bytes.
    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Of a slot.
    pub fn of(slot: &ArtifactSlot) -> Self {
        Self(*Digest::of(format!("{}\n{}", slot.package, slot.file).as_bytes()).as_bytes())
    }
}

impl ArtifactKey {
    /// Of an artifact.
    pub fn of(artifact: &ArtifactId) -> Self {
        Self { digest: artifact.digest, slot: SlotKey::of(&artifact.slot) }
    }

    fn bytes(&self) -> Vec<u8> {
        [self.digest.as_bytes().as_slice(), &self.slot.0].concat()
    }

    fn read(bytes: &[u8]) -> Result<Self, IndexError> {
        let (digest, slot) = bytes.split_first_chunk::<32>().ok_or(IndexError::Row("artifact key"))?;
        let slot = slot.try_into().map_err(|_| IndexError::Row("artifact key"))?;
        Ok(Self { digest: Digest::from_bytes(*digest), slot: SlotKey(slot) })
    }
}

fn key(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = vec![kind, b'/'];
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

// Log and tally.
pub(crate) const TALLIED_KEY: &[u8] = b"m/tallied";
pub(crate) const NODE_PREFIX: &[u8] = b"h/";
pub(crate) const EQUIVOCATION_PREFIX: &[u8] = b"e/";
pub(crate) const LISTING_PREFIX: &[u8] = b"l/";
pub(crate) const ATTENTION_PREFIX: &[u8] = b"!/";
pub(crate) const WANTED_PREFIX: &[u8] = b"w/";

/// How far the tally has come, and by which policy and version of the rules: others begin anew.
pub(crate) fn tallied_value(leaf: u64, policy: Digest) -> Vec<u8> {
    [leaf.to_be_bytes().as_slice(), history::rules(policy, ENGINE).as_bytes()].concat()
}

pub(crate) fn read_tallied(value: &[u8], policy: Digest) -> Option<u64> {
    let (leaf, under) = value.split_first_chunk::<8>()?;
    (under == history::rules(policy, ENGINE).as_bytes()).then(|| u64::from_be_bytes(*leaf))
}

pub(crate) fn policy(digest: Digest) -> Vec<u8> {
    key(b'y', &[digest.as_bytes()])
}

pub(crate) fn node(node: NodeId) -> Vec<u8> {
    key(b'h', &[node.as_bytes()])
}

pub(crate) fn equivocation(node: NodeId) -> Vec<u8> {
    key(b'e', &[node.as_bytes()])
}

pub(crate) fn operator_prefix(operator: OperatorId) -> Vec<u8> {
    key(b'o', &[operator.as_bytes()])
}

pub(crate) fn operator_node(operator: OperatorId, node: NodeId) -> Vec<u8> {
    key(b'o', &[operator.as_bytes(), node.as_bytes()])
}

/// Of the slots that an operator has results in.
pub(crate) fn operator_slots_prefix(operator: OperatorId) -> Vec<u8> {
    key(b'u', &[operator.as_bytes()])
}

/// The slots in a value of an operator's list.
pub(crate) fn slots_in(value: &[u8]) -> Result<impl Iterator<Item = SlotKey>, IndexError> {
    let (slots, rest) = value.as_chunks::<32>();
    if rest.is_empty() { Ok(slots.iter().map(|bytes| SlotKey(*bytes))) } else { Err(IndexError::Row("operator's slots")) }
}

pub(crate) fn feed_chunk(node: NodeId, sequence: u64) -> Vec<u8> {
    key(b'f', &[node.as_bytes(), &(sequence / FEED_CHUNK).to_be_bytes()])
}

pub(crate) fn feed_prefix(node: NodeId) -> Vec<u8> {
    key(b'f', &[node.as_bytes()])
}

// Artifacts.
pub(crate) fn artifact_prefix(digest: Digest) -> Vec<u8> {
    key(b'a', &[digest.as_bytes()])
}

pub(crate) const ARTIFACT_PREFIX: &[u8] = b"a/";

/// The artifact at the end of its row's key.
pub(crate) fn artifact_at_end(key: &[u8]) -> Result<ArtifactKey, IndexError> {
    ArtifactKey::read(key.get(ARTIFACT_PREFIX.len()..).ok_or(IndexError::Row("artifact"))?)
}

pub(crate) fn artifact(artifact: &ArtifactKey) -> Vec<u8> {
    key(b'a', &[&artifact.bytes()])
}

/// Of the shares in a slot that hold entries of a kind.
pub(crate) fn shares_prefix(slot: SlotKey, kind: Kind) -> Vec<u8> {
    key(shares_letter(kind), &[&slot.0])
}

/// An operator's share in a slot.
pub(crate) fn share(slot: SlotKey, kind: Kind, operator: OperatorId) -> Vec<u8> {
    key(shares_letter(kind), &[&slot.0, operator.as_bytes()])
}

/// Results and commitments stand in one row: they have nodes in common.
fn shares_letter(kind: Kind) -> u8 {
    match kind {
        Kind::Result | Kind::Commitment => b's',
        Kind::Check => b'd',
    }
}

pub(crate) const OPEN_PREFIX: &[u8] = b"k/";

/// A commitment that no result has revealed.
pub(crate) fn open_commitment(node: NodeId, sequence: u64) -> Vec<u8> {
    key(b'k', &[node.as_bytes(), &sequence.to_be_bytes()])
}

/// Its slot, and until when it is to be revealed.
pub(crate) fn open_value(slot: SlotKey, until: Timestamp) -> Vec<u8> {
    [slot.0.as_slice(), &until.unix_seconds().to_be_bytes()].concat()
}

pub(crate) fn read_open(value: &[u8]) -> Result<(SlotKey, Timestamp), IndexError> {
    let (slot, seconds) = value.split_first_chunk::<32>().ok_or(IndexError::Row("open commitment"))?;
    let seconds = seconds.try_into().map(i64::from_be_bytes).map_err(|_| IndexError::Row("open commitment"))?;
    Ok((SlotKey(*slot), Timestamp::from_unix_seconds(seconds)))
}

/// Of an operator's marks.
pub(crate) fn marks_prefix(operator: OperatorId) -> Vec<u8> {
    key(b'b', &[operator.as_bytes()])
}

/// Of an operator's marks in a slot.
pub(crate) fn slot_marks_prefix(operator: OperatorId, slot: SlotKey) -> Vec<u8> {
    key(b'b', &[operator.as_bytes(), &slot.0])
}

/// A mark: its value says which.
pub(crate) fn mark(mark: &Mark, slot: SlotKey) -> Vec<u8> {
    let shown_by: Vec<u8> = mark.shown_by.iter().flat_map(|digest| *digest.as_bytes()).collect();
    let which = Digest::of(&[mark.kind.name().as_bytes(), mark.node.as_bytes(), &shown_by].concat());
    key(b'b', &[mark.operator.as_bytes(), &slot.0, which.as_bytes()])
}

pub(crate) const DRILL_PREFIX: &[u8] = b"q/";

/// A step of a drill: its leaf says which.
pub(crate) fn drill(leaf: u64) -> Vec<u8> {
    key(b'q', &[&leaf.to_be_bytes()])
}

pub(crate) const DECLARATION_PREFIX: &[u8] = b"j/";

/// A declaration, by its envelope: its value is the leaf.
pub(crate) fn declaration(envelope: Digest) -> Vec<u8> {
    key(b'j', &[envelope.as_bytes()])
}

/// That a verdict has called a vote of the operator its own, and where the first that did stands.
pub(crate) fn owner(operator: OperatorId) -> Vec<u8> {
    key(b'g', &[operator.as_bytes()])
}

/// The leaf at the end of a key.
pub(crate) fn leaf_at_end(key: &[u8]) -> Result<u64, IndexError> {
    key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes)).ok_or(IndexError::Row("leaf"))
}

/// Of a package in any version and from any registry.
pub(crate) fn package_prefix(package: &Purl) -> Vec<u8> {
    key(b'p', &[Digest::of(unqualified(&package.without_version()).as_bytes()).as_bytes()])
}

/// A package URL without qualifiers and subpath: a mirror's copy of a bad release is as bad. In canonical
/// form `?` and `#` stand nowhere else.
pub(crate) fn unqualified(package: &Purl) -> String {
    let mut text = package.to_string();
    text.truncate(text.find(['?', '#']).unwrap_or(text.len()));
    text
}

pub(crate) fn package(package: &Purl, artifact: &ArtifactKey) -> Vec<u8> {
    [package_prefix(package), artifact.bytes()].concat()
}

/// The artifact at the end of a package's row.
pub(crate) fn artifact_of_package(key: &[u8]) -> Result<ArtifactKey, IndexError> {
    ArtifactKey::read(key.get(2 + 32..).ok_or(IndexError::Row("package"))?)
}

pub(crate) fn verdict(artifact: &ArtifactKey) -> Vec<u8> {
    key(b'v', &[&artifact.bytes()])
}

/// Newest first: keys count down.
pub(crate) fn listing(prefix: &[u8], leaf: u64) -> Vec<u8> {
    [prefix, &(u64::MAX - leaf).to_be_bytes()].concat()
}

pub(crate) fn listed_leaf(key: &[u8]) -> Result<u64, IndexError> {
    let number = key.last_chunk::<8>().ok_or(IndexError::Row("listing"))?;
    Ok(u64::MAX - u64::from_be_bytes(*number))
}

/// A listing's value: which artifact, and enough to filter by.
pub(crate) fn listing_value(artifact: &ArtifactKey, row: &VerdictRow) -> Vec<u8> {
    [artifact.bytes(), vec![state_byte(row.state), row.flags]].concat()
}

pub(crate) fn read_listing(value: &[u8]) -> Result<(ArtifactKey, State, u8), IndexError> {
    let (artifact, &[state, flags]) = value.split_last_chunk::<2>().ok_or(IndexError::Row("listing"))?;
    Ok((ArtifactKey::read(artifact)?, state_of(state)?, flags))
}

/// Of the verdicts in force on files of a package, the newest first: listings.
pub(crate) fn history_prefix(release: &Purl) -> Vec<u8> {
    key(b'r', &[history::package(release).as_bytes()])
}

/// What a verdict says for the history of its package.
pub(crate) fn past_value(past: &Past) -> Vec<u8> {
    [past.rules.as_bytes().as_slice(), past.release.as_bytes(), &[state_byte(past.state)]].concat()
}

pub(crate) fn read_past(value: &[u8]) -> Result<Past, IndexError> {
    let malformed = IndexError::Row("history");
    let (digests, [state]) = value.as_chunks::<32>() else { return Err(malformed) };
    let [rules, release] = digests else { return Err(malformed) };
    Ok(Past { rules: Digest::from_bytes(*rules), release: Digest::from_bytes(*release), state: state_of(*state)? })
}

// Evidence and incidents.
pub(crate) fn naming_prefix(blob: Digest) -> Vec<u8> {
    key(b'n', &[blob.as_bytes()])
}

pub(crate) fn naming(blob: Digest, leaf: u64) -> Vec<u8> {
    key(b'n', &[blob.as_bytes(), &leaf.to_be_bytes()])
}

/// Reports and environments are named once: behind all leaves.
pub(crate) fn role_naming(blob: Digest, role: Role) -> Vec<u8> {
    naming(blob, u64::from(role.byte()) << 56)
}

/// What a file is named for, by which node, and whether that is indexed.
pub(crate) fn naming_value(role: Role, node: Option<NodeId>, indexed: bool) -> Vec<u8> {
    let mut value = vec![role.byte(), u8::from(indexed)];
    value.extend(node.iter().flat_map(NodeId::as_bytes));
    value
}

pub(crate) fn wanted(blob: Digest) -> Vec<u8> {
    key(b'w', &[blob.as_bytes()])
}

/// Of a posting list of result leaves. A term is a kind and a text, such as `tool:setuptools@75`.
pub(crate) fn term_prefix(term: &str) -> Vec<u8> {
    key(b'i', &[Digest::of(term.as_bytes()).as_bytes()])
}

pub(crate) fn inventory_prefix(term: &str) -> Vec<u8> {
    key(b'x', &[Digest::of(term.as_bytes()).as_bytes()])
}

/// An environment whose inventory has the term.
pub(crate) fn inventory(term: &str, environment: Digest) -> Vec<u8> {
    key(b'x', &[Digest::of(term.as_bytes()).as_bytes(), environment.as_bytes()])
}

/// Of a posting list of result leaves that finished in one hour.
pub(crate) fn hour_prefix(hour: u32) -> Vec<u8> {
    key(b't', &[&hour.to_be_bytes()])
}

/// A 32-byte hash at the end of a key.
pub(crate) fn digest_at_end(key: &[u8]) -> Result<Digest, IndexError> {
    key.last_chunk::<32>().map(|bytes| Digest::from_bytes(*bytes)).ok_or(IndexError::Row("digest"))
}

/// A node at the end of a key.
pub(crate) fn node_at_end(key: &[u8]) -> Result<NodeId, IndexError> {
    let bytes = key.last_chunk::<32>().ok_or(IndexError::Row("node"))?;
    NodeId::from_bytes(*bytes).map_err(|_| IndexError::Row("node"))
}

/// Numbers of 8 bytes, one behind the other.
pub(crate) fn numbers(value: &[u8]) -> Vec<u64> {
    value.as_chunks::<8>().0.iter().map(|bytes| u64::from_be_bytes(*bytes)).collect()
}

fn array<const N: usize>(value: &[u8], what: &'static str) -> Result<[u64; N], IndexError> {
    numbers(value).try_into().map_err(|_| IndexError::Row(what))
}

impl Role {
    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::Provenance => b'p',
            Self::Report => b'r',
            Self::Environment => b'e',
        }
    }

    pub(crate) fn read(value: &[u8]) -> Result<Self, IndexError> {
        match value.first() {
            Some(b'p') => Ok(Self::Provenance),
            Some(b'r') => Ok(Self::Report),
            Some(b'e') => Ok(Self::Environment),
            _ => Err(IndexError::Row("naming")),
        }
    }
}
