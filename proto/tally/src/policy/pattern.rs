//! Patterns over package URLs: the canonical text with `*` for any run of characters.
//!
//! A pattern without a version means every version. One that is not written as the canonical text is
//! would never match, so it is refused.

use quorate_proto::Purl;
use serde::{Deserialize, Deserializer};

/// Most `*` in a pattern.
const STARS_MAX: usize = 8;

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PurlPattern(String);

impl PurlPattern {
    /// Reads a pattern.
    fn parse(text: &str) -> Result<Self, String> {
        let stars = text.matches('*').count();
        if stars > STARS_MAX {
            return Err(format!("pattern with {stars} `*`, limit {STARS_MAX}"));
        }
        if text != "pkg:*" {
            let example = text.replace('*', "x");
            let canonical = example.parse::<Purl>().map_err(|error| error.to_string())?.to_string();
            if canonical != example {
                return Err(format!("pattern `{text}` matches nothing: package URLs are written like `{canonical}`"));
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether the release is meant.
    pub(crate) fn matches(&self, package: &Purl) -> bool {
        matches(&self.0, &package.to_string()) || matches(&self.0, &package.without_version().to_string())
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for PurlPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
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
            assert_eq!(PurlPattern::parse(pattern).expect(pattern).matches(&package), expected, "{pattern}");
        }
    }

    #[test]
    fn patterns_that_could_never_match_are_refused() {
        for pattern in ["", "*", "pypi/click", "pkg:pypi/Foo_Bar", "pkg:PyPI/foo", "pkg:npm/@scope/x", "pkg:pypi/*********"] {
            assert!(PurlPattern::parse(pattern).is_err(), "{pattern}");
        }
    }
}
