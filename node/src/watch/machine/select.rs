//! What of a listing is news.
//!
//! Of a listed package: every file that was not there when its watch began, and of what was there as much
//! as the backlog says. Of a package that only a feed names: files published since the watch
//! of the registry began; where the registry keeps no times, those of the versions that the feed names. Of an index that is followed whole: every file that
//! was not in it when its watch began. What was dealt with is known by its key and is never news again.

use std::collections::HashSet;

use quorate_proto::{Purl, Timestamp};

use super::round::Look;
use super::{Backlog, CLOCK_SLACK, Effect, Feed, Key, Machine, Wanted};
use crate::watch::listing::{Artifact, Currency, Listing};

/// What a listing leads to.
#[derive(Default)]
pub(super) struct Chosen {
    pub(super) artifacts: Vec<Artifact>,
    pub(super) keys: Vec<Key>,
    pub(super) debt: Debt,
}

/// Whether a package is owed any longer once what was chosen is in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Debt {
    /// Whatever was owed still is.
    #[default]
    Open,
    /// Nothing is owed.
    Paid,
}

/// What the answer of the queue will be about.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) files: usize,
    pub(super) keys: Vec<Key>,
    pub(super) debt: Debt,
}

/// What is done with a file that was not dealt with yet.
enum Verdict {
    /// A job.
    Take,
    /// Never a job: it was there before.
    Pass,
    /// Nothing now, perhaps later.
    Leave,
}

impl Machine {
    /// What of a package's page is news.
    pub(super) fn select(&self, package: &Purl, look: &Look, listing: &Listing) -> Chosen {
        let verdict = |artifact: &Artifact| {
            let listed = if look.is_listed { self.by_list(package, artifact) } else { Verdict::Leave };
            match listed {
                // What the feed tells of is news, also when it is there as the watch of its package begins.
                Verdict::Leave | Verdict::Pass if look.is_change && self.by_feed(look, artifact) => Verdict::Take,
                verdict => verdict,
            }
        };
        let mut chosen = self.sort(listing, verdict);
        if look.is_listed && self.settings.list.get(package) == Some(&Wanted::Every) {
            chosen.keys.extend(self.begin_watch(package));
        }
        chosen
    }

    /// What of a whole index is news.
    pub(super) fn select_index(&self, found: &[(Purl, Listing)]) -> (Option<Purl>, Chosen) {
        let mut all = Chosen::default();
        let is_followed = self.settings.feed == Feed::WholeIndex;
        let is_first = self.saved.position.is_none();
        for (package, listing) in found {
            let verdict = |artifact: &Artifact| match (self.by_list(package, artifact), is_followed, is_first) {
                (Verdict::Take, ..) | (_, true, false) => Verdict::Take,
                (_, true, true) => Verdict::Pass,
                (verdict, false, _) => verdict,
            };
            let chosen = self.sort(listing, verdict);
            all.artifacts.extend(chosen.artifacts);
            all.keys.extend(chosen.keys);
        }
        let every = self.settings.list.iter().filter(|(_, wanted)| **wanted == Wanted::Every);
        all.keys.extend(every.flat_map(|(package, _)| self.begin_watch(package)));
        (None, all)
    }

    /// Makes what was chosen durable; it counts as dealt with from the answer on.
    pub(super) fn queue(&mut self, package: Option<Purl>, chosen: Chosen) -> Effect {
        let Chosen { artifacts, keys, debt } = chosen;
        self.pending.insert(package.clone(), Pending { files: artifacts.len(), keys: keys.clone(), debt });
        Effect::Queue { package, artifacts, remember: keys }
    }

    fn sort(&self, listing: &Listing, verdict: impl Fn(&Artifact) -> Verdict) -> Chosen {
        let mut chosen = Chosen::default();
        let mut here = HashSet::new();
        for artifact in &listing.artifacts {
            let key = artifact.key();
            if self.seen.contains(&key) || !here.insert(key) {
                continue;
            }
            match verdict(artifact) {
                Verdict::Take => {
                    chosen.artifacts.push(artifact.clone());
                    chosen.keys.push(key);
                }
                Verdict::Pass => chosen.keys.push(key),
                Verdict::Leave => {}
            }
        }
        chosen
    }

    fn by_list(&self, package: &Purl, artifact: &Artifact) -> Verdict {
        match self.settings.list.get(package) {
            None => Verdict::Leave,
            Some(Wanted::Versions(versions)) => match artifact.package.version() {
                Some(version) if versions.contains(version) => Verdict::Take,
                _ => Verdict::Leave,
            },
            Some(Wanted::Every) if self.seen.contains(&Key::begun(package)) => Verdict::Take,
            Some(Wanted::Every) => match (self.settings.backlog, artifact.currency) {
                (Backlog::All, _) | (Backlog::Latest, Currency::Current) => Verdict::Take,
                (Backlog::None, _) | (Backlog::Latest, Currency::Past) => Verdict::Pass,
            },
        }
    }

    fn by_feed(&self, look: &Look, artifact: &Artifact) -> bool {
        match artifact.published_at {
            Some(at) => at >= self.news_since(),
            None if look.versions.is_empty() => artifact.currency == Currency::Current,
            None => artifact.package.version().is_some_and(|version| look.versions.contains(version)),
        }
    }

    fn news_since(&self) -> Timestamp {
        let slack = i64::try_from(CLOCK_SLACK.as_secs()).unwrap_or(0);
        Timestamp::from_unix_seconds(self.saved.began.unix_seconds().saturating_sub(slack))
    }
}
