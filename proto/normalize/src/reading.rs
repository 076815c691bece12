//! What a reader finds in one archive: members, what normalising drops of them, and findings.
//!
//! Everything that a reader sees ends in one of three places: in a [`Member`] (it counts), in the
//! facts of a [`Pass`] (it is dropped, and its difference is reported), or in [`Findings`] (it is
//! wrong). Nothing is looked at and forgotten.

use std::cell::OnceCell;

use quorate_proto::comparison::{Anomaly, AnomalyKind, Side};

pub(crate) use container::Format;
pub use container::{Codec, Container};
pub(crate) use facts::Facts;
pub(crate) use findings::{Findings, describe};
pub(crate) use member::{Content, HEAD_BYTES, Kind, Member, Packed, Summary};

mod container;
mod facts;
mod findings;
mod member;

/// How far a reader came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// Everything was read.
    Complete,
    /// The structure was read, but some content could not be.
    Partial,
    /// The structure cannot be followed.
    Broken,
}

/// One archive as a reader found it.
pub(crate) struct Reading<'a> {
    pub(crate) container: Container,
    pub(crate) members: Vec<Member<'a>>,
    pub(crate) facts: Facts<'a>,
    pub(crate) findings: Findings,
    /// Faults of archives inside this one that were compared as what they are.
    pub(crate) nested: Findings,
    pub(crate) state: State,
    /// Identifies the decompressed stream, where there is one: headers and padding as they are,
    /// contents by their digest.
    pub(crate) stream: Option<[u8; 32]>,
    /// The members by name, once somebody asked.
    order: OnceCell<Vec<u32>>,
}

/// Parts of an archive are ordered by bits that no offset in a file reaches.
const PART_RANK_SHIFT: u32 = 56;

impl<'a> Reading<'a> {
    pub(crate) fn new(container: Container, anomalies_max: usize) -> Self {
        Self {
            container,
            members: Vec::new(),
            facts: Facts::default(),
            findings: Findings::new(anomalies_max),
            nested: Findings::new(anomalies_max),
            state: State::Complete,
            stream: None,
            order: OnceCell::new(),
        }
    }

    /// Takes the members of an archive that is part of this one, under `prefix`. `rank` orders the parts.
    pub(crate) fn absorb(&mut self, prefix: &[u8], rank: u64, part: Reading<'_>) {
        for member in part.members {
            let name = [prefix, &member.name].concat().into();
            let position = member.position.saturating_add(rank << PART_RANK_SHIFT);
            self.members.push(Member { name, position, packed: None, ..member });
        }
        self.facts.append(part.facts.into_owned());
        self.findings.absorb(prefix, part.findings);
        self.state = self.state.max(part.state);
    }

    /// The members by name, and by their order among those of one name, each with its place. Asked for only
    /// when all are there.
    pub(crate) fn by_name(&self) -> impl ExactSizeIterator<Item = (u32, &Member<'a>)> {
        let order = self.order.get_or_init(|| by_name(&self.members));
        debug_assert_eq!(order.len(), self.members.len(), "members were added behind the sorting");
        order.iter().filter_map(|&at| Some((at, self.members.get(usize::try_from(at).ok()?)?))).collect::<Vec<_>>().into_iter()
    }

    /// The anomalies of one side, those of nested archives last.
    pub(crate) fn anomalies(&self, side: Side) -> impl Iterator<Item = Anomaly> {
        self.findings.anomalies(side).into_iter().chain(self.nested.anomalies(side))
    }

    /// Notes that some content could not be read.
    pub(crate) fn partial(&mut self) {
        self.state = self.state.max(State::Partial);
    }

    /// Notes a fault after which the structure cannot be followed.
    pub(crate) fn broken(&mut self, kind: AnomalyKind, member: Option<&[u8]>, detail: impl Into<String>) {
        self.state = State::Broken;
        self.findings.add(kind, member, detail);
    }
}

/// Places of members, sorted by name; those of one name in their order.
pub(crate) fn by_name(members: &[Member<'_>]) -> Vec<u32> {
    let mut order: Vec<(&[u8], u32)> = members.iter().map(|member| &*member.name).zip(0..).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, at)| at).collect()
}
