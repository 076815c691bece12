//! A model of a registry, of a disk and of everything that goes wrong between them; and what holds whatever
//! goes wrong.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::time::Duration;

use proptest::prelude::*;
use quorate_proto::Timestamp;

use super::super::{Backlog, Effect, Event, Feed, Machine, Saved, Settings, Wanted};
use super::{EVERY, START, package};
use crate::watch::listing::{Artifact, Change, Currency, Key, Listing, Page, Position, Rest};
use crate::watch::problem::{Kind, Problem};

/// Entries a page, so that most reads take several.
const PAGE: usize = 3;

/// One release: its serial, its package, its version.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    serial: u64,
    package: usize,
    version: usize,
    at: Timestamp,
}

/// What a registry's feed and pages are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Numbers in the feed, numbers on pages, versions named: a Python index.
    Python,
    /// Numbers in the feed, packages named only, pages with times: npm.
    Npm,
    /// A window of named versions: cargo.
    Window,
    /// The whole index: Debian.
    Index,
    /// Pages only.
    List,
}

#[derive(Clone, Debug)]
struct Registry {
    manner: Manner,
    log: Vec<Entry>,
    /// Versions ever given, also those that a restored registry forgot.
    versions: usize,
    /// Pages that a cache serves without their newest release, and how often still.
    stale: BTreeMap<usize, u32>,
    /// Repeats the entry before the one asked for, as an inclusive `since` would.
    repeats: bool,
}

impl Registry {
    fn publish(&mut self, package: usize, at: Timestamp) {
        let serial = self.log.last().map_or(1, |entry| entry.serial + 1);
        self.versions += 1;
        self.log.push(Entry { serial, package, version: self.versions, at });
    }

    fn head(&self) -> u64 {
        self.log.last().map_or(0, |entry| entry.serial)
    }

    fn page(&self, since: Option<&Position>) -> Page {
        let head = Position::at(self.head());
        let empty = Page {
            head: Some(head.clone()),
            oldest: None,
            changes: Vec::new(),
            found: Vec::new(),
            next: head.clone(),
            rest: Rest::Nothing,
        };
        let Some(since) = since else { return if self.manner == Manner::Index { self.index() } else { empty } };
        if self.manner == Manner::Index {
            return if since.number == head.number { empty } else { self.index() };
        }
        let from = since.number.saturating_sub(u64::from(self.repeats));
        let behind: Vec<_> = self.log.iter().filter(|entry| entry.serial > from).collect();
        let shown = if self.manner == Manner::Window { &behind[..] } else { &behind[..behind.len().min(PAGE)] };
        let next = Position::at(shown.last().map_or(head.number, |entry| entry.serial));
        let rest = if shown.len() < behind.len() { Rest::More } else { Rest::Nothing };
        Page { changes: shown.iter().map(|entry| self.change(entry)).collect(), next, rest, ..empty }
    }

    fn change(&self, entry: &Entry) -> Change {
        let is_named = self.manner != Manner::Npm;
        let versions = is_named.then(|| entry.version.to_string()).into_iter().collect();
        Change { package: package(entry.package), versions, serial: (self.manner == Manner::Python).then_some(entry.serial) }
    }

    fn index(&self) -> Page {
        let packages: BTreeSet<_> = self.log.iter().map(|entry| entry.package).collect();
        let found = packages.into_iter().map(|number| (package(number), self.listing(number, usize::MAX))).collect();
        let head = Position::at(self.head());
        Page { head: Some(head.clone()), oldest: None, changes: Vec::new(), found, next: head, rest: Rest::Nothing }
    }

    fn look(&mut self, number: usize) -> Result<Option<Listing>, Problem> {
        let count = self.log.iter().filter(|entry| entry.package == number).count();
        let shown = match self.stale.get_mut(&number).filter(|left| **left > 0) {
            Some(left) => {
                *left -= 1;
                count.saturating_sub(1)
            }
            None => count,
        };
        if shown == 0 { Err(Problem::new(Kind::Absent, "no such package")) } else { Ok(Some(self.listing(number, shown))) }
    }

    fn listing(&self, number: usize, shown: usize) -> Listing {
        let entries: Vec<_> = self.log.iter().filter(|entry| entry.package == number).take(shown).collect();
        let artifacts = entries.iter().enumerate().map(|(at, entry)| Artifact {
            package: format!("{}@{}", package(number), entry.version).parse().unwrap(),
            file: format!("f{}.tgz", entry.version).parse().unwrap(),
            checksum: String::new(),
            published_at: (self.manner != Manner::List).then_some(entry.at),
            currency: if at + 1 == entries.len() { Currency::Current } else { Currency::Past },
        });
        let serial = (self.manner == Manner::Python).then(|| entries.last().map_or(0, |entry| entry.serial));
        Listing { artifacts: artifacts.collect(), serial }
    }
}

/// What survives a crash.
#[derive(Clone, Debug, Default)]
struct Disk {
    saved: Option<Saved>,
    seen: HashSet<Key>,
    /// How often each release was handed to the queue.
    jobs: BTreeMap<String, u32>,
}

/// What goes wrong next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Poll,
    Look,
    Overloaded,
    Queue,
    /// Jobs are durable, keys are not.
    Keys,
    Save,
    /// The node is killed before it does the next thing.
    CrashBefore,
    /// The node is killed after it has done the next thing.
    CrashAfter,
}

#[derive(Clone, Debug)]
enum Act {
    Publish(usize),
    Stale(usize),
    Repeat,
    /// Some effects go well, then one thing goes wrong.
    Fault(usize, Fault),
    Run,
    /// The registry is restored from a copy, and goes on from there.
    Restore(usize),
}

struct World {
    registry: Registry,
    disk: Disk,
    settings: Settings,
    machine: Option<Machine>,
    wake: Timestamp,
    now: Timestamp,
    faults: VecDeque<(usize, Fault)>,
    /// Writes that failed half-way, and deaths: each may hand one batch to the queue a second time.
    excuses: u32,
}

impl World {
    fn new(manner: Manner) -> Self {
        let feed = match manner {
            Manner::Python | Manner::Npm => Feed::Serial,
            Manner::Window => Feed::Window,
            Manner::Index => Feed::WholeIndex,
            Manner::List => Feed::None,
        };
        let list = if manner == Manner::List { (0..4).map(|number| (package(number), Wanted::Every)).collect() } else { BTreeMap::new() };
        let settings = Settings { feed, list, backlog: Backlog::None, every: EVERY, seed: 7 };
        let now = Timestamp::from_unix_seconds(START);
        let mut registry = Registry { manner, log: Vec::new(), versions: 0, stale: BTreeMap::new(), repeats: false };
        (0..3).for_each(|number| registry.publish(number, Timestamp::from_unix_seconds(START - 100_000)));
        Self { registry, disk: Disk::default(), settings, machine: None, wake: now, now, faults: VecDeque::new(), excuses: 0 }
    }

    /// Wakes the machine when its time has come, and lets it work until it rests or dies.
    fn run(&mut self) {
        self.now = self.now.plus(Duration::from_secs(1)).max(self.wake);
        let (settings, disk, now) = (self.settings.clone(), self.disk.clone(), self.now);
        let machine = self.machine.take().unwrap_or_else(|| Machine::new(settings, disk.saved, disk.seen, now));
        self.machine = self.work(machine);
    }

    fn work(&mut self, mut machine: Machine) -> Option<Machine> {
        let mut events = VecDeque::from([Event::Wake]);
        for _ in 0..100_000 {
            let Some(event) = events.pop_front() else { return Some(machine) };
            for effect in machine.handle(event, self.now) {
                let fault = self.fault();
                if fault == Some(Fault::CrashBefore) {
                    self.excuses += 1;
                    return None;
                }
                events.extend(self.perform(effect, fault));
                if fault == Some(Fault::CrashAfter) {
                    self.excuses += 1;
                    return None;
                }
            }
        }
        panic!("the machine never rests");
    }

    fn fault(&mut self) -> Option<Fault> {
        match self.faults.front_mut() {
            Some((0, fault)) => {
                let fault = *fault;
                self.faults.pop_front();
                Some(fault)
            }
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        }
    }

    fn perform(&mut self, effect: Effect, fault: Option<Fault>) -> Option<Event> {
        let passing = || Problem::new(Kind::Passing, "fault");
        let overloaded = Problem { not_before: Some(self.now.plus(Duration::from_mins(7))), ..passing() };
        match (effect, fault) {
            (Effect::Poll { .. }, Some(Fault::Poll)) => Some(Event::Polled(Err(passing()))),
            (Effect::Poll { .. }, Some(Fault::Overloaded)) => Some(Event::Polled(Err(overloaded))),
            (Effect::Poll { since }, _) => Some(Event::Polled(Ok(Box::new(self.registry.page(since.as_ref()))))),
            (Effect::Look { round, package, .. }, fault) => {
                let number = package.name()[1..].parse().unwrap();
                let listing = match fault {
                    Some(Fault::Look) => Err(passing()),
                    Some(Fault::Overloaded) => Err(overloaded),
                    _ => self.registry.look(number),
                };
                Some(Event::Looked { round, package, listing })
            }
            (Effect::Queue { package, .. }, Some(Fault::Queue)) => Some(Event::Queued { package, outcome: Err(passing()) }),
            (Effect::Queue { package, artifacts, remember }, fault) => {
                for artifact in artifacts {
                    *self.disk.jobs.entry(artifact.package.to_string()).or_default() += 1;
                }
                if fault == Some(Fault::Keys) {
                    self.excuses += 1;
                    return Some(Event::Queued { package, outcome: Err(passing()) });
                }
                self.disk.seen.extend(remember);
                Some(Event::Queued { package, outcome: Ok(()) })
            }
            (Effect::Save(_), Some(Fault::Save)) => Some(Event::Saved(Err(passing()))),
            (Effect::Save(saved), _) => {
                self.check_save(&saved);
                self.disk.saved = Some(*saved);
                Some(Event::Saved(Ok(())))
            }
            (Effect::Sleep { until }, _) => {
                self.wake = until;
                None
            }
            (Effect::Report(_), _) => None,
        }
    }

    /// The cursor never comes before the jobs that it stands for: each is in the queue, or owed in this write.
    fn check_save(&self, saved: &Saved) {
        let (Some(first), Some(cursor)) = (&saved.first, &saved.position) else { return };
        // Until a restored registry is noticed, its new entries stand before the cursor.
        if saved.suspected.is_some() {
            return;
        }
        let passed = self.registry.log.iter().filter(|entry| entry.serial > first.number && entry.serial <= cursor.number);
        for entry in passed.filter(|_| self.registry.manner == Manner::Python) {
            let release = format!("{}@{}", package(entry.package), entry.version);
            assert!(self.disk.jobs.contains_key(&release) || saved.owed.contains_key(&package(entry.package)), "{release} is lost");
        }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Publish(number) => self.registry.publish(*number, self.now),
            // A page that does not say its age is looked at three times in all.
            Act::Stale(number) => drop(self.registry.stale.insert(*number, 1)),
            Act::Repeat => self.registry.repeats = !self.registry.repeats,
            Act::Fault(after, fault) => self.faults.push_back((*after, *fault)),
            Act::Run => self.run(),
            Act::Restore(count) => self.restore(*count),
        }
    }

    /// A registry that is restored, and is polled before it has caught up: one that overtakes the cursor
    /// between two polls cannot be told from one that was never restored.
    fn restore(&mut self, count: usize) {
        let Some(cursor) = self.disk.saved.as_ref().and_then(|saved| saved.position.clone()) else { return };
        if !matches!(self.registry.manner, Manner::Python | Manner::Npm) || self.registry.head() < cursor.number {
            return;
        }
        self.faults.clear();
        let keep = self.registry.log.iter().filter(|entry| entry.serial <= cursor.number).count().saturating_sub(count).max(1);
        self.registry.log.truncate(keep);
        while self.registry.head() + 1 < cursor.number && !self.registry.head().is_multiple_of(3) {
            self.registry.publish(1, self.now);
        }
        (0..3).for_each(|_| self.run());
    }

    /// Nothing goes wrong any more: after a while everything is done.
    fn settle(&mut self) {
        self.faults.clear();
        self.registry.repeats = false;
        // What never shows is given up after half a day.
        for _ in 0..200 {
            self.run();
        }
        let saved = self.disk.saved.as_ref().unwrap();
        assert!(saved.owed.is_empty(), "still owed: {:?}", saved.owed);
        assert_eq!(saved.problem, None);
    }

    fn began(&self) -> Option<u64> {
        self.disk.saved.as_ref().and_then(|saved| saved.first.as_ref()).map(|first| first.number)
    }
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let fault = prop::sample::select(vec![
        Fault::Poll,
        Fault::Look,
        Fault::Overloaded,
        Fault::Queue,
        Fault::Keys,
        Fault::Save,
        Fault::CrashBefore,
        Fault::CrashAfter,
    ]);
    let act = prop_oneof![
        6 => (0_usize..4).prop_map(Act::Publish),
        1 => (0_usize..4).prop_map(Act::Stale),
        1 => Just(Act::Repeat),
        3 => (0_usize..12, fault).prop_map(|(after, fault)| Act::Fault(after, fault)),
        5 => Just(Act::Run),
        1 => (1_usize..6).prop_map(Act::Restore),
    ];
    prop::collection::vec(act, 1..60)
}

fn manners() -> impl Strategy<Value = Manner> {
    prop::sample::select(vec![Manner::Python, Manner::Npm, Manner::Window, Manner::Index, Manner::List])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn whatever_goes_wrong_nothing_is_missed_and_nothing_is_queued_twice_without_a_reason(manner in manners(), acts in acts()) {
        let mut world = World::new(manner);
        // The watch begins when its first round is on disk.
        world.run();
        let begun = world.registry.versions;
        for act in &acts {
            world.act(act);
        }
        world.settle();
        for entry in world.registry.log.iter().filter(|entry| entry.version > begun) {
            let release = format!("{}@{}", package(entry.package), entry.version);
            prop_assert!(world.disk.jobs.contains_key(&release), "{} was missed", release);
        }
        for (release, times) in &world.disk.jobs {
            let version: usize = release.rsplit('@').next().unwrap().parse().unwrap();
            prop_assert!(version > begun, "{} is older than the watch", release);
            prop_assert!(*times <= 1 + world.excuses, "{} was queued {} times, with {} excuses", release, times, world.excuses);
        }
    }

    #[test]
    fn a_first_poll_that_is_killed_anywhere_begins_the_watch_later_and_loses_nothing_after(manner in manners(), after in 0_usize..12, acts in acts()) {
        let mut world = World::new(manner);
        world.faults.push_back((after, Fault::CrashBefore));
        while world.disk.saved.is_none() {
            world.run();
        }
        let begun = world.registry.versions;
        for act in &acts {
            world.act(act);
        }
        world.settle();
        prop_assert!(world.began().is_some() || manner == Manner::List);
        for entry in world.registry.log.iter().filter(|entry| entry.version > begun) {
            let release = format!("{}@{}", package(entry.package), entry.version);
            prop_assert!(world.disk.jobs.contains_key(&release), "{} was missed", release);
        }
    }
}
