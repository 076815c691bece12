//! Two readings of files whose bytes differ: their level, and the list of what differs.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use quorate_proto::comparison::{Anomaly, AnomalyKind, Difference, DifferenceClass, Executable, Level, Side};
use quorate_proto::{Digest, NormalDigest};

use super::nested::Nested;
use super::texts::{self, Texts};
use super::{Comparison, Detail, Input, MemberDifference, SideForm, side_form};
use crate::form::{self, Pair, Pairing};
use crate::limits::Limits;
use crate::reading::{Container, Member, Reading, State};
use crate::{executable, names, pass};

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
        let normal = [form::normal_digest(self.published), form::normal_digest(self.rebuilt)];
        let (contents, manifest) = self.level_of_contents(normal);
        let is_explained = contents == Level::Different || !passes.is_empty();
        let level = if differences.is_empty() && is_explained { contents } else { Level::Different };
        if level == Level::Different {
            differences.extend(self.member_differences(&pairing));
        }
        if level == Level::Different && differences.is_empty() {
            differences.push(self.opaque());
        }
        let manifest = manifest.filter(|_| level == Level::Manifest);
        let side = |bytes, normal| SideForm { manifest, ..side_form(bytes, normal) };
        let sides = [(self.published, Side::Published), (self.rebuilt, Side::Rebuilt)];
        Comparison {
            level,
            published: side(self.input.published, normal[0]),
            rebuilt: side(self.input.rebuilt, normal[1]),
            anomalies: sides.into_iter().flat_map(|(reading, side)| reading.anomalies(side)).collect(),
            passes,
            header_replay: None,
            differences,
        }
    }

    /// The level that the contents allow, and at `manifest` the digest that both have.
    fn level_of_contents(&self, [published, rebuilt]: [Option<NormalDigest>; 2]) -> (Level, Option<NormalDigest>) {
        if published.is_some() && published == rebuilt {
            let is_stream = self.published.stream.is_some() && self.published.stream == self.rebuilt.stream;
            return (if is_stream { Level::Stream } else { Level::Normal }, None);
        }
        // Without a pass that reads members, the other form says no more than this one.
        let is_read = |reading: &Reading<'_>| reading.members.iter().any(|member| member.manifest_pass().is_some());
        if !is_read(self.published) && !is_read(self.rebuilt) {
            return (Level::Different, None);
        }
        let manifest = form::manifest_digest(self.published);
        let is_equal = manifest.is_some() && manifest == form::manifest_digest(self.rebuilt);
        if is_equal { (Level::Manifest, manifest) } else { (Level::Different, None) }
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
        let wanted: HashSet<&str> = counts.keys().filter_map(|(_, member, _)| member.as_deref()).collect();
        let named = [self.published, self.rebuilt].map(|reading| by_shown_name(reading, &wanted));
        counts.into_iter().map(|((_, member, detail), _)| anomaly_difference(member, detail, &named)).collect()
    }

    /// Members that differ, by name. None of an archive that was not read to its end: what was
    /// not read is not missing.
    fn member_differences(&self, pairing: &Pairing<'_, 'a>) -> Vec<MemberDifference> {
        if self.published.state == State::Broken || self.rebuilt.state == State::Broken {
            return Vec::new();
        }
        let changed: Vec<(&Pair<'_, 'a>, DifferenceClass)> =
            pairing.both.iter().flat_map(|pair| classes_of(pair).map(move |class| (pair, class))).collect();
        let texts = self.texts(pairing, &changed);
        let mut differences: Vec<(&[u8], MemberDifference)> = Vec::new();
        for (members, side) in [(&pairing.only_published, Side::Published), (&pairing.only_rebuilt, Side::Rebuilt)] {
            differences.extend(members.iter().map(|member| {
                let difference = one_sided(member, side);
                (&*member.name, MemberDifference { difference, detail: texts.detail(&[member]) })
            }));
        }
        for (pair, class) in changed {
            let name = &*pair.published.name;
            let inside = self.nested.differences.get(name).filter(|_| class == DifferenceClass::Content);
            if let Some(inside) = inside {
                differences.extend(inside.iter().map(|difference| (name, difference.clone())));
                continue;
            }
            let detail = match class {
                DifferenceClass::Metadata => Some(Detail::Metadata(metadata_changes(pair))),
                _ => texts.detail(&[pair.published, pair.rebuilt]),
            };
            differences.push((name, MemberDifference { difference: two_sided(pair, class), detail }));
        }
        differences.sort_by_key(|(name, _)| *name);
        differences.into_iter().map(|(_, difference)| difference).collect()
    }

    /// Unified diffs of members that are small texts: of those that changed before those that one side
    /// alone has, and of code before data.
    fn texts(&self, pairing: &Pairing<'_, 'a>, changed: &[(&Pair<'_, 'a>, DifferenceClass)]) -> Texts {
        let bytes_max = self.limits.diff_source_bytes_max;
        let is_small = |member: &Member<'_>| texts::unshown(member, bytes_max).is_none();
        let alone = pairing.only_published.iter().chain(&pairing.only_rebuilt).filter(|member| is_small(member));
        let alone = alone.map(|member| (true, executable::classify([*member]) != Executable::Code, &*member.name));
        let pairs = changed.iter().filter(|(_, class)| *class == DifferenceClass::Content).map(|(pair, _)| pair);
        let pairs = pairs.filter(|pair| !self.nested.differences.contains_key(&*pair.published.name));
        let pairs = pairs.filter(|pair| is_small(pair.published) && is_small(pair.rebuilt));
        let pairs =
            pairs.map(|pair| (false, executable::classify([pair.published, pair.rebuilt]) != Executable::Code, &*pair.published.name));
        let mut ranked: Vec<(bool, bool, &[u8])> = alone.chain(pairs).collect();
        ranked.sort_unstable();
        ranked.dedup();
        let wanted: BTreeSet<Vec<u8>> = ranked.into_iter().take(self.limits.diffs_max).map(|(_, _, name)| name.to_vec()).collect();
        Texts::of(self.input, self.published.container, self.limits, &wanted)
    }

    /// All that is known of files that are not looked into, or that differ where no pass says how.
    fn opaque(&self) -> MemberDifference {
        let name = self.input.file_name.as_bytes();
        let head = |bytes: &'a [u8]| {
            let mut member = Member::new(name, crate::reading::Kind::File, crate::reading::Content::unread());
            member.content.head.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
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

fn by_shown_name<'r, 'a>(reading: &'r Reading<'a>, wanted: &HashSet<&str>) -> ByShownName<'r, 'a> {
    let named = reading.members.iter().map(|member| (names::display(&member.name), member));
    named.filter(|(name, _)| wanted.contains(name.as_str())).collect()
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
    let is_content = published.manifest() != rebuilt.manifest() || published.content.is_read != rebuilt.content.is_read;
    let is_metadata = !metadata_changes(pair).is_empty();
    let classes = [is_content.then_some(DifferenceClass::Content), is_metadata.then_some(DifferenceClass::Metadata)];
    classes.into_iter().flatten()
}

fn metadata_changes(pair: &Pair<'_, '_>) -> Vec<String> {
    let Pair { published, rebuilt, .. } = pair;
    let target = |member: &Member<'_>| member.link.as_deref().map_or("none".to_owned(), names::display);
    let access = |member: &Member<'_>| member.access.as_deref().unwrap_or("none").to_owned();
    let lines = [
        ("type", format!("{:?}", published.kind), format!("{:?}", rebuilt.kind)),
        ("executable", published.executable.to_string(), rebuilt.executable.to_string()),
        ("link target", target(published), target(rebuilt)),
        ("mode and owner", access(published), access(rebuilt)),
    ];
    let changed = lines.into_iter().filter(|(_, published, rebuilt)| published != rebuilt);
    changed.map(|(what, published, rebuilt)| format!("{what}: {published}, {rebuilt}")).collect()
}
