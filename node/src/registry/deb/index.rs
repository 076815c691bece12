//! The indexes of a Debian archive, read within bounds: `Packages`, `Sources`, and the `.dsc` of a source package. Pure but for reading the compressed file that is given.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use quorate_proto::Digest;

use crate::resolve::apt::{Paragraph, paragraphs, value};
use crate::source::unpack;

/// Largest index, decompressed.
const INDEX_BYTES_MAX: u64 = 1 << 30;
/// Longest paragraph of one; the longest known has about 300 KiB.
const PARAGRAPH_BYTES_MAX: usize = 8 << 20;
/// Most packages of an index; Debian's largest has about 70,000.
const ENTRIES_MAX: usize = 1_000_000;
/// Most files of a source package.
const FILES_MAX: usize = 64;
/// Longest name, version or path.
const WORD_BYTES_MAX: usize = 1024;

/// A binary package in `Packages`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    /// Its name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// `all`, or the machine that it is for.
    pub architecture: String,
    /// The source package that it is built from.
    pub source: String,
    /// The version of that, which may be another one.
    pub source_version: String,
    /// Its file, below the archive's address.
    pub path: String,
    /// The file's size.
    pub size_bytes: u64,
    /// The file's SHA-256.
    pub digest: Digest,
}

/// A file of a source package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// Its SHA-256.
    pub digest: Digest,
}

/// A source package in `Sources`, or by its own `.dsc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePackage {
    /// Its name.
    pub source: String,
    /// Its version.
    pub version: String,
    /// Its folder below the archive's address; empty in a `.dsc`.
    pub directory: String,
    /// Its files.
    pub files: Vec<SourceFile>,
    /// The architectures that its binary packages are for.
    pub architectures: Vec<String>,
    /// What its builds require, field by field.
    pub requires: BTreeMap<String, String>,
}

/// The packages of a `Packages.xz` that can be fetched.
pub fn binaries(path: &Path) -> io::Result<Vec<Binary>> {
    binaries_in(open(path)?)
}

/// [`binaries`] of an index that is unpacked.
pub fn binaries_in(text: impl BufRead) -> io::Result<Vec<Binary>> {
    read(text, |_| Ok(()))
}

/// All packages of an index that is unpacked. One that cannot be read is refused with all that stands around it:
/// nobody signs half an index.
pub fn all_in(text: impl BufRead) -> io::Result<Vec<Binary>> {
    read(text, |number| Err(io::Error::other(format!("stanza {number} cannot be read"))))
}

/// The text of an index by the ending of its name.
pub fn unpacked<'a>(packed: impl BufRead + 'a, name: &str) -> Box<dyn BufRead + 'a> {
    const BUFFER_BYTES: usize = 64 << 10;
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("xz") => Box::new(BufReader::with_capacity(BUFFER_BYTES, unpack::xz(packed))),
        Some("gz") => Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(packed))),
        _ => Box::new(packed),
    }
}

fn read(text: impl BufRead, unreadable: impl Fn(usize) -> io::Result<()>) -> io::Result<Vec<Binary>> {
    let (mut all, mut number) = (Vec::new(), 0);
    scan(text, |paragraph| {
        number += 1;
        match binary(paragraph) {
            Some(binary) => all.push(binary),
            None => unreadable(number)?,
        }
        if all.len() > ENTRIES_MAX { Err(io::Error::other(format!("an index of more than {ENTRIES_MAX} packages"))) } else { Ok(()) }
    })?;
    Ok(all)
}

/// One source package of a `Sources.xz`.
pub fn source(path: &Path, name: &str, version: &str) -> io::Result<Option<SourcePackage>> {
    let first = format!("Package: {name}\n");
    let mut found = None;
    scan(open(path)?, |paragraph| {
        if found.is_none() && paragraph.starts_with(first.as_bytes()) {
            let text = String::from_utf8_lossy(paragraph);
            found = paragraphs(&text).first().and_then(|fields| source_package(fields, "Package")).filter(|found| found.version == version);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Reads a `.dsc`. Its signature is a maintainer's and not checked: the archive vouches for its bytes.
pub fn dsc(bytes: &[u8]) -> Option<SourcePackage> {
    let text = String::from_utf8_lossy(bytes);
    paragraphs(&text).iter().find_map(|fields| source_package(fields, "Source"))
}

fn open(path: &Path) -> io::Result<impl BufRead> {
    Ok(unpacked(BufReader::new(std::fs::File::open(path)?), "index.xz"))
}

/// One paragraph at a time: a whole index as text would be large.
fn scan(mut text: impl BufRead, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let (mut paragraph, mut total) = (Vec::new(), 0);
    loop {
        let before = paragraph.len();
        let left = (PARAGRAPH_BYTES_MAX + 1 - before) as u64;
        let count = text.by_ref().take(left).read_until(b'\n', &mut paragraph)?;
        total += count as u64;
        if total > INDEX_BYTES_MAX {
            return Err(io::Error::other(format!("an index of more than {INDEX_BYTES_MAX} bytes")));
        }
        if paragraph.len() > PARAGRAPH_BYTES_MAX {
            return Err(io::Error::other(format!("a paragraph of more than {PARAGRAPH_BYTES_MAX} bytes")));
        }
        let is_end = count == 0;
        if is_end || paragraph[before..].trim_ascii().is_empty() {
            if before > 0 {
                each(&paragraph[..before])?;
            }
            paragraph.clear();
        }
        if is_end {
            return Ok(());
        }
    }
}

/// Reads the few fields that matter; the rest of an index is descriptions.
fn binary(paragraph: &[u8]) -> Option<Binary> {
    const NAMES: [&str; 7] = ["Package", "Version", "Architecture", "Source", "Filename", "Size", "SHA256"];
    let mut fields = [const { None }; NAMES.len()];
    for line in paragraph.split(|byte| *byte == b'\n') {
        let Some(at) = line.iter().take(16).position(|byte| *byte == b':') else { continue };
        if let Some(field) = NAMES.iter().position(|name| name.as_bytes() == &line[..at]) {
            let text = std::str::from_utf8(line[at + 1..].trim_ascii()).ok().filter(|text| text.len() <= WORD_BYTES_MAX);
            fields[field] = text.map(str::to_owned);
        }
    }
    let [package, version, architecture, source, path, size, digest] = fields;
    let (package, version) = (package?, version?);
    let (source, source_version) = match source.as_deref().map(|text| text.split_once(" (")) {
        None => (package.clone(), version.clone()),
        Some(None) => (source.unwrap_or_default(), version.clone()),
        Some(Some((source, version))) => (source.to_owned(), version.trim_end_matches(')').to_owned()),
    };
    Some(Binary {
        package,
        version,
        architecture: architecture?,
        source,
        source_version,
        path: path.filter(|path| is_plain_path(path))?,
        size_bytes: size?.parse().ok()?,
        digest: Digest::from_hex(&digest?).ok()?,
    })
}

fn source_package(fields: &Paragraph, name: &str) -> Option<SourcePackage> {
    let word = |name: &str| value(fields, name).filter(|text| text.len() <= WORD_BYTES_MAX);
    let lines = value(fields, "Checksums-Sha256")?.lines().filter(|line| !line.trim().is_empty());
    let files: Option<Vec<_>> = lines.take(FILES_MAX + 1).map(source_file).collect();
    let requires = fields.iter().filter(|(name, _)| name.starts_with("Build-")).map(|(name, value)| (name.clone(), value.clone()));
    Some(SourcePackage {
        source: word(name).filter(|name| is_name(name))?.to_owned(),
        version: word("Version").filter(|version| is_version(version))?.to_owned(),
        directory: word("Directory").unwrap_or_default().to_owned(),
        files: files.filter(|files| files.len() <= FILES_MAX)?,
        architectures: value(fields, "Architecture").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
        requires: requires.collect(),
    })
}

fn source_file(line: &str) -> Option<SourceFile> {
    let words: Vec<_> = line.split_whitespace().collect();
    let [digest, size, name] = words[..] else { return None };
    let name = Some(name).filter(|name| is_plain_path(name) && !name.contains('/'))?;
    Some(SourceFile { name: name.to_owned(), size_bytes: size.parse().ok()?, digest: Digest::from_hex(digest).ok()? })
}

/// A relative path that stays below where it begins.
fn is_plain_path(path: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-._~:/%=@,".contains(c);
    path.chars().all(plain) && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

/// What Debian allows as a package's name.
pub fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain)
}

/// What Debian allows as a version.
pub fn is_version(version: &str) -> bool {
    version.starts_with(|c: char| c.is_ascii_digit()) && version.chars().all(|c| c.is_ascii_alphanumeric() || "+-.~:".contains(c))
}

impl SourcePackage {
    /// Its `.dsc`.
    pub fn dsc(&self) -> Option<&SourceFile> {
        self.files.iter().find(|file| Path::new(&file.name).extension().is_some_and(|extension| extension == "dsc"))
    }

    /// The folder that Debian's own builders unpack it into.
    pub fn folder(&self) -> String {
        let version = self.version.split_once(':').map_or(self.version.as_str(), |(_, version)| version);
        let upstream = version.rsplit_once('-').map_or(version, |(upstream, _)| upstream);
        format!("{}-{upstream}", self.source)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn scanned(text: &str) -> Vec<Binary> {
        let mut all = Vec::new();
        scan(text.as_bytes(), |paragraph| {
            all.extend(binary(paragraph));
            Ok(())
        })
        .unwrap();
        all
    }

    #[test]
    fn an_index_names_the_file_and_the_source_of_each_package() {
        let hex = Digest::of(b"x").to_hex();
        let stanza = |more: &str, path: &str| {
            format!(
                "Package: a\n{more}Version: 1:2-3\nDescription: x\n Size: 9\nArchitecture: all\nFilename: {path}\nSize: 12\nSHA256: {hex}\n\n"
            )
        };
        let text = stanza("", "pool/main/a/a_2-3_all.deb")
            + "\n"
            + &stanza("Source: b (2-4)\n", "pool/b.deb")
            + &stanza("Source: c\n", "pool/c.deb")
            + &stanza("", "pool/../../etc/passwd")
            + "Package: broken\n";
        let sources: Vec<_> = scanned(&text).into_iter().map(|binary| (binary.source, binary.source_version, binary.size_bytes)).collect();
        let expected = [("a", "1:2-3", 12), ("b", "2-4", 12), ("c", "1:2-3", 12)];
        assert_eq!(sources, expected.map(|(source, version, size)| (source.to_owned(), version.to_owned(), size)));
    }

    #[test]
    fn a_paragraph_without_end_is_an_error_and_no_memory() {
        let text = "Package: a\n".to_owned() + &"X: y\n".repeat(PARAGRAPH_BYTES_MAX / 5 + 1);
        assert!(scan(text.as_bytes(), |_| Ok(())).is_err());
        assert!(scan("x".repeat(PARAGRAPH_BYTES_MAX + 2).as_bytes(), |_| Ok(())).is_err());
    }

    #[test]
    fn a_signed_dsc_says_what_it_is_and_needs() {
        let hex = Digest::of(b"").to_hex();
        let text = format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nFormat: 3.0 (native)\nSource: kernel-wedge\nArchitecture: all\nVersion: 1:2.106~deb12u1-4\nBuild-Depends: debhelper (>= 9),\n x\nChecksums-Sha256:\n {hex} 10 kernel-wedge_2.106.tar.xz\n\n-----BEGIN PGP SIGNATURE-----\n"
        );
        let found = dsc(text.as_bytes()).unwrap();
        assert_eq!(
            (found.folder().as_str(), found.requires["Build-Depends"].as_str()),
            ("kernel-wedge-2.106~deb12u1", "debhelper (>= 9),\nx")
        );
        for (from, to) in [("kernel-wedge\nA", "../x\nA"), ("1:2.106", "$(id)"), ("kernel-wedge_2.106.tar.xz", "../../x")] {
            assert_eq!(dsc(text.replace(from, to).as_bytes()), None, "{to}");
        }
    }

    #[test]
    fn packings_are_told_by_name_and_half_an_index_is_refused() {
        use std::io::Write as _;
        let stanza =
            format!("Package: a\nVersion: 1\nArchitecture: all\nFilename: pool/a.deb\nSize: 12\nSHA256: {}\n\n", Digest::of(b"x").to_hex());
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(stanza.as_bytes()).unwrap();
        assert_eq!(all_in(unpacked(&gz.finish().unwrap()[..], "Packages.gz")).unwrap(), scanned(&stanza));
        assert_eq!(all_in(unpacked(stanza.as_bytes(), "Packages")).unwrap().len(), 1);
        assert!(["Packages.xz", "Packages.gz"].iter().all(|name| all_in(unpacked(stanza.as_bytes(), name)).is_err()));
        for broken in ["SHA256", "Size", "Filename", "Version"] {
            let text = stanza.clone() + &stanza.replace(broken, "X");
            assert!(all_in(text.as_bytes()).unwrap_err().to_string().contains("stanza 2"));
            assert_eq!(binaries_in(text.as_bytes()).unwrap().len(), 1);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400), text in "(Package|SHA256|Source|Checksums-Sha256|Filename|-)(: | |\\n)[a-z0-9 ./\\n:()]{0,200}") {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                let _ = dsc(bytes);
                let _ = crate::registry::deb::release::ReleaseFile::parse(&String::from_utf8_lossy(bytes));
                let _ = scan(bytes, |paragraph| { let _ = binary(paragraph); Ok(()) });
            }
        }
    }
}
