//! What a suite says of itself: the text of its release file, whose signature was checked. Pure.

use std::collections::BTreeMap;

use quorate_proto::{Digest, Timestamp};

use crate::registry::date::rfc2822;
use crate::resolve::apt;

/// Most files that one lists; Debian's own have about 5,000.
const FILES_MAX: usize = 100_000;
/// Largest index of packages as it is sent, and when it is sent as it is.
const PACKED_BYTES_MAX: u64 = 128 << 20;
const PLAIN_BYTES_MAX: u64 = 512 << 20;

/// A release file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseFile {
    /// When it was made.
    pub date: Timestamp,
    /// Until when it may be believed.
    pub valid_until: Option<Timestamp>,
    /// Whether files can be had by their digests.
    pub has_hashes: bool,
    files: BTreeMap<String, (Digest, u64)>,
}

/// A file that a suite names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name in its folder.
    pub name: String,
    /// Its SHA-256.
    pub digest: Digest,
    /// Its size.
    pub size_bytes: u64,
}

impl ReleaseFile {
    /// Reads the signed text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let paragraphs = apt::paragraphs(text);
        let [paragraph] = paragraphs.as_slice() else { return Err(format!("{} paragraphs, expected one", paragraphs.len())) };
        let time = |name| apt::value(paragraph, name).map(|text| rfc2822(text).ok_or_else(|| format!("{name} is no date")));
        let date = time("Date").ok_or("no Date")??;
        let list = apt::value(paragraph, "SHA256").ok_or("no SHA256 list")?;
        let mut files = BTreeMap::new();
        for line in list.lines().filter(|line| !line.is_empty()) {
            let words: Vec<_> = line.split_whitespace().collect();
            let [digest, size, name] = words.as_slice() else { return Err("a malformed line in the SHA256 list".to_owned()) };
            let digest = Digest::from_hex(digest).map_err(|_| "a malformed digest in the SHA256 list")?;
            files.insert((*name).to_owned(), (digest, size.parse().map_err(|_| "a malformed size in the SHA256 list")?));
            if files.len() > FILES_MAX {
                return Err(format!("more than {FILES_MAX} files"));
            }
        }
        let has_hashes = apt::value(paragraph, "Acquire-By-Hash").is_some_and(|value| value == "yes");
        Ok(Self { date, valid_until: time("Valid-Until").transpose()?, has_hashes, files })
    }

    /// The SHA-256 of an index by its name.
    pub fn digest(&self, name: &str) -> Option<Digest> {
        self.files.get(name).map(|(digest, _)| *digest)
    }

    /// The smallest form of `Packages` in a folder that can be read here.
    pub fn packages(&self, folder: &str) -> Option<Named> {
        ["Packages.xz", "Packages.gz", "Packages"].into_iter().find_map(|name| {
            let (digest, size_bytes) = *self.files.get(&format!("{folder}/{name}"))?;
            let limit = if name == "Packages" { PLAIN_BYTES_MAX } else { PACKED_BYTES_MAX };
            (size_bytes <= limit).then(|| Named { name: name.to_owned(), digest, size_bytes })
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_release_names_its_indexes_by_digest_and_size() {
        let hex = Digest::of(b"x").to_hex();
        let text = format!(
            "Suite: s\nDate: Sat, 11 Oct 2025 09:00:00 UTC\nAcquire-By-Hash: yes\nMD5Sum:\n 00 1 main/source/Sources.xz\nSHA256:\n {hex} 12 main/binary-amd64/Packages.gz\n {hex} 99 main/binary-amd64/Packages\n"
        );
        let release = ReleaseFile::parse(&text).unwrap();
        let named = release.packages("main/binary-amd64").unwrap();
        assert_eq!((named.name.as_str(), named.size_bytes, release.has_hashes), ("Packages.gz", 12, true));
        assert_eq!(
            (release.digest("main/binary-amd64/Packages"), release.digest("main/source/Sources.xz")),
            (Some(Digest::of(b"x")), None)
        );
        assert_eq!(release.packages("main/binary-i386"), None);
        for wrong in [
            text.replace("Date", "Day"),
            text.replace("SHA256", "SHA1"),
            text.replace(" 12 ", " -1 "),
            text.clone() + "\nDate: x\n",
            text.replace("Sat,", "Xyz,"),
        ] {
            assert!(ReleaseFile::parse(&wrong).is_err(), "{wrong}");
        }
    }
}
