//! Archives inside archives: where two members differ that are archives by their names, both are
//! compared as what they are.
//!
//! They are read only where their bytes differ, at bounded depth and size, and within what the
//! outer archive left of the limits. SPEC normal-form: Nested archives.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use quorate_proto::Digest;
use quorate_proto::comparison::{DifferenceClass, Level, PassUse, Side};

use super::{CompareError, Comparison, Detail, Input, MemberDifference, Work};
use crate::archive;
use crate::deb::JOINT;
use crate::form::Pairing;
use crate::limits::Limits;
use crate::names;
use crate::pass::Pass;
use crate::reading::{Container, Kind, Member, Reading, State, Summary};
use crate::unpack::Hold;

/// How many archives may lie around one that is looked into.
const DEPTH_MAX: u32 = 3;

/// Bytes of a nested archive that is looked into, directly below the file; half as many one further down.
const BYTES_MAX: u64 = 32 << 20;

/// What came of comparing nested archives.
#[derive(Default)]
pub(super) struct Nested {
    pub(super) passes: Vec<PassUse>,
    /// Differences inside members, by the names of these.
    pub(super) differences: BTreeMap<Vec<u8>, Vec<MemberDifference>>,
    pub(super) work: Work,
}

/// Two members that may be the same archive.
struct Candidate {
    name: Vec<u8>,
    published_index: u32,
    rebuilt_index: u32,
    size: u64,
}

/// Compares the members that differ and are archives, and marks those whose normal forms are equal.
pub(super) fn compare<'a>(
    input: &Input<'a>,
    limits: &Limits,
    depth: u32,
    [published, rebuilt]: [&mut Reading<'a>; 2],
) -> Result<Nested, CompareError> {
    let mut nested = Nested::default();
    let bytes_max = BYTES_MAX >> depth;
    let is_complete = published.state == State::Complete && rebuilt.state == State::Complete;
    if depth >= DEPTH_MAX || !is_complete {
        return Ok(nested);
    }
    for batch in batches(candidates(published, rebuilt, bytes_max), bytes_max) {
        let names: BTreeSet<Vec<u8>> = batch.iter().map(|candidate| candidate.name.clone()).collect();
        let hold = Hold::Only(&names, bytes_max);
        let limit = |side| move |source| CompareError::Limit { side, source };
        let ours = held(input.published, published.container, limits, hold).map_err(limit(Side::Published))?;
        let theirs = held(input.rebuilt, rebuilt.container, limits, hold).map_err(limit(Side::Rebuilt))?;
        for candidate in batch {
            let Some((one, other)) = ours.get(&candidate.name).zip(theirs.get(&candidate.name)) else { continue };
            let left = nested.work.rest_of(limits);
            match super::compare_at(&Input { published: one, rebuilt: other, file_name: &file_name(&candidate.name) }, &left, depth + 1) {
                Ok((comparison, work)) => {
                    nested.work.add(work);
                    nested.take(&candidate, comparison, [&mut *published, &mut *rebuilt]);
                }
                // What a build made need not be readable inside: then its bytes count.
                Err(CompareError::UnreadableRebuilt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(nested)
}

impl Nested {
    fn take(&mut self, candidate: &Candidate, comparison: Comparison, readings: [&mut Reading<'_>; 2]) {
        let prefix = [candidate.name.as_slice(), JOINT].concat();
        let shown = names::display(&prefix);
        let normal = comparison.published.normal.filter(|_| matches!(comparison.level, Level::Byte | Level::Stream | Level::Normal));
        let [published, rebuilt] = readings;
        let sides = [(published, candidate.published_index, Side::Published), (rebuilt, candidate.rebuilt_index, Side::Rebuilt)];
        for (reading, index, side) in sides {
            for anomaly in comparison.anomalies.iter().filter(|anomaly| anomaly.side == side) {
                let member = anomaly.member.as_deref().unwrap_or_default();
                let member = names::clip(format!("{shown}{member}").trim_end_matches("!/").to_owned());
                reading.nested.add_shown(anomaly.kind, member, anomaly.detail.clone());
            }
            if let (Some(normal), Some(member)) = (normal, usize::try_from(index).ok().and_then(|index| reading.members.get_mut(index))) {
                let summary = Summary { size: 0, digest: Digest::from_bytes(*normal.as_bytes()) };
                member.set_manifest(summary, Pass::NestedArchive);
            }
        }
        self.passes.extend(comparison.passes);
        let inner = comparison.differences.into_iter().filter(|found| found.difference.class != DifferenceClass::Opaque);
        let inner: Vec<MemberDifference> = inner
            .map(|mut found| {
                let member = names::clip(format!("{shown}{}", found.difference.member).trim_end_matches("!/").to_owned());
                found.difference.member = member;
                found
            })
            .collect();
        self.work.diffs += inner.iter().filter(|found| matches!(found.detail, Some(Detail::Diff(_)))).count();
        if !inner.is_empty() {
            self.differences.insert(candidate.name.clone(), inner);
        }
    }
}

fn candidates(published: &Reading<'_>, rebuilt: &Reading<'_>, bytes_max: u64) -> Vec<Candidate> {
    let pairing = Pairing::of(published, rebuilt);
    let is_archive = |member: &Member<'_>| {
        let is_known = Container::of(&file_name(&member.name)) != Container::Opaque;
        let is_plain = member.kind == Kind::File && member.content.is_read && member.manifest_pass().is_none();
        is_known && is_plain && member.content.summary.size <= bytes_max
    };
    let differs = pairing.both.iter().filter(|pair| pair.published.manifest() != pair.rebuilt.manifest());
    let found: Vec<_> = differs.filter(|pair| is_archive(pair.published) && is_archive(pair.rebuilt)).collect();
    let mut seen: HashMap<&[u8], u32> = found.iter().map(|pair| (&*pair.published.name, 0)).collect();
    for member in published.members.iter().chain(&rebuilt.members) {
        if let Some(count) = seen.get_mut(&*member.name) {
            *count += 1;
        }
    }
    let once = found.into_iter().filter(|pair| seen.get(&*pair.published.name) == Some(&2));
    once.map(|pair| Candidate {
        name: pair.published.name.to_vec(),
        published_index: pair.published_index,
        rebuilt_index: pair.rebuilt_index,
        size: pair.published.content.summary.size.max(pair.rebuilt.content.summary.size),
    })
    .collect()
}

/// Runs of candidates that are held together.
fn batches(candidates: Vec<Candidate>, bytes_max: u64) -> Vec<Vec<Candidate>> {
    let mut batches: Vec<Vec<Candidate>> = Vec::new();
    let mut bytes = u64::MAX;
    for candidate in candidates {
        bytes = bytes.saturating_add(candidate.size);
        if bytes > bytes_max {
            bytes = candidate.size;
            batches.push(Vec::new());
        }
        if let Some(batch) = batches.last_mut() {
            batch.push(candidate);
        }
    }
    batches
}

fn held(
    bytes: &[u8],
    container: Container,
    limits: &Limits,
    hold: Hold<'_>,
) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, crate::limits::LimitError> {
    let members = archive::reread(bytes, container, limits, hold)?.members;
    Ok(members.into_iter().filter_map(|member| Some((member.name.into_vec(), member.content.held?.into_vec()))).collect())
}

/// The last part of a name: it decides how the member is read.
fn file_name(name: &[u8]) -> String {
    let start = name.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
    String::from_utf8_lossy(name.get(start..).unwrap_or_default()).into_owned()
}
