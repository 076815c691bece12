//! The one decimal form that every C2SP text format uses: ASCII digits, no sign, no leading zero.

/// Reads a canonical decimal; `None` for anything else, also for what exceeds 64 bits.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    if digits && canonical { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_the_canonical_decimal_is_read() {
        let table = [
            ("0", Some(0)),
            ("7", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("00", None),
            ("07", None),
            ("+7", None),
            ("-0", None),
            (" 7", None),
            ("7 ", None),
            ("٧", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }
}
