//! The diffs of members, and why others have none.

use std::collections::{BTreeMap, BTreeSet};

use super::{Detail, Input, Unshown};
use crate::limits::Limits;
use crate::reading::{Container, Kind, Member};
use crate::unpack::Hold;
use crate::{archive, diff};

/// Diffs by the name of the member.
pub(super) struct Texts {
    found: BTreeMap<Vec<u8>, Result<String, Unshown>>,
    source_bytes_max: u64,
}

impl Texts {
    /// Reads both files once more for the members of these names.
    pub(super) fn of(input: &Input<'_>, container: Container, limits: &Limits, wanted: &BTreeSet<Vec<u8>>) -> Self {
        let source_bytes_max = limits.diff_source_bytes_max;
        if wanted.is_empty() {
            return Self { found: BTreeMap::new(), source_bytes_max };
        }
        let held = |bytes| {
            let reading = archive::reread(bytes, container, limits, Hold::Only(wanted, source_bytes_max));
            let members = reading.map(|reading| reading.members).unwrap_or_default();
            let held = members.into_iter().filter_map(|member| Some((member.name, member.content.held?)));
            held.collect::<BTreeMap<Box<[u8]>, Box<[u8]>>>()
        };
        let sides = [held(input.published), held(input.rebuilt)];
        let diff = |name: &[u8]| {
            let [published, rebuilt] = sides.each_ref().map(|side| side.get(name).map_or(&[][..], |content| content));
            if !diff::is_text(published) || !diff::is_text(rebuilt) {
                return Err(Unshown::Binary);
            }
            diff::unified(published, rebuilt, limits.diff_bytes_max).ok_or(Unshown::Long)
        };
        let found = wanted.iter().map(|name| (name.clone(), diff(name))).collect();
        Self { found, source_bytes_max }
    }

    /// What is shown of the contents of a member, on the sides that have it.
    pub(super) fn detail(&self, sides: &[&Member<'_>]) -> Option<Detail> {
        let name = &*sides.first()?.name;
        let has_content = sides.iter().any(|member| member.kind == Kind::File && member.content.summary.size > 0);
        match self.found.get(name) {
            Some(Ok(diff)) if diff.is_empty() => None,
            Some(Ok(diff)) => Some(Detail::Diff(diff.clone())),
            Some(Err(reason)) => Some(Detail::Unshown(*reason)).filter(|_| has_content),
            None if has_content => {
                let reason = sides.iter().find_map(|member| unshown(member, self.source_bytes_max)).unwrap_or(Unshown::Many);
                Some(Detail::Unshown(reason))
            }
            None => None,
        }
    }
}

/// Why a member can have no diff, as far as that is known before it is read again.
pub(super) fn unshown(member: &Member<'_>, bytes_max: u64) -> Option<Unshown> {
    if member.content.is_binary {
        return Some(Unshown::Binary);
    }
    let is_short = member.content.is_read && member.content.summary.size <= bytes_max;
    (!is_short).then_some(Unshown::Long)
}
