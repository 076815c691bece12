//! The texts of a Debian archive: `Release`, and `Packages` in its packings. Pure.

use std::collections::BTreeMap;
use std::io::Read as _;

use flate2::bufread::MultiGzDecoder;
use quorate_proto::{Digest, Purl, Timestamp};

use crate::resolve::apt;
use crate::source;
use crate::watch::listing::{Artifact, Currency};
use crate::watch::wire::rfc2822;

/// Largest `Packages`, unpacked; the largest known has about 60 MiB.
pub const PACKAGES_BYTES_MAX: u64 = 512 << 20;
/// Largest `Packages` as it is sent.
const PACKED_BYTES_MAX: u64 = 128 << 20;
const FILES_MAX: usize = 100_000;
const PACKAGES_MAX: usize = 1_000_000;

/// What a suite says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
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
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub size_bytes: u64,
}

/// Reads a `Release` file whose signature was checked.
pub fn release(text: &str) -> Result<Release, String> {
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
    Ok(Release { date, valid_until: time("Valid-Until").transpose()?, has_hashes, files })
}

/// The smallest form of `Packages` in a folder that this node can read.
pub fn choose(release: &Release, folder: &str) -> Option<Named> {
    ["Packages.xz", "Packages.gz", "Packages"].into_iter().find_map(|name| {
        let (digest, size_bytes) = *release.files.get(&format!("{folder}/{name}"))?;
        let limit = if name == "Packages" { PACKAGES_BYTES_MAX } else { PACKED_BYTES_MAX };
        (size_bytes <= limit).then(|| Named { name: name.to_owned(), digest, size_bytes })
    })
}

/// Unpacks an index by its name.
pub fn unpack(bytes: &[u8], name: &str) -> Result<String, String> {
    let mut text = Vec::new();
    let limit = PACKAGES_BYTES_MAX + 1;
    let read = match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("xz") => source::unpack::xz(bytes).take(limit).read_to_end(&mut text),
        Some("gz") => MultiGzDecoder::new(bytes).take(limit).read_to_end(&mut text),
        _ => bytes.take(limit).read_to_end(&mut text),
    };
    read.map_err(|error| format!("cannot be unpacked: {error}"))?;
    if text.len() as u64 > PACKAGES_BYTES_MAX {
        return Err(format!("more than {PACKAGES_BYTES_MAX} bytes unpacked"));
    }
    String::from_utf8(text).map_err(|_| "not UTF-8".to_owned())
}

/// Reads a `Packages` index. A stanza that is not whole is refused with all that stands around it: nobody
/// signs half an index.
pub fn packages(text: &str, namespace: &str, repository: Option<&str>) -> Result<Vec<Artifact>, String> {
    let mut all = Vec::new();
    // One stanza at a time: a whole index as fields would be large.
    for stanza in text.split("\n\n").filter(|stanza| !stanza.trim().is_empty()) {
        all.push(artifact(stanza, namespace, repository).ok_or_else(|| format!("stanza {} cannot be read", all.len() + 1))?);
        if all.len() > PACKAGES_MAX {
            return Err(format!("more than {PACKAGES_MAX} packages"));
        }
    }
    Ok(all)
}

fn artifact(stanza: &str, namespace: &str, repository: Option<&str>) -> Option<Artifact> {
    let paragraphs = apt::paragraphs(stanza);
    let [paragraph] = paragraphs.as_slice() else { return None };
    let field = |name| apt::value(paragraph, name);
    let is_word = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.:~_".contains(&b));
    let (name, version, architecture) =
        (field("Package").filter(is_word)?, field("Version").filter(is_word)?, field("Architecture").filter(is_word)?);
    let digest = Digest::from_hex(field("SHA256")?).ok()?;
    let version = version.replace('+', "%2B").replace(':', "%3A").replace('~', "%7E");
    let package: Purl = format!("pkg:deb/{namespace}/{}@{version}?arch={architecture}", name.replace('+', "%2B")).parse().ok()?;
    Some(Artifact {
        package: repository.map_or(package.clone(), |url| package.in_repository(url)),
        file: field("Filename")?.rsplit('/').next()?.parse().ok()?,
        checksum: format!("sha256:{}", digest.to_hex()),
        published_at: None,
        currency: Currency::Current,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_release_names_its_indexes_by_digest_and_size() {
        let hex = Digest::of(b"x").to_hex();
        let text = format!(
            "Suite: s\nDate: Sat, 11 Oct 2025 09:00:00 UTC\nAcquire-By-Hash: yes\nSHA256:\n {hex} 12 main/binary-amd64/Packages.gz\n {hex} 99 main/binary-amd64/Packages\n"
        );
        let release = release(&text).unwrap();
        let named = choose(&release, "main/binary-amd64").unwrap();
        assert_eq!((named.name.as_str(), named.size_bytes, release.has_hashes), ("Packages.gz", 12, true));
        assert_eq!(choose(&release, "main/binary-i386"), None);
        for wrong in [
            text.replace("Date", "Day"),
            text.replace("SHA256", "SHA1"),
            text.replace(" 12 ", " -1 "),
            text.clone() + "\nDate: x\n",
            text.replace("Sat,", "Xyz,"),
        ] {
            assert!(super::release(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_index_lists_one_file_a_package_version_and_architecture() {
        let hex = Digest::of(b"x").to_hex();
        let stanza = |name: &str| {
            format!(
                "Package: {name}\nVersion: 1:2.0+b1~x\nArchitecture: all\nDescription: d\n more: text\nFilename: pool/main/d/demo_2.0_all.deb\nSHA256: {hex}\n\n"
            )
        };
        let all = packages(&(stanza("demo") + &stanza("g++")), "debian", None).unwrap();
        assert_eq!(all[0].package.version(), Some("1:2.0+b1~x"));
        assert_eq!((all[0].package.qualifier("arch"), all[0].file.as_str()), (Some("all"), "demo_2.0_all.deb"));
        assert_eq!(all[1].package.name(), "g++");
        for wrong in [stanza("demo").replace("SHA256", "SHA1"), stanza("a b"), stanza("demo").replace(&hex, "00")] {
            assert!(packages(&wrong, "debian", None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn packings_are_told_by_name_and_bounded() {
        use std::io::Write as _;
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(b"text").unwrap();
        assert_eq!(unpack(&gz.finish().unwrap(), "Packages.gz").unwrap(), "text");
        assert_eq!(unpack(b"text", "Packages").unwrap(), "text");
        assert!(unpack(b"text", "Packages.xz").is_err() && unpack(b"text", "Packages.gz").is_err());
    }
}
