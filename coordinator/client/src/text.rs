//! Text for terminals: hostile characters made visible, colours only where they are wanted.
//!
//! Whatever came from a statement, an archive or a server was written by somebody who may want to
//! move the reader's cursor. It passes [`plain`] before it is printed, or [`json_line`].

use std::fmt::Write as _;

use serde::Serialize;

/// The longest foreign text that is printed in one piece, in characters.
const SHOWN_CHARS_MAX: usize = 300;

/// Whether to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    /// ANSI colours.
    Colour,
    /// None.
    Plain,
}

/// What a piece of text means to its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it should be.
    Good,
    /// To be looked at.
    Bad,
    /// Neither is known.
    Unsure,
    /// Less important than the rest.
    Faint,
    /// Begins something.
    Head,
}

impl Paint {
    /// `text` in the colour of `tone`.
    pub(crate) fn tone(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => 32,
            Tone::Bad => 31,
            Tone::Unsure => 33,
            Tone::Faint => 2,
            Tone::Head => 1,
        };
        match self {
            Self::Colour => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}

/// Foreign text on one line: controls, bidirectional marks and invisible characters escaped, cut
/// when it is too long.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(SHOWN_CHARS_MAX));
    for (count, c) in text.chars().enumerate() {
        if count == SHOWN_CHARS_MAX {
            shown.push('…');
            break;
        }
        if hostile(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// A line of somebody's source: like [`plain`], but tabs stay, and it is cut at `chars_max`.
pub(crate) fn source_line(line: &str, chars_max: usize) -> String {
    let mut shown = String::with_capacity(line.len().min(chars_max));
    for (count, c) in line.chars().enumerate() {
        if count == chars_max {
            shown.push('…');
            break;
        }
        if c != '\t' && hostile(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// Like [`plain`] without cutting: for errors and notes, which are ours but quote others.
pub(crate) fn visible(text: &str) -> String {
    text.chars().flat_map(|c| if hostile(c) { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// One line of JSON whose strings cannot drive a terminal either.
pub(crate) fn json_line(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).expect("views hold nothing that JSON cannot say");
    let mut safe = String::with_capacity(json.len() + 1);
    // Hostile characters can only stand in strings, where an escape means the same.
    for c in json.chars() {
        if hostile(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(c);
        }
    }
    safe.push('\n');
    safe
}

/// The first 12 hex digits of a digest or key, for people only: never a key of anything.
pub(crate) fn short(text: &str) -> String {
    let (prefix, hex) = text.split_once(':').map_or(("", text), |(prefix, hex)| (prefix, hex));
    let head: String = hex.chars().take(12).collect();
    if prefix.is_empty() { plain(&head) } else { plain(&format!("{prefix}:{head}")) }
}

fn hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_foreign_can_move_the_cursor_or_reorder_the_line() {
        assert_eq!(plain("a\u{1b}[2Jb\r\n"), "a\\u{1b}[2Jb\\r\\n");
        assert_eq!(plain("exe\u{202e}gpj.sh"), "exe\\u{202e}gpj.sh");
        assert_eq!(plain("\u{9b}31m"), "\\u{9b}31m");
        assert_eq!(plain("naïve – 日本"), "naïve – 日本");
    }

    #[test]
    fn source_keeps_its_tabs_and_nothing_else() {
        assert_eq!(source_line("\ta\u{1b}[2J\r", 80), "\ta\\u{1b}[2J\\r");
        assert_eq!(source_line("abcd", 3), "abc…");
    }

    #[test]
    fn long_foreign_text_is_cut() {
        assert_eq!(plain(&"x".repeat(1000)).chars().count(), SHOWN_CHARS_MAX + 1);
    }

    #[test]
    fn json_escapes_what_a_terminal_would_obey_and_still_means_the_same() {
        let text = "a\u{9b}b\u{202e}c\u{1b}\u{e0001}";
        let line = json_line(&text);
        assert_eq!(line, "\"a\\u009bb\\u202ec\\u001b\\udb40\\udc01\"\n");
        assert_eq!(serde_json::from_str::<String>(&line).expect("JSON"), text);
    }

    #[test]
    fn colour_is_opt_in() {
        assert_eq!(Paint::Plain.tone(Tone::Bad, "suspect"), "suspect");
        assert!(Paint::Colour.tone(Tone::Bad, "suspect").contains("\u{1b}[31m"));
    }
}
