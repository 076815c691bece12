//! Quorums: when those who say the same are enough.
//!
//! A policy is a tree: at the top operators and groups of which `threshold` are enough, in each group
//! operators and groups of which `k` are. A group says what `k` of its members say. Whatever is counted is
//! counted over the enrolled: who does not answer is in the denominator. All here is monotone: one more
//! operator on a side never makes it weaker.

use std::collections::BTreeSet;

use crate::policy::{Attribute, Policy, Rules};

/// Operators that say the same, by their place among the policy's voters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Side(Vec<bool>);

/// A group of a policy. Operators and groups stand in it by their place.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) k: usize,
    pub(crate) operators: Vec<usize>,
    /// All of them behind this one.
    pub(crate) groups: Vec<usize>,
}

/// A policy's quorum, for the packages that some rules are for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quorum<'p> {
    pub(crate) policy: &'p Policy,
    pub(crate) rules: &'p Rules,
}

impl Side {
    pub(crate) fn empty(voters: usize) -> Self {
        Self(vec![false; voters])
    }

    pub(crate) fn add(&mut self, voter: usize) {
        self.0[voter] = true;
    }

    pub(crate) fn has(&self, voter: usize) -> bool {
        self.0[voter]
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.0.contains(&true)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().filter(|on| **on).count()
    }

    pub(crate) fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| *a || *b).collect())
    }
}

impl Group {
    /// How many members it has.
    pub(crate) fn len(&self) -> usize {
        self.operators.len() + self.groups.len()
    }
}

/// How many members of each group are on a side: of `groups`, in which members stand behind their group.
pub(crate) fn reached(groups: &[Group], on: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut reached = vec![0; groups.len()];
    for (at, group) in groups.iter().enumerate().rev() {
        let operators = group.operators.iter().filter(|voter| on(**voter)).count();
        reached[at] = operators + group.groups.iter().filter(|inner| reached[**inner] >= groups[**inner].k).count();
    }
    reached
}

/// The groups that are on a side themselves, and so is whatever they are in, up to the policy.
pub(crate) fn carried(groups: &[Group], reached: &[usize]) -> Vec<bool> {
    let mut carried = vec![false; groups.len()];
    carried[0] = true;
    for (at, group) in groups.iter().enumerate() {
        for inner in &group.groups {
            carried[*inner] = carried[at] && reached[*inner] >= groups[*inner].k;
        }
    }
    carried
}

/// How many different values of an attribute are on a side. Who has none adds none, and neither does who is
/// in a group that is not on it: such an operator is no part of what makes the quorum.
pub(crate) fn spread(policy: &Policy, groups: &[Group], on: impl Fn(usize) -> bool, attribute: Attribute) -> usize {
    let carried = carried(groups, &reached(groups, &on));
    let speaking = groups.iter().zip(&carried).filter(|(_, carried)| **carried).flat_map(|(group, _)| &group.operators);
    let values = speaking.filter(|voter| on(**voter)).filter_map(|voter| policy.voters()[*voter].attribute(attribute));
    values.collect::<BTreeSet<_>>().len()
}

impl Quorum<'_> {
    /// How many members of the policy are on a side.
    pub(crate) fn count(&self, side: &Side) -> usize {
        match self.policy.groups() {
            [_] => side.len(),
            groups => reached(groups, |voter| side.has(voter))[0],
        }
    }

    /// Whether those on a side are enough.
    pub(crate) fn holds(&self, side: &Side) -> bool {
        self.count(side) >= self.rules.threshold && self.lacking(side).is_none()
    }

    /// How many different values of an attribute are on a side.
    pub(crate) fn spread(&self, side: &Side, attribute: Attribute) -> usize {
        spread(self.policy, self.policy.groups(), |voter| side.has(voter), attribute)
    }

    /// The first attribute with too few different values on a side.
    pub(crate) fn lacking(&self, side: &Side) -> Option<Attribute> {
        let mut asked = self.rules.distinct.iter();
        asked.find(|(attribute, least)| self.spread(side, **attribute) < **least).map(|(attribute, _)| *attribute)
    }
}
