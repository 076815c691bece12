//! Points in time, always told from outside: this crate has no clock.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::text;

/// A point in time in UTC. Text form RFC 3339 with `Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Timestamp(jiff::Timestamp);

/// A time that is not RFC 3339.
#[derive(Debug, thiserror::Error)]
#[error("malformed time `{text}`: expected RFC 3339 such as `2026-01-31T12:00:00Z`")]
pub struct TimestampError {
    text: String,
    #[source]
    source: jiff::Error,
}

impl Timestamp {
    /// The time `seconds` after 1970-01-01T00:00:00Z; saturates at the ends of the calendar.
    pub fn from_unix_seconds(seconds: i64) -> Self {
        Self(jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX))
    }

    /// Seconds since 1970-01-01T00:00:00Z, rounded down.
    pub fn unix_seconds(self) -> i64 {
        self.0.as_second()
    }

    /// Whether it has no fraction of a second.
    pub fn is_whole_seconds(self) -> bool {
        self == self.whole_seconds()
    }

    /// The same time without its fraction of a second, as signed statements carry it.
    #[must_use]
    pub fn whole_seconds(self) -> Self {
        Self::from_unix_seconds(self.unix_seconds())
    }

    /// The time `span` later; saturates at the end of the calendar.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span).unwrap_or(jiff::Timestamp::MAX))
    }
}

impl From<std::time::SystemTime> for Timestamp {
    fn from(time: std::time::SystemTime) -> Self {
        Self(jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::MAX))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The usual form, `2026-01-31T12:00:00Z` with a year from 1970 to 9998. None says that a closer look is needed.
fn parse_plain(text: &str) -> Option<Timestamp> {
    let bytes: &[u8; 20] = text.as_bytes().try_into().ok()?;
    let (b'-', b'-', b'T', b':', b':', b'Z') = (bytes[4], bytes[7], bytes[10], bytes[13], bytes[16], bytes[19]) else { return None };
    let number = |at: usize| {
        let [tens, ones] = [bytes[at], bytes[at + 1]].map(|digit| i64::from(digit.wrapping_sub(b'0')));
        (tens <= 9 && ones <= 9).then_some(10 * tens + ones)
    };
    let year = 100 * number(0)? + number(2)?;
    let (month, day) = (number(5)?, number(8)?);
    let (hour, minute, second) = (number(11)?, number(14)?, number(17)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];
    let first = usize::try_from(month - 1).ok().filter(|first| *first < 12)?;
    let days = before[first + 1] - before[first] + i64::from(is_leap && month == 2);
    let in_range = (1970..=9998).contains(&year) && (1..=days).contains(&day) && hour < 24 && minute < 60 && second < 60;
    let past = year - 1;
    let leap_days = past / 4 - past / 100 + past / 400 - 477 + i64::from(is_leap && month > 2);
    let day = (year - 1970) * 365 + leap_days + before[first] + day - 1;
    in_range.then(|| Timestamp::from_unix_seconds(((day * 24 + hour) * 60 + minute) * 60 + second))
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::read(deserializer, |text| parse_plain(text).map_or_else(|| text.parse().map(Self), Ok))
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        text.parse().map(Self).map_err(|source| TimestampError { text: text.chars().take(100).collect(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_usual_time_needs_no_closer_look() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2026-11-22T12:34:56Z", 1_795_350_896),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(parse_plain(text), Some(Timestamp::from_unix_seconds(seconds)), "{text}");
        }
        for text in ["2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T00:00:60Z", "2026-01-01t00:00:00Z", "2026-01-01T00:00:00"]
        {
            assert_eq!(parse_plain(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_day_is_read_as_the_calendar_has_it(seconds in 0..253_370_764_800_i64) {
            let time = Timestamp::from_unix_seconds(seconds);
            prop_assert_eq!(parse_plain(&time.to_string()), Some(time));
        }

        #[test]
        fn a_usual_time_is_read_as_every_time_is(text in "(19|20|99)[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]Z") {
            if let Some(time) = parse_plain(&text) {
                prop_assert_eq!(text.parse().ok(), Some(time));
            }
        }
    }
}
