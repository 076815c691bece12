//! The part of a Debian `Sources` index that concerns Python and Node packages, and names and versions as Debian
//! spells them.
//!
//! Pure: decompressed index text in, entries out, and entries to and from a compact text that is cached.

use quorate_proto::Digest;

use super::apt::{paragraphs, value};

/// One source package with its original archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The source package.
    pub package: String,
    /// Its whole Debian version.
    pub version: String,
    /// Its binary packages, separated by spaces.
    pub binaries: String,
    /// Its folder in the archive.
    pub directory: String,
    /// The original archive's file name.
    pub file: String,
    /// The original archive's SHA-256.
    pub digest: Digest,
}

/// Whether an original archive is what upstream published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pristine {
    /// Nothing says otherwise.
    AsPublished,
    /// Debian took something out (`+dfsg`, `+ds`).
    Repacked,
}

/// How Debian calls the packages of an ecosystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `python-name`, and `python3-name` for what is installed.
    Python,
    /// `node-name`; scopes become parts of the name.
    Node,
}

/// The entries of a `Sources` index that may be packages of a known family.
pub fn known_entries(sources: &str) -> Vec<Entry> {
    // One paragraph at a time: a whole index as fields would be large.
    sources.split("\n\n").filter(|text| text.contains("python") || text.contains("node-")).filter_map(entry).collect()
}

fn entry(text: &str) -> Option<Entry> {
    let paragraph = paragraphs(text).into_iter().next()?;
    // A word with a line's end or a tab in it would be other words in the cache.
    let field = |name| value(&paragraph, name);
    let word = |name| field(name).filter(|text| !text.contains(char::is_control)).map(str::to_owned);
    let (package, binaries) = (field("Package")?, field("Binary")?.replace(',', " "));
    let binaries: Vec<_> = binaries.split_whitespace().filter(|name| is_known(name)).collect();
    if binaries.is_empty() && !is_known(package) {
        return None;
    }
    let (digest, file) = field("Checksums-Sha256")?.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (digest, _size, file) = (words.next()?, words.next()?, words.next()?);
        let is_original = file.contains(".orig.tar.") && [".gz", ".xz"].iter().any(|ending| file.ends_with(ending));
        (is_original && !file.contains('/')).then(|| Some((Digest::from_hex(digest).ok()?, file)))?
    })?;
    Some(Entry {
        package: word("Package")?,
        version: word("Version")?,
        binaries: binaries.join(" "),
        directory: word("Directory")?,
        file: file.to_owned(),
        digest,
    })
}

fn is_known(name: &str) -> bool {
    name.starts_with("python") || name.starts_with("node-")
}

/// Entries as lines of tab-separated fields.
pub fn to_text(entries: &[Entry]) -> String {
    let line =
        |e: &Entry| [&e.package, &e.version, &e.binaries, &e.directory, &e.file, &e.digest.to_hex()].map(String::as_str).join("\t") + "\n";
    entries.iter().map(line).collect()
}

/// Reads what [`to_text`] wrote.
pub fn from_text(text: &str) -> Vec<Entry> {
    let entry = |line: &str| {
        let fields: [&str; 6] = line.split('\t').collect::<Vec<_>>().try_into().ok()?;
        let [package, version, binaries, directory, file, digest] = fields;
        Some(Entry {
            package: package.to_owned(),
            version: version.to_owned(),
            binaries: binaries.to_owned(),
            directory: directory.to_owned(),
            file: file.to_owned(),
            digest: Digest::from_hex(digest).ok()?,
        })
    };
    text.lines().filter_map(entry).collect()
}

impl Entry {
    /// Whether this is the source package of the package `name`.
    pub fn is_of(&self, family: Family, name: &str) -> bool {
        match family {
            Family::Python => {
                let bare = name.strip_prefix("python-").unwrap_or(name);
                let names = [name.to_owned(), format!("python-{bare}"), format!("python3-{bare}")];
                names.contains(&self.package) || self.has(&format!("python3-{bare}"))
            }
            Family::Node => {
                let flat = name.trim_start_matches('@').replace(['/', '_'], "-").to_lowercase();
                let own = [format!("node-{flat}"), format!("node-{}", flat.replace('.', "-"))];
                // What a source package ships besides its own is in archives of their own.
                own.contains(&self.package) || (self.binaries.split(' ').count() == 1 && own.iter().any(|name| self.has(name)))
            }
        }
    }

    fn has(&self, binary: &str) -> bool {
        self.binaries.split(' ').any(|name| name == binary)
    }
}

/// The upstream version in a Debian version, and whether the archive is upstream's own.
///
/// `1:8.2.0+0.really.8.1.8-1` is 8.1.8: the word `really` marks a version that had to go back.
/// `9.4.1+~cs3.2.1` is 9.4.1: what follows are versions of further archives.
pub fn upstream(version: &str) -> (String, Pristine) {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    let mut upstream = version.rsplit_once('-').map_or(version, |(upstream, _)| upstream);
    if let Some((_, really)) = upstream.split_once("really") {
        upstream = really.trim_start_matches(['.', '-']);
    }
    upstream = upstream.split_once("+~").map_or(upstream, |(before, _)| before);
    let mut pristine = Pristine::AsPublished;
    for word in ["+dfsg", "~dfsg", ".dfsg", "+ds", "~ds", "+repack", "+ds1"] {
        if let Some((before, _)) = upstream.split_once(word) {
            (upstream, pristine) = (before, Pristine::Repacked);
        }
    }
    (upstream.to_owned(), pristine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_versions_name_their_upstream_version() {
        for (debian, expected) in [
            ("8.2.0+0.really.8.1.8-1", ("8.1.8", Pristine::AsPublished)),
            ("1:2.3-4+b1", ("2.3", Pristine::AsPublished)),
            ("3.0~rc1-2", ("3.0~rc1", Pristine::AsPublished)),
            ("9.4.1+~cs3.2.1-1", ("9.4.1", Pristine::AsPublished)),
            ("7.0.0+ds+~1.0.1-2", ("7.0.0", Pristine::Repacked)),
            ("5.1+dfsg1-3", ("5.1", Pristine::Repacked)),
            ("5.1+ds-3", ("5.1", Pristine::Repacked)),
            ("2.0+really1.9-1", ("1.9", Pristine::AsPublished)),
        ] {
            let (version, pristine) = upstream(debian);
            assert_eq!((version.as_str(), pristine), expected, "{debian}");
        }
    }

    #[test]
    fn an_index_keeps_its_python_packages_with_their_original_archives() {
        let hex = Digest::of(b"").to_hex();
        let stanza = |package: &str, binary: &str, file: &str| {
            format!(
                "Package: {package}\nBinary: {binary}\nVersion: 1.0-1\nDirectory: pool/main/p/{package}\nChecksums-Sha256:\n {hex} 1 x.dsc\n {hex} 10 {file}\n\n"
            )
        };
        let text = stanza("python-click", "python3-click,\n python-click-doc", "python-click_1.0.orig.tar.gz")
            + &stanza("rich", "python3-rich", "rich_1.0.orig.tar.xz")
            + &stanza("native", "python3-native", "native_1.0.tar.xz")
            + &stanza("node-types-x", "node-types-x", "node-types-x_1.0.orig.tar.gz")
            + &stanza("node-a", "node-a, node-b", "node-a_1.0+~2.0.orig.tar.gz")
            + &stanza("zlib", "zlib1g", "zlib_1.0.orig.tar.gz");
        let entries = known_entries(&text);
        assert_eq!(
            entries.iter().map(|entry| entry.package.as_str()).collect::<Vec<_>>(),
            ["python-click", "rich", "node-types-x", "node-a"]
        );
        assert_eq!(from_text(&to_text(&entries)), entries);
        for (from, to) in [("1.0-1", "1.0\t-1"), ("pool/main/p/rich", "pool\n more"), ("rich\nB", "ri\u{1}ch\nB")] {
            assert_eq!(known_entries(&stanza("rich", "python3-rich", "rich_1.0.orig.tar.xz").replace(from, to)), [], "{to:?}");
        }
        let [click, rich, types, a] = &entries[..] else { panic!() };
        assert!(click.is_of(Family::Python, "click") && rich.is_of(Family::Python, "rich") && !rich.is_of(Family::Python, "click"));
        assert!(types.is_of(Family::Node, "@types/x") && !types.is_of(Family::Node, "x") && !click.is_of(Family::Node, "click"));
        assert!(a.is_of(Family::Node, "a") && !a.is_of(Family::Node, "b"));
    }
}
