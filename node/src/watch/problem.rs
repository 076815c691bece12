//! What can go wrong with a registry, in the words that decide what the watch does next.

use quorate_proto::Timestamp;
use serde::{Deserialize, Serialize};

/// Most bytes of a problem's words: they come from registries and are kept.
const WORDS_BYTES_MAX: usize = 500;

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Problem {
    /// What it means for the watch.
    pub kind: Kind,
    /// What happened, in words.
    pub words: String,
    /// The registry asks not to be asked again before then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
}

/// What a problem means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Out of reach, overloaded, cut off: the same question may be answered later.
    Passing,
    /// The registry has no such thing.
    Absent,
    /// An answer that cannot be read, or is larger than is taken.
    Malformed,
    /// A signature or a digest is wrong, or an index is too old: nothing in the answer is believed.
    Untrusted,
    /// The feed ends before the place that was taken in already.
    Backwards,
    /// This node's own disk.
    Disk,
}

impl Problem {
    /// A problem without a time.
    pub fn new(kind: Kind, words: impl Into<String>) -> Self {
        // Registries' words reach terminals and logs.
        let is_plain = |c: char| !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let mut words: String = words.into().chars().map(|c| if is_plain(c) { c } else { ' ' }).collect();
        if words.len() > WORDS_BYTES_MAX {
            words.truncate(words.floor_char_boundary(WORDS_BYTES_MAX));
            words.push('…');
        }
        Self { kind, words, not_before: None }
    }

    /// An answer that cannot be read.
    pub fn malformed(words: impl Into<String>) -> Self {
        Self::new(Kind::Malformed, words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_registries_are_short_and_harmless_to_a_terminal() {
        let problem = Problem::malformed(format!("a\u{1b}[31m\n\u{202e}b{}", "é".repeat(400)));
        assert!(problem.words.starts_with("a [31m  b") && problem.words.ends_with('…') && problem.words.len() < 510);
    }
}
