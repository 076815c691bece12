//! Points in time, always told from outside: this crate has no clock.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in time in UTC. Text form RFC 3339 with `Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        text.parse().map(Self).map_err(|source| TimestampError { text: text.chars().take(100).collect(), source })
    }
}
