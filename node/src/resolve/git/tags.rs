//! Which tags of a repository may mean a version. Pure.

use super::version::VersionRule;

const SEPARATORS: [char; 6] = ['-', '_', '/', '@', '.', ' '];
/// Words before a version that say only that it is one.
const WORDS: [&str; 6] = ["release", "releases", "rel", "version", "ver", "tag"];

/// The tags that mean `version` of the package with these names, best first: the package's own name before
/// a bare version, exact spellings before padded ones. Tags of another package or of another version are
/// not among them.
pub fn matching<'a>(tags: impl Iterator<Item = &'a str>, names: &[String], version: &str, rule: VersionRule) -> Vec<&'a str> {
    let names: Vec<_> = names.iter().map(|name| plain(name)).collect();
    let mut found: Vec<_> = tags.filter_map(|tag| rank(tag, &names, version, rule).map(|rank| (rank, tag))).collect();
    found.sort_unstable();
    found.into_iter().map(|(_, tag)| tag).collect()
}

fn rank(tag: &str, names: &[String], version: &str, rule: VersionRule) -> Option<u8> {
    splits(tag).filter_map(|(words, rest)| rank_of(words, rest, names, version, rule)).min()
}

fn rank_of(words: &str, rest: &str, names: &[String], version: &str, rule: VersionRule) -> Option<u8> {
    let dotted = if rest.contains('.') { rest.to_owned() } else { rest.replace(['_', '-'], ".") };
    let spelled = [rest.to_owned(), dotted].into_iter().find(|text| rule.is_same(text, version))?;
    let words = plain(words);
    let rank = match words.as_str() {
        "" => 1,
        _ if WORDS.contains(&words.as_str()) => 2,
        _ if names.contains(&words) => 0,
        _ if words.rsplit_once('-').is_some_and(|(name, word)| WORDS.contains(&word) && names.iter().any(|n| n == name)) => 0,
        _ if words.split_once('-').is_some_and(|(word, name)| WORDS.contains(&word) && names.iter().any(|n| n == name)) => 0,
        _ => return None,
    };
    Some(if spelled == version { rank } else { rank + 4 })
}

/// Lower case, with every run of separators as one hyphen and none at the ends.
fn plain(text: &str) -> String {
    let text = text.to_lowercase();
    text.split(SEPARATORS).filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

/// Every way to split `name-v1.2` into its words and its version, which begins at a digit that follows
/// nothing, a separator, or a `v`.
fn splits(tag: &str) -> impl Iterator<Item = (&str, &str)> {
    tag.char_indices().filter(|(_, c)| c.is_ascii_digit()).filter_map(|(at, _)| {
        let before = &tag[..at];
        let words = before.strip_suffix(['v', 'V']).filter(|words| words.is_empty() || words.ends_with(SEPARATORS));
        let words = words.unwrap_or(before);
        (words.is_empty() || words.ends_with(SEPARATORS)).then_some((words, &tag[at..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(package: &str, version: &str, tags: &[&'static str]) -> Vec<&'static str> {
        let names = [package.to_owned(), package.rsplit('/').next().unwrap_or_default().to_owned()];
        let found = matching(tags.iter().copied(), &names, version, VersionRule::Pep440);
        let semantic = matching(tags.iter().copied(), &names, version, VersionRule::Semver);
        assert!(version.contains("rc") || found == semantic, "{found:?} {semantic:?}");
        found
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
            "demo-release-1.2.3",
            "release/demo-1.2.3",
            "@scope/demo@1.2.3",
        ] {
            assert_eq!(matched("@scope/demo", "1.2.3", &[tag]), [tag], "{tag}");
        }
        assert_eq!(matched("certifi", "2024.7.4", &["2024.07.04"]), ["2024.07.04"]);
        assert_eq!(matched("demo", "1.0rc1", &["v1.0-rc.1", "1.0"]), ["v1.0-rc.1"]);
    }

    #[test]
    fn tags_of_other_versions_and_packages_are_not() {
        let tags = [
            "v1.2.3rc1",
            "v1.2.3-rc.1",
            "1.2.3.post1",
            "v1.2",
            "v11.2.3",
            "other-1.2.3",
            "demo-extra-1.2.3",
            "@other/demo@1.2.3",
            "x1.2.3",
            "main",
            "v",
            "",
        ];
        assert_eq!(matched("demo", "1.2.3", &tags), [""; 0]);
    }

    #[test]
    fn the_packages_own_name_comes_first_and_padding_last() {
        assert_eq!(matched("demo", "1.2.3", &["1.2.03", "v1.2.3", "demo-v1.2.3"]), ["demo-v1.2.3", "v1.2.3", "1.2.03"]);
    }

    #[test]
    fn digits_in_a_name_are_not_its_version() {
        assert_eq!(matched("base64", "0.21.0", &["base64-v0.21.0"]), ["base64-v0.21.0"]);
        assert_eq!(matched("demo-2", "1.0.0", &["demo-2-1.0.0", "demo-1.0.0"]), ["demo-2-1.0.0"]);
    }
}
