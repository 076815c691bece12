//! Which tags of a repository may mean a version. Pure.

use std::str::FromStr as _;

use pep440_rs::Version;

use crate::registry::pypi::file_name::normal_name;

/// The tags that mean `version` of `package`, best first: the package's own name before a bare version,
/// exact spellings before padded ones. Tags of another package or of another version are not among them.
pub fn matching<'a>(tags: impl Iterator<Item = &'a str>, package: &str, version: &Version) -> Vec<&'a str> {
    let mut found: Vec<_> = tags.filter_map(|tag| rank(tag, package, version).map(|rank| (rank, tag))).collect();
    found.sort_unstable();
    found.into_iter().map(|(_, tag)| tag).collect()
}

fn rank(tag: &str, package: &str, version: &Version) -> Option<u8> {
    let (prefix, rest) = split(tag)?;
    let rest_dotted = if rest.contains('.') { rest.to_owned() } else { rest.replace(['_', '-'], ".") };
    let spelled = [rest.to_owned(), rest_dotted].into_iter().find(|text| Version::from_str(text).as_ref() == Ok(version))?;
    let exact = spelled == version.to_string();
    let prefix = normal_name(prefix.trim_matches(['-', '_', '/', '@', '.', ' ']));
    let named = |prefix: &str| {
        prefix == package || prefix.strip_prefix("python-") == Some(package) || package.strip_prefix("python-") == Some(prefix)
    };
    let rank = match prefix.as_str() {
        "" => 1,
        "release" | "releases" | "rel" | "version" | "ver" => 2,
        _ if named(&prefix) || prefix.rsplit_once('-').is_some_and(|(name, word)| word == "release" && named(name)) => 0,
        _ => return None,
    };
    Some(if exact { rank } else { rank + 4 })
}

/// Splits `name-v1.2` into its words and its version, which begins at the first digit that follows
/// nothing, a separator, or a `v`.
fn split(tag: &str) -> Option<(&str, &str)> {
    let starts = tag.char_indices().filter(|(at, c)| {
        let before = tag[..*at].chars().next_back();
        c.is_ascii_digit() && before.is_none_or(|c| matches!(c, '-' | '_' | '/' | '@' | '.' | ' ' | 'v' | 'V'))
    });
    let mut fallback = None;
    for (at, _) in starts {
        let before = &tag[..at];
        let words = before.strip_suffix(['v', 'V']).filter(|words| words.is_empty() || words.ends_with(['-', '_', '/', '@', '.', ' ']));
        let words = words.unwrap_or(before);
        if words.is_empty() || words.ends_with(['-', '_', '/', '@', '.', ' ']) || words.eq_ignore_ascii_case("v") {
            fallback.get_or_insert((words, &tag[at..]));
        }
    }
    fallback
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn matched(package: &str, version: &str, tags: &[&'static str]) -> Vec<&'static str> {
        matching(tags.iter().copied(), package, &version.parse().unwrap())
    }

    #[test]
    fn the_usual_spellings_of_a_version_are_found() {
        for tag in [
            "1.2.3",
            "v1.2.3",
            "demo-1.2.3",
            "demo-v1.2.3",
            "demo@1.2.3",
            "release_1.2.3",
            "release-1.2.3",
            "v1_2_3",
            "demo/v1.2.3",
            "Demo_1_2_3",
            "rel_1_2_3",
        ] {
            assert_eq!(matched("demo", "1.2.3", &[tag]), [tag], "{tag}");
        }
        assert_eq!(matched("certifi", "2024.7.4", &["2024.07.04"]), ["2024.07.04"]);
        assert_eq!(matched("demo", "1.0rc1", &["v1.0-rc.1", "1.0"]), ["v1.0-rc.1"]);
    }

    #[test]
    fn tags_of_other_versions_and_packages_are_not() {
        let tags = ["v1.2.3rc1", "1.2.3.post1", "v1.2", "v11.2.3", "other-1.2.3", "demo-extra-1.2.3", "x1.2.3", "main", "v"];
        assert_eq!(matched("demo", "1.2.3", &tags), [""; 0]);
    }

    #[test]
    fn the_packages_own_name_comes_first_and_padding_last() {
        assert_eq!(matched("demo", "1.2.3", &["1.2.03", "v1.2.3", "demo-v1.2.3"]), ["demo-v1.2.3", "v1.2.3", "1.2.03"]);
    }
}
