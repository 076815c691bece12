//! The policy doctor: the smallest sets of operators that can fool a policy, and that can stall it; and whose word alone
//! excuses or condemns.
//!
//! Who **fools** a policy can have `reproduced` for anything: a set that is a quorum by itself. Who **stalls**
//! it can keep any verdict from being reached, `suspect` too, by silence: a set without which nobody is a
//! quorum. Operators with the same place and the same attributes are alike, so sets are found as numbers out
//! of classes, smallest first. Those that the policy itself revokes are silent already, and in no set.
//!
//! Sizes are exact unless the work is bounded, and then that is said. A tree of groups alone gives its smallest
//! size by arithmetic; `distinct` makes it a search. Only where there are no groups, stalling `distinct` is
//! arithmetic again: of all values but one too few, the rarest.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::policy::{Attribute, Consequence, May, Policy, Rules};
use crate::quorum::{Group, reached, spread};
use crate::verdict::State;

/// Combinations that are tried for one answer.
const WORK_MAX: usize = 300_000;

/// Sets that are listed.
const SETS_MAX: usize = 20;

/// What is to be said about the rules for some packages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnosis {
    /// The pattern of the packages; none for all others.
    pub packages: Option<String>,
    /// How many of the policy's members are enough.
    pub threshold: usize,
    /// Of how many.
    pub members: usize,
    /// Who can fool it.
    pub fool: Coalitions,
    /// Who can stall it.
    pub stall: Coalitions,
    /// People of whom each can make `explained` what operators find `different`, where that meets the policy.
    pub excuse: Vec<String>,
    /// People of whom each can make anything `compromised`, where that does not meet it.
    pub condemn: Vec<String>,
}

/// The smallest sets of operators that can do something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Coalitions {
    /// How many operators they have.
    pub size: usize,
    /// What is known of them.
    pub known: Known,
    /// Those that were found.
    pub sets: Vec<Coalition>,
}

/// What is known of the smallest sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Known {
    /// The size is exact, and all sets are listed.
    All,
    /// The size is exact, and there may be more sets.
    Some,
    /// No set is smaller. The search was cut before one of this size was found.
    AtLeast,
    /// All operators together cannot: too many are revoked. The size is 0.
    Nobody,
}

/// Operators that can do something together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Coalition(pub Vec<Choice>);

/// Some out of operators that are alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Choice {
    /// How many.
    pub any: usize,
    /// Out of these, by name.
    pub of: Vec<String>,
}

/// Examines a policy: each rule for packages in the order of the file, then the rules for all others.
pub fn examine(policy: &Policy) -> Vec<Diagnosis> {
    let diagnosis = |rules: &Rules| Diagnosis {
        packages: rules.pattern.as_ref().map(|pattern| pattern.as_str().to_owned()),
        threshold: rules.threshold,
        members: policy.size(),
        fool: Question::fooling(policy, rules).answer(),
        stall: stall(policy, rules),
        excuse: people(policy, May::Vouch, rules.consequence(State::Explained) != Consequence::Block),
        condemn: people(policy, May::Advise, rules.consequence(State::Compromised) == Consequence::Block),
    };
    policy.rules().iter().map(diagnosis).collect()
}

/// Those who may declare something, if that has an effect.
fn people(policy: &Policy, what: May, has_effect: bool) -> Vec<String> {
    if has_effect { policy.people_who_may(what).map(str::to_owned).collect() } else { Vec::new() }
}

/// Stalls the tree of groups, or one of the attributes: whichever takes fewer.
fn stall(policy: &Policy, rules: &Rules) -> Coalitions {
    if !rules.distinct.is_empty() && policy.groups().len() > 1 {
        return Question::stalling_all(policy, rules).answer();
    }
    let mut best = Question::stalling(policy, rules).answer();
    for (attribute, needed) in rules.distinct.iter().filter(|(_, needed)| **needed > 0) {
        let other = stall_attribute(policy, *attribute, *needed);
        if other.size < best.size {
            best = other;
        } else if other.size == best.size {
            best.merge(other);
        }
    }
    best
}

/// A smallest set is looked for among `classes`: how many of each.
struct Question<'p> {
    policy: &'p Policy,
    /// Whether the policy revokes each operator.
    silent: Vec<bool>,
    /// With the `k` that makes the answer.
    groups: Vec<Group>,
    distinct: BTreeMap<Attribute, usize>,
    classes: Vec<Class>,
    aim: Aim,
}

/// What a set must do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aim {
    /// Be a quorum.
    Hold,
    /// Be, with those that are silent already, enough of those who keep every group from speaking.
    Silence,
    /// Leave none.
    Break,
}

/// Operators that are alike.
struct Class {
    voters: Vec<usize>,
    /// More of them add nothing.
    useful: usize,
}

/// A search, and how far it may go.
struct Search<'q, 'p> {
    question: &'q Question<'p>,
    /// How many operators all classes from each on can give.
    room: Vec<usize>,
    work: usize,
    found: Vec<Vec<usize>>,
}

impl<'p> Question<'p> {
    fn fooling(policy: &'p Policy, rules: &Rules) -> Self {
        let mut groups = policy.groups().to_vec();
        groups[0].k = rules.threshold;
        Self::new(policy, groups, rules.distinct.clone(), Aim::Hold)
    }

    /// Whoever is left is no quorum: tried, and not calculated.
    fn stalling_all(policy: &'p Policy, rules: &Rules) -> Self {
        Self { aim: Aim::Break, ..Self::fooling(policy, rules) }.with_whole_classes()
    }

    fn with_whole_classes(mut self) -> Self {
        self.classes.iter_mut().for_each(|class| class.useful = class.voters.len());
        self
    }

    /// A group does not speak when so many are silent that `k` are not left.
    fn stalling(policy: &'p Policy, rules: &Rules) -> Self {
        let mut groups = policy.groups().to_vec();
        groups[0].k = rules.threshold;
        for group in &mut groups {
            group.k = group.len() + 1 - group.k;
        }
        Self::new(policy, groups, BTreeMap::new(), Aim::Silence)
    }

    fn new(policy: &'p Policy, groups: Vec<Group>, distinct: BTreeMap<Attribute, usize>, aim: Aim) -> Self {
        let silent: Vec<bool> = (0..policy.voters().len()).map(|voter| policy.is_silent(voter)).collect();
        let mut alike: BTreeMap<(usize, Vec<Option<&str>>), Vec<usize>> = BTreeMap::new();
        for (at, group) in groups.iter().enumerate() {
            for voter in group.operators.iter().filter(|voter| !silent[**voter]) {
                let traits = distinct.keys().map(|attribute| policy.voters()[*voter].attribute(*attribute)).collect();
                alike.entry((at, traits)).or_default().push(*voter);
            }
        }
        let class = |((group, _), voters): ((usize, _), Vec<usize>)| Class { useful: voters.len().min(groups[group].k), voters };
        let classes = alike.into_iter().map(class).collect();
        Self { policy, silent, groups, distinct, classes, aim }
    }

    fn answer(&self) -> Coalitions {
        let least = match self.aim {
            Aim::Hold => self.cheapest(1).max(self.distinct.values().copied().max().unwrap_or(0)),
            Aim::Silence => self.cheapest(0),
            Aim::Break => 0,
        };
        let room = (0..=self.classes.len()).map(|from| self.classes[from..].iter().map(|class| class.useful).sum()).collect();
        let mut search = Search { question: self, room, work: 0, found: Vec::new() };
        let mut size = least;
        while search.found.is_empty() && search.work < WORK_MAX && size <= search.room[0] {
            search.choose(&mut Vec::new(), size);
            size += usize::from(search.found.is_empty() && search.work < WORK_MAX);
        }
        let known = match (search.found.is_empty(), search.is_cut()) {
            (true, true) => Known::AtLeast,
            (true, false) => return Coalitions { size: 0, known: Known::Nobody, sets: Vec::new() },
            (false, true) => Known::Some,
            (false, false) => Known::All,
        };
        let mut sets: Vec<_> = search.found.iter().map(|counts| self.coalition(counts)).collect();
        sets.sort();
        Coalitions { size, known, sets }
    }

    /// The fewest operators that the groups alone ask for, if it takes so many to have one that is silent already.
    fn cheapest(&self, silent: usize) -> usize {
        let mut cost = vec![0; self.groups.len()];
        for (at, group) in self.groups.iter().enumerate().rev() {
            let inner = group.groups.iter().map(|inner| cost[*inner]);
            let operators = group.operators.iter().map(|voter| if self.silent[*voter] { silent } else { 1 });
            let mut costs: Vec<usize> = inner.chain(operators).collect();
            costs.sort_unstable();
            cost[at] = costs.iter().take(group.k).sum();
        }
        cost[0]
    }

    /// Whether so many of each class are enough.
    fn is_enough(&self, counts: &[usize]) -> bool {
        let chosen_already = |silent: &bool| match self.aim {
            Aim::Hold => false,
            Aim::Silence => *silent,
            Aim::Break => !*silent,
        };
        let mut chosen: Vec<bool> = self.silent.iter().map(chosen_already).collect();
        for (class, count) in self.classes.iter().zip(counts) {
            class.voters.iter().take(*count).for_each(|voter| chosen[*voter] = self.aim != Aim::Break);
        }
        let on = |voter: usize| chosen[voter];
        let holds = reached(&self.groups, on)[0] >= self.groups[0].k
            && self.distinct.iter().all(|(attribute, needed)| spread(self.policy, &self.groups, on, *attribute) >= *needed);
        holds == (self.aim != Aim::Break)
    }

    fn coalition(&self, counts: &[usize]) -> Coalition {
        let chosen = self.classes.iter().zip(counts).filter(|(_, count)| **count > 0);
        Coalition::of(self.policy, chosen.map(|(class, count)| (*count, class.voters.clone())))
    }
}

impl Search<'_, '_> {
    /// Tries every way to choose `left` more out of the classes behind those that are chosen.
    fn choose(&mut self, chosen: &mut Vec<usize>, left: usize) {
        let at = chosen.len();
        if self.is_cut() || left > self.room[at] {
            return;
        }
        self.work += 1;
        if at == self.question.classes.len() {
            if self.question.is_enough(chosen) {
                self.found.push(chosen.clone());
            }
            return;
        }
        for count in (0..=self.question.classes[at].useful.min(left)).rev() {
            chosen.push(count);
            self.choose(chosen, left - count);
            chosen.pop();
        }
    }

    fn is_cut(&self) -> bool {
        self.work >= WORK_MAX || self.found.len() >= SETS_MAX
    }
}

/// Too few values are left when the rarest are silent.
fn stall_attribute(policy: &Policy, attribute: Attribute, needed: usize) -> Coalitions {
    let mut values: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, voter) in policy.voters().iter().enumerate().filter(|(at, _)| !policy.is_silent(*at)) {
        if let Some(value) = voter.attribute(attribute) {
            values.entry(value).or_default().push(at);
        }
    }
    let mut rarest: Vec<Vec<usize>> = values.into_values().collect();
    rarest.sort_by_key(Vec::len);
    let silent = (rarest.len() + 1).saturating_sub(needed);
    if silent == 0 {
        return Coalitions { size: 0, known: Known::All, sets: vec![Coalition(Vec::new())] };
    }
    let size = rarest.iter().take(silent).map(Vec::len).sum();
    let (fixed, last) = rarest.split_at(rarest.partition_point(|value| value.len() < rarest[silent - 1].len()));
    let alike: Vec<_> = last.iter().filter(|value| value.len() == rarest[silent - 1].len()).cloned().collect();
    let some = silent - fixed.len();
    let whole = |value: &Vec<usize>| (value.len(), value.clone());
    let chosen: Vec<Vec<(usize, Vec<usize>)>> = if alike[0].len() == 1 {
        vec![vec![(some, alike.concat())]]
    } else {
        choices(&alike, some).iter().map(|values| values.iter().map(whole).collect()).collect()
    };
    let known = if chosen.len() < SETS_MAX { Known::All } else { Known::Some };
    let set = |chosen: Vec<_>| Coalition::of(policy, fixed.iter().map(whole).chain(chosen));
    Coalitions { size, known, sets: chosen.into_iter().map(set).collect() }
}

/// Ways to choose `some` of `values`, as many as are listed.
fn choices(values: &[Vec<usize>], some: usize) -> Vec<Vec<Vec<usize>>> {
    if some == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    let begins = (values.len() + 1).saturating_sub(some);
    for (at, value) in values.iter().take(begins).enumerate() {
        for mut rest in choices(&values[at + 1..], some - 1) {
            if all.len() == SETS_MAX {
                return all;
            }
            rest.insert(0, value.clone());
            all.push(rest);
        }
    }
    all
}

impl Coalitions {
    fn merge(&mut self, other: Self) {
        self.sets.extend(other.sets);
        self.sets.sort();
        self.sets.dedup();
        self.known = match (self.known, other.known) {
            (Known::All, Known::All) => Known::All,
            _ => Known::Some,
        };
        if self.sets.len() > SETS_MAX {
            self.sets.truncate(SETS_MAX);
            self.known = Known::Some;
        }
    }
}

impl Coalition {
    fn of(policy: &Policy, chosen: impl Iterator<Item = (usize, Vec<usize>)>) -> Self {
        let choice = |(any, mut of): (usize, Vec<usize>)| {
            // Voters are in the order of their names.
            of.sort_unstable();
            Choice { any, of: of.into_iter().map(|voter| policy.voters()[voter].name.clone()).collect() }
        };
        let mut choices: Vec<_> = chosen.map(choice).collect();
        choices.sort_by(|a, b| a.of.cmp(&b.of));
        Self(choices)
    }
}

impl std::fmt::Display for Coalition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, choice) in self.0.iter().enumerate() {
            let joint = if at == 0 { "" } else { " and " };
            let names = choice.of.join(", ");
            if choice.any == choice.of.len() {
                write!(f, "{joint}{names}")?;
            } else {
                write!(f, "{joint}any {} of ({names})", choice.any)?;
            }
        }
        Ok(())
    }
}
