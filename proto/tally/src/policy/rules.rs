//! Rules: which results count for a package, how many are enough, and what a state then means.

use std::collections::{BTreeMap, BTreeSet};

use quorate_proto::comparison::{Level, PassUse};
use quorate_proto::result::{Outcome, RebuildResult};
use quorate_proto::{PurlPattern, Timestamp};

use super::Consequence;
use super::file::{Accept, Allow, Attribute, PackageRule, PolicyFile};
use crate::grade::Grade;
use crate::verdict::State;

/// The rules for some packages.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// Which; none for all others.
    pub(crate) pattern: Option<PurlPattern>,
    /// How many members of the policy are enough.
    pub(crate) threshold: usize,
    /// How many different values of an attribute those who agree must have at least.
    pub(crate) distinct: BTreeMap<Attribute, usize>,
    max_age_days: Option<u32>,
    /// Of which grades a vote has to be.
    grades: BTreeSet<Grade>,
    allow: Allow,
    accept: BTreeSet<State>,
    states: BTreeMap<State, Consequence>,
}

impl Rules {
    /// The rules of a policy: those for packages in the order of the file, then those for all others.
    pub(super) fn of(file: &PolicyFile) -> Vec<Self> {
        let base = Self {
            pattern: None,
            threshold: file.threshold,
            distinct: file.distinct.clone(),
            max_age_days: file.max_age_days,
            grades: file.grades.as_deref().unwrap_or(&Grade::ALL).iter().copied().collect(),
            allow: file.allow.clone(),
            accept: states(&file.accept),
            states: file.states.clone(),
        };
        let mut rules: Vec<_> = file.package.iter().map(|rule| base.with(rule)).collect();
        rules.push(base);
        rules
    }

    fn with(&self, rule: &PackageRule) -> Self {
        Self {
            pattern: Some(rule.pattern.clone()),
            threshold: rule.threshold.unwrap_or(self.threshold),
            distinct: rule.distinct.clone().unwrap_or_else(|| self.distinct.clone()),
            max_age_days: rule.max_age_days.or(self.max_age_days),
            grades: rule.grades.as_ref().map_or_else(|| self.grades.clone(), |grades| grades.iter().copied().collect()),
            allow: rule.allow.clone().unwrap_or_else(|| self.allow.clone()),
            accept: rule.accept.as_ref().map_or_else(|| self.accept.clone(), states),
            states: rule.states.clone().unwrap_or_else(|| self.states.clone()),
        }
    }

    /// Whether they look at a time.
    pub(super) fn ages(&self) -> bool {
        self.max_age_days.is_some()
    }

    /// Whether a vote of any grade can count.
    pub(super) fn take_a_grade(&self) -> bool {
        !self.grades.is_empty()
    }

    /// Why a vote of this grade waits for another, if it does.
    pub(crate) fn waits_for_grade(&self, grade: Grade) -> Option<String> {
        if self.grades.contains(&grade) {
            return None;
        }
        let asked: Vec<_> = self.grades.iter().rev().map(|grade| grade.name()).collect();
        Some(format!("graded {grade}, asked for is {}", asked.join(" or ")))
    }

    /// Why a result does not count as of a time, if it does not. Without a time none is young enough.
    pub(crate) fn objection(&self, result: &RebuildResult, as_of: Option<Timestamp>) -> Option<String> {
        if let Some(days) = self.max_age_days
            && as_of.is_none_or(|now| is_older(result.finished_at, days, now))
        {
            return Some(format!("older than {days} days"));
        }
        let source = result.source.as_ref().filter(|_| result.outcome.rebuilt().is_some());
        if let Some(source) = source.filter(|source| !self.allow.sources.contains(&source.kind)) {
            return Some(format!("source kind {:?} is not allowed", source.kind));
        }
        match &result.outcome {
            Outcome::Equivalent { level, passes, .. } => self.objection_to_passes(*level, passes),
            _ => None,
        }
    }

    fn objection_to_passes(&self, level: Level, passes: &[PassUse]) -> Option<String> {
        let risk = passes.iter().map(|pass| pass.risk).max();
        if !self.allow.levels.contains(&level) || risk.is_some_and(|risk| risk > self.allow.risk_max) {
            return Some(format!("level {level:?} with risk {risk:?} is not allowed"));
        }
        let allowed = self.allow.passes.as_ref()?;
        let named = |pass: &PassUse, text: &String| match text.split_once('/') {
            Some((name, version)) => name == pass.name && version == pass.version.to_string(),
            None => *text == pass.name,
        };
        let other = passes.iter().find(|pass| !allowed.iter().any(|text| named(pass, text)))?;
        let name: String = other.name.chars().take(64).collect();
        Some(format!("pass {name}/{} is not allowed", other.version))
    }

    /// What a state means.
    pub(crate) fn consequence(&self, state: State) -> Consequence {
        let usual = if self.accept.contains(&state) { Consequence::Allow } else { Consequence::Block };
        self.states.get(&state).copied().unwrap_or(usual)
    }
}

fn states(accept: &Accept) -> BTreeSet<State> {
    accept.states.iter().copied().collect()
}

fn is_older(signed_at: Timestamp, days: u32, now: Timestamp) -> bool {
    now.unix_seconds().saturating_sub(signed_at.unix_seconds()) > i64::from(days) * 24 * 60 * 60
}
