//! Flags: alarms beside a state. None of them needs a quorum; one witness is enough to look.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_proto::entry::VerifiedCommitment;
use quorate_proto::result::Source;
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{ArtifactId, Digest};

use crate::ballot::{Ballot, Vote};
use crate::grade::counted;
use crate::heard::Heard;
use crate::said::Said;
use crate::verdict::Flag;

/// The alarms about `artifact` that results raise.
pub(crate) fn flags(artifact: &ArtifactId, heard: &Heard<'_>, votes: &[Vote]) -> BTreeSet<Flag> {
    let mut flags = BTreeSet::new();
    if votes.iter().any(|vote| vote.ballot == Ballot::Equivocated) {
        flags.insert(Flag::Equivocation);
    }
    if heard.all().any(|statement| statement.artifact().digest != artifact.digest) {
        flags.insert(Flag::RegistrySplit);
    }
    if heard.nodes().any(has_seen_several) {
        flags.insert(Flag::Mutated);
    }
    if is_source_split(heard.all().filter(|statement| statement.artifact().digest == artifact.digest)) {
        flags.insert(Flag::SourceSplit);
    }
    flags
}

/// Commitments that no result has revealed, rightly or not.
pub(crate) fn open<'c>(
    said: &'c Said<'_>,
    artifact: &'c ArtifactId,
    heard: &Heard<'_>,
    commitments: &'c [Arc<VerifiedCommitment>],
) -> impl Iterator<Item = &'c VerifiedCommitment> {
    let reveals = |statement: &VerifiedStatement| Some((statement.node(), statement.result().reveals.as_ref()?.sequence));
    let revealed: BTreeSet<_> = if commitments.is_empty() { BTreeSet::new() } else { heard.all().filter_map(reveals).collect() };
    counted(said, artifact, commitments).filter(move |entry| !revealed.contains(&(entry.node(), entry.position().sequence)))
}

/// One node, and so no split view, has seen two files in the slot.
fn has_seen_several<'s>(mut results: impl Iterator<Item = &'s VerifiedStatement>) -> bool {
    let first = results.next().map(|statement| statement.artifact().digest);
    results.any(|statement| Some(statement.artifact().digest) != first)
}

/// One name for a source, such as a tag of a repository, gave two contents.
fn is_source_split<'s>(statements: impl Iterator<Item = &'s VerifiedStatement>) -> bool {
    let mut seen: BTreeMap<_, (&Option<String>, Option<Digest>)> = BTreeMap::new();
    statements.filter_map(|statement| statement.result().source.as_ref()).filter(|source| is_named(source)).any(|source| {
        let content = (&source.commit, source.digest);
        *seen.entry((source.kind, &source.uri, &source.reference)).or_insert(content) != content
    })
}

/// A commit that was chosen because it matches has no name: two operators may choose two.
fn is_named(source: &Source) -> bool {
    source.reference.is_some() || source.digest.is_some()
}
