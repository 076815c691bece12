//! One round: the packages to look at after a poll, until each is in the queue or owed.

use std::collections::{BTreeMap, BTreeSet};

use quorate_proto::{Purl, Timestamp};

use super::select::{Chosen, Debt};
use super::{Detail, Effect, Event, Feed, Key, LOOKS_AT_ONCE, LOOKS_MAX, Machine, Owed, Phase, RECHECKS_MAX, Wanted};
use crate::watch::listing::{Listing, Page, Position, Rest};
use crate::watch::problem::{Kind, Problem};

/// Why and how a package is looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// The feed says that it changed.
    pub(super) is_change: bool,
    /// It is on the watch list.
    pub(super) is_listed: bool,
    pub(super) versions: BTreeSet<String>,
    pub(super) serial: Option<u64>,
    pub(super) attempts: u32,
}

/// What is under way.
#[derive(Clone, Debug)]
pub(super) struct Round {
    pub(super) next: Option<Position>,
    pub(super) rest: Rest,
    pub(super) problem: Option<Problem>,
    page: Option<Page>,
    todo: BTreeMap<Purl, Look>,
    outstanding: BTreeMap<Purl, Look>,
}

impl Round {
    fn new(next: Option<Position>, rest: Rest, problem: Option<Problem>, page: Option<Page>) -> Self {
        Self { next, rest, problem, page, todo: BTreeMap::new(), outstanding: BTreeMap::new() }
    }

    /// Without a page.
    pub(super) fn of_list() -> Self {
        Self::new(None, Rest::Nothing, None, None)
    }

    /// After a poll that failed.
    pub(super) fn failed(problem: Problem) -> Self {
        Self::new(None, Rest::Nothing, Some(problem), None)
    }

    /// After a poll.
    pub(super) fn of_page(page: Page) -> Self {
        Self::new(Some(page.next.clone()), page.rest, None, Some(page))
    }

    /// To read again from an earlier place.
    pub(super) fn back_to(place: Position) -> Self {
        Self::new(Some(place), Rest::More, None, None)
    }

    /// Keeps the first problem, unless a later one says when to come back.
    fn keep(&mut self, problem: Problem) {
        if self.problem.is_none() || (problem.not_before.is_some() && !self.is_held()) {
            self.problem = Some(problem);
        }
    }

    fn is_held(&self) -> bool {
        self.problem.as_ref().is_some_and(|problem| problem.not_before.is_some())
    }
}

impl Machine {
    /// Begins to look at what a page changed, what is owed and due, and the watch list.
    pub(super) fn begin(&mut self, mut round: Round, now: Timestamp) -> Vec<Effect> {
        self.rounds += 1;
        // A page that leads nowhere must not be asked for again at once.
        if round.next == self.saved.position {
            round.rest = Rest::Nothing;
        }
        let page = round.page.take();
        for change in page.iter().flat_map(|page| &page.changes) {
            merge(round.todo.entry(change.package.clone()).or_default(), change.clone().into());
        }
        for (package, owed) in self.saved.owed.iter().filter(|(_, owed)| owed.not_before <= now) {
            let look =
                Look { is_change: true, versions: owed.versions.clone(), serial: owed.serial, attempts: owed.attempts, is_listed: false };
            merge(round.todo.entry(package.clone()).or_default(), look);
        }
        let is_index = matches!(self.settings.feed, Feed::WholeIndex | Feed::IndexOfList);
        // While a long feed is read, the list waits for its end.
        if !is_index && round.rest == Rest::Nothing {
            for package in self.settings.list.keys() {
                round.todo.entry(package.clone()).or_default().is_listed = true;
            }
        }
        self.phase = Phase::Looking(Box::new(round));
        let mut effects = Vec::new();
        if let Some(page) = page.filter(|page| is_index && !page.found.is_empty()) {
            let (package, chosen) = self.select_index(&page.found);
            effects.push(self.queue(package, chosen));
        }
        effects.extend(self.step(now));
        effects
    }

    /// Asks for what can be asked for now; saves when nothing is left.
    fn step(&mut self, now: Timestamp) -> Vec<Effect> {
        let Phase::Looking(round) = &mut self.phase else { return Vec::new() };
        if round.is_held() {
            let hold = round.problem.as_ref().and_then(|problem| problem.not_before).unwrap_or(now);
            for (package, look) in std::mem::take(&mut round.todo).into_iter().filter(|(_, look)| look.is_change) {
                let attempts = look.attempts;
                let owed = Owed { not_before: hold, ..Owed::later(look, attempts, now) };
                self.saved.owed.insert(package, owed);
            }
        }
        let mut effects = Vec::new();
        while round.outstanding.len() < LOOKS_AT_ONCE {
            let Some((package, look)) = round.todo.pop_first() else { break };
            let detail = if look.is_change { Detail::Full } else { Detail::Brief };
            effects.push(Effect::Look { round: self.rounds, package: package.clone(), detail });
            round.outstanding.insert(package, look);
        }
        if round.outstanding.is_empty() && self.pending.is_empty() {
            let round = std::mem::replace(&mut **round, Round::of_list());
            effects.extend(self.save(round, now));
        }
        effects
    }

    pub(super) fn looked(&mut self, package: &Purl, listing: Result<Option<Listing>, Problem>, now: Timestamp) -> Vec<Effect> {
        let Phase::Looking(round) = &mut self.phase else { return Vec::new() };
        let Some(look) = round.outstanding.get(package).cloned() else { return Vec::new() };
        match listing {
            Ok(Some(listing)) => self.listed(package, look, &listing, now),
            Ok(None) => self.settled(package, now),
            Err(problem) => self.unlisted(package, &look, problem, now),
        }
    }

    fn listed(&mut self, package: &Purl, look: Look, listing: &Listing, now: Timestamp) -> Vec<Effect> {
        let chosen = self.select(package, &look, listing);
        let is_missing = |version: &String| !listing.artifacts.iter().any(|artifact| artifact.package.version() == Some(version));
        let is_old = match (listing.serial, look.serial) {
            (Some(page), Some(change)) => page < change,
            // Neither page nor change says anything by which an old page could be told.
            _ => look.versions.is_empty() && look.attempts < RECHECKS_MAX,
        };
        if look.is_change && (is_old || look.versions.iter().any(is_missing)) {
            // A file of a release can come after the change that names the release: the rest waits its turn.
            let words = "its page does not show the change that the feed told of";
            return [self.owe(package, look, words, now), vec![self.queue(Some(package.clone()), chosen)]].concat();
        }
        let chosen = Chosen { debt: Debt::Paid, ..chosen };
        vec![self.queue(Some(package.clone()), chosen)]
    }

    fn unlisted(&mut self, package: &Purl, look: &Look, problem: Problem, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        if look.is_change {
            let counts = matches!(problem.kind, Kind::Absent | Kind::Malformed | Kind::Untrusted);
            let attempts = look.attempts;
            if counts {
                effects.extend(self.owe(package, look.clone(), &problem.words, now));
            } else {
                self.saved.owed.insert(package.clone(), Owed::later(look.clone(), attempts, now));
            }
        }
        if problem.kind == Kind::Absent && look.is_listed {
            // Whatever it will list one day is published after its watch began.
            let is_open = self.settings.list.get(package) == Some(&Wanted::Every);
            let keys = if is_open { self.begin_watch(package) } else { Vec::new() };
            let chosen = Chosen { keys, ..Chosen::default() };
            effects.push(self.queue(Some(package.clone()), chosen));
            return effects;
        }
        let is_round = problem.kind != Kind::Absent && (look.is_listed || problem.not_before.is_some());
        if let Phase::Looking(round) = &mut self.phase
            && is_round
        {
            round.keep(problem);
        }
        effects.extend(self.settled(package, now));
        effects
    }

    /// Has a package looked at again later; gives up at last, and says so.
    fn owe(&mut self, package: &Purl, look: Look, why: &str, now: Timestamp) -> Vec<Effect> {
        let attempts = look.attempts + 1;
        // Without a name or a number there is no saying that anything is missing.
        let is_definite = !look.versions.is_empty() || look.serial.is_some() || why.is_empty();
        if attempts >= LOOKS_MAX {
            self.saved.owed.remove(package);
            return if is_definite { vec![self.remark(format!("{package} was given up: {why}"), now)] } else { Vec::new() };
        }
        self.saved.owed.insert(package.clone(), Owed::later(look, attempts, now));
        Vec::new()
    }

    /// What is durable counts as dealt with, also when the round that wanted it was abandoned meanwhile.
    pub(super) fn queued(&mut self, package: Option<&Purl>, outcome: Result<(), Problem>, now: Timestamp) -> Vec<Effect> {
        let pending = self.pending.remove(&package.cloned());
        let is_looking = matches!(self.phase, Phase::Looking(_));
        match (outcome, pending) {
            (Err(problem), _) if is_looking => return self.abandon(problem, now),
            (Ok(()), Some(pending)) => {
                self.saved.queued += pending.files as u64;
                self.seen.extend(pending.keys);
                if let (Some(package), Debt::Paid) = (package, pending.debt) {
                    self.saved.owed.remove(package);
                }
            }
            _ => {}
        }
        match package {
            Some(package) => self.settled(package, now),
            None => self.step(now),
        }
    }

    fn settled(&mut self, package: &Purl, now: Timestamp) -> Vec<Effect> {
        if let Phase::Looking(round) = &mut self.phase {
            round.outstanding.remove(package);
        }
        self.step(now)
    }

    /// The key that marks the watch of a listed package as begun, if it is new.
    pub(super) fn begin_watch(&self, package: &Purl) -> Vec<Key> {
        let key = Key::begun(package);
        if self.seen.contains(&key) { Vec::new() } else { vec![key] }
    }
}

impl Event {
    /// The answer to an effect that came to nothing because the node ends, or was not understood.
    pub fn failed(effect: &Effect, problem: Problem) -> Option<Self> {
        Some(match effect {
            Effect::Poll { .. } => Self::Polled(Err(problem)),
            Effect::Look { round, package, .. } => Self::Looked { round: *round, package: package.clone(), listing: Err(problem) },
            Effect::Queue { package, .. } => Self::Queued { package: package.clone(), outcome: Err(problem) },
            Effect::Save(_) => Self::Saved(Err(problem)),
            Effect::Sleep { .. } | Effect::Report(_) => return None,
        })
    }
}

/// Two reasons to look at one package are one look, for the sake of both.
/// A change that the feed tells of anew is looked at as often as the first one was.
fn merge(look: &mut Look, other: Look) {
    look.attempts = if look.is_change { look.attempts.min(other.attempts) } else { other.attempts };
    look.is_change |= other.is_change;
    look.is_listed |= other.is_listed;
    look.versions.extend(other.versions);
    look.serial = look.serial.max(other.serial);
}
