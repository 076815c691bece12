//! Patterns over package URLs: the canonical text with `*` for any run of characters.
//!
//! A pattern without a version means every version. One that is not written as the canonical text is
//! would never match, so it is refused.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::purl::PurlError;
use crate::{Purl, text};

/// Most `*` in a pattern.
const STARS_MAX: usize = 8;

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurlPattern(String);

/// A text that is no pattern, or one that matches nothing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PatternError {
    /// Too many stars.
    #[error("pattern with {0} `*`, limit {STARS_MAX}")]
    Stars(usize),
    /// No package URL.
    #[error(transparent)]
    Purl(#[from] PurlError),
    /// Not as the canonical text is.
    #[error("pattern `{pattern}` matches nothing: package URLs are written like `{canonical}`")]
    NotCanonical {
        /// As given.
        pattern: String,
        /// What it would have to look like.
        canonical: String,
    },
}

impl PurlPattern {
    /// Whether the release is meant.
    pub fn matches(&self, package: &Purl) -> bool {
        matches(&self.0, &package.to_string()) || matches(&self.0, &package.without_version().to_string())
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PurlPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let stars = text.matches('*').count();
        if stars > STARS_MAX {
            return Err(PatternError::Stars(stars));
        }
        if text != "pkg:*" {
            let example = text.replace('*', "x");
            let canonical = example.parse::<Purl>()?.to_string();
            if canonical != example {
                return Err(PatternError::NotCanonical { pattern: text.to_owned(), canonical });
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for PurlPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for PurlPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PurlPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::parse(deserializer)
    }
}

/// Each piece between stars is looked for behind the one before it: the leftmost place is the best one.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*') {
        match text.find(piece) {
            Some(at) => text = &text[at + piece.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_run_and_no_version_is_every_version() {
        let package: Purl = "pkg:npm/%40scope/left-pad@1.2.3".parse().expect("a package URL");
        for (pattern, expected) in [
            ("pkg:*", true),
            ("pkg:npm/*", true),
            ("pkg:npm/%40scope/left-pad", true),
            ("pkg:npm/%40scope/left-pad@1.*", true),
            ("pkg:npm/%40scope/*pad@*.3", true),
            ("pkg:npm/%40scope/left", false),
            ("pkg:npm/%40scope/left-pad@2.*", false),
            ("pkg:pypi/*", false),
            ("pkg:npm/*pad@1.2.3*3", false),
        ] {
            assert_eq!(pattern.parse::<PurlPattern>().expect(pattern).matches(&package), expected, "{pattern}");
        }
    }

    #[test]
    fn patterns_that_could_never_match_are_refused() {
        for pattern in ["", "*", "pypi/click", "pkg:pypi/Foo_Bar", "pkg:PyPI/foo", "pkg:npm/@scope/x", "pkg:pypi/*********"] {
            assert!(pattern.parse::<PurlPattern>().is_err(), "{pattern}");
        }
    }
}
