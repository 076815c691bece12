//! For what a copy may stand that was made some time ago: the one rule of what is asked for again.
//!
//! A file with a known digest never grows old. A document does: a registry's page, what a forge lists. What is
//! wanted of it decides for how long a copy will do. Pure: the clock is the caller's.

use std::time::Duration;

use quorate_proto::Timestamp;

/// Registries and their mirrors show a release late: a copy is believed to be complete up to so long before it
/// was made.
const LAG_MAX: Duration = Duration::from_hours(24);
/// What a document says about the past cannot change, but the copy can be of a mirror that was wrong: so often it is
/// looked at again all the same.
const PAST_MAX: Duration = Duration::from_hours(30 * 24);
/// That there is no such thing is believed for so long: it may be an accident of the server's.
const ABSENCE_MAX: Duration = Duration::from_hours(1);

/// Whether copies are used at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// As far as they may stand for what they were made of.
    #[default]
    Kept,
    /// Everything is asked for again, once.
    Anew,
}

/// What is wanted of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Currency {
    /// What it says now: a copy serves if its origin says that nothing has changed.
    Now,
    /// What it said before a moment: a copy that was made well after it serves without asking.
    Before(Timestamp),
    /// What it said at most so long ago.
    Within(Duration),
}

impl Currency {
    /// What it said before a moment, or what it says now where there is no moment.
    pub fn before(moment: Option<Timestamp>) -> Self {
        moment.map_or(Self::Now, Self::Before)
    }

    /// Whether a copy that was true at `checked_at` serves at `now`.
    pub fn allows(self, checked_at: Timestamp, now: Timestamp) -> bool {
        // A copy from the future is of a clock that was wrong.
        let is_within = |age: Duration| checked_at <= now && now <= checked_at.plus(age);
        match self {
            Self::Now => false,
            Self::Before(moment) => moment.plus(LAG_MAX) <= checked_at && is_within(PAST_MAX),
            Self::Within(age) => is_within(age),
        }
    }

    /// The same for the copy of an answer that there is no such thing.
    pub fn allows_absence(self, checked_at: Timestamp, now: Timestamp) -> bool {
        self.allows(checked_at, now) && Self::Within(ABSENCE_MAX).allows(checked_at, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(1_700_000_000 + seconds)
    }

    #[test]
    fn a_copy_stands_for_the_past_once_every_mirror_has_it() {
        let before = Currency::Before(at(0));
        for (checked_at, now, allowed) in
            [(-HOUR, 0, false), (HOUR, DAY, false), (DAY, DAY, true), (DAY, 30 * DAY, true), (DAY, 32 * DAY, false), (2 * DAY, DAY, false)]
        {
            assert_eq!(before.allows(at(checked_at), at(now)), allowed, "{checked_at} {now}");
        }
    }

    #[test]
    fn nothing_stands_for_now_and_an_absence_for_an_hour_alone() {
        assert!(!Currency::Now.allows(at(0), at(0)) && !Currency::before(None).allows(at(0), at(0)));
        let day = Currency::Within(Duration::from_hours(24));
        for (age, present, absent) in [(0, true, true), (HOUR, true, true), (2 * HOUR, true, false), (2 * DAY, false, false)] {
            assert_eq!((day.allows(at(0), at(age)), day.allows_absence(at(0), at(age))), (present, absent), "{age}");
        }
    }
}
