//! Dates as HTTP, RSS and Debian write them. Pure.

use quorate_proto::Timestamp;

/// A date such as `Sat, 11 Oct 2025 09:00:00 UTC`.
pub fn rfc2822(text: &str) -> Option<Timestamp> {
    // jiff takes `UTC` for a name it does not know; Debian writes it.
    let text = text.trim().strip_suffix("UTC").map_or_else(|| text.trim().to_owned(), |text| format!("{text}GMT"));
    let zoned = jiff::fmt::rfc2822::DateTimeParser::new().parse_zoned(&text).ok()?;
    Some(Timestamp::from_unix_seconds(zoned.timestamp().as_second()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_and_the_web_write_the_same_moment_in_two_ways() {
        for text in ["Sat, 11 Oct 2025 09:00:00 UTC", " Sat, 11 Oct 2025 09:00:00 GMT\n", "Sat, 11 Oct 2025 11:00:00 +0200"] {
            assert_eq!(rfc2822(text).map(Timestamp::unix_seconds), Some(1_760_173_200), "{text}");
        }
        assert_eq!(rfc2822("today"), None);
    }
}
