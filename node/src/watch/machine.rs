//! The core of a watch: which question is asked next, what goes into the queue, when the cursor moves.
//!
//! Events and a time in, effects out; no clock, no disk, no network, no chance. One machine serves one
//! registry, with a feed, a list of packages, or both. Implements `docs/spec/watching.md`.
//!
//! In scope: order of effects, what is new, what is owed, going back, rests.
//! Out of scope: formats, addresses, how anything is stored.

mod round;
mod select;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use quorate_proto::{Purl, Timestamp};
use serde::{Deserialize, Serialize};

use super::backoff::{self, Jitter};
use super::listing::{Artifact, Change, Key, Listing, Page, Position, Rest};
use super::problem::{Kind, Problem};
use round::{Look, Round};
use select::Pending;

/// Packages asked about at a time.
pub const LOOKS_AT_ONCE: usize = 4;
/// Packages that may be owed before the feed waits for them.
pub const OWED_MAX: usize = 10_000;
/// Times that a changed package may be absent, stale or unreadable before it is given up. With rests that
/// double from half a minute to an hour this takes half a day.
pub const LOOKS_MAX: u32 = 18;
/// Times that a change is looked at again when neither it nor the page has a number or a version: caches of
/// pages are some minutes behind. With rests that double from half a minute this takes seven and a half.
const RECHECKS_MAX: u32 = 4;
/// First rest of an owed package; it doubles.
const OWED_REST: Duration = Duration::from_secs(30);
/// How much older than the watch a file may say that it is and still be news: clocks differ.
const CLOCK_SLACK: Duration = Duration::from_mins(10);
/// How far behind its new end a feed that went back is read again.
pub const REWIND_MAX: u64 = 250_000;
/// Remembered things of each kind that went wrong for good.
const REMARKS_MAX: usize = 20;

/// What one machine watches.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The feed.
    pub feed: Feed,
    /// The watch list: packages without versions, and which releases of each.
    pub list: BTreeMap<Purl, Wanted>,
    /// What of a package's earlier releases is rebuilt.
    pub backlog: Backlog,
    /// Rest between two polls.
    pub every: Duration,
    /// For spreading rests.
    pub seed: u64,
}

/// What kind of feed a registry has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// None that is followed: only the watch list is polled.
    None,
    /// Changes behind a number.
    Serial,
    /// The latest changes, whatever was asked for: a window that moves on.
    Window,
    /// The whole index each time, and all of it is followed.
    WholeIndex,
    /// The whole index each time, of which the watch list is taken.
    IndexOfList,
}

/// Which releases of a listed package are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Every one that is published from now on.
    Every,
    /// These, whenever they were published.
    Versions(BTreeSet<String>),
}

/// What is rebuilt of the releases that a package has when its watch begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backlog {
    /// Nothing.
    None,
    /// The newest.
    #[default]
    Latest,
    /// All.
    All,
}

/// What survives a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Saved {
    /// When the watch of this registry began.
    pub began: Timestamp,
    /// Where it began in the feed.
    pub first: Option<Position>,
    /// The cursor: everything up to it is in the queue, or owed.
    pub position: Option<Position>,
    /// Where the feed ended when it was last seen to end before the cursor.
    pub suspected: Option<Position>,
    /// Changed packages that could not be looked at yet.
    pub owed: BTreeMap<Purl, Owed>,
    /// The last poll.
    pub polled_at: Option<Timestamp>,
    /// The last poll without a problem.
    pub succeeded_at: Option<Timestamp>,
    /// Polls with a problem since then.
    pub failures: u32,
    /// The last poll's problem.
    pub problem: Option<Problem>,
    /// Packages put into the queue, ever: files.
    pub queued: u64,
    /// What may have been missed, latest last: for people.
    pub remarks: Vec<Remark>,
}

/// A changed package that is to be looked at later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Owed {
    /// The versions that the feed named.
    pub versions: BTreeSet<String>,
    /// The number of the change.
    pub serial: Option<u64>,
    /// Looks so far that count against it.
    pub attempts: u32,
    /// Not before then.
    pub not_before: Timestamp,
}

/// Something that a person should know of although the watch goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Remark {
    /// When.
    pub at: Timestamp,
    /// What.
    pub words: String,
}

/// What a machine is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// It has rested, or starts.
    Wake,
    /// The answer to [`Effect::Poll`].
    Polled(Result<Box<Page>, Problem>),
    /// The answer to [`Effect::Look`].
    Looked {
        /// The round that asked.
        round: u64,
        /// The package.
        package: Purl,
        /// `None`: nothing has changed since the last answer that was taken in.
        listing: Result<Option<Listing>, Problem>,
    },
    /// The answer to [`Effect::Queue`].
    Queued {
        /// The package that it was about; none when it was the whole index.
        package: Option<Purl>,
        /// Whether jobs and keys are durable.
        outcome: Result<(), Problem>,
    },
    /// The answer to [`Effect::Save`].
    Saved(Result<(), Problem>),
}

/// What a machine wants done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Ask the feed for what comes behind this place; for its end, when there is none.
    Poll {
        /// The cursor. An index that has not changed since need not be read again, unless it is absent.
        since: Option<Position>,
    },
    /// Ask for a package's files.
    Look {
        /// To be given back with the answer.
        round: u64,
        /// The package.
        package: Purl,
        /// Who asks.
        detail: Detail,
    },
    /// Make jobs durable, and then the keys.
    Queue {
        /// To be given back with the answer.
        package: Option<Purl>,
        /// To be put into the queue.
        artifacts: Vec<Artifact>,
        /// To be remembered, in this order.
        remember: Vec<Key>,
    },
    /// Make this durable. Never comes before the jobs that the cursor stands for are.
    Save(Box<Saved>),
    /// Wake the machine then.
    Sleep {
        /// When.
        until: Timestamp,
    },
    /// Tell people, once.
    Report(Report),
}

/// How much of a package's page is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Its files; an unchanged page need not be sent.
    Brief,
    /// Its files and when each was published.
    Full,
}

/// What people are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Polls fail, for a reason that was not told of yet.
    Failing(Problem),
    /// Polls go well again.
    Recovered,
    /// Something that needs a person's eye.
    Remark(String),
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Machine {
    settings: Settings,
    saved: Saved,
    seen: HashSet<Key>,
    phase: Phase,
    /// What the queue was given and has not answered for, by package; the whole index has none.
    pending: BTreeMap<Option<Purl>, Pending>,
    rounds: u64,
    jitter: Jitter,
}

#[derive(Clone, Debug)]
enum Phase {
    Resting,
    Polling,
    Looking(Box<Round>),
    Saving(Rest, Option<Timestamp>),
}

impl Machine {
    /// A machine that goes on from what was saved, or begins now.
    pub fn new(settings: Settings, saved: Option<Saved>, seen: HashSet<Key>, now: Timestamp) -> Self {
        let jitter = Jitter::new(settings.seed);
        let saved = saved.unwrap_or_else(|| Saved::begin(now));
        Self { settings, saved, seen, phase: Phase::Resting, pending: BTreeMap::new(), rounds: 0, jitter }
    }

    /// Takes an event in. An event that answers no open question changes nothing.
    pub fn handle(&mut self, event: Event, now: Timestamp) -> Vec<Effect> {
        match (event, &mut self.phase) {
            (Event::Wake, Phase::Resting) => self.wake(now),
            (Event::Polled(page), Phase::Polling) => self.polled(page, now),
            (Event::Looked { round, package, listing }, Phase::Looking(_)) if round == self.rounds => self.looked(&package, listing, now),
            (Event::Queued { package, outcome }, _) => self.queued(package.as_ref(), outcome, now),
            (Event::Saved(outcome), Phase::Saving(rest, hold)) => {
                let (rest, hold) = (*rest, *hold);
                self.stored(outcome, rest, hold, now)
            }
            _ => Vec::new(),
        }
    }

    fn wake(&mut self, now: Timestamp) -> Vec<Effect> {
        if self.settings.feed == Feed::None || self.saved.owed.len() >= OWED_MAX {
            return self.begin(Round::of_list(), now);
        }
        self.poll()
    }

    fn poll(&mut self) -> Vec<Effect> {
        self.phase = Phase::Polling;
        // A listed package whose watch has not begun needs the whole index, changed or not.
        let is_index = matches!(self.settings.feed, Feed::WholeIndex | Feed::IndexOfList);
        let is_begun = self.settings.list.iter().all(|(package, wanted)| match wanted {
            Wanted::Every => self.seen.contains(&Key::begun(package)),
            Wanted::Versions(_) => self.rounds > 0,
        });
        let since = self.saved.position.clone().filter(|_| !is_index || is_begun);
        vec![Effect::Poll { since }]
    }

    fn polled(&mut self, page: Result<Box<Page>, Problem>, now: Timestamp) -> Vec<Effect> {
        let page = match page {
            Ok(page) => *page,
            Err(problem) => return self.begin(Round::failed(problem), now),
        };
        let end = page.head.as_ref().unwrap_or(&page.next);
        match self.saved.position.clone() {
            Some(cursor) if end.number < cursor.number => self.gone_back(end.clone(), &cursor, page, now),
            cursor => {
                if let Some(lower) = self.saved.suspected.take().filter(|_| self.settings.feed == Feed::Serial) {
                    return self.recovered(lower, page, now);
                }
                let effects = self.gap(&page, cursor.as_ref(), now);
                [effects, self.begin(Round::of_page(page), now)].concat()
            }
        }
    }

    /// A feed that ends before the cursor: the registry was restored from a copy, or a mirror lags behind.
    fn gone_back(&mut self, end: Position, cursor: &Position, page: Page, now: Timestamp) -> Vec<Effect> {
        let words = format!("the feed ends at {}, before {} which was taken in already", end.token, cursor.token);
        match (self.settings.feed, &self.saved.suspected) {
            // Everything in a window is looked at in any case.
            (Feed::Window, _) => self.begin(Round::of_page(Page { next: cursor.clone(), ..page }), now),
            (Feed::Serial, Some(_)) => {
                let back = Self::rewound(&end);
                let remark = self.remark(format!("{words}: read again from {}", back.token), now);
                self.saved.suspected = None;
                [vec![remark], self.begin(Round::back_to(back), now)].concat()
            }
            // Once may be a cache that lags behind; nothing is lost by asking again.
            _ => {
                self.saved.suspected = Some(end);
                self.begin(Round::failed(Problem::new(Kind::Backwards, words)), now)
            }
        }
    }

    /// A feed that ended too early and does so no more: a cache that lagged, or a restored registry that has
    /// caught up meanwhile. What lies behind the lower end is read again, in case it is the latter.
    fn recovered(&mut self, lower: Position, page: Page, now: Timestamp) -> Vec<Effect> {
        let is_ahead = self.saved.position.as_ref().is_some_and(|cursor| lower.number < cursor.number);
        let round = if is_ahead { Round::back_to(lower) } else { Round::of_page(page) };
        self.begin(round, now)
    }

    /// Nobody knows from how far back a registry was restored: a long way is read again. What is older than
    /// the watch is told by its time, and what was dealt with by its key.
    fn rewound(end: &Position) -> Position {
        Position::at(end.number.saturating_sub(REWIND_MAX))
    }

    /// A window that has moved on past the cursor: something between may have been missed.
    fn gap(&mut self, page: &Page, cursor: Option<&Position>, now: Timestamp) -> Vec<Effect> {
        match (page.oldest, cursor) {
            (Some(oldest), Some(cursor)) if self.settings.feed == Feed::Window && cursor.number > 0 && oldest > cursor.number => {
                let at = |number| Timestamp::from_unix_seconds(i64::try_from(number).unwrap_or(i64::MAX));
                let (from, to) = (at(cursor.number), at(oldest));
                vec![
                    self.remark(
                        format!("the feed reaches back to {to} only, and was read up to {from}: releases between may be missing"),
                        now,
                    ),
                ]
            }
            _ => Vec::new(),
        }
    }

    fn remark(&mut self, words: String, now: Timestamp) -> Effect {
        self.saved.remarks.push(Remark { at: now.whole_seconds(), words: words.clone() });
        let surplus = self.saved.remarks.len().saturating_sub(REMARKS_MAX);
        self.saved.remarks.drain(..surplus);
        Effect::Report(Report::Remark(words))
    }

    /// The cursor moves: every job that it stands for is durable, or its package is owed in the same write.
    fn save(&mut self, round: Round, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(next) = round.next {
            self.saved.first.get_or_insert_with(|| next.clone());
            self.saved.position = Some(next);
        }
        self.saved.polled_at = Some(now.whole_seconds());
        let hold = round.problem.as_ref().and_then(|problem| problem.not_before);
        effects.extend(self.note(round.problem, now));
        effects.push(Effect::Save(Box::new(self.saved.clone())));
        self.phase = Phase::Saving(round.rest, hold);
        effects
    }

    /// Keeps a round's problem, and tells of it unless it is the one that was told.
    fn note(&mut self, problem: Option<Problem>, now: Timestamp) -> Option<Effect> {
        let before = std::mem::replace(&mut self.saved.problem, problem);
        match (&self.saved.problem, before) {
            (Some(problem), before) => {
                self.saved.failures = self.saved.failures.saturating_add(1);
                let is_new = before.is_none_or(|before| before.kind != problem.kind);
                is_new.then(|| Effect::Report(Report::Failing(problem.clone())))
            }
            (None, before) => {
                self.saved.failures = 0;
                self.saved.succeeded_at = Some(now.whole_seconds());
                before.map(|_| Effect::Report(Report::Recovered))
            }
        }
    }

    fn stored(&mut self, outcome: Result<(), Problem>, rest: Rest, hold: Option<Timestamp>, now: Timestamp) -> Vec<Effect> {
        match (outcome, rest) {
            (Ok(()), Rest::More) if self.saved.owed.len() < OWED_MAX => self.poll(),
            (Ok(()), _) => self.rest(hold, now),
            // What is on disk is an earlier cursor: reading from there again loses nothing.
            (Err(problem), _) => {
                let told = self.note(Some(problem), now);
                told.into_iter().chain(self.rest(hold, now)).collect()
            }
        }
    }

    fn rest(&mut self, hold: Option<Timestamp>, now: Timestamp) -> Vec<Effect> {
        self.phase = Phase::Resting;
        let span = backoff::rest(self.settings.every, self.saved.failures);
        let mut until = now.plus(self.jitter.spread(span));
        if self.saved.failures == 0 {
            let due = self.saved.owed.values().map(|owed| owed.not_before).min();
            until = due.map_or(until, |due| until.min(due.max(now.plus(Duration::from_secs(1)))));
        }
        vec![Effect::Sleep { until: hold.map_or(until, |hold| hold.max(until)) }]
    }

    /// The disk failed: nothing of this round counts. The cursor stands where it was.
    fn abandon(&mut self, problem: Problem, now: Timestamp) -> Vec<Effect> {
        let told = self.note(Some(problem), now);
        told.into_iter().chain(self.rest(None, now)).collect()
    }
}

impl Saved {
    fn begin(now: Timestamp) -> Self {
        Self {
            began: now.whole_seconds(),
            first: None,
            position: None,
            suspected: None,
            owed: BTreeMap::new(),
            polled_at: None,
            succeeded_at: None,
            failures: 0,
            problem: None,
            queued: 0,
            remarks: Vec::new(),
        }
    }
}

impl Owed {
    fn later(look: Look, attempts: u32, now: Timestamp) -> Self {
        let rest = backoff::rest(OWED_REST, attempts.max(1));
        Self { versions: look.versions, serial: look.serial, attempts, not_before: now.plus(rest).whole_seconds() }
    }
}

impl From<Change> for Look {
    fn from(change: Change) -> Self {
        Self { is_change: true, versions: change.versions, serial: change.serial, attempts: 0, is_listed: false }
    }
}
