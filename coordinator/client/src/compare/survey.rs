//! The differences as a person reads them: what is only in A, only in B, and changed. A folder that
//! one side lacks as a whole is one entry.
//!
//! Decides what stands together, and of what kind it is; knows no terminal and no page.

use std::collections::{BTreeMap, BTreeSet};

use quorate_normalize::{Comparison, Detail, MemberDifference, Unshown};
use quorate_proto::comparison::{Anomaly, Difference, DifferenceClass, Executable, Side};

use super::contents::{Contents, Member, Shape, folders};
use crate::text::plain;

/// What joins the names of nested archives.
const NESTED: &str = "!/";

/// A comparison, grouped.
#[derive(Debug, Default)]
pub(super) struct Survey<'a> {
    /// The folder in which everything of both sides lies; names are without it.
    pub(super) top: Option<String>,
    /// One folder each, but not the same.
    pub(super) tops: Option<[String; 2]>,
    /// Structural faults, the one-sided first.
    pub(super) faults: Vec<Fault<'a>>,
    /// What only A has.
    pub(super) only_a: Vec<Entry<'a>>,
    /// What only B has.
    pub(super) only_b: Vec<Entry<'a>>,
    /// What both have, but not alike.
    pub(super) changed: Vec<Item<'a>>,
    /// What is said of the files as a whole.
    pub(super) opaque: Option<&'a MemberDifference>,
    /// How many members are the same, if that is known.
    pub(super) same: Option<usize>,
}

/// An anomaly, and who has it.
#[derive(Debug)]
pub(super) struct Fault<'a> {
    pub(super) anomaly: &'a Anomaly,
    pub(super) owner: Owner,
}

/// Who has an anomaly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    A,
    B,
    Both,
}

/// A member, or a whole folder.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    /// A folder's ends in a slash.
    pub(super) name: String,
    /// The member; of a folder everything in it, and the folder itself where it is a member.
    pub(super) items: Vec<Item<'a>>,
}

/// One member that differs.
#[derive(Debug)]
pub(super) struct Item<'a> {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Sizes in A and B, where they are known.
    pub(super) sizes: [Option<u64>; 2],
    /// Targets in A and B, of links.
    pub(super) links: [Option<String>; 2],
    /// One, or two if content and metadata differ.
    pub(super) differences: Vec<&'a MemberDifference>,
}

/// What a member is to its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    Link,
    Special,
    /// Runs, or is read by what runs.
    Code,
    /// Has lines to show.
    Text,
    /// Anything else: binary, or too long for lines.
    Data,
}

impl<'a> Survey<'a> {
    /// Groups `comparison`; `sides` are what is known of A and B beyond it.
    pub(super) fn of(comparison: &'a Comparison, sides: &[Option<Contents>; 2]) -> Self {
        let [a, b] = sides.each_ref().map(Option::as_ref);
        let tops = [a, b].map(|side| side.and_then(Contents::top).filter(|top| plain(top) == **top));
        let mut survey = Self { faults: faults(&comparison.anomalies), ..Self::default() };
        match tops {
            [Some(a), Some(b)] if a == b => survey.top = Some(a.to_owned()),
            [Some(a), Some(b)] => survey.tops = Some([a, b].map(str::to_owned)),
            _ => {}
        }
        let items = survey.items(comparison, [a, b]);
        survey.same = a.map(|a| a.len().saturating_sub(touched(&items)));
        let (only_a, rest): (Vec<_>, _) = items.into_iter().partition(|item| item.class() == DifferenceClass::OnlyPublished);
        let (only_b, changed) = rest.into_iter().partition(|item| item.class() == DifferenceClass::OnlyRebuilt);
        survey.only_a = survey.entries(only_a, b);
        survey.only_b = survey.entries(only_b, a);
        survey.changed = changed;
        survey
    }

    /// Differences of one member together, by name.
    fn items(&mut self, comparison: &'a Comparison, sides: [Option<&Contents>; 2]) -> Vec<Item<'a>> {
        let mut items: BTreeMap<(&str, bool), Item<'a>> = BTreeMap::new();
        for difference in &comparison.differences {
            let Difference { member, class, .. } = &difference.difference;
            match class {
                DifferenceClass::Anomaly => {}
                DifferenceClass::Opaque if !member.contains(NESTED) => self.opaque = Some(difference),
                class => {
                    let is_changed = !matches!(class, DifferenceClass::OnlyPublished | DifferenceClass::OnlyRebuilt);
                    let item = items.entry((member, is_changed)).or_insert_with(|| self.item(difference, sides));
                    item.differences.push(difference);
                    item.kind = if item.diff().is_some() && item.kind == Kind::Data { Kind::Text } else { item.kind };
                }
            }
        }
        items.into_values().collect()
    }

    fn item(&self, difference: &'a MemberDifference, sides: [Option<&Contents>; 2]) -> Item<'a> {
        let Difference { member, class, executable, .. } = &difference.difference;
        let known = sides.map(|side| side.and_then(|side| side.member(member)));
        let known = match class {
            DifferenceClass::OnlyPublished => [known[0], None],
            DifferenceClass::OnlyRebuilt => [None, known[1]],
            _ => known,
        };
        let size = |member: &Member| (member.shape == Shape::File).then_some(member.size_bytes);
        Item {
            name: self.within_top(member).to_owned(),
            kind: kind_of(known, *executable),
            sizes: known.map(|member| member.and_then(size)),
            links: known.map(|member| member.and_then(|member| member.link.clone())),
            differences: Vec::new(),
        }
    }

    fn within_top<'n>(&self, name: &'n str) -> &'n str {
        let rest = self.top.as_ref().and_then(|top| name.strip_prefix(top.as_str())?.strip_prefix('/'));
        rest.filter(|rest| !rest.is_empty()).unwrap_or(name)
    }

    /// One entry a member, or a folder that `other` has nothing of.
    fn entries(&self, items: Vec<Item<'a>>, other: Option<&Contents>) -> Vec<Entry<'a>> {
        let mut entries: BTreeMap<String, Vec<Item<'a>>> = BTreeMap::new();
        for item in items {
            let folder = other.and_then(|other| self.lacking_folder(&item, other));
            let name = folder.map_or_else(|| item.name.clone(), |folder| format!("{folder}/"));
            entries.entry(name).or_default().push(item);
        }
        entries.into_iter().map(|(name, items)| Entry { name, items }).collect()
    }

    /// The highest folder above the item, or the item itself, that `other` lacks. Names that were
    /// escaped (they have a backslash), are nested or climb cannot be looked up, and stand alone.
    fn lacking_folder(&self, item: &Item<'a>, other: &Contents) -> Option<String> {
        let full = item.member();
        let climbs = full.split('/').any(|part| matches!(part, "" | "." | ".."));
        if full.contains('\\') || full.contains(NESTED) || climbs {
            return None;
        }
        let itself = (item.kind == Kind::Folder).then_some(full);
        let folder = folders(full).chain(itself).find(|folder| !other.has_path(folder))?;
        Some(self.within_top(folder).to_owned())
    }

    /// How many anomalies only one side has: each makes the files different.
    pub(super) fn one_sided_faults(&self) -> usize {
        self.faults.iter().filter(|fault| fault.owner != Owner::Both).count()
    }
}

impl<'a> Entry<'a> {
    /// Whether it stands for a whole folder.
    pub(super) fn is_folder(&self) -> bool {
        self.name.ends_with('/')
    }

    /// The files in it: what is no folder.
    pub(super) fn files(&self) -> impl Iterator<Item = &Item<'a>> {
        self.items.iter().filter(|item| item.kind != Kind::Folder)
    }

    /// How many of its members are code.
    pub(super) fn code_count(&self) -> usize {
        self.items.iter().filter(|item| item.is_grave()).count()
    }

    /// Sizes of its files together.
    pub(super) fn size_bytes(&self) -> u64 {
        self.items.iter().flat_map(|item| item.sizes).flatten().fold(0, u64::saturating_add)
    }
}

impl<'a> Item<'a> {
    /// The whole name, as it is shown.
    pub(super) fn member(&self) -> &'a str {
        self.differences.first().map_or("", |difference| difference.difference.member.as_str())
    }

    /// The first class.
    pub(super) fn class(&self) -> DifferenceClass {
        self.differences.first().map_or(DifferenceClass::Opaque, |difference| difference.difference.class)
    }

    /// Its unified diff, if it has one.
    pub(super) fn diff(&self) -> Option<&'a str> {
        self.details().find_map(|detail| match detail {
            Detail::Diff(diff) => Some(diff.as_str()),
            _ => None,
        })
    }

    /// Why it has none, if that is known.
    pub(super) fn unshown(&self) -> Option<Unshown> {
        self.details().find_map(|detail| match detail {
            Detail::Unshown(reason) => Some(*reason),
            _ => None,
        })
    }

    /// What is said of it besides a diff.
    pub(super) fn remarks(&self) -> Vec<String> {
        let remarks = self.details().flat_map(|detail| match detail {
            Detail::Metadata(changes) => changes.iter().map(|change| reworded(change)).collect(),
            Detail::Anomaly(text) => vec![text.clone()],
            Detail::Diff(_) | Detail::Unshown(_) => Vec::new(),
        });
        remarks.collect()
    }

    fn kept_in_a(&self) -> bool {
        self.class() != DifferenceClass::OnlyRebuilt || self.member().contains(NESTED)
    }

    fn details(&self) -> impl Iterator<Item = &'a Detail> {
        self.differences.iter().filter_map(|difference| difference.detail.as_ref())
    }

    /// Whether it can run, or is of another type or mode than it was.
    pub(super) fn is_grave(&self) -> bool {
        let is_changed = |found: &&MemberDifference| found.difference.class == DifferenceClass::Metadata;
        matches!(self.kind, Kind::Code | Kind::Special) || self.differences.iter().any(is_changed)
    }
}

impl Kind {
    /// The word for it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::Link => "link",
            Self::Special => "special",
            Self::Code => "code",
            Self::Text => "text",
            Self::Data => "data",
        }
    }
}

impl Owner {
    /// The letters of the side or sides.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::Both => "A, B",
        }
    }
}

/// How many members of A differ, those with a nested difference included.
fn touched(items: &[Item<'_>]) -> usize {
    let of_a = items.iter().filter(|item| item.kept_in_a());
    of_a.map(|item| item.member().split(NESTED).next()).collect::<BTreeSet<_>>().len()
}

fn kind_of(known: [Option<&Member>; 2], executable: Executable) -> Kind {
    let is = |shape| known.iter().flatten().any(|member| member.shape == shape);
    match executable {
        _ if is(Shape::Special) => Kind::Special,
        Executable::Code if !is(Shape::Link) => Kind::Code,
        _ if is(Shape::Link) => Kind::Link,
        _ if is(Shape::Folder) => Kind::Folder,
        _ => Kind::Data,
    }
}

/// Anomalies that both sides have in the same words once, after those that make a difference.
fn faults(anomalies: &[Anomaly]) -> Vec<Fault<'_>> {
    let (of_a, of_b): (Vec<&Anomaly>, Vec<&Anomaly>) = anomalies.iter().partition(|anomaly| anomaly.side == Side::Published);
    let mut faults: Vec<Fault<'_>> = Vec::new();
    let words = |anomaly: &Anomaly| (anomaly.kind, anomaly.member.clone(), anomaly.detail.clone());
    let mut rest: BTreeMap<_, Vec<&Anomaly>> = BTreeMap::new();
    for anomaly in of_b {
        rest.entry(words(anomaly)).or_default().push(anomaly);
    }
    for anomaly in of_a {
        let twin = rest.get_mut(&words(anomaly)).and_then(Vec::pop);
        faults.push(Fault { anomaly, owner: twin.map_or(Owner::A, |_| Owner::Both) });
    }
    faults.extend(rest.into_values().flatten().map(|anomaly| Fault { anomaly, owner: Owner::B }));
    faults.sort_by_key(|fault| fault.owner);
    faults
}

/// `what: in A, in B`, said plainly where it can be.
fn reworded(change: &str) -> String {
    match change {
        "executable: true, false" => "executable in A, not in B".to_owned(),
        "executable: false, true" => "executable in B, not in A".to_owned(),
        other => format!("{other} (A, B)"),
    }
}
