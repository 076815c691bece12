//! Readable unified diffs of texts, bounded in what they read and in what they print.

use similar::TextDiff;

/// Lines of one side between the first and the last change beyond which no diff is made: the
/// algorithm is quadratic at worst.
const LINES_MAX: usize = 2000;

/// Lines of context around a change.
const CONTEXT_LINES: usize = 2;

/// A unified diff from `published` to `rebuilt`, if both are text of a reasonable length.
pub(crate) fn unified(published: &[u8], rebuilt: &[u8], bytes_max: usize) -> Option<String> {
    let (published, rebuilt) = (as_text(published)?, as_text(rebuilt)?);
    if changed_lines(published, rebuilt) > LINES_MAX {
        return None;
    }
    let diff = TextDiff::from_lines(published, rebuilt);
    let mut unified = diff.unified_diff();
    let text = unified.context_radius(CONTEXT_LINES).header("published", "rebuilt").to_string();
    Some(cut(text, bytes_max))
}

/// Lines of the longer side without those that both begin and end with.
fn changed_lines(published: &str, rebuilt: &str) -> usize {
    let (published, rebuilt): (Vec<_>, Vec<_>) = (published.lines().collect(), rebuilt.lines().collect());
    let equal = |(one, other): &(&&str, &&str)| one == other;
    let first = published.iter().zip(&rebuilt).take_while(equal).count();
    let last = published.iter().rev().zip(rebuilt.iter().rev()).take_while(equal).count();
    published.len().max(rebuilt.len()).saturating_sub(first + last)
}

/// Whether bytes are text at all.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    as_text(bytes).is_some()
}

fn as_text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    (!text.contains('\0')).then_some(text)
}

/// Cuts at a line end, and says so.
fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text;
    }
    let end = (0..=bytes_max).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    let rest = text.split_off(end);
    let kept = text.rfind('\n').map_or(text.len(), |at| at + 1);
    let dropped = rest.len() + text.len() - kept;
    text.truncate(kept);
    text + &format!("[{dropped} more bytes of diff]\n")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_diff_shows_the_changed_lines() {
        let text = unified(b"a\nb\nc\n", b"a\nB\nc\n", 1000).unwrap();
        assert_eq!(text, "--- published\n+++ rebuilt\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n");
    }

    #[test]
    fn a_long_diff_is_cut_at_a_line_and_says_so() {
        let many = "line\n".repeat(1000);
        let text = unified(b"", many.as_bytes(), 200).unwrap();
        assert!(text.len() < 250 && text.ends_with("more bytes of diff]\n"));
    }

    #[test]
    fn a_line_added_to_a_very_long_text_is_shown() {
        let long: String = (0..30_000).map(|n| n.to_string() + "\n").collect();
        let text = unified(long.as_bytes(), (long.clone() + "evil\n").as_bytes(), 1000).unwrap();
        assert!(text.ends_with("+evil\n"), "{text}");
        let other: String = (0..30_000).map(|n| format!("x{n}") + "\n").collect();
        assert_eq!(unified(long.as_bytes(), other.as_bytes(), 1000), None);
    }

    #[test]
    fn binaries_have_no_diff() {
        assert_eq!(unified(b"\xff", b"a", 100), None);
        assert_eq!(unified(b"a\0", b"a", 100), None);
    }
}
