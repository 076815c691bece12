//! Which versions of setuptools may have written a published file's metadata, by the fields that it has. Pure.
//!
//! A wheel by `bdist_wheel` names the version of `wheel`, and nothing names that of setuptools, which wrote the rest;
//! publishers' machines often had one that was years older than the newest. Found by building one small project with
//! 23 versions from 49.6 to 70.0.

use super::Target;

/// A change of setuptools that shows, and the version that brought it.
struct Change {
    since: &'static str,
    /// `true` after the change, `false` before it, `None` where this file cannot tell.
    shows: fn(&Seen<'_>) -> Option<bool>,
}

struct Seen<'a> {
    fields: &'a [(&'a str, &'a str)],
    target: Target,
    has_licence: bool,
}

impl Seen<'_> {
    fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(key, _)| key.eq_ignore_ascii_case(name))
    }
}

/// The oldest first.
const CHANGES: [Change; 3] = [
    Change { since: "57", shows: |seen| seen.has_licence.then(|| seen.has("License-File")) },
    Change {
        since: "62",
        shows: |seen| {
            let is_unknown = seen.fields.contains(&("Platform", "UNKNOWN"));
            // Who names a platform of his own never had the word for none.
            (is_unknown || !seen.has("Platform")).then_some(!is_unknown)
        },
    },
    Change {
        since: "68.1",
        // `wheel` writes the requirements into a wheel by itself.
        shows: |seen| match (seen.target, seen.has("Requires-Dist"), seen.has("Provides-Extra")) {
            (Target::SourceDistribution, true, _) => Some(true),
            (Target::SourceDistribution, false, true) => Some(false),
            _ => None,
        },
    },
];

/// What a requirement of setuptools has to say so that it writes such metadata: `>=57,<62`. `None` where the fields
/// tell nothing, or speak against each other.
pub(super) fn bounds(metadata: &str, target: Target, has_licence: bool) -> Option<String> {
    let header = metadata.lines().take_while(|line| !line.is_empty());
    let fields: Vec<_> = header.filter_map(|line| line.split_once(':')).map(|(key, value)| (key.trim(), value.trim())).collect();
    let seen = Seen { fields: &fields, target, has_licence };
    let told: Vec<_> = CHANGES.iter().filter_map(|change| Some((change.since, (change.shows)(&seen)?))).collect();
    let is_ordered = told.windows(2).all(|pair| pair[0].1 || !pair[1].1);
    let since = told.iter().rev().find(|(_, shows)| *shows).map(|(version, _)| format!(">={version}"));
    let before = told.iter().find(|(_, shows)| !shows).map(|(version, _)| format!("<{version}"));
    let parts: Vec<_> = since.into_iter().chain(before).collect();
    (is_ordered && !parts.is_empty()).then(|| parts.join(","))
}

/// Whether a file at the top of a package holds its licence, by the names that setuptools takes.
pub(super) fn is_licence(file: &str) -> bool {
    ["LICEN", "COPYING", "NOTICE", "AUTHORS"].iter().any(|begin| file.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_each_age_bound_setuptools() {
        let of = |metadata: &str, target| bounds(metadata, target, true);
        let (sdist, wheel) = (Target::SourceDistribution, Target::Wheel);
        assert_eq!(of("Name: a\nPlatform: UNKNOWN\n\nLicense-File: body\n", wheel).as_deref(), Some("<57"));
        assert_eq!(of("Platform: UNKNOWN\nLicense-File: LICENSE\n", wheel).as_deref(), Some(">=57,<62"));
        assert_eq!(of("License-File: LICENSE\nProvides-Extra: t\n", sdist).as_deref(), Some(">=62,<68.1"));
        assert_eq!(of("License-File: LICENSE\nRequires-Dist: six\n", sdist).as_deref(), Some(">=68.1"));
        assert_eq!(of("License-File: LICENSE\nRequires-Dist: six\n", wheel).as_deref(), Some(">=62"));
        assert_eq!(of("License-File: LICENSE\nPlatform: any\n", wheel).as_deref(), Some(">=57"));
    }

    #[test]
    fn fields_that_no_version_writes_together_tell_nothing() {
        assert_eq!(bounds("Platform: UNKNOWN\nRequires-Dist: six\n", Target::SourceDistribution, false), None);
        assert_eq!(bounds("Name: a\n", Target::Wheel, true), None);
        assert_eq!(bounds("", Target::Wheel, false).as_deref(), Some(">=62"));
    }
}
