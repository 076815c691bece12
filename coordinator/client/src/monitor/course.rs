//! How verdicts follow each other in a log: none may consider less than the one before it, none be as of a time that its entries
//! contradict, none go back to older rules, and none fail to come.

use std::time::Duration;

use quorate_proto::verified::CLOCK_SKEW_MAX;
use quorate_proto::{Digest, Timestamp};
use quorate_tally::ENGINE;

/// So long after its signature a result may be on its way into a verdict; and so long after it stood in the log what else may
/// change one.
pub(super) const DUE_AFTER: Duration = Duration::from_mins(10);

/// What a log takes in is signed at most [`CLOCK_SKEW_MAX`] ahead of its clock; as much again for a clock that is set.
const BEHIND_MAX: Duration = CLOCK_SKEW_MAX.saturating_mul(2);

/// The last verdict on an artifact.
#[derive(Clone, Copy, Debug)]
pub(super) struct Last {
    /// Where it stands.
    pub(super) leaf: u64,
    /// How much of the log it considers.
    pub(super) size: u64,
    /// As of when.
    pub(super) as_of: Option<Timestamp>,
    /// Under which policy.
    pub(super) policy: Digest,
    /// How much of the log was read for proofs of equivocation: as much as it considers, or more.
    pub(super) proofs: u64,
}

/// Why there is no verdict that considers everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// There has not been much time.
    OnItsWay,
    /// There has.
    Due,
}

/// What time it was, as far as the entries and this machine say.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// The latest time that is signed up to an entry, where a later one stands than in all before.
    latest: Vec<(u64, Timestamp)>,
    /// This machine's, if it is asked.
    pub(super) now: Option<Timestamp>,
}

impl Times {
    /// An entry was signed at that time.
    pub(super) fn signed(&mut self, leaf: u64, at: Timestamp) {
        if self.latest_before(u64::MAX).is_none_or(|latest| at > latest) {
            self.latest.push((leaf, at));
        }
    }

    /// The latest time that is signed in a log of this size.
    pub(super) fn latest_before(&self, size: u64) -> Option<Timestamp> {
        let until = self.latest.partition_point(|(leaf, _)| *leaf < size);
        self.latest[..until].last().map(|(_, at)| *at)
    }

    /// How it cannot be that something was said as of a time and considers so much of the log.
    pub(super) fn contradict(&self, as_of: Timestamp, size: u64) -> Option<String> {
        if self.now.is_some_and(|now| as_of > now.plus(CLOCK_SKEW_MAX)) {
            return Some(format!("is as of {as_of}, which by this machine's clock has not come yet"));
        }
        let latest = self.latest_before(size).filter(|latest| as_of.plus(BEHIND_MAX) < *latest)?;
        Some(format!("is as of {as_of}, but considers what was signed at {latest}"))
    }
}

/// Whether an engine's rules are those of an earlier version.
pub(super) fn is_older(engine: &str) -> bool {
    let version = |engine: &str| engine.strip_prefix("quorate-tally/")?.parse::<u32>().ok();
    version(engine).zip(version(ENGINE)).is_some_and(|(theirs, ours)| theirs < ours)
}
