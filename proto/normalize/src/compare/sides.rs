//! Two readings of files whose bytes differ: their level, and the list of what differs.

use std::collections::{BTreeMap, BTreeSet};

use quorate_proto::comparison::{Anomaly, AnomalyKind, Difference, DifferenceClass, Level, Side};
use quorate_proto::{Digest, NormalDigest};

use super::nested::Nested;
use super::{Comparison, Detail, Input, MemberDifference, SideForm, side_form};
use crate::form::{self, Pair, Pairing};
use crate::limits::Limits;
use crate::reading::{Container, Member, Reading, State};
use crate::unpack::Hold;
use crate::{archive, diff, executable, names, pass};

/// Both files, read.
pub(super) struct Sides<'r, 'a> {
    pub(super) input: &'r Input<'a>,
    pub(super) limits: &'r Limits,
    pub(super) published: &'r Reading<'a>,
    pub(super) rebuilt: &'r Reading<'a>,
    pub(super) nested: Nested,
}

impl<'a> Sides<'_, 'a> {
    pub(super) fn compare(&self) -> Comparison {
        let pairing = Pairing::of(self.published, self.rebuilt);
        let passes = pass::merge(&pass::uses(self.published, self.rebuilt, &pairing), &self.nested.passes);
        let mut differences = self.anomaly_differences();
        let contents = self.level_of_contents();
        let is_explained = contents == Level::Different || !passes.is_empty();
        let level = if differences.is_empty() && is_explained { contents } else { Level::Different };
        if level == Level::Different {
            differences.extend(self.member_differences(&pairing));
        }
        if level == Level::Different && differences.is_empty() {
            differences.push(self.opaque());
        }
        let side = |bytes, reading| SideForm {
            manifest: form::manifest_digest(reading).filter(|_| level == Level::Manifest),
            ..side_form(bytes, form::normal_digest(reading))
        };
        let sides = [(self.published, Side::Published), (self.rebuilt, Side::Rebuilt)];
        Comparison {
            level,
            published: side(self.input.published, self.published),
            rebuilt: side(self.input.rebuilt, self.rebuilt),
            anomalies: sides.into_iter().flat_map(|(reading, side)| reading.anomalies(side)).collect(),
            passes,
            header_replay: None,
            differences,
        }
    }

    fn level_of_contents(&self) -> Level {
        let equal = |digest: fn(&Reading<'_>) -> Option<NormalDigest>| {
            let digests = digest(self.published).zip(digest(self.rebuilt));
            digests.is_some_and(|(published, rebuilt)| published == rebuilt)
        };
        let is_normal = equal(form::normal_digest);
        if is_normal && self.published.stream.is_some() && self.published.stream == self.rebuilt.stream {
            Level::Stream
        } else if is_normal {
            Level::Normal
        } else if equal(form::manifest_digest) {
            Level::Manifest
        } else {
            Level::Different
        }
    }

    /// The anomalies that one side has more often than the other.
    fn anomaly_differences(&self) -> Vec<MemberDifference> {
        let mut counts: BTreeMap<(AnomalyKind, Option<String>, String), i64> = BTreeMap::new();
        for (reading, step) in [(self.published, 1), (self.rebuilt, -1)] {
            for Anomaly { kind, member, detail, .. } in reading.findings.anomalies(Side::Published) {
                *counts.entry((kind, member, detail)).or_default() += step;
            }
        }
        counts.retain(|_, count| *count != 0);
        if counts.is_empty() {
            return Vec::new();
        }
        let named = [by_shown_name(self.published), by_shown_name(self.rebuilt)];
        counts.into_iter().map(|((_, member, detail), _)| anomaly_difference(member, detail, &named)).collect()
    }

    /// Members that differ, by name. None of an archive that was not read to its end: what was
    /// not read is not missing.
    fn member_differences(&self, pairing: &Pairing<'_, 'a>) -> Vec<MemberDifference> {
        if self.published.state == State::Broken || self.rebuilt.state == State::Broken {
            return Vec::new();
        }
        let mut differences: BTreeMap<Vec<u8>, Vec<MemberDifference>> = BTreeMap::new();
        let mut add = |member: &Member<'_>, difference| differences.entry(member.name.clone()).or_default().push(difference);
        let changed: Vec<(&Pair<'_, 'a>, DifferenceClass)> =
            pairing.both.iter().flat_map(|pair| classes_of(pair).map(move |class| (pair, class))).collect();
        let texts = self.texts(pairing, &changed);
        for (members, side) in [(&pairing.only_published, Side::Published), (&pairing.only_rebuilt, Side::Rebuilt)] {
            for member in members {
                let detail = texts.get(&member.name).cloned().map(Detail::Diff);
                add(member, MemberDifference { difference: one_sided(member, side), detail });
            }
        }
        for (pair, class) in changed {
            let inside = self.nested.differences.get(&pair.published.name).filter(|_| class == DifferenceClass::Content);
            if let Some(inside) = inside {
                for difference in inside {
                    add(pair.published, difference.clone());
                }
                continue;
            }
            let detail = match class {
                DifferenceClass::Metadata => Some(Detail::Metadata(metadata_changes(pair))),
                _ => texts.get(&pair.published.name).cloned().map(Detail::Diff),
            };
            add(pair.published, MemberDifference { difference: two_sided(pair, class), detail });
        }
        differences.into_values().flatten().collect()
    }

    /// Unified diffs of members that are small texts, by name: those of one side, against nothing, before
    /// those that changed.
    fn texts(&self, pairing: &Pairing<'_, 'a>, changed: &[(&Pair<'_, 'a>, DifferenceClass)]) -> BTreeMap<Vec<u8>, String> {
        let bytes_max = self.limits.diff_source_bytes_max;
        let is_small = |member: &Member<'_>| member.content.is_read && member.content.summary.size <= bytes_max;
        let alone = pairing.only_published.iter().chain(&pairing.only_rebuilt).filter(|member| is_small(member)).map(|member| &member.name);
        let pairs = changed.iter().filter(|(_, class)| *class == DifferenceClass::Content).map(|(pair, _)| pair);
        let pairs = pairs.filter(|pair| !self.nested.differences.contains_key(&pair.published.name));
        let pairs = pairs.filter(|pair| is_small(pair.published) && is_small(pair.rebuilt)).map(|pair| &pair.published.name);
        let wanted: BTreeSet<Vec<u8>> = alone.chain(pairs).take(self.limits.diffs_max).cloned().collect();
        if wanted.is_empty() {
            return BTreeMap::new();
        }
        let held = |bytes| {
            let reading = archive::reread(bytes, self.published.container, self.limits, Hold::Only(&wanted, bytes_max));
            let members = reading.map(|reading| reading.members).unwrap_or_default();
            let held = members.into_iter().filter_map(|member| Some((member.name, member.content.held?)));
            held.collect::<BTreeMap<Vec<u8>, Vec<u8>>>()
        };
        let sides = [held(self.input.published), held(self.input.rebuilt)];
        let diff = |name: &Vec<u8>| {
            let [published, rebuilt] = sides.each_ref().map(|side| side.get(name).map_or(&[][..], Vec::as_slice));
            diff::unified(published, rebuilt, self.limits.diff_bytes_max).filter(|diff| !diff.is_empty())
        };
        wanted.iter().filter_map(|name| Some((name.clone(), diff(name)?))).collect()
    }

    /// All that is known of files that are not looked into, or that differ where no pass says how.
    fn opaque(&self) -> MemberDifference {
        let name = self.input.file_name.as_bytes();
        let head = |bytes: &'a [u8]| {
            let mut member = Member::new(name, crate::reading::Kind::File, crate::reading::Content::unread());
            member.content.head = bytes.iter().take(4).copied().collect();
            member
        };
        let members = [head(self.input.published), head(self.input.rebuilt)];
        let detail = (self.published.container != Container::Opaque)
            .then(|| Detail::Anomaly("bytes differ in something that no pass names".to_owned()));
        MemberDifference {
            difference: Difference {
                member: names::display(name),
                class: DifferenceClass::Opaque,
                executable: executable::classify(&members),
                published: Some(Digest::of(self.input.published)),
                rebuilt: Some(Digest::of(self.input.rebuilt)),
            },
            detail,
        }
    }
}

type ByShownName<'r, 'a> = BTreeMap<String, &'r Member<'a>>;

fn by_shown_name<'r, 'a>(reading: &'r Reading<'a>) -> ByShownName<'r, 'a> {
    reading.members.iter().map(|member| (names::display(&member.name), member)).collect()
}

fn anomaly_difference(member: Option<String>, detail: String, named: &[ByShownName<'_, '_>; 2]) -> MemberDifference {
    let member = member.unwrap_or_default();
    let [published, rebuilt] = named.each_ref().map(|members| members.get(&member).copied());
    MemberDifference {
        difference: Difference {
            class: DifferenceClass::Anomaly,
            executable: executable::classify([published, rebuilt].into_iter().flatten()),
            published: published.and_then(form::content_digest),
            rebuilt: rebuilt.and_then(form::content_digest),
            member,
        },
        detail: Some(Detail::Anomaly(detail)),
    }
}

fn one_sided(member: &Member<'_>, side: Side) -> Difference {
    let digest = form::content_digest(member);
    let (class, published, rebuilt) = match side {
        Side::Published => (DifferenceClass::OnlyPublished, digest, None),
        Side::Rebuilt => (DifferenceClass::OnlyRebuilt, None, digest),
    };
    let executable = executable::classify([member]);
    Difference { member: names::display(&member.name), class, executable, published, rebuilt }
}

fn two_sided(pair: &Pair<'_, '_>, class: DifferenceClass) -> Difference {
    Difference {
        member: names::display(&pair.published.name),
        class,
        executable: executable::classify([pair.published, pair.rebuilt]),
        published: form::content_digest(pair.published),
        rebuilt: form::content_digest(pair.rebuilt),
    }
}

/// How a member differs, beyond what manifest passes drop: in content, in metadata, in both.
fn classes_of(pair: &Pair<'_, '_>) -> impl Iterator<Item = DifferenceClass> {
    let Pair { published, rebuilt, .. } = pair;
    let is_content = published.manifest != rebuilt.manifest || published.content.is_read != rebuilt.content.is_read;
    let is_metadata = !metadata_changes(pair).is_empty();
    let classes = [is_content.then_some(DifferenceClass::Content), is_metadata.then_some(DifferenceClass::Metadata)];
    classes.into_iter().flatten()
}

fn metadata_changes(pair: &Pair<'_, '_>) -> Vec<String> {
    let Pair { published, rebuilt, .. } = pair;
    let target = |member: &Member<'_>| member.link.as_deref().map_or("none".to_owned(), names::display);
    let access = |member: &Member<'_>| member.access.clone().unwrap_or_else(|| "none".to_owned());
    let lines = [
        ("type", format!("{:?}", published.kind), format!("{:?}", rebuilt.kind)),
        ("executable", published.executable.to_string(), rebuilt.executable.to_string()),
        ("link target", target(published), target(rebuilt)),
        ("mode and owner", access(published), access(rebuilt)),
    ];
    let changed = lines.into_iter().filter(|(_, published, rebuilt)| published != rebuilt);
    changed.map(|(what, published, rebuilt)| format!("{what}: {published}, {rebuilt}")).collect()
}
